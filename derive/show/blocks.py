"""What a document is made of; the outline builds these, and each format draws them.

A *part* of a sentence is a string, a layout :class:`~derive.show.layout.Node` (drawn as inline mathematics), a
:class:`Ref` to a numbered equation, or :class:`Mono` (a name as it is in the program).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .layout import Node


@dataclass(frozen=True)
class Ref:
    """A reference to a numbered equation."""

    number: int


@dataclass(frozen=True)
class Mono:
    """A name or number as the program has it."""

    text: str


@dataclass(frozen=True)
class Heading:
    level: int
    text: str


@dataclass(frozen=True)
class Para:
    parts: tuple


@dataclass(frozen=True)
class Bullets:
    items: tuple[tuple, ...]


@dataclass(frozen=True)
class Table:
    header: tuple[str, ...]
    rows: tuple[tuple[tuple, ...], ...]


@dataclass(frozen=True)
class Line:
    """One line of a display: ``lhs = rhs``; without ``lhs`` it goes on with ``= rhs``."""

    lhs: Node | None
    rhs: Node
    number: int = 0
    mark: str = "="


@dataclass(frozen=True)
class Equations:
    """Displayed lines, aligned at their equal signs."""

    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Fold:
    """Something that a reader may skip."""

    summary: str
    blocks: tuple


@dataclass(frozen=True)
class Drawing:
    """The network: who reads whom."""

    graph: object = field(repr=False)
