"""Attention, positions, gates, patches and the Transformer block: against plain jax.numpy, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L


def gradients(model, forward, loss="mean_squared_error", seed=0, **integers):
    """The derived loss and gradients against autodiff of ``forward(params, inputs)``, in float64."""
    with jax.enable_x64(True):
        d = model.backprop(loss)
        kern = nx.compile(d, sizes=model.sizes)
        rng = np.random.default_rng(seed)
        arrays = {}
        for t in kern.inputs:
            shape = tuple(3 if str(a) == "B" else model.training.built.number(a) for a in t.axes)
            arrays[t.name] = integers[t.name] if t.name in integers else rng.normal(size=shape)
        value, found = kern(**arrays)[:2]
        held = {n: jnp.asarray(a) for n, a in arrays.items()}

        def total(p):
            return jnp.mean((forward({**held, **p}) - held["y"]) ** 2)

        wanted, expected = jax.value_and_grad(total)({n: held[n] for n in found})
        np.testing.assert_allclose(value, wanted, rtol=1e-11)
        for n, e in expected.items():
            np.testing.assert_allclose(
                found[n], e, rtol=1e-8, atol=1e-9 * float(max(jnp.abs(e).max(), 1e-3)), err_msg=n
            )


def attend(p, name, x, memory=None, seen=None, turn=lambda u: u):
    memory = x if memory is None else memory

    def project(role, u):
        return jnp.einsum("btd,dhk->bthk", u, p[f"{name}_{role}_kernel"]) + p[f"{name}_{role}_bias"]

    q, k, v = project("query", x), project("key", memory), project("value", memory)
    s = jnp.einsum("bthk,bqhk->bhtq", turn(q), turn(k)) / q.shape[-1] ** 0.5
    a = jax.nn.softmax(s if seen is None else jnp.where(seen, s, -jnp.inf))
    o = jnp.einsum("bhtq,bqhk->bthk", a, v)
    return jnp.einsum("bthk,hkd->btd", o, p[f"{name}_output_kernel"]) + p[f"{name}_output_bias"]


NAME = "multi_head_attention_1"


def test_attention_is_that_of_the_paper():
    model = dv.Sequential([L.MultiHeadAttention(2, 4)], input_shape=(5, 6))
    gradients(model, lambda p: attend(p, NAME, p["x"]))


def test_causal_attention_looks_back():
    model = dv.Sequential([L.MultiHeadAttention(2, 4, causal=True)], input_shape=(5, 6))
    gradients(model, lambda p: attend(p, NAME, p["x"], seen=jnp.tril(jnp.ones((5, 5), bool))))


def test_rotary_positions_turn_halves():
    def turn(u):
        m = u.shape[-1] // 2
        angle = jnp.arange(u.shape[1])[:, None] * 10000.0 ** (-jnp.arange(m) / m)
        c, s = jnp.cos(angle)[:, None], jnp.sin(angle)[:, None]
        return jnp.concatenate([u[..., :m] * c - u[..., m:] * s, u[..., m:] * c + u[..., :m] * s], -1)

    model = dv.Sequential([L.MultiHeadAttention(2, 4, rotary=True)], input_shape=(5, 6))
    gradients(model, lambda p: attend(p, NAME, p["x"], turn=turn))


@pytest.mark.parametrize("kind", ["padding", "pairs", "lengths"])
def test_masks(kind):
    x, m = dv.Input((5, 6)), dv.Input((4, 3), name="m")
    lengths = np.array([[4], [2], [1]])
    padding = (np.arange(4) < lengths).astype(float)
    shape, given, options = {
        "padding": ((4,), padding, {}),
        "pairs": ((5, 4), np.repeat(padding[:, None], 5, 1), {}),
        "lengths": ((1,), lengths, {"dtype": "int", "below": 5}),
    }[kind]
    k = dv.Input(shape, name="k", **options)
    model = dv.Model([x, m, k], L.MultiHeadAttention(2, 4)([x, m, k]))
    seen = padding[:, None, None, :] > 0
    gradients(model, lambda p: attend(p, NAME, p["x"], p["m"], seen), k=given)


def test_grouped_queries_read_the_keys_of_their_group():
    model = dv.Sequential([L.MultiHeadAttention(4, 3, num_kv_heads=2)], input_shape=(5, 6))
    assert model.parameters[f"{NAME}_query_kernel"].shape == (6, 2, 2, 3)

    def forward(p):
        q = jnp.einsum("btd,dugk->btugk", p["x"], p[f"{NAME}_query_kernel"]) + p[f"{NAME}_query_bias"]
        k, v = (
            jnp.einsum("btd,duk->btuk", p["x"], p[f"{NAME}_{r}_kernel"]) + p[f"{NAME}_{r}_bias"]
            for r in ("key", "value")
        )
        a = jax.nn.softmax(jnp.einsum("btugk,bquk->bugtq", q, k) / 3**0.5)
        o = jnp.einsum("bugtq,bquk->btugk", a, v)
        return jnp.einsum("btugk,ugkd->btd", o, p[f"{NAME}_output_kernel"]) + p[f"{NAME}_output_bias"]

    gradients(model, forward)


def normed(x, gamma, beta):
    x = x - x.mean(-1, keepdims=True)
    return gamma * x / jnp.sqrt((x**2).mean(-1, keepdims=True) + 1e-5) + beta


def block(p, x, at=lambda a: a):
    """A pre-norm block, its parameters taken by ``at``."""
    p = {n.split("_1_", 1)[1]: at(a) for n, a in p.items() if "_1_" in n}
    names = {f"a_{n.removeprefix('attention_')}": a for n, a in p.items() if n.startswith("attention_")}
    u = x + attend(names, "a", normed(x, p["attention_norm_gamma"], p["attention_norm_beta"]))
    h = normed(u, p["mlp_norm_gamma"], p["mlp_norm_beta"])
    return u + jax.nn.gelu(h @ p["up_kernel"] + p["up_bias"], approximate=False) @ p["down_kernel"] + p["down_bias"]


@pytest.mark.slow
def test_a_block_and_a_stack_of_blocks():
    gradients(dv.Sequential([L.TransformerBlock(2)], input_shape=(4, 6)), lambda p: block(p, p["x"]))
    model = dv.Sequential([L.Stack(L.TransformerBlock(2), 3)], input_shape=(4, 6))
    assert model.parameters["stack_1_up_kernel"].shape == (3, 6, 24)

    def forward(p):
        x = p["x"]
        for n in range(3):
            x = block(p, x, lambda a, n=n: a[n])
        return x

    gradients(model, forward)


def test_positions():
    model = dv.Sequential([L.PositionalEmbedding(7)], input_shape=(5, 6))
    gradients(model, lambda p: p["x"] + p["positional_embedding_1_table"][:5])
    t, m = np.arange(5)[:, None], np.arange(3)
    angle = t * 10000.0 ** (-2 * m / 6)
    waves = np.stack([np.sin(angle), np.cos(angle)], -1).reshape(5, 6)
    model = dv.Sequential([L.SinusoidalPositions(), L.Dense(6, use_bias=False)], input_shape=(5, 6))
    gradients(model, lambda p: (p["x"] + waves) @ p["dense_1_kernel"])


def test_rms_norm_gates_patches_and_the_class_token():
    gradients(
        dv.Sequential([L.RMSNorm()], input_shape=(4, 6)),
        lambda p: p["rms_norm_1_gamma"] * p["x"] / jnp.sqrt((p["x"] ** 2).mean(-1, keepdims=True) + 1e-6),
    )
    n = "gated_dense_1"
    gradients(
        dv.Sequential([L.GatedDense(3)], input_shape=(4, 6)),
        lambda p: (
            jax.nn.silu(p["x"] @ p[f"{n}_gate_kernel"] + p[f"{n}_gate_bias"])
            * (p["x"] @ p[f"{n}_kernel"] + p[f"{n}_bias"])
        ),
    )

    def patches(p):
        x = p["x"].reshape(-1, 2, 4, 3, 4, 2).transpose(0, 1, 3, 2, 4, 5).reshape(-1, 6, 32)
        h = x @ p["patch_embedding_1_kernel"].reshape(32, 5) + p["patch_embedding_1_bias"]
        return jnp.concatenate([jnp.broadcast_to(p["class_token_1_token"], (len(h), 1, 5)), h], 1)

    gradients(dv.Sequential([L.PatchEmbedding(4, 5), L.ClassToken()], input_shape=(8, 12, 2)), patches)


REFUSED = {
    "1, 2, 4": lambda: L.MultiHeadAttention(4, 3, num_kv_heads=3),
    "accepted is an even number": lambda: L.MultiHeadAttention(4, 3, rotary=True),
    "2 heads do not divide the width 5": lambda: dv.Sequential([L.TransformerBlock(2)], input_shape=(4, 5)),
    "from 5 positions to a memory of 4": lambda: called(L.MultiHeadAttention(2, 3, causal=True), (4, 6)),
    "the mask k has shape (B, 3); accepted are (B, 4), (B, 5, 4)": lambda: called(
        L.MultiHeadAttention(2, 3), (4, 6), (3,)
    ),
    "a mask of the sequence itself is given as [x, x, mask]": lambda: called(L.MultiHeadAttention(2, 3), (5,)),
    "4 positions, but x has 5": lambda: dv.Sequential([L.PositionalEmbedding(4)], input_shape=(5, 6)),
    "accepted are pre, post": lambda: L.TransformerBlock(2, norm="per"),
    "is called on [x, memory] or [x, memory, mask]": lambda: called(L.TransformerBlock(2, cross=True)),
    "patches of 4 do not divide a picture of 6 by 8": lambda: dv.Sequential(
        [L.PatchEmbedding(4, 5)], input_shape=(6, 8, 1)
    ),
}


def called(layer, *shapes):
    x, *others = (dv.Input(s, name=n) for s, n in zip([(5, 6), *shapes], "xmk", strict=False))
    return dv.Model([x, *others], layer([x, *others]))


@pytest.mark.parametrize("said", REFUSED)
def test_what_does_not_fit_is_refused(said):
    with pytest.raises(dv.DeriveError) as error:
        REFUSED[said]()
    assert said in " ".join(str(error.value).split())


def test_a_last_layer_tied_to_the_embedding():
    table = L.Embedding(7, 4)
    model = dv.Sequential([table, L.LayerNorm(), L.Dense(tied_to=table)], input_shape=(5,))
    assert list(model.parameters)[-1] == "dense_1_bias" and "dense_1_kernel" not in model.parameters
    assert model.to_dict()["layers"][2]["tied_to"] == "embedding_1"
    assert dv.Model.from_dict(model.to_dict()).output == model.output
    d = model.backprop("sparse_softmax_cross_entropy")
    with jax.enable_x64(True):
        kern = nx.compile(d, sizes=model.sizes)
        rng = np.random.default_rng(0)
        x, y = rng.integers(0, 7, (2, 3, 5))
        E, g, b, c = (rng.normal(size=s) for s in [(7, 4), (4,), (4,), (7,)])
        found = kern(x=x, y=y, embedding_1_table=E, layer_norm_1_gamma=g, layer_norm_1_beta=b, dense_1_bias=c)[1]

        def loss(E):
            h = E[x] - E[x].mean(-1, keepdims=True)
            h = g * h / jnp.sqrt((h**2).mean(-1, keepdims=True) + 1e-3) + b
            return -jnp.take_along_axis(jax.nn.log_softmax(h @ E.T + c), y[..., None], -1).mean()

        np.testing.assert_allclose(found["embedding_1_table"], jax.grad(loss)(jnp.asarray(E)), rtol=1e-9, atol=1e-12)
    with pytest.raises(dv.DeriveError, match="does not stand before this layer"):
        dv.Sequential([L.Embedding(7, 4), L.Dense(tied_to=L.Embedding(7, 4))], input_shape=(5,))
    with pytest.raises(dv.ShapeError, match="accepted is what has the 4 channels of a row"):
        dv.Sequential([table, L.Dense(3), L.Dense(tied_to=table)], input_shape=(5,))
