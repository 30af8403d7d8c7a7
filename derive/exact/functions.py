"""The closed table of scalar functions, and how each is evaluated and differentiated exactly.

``FUNCTIONS`` maps the name of every scalar function the language has to its :class:`Primitive`; a function outside it
is an :class:`~derive.language.errors.UnsupportedError`.  How a function is written, shown and computed stands in one row
of :mod:`derive.language.functions`; the two tables share nothing but names, and a name in one of them only is an error.

The rules here and in :mod:`.laws` are the checker's own.  The derivation differentiates with SymPy's ``fdiff``; the
tangent rules are written by hand, over an abstract field ``F`` (see :mod:`derive.exact.field`), so that one cannot copy
the mistake of the other.  An argument is a tuple of ``(rational, value)`` terms, because modulo a prime exp and the
turns of a circle must know the additive structure of what they are given; ``F.total(x)`` is its plain value.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction

from derive.language.errors import DeriveError
from derive.language.functions import NAMES

from . import laws
from .abstract import Rational
from .laws import HALF, ONE, ZERO, Law


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
    modular: Law = laws.own_rule
    real: Law | None = None
    partials: tuple[Law, ...] = ()
    rational: Callable[..., Rational] | None = None
    known: tuple[Fraction, Fraction] | None = None
    everywhere: bool = False
    linear: bool = False

    @property
    def nargs(self) -> int:
        return len(self.partials)


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
        (lambda F, y, x: laws.one_over(F, F.total(x)),),
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
        laws.tan,
        lambda mp, x: mp.tan(x),
        (lambda F, y, x: F.add(F.one, laws.square(F, y)),),
        known=(ZERO, ZERO),
        linear=True,
    ),
    Primitive(
        "asin",
        lambda F, x: F.atom("asin", F.total(x), odd=True),
        lambda mp, x: mp.asin(x),
        (lambda F, y, x: laws.inverse_root(F, laws.one_minus_square(F, F.total(x))),),
        known=(ZERO, ZERO),
    ),
    Primitive(
        "acos",
        lambda F, x: F.sub(F.mul(F.rational(HALF), F.pi), F.atom("asin", F.total(x), odd=True)),
        lambda mp, x: mp.acos(x),
        (lambda F, y, x: F.neg(laws.inverse_root(F, laws.one_minus_square(F, F.total(x)))),),
    ),
    Primitive(
        "atan",
        lambda F, x: F.atom("atan", F.total(x), odd=True),
        lambda mp, x: mp.atan(x),
        (lambda F, y, x: laws.one_over(F, F.add(F.one, laws.square(F, F.total(x)))),),
        known=(ZERO, ZERO),
        everywhere=True,
    ),
    Primitive(
        "atan2",
        lambda F, y, x: F.atom(f"atan2 {F.total(y)}", F.total(x)),
        lambda mp, y, x: mp.atan2(y, x),
        (
            lambda F, value, y, x: laws.over_squares(F, F.total(x), y, x),
            lambda F, value, y, x: F.neg(laws.over_squares(F, F.total(y), y, x)),
        ),
    ),
    Primitive(
        "sinh",
        lambda F, x: laws.half_of(F, x, F.sub),
        lambda mp, x: mp.sinh(x),
        (lambda F, y, x: F.call("cosh", x),),
        known=(ZERO, ZERO),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "cosh",
        lambda F, x: laws.half_of(F, x, F.add),
        lambda mp, x: mp.cosh(x),
        (lambda F, y, x: F.call("sinh", x),),
        known=(ZERO, ONE),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "tanh",
        laws.tanh,
        lambda mp, x: mp.tanh(x),
        (lambda F, y, x: laws.one_minus_square(F, y),),
        known=(ZERO, ZERO),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "asinh",
        lambda F, x: laws.log_of_root(F, F.total(x), 1),
        lambda mp, x: mp.asinh(x),
        (lambda F, y, x: laws.inverse_root(F, F.add(laws.square(F, F.total(x)), F.one)),),
        known=(ZERO, ZERO),
        everywhere=True,
    ),
    Primitive(
        "acosh",
        lambda F, x: laws.log_of_root(F, F.total(x), -1),
        lambda mp, x: mp.acosh(x),
        (lambda F, y, x: laws.inverse_root(F, F.sub(laws.square(F, F.total(x)), F.one)),),
        known=(ONE, ZERO),
    ),
    Primitive(
        "atanh",
        laws.atanh,
        lambda mp, x: mp.atanh(x),
        (lambda F, y, x: laws.one_over(F, laws.one_minus_square(F, F.total(x))),),
        known=(ZERO, ZERO),
    ),
    Primitive(
        "erf", laws.atom("erf", odd=True), lambda mp, x: mp.erf(x), (laws.bell,), known=(ZERO, ZERO), everywhere=True
    ),
    Primitive(
        "erfc",
        lambda F, x: F.sub(F.one, F.atom("erf", F.total(x), odd=True)),
        lambda mp, x: mp.erfc(x),
        (lambda F, y, x: F.neg(laws.bell(F, y, x)),),
        known=(ZERO, ONE),
        everywhere=True,
    ),
    Primitive(
        "erfinv", laws.atom("erfinv", odd=True), lambda mp, x: mp.erfinv(x), (laws.over_bell,), known=(ZERO, ZERO)
    ),
    Primitive(
        "ndtri",
        lambda F, x: F.atom("ndtri", F.sub(F.total(x), F.rational(HALF)), odd=True),
        laws.quantile,
        (laws.over_normal,),
        known=(HALF, ZERO),
    ),
    Primitive("log_ndtr", laws.log_normal, laws.log_below, (laws.log_normal_slope,), everywhere=True, linear=True),
    Primitive("loggamma", laws.atom("loggamma"), lambda mp, x: mp.loggamma(x), (laws.psi,), known=(ONE, ZERO)),
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
        (laws.zero, lambda F, y, n, x: F.call("polygamma", (*n, (ONE, F.one)), x)),
    ),
    Primitive(
        "sigmoid",
        laws.sigmoid,
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
            lambda F, y, a, b: F.call("sigmoid", (*a, *laws.scale(b, -ONE))),
            lambda F, y, a, b: F.call("sigmoid", (*b, *laws.scale(a, -ONE))),
        ),
        everywhere=True,
        linear=True,
    ),
    Primitive(
        "Abs", laws.absolute, None, (lambda F, y, x: F.rational(Fraction(F.sign(F.total(x)))),), abs, everywhere=True
    ),
    Primitive(
        "sign", lambda F, x: F.rational(Fraction(F.sign(F.total(x)))), None, (laws.zero,), laws.sign_of, everywhere=True
    ),
    Primitive(
        "floor",
        lambda F, x: F.atom("floor", F.total(x)),
        lambda mp, x: mp.floor(x),
        (laws.zero,),
        lambda q: Fraction(q.__floor__()),
        everywhere=True,
    ),
    Primitive(
        "relu",
        laws.relu,
        None,
        (lambda F, y, x: laws.when(F, F.sign(F.total(x)) > 0, F.one),),
        lambda q: max(q, 0),
        everywhere=True,
    ),
    Primitive(
        "maximum",
        laws.maximum,
        None,
        (
            lambda F, y, a, b: laws.when(F, laws.difference_sign(F, a, b) >= 0, F.one),
            lambda F, y, a, b: laws.when(F, laws.difference_sign(F, a, b) < 0, F.one),
        ),
        max,
        everywhere=True,
    ),
    Primitive(
        "minimum",
        laws.minimum,
        None,
        (
            lambda F, y, a, b: laws.when(F, laws.difference_sign(F, a, b) <= 0, F.one),
            lambda F, y, a, b: laws.when(F, laws.difference_sign(F, a, b) > 0, F.one),
        ),
        min,
        everywhere=True,
    ),
    Primitive("stop_gradient", lambda F, x: F.total(x), None, (laws.zero,), lambda q: q, everywhere=True),
    Primitive(  # f^(n)(x) by the name of f as a number: random values, none of which follows from another
        "Unknown",
        lambda F, code, n, x: F.atom(f"unknown {F.total(code)} {F.total(n)}", F.total(x)),
        lambda mp, code, n, x: laws.some_function(mp, int(code), int(n), x),
        (laws.zero, laws.zero, lambda F, y, code, n, x: F.call("Unknown", code, (*n, (ONE, F.one)), x)),
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
