"""The same numbers in another shape: a position in row-major order, written out."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from sympy import Eq

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor

from .base import Layer
from .builder import Builder, whole
from .registry import in_catalogue
from .sizes import product, radix


def flat(x: Tensor, new: Builder, letter: str = "h") -> Tensor:
    """All axes but the batch as one, in row-major order."""
    b, *axes = x.indices
    f = Index("f", product(axes))
    return new.define(letter, (b, f), Sum(x[x.indices] * Iverson(Eq(f, radix(axes))), *axes))


@in_catalogue
class Flatten(Layer):
    r"""All axes but the batch as one, in row-major order.

    .. math:: h_{b,f} = \sum_{u,v,c} x_{b,u,v,c}\,[f = (uV + v)C + c]

    One term of the sum is there for every f: the row is the mixed-radix number of the position.

    >>> from derive import Sequential
    >>> model = Sequential([Flatten()], input_shape=(2, 3, 5))
    >>> model.shape(model.output), model.output.axes
    ((B, 30), (B, C*H*W))
    """

    kind = "flatten"

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        if x.rank < 3:
            raise ShapeError(f"Flatten makes one axis of several; {new.shape(x)} is flat already")
        return flat(x, new)


@in_catalogue
class Reshape(Layer):
    r"""The elements of an example in another shape, in row-major order: :math:`h_{b,u,v,c} = x_{b,(uV + v)C + c}`.

    Parameters
    ----------
    target_shape : tuple of int
        Of one example; one of the numbers may be -1, for what is left.
    name : str, optional

    >>> from derive import Sequential
    >>> from derive.networks.layers import Dense
    >>> model = Sequential([Dense(12), Reshape((2, 3, -1))], input_shape=(5,))
    >>> model.shape(model.output), model.parameters["dense_1_bias"].tensor.axes
    ((B, 2, 3, 2), (C*U*V,))
    """

    kind = "reshape"

    def __init__(self, target_shape: Sequence[int], name: str | None = None):
        super().__init__(name)
        numbers = isinstance(target_shape, Sequence) and not isinstance(target_shape, str)
        if not numbers or not target_shape or list(target_shape).count(-1) > 1:
            raise ShapeError(
                f"Reshape: target_shape is {target_shape!r}; accepted are whole numbers, one of which may be -1"
            )
        where = f"Reshape: an axis of {tuple(target_shape)}"
        self.target_shape = tuple(n if n == -1 else whole(n, where) for n in target_shape)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        have, wanted = new.number(product(x.indices[1:])), prod(n for n in self.target_shape if n != -1)
        if have % wanted or (-1 not in self.target_shape and have != wanted):
            raise ShapeError(
                f"Reshape: {new.shape(x)} has {have} elements an example, and {self.target_shape} needs "
                f"{'a multiple of ' if -1 in self.target_shape else ''}{wanted}"
            )
        numbers = [have // wanted if n == -1 else n for n in self.target_shape]
        x = flat(x, new, "x") if x.rank > 2 else x
        names = ("uvw"[: len(numbers) - 1] + "c") if 1 < len(numbers) < 5 else "u" * len(numbers)
        axes = [new.axis(n, letter) for letter, n in zip(names, numbers, strict=True)]
        new.same(x.axes[1], product(axes), "Reshape")
        return new.define("h", (x.indices[0], *axes), x[x.indices[0], radix(axes)])
