"""Reductions over other axes: a mean, norm or softmax over the wrong one, or only the diagonal of a Jacobian.

    T[b] = sum_i X[b,i]          T'[i] = sum_b X[b,i]       and what reads T[b] at (b, i) reads T'[i]
    T[b] = sum_i X[b,i]          T'[b,i] = X[b,i]           no sum: the diagonal alone

An axis that is now kept is carried through the equations between (``dr[n,g]`` becomes ``dr[n,g,e]``) up to one that has a
letter for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sympy
from sympy import Expr, Integer

from derive.language.index import Index, Size, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program, Term

from .elements import term_text

SUBSETS = 10  # choices of other axes tried for one reduction


@dataclass(frozen=True)
class Moved:
    """A reduction over other axes: the sentence, the equations changed, and how many more elements are summed."""

    equation: Equation
    text: str
    changed: dict[str, tuple[Equation, ...]]
    ratio: Expr


@dataclass(frozen=True)
class Carried:
    """A tensor that has lost the axes ``lost`` and got those of ``extra`` at its end."""

    tensor: Tensor
    lost: tuple[int, ...]
    extra: tuple[Index, ...]


def wrong_axes(e: Equation, program: Program, needed: set[str]) -> Iterator[Moved]:
    """One reduction of a program over every other choice of axes; equations outside ``needed`` are left alone."""
    if e.reduce is not None or len(e.terms) != 1 or not e.terms[0].bnd or e.tensor in e.tensors():
        return
    term = e.terms[0]
    bound = [b for b in term.bnd if not any(b in row.free_symbols for row in term.rows)]
    if len(bound) != len(term.bnd):
        return
    places = [*e.idx, *bound]
    choices = sorted(_subsets(places), key=lambda s: _order(s, bound, places))
    for summed in [s for s in choices if set(s) != set(bound)][:SUBSETS]:
        kept = tuple(b for b in bound if b not in summed)
        lost = tuple(n for n, i in enumerate(e.idx) if i in summed)
        for inside in [None, *(_scales(e, program) if lost else ())]:
            changed = _carry(e, program, needed, kept, lost, summed, inside)
            if changed is None:
                continue
            ratio = sympy.prod([b.size for b in bound]) / sympy.prod([i.size for i in summed])
            yield Moved(e, _sentence(bound, summed, inside), changed, ratio)


def _subsets(places: Sequence[Index]) -> Iterator[tuple[Index, ...]]:
    for count in range(min(len(places), 4) + 1):
        yield from itertools.combinations(places, count)


def _order(summed, bound, places):
    """No sum first, then one axis for another, then fewer, then more."""
    swapped = len(summed) == len(bound) and len(set(summed) - set(bound)) == 1
    within = set(summed) < set(bound)
    return (bool(summed), not swapped, not within, len(summed), [places.index(i) for i in summed])


def _sentence(bound, summed, inside) -> str:
    over = " and ".join(b.name for b in bound)
    if not summed:
        return f"sums over {over}; yours fits no sum: the element itself (only the diagonal)"
    factor = "" if inside is None else f" with {inside[0].tensor.name}^{inside[1]} inside the sum"
    return f"sums over {over}; yours fits a sum over {' and '.join(i.name for i in summed)}{factor}"


def _scales(e: Equation, program: Program) -> Iterator[tuple[Read, int]]:
    """Tensors of the shape of the sum, which may stand inside or outside of it while it runs over the right axes."""
    readers = [q for q in program.equations if e.tensor in q.tensors()]
    near = {t.name for q in readers for t in q.tensors()} | {t.name for t in e.tensors()}
    near |= {t.name for q in readers for r in program.equations if q.tensor in r.tensors() for t in r.tensors()}
    tensors = [
        q.tensor for q in program.equations if q.name in near and q.tensor != e.tensor and q.tensor.rank == len(e.idx)
    ]
    for t in tensors[:3]:
        if t.rank and all(same_size(a, b) for a, b in zip(t.axes, e.tensor.axes, strict=True)):
            for power in (1, 2, -1):
                yield Read(t, *e.idx), power


def _carry(e, program, needed, kept, lost, summed, inside) -> dict[str, tuple[Equation, ...]] | None:
    """The equations with the reduction moved, and the axes it keeps carried to those that read it."""
    idx = tuple(i for n, i in enumerate(e.idx) if n not in lost) + kept
    term = replace(e.terms[0], bnd=tuple(summed))
    if inside is not None:
        term = term.times(inside[0] ** inside[1])
    first = _renamed(e, idx, (term,))
    changed: dict[str, tuple[Equation, ...]] = {e.name: (first,)}
    carried = {e.name: Carried(first.tensor, lost, kept)}
    results = {t.name for t in program.outputs}
    for q in program.equations:
        if q.name == e.name or q.name not in needed or not any(t.name in carried for t in q.tensors()):
            continue
        if q.tensor in q.tensors():
            return None
        extra: list[Index] = []
        terms = tuple(_reread(q, t, carried, extra, inside, e) for t in q.terms)
        if not extra:
            changed[q.name] = (replace(q, terms=terms),)
            continue
        if q.reduce is not None or any(t.bnd for t in q.terms) or q.name in results or q.tensor.rank == 0:
            return None
        new = _renamed(q, (*q.idx, *extra), terms)
        carried[q.name] = Carried(new.tensor, (), tuple(extra))
        changed[q.name] = (new,)
    return changed


def _reread(q: Equation, term: Term, carried: dict[str, Carried], extra: list[Index], inside, origin: Equation) -> Term:
    mapping: dict[Expr, Expr] = {}
    for r in term.reads():
        found = carried.get(r.tensor.name)
        if found is None:
            continue
        idx = [i for n, i in enumerate(r.idx) if n not in found.lost]
        for k in found.extra:
            idx.append(_letter(q, term, k, r, extra))
        new: Expr = Read(found.tensor, *idx)
        if inside is not None and r.tensor == origin.tensor:
            new = new * inside[0].xreplace(dict(zip(origin.idx, r.idx, strict=True))) ** -inside[1]
        mapping[r] = new
    return term.xreplace(mapping)


def _letter(q: Equation, term: Term, k: Index, r: Read, extra: list[Index]) -> Index:
    """The letter of a term for an axis that a tensor it reads now has; a new one of the equation if it has none."""
    used = {s for a in r.idx for s in a.free_symbols}
    own = [i for i in (*q.idx, *q.over, *term.bnd) if i not in used and same_size(i.size, k.size)]
    if own:
        return min(own, key=lambda i: (i.name != k.name, i not in q.idx, i.name, i.uid))
    for i in extra:
        if i == k:
            return i
    extra.append(k)
    return k


def _renamed(e: Equation, idx: tuple[Index, ...], terms: tuple[Term, ...]) -> Equation:
    tensor = Tensor(
        f"{e.name} over other axes", tuple(i.size for i in idx), idx, digest=f"axes:{e.name}:{','.join(map(str, idx))}"
    )
    return replace(e, tensor=tensor, idx=idx, terms=terms)


def ratio_value(ratio: Expr, sizes: dict[Size, int]) -> float:
    return float(sympy.sympify(ratio).xreplace({s: Integer(n) for s, n in sizes.items()}))


def summand(e: Equation) -> str:
    return term_text(e, 0)
