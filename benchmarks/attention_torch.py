"""The forwards of :mod:`benchmarks.attention` in eager torch, with its own kernels and threads; None without torch."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .harness import largest_error

try:
    import torch
    from torch.nn import functional as F
except ImportError:
    torch = None

TOLERANCE = 2e-3  # relative, float32 and sums in another order: it tells the same function from another one


def step(forward: Callable, parameters: dict, rest: dict, expected: dict) -> Callable | None:
    """The loss and the gradients of the parameters; the gradients are compared first."""
    if torch is None:
        return None
    leaves = {n: _tensor(a).requires_grad_() for n, a in parameters.items()}
    given = {n: _tensor(a) for n, a in rest.items()}

    def run():
        loss = forward({**leaves, **given})
        return loss.detach(), torch.autograd.grad(loss, list(leaves.values()))

    grads = {n: g.numpy() for n, g in zip(leaves, run()[1], strict=True)}
    error = largest_error(grads, expected)
    if not error <= TOLERANCE:
        raise ValueError(f"torch computes other gradients: they differ from autodiff's by {error:.1e}")
    return run


def _tensor(a):
    a = np.array(a)
    return torch.from_numpy(a.astype(np.int64) if np.issubdtype(a.dtype, np.integer) else a)


def attention(p, causal=False, rotary=False, num_kv_heads=None):
    x, memory = p["x"], p.get("memory", p["x"])
    q = _heads(x, p, "query")
    k, v = (_heads(memory, p, role) for role in ("key", "value"))
    if rotary:
        q, k = rotated(q), rotated(k)
    o = F.scaled_dot_product_attention(q, k, v, is_causal=causal, enable_gqa=bool(num_kv_heads))
    return o.transpose(1, 2).flatten(2) @ p["output_kernel"].flatten(0, -2) + p["output_bias"]


def _heads(x, p, role):
    kernel = p[f"{role}_kernel"]
    flat = x @ kernel.flatten(1) + p[f"{role}_bias"].flatten()
    return flat.unflatten(-1, (-1, kernel.shape[-1])).transpose(1, 2)


def rotated(u):
    half = u.shape[-1] // 2
    angle = torch.arange(u.shape[2])[:, None] * 10000.0 ** (-torch.arange(half) / half)
    cos, sin = angle.cos(), angle.sin()
    a, b = u[..., :half], u[..., half:]
    return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)


def block(x, p):
    own = {n.removeprefix("attention_"): a for n, a in p.items() if n.startswith("attention_")}
    h = F.layer_norm(x, x.shape[-1:], p["attention_norm_gamma"], p["attention_norm_beta"])
    x = x + attention({**own, "x": h}, causal=True)
    h = F.layer_norm(x, x.shape[-1:], p["mlp_norm_gamma"], p["mlp_norm_beta"])
    return x + F.gelu(h @ p["up_kernel"] + p["up_bias"]) @ p["down_kernel"] + p["down_bias"]


def block_of(p):
    return block(p["x"], p)


def gpt(p, depth):
    h = p["embedding_1_table"][p["x"]] + p["positional_embedding_1_table"]
    for n in range(depth):
        name = "stack_1_" if "stack_1_up_kernel" in p else f"transformer_block_{n + 1}_"
        own = {m.removeprefix(name): a for m, a in p.items() if m.startswith(name)}
        h = block(h, {m: a[n] for m, a in own.items()} if name == "stack_1_" else own)
    h = F.layer_norm(h, h.shape[-1:], p["layer_norm_1_gamma"], p["layer_norm_1_beta"], 1e-3)
    z = h @ p["dense_1_kernel"] + p["dense_1_bias"]
    return F.cross_entropy(z.flatten(0, 1), p["y"].flatten())


def head(p):
    return F.cross_entropy(p["x"] @ p["dense_1_kernel"] + p["dense_1_bias"], p["y"])


def patches(p):
    kernel = p["kernel"].permute(3, 2, 0, 1)
    return F.conv2d(p["x"].permute(0, 3, 1, 2), kernel, p["bias"], kernel.shape[-1]).flatten(2).transpose(1, 2)


def info_nce(p):
    s = p["tau"].exp() * F.normalize(p["u"]) @ F.normalize(p["v"]).T
    own = torch.arange(len(s))
    return (F.cross_entropy(s, own) + F.cross_entropy(s.T, own)) / 2


def word2vec(p):
    u = F.embedding(p["centre"], p["U"])
    s = (u * F.embedding(p["context"], p["V"])).sum(-1)
    r = torch.einsum("bd,bkd->bk", u, F.embedding(p["noise"], p["V"]))
    return -(F.logsigmoid(s) + F.logsigmoid(-r).sum(-1)).mean()


def ctc(p):
    own = p["label"][:, 1::2]
    batch, steps = p["z"].shape[:2]
    log_p = F.log_softmax(p["z"], -1).transpose(0, 1)
    lengths = [torch.full((batch,), n) for n in (steps, own.shape[1])]
    return F.ctc_loss(log_p, own, *lengths, reduction="sum") / batch


def factorization(p):
    x, V = p["x"], p["V"]
    pairs = ((x @ V) ** 2 - x**2 @ V**2).sum(-1) / 2
    return F.mse_loss(p["c"] + x @ p["w"] + pairs, p["y"])
