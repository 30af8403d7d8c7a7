"""What a function draws from its random keys: cut out, run as it is, and an input of role *random*."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from sympy import Expr

from .flat import Block, Literal, Op, Var

SEEDS = ("random_seed", "random_wrap")


@dataclass(frozen=True)
class Draws:
    """The values that depend on keys alone and that the rest reads, with the operation that makes each."""

    values: tuple[tuple[Var, Op, int], ...]
    run: Callable[[Sequence[Any]], list[Any]]


def is_key(dtype: Any) -> bool:
    """Whether an array holds random keys: JAX's key types, or the pairs of uint32 of old."""
    return dtype is not None and (
        jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key) or jax.dtypes.issubdtype(dtype, np.uint32)
    )


def cut(block: Block) -> Draws:
    """Take the draws out of a block: what they were made by is removed, and they are read as inputs."""
    drawn: set[Var] = {v for v in (*block.ins, *block.consts) if is_key(v.dtype)}
    free: set[Var] = set()  # what depends on nothing
    made: list[Op] = []
    for op in block.ops:
        known = [v for v in op.ins if not isinstance(v, Literal)]
        if any(v not in drawn and v not in free for v in known):
            continue
        if op.name in SEEDS or any(v in drawn for v in known):
            drawn |= set(op.outs)
            made.append(op)
        else:
            free |= set(op.outs)
    inner = {id(op) for op in made}
    kept = [op for op in block.ops if id(op) not in inner]
    read = {v for op in kept for v in op.ins} | set(block.outs)
    values = tuple((v, op, n) for op in made for n, v in enumerate(op.outs) if v in read and not is_key(v.dtype))
    makers = {v: op for op in block.ops for v in op.outs}
    block.ops[:] = kept
    return Draws(values, lambda arrays: _run(block, makers, [v for v, _, _ in values], arrays))


def _run(block: Block, makers: dict[Var, Op], wanted: Sequence[Var], arrays: Sequence[Any]) -> list[Any]:
    found: dict[Var, Any] = {**dict(zip(block.ins, arrays, strict=True)), **block.consts}

    def value(v: Var) -> Any:
        if isinstance(v, Literal):
            return _number(v)
        if v not in found:
            eqn = makers[v].eqn
            ins = [value(x) for x in makers[v].ins]
            outs = eqn.primitive.bind(*ins, **eqn.primitive.get_bind_params(eqn.params))
            found.update(zip(makers[v].outs, outs if eqn.primitive.multiple_results else [outs], strict=True))
        return found[v]

    return [value(v) for v in wanted]


def _number(v: Literal) -> Any:
    if isinstance(v.value, Expr):
        return np.asarray(float(v.value), v.dtype)
    return v.value
