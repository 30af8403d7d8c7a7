"""Products over an index under a logarithm or a root: sums of logarithms, in range for a thousand factors (law 13)."""

import numpy as np
import pytest
from scipy.special import expit, log_expit, log_softmax, softmax

import derive as dv
import numerics as nx

Z = np.random.default_rng(0).normal(size=(3, 1000))
ONE = "z: float[b,k] parameter\n"
SOFTMAX = "p[b,k] = exp(z[b,k])/sum[k'](exp(z[b,k']))\n"


# the text, the loss and its gradient by z
CASES = {
    "sigmoids": (ONE + "l = sum[b](log(prod[k](sigmoid(z[b,k]))))", lambda z: log_expit(z).sum(), lambda z: expit(-z)),
    "by names": (
        ONE + "p[b,k] = 1/(1+exp(-z[b,k]))\nq[b] = prod[k](p[b,k])\nl = -sum[b](log(q[b]))",
        lambda z: -log_expit(z).sum(),
        lambda z: -expit(-z),
    ),
    "two products": (
        ONE + "l = log(prod[b](prod[k](sigmoid(z[b,k]))))",
        lambda z: log_expit(z).sum(),
        lambda z: expit(-z),
    ),
    "softmax": (
        ONE + SOFTMAX + "l = sum[b](log(prod[k](p[b,k])))",
        lambda z: log_softmax(z, axis=1).sum(),
        lambda z: 1 - z.shape[1] * softmax(z, axis=1),
    ),
    "geometric mean": (
        ONE + "l = sum[b](prod[k](exp(z[b,k]))^(1/K))",
        lambda z: np.exp(z.mean(axis=1)).sum(),
        lambda z: np.exp(z.mean(axis=1))[:, None] / z.shape[1] + 0 * z,
    ),
    "noisy or": (
        ONE + "l = -sum[b](log(1-prod[k](1-sigmoid(z[b,k]-8))))",
        lambda z: -np.log(-np.expm1(log_expit(8 - z).sum(axis=1))).sum(),
        lambda z: -expit(z - 8) / np.expm1(-log_expit(8 - z).sum(axis=1))[:, None],
    ),
    "squares": (
        ONE + "l = sum[b](log(prod[k](1+z[b,k]^2)))",
        lambda z: np.log1p(z**2).sum(),
        lambda z: 2 * z / (1 + z**2),
    ),
    "running": (
        "index t: K\n"
        + "z: float[b,t] parameter\ns[b,t] = where(t==0, sigmoid(z[b,t]), s[b,t-1]*sigmoid(z[b,t]))\n"
        + "l = sum[b,t](log(s[b,t]))/K^2",
        lambda z: log_expit(z).cumsum(axis=1).sum() / z.shape[1] ** 2,
        lambda z: expit(-z) * np.arange(z.shape[1], 0, -1) / z.shape[1] ** 2,
    ),
    "running, the first read as 1": (
        "index t: K\n"
        + "z: float[b,t] parameter\ns[b,t] = where(t>0, s[b,t-1], 1)*sigmoid(z[b,t])\nl = sum[b](log(s[b,K-1]))",
        lambda z: log_expit(z).sum(),
        lambda z: expit(-z),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_thousand_factors(kind):
    text, loss, gradient = CASES[kind]
    t = dv.parse(text)
    d = dv.backprop(t["l"], wrt=[t["z"]])
    assert d.check().ok
    assert any(s.rule == "logarithm of a product" for s in d.steps)
    value, grads = nx.compile(d)(z=Z.astype(np.float32))
    np.testing.assert_allclose(value, loss(Z), rtol=1e-4)
    want = gradient(Z)
    np.testing.assert_allclose(grads["z"], want, rtol=1e-3, atol=1e-4 * np.abs(want).max())


def test_a_product_of_products_under_a_mixture():
    t = dv.parse(
        "z: float[b,c,k] parameter; w: float[c] parameter\np[c] = exp(w[c])/sum[c'](exp(w[c']))\n"
        "l = -sum[b](log(sum[c](p[c]*prod[k](sigmoid(z[b,c,k])))))"
    )
    d = dv.backprop(t["l"], wrt=[t["z"], t["w"]])
    assert d.check().ok
    z, w = Z.reshape(3, 2, 500), np.array([0.3, -1.0])
    value, grads = nx.compile(d)(z=z.astype(np.float32), w=w.astype(np.float32))
    each = log_expit(z).sum(axis=2) + log_softmax(w)
    np.testing.assert_allclose(value, -np.logaddexp(each[:, 0], each[:, 1]).sum(), rtol=1e-5)
    np.testing.assert_allclose(grads["z"], -softmax(each, axis=1)[:, :, None] * expit(-z), rtol=1e-2, atol=1e-4)


def test_a_declared_fact_is_named_and_an_unknown_sign_is_left():
    t = dv.parse("p: float[k] positive parameter; l = log(prod[k](p[k]))")
    steps = [s for s in dv.backprop(t["l"], wrt=[t["p"]]).steps if s.rule == "logarithm of a product"]
    assert any("p" in fact for s in steps for fact in s.facts)
    t = dv.parse("x: float[k] parameter; l = log(prod[k](x[k]))")
    d = dv.backprop(t["l"], wrt=[t["x"]])
    assert not any(s.rule == "logarithm of a product" for s in d.steps)
    x = np.array([-2.0, -3.0, 5.0])  # two signs make a product that has a logarithm
    value, grads = nx.compile(d)(x=x)
    np.testing.assert_allclose(value, np.log(30), rtol=1e-6)
    np.testing.assert_allclose(grads["x"], 1 / x, rtol=1e-6)


def test_a_product_without_a_logarithm_stays_a_product():
    t = dv.parse("z: float[k] parameter; l = prod[k](sigmoid(z[k]))")
    assert not any(s.rule == "logarithm of a product" for s in dv.backprop(t["l"], wrt=[t["z"]]).steps)
