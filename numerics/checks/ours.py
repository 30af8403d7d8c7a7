"""Our side of a cross-check: the results at one draw, what an error of each is measured against, and its tolerance.

An error is measured against the leaf's own largest entry, however small the leaf is beside the others: minus, zero and
double never pass.  Only a leaf that is zero, or the rounding of a zero, is measured against the others.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from .draws import Draw
from .opponent import flatten
from .replay import Replay
from .rounding import CAPS, FLOOR, Model, cancelled, moved, scales, unit

NOTHING = 1e-12  # of the largest leaf: what a zero may be when it is computed
STEPS = 1e9  # of a rounding unit, about: from how far a leaf moves by rounding to a hundredth of the move itself


@dataclass
class Ours:
    """Our results at one draw: arrays, what an error of each is measured against, and how far it moves by rounding."""

    draw: Draw
    arrays: dict[str, np.ndarray]
    scale: dict[str, float]
    slack: dict[str, float]  # rounding of what is large beside a small leaf, relative to it and to a unit roundoff
    vanishing: set[str]
    leaves: Callable[[dict], dict[str, np.ndarray]]
    seed: int
    jittered: Callable[[float, np.random.Generator], dict[str, np.ndarray]]

    def __post_init__(self) -> None:
        self._moved: dict[str, dict[str, float]] = {}

    def accepts(self, error: float, model: Model, name: str, dtype: str) -> float:
        """The tolerance, as far as it must be known: how a leaf moves by rounding is found out only for what differs."""
        bound = self._bound(model, name, dtype, 0.0)
        return bound if error <= bound else self.tolerance(model, name, dtype)

    def tolerance(self, model: Model, name: str, dtype: str) -> float:
        if dtype not in self._moved:
            by_inputs = moved(self.leaves, self.draw.arrays, dtype, self.seed)
            inside = cancelled(self.jittered, self.arrays, dtype, self.seed)
            self._moved[dtype] = {n: max(by_inputs[n], inside[n]) for n in self.arrays}
        shift = self._moved[dtype][name] * scales(self.arrays)[name] / self.scale[name]
        return self._bound(model, name, dtype, shift)

    def _bound(self, model: Model, name: str, dtype: str, shift: float) -> float:
        bound = max(model.tolerance(dtype, shift), min(CAPS[dtype], unit(dtype) * self.slack[name]))
        return max(bound, 1e-10) if dtype == "float64" else bound


def ours_at(
    kern: Any, draw: Draw, tensors: Mapping[str, str], seed: int, least: Mapping[str, float] | None = None
) -> Ours:
    """Our results by label: the kernel's, or at other sizes those of the derived program in NumPy.

    ``least`` is what an error is measured against at least: where everything saturates, nothing is left of a leaf.
    """
    d = kern.derivation
    if draw.compiled:

        def leaves(arrays: dict) -> dict[str, np.ndarray]:
            found = flatten(d, kern(**{t.name: arrays[t.name] for t in kern.inputs}))
            return {n: found[n] for n in tensors}

    else:
        replay = Replay(d.program, draw.arrays, draw.sizes)

        def leaves(arrays: dict) -> dict[str, np.ndarray]:
            values = replay.run({}, {n: a for n, a in arrays.items() if n in draw.arrays}) or replay.base
            return {n: values[t] for n, t in tensors.items()}

    arrays = leaves(draw.arrays)
    own = {n: float(np.max(np.abs(a), initial=0.0)) for n, a in arrays.items()}
    whole, largest = scales(arrays), max(own.values(), default=0.0)
    small = {n for n, size in own.items() if size <= NOTHING * largest}
    shift = moved(leaves, draw.arrays, "float64", seed) if small else {}
    # what moves as much as it is when its inputs move in the ninth digit, and is this small, is rounding of a zero
    vanishing = {n for n in small if shift[n] * whole[n] * STEPS >= own[n]}
    scale = {n: FLOOR * largest or 1.0 if n in vanishing else own[n] for n in arrays}
    scale = {n: max(s, (least or {}).get(n, 0.0)) for n, s in scale.items()}
    slack = {n: 8 * largest / scale[n] if n not in vanishing else 0.0 for n in arrays}

    def jittered(step: float, rng: np.random.Generator) -> dict[str, np.ndarray]:
        values = Replay(d.program, draw.arrays, draw.sizes).jittered(draw.arrays, step, rng)
        return {n: values[t] for n, t in tensors.items()}

    return Ours(draw, arrays, scale, slack, vanishing, leaves, seed, jittered)
