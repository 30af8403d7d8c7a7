"""The rows of convolutions, pools and normalisations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax import lax

from .losses import over_axis
from .table import aten

Array = Any


def each(x: int | Sequence[int], n: int) -> list[int]:
    """One number for each axis."""
    values = [x] if isinstance(x, int) else list(x)
    return values * n if len(values) == 1 else values


def _batched(x: Array, n: int) -> tuple[Array, bool]:
    """With a batch of one where there is none."""
    return (x[None], True) if x.ndim == n + 1 else (x, False)


def _conv(n: int) -> Any:
    def conv(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
    ) -> Array:
        x, single = _batched(x, n)
        apart = each(dilation, n)
        if padding == "valid":
            padding = 0
        if padding == "same":
            total = [d * (k - 1) for d, k in zip(apart, weight.shape[2:], strict=True)]
            pads = [(t // 2, t - t // 2) for t in total]
        else:
            pads = [(p, p) for p in each(padding, n)]
        z = lax.conv_general_dilated(x, weight, each(stride, n), pads, rhs_dilation=apart, feature_group_count=groups)
        if bias is not None:
            z = z + over_axis(bias, 1, n + 2)
        return z[0] if single else z

    return conv


def _conv_transpose(n: int) -> Any:
    def conv_transpose(
        x: Array,
        weight: Array,
        bias: Array | None = None,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        dilation: Any = 1,
    ) -> Array:
        x, single = _batched(x, n)
        apart = each(dilation, n)
        pads = [
            (d * (k - 1) - p, d * (k - 1) - p + o)
            for d, k, p, o in zip(apart, weight.shape[2:], each(padding, n), each(output_padding, n), strict=True)
        ]
        kernel = jnp.flip(weight, tuple(range(2, n + 2)))
        if groups == 1:
            kernel = jnp.swapaxes(kernel, 0, 1)
        else:  # (in, out / groups) by group to (out, in / groups)
            ins, outs, *window = kernel.shape
            kernel = kernel.reshape(groups, ins // groups, outs, *window)
            kernel = jnp.swapaxes(kernel, 1, 2).reshape(groups * outs, ins // groups, *window)
        z = lax.conv_general_dilated(
            x, kernel, [1] * n, pads, lhs_dilation=each(stride, n), rhs_dilation=apart, feature_group_count=groups
        )
        if bias is not None:
            z = z + over_axis(bias, 1, n + 2)
        return z[0] if single else z

    return conv_transpose


for _n in (1, 2, 3):
    aten(f"conv{_n}d")(_conv(_n))
    aten(f"conv_transpose{_n}d")(_conv_transpose(_n))


# -- pools -------------------------------------------------------------------------------------------------------------


def _windows(
    x: Array, n: int, size: Any, stride: Any, padding: Any, ceil_mode: bool, dilation: Any = 1
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[tuple[int, int], ...], tuple[int, ...]]:
    """Widths, strides, paddings and dilations by axis; ``ceil_mode`` pads after the end, for a window that begins before."""
    lead = x.ndim - n
    width, apart, pads = each(size, n), each(dilation, n), each(padding, n)
    steps = each(stride, n) if stride else width
    both = [(p, p) for p in pads]
    for axis, (length, p, d, w, s) in enumerate(zip(x.shape[lead:], pads, apart, width, steps, strict=True)):
        left = (length + 2 * p - d * (w - 1) - 1) % s
        if ceil_mode and left and length + 2 * p - d * (w - 1) - 1 - left + s < length + p:
            both[axis] = (p, p + s - left)
    one = (1,) * lead
    return (*one, *width), (*one, *steps), (*[(0, 0)] * lead, *both), (*one, *apart)


def _max_pool(n: int, with_indices: bool) -> Any:
    def max_pool(
        x: Array, kernel_size: Any, stride: Any = (), padding: Any = 0, dilation: Any = 1, ceil_mode: bool = False
    ) -> Any:
        width, steps, pads, apart = _windows(x, n, kernel_size, stride, padding, ceil_mode, dilation)
        found = lax.reduce_window(x, -jnp.inf, lax.max, width, steps, pads, window_dilation=apart)
        return (found, None) if with_indices else found

    return max_pool


def _avg_pool(n: int) -> Any:
    def avg_pool(
        x: Array,
        kernel_size: Any,
        stride: Any = (),
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> Array:
        width, steps, pads, _ = _windows(x, n, kernel_size, stride, padding, ceil_mode)
        total = lax.reduce_window(x, 0.0, lax.add, width, steps, pads)
        if divisor_override:
            return total / divisor_override
        if all(a == b for a, b in pads) and (count_include_pad or not any(a for a, _ in pads)):
            return total / math.prod(width)
        counted = jnp.ones(x.shape[x.ndim - n :], x.dtype)
        ends = pads[x.ndim - n :]
        if count_include_pad:  # what ceil_mode adds is never counted
            counted = jnp.pad(counted, [(a, a) for a, _ in ends], constant_values=1)
            ends = tuple((0, b - a) for a, b in ends)
        return total / lax.reduce_window(counted, 0.0, lax.add, width[x.ndim - n :], steps[x.ndim - n :], ends)

    return avg_pool


def _adaptive(n: int, of: Any) -> Any:
    def adaptive(x: Array, output_size: Any) -> Array:
        lead = x.ndim - n
        for axis, wanted in zip(range(lead, x.ndim), each(output_size, n), strict=True):
            length = x.shape[axis]
            if wanted in (None, length):
                continue
            if length % wanted:
                ends = [(m * length // wanted, -(-(m + 1) * length // wanted)) for m in range(wanted)]
                x = jnp.stack([of(lax.slice_in_dim(x, a, b, axis=axis), axis=axis) for a, b in ends], axis=axis)
                continue
            x = x.reshape(*x.shape[:axis], wanted, length // wanted, *x.shape[axis + 1 :])
            x = of(x, axis=axis + 1)
        return x

    return adaptive


def _globally(n: int, of: Any) -> Any:
    """Adaptive pools; to one value an axis they are a mean or a maximum over all of it."""
    general = _adaptive(n, of)

    def pool(x: Array, output_size: Any) -> Array:
        if all(s == 1 for s in each(output_size, n)):
            return of(x, axis=tuple(range(x.ndim - n, x.ndim)), keepdims=True)
        return general(x, output_size)

    return pool


for _n in (1, 2, 3):
    aten(f"max_pool{_n}d")(_max_pool(_n, False))
    aten(f"max_pool{_n}d_with_indices")(_max_pool(_n, True))
    aten(f"avg_pool{_n}d")(_avg_pool(_n))
    aten(f"adaptive_avg_pool{_n}d")(_globally(_n, jnp.mean))


def _adaptive_max(n: int) -> Any:
    pool = _globally(n, jnp.max)
    return lambda x, output_size: (pool(x, output_size), None)


for _n in (1, 2, 3):
    aten(f"adaptive_max_pool{_n}d")(_adaptive_max(_n))


# -- normalisations ----------------------------------------------------------------------------------------------------


def _affine(x: Array, weight: Array | None, bias: Array | None) -> Array:
    if weight is not None:
        x = x * weight
    return x if bias is None else x + bias


@aten("layer_norm")
def layer_norm(
    x: Array,
    normalized_shape: Sequence[int],
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Array:
    over = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    mean = jnp.mean(x, over, keepdims=True)
    var = jnp.mean((x - mean) ** 2, over, keepdims=True)
    normed = (x - mean) * lax.rsqrt(var + eps)
    return _affine(normed, weight, bias)


@aten("rms_norm")
def rms_norm(x: Array, normalized_shape: Sequence[int], weight: Array | None = None, eps: float | None = None) -> Array:
    over = tuple(range(x.ndim - len(normalized_shape), x.ndim))
    eps = float(jnp.finfo(x.dtype).eps) if eps is None else eps
    ms = jnp.mean(x**2, over, keepdims=True)
    return _affine(x * lax.rsqrt(ms + eps), weight, None)


@aten("_weight_norm")
def weight_norm(v: Array, g: Array, dim: int = 0) -> Array:
    over = tuple(n for n in range(v.ndim) if n != dim % v.ndim)
    return v * (g / jnp.sqrt(jnp.sum(v**2, over, keepdims=True)))


@aten("batch_norm")
def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Array:
    """In training mode of the batch's own mean and variance; the running averages are not part of the gradient."""
    if training or running_mean is None or running_var is None:
        over = tuple(n for n in range(x.ndim) if n != 1)
        mean = jnp.mean(x, over, keepdims=True)
        var = jnp.mean((x - mean) ** 2, over, keepdims=True)
    else:
        mean, var = over_axis(running_mean, 1, x.ndim), over_axis(running_var, 1, x.ndim)
    normed = (x - mean) * lax.rsqrt(var + eps)
    return _affine(normed, *(None if p is None else over_axis(p, 1, x.ndim) for p in (weight, bias)))


@aten("instance_norm")
def instance_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running_mean: Array | None,
    running_var: Array | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Array:
    if not use_input_stats:
        return batch_norm(x, weight, bias, running_mean, running_var, False, momentum, eps)
    over = tuple(range(2, x.ndim))
    mean = jnp.mean(x, over, keepdims=True)
    var = jnp.mean((x - mean) ** 2, over, keepdims=True)
    normed = (x - mean) * lax.rsqrt(var + eps)
    return _affine(normed, *(None if p is None else over_axis(p, 1, x.ndim) for p in (weight, bias)))


@aten("group_norm")
def group_norm(
    x: Array,
    num_groups: int,
    weight: Array | None = None,
    bias: Array | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Array:
    grouped = x.reshape(x.shape[0], num_groups, x.shape[1] // num_groups, *x.shape[2:])
    over = tuple(range(2, grouped.ndim))
    mean = jnp.mean(grouped, over, keepdims=True)
    var = jnp.mean((grouped - mean) ** 2, over, keepdims=True)
    normed = ((grouped - mean) * lax.rsqrt(var + eps)).reshape(x.shape)
    return _affine(normed, *(None if p is None else over_axis(p, 1, x.ndim) for p in (weight, bias)))
