"""Models as they stand in public code, at ordinary and at extreme numbers, against JAX's own gradients in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import derive as dv
import numerics as nx

rng = np.random.default_rng(0)


def normal(*shape):
    return rng.normal(size=shape)


def alibi(params, x):
    T, H = x.shape[0], 2
    q, k = (x @ params["q"]).reshape(T, H, -1), (x @ params["k"]).reshape(T, H, -1)
    slopes = 2.0 ** (-8.0 * jnp.arange(1, H + 1) / H)
    dist = jnp.arange(T)[None, :] - jnp.arange(T)[:, None]
    s = jnp.einsum("qhd,khd->hqk", q, k) + slopes[:, None, None] * dist[None]
    s = jnp.where(dist <= 0, s, jnp.finfo(s.dtype).min)
    return jnp.sum(jnp.sin(jax.nn.softmax(s, -1)))


def mixture_density(params, x, y):
    out = x @ params
    logits, mu, log_sigma = jnp.split(out, 3, axis=-1)
    log_prob = -0.5 * ((y[:, None] - mu) / jnp.exp(log_sigma)) ** 2 - log_sigma
    return -jnp.mean(jax.nn.logsumexp(jax.nn.log_softmax(logits) + log_prob, axis=-1))


def kalman(params, ys):
    A, C = params["A"], params["C"]

    def step(carry, y):
        mu, P, ll = carry
        mu, P = A @ mu, A @ P @ A.T + jnp.eye(2)
        S = C @ P @ C.T + 0.5 * jnp.eye(1)
        resid = y - C @ mu
        K = P @ C.T @ jnp.linalg.inv(S)
        ll = ll - 0.5 * (resid @ jnp.linalg.inv(S) @ resid + jnp.linalg.slogdet(S)[1])
        return (mu + K @ resid, P - K @ C @ P, ll), None

    return -lax.scan(step, (jnp.zeros(2), jnp.eye(2), 0.0), ys)[0][2]


def rwkv(params, k, v):
    w = -jnp.exp(params["w"])

    def step(state, kv):
        (aa, bb, pp), (kk, vv) = state, kv
        ww = params["u"] + kk
        qq = jnp.maximum(pp, ww)
        e1, e2 = jnp.exp(pp - qq), jnp.exp(ww - qq)
        out = (e1 * aa + e2 * vv) / (e1 * bb + e2)
        ww = pp + w
        qq = jnp.maximum(ww, kk)
        e1, e2 = jnp.exp(ww - qq), jnp.exp(kk - qq)
        return (e1 * aa + e2 * vv, e1 * bb + e2, qq), out

    init = jnp.zeros(3), jnp.zeros(3), jnp.full(3, -1e30)
    return jnp.sum(jnp.tanh(lax.scan(step, init, (k, v))[1]))


def linear_attention(q, k):
    phi_q = jax.nn.elu(q) + 1
    phi_k = jax.nn.elu(k) + 1
    return jnp.sum((phi_q @ phi_k.T) ** 2)


CASES = {
    "alibi": (alibi, ({"q": normal(4, 4), "k": normal(4, 4)}, normal(5, 4))),
    "mixture density": (mixture_density, (normal(4, 9), normal(7, 4), normal(7))),
    "kalman": (kalman, ({"A": normal(2, 2) / 2, "C": normal(1, 2)}, normal(4, 1))),
    "rwkv": (rwkv, ({"w": normal(3), "u": normal(3)}, normal(6, 3), normal(6, 3))),
    "rwkv at large keys": (rwkv, ({"w": normal(3), "u": normal(3)}, 3e3 * normal(6, 3), normal(6, 3))),
    "linear attention": (linear_attention, (normal(4, 3), normal(5, 3))),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_model(name):
    f, args = CASES[name]
    with jax.enable_x64(True):
        vg = nx.value_and_grad(f)
        (value, grads), (wanted, right) = vg(*args), jax.value_and_grad(f)(*args)
        assert vg.derivation.check().ok
        np.testing.assert_allclose(value, wanted, rtol=1e-10)
        for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(right), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-10 * np.abs(b).max() + 1e-100)


def test_a_branch_knows_what_its_condition_says():
    body = nx.from_jax(linear_attention, normal(4, 3), normal(5, 3)).tensors["phi_q"].definition.body
    assert str(body) == "Piecewise((q[j, i], q[j, i] > 0), (exp(q[j, i]) - 1, True)) + 1"


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_logarithm_of_a_determinant_keeps_its_digits(dtype):
    q = np.linalg.qr(normal(5, 5))[0]
    A = ((q * 10.0 ** -np.arange(5)) @ q.T).astype(dtype)

    def log_likelihood(K):
        return jnp.linalg.slogdet(K)[1]

    with jax.enable_x64(dtype == "float64"):
        vg = nx.value_and_grad(log_likelihood)
        value, grad = vg(A)
        np.testing.assert_allclose(value, log_likelihood(A), rtol=1e-5)
        np.testing.assert_allclose(grad, jax.grad(log_likelihood)(A), rtol=1e-4, atol=1e-4 * np.abs(grad).max())
        assert vg.derivation.check().proved
    assert "jnp.linalg.slogdet(K).logabsdet" in vg.source


def test_a_kernel_longer_than_its_sequence():
    def f(w, u, x):
        def causal(x, w):
            pad = [(w.shape[0] - 1, 0)]
            return lax.conv_general_dilated(x, w, (1,), pad, dimension_numbers=("NWC", "WIO", "NWC"))

        return jnp.sum(jnp.tanh(causal(jnp.tanh(causal(x, w)), u)))

    args = normal(3, 4, 14).astype("f"), normal(11, 14, 12).astype("f"), normal(2, 5, 4).astype("f")
    vg = nx.value_and_grad(f)
    for a, b in zip(vg(*args), jax.value_and_grad(f)(*args), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_names_that_nobody_gave():
    def layer_norm(x):
        mean = x.mean(-1, keepdims=True)
        return (x - mean) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-5)

    def score(W, x):
        p = layer_norm(x) @ W
        return jnp.mean(p) + jnp.mean(p**2)

    m = nx.from_jax(score, normal(3, 4), normal(5, 3))
    assert {"layer_norm", "loss"} <= set(m.tensors)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda w: nx.value_and_grad(lambda w: (w > 0).sum())(w), "returns int"),
        (lambda w: nx.value_and_grad(lambda w: w.sum(), argnums="w")(w), "argnums='w'"),
        (lambda w: nx.value_and_grad(lambda w: w.sum())(), "no arguments were given"),
        (lambda w: nx.value_and_grad(3), "int is no function"),
        (lambda w: nx.value_and_grad(lambda w: jnp.abs(jnp.exp(1j * w)).sum())(w), "complex"),
        (lambda w: nx.compile([_twice(2), _twice(3)]), "two definitions are named z"),
    ],
)
def test_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call(normal(3))


def _twice(c):
    i = dv.index("i")
    return dv.define("z", (i,), c * dv.tensor("x", i)[i])
