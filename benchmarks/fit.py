"""``Trainer.fit`` against the bare generated step in a loop, Flax + optax with ``value_and_grad``, and torch.

Epochs of 100 steps of a multilayer perceptron, short so that many can take turns: on MNIST, in the folder ``mnist`` of the
one that ``DERIVE_DATA`` names, else on scikit-learn's digits.  All take the same shuffled batches; the others are the
plain loops that people write.
"""

from __future__ import annotations

import os
from pathlib import Path

import jax
import numpy as np

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import digits, load_mnist

from .harness import Row, interleaved

HIDDEN, BATCH, RATE, STEPS = 512, 128, 1e-3, 100
BARE, FLAX = 0.90, 0.97  # floors: fit within 10% of the bare step, and at least this of Flax
LOSS = "sparse_softmax_cross_entropy"


def data(quick: bool):
    """Images, labels and the name of the data set."""
    folder = os.environ.get("DERIVE_DATA")
    if not quick and folder and (Path(folder) / "mnist").is_dir():
        (X, Y), _ = load_mnist(Path(folder) / "mnist")
        return X, Y, "MNIST"
    (X, Y), _ = digits()
    return X, Y, "digits"


def measure(quick: bool = False) -> list[Row]:
    """The time of an epoch of ``fit`` as a ratio to each of the others."""
    X, Y, name = data(quick)
    hidden, rounds = (16, 2) if quick else (HIDDEN, 31)
    model = dv.Sequential(
        [L.Dense(hidden, activation="relu"), L.Dense(hidden, activation="relu"), L.Dense(10)], input_shape=X.shape[1:]
    )
    size = min(len(X) // BATCH, STEPS) * BATCH
    X, Y = X[:size], Y[:size]
    fit = fitted(model, X, Y)
    rows = []
    said = f"fit {name} {X.shape[1]}-{hidden}-{hidden}-10 B={BATCH}"
    for what, make, floor in (("bare step", bare, BARE), ("Flax + optax", flax, FLAX), ("torch", torch, None)):
        try:
            other = make(model, X, Y)
        except ModuleNotFoundError:
            continue
        ratio, ours, theirs = interleaved(fit, other, rounds=rounds, inner=1)
        control, _, _ = interleaved(other, other, rounds=max(2, rounds // 2), inner=1)
        rows.append(Row(said, f"epoch, {what}", ratio, control, floor, {"fit_s": ours, "other_s": theirs}))
    return rows


def fitted(model, X, Y):
    """An epoch of ``fit``."""
    import optax

    trainer = nx.Trainer(model, LOSS, optax.adam(RATE))
    return lambda: trainer.fit(X, Y, batch_size=BATCH, epochs=1, verbose=False)


def shuffled(n: int):
    order = np.random.default_rng(0).permutation(n)
    return [order[k : k + BATCH] for k in range(0, n, BATCH)]


def bare(model, X, Y):
    """The generated program and optax, jitted, in a loop over shuffled batches."""
    import optax

    kernel, optimizer = nx.compile(model.backprop(LOSS)), optax.adam(RATE)
    names = [t.name for t in kernel.inputs]

    @jax.jit
    def step(params, state, x, y):
        every = {**params, "x": x, "y": y}
        loss, gradients, _ = kernel.fn(*[every[n] for n in names])
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, loss

    params = nx.init(model)
    return loop(step, params, optimizer.init(params), X, Y)


def flax(model, X, Y):
    """The same network in Flax, its gradients by autodiff."""
    import optax
    from flax import linen as nn

    hidden = model.layer("dense_1").layer.units

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = nn.relu(nn.Dense(hidden)(x))
            x = nn.relu(nn.Dense(hidden)(x))
            return nn.Dense(10)(x)

    network, optimizer = Network(), optax.adam(RATE)
    params = network.init(jax.random.key(0), X[:1])

    @jax.jit
    def step(params, state, x, y):
        def loss(p):
            return optax.softmax_cross_entropy_with_integer_labels(network.apply(p, x), y).mean()

        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = optimizer.update(gradients, state, params)
        return optax.apply_updates(params, updates), state, value

    return loop(step, params, optimizer.init(params), X, Y)


def loop(step, params, state, X, Y):
    """An epoch as a plain loop; the losses are read at its end."""
    holds = [params, state]

    def epoch():
        losses = []
        for rows in shuffled(len(X)):
            holds[0], holds[1], loss = step(holds[0], holds[1], X[rows], Y[rows])
            losses.append(loss)
        return float(np.mean(jax.device_get(losses)))

    return epoch


def torch(model, X, Y):
    """The same network in torch, eager."""
    import torch as T

    hidden = model.layer("dense_1").layer.units
    network = T.nn.Sequential(
        T.nn.Linear(X.shape[1], hidden), T.nn.ReLU(), T.nn.Linear(hidden, hidden), T.nn.ReLU(), T.nn.Linear(hidden, 10)
    )
    optimizer, cost = T.optim.Adam(network.parameters(), RATE), T.nn.CrossEntropyLoss()
    x, y = T.from_numpy(X), T.from_numpy(Y.astype(np.int64))

    def epoch():
        total = 0.0
        for rows in shuffled(len(X)):
            optimizer.zero_grad()
            value = cost(network(x[rows]), y[rows])
            value.backward()
            optimizer.step()
            total += value.detach()
        return float(total)

    return epoch
