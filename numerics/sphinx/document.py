"""A document of the library as docutils nodes, so that Sphinx writes its mathematics for whatever it builds.

The blocks are those that every other format draws (:mod:`derive.show.document.blocks`); a formula becomes a ``math`` node
of LaTeX, which MathJax, a MathML renderer and the LaTeX builder all read.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from docutils import nodes
from sphinx.addnodes import only

from derive.show.document import blocks as B
from derive.show.document.graph import Graph
from derive.show.document.svg import svg
from derive.show.formulas.tex import render
from derive.show.latex import display_rows

PRIME = "\u2032"


def anchor(key: str, label: str) -> str:
    """The address of an equation: ``softmax_regression`` and ``14`` give ``softmax-regression-14``."""
    return nodes.make_id(f"{key}-{label.replace(PRIME, '-as-defined')}")


def number(label: str) -> str:
    """A number as it is shown, in ASCII."""
    return label.replace(PRIME, "'")


class Nodes:
    """The nodes of a list of blocks; remembers which numbers it has shown, so that each is an address once."""

    def __init__(self, key: str, taken: Iterable[str] = ()) -> None:
        self.key = key
        self.anchors: dict[str, str] = {}  # address -> the number as shown
        self._taken = set(taken)

    def blocks(self, blocks: Iterable[B.Block]) -> list[nodes.Node]:
        return [node for block in blocks for node in self.block(block)]

    def block(self, block: B.Block) -> Iterator[nodes.Node]:
        match block:
            case B.Heading():
                yield nodes.rubric("", block.text, classes=[f"derivation-{block.level}"])
            case B.Para():
                yield nodes.paragraph("", "", *self.sentence(block.parts))
            case B.Bullets():
                items = (nodes.list_item("", nodes.paragraph("", "", *self.sentence(i))) for i in block.items)
                yield nodes.bullet_list("", *items)
            case B.Table():
                yield table(block.header, [[self.sentence(cell) for cell in row] for row in block.rows])
            case B.Equations():
                yield from self.equations(block)
            case B.Fold():
                yield from self.fold(block)
            case B.Drawing():
                yield from self.drawing(block.graph)

    def sentence(self, parts: B.Sentence) -> list[nodes.Node]:
        return [self.part(part) for part in parts]

    def part(self, part: B.Part) -> nodes.Node:
        if isinstance(part, str):
            return nodes.Text(part)
        if isinstance(part, B.Mono):
            return nodes.literal(part.text, part.text)
        if isinstance(part, B.Strong):
            return nodes.strong(part.text, part.text)
        if isinstance(part, B.Ref):
            return nodes.reference("", f"({number(part.label)})", internal=True, refid=anchor(self.key, part.label))
        tex = render(part)
        return nodes.math(tex, tex)

    def equations(self, block: B.Equations) -> Iterator[nodes.Node]:
        """A display; every numbered line is an address, and its number stands at its right."""
        ids, rows = [], []
        for line in block.lines:
            drawn = display_rows(line)
            if line.aside:
                drawn[-1] += rf" && {render(line.aside[0])} = {render(line.aside[1])}"
            if line.label:
                drawn[-1] += rf" \tag{{{number(line.label)}}}"
                ids += self._address(line.label)
            rows += drawn
        tex = "\\begin{align*}\n" + " \\\\\n".join(rows) + "\n\\end{align*}"
        shown = nodes.math_block(tex, tex, number=None, label=None, **{"no-wrap": True})
        yield from (nodes.target("", "", ids=[name]) for name in ids)
        yield nodes.container("", shown, classes=["derivation-result" if block.boxed else "derivation-equations"])

    def _address(self, label: str) -> list[str]:
        name = anchor(self.key, label)
        if name in self.anchors or name in self._taken:
            return []
        self.anchors[name] = label
        return [name]

    def fold(self, block: B.Fold) -> Iterator[nodes.Node]:
        yield from folded(block.summary, self.blocks(block.blocks))

    def drawing(self, graph: Graph) -> Iterator[nodes.Node]:
        yield only("", nodes.raw("", f'<figure class="drawing">{svg(graph)}</figure>', format="html"), expr="html")
        readers = nodes.bullet_list("")
        for box, sources, again in graph.readers():
            line = nodes.paragraph("", "", nodes.literal("", box.name), nodes.Text(f" ({box.shape}) reads "))
            for n, source in enumerate([*sources, *(["its own earlier values"] if again else [])]):
                line += nodes.Text(", " if n else "")
                line += nodes.literal("", source) if source in sources else nodes.Text(source)
            readers += nodes.list_item("", line)
        yield only("", readers, expr="not html")


def folded(summary: str, inside: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    """A part that a reader opens in HTML; elsewhere its summary stands over it."""
    yield nodes.raw("", f"<details><summary>{escape(summary)}</summary>", format="html")
    yield only("", nodes.paragraph("", "", nodes.strong("", summary)), expr="not html")
    yield from inside
    yield nodes.raw("", "</details>", format="html")


def table(header: Iterable[str], rows: Iterable[Iterable[list[nodes.Node]]]) -> nodes.table:
    """A table with a head; a cell is what stands in its paragraph."""
    head, body = list(header), [list(row) for row in rows]
    group = nodes.tgroup("", cols=len(head))
    group += [nodes.colspec("", colwidth=1) for _ in head]
    group += nodes.thead("", _row([[nodes.Text(h)] for h in head]))
    group += nodes.tbody("", *map(_row, body))
    return nodes.table("", group, classes=["derivation-table"])


def _row(cells: list[list[nodes.Node]]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *cell)) for cell in cells))
