"""What a scalar expression is made of, before any code is: addends and their signs, brackets, roots, relations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Mul, Piecewise, Pow, Rational

from derive.language.index import Index, Size
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.rows import guard_of, may_be_singular
from numerics.emit.source.scope import Scope

from .positions import labels

SHORT = 10**6  # the largest whole number that is written under a root
RELATIONS = {sympy.Eq: "==", sympy.Ne: "!=", sympy.Lt: "<", sympy.Le: "<=", sympy.Gt: ">", sympy.Ge: ">="}
Factors = Sequence[Expr]


def addends(e: Expr) -> list[tuple[int, Factors]]:
    """The ``(sign, factors)`` pairs of an expression, longer indices first."""
    return [signed(a) for a in Add.make_args(e)]


def signed(e: Expr) -> tuple[int, Factors]:
    """``(sign, factors)`` of an addend."""
    coef = e.as_coeff_Mul()[0]
    return (-1, Mul.make_args(-e)) if coef.is_negative else (1, Mul.make_args(e))


def one_hot(factors: Factors) -> tuple[Index, Read, Factors] | None:
    """``(label, integer read, other factors)`` of ``rest * [label = integer read]``, else None."""
    for n, f in enumerate(factors):
        if isinstance(f, Iverson) and isinstance(f.condition, sympy.Eq):
            for label, value in (f.condition.args, f.condition.args[::-1]):
                if isinstance(label, Index) and isinstance(value, Read) and label not in value.free_symbols:
                    rest = (*factors[:n], *factors[n + 1 :])
                    if not any(r.has(Iverson) for r in rest):
                        return label, value, tuple(r.xreplace({label: value}) for r in rest)
    return None


def is_guarded(scope: Scope, factors: Factors) -> bool:
    """Whether a factor ``{g if c; 0}`` stands beside one that may be infinite where c is false."""

    def infinite(g: Expr) -> bool:
        return may_be_singular(g) or any(r.tensor.name in scope.singular for r in g.atoms(Read))

    return len(factors) > 1 and any(
        guard_of(f) is not None and any(infinite(g) for g in factors if g is not f) for f in factors
    )


def unguarded(f: Expr) -> Factors:
    """``g [c]`` of ``{g if c; 0}``: the condition masks the whole product."""
    condition = guard_of(f)
    return (f,) if condition is None or isinstance(f, Iverson) else (f.args[0][0], Iverson(condition))


def only_sizes(e: Any) -> bool:
    if not isinstance(e, Expr) or e.has(Read) or not all(isinstance(s, Size) for s in e.free_symbols):
        return False
    return all(isinstance(f, sympy.floor) for f in e.atoms(sympy.Function, Piecewise, Iverson))


def simple_root(c: Expr) -> tuple[Expr, Expr] | None:
    """``(above, below)`` of an irrational ``c = above / below`` whose square is simple, such as ``1 / (2*pi)**(1/2)``."""
    if c.is_Rational:
        return None
    squared = c**2
    top, bottom = sympy.fraction(squared)
    if any(abs(n.p * n.q) > SHORT for n in squared.atoms(Rational)):  # of decimals: their squares are no simpler
        return None
    if not (squared.is_Rational or all(a.is_Rational or a in (sympy.pi, sympy.E) for a in Mul.make_args(top * bottom))):
        return None
    return _square_root(top), _square_root(bottom)


def _square_root(e: Expr) -> Expr:
    if e == 1:
        return Integer(1)
    return Pow(e, Rational(1, 2), evaluate=e.is_Rational and sympy.sqrt(e).is_Rational)


def sides(c: Any) -> tuple[Expr, Expr]:
    """Both sides of a relation; ``a - b == 0`` with an index in ``b`` is shown as ``a == b``."""
    left, right = c.args
    if right == 0 and isinstance(left, Add):
        minus = [a for a in left.args if a.could_extract_minus_sign()]
        if any(labels(a) for a in minus) and len(minus) < len(left.args):
            return Add(*(a for a in left.args if a not in minus)), Add(*(-a for a in minus))
    return left, right


FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def tidy(left: Expr, right: Expr, op: str) -> tuple[Expr, Expr, str]:
    """``0 <= q - 1`` as ``q >= 1``: the index alone on the left, where one index and numbers are all there is."""
    if not labels(left) and labels(right):
        left, right, op = right, left, FLIPPED[op]
    shift = left.as_coeff_Add()[0]
    if isinstance(left, Add) and shift.is_Integer and isinstance(left - shift, Index) and right.is_Integer:
        return left - shift, right - shift, op
    return left, right, op
