"""Derived image layers and a small network against jitted ``value_and_grad`` of the forward that people write.

Where torch is installed, its eager step is measured beside them.
The floors are those that the emission has to hold on a CPU with two cores; errors are compared before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import derive as dv
import numerics as nx
from derive import Sequential
from derive.networks import layers as L

from . import images_torch as eager
from .harness import Row, against, largest_error, memory

TOLERANCE = 2e-4  # relative, float32: kernels' gradients are sums over up to 50000 positions


@dataclass(frozen=True)
class Case:
    """One layer: the loss ``sum(y * w)`` and all gradients; with ``pulled`` its value and vector-Jacobian product."""

    name: str
    layers: Callable  # () -> list of layers
    shape: tuple[int, ...]  # of one example
    forward: Callable  # forward(parameters, x) -> y
    floor: float | None = None
    batch: int = 64
    memory_floor: float | None = None
    pulled: bool = False
    best: float | None = None  # floor of the ratio to the fastest opponent
    torch: Callable | None = None  # forward(parameters, x) -> y of images_torch


def conv(x, kernel, stride=1, padding="VALID", groups=1):
    return lax.conv_general_dilated(
        x, kernel, (stride, stride), padding, feature_group_count=groups, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool(x, window, stride):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, window, window, 1), (1, stride, stride, 1), "VALID")


def one_convolution(stride=1, padding="VALID", groups=1):
    return lambda p, x: conv(x, p[0], stride, padding, groups) + p[1]


def depthwise(p, x):
    return conv(x, p[0].reshape(*p[0].shape[:2], 1, -1), groups=x.shape[-1]) + p[1]


def batch_norm(p, x):
    axes = tuple(range(x.ndim - 1))
    return (x - x.mean(axes)) * lax.rsqrt(x.var(axes) + 1e-3) * p[0] + p[1]


def layer_norm(p, x):
    return (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-3) * p[0] + p[1]


def network(p, x):
    x = max_pool(jax.nn.relu(conv(x, p[0]) + p[1]), 2, 2)
    x = max_pool(jax.nn.relu(conv(x, p[2]) + p[3]), 2, 2)
    return x.reshape(len(x), -1) @ p[4] + p[5]


CASES = (
    Case(
        "conv 3x3 32->64",
        lambda: [L.Conv2D(64, 3)],
        (28, 28, 32),
        one_convolution(),
        1.0,
        best=0.95,
        torch=eager.convolution(),
    ),
    Case("conv 3x3 1->32", lambda: [L.Conv2D(32, 3)], (28, 28, 1), one_convolution(), 1.0, torch=eager.convolution()),
    Case(
        "conv 3x3 128->128",
        lambda: [L.Conv2D(128, 3)],
        (14, 14, 128),
        one_convolution(),
        1.0,
        best=0.95,
        torch=eager.convolution(),
    ),
    Case(
        "conv 5x5 32->64",
        lambda: [L.Conv2D(64, 5)],
        (14, 14, 32),
        one_convolution(),
        1.0,
        best=0.9,
        torch=eager.convolution(),
    ),
    Case(
        "conv 3x3 stride 2 32->64",
        lambda: [L.Conv2D(64, 3, strides=2)],
        (28, 28, 32),
        one_convolution(2),
        1.0,
        best=0.9,
        torch=eager.convolution(2),
    ),
    Case(
        "depthwise 3x3 C=64",
        lambda: [L.DepthwiseConv2D(3)],
        (28, 28, 64),
        depthwise,
        15.0,
        16,
        pulled=True,
        best=0.6,
        torch=eager.depthwise,
    ),
    Case(
        "grouped 3x3 4 groups 64->64",
        lambda: [L.Conv2D(64, 3, groups=4)],
        (28, 28, 64),
        one_convolution(groups=4),
        14.0,
        16,
        best=0.7,
        torch=eager.convolution(groups=4),
    ),
    Case(
        "max pool 2/2",
        lambda: [L.MaxPool2D(2)],
        (28, 28, 32),
        lambda p, x: max_pool(x, 2, 2),
        8.0,
        best=1.0,
        torch=eager.max_pool(2, 2),
    ),
    Case(
        "max pool 3/2",
        lambda: [L.MaxPool2D(3, strides=2)],
        (29, 29, 32),
        lambda p, x: max_pool(x, 3, 2),
        5.0,
        best=1.0,
        torch=eager.max_pool(3, 2),
    ),
    Case(
        "batch norm",
        lambda: [L.BatchNorm()],
        (28, 28, 32),
        batch_norm,
        2.4,
        pulled=True,
        best=1.0,
        torch=eager.batch_norm,
    ),
    Case(
        "layer norm 4096x512",
        lambda: [L.LayerNorm()],
        (512,),
        layer_norm,
        1.7,
        4096,
        pulled=True,
        best=0.65,
        torch=eager.layer_norm,
    ),
)


def measure(quick: bool = False, only: str = "", patterns=None, native: bool = False) -> list[Row]:
    """The rows of every case whose name contains ``only``; ``quick`` runs them with two examples.

    ``native``: as loops in C, where the cost rule has them.
    """
    rows = []
    for case in CASES:
        if only in case.name:
            rows += one_case(case, 2 if quick else case.batch, 3 if quick else 11, patterns, native)
    return rows if only not in "CNN" and only else rows + cnn(2 if quick else 64, 3 if quick else 11, patterns, native)


def one_case(case: Case, batch: int, rounds: int, patterns=None, native: bool = False) -> list[Row]:
    """A layer: the value sum(y * w) and the gradients of all parameters and of the input; or y and the pulled back w."""
    model = Sequential(case.layers(), input_shape=case.shape)
    y = model.output
    parameters = [p.tensor for p in model.parameters.values()]
    wrt = [*parameters, model.input]
    if case.pulled:
        d = dv.vjp(y, wrt, cotangent="upstream")
    else:
        w = dv.tensor("upstream", *y.letters)
        d = dv.backprop(dv.define("loss", (), dv.Sum(y[y.letters] * w[y.letters], *y.letters)), wrt=wrt)
    kernel = nx.compile(d, sizes=model.sizes, patterns=patterns, xla=True, native=native)
    rng = np.random.default_rng(0)
    shapes = [p.shape for p in model.parameters.values()]
    values = [jnp.asarray(rng.normal(size=s) * 0.1, jnp.float32) for s in shapes]
    x = jnp.asarray(rng.normal(size=(batch, *case.shape)), jnp.float32)
    up = jnp.asarray(rng.normal(size=jax.eval_shape(case.forward, values, x).shape), jnp.float32)
    arrays = {t.name: v for t, v in zip(parameters, values, strict=True)} | {model.input.name: x, "upstream": up}
    arrays = {t.name: arrays[t.name] for t in kernel.inputs}

    def pulled(p, x, up):
        y, pull = jax.vjp(case.forward, p, x)
        return y, pull(up)

    def loss_and_grads(p, x, up):
        return jax.value_and_grad(lambda p, x: (case.forward(p, x) * up).sum(), argnums=(0, 1))(p, x)

    autodiff = pulled if case.pulled else loss_and_grads
    loss_b, (grads_p, grad_x) = jax.jit(autodiff)(values, x, up)
    expected = {t.name: g for t, g in zip(parameters, grads_p, strict=True)} | {model.input.name: grad_x}
    other = eager.layer_step(case.torch, values, x, up, case.pulled, [*grads_p, grad_x])
    return rows_of(
        case.name,
        kernel,
        arrays,
        autodiff,
        (values, x, up),
        (loss_b, expected),
        rounds,
        case.floor,
        case.memory_floor,
        other,
        case.best,
    )


def cnn(batch: int, rounds: int, patterns=None, native: bool = False) -> list[Row]:
    """The training step's gradient of conv 32, pool, conv 64, pool, dense 10 on 28x28 images."""
    model = Sequential(
        [
            L.Conv2D(32, 3, activation="relu"),
            L.MaxPool2D(2),
            L.Conv2D(64, 3, activation="relu"),
            L.MaxPool2D(2),
            L.Flatten(),
            L.Dense(10),
        ],
        input_shape=(28, 28, 1),
    )
    kernel = nx.compile(
        model.backprop("sparse_softmax_cross_entropy"), sizes=model.sizes, patterns=patterns, xla=True, native=native
    )
    rng = np.random.default_rng(0)
    values = [jnp.asarray(rng.normal(size=p.shape) * 0.05, jnp.float32) for p in model.parameters.values()]
    x = jnp.asarray(rng.random((batch, 28, 28, 1)), jnp.float32)
    label = jnp.asarray(rng.integers(0, 10, batch), jnp.int32)
    names = [p.tensor.name for p in model.parameters.values()]
    arrays = dict(zip(names, values, strict=True)) | {model.input.name: x, "y": label}

    def theirs(p):
        logp = jax.nn.log_softmax(network(p, x))
        return -jnp.take_along_axis(logp, label[:, None], axis=1).mean()

    autodiff = jax.value_and_grad(theirs)
    loss_b, grads = autodiff(values)
    other = eager.network_step(values, x, label, grads)
    return rows_of(
        f"CNN conv32-conv64-dense B={batch}",
        kernel,
        {t.name: arrays[t.name] for t in kernel.inputs},
        autodiff,
        (values,),
        (loss_b, dict(zip(names, grads, strict=True))),
        rounds,
        2.5,
        1 / 0.6,
        other,
        0.95,
    )


def rows_of(name, kernel, arrays, autodiff, args, expected, rounds, floor, memory_floor=None, other=None, best=None):
    """Errors, then the step against its opponents, then the temporaries."""
    loss_b, grads_b = expected
    found = kernel(**arrays)
    error = largest_error({"loss": found[0], **found[1]}, {"loss": loss_b, **grads_b})
    if not error <= TOLERANCE:
        raise ValueError(f"{name}: the gradients differ from autodiff by {error:.1e}; nothing was timed")
    ours = [arrays[t.name] for t in kernel.inputs]
    a = jax.jit(lambda *v: kernel.fn(*v)[:2], compiler_options=kernel.compiler_options).lower(*ours).compile()
    b = jax.jit(autodiff).lower(*args).compile()

    def run_a():
        return jax.block_until_ready(a(*ours))

    rows = against(name, run_a, autodiff, args, other, rounds, floor=floor, best=best, values={"error": error})
    temp_a, temp_b = memory(a), memory(b)
    if temp_a and temp_b:
        rows.append(
            Row(
                name,
                "temporaries",
                temp_b / temp_a,
                floor=memory_floor,
                values={"derived_B": temp_a, "autodiff_B": temp_b},
            )
        )
    return rows
