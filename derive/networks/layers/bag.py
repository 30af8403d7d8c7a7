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
    vocabulary : int
        How many tokens there are: every input is in [0, vocabulary).
    units : int
        The size of a row.
    mode : {"sum", "mean", "max"}
    weighted : bool
        The layer is called on ``[x, w]``, where ``w`` (B, T) are floats: a mask of 1 and 0 for padded bags, or the weight
        of each token, not negative.  A bag whose weights sum to 0 gives 0.  Not for "max".
    init : str, number or callable
        "uniform" on :math:`\pm 0.05` by default.
    name : str, optional
        The parameter is ``<name>_table`` (vocabulary, units).
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
        vocabulary: int,
        units: int,
        mode: str = "sum",
        weighted: bool = False,
        init: Initializer = "uniform",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = f"EmbeddingBag({vocabulary!r})"
        self.vocabulary = whole(vocabulary, f"{where}: vocabulary")
        if self.vocabulary < 2:
            raise DeriveError("EmbeddingBag(1): vocabulary is 1; a table has at least two rows")
        self.units = whole(units, f"EmbeddingBag({vocabulary!r}, {units!r}): units")
        if mode not in MODES:
            raise DeriveError(
                f"{where}: unknown mode {mode!r}{did_you_mean(mode, MODES)}; accepted are {', '.join(MODES)}"
            )
        if weighted and mode == "max":
            raise DeriveError(f"{where}: mode 'max' takes no weights; accepted with them are sum, mean")
        self.mode, self.weighted, self.init = mode, bool(weighted), initializer(init, f"{where}: init")
        self.takes = {"dtype": "int", "below": self.vocabulary}
        self.merges = self.weighted

    def connect(self, given: Any, new: Builder) -> Tensor:
        x, w = self._checked(given, new)
        b, t = x.indices
        j, v = new.axis(self.units), Index("v", x.below)
        table = new.parameter("table", v, j, init=self.init)
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
                f"below={self.vocabulary})"
            )
        if new.number(x.below) != self.vocabulary:
            raise ShapeError(
                f"EmbeddingBag({self.vocabulary}) has {self.vocabulary} rows, but {x.name} is declared below "
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
