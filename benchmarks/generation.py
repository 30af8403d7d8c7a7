"""Tokens per second of ``nx.generate`` against a decoder of Flax with its cache, both one compiled loop over all tokens.

Flax's parameters are the model's own, and both have to write the same text before anything is timed.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

import derive as dv
import numerics as nx
from derive import layers as L

from .harness import Row, interleaved

try:
    import flax.linen as nn
except ImportError:
    nn = None

FLOOR, VOCABULARY, HEADS = 1.0, 65, 4
PROMPT = 16


def measure(quick: bool = False) -> list[Row]:
    """Rows at one text and at eight; none without Flax."""
    if nn is None:
        return []
    size, rounds = ((2, 8, 24), 2) if quick else ((4, 128, 256), 7)
    return [row for batch in (1, 8) for stacked in (True, False) for row in compare(batch, *size, stacked, rounds)]


def compare(batch: int, depth: int, width: int, positions: int, stacked: bool, rounds: int) -> list[Row]:
    """One model: the texts are compared, then the time that they take."""
    model = dv.Sequential(
        [
            L.Embedding(VOCABULARY, width),
            L.PositionalEmbedding(positions),
            *(
                [L.Stack(L.TransformerBlock(HEADS, causal=True), depth)]
                if stacked
                else [L.TransformerBlock(HEADS, causal=True) for _ in range(depth)]
            ),
            L.LayerNorm(),
            L.Dense(VOCABULARY),
        ],
        input_shape=(positions,),
    )
    trainer = nx.Trainer(model, "sparse_softmax_cross_entropy", seed=0)
    prompt = np.random.default_rng(0).integers(0, VOCABULARY, (batch, PROMPT))
    length = positions - PROMPT
    theirs = decoder(depth, width, positions, trainer.params, prompt, length)
    wanted, written = theirs(), nx.generate(trainer, prompt, length, temperature=0)
    if not np.array_equal(wanted, written):
        raise ValueError(f"Flax writes another text, from position {int(np.argmax((wanted != written).any(0)))} on")
    ratio, a, b = interleaved(lambda: nx.generate(trainer, prompt, length, temperature=0), theirs, rounds, 1)
    name = f"GPT of {depth} blocks, {'stack' if stacked else 'written'}, B={batch}"
    tokens = batch * length
    return [Row(name, "generation", ratio, None, FLOOR, {"tokens_per_s": tokens / a, "flax_tokens_per_s": tokens / b})]


def decoder(depth: int, width: int, positions: int, params: dict, prompt, length: int) -> Callable:
    """Flax's text, token by token with the cache of ``decode=True``, in one jitted scan."""

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.LayerNorm(epsilon=1e-5, name="attention_norm")(x)
            x = x + nn.MultiHeadDotProductAttention(HEADS, decode=True, name="attention")(h)
            h = nn.LayerNorm(epsilon=1e-5, name="mlp_norm")(x)
            h = nn.gelu(nn.Dense(4 * width, name="up")(h), approximate=False)
            return x + nn.Dense(width, name="down")(h)

    class Gpt(nn.Module):
        @nn.compact
        def __call__(self, tokens, at):
            table = self.param("positions", nn.initializers.normal(), (positions, width))
            x = nn.Embed(VOCABULARY, width, name="embedding")(tokens) + table[at]
            for n in range(depth):
                x = Block(name=f"block_{n}")(x)
            return nn.Dense(VOCABULARY, name="head")(nn.LayerNorm(epsilon=1e-3, name="norm")(x))

    module = Gpt()
    whole = jnp.zeros((len(prompt), positions), jnp.int32)
    cache = module.init(jax.random.key(0), whole, jnp.arange(positions))["cache"]
    variables = flax_parameters(params, depth)
    tokens = jnp.asarray(prompt, jnp.int32)

    @jax.jit
    def run(variables, cache, tokens):
        def step(carry, at):
            cache, token = carry
            token = jnp.where(at < tokens.shape[1], tokens[:, jnp.minimum(at, tokens.shape[1] - 1)], token)
            logits, new = module.apply(
                {"params": variables, "cache": cache}, token[:, None], at[None], mutable=["cache"]
            )
            return (new["cache"], logits[:, 0].argmax(-1).astype(jnp.int32)), token

        last = tokens.shape[1] + length
        _, made = lax.scan(step, (cache, tokens[:, 0]), jnp.arange(last))
        return made.T

    return lambda: np.asarray(run(variables, cache, tokens))


def flax_parameters(params: dict, depth: int) -> dict:
    """The model's parameters by Flax's names."""

    def norm(name):
        return {"scale": params[f"{name}_gamma"], "bias": params[f"{name}_beta"]}

    def block(n):
        def of(role):
            stacked = f"stack_1_{role}"
            return params[stacked][n] if stacked in params else params[f"transformer_block_{n + 1}_{role}"]

        def dense(name):
            return {"kernel": of(f"{name}_kernel"), "bias": of(f"{name}_bias")}

        found = {
            f"{m}_norm": {"scale": of(f"{m}_norm_gamma"), "bias": of(f"{m}_norm_beta")} for m in ("attention", "mlp")
        }
        parts = {flax: dense(f"attention_{ours}") for ours, flax in (("output", "out"), ("query", "query"))}
        parts |= {role: dense(f"attention_{role}") for role in ("key", "value")}
        return {**found, "attention": parts, "up": dense("up"), "down": dense("down")}

    return {
        "positions": params["positional_embedding_1_table"],
        "embedding": {"embedding": params["embedding_1_table"]},
        **{f"block_{n}": block(n) for n in range(depth)},
        "norm": norm("layer_norm_1"),
        "head": {"kernel": params["dense_1_kernel"], "bias": params["dense_1_bias"]},
    }
