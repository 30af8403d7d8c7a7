"""A program for one part of an axis, such as the batch of one device: its equations divide by the size of the whole.

    loss = sum_b l[b] / B        of 4 parts, each with its own b:        sum_b l[b] / (4 B)

What a mean over the batch returns then adds up over the parts (``lax.psum``).  Not every program does: a batch normalization
needs the mean of the whole batch.  So the equations are evaluated at small sizes, whole and in parts, and compared.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from derive.derivation.derivation import Derivation
from derive.language.errors import DeriveError
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.program.program import Program
from numerics.emit.request import Request
from numerics.errors import NumericsError, SizeError
from numerics.reference.programs import evaluate
from numerics.reference.sampling import DOMAINS, draw_arrays, draw_sizes

from .first_check import CLOSE, SIZES


def in_parts(request: Request, parts: Mapping[str, int]) -> Request:
    """The request for the program of one part.

    Raises
    ------
    SizeError
        For a size that is none, or that no input has as an axis; for a number of parts that is none.
    NumericsError
        For a program whose results do not add up over the parts, with the first of them.
    """
    d, wanted = request.derivation, {}
    for name, count in parts.items():
        size = name if isinstance(name, Size) else Size(str(name))
        if not any(size in t.axes for t in d.program.inputs):
            known = sorted({a.name for t in d.program.inputs for a in t.axes if isinstance(a, Size)})
            raise SizeError(
                f"nx.compile: parts of {size.name!r}, which no input has as an axis; accepted are {', '.join(known)}"
            )
        if isinstance(count, bool) or not hasattr(count, "__index__") or int(count) < 1:
            raise SizeError(f"nx.compile: parts={{{size.name!r}: {count!r}}}: give a whole number from 1")
        wanted[size] = int(count)
    one = replace(d, program=_of_whole(d.program, wanted))
    for size, count in wanted.items():
        _check(d, size, count)
    return replace(request, written=one)


def _of_whole(program: Program, parts: Mapping[Size, int]) -> Program:
    """The same equations, with the sizes in their coefficients those of the whole."""
    whole = {s: s * n for s, n in parts.items()}
    terms = {e: tuple(replace(t, coef=t.coef.xreplace(whole)) for t in e.terms) for e in program.equations}
    return replace(program, equations=tuple(replace(e, terms=terms[e]) for e in program.equations))


def _check(d: Derivation, size: Size, count: int) -> None:
    """Refuse a program whose results at the whole are not the sums, or along the axis the rows, of its parts'."""
    count = min(count, 4)  # that parts add up does not depend on how many they are
    local = 2
    program = Program(d.program.inputs, d.program.equations)
    try:
        sizes = draw_sizes(program, {size: local * count}, pool=SIZES)
    except DeriveError as error:
        raise NumericsError(
            f"nx.compile: parts of {size.name}: no sizes were found to compare them at: {error}"
        ) from error
    assert sizes is not None  # None stands for equal sizes only
    arrays, whole = _values(d, program, sizes)
    one, small = _of_whole(d.program, {size: count}), {**sizes, size: local}
    with np.errstate(all="ignore"):
        found = [evaluate(one, _part(d, arrays, size, n, local), small, np) for n in range(count)]
    for t in _returned(d):
        axes = [n for n, a in enumerate(t.axes) if a == size]
        each = [np.asarray(v[t.name]) for v in found]
        made = np.concatenate(each, axis=axes[0]) if len(axes) == 1 else np.sum(each, axis=0)
        expected = np.asarray(whole[t.name])
        if made.shape != expected.shape or not _close(made, expected):
            raise NumericsError(
                f"nx.compile: parts of {size.name}: {t.name} of {count} parts of {local} is not that of all {local * count}: "
                f"something in\n  {d.program.defining(t)}\nreads the whole of {size.name}, such as a mean that is not the "
                f"loss's own; accepted is jax.jit with shardings, where XLA sees the whole"
            )


def _values(d: Derivation, program: Program, sizes: dict[Size, int]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Inputs at which every result is finite, and all values there."""
    rng = np.random.default_rng(0)
    floats = [t.name for t in program.inputs if t.dtype == "float"]
    for domain in DOMAINS:
        arrays = draw_arrays(program, sizes, dict.fromkeys(floats, domain), rng, d.wrt)
        with np.errstate(all="ignore"):
            values = evaluate(program, arrays, sizes, np)
        if all(np.isfinite(values[t.name]).all() for t in _returned(d)):
            return arrays, values
    raise NumericsError(
        "nx.compile: parts: no inputs were found at which the results are finite, so nothing was compared"
    )


def _part(d: Derivation, arrays: Mapping[str, Any], size: Size, n: int, length: int) -> dict[str, Any]:
    def cut(t: Tensor) -> Any:
        places = tuple(slice(n * length, (n + 1) * length) if a == size else slice(None) for a in t.axes)
        return arrays[t.name][places] if places else arrays[t.name]

    return {t.name: cut(t) for t in d.program.inputs}


def _returned(d: Derivation) -> list[Tensor]:
    return [t for _, v in d.results for t in ((v,) if isinstance(v, Tensor) else v.values())]


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return bool(np.isfinite(a).all() and np.abs(a - b).max(initial=0.0) <= CLOSE * np.abs(b).max(initial=0.0) + 1e-300)
