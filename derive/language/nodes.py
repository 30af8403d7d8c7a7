"""The few nodes added to SymPy: sums and maxes over an index, Iverson brackets, and functions SymPy gets wrong.

``Sum``, ``Max`` and ``ArgMax`` bind their indices (``binders``) over the full range ``0 .. size-1``.  The scalar
functions here exist because SymPy's own reorder their arguments (``Max``), overflow (``1/(1+exp(-x))``) or have no
name for the idea (``stop_gradient``).  Kinks are conventions: ``relu'(0) = 0``, ``maximum`` sends a tie
to its first argument as written, a max over an index sends its gradient to the first maximiser.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Self

import sympy
from sympy import Dummy, Expr, Function, Integer, Rational, Symbol, Tuple
from sympy.core.function import ArgumentIndexError
from sympy.logic.boolalg import Boolean
from sympy.printing.printer import Printer

from .errors import IndexCaptureError, UnsupportedError
from .index import Index, as_sympy
from .printing import latex


class Reduction(Expr):
    """Base of the nodes that bind indices: args are the body and the tuple of bound indices."""

    is_commutative = True
    is_real = True

    def __new__(cls, body: Expr, *binders: Index | tuple[Index, ...]) -> Self:
        if len(binders) == 1 and isinstance(binders[0], (tuple, list, Tuple)):
            binders = tuple(binders[0])
        body = body._sympy_() if hasattr(body, "_sympy_") else as_sympy(body, cls.__name__)
        if not isinstance(body, Expr):
            raise UnsupportedError(
                f"{cls.__name__}({body}, ...): the body is a scalar expression; "
                f"write a condition as Piecewise((value, condition), (0, True))"
            )
        if not binders:
            raise IndexCaptureError(
                f"{cls.__name__}({body}): name the index to reduce over, as in {cls.__name__}(x[i], i)"
            )
        for b in binders:
            if not isinstance(b, Index):
                raise IndexCaptureError(
                    f"{cls.__name__}({body}, {b}): {b!r} is not an index; make one with dv.index(name)"
                )
        if len(set(binders)) < len(binders):
            raise IndexCaptureError(f"{cls.__name__}({body}, {', '.join(map(str, binders))}): an index is bound twice")
        inner = {b for node in body.atoms(Reduction) for b in node.binders} if body.has(Reduction) else set()
        both = inner & set(binders)
        if both:
            b = sorted(both, key=str)[0]
            raise IndexCaptureError(
                f"{cls.__name__}({body}, {', '.join(map(str, binders))}): index {b} is already bound "
                f"inside the body; use another letter for one of the two"
            )
        return Expr.__new__(cls, body, Tuple(*binders))

    @property
    def body(self) -> Expr:
        return self.args[0]

    @property
    def binders(self) -> tuple[Index, ...]:
        return tuple(self.args[1])

    @property
    def free_symbols(self) -> set[Symbol]:
        return self.body.free_symbols - set(self.binders)

    @property
    def bound_symbols(self) -> list[Symbol]:
        """None for SymPy: it would rename them to dummies, which are not indices."""
        return []

    def _eval_derivative(self, symbol: Symbol) -> Expr:
        raise UnsupportedError(f"{self}: differentiate with dv.backprop or dv.vjp; SymPy's diff captures indices")

    def _latex(self, printer: Printer, exp: str | None = None) -> str:
        text = latex(self)
        return text if exp is None else rf"\left({text}\right)^{{{exp}}}"

    def _sympystr(self, printer: Printer) -> str:
        names = ",".join(str(b) for b in self.binders)
        return f"{type(self).__name__.lower()}[{names}]({printer._print(self.body)})"


class Sum(Reduction):
    r"""``Sum(expr, i, j)``: the sum over all values of the indices, :math:`\sum_{i,j} expr`.

    >>> from derive import indices, tensor
    >>> b, i = indices("b i")
    >>> x = tensor("x", b, i)
    >>> Sum(x[b, i]**2, i)
    sum[i](x[b, i]**2)
    """


class Max(Reduction):
    r"""``Max(expr, r)``: the largest value over an index, among the positions that exist; ties go to the first.

    For two arguments use :func:`maximum`.

    >>> from derive import indices, tensor
    >>> b, k = indices("b k")
    >>> Max(tensor("z", b, k)[b, k], k)
    max[k](z[b, k])
    """


class ArgMax(Reduction):
    """``argmax(expr, r)``: the first value of the index at which the expression is largest; an integer below r.size."""

    is_integer = True

    def __new__(cls, body: Expr, *binders: Index | tuple[Index, ...]) -> Self:
        obj = super().__new__(cls, body, *binders)
        if len(obj.binders) != 1:
            raise UnsupportedError(f"argmax over {len(obj.binders)} indices: reduce over one index at a time")
        return obj


argmax = ArgMax


class Prod(Reduction):
    r"""``Prod(expr, i, j)``: the product over all values of the indices, :math:`\prod_{i,j} expr`.

    It is computed by running products, so that its derivative, the product of all the other factors, needs no quotient
    and is right where one factor or several are zero.

    >>> from derive import indices, tensor
    >>> b, i = indices("b i")
    >>> Prod(tensor("x", b, i)[b, i], i)
    prod[i](x[b, i])
    """


class Iverson(Expr):
    """``[condition]``: 1.0 where the condition holds and 0.0 elsewhere; its derivative is zero."""

    is_commutative = True
    is_real = True
    is_nonnegative = True

    def __new__(cls, condition: Boolean) -> Expr:
        condition = as_sympy(condition, "Iverson")
        if condition == sympy.true:
            return Integer(1)
        if condition == sympy.false:
            return Integer(0)
        if not isinstance(condition, Boolean):
            raise UnsupportedError(f"Iverson({condition}): takes a condition such as q <= p")
        return Expr.__new__(cls, condition)

    @property
    def condition(self) -> Boolean:
        return self.args[0]

    def _sympystr(self, printer: Printer) -> str:
        return f"[{printer._print(self.condition)}]"


class relu(Function):
    """``relu(x) = max(x, 0)`` with ``relu'(0) = 0``."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sympy.Max(x, 0) if x.is_number and x.is_real else None

    def fdiff(self, argindex: int = 1) -> Expr:
        return Iverson(sympy.Gt(self.args[0], 0, evaluate=False))


