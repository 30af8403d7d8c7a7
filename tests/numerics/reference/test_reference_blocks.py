"""References of layers that consist of others: an independent forward for the whole network, and one that can fail."""

import jax
import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from numerics.reference.networks import lacking, reference


def cross():
    x, memory = dv.Input((4, 6), name="x"), dv.Input((3, 5), name="memory")
    block = L.TransformerBlock(2, key_dim=4, units=5, causal=True, cross=True, rotary=True, num_kv_heads=1)
    return dv.Model([x, memory], block([x, memory]))


def sequential(*layers, shape=(3, 4)):
    return lambda: dv.Sequential(list(layers), input_shape=shape)


NETWORKS = {
    "pre": sequential(L.TransformerBlock(2, causal=True, dropout=0.25)),
    "post": sequential(
        L.TransformerBlock(2, norm="post", gated=True, normalization="rms", activation="silu", use_bias=False)
    ),
    "cross": cross,
    "stack": sequential(L.Stack(L.TransformerBlock(2, units=3, dropout=0.5), 2)),
    "shared": sequential(L.Stack(L.TransformerBlock(2, units=3), 2, shared=True)),
    "experts": sequential(L.MixtureOfExperts(4, 3)),
    "best experts": sequential(L.MixtureOfExperts(4, 3, top_k=2, hidden=5, activation="gelu")),
    "stack of experts": sequential(L.Stack(L.MixtureOfExperts(3, 4, top_k=2, use_bias=False), 2)),
}


SLOW = ("pre", "cross", "post")  # more than ten seconds of compilation


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in NETWORKS])
def test_the_loss_is_that_of_the_reference(name):
    model = NETWORKS[name]()
    d = model.backprop("mean_squared_error")
    forward = reference(d.network)
    assert forward is not None, lacking(d.network)
    kernel, rng = nx.compile(d, sizes=model.sizes), np.random.default_rng(0)
    arrays = {}
    for t in kernel.inputs:
        shape = [2 if str(a) == "B" else model.training.built.number(a) for a in t.axes]
        arrays[t.name] = (
            rng.normal(size=shape).astype("f") if t.role != "random" else rng.integers(0, 2, shape).astype("f")
        )
    loss, grads, *_ = kernel(**arrays)
    value, wanted = jax.value_and_grad(lambda p: forward(**{**arrays, **p}))({n: arrays[n] for n in grads})
    np.testing.assert_allclose(loss, value, rtol=2e-5)
    top = max(float(np.abs(g).max()) for g in wanted.values())  # the gradient of a key's bias is exactly 0
    for n, g in wanted.items():
        np.testing.assert_allclose(grads[n], g, rtol=2e-3, atol=1e-4 * max(1, top), err_msg=n)


def test_what_has_no_reference_inside_a_stack_is_named():
    def own(x, new):
        return new.define("h", x.indices, x[x.indices] / 2)

    model = dv.Sequential([L.Stack(own, 2), L.Dense(2)], input_shape=(3,))
    assert "none is written for that, in a stack" in lacking(model.backprop("mean_squared_error").network)
