"""The rows of losses, as torch documents them, with their options."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp

from .reductions import norm
from .table import aten

Array = Any
NONE, MEAN, SUM = 0, 1, 2  # torch's numbers for reduction=


def reduced(x: Array, reduction: int) -> Array:
    return jnp.mean(x) if reduction == MEAN else jnp.sum(x) if reduction == SUM else x


def of_class(x: Array, target: Array, outside: bool = False) -> Array:
    """The entries of axis 1 that the targets name, ``x[n, target[n, ...], ...]``; zero for those ``outside`` of it."""
    last = x if x.ndim == 1 else jnp.moveaxis(x, 1, -1)
    if outside:
        return jnp.sum(jnp.where(target[..., None] == jnp.arange(last.shape[-1]), last, 0.0), axis=-1)
    if x.ndim == 1:
        return x[target]
    return jnp.take_along_axis(last, target[..., None], axis=-1)[..., 0]


@aten("cross_entropy_loss")
def cross_entropy(
    input: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = MEAN,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
    *,
    masked: bool = False,
) -> Array:
    """``masked``: whether some labels are ``ignore_index``; the reader of the graph sees them in the example."""
    log_p = jax.nn.log_softmax(input, axis=min(1, input.ndim - 1))
    if jnp.issubdtype(target.dtype, jnp.floating):
        return _of_probabilities(log_p, target, weight, reduction, label_smoothing)
    if not label_smoothing:
        return nll(log_p, target, weight, reduction, ignore_index, masked=masked)
    return _smoothed(log_p, target, weight, reduction, ignore_index, label_smoothing, masked)


def _of_probabilities(log_p: Array, target: Array, weight: Array | None, reduction: int, smoothing: float) -> Array:
    axis = min(1, log_p.ndim - 1)
    classes = log_p.shape[axis]
    if smoothing:
        target = (1 - smoothing) * target + smoothing / classes
    per = target * log_p
    if weight is not None:
        per = per * over_axis(weight, axis, log_p.ndim)
    losses = -jnp.sum(per, axis=axis)
    return jnp.sum(losses) / (losses.size or 1) if reduction == MEAN else reduced(losses, reduction)


def _smoothed(
    log_p: Array, target: Array, weight: Array | None, reduction: int, ignore_index: int, smoothing: float, masked: bool
) -> Array:
    axis = min(1, log_p.ndim - 1)
    outside = masked and ignore_index < 0
    spread = -jnp.sum(log_p if weight is None else log_p * over_axis(weight, axis, log_p.ndim), axis=axis)
    hit = -of_class(log_p, target, outside)
    each = None
    if weight is not None:
        each = of_class(_rows(weight, target), target, outside)
        hit = each * hit
    losses = (1 - smoothing) * hit + smoothing / log_p.shape[axis] * spread
    return _averaged(losses, target != ignore_index if masked else None, each, reduction)


@aten("nll_loss", "nll_loss_nd", "nll_loss2d")
def nll(
    log_p: Array,
    target: Array,
    weight: Array | None = None,
    reduction: int = MEAN,
    ignore_index: int = -100,
    *,
    masked: bool = False,
) -> Array:
    outside = masked and ignore_index < 0
    losses = -of_class(log_p, target, outside)
    each = None
    if weight is not None:
        each = of_class(_rows(weight, target), target, outside)
        losses = each * losses
    return _averaged(losses, target != ignore_index if masked else None, each, reduction)


def _rows(weight: Array, target: Array) -> Array:
    """The weights of the classes along axis 1, for every target."""
    wide = jnp.broadcast_to(weight, (*target.shape, weight.shape[0]))
    return wide if target.ndim == 0 else jnp.moveaxis(wide, -1, 1)


def _averaged(losses: Array, kept: Array | None, each: Array | None, reduction: int) -> Array:
    if kept is not None:
        losses = jnp.where(kept, losses, 0.0)
    if reduction != MEAN:
        return reduced(losses, reduction)
    if each is None:
        return jnp.mean(losses) if kept is None else jnp.sum(losses) / jnp.sum(kept.astype(losses.dtype))
    return jnp.sum(losses) / jnp.sum(each if kept is None else jnp.where(kept, each, 0.0))


def over_axis(x: Array, axis: int, rank: int) -> Array:
    """A vector along an axis."""
    return x.reshape([x.shape[0] if n == axis else 1 for n in range(rank)])


@aten("mse_loss")
def mse(input: Array, target: Array, reduction: int = MEAN) -> Array:
    return reduced((input - target) ** 2, reduction)


@aten("l1_loss")
def l1(input: Array, target: Array, reduction: int = MEAN) -> Array:
    return reduced(jnp.abs(input - target), reduction)


@aten("smooth_l1_loss")
def smooth_l1(input: Array, target: Array, reduction: int = MEAN, beta: float = 1.0) -> Array:
    error = jnp.abs(input - target)
    return reduced(jnp.where(error < beta, error**2 / (2 * beta), error - beta / 2), reduction)


@aten("huber_loss")
def huber(input: Array, target: Array, reduction: int = MEAN, delta: float = 1.0) -> Array:
    error = jnp.abs(input - target)
    return reduced(jnp.where(error <= delta, error**2 / 2, delta * (error - delta / 2)), reduction)


@aten("binary_cross_entropy")
def binary_cross_entropy(input: Array, target: Array, weight: Array | None = None, reduction: int = MEAN) -> Array:
    losses = -(target * jnp.log(input) + (1 - target) * jnp.log(1 - input))
    return reduced(losses if weight is None else weight * losses, reduction)


@aten("binary_cross_entropy_with_logits")
def binary_cross_entropy_with_logits(
    input: Array, target: Array, weight: Array | None = None, pos_weight: Array | None = None, reduction: int = MEAN
) -> Array:
    if pos_weight is None:
        losses = jnp.logaddexp(input, 0.0) - target * input
    else:
        losses = (1 - target) * input + (1 + (pos_weight - 1) * target) * jnp.logaddexp(-input, 0.0)
    return reduced(losses if weight is None else weight * losses, reduction)


@aten("soft_margin_loss")
def soft_margin(input: Array, target: Array, reduction: int = MEAN) -> Array:
    return reduced(jnp.logaddexp(-target * input, 0.0), reduction)


@aten("kl_div")
def kl_div(input: Array, target: Array, reduction: int = MEAN, *, log_target: bool = False) -> Array:
    if log_target:
        return reduced(jnp.exp(target) * (target - input), reduction)
    return reduced(jnp.where(target > 0, target * jnp.log(target), 0.0) - target * input, reduction)


@aten("poisson_nll_loss")
def poisson_nll(input: Array, target: Array, log_input: bool, full: bool, eps: float, reduction: int) -> Array:
    losses = jnp.exp(input) - target * input if log_input else input - target * jnp.log(input + eps)
    if full:  # Stirling's approximation of log(target!)
        stirling = target * jnp.log(target) - target + jnp.log(2 * math.pi * target) / 2
        losses = losses + jnp.where(target > 1, stirling, 0.0)
    return reduced(losses, reduction)


@aten("hinge_embedding_loss")
def hinge_embedding(input: Array, target: Array, margin: float = 1.0, reduction: int = MEAN) -> Array:
    return reduced(
        jnp.where(target == 1, input, 0.0) + jnp.where(target == -1, jax.nn.relu(margin - input), 0.0), reduction
    )


@aten("margin_ranking_loss")
def margin_ranking(a: Array, b: Array, target: Array, margin: float = 0.0, reduction: int = MEAN) -> Array:
    return reduced(jax.nn.relu(-target * (a - b) + margin), reduction)


@aten("cosine_similarity")
def cosine_similarity(x1: Array, x2: Array, dim: int = 1, eps: float = 1e-8) -> Array:
    n1 = jnp.maximum(jnp.sqrt(jnp.sum(x1**2, axis=dim)), eps)
    n2 = jnp.maximum(jnp.sqrt(jnp.sum(x2**2, axis=dim)), eps)
    return jnp.sum(x1 * x2, axis=dim) / (n1 * n2)


@aten("cosine_embedding_loss")
def cosine_embedding(x1: Array, x2: Array, target: Array, margin: float = 0.0, reduction: int = MEAN) -> Array:
    similarity = cosine_similarity(x1, x2, -1)
    losses = jnp.where(target == 1, 1 - similarity, jax.nn.relu(similarity - margin))
    return reduced(losses, reduction)


def _distance(a: Array, b: Array, p: float, eps: float) -> Array:
    return norm(a - b + eps, p, -1)


@aten("pairwise_distance")
def pairwise_distance(a: Array, b: Array, p: float = 2, eps: float = 1e-6, keepdim: bool = False) -> Array:
    found = _distance(a, b, p, eps)
    return found[..., None] if keepdim else found


@aten("triplet_margin_loss")
def triplet_margin(
    anchor: Array,
    positive: Array,
    negative: Array,
    margin: float = 1.0,
    p: float = 2,
    eps: float = 1e-6,
    swap: bool = False,
    reduction: int = MEAN,
) -> Array:
    near, far = _distance(anchor, positive, p, eps), _distance(anchor, negative, p, eps)
    if swap:
        far = jnp.minimum(far, _distance(positive, negative, p, eps))
    return reduced(jax.nn.relu(margin + near - far), reduction)


@aten("multi_margin_loss")
def multi_margin(
    input: Array, target: Array, p: float = 1, margin: float = 1, weight: Array | None = None, reduction: int = MEAN
) -> Array:
    hit = of_class(input, target)[..., None]
    others = target[..., None] != jnp.arange(input.shape[-1])
    each = jax.nn.relu(margin - hit + input) ** int(p)
    if weight is not None:
        each = weight[target][..., None] * each
    return reduced(jnp.sum(jnp.where(others, each, 0.0), axis=-1) / input.shape[-1], reduction)


@aten("multilabel_margin_loss")
def multilabel_margin(input: Array, target: Array, reduction: int = MEAN) -> Array:
    """The classes of a row are those before its first -1."""
    classes = jnp.arange(input.shape[-1])
    ended = (target[..., None, :] < 0) & (classes <= classes[:, None])  # over places, then those up to them
    named = ~jnp.any(ended, axis=-1)
    is_hit = (target[..., None] == classes) & named[..., None]  # over places, then classes
    hit = jnp.sum(jnp.where(is_hit, input[..., None, :], 0.0), axis=-1)
    other = ~jnp.any(is_hit, axis=-2)
    each = jax.nn.relu(1 - (hit[..., None] - input[..., None, :]))
    losses = jnp.sum(jnp.where(named[..., None] & other[..., None, :], each, 0.0), axis=(-2, -1)) / input.shape[-1]
    return reduced(losses, reduction)
