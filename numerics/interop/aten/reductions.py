"""The rows of sums, maxima, norms and cumulative sums."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .table import NotCovered, aten

Array = Any


def axes(dim: int | Sequence[int] | None) -> int | tuple[int, ...] | None:
    return dim if dim is None or isinstance(dim, int) else tuple(dim) or None


@aten("sum")
def sum_(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    return jnp.sum(x, axis=axes(dim), keepdims=keepdim)


@aten("mean")
def mean(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    return jnp.mean(x, axis=axes(dim), keepdims=keepdim)


@aten("prod", "prod.dim_int")
def prod(x: Array, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    return jnp.prod(x, axis=axes(dim), keepdims=keepdim)


@aten("amax", "max.default")
def amax(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return jnp.max(x, axis=axes(dim), keepdims=keepdim)


@aten("amin", "min.default")
def amin(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return jnp.min(x, axis=axes(dim), keepdims=keepdim)


@aten("max.dim")
def max_dim(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    return jnp.max(x, axis=dim, keepdims=keepdim), jnp.argmax(x, axis=dim, keepdims=keepdim)


@aten("min.dim")
def min_dim(x: Array, dim: int, keepdim: bool = False) -> tuple[Array, Array]:
    return jnp.min(x, axis=dim, keepdims=keepdim), jnp.argmin(x, axis=dim, keepdims=keepdim)


aten("max.other")(jnp.maximum)
aten("min.other")(jnp.minimum)


@aten("argmax")
def argmax(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    return jnp.argmax(x, axis=dim, keepdims=keepdim)


@aten("argmin")
def argmin(x: Array, dim: int | None = None, keepdim: bool = False) -> Array:
    return jnp.argmin(x, axis=dim, keepdims=keepdim)


@aten("any")
def any_(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return jnp.any(x, axis=axes(dim), keepdims=keepdim)


@aten("all")
def all_(x: Array, dim: Any = None, keepdim: bool = False) -> Array:
    return jnp.all(x, axis=axes(dim), keepdims=keepdim)


@aten("logsumexp", "special_logsumexp")
def logsumexp(x: Array, dim: Any, keepdim: bool = False) -> Array:
    return jax.nn.logsumexp(x, axis=axes(dim), keepdims=keepdim)


@aten("var", "var.correction", "var.dim")
def var(x: Array, dim: Any = None, unbiased: Any = True, keepdim: bool = False, *, correction: Any = None) -> Array:
    away = int(bool(unbiased)) if correction is None else correction
    return jnp.var(x, axis=axes(dim), ddof=away, keepdims=keepdim)


@aten("std", "std.correction", "std.dim")
def std(x: Array, dim: Any = None, unbiased: Any = True, keepdim: bool = False, *, correction: Any = None) -> Array:
    return jnp.sqrt(var(x, dim, unbiased, keepdim, correction=correction))


@aten("norm", "norm.ScalarOpt_dim", "linalg_vector_norm")
def norm(x: Array, ord: float | None = 2, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Array:
    ord = 2 if ord is None else ord
    if ord == 2:
        return jnp.sqrt(jnp.sum(x**2, axis=axes(dim), keepdims=keepdim))
    if ord == 1:
        return jnp.sum(jnp.abs(x), axis=axes(dim), keepdims=keepdim)
    if ord == math.inf:
        return jnp.max(jnp.abs(x), axis=axes(dim), keepdims=keepdim)
    if ord <= 0:
        raise NotCovered(f"a norm of order {ord:g}; accepted: orders above 0, and inf")
    power = int(ord) if ord == int(ord) else ord
    return jnp.sum(jnp.abs(x) ** power, axis=axes(dim), keepdims=keepdim) ** (1 / ord)


@aten("cumsum")
def cumsum(x: Array, dim: int, *, dtype: Any = None) -> Array:
    return jnp.cumsum(x, axis=dim)


@aten("cumprod")
def cumprod(x: Array, dim: int, *, dtype: Any = None) -> Array:
    return jnp.cumprod(x, axis=dim)


@aten("logcumsumexp")
def logcumsumexp(x: Array, dim: int) -> Array:
    return jax.lax.cumlogsumexp(x, axis=dim % x.ndim)
