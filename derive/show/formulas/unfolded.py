"""Equations of a flat axis, as a reader writes them: ``h[b,f] = sum_{u,v,c: (u V + v) C + c = f} x[b,u,v,c]`` is
``h[b,(u V + v) C + c] = x[b,u,v,c]``.  And of a short axis whose elements have letters, such as the gates of an LSTM:
``dz[b,q] = di[b] [q = 0] + df[b] [q = 1]`` is an equation for each.  For the page only: the program keeps its rows.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sympy import Add, Expr, Integer

from derive.language.flat import flat_indices
from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term


@dataclass(frozen=True)
class Unfolded:
    """``lhs`` with the free letters ``free`` is the sum of ``terms``."""

    lhs: Read
    free: tuple[Index, ...]
    terms: tuple[Term, ...]


def unfolded(eq: Equation) -> Unfolded:
    """The equation with every place of a flat axis written as the letters that it counts, where all terms agree."""
    made = Unfolded(Read(eq.tensor, *eq.idx), eq.idx, eq.terms)
    if eq.reduce is None and any(t.rows for t in eq.terms):
        for place in eq.idx:
            made = _along(made, place) or made
    return made


def by_member(eq: Equation, axis: int) -> tuple[Unfolded, ...]:
    """An equation for each element along an axis of a known length; nothing where a term is not of one element."""
    place, size = eq.idx[axis], eq.tensor.axes[axis]
    if eq.reduce is not None or not size.is_Integer:
        return ()
    terms: dict[int, list[Term]] = {n: [] for n in range(int(size))}
    for t in eq.terms:
        row = next((r for r in t.rows if r.op == "==" and place in (r.lhs, r.rhs)), None)
        if row is None:
            return ()
        n = row.rhs if row.lhs == place else row.lhs
        if not n.is_Integer or int(n) not in terms:
            return ()
        terms[int(n)].append(replace(t, rows=tuple(r for r in t.rows if r is not row)).xreplace({place: n}))
    free = tuple(i for i in eq.idx if i != place)
    at = Read(eq.tensor, *eq.idx)
    return tuple(Unfolded(at.xreplace({place: Integer(n)}), free, tuple(own)) for n, own in terms.items())


def _along(made: Unfolded, place: Index) -> Unfolded | None:
    found = [_row(t, place) for t in made.terms]
    value, letters = next((f[1:] for f in found if f is not None), (None, ()))
    if value is None:
        return None
    terms: list[Term] = []
    for t, f in zip(made.terms, found, strict=True):
        if f is None:
            if any(place in r.free_symbols for r in t.rows):
                return None
            terms.append(t.xreplace({place: value}))
            continue
        row, _, own = f
        if len(own) != len(letters) or not all(same_size(a.size, b.size) for a, b in zip(own, letters, strict=True)):
            return None
        left = replace(t, bnd=tuple(b for b in t.bnd if b not in own), rows=tuple(r for r in t.rows if r is not row))
        terms.append(left.xreplace(dict(zip(own, letters, strict=True)) | {place: value}))
    n = made.free.index(place)
    free = (*made.free[:n], *letters, *made.free[n + 1 :])
    return Unfolded(made.lhs.xreplace({place: value}), free, tuple(terms))


def _row(t: Term, place: Index) -> tuple[Row, Expr, tuple[Index, ...]] | None:
    """The row ``(u V + v) C + c == place`` of a term, the number and the letters that it counts."""
    for row in t.rows:
        for whole, number in ((row.rhs, row.lhs), (row.lhs, row.rhs)):
            if row.op == "==" and whole == place and isinstance(number, Add):
                letters = flat_indices(number)
                if letters and set(letters) <= set(t.bnd):
                    return row, number, letters
    return None
