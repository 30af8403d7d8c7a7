"""How each scalar function and matrix value is computed by the evaluators, by NumPy or by JAX."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derive.language.errors import UnsupportedError
from derive.language.functions import DEFINITION, FUNCTIONS, ScalarFunction
from derive.language.functions import OWN as OWN_RULE

Array = Any  # of NumPy or of JAX, which is for the caller to say


def _special(xp: ModuleType) -> ModuleType:
    return importlib.import_module("jax.scipy.special" if xp is jnp else "scipy.special")


def _stop(xp: ModuleType, x: Array) -> Array:
    return jax.lax.stop_gradient(x) if xp is jnp else x


def _relu(xp: ModuleType, x: Array) -> Array:
    return xp.where(x > 0, x, xp.zeros_like(x))


def _polygamma(xp: ModuleType, n: Array, x: Array) -> Array:
    return _special(xp).polygamma(xp.asarray(n).astype(int), x)


OWN: dict[str, Callable] = {
    "polygamma": _polygamma,
    "relu": _relu,
    "sigmoid": lambda xp, x: 0.5 * (1 + xp.tanh(0.5 * x)),
    "softplus": lambda xp, x: xp.logaddexp(x, 0.0),
    "stop_gradient": _stop,
}


def rule(f: ScalarFunction) -> Callable | None:
    """``(xp, *arguments) -> array`` by the row of a function; None for one that is computed by its definition."""
    if f.numpy == DEFINITION:
        return None
    if f.numpy == OWN_RULE:
        if f.name not in OWN:
            raise UnsupportedError(
                f"function {f.name}: its column numpy is {OWN_RULE!r}, and {__name__}.OWN has no rule for it"
            )
        return OWN[f.name]
    home, _, name = f.numpy.rpartition(".")
    if home not in ("", "special") or not (home or hasattr(np, name)):
        raise UnsupportedError(f"function {f.name}: its column numpy is {f.numpy!r}, which NumPy does not have")
    return lambda xp, *args: getattr(_special(xp) if home else xp, name)(*args)


RULES = {f.name: rule(f) for f in FUNCTIONS.values()}


def _log_determinant(xp: ModuleType, matrix: Array) -> Array:
    sign, log = xp.linalg.slogdet(matrix)
    return xp.where(sign > 0, log, np.nan)


MATRIX_VALUES = {
    "inverse": lambda xp, matrix: xp.linalg.inv(matrix),
    "det": lambda xp, matrix: xp.linalg.det(matrix),
    "logdet": _log_determinant,
    "logabsdet": lambda xp, matrix: xp.linalg.slogdet(matrix)[1],
}
