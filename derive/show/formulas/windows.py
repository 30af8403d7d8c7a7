"""Sums over windows that do not overlap, as a reader writes them: ``sum_{u,r: 2u + r = m} dh[u]`` is ``dh[m // 2]``.

Where the windows are as long as their stride, every place stands in one window at most, so the two letters of the sum are
the quotient and the remainder of the place; the second may be a value that is read, such as where the largest one stood.
For the page only: the program keeps its rows.
"""

from __future__ import annotations

from dataclasses import replace

import sympy
from sympy import Expr, Integer

from derive.language import affine
from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term


def one_window(eq: Equation) -> Equation:
    """The equation with every sum over windows that do not overlap solved."""
    if eq.reduce is not None or not any(t.rows for t in eq.terms):
        return eq
    return replace(eq, terms=tuple(_solved(t) for t in eq.terms))


def _solved(t: Term) -> Term:
    for row in t.rows:
        found = _quotient(t, row)
        if found is not None:
            solved, left = found
            rows = tuple(r for r in t.rows if r is not row)
            bound = tuple(b for b in t.bnd if b not in solved)
            return _solved(replace(Term(t.coef, t.fac, bound, rows).xreplace(solved), rows=(*_at(rows, solved), *left)))
    return t


def _at(rows: tuple[Row, ...], solved: dict[Expr, Expr]) -> tuple[Row, ...]:
    return tuple(r.xreplace(solved) for r in rows)


def _quotient(t: Term, row: Row) -> tuple[dict[Expr, Expr], tuple[Row, ...]] | None:
    """``u = floor(m/2), r = m mod 2`` of the row ``2u + r == m``, and the row that is left where r is a value read."""
    split = affine.parts(row.lhs - row.rhs) if row.op == "==" else None
    if split is None:
        return None
    coefs, _ = split
    windows = [b for b in t.bnd if b in coefs]
    for window in windows:
        for rest, sign in coefs.items():
            stride = coefs[window] * sign
            if rest == window or abs(sign) != 1 or not stride.is_Integer or stride < 2:
                continue
            if not same_size(_length(rest), Integer(stride)) or not _outside_is_zero(t, window):
                continue
            place = sympy.expand((window * coefs[window] + rest * sign - row.lhs + row.rhs) * sign)
            if place.free_symbols & set(t.bnd):
                continue
            solved: dict[Expr, Expr] = {window: sympy.floor(place / stride)}
            if rest in t.bnd:
                return solved | {rest: sympy.Mod(place, stride)}, ()
            if isinstance(rest, Read):
                return solved, (Row("==", rest.xreplace(solved), sympy.Mod(place, stride)),)
    return None


def _length(rest: Expr) -> Expr:
    """How many values an index, or a whole number that is read, takes from 0 on."""
    if isinstance(rest, Read):
        return rest.tensor.below if rest.tensor.below is not None else Integer(0)
    return rest.size if isinstance(rest, Index) else Integer(0)


def _outside_is_zero(t: Term, window: Index) -> bool:
    """Whether a factor is a read of floats at the window's own axis, which is 0 for windows that do not exist."""
    return any(
        isinstance(f, Read)
        and f.tensor.dtype == "float"
        and any(i == window and same_size(a, window.size) for i, a in zip(f.idx, f.tensor.axes, strict=True))
        for f in t.fac
    )
