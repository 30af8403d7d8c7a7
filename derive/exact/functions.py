"""The closed table of scalar functions, and how each is evaluated and differentiated exactly.

``FUNCTIONS`` maps the name of every scalar function the language has to its :class:`Primitive`; a function outside it
is an :class:`~derive.language.errors.UnsupportedError`.  How a function is written, shown and computed stands in one row
of :mod:`derive.language.functions`; the two tables share nothing but names, and a name in one of them only is an error.

The rules here are the checker's own.  The derivation differentiates with SymPy's ``fdiff``; the tangent rules below are
written by hand, over an abstract field ``F`` (see :mod:`derive.exact.field`), so that one cannot copy the mistake of
the other.  An argument is a tuple of ``(rational, value)`` terms, because modulo a prime exp and the turns of a circle
must know the additive structure of what they are given; ``F.total(x)`` is its plain value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn, TypeAlias

from derive.language.errors import DeriveError, UnsupportedError
from derive.language.functions import NAMES

from .abstract import Argument, AtomField, Field, Rational, V

SQUARED = 8  # terms of a sum whose square is multiplied out, see derive.exact.compile
ZERO, HALF, ONE, TWO = Fraction(0), Fraction(1, 2), Fraction(1), Fraction(2)

Law: TypeAlias = Callable[..., Any]
"""A formula that holds in whatever field it is given and takes one or two arguments: no Callable type says so much."""


def _own_rule(F: Field[V], *args: Argument[V]) -> NoReturn:
    raise UnsupportedError("powers and conditions have rules of their own in the evaluator")


@dataclass(frozen=True)
class Primitive:
    """One scalar function.

    Attributes
    ----------
    name : str
        The name of its SymPy class.
    modular : callable ``(F, *arguments) -> value`` in the prime field; refuses where the evaluator has its own rule
    real : callable ``(mp, *numbers) -> number`` in an mpmath context; None where ``modular`` is right in any field
    partials : one callable ``(F, y, *arguments) -> value`` per argument, ``y`` being the function's own value
    rational : callable on Fractions, for functions with rational values at every rational
    known : (argument, value), a rational point at which the value is rational all the same
    everywhere : whether it exists at every real argument
    linear : whether its laws mod p need to know of what terms its argument is the sum
    """

    name: str
    modular: Law = _own_rule
    real: Law | None = None
    partials: tuple[Law, ...] = ()
    rational: Callable[..., Rational] | None = None
    known: tuple[Fraction, Fraction] | None = None
    everywhere: bool = False
    linear: bool = False

    @property
    def nargs(self) -> int:
        return len(self.partials)


def scale(arg: Argument[V], factor: Fraction) -> Argument[V]:
    """The argument ``factor * x``, term by term."""
    return tuple((c * factor, v) for c, v in arg)


def _square(F: Field[V], v: V) -> V:
    return F.mul(v, v)


def _squared(F: Field[V], x: Argument[V]) -> Argument[V]:
    """The square of a sum, multiplied out as an exponent is, in which ``exp(-(x - y)**2)`` is ``exp(-x**2 + 2 x y - y**2)``."""
    if len(x) > SQUARED:
        return ((ONE, _square(F, F.total(x))),)
    return tuple((Fraction(a) * b, F.mul(u, v)) for a, u in x for b, v in x)


def _one_over(F: Field[V], v: V) -> V:
    return F.div(F.one, v)


def _one_minus_square(F: Field[V], v: V) -> V:
    return F.sub(F.one, _square(F, v))


# -- exponential and circular functions, all through one exp and one turn of the circle ----------------------------


def _tanh(F: Field[V], x: Argument[V]) -> V:
    e = F.exp(scale(x, TWO))
    return F.div(F.sub(e, F.one), F.add(e, F.one))


def _half_of(F: Field[V], x: Argument[V], combine: Callable[[V, V], V]) -> V:
    e = F.exp(x)
    return F.mul(F.rational(HALF), combine(e, _one_over(F, e)))


def _sigmoid(F: Field[V], x: Argument[V]) -> V:
    e = F.exp(x)
    return F.div(e, F.add(F.one, e))


def _log_of_root(F: Field[V], v: V, shift: int) -> V:
    """``log(v + sqrt(v**2 + shift))``: asinh for +1, acosh for -1."""
    root = F.power(F.add(_square(F, v), F.rational(Fraction(shift))), HALF)
    return F.log(F.add(v, root))


def _atanh(F: Field[V], x: Argument[V]) -> V:
    v = F.total(x)
    return F.mul(F.rational(HALF), F.log(F.div(F.add(F.one, v), F.sub(F.one, v))))


def _some_function(mp: Any, code: int, n: int, x: Any) -> Any:
    """The n-th derivative of one function for each code, a sine of its own frequency and phase: for a name in the reals."""
    slope = mp.mpf(code % 97 + 60) / 97
    return slope**n * mp.sin(slope * x + code % 89 + n * mp.pi / 2)


def _tan(F: AtomField[V], x: Argument[V]) -> V:
    cos, sin = F.turn(x)
    return F.div(sin, cos)


def _bell(F: Field[V], y: V, x: Argument[V]) -> V:
    """``2/sqrt(pi) * exp(-x**2)``, the derivative of erf."""
    return F.mul(F.mul(F.rational(TWO), F.power(F.pi, -HALF)), F.exp(scale(_squared(F, x), -ONE)))


def _over_bell(F: Field[V], y: V, x: Argument[V]) -> V:
    """``sqrt(pi)/2 * exp(y**2)``, the derivative of the inverse of erf."""
    return F.mul(F.mul(F.rational(HALF), F.power(F.pi, HALF)), F.exp(((ONE, _square(F, y)),)))


def _quantile(mp: Any, p: Any) -> Any:
    """The quantile of the normal distribution, with as many digits more as 2 p - 1 has zeros or nines before its own."""
    if not 0 < p < 1:
        return mp.nan
    with mp.workprec(mp.prec + max(0, -mp.mag(min(p, 1 - p)))):
        return mp.sqrt(2) * mp.erfinv(2 * p - 1)


def _over_normal(F: Field[V], y: V, x: Argument[V]) -> V:
    """``sqrt(2 pi) exp(y**2/2)``, one over the normal density at y: the derivative of its quantile."""
    return F.mul(_root_of_turn(F, HALF), F.exp(((HALF, _square(F, y)),)))


def _log_normal(F: AtomField[V], x: Argument[V]) -> V:
    """``log((1 + erf(x/sqrt(2)))/2)``"""
    error = F.atom("erf", F.mul(F.total(x), F.power(F.rational(TWO), -HALF)), odd=True)
    return F.log(F.mul(F.rational(HALF), F.add(F.one, error)))


def _log_below(mp: Any, x: Any) -> Any:
    return mp.log1p(-mp.ncdf(-x)) if x > 0 else mp.log(mp.ncdf(x))


def _log_normal_slope(F: Field[V], y: V, x: Argument[V]) -> V:
    """``exp(-x**2/2 - y) / sqrt(2 pi)``, the density by the distribution, whose log is y."""
    return F.mul(_root_of_turn(F, -HALF), F.exp((*scale(_squared(F, x), -HALF), (-ONE, y))))


def _root_of_turn(F: Field[V], q: Fraction) -> V:
    """``(2 pi)**q``"""
    return F.mul(F.power(F.rational(TWO), q), F.power(F.pi, q))


def _psi(F: Field[V], y: V, x: Argument[V]) -> V:
    return F.call("digamma", x)


def _atom(name: str, odd: bool = False) -> Law:
    return lambda F, x: F.atom(name, F.total(x), odd=odd)


def _over_squares(F: Field[V], top: V, y: Argument[V], x: Argument[V]) -> V:
    return F.mul(top, _one_over(F, F.add(_square(F, F.total(x)), _square(F, F.total(y)))))


def _inverse_root(F: Field[V], v: V) -> V:
    return F.power(v, -HALF)


# -- ordered functions: right in any field that has a sign ---------------------------------------------------------


def _when(F: Field[V], condition: bool, v: V) -> V:
    return v if condition else F.zero


def _relu(F: Field[V], x: Argument[V]) -> V:
    v = F.total(x)
    return _when(F, F.sign(v) > 0, v)


def _abs(F: Field[V], x: Argument[V]) -> V:
    v = F.total(x)
    return F.neg(v) if F.sign(v) < 0 else v


def _difference_sign(F: Field[V], a: Argument[V], b: Argument[V]) -> int:
    return F.sign(F.sub(F.total(a), F.total(b)))


def _maximum(F: Field[V], a: Argument[V], b: Argument[V]) -> V:
    return F.total(a) if _difference_sign(F, a, b) >= 0 else F.total(b)


def _minimum(F: Field[V], a: Argument[V], b: Argument[V]) -> V:
    return F.total(a) if _difference_sign(F, a, b) <= 0 else F.total(b)


def _zero(F: Field[V], y: V, *args: Argument[V]) -> V:
    return F.zero


def _sign_of(q: Fraction) -> Fraction:
    return Fraction((q > 0) - (q < 0))


_TABLE = (
    Primitive(
        "exp",
        lambda F, x: F.exp(x),
        lambda mp, x: mp.exp(x),
        (lambda F, y, x: y,),
        known=(ZERO, ONE),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "log",
        lambda F, x: F.log(F.total(x)),
        lambda mp, x: mp.log(x),
        (lambda F, y, x: _one_over(F, F.total(x)),),
        known=(ONE, ZERO),
        linear=True,
    ),
    Primitive(
        "sin",
        lambda F, x: F.turn(x)[1],
        lambda mp, x: mp.sin(x),
        (lambda F, y, x: F.call("cos", x),),
        known=(ZERO, ZERO),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "cos",
        lambda F, x: F.turn(x)[0],
        lambda mp, x: mp.cos(x),
        (lambda F, y, x: F.neg(F.call("sin", x)),),
        known=(ZERO, ONE),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "tan",
        _tan,
        lambda mp, x: mp.tan(x),
        (lambda F, y, x: F.add(F.one, _square(F, y)),),
        known=(ZERO, ZERO),
        linear=True,
    ),
    Primitive(
        "asin",
        lambda F, x: F.atom("asin", F.total(x), odd=True),
        lambda mp, x: mp.asin(x),
        (lambda F, y, x: _inverse_root(F, _one_minus_square(F, F.total(x))),),
        known=(ZERO, ZERO),
    ),
    Primitive(
        "acos",
        lambda F, x: F.sub(F.mul(F.rational(HALF), F.pi), F.atom("asin", F.total(x), odd=True)),
        lambda mp, x: mp.acos(x),
        (lambda F, y, x: F.neg(_inverse_root(F, _one_minus_square(F, F.total(x)))),),
    ),
    Primitive(
        "atan",
        lambda F, x: F.atom("atan", F.total(x), odd=True),
        lambda mp, x: mp.atan(x),
        (lambda F, y, x: _one_over(F, F.add(F.one, _square(F, F.total(x)))),),
        known=(ZERO, ZERO),
        everywhere=True,
    ),
    Primitive(
        "atan2",
        lambda F, y, x: F.atom(f"atan2 {F.total(y)}", F.total(x)),
        lambda mp, y, x: mp.atan2(y, x),
        (
            lambda F, value, y, x: _over_squares(F, F.total(x), y, x),
            lambda F, value, y, x: F.neg(_over_squares(F, F.total(y), y, x)),
        ),
    ),
    Primitive(
        "sinh",
        lambda F, x: _half_of(F, x, F.sub),
        lambda mp, x: mp.sinh(x),
        (lambda F, y, x: F.call("cosh", x),),
        known=(ZERO, ZERO),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "cosh",
        lambda F, x: _half_of(F, x, F.add),
        lambda mp, x: mp.cosh(x),
        (lambda F, y, x: F.call("sinh", x),),
        known=(ZERO, ONE),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "tanh",
        _tanh,
        lambda mp, x: mp.tanh(x),
        (lambda F, y, x: _one_minus_square(F, y),),
        known=(ZERO, ZERO),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "asinh",
        lambda F, x: _log_of_root(F, F.total(x), 1),
        lambda mp, x: mp.asinh(x),
        (lambda F, y, x: _inverse_root(F, F.add(_square(F, F.total(x)), F.one)),),
        known=(ZERO, ZERO),
        everywhere=True,
    ),
    Primitive(
        "acosh",
        lambda F, x: _log_of_root(F, F.total(x), -1),
        lambda mp, x: mp.acosh(x),
        (lambda F, y, x: _inverse_root(F, F.sub(_square(F, F.total(x)), F.one)),),
        known=(ONE, ZERO),
    ),
    Primitive(
        "atanh",
        _atanh,
        lambda mp, x: mp.atanh(x),
        (lambda F, y, x: _one_over(F, _one_minus_square(F, F.total(x))),),
        known=(ZERO, ZERO),
    ),
    Primitive("erf", _atom("erf", odd=True), lambda mp, x: mp.erf(x), (_bell,), known=(ZERO, ZERO), everywhere=True),
    Primitive(
        "erfc",
        lambda F, x: F.sub(F.one, F.atom("erf", F.total(x), odd=True)),
        lambda mp, x: mp.erfc(x),
        (lambda F, y, x: F.neg(_bell(F, y, x)),),
        known=(ZERO, ONE),
        everywhere=True,
    ),
    Primitive("erfinv", _atom("erfinv", odd=True), lambda mp, x: mp.erfinv(x), (_over_bell,), known=(ZERO, ZERO)),
    Primitive(
        "ndtri",
        lambda F, x: F.atom("ndtri", F.sub(F.total(x), F.rational(HALF)), odd=True),
        _quantile,
        (_over_normal,),
        known=(HALF, ZERO),
    ),
    Primitive("log_ndtr", _log_normal, _log_below, (_log_normal_slope,), everywhere=True, linear=True),
    Primitive("loggamma", _atom("loggamma"), lambda mp, x: mp.loggamma(x), (_psi,), known=(ONE, ZERO)),
    Primitive(
        "digamma",
        lambda F, x: F.atom("digamma", F.total(x)),
        lambda mp, x: mp.psi(0, x),
        (lambda F, y, x: F.call("polygamma", ((ONE, F.one),), x),),
    ),
    Primitive(
        "polygamma",
        lambda F, n, x: F.atom(f"polygamma {F.total(n)}", F.total(x)),
        lambda mp, n, x: mp.psi(int(n), x),
        (_zero, lambda F, y, n, x: F.call("polygamma", (*n, (ONE, F.one)), x)),
    ),
    Primitive(
        "sigmoid",
        _sigmoid,
        lambda mp, x: 1 / (1 + mp.exp(-x)),
        (lambda F, y, x: F.mul(y, F.sub(F.one, y)),),
        known=(ZERO, HALF),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "softplus",
        lambda F, x: F.log(F.add(F.one, F.exp(x))),
        lambda mp, x: mp.log1p(mp.exp(x)),
        (lambda F, y, x: F.call("sigmoid", x),),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "logaddexp",
        lambda F, a, b: F.log(F.add(F.exp(a), F.exp(b))),
        lambda mp, a, b: mp.log(mp.exp(a) + mp.exp(b)),
        (
            lambda F, y, a, b: F.call("sigmoid", (*a, *scale(b, -ONE))),
            lambda F, y, a, b: F.call("sigmoid", (*b, *scale(a, -ONE))),
        ),
        everywhere=True,
        linear=True,
    ),
    Primitive("Abs", _abs, None, (lambda F, y, x: F.rational(Fraction(F.sign(F.total(x)))),), abs, everywhere=True),
    Primitive("sign", lambda F, x: F.rational(Fraction(F.sign(F.total(x)))), None, (_zero,), _sign_of, everywhere=True),
    Primitive(
        "floor",
        lambda F, x: F.atom("floor", F.total(x)),
        lambda mp, x: mp.floor(x),
        (_zero,),
        lambda q: Fraction(q.__floor__()),
        everywhere=True,
    ),
    Primitive(
        "relu",
        _relu,
        None,
        (lambda F, y, x: _when(F, F.sign(F.total(x)) > 0, F.one),),
        lambda q: max(q, 0),
        everywhere=True,
    ),
    Primitive(
        "maximum",
        _maximum,
        None,
        (
            lambda F, y, a, b: _when(F, _difference_sign(F, a, b) >= 0, F.one),
            lambda F, y, a, b: _when(F, _difference_sign(F, a, b) < 0, F.one),
        ),
        max,
        everywhere=True,
    ),
    Primitive(
        "minimum",
        _minimum,
        None,
        (
            lambda F, y, a, b: _when(F, _difference_sign(F, a, b) <= 0, F.one),
            lambda F, y, a, b: _when(F, _difference_sign(F, a, b) > 0, F.one),
        ),
        min,
        everywhere=True,
    ),
    Primitive("stop_gradient", lambda F, x: F.total(x), None, (_zero,), lambda q: q, everywhere=True),
    Primitive(  # f^(n)(x) by the name of f as a number: random values, none of which follows from another
        "Unknown",
        lambda F, code, n, x: F.atom(f"unknown {F.total(code)} {F.total(n)}", F.total(x)),
        lambda mp, code, n, x: _some_function(mp, int(code), int(n), x),
        (_zero, _zero, lambda F, y, code, n, x: F.call("Unknown", code, (*n, (ONE, F.one)), x)),
        everywhere=True,
    ),
    # the evaluator has its own rules for these: powers by exponent, conditions by branch
    Primitive("Pow"),
    Primitive("Piecewise"),
    Primitive("Iverson"),
)

FUNCTIONS: dict[str, Primitive] = {p.name: p for p in _TABLE}


def compared(language: Collection[str], checker: Collection[str]) -> None:
    """Raise an error that names what one of the two tables of functions has and the other has not."""
    for name in sorted({*language} ^ {*checker}):
        here, there = "derive.language.functions", "derive.exact.functions"
        here, there = (here, there) if name in language else (there, here)
        raise DeriveError(f"function {name} has a row in {here} and none in {there}; a function needs both")


compared(NAMES, FUNCTIONS)
