"""Conditions on indices as rows: ``[q <= p]`` and the two-branch ``Piecewise`` that says the same."""

from __future__ import annotations

from collections.abc import Iterable

import sympy
from sympy import Basic, Expr, Integer, Piecewise, Pow
from sympy.core.relational import Relational
from sympy.logic.boolalg import And

from derive.language import affine
from derive.language.nodes import Iverson
from derive.language.tensor import Read

from .program import Equation, Row

POLES = ("log", "asin", "acos", "acosh", "atanh")
SINGULAR = ("log", "exp", "cosh", "sinh", "tan", "asin", "acos", "acosh", "atanh")


def rows_of(condition: Basic) -> list[Row] | None:
    """A condition as rows, if it is a conjunction of relations between affine index expressions; else None."""
    if isinstance(condition, And):
        parts = [rows_of(c) for c in sorted(condition.args, key=str)]
        found = [p for p in parts if p is not None]
        return [r for rows in found for r in rows] if len(found) == len(parts) else None
    if not isinstance(condition, Relational):
        return None
    a, b = condition.lhs, condition.rhs
    for side in (a, b):
        linear = affine.parts(side)
        if linear is None or any(r.tensor.dtype != "int" for r in side.atoms(Read)):
            return None
        if any(not c.is_integer for c in linear[0].values()):
            return None
    table = {
        sympy.Eq: ("==", a, b),
        sympy.Ne: ("!=", a, b),
        sympy.Le: ("<=", a, b),
        sympy.Lt: ("<", a, b),
        sympy.Ge: ("<=", b, a),
        sympy.Gt: ("<", b, a),
    }
    op, lhs, rhs = table[type(condition)]
    return [Row(op, lhs, rhs)]


def split_guard(f: Expr) -> tuple[list[Row], Expr]:
    """Rows and the guarded expression of ``[cond]``, ``Piecewise((e, cond), (0, True))`` and
    ``Piecewise((0, cond), (e, True))``; no rows if it is none of them."""
    if isinstance(f, Iverson):
        rows = rows_of(f.condition)
        return (rows, Integer(1)) if rows is not None else ([], f)
    return _split(f, Integer(0))


def split_masked(f: Expr) -> tuple[list[Row], Expr]:
    """The same of a branch that is ``-oo``: a max never chooses it, so that its rows say where the max is taken."""
    return _split(f, -sympy.oo)


def _split(f: Expr, other: Expr) -> tuple[list[Row], Expr]:
    if isinstance(f, Piecewise) and len(f.args) == 2 and f.args[1][1] == sympy.true:
        (inside, condition), (outside, _) = f.args
        if inside == other and isinstance(condition, Relational):
            inside, outside, condition = outside, inside, condition.negated
        rows = rows_of(condition) if outside == other else None
        if rows is not None and not inside.is_infinite:  # 0 times infinity is not 0: such a branch is no factor
            return rows, inside
    return [], f


def implied(row: Row, by: Iterable[Row]) -> bool:
    """Whether an inequality of whole numbers follows from one of others: ``0 <= e`` from ``2 <= e``."""
    if row.op not in ("<=", "<"):
        return row in by
    gaps = (_gap(row) - _gap(other) for other in by if other.op in ("<=", "<"))
    return any((found := sympy.expand(g)).is_Integer and found >= 0 for g in gaps)


def _gap(row: Row) -> Expr:
    """What is at least 0 where an inequality of whole numbers holds."""
    return row.rhs - row.lhs - (1 if row.op == "<" else 0)


def may_be_singular(e: Basic) -> bool:
    """Whether an expression may be infinite or NaN somewhere: a quotient, a root, a logarithm or an exponential of reads.

    Beside a condition that is false there, it is no factor but something not to be looked at: 0 times infinity is not 0.
    """
    if isinstance(e, Read) or not e.args:
        return False
    if isinstance(e, Pow) and not (e.exp.is_Integer and e.exp.is_positive):
        return e.has(Read)
    if type(e).__name__ in SINGULAR:
        return e.has(Read)
    return any(may_be_singular(a) for a in e.args)


def singular(equations: Iterable[Equation]) -> frozenset[str]:
    """The tensors that hold a quotient, a root or a logarithm for every value of their indices, whatever is guarded later.

    An exponential is infinite only by overflow, and that is not what a condition on an index keeps away.
    """

    def is_pole(e: Basic) -> bool:
        if isinstance(e, Pow) and not (e.exp.is_Integer and e.exp.is_positive):
            return e.has(Read)
        return type(e).__name__ in POLES and e.has(Read)

    return frozenset(
        e.name for e in equations for t in e.terms if not t.bnd and not t.rows and any(map(is_pole, t.fac))
    )


def guard_of(f: Expr) -> Basic | None:
    """``c`` of ``[c]`` and of ``{g if c; 0}``: where a factor is not zero by a condition; None of any other."""
    if isinstance(f, Iverson):
        return f.condition
    if isinstance(f, Piecewise) and len(f.args) == 2 and f.args[1] == (0, sympy.true):
        return f.args[0][1]
    return None


def support_of(f: Expr) -> Basic | None:
    """Where a factor may be other than zero: of ``[c]``, and of branches some of which are 0; None where that is not known."""
    found = _support(f)
    return None if found in (sympy.true, sympy.false) else found


def _support(f: Expr) -> Basic:
    if f == 0:
        return sympy.false
    if isinstance(f, Iverson):
        return f.condition
    if not isinstance(f, Piecewise):
        return sympy.true
    before: list[Basic] = []
    parts: list[Basic] = []
    leading: list[Basic] = []  # conditions of the branches before the first that is not 0
    for v, c in f.args:
        inside = _support(v)
        if inside != sympy.false:
            parts.append(sympy.And(*map(sympy.Not, before), c, inside))
        elif not parts:
            leading.append(c)
        before.append(c)
    return parts[0] if len(parts) == 1 else sympy.And(*map(sympy.Not, leading))


def ranges(e: Basic) -> list[Row]:
    """That every read in an expression is inside its tensor, where neither sizes nor its branch's own condition say so."""
    if isinstance(e, Piecewise):
        chosen = [r for v, c in e.args for r in ranges(v) if not implied(r, rows_of(c) or ())]
        return chosen + [r for _, c in e.args for r in ranges(c)]
    if e.has(Piecewise):
        own = _range_rows(e) if isinstance(e, Read) else []
        return own + [r for a in e.args for r in ranges(a)]
    return [row for r in sorted(e.atoms(Read), key=str) for row in _range_rows(r)]


def _range_rows(r: Read) -> list[Row]:
    rows = []
    for e, axis in zip(r.idx, r.tensor.axes, strict=True):
        if not affine.in_range(e, axis):
            rows += [Row("<=", Integer(0), e), Row("<", e, axis)]
    return rows
