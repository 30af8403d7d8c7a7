"""A case: one field, one binding of the sizes, one draw of the inputs, the forward program evaluated on them."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from derive.language.facts import STRUCTURES
from derive.language.tensor import Tensor
from derive.language.written import groups
from derive.program.program import Equation, Program

from .abstract import Element, Field
from .compile import Array
from .field import CaseField, DualField, ModularField, NoRoot, RealField, Undefined
from .machine import Machine
from .roots import run_with_roots
from .sample import Assignment, direction, draw
from .varieties import gathered
from .written import Written

Directions: TypeAlias = Mapping[str, Sequence[Element]]  # the tangent of each tensor that moves

DRAWS = {"modular": 150, "real": 16}
ROOTLESS = 5  # draws of them that walked to no root: the next one hardly will, as of a tenth power one number in 50 is
# facts about several elements together
TIED = ("sums_to", "symmetric", "positive_definite", "orthogonal", "unit", *STRUCTURES)


class Case:
    """Arrays of the forward program; other tensors are drawn free when first asked for, and kept.

    ``attempt`` numbers the draws of one case, so that a draw whose values do not exist is replaced by the next.
    """

    def __init__(
        self, program: Program, kind: str, sizes: Mapping[str, int], seed: int, linear: frozenset[str], attempt: int
    ) -> None:
        self.rng = random.Random(f"case {kind} {sorted(sizes.items())} {seed} {attempt}")
        self.field: CaseField = ModularField(self.rng) if kind == "modular" else RealField(self.rng)
        self.program, self.sizes, self.attempt, self.linear = program, dict(sizes), attempt, linear
        self.inputs: dict[str, Array] = {}
        machine = Machine(self.field, sizes, linear)
        for t in program.inputs:
            self.inputs[t.name] = machine.arrays[t.name] = draw(t, self.field, sizes, self.rng, attempt)
        run_with_roots(machine, program, self._redrawn)
        self.arrays = machine.arrays
        self.inputs = {t.name: self.arrays[t.name] for t in program.inputs}
        self._directions: dict[tuple[str, str], list[Element]] = {}
        self.sides: dict[
            int, tuple[Equation, Array]
        ] = {}  # id of an equation -> (the equation, kept alive, and its right-hand side)
        self.notes: set[str] = set()

    def _redrawn(self, t: Tensor, array: Array, places: Sequence[int]) -> Array:
        """The array of an input with one element of these places drawn anew, or all where a fact ties them together."""
        new = draw(t, self.field, self.sizes, self.rng, self.attempt)
        if any(f.kind in TIED for f in t.facts):
            return new
        n = places[self.rng.randrange(len(places))]
        return Array(array.shape, [*array.data[:n], new.data[n], *array.data[n + 1 :]])

    def array(self, t: Tensor) -> Array:
        """A tensor of the forward program, or a free random array."""
        if t.name not in self.arrays:
            self.arrays[t.name] = draw(t, self.field, self.sizes, self.rng, self.attempt)
        return self.arrays[t.name]

    def direction(self, t: Tensor, which: str = "") -> list[Element]:
        """A random direction along a tensor, the same each time; ``which`` tells several from each other."""
        if (t.name, which) not in self._directions:
            self._directions[t.name, which] = direction(self.array(t), self.field, self.rng)
        return self._directions[t.name, which]

    def moved(self, t: Tensor) -> Sequence[Element]:
        """How the tensor moves along its random direction: with entries that are tied, each change adds at all its places."""
        return gathered(t, self.direction(t), self.field, self.array(t).shape)

    def machine(self, reads: Iterable[Tensor], known: Mapping[str, Array] | None = None) -> Machine[Any]:
        """A machine that holds the tensors ``reads``, from ``known`` first, free ones drawn."""
        known = known or {}
        arrays = {t.name: known[t.name] if t.name in known else self.array(t) for t in reads}
        return Machine(self.field, self.sizes, self.linear, arrays)

    def run(self, program: Program, arrays: Mapping[str, Array] | None = None) -> dict[str, Array]:
        """Evaluate another program over the same inputs; inputs it has beyond them are drawn free."""
        machine = Machine(self.field, self.sizes, self.linear, arrays)
        for t in program.inputs:
            machine.arrays.setdefault(t.name, self.array(t))
        machine.run(program)
        return machine.arrays

    def tangent(self, program: Program, directions: Directions, second: Directions | None = None) -> dict[str, Array]:
        """Evaluate a program with dual numbers moving along ``directions`` (and, nested, along ``second``).

        A computed tensor may move too: its direction is added to its value wherever it is defined.
        """
        F: Field[Any] = DualField(self.field)
        arrays = {t.name: _dual(self.array(t), t, directions.get(t.name)) for t in program.inputs}
        nudge = {n: [(self.field.zero, m) for m in d] for n, d in directions.items() if program.equation(n) is not None}
        if second is not None:
            F = DualField(F)
            arrays = {t.name: _dual_again(arrays[t.name], t, second.get(t.name)) for t in program.inputs}
        machine = Machine(F, self.sizes, self.linear, arrays, nudge)
        machine.run(program)
        return machine.arrays

    def written(self, y: Tensor, directions: Directions | None = None, second: Directions | None = None) -> Array:
        """A tensor from its written definition; with directions it is one of dual numbers, as of :meth:`tangent`."""
        arrays = {t.name: self.array(t) for group in groups([y]) for t in group if t.is_input}
        return along(self.field, self.sizes, arrays, y, directions, second, self.linear)

    def tangent_of(self, e: Equation, moving: Directions, known: Mapping[str, Array]) -> list[Element]:
        """The tangent of the right-hand side of ``e`` when what it reads moves as said and nothing else moves."""
        F = DualField(self.field)
        arrays = {}
        for t in e.tensors():
            array = known[t.name] if t.name in known else self.array(t)
            arrays[t.name] = _dual(array, t, moving.get(t.name))
        result = Machine(F, self.sizes, self.linear, arrays).result(e)
        return [F.tangent(v) for v in result.data]

    def inner(self, a: Sequence[Element], b: Sequence[Element]) -> Element:
        F, out = self.field, self.field.zero
        for u, v in zip(a, b, strict=True):
            out = F.add(out, F.mul(u, v))
        return out


def along(
    field: CaseField,
    sizes: Mapping[str, int],
    arrays: Mapping[str, Array],
    y: Tensor,
    directions: Directions | None = None,
    second: Directions | None = None,
    linear: frozenset[str] = frozenset(),
) -> Array:
    """A tensor from its written definition at these inputs; with directions one of dual numbers, with ``second`` nested."""
    inputs = [t for group in groups([y]) for t in group if t.is_input]
    if directions is None:
        return Written(field, sizes, {t.name: arrays[t.name] for t in inputs}, linear).run([y])[y.name]
    F: Field[Any] = DualField(field)
    moving = {t.name: _dual(arrays[t.name], t, directions.get(t.name)) for t in inputs}
    nudge = {n: [(field.zero, m) for m in d] for n, d in directions.items() if n not in moving}
    if second is not None:
        F = DualField(F)
        moving = {t.name: _dual_again(moving[t.name], t, second.get(t.name)) for t in inputs}
    return Written(F, sizes, moving, linear, nudge).run([y])[y.name]


def _dual(array: Array, t: Tensor, moving: Sequence[Element] | None) -> Array:
    if t.dtype != "float":
        return array
    return Array(array.shape, list(zip(array.data, moving or [None] * len(array.data), strict=True)))


def _dual_again(array: Array, t: Tensor, moving: Sequence[Element] | None) -> Array:
    if t.dtype != "float":
        return array
    outer = [None] * len(array.data) if moving is None else [(m, None) for m in moving]
    return Array(array.shape, list(zip(array.data, outer, strict=True)))


class Cases:
    """The cases of one check, made on demand: ``get("modular", n, attempt)`` for the n-th assignment of sizes."""

    def __init__(self, program: Program, assignments: list[Assignment], seed: int, linear: frozenset[str]) -> None:
        self.program, self.assignments, self.seed, self.linear = program, assignments, seed, linear
        self._made: dict[tuple[str, tuple[tuple[str, int], ...], int], Case | Undefined] = {}

    def some(self, assignments: list[Assignment]) -> Cases:
        """The same cases, of fewer assignments."""
        found = Cases(self.program, assignments, self.seed, self.linear)
        found._made = self._made
        return found

    def take_apart(self, names: frozenset[str]) -> None:
        """More tensors whose sums functions may take apart, in the cases that are made already too."""
        self.linear |= names
        for made in self._made.values():
            if isinstance(made, Case):
                made.linear |= names

    def drop_impossible(self) -> None:
        """Forget sizes at which the program has no values, such as an empty window, if there are others."""
        possible = [a for n, a in enumerate(self.assignments) if self._has_values(n)]
        self.assignments = possible or self.assignments

    def _has_values(self, n: int) -> bool:
        try:
            next(self.each("modular", n))
        except Undefined:
            return False
        return True

    def get(self, kind: str, n: int, attempt: int) -> Case:
        """Raises :class:`Undefined` when this draw has no values."""
        key = (kind, tuple(self.assignments[n].items()), attempt)
        if key not in self._made:
            try:
                self._made[key] = Case(self.program, kind, self.assignments[n], self.seed, self.linear, attempt)
            except Undefined as e:
                self._made[key] = e
        made = self._made[key]
        if isinstance(made, Undefined):
            raise made
        return made

    def each(self, kind: str, n: int) -> Iterator[Case]:
        """Working cases of the n-th sizes, one draw after another, and at last an Undefined if there was none."""
        last: Undefined | None = None
        found, rootless = False, 0
        for attempt in range(DRAWS[kind]):
            try:
                case = self.get(kind, n, attempt)
            except Undefined as e:
                last = e
                rootless += isinstance(e, NoRoot)
                if rootless == ROOTLESS:
                    break
                continue
            found = True
            yield case
        if not found:
            raise Undefined(f"no draw of the inputs gives values ({last})")
