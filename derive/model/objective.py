"""The loss of each output of a network, its target, and the total."""

from __future__ import annotations

from sympy import Add

from ..define import define
from ..errors import DeriveError
from ..hints import did_you_mean
from ..losses import Loss
from ..losses import loss as find_loss
from ..tensor import Tensor
from .given import only

READS = {"logits": "logits", "probabilities": "probabilities of exclusive classes",
         "bits": "probabilities of separate answers", "nonnegative": "numbers that are not negative"}


def losses(model, given) -> dict[str, Loss]:
    """By output, each checked against what the output is."""
    if not isinstance(given, dict) or isinstance(given.get("name"), str) and given["name"] not in model.outputs:
        only(model.outputs, model.name, "output")
        given = dict.fromkeys(model.outputs, given)
    unknown = [name for name in given if name not in model.outputs]
    if unknown or not given:
        raise DeriveError(f"losses are given for outputs {', '.join(given) or '(none)'}; {model.name} has "
                          f"{', '.join(model.outputs)}")
    return {name: fitting(model, one, model.outputs[name]) for name, one in given.items()}


def fitting(model, given, output: Tensor) -> Loss:
    """The loss that was asked for, if it can read the output."""
    found = find_loss(given)
    last = next((p for p in model.layers if p.output == output), model.layers[-1])
    gives = getattr(last.layer, "gives", "anything")
    if not found.admits(gives):
        what = f"layer {last.name} ends in {last.layer.activation.name}"
        raise DeriveError(f"loss {found.name!r} reads {READS[found.reads]}, but {what}; {found.advice(gives)}")
    if model.shape(output)[-1] == 1 and found.target in ("probabilities", "labels"):
        raise DeriveError(f"loss {found.name!r} chooses among classes, but layer {last.name} has 1 unit; use "
                          f"'sigmoid_binary_cross_entropy', or a unit per class")
    return found


def targets(model, given) -> dict[str, Tensor]:
    """The target of each output that has a loss: ``y``, or ``y_<output>`` where there are several outputs."""
    one = len(model.outputs) == 1
    return {name: found.target_tensor(model.outputs[name], "y" if one else f"y_{name}")
            for name, found in losses(model, given).items()}


def total(model, given, weights: dict | None) -> Tensor:
    """The scalar ``loss``: that of the one output, or the weighted sum of the outputs' losses."""
    found, wanted = losses(model, given), targets(model, given)
    if len(model.outputs) == 1:
        (name, one), = found.items()
        return one.define(model.outputs[name], wanted[name])
    parts = {name: one.define(model.outputs[name], wanted[name], f"loss_{name}") for name, one in found.items()}
    unknown = sorted(set(weights or {}) - set(parts))
    if unknown:
        raise DeriveError(f"loss weights: {unknown[0]!r} has no loss{did_you_mean(unknown[0], parts)}")
    return define("loss", (), Add(*((weights or {}).get(name, 1) * part for name, part in parts.items())))
