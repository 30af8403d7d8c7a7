"""The forwards of :mod:`benchmarks.attention` as people write them in ``jax.numpy``: ``forward(arrays) -> output or loss``."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax, nn


def attention(p, causal=False, rotary=False, num_kv_heads=None):
    """Heads side by side; keys and values of groups repeated, as in the libraries."""
    x, memory = p["x"], p.get("memory", p["x"])
    q = _heads(x, p, "query")
    k, v = (_heads(memory, p, role) for role in ("key", "value"))
    if num_kv_heads:
        q = q.reshape(*q.shape[:2], -1, q.shape[-1])
        k, v = (jnp.repeat(u, q.shape[2] // num_kv_heads, axis=2) for u in (k, v))
    if rotary:
        q, k = rotated(q), rotated(k)
    s = jnp.einsum("bthk,bqhk->bhtq", q, k) / jnp.sqrt(q.shape[-1])
    if causal:
        s = jnp.where(jnp.tril(jnp.ones(s.shape[2:], bool)), s, -jnp.inf)
    o = jnp.einsum("bhtq,bqhk->bthk", nn.softmax(s), v)
    kernel = p["output_kernel"]
    return o.reshape(*x.shape[:2], -1) @ kernel.reshape(-1, kernel.shape[-1]) + p["output_bias"]


def _heads(x, p, role):
    kernel, bias = p[f"{role}_kernel"], p[f"{role}_bias"]
    return (x @ kernel.reshape(kernel.shape[0], -1) + bias.reshape(-1)).reshape(*x.shape[:2], *bias.shape)


def rotated(u):
    half = u.shape[-1] // 2
    angle = jnp.arange(u.shape[1])[:, None] * 10000.0 ** (-jnp.arange(half) / half)
    cos, sin = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
    a, b = u[..., :half], u[..., half:]
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)


def layer_norm(x, gamma, beta, epsilon=1e-5):
    mean, var = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) * lax.rsqrt(var + epsilon) * gamma + beta


def block(x, p):
    """Pre-norm, causal, 4 heads, an MLP of four times the width."""
    own = {n.removeprefix("attention_"): a for n, a in p.items() if n.startswith("attention_")}
    h = layer_norm(x, p["attention_norm_gamma"], p["attention_norm_beta"])
    x = x + attention({**own, "x": h}, causal=True)
    h = layer_norm(x, p["mlp_norm_gamma"], p["mlp_norm_beta"])
    h = nn.gelu(h @ p["up_kernel"] + p["up_bias"], approximate=False)
    return x + h @ p["down_kernel"] + p["down_bias"]


def block_of(p):
    return block(p["x"], p)


def cross_entropy(z, y):
    return -jnp.take_along_axis(nn.log_softmax(z), y[..., None], axis=-1).mean()


def gpt(p, depth):
    """A scan over the parameters of a stack, a Python loop over blocks of their own."""
    h = p["embedding_1_table"][p["x"]] + p["positional_embedding_1_table"]
    if "stack_1_up_kernel" in p:
        stacked = {n.removeprefix("stack_1_"): a for n, a in p.items() if n.startswith("stack_1_")}
        h, _ = lax.scan(lambda h, one: (block(h, one), None), h, stacked)
    else:
        for n in range(1, depth + 1):
            name = f"transformer_block_{n}_"
            h = block(h, {m.removeprefix(name): a for m, a in p.items() if m.startswith(name)})
    h = layer_norm(h, p["layer_norm_1_gamma"], p["layer_norm_1_beta"], 1e-3)
    return cross_entropy(h @ p["dense_1_kernel"] + p["dense_1_bias"], p["y"])


def head(p):
    return cross_entropy(p["x"] @ p["dense_1_kernel"] + p["dense_1_bias"], p["y"])


def patches(p):
    x, n = p["x"], p["kernel"].shape[0]
    cut = x.reshape(len(x), x.shape[1] // n, n, x.shape[2] // n, n, -1).swapaxes(2, 3)
    return cut.reshape(len(x), -1, n * n * x.shape[3]) @ p["kernel"].reshape(-1, p["kernel"].shape[-1]) + p["bias"]


def info_nce(p):
    n, m = (u / jnp.linalg.norm(u, axis=1, keepdims=True) for u in (p["u"], p["v"]))
    s, own = jnp.exp(p["tau"]) * n @ m.T, jnp.arange(len(n))
    return (cross_entropy(s, own) + cross_entropy(s.T, own)) / 2


def word2vec(p):
    u = p["U"][p["centre"]]
    s = (u * p["V"][p["context"]]).sum(-1)
    r = jnp.einsum("bd,bkd->bk", u, p["V"][p["noise"]])
    return -(nn.log_sigmoid(s) + nn.log_sigmoid(-r).sum(-1)).mean()


LITTLE = -1e30  # the logarithm of what cannot be: -inf gives autodiff NaN


def ctc(p):
    """The forward recursion over log probabilities, a scan over time."""
    e = jnp.take_along_axis(nn.log_softmax(p["z"]), p["label"][:, None], axis=2).swapaxes(0, 1)
    may_skip = p["skip"] == 1

    def shifted(a, n):
        return jnp.pad(a, ((0, 0), (n, 0)), constant_values=LITTLE)[:, : a.shape[1]]

    def step(a, now):
        two = jnp.where(may_skip, shifted(a, 2), LITTLE)
        return now + jnp.logaddexp(jnp.logaddexp(a, shifted(a, 1)), two), None

    first = jnp.where(jnp.arange(e.shape[2]) <= 1, e[0], LITTLE)
    last = lax.scan(step, first, e[1:])[0]
    return -jnp.logaddexp(last[:, -1], last[:, -2]).mean()


def factorization(p):
    """Rendle's form, linear in the number of features."""
    x, V = p["x"], p["V"]
    pairs = ((x @ V) ** 2 - x**2 @ V**2).sum(-1) / 2
    return ((p["c"] + x @ p["w"] + pairs - p["y"]) ** 2).mean()
