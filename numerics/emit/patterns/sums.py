"""Sums that another equation has already made, up to factors that do not vary along the sum.

    d_xh[b,c] = gamma[c] dh[b,c]
    db[c]    = sum_b dh[b,c]
    m[c]     = sum_b d_xh[b,c]        is written as gamma[c] db[c]: one pass over the array less

The equation stays as derived; only how it is computed changes.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace

from sympy import Expr, Integer, Mul

from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Term
from derive.program.schedule import components


@dataclass(frozen=True)
class Reused:
    """A program whose sums read those of other equations, and ``(rule, number, reason)`` for each."""

    program: Program
    choices: tuple


def reuse_sums(program: Program) -> Reused:
    """Replace sums of products by multiples of sums that are there."""
    by_name, order = {e.name: e for e in program.equations}, _Order(program)
    sums = Sums(e for e in program.equations if is_plain_sum(e) and e.name not in order.recurrent)
    made, choices = dict(by_name), []
    for e in program.equations:
        if e.reduce:
            continue
        terms = tuple(_reused(t, e, sums, by_name, order, made) for t in e.terms)
        if terms != e.terms:
            made[e.name] = replace(e, terms=terms)
            choices.append(("sum-reused", e.number, "a factor that the sum does not vary leaves a sum that is there"))
    return Reused(replace(program, equations=tuple(made.values())), tuple(choices))


def exchange_sums(program: Program, known: Callable[[Expr], Expr]) -> Reused:
    """Inner products along an axis that another equation has summed over: the order of two sums is exchanged.

        o[t,k] = sum_q a[t,q] v[q,k]     da[t,q] = sum_k do[t,k] v[q,k]
        s[t]   = sum_q a[t,q] da[t,q]    is written as sum_k do[t,k] o[t,k]: neither a nor da is read again

    Where the sizes are known, only if what is summed is not more; ``known`` is a size as far as it is.
    """
    by_name, order = {e.name: e for e in program.equations}, _Order(program)
    sums = Sums(e for e in program.equations if is_plain_sum(e) and e.name not in order.recurrent)
    made, choices = dict(by_name), []
    for e in program.equations:
        if e.reduce:
            continue
        terms = tuple(_exchanged(t, e, sums, by_name, order, made, known) for t in e.terms)
        if terms != e.terms:
            made[e.name] = replace(e, terms=terms)
            choices.append(("sums-exchanged", e.number, "the sum over the longer axis is one that is there"))
    return Reused(replace(program, equations=tuple(made.values())), tuple(choices))


def _exchanged(
    t: Term,
    e: Equation,
    sums: Sums,
    by_name: dict[str, Equation],
    order: _Order,
    made: dict[str, Equation],
    known: Callable[[Expr], Expr],
) -> Term:
    """An inner product by the sum over its own letters that another equation is, if there is one and ``e`` may read it.

    An inner product reads each factor along all its letters; a matrix product is cheaper than its letters say, and stays.
    """
    every = {*e.idx, *t.bnd}
    if not t.bnd or t.rows or len(t.fac) < 2 or any(labels_of(f) != every for f in t.fac):
        return t
    for g in t.fac:
        opened = _plain_sum(g, by_name)
        if opened is None:
            continue
        rest = list(t.fac)
        rest.remove(g)
        inside = [f for f in (*rest, *opened.fac) if labels_of(f) & set(t.bnd)]
        outside = [f for f in opened.fac if not labels_of(f) & set(t.bnd)]
        longer, shorter = (known(Mul(*(i.size for i in many))) for many in (t.bnd, opened.bnd))
        if not outside or (longer.is_Integer and shorter.is_Integer and shorter > longer):
            continue
        for f, change in _alike(inside, t.bnd, opened.bnd, sums):
            found = matching_sum(Term(t.coef, tuple(i.xreplace(change) for i in inside), t.bnd), f)
            if found is None or f.name == e.name or not order.put_before(f.name, e.name, made):
                continue
            back = {new: old for old, new in change.items()}
            return Term(t.coef * opened.coef, (*outside, *(h.xreplace(back) for h in found.fac)), opened.bnd)
    return t


def _alike(
    inside: list[Expr], bnd: tuple[Index, ...], letters: tuple[Index, ...], sums: Sums
) -> Iterator[tuple[Equation, dict[Index, Index]]]:
    """Sums over ``bnd`` that read what is inside, and which of their letters stand for which of ``letters``."""
    own = {i for f in inside for i in labels_of(f)} - {*bnd, *letters}
    for _, f in sums.like(Term(Integer(1), tuple(inside), bnd)):
        others = [i for i in f.idx if i not in own]
        if len(others) == len(letters):
            for names in itertools.permutations(others):
                if all(same_size(i.size, j.size) for i, j in zip(letters, names, strict=True)):
                    yield f, dict(zip(letters, names, strict=True))


def _plain_sum(g: Expr, by_name: dict[str, Equation]) -> Term | None:
    """The plain sum of products that a read is, in the read's letters."""
    e = by_name.get(g.tensor.name) if isinstance(g, Read) else None
    if e is None or not is_plain_product_sum(e) or not all(isinstance(i, Index) for i in g.idx):
        return None
    if len(set(g.idx)) < len(g.idx) or set(e.terms[0].bnd) & set(g.idx):
        return None
    return e.terms[0].xreplace({i: j for i, j in zip(e.idx, g.idx, strict=True) if i != j})


