"""The rung of what was seen: the kernel where each condition goes both ways, and in regimes of values and sizes.

At the sizes that the other rungs have compiled, the opponent is the same as theirs; at large numbers, where a plain
evaluation of the definitions overflows, and at other sizes, which would have to be compiled for both, it is the derived
program, equation by equation, in NumPy.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from numerics.reference.sampling import Sample

from .bench import AUTODIFF, CONVENTIONS, FORWARD, Bench
from .conventions import nearby
from .distance import distance, without_equal_infinities
from .draws import Draw, Drawing
from .ground import float64, in_precision
from .large import FEW, as_defined, truth
from .opponent import label
from .regimes import EXPONENTS
from .replay import Replay, points
from .report import OK
from .rounding import CAPS, FLOOR, Model, cancelled, is_float, moved, scales

BLURRED = 1e-10  # of a leaf, at large numbers: what saturates there is a small difference of numbers near 1
WRITTEN = "the definitions, 50 digits"
OVERFLOWING = 3  # draws at which a result of the program is not finite, that the definitions are asked about
EQUATIONS = "the derived equations in NumPy"
SATURATED = (
    FLOOR  # of a result at the first sample: below that, only the rounding of 1 - 1 is left of it at large numbers
)

Arrays = dict[str, np.ndarray]


def through_regions(bench: Bench, drawing: Drawing, sample: Sample) -> None:
    """Every draw beyond the first sample: a row for each result that fails at one, a note on how near the others came."""
    with float64():
        first = Draw(dict(sample.sizes), sample.arrays, {n: sample.arrays[n] for n in drawing.names})
        least = scales(bench.steady_leaves(sample.arrays))
        if not bench.seen.small(sample.sizes):
            bench.notes.append("these sizes are too large to see which conditions are met")
            return
        regions = _Regions(bench, least)
        for draw in drawing.after(first, bench.seen, bench.seed, squares=False):
            regions.compare(draw)
        for draw in drawing.overflowing[::-1][:OVERFLOWING]:
            regions.overflow(draw)
        bench.notes.append(regions.text())


def rounding_of(bench: Bench, sample: Sample, dtype: str) -> dict[str, float]:
    """How far each result moves by rounding in a precision, of the inputs or on the way."""
    with float64():
        arrays = {n: a.astype(float) if is_float(a) else a for n, a in sample.arrays.items()}
        draw = Draw(dict(sample.sizes), arrays, {}, dtype=dtype)
        return _Equations(bench, draw).change(draw, bench.seed)


class _Regions:
    """Draws that share a note; what fails at one has a row of its own, once, unless another rung has refused it."""

    def __init__(self, bench: Bench, least: dict[str, float]):
        self.bench, self.least = bench, least
        self.nearest = 0.0  # the largest error, as a share of its bound
        self.draws = 0
        self.failed = {f.tensor for f in bench.findings if f.verdict not in OK}

    def compare(self, draw: Draw) -> None:
        bench = self.bench
        with in_precision(draw.dtype):
            ours = bench.leaves({**draw.arrays, **draw.passed})
        program = _Equations(bench, draw)
        expected, ours = without_equal_infinities(self._expected(draw, program), ours)
        if not all(np.all(np.isfinite(a)) for a in expected.values()):
            bench.seen.regime(draw.regime or draw.text, False)
            return
        model = Model.of(bench.program, draw.sizes)
        change: dict[str, float] | None = None
        skipped = False
        for name, reference in expected.items():
            scale = self._scale(expected, name, draw)
            bound = bench.tolerance(draw.dtype, model, 0.0)
            if draw.kind == "large" and bench.given is None:
                bound = max(bound, BLURRED)
            error, note = distance(ours[name], reference, scale)
            if not note and not (error is not None and error <= bound):
                change = change or program.change(draw, bench.seed)
                change_here = change[name] * scales(expected)[name] / scale
                # a given tolerance is for ordinary inputs: rounding is counted in any case
                bound = max(bound, model.tolerance(draw.dtype, change_here))
                if change_here * 8 >= CAPS[draw.dtype]:
                    skipped = True  # rounding alone moves it by as much as any mistake would
                    continue
            good = error is not None and error <= bound
            if not good and not note and draw.kind == "tie" and bench.d.kinks:
                low, high = nearby(program, name, draw.arrays, bench.seed)
                if np.all((ours[name] >= low - bound * scale) & (ours[name] <= high + bound * scale)):
                    continue  # rounding decides which values tie
            if not good and not note and draw.dtype == "float64":
                good = as_defined(bench, draw, name, ours)
                error = 0.0 if good else error
            self._keep(draw, name, error, scale, bound, note, good)
        if draw.regime == EXPONENTS and not skipped:
            skipped = not self._by_definitions(draw, ours, program, model)
        self._met(draw, skipped)

    def _by_definitions(self, draw: Draw, ours: Arrays, program: _Equations, model: Model) -> bool:
        """Whether the results are what the definitions as written say at exponents of 1e4; else their row says so.

        The equations share a shift by the wrong maximum with the kernel: it loses every digit where it does not overflow.
        """
        bench = self.bench
        small = points(bench.seen.program, draw.sizes) <= FEW // 4
        found = truth(bench.d, bench.program, draw.arrays, draw.sizes, bench.seed) if small else None
        for q in found or ():
            mine, size = q.of(ours)
            size = max(size, abs(q.value), *(SATURATED * self.least[n] for n in q.labels), 1e-300)
            error = abs(mine - q.value) / size
            if error <= max(model.tolerance(draw.dtype, 0.0), BLURRED) or not self.failed.isdisjoint(q.labels):
                continue
            change = program.change(draw, bench.seed)
            scale = scales(ours)
            moved_by = sum(
                change[n] * scale[n] * np.sqrt(np.size(ours[n])) for n in q.labels
            )  # along a random direction
            bound = max(model.tolerance(draw.dtype, float(moved_by / size)), BLURRED)
            if bound >= CAPS[draw.dtype]:
                return False
            if error > bound:
                self.failed.update(q.labels)
                where = Sample(draw.sizes, draw.arrays, draw.text)
                name = ", ".join(q.labels)
                bench.add(name, draw.dtype, where, WRITTEN, error, size, bound, verdict="FAIL", note="at large numbers")
        return True

    def overflow(self, draw: Draw) -> None:
        """Refuse what is not finite at large numbers where the definitions, as they were written, say what it is."""
        bench = self.bench
        with in_precision(draw.dtype):
            ours = bench.leaves({**draw.arrays, **draw.passed})
        burst = [n for n, a in ours.items() if not np.all(np.isfinite(a)) and n not in self.failed]
        if not burst or points(bench.seen.program, draw.sizes) > FEW:
            return
        if truth(bench.d, bench.program, draw.arrays, draw.sizes, bench.seed, within=True) is None:
            return
        where = Sample(draw.sizes, draw.arrays, draw.text)
        for n in burst:
            self.failed.add(n)
            note = "not finite, where the definitions as written are (50 digits)"
            bench.add(n, draw.dtype, where, WRITTEN, None, None, None, verdict="FAIL", note=note)

    def _scale(self, expected: Arrays, name: str, draw: Draw) -> float:
        least = self.least[name] if draw.compiled and draw.kind == "large" else 0.0
        return max(scales(expected)[name], SATURATED * least)

    def _expected(self, draw: Draw, program: Callable[[Arrays], Arrays]) -> Arrays:
        """By the opponent of the other rungs; by the equations at other sizes, large numbers, and where that overflows."""
        if draw.compiled and draw.kind != "large":
            found = self.bench.opponent(draw.sizes, bool(self.bench.d.kinks))(draw.arrays)
            if self.bench.d.kind == "forward" or all(np.all(np.isfinite(a)) for a in found.values()):
                return found
        return program(draw.arrays)

    def _keep(
        self, draw: Draw, name: str, error: float | None, scale: float, bound: float, note: str, good: bool
    ) -> None:
        if good and error is not None:
            self.nearest = max(self.nearest, error / bound)
        elif name not in self.failed:
            self.failed.add(name)
            where = Sample(draw.sizes, draw.arrays, draw.text)
            self.bench.add(
                name, draw.dtype, where, self._opponent(draw), error, scale, bound, verdict="FAIL", note=note
            )

    def _opponent(self, draw: Draw) -> str:
        if not draw.compiled or draw.kind == "large":
            return EQUATIONS
        if not self.bench.derivatives:
            return FORWARD
        return CONVENTIONS if self.bench.d.kinks else AUTODIFF

    def _met(self, draw: Draw, skipped: bool) -> None:
        self.draws += 1
        if skipped:
            self.bench.seen.regime(f"{draw.regime or draw.text} (rounding alone decides there)", False)
            return
        self.bench.seen.add(draw.arrays, draw.sizes)
        if draw.regime:
            self.bench.seen.regime(draw.regime)

    def text(self) -> str:
        return (
            f"{self.draws} more draws, for conditions and regimes: errors up to {self.nearest:.1e} of their tolerance"
        )


class _Equations:
    """The results by label, from the derived equations in NumPy."""

    def __init__(self, bench: Bench, draw: Draw):
        self.replay = Replay(bench.d.program, draw.arrays, draw.sizes)
        self.names = {label(g, k): t.name for g, v in bench.d.results if hasattr(v, "items") for k, t in v.items()}
        self.names |= {g: v.name for g, v in bench.d.results if not hasattr(v, "items")}

    def __call__(self, arrays: Arrays) -> Arrays:
        values = self.replay.at(arrays)
        return {n: np.asarray(values[t]) for n, t in self.names.items()}

    def _steady(self, arrays: Arrays) -> Arrays:
        return {n: np.where(np.isinf(a), 0, a) if is_float(a) else a for n, a in self(arrays).items()}

    def change(self, draw: Draw, seed: int) -> dict[str, float]:
        """How far each result moves by rounding, of the inputs or on the way."""
        found = self._steady(draw.arrays)

        def jittered(step: float, rng: np.random.Generator) -> Arrays:
            values = self.replay.jittered(draw.arrays, step, rng)
            found = {n: np.asarray(values[t]) for n, t in self.names.items()}
            return {n: np.where(np.isinf(a), 0, a) for n, a in found.items()}

        inputs, inner = moved(self._steady, draw.arrays, draw.dtype, seed), cancelled(jittered, found, draw.dtype, seed)
        return {n: max(inputs[n], inner[n]) for n in found}
