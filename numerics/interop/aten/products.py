"""The rows of products: linear layers, matrices, attention."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp

from .table import NotCovered, aten

Array = Any


@aten("linear")
def linear(x: Array, weight: Array, bias: Array | None = None) -> Array:
    return x @ weight.T if bias is None else x @ weight.T + bias


@aten("bilinear")
def bilinear(x1: Array, x2: Array, weight: Array, bias: Array | None = None) -> Array:
    found = jnp.einsum("...i,kij,...j->...k", x1, weight, x2)
    return found if bias is None else found + bias


aten("matmul", "mm", "bmm", "mv", "linalg_matmul")(jnp.matmul)
aten("dot", "vdot")(jnp.dot)
aten("outer", "ger")(jnp.outer)
aten("inverse", "linalg_inv")(jnp.linalg.inv)
aten("linalg_det", "det")(jnp.linalg.det)


@aten("linalg_solve")
def solve(a: Array, b: Array, *, left: bool = True) -> Array:
    if not left:
        raise NotCovered("left=False; accepted: solve(A, b)")
    return jnp.linalg.solve(a, b)


@aten("linalg_slogdet", "slogdet")
def slogdet(a: Array) -> tuple[Array, Array]:
    sign, logdet = jnp.linalg.slogdet(a)
    return sign, logdet


@aten("logdet")
def logdet(a: Array) -> Array:
    return jnp.log(jnp.linalg.det(a))


@aten("addmm", "addmv", "baddbmm")
def addmm(x: Array, a: Array, b: Array, *, beta: float = 1, alpha: float = 1) -> Array:
    z = a @ b
    return (x if beta == 1 else beta * x) + (z if alpha == 1 else alpha * z)


@aten("einsum")
def einsum(equation: str, operands: Sequence[Array], *, path: Any = None) -> Array:
    return jnp.einsum(equation, *operands)


@aten("tensordot")
def tensordot(a: Array, b: Array, dims_self: Sequence[int], dims_other: Sequence[int]) -> Array:
    return jnp.tensordot(a, b, (tuple(dims_self), tuple(dims_other)))


@aten("scaled_dot_product_attention")
def attention(
    q: Array,
    k: Array,
    v: Array,
    attn_mask: Array | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Array:
    if dropout_p > 0:
        raise NotCovered(f"dropout_p={dropout_p:g} draws noise; accepted: module.eval(), or dropout_p=0")
    if enable_gqa and q.shape[-3] != k.shape[-3]:
        raise NotCovered("enable_gqa with fewer heads of keys; accepted: k.repeat_interleave(n, -3)")
    factor = 1 / math.sqrt(q.shape[-1]) if scale is None else scale
    scores = q @ jnp.swapaxes(k, -2, -1) * factor
    if is_causal:
        t, s = scores.shape[-2:]
        scores = jnp.where(jnp.arange(t)[:, None] >= jnp.arange(s), scores, -jnp.inf)
    if attn_mask is not None:
        scores = jnp.where(attn_mask, scores, -jnp.inf) if attn_mask.dtype == bool else scores + attn_mask
    weights = jax.nn.softmax(scores, axis=-1)
    heads = weights @ v
    return heads  # noqa: RET504  its name is that of the definition
