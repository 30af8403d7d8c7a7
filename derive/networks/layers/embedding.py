"""Embedding: a row of a table for each number."""

from __future__ import annotations

from derive.language.errors import DeriveError, ShapeError
from derive.language.index import Index
from derive.language.tensor import Tensor
from derive.networks.initializers import Initializer, initializer

from .base import Layer
from .builder import Builder, whole
from .registry import in_catalogue


@in_catalogue
class Embedding(Layer):
    r"""A row of a table for each token number.

    .. math:: h_{btj} = E_{x_{bt}, j}, \qquad \frac{dL}{dE_{vj}} = \sum_{b,t} \frac{dL}{dh_{btj}}\,[v = x_{bt}]

    As the first layer of a Sequential it makes the input integers of the declared range; in a functional model the
    input says so itself: ``dv.Input((T,), dtype="int", below=65)``.

    Parameters
    ----------
    input_dim : int
        How many numbers there are: every input is in [0, input_dim).
    output_dim : int
        The size of a row.
    embeddings_initializer : str, number or callable
        "uniform" on :math:`\pm 0.05` by default.
    name : str, optional
        The parameter is ``<name>_table`` (input_dim, output_dim).
    trainable : bool

    Raises
    ------
    ShapeError
        For an input that is not integers of that range.  Values out of range are found by ``kern.validate`` and by
        training, which say where.

    >>> from derive import Sequential
    >>> model = Sequential([Embedding(65, 8)], input_shape=(10,))
    >>> model.input, model.layers[0].output.definition.body
    (<int tensor x(B, I)>, embedding_1_table[x[b, i], j])
    """

    kind = "embedding"

    def __init__(
        self,
        input_dim: int,
        output_dim: int,
        embeddings_initializer: Initializer = "uniform",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        self.input_dim = whole(input_dim, f"Embedding({input_dim!r}): input_dim")
        if self.input_dim < 2:
            raise DeriveError("Embedding(1): input_dim is 1; a table has at least two rows")
        self.output_dim = whole(output_dim, f"Embedding({input_dim!r}, {output_dim!r}): output_dim")
        self.embeddings_initializer = initializer(
            embeddings_initializer, f"Embedding({input_dim!r}): embeddings_initializer"
        )
        self.takes = {"dtype": "int", "below": self.input_dim}

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        if x.dtype != "int" or x.below is None:
            raise ShapeError(
                f"Embedding reads token numbers, integers of a declared range; {x.name} is {x.dtype}; "
                f"write dv.Input(shape, dtype='int', below={self.input_dim})"
            )
        if new.number(x.below) != self.input_dim:
            raise ShapeError(
                f"Embedding({self.input_dim}) has {self.input_dim} rows, but {x.name} is declared below "
                f"{new.number(x.below)}"
            )
        j = new.axis(self.output_dim)
        v = Index("v", x.below)
        table = new.parameter("table", v, j, init=self.embeddings_initializer)
        return new.define("h", (*x.indices, j), table[x[x.indices], j])
