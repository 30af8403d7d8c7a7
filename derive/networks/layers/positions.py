"""Positions of a sequence, added to it: learned, or of sines."""

from __future__ import annotations

from sympy import Eq, cos, exp, log, sin

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .registry import in_catalogue

LONGEST = 10_000  # the wave length of the slowest sine, in units of 2 pi


@in_catalogue
class PositionalEmbedding(Layer):
    r"""A learned vector for each position, added: :math:`h_{b,t,j} = x_{b,t,j} + P_{t,j}`.

    Parameters
    ----------
    length : int
        How many positions the table has; a sequence may be shorter, not longer.
    embeddings_initializer : str, number or callable
        "uniform" on :math:`\pm 0.05` by default, as of ``L.Embedding``.
    name : str, optional
        The parameter is ``<name>_table`` (length, J).
    trainable : bool

    References
    ----------
    Gehring et al., *Convolutional sequence to sequence learning*, ICML 2017.

    >>> from derive import Sequential
    >>> Sequential([PositionalEmbedding(9)], input_shape=(5, 4)).parameters["positional_embedding_1_table"].shape
    (9, 4)
    """

    kind = "positional_embedding"
    gives = "values"

    def __init__(
        self,
        length: int,
        embeddings_initializer: Initializer = "uniform",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.length = whole(length, f"PositionalEmbedding({length!r}): length")
        self.embeddings_initializer = initializer(
            embeddings_initializer, f"PositionalEmbedding({length!r}): embeddings_initializer"
        )

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        b, t, j = _sequence(x, "PositionalEmbedding", new)
        steps = new.number(t.size)
        if steps > self.length:
            raise ShapeError(
                f"PositionalEmbedding({self.length}) has {self.length} positions, but {x.name} has {steps}; accepted are "
                f"sequences of at most {self.length}, or PositionalEmbedding({steps})"
            )
        size = t.size if steps == self.length else t.size + new.axis(self.length - steps, named="Rest").size
        table = new.parameter("table", Index(t.name, size), j, init=self.embeddings_initializer)
        return new.define("h", x.indices, x[x.indices] + table[t, j])


@in_catalogue
class SinusoidalPositions(Layer):
    r"""Sines and cosines of the position, added; nothing is learned.

    .. math::

        h_{b,t,2m} = x_{b,t,2m} + \sin(t\,10000^{-2m/J}), \qquad h_{b,t,2m+1} = x_{b,t,2m+1} + \cos(t\,10000^{-2m/J})

    Parameters
    ----------
    name : str, optional

    References
    ----------
    Vaswani et al., *Attention is all you need*, NIPS 2017, section 3.5.

    >>> from derive import Sequential
    >>> Sequential([SinusoidalPositions()], input_shape=(5, 4)).shape_of("sinusoidal_positions_1")
    (5, 4)
    """

    kind = "sinusoidal_positions"
    gives = "values"

    def __init__(self, name: str | None = None):
        super().__init__(name)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        b, t, j = _sequence(x, "SinusoidalPositions", new)
        if new.number(j.size) % 2:
            raise ShapeError(
                f"SinusoidalPositions gives a sine and a cosine for every two channels; {x.name} has "
                f"{new.number(j.size)}, accepted is an even number"
            )
        m = apart(Index("m", new.split(j.size, 2, "SinusoidalPositions")), b, t, j)
        angle = new.define("angle", (t, m), t * exp(-2 * m * log(LONGEST) / j.size))
        waves = Sum(sin(angle[t, m]) * Iverson(Eq(j, 2 * m)), m) + Sum(cos(angle[t, m]) * Iverson(Eq(j, 2 * m + 1)), m)
        table = new.define("positions", (t, j), waves)
        return new.define("h", x.indices, x[x.indices] + table[t, j])


def _sequence(x: Tensor, what: str, new: Builder) -> tuple[Index, Index, Index]:
    if x.rank != 3 or x.dtype != "float":
        hint = "; token numbers pass through L.Embedding first" if x.dtype == "int" else ""
        raise ShapeError(f"{what} reads a sequence (B, T, D); it was given {new.shape(x)}{hint}")
    b, t, j = x.indices
    return b, t, j
