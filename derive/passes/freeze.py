"""Freezing the work of the passes into a :class:`~derive.program.derived.Derived`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from derive.language.facts import range_text
from derive.language.keys import hash_text
from derive.language.tensor import Tensor
from derive.program.canonical import equation_key
from derive.program.check import check
from derive.program.derived import Derived, FactUse, PassReport, Results, earlier
from derive.program.program import Equation, Program, Step

from .work import Backward, Work


def finish(work: Work, kind: str, name: str, results: Results, reports: Sequence[PassReport]) -> Derived:
    """Freeze the work into a record; engine-made tensors get an identity that includes the whole program."""
    text = hash_text("\n".join(f"{e.tensor.name}:{equation_key(e)}" for e in work.equations))
    # further differentiation starts from the equations before the shift, which is exact but not differentiable as a max
    inherited = earlier(work.source)
    facts = (s.facts for s in work.steps)
    kinks = tuple(sorted(work.kinks.union(*(o.kinks for o in inherited))))
    heads = Frozen(_made(work), work.unshifted, text, _each(*(o.facts for o in inherited), *facts), kinks)
    moved = heads.moved
    final = tuple(moved(e) for e in work.equations)
    outputs = tuple(heads.of(t) for t in work.results())
    used = {t for e in final for t in e.tensors()} | set(outputs)
    program = Program(tuple(t for t in work.inputs if t in used), final, outputs)
    check(program, "finish")
    steps = tuple(
        replace(
            s,
            before=tuple(moved(b) for b in s.before),
            after=moved(s.after),
            context=tuple(moved(c) for c in s.context),
            wrt=None if s.wrt is None else heads.of(s.wrt),
            adjoint_of=tuple((n, heads.of(t)) for n, t in s.adjoint_of),
        )
        for s in work.steps
    )
    adjoints = {n: moved(e) for n, e in work.adjoint_equations.items()} if isinstance(work, Backward) else {}
    return Derived(
        kind,
        name,
        replace(work.source, equations=tuple(moved(e) for e in work.source.equations)),
        program,
        work.wrt,
        tuple(
            (g, {k: heads.of(t) for k, t in v.items()} if isinstance(v, Mapping) else heads.of(v)) for g, v in results
        ),
        steps,
        _facts(program, steps, heads.facts),
        kinks,
        tuple(reports),
        work.cotangent if isinstance(work, Backward) else None,
        adjoints=tuple((n, e.tensor) for n, e in adjoints.items()),
        adjoint_equations=adjoints,
    )


class Frozen:
    """The origin of engine-made tensors: the program that computes them, written in these very tensors.

    The circle (a tensor knows its origin, whose equations read the tensor) closes here and nowhere else: the tensors are
    made with their origin, and the program of them.  Their identity is the name and a hash of the whole program, so that
    two derivations that differ anywhere never meet in SymPy's cache.  ``facts`` and ``kinks`` are what the derivation
    relied on: whatever is derived from its tensors relies on that, too.
    """

    def __init__(
        self,
        made: Sequence[Tensor],
        equations: Sequence[Equation],
        text: str,
        facts: tuple[str, ...],
        kinks: tuple[str, ...],
    ):
        self.facts, self.kinks = facts, kinks
        self._heads = {t: t.identified(f"{text}:{t.name}", origin=self) for t in made}
        self._equations = {e.name: self.moved(e) for e in equations}

    def of(self, t: Tensor) -> Tensor:
        """The tensor as the frozen program has it."""
        return self._heads.get(t, t)

    def moved(self, e: Equation) -> Equation:
        """An equation in the tensors of the frozen program."""
        return replace(e.xreplace(self._heads), tensor=self.of(e.tensor))

    def equation(self, t: Tensor) -> Equation | None:
        """The equation of a tensor of this origin."""
        return self._equations.get(t.name)


def _each(*texts: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(t for some in texts for t in some))


def _facts(program: Program, steps: Sequence[Step], relied: Sequence[str]) -> tuple[FactUse, ...]:
    """The facts relied on, each with the steps that used it, and the declared ranges of integer inputs.

    Without steps are those that only an earlier derivation used, as the gradients that a Hessian starts from.
    """
    facts: dict[str, list[int]] = {f: [] for f in relied}
    for s in steps:
        for f in s.facts:
            facts.setdefault(f, []).append(s.id)
    for t in program.inputs:
        if t.dtype == "int" and t.below is not None:
            facts.setdefault(range_text(t), [])
    return tuple(FactUse(f, tuple(ids)) for f, ids in facts.items())


def _made(work: Work) -> list[Tensor]:
    """The tensors that this work made, by name: no inputs, no definitions, and none of an earlier derivation."""
    found = {t for e in (*work.equations, *work.unshifted) for t in (*e.tensors(), e.tensor)}
    for s in work.steps:
        for e in (*s.before, s.after, *s.context):
            found |= {e.tensor, *e.tensors()}
        found |= {t for _, t in s.adjoint_of}
    for e in work.adjoint_equations.values() if isinstance(work, Backward) else ():
        found |= {e.tensor, *e.tensors()}
    return sorted(
        (t for t in found if not t.is_input and t.definition is None and t.origin is None), key=lambda t: t.name
    )
