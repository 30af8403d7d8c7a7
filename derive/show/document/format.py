"""The walk over a document, said once: a format says what each kind of block and each part of a sentence becomes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import assert_never

from derive.show.formulas.layout import Node

from . import blocks as B
from .graph import Graph


class Format(ABC):
    """One way to write a document down."""

    def block(self, block: B.Block) -> str:
        match block:
            case B.Heading():
                return self.heading(block)
            case B.Para():
                return self.paragraph(block)
            case B.Bullets():
                return self.bullets(block)
            case B.Table():
                return self.table(block)
            case B.Equations():
                return self.equations(block)
            case B.Fold():
                return self.fold(block)
            case B.Drawing():
                return self.drawing(block.graph)
            case _:
                assert_never(block)

    def sentence(self, parts: B.Sentence) -> str:
        return "".join(map(self.part, parts))

    def part(self, part: B.Part) -> str:
        if isinstance(part, str):
            return self.words(part)
        if isinstance(part, B.Ref):
            return self.reference(part.label)
        if isinstance(part, B.Mono):
            return self.mono(part.text)
        if isinstance(part, B.Strong):
            return self.strong(part.text)
        return self.formula(part)

    @abstractmethod
    def words(self, text: str) -> str: ...
    @abstractmethod
    def formula(self, node: Node) -> str: ...
    @abstractmethod
    def reference(self, label: str) -> str: ...
    @abstractmethod
    def mono(self, text: str) -> str: ...
    @abstractmethod
    def strong(self, text: str) -> str: ...

    @abstractmethod
    def heading(self, block: B.Heading) -> str: ...
    @abstractmethod
    def paragraph(self, block: B.Para) -> str: ...
    @abstractmethod
    def bullets(self, block: B.Bullets) -> str: ...
    @abstractmethod
    def table(self, block: B.Table) -> str: ...
    @abstractmethod
    def equations(self, block: B.Equations) -> str: ...
    @abstractmethod
    def fold(self, block: B.Fold) -> str: ...
    @abstractmethod
    def drawing(self, graph: Graph) -> str: ...
