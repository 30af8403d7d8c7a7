"""Independent forwards of the image layers, in ``jax.lax`` and ``jax.nn``; see :mod:`numerics.reference.networks`.

Each is ``(model, placed, xs, arrays) -> array``, as in training: masks are inputs, statistics are the batch's.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from sympy import Expr, Integer

from derive.networks import layers as L
from derive.networks.model import Model, Placed

from .activations import ACTIVATIONS
from .registry import Arrays, Forward, reference_of

SPATIAL = {1: "T", 2: "HW", 3: "DHW"}


def spans(model: Model, placed: Placed, x: Array) -> list[tuple[int, int]]:
    """Padding of a window along each axis, before and after; "same" is TensorFlow's, the larger half after."""
    window = placed.layer.window
    if window.padding == "valid":
        return [(0, 0)] * window.rank
    if window.padding != "same":
        return list(window.padding)
    found = []
    for taps, step, apart, size in zip(window.size, window.stride, window.dilation, x.shape[1:-1], strict=True):
        left = max((-(-size // step) - 1) * step + apart * (taps - 1) + 1 - size, 0)
        found.append((left // 2, left - left // 2))
    return found


def convolve(model: Model, placed: Placed, x: Array, kernel: Array, groups: int) -> Array:
    letters = SPATIAL[x.ndim - 2]
    return lax.conv_general_dilated(
        x,
        kernel,
        placed.layer.window.stride,
        spans(model, placed, x),
        rhs_dilation=placed.layer.window.dilation,
        dimension_numbers=(f"N{letters}C", f"{letters}IO", f"N{letters}C"),
        feature_group_count=groups,
    )


def _biased(rule: Forward) -> Forward:
    def layer(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
        z = rule(model, placed, xs, arrays)
        bias = arrays.get(f"{placed.name}_bias")
        return ACTIVATIONS[placed.layer.activation.name](z if bias is None else z + bias)

    return layer


@reference_of(L.Conv1D, L.Conv2D, L.Conv3D)
@_biased
def _conv(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return convolve(model, placed, xs[0], arrays[f"{placed.name}_kernel"], placed.layer.groups)


def _channelwise(model: Model, placed: Placed, x: Array, kernel: Array) -> Array:
    return convolve(model, placed, x, kernel.reshape(*kernel.shape[:2], 1, -1), x.shape[-1])


@reference_of(L.DepthwiseConv2D)
@_biased
def _depthwise(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return _channelwise(model, placed, xs[0], arrays[f"{placed.name}_kernel"])


@reference_of(L.SeparableConv2D)
@_biased
def _separable(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    y = _channelwise(model, placed, xs[0], arrays[f"{placed.name}_depthwise_kernel"])
    return jnp.einsum("buvc,co->buvo", y, arrays[f"{placed.name}_pointwise_kernel"][0, 0])


@reference_of(L.Conv2DTranspose)
@_biased
def _transposed(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    """The transpose of a convolution by autodiff of that convolution, so that nothing is flipped by hand."""
    x, kernel, window = xs[0], arrays[f"{placed.name}_kernel"], placed.layer.window
    padding, shape = [], []
    for n, size in enumerate(x.shape[1:-1]):
        width = window.dilation[n] * (window.size[n] - 1) + 1
        step, full = window.stride[n], window.stride[n] * (size - 1) + width
        if window.padding == "same":
            before = max(width - step, 0) // 2
            padding.append((before, max(full - before - step * size, 0)))
            shape.append(step * size)
        elif window.padding == "valid":
            padding.append((0, 0))
            shape.append(step * size + max(width - step, 0))
        else:
            padding.append(window.padding[n])
            shape.append(full - sum(window.padding[n]))

    def conv(image: Array) -> Array:
        return lax.conv_general_dilated(
            image,
            jnp.swapaxes(kernel, 2, 3),
            window.stride,
            padding,
            rhs_dilation=window.dilation,
            dimension_numbers=("NHWC", "HWIO", "NHWC"),
        )

    image = jnp.zeros((x.shape[0], *shape, kernel.shape[3]), x.dtype)
    return jax.linear_transpose(conv, image)(x)[0]


def _windows(model: Model, placed: Placed, x: Array, outside: float) -> Array:
    """What every window reads, tap by tap along a last axis."""
    window, padding = placed.layer.window, spans(model, placed, x)
    x = jnp.pad(x, [(0, 0), *padding, (0, 0)], constant_values=outside)
    steps = window.stride
    ends = [(n - taps) // step * step + 1 for n, taps, step in zip(x.shape[1:-1], window.size, steps, strict=True)]
    return jnp.stack(
        [
            x[(slice(None), *(slice(r, r + end, step) for r, end, step in zip(at, ends, steps, strict=True)))]
            for at in np.ndindex(*window.size)
        ],
        -1,
    )


@reference_of(L.MaxPool1D, L.MaxPool2D, L.MaxPool3D)
def _max_pool(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    """The first maximiser gets the gradient; autodiff of reduce_window fails where windows leave gaps (JAX 0.10)."""
    read = _windows(model, placed, xs[0], -jnp.inf)
    return jnp.take_along_axis(read, jnp.argmax(read, -1)[..., None], -1)[..., 0]


@reference_of(L.AvgPool1D, L.AvgPool2D, L.AvgPool3D)
def _avg_pool(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    total = _windows(model, placed, xs[0], 0.0).sum(-1)
    if placed.layer.count_padding:
        return total / np.prod(placed.layer.window.size)
    return total / _windows(model, placed, jnp.ones_like(xs[0]), 0.0).sum(-1)


def _inner(x: Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))


@reference_of(L.GlobalMaxPool)
def _global_max_pool(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return jnp.max(xs[0], _inner(xs[0]))


@reference_of(L.GlobalAvgPool)
def _global_avg_pool(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return jnp.mean(xs[0], _inner(xs[0]))


@reference_of(L.ZeroPadding1D, L.ZeroPadding2D, L.ZeroPadding3D)
def _zero_padding(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return jnp.pad(xs[0], [(0, 0), *placed.layer.pairs, (0, 0)])


@reference_of(L.UpSampling1D, L.UpSampling2D, L.UpSampling3D)
def _up_sampling(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    x, factors = xs[0], placed.layer.factors
    if placed.layer.interpolation == "bilinear":
        shape = (x.shape[0], *(n * f for n, f in zip(x.shape[1:-1], factors, strict=True)), x.shape[-1])
        return jax.image.resize(x, shape, "bilinear")
    for axis, f in enumerate(factors, start=1):
        x = jnp.repeat(x, f, axis)
    return x


def _standard(x: Array, axes: tuple[int, ...], epsilon: float) -> Array:
    return jax.nn.standardize(x, axis=axes, epsilon=epsilon)


def _scaled(rule: Callable[[Array, Any], Array]) -> Forward:
    def layer(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
        h = rule(xs[0], placed.layer)
        return h * arrays.get(f"{placed.name}_gamma", 1.0) + arrays.get(f"{placed.name}_beta", 0.0)

    return layer


@reference_of(L.BatchNorm)
@_scaled
def _batch_norm(x: Array, layer: Any) -> Array:
    return _standard(x, tuple(range(x.ndim - 1)), layer.epsilon)


@reference_of(L.LayerNorm)
@_scaled
def _layer_norm(x: Array, layer: Any) -> Array:
    return _standard(x, (-1,), layer.epsilon)


@reference_of(L.GroupNorm)
@_scaled
def _group_norm(x: Array, layer: Any) -> Array:
    cut = x.reshape(*x.shape[:-1], layer.groups, -1)
    return _standard(cut, (*range(1, x.ndim - 1), x.ndim), layer.epsilon).reshape(x.shape)


@reference_of(L.LocalResponseNorm)
def _response_norm(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    x, layer = xs[0], placed.layer
    window = (1,) * (x.ndim - 1) + (layer.n,)
    squares = lax.reduce_window(x * x, 0.0, lax.add, window, (1,) * x.ndim, "SAME")
    return x * (layer.k + layer.alpha * squares) ** -layer.beta


@reference_of(L.Dropout, L.SpatialDropout)
def _dropout(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    mask = arrays[f"{placed.name}_mask"]
    between = (1,) * (xs[0].ndim - mask.ndim)
    return xs[0] * mask.reshape(mask.shape[:1] + between + mask.shape[1:]) / (1 - placed.layer.rate)


@reference_of(L.Reshape)
def _reshape(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    """The layer's axes at the sizes given: of what the arrays do not fix, one follows, and more are as the model was built."""
    tensors = [*model.inputs.items(), *((name, p.tensor) for name, p in model.parameters.items())]
    known = {model.output.axes[n]: size for n, size in enumerate(arrays["y"].shape)}
    for name, t in tensors:
        known |= dict(zip(t.axes, arrays[name].shape, strict=True))
    sizes: dict[Expr, Expr] = {}
    for axis, size in known.items():
        coefficient, rest = axis.as_coeff_Mul()
        sizes |= {rest: Integer(size // int(coefficient))} if rest.is_Symbol else {}
    shape = [axis.xreplace(sizes) for axis in placed.output.axes[1:]]
    if sum(not a.is_number for a in shape) > 1:
        shape = [a.xreplace({s: Integer(model.sizes[s.name]) for s in a.free_symbols}) for a in shape]
    return xs[0].reshape(xs[0].shape[0], *(int(a) if a.is_number else -1 for a in shape))


@reference_of(L.Add)
def _add(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return sum(xs[1:], xs[0])


@reference_of(L.Multiply)
def _multiply(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    total = xs[0]
    for x in xs[1:]:
        total = total * x
    return total


@reference_of(L.Concatenate)
def _concatenate(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return jnp.concatenate(xs, -1)


@reference_of(L.Flatten)
def _flatten(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return xs[0].reshape(xs[0].shape[0], -1)
