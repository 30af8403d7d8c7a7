"""Mutants of derivations: one mistake each, in an equation of the program, a step, a fact or a result."""

import itertools
from dataclasses import replace

from sympy import Integer, Piecewise

from derive.language.tensor import Read
from derive.program.derived import FactUse
from derive.program.program import Program, Row, Term


def equation_mutants(eq):
    """(what was done, the equation with one mistake): signs, factors, terms, guards, indices, tensors, branches."""
    for n, t in enumerate(eq.terms):

        def put(changed, n=n):
            return replace(eq, terms=(*eq.terms[:n], changed, *eq.terms[n + 1 :]))

        yield "sign", put(t.scaled(Integer(-1)))
        yield "factor", put(t.scaled(Integer(2)))
        yield "dropped term", replace(eq, terms=eq.terms[:n] + eq.terms[n + 1 :])
        for m, row in enumerate(t.rows):
            others = (*t.rows[:m], *t.rows[m + 1 :])
            yield f"dropped guard {row}", put(replace(t, rows=others))
            yield f"shifted guard {row}", put(replace(t, rows=(*others, Row(row.op, row.lhs, row.rhs + 1))))
        for m, f in enumerate(t.fac):
            if len(t.fac) > 1:
                yield f"dropped factor {f}", put(replace(t, fac=t.fac[:m] + t.fac[m + 1 :]))
            for p in f.atoms(Piecewise):
                yield "dropped branch", put(t.xreplace({p: p.args[0][0]}))
        for read in sorted(t.reads(), key=str):
            for a, b in itertools.combinations(range(len(read.idx)), 2):
                if read.tensor.axes[a] == read.tensor.axes[b] and read.idx[a] != read.idx[b]:
                    idx = list(read.idx)
                    idx[a], idx[b] = idx[b], idx[a]
                    yield f"transposed {read}", put(t.xreplace({read: Read(read.tensor, *idx)}))
            for a in range(len(read.idx)):
                shifted = Read(read.tensor, *read.idx[:a], read.idx[a] + 1, *read.idx[a + 1 :])
                yield f"shifted {read}", put(t.xreplace({read: shifted}))
    for m, row in enumerate(eq.guards):
        others = (*eq.guards[:m], *eq.guards[m + 1 :])
        yield f"dropped guard {row}", replace(eq, guards=others)
        yield f"shifted guard {row}", replace(eq, guards=(*others, Row(row.op, row.lhs, row.rhs + 1)))
    if not eq.terms:
        yield "a number instead of 0", replace(eq, terms=(Term(Integer(1)),))


def changed(eq):
    return ((what, bad) for what, bad in equation_mutants(eq) if bad != eq)


def program_mutants(d):
    equations = d.program.equations
    for n, eq in enumerate(equations):
        for what, bad in changed(eq):
            program = Program(d.program.inputs, (*equations[:n], bad, *equations[n + 1 :]), d.program.outputs)
            yield f"program {eq.name}: {what}", replace(d, program=program, evidence={})


def step_mutants(d):
    def put(n, step):
        return replace(d, steps=(*d.steps[:n], *step, *d.steps[n + 1 :]), evidence={})

    for n, s in enumerate(d.steps):
        yield f"step {s.id} dropped", put(n, ())
        for what, bad in changed(s.after):
            yield f"step {s.id} {s.rule} after: {what}", put(n, (replace(s, after=bad),))
        for group in ("before", "context"):
            equations = getattr(s, group)
            for m, eq in enumerate(equations):
                for what, bad in changed(eq):
                    mutated = replace(s, **{group: (*equations[:m], bad, *equations[m + 1 :])})
                    yield f"step {s.id} {s.rule} {group}: {what}", put(n, (mutated,))
        for m, fact in enumerate(s.facts):
            others = (*s.facts[:m], *s.facts[m + 1 :])
            yield f"step {s.id} {s.rule} without the fact {fact}", put(n, (replace(s, facts=others),))
            yield f"step {s.id} {s.rule} by another fact", put(n, (replace(s, facts=(*others, f"not {fact}")),))


def fact_mutants(d):
    for n, f in enumerate(d.facts):
        for what, use in (
            ("dropped", ()),
            ("another", (FactUse(f"not {f.text} not", f.steps),)),
            ("of other steps", (FactUse(f.text, (*f.steps, len(d.steps))),)),
        ):
            if use != (f,):
                yield f"fact {f.text} {what}", replace(d, facts=(*d.facts[:n], *use, *d.facts[n + 1 :]), evidence={})


def result_mutants(d):
    """Two results exchanged, and a result replaced by another tensor of its shape."""
    entries = [(g, k, t) for g, v in d.results for k, t in (v.items() if hasattr(v, "items") else ((None, v),))]
    for (g, k, s), (h, m, t) in itertools.combinations(entries, 2):
        if s != t:
            yield (
                f"results {g} {k} and {h} {m} exchanged",
                replace(d, results=_with(d, {(g, k): t, (h, m): s}), evidence={}),
            )
    for g, k, t in entries:
        for e in d.program.equations:
            if e.tensor != t and e.tensor.axes == t.axes and all(e.tensor != x for *_, x in entries):
                yield f"result {g} {k} is {e.name}", replace(d, results=_with(d, {(g, k): e.tensor}), evidence={})
                break


def _with(d, new):
    return tuple(
        (g, {k: new.get((g, k), t) for k, t in v.items()} if hasattr(v, "items") else new.get((g, None), v))
        for g, v in d.results
    )


def mutants(d):
    """(what was done, the derivation with one mistake)."""
    return itertools.chain(program_mutants(d), step_mutants(d), fact_mutants(d), result_mutants(d))
