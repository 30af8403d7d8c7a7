"""Hessian-vector products through every dense and convolution layer with every activation, and through pairs of layers.

Exact mod p, and ``jvp`` of ``grad`` of the independent reference to 1e-11.  By default a random few; all are slow.
"""

import random

import jax
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from derive.networks import layers as L
from derive.networks.activations import ACTIVATIONS
from numerics.reference.networks import reference

# name -> (layer of an activation, shape of its input)
LAYERS = {
    "dense": (lambda a: L.Dense(3, activation=a), (4,)),
    "conv1d": (lambda a: L.Conv1D(2, 3, strides=2, activation=a), (7, 2)),
    "conv2d": (lambda a: L.Conv2D(2, 3, padding="same", activation=a), (4, 5, 2)),
    "conv3d": (lambda a: L.Conv3D(2, 2, activation=a), (3, 4, 3, 1)),
    "depthwise": (lambda a: L.DepthwiseConv2D(2, activation=a), (4, 3, 2)),
    "separable": (lambda a: L.SeparableConv2D(2, 2, activation=a), (4, 3, 2)),
    "transpose": (lambda a: L.Conv2DTranspose(2, 2, strides=2, activation=a), (3, 2, 2)),
    "dilated": (lambda a: L.Conv2D(2, 2, dilation_rate=2, activation=a), (4, 5, 1)),
    "grouped": (lambda a: L.Conv2D(4, 2, groups=2, activation=a), (3, 4, 2)),
}
SMOOTH = [n for n in ACTIVATIONS if n != "threshold"]  # a step: no gradient
ONE = [(layer, name) for layer in LAYERS for name in SMOOTH]
TWO = [(a, b) for a in LAYERS for b in LAYERS if len(LAYERS[a][1]) == len(LAYERS[b][1])]


def of_one(layer, name):
    make, shape = LAYERS[layer]
    return dv.Sequential(
        [make(name), L.Flatten(), L.Dense(2)] if len(shape) > 1 else [make(name), L.Dense(2)], input_shape=shape
    )


def of_two(a, b):
    """The second of two layers reads what the first makes; its input is as large as it gets, its channels fit both."""
    shape = LAYERS[a][1] if len(LAYERS[a][1]) == 1 else tuple(n + 3 for n in LAYERS[a][1][:-1]) + (2,)
    layers = [LAYERS[a][0]("tanh"), LAYERS[b][0]("softplus")]
    return dv.Sequential(layers + ([L.Flatten()] if len(shape) > 1 else []) + [L.Dense(2)], input_shape=shape)


def agrees(model, seed):
    """Proved, and as near to jvp of grad of the independent reference as float64 lets it be."""
    first = model.backprop(loss="softmax_cross_entropy")
    d = dv.hvp(first.loss, list(first.wrt))
    evidence = d.check()
    assert evidence.ok and {f"hvp {t.name}" for t in d.wrt} <= {*evidence.named("proved"), *evidence.undecided}
    rng, kernel = np.random.default_rng(seed), nx.compile(d)
    sizes = {"B": 3, **model.sizes}
    arrays = {}
    for t in kernel.inputs:
        shape = [int(a.xreplace({dv.size(n): sympy.Integer(v) for n, v in sizes.items()})) for a in t.axes]
        arrays[t.name] = 0.5 * rng.normal(size=shape)
    arrays["y"] = rng.dirichlet(np.ones(2), 3)
    found = kernel(**arrays).hvp
    forward, directions = reference(first.network), {n: v.name for n, v in d.directions.items()}
    at = {n: arrays[n] for n in directions}
    given = {n: a for n, a in arrays.items() if n not in at and n not in directions.values()}
    expected = jax.jvp(
        jax.grad(lambda p: forward(**given, **p)), (at,), ({n: arrays[v] for n, v in directions.items()},)
    )[1]
    top = max(float(np.abs(e).max()) for e in expected.values())
    assert top > 0
    for n, e in expected.items():
        error = float(np.abs(np.asarray(found[n]) - e).max()) / max(float(np.abs(e).max()), 1e-3 * top)
        assert error < 1e-11, f"{n}: {error:.1e}"


def few(every, count):
    """A random few that are the same in every process."""
    return [
        pytest.param(*case, marks=() if case in random.Random(3).sample(every, count) else pytest.mark.slow)
        for case in every
    ]


@pytest.mark.parametrize(("layer", "name"), few(ONE, 3))
def test_a_layer_with_an_activation(layer, name, x64):
    agrees(of_one(layer, name), 1)


@pytest.mark.parametrize(("a", "b"), few(TWO, 1))
def test_one_layer_on_another(a, b, x64):
    agrees(of_two(a, b), 2)
