"""The rows of recurrent layers: each is a ``scan`` over time, which becomes a recurrence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from .table import NotCovered, aten

Array = Any
State = tuple[Array, ...]


def _affine(x: Array, w: Array, b: Array | None) -> Array:
    return x @ w.T if b is None else x @ w.T + b


def lstm_step(x: Array, state: State, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None) -> State:
    h, c = state
    gates = _affine(x, w_ih, b_ih) + _affine(h, w_hh, b_hh)
    i, f, g, o = jnp.split(gates, 4, axis=-1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return h, c


def gru_step(x: Array, state: State, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None) -> State:
    (h,) = state
    from_x = _affine(x, w_ih, b_ih)
    from_h = _affine(h, w_hh, b_hh)
    x_r, x_z, x_n = jnp.split(from_x, 3, axis=-1)
    h_r, h_z, h_n = jnp.split(from_h, 3, axis=-1)
    r = jax.nn.sigmoid(x_r + h_r)
    z = jax.nn.sigmoid(x_z + h_z)
    n = jnp.tanh(x_n + r * h_n)
    h = (1 - z) * n + z * h
    return (h,)


def tanh_step(x: Array, state: State, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None) -> State:
    return (jnp.tanh(_affine(x, w_ih, b_ih) + _affine(state[0], w_hh, b_hh)),)


def relu_step(x: Array, state: State, w_ih: Array, w_hh: Array, b_ih: Array | None, b_hh: Array | None) -> State:
    return (jax.nn.relu(_affine(x, w_ih, b_ih) + _affine(state[0], w_hh, b_hh)),)


def _layers(
    step: Callable[..., State],
    x: Array,
    states: Sequence[Array | None],
    params: Sequence[Array],
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Array, ...]:
    if dropout > 0 and train and num_layers > 1:
        raise NotCovered(f"dropout={dropout:g} between layers in training mode draws noise; accepted: module.eval()")
    ways = 2 if bidirectional else 1
    per = 4 if has_biases else 2
    projected = len(params) == (per + 1) * ways * num_layers
    per += projected
    if batch_first and x.ndim == 3:
        x = jnp.swapaxes(x, 0, 1)
    last: list[State] = []
    for layer in range(num_layers):
        outs = []
        for way in range(ways):
            n = layer * ways + way
            own = list(params[n * per : (n + 1) * per])
            to_h = own.pop() if projected else None
            own = [*own, None, None][:4]
            widths = (own[1].shape[1], to_h.shape[1] if to_h is not None else own[1].shape[1])
            start = tuple(
                jnp.zeros((*x.shape[1:-1], width), x.dtype) if s is None else s[n]
                for s, width in zip(states, widths, strict=False)
            )

            def body(state: State, x_t: Array, own: Any = own, to_h: Any = to_h) -> tuple[State, Array]:
                state = step(x_t, state, *own)
                if to_h is not None:
                    state = (state[0] @ to_h.T, *state[1:])
                return state, state[0]

            end, h = lax.scan(body, start, x, reverse=way == 1)
            last.append(end)
            outs.append(h)
        x = outs[0] if ways == 1 else jnp.concatenate(outs, axis=-1)
    if batch_first and x.ndim == 3:
        x = jnp.swapaxes(x, 0, 1)
    return (x, *(jnp.stack([end[k] for end in last]) for k in range(len(states))))


@aten("lstm.input")
def lstm(x: Array, hx: Sequence[Array] | None, params: Sequence[Array], *options: Any) -> tuple[Array, ...]:
    return _layers(lstm_step, x, hx or (None, None), params, *options)


def _one_state(step: Callable[..., State]) -> Any:
    return lambda x, hx, params, *options: _layers(step, x, [hx], params, *options)


aten("gru.input")(_one_state(gru_step))
aten("rnn_tanh.input")(_one_state(tanh_step))
aten("rnn_relu.input")(_one_state(relu_step))


@aten("lstm_cell")
def lstm_cell(x: Array, hx: Sequence[Array], w_ih: Array, w_hh: Array, b_ih: Any = None, b_hh: Any = None) -> State:
    return lstm_step(x, tuple(hx), w_ih, w_hh, b_ih, b_hh)


def _cell(step: Callable[..., State]) -> Any:
    return lambda x, hx, w_ih, w_hh, b_ih=None, b_hh=None: step(x, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


aten("gru_cell")(_cell(gru_step))
aten("rnn_tanh_cell")(_cell(tanh_step))
aten("rnn_relu_cell")(_cell(relu_step))
