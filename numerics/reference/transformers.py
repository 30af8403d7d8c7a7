"""Independent forwards of attention and of what stands around it, in ``jax.numpy``; see :mod:`numerics.reference.networks`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from derive.networks import layers as L
from derive.networks.model import Model, Placed

from .activations import ACTIVATIONS
from .registry import Arrays, reference_of


def _rotated(u: Array, axis: int) -> Array:
    """Pairs of the two halves of the last axis as complex numbers, turned by the position along ``axis``."""
    half = u.shape[-1] // 2
    speed = 10000.0 ** (-np.arange(half) / half)
    angle = np.arange(u.shape[axis])[:, None] * speed
    shape = [1] * u.ndim
    shape[axis], shape[-1] = angle.shape
    turned = (u[..., :half] + 1j * u[..., half:]) * np.exp(1j * angle).reshape(shape)
    return jnp.concatenate([turned.real, turned.imag], axis=-1)


@reference_of(L.MultiHeadAttention)
def attention(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    layer: Any = placed.layer
    p = {n.removeprefix(f"{placed.name}_"): a for n, a in arrays.items() if n.startswith(f"{placed.name}_")}
    x, memory = xs[0], xs[1] if len(xs) > 1 else xs[0]
    # of the arrays, not of the layer: a check draws other numbers of heads
    heads, groups = (math.prod(p[f"{role}_kernel"].shape[1:-1]) for role in ("query", "key"))
    width = p["query_kernel"].shape[-1]

    def project(u: Array, role: str, heads: int) -> Array:
        flat = u @ p[f"{role}_kernel"].reshape(u.shape[-1], -1) + (
            p[f"{role}_bias"].reshape(-1) if layer.use_bias else 0
        )
        return flat.reshape(*u.shape[:2], heads, width)

    q = project(x, "query", heads)
    k, v = (jnp.repeat(project(memory, r, groups), heads // groups, axis=2) for r in ("key", "value"))
    if layer.rotary:
        q, k = _rotated(q, 1), _rotated(k, 1)
    s = jnp.einsum("bthk,bqhk->bhtq", q, k) / np.sqrt(width)
    seen = jnp.ones(s.shape[2:], bool)[None, None]
    if layer.causal:
        seen = seen & (np.arange(s.shape[3]) <= np.arange(s.shape[2])[:, None])
    if len(xs) > 2:
        seen = seen & _seen(xs[2], s)
    a = jax.nn.softmax(jnp.where(seen, s, -jnp.inf), axis=-1)
    if layer.dropout:
        a = a * p["weights_mask"].reshape(a.shape) / (1 - layer.dropout)
    o = jnp.einsum("bhtq,bqhk->bthk", a, v).reshape(*x.shape[:2], -1)
    out = o @ p["output_kernel"].reshape(o.shape[-1], -1)
    return out + p["output_bias"] if layer.use_bias else out


def _seen(mask: Array, s: Array) -> Array:
    if mask.ndim == 3:
        return mask[:, None] > 0
    if mask.shape[1] == 1 and jnp.issubdtype(mask.dtype, jnp.integer):
        return jnp.arange(s.shape[3]) < mask[:, :, None, None]
    return mask[:, None, None] > 0


@reference_of(L.RMSNorm)
def rms_norm(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    layer: Any = placed.layer
    (x,) = xs
    mean = jnp.mean(jnp.square(x), axis=-1, keepdims=True)
    return x * jax.lax.rsqrt(mean + layer.epsilon) * arrays[f"{placed.name}_gamma"]


@reference_of(L.GatedDense)
def gated(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    layer: Any = placed.layer
    (x,), name = xs, placed.name
    gate, value = (
        x @ arrays[f"{name}_{role}kernel"] + (arrays[f"{name}_{role}bias"] if layer.use_bias else 0)
        for role in ("gate_", "")
    )
    return ACTIVATIONS[layer.activation.name](gate) * value


@reference_of(L.PositionalEmbedding)
def positions(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    (x,) = xs
    return x + arrays[f"{placed.name}_table"][: x.shape[1]]


@reference_of(L.SinusoidalPositions)
def waves(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    (x,) = xs
    width = x.shape[2]
    angle = np.arange(x.shape[1])[:, None] / 10000 ** (np.arange(0, width, 2) / width)
    return x + np.stack([np.sin(angle), np.cos(angle)], axis=-1).reshape(x.shape[1:])


@reference_of(L.PatchEmbedding)
def patches(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    layer: Any = placed.layer
    (x,), n = xs, layer.size
    cut = x.reshape(len(x), x.shape[1] // n, n, x.shape[2] // n, n, x.shape[3]).swapaxes(2, 3)
    kernel = arrays[f"{placed.name}_kernel"]
    return (
        cut.reshape(len(x), -1, kernel[..., 0].size) @ kernel.reshape(-1, layer.units) + arrays[f"{placed.name}_bias"]
    )


@reference_of(L.ClassToken)
def token(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    (x,) = xs
    first = jnp.broadcast_to(arrays[f"{placed.name}_token"], (len(x), 1, x.shape[2]))
    return jnp.concatenate([first, x], axis=1)
