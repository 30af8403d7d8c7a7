"""The layout tree of a formula: what stands over, under and beside what, and nothing about any output format.

``prec`` is how tightly a node holds together, so that each renderer can decide where *it* needs brackets: a fraction
needs them around a sum in a line of text, and not in LaTeX.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

LOOSE, ADD, BIG, MUL, POW, ATOM = range(6)


@dataclass(frozen=True)
class _Node:
    """Base of all layout nodes; :data:`Node` is their union."""

    @property
    def prec(self) -> int:
        return ATOM


@dataclass(frozen=True)
class Num(_Node):
    """A number that is not negative, as its decimal digits: ``2``, ``0.044715``, ``1e-5``, or ``infinity``."""

    text: str


@dataclass(frozen=True)
class Letter(_Node):
    """An index or a size: a name and a number of primes."""

    name: str
    primes: int = 0


@dataclass(frozen=True)
class Member(_Node):
    """An index that is a number and has a letter: the gate ``f`` of four."""

    number: int
    letter: str


@dataclass(frozen=True)
class Flat(_Node):
    """The place of a tuple of indices in an array made flat: ``body`` is the number, ``letters`` what it counts."""

    letters: tuple[Node, ...]
    body: Node


@dataclass(frozen=True)
class Name(_Node):
    """A tensor's symbol: ``raw`` is its name in the program, the rest says how it is typeset.

    ``label`` is what follows the base letter (the 1 of ``W1``); ``mark`` is "bar" or "d" for an adjoint, whose
    ``base`` is the name of the tensor that it belongs to; ``accent`` is "hat" or "tilde".
    """

    raw: str
    base: str
    label: str = ""
    mark: str = ""
    accent: str = ""


@dataclass(frozen=True)
class Element(_Node):
    """``name[idx]``."""

    name: Name
    idx: tuple[Node, ...]


@dataclass(frozen=True)
class Partial(_Node):
    """The adjoint of an element, written as a partial derivative of the loss."""

    of: Node
    by: Node
    raw: Node


@dataclass(frozen=True)
class Slope(_Node):
    """The partial derivative of one element with respect to another."""

    of: Node
    by: Node


@dataclass(frozen=True)
class Sum(_Node):
    """Signed items: ``a - b + c``."""

    items: tuple[tuple[int, Node], ...]

    @property
    def prec(self) -> int:
        return ADD


@dataclass(frozen=True)
class Product(_Node):
    """Factors side by side; ``op`` is "", "odot", "otimes" or "mod", which stands between two."""

    items: tuple[Node, ...]
    op: str = ""

    @property
    def prec(self) -> int:
        return BIG if isinstance(self.items[-1], Big) else MUL


@dataclass(frozen=True)
class Fraction(_Node):
    num: Node
    den: Node

    @property
    def prec(self) -> int:
        return MUL


@dataclass(frozen=True)
class Power(_Node):
    base: Node
    exponent: Node

    @property
    def prec(self) -> int:
        return POW


@dataclass(frozen=True)
class Exp(_Node):
    """The exponential; how it is written depends on the length of its argument."""

    arg: Node


@dataclass(frozen=True)
class Root(_Node):
    arg: Node


@dataclass(frozen=True)
class Apply(_Node):
    """A function of the closed table applied to arguments."""

    fn: str
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Fence(_Node):
    """``kind`` is "abs", "floor", "iverson"."""

    kind: str
    body: Node


@dataclass(frozen=True)
class Relation(_Node):
    """A chain: ``parts[0] ops[0] parts[1] ops[1] parts[2] ...``, ops among == != < <= > >=."""

    parts: tuple[Node, ...]
    ops: tuple[str, ...]

    @property
    def prec(self) -> int:
        return LOOSE


@dataclass(frozen=True)
class Logic(_Node):
    """``op`` is "and", "or" or "not"."""

    op: str
    items: tuple[Node, ...]

    @property
    def prec(self) -> int:
        return LOOSE


@dataclass(frozen=True)
class Big(_Node):
    """A big operator with what stands under it: letters, then conditions."""

    op: str
    letters: tuple[Letter, ...]
    conditions: tuple[Node, ...]
    body: Node

    @property
    def prec(self) -> int:
        return BIG


@dataclass(frozen=True)
class Cases(_Node):
    """(value, condition) pairs; the condition None means otherwise."""

    rows: tuple[tuple[Node, Node | None], ...]


@dataclass(frozen=True)
class Transposed(_Node):
    body: Node

    @property
    def prec(self) -> int:
        return POW


@dataclass(frozen=True)
class Inverted(_Node):
    """The inverse of a matrix."""

    body: Node

    @property
    def prec(self) -> int:
        return POW


@dataclass(frozen=True)
class Entry(_Node):
    """One element of a matrix that is not a name: ``(A^-1)[i,j]``."""

    matrix: Node
    idx: tuple[Node, ...]


@dataclass(frozen=True)
class Ones(_Node):
    """The vector of ones of a matrix form."""


@dataclass(frozen=True)
class Array(_Node):
    """Numbers in rows, the outermost list first; as deep as the tensor has axes."""

    rows: tuple[Node, ...]


@dataclass(frozen=True)
class Words(_Node):
    """Plain words inside a formula."""

    text: str = field(default="")


Node: TypeAlias = (
    Num
    | Letter
    | Member
    | Flat
    | Name
    | Element
    | Partial
    | Slope
    | Sum
    | Product
    | Fraction
    | Power
    | Exp
    | Root
    | Apply
    | Fence
    | Relation
    | Logic
    | Big
    | Cases
    | Transposed
    | Inverted
    | Entry
    | Ones
    | Array
    | Words
)
NODES = _Node  # for isinstance
Part: TypeAlias = "Node | str | int | None | tuple[Part, ...]"  # what a node is made of


def is_one_letter(name: str) -> bool:
    """Whether an index is set without commas beside others: a letter, perhaps with a number below it."""
    return bool(re.fullmatch(r"[^\W\d_](_?\d+)?", name))


def width(node: Node) -> int:
    """About how many characters a formula takes on a line; used to choose between e^x and exp(x)."""
    if isinstance(node, (Num, Words)):
        return len(node.text)
    if isinstance(node, Letter):
        return len(node.name) + node.primes
    if isinstance(node, Name):
        return (len(node.base) if node.base else 1) + len(node.label) // 2 + (node.mark != "")
    if isinstance(node, Member):
        return 1
    if isinstance(node, Flat):
        return sum(map(width, node.letters))
    return 1 + sum(width(c) for c in children(node))


def broken(node: Node, most: int) -> list[Sum] | list[Node]:
    """A sum that is too wide for a line as several, broken before an operator; anything else as it is."""
    if not isinstance(node, Sum) or width(node) <= most or len(node.items) < 2:
        return [node]
    rows: list[Sum] = []
    items: list[tuple[int, Node]] = []
    for sign, item in node.items:
        if items and sum(width(i) for _, i in items) + width(item) > most:
            rows.append(Sum(tuple(items)))
            items = []
        items.append((sign, item))
    return [*rows, Sum(tuple(items))]


def children(node: Node) -> Iterator[Node]:
    """The nodes directly below, in reading order."""
    for value in vars(node).values():
        yield from _nodes_in(value)


def _nodes_in(value: Part) -> Iterator[Node]:
    if isinstance(value, tuple):
        for v in value:
            yield from _nodes_in(v)
    elif value is not None and not isinstance(value, (str, int)):
        yield value


def opens_max(node: Node) -> bool:
    """Whether a line would read on past the end of a max."""
    if isinstance(node, Product):
        return opens_max(node.items[-1])
    return isinstance(node, Big) and node.op != "sum"


def is_loose(items: tuple[tuple[int, Node], ...], n: int) -> bool:
    """Whether an item of a sum needs brackets: a sum within it, or a max that would take in what follows."""
    item = items[n][1]
    return item.prec <= ADD or (n < len(items) - 1 and opens_max(item))


def tall(node: Node) -> bool:
    """Whether a formula is taller than a line, so that brackets around it must grow."""
    return isinstance(node, (Fraction, Big, Cases, Partial, Slope, Array)) or any(tall(c) for c in children(node))
