"""Normalizations as they are written: affine forms opened, row sums as products; equal to the dense fallback."""

import numpy as np
import pytest
from kernel_cases import data, leaves
from sympy import Rational, exp

import derive as dv
import numerics as nx
from derive import Sequential
from derive.networks import layers as L
from numerics.checks.ground import float64

b, p, q, c = dv.indices("b p q c")


def pulled_back(layer, shape):
    """y and its vector-Jacobian product in all parameters and the input."""
    model = Sequential([layer], input_shape=shape)
    d = dv.vjp(model.output, [*(t.tensor for t in model.parameters.values()), model.input], cotangent="dy")
    return d, model.sizes


def same_as_dense(d, sizes, patterns=None, arrays=None, batch=3):
    """Every result equals the dense fallback's; returns the kernel."""
    found, drawn = data(d, {**{str(k): v for k, v in sizes.items()}, "B": batch})
    drawn |= arrays or {}
    bound = {s.name: n for s, n in found.items()}
    with float64():
        fast, slow = (nx.compile(d, sizes=bound, patterns=patterns), nx.compile(d, sizes=bound, dense=True))
        got, want = (leaves(d, k(**{t.name: drawn[t.name] for t in k.inputs})) for k in (fast, slow))
    for name, value in got.items():
        np.testing.assert_allclose(value, want[name], rtol=1e-10, atol=1e-10, err_msg=f"{name}\n{fast.source}")
    return fast


@pytest.mark.parametrize("how", ["opened", "plain"])
def test_batch_norm_is_multiply_adds_and_its_normalized_values_are_not_formed(how):
    d, sizes = pulled_back(L.BatchNorm(), (4, 5, 3))
    kern = same_as_dense(d, sizes, {"affine": how})
    rules = {rule for rule, _, _ in kern.choices}
    if how == "plain":
        assert "xh1 =" in kern.source and "affine" not in rules
        return
    assert {"affine", "sum-parted", "sum-reused"} <= rules
    assert "xh1 =" not in kern.source and "d_xh1 =" not in kern.source
    assert "h1 = x * (batch_norm_1_gamma * xh1_rsqrt) + (batch_norm_1_beta - " in kern.source
    assert "xh1_rsqrt * (dy * x).sum(axis=(0, 1, 2)) - mean1 * xh1_rsqrt * d_batch_norm_1_beta" in kern.source


@pytest.mark.parametrize("center,scale", [(True, False), (False, True), (False, False)])
def test_batch_norm_without_scale_or_centre(center, scale):
    d, sizes = pulled_back(L.BatchNorm(center=center, scale=scale), (4, 5, 3))
    assert "affine" in {rule for rule, _, _ in same_as_dense(d, sizes).choices}


def test_normalized_values_that_are_a_result_or_read_elsewhere_are_formed():
    model = Sequential([L.BatchNorm(), L.Activation("tanh"), L.BatchNorm()], input_shape=(4, 3))
    d = dv.vjp(model.output, [*(t.tensor for t in model.parameters.values()), model.input], cotangent="dy")
    source = same_as_dense(d, model.sizes).source
    assert "h2 = jnp.tanh(h1)" in source and "h1 = x * (" in source
    x, g, w = dv.tensor("x", b, c), dv.tensor("g", c), dv.tensor("w", b, c)
    hat = dv.define("hat", (b, c), g[c] * (x[b, c] - 1))
    h = dv.define("h", (b, c), g[c] * hat[b, c] + 2)
    loss = dv.define("loss", (), dv.Sum(w[b, c] * h[b, c] ** 2, b, c) + dv.Sum(exp(hat[b, c]), b, c))
    for outputs in ([hat], []):
        kern = same_as_dense(dv.backprop(loss, wrt=[x, g], outputs=outputs), {"C": 4})
        assert "hat = g * (x - 1)" in kern.source


def test_statistics_of_shifted_data_lose_no_more_than_their_own_rounding():
    """With a mean of 100 deviations, float32: the parted sum errs about as much as the sum as derived."""
    d, sizes = pulled_back(L.BatchNorm(), (9, 8, 3))
    rng = np.random.default_rng(0)
    arrays = {
        "x": 100 + rng.normal(size=(16, 9, 8, 3)),
        "dy": rng.normal(size=(16, 9, 8, 3)),
        "batch_norm_1_gamma": np.ones(3),
        "batch_norm_1_beta": np.zeros(3),
    }
    arrays["x"] = arrays["x"].astype(np.float32).astype(float)
    with float64():
        exact = nx.compile(d, sizes=sizes)
        right = leaves(d, exact(**{t.name: arrays[t.name] for t in exact.inputs}))
    for how in ("opened", "plain"):
        kern = nx.compile(d, sizes=sizes, patterns={"affine": how})
        got = leaves(d, kern(**{t.name: arrays[t.name].astype(np.float32) for t in kern.inputs}))
        for name, value in got.items():
            assert np.abs(value - right[name]).max() <= 3e-4 * np.abs(right[name]).max(), (how, name)


@pytest.mark.parametrize("width,how", [(160, None), (160, "plain"), (5, "products"), (5, None)])
def test_layer_norm_sums_its_rows_by_products_where_rows_are_long(width, how):
    d, sizes = pulled_back(L.LayerNorm(), (width,))
    kern = same_as_dense(d, sizes, how and {"row-sums": how})
    products = how == "products" or how is None and width > 100
    assert ("(x @ ones_I) / I" in kern.source) == products
    assert ("(dy * xh1) @ layer_norm_1_gamma" in kern.source) == products
    assert ("row-sums as products" in {rule for rule, _, _ in kern.choices}) == products


def test_row_sums_of_matrices_in_a_batch_and_of_functions():
    x, w = dv.tensor("x", b, p, c), dv.tensor("w", b, p)
    s = dv.define("s", (b, p), dv.Sum(x[b, p, c] ** 2, c) / c.size)
    e = dv.define("e", (b, p), dv.Sum(exp(x[b, p, c]), c))
    half = s[b, p] ** Rational(1, 2)
    loss = dv.define("loss", (), dv.Sum(w[b, p] * half * e[b, p], b, p))
    kern = same_as_dense(dv.backprop(loss, wrt=[x]), {"P": 4, "C": 130})
    assert "s = (x * x @ ones_C) / C" in kern.source or "s = ((x * x) @ ones_C) / C" in kern.source
    assert "e = jnp.exp(x).sum(axis=2)" in kern.source
