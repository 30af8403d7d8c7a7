"""Functions of JAX that it writes out where they are called, and that are one function of the language: ``ndtri``.

JAX computes the quantile of the normal distribution by fifty operations, rational approximations of five intervals, under no
name of their own.  Every operation has the line of JAX's file that made it, which tells where the function begins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax.extend import core

from .source import is_jax

WRITTEN = {"ndtri": ("_ndtri", "scipy/special.py")}  # the row: what it is called in JAX, and its file


@dataclass(frozen=True)
class Whole:
    """Operations that compute one function of one argument, the first operand of the first of them."""

    name: str
    first: int
    inside: range  # all but the last, which gives the value


def wholes(jaxpr: Any) -> dict[int, Whole]:
    """The functions written out in a jaxpr, by the place of their last operation."""
    found = {}
    for name, function in WRITTEN.items():
        for first, stop in _runs([_line(e, *function) for e in jaxpr.eqns], jaxpr.eqns):
            if _is_closed(jaxpr, first, stop):
                found[stop - 1] = Whole(name, first, range(first, stop - 1))
    return found


def _runs(lines: list[int], eqns: list[Any]) -> Iterator[tuple[int, int]]:
    """From where to where a function's own lines go on; from its first line on it is another call."""
    start: int | None = None
    for n, (line, e) in enumerate(zip([*lines, 0], [*eqns, None], strict=True)):
        begins = start is not None and line == lines[start] and e.primitive.name == eqns[start].primitive.name
        if start is not None and (not line or begins):
            yield start, n
            start = None
        if line and start is None:
            start = n


def _line(eqn: Any, function: str, file: str) -> int:
    """The line of a function of JAX that made an operation; 0 for one that was made elsewhere."""
    trace = eqn.source_info.traceback
    frames = trace.frames if trace is not None else ()
    return next(
        (
            f.line_num
            for f in frames
            if f.function_name == function and is_jax(f.file_name) and f.file_name.endswith(file)
        ),
        0,
    )


def _is_closed(jaxpr: Any, first: int, stop: int) -> bool:
    """Whether of all that is computed operations read one argument, and only the last is read, a float of its shape."""
    eqns, rest = jaxpr.eqns[first:stop], [*jaxpr.eqns[:first], *jaxpr.eqns[stop:]]
    x, made = eqns[0].invars[0], {v for e in eqns for v in e.outvars}
    (*_, y) = eqns[-1].outvars
    read = {v for e in eqns for v in e.invars if not isinstance(v, core.Literal)}
    outside = {v for e in rest for v in e.invars if not isinstance(v, core.Literal)} | {
        v for v in jaxpr.outvars if not isinstance(v, core.Literal)
    }
    return (
        not isinstance(x, core.Literal)
        and read & {v for e in rest for v in e.outvars} <= {x}
        and outside & made <= {y}
        and x.aval.shape == y.aval.shape
        and x.aval.dtype == y.aval.dtype
        and np.issubdtype(x.aval.dtype, np.floating)
    )
