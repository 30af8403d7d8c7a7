r"""Markdown with ``$$`` mathematics, safe for GitHub, Jupyter and KaTeX.

Some Markdown readers take a backslash before punctuation as their own (``\\`` and ``\,`` are eaten), so formulas here
use letters only: ``\cr``, ``\thinspace``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from derive.program.derived import Derived
from derive.show.document.format import Format
from derive.show.document.graph import Graph
from derive.show.document.options import Choices, read_options
from derive.show.document.outline import outline
from derive.show.formulas.names import plain
from derive.show.formulas.tex import ESCAPES, render

from .document import blocks as B
from .formulas import layout as L
from .latex import display_rows, shape_note

LETTERS = {
    r"\\": r"\cr ",
    r"\,": r"\thinspace ",
    r"\;": r"\thickspace ",
    r"\_": r"\underline{\enspace}",
    r"\left[": r"\left\lbrack ",
    r"\right]": r"\right\rbrack ",
    "<": r"\lt ",
    ">": r"\gt ",
    "*": r"\ast ",
}
SPECIAL = "\\`*_{}[]<>()#+!|$~&"


def derivation_markdown(d: Derived, **options: Unpack[Choices]) -> str:
    """The whole derivation as Markdown; the options are those of :class:`~derive.show.document.options.Options`."""
    return blocks_markdown(outline(d, read_options(options)))


def blocks_markdown(blocks: Sequence[B.Block]) -> str:
    """The Markdown of any list of blocks."""
    return "\n\n".join(map(_Markdown().block, blocks)) + "\n"


def math(latex: str) -> str:
    """LaTeX without any backslash that Markdown could take for its own."""
    for escaped in ESCAPES.values():  # only in names; the plain name stands beside its symbol in the table of inputs
        if escaped != r"\_":
            latex = latex.replace(escaped, "?")
    for old, new in LETTERS.items():
        latex = latex.replace(old, new)
    return latex


def escape(text: str) -> str:
    """A string that Markdown shows as it is."""
    return "".join(f"&#{ord(c)};" if c in SPECIAL else c for c in plain(text))


def sentence(text: str) -> str:
    """Our own sentences, in which only the dangerous characters are escaped, so that the source stays readable."""
    return "".join(f"&#{ord(c)};" if c in "\\`*_<>|$&~" else c for c in plain(text))


class _Markdown(Format):
    def words(self, text: str) -> str:
        return sentence(text)

    def formula(self, node: L.Node) -> str:
        return f"${math(render(node))}$"

    def reference(self, label: str) -> str:
        return f"({label})"

    def mono(self, text: str) -> str:
        return f"<code>{escape(text)}</code>"

    def strong(self, text: str) -> str:
        return f"**{sentence(text)}**"

    def heading(self, block: B.Heading) -> str:
        return f"{'#' * block.level} {sentence(block.text)}"

    def paragraph(self, block: B.Para) -> str:
        return self.sentence(block.parts)

    def bullets(self, block: B.Bullets) -> str:
        return "\n".join(f"- {self.sentence(i)}" for i in block.items)

    def table(self, block: B.Table) -> str:
        head = "| " + " | ".join(map(sentence, block.header)) + " |"
        rule = "|" + "---|" * len(block.header)
        return "\n".join([head, rule, *("| " + " | ".join(map(self.sentence, row)) + " |" for row in block.rows)])

    def equations(self, block: B.Equations) -> str:
        rows = []
        for line in block.lines:
            drawn = display_rows(line)
            drawn[-1] += shape_note(line)
            if line.aside:
                drawn[-1] += rf" &&\quad {render(line.aside[0])} = {render(line.aside[1])}"
            elif line.label:
                drawn[-1] += " &&"
            if line.label:
                drawn[-1] += rf" &&\quad \text{{({line.label.replace('′', chr(39))})}}"
            rows += drawn
        body = math(" \\\\\n".join(rows))
        return f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"

    def fold(self, block: B.Fold) -> str:
        inside = "\n\n".join(map(self.block, block.blocks))
        return f"<details><summary>{sentence(block.summary)}</summary>\n\n{inside}\n\n</details>"

    def drawing(self, graph: Graph) -> str:
        lines = []
        for box, sources, again in graph.readers():
            read = [*map(self.mono, sources), *(["its own earlier values"] if again else [])]
            lines.append(f"- {self.mono(box.name)} ({sentence(box.shape)}) reads {', '.join(read)}")
        return "\n".join(lines)
