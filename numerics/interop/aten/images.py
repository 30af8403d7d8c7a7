"""The rows of operations on the axes of images: padding, resizing, patches, pixels to channels."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from .shapes import repeat_interleave
from .table import NotCovered, aten

Array = Any
Taps = list[tuple[int, float]]  # which entries of an axis, with which weights


# -- padding -----------------------------------------------------------------------------------------------------------


@aten("pad", "constant_pad_nd")
def pad(x: Array, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Array:
    widths = list(zip(pad[::2], pad[1::2], strict=True))
    lead = x.ndim - len(widths)
    if mode == "constant":
        every = [(0, 0, 0)] * lead + [(a, b, 0) for a, b in widths[::-1]]
        return lax.pad(x, jnp.asarray(value or 0, x.dtype), every)
    for n, (before, after) in enumerate(widths):
        x = _continued(x, x.ndim - 1 - n, before, after, mode)
    return x


def _continued(x: Array, axis: int, before: int, after: int, mode: str) -> Array:
    """An axis made longer by entries of its own."""
    if before < 0 or after < 0:
        raise NotCovered(f"a negative width of padding of mode {mode!r}; accepted: a slice, as x[..., 1:]")
    length = x.shape[axis]

    def part(a: int, b: int) -> Array:
        return lax.slice_in_dim(x, a, b, axis=axis)

    parts = [x]
    if mode == "reflect":
        first, last = jnp.flip(part(1, 1 + before), axis), jnp.flip(part(length - 1 - after, length - 1), axis)
    elif mode == "circular":
        first, last = part(length - before, length), part(0, after)
    elif mode == "replicate":
        first, last = (
            repeat_interleave(part(0, 1), before, axis),
            repeat_interleave(part(length - 1, length), after, axis),
        )
    else:
        raise NotCovered(f"padding of mode {mode!r}; accepted: 'constant', 'reflect', 'replicate', 'circular'")
    parts = [*([first] if before else []), x, *([last] if after else [])]
    return jnp.concatenate(parts, axis=axis) if len(parts) > 1 else x


# -- resizing ----------------------------------------------------------------------------------------------------------


@aten("upsample_nearest1d.vec", "upsample_nearest2d.vec", "upsample_nearest3d.vec")
def upsample_nearest(x: Array, output_size: Sequence[int] | None, scale_factors: Sequence[float] | None) -> Array:
    return _resized(x, "nearest", output_size, False, scale_factors)


@aten("_upsample_nearest_exact1d.vec", "_upsample_nearest_exact2d.vec", "_upsample_nearest_exact3d.vec")
def upsample_nearest_exact(x: Array, output_size: Sequence[int] | None, scale_factors: Sequence[float] | None) -> Array:
    return _resized(x, "exact", output_size, False, scale_factors)


def _between(mode: str) -> Any:
    return lambda x, output_size, align_corners, scale_factors: _resized(
        x, mode, output_size, align_corners, scale_factors
    )


aten("upsample_linear1d.vec", "upsample_bilinear2d.vec", "upsample_trilinear3d.vec")(_between("linear"))
aten("upsample_bicubic2d.vec")(_between("cubic"))


def _resized(
    x: Array, mode: str, output_size: Sequence[int] | None, align_corners: bool, scales: Sequence[float] | None
) -> Array:
    for axis in range(2, x.ndim):
        length = x.shape[axis]
        scale = scales[axis - 2] if scales else output_size[axis - 2] / length  # type: ignore[index]
        new = math.floor(length * scale) if scales else output_size[axis - 2]  # type: ignore[index]
        if not align_corners and scale == int(scale):
            x = _repeated(x, axis, int(scale), mode)
            continue
        step = (length - 1) / max(new - 1, 1) if align_corners else 1 / scale
        weights = np.zeros((new, length))
        for n in range(new):
            for at, weight in _taps(mode, n * step if align_corners else _place(mode, n, step)):
                weights[n, min(max(at, 0), length - 1)] += weight
        x = jnp.moveaxis(jnp.moveaxis(x, axis, -1) @ jnp.asarray(weights.T, x.dtype), -1, axis)
    return x


def _repeated(x: Array, axis: int, times: int, mode: str) -> Array:
    """An axis made a whole number of times longer: entry ``times*u + r`` reads the neighbours of ``u`` by weights of r."""
    if mode in ("nearest", "exact"):
        return repeat_interleave(x, times, axis)
    phases = [_taps(mode, _place(mode, r, 1 / times)) for r in range(times)]
    wide = max(abs(at) for taps in phases for at, _ in taps)
    padded = _continued(x, axis, wide, wide, "replicate")
    length = x.shape[axis]

    def phase(taps: Taps) -> Array:
        parts = [weight * lax.slice_in_dim(padded, wide + at, wide + at + length, axis=axis) for at, weight in taps]
        return functools.reduce(operator.add, parts)

    stacked = jnp.stack([phase(taps) for taps in phases], axis=axis + 1)
    return stacked.reshape(*x.shape[:axis], length * times, *x.shape[axis + 1 :])


def _place(mode: str, n: int, step: float) -> float:
    """Where entry n of the new axis lies on the old one."""
    return n * step if mode == "nearest" else (n + 0.5) * step - (0 if mode == "exact" else 0.5)


def _taps(mode: str, place: float) -> Taps:
    at = math.floor(place)
    t = place - at
    if mode in ("nearest", "exact"):
        return [(at, 1.0)]
    if mode == "linear":
        return [(at, 1 - t), (at + 1, t)] if t else [(at, 1.0)]
    a = -0.75  # torch's cubic convolution

    def near(d: float) -> float:
        return ((a + 2) * d - (a + 3)) * d * d + 1

    def far(d: float) -> float:
        return ((a * d - 5 * a) * d + 8 * a) * d - 4 * a

    return [(at - 1, far(t + 1)), (at, near(t)), (at + 1, near(1 - t)), (at + 2, far(2 - t))]


# -- patches -----------------------------------------------------------------------------------------------------------


def _places(length: int, width: int, dilation: int, padding: int, stride: int) -> Array:
    """``stride*u + dilation*r`` over (u, r): which entries of a padded axis the windows read."""
    windows = (length + 2 * padding - dilation * (width - 1) - 1) // stride + 1
    return stride * jnp.arange(windows)[:, None] + dilation * jnp.arange(width)


@aten("im2col")
def unfold(
    x: Array, kernel_size: Sequence[int], dilation: Sequence[int], padding: Sequence[int], stride: Sequence[int]
) -> Array:
    single = x.ndim == 3
    x = x[None] if single else x
    n, c, *lengths = x.shape
    rows, columns = (_places(*given) for given in zip(lengths, kernel_size, dilation, padding, stride, strict=True))
    x = jnp.pad(x, [(0, 0), (0, 0), *((p, p) for p in padding)])
    patches = x[:, :, rows[:, None, :, None], columns[None, :, None, :]]
    u, v, r, q = patches.shape[2:]
    found = jnp.transpose(patches, (0, 1, 4, 5, 2, 3)).reshape(n, c * r * q, u * v)
    return found[0] if single else found


@aten("col2im")
def fold(
    x: Array,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
) -> Array:
    single = x.ndim == 2
    x = x[None] if single else x
    each = list(zip(output_size, kernel_size, dilation, padding, stride, strict=True))
    rows, columns = (_places(*given) for given in each)
    r, q = kernel_size
    c = x.shape[1] // (r * q)
    patches = jnp.transpose(x.reshape(x.shape[0], c, r, q, len(rows), len(columns)), (0, 1, 4, 5, 2, 3))
    whole = jnp.zeros((x.shape[0], c, *(h + 2 * p for h, _, _, p, _ in each)), x.dtype)
    whole = whole.at[:, :, rows[:, None, :, None], columns[None, :, None, :]].add(patches)
    found = whole[:, :, padding[0] : padding[0] + output_size[0], padding[1] : padding[1] + output_size[1]]
    return found[0] if single else found


# -- pixels and channels -------------------------------------------------------------------------------------------------


@aten("pixel_shuffle")
def pixel_shuffle(x: Array, upscale_factor: int) -> Array:
    r = upscale_factor
    *lead, c, h, w = x.shape
    m = len(lead)
    x = x.reshape(*lead, c // r**2, r, r, h, w)
    x = jnp.transpose(x, (*range(m), m, m + 3, m + 1, m + 4, m + 2))
    return x.reshape(*lead, c // r**2, h * r, w * r)


@aten("pixel_unshuffle")
def pixel_unshuffle(x: Array, downscale_factor: int) -> Array:
    r = downscale_factor
    *lead, c, h, w = x.shape
    m = len(lead)
    x = x.reshape(*lead, c, h // r, r, w // r, r)
    x = jnp.transpose(x, (*range(m), m, m + 2, m + 4, m + 1, m + 3))
    return x.reshape(*lead, c * r**2, h // r, w // r)


@aten("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(x: Array, groups: int) -> Array:
    n, c, *rest = x.shape
    return jnp.swapaxes(x.reshape(n, groups, c // groups, *rest), 1, 2).reshape(x.shape)
