"""Embedding bag: rows of a table, summed over an example's tokens."""

from __future__ import annotations

from typing import Any

from sympy import Piecewise

from derive.language.errors import DeriveError, ShapeError
from derive.language.hints import did_you_mean
from derive.language.index import Index
from derive.language.nodes import Max, Sum
from derive.language.tensor import Tensor
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, whole
from .registry import in_catalogue

MODES = ("sum", "mean", "max")


@in_catalogue
class EmbeddingBag(Layer):
    r"""The sum, mean or largest entry of the table's rows of an example's tokens: text as a bag of words.

    .. math:: h_{bj} = \sum_t w_{bt} E_{x_{bt},\,j}, \qquad \text{for the mean divided by } \textstyle\sum_t w_{bt}

    Parameters
    ----------
    input_dim : int
        How many tokens there are: every input is in [0, input_dim).
    output_dim : int
        The size of a row.
    mode : {"sum", "mean", "max"}
    weighted : bool
        The layer is called on ``[x, w]``, where ``w`` (B, T) are floats: a mask of 1 and 0 for padded bags, or the weight
        of each token, not negative.  A bag whose weights sum to 0 gives 0.  Not for "max".
    embeddings_initializer : str, number or callable
        "uniform" on :math:`\pm 0.05` by default.
    name : str, optional
        The parameter is ``<name>_table`` (input_dim, output_dim).
    trainable : bool

    References
    ----------
    Joulin, Grave, Bojanowski, Mikolov, *Bag of tricks for efficient text classification*, EACL 2017.

    >>> from derive import Sequential
    >>> model = Sequential([EmbeddingBag(65, 8)], input_shape=(10,))
    >>> model.output.definition.body
    sum[i](embedding_bag_1_table[x[b, i], j])
    """

    kind = "embedding_bag"
    gives = "values"

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        mode: str = "sum",
        weighted: bool = False,
        embeddings_initializer: Initializer = "uniform",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = f"EmbeddingBag({input_dim!r})"
        self.input_dim = whole(input_dim, f"{where}: input_dim")
        if self.input_dim < 2:
            raise DeriveError("EmbeddingBag(1): input_dim is 1; a table has at least two rows")
        self.output_dim = whole(output_dim, f"EmbeddingBag({input_dim!r}, {output_dim!r}): output_dim")
        if mode not in MODES:
            raise DeriveError(
                f"{where}: unknown mode {mode!r}{did_you_mean(mode, MODES)}; accepted are {', '.join(MODES)}"
            )
        if weighted and mode == "max":
            raise DeriveError(f"{where}: mode 'max' takes no weights; accepted with them are sum, mean")
        self.mode, self.weighted, self.embeddings_initializer = (
            mode,
            bool(weighted),
            initializer(embeddings_initializer, f"{where}: embeddings_initializer"),
        )
        self.takes = {"dtype": "int", "below": self.input_dim}
        self.merges = self.weighted

    def connect(self, given: Any, new: Builder) -> Tensor:
        x, w = self._checked(given, new)
        b, t = x.indices
        j, v = new.axis(self.output_dim), Index("v", x.below)
        table = new.parameter("table", v, j, init=self.embeddings_initializer)
        row, weight = table[x[b, t], j], 1 if w is None else w[b, t]
        if self.mode == "max":
            return new.define("h", (b, j), Max(row, t))
        total = Sum(weight * row, t)
        if self.mode == "mean" and w is None:
            total /= t.size
        elif self.mode == "mean":
            n = new.define("n", (b,), Sum(weight, t))
            total = Piecewise((total / n[b], n[b] > 0), (0, True))
        return new.define("h", (b, j), total)

    def _checked(self, given: Any, new: Builder) -> tuple[Tensor, Tensor | None]:
        said = "EmbeddingBag reads token numbers (B, T), integers of a declared range"
        if self.weighted and len(given) != 2:
            raise ShapeError(f"EmbeddingBag(weighted=True) is called on [x, w]; it was given {len(given)} symbols")
        x, w = given if self.weighted else (given, None)
        if x.dtype != "int" or x.below is None or x.rank != 2:
            raise ShapeError(
                f"{said}; {x.name} is {x.dtype} {new.shape(x)}; write dv.Input((T,), dtype='int', "
                f"below={self.input_dim})"
            )
        if new.number(x.below) != self.input_dim:
            raise ShapeError(
                f"EmbeddingBag({self.input_dim}) has {self.input_dim} rows, but {x.name} is declared below "
                f"{new.number(x.below)}"
            )
        if w is not None:
            if w.rank != 2 or w.dtype != "float" or new.number(w.axes[1]) != new.number(x.axes[1]):
                raise ShapeError(
                    f"{said}, and floats of that shape as weights; the shapes are {x.name} {new.shape(x)}, "
                    f"{w.name} {new.shape(w)} ({w.dtype})"
                )
            new.same(w.axes[1], x.axes[1], "EmbeddingBag")
        return x, w
