"""What people pass to a network: symbols, lists of layers, names; checked, with messages that say what would do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from derive.language.errors import DeriveError
from derive.language.tensor import Tensor
from derive.networks.layers.base import Function, Layer, Node, symbol

from .calling import Composable, named_parts

T = TypeVar("T")


def own(layer: Layer) -> Layer | Callable:
    """What the user gave: the function itself, where a layer only wraps it."""
    return layer.function if isinstance(layer, Function) else layer


def nodes(given: Any, what: str) -> tuple[Node, ...]:
    """One symbol or several, each once."""
    given = (given,) if isinstance(given, Node | Tensor) else given
    if not isinstance(given, list | tuple) or not given:
        raise DeriveError(f"Model: {what} is {given!r}; give a symbol or a list of them")
    given = [symbol(node) for node in given]
    for node in given:
        if not isinstance(node, Node):
            raise DeriveError(
                f"Model: {what} has {node!r}; accepted are symbols, made by dv.Input(shape) or by "
                f"calling layers on symbols"
            )
    if len(set(given)) < len(given):
        raise DeriveError(f"Model: {what} names one symbol twice")
    return tuple(given)


def input_nodes(given: Any) -> tuple[Node, ...]:
    """The symbols that dv.Input made, each with a name of its own."""
    found = nodes(given, "inputs")
    for node in found:
        if node.layer is not None:
            raise DeriveError(f"Model: inputs has {node!r}; inputs are made by dv.Input(shape)")
    names = [n.given["name"] for n in found]
    twice = [n for n in names if names.count(n) > 1]
    if twice:
        raise DeriveError(
            f"Model: two inputs are named {twice[0]!r}; give each its own, as in dv.Input(shape, name='a')"
        )
    return found


def check_graph(inputs: Sequence[Node], every: Sequence[Node], outputs: Sequence[Node]) -> None:
    """Every output is computed, from the inputs that are given and from all of them."""
    if any(n.layer is None for n in outputs):
        raise DeriveError("Model: an output is an input; there is nothing to compute")
    loose = [n for n in every if n.layer is None and n not in inputs]
    if loose:
        raise DeriveError(f"Model: the outputs need the input {loose[0].given['name']!r}, which is not among inputs")
    idle = [n for n in inputs if n not in every]
    if idle:
        raise DeriveError(f"Model: no output depends on the input {idle[0].given['name']!r}")


def as_layers(given: Iterable[Layer | Callable]) -> list[Any]:
    """The layers of a Sequential, functions wrapped; models among them stay what they are."""
    made: list[Any] = []
    for n, layer in enumerate(given):
        if isinstance(layer, Layer | Composable) and any(layer is other for other in made):
            raise DeriveError(
                f"Sequential: layer {n + 1} ({type(layer).__name__}) is the same object as an earlier "
                f"one; make a new layer for each place"
            )
        if not isinstance(layer, Layer) and (isinstance(layer, type) or not callable(layer)):
            hint = f"; write {layer.__name__}(...)" if isinstance(layer, type) else ""
            raise DeriveError(
                f"Sequential: layer {n + 1} is {layer!r}; accepted are layers of derive.networks.layers and "
                f"functions (x, new) -> tensor{hint}"
            )
        made.append(layer if isinstance(layer, Layer | Composable) else Function(layer, getattr(layer, "name", None)))
    return made


def layer_names(nodes: Sequence[Node]) -> dict[Layer, str]:
    """Each layer's own name, or its kind and a count; that of a model that was called is put before its layers' names.

    A shared layer has one.
    """
    counts: dict[str, int] = {}
    names: dict[Layer, str] = {}
    parts = named_parts(nodes)
    for node in nodes:
        layer = node.layer
        if layer is None or layer in names:
            continue
        if node.within is not None:
            name = f"{parts[node.within]}_{node.within._plan.names[layer]}"
        else:
            counts[layer.kind] = counts.get(layer.kind, 0) + 1
            name = layer.name or f"{layer.kind}_{counts[layer.kind]}"
        if name in names.values():
            raise DeriveError(f"two layers are named {name!r}; give each its own name=")
        names[layer] = name
    return names


def output_names(wanted: Iterable[Node], names: dict[Layer, str]) -> dict[str, Node]:
    """Outputs by the names of their layers."""
    found: dict[str, Node] = {}
    for node in wanted:
        assert node.layer is not None  # check_graph saw to it
        layer, n = names[node.layer], 2
        name = layer
        while name in found:
            name, n = f"{layer}_{n}", n + 1
        found[name] = node
    return found


def only(found: Mapping[str, T], model: str, what: str) -> T:
    """The one entry of a dict, or an error that says how to choose."""
    if len(found) != 1:
        raise DeriveError(
            f"{model} has {len(found)} {what}s ({', '.join(found)}); name one, as in "
            f"model.{what}s[{next(iter(found))!r}]"
        )
    return next(iter(found.values()))
