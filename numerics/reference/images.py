"""Independent forwards of the image layers, in ``jax.lax`` and ``jax.nn``; see :mod:`numerics.reference.networks`.

Each is ``(model, placed, xs, arrays) -> array``, as in training: masks are inputs, statistics are the batch's.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from sympy import Integer

SPATIAL = {1: "T", 2: "HW", 3: "DHW"}


def spans(model, placed, x) -> list[tuple[int, int]]:
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


def convolve(model, placed, x, kernel, groups):
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


def _conv(model, placed, xs, arrays):
    return convolve(model, placed, xs[0], arrays[f"{placed.name}_kernel"], placed.layer.groups)


def _channelwise(model, placed, x, kernel):
    return convolve(model, placed, x, kernel.reshape(*kernel.shape[:2], 1, -1), x.shape[-1])


def _depthwise(model, placed, xs, arrays):
    return _channelwise(model, placed, xs[0], arrays[f"{placed.name}_kernel"])


def _separable(model, placed, xs, arrays):
    y = _channelwise(model, placed, xs[0], arrays[f"{placed.name}_depthwise_kernel"])
    return jnp.einsum("buvc,co->buvo", y, arrays[f"{placed.name}_pointwise_kernel"][0, 0])


def _transposed(model, placed, xs, arrays):
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

    def conv(image):
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


def _biased(rule):
    def layer(model, placed, xs, arrays):
        from .activations import ACTIVATIONS

        z = rule(model, placed, xs, arrays)
        bias = arrays.get(f"{placed.name}_bias")
        return ACTIVATIONS[placed.layer.activation.name](z if bias is None else z + bias)

    return layer


def _windows(model, placed, x, outside):
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


def _max_pool(model, placed, xs, arrays):
    """The first maximiser gets the gradient; autodiff of reduce_window fails where windows leave gaps (JAX 0.10)."""
    read = _windows(model, placed, xs[0], -jnp.inf)
    return jnp.take_along_axis(read, jnp.argmax(read, -1)[..., None], -1)[..., 0]


def _avg_pool(model, placed, xs, arrays):
    total = _windows(model, placed, xs[0], 0.0).sum(-1)
    if placed.layer.count_padding:
        return total / np.prod(placed.layer.window.size)
    return total / _windows(model, placed, jnp.ones_like(xs[0]), 0.0).sum(-1)


def _inner(x):
    return tuple(range(1, x.ndim - 1))


def _zero_padding(model, placed, xs, arrays):
    return jnp.pad(xs[0], [(0, 0), *placed.layer.pairs, (0, 0)])


def _up_sampling(model, placed, xs, arrays):
    x, factors = xs[0], placed.layer.factors
    if placed.layer.interpolation == "bilinear":
        shape = (x.shape[0], *(n * f for n, f in zip(x.shape[1:-1], factors, strict=True)), x.shape[-1])
        return jax.image.resize(x, shape, "bilinear")
    for axis, f in enumerate(factors, start=1):
        x = jnp.repeat(x, f, axis)
    return x


def _standard(x, axes, epsilon):
    return jax.nn.standardize(x, axis=axes, epsilon=epsilon)


def _scaled(rule):
    def layer(model, placed, xs, arrays):
        h = rule(xs[0], placed.layer)
        return h * arrays.get(f"{placed.name}_gamma", 1.0) + arrays.get(f"{placed.name}_beta", 0.0)

    return layer


def _group_norm(x, layer):
    cut = x.reshape(*x.shape[:-1], layer.groups, -1)
    return _standard(cut, (*range(1, x.ndim - 1), x.ndim), layer.epsilon).reshape(x.shape)


def _response_norm(model, placed, xs, arrays):
    x, layer = xs[0], placed.layer
    window = (1,) * (x.ndim - 1) + (layer.n,)
    squares = lax.reduce_window(x * x, 0.0, lax.add, window, (1,) * x.ndim, "SAME")
    return x * (layer.k + layer.alpha * squares) ** -layer.beta


def _dropout(model, placed, xs, arrays):
    mask = arrays[f"{placed.name}_mask"]
    between = (1,) * (xs[0].ndim - mask.ndim)
    return xs[0] * mask.reshape(mask.shape[:1] + between + mask.shape[1:]) / (1 - placed.layer.rate)


def _reshape(model, placed, xs, arrays):
    """The layer's axes at the sizes given: of what the arrays do not fix, one follows, and more are as the model was built."""
    tensors = [*model.inputs.items(), *((name, p.tensor) for name, p in model.parameters.items())]
    known = {model.output.axes[n]: size for n, size in enumerate(arrays["y"].shape)}
    for name, t in tensors:
        known |= dict(zip(t.axes, arrays[name].shape, strict=True))
    sizes = {}
    for axis, size in known.items():
        coefficient, rest = axis.as_coeff_Mul()
        sizes |= {rest: Integer(size // int(coefficient))} if rest.is_Symbol else {}
    shape = [axis.xreplace(sizes) for axis in placed.output.axes[1:]]
    if sum(not a.is_number for a in shape) > 1:
        shape = [a.xreplace({s: Integer(model.sizes[s.name]) for s in a.free_symbols}) for a in shape]
    return xs[0].reshape(xs[0].shape[0], *(int(a) if a.is_number else -1 for a in shape))


def _add(model, placed, xs, arrays):
    return sum(xs[1:], xs[0])


def _multiply(model, placed, xs, arrays):
    total = xs[0]
    for x in xs[1:]:
        total = total * x
    return total


LAYERS = {
    **{f"conv{n}d": _biased(_conv) for n in (1, 2, 3)},
    "depthwise_conv2d": _biased(_depthwise),
    "separable_conv2d": _biased(_separable),
    "conv2d_transpose": _biased(_transposed),
    **{f"max_pool{n}d": _max_pool for n in (1, 2, 3)},
    **{f"avg_pool{n}d": _avg_pool for n in (1, 2, 3)},
    "global_max_pool": lambda model, placed, xs, arrays: jnp.max(xs[0], _inner(xs[0])),
    "global_avg_pool": lambda model, placed, xs, arrays: jnp.mean(xs[0], _inner(xs[0])),
    **{f"zero_padding{n}d": _zero_padding for n in (1, 2, 3)},
    **{f"up_sampling{n}d": _up_sampling for n in (1, 2, 3)},
    "flatten": lambda model, placed, xs, arrays: xs[0].reshape(xs[0].shape[0], -1),
    "reshape": _reshape,
    "batch_norm": _scaled(lambda x, layer: _standard(x, tuple(range(x.ndim - 1)), layer.epsilon)),
    "layer_norm": _scaled(lambda x, layer: _standard(x, (-1,), layer.epsilon)),
    "group_norm": _scaled(_group_norm),
    "local_response_norm": _response_norm,
    "dropout": _dropout,
    "spatial_dropout": _dropout,
    "add": _add,
    "multiply": _multiply,
    "concatenate": lambda model, placed, xs, arrays: jnp.concatenate(xs, -1),
}
