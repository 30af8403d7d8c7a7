"""Independent forwards of the catalogue's networks, in ``jax.numpy`` and ``jax.nn``: what ``nx.verify`` differentiates.

Written from the layers' documentation, not from their definitions.  A network with a layer, activation or loss of your
own has no reference here, and verify falls back to the node-by-node evaluator.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from derive.networks.layers import Penalty

from . import images as catalogue_images
from . import sequences as catalogue_sequences
from .activations import ACTIVATIONS


def _dense(model, placed, xs, arrays):
    kernel, bias = f"{placed.name}_kernel", f"{placed.name}_bias"
    z = jnp.matmul(xs[0], arrays[kernel])
    return ACTIVATIONS[placed.layer.activation.name](z + arrays[bias] if bias in arrays else z)


def _activation(model, placed, xs, arrays):
    return ACTIVATIONS[placed.layer.activation.name](xs[0])


def _prelu(model, placed, xs, arrays):
    z = xs[0]
    return jnp.maximum(z, 0) - arrays[f"{placed.name}_slope"] * jnp.maximum(-z, 0)


def _maxout(model, placed, xs, arrays):
    kernel, bias = arrays[f"{placed.name}_kernel"], arrays.get(f"{placed.name}_bias")
    pieces = [xs[0] @ kernel[..., r] + (0 if bias is None else bias[:, r]) for r in range(kernel.shape[-1])]
    return jnp.max(jnp.stack(pieces), axis=0)


def _rbf(model, placed, xs, arrays):
    apart = jnp.linalg.norm(xs[0][..., None, :] - arrays[f"{placed.name}_centres"], axis=-1)
    return jnp.exp(-jnp.square(apart / arrays[f"{placed.name}_widths"]) / 2)


LAYERS = {
    "dense": _dense,
    "activation": _activation,
    "prelu": _prelu,
    "maxout": _maxout,
    "rbf": _rbf,
    **catalogue_images.LAYERS,
    **catalogue_sequences.LAYERS,
}


def _picked(log_p, y):
    return jnp.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]


def _logcosh(z, y):
    return jnp.mean(jnp.logaddexp(z - y, y - z) - jnp.log(2.0))


def _huber(z, y):
    d = jnp.abs(z - y)
    inside = jnp.minimum(d, 1.0)
    return jnp.mean(0.5 * jnp.square(inside) + d - inside)


def _cosine(z, y):
    lengths = jnp.sqrt(jnp.clip(jnp.sum(z * z, axis=-1), 1e-12) * jnp.clip(jnp.sum(y * y, axis=-1), 1e-12))
    return jnp.mean(1 - jnp.sum(z * y, axis=-1) / lengths)


def _categorical_hinge(z, y):
    wrong = jnp.max((1 - y) * z, axis=-1)
    return jnp.mean(jax.nn.relu(1 + wrong - jnp.sum(y * z, axis=-1)))


def _kullback_leibler(p, y):
    return jnp.mean(jnp.sum(jax.scipy.special.xlogy(y, y) - y * jnp.log(p), axis=-1))


LOSSES = {
    "mean_absolute_error": lambda z, y: jnp.mean(jnp.abs(z - y)),
    "mean_absolute_percentage_error": lambda z, y: 100 * jnp.mean(jnp.abs((y - z) / jnp.clip(jnp.abs(y), 1e-7))),
    "mean_squared_logarithmic_error": lambda z, y: jnp.mean(jnp.square(jnp.log1p(jax.nn.relu(z)) - jnp.log1p(y))),
    "logcosh": _logcosh,
    "huber": _huber,
    "cosine": _cosine,
    "categorical_hinge": _categorical_hinge,
    "poisson": lambda z, y: jnp.mean(z - y * jnp.log(jnp.clip(z, 1e-7))),
    "hinge": lambda z, y: jnp.mean(jax.nn.relu(1 - y * z)),
    "squared_hinge": lambda z, y: jnp.mean(jnp.square(jax.nn.relu(1 - y * z))),
    "kullback_leibler": _kullback_leibler,
    "mean_squared_error": lambda z, y: jnp.mean(jnp.square(z - y)),
    "softmax_cross_entropy": lambda z, y: -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=-1)),
    "sparse_softmax_cross_entropy": lambda z, y: -jnp.mean(_picked(jax.nn.log_softmax(z), y)),
    "sigmoid_binary_cross_entropy": lambda z, y: (
        -jnp.mean(y * jax.nn.log_sigmoid(z) + (1 - y) * jax.nn.log_sigmoid(-z))
    ),
    "categorical_cross_entropy": lambda p, y: -jnp.mean(jnp.sum(y * jnp.log(p), axis=-1)),
    "sparse_categorical_cross_entropy": lambda p, y: -jnp.mean(_picked(jnp.log(p), y)),
    "binary_cross_entropy": lambda p, y: -jnp.mean(y * jnp.log(p) + (1 - y) * jnp.log1p(-p)),
}


def _penalties(model, values, arrays):
    """The prices of parameters, each once, and of outputs, as a mean over the batch."""
    found, once = 0, set()
    for placed in model.layers:
        for role, one in getattr(placed.layer, "penalties", {}).items():
            name = f"{placed.name}_{role}"
            array, scale = (
                (values[placed.output], len(values[placed.output])) if role == "activity" else (arrays[name], 1)
            )
            if role != "activity" and name in once:
                continue
            once.add(name)
            found += (one.l1 * jnp.abs(array).sum() + 0.5 * one.l2 * jnp.vdot(array, array)) / scale
    return found


def reference(network):
    """``forward(**inputs) -> loss`` for ``(model, {output: loss})``; None where something is outside the catalogue."""
    if network is None:
        return None
    model, losses = network
    from derive.networks.activations import ACTIVATIONS as KNOWN_ACTIVATIONS
    from derive.networks.losses import LOSSES as KNOWN_LOSSES

    if len(losses) != 1 or len(model.outputs) != 1:
        return None
    loss = next(iter(losses.values()))
    if KNOWN_LOSSES.get(loss.name) != loss or loss.name not in LOSSES:
        return None
    for placed in model.layers:
        inner = getattr(placed.layer, "inner", placed.layer)  # of a Bidirectional
        activation = getattr(inner, "activation", None)
        known = activation is None or (
            KNOWN_ACTIVATIONS.get(activation.name) == activation and activation.name in ACTIVATIONS
        )
        priced = all(isinstance(one, Penalty) for one in getattr(placed.layer, "penalties", {}).values())
        if placed.kind not in LAYERS or not known or not priced:
            return None

    def forward(**inputs):
        values = {t: inputs[name] for name, t in model.inputs.items()}
        for placed in model.layers:
            values[placed.output] = LAYERS[placed.kind](model, placed, [values[t] for t in placed.of], inputs)
        return LOSSES[loss.name](values[model.output], inputs["y"]) + _penalties(model, values, inputs)

    forward.description = f"jax.nn reference of {model.name} (numerics.reference.networks)"
    return forward
