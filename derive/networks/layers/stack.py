"""A block repeated: a recurrence over depth, in which the definitions of the block stand once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import Any, cast

from sympy import Eq, Expr, Piecewise

from derive.language.declare import tensor
from derive.language.define import block as in_block
from derive.language.define import define
from derive.language.errors import DeriveError, ShapeError
from derive.language.grouping import replaced
from derive.language.index import Index
from derive.language.keys import hash_text
from derive.language.nodes import Sum
from derive.language.tensor import Definition, Read, Recurrence, Tensor
from derive.networks.initializers import Initializer, PerGate

from .base import Function, Layer
from .builder import Builder, whole
from .part import Part
from .registry import in_catalogue


@in_catalogue
class Stack(Layer):
    r"""The same block so many times, one after the other, each time with parameters of its own.

    .. math:: x_n = f(x_{n-1}, \theta_n), \qquad n = 0, \dots, N - 1, \qquad h = x_{N-1}

    It is a recurrence over depth, and derived, proved, told and computed as any recurrence is: the document, the source
    and the time to compile do not depend on the depth, and ``checkpoint_every=`` keeps the input of every so many blocks.

    Parameters
    ----------
    block : Layer
        What gives a tensor of the shape that it is given: ``L.TransformerBlock``, a layer of your own, or a function
        ``(x, new) -> tensor``.  Called on several symbols, the stack hands the first from block to block and the others
        to each of them.
    depth : int
    shared : bool
        One set of parameters for all blocks, as in ALBERT.
    name : str, optional
        The parameters are those of the block, ``<name>_<role>``, with an axis for the depth in front.
    trainable : bool

    Raises
    ------
    ShapeError
        A block whose output does not have the shape of its input (both are named).
    DeriveError
        A recurrence inside of the block.

    References
    ----------
    Lan et al., *ALBERT*, ICLR 2020 (shared parameters).

    >>> from derive import Sequential, layers as L
    >>> model = Sequential([Stack(L.Dense(3, activation="tanh"), 4)], input_shape=(3,))
    >>> {n: p.shape for n, p in model.parameters.items()}
    {'stack_1_kernel': (4, 3, 3), 'stack_1_bias': (4, 3)}
    """

    kind = "stack"

    def __init__(
        self, block: Layer | Callable, depth: int, shared: bool = False, name: str | None = None, trainable: bool = True
    ):
        super().__init__(name, trainable)
        if isinstance(block, type) or not isinstance(block, Layer) and not callable(block):
            raise DeriveError(
                f"Stack({block!r}): the block is {type(block).__name__}; accepted is a layer, as in "
                f"L.Stack(L.TransformerBlock(8), depth=6), or a function (x, new) -> tensor"
            )
        self.block = block if isinstance(block, Layer) else Function(block)
        self.depth = whole(depth, f"Stack: depth of {type(self.block).__name__}")
        self.shared = bool(shared)
        self.gives, self.may_merge, self.merges = self.block.gives, self.block.may_merge, self.block.merges
        self.called = f"L.Stack({type(self.block).__name__}(...), {self.depth})([x, memory])"
        self.penalties = dict(self.block.penalties)

    def connect(self, x: Any, new: Builder) -> Tensor:
        x, *others = x if isinstance(x, list) else [x]
        n = new.axis(self.depth, "n", "N")
        one = Tensor(f"x{new.position}_block", x.axes, x.indices, x.dtype, x.below, "data")
        inside = Block(new, n, self.shared, others)
        given: Any = [one, *others] if others or self.block.merges else one
        y = self.block.connect(given, cast(Builder, inside))
        if y is one:  # a block of dropout alone, in use
            return x
        self._check(x, y, new)

        letters = (n, *y.indices)
        recurrence = Recurrence()  # told from others by the block that it repeats, so that equal networks are equal
        before = recurrence.stand_in(y.name, letters, hash_text(f"{x.digest} {y.digest} {n.size} {self.shared}"))
        start = Piecewise((x[x.indices], Eq(n, 0)), (before[(n - 1, *x.indices)], True))
        inside.entered(one, Part.of(new, "block").define("x", (n, *x.indices), start))
        with in_block(new.layer):
            (every,) = recurrence.close([define(y.name, letters, inside.body(y))], [before])
        for state, idx, body in inside.updates:
            new.update(state, inside.lifted(body, idx))
        for role, body in inside.prices:
            new.price(role, Sum(inside.lifted(body, ()), n))
        return new.define("h", y.indices, every[(n.size - 1, *y.indices)])

    def _check(self, x: Tensor, y: Tensor, new: Builder) -> None:
        what = f"Stack of {type(self.block).__name__}"
        shapes = [(x.rank, *(new.number(a) for a in t.axes[1:])) for t in (x, y)]
        if shapes[0] != shapes[1] or x.rank != y.rank:
            raise ShapeError(
                f"{what}: the block makes {new.shape(y)} of {new.shape(x)}; accepted is a block whose output has the shape "
                f"of its input, as the next block reads it"
            )
        for a, b in zip(x.axes[1:], y.axes[1:], strict=True):
            new.same(a, b, what)


class Block:
    """A builder for the block of a stack: what is made for one block is there for every one, along the axis of depth.

    The block's definitions are written once, for one block, of stand-ins for the input and for the parameters;
    :meth:`lifted` reads them at the depth ``n``.
    """

    def __init__(self, new: Builder, n: Index, shared: bool, others: Sequence[Tensor] = ()):
        self._new, self._n, self._shared = new, n, shared
        # by its stand-in: what has the axis of depth; what every block is given (a memory that another stack made) has not
        self._real: dict[Tensor, Tensor] = {t: t for t in others}
        self.updates: list[tuple[Tensor, Sequence[Index], Expr]] = []  # (state, letters of one block, its next value)
        self.prices: list[tuple[str, Expr]] = []  # of one block

    def __getattr__(self, name: str) -> Any:
        return getattr(self._new, name)

    @property
    def position(self) -> str:
        return f"{self._new.position}_block"

    # -- what a block makes ------------------------------------------------------------------------------------------

    def parameter(self, role: str, *axes: Index | int, init: Initializer = "glorot_uniform") -> Tensor:
        if self._shared:
            return self._new.parameter(role, *axes, init=init)
        return self._stand_in(self._new.parameter(role, self._n, *axes, init=PerGate(init, axis=0)), axes)

    def draw(self, role: str, *axes: Index | int, chance: Fraction) -> Tensor:
        return self._stand_in(self._new.draw(role, self._n, *axes, chance=chance), axes)

    def remember(self, role: str, *axes: Index | int, init: Initializer = "zeros") -> Tensor:
        return self._stand_in(self._new.remember(role, self._n, *axes, init=PerGate(init, axis=0)), axes)

    def update(self, state: Tensor, body: Expr) -> None:
        self.updates.append((self._real[state], state.indices, body))

    def price(self, role: str, body: Expr) -> None:
        self.prices.append((role, body))

    def carry(self, role: str, *axes: Index) -> Tensor:
        raise DeriveError(f"layer {self._new.layer}: a layer that carries its state {role!r} does not stand in a stack")

    def define(self, letter: str, axes: Sequence[Index], body: Expr) -> Tensor:
        with in_block(self._new.layer):
            return define(f"{letter}{self.position}", axes, body)

    def activated(self, axes: Sequence[Index], body: Expr, given: Any) -> Tensor:
        return Builder.activated(cast(Builder, self), axes, body, given)

    def _stand_in(self, real: Tensor, axes: Sequence[Index | int]) -> Tensor:
        one = tensor(real.name, *axes, role=real.role, facts=real.facts)
        self._real[one] = real
        return one

    # -- at every depth ----------------------------------------------------------------------------------------------

    def entered(self, one: Tensor, every: Tensor) -> None:
        """What comes into a block, for all of them."""
        self._real[one] = every

    def body(self, t: Tensor) -> Expr:
        """The right-hand side of one of the block's definitions, at the depth n."""
        assert t.definition is not None
        return self.lifted(t.definition.body, t.indices)

    def lifted(self, e: Expr, idx: Sequence[Index]) -> Expr:
        """An expression over what is made for one block, read at the depth n."""
        if self._n in idx:
            raise DeriveError(f"layer {self._new.layer}: the letter {self._n} is that of the depth")
        return replaced(e, {r: self._read(r) for r in e.atoms(Read)})

    def _read(self, r: Read) -> Read:
        idx = [self.lifted(i, ()) for i in r.idx]
        every = self._every(r.tensor)
        return Read(r.tensor, *idx) if every == r.tensor else Read(every, self._n, *idx)

    def _every(self, t: Tensor) -> Tensor:
        """A tensor with the axis of depth, or as it is where it is the same in every block."""
        if t in self._real:
            return self._real[t]
        if t.recurrence is not None:
            raise DeriveError(
                f"layer {self._new.layer}: {t.name} is a recurrence inside of a block; a recurrence over steps inside of one "
                f"over depth is not supported: write such layers one after another, without L.Stack"
            )
        if t.definition is None:
            return t
        body = self.body(t)
        if not any(self._n in r.free_symbols for r in body.atoms(Read)):
            self._real[t] = t
            return t
        letters = (self._n, *t.indices)
        self._real[t] = Tensor(
            t.name,
            (self._n.size, *t.axes),
            letters,
            t.dtype,
            t.below,
            "computed",
            t.facts,
            Definition(letters, body),
            block=t.block,
        )
        return self._real[t]
