"""Canonical keys of terms and equations: one key for all that differ in nothing but bound names and order."""

from __future__ import annotations

from itertools import permutations
from typing import TypeAlias

from sympy import Expr

from derive.language.index import Index
from derive.language.keys import hash_text, key
from derive.language.tensor import Read

from .program import Equation, Term

Labels: TypeAlias = "dict[Index, str]"


def term_key(term: Term, env: Labels, with_coef: bool = False) -> str:
    """Canonical key of a :class:`~derive.program.program.Term`; like terms, in any bound names and order, share it."""
    keys = []
    for order in _orders(term, env):
        labels = dict(env)
        labels.update({b: f"%{n}:{key(b.size)}" for n, b in enumerate(order)})
        parts = sorted(key(f, labels) for f in term.fac)
        rows = sorted(r.key(labels) for r in term.rows)
        keys.append("|".join([",".join(labels[b] for b in order), "*".join(parts), "&".join(rows)]))
    best = min(keys)
    return f"{key(term.coef)}${best}" if with_coef else best


def equation_key(e: Equation) -> str:
    """One text for all equations with the same axes and right-hand side, whatever they and their indices are called."""
    env = {i: f"={n}:{key(i.size)}" for n, i in enumerate((*e.idx, *e.over))}
    terms = "+".join(sorted(term_key(t, env, with_coef=True) for t in e.terms))
    axes = ",".join(key(a) for a in e.tensor.axes)
    return f"{axes}:{e.reduce}:{terms}:{'&'.join(sorted(g.key(env) for g in e.guards))}"


def _orders(term: Term, env: Labels) -> list[list[Index]]:
    """Candidate orders of the bound indices: sorted by a refined signature, ties tried in every order.

    Two terms are alike if some renaming of bound indices makes them equal.  To try all renamings is n!; so each index is
    first coloured by its size and by the factors and conditions that it stands in, twice over, as in graph isomorphism,
    and only indices of one colour are permuted.  Where even those are too many the key may differ between like terms,
    which then stay two terms: longer, and right.
    """
    bnd = list(term.bnd)
    if len(bnd) < 2:
        return [bnd]
    colour = {b: key(b.size) for b in bnd}
    for _ in range(2):
        labels = {**env, **{b: f"?{colour[b]}" for b in bnd}}
        fresh: dict[Index, str] = {}
        for b in bnd:
            mine = {**labels, b: "!"}
            seen = sorted(key(f, mine) for f in term.fac if b in f.free_symbols)
            seen += sorted(r.key(mine) for r in term.rows if b in r.free_symbols)
            fresh[b] = f"{colour[b]}/{hash_text(''.join(seen))}"
        colour = fresh
    groups: dict[str, list[Index]] = {}
    for b in bnd:
        groups.setdefault(colour[b], []).append(b)
    orders: list[list[Index]] = [[]]
    for c in sorted(groups):
        tied = groups[c]
        ways = [list(w) for w in permutations(tied)] if len(tied) <= 4 else [tied]
        orders = [o + w for w in ways for o in orders]
        if len(orders) > 120:
            orders = orders[:120]
    return orders


def expr_size(e: Expr) -> int:
    """How many nodes an expression has (reads count as one)."""
    if isinstance(e, Read) or not e.args:
        return 1
    return 1 + sum(expr_size(a) for a in e.args)
