"""One of every image layer, small, with what it reads; and the comparison of its gradients with autodiff of jax.lax."""

from dataclasses import replace

import jax
import numpy as np

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.checks.ground import float64
from numerics.checks.opponent import flatten
from numerics.reference import networks as catalogue

LAYERS = {
    "conv1d": (lambda: L.Conv1D(2, 3, dilation_rate=2, padding="same"), (6, 3)),
    "conv2d": (lambda: L.Conv2D(3, 3, strides=2, padding=((1, 2), 0), activation="tanh"), (5, 4, 2)),
    "conv2d_same": (lambda: L.Conv2D(3, (3, 2), strides=2, padding="same", use_bias=False), (6, 5, 2)),
    "conv2d_grouped": (lambda: L.Conv2D(4, 2, groups=2), (3, 4, 6)),
    "conv3d": (lambda: L.Conv3D(2, (2, 1, 2), padding=(1, 0, 0)), (2, 3, 2, 2)),
    "depthwise": (lambda: L.DepthwiseConv2D(2), (3, 4, 3)),
    "depthwise_multiplied": (lambda: L.DepthwiseConv2D(2, depth_multiplier=2, padding="same"), (3, 4, 3)),
    "separable": (lambda: L.SeparableConv2D(3, 2), (3, 4, 2)),
    "separable_multiplied": (lambda: L.SeparableConv2D(3, 2, depth_multiplier=2), (3, 4, 2)),
    "transposed_same": (lambda: L.Conv2DTranspose(3, 3, strides=2, padding="same"), (3, 2, 2)),
    "transposed_valid": (lambda: L.Conv2DTranspose(3, 2, strides=3), (3, 2, 2)),
    "transposed_cut": (lambda: L.Conv2DTranspose(3, 3, strides=2, padding=1, dilation_rate=2), (3, 2, 2)),
    "max_pool1d": (lambda: L.MaxPool1D(2), (5, 2)),
    "max_pool2d": (lambda: L.MaxPool2D(3, strides=2, padding="same"), (5, 4, 2)),
    "max_pool3d": (lambda: L.MaxPool3D((1, 2, 2)), (2, 3, 4, 1)),
    "avg_pool1d": (lambda: L.AvgPool1D(2), (5, 2)),
    "avg_pool2d": (lambda: L.AvgPool2D(3, strides=2, padding=1), (5, 4, 2)),
    "avg_pool2d_counting": (lambda: L.AvgPool2D(3, strides=2, padding=1, count_padding=True), (5, 4, 2)),
    "avg_pool3d": (lambda: L.AvgPool3D((1, 2, 2)), (2, 3, 4, 1)),
    "global_max_pool": (lambda: L.GlobalMaxPool(), (3, 4, 2)),
    "global_avg_pool": (lambda: L.GlobalAvgPool(), (3, 4, 2)),
    "zero_padding1d": (lambda: L.ZeroPadding1D(2), (3, 2)),
    "zero_padding2d": (lambda: L.ZeroPadding2D(((1, 2), (0, 1))), (3, 4, 2)),
    "zero_padding3d": (lambda: L.ZeroPadding3D(1), (2, 1, 3, 2)),
    "up_sampling1d": (lambda: L.UpSampling1D(3), (4, 2)),
    "up_sampling2d": (lambda: L.UpSampling2D((2, 3)), (3, 2, 2)),
    "up_sampling2d_bilinear": (lambda: L.UpSampling2D((2, 3), "bilinear"), (3, 4, 2)),
    "up_sampling3d": (lambda: L.UpSampling3D((1, 2, 1)), (2, 3, 2, 1)),
    "flatten": (lambda: L.Flatten(), (3, 2, 2)),
    "reshape": (lambda: L.Reshape((2, -1)), (6,)),
    "reshape_image": (lambda: L.Reshape((4, 3)), (2, 3, 2)),
    "batch_norm": (lambda: L.BatchNorm(), (3, 2, 4)),
    "layer_norm": (lambda: L.LayerNorm(), (3, 4)),
    "group_norm": (lambda: L.GroupNorm(2), (3, 2, 4)),
    "local_response_norm": (lambda: L.LocalResponseNorm(3, alpha=0.5), (2, 2, 5)),
    "dropout": (lambda: L.Dropout(0.25), (3, 4)),
    "spatial_dropout": (lambda: L.SpatialDropout(0.5), (2, 3, 4)),
}


def alone(layer, shape) -> dv.Sequential:
    return dv.Sequential([layer], input_shape=shape)


def derivation(model: dv.Model, loss="mean_squared_error"):
    """The gradients of all parameters and of the inputs."""
    wrt = [*model.inputs.values(), *(p.tensor for p in model.parameters.values())]
    return replace(dv.backprop(model.loss(loss), wrt), network=(model, model.losses(loss)))


def arrays(kern, model, seed=0, ties=False):
    """Normal numbers, or multiples of 1/2; masks of zeros and ones."""
    rng = np.random.default_rng(seed)
    found = {}
    for t in kern.inputs:
        shape = tuple(2 if str(a) == "B" else int(n) for a, n in zip(t.axes, model.shape(t), strict=True))
        draw = rng.integers(0, 2, shape) if t.role == "random" else rng.normal(size=shape)
        found[t.name] = np.round(2 * draw) / 2 if ties else draw.astype(float)
    return found


def error_against_jax(model: dv.Model, seed=0, ties=False) -> float:
    """The largest error of the loss and of any gradient, relative to the largest number of its leaf."""
    d = derivation(model)
    kern = nx.compile(d, sizes=model.sizes)
    forward = catalogue.reference(d.network)
    assert forward is not None, "no reference in jax.lax for one of these layers"
    with float64():
        given = arrays(kern, model, seed, ties)
        ours = flatten(d, kern(**given))
        names = list(d.gradients)
        loss, gradients = jax.value_and_grad(lambda parts: forward(**{**given, **parts}))({n: given[n] for n in names})
        expected = {"loss": np.asarray(loss), **{n: np.asarray(g) for n, g in gradients.items()}}
    top = max(np.max(np.abs(expected[n])) for n in names)
    return max(np.max(np.abs(ours[n] - e)) / max(np.max(np.abs(e)), 1e-3 * top) for n, e in expected.items())
