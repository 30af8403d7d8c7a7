"""The rows of matrices: their products, factors and norms, and distances between rows."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .table import NotCovered, aten

Array = Any

aten("kron")(jnp.kron)
aten("inner")(jnp.inner)


@aten("linalg_multi_dot", "chain_matmul")
def multi_dot(matrices: Sequence[Array]) -> Array:
    return functools.reduce(jnp.matmul, matrices)


@aten("linalg_matrix_power", "matrix_power")
def matrix_power(x: Array, n: int) -> Array:
    return jnp.linalg.matrix_power(x, n)


@aten("linalg_vecdot")
def vecdot(x: Array, y: Array, *, dim: int = -1) -> Array:
    return jnp.sum(x * y, axis=dim)


@aten("cross", "linalg_cross")
def cross(x: Array, other: Array, dim: int | None = -1) -> Array:
    return jnp.cross(x, other, axis=-1 if dim is None else dim)


@aten("addr")
def addr(x: Array, a: Array, b: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    return beta * x + alpha * jnp.outer(a, b)


@aten("linalg_cholesky", "cholesky")
def cholesky(x: Array, upper: bool = False) -> Array:
    factor = jnp.linalg.cholesky(x)
    return jnp.swapaxes(factor, -2, -1) if upper else factor


@aten("linalg_solve_triangular")
def solve_triangular(a: Array, b: Array, *, upper: bool, left: bool = True, unitriangular: bool = False) -> Array:
    if not left:
        raise NotCovered("left=False; accepted: solve_triangular(A, B, upper=...)")
    return jax.scipy.linalg.solve_triangular(a, b, lower=not upper, unit_diagonal=unitriangular)


@aten("cholesky_solve")
def cholesky_solve(b: Array, factor: Array, upper: bool = False) -> Array:
    return jax.scipy.linalg.cho_solve((factor, not upper), b)


@aten("cdist")
def cdist(x1: Array, x2: Array, p: float = 2.0, compute_mode: int | None = None) -> Array:
    apart = x1[..., :, None, :] - x2[..., None, :, :]
    if p == 1:
        return jnp.sum(jnp.abs(apart), -1)
    if p == 2:
        return jnp.sqrt(jnp.sum(apart**2, -1))
    raise NotCovered(f"the distance of order p={p:g}; accepted: 1 and 2")


@aten("dist")
def dist(x: Array, other: Array, p: float = 2) -> Array:
    if p not in (1, 2):
        raise NotCovered(f"the distance of order p={p:g}; accepted: 1 and 2")
    apart = x - other
    return jnp.sum(jnp.abs(apart)) if p == 1 else jnp.sqrt(jnp.sum(apart**2))


@aten("frobenius_norm")
def frobenius_norm(x: Array, dim: Sequence[int] = (), keepdim: bool = False) -> Array:
    return jnp.sqrt(jnp.sum(x**2, axis=tuple(dim) or None, keepdims=keepdim))


@aten("linalg_norm")
def norm(x: Array, ord: float | None = None, dim: Sequence[int] | None = None, keepdim: bool = False) -> Array:
    if ord not in (None, 2) or ord == 2 and (x.ndim if dim is None else len(dim)) > 1:
        raise NotCovered(f"a norm of ord={ord}; accepted: the Frobenius norm, torch.linalg.vector_norm")
    return frobenius_norm(x, () if dim is None else dim, keepdim)
