r"""LaTeX: formulas that need amsmath only, and the whole derivation, to be ``\input`` into a paper.

>>> from derive import indices, tensor, Sum
>>> b, i, k = indices("b i k")
>>> x, W = tensor("x", b, i), tensor("W", i, k)
>>> print(latex_expr(Sum(x[b, i] * W[i, k], i)))
\sum_{i} x_{bi} \, W_{ik}
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from sympy import Expr

from derive.language import printing
from derive.language.formulas.functions import letters_of
from derive.language.tensor import Tensor
from derive.program.derived import Derived
from derive.program.program import Equation
from derive.show.document.format import Format
from derive.show.document.graph import Graph
from derive.show.document.options import Choices, read_options
from derive.show.document.outline import outline
from derive.show.formulas.equations import equation_layout
from derive.show.formulas.expressions import expression
from derive.show.formulas.names import Namer
from derive.show.formulas.tex import escape, render

from .document import blocks as B
from .formulas import layout as L

LINE = 72  # about how many characters of a formula fit on a line; longer sums are broken
BESIDE = 44  # formulas and their matrix forms stand side by side up to about so many characters
TABLE, NARROW = 62, 14  # characters of a line of a table, and of a cell that is never broken


@printing.latex.register(Expr)
def latex_expr(e: Expr, names: Namer | None = None) -> str:
    """LaTeX of an expression (math mode)."""
    return render(expression(e, names))


@printing.latex.register(Tensor)
def tensor_latex(t: Tensor) -> str:
    """LaTeX of an element of a tensor (math mode); of a definition, what that element is."""
    idx = t.definition.idx if t.definition is not None else letters_of(t)
    read = latex_expr(t[idx] if t.rank else t._sympy_())
    return read if t.definition is None else f"{read} = {latex_expr(t.definition.body)}"


@printing.latex.register(Equation)
def equation_latex(eq: Equation, names: Namer | None = None) -> str:
    """LaTeX of an equation (math mode)."""
    lhs, rhs = equation_layout(eq, names)
    return f"{render(lhs)} = {render(rhs)}"


PREAMBLE = r"""\documentclass[11pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage[margin=25mm]{geometry}
\usepackage{amsmath}
\allowdisplaybreaks
\setlength{\parindent}{0pt}
\setlength{\parskip}{4pt plus 2pt}
"""
SECTIONS = {1: "section*", 2: "subsection*", 3: "subsubsection*"}


def derivation_latex(d: Derived, standalone: bool = False, **options: Unpack[Choices]) -> str:
    r"""The whole derivation as LaTeX, to be ``\input`` into a paper that loads amsmath.

    ``standalone`` adds a preamble, so that it compiles by itself; the other options are those of
    :class:`~derive.show.document.options.Options`.  Equations carry the numbers they have in the program, by ``\tag``, and
    labels ``eq:<name>:<number>``.
    """
    return blocks_latex(outline(d, read_options(options), narrow=True), d.name, standalone)


def blocks_latex(blocks: Sequence[B.Block], name: str, standalone: bool = False) -> str:
    """The LaTeX of any list of blocks; ``name`` keeps its labels apart from those of another."""
    paper = _Paper(name)
    body = "\n\n".join(map(paper.block, blocks))
    if not standalone:
        return f"% derivation {paper.key}; needs \\usepackage{{amsmath}}\n{body}\n"
    return f"{PREAMBLE}\\begin{{document}}\n{body}\n\\end{{document}}\n"


def tag(label: str) -> str:
    return f"${label[:-1]}'$" if label.endswith("′") else label


def display_rows(line: B.Line) -> list[str]:
    """``lhs &= rhs`` in one row, or in several where the right-hand side is a long sum."""
    lhs = "" if line.lhs is None else render(line.lhs)
    first, *rest = L.broken(line.rhs, LINE)
    rows = [f"{lhs} &= {render(first)}"]
    for r in rest:
        negative = isinstance(r, L.Sum) and r.items[0][0] < 0
        rows.append(rf"&\quad {'' if negative else '{} + '}{render(r)}")
    return rows


def shape_note(line: B.Line) -> str:
    """The shape of the left-hand side, small at the end of a row that has room for it; none of a scalar."""
    sides = [line.rhs, *([line.lhs] if line.lhs is not None else []), *(line.aside or ())]
    if sum(map(L.width, sides)) + sum(map(_size, line.shape)) > LINE - 2 * NARROW:
        return ""
    parts = [p if isinstance(p, str) else render(p) for p in line.shape if isinstance(p, (str, L.NODES))]
    return rf" \qquad {{\scriptstyle {''.join(parts)}}}" if len(line.shape) > 1 else ""


def _size(part: B.Part) -> int:
    if isinstance(part, L.NODES):
        return L.width(part)
    return len(part if isinstance(part, str) else part.label if isinstance(part, B.Ref) else part.text)


def _width(parts: B.Sentence) -> int:
    """About how many characters a sentence takes; of typewriter letters, which are wider, a sixth more."""
    return sum(_size(p) * 7 // 6 if isinstance(p, B.Mono) else _size(p) for p in parts)


class _Paper(Format):
    """Remembers which equation numbers it has labelled."""

    def __init__(self, name: str) -> None:
        self.key = "".join(c if c.isascii() and c.isalnum() else "-" for c in name)
        self.labels: set[str] = set()

    def words(self, text: str) -> str:
        return escape(text)

    def formula(self, node: L.Node) -> str:
        return f"${render(node)}$"

    def reference(self, label: str) -> str:
        return f"({tag(label)})"

    def mono(self, text: str) -> str:
        name = escape(text).replace(r"\_", r"\_\allowbreak{}")
        return rf"\texttt{{{name}}}"

    def strong(self, text: str) -> str:
        return rf"\textbf{{{escape(text)}}}"

    def heading(self, block: B.Heading) -> str:
        return rf"\{SECTIONS[block.level]}{{{escape(block.text)}}}"

    def paragraph(self, block: B.Para) -> str:
        return self.sentence(block.parts)

    def bullets(self, block: B.Bullets) -> str:
        items = "\n".join(rf"\item {self.sentence(i)}" for i in block.items)
        return f"\\begin{{itemize}}\\raggedright\n{items}\n\\end{{itemize}}"

    def table(self, block: B.Table) -> str:
        head = [(B.Strong(h),) for h in block.header]
        return self._tabular([head, *block.rows], rule=True)

    def _tabular(self, rows: Sequence[Sequence[B.Sentence]], rule: bool = False) -> str:
        """A table as wide as the line at most: cells of columns that are too wide for it are broken."""
        widths = [max(map(_width, column)) for column in zip(*rows, strict=True)]
        room = TABLE - 2 * len(widths)
        broken = {n for n, w in enumerate(widths) if sum(widths) > room and w > NARROW}
        left = room - sum(w for n, w in enumerate(widths) if n not in broken)
        share = sum(min(widths[n], LINE) for n in broken)
        columns = ""
        for n, w in enumerate(widths):
            part = max(left, NARROW) * min(w, LINE) / share / TABLE if n in broken else 0
            columns += rf"p{{{part:.2f}\linewidth}}" if n in broken else "l"
        lines = []
        for k, row in enumerate(rows):
            cells = (
                rf"\raggedright {self.sentence(c)}" if n in broken else self.sentence(c) for n, c in enumerate(row)
            )
            lines.append(" & ".join(cells) + r" \tabularnewline" + r" \hline" * (rule and k == 0))
        return f"\\begin{{tabular}}{{{columns}}}\n" + "\n".join(lines) + "\n\\end{tabular}"

    def equations(self, block: B.Equations) -> str:
        rows = []
        asides = [L.width(line.aside[1]) for line in block.lines if line.aside]
        widest = max((min(L.width(line.rhs), LINE) for line in block.lines), default=0)
        beside = bool(asides) and widest + max(asides) < BESIDE
        ends = [sum(map(_size, line.shape)) for line in block.lines]
        shapes = not beside or widest + max(asides) + max(ends) < BESIDE
        for line in block.lines:
            drawn = display_rows(line)
            drawn[-1:] = self._with_aside(line, drawn[-1], beside)
            drawn[-1] += (shape_note(line) if shapes else "") + self._tag(line.label)
            rows += drawn
        body = " \\\\\n".join(rows)
        return f"\\begin{{align*}}\n{body}\n\\end{{align*}}"

    @staticmethod
    def _with_aside(line: B.Line, row: str, beside: bool) -> list[str]:
        if line.aside is None:
            return [row]
        aside = f"{render(line.aside[0])} = {render(line.aside[1])}"
        if beside:
            return [rf"{row} && {aside}"]
        return [row, rf"& \qquad {aside}"]

    def _tag(self, label: str) -> str:
        if not label:
            return ""
        mark = f" \\tag{{{tag(label)}}}"
        if label.isdigit() and label not in self.labels:
            self.labels.add(label)
            mark += f"\\label{{eq:{self.key}:{label}}}"
        return mark

    def fold(self, block: B.Fold) -> str:
        inside = "\n\n".join(map(self.block, block.blocks))
        return f"{{\\small {escape(block.summary)}:\n\n{inside}\n}}"

    def drawing(self, graph: Graph) -> str:
        rows: list[tuple[B.Sentence, ...]] = []
        for box, sources, again in graph.readers():
            read: list[B.Part] = ["reads "] if sources or again else []
            for n, source in enumerate(sources):
                read += [*([", "] if n else []), B.Mono(source)]
            read += [", its own earlier values"] if again and sources else ["its own earlier values"] if again else []
            rows.append(((B.Mono(box.name),), (box.shape,), tuple(read)))
        return self._tabular(rows)
