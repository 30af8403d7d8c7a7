"""The inputs of a cross-check: several draws, other regimes of sizes, and draws that meet each condition both ways.

A function that is right at one draw may be wrong where a triplet is inactive, where B is 1, or where a weight that
starts at zero is not zero any more.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy import Expr
from sympy.core.relational import Relational

from derive.derivation.derivation import Derivation
from derive.language.errors import DeriveError
from derive.language.index import Index, Size
from derive.language.nodes import maximum, minimum, relu
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Term
from numerics.reference.sampling import TELLING, draw, draw_arrays, draw_sample, draw_sizes

from .replay import QuickEvaluator, Replay, points

TRIES = 24  # draws looked at for a condition that was not met both ways
LONG = 8  # steps of a recurrence, positions of a mask: fewer hide a window and what is carried twice
ALWAYS = 2  # of them compared where there are conditions at all: a threshold may be another
MORE = 4  # of them compared
LARGE = 200_000_000  # grid points: beyond them the conditions of given inputs are not looked at
SPREADS = (1.0, 3.0, 0.3, 10.0)


@dataclass(frozen=True)
class Draw:
    """Sizes and arrays (float64), and what the function is handed, in the precision it came in."""

    sizes: dict[Size, int]
    arrays: dict[str, np.ndarray]
    passed: dict[str, Any]
    text: str = ""
    compiled: bool = True  # whether the kernel itself is asked, or the derived program in NumPy (other sizes)

    @property
    def by_name(self) -> dict[str, int]:
        return {s.name: n for s, n in self.sizes.items()}

    @property
    def sizes_text(self) -> str:
        return " ".join(f"{n}={v}" for n, v in sorted(self.by_name.items())) or "(fixed)"


class Drawing:
    """Draws for one derivation; ``names`` are the inputs that a kernel takes."""

    def __init__(self, d: Derivation, program: Program, names: list[str], fixed: dict[Size, int], targets: list[str]):
        self.d, self.program, self.names, self.fixed, self.targets = d, program, names, fixed, targets

    def first(self, seed: int) -> Draw:
        return self._at(draw_sizes(self.program, self.fixed, seed=seed, pool=TELLING), seed, "")

    def others(self, first: Draw, seed: int) -> Iterator[Draw]:
        """Another draw, equal sizes, one element in the first axis, and draws for the conditions not met both ways."""
        yield self._at(first.sizes, seed + 1, f"another draw (seed {seed + 1})")
        for sizes, text in self._regimes(first.sizes, seed):
            try:
                found = self._at(sizes, seed + 2, text)
            except DeriveError:
                continue  # nothing finite there: a variance of one element, a matrix that is singular
            yield Draw(found.sizes, found.arrays, found.passed, f"{text} ({found.sizes_text})", compiled=False)

    def _regimes(self, sizes: dict[Size, int], seed: int) -> Iterator[tuple[dict[Size, int], str]]:
        """Long axes where positions are compared or steps are taken, else equal sizes; and one element in the first axis."""
        wanted = [(self._long(sizes), "long axes")] if self._long(sizes) else []
        square = None if wanted else draw_sizes(self.program, self.fixed, square=True, seed=seed)
        if square is not None and square != sizes:
            yield square, "equal sizes"
        names = {t.name for t in self.d.wrt}
        inputs = sorted(self.program.inputs, key=lambda t: (t.name in names, t.role != "data"))
        leads = [t.axes[0] for t in inputs if t.rank and isinstance(t.axes[0], Size)]
        lead = next((s for s in leads if s not in self.fixed), None)
        if lead is not None:
            wanted.append(({lead: 1}, f"{lead.name} = 1"))
        for fixed, text in wanted:
            with contextlib.suppress(DeriveError):
                found = draw_sizes(self.program, {**self.fixed, **fixed}, seed=seed, pool=TELLING)
                if found is not None:
                    yield found, text

    def _long(self, sizes: dict[Size, int]) -> dict[Size, int]:
        """Eight or more for the sizes of recurrences, and of indices that conditions and shifted reads compare."""
        found: set[Size] = set()
        for e in self.d.program.equations:
            rows = [r for t in e.terms for r in (*t.rows, *e.guards)]
            shifts = [a for r in e.reads() for a in r.idx if not isinstance(a, Index) and not a.atoms(Read)]
            letters = {s for r in rows for s in r.free_symbols} | {s for a in shifts for s in a.free_symbols}
            found |= {i.size for i in letters if isinstance(i, Index) and isinstance(i.size, Size)}
        free = sorted((s for s in found if s not in self.fixed), key=lambda s: s.name)
        short = [s for s in free if sizes[s] < LONG]
        return dict(zip(short, itertools.count(LONG), strict=False)) if short else {}

    def _at(self, sizes: Any, seed: int, text: str) -> Draw:
        sample = draw_sample(self.program, self._finite(sizes), sizes, seed, self.d.wrt)
        arrays = {n: sample.arrays[n] for n in self.names}
        return Draw(dict(sizes), arrays, dict(arrays), text)

    def _finite(self, sizes: dict[Size, int]) -> Callable[[dict], bool]:
        def holds(arrays: dict) -> bool:
            values = Replay(self.d.program, arrays, sizes).base
            return all(np.all(np.isfinite(values[n])) for n in self.targets)

        return holds

    # -- conditions ----------------------------------------------------------------------------------------------------

    def steered(self, first: Draw, seen: Seen, seed: int) -> Iterator[Draw]:
        """Draws at which a condition goes the way that it has not gone yet."""
        rng = np.random.default_rng(seed + 3)
        given = 0
        for n in range(TRIES):
            if not seen.conditions or given >= MORE or (given >= ALWAYS and not seen.missing()):
                return
            arrays = draw_arrays(self.program, first.sizes, {}, rng, self.d.wrt)
            spread = SPREADS[n % len(SPREADS)]
            arrays = {
                t.name: arrays[t.name] * spread if t.dtype == "float" and not t.facts else arrays[t.name]
                for t in self.program.inputs
            }
            values = Replay(self.d.program, arrays, first.sizes).base
            finite = all(np.all(np.isfinite(values[t])) for t in self.targets)
            if finite and (seen.add(values, first.sizes) or given < ALWAYS):
                given += 1
                mine = {m: arrays[m] for m in self.names}
                yield Draw(first.sizes, mine, dict(mine), "a draw for the conditions")

    def unvanished(self, given: Draw, zero: list[str], seed: int) -> Draw:
        """Given inputs with those that are all zero drawn instead."""
        rng = np.random.default_rng(seed)
        arrays, passed = dict(given.arrays), dict(given.passed)
        for t in self.program.inputs:
            if t.name in zero:
                arrays[t.name] = draw(t, given.sizes, "normal", rng, True)
                passed[t.name] = like(arrays[t.name], given.passed[t.name])
                arrays[t.name] = np.asarray(passed[t.name], float)
        return Draw(given.sizes, arrays, passed, f"{', '.join(zero)} drawn instead of all zero")


def like(values: np.ndarray, array: Any) -> Any:
    """Values as an array of the same kind and precision as another."""
    if hasattr(array, "detach"):
        import torch

        return torch.as_tensor(values).to(array)
    if isinstance(array, np.ndarray):
        return values.astype(array.dtype)
    import jax.numpy as jnp

    return jnp.asarray(values, array.dtype)


class Seen:
    """Which way each condition of a program has gone: relations on values, and the kinks of relu, |x|, max and min."""

    def __init__(self, program: Program):
        self.conditions = [(e, t, c) for e in program.equations for t in e.terms for c in _conditions(e, t)]
        self.ways: dict[str, set[bool]] = {self.text(e, c): set() for e, _, c in self.conditions}

    def add(self, values: dict[str, np.ndarray], sizes: dict[Size, int]) -> bool:
        """Note the ways that these values go; whether there was a new one."""
        new = False
        quick = QuickEvaluator({}, sizes, {})
        quick.values = values
        for e, t, c in self.conditions:
            scope = quick._scope(e.idx, (*e.over, *t.bnd), {})
            with np.errstate(all="ignore"):
                holds = quick._condition(c, scope)
            for way in {bool(v) for v in np.unique(holds)} - self.ways[self.text(e, c)]:
                self.ways[self.text(e, c)].add(way)
                new = True
        return new

    def missing(self) -> list[str]:
        """``dpos[b] + 1 - dneg[b] > 0 false``, for each way that a condition has not gone."""
        return [f"{c} {str(way).lower()}" for c, ways in self.ways.items() for way in (True, False) if way not in ways]

    @staticmethod
    def text(e: Equation, c: Expr) -> str:
        return str(c)


def _conditions(e: Equation, term: Term) -> list[Expr]:
    found: set[Expr] = set()
    for f in term.fac:
        found |= {c for c in f.atoms(Relational) if any(r.tensor.dtype == "float" for r in c.atoms(Read))}
        found |= {sympy.Gt(c.args[0], 0, evaluate=False) for c in f.atoms(relu, sympy.Abs, sympy.sign)}
        found |= {sympy.Ge(*c.args, evaluate=False) for c in f.atoms(maximum, minimum)}
    return sorted((c for c in found if isinstance(c, Relational)), key=str)


def seen_at(program: Program, arrays: dict, sizes: dict[Size, int]) -> Seen | None:
    """The conditions that given inputs meet; None where there are none or the inputs are too large to look."""
    seen = Seen(program)
    if not seen.conditions or points(program, sizes) > LARGE:
        return None
    seen.add(Replay(program, arrays, sizes).base, sizes)
    return seen
