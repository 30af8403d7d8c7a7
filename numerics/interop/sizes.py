"""Which numbers of a traced function are sizes: formulas that hold in every trace of it.

A function is traced at several assignments of its sizes.  A number that stands at the same place of every trace (the
length of an axis, the limit of a slice, the ``B`` of ``sum / B``) is the same in all of them, or it changes as a formula
of the sizes does, or what it does is decided by the number itself and the size is bound.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from math import isclose, log

import sympy
from sympy import Expr, Integer, Rational, floor

from derive.language.index import Size
from numerics.errors import NumericsError


class SizeDecides(NumericsError):
    """What a trace does depends on the number that a size is; the sizes named are to be bound to their numbers.

    ``empty``: it fails at another length, or leaves nothing.
    """

    def __init__(self, sizes: Sequence[Size], why: str, empty: bool = False):
        super().__init__(why)
        self.sizes, self.empty = tuple(sizes), empty


class SizesEqual(NumericsError):
    """Two sizes of one number are read as one."""

    def __init__(self, one: Size, other: Size):
        super().__init__(f"{one} and {other} are read as one size")
        self.pair = (one, other)


@dataclass(frozen=True)
class Sizes:
    """The assignments traced: the first as given, then one for each size changed alone, then those with all changed.

    ``windows`` are the lengths that windows have left of axes, which what reads them has too.
    """

    names: tuple[Size, ...]
    traces: tuple[dict[Size, int], ...]
    windows: list[Expr] = field(default_factory=list, compare=False)

    def formula(self, values: Sequence[float], tolerance: float = 0.0) -> Expr | float:
        """The formula of the sizes that gives these values, one for each trace; a number where they are all the same.

        Raises
        ------
        SizeDecides
            Where there is none among monomials, affine forms and quotients rounded down.
        """
        first = values[0]
        if all(v == first or (v != v and first != first) for v in values):
            return Integer(first) if isinstance(first, int) else first
        for known in self.windows:
            if self.fits(known, values, tolerance):
                return known
        moved = [s for n, s in enumerate(self.names, 1) if values[n] != first]
        for form in (_monomial, _affine, _rounded):
            found = form(self, moved, values)
            if found is not None and self.fits(found, values, tolerance):
                return found
        inside = {s for known in self.windows for s in known.free_symbols}
        raise SizeDecides(
            moved or [s for s in self.names if s in inside] or self.names,  # only together: windows do that
            f"a number that is {first} here and {values[-1]} at other sizes is no formula of them",
            any(v == 0 for v in values),
        )

    def fits(self, formula: Expr, values: Sequence[float], tolerance: float) -> bool:
        return all(
            isclose(float(formula.xreplace({s: Integer(v) for s, v in at.items()})), value, rel_tol=tolerance)
            for at, value in zip(self.traces, values, strict=True)
        )

    def at(self, formula: Expr, trace: int = 0) -> Expr:
        return formula.xreplace({s: Integer(v) for s, v in self.traces[trace].items()})


def _monomial(sizes: Sizes, moved: Sequence[Size], values: Sequence[float]) -> Expr | None:
    """``c s^p t^q`` with powers in halves."""
    first, base = values[0], sizes.traces[0]
    out: Expr = Integer(1)
    for n, s in enumerate(sizes.names, 1):
        if s not in moved:
            continue
        ratio = values[n] / first if first else 0.0
        if ratio <= 0:
            return None
        power = Fraction(log(ratio) / log(sizes.traces[n][s] / base[s])).limit_denominator(2)
        out *= s ** Rational(power.numerator, power.denominator)
    coefficient = first / float(sizes.at(out)) if first else 0.0
    return _number(coefficient) * out if coefficient else None


def _affine(sizes: Sizes, moved: Sequence[Size], values: Sequence[float]) -> Expr | None:
    first, base = values[0], sizes.traces[0]
    out: Expr = Integer(0)
    for n, s in enumerate(sizes.names, 1):
        if s in moved:
            slope = _number((values[n] - first) / (sizes.traces[n][s] - base[s]))
            if isinstance(first, int) and not slope.is_Integer:
                return None  # rounded down
            out += slope * s
    return out + _number(first - float(sizes.at(out)))


def _rounded(sizes: Sizes, moved: Sequence[Size], values: Sequence[float]) -> Expr | None:
    """``floor((s + c)/k) + a``, as strides make it."""
    if len(moved) != 1 or not all(isinstance(v, int) for v in values):
        return None
    s = moved[0]
    for k in (2, 3, 4, 8, 16, 32):
        for c in range(k):
            whole = floor((s + c) / Integer(k))
            formula = whole + Integer(values[0]) - sizes.at(whole)
            if sizes.fits(formula, values, 0.0):
                return formula
    return None


def _number(value: float) -> Expr:
    simple = Fraction(value).limit_denominator(5040)
    if isclose(float(simple), value, rel_tol=1e-6, abs_tol=1e-12):
        return Rational(simple.numerator, simple.denominator)
    return sympy.Float(value)
