"""Plain text: one readable line per formula, and the whole derivation.

>>> from derive import indices, tensor, Sum
>>> b, i, k = indices("b i k")
>>> x, W = tensor("x", b, i), tensor("W", i, k)
>>> expr_text(Sum(x[b, i] * W[i, k], i))
'sum_i x[b,i] W[i,k]'
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Unpack

from sympy import Expr

from derive.language import printing
from derive.program.derived import Derived
from derive.program.program import Equation, Step
from derive.show.document.format import Format
from derive.show.document.graph import Graph
from derive.show.document.options import Choices, read_options
from derive.show.document.outline import outline
from derive.show.formulas.equations import equation_layout
from derive.show.formulas.expressions import expression
from derive.show.formulas.matrix import matrix_layout
from derive.show.formulas.names import Namer, plain
from derive.show.formulas.plaintext import name_text, render

from .document import blocks as B
from .formulas import layout as L


@printing.line.register(Expr)
def expr_text(e: Expr, names: Namer | None = None) -> str:
    """One line for an expression: ``exp(z[b,k] - lse[b])``."""
    return render(expression(e, names))


@printing.line.register(Equation)
def equation_text(eq: Equation, names: Namer | None = None) -> str:
    """One line for an equation: ``dW[i,k] = sum_b x[b,i] dz[b,k]``."""
    lhs, rhs = equation_layout(eq, names)
    return f"{render(lhs)} = {render(rhs)}"


def matrix_text(eq: Equation, names: Namer | None = None) -> str | None:
    """The matrix form on one line, ``dW = x^T dz``, or None where there is none."""
    form = matrix_layout(eq, names)
    return form and f"{render(form[0])} = {render(form[1])}"


@printing.line.register(Step)
def step_text(step: Step, names: Namer | None = None) -> str:
    """A step: its rule and target, the equations before and after, and why."""
    lines = [f"Step {step.id}  {step.rule}  (target {plain(step.target)})"]
    lines += [f"  before  {equation_text(e, names)}" for e in step.before]
    lines.append(f"  after   {equation_text(step.after, names)}")
    lines.append(f"  why     {plain(step.why)}")
    if step.facts:
        lines.append(f"  facts   {plain('; '.join(step.facts))}")
    return "\n".join(lines)


WIDTH = 100


def derivation_text(d: Derived, **options: Unpack[Choices]) -> str:
    """The whole derivation as plain text; the options are those of :class:`~derive.show.document.options.Options`, but
    text always writes dW for an adjoint.
    """
    return blocks_text(outline(d, read_options(options), flat=True))


def blocks_text(blocks: Sequence[B.Block]) -> str:
    """The text of any list of blocks."""
    return "\n\n".join(filter(None, map(_Text().block, blocks))) + "\n"


class _Text(Format):
    def __init__(self, indent: str = "") -> None:
        self.indent = indent

    def words(self, text: str) -> str:
        return plain(text)

    def formula(self, node: L.Node) -> str:
        return render(node)

    def reference(self, label: str) -> str:
        return f"({label.replace('′', chr(39))})"

    mono = strong = words

    def heading(self, block: B.Heading) -> str:
        text = plain(block.text)
        return text + "\n" + {1: "=", 2: "-"}.get(block.level, ".") * len(text)

    def paragraph(self, block: B.Para) -> str:
        return self._filled(block.parts, self.indent, self.indent)

    def bullets(self, block: B.Bullets) -> str:
        return "\n".join(self._filled(i, f"{self.indent}- ", f"{self.indent}  ") for i in block.items)

    def _filled(self, parts: B.Sentence, first: str, rest: str) -> str:
        return textwrap.fill(self.sentence(parts), WIDTH, initial_indent=first, subsequent_indent=rest)

    def table(self, block: B.Table) -> str:
        rows = [block.header, *(tuple(map(self.sentence, row)) for row in block.rows)]
        if not block.header[0]:  # the column of typeset symbols says nothing new in text
            rows = [r[1:] for r in rows]
        widths = [max(len(r[n]) for r in rows) for n in range(len(rows[0]))]
        lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
        lines.insert(1, "  ".join("-" * w for w in widths))
        return "\n".join(self.indent + line for line in lines)

    def equations(self, block: B.Equations) -> str:
        """Lines aligned at their equal signs, numbers at the right."""
        lhs = ["" if line.lhs is None else render(line.lhs) for line in block.lines]
        left = max((len(t) for t in lhs if len(t) <= 24), default=0)
        out = []
        for text, line in zip(lhs, block.lines, strict=True):
            *more, body = _lines(f"{self.indent}    {text.ljust(left)} = ", line.rhs, WIDTH - 8 * bool(line.label))
            out += more
            aside = f"{render(line.aside[0])} = {render(line.aside[1])}" if line.aside else ""
            if aside and max(len(body), 56) + len(aside) + 18 <= WIDTH - len(self.sentence(line.shape)):
                body, aside = f"{body.ljust(56)}  {aside}", ""
            shape = self.sentence(line.shape)
            if shape and len(body) + len(shape) + 2 <= WIDTH - 8:
                body = f"{body.ljust(WIDTH - 8 - len(shape))}{shape}"
            if line.label:
                mark = f"  ({line.label.replace('′', chr(39))})"
                body = f"{body.ljust(WIDTH - 8)}{mark.rjust(8)}"
            out.append(body)
            if aside:
                out.append(f"{self.indent}    {''.ljust(left)}   {aside}")
        return "\n".join(out)

    def fold(self, block: B.Fold) -> str:
        inside = "\n".join(map(_Text(self.indent + "  ").block, block.blocks))
        return f"{self.indent}{block.summary}:\n{inside}"

    def drawing(self, graph: Graph) -> str:
        """Who reads whom, column by column."""
        lines = []
        for box, sources, again in graph.readers():
            read = ", ".join(map(name_text, sources)) + (" (and its own earlier values)" if again else "")
            lines.append((name_text(box.name), box.shape, read))
        names, shapes = (max((len(line[n]) for line in lines), default=0) for n in (0, 1))
        return "\n".join(f"{self.indent}    {n.ljust(names)}  {s.ljust(shapes)}  <-  {r}" for n, s, r in lines)


def _lines(head: str, rhs: L.Node, room: int) -> list[str]:
    """One line, or several where a sum, alone or as the last factor, is too long for one."""
    if len(head) + len(render(rhs)) <= room:
        return [head + render(rhs)]
    if isinstance(rhs, L.Sum):
        return _sums(head, rhs, "", room)
    if isinstance(rhs, L.Product) and not rhs.op and isinstance(rhs.items[-1], L.Sum) and len(rhs.items[-1].items) > 1:
        before = L.Product(rhs.items[:-1]) if len(rhs.items) > 2 else rhs.items[0]
        return _sums(f"{head}{render(before)} (", rhs.items[-1], ")", room)
    return [head + render(rhs)]


def _sums(head: str, total: L.Sum, end: str, room: int) -> list[str]:
    lines: list[tuple[tuple[int, L.Node], ...]] = []
    items: list[tuple[int, L.Node]] = []
    for item in total.items:
        if items and len(head) + len(render(L.Sum((*items, item)))) > room - len(end):
            lines.append(tuple(items))
            items = []
        items.append(item)
    lines.append(tuple(items))
    out = []
    for n, line in enumerate(lines):
        (sign, first), *others = line
        mark = "" if n == 0 else "- " if sign < 0 else "+ "
        text = render(L.Sum(((sign if n == 0 else 1, first), *others)))
        out.append((head if n == 0 else " " * len(head)) + mark + text + (end if n == len(lines) - 1 else ""))
    return out
