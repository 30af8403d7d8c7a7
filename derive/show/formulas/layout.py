"""The layout tree of a formula: what stands over, under and beside what, and nothing about any output format.

``prec`` is how tightly a node holds together, so that each renderer can decide where *it* needs brackets: a fraction
needs them around a sum in a line of text, and not in LaTeX.
"""

from __future__ import annotations

from dataclasses import dataclass, field

LOOSE, ADD, BIG, MUL, POW, ATOM = range(6)


@dataclass(frozen=True)
class Node:
    """Base of all layout nodes."""

    @property
    def prec(self) -> int:
        return ATOM


@dataclass(frozen=True)
class Num(Node):
    """A number that is not negative, as its decimal digits: ``2``, ``0.044715``, ``1e-5``, or ``infinity``."""

    text: str


@dataclass(frozen=True)
class Letter(Node):
    """An index or a size: a name and a number of primes."""

    name: str
    primes: int = 0


@dataclass(frozen=True)
class Name(Node):
    """A tensor's symbol: ``raw`` is its name in the program, the rest says how it is typeset.

    ``label`` is what follows the base letter (the 1 of ``W1``); ``mark`` is "bar" or "d" for an adjoint, whose
    ``base`` is the name of the tensor that it belongs to.
    """

    raw: str
    base: str
    label: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Element(Node):
    """``name[idx]``."""

    name: Name
    idx: tuple[Node, ...]


@dataclass(frozen=True)
class Partial(Node):
    """The adjoint of an element, written as a partial derivative of the loss."""

    of: Node
    by: Node
    raw: Node


@dataclass(frozen=True)
class Slope(Node):
    """The partial derivative of one element with respect to another."""

    of: Node
    by: Node


@dataclass(frozen=True)
class Sum(Node):
    """Signed items: ``a - b + c``."""

    items: tuple[tuple[int, Node], ...]

    @property
    def prec(self):
        return ADD


@dataclass(frozen=True)
class Product(Node):
    """Factors side by side; ``op`` is "" or "odot"."""

    items: tuple[Node, ...]
    op: str = ""

    @property
    def prec(self):
        return BIG if isinstance(self.items[-1], Big) else MUL


@dataclass(frozen=True)
class Fraction(Node):
    num: Node
    den: Node

    @property
    def prec(self):
        return MUL


@dataclass(frozen=True)
class Power(Node):
    base: Node
    exponent: Node

    @property
    def prec(self):
        return POW


@dataclass(frozen=True)
class Exp(Node):
    """The exponential; how it is written depends on the length of its argument."""

    arg: Node


@dataclass(frozen=True)
class Root(Node):
    arg: Node


@dataclass(frozen=True)
class Apply(Node):
    """A function of the closed table applied to arguments."""

    fn: str
    args: tuple[Node, ...]


@dataclass(frozen=True)
class Fence(Node):
    """``kind`` is "abs", "floor", "iverson"."""

    kind: str
    body: Node


@dataclass(frozen=True)
class Relation(Node):
    """A chain: ``parts[0] ops[0] parts[1] ops[1] parts[2] ...``, ops among == != < <= > >=."""

    parts: tuple[Node, ...]
    ops: tuple[str, ...]

    @property
    def prec(self):
        return LOOSE


@dataclass(frozen=True)
class Logic(Node):
    """``op`` is "and", "or" or "not"."""

    op: str
    items: tuple[Node, ...]

    @property
    def prec(self):
        return LOOSE


@dataclass(frozen=True)
class Big(Node):
    """A big operator with what stands under it: letters, then conditions."""

    op: str
    letters: tuple[Node, ...]
    conditions: tuple[Node, ...]
    body: Node

    @property
    def prec(self):
        return BIG


@dataclass(frozen=True)
class Cases(Node):
    """(value, condition) pairs; the condition None means otherwise."""

    rows: tuple[tuple[Node, Node | None], ...]


@dataclass(frozen=True)
class Transposed(Node):
    body: Node

    @property
    def prec(self):
        return POW


@dataclass(frozen=True)
class Inverted(Node):
    """The inverse of a matrix."""

    body: Node

    @property
    def prec(self):
        return POW


@dataclass(frozen=True)
class Entry(Node):
    """One element of a matrix that is not a name: ``(A^-1)[i,j]``."""

    matrix: Node
    idx: tuple[Node, ...]


@dataclass(frozen=True)
class Ones(Node):
    """The vector of ones of a matrix form."""


@dataclass(frozen=True)
class Array(Node):
    """Numbers in rows, the outermost list first; as deep as the tensor has axes."""

    rows: tuple


@dataclass(frozen=True)
class Words(Node):
    """Plain words inside a formula."""

    text: str = field(default="")


def width(node: Node) -> int:
    """About how many characters a formula takes on a line; used to choose between e^x and exp(x)."""
    if isinstance(node, (Num, Words)):
        return len(node.text)
    if isinstance(node, Letter):
        return len(node.name) + node.primes
    if isinstance(node, Name):
        return len(node.raw)
    return 1 + sum(width(c) for c in children(node))


def children(node: Node):
    """The nodes directly below, in reading order."""
    for value in vars(node).values():
        yield from _nodes_in(value)


def _nodes_in(value):
    if isinstance(value, Node):
        yield value
    elif isinstance(value, tuple):
        for v in value:
            yield from _nodes_in(v)


def tall(node: Node) -> bool:
    """Whether a formula is taller than a line, so that brackets around it must grow."""
    return isinstance(node, (Fraction, Big, Cases, Partial, Slope, Array)) or any(tall(c) for c in children(node))
