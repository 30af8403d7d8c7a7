"""Layers in their places become definitions: connected one after the other, until all sizes that meet agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sympy import expand

from derive.language.declare import tensor
from derive.language.errors import DeriveError, ShapeError
from derive.language.index import index
from derive.language.tensor import Tensor
from derive.networks.layers.base import Layer, Node, taken
from derive.networks.layers.builder import Builder, Parameter, whole
from derive.networks.layers.sizes import numbers, solve

from .calling import check_taken
from .given import own

AXES = {
    2: (("t", "T"), (None, None)),
    3: (("p", "H"), ("q", "W"), ("c", "C")),
    4: (("d", "D"), ("p", "H"), ("q", "W"), ("c", "C")),
}  # letters and sizes of an input's axes, by their number
ROUNDS = 8  # solving for sizes settles in two or three


@dataclass(frozen=True)
class Placed:
    """A layer in its place: its name, what comes out of it and which parameters it reads.

    Attributes
    ----------
    shared : bool
        Whether an earlier place has the same layer, and so the same parameters.
    of : tuple of Tensor
        What goes in.
    prices : tuple of Tensor
        Scalars that it adds to every loss.
    """

    name: str
    layer: Any  # a layer, or the function that one was made of
    output: Tensor
    parameters: tuple[Parameter, ...]
    shared: bool = False
    of: tuple[Tensor, ...] = ()
    prices: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Graph:
    """The definitions of a network, for training or for use."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]
    layers: tuple[Placed, ...]
    built: Builder


@dataclass(frozen=True)
class Plan:
    """A network before it has definitions: symbols in order, and the names of layers and outputs.

    Attributes
    ----------
    shape_said : str
        How messages call the shape of an input.
    """

    name: str
    inputs: tuple[Node, ...]
    nodes: tuple[Node, ...]
    names: Mapping[Layer, str]
    outputs: Mapping[str, Node]
    shape_said: str
    parts: Mapping[str, tuple[str, ...]] = field(default_factory=dict)  # of the models in it: the names of their layers

    def connect(self, still: frozenset = frozenset()) -> tuple[Graph, Graph]:
        """The definitions to train with, and those to use; again, with sizes solved for, until all that meets agrees.

        Layers that are ``still`` are as in use in both.
        """
        solved: dict = {}
        known: dict[str, int] = {}
        for _ in range(ROUNDS):
            training = self._graph(Builder(True, solved, known, still))
            built = training.built
            unequal = [(a, b) for a, b in built.equal if expand(a - b) != 0]
            if not unequal:
                return training, self._graph(Builder(False, solved, known))
            known |= built.known
            new = solve(unequal, known)
            known |= numbers(new, known)
            solved = {s: e.xreplace(new) for s, e in solved.items()} | new
        a, b = unequal[0]
        raise ShapeError(f"{self.name}: the sizes {a} and {b} must be one, and no choice of symbols makes them so")

    def _graph(self, new: Builder) -> Graph:
        made: dict[Node, Tensor] = {}
        placed: list[Placed] = []
        inputs: dict[str, Tensor] = {}
        for node in self.inputs:
            inputs[node.given["name"]] = made[node] = self._input(node, new)
        for node in self.nodes:
            if node.layer is None:
                continue
            on = [made[n] for n in node.of]
            check_taken(node, on, new)
            shared = any(p.layer is own(node.layer) for p in placed)
            placed.append(_place(self.names[node.layer], node.layer, taken(node.layer, on), new, shared))
            made[node] = placed[-1].output
        return Graph(inputs, {name: made[n] for name, n in self.outputs.items()}, tuple(placed), new)

    def _input(self, node: Node, new: Builder) -> Tensor:
        shape = node.given["shape"]
        letters = AXES.get(len(shape), ((None, None),) * len(shape))
        axes = [new.axis(whole(n, f"{self.shape_said} {shape}"), *wish) for n, wish in zip(shape, letters, strict=True)]
        below = node.given["below"]
        if isinstance(below, int) and not isinstance(below, bool) and below > 2:  # a size of its own, as axes have
            below = new.axis(below, "v", "V").size
        return tensor(node.given["name"], index("b"), *axes, dtype=node.given["dtype"], below=below)


def _place(name: str, layer: Layer, x: Any, new: Builder, shared: bool) -> Placed:
    new.enter(name, layer.trainable).names[layer] = name
    try:
        output = layer.connect(x, new)
    except DeriveError as e:
        if name in str(e):
            raise
        shapes = ", ".join(f"{t.name} of shape {new.shape(t)}" for t in (x if isinstance(x, list) else [x]))
        raise type(e)(f"layer {name}, given {shapes}: {e}") from e
    if output is x and not new.training:  # dropout is absent
        return Placed(name, own(layer), output, (), shared, (x,))
    if not isinstance(output, Tensor) or output.is_input or None in output.letters:
        raise DeriveError(
            f"layer {name} gave {output!r}; a layer gives a tensor that it defined, as new.define('h', x.indices, ...)"
        )
    return Placed(
        name,
        own(layer),
        output,
        tuple(p for p in new.parameters.values() if p.layer == name),
        shared,
        tuple(x) if isinstance(x, list) else (x,),
        tuple(new.prices),
    )
