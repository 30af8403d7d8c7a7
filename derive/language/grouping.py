"""Sums that cancel by design: ``1e9 m - 1e9`` of a mask is ``1e9 (m - 1)``, and ``100 x - 1e5`` is ``100 (x - 1000)``.

Over the reals that is the same; in floats the first swallows what is added to it, since each of its terms is far larger
than their sum.  SymPy multiplies a number into a sum wherever it meets one (``1e9*(1 - m)`` arrives as ``1e9 - 1e9*m``), so
such sums are found by their coefficients; a text keeps the number before the bracket where its author wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import sympy
from sympy import Add, Basic, Expr, Integer, Mul, Piecewise, Pow, Rational

from .tensor import Read

LARGE = 1000  # a sum with a coefficient from here on loses three digits or more
BEYOND_FLOATS = 80  # e^80 is the largest power that a float32 holds, nearly
MULTIPLE = 1000  # the largest multiple of the common coefficient that is taken out of the bracket with it


def cancelling(coefs: Sequence[Expr]) -> tuple[Expr, list[int]] | None:
    """The coefficient that large addends of both signs share, and their places; None if there are none.

    >>> from sympy import Integer
    >>> cancelling([Integer(1), Integer(10**9), Integer(-(10**9))])
    (1000000000, [1, 2])
    """
    rational = {n: c for n, c in enumerate(coefs) if c.is_Rational}
    for c in sorted({abs(k) for k in rational.values()} - {1}, reverse=True):
        places = [n for n, k in rational.items() if (k / c).is_Integer and abs(k) <= MULTIPLE * c]
        found = [rational[n] for n in places]
        if max(map(abs, found)) >= LARGE and min(found) < 0 < max(found):
            return c, places
    return None


def cancels(e: Add) -> bool:
    """Whether a sum holds large addends that cancel."""
    return e.has(Read) and cancelling([a.as_coeff_Mul()[0] for a in e.args]) is not None


def is_group(e: Basic) -> bool:
    """``0.3 (a - b)`` as an author grouped it, where multiplying out would round: a number before a sum."""
    if not (isinstance(e, Mul) and len(e.args) == 2 and e.args[0].is_Rational and e.args[1].is_Add):
        return False
    number = abs(e.args[0])
    return number >= LARGE or number.p & (number.p - 1) != 0 or number.q & (number.q - 1) != 0


def holds_group(e: Basic) -> bool:
    """Whether a sum (or a number before one) is computed as it is grouped, so that it needs a name of its own."""
    if not e.has(Read):
        return False
    if isinstance(e, Add):
        return any(map(is_group, e.args)) or cancels(e)
    return is_group(e)


def scaled(number: Expr, e: Expr) -> Expr:
    """``number * e``, a sum kept in its bracket where that is a group."""
    coefficient, rest = e.as_coeff_Mul()
    if rest.is_Add:
        grouped = Mul(number * coefficient, rest, evaluate=False)
        if is_group(grouped):
            return grouped
    return number * e


def replaced(e: Expr, mapping: Mapping[Basic, Expr]) -> Expr:
    """``e.xreplace(mapping)`` with its groups left as they are, which SymPy would multiply out."""
    if e in mapping:
        return mapping[e]
    if not any(is_group(a) for a in _nodes(e)):
        try:
            return e.xreplace(mapping)
        except RecursionError:  # SymPy may turn a condition of a Piecewise round and back again, without an end
            return as_written(e, mapping)
    return rebuilt(e, tuple(replaced(a, mapping) for a in e.args))


def as_written(e: Basic, mapping: Mapping[Basic, Expr]) -> Basic:
    """``e.xreplace(mapping)`` with the conditions of a Piecewise as they stand.

    >>> from sympy.abc import x, y
    >>> as_written(Piecewise((x, -x < -1), (0, True)), {x: y})
    Piecewise((y, y > 1), (0, True))
    """
    if e in mapping:
        return mapping[e]
    args = tuple(as_written(a, mapping) for a in e.args)
    if args == e.args:
        return e
    return Piecewise(*args, evaluate=False) if isinstance(e, Piecewise) else e.func(*args)


def rebuilt(e: Basic, args: tuple[Basic, ...]) -> Basic:
    """The node with other arguments."""
    if args == e.args:
        return e
    if is_group(e) and args[0].is_Number and args[1].is_Add:
        return Mul(*args, evaluate=False)
    if isinstance(e, Pow) and is_group(args[0]):  # SymPy would take the number out of the power
        return Pow(*args, evaluate=False)
    return e.func(*args)


def _nodes(e: Basic) -> Iterator[Basic]:
    yield e
    for a in e.args:
        yield from _nodes(a)


def float_in_exponent(e: Mul) -> Expr:
    """``exp(u - 1e9)``, which SymPy makes ``4e-434294482 * exp(u)``: a factor that a float is 0 for, or has lost its digits.

    A factor that is a short decimal itself is the user's; so is one whose logarithm is none, unless it is beyond floats.
    """
    factor, *others = e.args
    powers = [a for a in others if isinstance(a, sympy.exp)]
    if not (factor.is_Float and factor.is_positive and powers):
        return e
    value, exponent, rest = float(factor), float(sympy.log(factor)), Integer(1)
    if abs(exponent) > BEYOND_FLOATS:
        found = _partner(factor, powers[0].args[0])
        added, rest = found or (Rational(f"{exponent:.15g}"), rest)
    else:
        added = Rational(f"{exponent:.12g}")
        if abs(value - float(f"{value:.12g}")) <= 1e-15 * value or abs(exponent - float(added)) > 4e-15:
            return e
    return Mul(rest, sympy.exp(powers[0].args[0] + added), *(a for a in others if a is not powers[0]))


def _partner(factor: Expr, exponent: Expr) -> tuple[Expr, Expr] | None:
    """``(-c, g)`` of a factor ``g exp(-c)``, where c is a number of the exponent: ``c*m - c`` is to cancel exactly."""
    for c in {s * a.as_coeff_Mul()[0] for a in Add.make_args(exponent) for s in (1, -1)}:
        left = factor * sympy.exp(sympy.Float(c)) if abs(c) > BEYOND_FLOATS else sympy.Float(0)
        if 1e-6 < left < 1e6:
            exact = Rational(repr(float(left)))
            simple = exact.limit_denominator(1000)
            return Rational(repr(float(-c))), simple if abs(simple - exact) < 1e-14 * exact else exact
    return None
