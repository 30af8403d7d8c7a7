"""The mistakes that are tried on a derived program, one element of one equation (or of all that share it) at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import numpy as np
from sympy import Integer

from derive.derivation.derivation import Derivation
from derive.language.index import Index
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term
from numerics.reference.grid import size_value
from numerics.reference.programs import term_value

from .axes import wrong_axes
from .constants import Knob, added, free_constants, knobs, outside_the_root, scaled
from .elements import Element, alike, condition_text, conditions, elements, equation_text, relations, unconditioned
from .paths import number
from .readings import displaced_reads, exchanged, other_sizes, other_tensors, shifted_reads
from .replay import Changes, Replay

Numbers = Callable[[Knob], list[float]]  # the values of a number that may be theirs


@dataclass(frozen=True)
class Candidate:
    """A mistake planted in the program: what it is called, and what stands in the place of which equations."""

    kind: str
    text: str
    changed: Changes
    known: dict[str, np.ndarray] = field(default_factory=dict)
    plain: bool = False  # to be evaluated without stabilizing maxima


class Candidates:
    """The mistakes tried on the program of one derivation; ``suspects`` are the equations that may hold them."""

    def __init__(self, d: Derivation, sizes: dict, replay: Replay):
        self.d, self.sizes, self.replay = d, sizes, replay

    def _number(self, name: str) -> int:
        e = self.d.program.equation(name)
        return e.number if e is not None else 0

    def elements(self, suspects: list[Equation]) -> Iterator[Candidate]:
        """Conditions first, for what they alone decide has many other explanations; then one element after another."""
        for text, changed in self._dropped():
            yield Candidate("missing condition", text, changed)
        yield from self._conditions(suspects)
        for e in suspects:
            yield from (_alone(e, x) for x in elements(e))
        for e in suspects:
            yield from self._assigned(e)

    def readings(self, suspects: list[Equation], needed: set[str], numbers: Numbers) -> Iterator[Candidate]:
        """What is read where, over which axes, and which numbers; ``needed`` are the equations that count."""
        for e in suspects:
            yield from (_alone(e, x) for x in (*exchanged(e), *other_sizes(e, self.sizes)))
        yield from self._axes(suspects, needed)
        yield from self._numbers(suspects, needed, numbers)
        for e in suspects:
            yield from (_alone(e, x) for x in displaced_reads(e))

    def tensors(self, suspects: list[Equation]) -> Iterator[Candidate]:
        for e in suspects:
            yield from (_alone(e, x) for x in other_tensors(e, self.d.program))
        for e in suspects:
            yield from (_alone(e, x) for x in shifted_reads(e))

    def elsewhere(self, suspects: list[Equation], needed: set[str], numbers: Numbers) -> Iterator[Candidate]:
        """Equations that right gradients depend on, too: where these were computed apart."""
        yield from self._conditions(suspects)
        for e in suspects:
            yield from (_alone(e, x) for x in (*elements(e), *other_sizes(e, self.sizes)))
        yield from self._numbers(suspects, needed, numbers)

    def _conditions(self, suspects: list[Equation]) -> Iterator[Candidate]:
        """A condition replaced wherever it stands; then in one equation alone."""
        for e in suspects:
            for text, change in conditions(e):
                everywhere = {q.name: (c,) for q in self.d.program.equations if (c := change(q)) != q}
                yield Candidate("condition", f"in {equation_text(e)}, {text}", everywhere)
                if len(everywhere) > 1:
                    yield Candidate("condition", f"in {equation_text(e)} alone, {text}", {e.name: everywhere[e.name]})

    def _dropped(self) -> Iterator[tuple[str, Changes]]:
        """The conditions of one kind dropped in all equations: a mask forgotten altogether."""
        rows = [r for e in self.d.program.equations for t in e.terms for r in (*t.rows, *e.guards)]
        kinds: list[Row] = []
        for row in rows:
            if row.op in ("<", "<=") and not any(alike(row, k) for k in kinds):
                kinds.append(row)
        for kind in kinds:
            changed: dict[str, tuple[Equation, ...]] = {}
            for e in self.d.program.equations:
                terms = tuple(replace(t, rows=tuple(r for r in t.rows if not alike(r, kind))) for t in e.terms)
                guards = tuple(g for g in e.guards if not alike(g, kind))
                if terms != e.terms or guards != e.guards:
                    changed[e.name] = (replace(e, terms=terms, guards=guards),)
            where = ", ".join(f"({self._number(n)})" for n in changed)
            some = " and ".join(sorted({str(r) for r in rows if alike(r, kind)}))
            yield f"the condition {some} is missing in {where}", changed
        for c, e in {c: q for q in self.d.program.equations for c in relations(q)}.items():
            changed = {q.name: (x,) for q in self.d.program.equations if (x := unconditioned(q, c)) != q}
            if changed:
                where = ", ".join(f"({self._number(n)})" for n in changed)
                yield f"the condition {condition_text(e, c)} is missing in {where}", changed

    def _axes(self, suspects: list[Equation], needed: set[str]) -> Iterator[Candidate]:
        for e in suspects:
            for moved in wrong_axes(e, self.d.program, needed):
                yield Candidate("wrong axis", f"{equation_text(e)} {moved.text}", moved.changed, plain=True)

    def _numbers(self, suspects: list[Equation], needed: set[str], numbers: Numbers) -> Iterator[Candidate]:
        """Numbers are solved for; what is yielded fits already, or nearly."""
        names = {e.name for e in suspects}
        everywhere = [e for e in self.d.program.equations if e.name in needed]
        some = [k for k in knobs(everywhere) if any(n in names for n in k.make(number(k.start)))]
        some += [*free_constants(suspects), *(k for e in suspects for k in (*added(e), *scaled(e)))]
        for knob in some:
            for v in numbers(knob):
                text = f"in {equation_text(knob.equation)}, {knob.text(f'{v:.6g}')}"
                yield Candidate(knob.kind, text, knob.make(number(v)))
        for e in suspects:
            for said, changed in outside_the_root(e, self.d.program.equation):
                text = f"in {equation_text(e)}, {said}; yours fits it added outside of the root"
                yield Candidate("constant", text, changed)

    def uses(self, users: list[Equation]) -> Iterator[Candidate]:
        """An equation altered as one of its consumers reads it, the others reading the right one."""
        for text, changed in self._dropped():
            values = self.replay.run(changed)
            if values is None:
                continue
            for f in users:
                for t in f.tensors():
                    if t.name not in changed and _differs(values, self.replay.base, t.name):
                        said = f"{t.name} as {equation_text(f)} uses it comes from a forward where {text}"
                        yield Candidate("stale value", said, *_seen(f, t, values[t.name]))
        for e in self.d.program.equations:
            reading = [f for f in users if f is not e and e.tensor in f.tensors()]
            for x in elements(e) if reading and e.tensor not in e.tensors() else ():
                for f in reading:
                    text = f"in {equation_text(e)} as {equation_text(f)} uses it, {x.text}"
                    yield Candidate(x.kind, text, {f.name: _as_read(f, e, x.equation)})

    def _assigned(self, e: Equation) -> Iterator[Candidate]:
        """Where several positions pick one element, the last contribution alone."""
        picked = _gather_row(e)
        if picked is None:
            return
        row, array, over = picked
        term = e.terms[0]
        rest = tuple(b for b in term.bnd if b not in over)
        free = [*over, *e.idx]
        each = term_value(replace(term, bnd=rest), free, self.replay.base, self.sizes)
        there = term_value(Term(Integer(1), rows=(row,)), free, self.replay.base, self.sizes) > 0
        shape = tuple(size_value(a, self.sizes) for a in e.tensor.axes)
        value = np.zeros(shape)
        for at in np.ndindex(*each.shape[: len(over)]):
            value = np.where(np.broadcast_to(there[at], shape), each[at], value)
        text = f"the contributions of one element that {array} picks several times are assigned (the last one wins), not added"
        yield Candidate("repeated index", f"in {equation_text(e)}, {text}", {e.name: ()}, {e.name: value})


def _alone(e: Equation, x: Element) -> Candidate:
    return Candidate(x.kind, f"in {equation_text(e)}, {x.text}", {e.name: (x.equation,)})


def _differs(values: dict, base: dict, name: str) -> bool:
    return name in base and not np.array_equal(values[name], base[name])


def stand_in(t: Tensor, f: Equation) -> Tensor:
    """What one consumer reads in the place of a tensor."""
    return Tensor(f"{t.name} as {f.name} reads it", t.axes, t.letters, digest=f"altered:{t.name}:{f.name}")


def _seen(f: Equation, t: Tensor, value: np.ndarray) -> tuple[Changes, dict[str, np.ndarray]]:
    """One consumer reading another value of a tensor."""
    wrong = stand_in(t, f)
    reads = {r: Read(wrong, *r.idx) for r in f.reads() if r.tensor == t}
    return {f.name: (f.xreplace(reads),)}, {wrong.name: value}


def _as_read(f: Equation, e: Equation, altered: Equation) -> tuple[Equation, ...]:
    """What one consumer becomes when it alone reads an altered equation."""
    wrong = stand_in(e.tensor, f)
    reads = {r: Read(wrong, *r.idx) for r in f.reads() if r.tensor == e.tensor}
    return replace(altered, tensor=wrong), f.xreplace(reads)


def _gather_row(e: Equation) -> tuple[Row, str, tuple[Index, ...]] | None:
    """For ``sum over .. with index[b] = v``: the row, the name of the integer tensor, and the indices it is read at."""
    if e.reduce is not None or len(e.terms) != 1:
        return None
    for row in e.terms[0].rows:
        sides = (row.lhs, row.rhs)
        read = next((s for s in sides if isinstance(s, Read)), None)
        if row.op != "==" or read is None or not any(s in e.idx for s in sides):
            continue
        if set(read.idx) <= set(e.terms[0].bnd):
            return row, read.tensor.name, tuple(i for i in e.terms[0].bnd if i in read.idx)
    return None
