"""Mutants of derivations: one mistake each, in an equation of the program, a step, a fact or a result."""

import itertools
from dataclasses import replace

from sympy import Expr, Function, Integer, Number, Piecewise, Pow

from derive.language.index import Size
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
            if len(t.fac) > 1 and f != 1:
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


def wider_mutants(eq, tensors=()):
    """The same for what people forget: constants, functions, branches, another tensor, a first position.

    ``tensors`` are those that may be read instead of one of the same axes: a swapped gate, a stale activation.
    """
    for n, t in enumerate(eq.terms):

        def put(changed, n=n):
            return replace(eq, terms=(*eq.terms[:n], changed, *eq.terms[n + 1 :]))

        for s in sorted((s for s in t.coef.free_symbols if isinstance(s, Size)), key=str):
            yield f"without the size {s}", put(replace(t, coef=t.coef.xreplace({s: Integer(1)})))
        for i in (*t.bnd, *eq.idx, *eq.over):
            for where, row in (
                ("first", Row("<", Integer(0), i)),
                ("last", Row("<", i, i.size - 1)),
                ("second", Row("!=", i, Integer(1))),
            ):
                yield f"{where} position of {i} left out", put(replace(t, rows=(*t.rows, row)))
        for m, f in enumerate(t.fac):

            def factor(g, m=m, t=t):
                return put(replace(t, fac=(*t.fac[:m], g, *t.fac[m + 1 :])))

            for c in sorted(_numbers(f), key=str):
                yield f"{c} moved to {2 * c}", factor(f.xreplace({c: 2 * c}))
                yield f"{c} moved to 0", factor(f.xreplace({c: Integer(0)}))
            for g in sorted((g for g in f.atoms(Function, Pow) if _dropped(g) is not None), key=str):
                yield f"{g.func.__name__} dropped", factor(f.xreplace({g: _dropped(g)}))
            for p in sorted(f.atoms(Piecewise), key=str):
                if len(p.args) == 2:
                    (a, when), (b, rest) = p.args
                    yield "branches exchanged", factor(f.xreplace({p: Piecewise((b, when), (a, rest))}))
        for read in sorted(t.reads(), key=str):
            same = (
                o for o in tensors if o != read.tensor and o.axes == read.tensor.axes and o.dtype == read.tensor.dtype
            )
            for o in itertools.islice((o for o in same if o != eq.tensor), 2):
                yield f"{o} for {read.tensor}", put(t.xreplace({read: Read(o, *read.idx)}))


def _numbers(f):
    return {c for c in f.atoms(Number) if c.is_finite and c not in (0, 1, -1)}


def _dropped(g):
    """What stands in a function of one argument, or in a power."""
    args = g.args[:1] if isinstance(g, Pow) else g.args
    inside = args[0] if len(args) == 1 else None
    return inside if isinstance(inside, Expr) and not isinstance(g, (Read, Piecewise)) else None


def changed(eq, tensors=()):
    """Every mutant of an equation that is another one; what cannot be written is none."""
    for make in (equation_mutants(eq), wider_mutants(eq, tensors)):
        while True:
            try:
                what, bad = next(make)
            except StopIteration:
                break
            except (TypeError, ValueError):  # SymPy or the language refuses to write it
                break
            if bad != eq:
                yield what, bad


def tensors_of(d):
    return [*d.program.inputs, *(e.tensor for e in d.program.equations)]


def program_mutants(d, names=None):
    """Of every equation, or of those of some tensors."""
    equations = d.program.equations
    tensors = tensors_of(d)
    for n, eq in enumerate(equations):
        for what, bad in changed(eq, tensors) if names is None or eq.name in names else ():
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


def consistent_mutants(d):
    """One step that makes another equation of its tensor, which all later steps and the program start from.

    The replay finds nothing here: every step starts from what those before it left, and they lead to the program.
    """
    tensors = tensors_of(d)
    for n, s in enumerate(d.steps):
        right = _plain(s.after)
        later = [m for m, t in enumerate(d.steps) if m > n and right in map(_plain, (*t.before, *t.context))]
        for what, bad in changed(s.after, tensors):
            swap = {right: bad}
            steps = [*d.steps[:n], replace(s, after=bad), *d.steps[n + 1 :]]
            for m in later:
                steps[m] = _with_equations(steps[m], swap)
            equations = tuple(_swapped(e, swap) for e in d.program.equations)
            adjoints = {k: _swapped(e, swap) for k, e in d.adjoint_equations.items()}
            program = Program(d.program.inputs, equations, d.program.outputs)
            mutated = replace(d, steps=tuple(steps), program=program, adjoint_equations=adjoints, evidence={})
            yield f"step {s.id} {s.rule} throughout: {what}", mutated


def _plain(e):
    return replace(e, number=0, parents=())


def _swapped(e, swap):
    bad = next((bad for right, bad in swap.items() if right.name == e.name and right == _plain(e)), None)
    return e if bad is None else replace(bad, number=e.number, parents=e.parents)


def _with_equations(s, swap):
    before, context = (tuple(_swapped(e, swap) for e in group) for group in (s.before, s.context))
    return s if (before, context) == (s.before, s.context) else replace(s, before=before, context=context)


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
    """(what was done, the derivation with one mistake): those of which none is the same function."""
    return itertools.chain(program_mutants(d), step_mutants(d), fact_mutants(d), result_mutants(d))
