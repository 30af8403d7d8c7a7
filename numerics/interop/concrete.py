"""What a function may not do while it is traced: decide by values, or act besides what it returns."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import jax
import numpy as np

from derive.language.errors import UnsupportedError
from numerics.errors import InputError

from .source import Frame

_HERE = str(Path(__file__).parent)
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
    own = [f for f in frames if not f.is_library and not f.file.startswith(_HERE)]
    where = f" at {own[-1].shown} (in {own[-1].function})" if own else ""
    kind = next(c.__name__ for c in type(error).__mro__ if c.__name__ in _WHY)
    first = str(error).partition("\n")[0]
    return UnsupportedError(f"nx.from_jax{where}: {_WHY[kind]}\n  JAX says: {first}")


def kept(f: Callable[..., Any]) -> dict[int, str]:
    """The traced values that stand around a function, in what it reads by name, by their id: the name that leads to each."""
    out: dict[int, str] = {}
    for name, value in _around(f).items():
        inside = [value]
        if isinstance(value, dict):
            inside += value.values()
        elif isinstance(value, list | set | tuple):
            inside += value
        elif hasattr(value, "__dict__") and not isinstance(value, type | ModuleType):
            inside += vars(value).values()
        out |= {id(x): name for x in inside if isinstance(x, jax.core.Tracer)}
    return out


def refuse_kept(before: dict[int, str], after: dict[int, str]) -> None:
    """Refuse a function that has put a traced value into what stands around it."""
    new = sorted({name for x, name in after.items() if x not in before})
    if new:
        raise UnsupportedError(
            f"nx.from_jax: the function keeps what it computes in {', '.join(new)}, outside of itself: a side effect has no "
            f"formula; accepted: what is kept returned beside the loss (has_aux=True)"
        )


def _around(f: Callable[..., Any]) -> dict[str, Any]:
    """What a function reads by name from around it."""
    try:
        found = inspect.getclosurevars(inspect.unwrap(f))
    except (TypeError, ValueError):
        return {}
    return {**found.globals, **found.nonlocals}


def captured(f: Callable[..., Any]) -> list[str]:
    """The Python numbers that a function reads from around it, as "rate = 0.1": what is traced holds them as they are."""
    return [f"{name} = {value!r}" for name, value in _around(f).items() if isinstance(value, float | np.floating)]


def arrays_only(returned: Any) -> Any:
    """What a function returns, if it is arrays and numbers."""
    leaves = jax.tree_util.tree_leaves(returned)
    wrong = next((type(x).__name__ for x in leaves if not hasattr(x, "shape") and not isinstance(x, int | float)), None)
    if not leaves or wrong:
        raise InputError(
            f"nx.from_jax: the function returns {wrong or 'no array'}; accepted: arrays and numbers, the loss first"
        )
    return returned
