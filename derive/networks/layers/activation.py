"""An activation as a layer of its own."""

from __future__ import annotations

from derive.language.tensor import Tensor
from derive.networks.activations import GivenActivation
from derive.networks.activations import activation as find_activation

from .base import Layer
from .builder import Builder
from .registry import in_catalogue


@in_catalogue
class Activation(Layer):
    r"""Apply an activation: :math:`h = f(x)`; softmax runs over the last axis.

    Parameters
    ----------
    activation : str, derive.networks.activations.Activation or callable
        A name of :mod:`derive.networks.activations`, or your own function of one scalar expression.
    name : str, optional

    >>> from derive import Sequential
    >>> from derive.networks.layers import Dense
    >>> model = Sequential([Dense(3), Activation(lambda u: u**2)], input_shape=(2,))
    >>> model.output.definition.body
    z1[b, j]**2
    """

    kind = "activation"

    def __init__(self, activation: GivenActivation, name: str | None = None):
        super().__init__(name)
        self.activation = find_activation(activation, "Activation")
        self.gives = self.activation.gives

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        return new.define(self.activation.letter, x.indices, self.activation(x))
