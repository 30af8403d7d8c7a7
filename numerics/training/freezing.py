"""What stays frozen when some layers are trained again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any


def left(model: Any, frozen: Sequence[str], names: Sequence[str]) -> list[str]:
    """The names of ``frozen`` without layers, models or parameters that are trained again, all where none is named.

    Of a layer that has only some parameters back, the others are named one by one.
    """
    for n in names:
        model.trainable([n])  # an unknown name is refused
    back = _parameters(model, names) if names else set(model.parameters)
    kept: list[str] = []
    for n in frozen:
        parts = _parameters(model, [n])
        kept += [n] if not parts & back else sorted(parts - back)
    return kept


def _parameters(model: Any, names: Iterable[str]) -> set[str]:
    return {p for n in names for p in model.parameters_of(n)}
