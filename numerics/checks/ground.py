"""What every numeric check stands on: float64, sizes that no array fixes, and all inputs of a kernel."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import jax

from derive.derivation.derivation import Derivation
from derive.language.index import Size
from derive.program.program import Program


def float64() -> AbstractContextManager:
    """A context in which JAX computes in float64; the user's own setting is back afterwards."""
    return in_precision("float64")


def in_precision(dtype: str) -> AbstractContextManager:
    """A context in which JAX computes in float64, or leaves narrower arrays as they are."""
    wide = dtype == "float64"
    if callable(getattr(jax, "enable_x64", None)):
        return jax.enable_x64(wide)
    from jax.experimental import enable_x64  # type: ignore[attr-defined]  # of older JAX

    return enable_x64(wide)


def fixed_sizes(kern: Any) -> dict[Size, int]:
    """The sizes bound when the kernel was compiled."""
    given = getattr(kern, "sizes", None) or {}
    return {s if isinstance(s, Size) else Size(str(s)): int(n) for s, n in given.items()}


def everything(d: Derivation) -> Program:
    """The inputs and equations of the definitions and of the derived program, for drawing sizes and arrays."""
    inputs = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}
    equations = {e.name: e for e in (*d.source.equations, *d.program.equations)}
    return Program(tuple(inputs.values()), tuple(equations.values()), d.program.outputs)
