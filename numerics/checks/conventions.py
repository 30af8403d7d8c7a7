"""Whether a gradient at a kink is one of those that other conventions, or rounding, give there."""

from __future__ import annotations

import numpy as np

from .ours import Ours
from .rounding import is_float, unit

NEARBY = 24  # draws around the kink
STEP = 1e-6  # how far they are from it, in float64
SMOOTH = 100.0  # steps by which a gradient may move for no kink, relative to its scale


def by_convention(ours: Ours, name: str, theirs: np.ndarray, tolerance: float, dtype: str = "float64") -> bool:
    """Whether each element lies among the gradients a little way off, on the sides that it has, or about as far beyond.

    An element that no side moves must be right: there is no convention about it.  A little way is what rounding of
    ``dtype`` is, if that is more.
    """
    rng = np.random.default_rng(ours.seed + 11)
    step = max(STEP, 4 * unit(dtype))
    low, high = ours.arrays[name].copy(), ours.arrays[name].copy()
    for _ in range(NEARBY):
        near = {n: _beside(a, step, rng) if is_float(a) else a for n, a in ours.draw.arrays.items()}
        found = ours.leaves(near)[name]
        if not np.all(np.isfinite(found)):
            return False
        low, high = np.minimum(low, found), np.maximum(high, found)
    width = np.where(high - low > SMOOTH * step * ours.scale[name], high - low, 0.0)
    slack = np.where(width > 0, width, tolerance * ours.scale[name])
    centre = np.where(width > 0, (low + high) / 2, ours.arrays[name])
    return bool(np.all(np.abs(theirs - centre) <= width / 2 + slack))


def _beside(a: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    return a + step * np.maximum(np.abs(a), 1e-2 if step > STEP else 1.0) * rng.normal(size=a.shape)