def is_plain_product_sum(e: Equation) -> bool:
    """Whether an equation is one sum of products without conditions, whatever stands before it."""
    return not e.reduce and len(e.terms) == 1 and bool(e.terms[0].bnd) and not e.terms[0].rows


def _reused(
    t: Term, e: Equation, sums: Sums, by_name: dict[str, Equation], order: _Order, made: dict[str, Equation]
) -> Term:
    """The term of ``e`` as factors times the first sum that it is a multiple of, if ``e`` may read that."""
    if not t.bnd or t.rows:
        return t
    found = [
        (place, n, f, opened) for n, opened in enumerate(_written_out(t, by_name)) for place, f in sums.like(opened)
    ]
    for *_, f, opened in sorted(found, key=lambda candidate: candidate[:2]):
        if f.name != e.name and (new := matching_sum(opened, f)) and order.put_before(f.name, e.name, made):
            return new
    return t


class Sums:
    """The sums of a program, by what any sum that is a multiple of one must have in common with it.

    Every term asks for the sums like it: to try each sum on each term takes the square of a network's depth.
    """

    def __init__(self, equations: Iterable[Equation]) -> None:
        self.by_key: dict[tuple, list[tuple[int, Equation]]] = {}
        for n, e in enumerate(equations):
            self.by_key.setdefault(_key(e.terms[0]), []).append((n, e))

    def like(self, t: Term) -> list[tuple[int, Equation]]:
        """``(place in the program, sum)`` of those that :func:`matching_sum` may accept, in order."""
        return self.by_key.get(_key(t), [])


def _key(t: Term) -> tuple:
    """The letters summed over, and how many factors vary along them and which tensors these read."""
    inside = [f for f in t.fac if labels_of(f) & set(t.bnd)]
    names = {r.tensor.name for f in inside for r in f.atoms(Read)}
    return frozenset(b.name for b in t.bnd), len(t.bnd), len(inside), frozenset(names)


