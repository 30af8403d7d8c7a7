"""A model called on symbols: its layers stand in another model, with the parameters that they have.

The symbols of a call are new, the layers are the model's own, so that a model that is called twice has one set of
parameters, and what is trained in one composition is what another one reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from derive.language.errors import DeriveError, ShapeError
from derive.language.hints import did_you_mean
from derive.language.tensor import Tensor
from derive.networks.layers.base import Layer, Node, symbol, told
from derive.networks.layers.builder import Builder

UNNAMED = "model"


class Composable:
    """What can be called on symbols, as layers are, and is made of layers."""

    def __call__(self: Any, on: Any, *rest: Any) -> Any:
        """The symbol of this model's output for a symbol, or for a list of them (or a dict) where it has several inputs.

        Called twice it has one set of parameters.  They are named after this model, ``critic_dense_1_kernel``, wherever it
        is called, so give it a ``name=``; models that have none are ``model_1``, ``model_2`` in the order of their calls.

        Returns
        -------
        symbol, or a tuple of symbols in the order of ``outputs``

        >>> import derive as dv
        >>> from derive import layers as L
        >>> coder = dv.Sequential([L.Dense(2)], input_shape=(3,), name="coder")
        >>> both = dv.Model(coder.input, L.Dense(3)(coder.output))
        >>> list(both.parameters)
        ['coder_dense_1_kernel', 'coder_dense_1_bias', 'dense_1_kernel', 'dense_1_bias']
        """
        if rest:
            raise DeriveError(
                f"{self.name} is a model, and stands here as a layer of one's own; accepted are layers and functions "
                f"(x, new) -> tensor. A model is called on symbols, as in {self.name}(h), and stands in a dv.Sequential"
            )
        made = called(self, _by_input(self, on))
        return made[0] if len(made) == 1 else tuple(made)


def called(model: Any, given: Mapping[str, Node]) -> list[Node]:
    """The symbols of the outputs of a model whose inputs are the given symbols, by name."""
    plan = model._plan
    made = {node: given[node.given["name"]] for node in plan.inputs}
    for node in plan.nodes:
        if node.layer is not None:
            takes = {n: (m.given["name"], m.given) for n, m in enumerate(node.of) if m.layer is None}
            made[node] = Node(node.layer, tuple(made[m] for m in node.of), within=model, takes=takes)
    return [made[node] for node in plan.outputs.values()]


def give_symbols(model: Any) -> None:
    """``model.input`` and ``model.output`` stand for symbols where layers and models are called on them."""
    for node in model._plan.inputs:
        model.training.inputs[node.given["name"]].symbol = node
    made = called(model, {n.given["name"]: n for n in model._plan.inputs})
    for output, node in zip(model.training.outputs.values(), made, strict=True):
        output.symbol = node


def _by_input(model: Any, on: Any) -> dict[str, Node]:
    names = [node.given["name"] for node in model._plan.inputs]
    if isinstance(on, dict):
        wrong = [n for n in on if n not in names] + [n for n in names if n not in on]
        if wrong:
            raise DeriveError(
                f"{model.name} was called with {', '.join(map(repr, on))}; its inputs are {', '.join(names)}"
                f"{did_you_mean(wrong[0], names)}"
            )
        on = [on[n] for n in names]
    given = [symbol(s) for s in (on if isinstance(on, list | tuple) else (on,))]
    for one in given:
        if not isinstance(one, Node):
            raise DeriveError(
                f"{model.name} was called on {told(one)}; models are called on symbols, made by dv.Input(shape), by layers or "
                f"by other models, as in critic(generator.output); arrays go to trainer.predict or the compiled kernel"
            )
    if len(given) != len(names):
        raise DeriveError(
            f"{model.name} has {len(names)} inputs ({', '.join(names)}) and was called on {len(given)} symbols; give a list "
            f"in this order, or a dict by these names"
        )
    return dict(zip(names, given, strict=True))


def check_taken(node: Node, on: Sequence[Tensor], new: Builder) -> None:
    """What a model is called on has the shape and the dtype of its input."""
    for n, (name, input_) in node.takes.items():
        found, wanted = tuple(new.number(a) for a in on[n].axes[1:]), tuple(input_["shape"])
        if found != wanted:
            raise ShapeError(
                f"{node.within.name} is called on {on[n].name} of shape {new.shape(on[n])}; its input {name} has shape "
                f"({', '.join(['B', *map(str, wanted)])})"
            )
        if on[n].dtype != input_["dtype"]:
            raise ShapeError(
                f"{node.within.name} is called on {on[n].name}, which is {on[n].dtype}; its input {name} is {input_['dtype']}"
            )


def named_parts(nodes: Iterable[Node]) -> dict[Any, str]:
    """The models among the symbols, by the names that their layers are called after."""
    models = list(dict.fromkeys(n.within for n in nodes if n.within is not None))
    names: dict[Any, str] = {}
    unnamed = 0
    for model in models:
        unnamed += model.name == UNNAMED
        name = f"{UNNAMED}_{unnamed}" if model.name == UNNAMED else model.name
        if name in names.values():
            raise DeriveError(f"two models are named {name!r}; give each its own name=")
        names[model] = name
    return names


def parts_of(nodes: Sequence[Node], names: Mapping[Layer, str]) -> dict[str, tuple[str, ...]]:
    """By the name of each model that was called: its layers, and those of the models in it."""
    found: dict[str, tuple[str, ...]] = {}
    for model, called_ in named_parts(nodes).items():
        own = {inner: names[layer] for layer, inner in model._plan.names.items()}
        found[called_] = tuple(own.values())
        found |= {f"{called_}_{part}": tuple(own[n] for n in inside) for part, inside in model._plan.parts.items()}
    return found
