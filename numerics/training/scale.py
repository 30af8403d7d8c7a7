"""Inputs that nobody has scaled: found before the first step, and said once."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from .examples import given_by
from .watch import TrainingWarning

LARGE = 100.0  # values beyond this, where others are small, drown these
APART = 1000.0  # how many times the spread of one feature may be that of another
LOOKED_AT = 10_000  # examples


def warn_of_scale(trainer: Any, X: Any) -> None:
    """Warn once a trainer of bytes that were not divided by 255, and of features of very different spread.

    Gradients of the first layer are proportional to its inputs: a feature a thousand times as large as another takes
    a thousand times the step, and the largest one decides how small the learning rate has to be.  (LeCun, Bottou, Orr,
    Mueller, *Efficient BackProp*, 1998, section 4.3.)
    """
    if trainer.epoch or trainer.part is not None:
        return
    try:
        given = given_by(trainer.model.inputs, X, "X")
    except Exception:  # what does not fit is told by the checks that follow
        return
    for name, one in given.items():
        if trainer.model.inputs[name].dtype != "int" and _reads_plainly(trainer, name):
            said = _said(one, "X" if len(given) == 1 else f"X[{name!r}]")
            if said:
                warnings.warn(TrainingWarning(said), stacklevel=6)  # the line that called fit


def _reads_plainly(trainer: Any, name: str) -> bool:
    """Whether the layers that read the input multiply it by weights; a normalization scales it by itself."""
    return not any(getattr(p.layer, "kind", "").endswith("_norm") for p in trainer.model.layers[:1])


def _said(given: Any, said: str) -> str | None:
    dtype = getattr(given, "dtype", None)
    try:
        found = np.asarray(given[:LOOKED_AT] if hasattr(given, "__getitem__") and dtype is not None else given)
    except Exception:
        return None
    if found.dtype == np.uint8 and found.size and found.max() > 1:
        return (
            f"{said} is bytes from {found.min()} to {found.max()}, which no layer scales; {said} / 255 makes them numbers "
            f"from 0 to 1, which networks are initialized for"
        )
    if found.ndim != 2 or found.dtype.kind not in "fiu" or len(found) < 2 or not np.isfinite(found).all():
        return None
    spread = found.std(axis=0, dtype=float)
    moving = spread[spread > 0]
    if not moving.size or np.abs(found).max() < LARGE or moving.max() < APART * moving.min():
        return None
    return (
        f"{said}: the spread of column {int(spread.argmax())} is {spread.max():.3g} and that of column "
        f"{int(np.where(spread > 0, spread, np.inf).argmin())} is {moving.min():.3g}; nx.Standardizer.fit({said}) gives all "
        f"columns mean 0 and spread 1"
    )
