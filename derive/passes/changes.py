"""One adjoint equation rewritten: merged, collected and kept as a step."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from derive.language.tensor import Tensor
from derive.program.program import Equation, Term
from derive.program.terms import collect, merge, tidy

from .contract import contract
from .rule import Rule
from .work import Work


def changed(
    eq: Equation,
    terms: Iterable[Term],
    work: Work,
    rule: Rule,
    why: str,
    context: Iterable[Equation] = (),
    facts: Iterable[str] = (),
    wrt: Tensor | None = None,
) -> Equation:
    """The equation with new terms, merged and collected; kept as a step if anything changed."""
    merged = [merge(x, work.saved.nonzero) for x in (contract(t) for t in terms) if x is not None]
    after = replace(eq, terms=collect([t for t in (tidy(m) for m in merged) if t is not None], eq.idx))
    if after.terms == eq.terms:
        return eq
    work.step(rule, (eq,), after, why, context=context, facts=facts, wrt=wrt)
    return after


def ordered(equations: Iterable[Equation]) -> list[Equation]:
    seen: dict[str, Equation] = {}
    for e in equations:
        seen.setdefault(e.name, e)
    return list(seen.values())
