"""The loss of each output of a network, its target, and the total."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sympy import Add

from derive.language.define import block, define
from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.language.tensor import Tensor
from derive.networks.layers.penalty import price
from derive.networks.losses import Loss
from derive.networks.losses import loss as find_loss

from .connecting import Placed
from .given import only
from .network import Network

READS = {
    "logits": "logits",
    "probabilities": "probabilities of exclusive classes",
    "bits": "probabilities of separate answers",
    "nonnegative": "numbers that are not negative",
}


def losses(model: Network, given: Any) -> dict[str, Loss]:
    """By output, each checked against what the output is."""
    if not isinstance(given, dict) or isinstance(given.get("name"), str) and given["name"] not in model.outputs:
        only(model.outputs, model.name, "output")
        given = dict.fromkeys(model.outputs, given)
    unknown = [name for name in given if name not in model.outputs]
    if unknown or not given:
        raise DeriveError(
            f"losses are given for outputs {', '.join(given) or '(none)'}; {model.name} has {', '.join(model.outputs)}"
        )
    return {name: fitting(model, one, model.outputs[name]) for name, one in given.items()}


def fitting(model: Network, given: Any, output: Tensor) -> Loss:
    """The loss that was asked for, if it can read the output."""
    found = find_loss(given)
    last = next((p for p in model.layers if p.output == output), model.layers[-1])
    gives = getattr(last.layer, "gives", "anything")
    if not found.admits(gives):
        what = f"layer {last.name} ends in {last.layer.activation.name}"
        raise DeriveError(f"loss {found.name!r} reads {READS[found.reads]}, but {what}; {found.advice(gives)}")
    if model.shape(output)[-1] == 1 and found.target in ("probabilities", "labels"):
        raise DeriveError(
            f"loss {found.name!r} chooses among classes, but layer {last.name} has 1 unit; use "
            f"'sigmoid_binary_cross_entropy', or a unit per class"
        )
    return found


def targets(model: Network, given: Any) -> dict[str, Tensor]:
    """The target of each output that has a loss: ``y``, or ``y_<output>`` where there are several outputs."""
    one = len(model.outputs) == 1
    return {
        name: found.target_tensor(model.outputs[name], "y" if one else f"y_{name}")
        for name, found in losses(model, given).items()
    }


def total(
    model: Network, given: Any, weights: Mapping[str, float] | None, outputs: Mapping[str, Tensor] | None = None
) -> Tensor:
    """The scalar ``loss``: that of the one output, or the weighted sum of the outputs' losses; and the penalties.

    ``outputs`` are those to train with, or the given ones, as those in use.
    """
    priced = penalties(model.layers if outputs is None else model.inference.layers)
    found, wanted, outputs = losses(model, given), targets(model, given), outputs or model.outputs
    if len(outputs) == 1:
        ((name, one),) = found.items()
        if not priced:
            return one.define(outputs[name], wanted[name])
        return define(
            "loss", (), Add(*(part[()] for part in (one.define(outputs[name], wanted[name], "fit"), *priced)))
        )
    parts = {name: one.define(outputs[name], wanted[name], f"loss_{name}") for name, one in found.items()}
    unknown = sorted(set(weights or {}) - set(parts))
    if unknown:
        raise DeriveError(f"loss weights: {unknown[0]!r} has no loss{did_you_mean(unknown[0], parts)}")
    weighted = [(weights or {}).get(name, 1) * part[()] for name, part in parts.items()]
    return define("loss", (), Add(*weighted, *(part[()] for part in priced)))


def penalties(layers: Sequence[Placed]) -> list[Tensor]:
    """The penalties of layers in their places, defined: ``penalty_dense_1_kernel``."""
    made: list[Tensor] = []
    for placed in layers:
        made += placed.prices
        around = getattr(placed.layer, "layer", None)
        if around is not None and around.penalties:
            raise DeriveError(
                f"layer {placed.name}: penalties are given to the layer around, as in "
                f"L.{type(placed.layer).__name__}(...).penalize(...); accepted are {_roles(placed)}"
            )
        for role, one in getattr(placed.layer, "penalties", {}).items():
            if role == "activity":
                count = sum(p.name == placed.name for p in layers[: layers.index(placed)])
                name = f"penalty_{placed.name}_{role}" + (f"_{count + 1}" if count else "")
                body = price(one, placed.output, placed.output.axes[0])
            elif placed.shared:  # the same parameter, priced where it was first
                continue
            else:
                name, body = f"penalty_{placed.name}_{role}", price(one, _priced(placed, role))
            with block(placed.name):
                made.append(define(name, (), body))
    return made


def _priced(placed: Placed, role: str) -> Tensor:
    for p in placed.parameters:
        if p.name == f"{placed.name}_{role}":
            return p.tensor
    raise DeriveError(
        f"layer {placed.name} has no {role!r} to penalize{did_you_mean(role, _roles(placed).split(', '))}; "
        f"accepted are {_roles(placed)}"
    )


def _roles(placed: Placed) -> str:
    return ", ".join([*(p.name.removeprefix(f"{placed.name}_") for p in placed.parameters), "activity"])
