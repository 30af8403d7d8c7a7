r"""Markdown with ``$$`` mathematics, safe for GitHub, Jupyter and KaTeX.

Some Markdown readers take a backslash before punctuation as their own (``\\`` and ``\,`` are eaten), so formulas here
use letters only: ``\cr``, ``\thinspace``.
"""

from __future__ import annotations

from derive.program.derived import Derived
from derive.show.document.options import read_options
from derive.show.document.outline import outline
from derive.show.formulas.names import plain
from derive.show.formulas.tex import ESCAPES, render

from .document import blocks as B
from .formulas import layout as L
from .latex import display_rows

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


def derivation_markdown(d: Derived, **options) -> str:
    """The whole derivation as Markdown.

    Parameters
    ----------
    d : Derivation
    **options
        ``notation`` ("both", "index", "matrix"), ``adjoint`` ("bar", "partial", "d"), ``example`` (bool).

    Returns
    -------
    str
    """
    return blocks_markdown(outline(d, read_options(options)))


def blocks_markdown(blocks) -> str:
    """The Markdown of any list of blocks."""
    return "\n\n".join(_BLOCKS[type(b)](b) for b in blocks) + "\n"


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


def parts_markdown(parts) -> str:
    """A sentence."""
    shown = []
    for p in parts:
        if isinstance(p, L.Node):
            shown.append(f"${math(render(p))}$")
        elif isinstance(p, B.Ref):
            shown.append(f"({p.label})")
        elif isinstance(p, B.Mono):
            shown.append(f"<code>{escape(p.text)}</code>")
        elif isinstance(p, B.Strong):
            shown.append(f"**{sentence(p.text)}**")
        else:
            shown.append(sentence(p))
    return "".join(shown)


def _equations(block):
    rows = []
    for line in block.lines:
        drawn = display_rows(line)
        if line.aside:
            drawn[-1] += rf" &&\quad {render(line.aside[0])} = {render(line.aside[1])}"
        elif line.label:
            drawn[-1] += " &&"
        if line.label:
            drawn[-1] += rf" &&\quad \text{{({line.label.replace('′', chr(39))})}}"
        rows += drawn
    body = math(" \\\\\n".join(rows))
    return f"$$\n\\begin{{aligned}}\n{body}\n\\end{{aligned}}\n$$"


def _table(block):
    head = "| " + " | ".join(sentence(h) for h in block.header) + " |"
    rule = "|" + "---|" * len(block.header)
    return "\n".join([head, rule] + ["| " + " | ".join(parts_markdown(c) for c in row) + " |" for row in block.rows])


def _fold(block):
    inside = "\n\n".join(_BLOCKS[type(b)](b) for b in block.blocks)
    return f"<details><summary>{sentence(block.summary)}</summary>\n\n{inside}\n\n</details>"


def _drawing(block):
    lines = []
    for box in block.graph.boxes:
        sources = [f"<code>{escape(s)}</code>" for s in block.graph.sources(box.name)]
        if box.name in block.graph.loops:
            sources.append("its own earlier values")
        if sources:
            lines.append(f"- <code>{escape(box.name)}</code> ({sentence(box.shape)}) reads {', '.join(sources)}")
    return "\n".join(lines)


_BLOCKS = {
    B.Heading: lambda b: f"{'#' * b.level} {sentence(b.text)}",
    B.Para: lambda b: parts_markdown(b.parts),
    B.Bullets: lambda b: "\n".join(f"- {parts_markdown(i)}" for i in b.items),
    B.Table: _table,
    B.Equations: _equations,
    B.Fold: _fold,
    B.Drawing: _drawing,
}
