"""What a function may not do while it is traced: decide by values, or act besides what it returns."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from derive.language.errors import UnsupportedError

from .source import Frame

CONCRETE = (
    jax.errors.ConcretizationTypeError,
    jax.errors.NonConcreteBooleanIndexError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
_WHY = {
    "TracerBoolConversionError": "a branch is taken by a value; accepted: jnp.where, or jax.lax.cond",
    "NonConcreteBooleanIndexError": "a shape depends on values: a mask as an index leaves as many elements as it has; "
    "accepted: jnp.where(mask, x, 0)",
    "TracerArrayConversionError": "NumPy is given an array that is not known yet; accepted: the same function of jax.numpy",
    "TracerIntegerConversionError": "a value is used as a Python integer; accepted: indexing by the array itself, or a "
    "number that is no array",
    "ConcretizationTypeError": "a shape or a Python number depends on values; accepted: functions with a size= of their "
    "own, jnp.where, and numbers that stay arrays",
}


def by_values(error: Exception) -> UnsupportedError:
    """The error of JAX for what is decided by values, with the author's line and what would be accepted."""
    frames = [Frame(f.filename, f.lineno or 0, f.name) for f in traceback.extract_tb(error.__traceback__)]
    own = [f for f in frames if not f.is_library and "numerics/interop/" not in f.file]
    where = f" at {own[-1].shown} (in {own[-1].function})" if own else ""
    kind = next(c.__name__ for c in type(error).__mro__ if c.__name__ in _WHY)
    first = str(error).partition("\n")[0]
    return UnsupportedError(f"nx.from_jax{where}: {_WHY[kind]}\n  JAX says: {first}")


def captured(f: Callable[..., Any]) -> list[str]:
    """The Python numbers that a function reads from around it, as "rate = 0.1": what is traced holds them as they are."""
    try:
        found = inspect.getclosurevars(inspect.unwrap(f))
    except (TypeError, ValueError):
        return []
    around = {**found.globals, **found.nonlocals}
    return [f"{name} = {value!r}" for name, value in around.items() if isinstance(value, float | np.floating)]
