"""A builder for one part of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

from sympy import Expr

from derive.language.define import block, define
from derive.language.index import Index
from derive.language.tensor import Tensor
from derive.networks.activations import Activation
from derive.networks.initializers import Initializer

from .builder import Builder


class Part:
    """A builder for one part of a layer: what it makes is named after the layer and the part."""

    @classmethod
    def of(cls, new: Builder, part: str) -> Builder:
        return cast(Builder, cls(new, part))  # it does all that a builder does, by asking the one it stands before

    def __init__(self, new: Builder, part: str):
        self._new, self._part = new, part

    def __getattr__(self, name: str) -> Any:
        return getattr(self._new, name)

    @property
    def position(self) -> str:
        return f"{self._new.position}_{self._part}"

    def parameter(self, role: str, *axes: Index | int, init: Initializer = "glorot_uniform") -> Tensor:
        return self._new.parameter(f"{self._part}_{role}", *axes, init=init)

    def carry(self, role: str, *axes: Index) -> Tensor:
        return self._new.carry(f"{self._part}_{role}", *axes)

    def define(self, letter: str, axes: Sequence[Index], body: Expr) -> Tensor:
        with block(self._new.layer):
            return define(f"{letter}{self.position}", axes, body)

    def draw(self, role: str, *axes: Index | int, chance: Fraction) -> Tensor:
        return self._new.draw(f"{self._part}_{role}", *axes, chance=chance)

    def remember(self, role: str, *axes: Index | int, init: Initializer = "zeros") -> Tensor:
        return self._new.remember(f"{self._part}_{role}", *axes, init=init)

    def activated(self, axes: Sequence[Index], body: Expr, given: Activation) -> Tensor:
        return Builder.activated(cast(Builder, self), axes, body, given)
