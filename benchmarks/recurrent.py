"""A step of a tanh RNN and of an LSTM against ``value_and_grad`` of the usual ``lax.scan`` model, and torch's if there."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import derive as dv
import numerics as nx
from derive.networks import layers as L

from .harness import Row, against, largest_error, memory

TOLERANCE = 1e-4  # relative, float32, sums over time and batch of 2048 terms
FLOORS = {("tanh RNN", 128): 1.0, ("tanh RNN", 256): 1.5, ("LSTM", 128): 1.1, ("LSTM", 256): 1.3}
BEST = {("LSTM", 128): 0.87, ("LSTM", 256): 0.87}  # floors of the ratio to the fastest opponent
MEMORY = 1 / 1.3  # of autodiff's temporaries over ours; with checkpoints ours must be the smaller
EVERY = 8
LAYERS = {"tanh RNN": L.SimpleRNN, "LSTM": L.LSTM}


def measure(quick: bool = False) -> list[Row]:
    """Ratios of step time and temporaries at two widths."""
    widths, shape, rounds = ((8, 12), (2, 5), 3) if quick else ((128, 256), (32, 64), 15)
    return [row for kind in LAYERS for width in widths for row in compare(kind, width, *shape, rounds)]


def compare(kind: str, width: int, batch: int, steps: int, rounds: int) -> list[Row]:
    """One workload, ``width`` features and units: errors first, then the ratios."""
    model = dv.Sequential([LAYERS[kind](width, return_sequences=True)], input_shape=(steps, width))
    kernel = nx.compile(model.backprop("mean_squared_error"))
    rng = np.random.default_rng(0)
    parameters = {name: jnp.asarray(a) for name, a in nx.init(model).items()}
    x, y = (jnp.asarray(rng.normal(size=(batch, steps, width)), jnp.float32) for _ in range(2))
    arrays = {**parameters, "x": x, "y": y}
    forward = FORWARDS[kind]
    ours = kernel.fn, [arrays[t.name] for t in kernel.inputs]
    theirs = jax.value_and_grad(forward), [parameters, x, y]

    loss_a, grads_a = kernel(**arrays)[:2]
    loss_b, grads_b = theirs[0](*theirs[1])
    error = largest_error({"loss": loss_a, **grads_a}, {"loss": loss_b, **grads_b})
    name = f"{kind} H={width} B={batch} T={steps}"
    if not error <= TOLERANCE:
        raise ValueError(f"{name}: the gradients differ from autodiff by {error:.1e}; nothing was timed")

    a, b = (jax.jit(f).lower(*args).compile() for f, args in (ours, theirs))
    rows = against(
        name,
        lambda: jax.block_until_ready(a(*ours[1])),
        theirs[0],
        tuple(theirs[1]),
        torch_step(kind, x, y),
        rounds,
        floor=FLOORS.get((kind, width)),
        best=BEST.get((kind, width)),
        values={"error": error},
    )
    temp_a, temp_b = memory(a), memory(b)
    if temp_a and temp_b:
        rows.append(
            Row(name, "temporaries", temp_b / temp_a, floor=MEMORY, values={"derived_B": temp_a, "autodiff_B": temp_b})
        )
        if kind == "LSTM" and steps >= EVERY:
            kept = nx.compile(kernel.derivation, checkpoint_every=EVERY).fn.lower(*ours[1]).compile()
            temp = memory(kept)
            rows.append(Row(name, f"temporaries, every {EVERY}", temp_b / temp, floor=1.0, values={"derived_B": temp}))
    return rows


def torch_step(kind: str, x, y):
    """The same step by ``torch.nn``, eager and with its own threads; None where torch is not installed."""
    try:
        import torch
    except ImportError:
        return None
    batch, steps, width = x.shape
    net = {"tanh RNN": torch.nn.RNN, "LSTM": torch.nn.LSTM}[kind](width, width, batch_first=True)
    x, y = (torch.from_numpy(np.array(a)) for a in (x, y))

    def step():
        net.zero_grad(set_to_none=True)
        loss = torch.nn.functional.mse_loss(net(x)[0], y)
        loss.backward()
        return float(loss.detach())

    return step


def rnn(parameters, x, y):
    """As people write it: one cell, one scan over the time axis."""
    U, W, c = (parameters[f"simple_rnn_1_{role}"] for role in ("kernel", "recurrent", "bias"))

    def cell(h, x_t):
        h = jnp.tanh(x_t @ U + h @ W + c)
        return h, h

    _, h = jax.lax.scan(cell, jnp.zeros((x.shape[0], W.shape[0]), x.dtype), jnp.swapaxes(x, 0, 1))
    return jnp.square(jnp.swapaxes(h, 0, 1) - y).mean()


def lstm(parameters, x, y):
    """One product for all gates, one scan over the time axis."""
    U, W, c = (parameters[f"lstm_1_{role}"] for role in ("kernel", "recurrent", "bias"))
    units = W.shape[0]
    U, W, c = U.reshape(U.shape[0], -1), W.reshape(units, -1), c.reshape(-1)

    def cell(carry, x_t):
        h, cell_state = carry
        i, f, g, o = jnp.split(x_t @ U + h @ W + c, 4, axis=-1)
        cell_state = jax.nn.sigmoid(f) * cell_state + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(cell_state)
        return (h, cell_state), h

    zeros = jnp.zeros((x.shape[0], units), x.dtype)
    _, h = jax.lax.scan(cell, (zeros, zeros), jnp.swapaxes(x, 0, 1))
    return jnp.square(jnp.swapaxes(h, 0, 1) - y).mean()


FORWARDS = {"tanh RNN": rnn, "LSTM": lstm}
