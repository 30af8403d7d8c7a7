"""Products of exponentials, a number among weighted exponentials, and products of probabilities: right at 1e4 (law 13)."""

import numpy as np
import pytest
from scipy.special import log_expit, logsumexp

import derive as dv
import numerics as nx

A = np.array([[1e4, -1e4, 3.0], [0.5, 1.0, -2.0], [-9e3, -8e3, 9e3]])
C = np.array([[-1e4, 1e4, 2.0], [1e4, 1e4, -1e4], [0.3, 0.2, 0.1]])
M = np.array([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0], [0.0, 2.0, 0.7]])
TWO = "a: float[b,i] parameter; c: float[b,i] parameter\n"
ONE = "a: float[b,i] parameter; m: float[b,i]\nindex j: I\n"


def weighted(number):
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log(number), logsumexp(A, axis=1, b=M)).sum()


def bits(y, z):
    return (y * log_expit(z) + (1 - y) * log_expit(-z)).sum()


CASES = {
    "a product": (TWO + "l = sum[b](log(sum[i](exp(a[b,i])*exp(c[b,i]))))", lambda: logsumexp(A + C, axis=1).sum()),
    "a quotient": (TWO + "l = sum[b](log(sum[i](exp(a[b,i])/exp(c[b,i]))))", lambda: logsumexp(A - C, axis=1).sum()),
    "a product of names": (
        TWO + "u[b,i] = exp(a[b,i])\nv[b,i] = u[b,i]*exp(c[b,i])\ns[b] = sum[i](v[b,i])\nl = sum[b](log(s[b]))",
        lambda: logsumexp(A + C, axis=1).sum(),
    ),
    "a share of products": (
        TWO + "index j: I\np[b,i] = exp(a[b,i])*exp(c[b,i])/sum[j](exp(a[b,j])*exp(c[b,j]))\nl = sum[b](p[b,0])",
        lambda: np.exp((A + C)[:, 0] - logsumexp(A + C, axis=1)).sum(),
    ),
    "a number and weights": (ONE + "l = sum[b](log(0.001 + sum[i](m[b,i]*exp(a[b,i]))))", lambda: weighted(1e-3)),
    "a number and weights over a sum": (
        ONE + "l = sum[b](log((1e-30 + sum[i](m[b,i]*exp(a[b,i])))/sum[j](exp(a[b,j]))))",
        lambda: weighted(1e-30) - logsumexp(A, axis=1).sum(),
    ),
    "a number in a named sum": (
        ONE + "s[b] = 1e-12 + sum[i](m[b,i]*exp(a[b,i]))\nl = sum[b](log(s[b]))",
        lambda: weighted(1e-12),
    ),
    "a number and one weight": (
        ONE + "l = sum[b,i](log(1 + m[b,i]*exp(a[b,i])))",
        lambda: np.logaddexp(0, A + np.log(M, where=M > 0, out=np.full(M.shape, -np.inf))).sum(),
    ),
    "a power of a quotient": (
        "a: float[b,i] parameter\nl = sum[b,i](((exp(2*a[b,i]) - 1)/(exp(2*a[b,i]) + 1))^2)",
        lambda: (np.tanh(A) ** 2).sum(),
    ),
    "a product of probabilities": (
        "a: float[b,i] parameter; m: float[b,i]\np[b,i] = sigmoid(a[b,i])\n"
        "q[b] = prod[i](p[b,i]^m[b,i]*(1 - p[b,i])^(1 - m[b,i]))\nl = sum[b](log(q[b]))",
        lambda: bits(M, A),
    ),
}


@pytest.mark.parametrize("kind", CASES)
def test_at_large_numbers(kind):
    text, f = CASES[kind]
    t = dv.parse(text)
    wrt = [x for x in t.values() if x.role == "parameter"]
    d = dv.backprop(t["l"], wrt=wrt)
    assert d.check().ok
    values = {n: v.astype(np.float32) for n, v in {"a": A, "c": C, "m": M}.items() if n in t}
    loss, grads = nx.compile(d)(**values)
    np.testing.assert_allclose(loss, f(), rtol=1e-4)
    assert all(np.all(np.isfinite(g)) for g in grads.values())


def test_a_product_of_exponentials_in_a_recurrence():
    t = dv.parse(
        "index j: K\nA: float[j,k] parameter; w: float[t,k] parameter\n"
        "f[t,k] = where(t == 0, w[t,k], w[t,k] + log(sum[j](exp(f[t-1,j])*exp(A[j,k]))))\nl = log(sum[k](exp(f[T-1,k])))"
    )
    d = dv.backprop(t["l"], wrt=[t["A"], t["w"]])
    assert d.check().ok
    rng = np.random.default_rng(0)
    A, w = 20 * rng.normal(size=(3, 3)), 20 * rng.normal(size=(200, 3))
    loss, grads = nx.compile(d)(A=A.astype(np.float32), w=w.astype(np.float32))
    f = w[0]
    for row in w[1:]:
        f = row + logsumexp(f[:, None] + A, axis=0)
    np.testing.assert_allclose(loss, logsumexp(f), rtol=1e-4)
    np.testing.assert_allclose(grads["w"].sum(axis=1), 1, rtol=1e-3)  # of each step one state is taken
    np.testing.assert_allclose(grads["A"].sum(), 199, rtol=1e-3)


def test_the_posterior_of_naive_bayes():
    t = dv.parse(
        "index k c: K\nz: float[k,j] parameter; w: float[k] parameter; x: float[b,j]; label: int[b] < K\n"
        "p[k,j] = sigmoid(z[k,j])\nq[b,k] = exp(w[k])*prod[j](p[k,j]^x[b,j]*(1 - p[k,j])^(1 - x[b,j]))\n"
        "post[b,k] = q[b,k]/sum[c](q[b,c])\nl = -sum[b](log(post[b,label[b]]))"
    )
    d = dv.backprop(t["l"], wrt=[t["z"], t["w"]])
    assert d.check().ok
    rng = np.random.default_rng(0)
    x, z, w = rng.integers(0, 2, (4, 60)).astype(float), 30 * rng.normal(size=(3, 60)), rng.normal(size=3)
    label = np.array([0, 2, 1, 1])
    loss, grads = nx.compile(d)(x=x, z=z, w=w, label=label)
    joint = w + x @ log_expit(z).T + (1 - x) @ log_expit(-z).T
    np.testing.assert_allclose(loss, (logsumexp(joint, axis=1) - joint[np.arange(4), label]).sum(), rtol=1e-6)
    assert all(np.all(np.isfinite(g)) for g in grads.values())
