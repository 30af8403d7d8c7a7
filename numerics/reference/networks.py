"""Independent forwards of the catalogue's networks, in ``jax.numpy`` and ``jax.nn``: what ``nx.verify`` differentiates.

Written from the layers' documentation, not from their definitions.  A reference is optional, and that of a layer's class
exactly: a network with a layer, activation or loss that has none is compared with the node-by-node evaluator, and the
report says what had none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array

from derive.language.tensor import Tensor
from derive.networks import layers as L
from derive.networks.activations import ACTIVATIONS as KNOWN_ACTIVATIONS
from derive.networks.layers import Layer, Penalty
from derive.networks.losses import LOSSES as KNOWN_LOSSES
from derive.networks.losses import Loss
from derive.networks.model import Model, Placed

from . import blocks, images, sequences, transformers  # noqa: F401  they register the references of their layers
from .activations import ACTIVATIONS
from .registry import LAYERS, PRICES, Arrays, reference_of

Network = tuple[Model, Mapping[str, Loss]]


@reference_of(L.Dense)
def _dense(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    bias, tied = f"{placed.name}_bias", placed.layer.tied_to
    names = {p.layer: p.name for p in model.layers}
    kernel = arrays[f"{placed.name}_kernel"] if tied is None else arrays[f"{names.get(tied, tied)}_table"].T
    z = jnp.matmul(xs[0], kernel)
    return ACTIVATIONS[placed.layer.activation.name](z + arrays[bias] if bias in arrays else z)


@reference_of(L.Activation)
def _activation(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    return ACTIVATIONS[placed.layer.activation.name](xs[0])


@reference_of(L.PReLU)
def _prelu(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    z = xs[0]
    return jnp.maximum(z, 0) - arrays[f"{placed.name}_slope"] * jnp.maximum(-z, 0)


@reference_of(L.Maxout)
def _maxout(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    kernel, bias = arrays[f"{placed.name}_kernel"], arrays.get(f"{placed.name}_bias")
    pieces = [xs[0] @ kernel[..., r] + (0 if bias is None else bias[:, r]) for r in range(kernel.shape[-1])]
    return jnp.max(jnp.stack(pieces), axis=0)


@reference_of(L.RBF)
def _rbf(model: Model, placed: Placed, xs: Sequence[Array], arrays: Arrays) -> Array:
    apart = jnp.linalg.norm(xs[0][..., None, :] - arrays[f"{placed.name}_centres"], axis=-1)
    return jnp.exp(-jnp.square(apart / arrays[f"{placed.name}_widths"]) / 2)


def _picked(log_p: Array, y: Array) -> Array:
    return jnp.take_along_axis(log_p, y[..., None], axis=-1)[..., 0]


def _logcosh(z: Array, y: Array) -> Array:
    return jnp.mean(jnp.logaddexp(z - y, y - z) - jnp.log(2.0))


def _huber(z: Array, y: Array) -> Array:
    d = jnp.abs(z - y)
    inside = jnp.minimum(d, 1.0)
    return jnp.mean(0.5 * jnp.square(inside) + d - inside)


def _cosine(z: Array, y: Array) -> Array:
    lengths = jnp.sqrt(jnp.clip(jnp.sum(z * z, axis=-1), 1e-12) * jnp.clip(jnp.sum(y * y, axis=-1), 1e-12))
    return jnp.mean(1 - jnp.sum(z * y, axis=-1) / lengths)


def _categorical_hinge(z: Array, y: Array) -> Array:
    wrong = jnp.max((1 - y) * z, axis=-1)
    return jnp.mean(jax.nn.relu(1 + wrong - jnp.sum(y * z, axis=-1)))


def _kullback_leibler(p: Array, y: Array) -> Array:
    return jnp.mean(jnp.sum(jax.scipy.special.xlogy(y, y) - y * jnp.log(p), axis=-1))


LOSSES: dict[str, Callable[[Array, Array], Array]] = {
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


def _penalties(model: Model, values: Mapping[Tensor, Array], arrays: Arrays) -> Array | float:
    """The prices of parameters, each once, of outputs, as a mean over the batch, and of layers that have their own."""
    found: Array | float = 0.0
    once: set[str] = set()
    for placed in model.layers:
        if type(placed.layer) in PRICES:
            found += PRICES[type(placed.layer)](model, placed, [values[t] for t in placed.of], arrays)
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


class Reference:
    """``reference(**inputs) -> loss`` of a network whose every part has an independent forward."""

    def __init__(self, model: Model, loss: Loss):
        self.model, self.loss = model, loss
        self.description = f"jax.nn reference of {model.name} (numerics.reference.networks)"

    def __call__(self, **inputs: Array) -> Array:
        values = {t: inputs[name] for name, t in self.model.inputs.items()}
        for placed in self.model.layers:
            forward = LAYERS[type(placed.layer)]
            values[placed.output] = forward(self.model, placed, [values[t] for t in placed.of], inputs)
        cost = LOSSES[self.loss.name](values[self.model.output], inputs["y"])
        return cost + _penalties(self.model, values, inputs)


def reference(network: Network | None) -> Reference | None:
    """The forward of ``(model, {output: loss})``; None where a part has none, see :func:`lacking`."""
    if network is None or lacking(network):
        return None
    model, losses = network
    return Reference(model, *losses.values())


def lacking(network: Network) -> str:
    """What part of a network has no independent forward here, and why; nothing where all have one."""
    model, losses = network
    if len(losses) != 1 or len(model.outputs) != 1:
        return f"{model.name} has several outputs"
    for loss in losses.values():
        if KNOWN_LOSSES.get(loss.name) != loss or loss.name not in LOSSES:
            return f"none is written for the loss {loss.name}" + (" with options" if loss.built_in else "")
    for placed in model.layers:
        why = _lacks(placed.layer)
        if why:
            return f"layer {placed.name} {why}"
    return ""


def _lacks(layer: Any) -> str:
    inner = getattr(layer, "inner", layer)  # of a Bidirectional
    if isinstance(layer, L.Stack):
        why = _lacks(layer.block)
        return f"{why}, in a stack" if why else ""
    if not isinstance(layer, Layer):
        return "is a function of your own"
    for one in (layer, inner):
        if type(one) not in LAYERS:
            return f"is of the class {type(one).__name__}, and none is written for that"
    given = getattr(inner, "activation", None)
    if given is not None and (KNOWN_ACTIVATIONS.get(given.name) != given or given.name not in ACTIVATIONS):
        return f"has the activation {given.name}" + (" with options" if given.built_in else "")
    if not all(isinstance(one, Penalty) for one in layer.penalties.values()):
        return "has a penalty of your own"
    return ""
