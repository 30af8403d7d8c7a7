"""Logarithms of, and quotients by, sums of exponentials: right at float32 extremes in every spelling (laws 11 and 13)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx

log_sigmoid, OO = jax.nn.log_sigmoid, jnp.inf
Z = np.array([5.0, 20, 200, -200, 0.3, -3, 1e4, -1e4])
Y = np.array([0.0, 0, 0, 1, 1, 1, 1, 1])
LOGITS = np.array([[100.0, 0, -100], [1, 2, 3], [-1e4, 1e4, 0], [0, 0, 50]])
LABEL = np.array([1, 0, 2, 2], np.int32)
HARD = {"z": Z, "y": Y}
PAIRS = {"a": np.array([1.0, 100, -200, -1e9, -100, 0]), "c": np.array([2.0, 99, 100, 5, -101, 0])}


def picked(a, label):
    return jnp.take_along_axis(a, label[:, None], -1)[:, 0]


def of_label(z, y):
    return jnp.where(y > 0.5, log_sigmoid(z), log_sigmoid(-z))


def focal(z, y):
    return -((1 - jnp.exp(of_label(z, y))) ** 2 * of_label(z, y)).sum()


def focal_softmax(z, label):
    u = picked(jax.nn.log_softmax(z), label)
    return -((1 - jnp.exp(u)) ** 2 * u).sum()


def log_others(z, label):
    own = jnp.arange(z.shape[1]) == label[:, None]
    return (jax.nn.logsumexp(jnp.where(own, -OO, z), -1) - jax.nn.logsumexp(z, -1)).sum()


def binary(z, y):
    return -of_label(z, y).sum()


def with_one(z):
    return jax.nn.logsumexp(jnp.concatenate([z, jnp.zeros((len(z), 1))], 1), 1).sum()


SIGMOID = "z: float[b] parameter\ny: float[b]\np[b] = sigmoid(z[b])\n"
SOFTMAX = "z: float[b,k] parameter\nlabel: int[b] < K\np[b,k] = exp(z[b,k])/sum[k'](exp(z[b,k']))\n"
HOT = "z: float[b,k] parameter\ny: float[b,k]\np[b,k] = exp(z[b,k])/sum[k'](exp(z[b,k']))\n"
TWO = "a: float[b] parameter\nc: float[b] parameter\n"
SOFT = {"z": LOGITS, "label": LABEL}
SPELLINGS = {
    "focal": (SIGMOID + "t[b] = y[b]*p[b] + (1 - y[b])*(1 - p[b])\nl = -sum[b]((1 - t[b])^2*log(t[b]))", focal, HARD),
    "focal by where": (
        SIGMOID + "t[b] = where(y[b] > 0.5, p[b], 1 - p[b])\nl = -sum[b]((1 - t[b])^2*log(t[b]))",
        focal,
        HARD,
    ),
    "focal, two terms": (
        SIGMOID + "l = -sum[b](y[b]*(1 - p[b])^2*log(p[b]) + (1 - y[b])*p[b]^2*log(1 - p[b]))",
        focal,
        HARD,
    ),
    "focal of a softmax": (SOFTMAX + "t[b] = p[b,label[b]]\nl = -sum[b]((1 - t[b])^2*log(t[b]))", focal_softmax, SOFT),
    "focal, one-hot": (
        HOT + "t[b] = sum[k](y[b,k]*p[b,k])\nl = -sum[b]((1 - t[b])^2*log(t[b]))",
        lambda z, y: focal_softmax(z, jnp.argmax(y, 1)),
        {"z": LOGITS, "y": np.eye(3)[LABEL]},
    ),
    "one minus a name": (SIGMOID + "q[b] = 1 - p[b]\nl = -sum[b](y[b]*log(p[b]) + (1 - y[b])*log(q[b]))", binary, HARD),
    "p + 0": (SIGMOID + "l = -sum[b](y[b]*log(p[b] + 0) + (1 - y[b])*log(1 - p[b] + 0))", binary, HARD),
    "one minus a softmax": (SOFTMAX + "l = sum[b](log(1 - p[b,label[b]]))", log_others, SOFT),
    "two": (TWO + "l = sum[b](log(exp(a[b]) + exp(c[b])))", lambda a, c: jnp.logaddexp(a, c).sum(), PAIRS),
    "by name": (TWO + "l = sum[b](logaddexp(a[b], c[b]))", lambda a, c: jnp.logaddexp(a, c).sum(), PAIRS),
    "three, named": (
        TWO + "s[b] = exp(a[b]) + exp(c[b]) + exp(a[b] - 1)\nl = sum[b](log(s[b]))",
        lambda a, c: jax.nn.logsumexp(jnp.stack([a, c, a - 1]), 0).sum(),
        PAIRS,
    ),
    "a share": (TWO + "l = sum[b](exp(a[b])/(exp(a[b]) + exp(c[b])))", lambda a, c: jax.nn.sigmoid(a - c).sum(), PAIRS),
    "one more": ("z: float[b,k] parameter\nl = sum[b](log(1 + sum[k](exp(z[b,k]))))", with_one, {"z": LOGITS}),
    "one more, divided by": (
        "z: float[b,k] parameter\nl = sum[b,k](exp(z[b,k])/(1 + sum[k'](exp(z[b,k'])))*(k + 1))",
        lambda z: (jax.nn.softmax(jnp.concatenate([z, jnp.zeros((len(z), 1))], 1))[:, :3] * jnp.arange(1.0, 4)).sum(),
        {"z": LOGITS},
    ),
    "the logarithm of a mean": (
        "z: float[b,k] parameter\nl = sum[b](log(mean[k](exp(z[b,k]))))",
        lambda z: (jax.nn.logsumexp(z, 1) - jnp.log(3.0)).sum(),
        {"z": LOGITS},
    ),
    "a numerator of its own": (
        "z: float[b,k] parameter\nv: float[k]\n"
        "l = sum[b](sum[k](exp(z[b,k])*v[k])/sum[k](exp(z[b,k])) + sum[k](exp(z[b,k])*v[k])/(1 + sum[k](exp(z[b,k]))))",
        lambda z, v: (
            (jax.nn.softmax(z) @ v).sum()
            + (jax.nn.softmax(jnp.concatenate([z, jnp.zeros((len(z), 1))], 1))[:, :3] @ v).sum()
        ),
        {"z": LOGITS, "v": np.array([1.0, -2, 3])},
    ),
    "a product and a quotient": (
        TWO + "p[b] = sigmoid(a[b])*sigmoid(c[b])\nl = sum[b](log(p[b]) + log(sigmoid(a[b])/(1 - sigmoid(a[b]))))",
        lambda a, c: (log_sigmoid(a) + log_sigmoid(c) + a).sum(),
        PAIRS,
    ),
    "a root of a softmax": (
        SOFTMAX + "l = sum[b](sqrt(p[b,label[b]]))",
        lambda z, label: jnp.exp(picked(jax.nn.log_softmax(z), label) / 2).sum(),
        SOFT,
    ),
    "a mixture": (
        TWO + "w: float[b] parameter\np[b] = sigmoid(w[b])\nl = sum[b](log(p[b]*exp(a[b]) + (1 - p[b])*exp(c[b])))",
        lambda a, c, w: jnp.logaddexp(log_sigmoid(w) + a, log_sigmoid(-w) + c).sum(),
        {**PAIRS, "w": np.array([0.0, 3, -150, 200, 1, 0])},
    ),
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_a_logarithm_of_a_sum(name):
    text, reference, inputs = SPELLINGS[name]
    t = dv.parse(text)
    wrt = [v for v in inputs if t[v].role == "parameter"]
    d = dv.backprop(t["l"], wrt=[t[v] for v in wrt])
    narrow = {n: a.astype(np.float32) if a.dtype == float else a for n, a in inputs.items()}
    loss, grads = nx.compile(d)(**narrow)
    with jax.enable_x64(True):
        wide = {n: jnp.asarray(a, jnp.float64) if a.dtype == np.float32 else jnp.asarray(a) for n, a in narrow.items()}
        want, slopes = jax.value_and_grad(lambda x: reference(**{**wide, **x}))({v: wide[v] for v in wrt})
    np.testing.assert_allclose(loss, want, rtol=1e-5, atol=1e-5)
    for v in wrt:
        np.testing.assert_allclose(grads[v], slopes[v], rtol=1e-4, atol=1e-5, err_msg=v)
    assert not any(row.verdict == "refuted" for row in d.check().rows)


CTC = """
z: float[t,k] parameter
label: int[s] < K
skip: int[s] < 2
y[t,k] = z[t,k] - log(sum[k'](exp(z[t,k'])))
e[t,s] = y[t,label[s]]
a[t,s] = where(t == 0, where(s <= 1, e[t,s], -inf), e[t,s] + {three})
l = -{two}
"""
THREE = {
    "guarded exponentials": (
        "log(exp(a[t-1,s]) + where(s >= 1, exp(a[t-1,s-1]), 0) + where(s >= 2 and skip[s] == 1, exp(a[t-1,s-2]), 0))"
    ),
    "nested": (
        "log(exp(a[t-1,s]) + where(s >= 1, exp(a[t-1,s-1]), 0) + "
        "where(s >= 2, where(skip[s] == 1, exp(a[t-1,s-2]), 0), 0))"
    ),
    "infinite exponents": (
        "log(exp(a[t-1,s]) + exp(where(s >= 1, a[t-1,s-1], -inf)) + exp(where(s >= 2 and skip[s] == 1, a[t-1,s-2], -inf)))"
    ),
    "by name": (
        "logaddexp(logaddexp(a[t-1,s], where(s >= 1, a[t-1,s-1], -inf)), where(s >= 2 and skip[s] == 1, a[t-1,s-2], -inf))"
    ),
}


def ctc(z, label, skip):
    e = jax.nn.log_softmax(z)[:, label]
    first = jnp.where(jnp.arange(e.shape[1]) <= 1, e[0], -OO)

    def sum_of(*parts):
        top = jnp.max(jnp.stack(parts), 0)
        total = sum(jnp.exp(p - jnp.where(top == -OO, 0, top)) for p in parts)
        return jnp.where(total == 0, -OO, top + jnp.log(jnp.where(total == 0, 1, total)))

    def step(a, now):
        one, two = jnp.concatenate([jnp.full(1, -OO), a[:-1]]), jnp.concatenate([jnp.full(2, -OO), a[:-2]])
        return sum_of(a, one, jnp.where(skip == 1, two, -OO)) + now, None

    last = jax.lax.scan(step, first, e[1:])[0]
    return -jnp.logaddexp(last[-1], last[-2])


@pytest.mark.parametrize(("name", "steps"), [*((n, 5) for n in THREE), ("by name", 1000)])
def test_a_three_way_recurrence(name, steps):
    """CTC: states that cannot be reached are -oo, and two of them have a sum that is -oo and no gradient."""
    two = "log(exp(a[T-1,S-1]) + exp(a[T-1,S-2]))"
    t = dv.parse(CTC.format(three=THREE[name], two=two))
    z = np.random.default_rng(0).normal(size=(steps, 3)).astype(np.float32)
    label, skip = np.array([0, 1, 0, 2, 0, 2, 0], np.int32), np.array([0, 0, 0, 1, 0, 0, 0], np.int32)
    loss, grads = nx.compile(dv.backprop(t["l"], wrt=[t["z"]]))(z=z, label=label, skip=skip)
    with jax.enable_x64(True):
        want, slope = jax.value_and_grad(ctc)(jnp.asarray(z, jnp.float64), label, skip)
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(grads["z"], slope, atol=2e-3 if steps > 100 else 1e-5)


def test_two_that_a_mask_took_away():
    """``logaddexp(-oo, -oo)`` is -oo, and neither has a share in it."""
    text = "w[b] = log(exp(u[b]) + exp(v[b]))\nl = sum[b](where(w[b] > -1e20, w[b], 0))"
    named = "u[b] = where(m[b], a[b], -inf)\nv[b] = where(n[b], c[b], -inf)\n"
    t = dv.parse(TWO + "m: bool[b]\nn: bool[b]\n" + named + text)
    a, c = np.array([1, 200, 3, -200], np.float32), np.array([1, 100, 5, -201], np.float32)
    m, n = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    loss, grads = nx.compile(dv.backprop(t["l"], wrt=[t["a"], t["c"]]))(a=a, c=c, m=m, n=n)
    np.testing.assert_allclose(loss, 1 + np.log(2) + 200 + 5, rtol=1e-6)
    np.testing.assert_allclose(grads["a"], [0.5, 1, 0, 0], atol=1e-6)
    np.testing.assert_allclose(grads["c"], [0.5, 0, 1, 0], atol=1e-6)
