"""Which function is the independent forward of which layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from jax import Array

from derive.networks.layers import Layer
from derive.networks.model import Model, Placed

Arrays = Mapping[str, Array]  # inputs and parameters, by name
Forward = Callable[[Model, Placed, Sequence[Array], Arrays], Array]  # in training: masks are inputs
F = TypeVar("F", bound=Forward)

LAYERS: dict[type[Layer], Forward] = {}
PRICES: dict[type[Layer], Callable[..., Array | float]] = {}  # what a layer adds to every loss


def reference_of(*classes: type[Layer]) -> Callable[[F], F]:
    """The function below is the reference of these classes; of no subclass, whose forward may be another."""

    def registered(function: F) -> F:
        LAYERS.update(dict.fromkeys(classes, function))
        return function

    return registered


P = TypeVar("P", bound=Callable[..., object])


def price_of(cls: type[Layer]) -> Callable[[P], P]:
    """The function below is what a layer of the class adds to every loss."""

    def registered(function: P) -> P:
        PRICES[cls] = function  # type: ignore[assignment]
        return function

    return registered
