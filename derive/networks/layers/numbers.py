"""Numbers that a user gives a layer, kept exactly."""

from __future__ import annotations

from fractions import Fraction

from sympy import Rational

from derive.language.errors import DeriveError


def exact(value: object, what: str) -> Rational:
    """A number as its author wrote it: 1e-5 is 1/100000."""
    if isinstance(value, bool) or not isinstance(value, int | float | Fraction):
        raise DeriveError(f"{what} is {value!r}; accepted is a number")
    found = Fraction(str(value))
    return Rational(found.numerator, found.denominator)
