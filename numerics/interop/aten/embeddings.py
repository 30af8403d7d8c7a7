"""The rows of embeddings: reads of a table by labels, and of bags of them."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .table import NotCovered, aten

Array = Any
SUM, MEAN, MAX = 0, 1, 2  # torch's numbers for mode=


def _table(weight: Array, padding_idx: int | None, scale_grad_by_freq: bool) -> Array:
    if scale_grad_by_freq:
        raise NotCovered("scale_grad_by_freq, whose gradient is not that of what is computed; accepted: False")
    if padding_idx is None or padding_idx < 0:
        return weight
    rows = jnp.arange(weight.shape[0])[:, None]  # torch gives that row no gradient
    return jnp.where(rows == padding_idx, jax.lax.stop_gradient(weight), weight)


@aten("embedding")
def embedding(
    weight: Array, indices: Array, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Array:
    return _table(weight, padding_idx, scale_grad_by_freq)[indices]


@aten("embedding_bag.padding_idx", "embedding_bag")
def embedding_bag(
    weight: Array,
    indices: Array,
    offsets: Array | int,
    scale_grad_by_freq: bool = False,
    mode: int = SUM,
    sparse: bool = False,
    per_sample_weights: Array | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> tuple[Array, None, None, None]:
    """``offsets`` are where bags begin, or the length of all of them; a bag without entries is zero, as in torch."""
    if padding_idx is not None and padding_idx >= 0:
        raise NotCovered("padding_idx of bags; accepted: per_sample_weights=, with zeros for the padding")
    if scale_grad_by_freq:
        _table(weight, None, True)
    if isinstance(offsets, int):
        rows = weight[indices.reshape(-1, offsets)]
        if per_sample_weights is not None:
            rows = rows * per_sample_weights.reshape(-1, offsets)[..., None]
        reduced = rows.sum(axis=1) if mode == SUM else rows.mean(axis=1) if mode == MEAN else rows.max(axis=1)
        return reduced, None, None, None
    if mode == MAX:
        raise NotCovered(
            "the maximum over bags that begin at offsets; accepted: mode='sum', 'mean', or input of two axes"
        )
    rows = weight[indices]
    if per_sample_weights is not None:
        rows = rows * per_sample_weights[:, None]
    places = jnp.arange(indices.shape[0])
    begin = offsets[:-1] if include_last_offset else offsets
    end = offsets[1:] if include_last_offset else jnp.append(offsets[1:], indices.shape[0])
    member = ((begin[:, None] <= places) & (places < end[:, None])).astype(weight.dtype)
    total = member @ rows
    if mode == MEAN:
        total = total / jnp.maximum(jnp.sum(member, axis=1, keepdims=True), 1.0)
    return total, None, None, None


@aten("one_hot")
def one_hot(x: Array, num_classes: int = -1) -> Array:
    if num_classes < 0:
        raise NotCovered("the number of classes depends on values; accepted: num_classes=K")
    return jax.nn.one_hot(x, num_classes, dtype=x.dtype)
