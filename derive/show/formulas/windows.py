"""Sums over windows that do not overlap, as a reader writes them: ``sum_{u,r: 2u + r = m} dh[u]`` is ``dh[m // 2]``.

Where the windows are as long as their stride, every place stands in one window at most, so the two letters of the sum are
the quotient and the remainder of the place.  For the page only: the program keeps its rows.
"""

from __future__ import annotations

from dataclasses import replace

import sympy
from sympy import Expr, Integer

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
            window, rest, value = found
            left = Term(t.coef, t.fac, tuple(b for b in t.bnd if b not in (window, rest)), _without(t.rows, row))
            return _solved(left.xreplace({window: value}))
    return t


def _without(rows: tuple[Row, ...], row: Row) -> tuple[Row, ...]:
    return tuple(r for r in rows if r is not row)


def _quotient(t: Term, row: Row) -> tuple[Index, Index, Expr] | None:
    """``(u, r, floor(m/2))`` of the row ``2u + r == m``, where r stands nowhere else and u is read from its own axis."""
    if row.op != "==" or row.reads():
        return None
    e = sympy.expand(row.lhs - row.rhs)
    bound = [b for b in t.bnd if b in e.free_symbols]
    if len(bound) != 2:
        return None
    for window, rest in (bound, bound[::-1]):
        sign = e.coeff(rest)
        stride = e.coeff(window) * sign
        if abs(sign) != 1 or not stride.is_Integer or stride < 2 or not same_size(rest.size, Integer(stride)):
            continue
        elsewhere = [*t.fac, *_without(t.rows, row)]
        if any(rest in x.free_symbols for x in elsewhere) or not _outside_is_zero(t, window):
            continue
        place = sympy.expand(window * stride + rest - e * sign)
        if place.free_symbols & set(t.bnd):
            continue
        return window, rest, sympy.floor(place / stride)
    return None


def _outside_is_zero(t: Term, window: Index) -> bool:
    """Whether a factor is a read of floats at the window's own axis, which is 0 for windows that do not exist."""
    return any(
        isinstance(f, Read)
        and f.tensor.dtype == "float"
        and any(i == window and same_size(a, window.size) for i, a in zip(f.idx, f.tensor.axes, strict=True))
        for f in t.fac
    )
