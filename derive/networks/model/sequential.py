"""``dv.Sequential``: layers that follow one another."""

from __future__ import annotations

from collections.abc import Sequence

from derive.language.errors import DeriveError, ShapeError
from derive.networks.layers import layer_config, layer_from
from derive.networks.layers.base import Layer, Node
from derive.networks.layers.graph import Input

from .functional import Model
from .given import as_layers
from .summary import shape_text
from .surgery import Regrown


class Sequential(Model):
    """A network whose layers follow one another: a :class:`Model` with one input ``x`` and one output.

    Parameters
    ----------
    layers : sequence
        Layers of :mod:`derive.networks.layers`, or functions ``(x, new) -> tensor`` of your own (see
        :mod:`derive.networks.layers.base`).
        Models too, of one input and one output; they are named in the parameters, see :meth:`Model.__call__`.
    input_shape : tuple of int
        The shape of one example, without the batch axis; the batch stays symbolic, ``B``.  That of the first layer's input
        where it is a model.
    name : str

    >>> from derive import layers as L
    >>> model = Sequential([L.Dense(128, activation="relu"), L.Dense(10)], input_shape=(64,))
    >>> model.sizes
    {'I': 64, 'J': 128, 'K': 10}
    >>> model.summary()
    model: input (B, 64)
    layer    output    parameters  trainable  initializers
    dense_1  (B, 128)       8,320  yes        he_normal, zeros
    dense_2  (B, 10)        1,290  yes        glorot_uniform, zeros
    total                   9,610  trainable 9,610, frozen 0
    """

    _shape_said = "Sequential: an axis of input_shape"

    def __init__(self, layers: Sequence, input_shape: Sequence[int] | None = None, name: str = "model"):
        if isinstance(layers, Layer) or not isinstance(layers, Sequence) or isinstance(layers, str):
            raise DeriveError(
                f"Sequential: layers is {type(layers).__name__}; give a list, as in "
                f"Sequential([L.Dense(10)], input_shape=(64,))"
            )
        if not layers:
            raise DeriveError("Sequential: the list of layers is empty; a network has at least one")
        if input_shape is None and isinstance(layers[0], Model):
            input_shape = only_input(layers[0])["shape"]
        if isinstance(layers[0], Node):
            shape = layers[0].given.get("shape", ())
            raise ShapeError(
                f"Sequential: the first layer is a symbol, as dv.Input makes them for dv.Model; leave it out, and write "
                f"Sequential([...], input_shape={tuple(shape)})"
            )
        if input_shape is None:
            raise ShapeError(
                "Sequential: input_shape is not given; give the shape of one example without the batch axis, as in "
                "Sequential([...], input_shape=(64,)), or (28, 28, 1) for images"
            )
        if isinstance(input_shape, str) or not isinstance(input_shape, Sequence) or not input_shape:
            raise ShapeError(
                f"Sequential: input_shape is {input_shape!r}; give the shape of one example without the "
                f"batch axis, as in (64,) or (28, 28, 1)"
            )
        made = as_layers(layers)
        first = made[0]
        x = node = Input(input_shape, **_takes(first))
        for n, layer in enumerate(made):
            if isinstance(layer, Model):
                only_input(layer)
            elif layer.merges:
                raise DeriveError(
                    f"Sequential: layer {n + 1} is {type(layer).__name__}, which merges several symbols; "
                    f"use dv.Model, as in {layer.called}"
                )
            node = layer(node)
            if isinstance(node, tuple) and isinstance(layer, Model):
                raise DeriveError(
                    f"Sequential: layer {n + 1} is the model {layer.name}, which has {len(node)} outputs; use dv.Model, as in "
                    f"{', '.join(layer.outputs)} = {layer.name}(x)"
                )
            if isinstance(node, tuple):
                raise DeriveError(
                    f"Sequential: layer {n + 1} is {type(layer).__name__} with return_state, which gives its "
                    f"states beside its output; use dv.Model, as in "
                    f"{', '.join(('y', *getattr(layer, 'states', ())))} = L.{type(layer).__name__}(...)(x)"
                )
        super().__init__(x, node, name)

    def to_dict(self) -> dict:
        """The network as plain data; see :meth:`Model.to_dict`.  One with models in it is written as a graph."""
        if self._plan.parts:
            return super().to_dict()
        names = {p.layer: p.name for p in self.layers}
        return {
            "name": self.name,
            "input_shape": list(self.shape(self.input)[1:]),
            "layers": [layer_config(p.layer, p.name, names) for p in self.layers],
        }

    @classmethod
    def _from_dict(cls, data: dict, layers: Sequence[type[Layer]] = ()) -> Sequential:
        return Sequential([layer_from(c, layers) for c in data["layers"]], data["input_shape"], data["name"])

    @staticmethod
    def _wrote(data: dict) -> bool:
        """Whether this class wrote the data, rather than :class:`Model`."""
        return "input_shape" in data

    def _made_of(self, parts: Regrown, name: str) -> Model:
        if self._plan.parts:
            return super()._made_of(parts, name)
        return Sequential(parts.layers, self.shape(self.input)[1:], name)

    def _inputs_text(self) -> str:
        return f"input {shape_text(self, self.input)}"


def _takes(first: Layer | Model) -> dict:
    """Of what dtype and range the input is, by the first layer."""
    return {n: v for n, v in only_input(first).items() if n != "shape"} if isinstance(first, Model) else first.takes


def only_input(model: Model) -> dict:
    """What the input of a model is, which stands among the layers of a Sequential."""
    inputs = model._plan.inputs
    if len(inputs) > 1:
        raise DeriveError(
            f"Sequential: the model {model.name} has {len(inputs)} inputs ({', '.join(model.inputs)}); use dv.Model, as in "
            f"{model.name}([{', '.join(model.inputs)}])"
        )
    return {n: v for n, v in inputs[0].given.items() if n != "name"}
