"""Conditions on indices as rows: ``[q <= p]`` and the two-branch ``Piecewise`` that says the same."""

from __future__ import annotations

import sympy
from sympy import Basic, Expr, Integer, Piecewise
from sympy.core.relational import Relational
from sympy.logic.boolalg import And

from derive.language import affine
from derive.language.nodes import Iverson
from derive.language.tensor import Read

from .program import Row


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
        if rows is not None:
            return rows, inside
    return [], f