class maximum(Function):
    """Pointwise maximum of two scalars; at a tie the first argument, as written, is taken (and gets the gradient)."""

    nargs = 2
    is_real = True

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return sympy.Max(a, b) if a.is_number and b.is_number and a.is_real and b.is_real else None

    def fdiff(self, argindex: int = 1) -> Expr:
        a, b = self.args
        return Iverson(a >= b) if argindex == 1 else Iverson(a < b)


class minimum(Function):
    """Pointwise minimum of two scalars; at a tie the first argument, as written, is taken (and gets the gradient)."""

    nargs = 2
    is_real = True

    @classmethod
    def eval(cls, a: Expr, b: Expr) -> Expr | None:
        return sympy.Min(a, b) if a.is_number and b.is_number and a.is_real and b.is_real else None

    def fdiff(self, argindex: int = 1) -> Expr:
        a, b = self.args
        return Iverson(a <= b) if argindex == 1 else Iverson(a > b)


class stop_gradient(Function):
    """The identity in value, a constant to differentiation."""

    nargs = 1
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        return Integer(0)


class loggamma(Function):
    r""":math:`\log\Gamma(x)` for x > 0; SymPy's own turns into ``log(gamma(n))`` at whole numbers, which overflows."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sympy.zoo if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return digamma(self.args[0])


class digamma(Function):
    r""":math:`\psi(x) = \Gamma'(x)/\Gamma(x)` for x > 0."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, x: Expr) -> Expr | None:
        return sympy.zoo if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return polygamma(1, self.args[0])


class polygamma(Function):
    r""":math:`\psi^{(n)}(x)`, the n-th derivative of :class:`digamma`, for x > 0 and a whole number n."""

    nargs = 2
    is_real = True

    @classmethod
    def eval(cls, n: Expr, x: Expr) -> Expr | None:
        if not (n.is_Integer and n.is_nonnegative):
            raise UnsupportedError(f"polygamma({n}, {x}): the order is a whole number, as in polygamma(1, x)")
        return digamma(x) if n == 0 else sympy.zoo if x.is_zero else None

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 2:
            raise ArgumentIndexError(self, argindex)
        return polygamma(self.args[0] + 1, self.args[1])


