"""Networks as plain data (strings, numbers, lists, dicts) and back; functions are refused, never pickled."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from derive.language.errors import DeriveError
from derive.networks.layers import layer_config, layer_from
from derive.networks.layers.base import Layer, Node, call, taken
from derive.networks.layers.graph import Input

from .given import own


def graph_to_dict(
    name: str, inputs: Sequence[Node], nodes: Sequence[Node], names: Mapping[Layer, str], outputs: Mapping[str, Node]
) -> dict[str, Any]:
    """The data of a functional model: its inputs, layers, calls in order, and outputs by place."""
    calls = [n for n in nodes if n.layer is not None]
    place = {node: n for n, node in enumerate([*inputs, *calls])}
    return {
        "name": name,
        "inputs": [{**n.given, "shape": list(n.given["shape"])} for n in inputs],
        "layers": [layer_config(own(layer), called, names) for layer, called in names.items()],
        "calls": [{"layer": names[n.layer], "of": [place[m] for m in n.of]} for n in calls if n.layer],
        "outputs": {called: place[n] for called, n in outputs.items()},
    }


def graph_from_dict(
    data: Mapping[str, Any], own_layers: Sequence[type[Layer]] = ()
) -> tuple[list[Node], dict[str, Node]]:
    """The inputs and the outputs by name, as symbols."""
    layers = {c["name"]: layer_from(c, own_layers) for c in data["layers"]}
    nodes = [Input(**{**given, "shape": tuple(given["shape"])}) for given in data["inputs"]]
    inputs = list(nodes)
    for made in data["calls"]:
        layer, on = layers[made["layer"]], [nodes[n] for n in made["of"]]
        nodes.append(call(layer, taken(layer, on)))
    return inputs, {name: nodes[n] for name, n in data["outputs"].items()}


@contextlib.contextmanager
def readable() -> Iterator[None]:
    """Whatever fails inside on data that nobody wrote by ``to_dict`` is told as that."""
    try:
        yield
    except DeriveError:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise DeriveError(f"from_dict: this is not what model.to_dict() writes: {error!r}") from error
