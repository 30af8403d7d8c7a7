"""Laws of the scalar functions in an abstract field: what the rows of :mod:`derive.exact.functions` are made of.

An argument is a tuple of ``(rational, value)`` terms, see there; ``F.total(x)`` is its plain value.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any, NoReturn, TypeAlias

from derive.language.errors import UnsupportedError

from .abstract import Argument, AtomField, Field, V

SQUARED = 8  # terms of a sum whose square is multiplied out, see derive.exact.compile
ZERO, HALF, ONE, TWO = Fraction(0), Fraction(1, 2), Fraction(1), Fraction(2)

Law: TypeAlias = Callable[..., Any]
"""A formula that holds in whatever field it is given and takes one or two arguments: no Callable type says so much."""


def own_rule(F: Field[V], *args: Argument[V]) -> NoReturn:
    raise UnsupportedError("powers and conditions have rules of their own in the evaluator")


def scale(arg: Argument[V], factor: Fraction) -> Argument[V]:
    """The argument ``factor * x``, term by term."""
    return tuple((c * factor, v) for c, v in arg)


def square(F: Field[V], v: V) -> V:
    return F.mul(v, v)


def squared(F: Field[V], x: Argument[V]) -> Argument[V]:
    """The square of a sum, multiplied out as an exponent is, in which ``exp(-(x - y)**2)`` is ``exp(-x**2 + 2 x y - y**2)``."""
    if len(x) > SQUARED:
        return ((ONE, square(F, F.total(x))),)
    return tuple((Fraction(a) * b, F.mul(u, v)) for a, u in x for b, v in x)


def one_over(F: Field[V], v: V) -> V:
    return F.div(F.one, v)


def one_minus_square(F: Field[V], v: V) -> V:
    return F.sub(F.one, square(F, v))


# -- exponential and circular functions, all through one exp and one turn of the circle ----------------------------


def tanh(F: Field[V], x: Argument[V]) -> V:
    e = F.exp(scale(x, TWO))
    return F.div(F.sub(e, F.one), F.add(e, F.one))


def half_of(F: Field[V], x: Argument[V], combine: Callable[[V, V], V]) -> V:
    e = F.exp(x)
    return F.mul(F.rational(HALF), combine(e, one_over(F, e)))


def sigmoid(F: Field[V], x: Argument[V]) -> V:
    e = F.exp(x)
    return F.div(e, F.add(F.one, e))


def log_of_root(F: Field[V], v: V, shift: int) -> V:
    """``log(v + sqrt(v**2 + shift))``: asinh for +1, acosh for -1."""
    root = F.power(F.add(square(F, v), F.rational(Fraction(shift))), HALF)
    return F.log(F.add(v, root))


def atanh(F: Field[V], x: Argument[V]) -> V:
    v = F.total(x)
    return F.mul(F.rational(HALF), F.log(F.div(F.add(F.one, v), F.sub(F.one, v))))


def some_function(mp: Any, code: int, n: int, x: Any) -> Any:
    """The n-th derivative of one function for each code, a sine of its own frequency and phase: for a name in the reals."""
    slope = mp.mpf(code % 97 + 60) / 97
    return slope**n * mp.sin(slope * x + code % 89 + n * mp.pi / 2)


def tan(F: AtomField[V], x: Argument[V]) -> V:
    cos, sin = F.turn(x)
    return F.div(sin, cos)


def bell(F: Field[V], y: V, x: Argument[V]) -> V:
    """``2/sqrt(pi) * exp(-x**2)``, the derivative of erf."""
    return F.mul(F.mul(F.rational(TWO), F.power(F.pi, -HALF)), F.exp(scale(squared(F, x), -ONE)))


def over_bell(F: Field[V], y: V, x: Argument[V]) -> V:
    """``sqrt(pi)/2 * exp(y**2)``, the derivative of the inverse of erf."""
    return F.mul(F.mul(F.rational(HALF), F.power(F.pi, HALF)), F.exp(((ONE, square(F, y)),)))


def quantile(mp: Any, p: Any) -> Any:
    """The quantile of the normal distribution, with as many digits more as 2 p - 1 has zeros or nines before its own."""
    if not 0 < p < 1:
        return mp.nan
    with mp.workprec(mp.prec + max(0, -mp.mag(min(p, 1 - p)))):
        return mp.sqrt(2) * mp.erfinv(2 * p - 1)


def over_normal(F: Field[V], y: V, x: Argument[V]) -> V:
    """``sqrt(2 pi) exp(y**2/2)``, one over the normal density at y: the derivative of its quantile."""
    return F.mul(root_of_turn(F, HALF), F.exp(((HALF, square(F, y)),)))


def log_normal(F: AtomField[V], x: Argument[V]) -> V:
    """``log((1 + erf(x/sqrt(2)))/2)``"""
    error = F.atom("erf", F.mul(F.total(x), F.power(F.rational(TWO), -HALF)), odd=True)
    return F.log(F.mul(F.rational(HALF), F.add(F.one, error)))


def log_below(mp: Any, x: Any) -> Any:
    return mp.log1p(-mp.ncdf(-x)) if x > 0 else mp.log(mp.ncdf(x))


def log_normal_slope(F: Field[V], y: V, x: Argument[V]) -> V:
    """``exp(-x**2/2 - y) / sqrt(2 pi)``, the density by the distribution, whose log is y."""
    return F.mul(root_of_turn(F, -HALF), F.exp((*scale(squared(F, x), -HALF), (-ONE, y))))


def root_of_turn(F: Field[V], q: Fraction) -> V:
    """``(2 pi)**q``"""
    return F.mul(F.power(F.rational(TWO), q), F.power(F.pi, q))


def psi(F: Field[V], y: V, x: Argument[V]) -> V:
    return F.call("digamma", x)


def atom(name: str, odd: bool = False) -> Law:
    return lambda F, x: F.atom(name, F.total(x), odd=odd)


def over_squares(F: Field[V], top: V, y: Argument[V], x: Argument[V]) -> V:
    return F.mul(top, one_over(F, F.add(square(F, F.total(x)), square(F, F.total(y)))))


def inverse_root(F: Field[V], v: V) -> V:
    return F.power(v, -HALF)


# -- ordered functions: right in any field that has a sign ---------------------------------------------------------


def when(F: Field[V], condition: bool, v: V) -> V:
    return v if condition else F.zero


def relu(F: Field[V], x: Argument[V]) -> V:
    v = F.total(x)
    return when(F, F.sign(v) > 0, v)


def absolute(F: Field[V], x: Argument[V]) -> V:
    v = F.total(x)
    return F.neg(v) if F.sign(v) < 0 else v


def difference_sign(F: Field[V], a: Argument[V], b: Argument[V]) -> int:
    return F.sign(F.sub(F.total(a), F.total(b)))


def maximum(F: Field[V], a: Argument[V], b: Argument[V]) -> V:
    return F.total(a) if difference_sign(F, a, b) >= 0 else F.total(b)


def minimum(F: Field[V], a: Argument[V], b: Argument[V]) -> V:
    return F.total(a) if difference_sign(F, a, b) <= 0 else F.total(b)


def zero(F: Field[V], y: V, *args: Argument[V]) -> V:
    return F.zero


def sign_of(q: Fraction) -> Fraction:
    return Fraction((q > 0) - (q < 0))
