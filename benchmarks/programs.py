"""The programs measured: the derived one and the idiomatic forward that autodiff differentiates."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

import derive as dv


def softmax_regression():
    """The example of the README, with its autodiff opponent: derivation, forward, example arguments."""
    b, i, k = dv.indices("b i k")
    x = dv.tensor("x", b, i)
    label = dv.tensor("label", b, dtype="int", below=k.size)
    W, c = dv.tensor("W", i, k), dv.tensor("c", k)
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k])
    return cross_entropy(z, label, b, k), [W, c]


def cross_entropy(z, label, b, k):
    """The mean softmax cross-entropy of logits z[b,k]."""
    import sympy

    lse = dv.define("lse", (b,), sympy.log(dv.Sum(sympy.exp(z[b, k]), k)))
    return dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size)


def mlp(hidden: int = 2):
    """A multilayer perceptron with ``hidden`` relu layers, all sizes symbolic; returns the loss and the parameters."""
    b, k = dv.indices("b k")
    letters = [dv.index(f"n{n}") for n in range(hidden + 1)]
    label = dv.tensor("label", b, dtype="int", below=k.size)
    h, wrt = dv.tensor("x", b, letters[0]), []
    for n in range(1, hidden + 1):
        i, j = letters[n - 1], letters[n]
        W, c = dv.tensor(f"W{n}", i, j), dv.tensor(f"c{n}", j)
        h = dv.define(f"h{n}", (b, j), dv.relu(dv.Sum(h[b, i] * W[i, j], i) + c[j]))
        wrt += [W, c]
    i = letters[hidden]
    W, c = dv.tensor(f"W{hidden + 1}", i, k), dv.tensor(f"c{hidden + 1}", k)
    z = dv.define("z", (b, k), dv.Sum(h[b, i] * W[i, k], i) + c[k])
    return cross_entropy(z, label, b, k), [*wrt, W, c]


def forward(parameters, x, label):
    """The same network as people write it: a stack of ``x @ W + c``, relu between, log-softmax at the end."""
    layers = list(zip(parameters[::2], parameters[1::2], strict=True))
    for W, c in layers[:-1]:
        x = jax.nn.relu(x @ W + c)
    W, c = layers[-1]
    logp = jax.nn.log_softmax(x @ W + c)
    return -jnp.take_along_axis(logp, label[:, None], axis=1).mean()


def arrays(widths: tuple[int, ...], batch: int, seed: int = 0):
    """Random parameters in order (W1, c1, ...), images and labels, float32."""
    rng = np.random.default_rng(seed)
    parameters = []
    for n, m in zip(widths[:-1], widths[1:], strict=True):
        parameters += [rng.normal(0, (2 / n) ** 0.5, (n, m)), rng.normal(0, 0.1, m)]
    x = rng.normal(size=(batch, widths[0]))
    label = rng.integers(0, widths[-1], batch)
    return [jnp.asarray(p, jnp.float32) for p in parameters], jnp.asarray(x, jnp.float32), jnp.asarray(label, jnp.int32)
