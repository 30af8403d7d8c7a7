"""The pass that keeps together what cancels by design, as a mask's ``1e9 m - 1e9``; see :mod:`derive.language.grouping`."""

from __future__ import annotations

from dataclasses import replace

from sympy import Add, Expr, Integer, Mul

from derive.language.grouping import cancelling
from derive.program.program import Equation, Term

from .rule import Rule
from .work import Work

REGROUPING = Rule(
    "regrouping",
    "What cancels stays together",
    "In floating-point numbers the sum of a large number and a small one loses the small one. Large terms that were "
    "written to cancel are therefore computed as one product with their difference.",
)


def regroup(work: Work) -> str:
    """Take the common factor out of large terms that cancel: ``c m - c`` is ``c (m - 1)``."""
    done = []
    for eq in list(work.forward):
        eq = _apart(work, eq)
        terms = _grouped(eq.terms)
        if terms != eq.terms:
            work.rewrite_forward(
                REGROUPING,
                eq,
                replace(eq, terms=terms),
                "large terms that cancel by design stay together: apart, each would swallow what is added to them",
            )
            done.append(eq.name)
    return ", ".join(done) or "nothing to do"


def _apart(work: Work, eq: Equation) -> Equation:
    """The equation with a name for each sum over an index that cancels against a number or another sum."""
    plain = [n for n, t in enumerate(eq.terms) if not t.rows and _split(t)[1] == 1]
    found = cancelling([eq.terms[n].coef for n in plain])
    sums = [eq.terms[plain[n]] for n in (found[1] if found is not None else ()) if eq.terms[plain[n]].bnd]
    if not sums or eq.reduce or eq.name in work.cyclic:
        return eq
    terms, made = list(eq.terms), []
    for t in sums:
        idx = tuple(i for i in eq.idx if i in t.free_symbols)
        tensor = work.tensor(work.unused(f"{eq.name}_sum"), idx, eq.tensor.block)
        named = Equation(tensor, idx, (replace(t, coef=Integer(1)),))
        work.forward.insert(work.forward.index(eq), named)
        work.define(REGROUPING, named, f"a sum in {eq.name} gets a name, so that what it cancels against can meet it")
        terms[terms.index(t)] = Term(t.coef, (named.lhs,))
        made.append(named)
    after = replace(eq, terms=tuple(terms))
    work.rewrite_forward(REGROUPING, eq, after, "the sums are read by their names", context=made)
    return after


def _grouped(terms: tuple[Term, ...]) -> tuple[Term, ...]:
    """The terms with each group of them that cancels as one term, where its first one stood."""
    kinds = dict.fromkeys((t.rows, _split(t)[1]) for t in terms if not t.bnd)
    for rows, sizes in kinds:
        places = [n for n, t in enumerate(terms) if not t.bnd and t.rows == rows and _split(t)[1] == sizes]
        found = cancelling([_split(terms[n])[0] for n in places])
        if found is None or len(terms) == len(terms[places[0]].fac) == 1:
            continue
        common, chosen = found
        group = [terms[places[n]] for n in chosen]
        inside = Add(*(_split(t)[0] / common * Mul(*t.fac) for t in group))
        one = Term(common * sizes, (inside,), (), rows)
        return _grouped(tuple(one if t is group[0] else t for t in terms if t is group[0] or t not in group))
    return terms


def _split(t: Term) -> tuple[Expr, Expr]:
    """The number and the sizes of a coefficient."""
    return t.coef.as_coeff_Mul()
