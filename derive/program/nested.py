"""Which values inside an expression get a name of their own, and what they are called."""

from __future__ import annotations

from typing import TypeAlias

import sympy
from sympy import Add, Expr, Mul, Piecewise, Pow, Rational

from derive.language import affine
from derive.language.index import Index
from derive.language.nodes import Iverson, maximum, minimum
from derive.language.unknown import Unknown

Letters: TypeAlias = "tuple[Index, ...]"


def splits(body: Expr, bound: Letters) -> bool:
    """Whether the sum of an ``Add`` is better taken addend by addend: one is a contraction or lacks a bound index."""
    for a in Add.make_args(body):
        if any(b not in a.free_symbols for b in bound) or a.has(Iverson):
            return True
        letters = [
            frozenset(s for s in f.free_symbols if isinstance(s, Index))
            for f in Mul.make_args(a)
            if not affine.sizes_only(f)
        ]
        if len(set(letters)) > 1 and not any(x == frozenset().union(*letters) for x in letters):
            return True
    return False


def is_root(e: Expr) -> bool:
    return isinstance(e, Pow) and e.exp.is_Rational and not e.exp.is_Integer


def worth_naming(e: Expr) -> bool:
    return is_root(e) or type(e) not in (maximum, minimum, sympy.Abs, sympy.sign, Piecewise)


def function_name(e: Expr) -> str:
    if is_root(e):
        return "rsqrt" if e.exp == Rational(-1, 2) else "sqrt" if e.exp == Rational(1, 2) else "root"
    if isinstance(e, Unknown):
        return e.name_only
    return type(e).__name__


def roots_first(factors: list[Expr]) -> list[Expr]:
    """The factors as they are, with ``1/sqrt(v)`` before the sums it scales, so that it is named first."""
    return sorted(factors, key=lambda f: not is_root(f))
