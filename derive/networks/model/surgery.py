"""Networks made of others: the same network up to a layer, with another head; or for inputs of other sizes."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from derive.language.errors import DeriveError, ShapeError
from derive.networks.layers.base import Layer, Node, call, taken
from derive.networks.layers.graph import ordered

from .given import as_layers, own
from .network import Network


@dataclass(frozen=True)
class Regrown:
    """The parts of a network with another head: fresh symbols and copies of the layers that stay."""

    inputs: list[Node]
    output: Node
    layers: list[Layer]  # in the order in which they are called


def regrown(model: Network, head: Layer | Sequence, after: str | None = None) -> Regrown:
    """See :meth:`derive.Model.with_head`."""
    plan = model._plan
    cut = _cut(model, after)
    layers = _named(as_layers(head if isinstance(head, Sequence) else [head]), set(plan.names.values()))
    made: dict[Node, Node] = {}
    copies: dict[Layer, Layer] = {}
    for node in ordered([cut]):
        if node.layer is None:
            made[node] = Node(None, (), node.given)
            continue
        if node.layer not in copies:
            copies[node.layer] = _called(node.layer, plan.names[node.layer])
        on = [made[n] for n in node.of]
        made[node] = call(copies[node.layer], taken(node.layer, on))
    end = made[cut]
    for layer in layers:
        end = layer(end)
    return Regrown([made[n] for n in ordered([cut]) if n.layer is None], end, [*copies.values(), *layers])


def _cut(model: Network, after: str | None) -> Node:
    """The place that the new head is put on: after a layer, or before the last one that has parameters."""
    plan = model._plan
    if after is not None:
        layer = model.layer(after).layer
        return [n for n in plan.nodes if n.layer is not None and own(n.layer) is layer][-1]
    if len(plan.outputs) > 1:
        raise DeriveError(
            f"{model.name} has {len(plan.outputs)} outputs ({', '.join(plan.outputs)}); say after which layer "
            f"the new head comes, after="
        )
    node = next(iter(plan.outputs.values()))
    with_parameters = {p.name for p in model.layers if p.parameters}
    while True:
        layer = node.layer
        if layer is None or len(node.of) != 1 or node.of[0].layer is None:
            raise DeriveError(
                f"{model.name}: it is not clear where its head begins; say after which layer the new one "
                f"comes, after= one of {', '.join(dict.fromkeys(p.name for p in model.layers))}"
            )
        node = node.of[0]
        if plan.names[layer] in with_parameters:
            return node


def _named(layers: Sequence[Layer], taken: set[str]) -> list[Layer]:
    """New layers by names that the old network does not have: ``head_1``, ``head_2``."""
    found: list[Layer] = []
    for layer in layers:
        if not isinstance(layer, Layer):
            raise DeriveError(f"with_head: {layer.name} is a model; accepted are layers, so give those of its own")
        if layer.name in taken:
            raise DeriveError(
                f"with_head: the network has a layer {layer.name!r} already; give the new one another name"
            )
        n = 1
        while f"head_{n}" in taken:
            n += 1
        name = layer.name or f"head_{n}"
        found.append(layer if layer.name else _called(layer, name))
        taken.add(name)
    return found


def _called(layer: Layer, name: str) -> Layer:
    made = copy.copy(layer)
    made.name = name
    return made


def resized(model: Network, shapes: Mapping[str, Sequence[int]]) -> Any:
    """The same network, of the same parameters, for inputs of other shapes: its definitions at these sizes.

    ``shapes`` are those of one example, by the names of the inputs.

    Raises
    ------
    DeriveError
        From the layer that does not allow it, or for a parameter whose shape depends on these sizes.
    """
    plan = model._plan
    made: dict[Node, Node] = {}
    for node in plan.nodes:
        if node.layer is None:
            given = {**node.given, "shape": tuple(shapes.get(node.given["name"], node.given["shape"]))}
            made[node] = Node(None, (), given)
        else:
            made[node] = Node(node.layer, tuple(made[n] for n in node.of), within=node.within)
    other = replace(
        plan,
        inputs=tuple(made[n] for n in plan.inputs),
        nodes=tuple(made.values()),
        outputs={name: made[n] for name, n in plan.outputs.items()},
    )
    found: Any = object.__new__(type(model))
    vars(found).update(vars(model), _plan=other)
    found.training, found.inference = other.connect()
    for name, p in model.parameters.items():
        if found.parameters[name].shape != p.shape:
            said = ", ".join(f"{n} {('B', *s)}" for n, s in shapes.items()).replace("'", "")
            raise ShapeError(
                f"{model.name} for {said}: {name} would have shape {found.parameters[name].shape}, and it has {p.shape}"
            )
    return found
