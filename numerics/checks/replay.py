"""A program at one sample, evaluated once, and again from an altered equation on.

The search for a mistake evaluates hundreds of programs that differ in one equation, so only what reads a changed value is
computed again, and what depends on no value (grids, positions of reads, masks of rows, coefficients) is kept.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import sympy

from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Row, Term
from derive.program.schedule import Scan, members, schedule
from numerics.reference.grid import Scope, coefficient, size_value
from numerics.reference.programs import Evaluator

Values = dict[str, np.ndarray]
Fixed = Mapping[Index, int]  # indices held at one value: the step of a recurrence
Changes = Mapping[str, Sequence[Equation]]  # name -> what stands in the place of its equation


class QuickEvaluator(Evaluator):
    """The reference evaluator in NumPy; ``memory`` outlives it and holds what no value decides."""

    def __init__(self, values: Mapping[str, Any], sizes: dict, memory: dict):
        super().__init__(values, sizes, np, False, {})
        self.memory = memory

    def scope(self, free: Sequence[Index], bound: Sequence[Index], fixed: Fixed) -> Scope:
        key = (tuple(free), tuple(bound), tuple(fixed.items()))
        if key not in self.memory:
            self.memory[key] = super().scope(free, bound, fixed)
        return self.memory[key]

    def equation(self, e: Equation, fixed: Fixed) -> Any:
        if e.reduce is not None or e.tensor.dtype != "float":
            return super().equation(e, fixed)
        free = [i for i in e.idx if i not in fixed]
        total = np.zeros(self.scope(free, (), fixed).extents)
        for term in e.terms:
            total = total + self.term(term, free, fixed)
        return total

    def _matrix(self, e: Equation, free: Sequence[Index], fixed: Fixed) -> Any:
        """NaN where NumPy refuses: a matrix is singular at these inputs."""
        try:
            return super()._matrix(e, free, fixed)
        except np.linalg.LinAlgError:
            return np.full(self.scope(free, (), fixed).extents, np.nan)

    def term(self, term: Term, free: Sequence[Index], fixed: Fixed) -> Any:
        term = solved(term)
        scope = self.scope(free, term.bnd, fixed)
        rows = self.rows(term.rows, scope)
        key = ("coefficient", term.coef)
        if key not in self.memory:
            self.memory[key] = coefficient(term.coef, self.sizes)
        operands = [] if rows is None else [np.where(rows, 1.0, 0.0)]
        mask = self.mask(term, scope, rows)
        for f in term.fac:
            found = self.factor(f, scope, mask)
            if mask is not None and isinstance(f, Read) and found.dtype.kind == "f" and not np.all(np.isfinite(found)):
                found = np.where(mask, found, 0.0)
            operands.append(found)
        return self.memory[key] * self.contract(operands, scope, len(free))

    def rows(self, rows: Sequence[Row], scope: Scope) -> Any:
        if any(row.reads() for row in rows):
            return super().rows(rows, scope)
        key = ("rows", tuple(rows), id(scope))
        if key not in self.memory:
            self.memory[key] = super().rows(rows, scope)
        return self.memory[key]

    def read(self, r: Read, scope: Scope) -> Any:
        if not r.idx or any(e.has(Read) for e in r.idx):
            return super().read(r, scope)
        key = (r, id(scope))
        if key not in self.memory:
            extents = self.values[r.tensor.name].shape
            self.memory[key] = _transposition(r, scope, extents) or self._positions(r, scope, extents)
        kind, first, second = self.memory[key]
        array = self.values[r.tensor.name]
        if kind == "transposed":
            return np.transpose(array, first).reshape(second)
        found = array[first]
        return found if second is None else np.where(second, found, np.zeros((), found.dtype))

    def _positions(self, r: Read, scope: Scope, extents: tuple[int, ...]) -> tuple:
        spots, inside = [], True
        for e, extent in zip(r.idx, extents, strict=True):
            at = self.whole(e, scope)
            inside = inside & (at >= 0) & (at < extent)
            spots.append(np.clip(at, 0, extent - 1))
        return "gathered", tuple(spots), None if np.all(inside) else inside


@functools.lru_cache(maxsize=4096)
def solved(term: Term) -> Term:
    """A term without the bound indices that a row gives: ``sum_m g[m] [m + r = t]`` is ``g[t - r]``, zero outside.

    Only where a float axis of the index's own size is read at exactly this index, so that nothing is read outside.
    """
    for row in term.rows:
        for b in term.bnd if row.op == "==" and not row.reads() else ():
            gap = sympy.expand(row.lhs - row.rhs)
            c = gap.coeff(b)
            if c not in (1, -1) or gap.has(sympy.Mod, sympy.floor):
                continue
            zero_outside = any(
                isinstance(f, Read)
                and f.tensor.dtype == "float"
                and any(i == b and same_size(a, b.size) for i, a in zip(f.idx, f.tensor.axes, strict=True))
                for f in term.fac
            )
            others = [r for r in term.rows if r is not row]
            if zero_outside and not any(b in f.free_symbols for f in term.fac if not isinstance(f, Read)):
                at = sympy.expand(b - c * gap)
                rest = replace(term, bnd=tuple(i for i in term.bnd if i != b), rows=tuple(others))
                return solved(rest.xreplace({b: at}))
    return term


def _transposition(r: Read, scope: Scope, extents: tuple[int, ...]) -> tuple | None:
    """How a read by distinct indices of the grid, of their own sizes, is a transposition; None for any other read."""
    if len(set(r.idx)) < len(r.idx) or not all(i in scope.axes for i in r.idx):
        return None
    places = [scope.axes.index(i) for i in r.idx]
    if any(extents[n] != scope.extents[p] for n, p in enumerate(places)):
        return None
    shape = [1] * len(scope.axes)
    for n, p in enumerate(places):
        shape[p] = extents[n]
    return "transposed", sorted(range(len(places)), key=places.__getitem__), shape


class Replay:
    """All values of a program at one sample, and those of its altered versions.

    ``known`` are arrays of tensors that stand for computed ones, whose equations are then not evaluated.
    """

    def __init__(
        self, program: Program, arrays: Mapping[str, Any], sizes: dict, known: Mapping[str, Any] | None = None
    ):
        self.program, self.sizes, self.known = program, sizes, dict(known or {})
        self.memory: dict = {}
        self.groups = [
            (g, members(g), frozenset(t.name for e in members(g) for t in e.tensors())) for g in schedule(program)
        ]
        self.base: Values = {n: np.asarray(a) for n, a in {**arrays, **self.known}.items()}
        with np.errstate(all="ignore"):
            for group, _, _ in self.groups:
                self._evaluate(group, self.base, {})

    def run(self, changed: Changes, known: Mapping[str, Any] | None = None) -> Values | None:
        """All values with some equations replaced (by none: its value is in ``known``); None where that makes no sense."""
        values = {**self.base, **{n: np.asarray(a) for n, a in (known or {}).items()}}
        moved = {n for n in known or {} if n not in self.base or not _same(values[n], self.base[n])}
        try:
            with np.errstate(all="ignore"):
                for group, members, reads in self.groups:
                    if not moved.isdisjoint(reads) or any(e.name in changed for e in members):
                        self._evaluate(group, values, changed)
                        self._note(members, changed, values, moved)
        except (ValueError, KeyError, IndexError, ZeroDivisionError, TypeError, OverflowError):
            return None  # an alteration that no longer makes sense, such as a factor whose range was its own
        return values

    def at(self, arrays: Mapping[str, Any], only: frozenset[str] | None = None) -> Values:
        """All values at other arrays of the same shapes, as they are; or those of some tensors with what they read."""
        values = {**{n: np.asarray(a) for n, a in arrays.items()}, **self.known}
        with np.errstate(all="ignore"):
            for group, members, _ in self.groups:
                if only is None or any(e.name in only for e in members):
                    self._evaluate(group, values, {})
        return values

    def jittered(self, arrays: Mapping[str, Any], step: float, rng: np.random.Generator) -> Values:
        """All values, each computed tensor off by one rounding ``step``: what large numbers that cancel leave behind."""
        values = {**{n: np.asarray(a) for n, a in arrays.items()}, **self.known}
        with np.errstate(all="ignore"):
            for group, members, _ in self.groups:
                self._evaluate(group, values, {})
                for e in members:
                    a = values[e.name]
                    if a.dtype.kind == "f":
                        values[e.name] = a * (1 + step * rng.choice([-1.0, 1.0], a.shape))
        return values

    def _note(self, members: Sequence[Equation], changed: Changes, values: Values, moved: set[str]) -> None:
        """Which values are new: only what reads those is computed again."""
        for e in members:
            for name in {e.name, *(x.name for x in changed.get(e.name, ()))}:
                if self._burst(name, values):
                    values[name] = np.nan_to_num(values[name], nan=0.0, posinf=0.0, neginf=0.0)  # an empty sum's log
                if name in values and not (name in self.base and _same(values[name], self.base[name])):
                    moved.add(name)

    def _burst(self, name: str, values: Values) -> bool:
        """Whether a value that was finite no longer is."""
        return (
            name in self.base and not np.all(np.isfinite(values[name])) and bool(np.all(np.isfinite(self.base[name])))
        )

    def _evaluate(self, group: Equation | Scan, values: Values, changed: Changes) -> None:
        quick = QuickEvaluator({}, self.sizes, self.memory)
        quick.values = values
        if isinstance(group, Scan):
            members = tuple(changed.get(e.name, (e,))[0] for e in group.equations)
            quick.loop(group if members == group.equations else replace(group, equations=members))
            return
        for e in changed.get(group.name, (group,)):
            if e.name not in self.known:
                values[e.name] = quick.equation(e, {})


def points(program: Program, sizes: dict) -> int:
    """How many grid points one evaluation of a program visits."""
    total = 0
    for e in program.equations:
        for term in e.terms:
            axes = {*e.idx, *e.over, *solved(term).bnd}
            total += math.prod(size_value(i.size, sizes) for i in axes)
    return total


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and np.array_equal(a, b)
