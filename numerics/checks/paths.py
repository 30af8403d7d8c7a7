"""Mistakes in the definitions themselves: a path stopped, a derivative taken as 1, another constant, all done consistently.

An altered definition has another gradient, and a gradient shows in slopes, two forward evaluations each:

    <theirs, v> = (f'(x + h v) - f'(x - h v)) / 2h

One random direction refuses nearly every alteration, three leave no chance.  What remains must be small beside the mistake
itself, so that an alteration that does nothing explains nothing.  What is not to be followed (a stopped read) is
held at its value.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy
from sympy import Expr

from derive.derivation.derivation import Derivation
from derive.language.nodes import stop_gradient
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program

from .axes import wrong_axes
from .constants import Knob, added, free_constants, knobs, near, outside_the_root
from .elements import conditions, elements, expr_text
from .mistakes import Case
from .readings import displaced_reads, exchanged, other_sizes
from .replay import Changes, Replay

STEP = 1e-5
SLACK = 1e-7  # of a slope, as finite differences round
SHARE = 1e-2  # of what the mistake does to a slope: what an explanation may leave of it
DIRECTIONS = 3
COEFFICIENTS = {0: "is missing", 2: "is counted twice", -1: "has the wrong sign"}


@dataclass(frozen=True)
class Definition:
    """An altered definition.  For a ``path``, what stopping it takes away may be missing, doubled or negated."""

    kind: str
    text: str
    equation: Equation
    changed: Changes
    path: bool = False


class Definitions:
    """The altered definitions of one derivation at one sample."""

    def __init__(self, d: Derivation, arrays: dict[str, Any], sizes: dict):
        self.d, self.sizes = d, sizes
        values = Replay(d.source, arrays, sizes).base
        self.arrays = {**arrays, **{held_name(n): v for n, v in values.items()}}
        self.source = Program(d.source.inputs, tuple(_unstopped(e) for e in d.source.equations), d.source.outputs)
        self._around: dict[tuple[str, int], tuple[Replay, Replay]] = {}
        self._direction: dict[tuple[str, int], np.ndarray] = {}

    def paths(self) -> Iterator[Definition]:
        for e in reversed(self.source.equations):
            yield from stopped(self.numbered(e), e)

    def altered(self) -> Iterator[Definition]:
        """One element of one definition, forward and backward alike."""
        for e in reversed(self.source.equations):
            for x in (*elements(e), *exchanged(e), *other_sizes(e, self.sizes), *displaced_reads(e)):
                yield Definition(x.kind, f"{x.text} (forward and backward)", self.numbered(e), {e.name: (x.equation,)})
            for text, change in conditions(e):
                other: Changes = {q.name: (c,) for q in self.source.equations if (c := change(q)) != q}
                yield Definition("condition", f"{text} (forward and backward)", self.numbered(e), other)
            for said, changed in outside_the_root(e, self.source.equation):
                text = f"{said}; yours fits it added outside of the root (forward and backward)"
                yield Definition("constant", text, self.numbered(e), changed)
        for e in reversed(self.source.equations):
            for moved in wrong_axes(self.numbered(e), self.source, {q.name for q in self.source.equations}):
                yield Definition(
                    "wrong axis", f"{{equation}} {moved.text} (forward and backward)", moved.equation, moved.changed
                )

    def knobs(self) -> Iterator[Knob]:
        yield from knobs(self.source.equations)
        yield from free_constants(self.source.equations)
        for e in self.source.equations:
            yield from added(e)

    def numbered(self, e: Equation) -> Equation:
        known = self.d.program.equation(e.name)
        return e if known is None else replace(e, number=known.number)

    # -- slopes --------------------------------------------------------------------------------------------------------

    def direction(self, name: str, n: int) -> np.ndarray:
        if (name, n) not in self._direction:
            rng = np.random.default_rng([n, len(self._direction)])
            x = np.asarray(self.arrays[name], float)
            self._direction[name, n] = rng.normal(size=x.shape) * max(float(np.max(np.abs(x), initial=0.0)), 1e-3)
        return self._direction[name, n]

    def along(self, case: Case, gradient: np.ndarray, n: int = 0) -> float:
        return float(np.sum(gradient * self.direction(case.name, n)))

    def slope(self, case: Case, changed: Changes, n: int = 0) -> float | None:
        """The slope of the altered definitions along one direction of one input."""
        if (case.name, n) not in self._around:
            v = STEP * self.direction(case.name, n)
            low, high = ({**self.arrays, case.name: self.arrays[case.name] + s * v} for s in (-1, 1))
            self._around[case.name, n] = (Replay(self.source, low, self.sizes), Replay(self.source, high, self.sizes))
        ends = []
        for replay in self._around[case.name, n]:
            values = replay.run(changed)
            if values is None:
                return None
            y = values[self.d.loss.name]
            ends.append(float(np.sum(y if self.d.seed is None else y * self.arrays[self.d.seed.name])))
        found = (ends[1] - ends[0]) / (2 * STEP)
        return found if np.isfinite(found) else None

    def agrees(self, case: Case, slope: float | None, gradient: np.ndarray, n: int = 0) -> bool:
        """Whether a slope is that of a gradient, to less than the mistake makes of it."""
        if slope is None:
            return False
        wanted, ours = self.along(case, gradient, n), self.along(case, case.ours, n)
        size = float(np.sum(np.abs(gradient) * np.abs(self.direction(case.name, n)))) + abs(slope)
        rounding = (SLACK + case.tolerance) * size
        return abs(slope - wanted) <= max(min(rounding, SHARE * abs(wanted - ours)), case.tolerance * size)

    def explains(self, case: Case, changed: Changes, times: int = 0, gradient: np.ndarray | None = None) -> bool:
        """Whether altered definitions give theirs (or another gradient) along every direction.

        ``times`` is the coefficient of what an altered definition takes away.
        """
        gradient = case.theirs if gradient is None else gradient
        for n in range(DIRECTIONS):
            slope = self.slope(case, changed, n)
            if slope is not None:
                slope += times * (self.along(case, case.ours, n) - slope)
            if not self.agrees(case, slope, gradient, n):
                return False
        return True

    def times(self, case: Case, x: Definition) -> int | None:
        """The coefficient of a path at which the slopes are theirs; 0 for an altered definition whose slopes are."""
        slope = self.slope(case, x.changed)
        if slope is None:
            return None
        ours = self.along(case, case.ours)
        for c in COEFFICIENTS if x.path else (0,):
            near = slope + c * (ours - slope)
            if near != ours and self.agrees(case, near, case.theirs) and self.explains(case, x.changed, c):
                return c
        return None

    def solved(self, case: Case, knob: Knob, short: bool) -> float | None:
        """The value of a number at which the slopes are theirs, a short one if there is one; None where there is none."""
        wanted = self.along(case, case.theirs)
        a, b = knob.start, knob.start + knob.step
        fa: float | None = self.along(case, case.ours)
        fb = self.slope(case, knob.make(sympy.Float(b)))
        for _ in range(8):
            if fa is None or fb is None or fa == fb:
                return None
            if self.agrees(case, fb, case.theirs):
                fits = (v for v in near(b, short) if knob.allows(v) and self.explains(case, knob.make(number(v))))
                return next(fits, None)
            a, b, fa = b, b + (wanted - fb) * (b - a) / (fb - fa), fb
            if not np.isfinite(b) or abs(b) > 1e6 * max(1.0, abs(knob.start)):
                return None
            fb = self.slope(case, knob.make(sympy.Float(b)))
        return None


def number(value: float) -> Expr:
    return sympy.Integer(int(value)) if value == int(value) else sympy.Float(value)


def held_name(name: str) -> str:
    return f"{name} held"


def held(expr: Expr) -> Expr:
    """An expression at the values that its tensors have, through which nothing is differentiated."""
    return expr.xreplace({r: Read(_held(r.tensor), *r.idx) for r in expr.atoms(Read) if r.tensor.dtype == "float"})


def _held(t: Tensor) -> Tensor:
    return Tensor(held_name(t.name), t.axes, t.letters, digest=f"held:{t.name}")


def _unstopped(e: Equation) -> Equation:
    """The user's own stopped gradients as held values, so that a slope does not follow them either."""
    nodes = {s for t in e.terms for f in t.fac for s in f.atoms(stop_gradient)}
    return e.xreplace({s: held(s.args[0]) for s in nodes}) if nodes else e


def stopped(shown: Equation, e: Equation) -> Iterator[Definition]:
    """An equation with one float read stopped, or with one function's derivative taken as 1."""
    reads = [r for r in e.reads() if r.tensor.dtype == "float" and not r.tensor.name.endswith(" held")]
    for r in sorted(reads, key=str):
        text = f"the path through {expr_text(e, r)} in {{equation}}"
        yield Definition("path", text, shown, {e.name: (e.xreplace({r: held(r)}),)}, path=True)
    for term in e.terms:
        calls = {
            c
            for f in term.fac
            for c in sympy.preorder_traversal(f)
            if c.is_Function and len(c.args) == 1 and c.atoms(Read) and not isinstance(c, stop_gradient)
        }
        for c in sorted(calls, key=str):
            slope_one = e.xreplace({c: c.args[0] + held(c - c.args[0])})
            text = f"the derivative of {expr_text(e, c)} in {{equation}} was taken as 1"
            yield Definition("missing derivative", text, shown, {e.name: (slope_one,)})
