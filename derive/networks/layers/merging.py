"""Where branches of a functional model meet."""

from __future__ import annotations

from sympy import Add as Plus
from sympy import Eq, Expr, Integer, Mul

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor

from .base import Layer
from .builder import Builder
from .registry import in_catalogue


class Merge(Layer):
    """What element by element merging shares: equal shapes, where an axis of size 1 stands for all."""

    merges = True

    def __init__(self, name: str | None = None):
        super().__init__(name)

    def elements(self, xs: list[Tensor], new: Builder) -> tuple[tuple[Index, ...], list[Expr]]:
        """The letters of the largest, and each tensor read there."""
        widest = max(xs, key=lambda t: [new.number(a) for a in t.axes[1:]])
        for t in xs:
            if t.rank != widest.rank:
                raise self._misfit(xs, new)
            for a, wide in zip(t.axes[1:], widest.axes[1:], strict=True):
                if new.number(a) not in (1, new.number(wide)):
                    raise self._misfit(xs, new)
                if new.number(a) == new.number(wide):
                    new.same(a, wide, type(self).__name__)
        return widest.indices, [
            t[(t.indices[0], *(self._at(a, i, new) for a, i in zip(t.axes[1:], widest.indices[1:], strict=True)))]
            for t in xs
        ]

    def _at(self, axis: Expr, i: Index, new: Builder) -> Expr:
        """The letter, or 0 along an axis of one element that serves all; that it has one holds from then on."""
        if new.number(axis) != 1 or new.number(i.size) == 1:
            return i
        new.same(axis, Integer(1), type(self).__name__)
        return Integer(0)

    def _misfit(self, xs: list[Tensor], new: Builder) -> ShapeError:
        shapes = ", ".join(f"{t.name} {new.shape(t)}" for t in xs)
        return ShapeError(
            f"{type(self).__name__}: the shapes are {shapes}; accepted are equal shapes, or 1 for an "
            f"axis of which one value serves all"
        )


@in_catalogue
class Add(Merge):
    r"""The sum of several symbols, element by element: :math:`h_{b,i} = \sum_n x^{(n)}_{b,i}`; a skip connection.

    References
    ----------
    He, Zhang, Ren, Sun, *Deep residual learning for image recognition*, CVPR 2016.

    >>> from derive import Input, Model
    >>> from derive.networks.layers import Dense
    >>> x = Input((3,))
    >>> model = Model(x, Add()([x, Dense(3)(x)]))
    >>> model.sizes
    {'I': 3}
    """

    kind = "add"

    def connect(self, xs: list[Tensor], new: Builder) -> Tensor:
        letters, elements = self.elements(xs, new)
        return new.define("h", letters, Plus(*elements))


@in_catalogue
class Multiply(Merge):
    r"""The product of several symbols, element by element: :math:`h_{b,i} = \prod_n x^{(n)}_{b,i}`; a gate.

    >>> from derive import Input, Model
    >>> a, b = Input((2, 3), name="a"), Input((1, 3), name="b")
    >>> Model([a, b], Multiply()([a, b])).shape_of("multiply_1")
    (2, 3)
    """

    kind = "multiply"

    def connect(self, xs: list[Tensor], new: Builder) -> Tensor:
        letters, elements = self.elements(xs, new)
        return new.define("h", letters, Mul(*elements))


@in_catalogue
class Concatenate(Layer):
    r"""Several symbols side by side along the last axis.

    .. math:: h_{b,o} = \sum_c x_{b,c}\,[o = c] + \sum_c y_{b,c}\,[o = C + c]

    >>> from derive import Input, Model
    >>> a, b = Input((2,), name="a"), Input((3,), name="b")
    >>> Model([a, b], Concatenate()([a, b])).shape_of("concatenate_1")
    (5,)
    """

    kind = "concatenate"
    merges = True

    def __init__(self, name: str | None = None):
        super().__init__(name)

    def connect(self, xs: list[Tensor], new: Builder) -> Tensor:
        first, parts, begin = xs[0], [], Integer(0)
        total = Plus(*(t.axes[-1] for t in xs))
        o = Index("o", total)
        for t in xs:
            if [new.number(a) for a in t.axes[1:-1]] != [new.number(a) for a in first.axes[1:-1]]:
                shapes = ", ".join(f"{t.name} {new.shape(t)}" for t in xs)
                raise ShapeError(
                    f"Concatenate: the shapes are {shapes}; accepted are shapes that differ in the last axis only"
                )
            for a, wanted in zip(t.axes[1:-1], first.axes[1:-1], strict=True):
                new.same(a, wanted, "Concatenate")
            c = Index("c", t.axes[-1])
            parts.append(Sum(t[(*first.indices[:-1], c)] * Iverson(Eq(o, begin + c)), c))
            begin += t.axes[-1]
        return new.define("h", (*first.indices[:-1], o), Plus(*parts))
