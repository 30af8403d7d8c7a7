"""Independent forwards of the recurrent layers: unrolled Python loops in ``jax.numpy``; see :mod:`numerics.reference.networks`.

Each is ``(model, placed, xs, arrays) -> array``.  A step is a plain function of plain matrices, one per gate.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from derive.networks import layers as L
from derive.networks.layers import Layer
from derive.networks.model import Model, Placed

from .activations import ACTIVATIONS
from .registry import Arrays, reference_of

State = tuple[Array, ...]
Step = Callable[[Any, Arrays, Array, State], State]


def _step_rnn(layer: Any, p: Arrays, x: Array, state: State) -> State:
    (h,) = state
    return (ACTIVATIONS[layer.activation.name](x @ p["kernel"] + h @ p["recurrent"] + p.get("bias", 0)),)


def _step_lstm(layer: Any, p: Arrays, x: Array, state: State) -> State:
    h, c = state
    i, f, g, o = (
        x @ p["kernel"][:, n] + h @ p["recurrent"][:, n] + (p["bias"][n] if "bias" in p else 0) for n in range(4)
    )
    if layer.peepholes:
        i, f = i + p["peephole"][0] * c, f + p["peephole"][1] * c
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    if layer.peepholes:
        o = o + p["peephole"][2] * c
    return jax.nn.sigmoid(o) * jnp.tanh(c), c


def _step_gru(layer: Any, p: Arrays, x: Array, state: State) -> State:
    (h,) = state
    a = [x @ p["kernel"][:, n] + (p["bias"][n] if "bias" in p else 0) for n in range(3)]
    s = [
        h @ p["recurrent"][:, n] + (p["recurrent_bias"][n] if "recurrent_bias" in p else 0)
        for n in range(p["recurrent"].shape[1])
    ]
    z, r = jax.nn.sigmoid(a[0] + s[0]), jax.nn.sigmoid(a[1] + s[1])
    n = jnp.tanh(a[2] + (r * s[2] if layer.reset_after else (r * h) @ p["candidate"]))
    return (z * h + (1 - z) * n,)


STEPS: dict[type[Layer], Step] = {L.SimpleRNN: _step_rnn, L.LSTM: _step_lstm, L.GRU: _step_gru}


def unrolled(layer: Any, prefix: str, xs: Sequence[Array], arrays: Arrays) -> tuple[Array, State]:
    """``(output, final states)`` of a recurrent layer, step by step; its parameters are ``<prefix>_kernel`` ..."""
    xs = list(xs)
    x = xs.pop(0)
    mask = xs.pop(0) if layer.masked else None
    p = {name.removeprefix(f"{prefix}_"): a for name, a in arrays.items() if name.startswith(f"{prefix}_")}
    zeros = jnp.zeros((x.shape[0], p["kernel"].shape[-1]), x.dtype)
    state = {
        "zeros": lambda: tuple(zeros for _ in layer.states),
        "parameter": lambda: tuple(zeros + p[f"{s}0"] for s in layer.states),
        "input": lambda: tuple(xs),
        "carried": lambda: tuple(p[s] for s in layer.states),
    }[layer.initial_state]()
    steps = range(x.shape[1])
    outputs = {}
    for t in reversed(steps) if layer.go_backwards else steps:
        new = STEPS[type(layer)](layer, p, x[:, t], state)
        keep = None if mask is None else mask[:, t, None] > 0
        state = new if keep is None else tuple(jnp.where(keep, n, old) for n, old in zip(new, state, strict=True))
        outputs[t] = state[0]
    return (jnp.stack([outputs[t] for t in steps], axis=1) if layer.return_sequences else state[0]), state


@reference_of(*STEPS)
def _recurrent(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return unrolled(placed.layer, placed.name, xs, arrays)[0]


@reference_of(L.Bidirectional)
def _bidirectional(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    twin = copy.copy(placed.layer.layer)
    twin.go_backwards = True
    left = unrolled(placed.layer.layer, f"{placed.name}_forward", xs, arrays)[0]
    right = unrolled(twin, f"{placed.name}_backward", xs, arrays)[0]
    return {
        "concat": lambda: jnp.concatenate([left, right], axis=-1),
        "sum": lambda: left + right,
        "mul": lambda: left * right,
        "ave": lambda: (left + right) / 2,
    }[placed.layer.merge_mode]()


@reference_of(L.Embedding)
def _embedding(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return jnp.take(arrays[f"{placed.name}_table"], xs[0], axis=0)


@reference_of(L.EmbeddingBag)
def _embedding_bag(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    counts = jax.nn.one_hot(xs[0], arrays[f"{placed.name}_table"].shape[0])  # (B, T, V)
    if placed.layer.mode == "max":
        return jnp.max(arrays[f"{placed.name}_table"][xs[0]], axis=1)
    weight = xs[1] if placed.layer.weighted else jnp.ones(xs[0].shape)
    bag = jnp.einsum("bt,btv->bv", weight, counts) @ arrays[f"{placed.name}_table"]
    total = jnp.sum(weight, axis=1, keepdims=True)
    return bag if placed.layer.mode == "sum" else jnp.where(total > 0, bag / jnp.where(total > 0, total, 1), 0)
