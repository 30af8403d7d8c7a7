"""The rows of operations that read and write at places: rolls, diagonals, sliding windows, sums by index, searches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp

from .table import NotCovered, aten

Array = Any


@aten("roll")
def roll(x: Array, shifts: Sequence[int], dims: Sequence[int] = ()) -> Array:
    return jnp.roll(x, tuple(shifts), tuple(dims)) if dims else jnp.roll(x, tuple(shifts)[0])


@aten("rot90")
def rot90(x: Array, k: int = 1, dims: Sequence[int] = (0, 1)) -> Array:
    return jnp.rot90(x, k, (dims[0], dims[1]))


@aten("diag")
def diag(x: Array, diagonal: int = 0) -> Array:
    if diagonal or x.ndim == 2 and x.shape[0] != x.shape[1]:
        raise NotCovered(
            "a diagonal beside the main one, or of a matrix that is not square; accepted: the main diagonal"
        )
    return jnp.diag(x)


@aten("diag_embed")
def diag_embed(x: Array, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Array:
    if offset or (dim1, dim2) != (-2, -1):
        raise NotCovered("a diagonal beside the main one of the last two axes; accepted: torch.diag_embed(x)")
    return x[..., None] * jnp.eye(x.shape[-1], dtype=x.dtype)


@aten("trace")
def trace(x: Array) -> Array:
    return jnp.trace(x)


@aten("unfold")
def unfold(x: Array, dimension: int, size: int, step: int) -> Array:
    dim = dimension % x.ndim
    starts = jnp.arange((x.shape[dim] - size) // step + 1) * step
    windows = jnp.take(x, starts[:, None] + jnp.arange(size), axis=dim)
    return jnp.moveaxis(windows, dim + 1, -1)


@aten("diff")
def diff(x: Array, n: int = 1, dim: int = -1, prepend: Array | None = None, append: Array | None = None) -> Array:
    return jnp.diff(x, n, dim, prepend, append)


@aten("trapezoid.dx")
def trapezoid(y: Array, *, dx: float = 1, dim: int = -1) -> Array:
    return jnp.trapezoid(y, dx=dx, axis=dim)


@aten("trapezoid.x")
def trapezoid_at(y: Array, x: Array, *, dim: int = -1) -> Array:
    return jnp.trapezoid(y, x, axis=dim)


@aten("take_along_dim")
def take_along_dim(x: Array, indices: Array, dim: int | None = None) -> Array:
    return jnp.take_along_axis(x, indices, axis=dim)


@aten("index_add")
def index_add(x: Array, dim: int, index: Array, source: Array, *, alpha: float = 1) -> Array:
    at = (*[slice(None)] * (dim % x.ndim), index)
    return x.at[at].add(source if alpha == 1 else alpha * source)


@aten("scatter_add")
def scatter_add(x: Array, dim: int, index: Array, src: Array) -> Array:
    dim = dim % x.ndim
    shape = index.shape
    src = src[tuple(slice(0, n) for n in shape)]
    places = [jnp.arange(n).reshape([-1 if k == axis else 1 for k in range(x.ndim)]) for axis, n in enumerate(shape)]
    places[dim] = index
    return x.at[tuple(places)].add(src)


@aten("index_put")
def index_put(x: Array, indices: Sequence[Array | None], values: Array, accumulate: bool = False) -> Array:
    if any(i is not None and i.dtype == bool for i in indices):
        raise NotCovered("the places of a mask depend on values; accepted: torch.where(mask, a, b)")
    at = x.at[tuple(slice(None) if i is None else i for i in indices)]
    return at.add(values) if accumulate else at.set(values)


@aten("searchsorted.Tensor")
def searchsorted(
    boundaries: Array,
    x: Array,
    *,
    out_int32: bool = False,
    right: bool = False,
    side: str | None = None,
    sorter: Array | None = None,
) -> Array:
    if boundaries.ndim != 1 or sorter is not None:
        raise NotCovered("a search among rows of several, or by a sorter; accepted: one sorted vector")
    return jnp.searchsorted(boundaries, x, side="right" if right or side == "right" else "left")


@aten("bucketize.Tensor")
def bucketize(x: Array, boundaries: Array, *, out_int32: bool = False, right: bool = False) -> Array:
    return jnp.searchsorted(boundaries, x, side="right" if right else "left")


# -- made of nothing ---------------------------------------------------------------------------------------------------


@aten("eye")
def eye(n: int, m: int | None = None, *, dtype: Any) -> Array:
    return jnp.eye(n, m, dtype=dtype)


@aten("linspace")
def linspace(start: float, end: float, steps: int, *, dtype: Any) -> Array:
    return jnp.linspace(start, end, steps, dtype=dtype)
