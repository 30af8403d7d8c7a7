"""Logarithms of products, quotients and powers of softmaxes, and powers of a softmax's mean: right at 1e4 (law 13)."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax

import derive as dv
import numerics as nx

HEAD = "index j k: K\nz: float[b,k] parameter\np[b,k] = exp(z[b,k])/sum[j](exp(z[b,j]))\n"
Z = np.array([[1e4, -1e4, 3.0], [0.5, 1.0, -2.0], [-9e3, -8e3, 9e3]])

CASES = {
    "quotient": ("l = sum[b](log(p[b,0]/p[b,1]))", lambda s: s[:, 0] - s[:, 1]),
    "named quotient": ("r[b] = p[b,0]/p[b,1]\nl = sum[b](log(r[b]))", lambda s: s[:, 0] - s[:, 1]),
    "product": ("l = sum[b](log(p[b,0]*p[b,2]))", lambda s: s[:, 0] + s[:, 2]),
    "one": ("l = sum[b](log(p[b,1]))", lambda s: s[:, 1]),
    "power": ("l = sum[b,k](log(p[b,k]^0.7))", lambda s: 0.7 * s.sum(axis=1)),
    "sharpened": (
        "q[b,k] = p[b,k]^0.7/sum[j](p[b,j]^0.7)\nl = sum[b,k](log(q[b,k]))",
        lambda s: log_softmax(0.7 * s, axis=1).sum(axis=1),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_logarithm_of_softmaxes(kind):
    text, f = CASES[kind]
    t = dv.parse(HEAD + text)
    d = dv.backprop(t["l"], wrt=[t["z"]])
    assert d.check().ok
    value, grads = nx.compile(d)(z=Z.astype(np.float32))
    np.testing.assert_allclose(value, f(log_softmax(Z, axis=1)).sum(), rtol=1e-4)
    assert np.all(np.isfinite(grads["z"]))


def test_a_position_that_does_not_exist_is_still_zero():
    t = dv.parse(HEAD + "l = sum[b](log(2 + p[b,1]))")
    assert float(nx.compile(dv.backprop(t["l"], wrt=[t["z"]]))(z=np.ones((1, 1)))[0]) == pytest.approx(np.log(2))
    t = dv.parse(HEAD + "l = sum[b](log(p[b,1]))")
    assert float(nx.compile(dv.backprop(t["l"], wrt=[t["z"]]))(z=np.ones((1, 1)))[0]) == -np.inf


def test_a_power_of_a_mean_by_softmax():
    t = dv.parse(
        "z: float[b,t] parameter; v: float[b,t] parameter\nn[b] = sum[t](exp(z[b,t])*v[b,t])\n"
        "d[b] = sum[t](exp(z[b,t]))\nl = sum[b]((n[b]/d[b])^2)"
    )
    d = dv.backprop(t["l"], wrt=[t["z"], t["v"]])
    assert d.check().proved
    v = np.arange(9.0).reshape(3, 3)
    value, grads = nx.compile(d)(z=Z.astype(np.float32), v=v)
    np.testing.assert_allclose(value, ((softmax(Z, axis=1) * v).sum(axis=1) ** 2).sum(), rtol=1e-4)
    assert all(np.all(np.isfinite(g)) for g in grads.values())
