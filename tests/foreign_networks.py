"""Networks of Flax (linen and nnx) and Equinox, as ``(f, args)`` in float64; f is differentiated by its first argument."""

import equinox as eqx
import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import nnx
from foreign_functions import labels, normal
from jax import lax

NETWORKS = {}


def _wide(tree):
    return jax.tree.map(lambda a: a.astype(jnp.float64) if jnp.issubdtype(a.dtype, jnp.floating) else a, tree)


def _mean_cube(o):
    return jnp.mean(o**3)


def linen(name, make, *xs):
    """``name``: the mean cube of what a linen module returns."""

    def made():
        module = make()
        variables = _wide(module.init(jax.random.key(1), *xs))
        rest = {k: v for k, v in variables.items() if k != "params"}

        def f(params, *xs):
            return _mean_cube(module.apply({"params": params, **rest}, *xs))

        return f, (variables["params"], *xs)

    NETWORKS[f"linen {name}"] = made


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(7)(x))
        x = nn.LayerNorm()(x)
        return nn.Dense(3)(x)


class Block(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(h, h, mask=nn.make_causal_mask(x[..., 0]))
        h = nn.LayerNorm()(x)
        h = nn.gelu(nn.Dense(16)(h))
        return x + nn.Dense(8)(h)


class Transformer(nn.Module):
    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(11, 8)(ids)
        for _ in range(2):
            x = Block()(x)
        return nn.Dense(11)(nn.LayerNorm()(x))


class Pools(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Conv(4, (3, 3))(x))
        x = nn.max_pool(x, (2, 2), strides=(2, 2))
        x = nn.avg_pool(x, (2, 2), strides=(2, 2))
        return nn.Dense(3)(x.reshape(x.shape[0], -1))


linen("mlp", Mlp, normal(6, 4))
linen("dense general", lambda: nn.DenseGeneral((2, 3)), normal(6, 4))
linen("layer norm", nn.LayerNorm, normal(6, 4))
linen("rms norm", nn.RMSNorm, normal(6, 4))
linen("group norm", lambda: nn.GroupNorm(num_groups=2), normal(3, 5, 4))
linen("conv", lambda: nn.Conv(4, (3, 3)), normal(2, 6, 5, 3))
linen("conv strided", lambda: nn.Conv(4, (3, 3), strides=(2, 2), padding="VALID"), normal(2, 7, 5, 3))
linen("conv grouped", lambda: nn.Conv(6, (3,), feature_group_count=2), normal(2, 7, 4))
linen("conv transposed", lambda: nn.ConvTranspose(4, (3, 3), strides=(2, 2)), normal(2, 4, 5, 3))
linen("embed", lambda: nn.Embed(7, 4), labels(7, 3, 5))
linen("attention", lambda: nn.MultiHeadDotProductAttention(num_heads=2), normal(2, 5, 8))
linen("block", Block, normal(2, 5, 8))
linen("pools", Pools, normal(2, 8, 8, 3))
linen("prelu", nn.PReLU, normal(6, 4))
linen("weight norm", lambda: nn.WeightNorm(nn.Dense(3)), normal(6, 4))
linen("lstm", lambda: nn.RNN(nn.LSTMCell(5, param_dtype=jnp.float64)), normal(2, 6, 4))
linen("gru", lambda: nn.RNN(nn.GRUCell(5, param_dtype=jnp.float64)), normal(2, 6, 4))


def transformer():
    ids, targets = labels(11, 2, 5), labels(11, 5, 2).T
    module = Transformer()

    def loss(params, ids, targets):
        logits = module.apply({"params": params}, ids)
        return optax.softmax_cross_entropy_with_integer_labels(logits, targets).mean()

    return loss, (_wide(module.init(jax.random.key(0), ids)["params"]), ids, targets)


NETWORKS["linen transformer"] = transformer


def nnx_network(name, make, *xs):
    def made():
        graph, params, rest = nnx.split(make(nnx.Rngs(0)), nnx.Param, ...)

        def f(params, *xs):
            return _mean_cube(nnx.merge(graph, params, rest)(*xs))

        return f, (_wide(params), *xs)

    NETWORKS[f"nnx {name}"] = made


nnx_network("linear", lambda rngs: nnx.Linear(4, 3, rngs=rngs), normal(6, 4))
nnx_network("layer norm", lambda rngs: nnx.LayerNorm(4, rngs=rngs), normal(6, 4))
nnx_network("conv", lambda rngs: nnx.Conv(3, 4, (3, 3), rngs=rngs), normal(2, 6, 5, 3))
nnx_network("lora", lambda rngs: nnx.LoRALinear(4, 3, lora_rank=2, rngs=rngs), normal(6, 4))


def equinox(name, make, *xs, call=lambda model, *xs: jax.vmap(model)(*xs)):
    def made():
        params, static = eqx.partition(make(jax.random.key(0)), eqx.is_inexact_array)

        def f(params, *xs):
            return _mean_cube(call(eqx.combine(params, static), *xs))

        return f, (_wide(params), *xs)

    NETWORKS[f"equinox {name}"] = made


def _over_time(cell, x):
    def one(x):
        def step(state, xt):
            state = cell(xt, state)
            return state, None

        zeros = jnp.zeros(cell.hidden_size)
        state, _ = lax.scan(step, (zeros, zeros) if isinstance(cell, eqx.nn.LSTMCell) else zeros, x)
        return state[0] if isinstance(state, tuple) else state

    return jax.vmap(one)(x)


equinox("mlp", lambda key: eqx.nn.MLP(4, 3, 8, 2, key=key), normal(6, 4))
equinox("layer norm", lambda key: eqx.nn.LayerNorm(4), normal(6, 4))
equinox("conv", lambda key: eqx.nn.Conv2d(3, 4, 3, key=key), normal(2, 3, 6, 5))
equinox(
    "attention",
    lambda key: eqx.nn.MultiheadAttention(2, 8, key=key),
    normal(2, 5, 8),
    call=lambda model, x: jax.vmap(lambda x: model(x, x, x))(x),
)
equinox("embedding", lambda key: eqx.nn.Embedding(7, 4, key=key), labels(7, 6))
equinox("lstm", lambda key: eqx.nn.LSTMCell(4, 5, key=key), normal(3, 6, 4), call=_over_time)
equinox("gru", lambda key: eqx.nn.GRUCell(4, 5, key=key), normal(3, 6, 4), call=_over_time)
