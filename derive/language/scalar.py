"""The arithmetic of what stands for one number in an expression: a tensor without axes, as its own read."""

from __future__ import annotations

from sympy import Expr
from sympy.logic.boolalg import Boolean


class Scalar:
    """Operators of SymPy's expressions, for what ``_sympy_`` makes one of."""

    __slots__ = ()

    def _sympy_(self) -> Expr:
        raise NotImplementedError

    def __add__(self, other: object) -> Expr:
        return self._sympy_() + other

    def __radd__(self, other: object) -> Expr:
        return other + self._sympy_()

    def __sub__(self, other: object) -> Expr:
        return self._sympy_() - other

    def __rsub__(self, other: object) -> Expr:
        return other - self._sympy_()

    def __mul__(self, other: object) -> Expr:
        return self._sympy_() * other

    def __rmul__(self, other: object) -> Expr:
        return other * self._sympy_()

    def __truediv__(self, other: object) -> Expr:
        return self._sympy_() / other

    def __rtruediv__(self, other: object) -> Expr:
        return other / self._sympy_()

    def __pow__(self, other: object) -> Expr:
        return self._sympy_() ** other

    def __rpow__(self, other: object) -> Expr:
        return other ** self._sympy_()

    def __neg__(self) -> Expr:
        return -self._sympy_()

    def __lt__(self, other: object) -> Boolean:
        return self._sympy_() < other

    def __le__(self, other: object) -> Boolean:
        return self._sympy_() <= other

    def __gt__(self, other: object) -> Boolean:
        return self._sympy_() > other

    def __ge__(self, other: object) -> Boolean:
        return self._sympy_() >= other
