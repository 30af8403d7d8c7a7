"""Independent forwards of layers that consist of others: Transformer blocks, stacks, experts; see
:mod:`numerics.reference.networks`.  A part is a layer in its place, whose parameters begin with the block's name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax

from derive.networks import layers as L
from derive.networks.model import Model, Placed

from .activations import ACTIVATIONS
from .registry import LAYERS, PRICES, Arrays, price_of, reference_of


def _part(model: Model, placed: Placed, role: str, layer: Any, xs: Sequence[Array], arrays: Arrays) -> Array:
    """What one layer of a block gives."""
    made = Placed(f"{placed.name}_{role}" if role else placed.name, layer, placed.output, ())
    return LAYERS[type(layer)](model, made, xs, arrays)


@reference_of(L.TransformerBlock)
def transformer_block(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    layer: Any = placed.layer
    x, *rest = xs
    memory = rest.pop(0) if layer.cross else None
    width = x.shape[-1]
    norm = L.RMSNorm() if layer.normalization == "rms" else L.LayerNorm(1e-5)

    def part(role: str, of: Any, *given: Array) -> Array:
        return _part(model, placed, role, of, given, arrays)

    def beside(role: str, x: Array, function: Callable[[Array], Array]) -> Array:
        made = function(part(f"{role}_norm", norm, x) if layer.norm == "pre" else x)
        if layer.dropout:
            made = part(f"{role}_dropout", L.Dropout(layer.dropout), made)
        return x + made if layer.norm == "pre" else part(f"{role}_norm", norm, x + made)

    def attention(causal: bool) -> L.MultiHeadAttention:
        rotary = layer.rotary and causal is layer.causal
        each = layer.key_dim or width // layer.num_heads
        return L.MultiHeadAttention(
            layer.num_heads, each, causal, layer.num_kv_heads, rotary, layer.dropout, layer.use_bias
        )

    def mlp(h: Array) -> Array:
        units = layer.units or 4 * width
        hidden = L.GatedDense if layer.gated else L.Dense
        up = part("up", hidden(units, activation=layer.activation, use_bias=layer.use_bias), h)
        return part("down", L.Dense(width, use_bias=layer.use_bias), up)

    masks = [] if layer.cross else rest
    x = beside("attention", x, lambda h: part("attention", attention(layer.causal), h, h, *masks))
    if memory is not None:
        to_memory = L.MultiHeadAttention(
            layer.num_heads,
            layer.key_dim or width // layer.num_heads,
            num_kv_heads=layer.num_kv_heads,
            dropout=layer.dropout,
            use_bias=layer.use_bias,
        )
        x = beside("cross", x, lambda h: part("cross", to_memory, h, memory, *rest))
    return beside("mlp", x, mlp)


@reference_of(L.Stack)
def stack(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    """The blocks one after another, each with its slice of the parameters."""
    layer: Any = placed.layer
    x, *others = xs
    for n in range(layer.depth):
        x = _part(model, placed, "", layer.block, [x, *others], _slice(model, placed, arrays, n))
    return x


@price_of(L.Stack)
def stack_price(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array | float:
    layer: Any = placed.layer
    x, *others = xs
    total: Array | float = 0.0
    for n in range(layer.depth if type(layer.block) in PRICES else 0):
        own = _slice(model, placed, arrays, n)
        block = Placed(placed.name, layer.block, placed.output, ())
        total += PRICES[type(layer.block)](model, block, [x, *others], own)
        x = _part(model, placed, "", layer.block, [x, *others], own)
    return total


def _slice(model: Model, placed: Placed, arrays: Arrays, n: int) -> Arrays:
    """What the n-th block reads: all that is the stack's own has the depth in front, but parameters that are shared."""
    layer: Any = placed.layer
    own = {p for p in arrays if p.startswith(f"{placed.name}_")}
    if layer.shared:
        own -= set(model.parameters)
    return {name: a[n] if name in own else a for name, a in arrays.items()}


@reference_of(L.MixtureOfExperts)
def experts(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    """Each expert by itself; the gates of those that are not among the best are 0."""
    layer: Any = placed.layer
    (x,), name = xs, placed.name
    logits, chosen = _gates(placed, x, arrays)
    weights = jax.nn.softmax(jnp.where(chosen, logits, -jnp.inf))

    def mapped(h: Array, role: str, n: int) -> Array:
        z = h @ arrays[f"{name}_{role}kernel"][n]
        return z + arrays[f"{name}_{role}bias"][n] if layer.use_bias else z

    act = ACTIVATIONS[layer.activation.name]
    total = jnp.zeros(())
    for n in range(layer.num_experts):
        h = act(mapped(x, "", n)) if layer.hidden is None else mapped(act(mapped(x, "up_", n)), "", n)
        total = total + weights[..., n, None] * h
    return total


@price_of(L.MixtureOfExperts)
def balance(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array | float:
    layer: Any = placed.layer
    logits, chosen = _gates(placed, xs[0], arrays)
    axes = tuple(range(logits.ndim - 1))
    share = jax.nn.softmax(logits).mean(axes)
    count = layer.top_k or layer.num_experts
    used = share if count == layer.num_experts else chosen.astype(logits.dtype).mean(axes) / count
    return layer.balance * layer.num_experts * jnp.vdot(used, share)


def _gates(placed: Placed, x: Array, arrays: Arrays) -> tuple[Array, Array]:
    """The scores, and which of them are among the largest: of equal ones the first."""
    layer: Any = placed.layer
    logits = x @ arrays[f"{placed.name}_gate_kernel"]
    _, best = lax.top_k(logits, layer.top_k or layer.num_experts)
    return logits, jax.nn.one_hot(best, layer.num_experts).sum(-2) > 0
