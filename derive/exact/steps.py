"""The claims of kept steps: one small identity each, checked with the adjoints it reads free.

See :class:`derive.program.program.Step` for what each kind of step claims.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from derive.language.errors import DerivationError
from derive.language.tensor import Tensor
from derive.program.program import Equation, Program, Step

from .abstract import Element
from .case import Case
from .checked import Checked
from .compile import Array
from .decide import Claim, Difference, compare, same_exponentials, show
from .field import ModularField
from .varieties import gathered

ORDERED = 9  # different numbers among which an order is drawn; a window has ties and zeros then


class Steps:
    """Claims about the steps of one derivation; ``checker`` gives the arrays of the whole program."""

    def __init__(self, checker: Checked) -> None:
        self.checker = checker

    def claim(self, s: Step) -> Claim:
        if s.claim == "transpose":
            return lambda case: self.transpose(s, case)
        if s.claim == "tangent":
            return lambda case: self.tangent(s, case)
        if s.claim == "definition":
            return lambda case: self.definition(s, case)
        if s.claim in ("equal", "exp-equal"):
            return lambda case: self.equal(s, case)
        if s.claim == "ordered":
            return lambda case: self.ordered(s, case)
        if s.claim == "structure":
            return lambda case: self.structure(s, case)
        raise DerivationError(
            f"step {s.id} ({s.rule}) claims {s.claim!r}; the checker knows equal, exp-equal, ordered, "
            f"structure, transpose, tangent and definition"
        )

    def context(self, s: Step, case: Case, on_shell: bool) -> dict[str, Array]:
        """Arrays that a step may rely on: its context equations, evaluated; with ``on_shell`` the whole program's."""
        known = dict(self.on_shell(s, case)) if on_shell else {}
        if s.context:
            program = Program((), s.context)
            outside = {t for e in s.context for t in e.tensors()} - {e.tensor for e in s.context}
            machine = case.machine(outside, known)
            machine.run(program)
            known.update({e.name: machine.arrays[e.name] for e in s.context})
        return known

    def on_shell(self, s: Step, case: Case) -> dict[str, Array]:
        """The final program's arrays, and what earlier steps defined that it no longer has."""
        return self.checker.extended(case, [e.after for e in self.checker.d.steps if e.id <= s.id])

    def side(self, e: Equation, case: Case, known: dict[str, Array], summed: bool = False) -> Array:
        """One side of a step; ``summed`` has its terms registered, so that exp may take the value apart."""
        tensors = e.tensors()
        alone = not summed and not any(t.name in known for t in tensors)
        if alone and id(e) in case.sides:
            return case.sides[id(e)][1]
        machine = case.machine(tensors, known)
        if summed:
            machine.linear = machine.linear | {e.name}
        result = machine.result(e)
        if alone:
            case.sides[id(e)] = e, result
        return result

    def differ(self, s: Step, case: Case, known: dict[str, Array]) -> Difference | None:
        t, field = s.after.tensor, case.field
        left, right = (self.side(e, case, known) for e in (s.before[0], s.after))
        if left.shape != right.shape:
            return Difference(t.name, f"shape {left.shape}", f"shape {right.shape}")
        found = compare(field, t.name, left, right)
        if found and modular_floats(case, t):
            left, right = (self.side(e, case, known, summed=True) for e in (s.before[0], s.after))
            if same_exponentials(field, left, right):
                return None
        return found

    def equal(self, s: Step, case: Case) -> Difference | None:
        """before == after with the adjoints free; else, and then it says so, with the program's own definitions."""
        found = self.differ(s, case, self.context(s, case, on_shell=False))
        if found is None or self.differ(s, case, self.context(s, case, on_shell=True)) is not None:
            return found
        case.notes.add("given the program's definitions")
        return None

    def ordered(self, s: Step, case: Case) -> Difference | None:
        """before == after whatever the elements of ``wrt`` are; mod p they come from numbers that have an order.

        A sum ``z = left + c`` in the context names ``left``, which is then ``z - c``.
        """
        F, z = case.field, moving(s)
        if not isinstance(F, ModularField):
            return self.differ(s, case, self.context(s, case, on_shell=False))
        shape = case.machine((), {}).shape(z)
        numbers = F.draw_ordered(ORDERED)
        known = {z.name: Array(shape, [case.rng.choice(numbers) for _ in range(math.prod(shape))])}
        apart = next((e for e in s.context if e.tensor == z), None)
        if apart is not None:
            left, moved = apart.terms[0].fac[0].tensor, replace(apart, terms=apart.terms[1:])
            rest = self.side(moved, case, known)
            known[left.name] = Array(shape, [F.sub(a, b) for a, b in zip(known[z.name].data, rest.data, strict=True)])
        program = Program((), tuple(e for e in s.context if e.name not in known))
        machine = case.machine({t for e in program for t in e.tensors()} - {e.tensor for e in program}, known)
        machine.run(program)
        return self.differ(s, case, {**known, **machine.arrays})

    def structure(self, s: Step, case: Case) -> Difference | None:
        """after gathers before at all places where a free entry of ``wrt`` stands."""
        known = self.context(s, case, on_shell=False)
        before, after = (self.side(e, case, known) for e in (s.before[0], s.after))
        true = Array(before.shape, list(gathered(moving(s), before.data, case.field, before.shape)))
        return compare(case.field, s.after.name, after, true)

    def transpose(self, s: Step, case: Case) -> Difference | None:
        """<dy, J v> over the consumers equals <after, v>, only ``wrt`` moving.

        What arrives from outside (1 for a loss, the cotangent of a vjp) is added by the step after this one.
        """
        F, x, adjoint_of = case.field, moving(s), dict(s.adjoint_of)
        known = self.context(s, case, False)
        pushed = F.zero
        for consumer in s.before:
            moved = case.tangent_of(consumer, {x.name: case.direction(x)}, known)
            adjoint = adjoint_of.get(consumer.name)
            weights = [F.one] * len(moved) if adjoint is None else known.get(adjoint.name, case.array(adjoint)).data
            pushed = F.add(pushed, case.inner(weights, moved))
        after = self.side(s.after, case, known)
        pulled = case.inner(after.data, case.direction(x))
        if F.same(pushed, pulled):
            return None
        return Difference(
            "along a random direction", f"<dy, J v> = {show(F, pushed)}", f"<J' dy, v> = {show(F, pulled)}"
        )

    def tangent(self, s: Step, case: Case) -> Difference | None:
        """The derivative by ``wrt`` along a random v is the tangent of the equation, everything moving as v moves it."""
        F, w = case.field, moving(s)
        known = self.context(s, case, False)
        v = case.direction(w)
        along = {w.name: v}
        for name, derivative in s.adjoint_of:
            along[name] = _contracted(case, known.get(derivative.name, case.array(derivative)).data, v)
        pushed = case.tangent_of(s.context[0], along, known) if s.context else []  # an input moves with nothing
        found = _contracted(case, self.side(s.after, case, known).data, v)
        for n, a in enumerate(found):
            if not F.same(a, pushed[n] if pushed else F.zero):
                b = pushed[n] if pushed else F.zero
                return Difference(
                    f"element {n} along a random direction", f"J v = {show(F, a)}", f"tangent {show(F, b)}"
                )
        return None

    def definition(self, s: Step, case: Case) -> None:
        """A new tensor: it must have values, else Undefined is raised."""
        known = self.context(s, case, False)
        if (
            s.after.tensor in s.after.tensors()
        ):  # an adjoint that loops: not in the order of a program until it is contracted
            self.side(s.after, case, known)
            return
        machine = case.machine(set(s.after.tensors()) - {s.after.tensor}, known)
        machine.run(Program((), (s.after,)))


def _contracted(case: Case, matrix: Sequence[Element], v: Sequence[Element]) -> list[Element]:
    """``J v``, the elements of the moved tensor being the last axes of J."""
    return [case.inner(matrix[n : n + len(v)], v) for n in range(0, len(matrix), len(v))]


def moving(s: Step) -> Tensor:
    """The tensor whose elements an ordered step orders and a transpose moves."""
    if s.wrt is None:
        raise DerivationError(f"step {s.id} ({s.rule}) claims {s.claim!r} of no tensor")
    return s.wrt


def modular_floats(case: Case, t: Tensor) -> bool:
    """Whether a tensor's values are random atoms for logs, so that exponentials decide."""
    return case.field.exact and t.dtype == "float"


def step_name(s: Step) -> str:
    return f"step {s.id} {s.rule}: {s.target}"
