"""The rows of operations that move values about and make them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .table import NotCovered, aten

Array = Any


@aten("clone", "contiguous", "alias", "lift_fresh_copy", "lift_fresh", "positive")
def same(x: Array, *, memory_format: Any = None) -> Array:
    return x


@aten("view", "reshape", "_unsafe_view")
def view(x: Array, size: Sequence[int]) -> Array:
    return x.reshape(size)


@aten("view_as", "reshape_as")
def view_as(x: Array, other: Array) -> Array:
    return x.reshape(other.shape)


@aten("flatten")
def flatten(x: Array, start_dim: int = 0, end_dim: int = -1) -> Array:
    if x.ndim == 0:
        return x.reshape(1)
    a, b = start_dim % x.ndim, end_dim % x.ndim
    return x.reshape(*x.shape[:a], math.prod(x.shape[a : b + 1]), *x.shape[b + 1 :])


@aten("unflatten")
def unflatten(x: Array, dim: int, sizes: Sequence[int]) -> Array:
    a = dim % x.ndim
    return x.reshape(*x.shape[:a], *sizes, *x.shape[a + 1 :])


@aten("permute")
def permute(x: Array, dims: Sequence[int]) -> Array:
    return jnp.transpose(x, dims)


aten("transpose", "swapaxes", "swapdims")(jnp.swapaxes)
aten("movedim", "moveaxis")(jnp.moveaxis)


@aten("t", "numpy_T", "mT", "matrix_H", "adjoint")
def t(x: Array) -> Array:
    return x if x.ndim < 2 else jnp.swapaxes(x, -2, -1)


aten("unsqueeze")(jnp.expand_dims)


@aten("squeeze")
def squeeze(x: Array, dim: int | Sequence[int] | None = None) -> Array:
    dims = range(x.ndim) if dim is None else [dim] if isinstance(dim, int) else dim
    return jnp.squeeze(x, tuple(d % x.ndim for d in dims if x.shape[d] == 1))


@aten("expand")
def expand(x: Array, size: Sequence[int], *, implicit: bool = False) -> Array:
    new = len(size) - x.ndim
    return jnp.broadcast_to(x, [x.shape[n - new] if s == -1 else s for n, s in enumerate(size)])


@aten("expand_as")
def expand_as(x: Array, other: Array) -> Array:
    return jnp.broadcast_to(x, other.shape)


@aten("broadcast_tensors")
def broadcast_tensors(tensors: Sequence[Array]) -> list[Array]:
    return list(jnp.broadcast_arrays(*tensors))


aten("repeat", "tile")(jnp.tile)


@aten("repeat_interleave.self_int")
def repeat_interleave(x: Array, repeats: int, dim: int | None = None, *, output_size: Any = None) -> Array:
    if dim is None:
        x, dim = x.reshape(-1), 0
    dim = dim % x.ndim
    wide = jnp.broadcast_to(jnp.expand_dims(x, dim + 1), (*x.shape[: dim + 1], repeats, *x.shape[dim + 1 :]))
    return wide.reshape(*x.shape[:dim], x.shape[dim] * repeats, *x.shape[dim + 1 :])


@aten("cat", "concat", "concatenate")
def cat(tensors: Sequence[Array], dim: int = 0) -> Array:
    return jnp.concatenate(tensors, axis=dim)


@aten("stack")
def stack(tensors: Sequence[Array], dim: int = 0) -> Array:
    return jnp.stack(tensors, axis=dim)


@aten("slice")
def slice_(x: Array, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Array:
    at: list[Any] = [slice(None)] * x.ndim
    at[dim] = slice(start, None if end is not None and end >= x.shape[dim] else end, step)
    return x[tuple(at)]


@aten("narrow")
def narrow(x: Array, dim: int, start: int, length: int) -> Array:
    return slice_(x, dim, start, start + length)


@aten("select")
def select(x: Array, dim: int, index: int) -> Array:
    return jax.lax.index_in_dim(x, index, dim % x.ndim, keepdims=False)


@aten("split", "split_with_sizes", "unsafe_split")
def split(x: Array, split_size: int | Sequence[int], dim: int = 0) -> list[Array]:
    total = x.shape[dim]
    if isinstance(split_size, int):
        split_size = [min(split_size, total - n) for n in range(0, total, split_size)]
    stops = [sum(split_size[: n + 1]) for n in range(len(split_size) - 1)]
    return list(jnp.split(x, stops, axis=dim))


@aten("chunk", "unsafe_chunk")
def chunk(x: Array, chunks: int, dim: int = 0) -> list[Array]:
    if x.shape[dim] % chunks == 0:
        return list(jnp.split(x, chunks, axis=dim))
    return split(x, -(-x.shape[dim] // chunks), dim)


@aten("unbind")
def unbind(x: Array, dim: int = 0) -> list[Array]:
    return [select(x, dim, n) for n in range(x.shape[dim])]


@aten("flip")
def flip(x: Array, dims: Sequence[int]) -> Array:
    return jnp.flip(x, tuple(dims))


@aten("index")
def index(x: Array, indices: Sequence[Array | None]) -> Array:
    if any(i is not None and i.dtype == bool for i in indices):
        raise NotCovered("the shape of a read by a mask depends on values; accepted: where(mask, a, b)")
    return x[tuple(slice(None) if i is None else i for i in indices)]


@aten("index_select")
def index_select(x: Array, dim: int, index: Array) -> Array:
    return jnp.take(x, index, axis=dim)


@aten("gather")
def gather(x: Array, dim: int, index: Array, *, sparse_grad: bool = False) -> Array:
    return jnp.take_along_axis(x, index, axis=dim)


@aten("tril")
def tril(x: Array, diagonal: int = 0) -> Array:
    return jnp.tril(x, diagonal)


@aten("triu")
def triu(x: Array, diagonal: int = 0) -> Array:
    return jnp.triu(x, diagonal)


@aten("diagonal")
def diagonal(x: Array, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Array:
    if offset or x.shape[dim1] != x.shape[dim2]:
        raise NotCovered("a diagonal beside the main one, or of a matrix that is not square")
    n = jnp.arange(x.shape[dim1])
    moved = jnp.moveaxis(x, (dim1, dim2), (-2, -1))
    return moved[..., n, n]


# -- made of nothing ---------------------------------------------------------------------------------------------------


@aten("zeros")
def zeros(size: Sequence[int], *, dtype: Any) -> Array:
    return jnp.zeros(size, dtype)


@aten("ones")
def ones(size: Sequence[int], *, dtype: Any) -> Array:
    return jnp.ones(size, dtype)


@aten("full")
def full(size: Sequence[int], fill_value: float, *, dtype: Any) -> Array:
    return jnp.full(size, fill_value, dtype)


@aten("zeros_like")
def zeros_like(x: Array, *, dtype: Any) -> Array:
    return jnp.zeros(x.shape, dtype)


@aten("ones_like")
def ones_like(x: Array, *, dtype: Any) -> Array:
    return jnp.ones(x.shape, dtype)


@aten("full_like")
def full_like(x: Array, fill_value: float, *, dtype: Any) -> Array:
    return jnp.full(x.shape, fill_value, dtype)


@aten("new_zeros")
def new_zeros(x: Array, size: Sequence[int], *, dtype: Any) -> Array:
    return jnp.zeros(size, dtype)


@aten("new_ones")
def new_ones(x: Array, size: Sequence[int], *, dtype: Any) -> Array:
    return jnp.ones(size, dtype)


@aten("new_full")
def new_full(x: Array, size: Sequence[int], fill_value: float, *, dtype: Any) -> Array:
    return jnp.full(size, fill_value, dtype)


@aten("to", "_to_copy", "type_as")
def converted(x: Array, *_: Any, dtype: Any) -> Array:
    return x.astype(dtype)


@aten("arange")
def arange(end: float, *, dtype: Any) -> Array:
    return jnp.arange(end, dtype=dtype)


@aten("arange.start")
def arange_start(start: float, end: float, *, dtype: Any) -> Array:
    return jnp.arange(end - start, dtype=dtype) + start


@aten("arange.start_step")
def arange_step(start: float, end: float, step: float = 1, *, dtype: Any) -> Array:
    return jnp.arange(math.ceil((end - start) / step), dtype=dtype) * step + start


@aten("scalar_tensor")
def scalar_tensor(s: float, *, dtype: Any) -> Array:
    return jnp.asarray(s, dtype)
