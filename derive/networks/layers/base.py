"""What a layer is, and what calling it on symbols gives.

A layer is a small forward definition: ``connect(x, new) -> tensor``, where ``x`` is the tensor that comes in (its
``letters`` are the indices to read it at) and ``new`` makes the layer's axes, parameters and definitions under its
name.  Any function of that form is a layer too::

    def scale(x, new):
        gain = new.parameter("gain", x.indices[-1], init="ones")
        return new.define("h", x.indices, gain[x.indices[-1]] * x[x.indices])

What ``new`` makes is described in :mod:`derive.networks.layers.builder`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

from sympy import Expr

from derive.language.errors import DeriveError
from derive.language.tensor import Tensor
from derive.networks import elsewhere

from .builder import Builder
from .penalty import penalties


class Node:
    """A place in the graph of a model: an input, or a layer called on other nodes.

    Attributes
    ----------
    layer : Layer, or None for an input
    of : tuple of Node
        What the layer was called on.
    given : mapping
        Of an input: its shape, name, dtype and range.
    within : model, or None
        The model that was called, where the layer is one of its layers.
    takes : mapping
        By place among ``of``: the name, and the shape and dtype, of the input of that model which stands there.
    """

    def __init__(
        self,
        layer: Layer | None,
        of: tuple[Node, ...] = (),
        given: Mapping[str, Any] | None = None,
        within: Any = None,
        takes: Mapping[int, tuple[str, Mapping[str, Any]]] | None = None,
    ):
        self.layer, self.of, self.given, self.within, self.takes = layer, of, given or {}, within, takes or {}

    def _arithmetic(self, other: Any = None) -> Any:
        raise DeriveError(
            "symbols stand for outputs of layers, and are no numbers: L.Add()([h, x]) adds them, L.Multiply() multiplies; any "
            "other formula is a function ([h, x], new) -> tensor, see docs/extending.md"
        )

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __matmul__ = __neg__ = _arithmetic

    def __repr__(self) -> str:
        return f"<input {self.given['name']}>" if self.layer is None else f"<output of {type(self.layer).__name__}>"


class Layer:
    """Base of the catalogue's layers; ``kind`` is what automatic names count: ``dense_1``, ``dense_2``.

    A layer called on a symbol of a functional model gives a symbol: ``h = L.Dense(10)(x)``.  The same layer called
    twice has one set of parameters.
    """

    kind = "layer"
    fields: ClassVar[tuple[str, ...]] = ()  # the arguments of the constructor, which saving reads from the layer
    gives = "anything"  # what its output is, see Activation.gives; a loss from logits refuses probabilities
    merges = False  # whether connect takes a list of tensors
    may_merge = False  # whether it takes one tensor or a list of several, as attention does
    called = "L.Add()([h, x])"  # how a layer that does is called
    penalties: dict[str, Callable] = {}  # role of a parameter, or "activity" for the output -> price of an element
    takes: dict[str, Any] = {}  # of what dtype and range a Sequential's input is, where this is its first layer

    def __init_subclass__(cls, **given: Any) -> None:
        super().__init_subclass__(**given)
        own = inspect.signature(cls.__init__)
        shown = own.replace(parameters=list(own.parameters.values())[1:])  # what help shows, not __new__'s
        setattr(cls, "__signature__", shown)  # noqa: B010  type checkers know no such attribute
        cls.fields = arguments(cls)

    def __new__(cls, *values: Any, **given: Any) -> Self:
        unknown = [n for n in given if n not in cls.fields]
        if unknown:
            raise DeriveError(
                f"{cls.__name__}: unknown option {unknown[0]!r}"
                f"{elsewhere.hint(unknown[0], cls.fields, elsewhere.OPTIONS)}; it takes {', '.join(cls.fields)}"
            )
        return super().__new__(cls)

    def __init__(self, name: str | None = None, trainable: bool = True):
        if name is not None and (not isinstance(name, str) or not name.strip()):
            raise DeriveError(f"{type(self).__name__}(name={name!r}): a name is a non-empty string")
        self.name, self.trainable = name, bool(trainable)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        """The tensor that comes out for ``x``, defined with what ``new`` makes."""
        raise NotImplementedError(f"{type(self).__name__} has no connect(x, new) -> tensor")

    def penalize(self, **roles: Callable[[Expr], Expr] | None) -> Self:
        """Add a price of the size of parameters, by role, or of the output (``activity``) to every loss; gives the layer.

        ``L.Dense(64).penalize(kernel=L.Penalty(l2=1e-3), activity=L.Penalty(l1=1e-4))``.  A price is a
        :class:`derive.networks.layers.Penalty` or a function of one element, summed over the parameter; that of the output is a
        mean over the batch.
        """
        self.penalties = {**self.penalties, **penalties(f"{type(self).__name__}.penalize", roles)}
        return self

    def __call__(self, *on: Any, **options: Any) -> Any:
        """The symbol of this layer's output for a symbol, or for a list of them where the layer merges: ``layer(x)``,
        ``layer([x, memory])``."""
        what = type(self).__name__
        if options:
            name = next(iter(options))
            raise DeriveError(
                f"{what} is called on symbols alone, layer(x) or layer([x, memory]); it was given {name!r}"
                f"{elsewhere.hint(name, (), elsewhere.CALLS)}"
            )
        if len(on) != 1:
            raise DeriveError(
                f"{what} is called on one symbol, or on a list of several, as in layer([x, memory]); it was given {len(on)} "
                f"things"
            )
        return call(self, on[0])


def arguments(cls: type[Layer]) -> tuple[str, ...]:
    """The names that a constructor takes; where it hands ``**options`` on, those of its parent follow."""
    found: dict[str, None] = {}
    for c in cls.__mro__:
        if "__init__" not in vars(c):
            continue
        _, *own = inspect.signature(vars(c)["__init__"]).parameters.values()
        found |= dict.fromkeys(p.name for p in own if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
        if not any(p.kind is p.VAR_KEYWORD for p in own):
            break
    return tuple(found)


class Function(Layer):
    """A layer of your own: any function ``(x, new) -> tensor``, see :mod:`derive.networks.layers.base`.

    Called on a list of symbols it gives the function a list of tensors.
    """

    may_merge = True

    def __init__(self, function: Callable, name: str | None = None):
        super().__init__(name)
        self.function = function
        self.kind = getattr(function, "__name__", "layer").strip("<>")
        self.trainable = getattr(function, "trainable", True)

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        return self.function(x, new)

    def __repr__(self) -> str:
        return repr(self.function)


def symbol(given: Any) -> Any:
    """The symbol of a model's own input or output, as ``critic(generator.output)`` is written; others as they are."""
    return given.symbol if isinstance(given, Tensor) and given.symbol is not None else given


