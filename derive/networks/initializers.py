"""How the first values of parameters are asked for: a name, a number, or a function; drawn by numerics.training.init."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean

INITIALIZERS = (
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
    "uniform",
    "normal",
    "standard_normal",
    "zeros",
    "ones",
)


@dataclass(frozen=True)
class PerGate:
    """An initializer of a kernel that holds several gates along an axis: each gate is drawn by itself.

    Attributes
    ----------
    init : str, number or callable
    others : tuple of (int, initializer)
        The gates that are drawn in another way.
    axis : int
        The axis of the gates.
    """

    init: Initializer
    others: tuple[tuple[int, Initializer], ...] = ()
    axis: int = 1

    @property
    def __name__(self) -> str:
        own = getattr(self.init, "__name__", str(self.init)).strip("<>")
        return ", ".join([own, *(f"gate {n} {how}" for n, how in self.others)])


@dataclass(frozen=True)
class AsMatrix:
    """An initializer of a kernel of several axes, drawn as the matrix that it is and then shaped.

    Attributes
    ----------
    init : str, number or callable
    inputs : int
        How many of the first axes are summed over: the rows.
    """

    init: Initializer
    inputs: int = 1

    @property
    def __name__(self) -> str:
        return getattr(self.init, "__name__", str(self.init)).strip("<>")


Initializer = str | float | Callable | PerGate | AsMatrix


def initializer(given: Any, where: str) -> Initializer:
    """An initializer's name, a constant or a function ``(shape, generator) -> array``, checked."""
    if isinstance(given, str) and given not in INITIALIZERS:
        raise DeriveError(
            f"{where}: unknown initializer {given!r}{did_you_mean(given, INITIALIZERS)}; accepted are "
            f"{', '.join(INITIALIZERS)}, a number, or a function (shape, generator) -> array"
        )
    if isinstance(given, bool) or not (isinstance(given, str | int | float | PerGate | AsMatrix) or callable(given)):
        raise DeriveError(
            f"{where}: initializer {given!r} is {type(given).__name__}; accepted are "
            f"{', '.join(INITIALIZERS)}, a number, or a function (shape, generator) -> array"
        )
    return given
