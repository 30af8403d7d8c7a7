"""Wrong backward passes whose mistake is a number, a count, or one place of several: refused, and told as what it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import numerics as nx

rng = np.random.default_rng(0)


def smoothed(logits, labels):
    K = logits.shape[-1]
    t = jax.nn.one_hot(labels, K) * 0.9 + 0.1 / K
    return -(t * jax.nn.log_softmax(logits)).sum(-1).mean()


def smoothed_backward(targets):
    def backward(residuals, dy):
        logits, labels = residuals
        e = np.exp(logits - logits.max(-1, keepdims=True))
        B, K = logits.shape
        return (dy * (e / e.sum(-1, keepdims=True) - targets(np.eye(K)[labels], K)) / B,)

    return backward


SMOOTHED = {
    "right": (lambda t, K: 0.9 * t + 0.1 / K, ()),
    "hard targets": (lambda t, K: t, ("1 / (10 I) is missing", "is 9/10; yours fits 1")),
    "spread over the others": (lambda t, K: 0.9 * t + (1 - t) * 0.1 / (K - 1), ("1/(10*(I - 1))",)),
    "labels not less": (lambda t, K: t + 0.1 / K, ("is 9/10; yours fits 1",)),
    "uniform part forgotten": (lambda t, K: 0.9 * t, ("1 / (10 I) is missing",)),
    "another smoothing": (lambda t, K: 0.8 * t + 0.2 / K, ("is counted twice", "yours fits 0.8|yours fits 4/5")),
    "not divided": (lambda t, K: 0.9 * t + 0.1, ("yours fits 1/10",)),
}


@pytest.mark.parametrize("name", SMOOTHED)
def test_targets(name):
    targets, told = SMOOTHED[name]
    args = rng.normal(size=(5, 4)), np.array([0, 3, 1, 1, 2])
    report = nx.check_vjp(smoothed_backward(targets), *args, forward=smoothed)
    assert report.ok == (not told)
    for some in told:
        assert any(text in report["logits"].text for text in some.split("|")), report["logits"].text


def layer_norm(x):
    mu = x.mean(-1, keepdims=True)
    var = ((x - mu) ** 2).mean(-1, keepdims=True)
    return (x - mu) / jnp.sqrt(var + 1e-3)


def one_count_less(residuals, dy):
    (x,) = residuals
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-3)
    xhat = (x - x.mean(-1, keepdims=True)) * r
    m = (dy * xhat).sum(-1, keepdims=True) / (x.shape[-1] - 1)
    return (r * (dy - dy.mean(-1, keepdims=True) - xhat * m),)


def scaled(mu, log_var):
    return (mu**2 * jnp.exp(-log_var)).sum()


def deviation(residuals, dy):
    mu, v = residuals
    return 2 * mu * np.exp(-v / 2) * dy, -(mu**2) * np.exp(-v) * dy


def rope(x, cos, sin):
    a, b = x[..., 0::2], x[..., 1::2]
    return jnp.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(x.shape)


def turned_again(residuals, dy):
    x, cos, sin = residuals
    a, b, u, v = dy[..., 0::2], dy[..., 1::2], x[..., 0::2], x[..., 1::2]
    dx = np.stack([a * cos - b * sin, a * sin + b * cos], -1).reshape(dy.shape)
    return dx, (a * u + b * v).sum(0), (b * u - a * v).sum(0)


def embedding(W, ids):
    return W[ids]


def mean_of_repeats(residuals, dy):
    W, ids = residuals
    dW = np.zeros_like(W)
    np.add.at(dW, ids, dy)
    return dW / np.maximum(np.bincount(ids, minlength=len(W)), 1)[:, None], None


def normal(*shape):
    return rng.normal(size=shape)


@pytest.mark.parametrize(
    ("backward", "forward", "args", "tensor", "told"),
    [
        (one_count_less, layer_norm, (normal(4, 6),), "x", "yours fits -1/(I - 1)"),
        (deviation, scaled, (normal(3, 4), normal(3, 4)), "mu", "yours fits 0.5 times it"),
        (turned_again, rope, (normal(2, 3, 6), normal(3, 3), normal(3, 3)), "x", "sin has the wrong sign"),
        (mean_of_repeats, embedding, (normal(5, 3), np.array([0, 2, 2, 1])), "W", "yours has their mean"),
    ],
)
def test_explained(backward, forward, args, tensor, told):
    report = nx.check_vjp(backward, *args, forward=forward)
    assert not report.ok
    assert told in report[tensor].text


def test_residuals_of_fewer_digits():
    @jax.custom_vjp
    def gated(x, w):
        return jnp.tanh(x) * w

    def bwd(residuals, dy):
        t, w = residuals
        t = t.astype(dy.dtype)
        return dy * w * (1 - t * t), dy * t

    gated.defvjp(lambda x, w: (gated(x, w), (jnp.tanh(x).astype(jnp.bfloat16), w)), bwd)
    report = nx.check_vjp(gated, normal(4, 3).astype("f"), normal(4, 3).astype("f"))
    assert report.ok
    assert any("bfloat16" in note for note in report.notes)


def test_right_where_lengths_are_equal():
    def outer(q, k):
        return jnp.tril(q @ k.T).sum(-1)

    def backward(residuals, dy):
        q, k = residuals
        mask = np.tril(np.ones((len(q), len(q)))) * dy[:, None]
        return mask @ k[: len(q)], (mask.T @ q)[: len(k)] if len(q) >= len(k) else np.zeros_like(k)

    report = nx.check_vjp(backward, normal(4, 3), normal(4, 3), forward=outer)
    assert report.ok or any("if they are always equal, say so: axes=" in note for note in report.notes)
