"""Declared equalities in finished equations: ``sum_k Q[k,i] Q[k,j] = [i = j]`` and ``sum_i x[i]^2 = 1``.

Last of all, after the equations that further differentiation starts from are set apart: an equality holds at the points
where the inputs are, and its derivative by an input that it is about is not that of the constant.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Add, Expr, Integer, Pow

from derive.language import affine
from derive.language.facts import Fact, SumsTo
from derive.language.index import Index
from derive.language.nodes import Reduction
from derive.language.tensor import Read
from derive.program.graph import ancestors
from derive.program.program import Equation, Row, Term
from derive.program.terms import drop_free_sums, merge, tidy

from .changes import changed, ordered
from .collecting import declared_sum
from .rule import Rule
from .work import Work

EQUALITY = Rule(
    "declared equality",
    "Declared equalities",
    "What was promised about an input is used at the end: it holds where the input is, and is not differentiated.",
)
MOST_TERMS = 4  # of a definition that is written in place
DEEPEST = 8  # definitions that are looked through for a value that an equality makes a number


def equalities(work: Work) -> str:
    """Use the equalities that inputs were declared with in every derived equation."""
    if not any(f.is_quadratic or isinstance(f, SumsTo) for t in work.inputs for f in t.facts):
        return "none declared"
    count = 0
    for n, eq in enumerate(work.backward):
        if eq.reduce is None:
            work.backward[n] = _simplified(eq, work)
            count += work.backward[n] != eq
    needed = ancestors(work.equations, work.results())
    work.forward = [e for e in work.forward if e.name in needed]
    work.backward = [e for e in work.backward if e.name in needed]
    return f"{count} equations"


def _simplified(eq: Equation, work: Work) -> Equation:
    while True:
        found = _Found(work)
        terms = [x for t in eq.terms for x in found.used(t)]
        if not found.texts:
            return eq
        why = "; ".join(dict.fromkeys(found.texts))
        after = changed(
            eq, terms, work, EQUALITY, why, context=ordered(found.context), facts=dict.fromkeys(found.texts)
        )
        if after == eq:
            return eq
        eq = after


class _Found:
    """Terms with equalities used, and what was used for them."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.texts: list[str] = []
        self.context: list[Equation] = []

    def used(self, t: Term) -> list[Term]:
        """The term by the first equality that it holds, as it is or with a definition on the way written in place."""
        t = replace(t, fac=tuple(self._constants(f) for f in t.fac))
        direct = self._direct(t)
        if direct is not None:
            return [direct]
        for n, f in enumerate(t.fac):
            source = self._definition(f)
            if source is None or not isinstance(f, Read) or len(source.terms) > MOST_TERMS:
                continue
            before, texts = (*t.fac[:n], *t.fac[n + 1 :]), len(self.texts)
            written = [
                tidy(merge(inside, self.work.saved.nonzero))
                for s in source.at(f.idx, self.work.fresh)
                for inside in [Term(t.coef * s.coef, (*before, *s.fac), (*t.bnd, *s.bnd), (*t.rows, *s.rows))]
            ]
            known = [None if w is None else self._direct(w) for w in written]
            whole = all(affine.in_range(e, a) for e, a in zip(f.idx, f.tensor.axes, strict=True))
            if whole and any(k is not None for k in known):
                self.context.append(source)
                return [x for k, w in zip(known, written, strict=True) if (x := k or w) is not None]
            del self.texts[texts:]
        return [t]

    def _definition(self, f: Expr) -> Equation | None:
        """The equation of a value that a factor reads, where it can be written in place."""
        if not isinstance(f, Read) or f.tensor.is_input or f.tensor.name in self.work.cyclic:
            return None
        found = next((e for e in self.work.equations if e.name == f.tensor.name), None)
        return found if found is not None and found.reduce is None and not found.guards else None

    def _direct(self, t: Term) -> Term | None:
        for b in t.bnd:
            pair = _pair(t, b)
            if pair is None:
                continue
            one, other = pair
            fact = next((f for f in one.tensor.facts if f.is_quadratic), None)
            ends = None if fact is None else _ends(fact, one, other, b)
            if fact is None or ends is None:
                continue
            self.texts.append(fact.text(one.tensor))
            rows = (*t.rows, Row("==", *ends)) if ends and ends[0] != ends[1] else t.rows
            fac = tuple(f for f in t.fac if b not in f.free_symbols)
            return drop_free_sums(replace(t, fac=fac, bnd=tuple(x for x in t.bnd if x != b), rows=rows))
        return None

    # -- values that are numbers ------------------------------------------------------------------------------------

    def _constants(self, f: Expr) -> Expr:
        """A factor with the scalars that equalities make numbers as these: ``||x||`` is 1."""
        known = {r: v for r in f.atoms(Read) if not r.idx and (v := self._number(r, DEEPEST)) is not None}
        return f.xreplace(known) if known else f

    def _number(self, r: Read, deep: int) -> Expr | None:
        source = self._definition(r)
        if source is None or not deep:
            return None
        before = len(self.texts)
        values = [self._value(t, deep) for t in source.terms]
        numbers = [v for v in values if v is not None]
        if len(numbers) < len(values) or len(self.texts) == before:
            del self.texts[before:]
            return None
        self.context.append(source)
        return Add(*numbers)

    def _value(self, t: Term, deep: int) -> Expr | None:
        """The number that a term is."""
        if t.bnd:
            t = self._direct(t) or declared_sum(t, self.texts)
        product = t.coef
        for f in t.fac:
            known = {r: v for r in f.atoms(Read) if (v := self._number(r, deep - 1)) is not None}
            product *= f.xreplace(known)
        alone = not t.bnd and not t.rows and not product.atoms(Read) and not product.has(Reduction)
        return product if alone and not any(isinstance(s, Index) for s in product.free_symbols) else None


def _pair(t: Term, b: Index) -> tuple[Read, Read] | None:
    """The two reads that a summed letter joins, where it stands in nothing else."""
    if any(b in r.free_symbols for r in t.rows):
        return None
    holders = [f for f in t.fac if b in f.free_symbols]
    if len(holders) == 1 and isinstance(holders[0], Pow) and holders[0].exp == Integer(2):
        holders = [holders[0].base] * 2
    reads = [f for f in holders if isinstance(f, Read)]
    if len(holders) != 2 or len(reads) != 2 or reads[0].tensor != reads[1].tensor:
        return None
    one, other = reads
    whole = all(affine.in_range(e, a) for r in reads for e, a in zip(r.idx, r.tensor.axes, strict=True))
    return (one, other) if whole else None


def _ends(fact: Fact, one: Read, other: Read, b: Index) -> tuple[Expr, ...] | None:
    """What the identity ties, where the fact says that the product over b is one; nothing where it is the number 1."""
    places = [[n for n, e in enumerate(r.idx) if b in e.free_symbols] for r in (one, other)]
    if places[0] != places[1] or len(places[0]) != 1 or one.idx[places[0][0]] != b or other.idx[places[0][0]] != b:
        return None
    if fact.kind == "unit":
        return ()
    return one.idx[1 - places[0][0]], other.idx[1 - places[0][0]]