class _Order:
    """An order of a program's equations in which each stands after what it reads, kept while reads are added.

    A recurrence has one place, as what is outside it sees only whether it comes before or after; ``recurrent`` names
    the members.  That an equation does not depend on a later one is then known without a search; and a search in what a later
    one reads ends where the earlier one stands, which in a deep network is near.
    """

    def __init__(self, program: Program) -> None:
        self.groups = [tuple(e.name for e in group) for group in components(program)]
        self.place = {name: n for n, group in enumerate(self.groups) for name in group}
        own = {e.name for e in program.equations if any(t.name == e.name for t in e.tensors())}
        self.recurrent = own.union(*(group for group in self.groups if len(group) > 1))

    def put_before(self, name: str, reader: str, equations: dict[str, Equation]) -> bool:
        """Let ``reader`` stand after ``name``, to read it; False, and nothing changes, if ``name`` depends on it."""
        start, end = self.place[reader], self.place[name]
        if end < start:
            return True
        needed, todo = set(), [end]
        while todo:
            n = todo.pop()
            if n == start:
                return False
            if n not in needed:
                needed.add(n)
                reads = {t.name for member in self.groups[n] for t in equations[member].tensors()}
                todo += [m for r in reads if (m := self.place.get(r, -1)) >= start]
        span = range(start, end + 1)
        moved = [self.groups[n] for n in (*(n for n in span if n in needed), *(n for n in span if n not in needed))]
        self.groups[start : end + 1] = moved
        self.place.update((member, start + n) for n, group in enumerate(moved) for member in group)
        return True


def recurrent(program: Program) -> set[str]:
    """The names of the equations that are steps of a recurrence."""
    return _Order(program).recurrent


def is_plain_sum(e: Equation) -> bool:
    """Whether an equation is one sum of products, without conditions, and each factor varies along it."""
    if e.reduce or len(e.terms) != 1:
        return False
    t = e.terms[0]
    return bool(t.bnd) and not t.rows and t.coef == 1 and all(labels_of(f) & set(t.bnd) for f in t.fac)


def labels_of(e: Expr) -> set[Index]:
    """The indices in an expression."""
    return {i for i in e.free_symbols if isinstance(i, Index)}


def _written_out(t: Term, by_name: dict[str, Equation]) -> Iterator[Term]:
    """A sum with some of the products in it written out, in every way in which a factor may then leave it."""
    leaving = [g for g in t.fac if _leaves_factor(g, t.bnd, by_name)]
    products = {g: product for g in leaving if (product := definition(g, by_name)) is not None}
    for count in range(1, len(products) + 1):
        for opened in itertools.combinations(products, count):
            coef = t.coef
            fac: list[Expr] = []
            for g in t.fac:
                inside = products[g] if g in opened else None
                coef = coef * inside.coef if inside else coef
                fac += inside.fac if inside else (g,)
            yield Term(coef, tuple(fac), t.bnd)


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


def _leaves_factor(g: Expr, bnd: tuple[Index, ...], by_name: dict[str, Equation]) -> bool:
    """Whether a read of a plain product has a factor that does not vary along a sum, told before it is written out."""
    t = _plain_product(g, by_name)
    if t is None:
        return False
    along = {i for i, j in zip(by_name[g.tensor.name].idx, g.idx, strict=True) if j in bnd}
    return any(not labels_of(f) & along for f in t.fac)


def definition(g: Expr, by_name: dict[str, Equation]) -> Term | None:
    """The plain product that defines a read, in the read's letters."""
    t = _plain_product(g, by_name)
    if t is None:
        return None
    change = {i: j for i, j in zip(by_name[g.tensor.name].idx, g.idx, strict=True) if i != j}
    return Term(t.coef, tuple(f.xreplace(change) for f in t.fac), (), ()) if change else t


def _plain_product(g: Expr, by_name: dict[str, Equation]) -> Term | None:
    """The plain product that defines a read, in the letters of its equation."""
    e = by_name.get(g.tensor.name) if isinstance(g, Read) else None
    if e is None or e.reduce or len(e.terms) != 1 or not all(isinstance(i, Index) for i in g.idx):
        return None
    t = e.terms[0]
    if t.bnd or t.rows or len(t.fac) < 2 or any(r.tensor.name == e.name for f in t.fac for r in f.atoms(Read)):
        return None
    return t
