"""What a document is made of; the outline builds these, and each format draws them.

A *part* of a sentence is a string, a layout :class:`~derive.show.formulas.layout.Node` (drawn as inline mathematics), a
:class:`Ref` to a numbered equation, :class:`Mono` (a name as it is in the program) or :class:`Strong`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from derive.show.formulas.layout import Node

from .graph import Graph


@dataclass(frozen=True)
class Ref:
    """A reference to a numbered equation."""

    label: str


@dataclass(frozen=True)
class Mono:
    """A name or number as the program has it."""

    text: str


@dataclass(frozen=True)
class Strong:
    """Words that a reader's eye should find."""

    text: str


Part: TypeAlias = str | Node | Ref | Mono | Strong
Sentence: TypeAlias = tuple[Part, ...]


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Para:
    parts: Sentence


@dataclass(frozen=True)
class Bullets:
    items: tuple[Sentence, ...]


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[Sentence, ...], ...]


@dataclass(frozen=True)
class Line:
    """One line of a display: ``lhs = rhs``; without ``lhs`` it goes on with ``= rhs``.

    ``aside`` is the same said otherwise (the matrix form), ``label`` the number, ``shape`` that of the left-hand side.
    """

    lhs: Node | None
    rhs: Node
    label: str = ""
    aside: tuple[Node, Node] | None = None
    shape: Sentence = ()


@dataclass(frozen=True)
class Equations:
    """Displayed lines, aligned at their equal signs."""

    lines: tuple[Line, ...]
    boxed: bool = False  # a result, to be set off


@dataclass(frozen=True)
class Fold:
    """Something that a reader may skip."""

    summary: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Drawing:
    """The network: who reads whom."""

    graph: Graph = field(repr=False)


Block: TypeAlias = Heading | Para | Bullets | Table | Equations | Fold | Drawing
