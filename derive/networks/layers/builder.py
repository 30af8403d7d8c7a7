"""What a network hands its layers while it is being put together: axes, parameters, states and definitions by name.

Sizes stay symbolic: ``new.axis(128)`` is a fresh index over a size of its own, and 128 is what that size is bound to.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

from sympy import Expr, Integer, expand

from derive.language.declare import tensor
from derive.language.define import block, define
from derive.language.errors import DeriveError, ShapeError
from derive.language.facts import nonnegative
from derive.language.index import Index, Size
from derive.language.tensor import Tensor
from derive.networks.activations import Activation
from derive.networks.initializers import Initializer, initializer

from .sizes import number

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
        An initializer of :mod:`numerics.training.init`, a constant, or ``(shape, generator) -> array``.
    trainable : bool
    layer : str
    """

    name: str
    shape: tuple[int, ...]
    tensor: Tensor
    init: Initializer
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


@dataclass(frozen=True)
class State(Parameter):
    """What a layer remembers from step to step, such as a running mean: an input that training returns anew.

    Attributes
    ----------
    update : Tensor or None
        The definition of its next value, an output of the training derivation; None in the forward one.
    """

    update: Tensor | None = None


@dataclass(frozen=True)
class Carried:
    """What a recurrent layer hands from one call to the next: truncated backpropagation through time.

    Attributes
    ----------
    name : str
    tensor : Tensor
        The state at the start, an input (B, units) with role state.
    layer : str
    update : Tensor or None
        The state at the end, an output.
    """

    name: str
    tensor: Tensor
    layer: str
    update: Tensor | None = None


@dataclass(frozen=True)
class Random:
    """An input that is drawn anew for every step, outside the equations.

    Attributes
    ----------
    name : str
    tensor : Tensor
        With role random; its first axis is the batch.
    chance : Fraction
        Each element is 1 with this probability, else 0.
    layer : str
    """

    name: str
    tensor: Tensor
    chance: Fraction
    layer: str


