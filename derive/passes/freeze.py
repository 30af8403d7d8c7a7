"""Freezing the work of the passes into a :class:`~derive.program.derived.Derived`."""

from __future__ import annotations

from dataclasses import replace

from derive.language.facts import missing_value
from derive.language.keys import hash_text
from derive.language.tensor import Tensor
from derive.program.canonical import equation_key
from derive.program.check import check
from derive.program.derived import Derived, FactUse
from derive.program.program import Program

from .work import Work


def finish(work: Work, kind: str, name: str, results, reports) -> Derived:
    """Freeze the work into a record; engine-made tensors get an identity that includes the whole program."""
    program = Program(tuple(work.inputs), tuple(work.forward + work.backward))
    text = hash_text("\n".join(f"{e.tensor.name}:{equation_key(e)}" for e in program.equations))
    heads = {
        t: Tensor(t.name, t.axes, t.letters, t.dtype, t.below, t.role, t.facts, None, f"{text}:{t.name}", t.block)
        for t in _made(work)
    }

    def moved(e):
        return replace(e.xreplace(heads), tensor=heads.get(e.tensor, e.tensor))

    final = tuple(moved(e) for e in program.equations)
    outputs = tuple(heads.get(t, t) for t in work.results())
    used = {t for e in final for t in e.tensors()} | set(outputs)
    program = Program(tuple(t for t in work.inputs if t in used), final, outputs)
    check(program, "finish")
    # further differentiation starts from the equations before the shift, which is exact but not differentiable as a max
    origin = Program(program.inputs, tuple(moved(e) for e in work.unshifted))
    for head in heads.values():
        head.origin = origin
    steps = tuple(
        replace(
            s,
            before=tuple(moved(b) for b in s.before),
            after=moved(s.after),
            context=tuple(moved(c) for c in s.context),
            wrt=heads.get(s.wrt, s.wrt),
            adjoint_of=tuple((n, heads.get(t, t)) for n, t in s.adjoint_of),
        )
        for s in work.steps
    )
    facts: dict[str, list[int]] = {}
    for s in steps:
        for f in s.facts:
            facts.setdefault(f, []).append(s.id)
    for t in program.inputs:
        if t.dtype == "int" and t.below is not None:
            letters = ", ".join(str(x) if x is not None else "·" for x in t.letters)
            read = f"{t.name}[{letters}]" if t.rank else t.name
            none = missing_value(t)
            facts.setdefault(f"0 <= {read} < {t.below}{'' if none is None else f', or {none}'} (declared)", [])
    made = {n: moved(e) for n, e in work.all_adjoints.items()}
    results = tuple(
        (g, {k: heads.get(t, t) for k, t in v.items()} if isinstance(v, dict) else heads.get(v, v)) for g, v in results
    )
    source = replace(work.source, equations=tuple(moved(e) for e in work.source.equations))
    return Derived(
        kind,
        name,
        source,
        program,
        work.wrt,
        results,
        steps,
        tuple(FactUse(f, tuple(ids)) for f, ids in facts.items()),
        tuple(sorted(work.kinks)),
        tuple(reports),
        work.cotangent,
        adjoints=tuple((n, e.tensor) for n, e in made.items()),
        adjoint_equations=made,
    )


def _made(work: Work) -> list[Tensor]:
    found = {t for e in work.forward + work.backward for t in (*e.tensors(), e.tensor)}
    found |= {t for e in work.unshifted for t in (*e.tensors(), e.tensor)}
    for s in work.steps:
        for e in (*s.before, s.after, *s.context):
            found |= {e.tensor, *e.tensors()}
        found |= {t for _, t in s.adjoint_of}
    for e in work.all_adjoints.values():
        found |= {e.tensor, *e.tensors()}
    return sorted(
        (t for t in found if not t.is_input and t.definition is None and t.origin is None), key=lambda t: t.name
    )
