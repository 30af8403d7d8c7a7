"""How far two results are from each other, where that makes sense at all."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def distance(ours: Any, reference: Any, scale: float) -> tuple[float | None, str]:
    """The largest difference relative to a scale; None with a note where that makes no sense."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    if ours.shape != reference.shape:
        return None, f"shape {ours.shape}, expected {reference.shape}"
    for who, array in (("the kernel", ours), ("the reference", reference)):
        bad = np.argwhere(~np.isfinite(array.astype(float)))
        if len(bad):
            return None, f"{who} is not finite at {tuple(int(n) for n in bad[0])}"
    return float(np.max(np.abs(ours.astype(float) - reference.astype(float)), initial=0.0)) / scale, ""


def underflows(ours: Any, reference: Any) -> bool:
    """Whether two results of one shape differ by less than the smallest normal number of ours: as floats both are 0."""
    ours, reference = np.asarray(ours), np.asarray(reference)
    apart = np.abs(ours.astype(float) - reference.astype(float))
    return ours.shape == reference.shape and bool(np.all(apart < float(jnp.finfo(ours.dtype).tiny)))


def without_equal_infinities(reference: dict, ours: dict) -> tuple[dict, dict]:
    """Two sets of leaves, where both are the same infinity 0 in its place: an output may be infinite."""
    for name, b in reference.items():
        a = ours[name]
        if a.shape == b.shape and np.any(both := np.isinf(b.astype(float)) & (a.astype(float) == b.astype(float))):
            reference, ours = {**reference, name: np.where(both, 0, b)}, {**ours, name: np.where(both, 0, a)}
    return reference, ours
