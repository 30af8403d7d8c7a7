"""The inputs of a cross-check: several draws, other regimes of sizes and values, and draws that meet each condition both ways.

A function that is right at one draw may be wrong where a triplet is inactive, where B is 1, or where a weight that
starts at zero is not zero any more.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sympy import Integer

from derive.derivation.derivation import Derivation
from derive.language.errors import DeriveError
from derive.language.index import Index, Size
from derive.language.tensor import Read
from derive.program.program import Program
from derive.program.schedule import Scan, schedule
from numerics.reference.sampling import TELLING, draw, draw_sample, draw_sizes, size_choices

from .coverage import Seen
from .regimes import free_floats, value_regimes
from .replay import Replay, points
from .rounding import is_float, moved, scales
from .steering import Steering

LONG = 8  # steps of a recurrence, positions of a mask: fewer hide a window and what is carried twice
STEPS = 64  # of a recurrence in float32: what is lost a little at every step
NOISE = 1e-9  # of a result that moves by more of itself when its inputs move by one rounding, no digit is known
RETRIES = 4  # draws at other sizes, where one may say nothing
SPREADS = (3.0, 10.0)  # of two draws more where there are conditions: the thresholds of what is compared may be others
STEERED = 3_000_000  # grid points of one evaluation beyond which conditions are met, but regimes not looked for


@dataclass(frozen=True)
class Draw:
    """Sizes and arrays (float64), and what the function is handed, in the precision it came in.

    ``kind`` is "tie" where conventions decide, "turn" where a condition has just turned, which rounding may undo, and
    "large" where a right formula may overflow.
    """

    sizes: dict[Size, int]
    arrays: dict[str, np.ndarray]
    passed: dict[str, Any]
    text: str = ""
    compiled: bool = True  # whether the kernel itself is asked, or the derived program in NumPy (other sizes)
    kind: str = ""
    regime: str = ""
    dtype: str = "float64"

    @property
    def by_name(self) -> dict[str, int]:
        return {s.name: n for s, n in self.sizes.items()}

    @property
    def sizes_text(self) -> str:
        return _sizes_text(self.sizes)


class Drawing:
    """Draws for one derivation.

    ``names`` are the inputs that a kernel takes, ``targets`` what must be finite, ``held`` arrays that stay as they are.
    """

    def __init__(
        self,
        d: Derivation,
        program: Program,
        names: list[str],
        fixed: dict[Size, int],
        targets: list[str],
        held: Mapping[str, np.ndarray] | None = None,
    ):
        self.held = {n: a.astype(float) if is_float(a) else a for n, a in (held or {}).items()}
        self.d, self.program, self.names, self.fixed, self.targets = d, program, names, fixed, targets
        self.instead = ""  # why other sizes were taken than the usual ones
        self._replays: dict[tuple, Replay] = {}
        self.overflowing: list[Draw] = []  # large numbers at which the derived program has a result that is not finite

    def first(self, seed: int) -> Draw:
        sizes, self.instead = self.telling(seed, TELLING)
        return self._at(sizes, seed, "")

    # -- sizes at which the function is not degenerate -----------------------------------------------------------------

    def telling(self, seed: int, pool: Sequence[int]) -> tuple[dict[Size, int], str]:
        """Unequal sizes at which the fewest results are zero but for rounding, and a note where the first were not those.

        ``det(X'X)`` of a wide X is 0 whatever X is: nothing can be compared there.
        """
        usual = draw_sizes(self.program, self.fixed, seed=seed, pool=pool) or {}
        gone = self.degenerate(usual, seed)
        if not gone:
            return usual, ""
        best, left = usual, gone
        for sizes in size_choices(self.program, self.fixed, seed, pool):
            found = self.degenerate(sizes, seed) if sizes != usual else gone
            if len(found) < len(left):
                best, left = sizes, found
            if not left:
                break
        if best is usual:
            return usual, ""
        said = "not finite, or zero but for rounding"
        return best, f"sizes {_sizes_text(best)} instead of {_sizes_text(usual)}, where {', '.join(gone)} is {said}"

    def degenerate(self, sizes: dict[Size, int], seed: int) -> list[str]:
        """The results that are nothing but rounding at drawn inputs; all of them where none is finite."""
        if self.d.kind == "forward":
            return []  # values are what they are
        try:
            sample = draw_sample(self.program, self.finite(sizes), sizes, seed, self.d.wrt)
        except DeriveError:
            return list(self.targets)
        replay = self._replays[_key(sizes)]

        def leaves(arrays: dict) -> dict[str, np.ndarray]:
            values = replay.at(arrays)
            return {n: np.asarray(values[n], float) for n in self.targets}

        found = leaves(sample.arrays)
        change, scale = moved(leaves, sample.arrays, "float64", seed, draws=1), scales(found)
        own = {n: float(np.max(np.abs(a), initial=0.0)) for n, a in found.items()}
        return [n for n in own if not change[n] * scale[n] < NOISE * own[n]]

    def after(self, first: Draw, seen: Seen, seed: int, squares: bool = True) -> Iterator[Draw]:
        """Everything after the first draw, which ``seen`` knows: conditions, then regimes of values, then of sizes.

        Whoever takes a draw tells ``seen`` what it met once it was compared.
        """
        yield self._at(first.sizes, seed + 1, f"another draw (seed {seed + 1})")
        yield from self.steered(first, seen, seed)
        yield from self.values(first, seen, seed)
        yield from self.of_sizes(first, seen, seed, squares)

    def of_sizes(self, first: Draw, seen: Seen, seed: int, squares: bool) -> Iterator[Draw]:
        """Long axes where positions are compared or steps are taken, equal sizes, one element in the first axis."""
        usual = set(self.degenerate(first.sizes, seed))
        for sizes, name, dtype in self._regimes(first.sizes, seen, seed, squares):
            found = self._telling_at(sizes, seed + 2, name, usual)
            if found is None:
                seen.regime(name, False)
                continue
            text = f"{name} ({found.sizes_text})"
            passed = found.passed
            if dtype != "float64":
                passed = {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in passed.items()}
            rounded = {n: a.astype(float) if a.dtype.kind == "f" else a for n, a in passed.items()}
            arrays = {**found.arrays, **rounded}
            yield Draw(found.sizes, arrays, passed, text, compiled=False, regime=name, dtype=dtype)

    def _telling_at(self, sizes: dict[Size, int], seed: int, name: str, usual: set[str]) -> Draw | None:
        """A draw at which no more results vanish than usual: of one triplet, one that is active."""
        for n in range(RETRIES):
            try:
                found = self._at(sizes, seed + n, name)
            except DeriveError:  # nothing finite there: a variance of one element, a matrix that is singular
                return None
            if not set(self.degenerate(sizes, seed + n)) - usual:
                return found
        return None

    def _regimes(
        self, sizes: dict[Size, int], seen: Seen, seed: int, squares: bool
    ) -> Iterator[tuple[dict[Size, int], str, str]]:
        long = self._long(sizes, seen)
        if long:
            yield from self._sized(long, "long axes", seed)
        yield from self._touching(sizes, seed)
        square = draw_sizes(self.program, self.fixed, square=True, seed=seed) if squares else None
        if square is not None and square != sizes:
            yield square, "equal sizes", "float64"
        lead = self._lead()
        if lead is not None:
            yield from self._sized({lead: 1}, f"{lead.name} = 1", seed)
        steps = {s: STEPS for s in self._steps() if s not in self.fixed}
        if steps:
            name = ", ".join(f"{s.name} = {STEPS}" for s in steps)
            yield from self._sized(steps, f"{name} in float32", seed, "float32")

    def _touching(self, sizes: dict[Size, int], seed: int) -> Iterator[tuple[dict[Size, int], str, str]]:
        """Sizes at which the ends of a kernel are read, where they are not at the first: x[t - 2 r] reads none far back."""
        shifts = [a for e in self.d.program.equations for r in e.reads() for a in r.idx if not isinstance(a, Index)]
        if not any(a.free_symbols and not a.atoms(Read) for a in shifts):
            return
        unread = self._unread(sizes, seed)
        for other in size_choices(self.program, self.fixed, seed, TELLING) if unread else ():
            if points(self.d.program, other) <= STEERED and unread - self._unread(other, seed):
                yield other, "sizes that reach the ends of every axis", "float64"
                return

    def _unread(self, sizes: dict[Size, int], seed: int) -> set[tuple[str, int, int]]:
        """(result, axis, end) of the slices that are all zero at a draw, of results that are not."""
        try:
            arrays = draw_sample(self.program, self.finite(sizes), sizes, seed, self.d.wrt).arrays
        except DeriveError:
            return set()
        values = self._replays[_key(sizes)].at(arrays)
        found = {n: np.asarray(values[n]) for n in self.targets}
        ends = [(n, k, end) for n, a in found.items() if np.any(a) for k in range(a.ndim) for end in (0, -1)]
        return {(n, k, end) for n, k, end in ends if not np.any(np.take(found[n], end, axis=k))}

    def _sized(self, some: dict[Size, int], name: str, seed: int, dtype: str = "float64") -> Iterator[tuple]:
        with contextlib.suppress(DeriveError):
            found = draw_sizes(self.program, {**self.fixed, **some}, seed=seed, pool=TELLING)
            if found is not None and points(self.d.program, found) <= STEERED:
                yield found, name, dtype

    def _lead(self) -> Size | None:
        """The size of the first axis of the data that no recurrence goes along: how many examples there are."""
        names, steps = {t.name for t in self.d.wrt}, self._steps()
        inputs = sorted(self.program.inputs, key=lambda t: (t.name in names, t.role != "data"))
        leads = [a for t in inputs for a in t.axes[:1]] + [a for t in inputs for a in t.axes[1:2]]
        return next((s for s in leads if isinstance(s, Size) and s not in (*self.fixed, *steps)), None)

    def _steps(self) -> list[Size]:
        """The sizes of the axes along which recurrences go."""
        scans = [g for g in schedule(self.d.source) if isinstance(g, Scan)]
        axes = [e.tensor.axes[g.axis[e.name]] for g in scans for e in g.equations]
        return sorted({a for a in axes if isinstance(a, Size)}, key=lambda s: s.name)

    def _long(self, sizes: dict[Size, int], seen: Seen) -> dict[Size, int]:
        """Eight or more for the sizes of recurrences, and of indices that conditions and shifted reads compare.

        More where a condition on positions goes another way further on, as ``t >= 10`` does.
        """
        wanted: dict[Size, int] = {}
        for e in self.d.program.equations:
            rows = [r for t in e.terms for r in (*t.rows, *e.guards)]
            shifts = [a for r in e.reads() for a in r.idx if not isinstance(a, Index) and not a.atoms(Read)]
            letters = {s for r in rows for s in r.free_symbols} | {s for a in shifts for s in a.free_symbols}
            wanted.update((i.size, LONG) for i in letters if isinstance(i, Index) and isinstance(i.size, Size))
        for c in seen.structural:
            if any(c.text(way) not in seen.met for way in (True, False)):
                far = max((abs(int(n)) for n in c.test.atoms(Integer)), default=0) + 2
                for i in c.test.atoms(Index):
                    if isinstance(i.size, Size):
                        wanted[i.size] = max(wanted.get(i.size, LONG), far)
        free = sorted((s for s in wanted if s not in self.fixed), key=lambda s: s.name)
        short = [s for s in free if sizes[s] < wanted[s]]
        return {s: wanted[s] + n for n, s in enumerate(short)}

    def _at(self, sizes: Any, seed: int, text: str) -> Draw:
        sample = draw_sample(self.program, self.finite(sizes), sizes, seed, self.d.wrt)
        return self._of(sample.arrays, sizes, text)

    def _of(self, arrays: dict[str, np.ndarray], sizes: Any, text: str, kind: str = "", regime: str = "") -> Draw:
        arrays = {**arrays, **self.held}
        passed = {n: arrays[n] for n in self.names}
        return Draw(dict(sizes), dict(arrays), passed, text, kind=kind, regime=regime)

    def beside(self, arrays: dict[str, np.ndarray], sizes: dict[Size, int]) -> dict[str, np.ndarray]:
        """Arrays for the inputs that were not given: the definitions read them, the results do not."""
        rng = np.random.default_rng(0)
        missing = [t for t in self.program.inputs if t.name not in arrays]
        return {t.name: draw(t, sizes, "normal", rng) for t in missing}

    def finite(self, sizes: dict[Size, int]) -> Callable[[dict], bool]:
        """Whether all results are finite, by the derived program in NumPy."""
        key = _key(sizes)
        real = np.isfinite if self.d.kind != "forward" else _is_number  # of values alone, infinity is one

        def holds(arrays: dict) -> bool:
            if key not in self._replays:
                self._replays[key] = Replay(self.d.program, arrays, sizes)
            values = self._replays[key].at(arrays)
            return all(np.all(real(values[n])) for n in self.targets)

        return holds

    # -- conditions and values -----------------------------------------------------------------------------------------

    def steered(self, first: Draw, seen: Seen, seed: int) -> Iterator[Draw]:
        """Draws at which a condition goes the way that it has not gone yet; and wider ones, for thresholds not ours."""
        finite = self.finite(first.sizes)
        search = Steering(seen, self.program, self.d.wrt, finite, seed + 3)
        size = points(self.d.source, first.sizes)
        rng = np.random.default_rng(seed + 4)
        for text, arrays in search.draws(first.arrays, first.sizes, size):
            if (
                self.d.seed is not None
            ):  # a cotangent that is small where the condition turns would hide what happens there
                signs = rng.choice([-1.0, 1.0], arrays[self.d.seed.name].shape)
                arrays = {**arrays, self.d.seed.name: signs}
            yield self._of(arrays, first.sizes, f"a draw with {text}", "turn")
        for spread in SPREADS if any(c.moves for c in seen.conditions) else ():
            wide = {t.name for t in free_floats(self.program.inputs, first.arrays)}
            arrays = {n: a * spread if n in wide else a for n, a in first.arrays.items()}
            if finite(arrays):
                yield self._of(arrays, first.sizes, f"inputs {spread:g} times as large")

    def values(self, first: Draw, seen: Seen, seed: int) -> Iterator[Draw]:
        """Zeros, ties, large numbers, the first label and the last."""
        finite = self.finite(first.sizes)
        inputs = [t for t in self.program.inputs if t.name in self.names and t.name not in self.held]
        tells = self._tells(first)
        self.overflowing = []
        for r in value_regimes(seen, inputs, first.arrays, first.sizes, finite, tells, seed):
            if not r.finite:
                self.overflowing.append(self._of(r.arrays, first.sizes, f"a draw with {r.name}", r.kind, r.name))
                continue
            yield self._of(r.arrays, first.sizes, f"a draw with {r.name}", r.kind, r.name)

    def _tells(self, first: Draw) -> Callable[[dict], bool]:
        """Whether results that are there at the first draw are not all zero at others of its sizes."""

        def there(arrays: dict) -> set[str]:
            self.finite(first.sizes)(first.arrays)  # so that there is a replay
            values = self._replays[_key(first.sizes)].at(arrays)
            return {n for n in self.targets if np.any(values[n])}

        usual: set[str] = set()

        def tells(arrays: dict) -> bool:
            usual.update(usual or there(first.arrays))
            return not usual or bool(usual & there(arrays))

        return tells

    def unvanished(self, given: Draw, zero: list[str], seed: int) -> Draw:
        """Given inputs with those that are all zero drawn instead."""
        rng = np.random.default_rng(seed)
        arrays, passed = dict(given.arrays), dict(given.passed)
        for t in self.program.inputs:
            if t.name in zero:
                arrays[t.name] = draw(t, given.sizes, "normal", rng, True)
                passed[t.name] = like(arrays[t.name], given.passed[t.name])
                arrays[t.name] = np.asarray(passed[t.name], float)
        return replace(given, arrays=arrays, passed=passed, text=f"{', '.join(zero)} drawn instead of all zero")


def _key(sizes: dict[Size, int]) -> tuple:
    return tuple(sorted((s.name, n) for s, n in sizes.items()))


def _is_number(a: np.ndarray) -> Any:
    return ~np.isnan(a)


def _sizes_text(sizes: dict[Size, int]) -> str:
    return " ".join(f"{n}={v}" for n, v in _key(sizes)) or "(fixed)"


def like(values: np.ndarray, array: Any) -> Any:
    """Values as an array of the same kind and precision as another."""
    if hasattr(array, "detach"):
        import torch

        return torch.as_tensor(values).to(array)
    if isinstance(array, np.ndarray):
        return values.astype(array.dtype)
    import jax.numpy as jnp

    return jnp.asarray(values, array.dtype)
