"""Whether a gradient at a kink is one of those that other conventions, or rounding, give there."""

from __future__ import annotations

from collections.abc import Callable

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
    step = max(STEP, 4 * unit(dtype))
    low, high = nearby(ours.leaves, name, ours.draw.arrays, ours.seed, step)
    if not np.all(np.isfinite(low + high)):
        return False
    width = np.where(high - low > SMOOTH * step * ours.scale[name], high - low, 0.0)
    slack = np.where(width > 0, width, tolerance * ours.scale[name])
    centre = np.where(width > 0, (low + high) / 2, ours.arrays[name])
    return bool(np.all(np.abs(theirs - centre) <= width / 2 + slack))


def nearby(
    leaves: Callable[[dict], dict[str, np.ndarray]], name: str, arrays: dict, seed: int, step: float = STEP
) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest that each element is, at inputs and a little way off them; NaN where one is not finite."""
    rng = np.random.default_rng(seed + 11)
    low = high = leaves(arrays)[name]
    for _ in range(NEARBY):
        found = leaves({n: _beside(a, step, rng) if is_float(a) else a for n, a in arrays.items()})[name]
        low, high = np.minimum(low, found), np.maximum(high, found)
    return low, high


def _beside(a: np.ndarray, step: float, rng: np.random.Generator) -> np.ndarray:
    return a + step * np.maximum(np.abs(a), 1e-2 if step > STEP else 1.0) * rng.normal(size=a.shape)
