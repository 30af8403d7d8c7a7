"""Sums that another equation has already made, up to factors that do not vary along the sum.

    dxh[b,c] = gamma[c] dh[b,c]
    db[c]    = sum_b dh[b,c]
    m[c]     = sum_b dxh[b,c]        is written as gamma[c] db[c]: one pass over the array less

The equation stays as derived; only how it is computed changes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import dataclass, replace

from derive.index import Index, same_size
from derive.program import Equation, Program, Term
from derive.tensor import Read


@dataclass(frozen=True)
class Reused:
    """A program whose sums read those of other equations, and ``(rule, number, reason)`` for each."""

    program: Program
    choices: tuple


def reuse_sums(program: Program) -> Reused:
    """Replace sums of products by multiples of sums that are there."""
    by_name = {e.name: e for e in program.equations}
    sums = [
        e
        for e in program.equations
        if is_plain_sum(e) and not any(_depends(t.name, e.name, by_name) for t in e.tensors())
    ]  # none of a recurrence
    made, choices = dict(by_name), []
    for e in program.equations:
        if e.reduce:
            continue
        terms = []
        for t in e.terms:
            new = next(
                (
                    n
                    for f in sums
                    if f.name != e.name
                    and (n := _as_multiple(t, f, by_name)) is not None
                    and not _depends(f.name, e.name, made)
                ),
                None,
            )
            terms.append(t if new is None else new)
        if tuple(terms) != e.terms:
            made[e.name] = replace(e, terms=tuple(terms))
            choices.append(("sum-reused", e.number, "a factor that the sum does not vary leaves a sum that is there"))
    return Reused(replace(program, equations=tuple(made.values())), tuple(choices))


def is_plain_sum(e: Equation) -> bool:
    """Whether an equation is one sum of products, without conditions, and each factor varies along it."""
    if e.reduce or len(e.terms) != 1:
        return False
    t = e.terms[0]
    return bool(t.bnd) and not t.rows and t.coef == 1 and all(labels_of(f) & set(t.bnd) for f in t.fac)


def labels_of(e) -> set[Index]:
    """The indices in an expression."""
    return {i for i in e.free_symbols if isinstance(i, Index)}


def _as_multiple(t: Term, f: Equation, by_name) -> Term | None:
    """The term as factors times ``f``, if ``f`` is the rest of its sum once products in it are written out."""
    if not t.bnd or t.rows or len(t.bnd) != len(f.terms[0].bnd):
        return None
    products = {
        g: found
        for g in t.fac
        if (found := definition(g, by_name)) is not None and any(not labels_of(h) & set(t.bnd) for h in found.fac)
    }
    for count in range(1, len(products) + 1):
        for opened in itertools.combinations(products, count):
            coef, fac = t.coef, []
            for g in t.fac:
                coef = coef * products[g].coef if g in opened else coef
                fac += products[g].fac if g in opened else (g,)
            found = matching_sum(Term(coef, tuple(fac), t.bnd), f)
            if found is not None:
                return found
    return None


def matching_sum(t: Term, f: Equation) -> Term | None:
    """A sum as factors times the sum ``f``."""
    coef, fac, bnd = t.coef, t.fac, t.bnd
    inside = [g for g in fac if labels_of(g) & set(bnd)]
    twins = {b: next((a for a in f.terms[0].bnd if a.name == b.name and same_size(a.size, b.size)), None) for b in bnd}
    free = {i for g in inside for i in labels_of(g)} - set(bnd)
    if None in twins.values() or not free <= set(f.idx) or not set(f.idx) <= free:
        return None
    if Counter(g.xreplace(twins) for g in inside) != Counter(f.terms[0].fac):
        return None
    outside = tuple(g for g in fac if not labels_of(g) & set(bnd))
    return Term(coef, (*outside, Read(f.tensor, *f.idx)), (), ())


def definition(g, by_name) -> Term | None:
    """The plain product that defines a read, in the read's letters."""
    e = by_name.get(g.tensor.name) if isinstance(g, Read) else None
    if e is None or e.reduce or len(e.terms) != 1 or not all(isinstance(i, Index) for i in g.idx):
        return None
    t, change = e.terms[0], dict(zip(e.idx, g.idx, strict=True))
    if t.bnd or t.rows or len(t.fac) < 2 or any(r.tensor.name == e.name for f in t.fac for r in f.atoms(Read)):
        return None
    return Term(t.coef, tuple(f.xreplace(change) for f in t.fac), (), ())


def _depends(name: str, on: str, equations) -> bool:
    """Whether an equation reads another, directly or not."""
    seen, todo = set(), [name]
    while todo:
        n = todo.pop()
        if n == on:
            return True
        if n in equations and n not in seen:
            seen.add(n)
            todo += [t.name for t in equations[n].tensors()]
    return False
