"""What a layer is, and what a network hands it while it is being put together.

A layer is a small forward definition: ``connect(x, new) -> tensor``, where ``x`` is the tensor that comes in (its
``letters`` are the indices to read it at) and ``new`` makes the layer's axes, parameters and definitions under its
name.  Any function of that form is a layer too::

    def scale(x, new):
        gain = new.parameter("gain", x.letters[-1], init="ones")
        return new.define("h", x.letters, gain[x.letters[-1]] * x[x.letters])

Sizes stay symbolic: ``new.axis(128)`` is a fresh index over a size of its own, and 128 is what that size is bound to.
"""

from __future__ import annotations

import itertools
import operator
from collections.abc import Callable
from dataclasses import dataclass

from sympy import Expr, Integer

from ..activations import Activation
from ..define import block, define
from ..errors import DeriveError, ShapeError
from ..hints import did_you_mean
from ..index import Index, Size, index
from ..tensor import Tensor, tensor

INITIALIZERS = ("glorot_uniform", "glorot_normal", "he_uniform", "he_normal", "lecun_uniform", "lecun_normal",
                "uniform", "normal", "zeros", "ones")
LETTERS = "ijklmn"  # then i2, j2, ...; the batch is b, and x, y, z, h, p are tensors


@dataclass(frozen=True)
class Parameter:
    """One parameter of a network.

    Attributes
    ----------
    name : str
        Layer and role: ``dense_1_kernel``.
    shape : tuple of int
    tensor : Tensor
        The symbolic input, with the same name.
    init : str, number or callable
        An initializer of :mod:`numerics.init`, a constant, or ``(shape, generator) -> array``.
    trainable : bool
    layer : str
    """

    name: str
    shape: tuple[int, ...]
    tensor: Tensor
    init: str | float | Callable
    trainable: bool
    layer: str

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        total = 1
        for n in self.shape:
            total *= n
        return total

    @property
    def init_name(self) -> str:
        return getattr(self.init, "__name__", str(self.init)).strip("<>")


class Layer:
    """Base of the catalogue's layers; ``kind`` is what automatic names count: ``dense_1``, ``dense_2``."""

    kind = "layer"
    fields: tuple[str, ...] = ()  # the arguments of the constructor, for saving
    gives = "anything"  # what its output is, see Activation.gives; a loss from logits refuses probabilities

    def __init__(self, name: str | None = None, trainable: bool = True):
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise DeriveError(f"{type(self).__name__}(name={name!r}): a name is a non-empty string")
        self.name, self.trainable = name, bool(trainable)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        """The tensor that comes out for ``x``, defined with what ``new`` makes."""
        raise NotImplementedError(f"{type(self).__name__} has no connect(x, new) -> tensor")


class Builder:
    """Makes the axes, parameters and definitions of one layer after another; kept by the model."""

    def __init__(self):
        self.sizes: dict[str, int] = {}
        self.parameters: dict[str, Parameter] = {}
        self.layer, self.position, self.trainable = "", 0, True
        self._letters = (letter + suffix for suffix in itertools.chain([""], map(str, itertools.count(2)))
                         for letter in LETTERS)

    def enter(self, layer: str, trainable: bool = True) -> Builder:
        """What is made from now on belongs to the named layer."""
        self.layer, self.trainable, self.position = layer, trainable, self.position + 1
        return self

    def axis(self, size: int, letter: str | None = None) -> Index:
        """A fresh index over a symbolic size of its own, which is bound to ``size``."""
        size = whole(size, f"layer {self.layer}: the size of an axis" if self.layer else "input_shape")
        made = index(letter or next(self._letters))
        if self.sizes.setdefault(str(made.size), size) != size:
            known = self.sizes[str(made.size)]
            raise ShapeError(f"layer {self.layer}: size {made.size} is {known} already, not {size}")
        return made

    def parameter(self, role: str, *axes: Index | int, init="glorot_uniform") -> Tensor:
        """A new input with role parameter, named ``<layer>_<role>``."""
        name = f"{self.layer}_{role}"
        if name in self.parameters:
            raise DeriveError(f"layer {self.layer}: the parameter {role!r} is made twice")
        made = tensor(name, *axes, role="parameter")
        shape = tuple(self.number(a) for a in made.axes)
        self.parameters[name] = Parameter(name, shape, made, initializer(init, f"layer {self.layer}, {role}"),
                                          self.trainable, self.layer)
        return made

    def number(self, size: Expr) -> int:
        """What a symbolic size is bound to."""
        found = size.xreplace({Size(n): Integer(v) for n, v in self.sizes.items()})
        if not found.is_Integer:
            raise ShapeError(f"layer {self.layer}: the size {size} has no number; make axes with new.axis(128)")
        return int(found)

    def define(self, letter: str, axes, body) -> Tensor:
        """A definition named by a letter and the layer's position, such as ``z1``, in the layer's block."""
        with block(self.layer):
            return define(f"{letter}{self.position}", axes, body)

    def activated(self, axes, body, given: Activation) -> Tensor:
        """``z = body`` and, unless the activation is linear, ``h = activation(z)``."""
        z = self.define("z", axes, body)
        if given.name == "linear":
            return z
        return self.define(given.letter, z.letters, given(z))


def whole(value, what: str) -> int:
    """A positive whole number, or an error that says what it was for."""
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is None or isinstance(value, bool) or found < 1:
        raise ShapeError(f"{what} is {value!r}; accepted is a positive whole number")
    return found


def initializer(given, where: str):
    """An initializer's name, a constant or a function ``(shape, generator) -> array``, checked."""
    if isinstance(given, str) and given not in INITIALIZERS:
        raise DeriveError(f"{where}: unknown initializer {given!r}{did_you_mean(given, INITIALIZERS)}; accepted are "
                          f"{', '.join(INITIALIZERS)}, a number, or a function (shape, generator) -> array")
    if isinstance(given, bool) or not (isinstance(given, str | int | float) or callable(given)):
        raise DeriveError(f"{where}: initializer {given!r} is {type(given).__name__}; accepted are "
                          f"{', '.join(INITIALIZERS)}, a number, or a function (shape, generator) -> array")
    return given