class ndtri(Function):
    r""":math:`\Phi^{-1}(p)` for 0 < p < 1, the quantile of the standard normal distribution; SciPy's ``ndtri``."""

    nargs = 1
    is_real = True

    @classmethod
    def eval(cls, p: Expr) -> Expr | None:
        if p == Rational(1, 2):
            return Integer(0)
        return -sympy.oo if p.is_zero else sympy.oo if p == 1 else None

    @classmethod
    def definition(cls, p: Expr) -> Expr:
        """Its value; not how it is computed, which would lose a small p."""
        return sympy.sqrt(2) * sympy.erfinv(2 * p - 1)

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return sympy.sqrt(2 * sympy.pi) * sympy.exp(self**2 / 2)


class log_ndtr(Function):
    r""":math:`\log\Phi(x)`, of the standard normal distribution; SciPy's ``log_ndtr``, which keeps its digits on both sides."""

    nargs = 1
    is_real = True
    is_negative = True

    @classmethod
    def definition(cls, x: Expr) -> Expr:
        """Its value; not how it is computed, which would be minus infinity from -38 on."""
        return sympy.log(sympy.erfc(-x / sympy.sqrt(2)) / 2)

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        return sympy.exp(-(self.args[0] ** 2) / 2 - self) / sympy.sqrt(2 * sympy.pi)


class atan2(Function):
    r"""The angle of the point (x, y), :math:`\arctan(y/x)` in its own quadrant, as of C's ``atan2(y, x)``."""

    nargs = 2
    is_real = True

    def fdiff(self, argindex: int = 1) -> Expr:
        y, x = self.args
        if argindex not in (1, 2):
            raise ArgumentIndexError(self, argindex)
        return (x if argindex == 1 else -y) / (x**2 + y**2)


class _FromDefinition(Function):
    """A function known only by its definition; its derivative is SymPy's, written again in known functions."""

    nargs = 1
    is_real = True

    @classmethod
    def definition(cls, x: Expr) -> Expr:
        raise NotImplementedError

    def fdiff(self, argindex: int = 1) -> Expr:
        if argindex != 1:
            raise ArgumentIndexError(self, argindex)
        dummy, derivative = _derivative_of(self.definition)
        return derivative.xreplace({dummy: self.args[0]})


@functools.cache
def _derivative_of(definition: Callable[[Expr], Expr]) -> tuple[Dummy, Expr]:
    """Differentiate the definition, then name ``s = sigmoid(x)`` in it through ``exp(x) = s/(1-s)``."""
    x, s = Dummy("x", real=True), Dummy("s")
    raw = definition(x).diff(x)
    in_s = raw.subs(sympy.exp(-x), (1 - s) / s).subs(sympy.exp(x), s / (1 - s))
    if in_s.has(x):
        return x, raw
    return x, sympy.factor(sympy.cancel(in_s)).replace(lambda e: e == s - 1, lambda e: e).subs(s, sigmoid(x))


class sigmoid(_FromDefinition):
    r""":math:`\sigma(x) = 1/(1+e^{-x})`, evaluated without overflow."""

    is_positive = True

    @classmethod
    def definition(cls, x: Expr) -> Expr:
        return 1 / (1 + sympy.exp(-x))


class softplus(_FromDefinition):
    r""":math:`\log(1+e^{x})`, evaluated without overflow; its derivative is :class:`sigmoid`."""

    is_positive = True

    @classmethod
    def definition(cls, x: Expr) -> Expr:
        return sympy.log(1 + sympy.exp(x))


class logaddexp(Function):
    r""":math:`\log(e^a + e^b)`, evaluated without overflow; of ``-oo`` twice it is ``-oo``.

    The derivatives are the shares of the two, ``sigmoid(a - b)`` and ``sigmoid(b - a)``.
    """

    nargs = 2
    is_real = True

    @classmethod
    def definition(cls, a: Expr, b: Expr) -> Expr:
        return sympy.log(sympy.exp(a) + sympy.exp(b))

    def fdiff(self, argindex: int = 1) -> Expr:
        a, b = self.args
        return sigmoid(a - b) if argindex == 1 else sigmoid(b - a)
