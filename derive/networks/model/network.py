"""What the parts of a model read of it, whichever class it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from derive.language.tensor import Tensor
from derive.networks.layers.builder import Parameter

from .connecting import Graph, Placed, Plan


class Network(Protocol):
    """A network that has its definitions; see :class:`derive.Model`."""

    name: str
    inference: Graph
    _plan: Plan

    @property
    def outputs(self) -> dict[str, Tensor]: ...

    @property
    def layers(self) -> tuple[Placed, ...]: ...

    @property
    def parameters(self) -> dict[str, Parameter]: ...

    def shape(self, t: Tensor) -> tuple: ...

    def layer(self, name: str) -> Placed: ...

    def trainable(self, frozen: str | Sequence[str] = ()) -> list[Parameter]: ...
