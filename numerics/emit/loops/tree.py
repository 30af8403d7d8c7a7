"""What loops are written in, before they are text: expressions of numbers, and statements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class Expr:
    """A number or a truth value."""


@dataclass(frozen=True)
class Num(Expr):
    value: int | float


@dataclass(frozen=True)
class Var(Expr):
    name: str


@dataclass(frozen=True)
class Constant(Expr):
    """A number with a name of its own, pi, e or infinity; a variable may have the same name and is another thing."""

    name: str


@dataclass(frozen=True)
class Op(Expr):
    """``left op right``; op is one of + - * / ^ == != < <= > >= and or."""

    op: str
    left: Expr
    right: Expr


@dataclass(frozen=True)
class Minus(Expr):
    of: Expr


@dataclass(frozen=True)
class Not(Expr):
    of: Expr


@dataclass(frozen=True)
class Call(Expr):
    """A scalar function, or a helper that works on whole arrays."""

    name: str
    args: tuple[Expr, ...]


@dataclass(frozen=True)
class At(Expr):
    """``array[place]`` of a flat array."""

    array: str
    place: Expr


@dataclass(frozen=True)
class Choose(Expr):
    """``yes`` where the test holds, else ``no``; the other one is not evaluated."""

    test: Expr
    yes: Expr
    no: Expr


class Statement:
    """One line, or a block of them."""


@dataclass(frozen=True)
class Comment(Statement):
    text: str


@dataclass(frozen=True)
class Gap(Statement):
    pass


@dataclass(frozen=True)
class Let(Statement):
    """A new variable; one that is assigned again later is ``changes``."""

    name: str
    value: Expr
    changes: bool = False


@dataclass(frozen=True)
class Array(Statement):
    """A new flat array of zeros, of floats or of whole numbers."""

    name: str
    dtype: str
    length: Expr


@dataclass(frozen=True)
class Put(Statement):
    """``target = value``, or ``target += value``."""

    target: Expr
    value: Expr
    adds: bool = False


@dataclass(frozen=True)
class Loop(Statement):
    """``for var in 0 .. stop-1``, from the last to the first where it is ``backward``.

    In ``lanes`` no step needs another, but for the ``totals`` that all of them add to in any order.
    """

    var: str
    stop: Expr
    body: tuple[Statement, ...]
    backward: bool = False
    lanes: bool = False
    totals: tuple[str, ...] = ()


@dataclass(frozen=True)
class If(Statement):
    test: Expr
    body: tuple[Statement, ...]


@dataclass(frozen=True)
class Lines(Statement):
    """Text as it is, with the names that it reads and those that it changes."""

    text: tuple[str, ...]
    reads: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Given(Statement):
    """An input is taken from what is given, by its own name, and its number of axes checked."""

    name: str
    of: str
    rank: int


@dataclass(frozen=True)
class Fitting(Statement):
    """The data of an input of which the sizes are known, checked; whole numbers lie below ``below``, or are ``missing``."""

    name: str
    given: str
    of: str
    dtype: str
    shape: tuple[Expr, ...]
    below: Expr | None
    missing: int | None


@dataclass(frozen=True)
class Length(Expr):
    """The length of one axis of an input that was taken."""

    given: str
    axis: int


@dataclass(frozen=True)
class Result:
    """One array that is returned, with its shape; a scalar of rank 0 is the number itself where it stands alone."""

    name: str
    shape: tuple[Expr, ...]


Returned = Result | tuple[tuple[str, "Returned"], ...]  # by name, nested


@dataclass(frozen=True)
class Function:
    """The whole: what it is called, what is said above it, its body, and what it returns."""

    name: str
    about: tuple[str, ...]
    body: tuple[Statement, ...]
    returned: Returned


def summed(parts: Sequence[tuple[bool, Expr]]) -> Expr:
    """``a - b + c`` of ``(negative, part)`` pairs, what is added first."""
    total: Expr | None = None
    for negative, part in sorted(parts, key=lambda p: p[0]):
        if total is None:
            total = Minus(part) if negative else part
        else:
            total = Op("-" if negative else "+", total, part)
    return Num(0) if total is None else total


def multiplied(parts: Sequence[Expr]) -> Expr:
    """``a * b * c``, without ones."""
    total: Expr | None = None
    for part in parts:
        if part != Num(1):
            total = part if total is None else Op("*", total, part)
    return Num(1) if total is None else total


def joined(op: str, parts: Sequence[Expr]) -> Expr:
    """``a op b op c`` of at least one part."""
    first, *rest = parts
    for part in rest:
        first = Op(op, first, part)
    return first
