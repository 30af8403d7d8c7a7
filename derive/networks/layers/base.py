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

import inspect
import itertools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction

from sympy import Expr, Integer, expand

from derive.language.define import block, define
from derive.language.errors import DeriveError, ShapeError
from derive.language.facts import nonnegative
from derive.language.hints import did_you_mean
from derive.language.index import Index, Size
from derive.language.tensor import Tensor, tensor
from derive.networks.activations import Activation

from .graph import Node, call
from .penalty import penalties
from .sizes import number

INITIALIZERS = (
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_uniform",
    "lecun_normal",
    "orthogonal",
    "uniform",
    "normal",
    "standard_normal",
    "zeros",
    "ones",
)
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
class PerGate:
    """An initializer of a kernel that holds several gates along an axis: each gate is drawn by itself.

    Attributes
    ----------
    init : str, number or callable
    others : tuple of (int, initializer)
        The gates that are drawn in another way.
    axis : int
        The axis of the gates.
    """

    init: str | float | Callable
    others: tuple[tuple[int, str | float], ...] = ()
    axis: int = 1

    @property
    def __name__(self) -> str:
        own = getattr(self.init, "__name__", str(self.init)).strip("<>")
        return ", ".join([own, *(f"gate {n} {how}" for n, how in self.others)])


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


class Layer:
    """Base of the catalogue's layers; ``kind`` is what automatic names count: ``dense_1``, ``dense_2``.

    A layer called on a symbol of a functional model gives a symbol: ``h = L.Dense(10)(x)``.  The same layer called
    twice has one set of parameters.
    """

    kind = "layer"
    fields: tuple[str, ...] = ()  # the arguments of the constructor, for saving
    gives = "anything"  # what its output is, see Activation.gives; a loss from logits refuses probabilities
    merges = False  # whether connect takes a list of tensors
    called = "L.Add()([h, x])"  # how a layer that does is called
    penalties: dict[str, Callable] = {}  # role of a parameter, or "activity" for the output -> price of an element
    takes: dict = {}  # of what dtype and range a Sequential's input is, where this is its first layer

    def __init_subclass__(cls, **given):
        super().__init_subclass__(**given)
        own = inspect.signature(cls.__init__)
        cls.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])  # what help shows, not __new__'s

    def __new__(cls, *values, **given):
        known = inspect.signature(cls.__init__).parameters
        taken = [n for n, p in known.items() if n != "self" and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        unknown = [] if any(p.kind is p.VAR_KEYWORD for p in known.values()) else [n for n in given if n not in taken]
        if unknown:
            raise DeriveError(
                f"{cls.__name__}: unknown option {unknown[0]!r}{did_you_mean(unknown[0], taken)}; it takes "
                f"{', '.join(taken)}"
            )
        return super().__new__(cls)

    def __init__(self, name: str | None = None, trainable: bool = True):
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise DeriveError(f"{type(self).__name__}(name={name!r}): a name is a non-empty string")
        self.name, self.trainable = name, bool(trainable)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        """The tensor that comes out for ``x``, defined with what ``new`` makes."""
        raise NotImplementedError(f"{type(self).__name__} has no connect(x, new) -> tensor")

    def penalize(self, **roles) -> Layer:
        """Add a price of the size of parameters, by role, or of the output (``activity``) to every loss; gives the layer.

        ``L.Dense(64).penalize(kernel=L.Penalty(l2=1e-3), activity=L.Penalty(l1=1e-4))``.  A price is a
        :class:`derive.networks.layers.Penalty` or a function of one element, summed over the parameter; that of the output is a
        mean over the batch.
        """
        self.penalties = {**self.penalties, **penalties(f"{type(self).__name__}.penalize", roles)}
        return self

    def __call__(self, on) -> Node:
        """The symbol of this layer's output for a symbol, or for a list of them where the layer merges."""
        return call(self, on)


class Function(Layer):
    """A layer of your own: any function ``(x, new) -> tensor``, see :mod:`derive.networks.layers.base`."""

    def __init__(self, function: Callable, name: str | None = None):
        super().__init__(name)
        self.function = function
        self.kind = getattr(function, "__name__", "layer").strip("<>")
        self.trainable = getattr(function, "trainable", True)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        return self.function(x, new)

    def __repr__(self):
        return repr(self.function)


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
        self.layer, self.position, self.trainable = "", 0, True
        self._own: dict[tuple[str, int], Index] = {}  # the axes that a layer made, for when it is called again
        self._count, self._made, self._names = 0, set(), {"B"}
        self._letters = (
            letter + suffix for suffix in itertools.chain([""], map(str, itertools.count(2))) for letter in LETTERS
        )

    def enter(self, layer: str, trainable: bool = True) -> Builder:
        """What is made from now on belongs to the named layer."""
        self.layer, self.trainable, self.position = layer, trainable, self.position + 1
        self.training = self._trains and layer not in self._still
        self._count, self._made = 0, set()
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

    def parameter(self, role: str, *axes: Index | int, init="glorot_uniform") -> Tensor:
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

    def remember(self, role: str, *axes: Index | int, init="zeros") -> Tensor:
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

    def update(self, state: Tensor, body) -> Tensor:
        """Define the next value of a state, ``<layer>_<role>_new``, which the training derivation returns."""
        with block(self.layer):
            made = define(f"{state.name}_new", state.letters, body)
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

    def carry_on(self, state: Tensor, body) -> Tensor:
        """Define what a carried state is after this call, ``<layer>_<role>_new``."""
        with block(self.layer):
            made = define(f"{state.name}_new", state.letters, body)
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


def apart(i: Index, *others: Index) -> Index:
    """An index over the range of ``i`` that is none of the others: ``i`` itself, or with a prime.

    A layer that is called on its own output would else sum over the index that it defines.
    """
    return apart(Index(f"{i.name}'", i.size), *others) if i in others else i


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
        raise DeriveError(
            f"{where}: unknown initializer {given!r}{did_you_mean(given, INITIALIZERS)}; accepted are "
            f"{', '.join(INITIALIZERS)}, a number, or a function (shape, generator) -> array"
        )
    if isinstance(given, bool) or not (isinstance(given, str | int | float | PerGate) or callable(given)):
        raise DeriveError(
            f"{where}: initializer {given!r} is {type(given).__name__}; accepted are "
            f"{', '.join(INITIALIZERS)}, a number, or a function (shape, generator) -> array"
        )
    return given
