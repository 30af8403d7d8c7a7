"""The numbers in a traced function as what their author wrote: ``0.7978846`` is ``sqrt(2/pi)``, ``0.1`` is ``1/10``."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer, Rational, log, pi, sqrt

from derive.language.errors import UnsupportedError

_KNOWN = tuple(
    (float(e), e)
    for base in (
        1 / sqrt(2),
        sqrt(2),
        sqrt(2 / pi),
        sqrt(pi),
        sqrt(2 * pi),
        1 / sqrt(pi),
        2 / sqrt(pi),
        1 / sqrt(2 * pi),
        pi,
        2 * pi,
        pi / 2,
        pi / 4,
        1 / pi,
        log(2),
        1 / log(2),
        log(10),
        log(pi),
        log(2 * pi),
        log(2 * pi) / 2,
        sympy.E,
        sqrt(3),
    )
    for e in (base, -base)
)


def exact(value: Any, dtype: Any) -> Any:
    """A number of a dtype in SymPy: a known constant or a short fraction within its rounding, else its decimal digits."""
    kind = np.dtype(dtype).kind
    if kind == "b":
        return sympy.true if bool(value) else sympy.false
    if kind in "iu":
        return Integer(int(value))
    if kind == "c":
        raise UnsupportedError(
            f"nx.from_jax: the function holds the complex number {complex(value):g}, and complex numbers are not in the "
            f"language; accepted: real and imaginary parts written out"
        )
    number = np.asarray(value, dtype).reshape(())[()]
    v = float(number)
    if v != v:
        return sympy.nan
    if v in (float("inf"), float("-inf")):
        return sympy.oo if v > 0 else -sympy.oo
    if v == int(v) and abs(v) < 1e15:
        return Integer(int(v))
    return _fraction(number, v, dtype)


def written(value: Any, dtype: Any) -> float:
    """A float of a dtype as its author wrote it, in float64."""
    return float(exact(value, dtype))


def _fraction(number: Any, v: float, dtype: Any) -> Expr:
    digits = str(number)
    near = 4e-16 if np.dtype(dtype).itemsize > 4 else 1.2e-7
    for known, form in _KNOWN:  # first: the seven digits that a float32 has may be one of these
        if abs(known - v) <= near * abs(v):
            return form
    if "e" not in digits and len(digits.lstrip("-0.")) <= 6 or np.dtype(dtype).itemsize > 4 and len(digits) <= 12:
        return Rational(digits)
    simple = Fraction(v).limit_denominator(1000)
    # a float32 is near some fraction of three digits whatever it is: only one of few digits says what was written
    few = near * abs(simple.numerator) * simple.denominator < 1e-3
    if simple and few and abs(float(simple) - v) <= near / 2 * abs(v):
        return Rational(simple.numerator, simple.denominator)
    for power, size in ((1, abs(v)), (-1, 1 / abs(v))):  # the root of a size, as attention has it
        whole = round(min(size, 33) ** 2)
        if 1 < whole <= 1024 and abs(size**2 - whole) <= 2 * near * whole:
            return (1 if v > 0 else -1) * sqrt(whole) ** power
    return Rational(digits)