def told(given: Any) -> str:
    """What stands where a symbol should, for messages: an array by its shape."""
    shape = getattr(given, "shape", None)
    return repr(given) if shape is None else f"an array of shape {tuple(shape)}"


def call(layer: Layer, on: Any) -> Node:
    """A layer called on one symbol, or, for a merging layer, on a list of symbols."""
    what = type(layer).__name__
    many = isinstance(on, list | tuple)
    if many != layer.merges and not layer.may_merge:
        needs = f"a list of symbols, as in {layer.called}" if layer.merges else "one symbol, as in L.Dense(10)(h)"
        raise DeriveError(f"{what} is called on {needs}; it was given {on!r}")
    of = tuple(symbol(s) for s in on) if many else (symbol(on),)
    for node in of:
        if not isinstance(node, Node):
            raise DeriveError(
                f"{what} was called on {told(node)}; layers are called on symbols, made by dv.Input(shape) "
                f"or by other layers; arrays go to the compiled kernel"
            )
    if layer.merges and len(of) < 2:
        raise DeriveError(f"{what} merges at least two symbols; it was given {len(of)}")
    return Node(layer, of)


def taken(layer: Layer, on: list) -> Any:
    """What ``connect`` is given of what a layer was called on: a list where it merges, the only one otherwise."""
    return on if layer.merges or len(on) > 1 else on[0]