class Builder:
    """Makes the axes, parameters and definitions of one layer after another; kept by the model.

    Attributes
    ----------
    training : bool
        Whether these are the definitions to train with; dropout and batch normalization differ.  The one place where
        they can.
    """

    def __init__(
        self,
        training: bool = True,
        solved: dict[Size, Expr] | None = None,
        known: dict[str, int] | None = None,
        still: frozenset = frozenset(),
    ):
        self.training, self.solved = training, dict(solved or {})
        self._trains, self._still = training, still  # layers that are as in use while the others train
        self._known = dict(known or {})  # what sizes were bound to, the time before
        self.sizes: dict[str, int] = {}
        self.parameters: dict[str, Parameter] = {}
        self.state: dict[str, State] = {}
        self.random: dict[str, Random] = {}
        self.carried: dict[str, Carried] = {}
        self.finals: dict[Tensor, dict[str, tuple]] = {}  # output of a recurrent layer -> its states and where they end
        self.equal: list[tuple[Expr, Expr]] = []  # sizes that must be one, for the next time
        self._priced: list[str] = []
        self.prices: list[Tensor] = []  # scalars that the layer adds to every loss
        self.layer, self.position, self.trainable = "", 0, True
        self.names: dict[Any, str] = {}  # of the layers that were placed, for those that read another's parameters
        self._own: dict[tuple[str, int], Index] = {}  # the axes that a layer made, for when it is called again
        self._count = 0
        self._made: set[str] = set()
        self._names = {"B"}
        self._letters = (
            letter + suffix for suffix in itertools.chain([""], map(str, itertools.count(2))) for letter in LETTERS
        )

    def enter(self, layer: str, trainable: bool = True) -> Builder:
        """What is made from now on belongs to the named layer."""
        self.layer, self.trainable, self.position = layer, trainable, self.position + 1
        self.training = self._trains and layer not in self._still
        self._count, self._made, self.prices = 0, set(), []
        return self

    def axis(self, size: int, letter: str | None = None, named: str | None = None) -> Index:
        """A fresh index over a symbolic size of its own, which is bound to ``size``; ``letter`` and the size's name
        are wishes."""
        size = whole(size, f"layer {self.layer}: the size of an axis" if self.layer else "input_shape")
        self._count += 1
        key = (self.layer, self._count)
        if not self.layer or key not in self._own:
            self._own[key] = self._axis(size, letter, named)
        made = self._own[key]
        if self.number(made.size) != size:
            raise ShapeError(
                f"layer {self.layer}: an axis of {self.number(made.size)} elements is asked to hold {size}"
            )
        return made

    def _axis(self, size: int, wish: str | None, named: str | None) -> Index:
        for n in itertools.count(1):
            suffix = "" if n == 1 else str(n)
            letter = next(self._letters) if wish is None else wish + suffix
            own = Size(named + suffix if named else letter.upper())
            if own.name not in self._names:
                break
        self._names.add(own.name)
        found = self.solved.get(own, own)
        coefficient, rest = found.as_coeff_Mul()
        if isinstance(rest, Size):
            self.sizes.setdefault(rest.name, size // int(coefficient))
        return Index(letter, found)

    def parameter(self, role: str, *axes: Index | int, init: Initializer = "glorot_uniform") -> Tensor:
        """A new input with role parameter, named ``<layer>_<role>``; a layer called again gets the same one."""
        name = f"{self.layer}_{role}"
        if name in self._made:
            raise DeriveError(f"layer {self.layer}: the parameter {role!r} is made twice")
        self._made.add(name)
        made = tensor(name, *axes, role="parameter")
        shape = tuple(self.number(a) for a in made.axes)
        known = self.parameters.get(name)
        if known is not None:
            if known.shape != shape:
                raise ShapeError(
                    f"layer {self.layer} is shared, but its {role} has shape {known.shape} and would need "
                    f"{shape} here; a layer can be called again on what has the same last axis"
                )
            self.equal += zip(known.tensor.axes, made.axes, strict=True)
            return known.tensor
        self.parameters[name] = Parameter(
            name, shape, made, initializer(init, f"layer {self.layer}, {role}"), self.trainable, self.layer
        )
        return made

    def remember(self, role: str, *axes: Index | int, init: Initializer = "zeros") -> Tensor:
        """A new input with role state, named ``<layer>_<role>``; :meth:`update` says what becomes of it."""
        name = f"{self.layer}_{role}"
        if name in self.state:
            raise DeriveError(
                f"layer {self.layer}: the state {role!r} is made twice; a layer with running statistics "
                f"stands in one place"
            )
        made = tensor(name, *axes, role="state")
        shape = tuple(self.number(a) for a in made.axes)
        self.state[name] = State(name, shape, made, initializer(init, f"layer {self.layer}, {role}"), False, self.layer)
        return made

    def update(self, state: Tensor, body: Expr) -> Tensor:
        """Define the next value of a state, ``<layer>_<role>_new``, which the training derivation returns."""
        with block(self.layer):
            made = define(f"{state.name}_new", state.indices, body)
        self.state[state.name] = replace(self.state[state.name], update=made)
        return made

    def carry(self, role: str, *axes: Index) -> Tensor:
        """A new input with role state, ``<layer>_<role>``, that the call before gave; :meth:`carry_on` follows."""
        name = f"{self.layer}_{role}"
        if name in self.carried:
            raise DeriveError(f"layer {self.layer}: a layer that carries its state {role!r} stands in one place")
        made = tensor(name, *axes, role="state")
        self.carried[name] = Carried(name, made, self.layer)
        return made

    def carry_on(self, state: Tensor, body: Expr) -> Tensor:
        """Define what a carried state is after this call, ``<layer>_<role>_new``."""
        with block(self.layer):
            made = define(f"{state.name}_new", state.indices, body)
        self.carried[state.name] = replace(self.carried[state.name], update=made)
        return made

    def draw(self, role: str, *axes: Index | int, chance: Fraction) -> Tensor:
        """A new input with role random: zeros and ones, one with probability ``chance``, drawn for every step."""
        name = (
            f"{self.layer}_{role}"
            if f"{self.layer}_{role}" not in self.random
            else f"{self.layer}_{role}_{self.position}"
        )
        made = tensor(name, *axes, role="random", facts=[nonnegative])
        self.random[name] = Random(name, made, chance, self.layer)
        return made

    def price(self, role: str, body: Expr) -> Tensor:
        """Define a scalar that every loss gets besides, ``penalty_<layer>_<role>``, such as the balance of experts."""
        name = f"penalty_{self.layer}_{role}"
        self._priced.append(name)
        count = self._priced.count(name)  # more than one of a layer that is called again
        with block(self.layer):
            made = define(name if count == 1 else f"{name}_{count}", (), body)
        self.prices.append(made)
        return made

    def same(self, a: Expr, b: Expr, what: str) -> None:
        """Two sizes are one: their numbers must agree, and their symbols are made to."""
        if self.number(a) != self.number(b):
            raise ShapeError(f"{what}: {self.number(a)} and {self.number(b)}")
        self.equal.append((a, b))

    def split(self, size: Expr, parts: int, what: str, counted: str = "channels (the last axis)") -> Expr:
        """``size / parts``; the size becomes a multiple of ``parts`` by its symbol."""
        if self.number(size) % parts:
            have = self.number(size)
            raise ShapeError(
                f"{what}: {parts} groups do not divide {have} {counted}; accepted are "
                f"{', '.join(str(n) for n in range(1, have + 1) if have % n == 0)}"
            )
        coefficient, rest = size.as_coeff_Mul()
        if any(c % parts for c in expand(size).as_coefficients_dict().values()):
            n = parts // math.gcd(int(coefficient), parts)
            if isinstance(rest, Size):
                part = Size(f"{rest.name}_{n}")
                self.equal.append((rest, n * part))
                self._known.setdefault(part.name, self.number(rest) // n)
            else:
                self.equal.append((size, Integer(self.number(size))))
        return size / parts

    @property
    def known(self) -> dict[str, int]:
        """The numbers of all sizes, those too that a group's channels brought in."""
        return {**self._known, **self.sizes}

    def number(self, size: Expr) -> int:
        """What a symbolic size is bound to."""
        found = number(size, self.known)
        if not found.is_Integer:
            raise ShapeError(f"layer {self.layer}: the size {size} has no number; make axes with new.axis(128)")
        return int(found)

    def shape(self, t: Tensor) -> str:
        """The shape of a tensor as people write it: numbers, and B for the batch."""
        return f"({', '.join(['B', *(str(self.number(a)) for a in t.axes[1:])])})"

    def define(self, letter: str, axes: Sequence[Index], body: Expr) -> Tensor:
        """A definition named by a letter and the layer's position, such as ``z1``, in the layer's block."""
        with block(self.layer):
            return define(f"{letter}{self.position}", axes, body)

    def activated(self, axes: Sequence[Index], body: Expr, given: Activation) -> Tensor:
        """``z = body`` and, unless the activation is linear, ``h = activation(z)``."""
        z = self.define("z", axes, body)
        if given.name == "linear":
            return z
        return self.define(given.letter, z.indices, given(z))


def apart(i: Index, *others: Index) -> Index:
    """An index over the range of ``i`` that is none of the others: ``i`` itself, or with a prime.

    A layer that is called on its own output would else sum over the index that it defines.
    """
    return apart(Index(f"{i.name}'", i.size), *others) if i in others else i


def whole(value: Any, what: str) -> int:
    """A positive whole number, or an error that says what it was for."""
    try:
        found = operator.index(value)
    except TypeError:
        found = None
    if found is None or isinstance(value, bool) or found < 1:
        raise ShapeError(f"{what} is {value!r}; accepted is a positive whole number")
    return found
