"""Inputs at which a condition goes the way that it has not gone yet.

From a draw at which it does not, the inputs that decide it are scaled, shifted and drawn again, keeping what brings it
nearest; then the way back is halved until the condition has only just turned.  A gradient that is wrong beyond a threshold
is seen there: further off, as beyond 20 in a softplus, right and wrong may be one number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import sympy
from sympy.core.relational import Relational

from derive.language.tensor import Read, Tensor
from derive.program.program import Program
from numerics.reference.sampling import DOMAINS, draw_arrays, with_zeros

from .conditions import Condition, Winner, ancestors, evaluated
from .coverage import Seen, Way
from .replay import QuickEvaluator

BUDGET = 1500  # evaluations of definitions for one check, however many conditions it has
GOES: tuple = (True, 0.0)
EACH = 240  # of them for one way of a condition
POINTS = 3_000_000_000  # grid points for one check: large programs are evaluated less often
ROUNDS = 4  # of moves for one way
HALVINGS = 20
NEAR = 1e-4  # of the move: how near its turning point a condition is met
FACTORS = (-1.0, 3.0, 10.0, 30.0, 100.0, 1e3, 0.3, 0.01, 1e-4, 1e-8)
OFFSETS = (1.0, 4.0, 10.0, 30.0, 100.0)
UNKNOWN = 1e6  # by how much a guard fails that is nowhere decided

Arrays = dict[str, np.ndarray]
Margin = tuple[
    bool, float
]  # whether a condition decides anything, and by how much it goes the wanted way; more is nearer


class Steering:
    """The search for inputs, from the definitions alone; ``finite(arrays)`` says whether all results are finite there."""

    def __init__(self, seen: Seen, inputs: Program, wrt: Iterable[Tensor], finite: Callable[[Arrays], bool], seed: int):
        self.seen, self.inputs, self.wrt, self.finite = seen, inputs, tuple(wrt), finite
        self.program = seen.program
        self.rng = np.random.default_rng(seed)
        self.spent = 0

    def draws(self, start: Arrays, sizes: dict, points: int) -> Iterator[tuple[str, Arrays]]:
        """Inputs at the sizes of ``start``, each with the way that it was found for; what it meets beside is noted, too."""
        self.budget = min(BUDGET, max(60, POINTS // max(points, 1)))
        self.replay = self.seen.replay(start, sizes)
        self.sizes = sizes
        for c, way in self._by_ease(self.seen.unmet()):
            if c.text(way) in self.seen.met:
                continue
            found = self._met(c, way, start)
            if found is not None:
                yield c.text(way), found
        for winner, place in self.seen.unwon():
            if winner.text(place) not in self.seen.met:
                found = self._won(winner, place, start)
                if found is not None:
                    yield winner.text(place), found

    @staticmethod
    def _by_ease(ways: list[Way]) -> list[Way]:
        """Those without guards first: what is met for them often opens the branches of the others."""
        return sorted(ways, key=lambda w: len(w[0].guards))

    # -- one condition -------------------------------------------------------------------------------------------------

    def _met(self, c: Condition, way: bool, start: Arrays) -> Arrays | None:
        reads = {r.tensor.name for e in (c.test, *(g for g, _ in c.guards)) for r in e.atoms(Read)}
        reads |= {r.tensor.name for row in (*c.term.rows, *c.equation.guards) for r in row.reads()}
        only = ancestors(self.program, sorted(reads))
        movable = [t for t in self.program.inputs if t.name in only]

        def margin(arrays: Arrays) -> Margin:
            self.spent += 1
            quick = evaluated(self.program, self.replay.at(arrays, only), self.sizes, self.replay.memory)
            value, where = c.decided(quick)
            if not np.any(where):
                return False, _short_of_guards(c, quick)
            best = float(np.max(value[where] if way else -value[where]))
            return True, best if way else float(np.nextafter(best, -np.inf))  # 0 holds: false is less

        limit = min(self.budget, self.spent + EACH)
        here, nearest = start, margin(start)
        for _ in range(ROUNDS):
            best: tuple[Margin, Arrays] | None = None
            for moved in self._moves(c, here, movable):
                if self.spent >= limit:
                    break
                reached = margin(moved)
                if reached >= GOES:
                    close = self._turning(margin, here, moved) if c.moves else moved
                    for arrays in (close, moved):
                        if self.finite(arrays):
                            return arrays
                elif np.isfinite(reached[1]) and (best is None or reached > best[0]):
                    best = reached, moved
            if best is None or self.spent >= limit:
                return None
            if best[0] > nearest:
                nearest, here = best
        return None

    def _moves(self, c: Condition, here: Arrays, movable: list[Tensor]) -> Iterator[Arrays]:
        """Inputs to try next: what solves the condition exactly, one tensor changed, all of them, and new draws."""
        if isinstance(c.test, (sympy.Eq, sympy.Ne)):
            yield from planted(c, here)
        free = [t for t in movable if t.dtype == "float" and not t.facts]
        for t in free:
            yield from ({**here, t.name: here[t.name] * f} for f in FACTORS)
            yield from ({**here, t.name: here[t.name] + s * o} for o in OFFSETS for s in (1.0, -1.0))
        if len(free) > 1:
            yield from ({**here, **{t.name: here[t.name] * f for t in free}} for f in FACTORS)
        for t in movable:
            zeroed = with_zeros(here[t.name], t, self.sizes, self.rng) if t.dtype == "float" else None
            if zeroed is not None:
                yield {**here, t.name: zeroed}
        for domain in (*DOMAINS, *DOMAINS):
            fresh = draw_arrays(self.inputs, self.sizes, {t.name: domain for t in movable}, self.rng, self.wrt)
            yield {**here, **{t.name: fresh[t.name] for t in movable}}
            if free and any(t not in free for t in movable):
                yield {**here, **{t.name: fresh[t.name] for t in movable if t not in free}}

    def _turning(self, margin: Callable[[Arrays], Margin], before: Arrays, after: Arrays) -> Arrays:
        """Between two inputs, one at which the condition has just turned; integers stay as they are after."""
        low, high = 0.0, 1.0
        for _ in range(HALVINGS):
            if high - low <= NEAR * high:
                break
            middle = (low + high) / 2
            if margin(_between(before, after, middle)) >= GOES:
                high = middle
            else:
                low = middle
        return _between(before, after, high)

    # -- the winners of a max ------------------------------------------------------------------------------------------

    def _won(self, winner: Winner, place: str, start: Arrays) -> Arrays | None:
        """Inputs at which a position wins: the arrays turned along the axes of the max, then new draws."""
        limit = min(self.budget, self.spent + EACH)
        for arrays in self._turned(winner, start):
            if self.spent >= limit:
                return None
            self.spent += 1
            quick = evaluated(self.program, self.replay.at(arrays), self.sizes, self.replay.memory)
            if place in winner.won(quick)[0] and self.finite(arrays):
                return arrays
        return None

    def _turned(self, winner: Winner, start: Arrays) -> Iterator[Arrays]:
        over = {i.size for i in winner.equation.over}
        axes = {t.name: [n for n, a in enumerate(t.axes) if a in over] for t in self.program.inputs}
        for by in range(1, 12):
            yield {n: np.roll(a, by, axes[n]) if axes.get(n) else a for n, a in start.items()}
        for n in range(EACH):
            names = {t.name: list(DOMAINS)[n % len(DOMAINS)] for t in self.inputs.inputs}
            fresh = draw_arrays(self.inputs, self.sizes, names, self.rng, self.wrt)
            yield {**start, **{n: fresh[n] for n in start if n in fresh}}


def _short_of_guards(c: Condition, quick: QuickEvaluator) -> float:
    """How near the guards of a condition are to letting it decide anything."""
    total = 0.0
    for guard, holds in c.guards:
        if isinstance(guard, Relational):
            value, where = Condition(c.equation, c.term, guard).decided(quick)
            total += float(np.clip(np.max((value if holds else -value)[where], initial=-UNKNOWN), -UNKNOWN, 0))
    return total


def planted(c: Condition, here: Arrays) -> Iterator[Arrays]:
    """Inputs at which some elements solve ``lhs = rhs`` exactly, where one float input stands alone in a linear condition."""
    gap = c.test.lhs - c.test.rhs
    reads = [r for r in gap.atoms(Read) if r.tensor.name in here and r.tensor.dtype == "float" and not r.tensor.facts]
    if len(reads) != 1 or len(gap.atoms(Read)) != 1:
        return
    slope = gap.coeff(reads[0])
    rest = gap - slope * reads[0]
    if not (slope.is_Number and rest.is_Number) or slope == 0:
        return
    array = np.array(here[reads[0].tensor.name])
    array.flat[:: 2 if array.size < 8 else 3] = float(-rest / slope)
    yield {**here, reads[0].tensor.name: array}


def _between(a: Arrays, b: Arrays, share: float) -> Arrays:
    return {n: a[n] + share * (b[n] - a[n]) if b[n].dtype.kind == "f" else b[n] for n in b}
