"""HTML: one page that needs nothing but itself.  Mathematics is MathML in a font that the page carries, the drawing is
SVG; no script, no network.

``derivation_fragment`` is the same without the page around it, for notebooks; its style applies to itself only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from derive.language import printing
from derive.program.derived import Derived
from derive.program.program import Equation, Step
from derive.show.document.format import Format
from derive.show.document.graph import Graph
from derive.show.document.options import Choices, read_options
from derive.show.document.outline import outline
from derive.show.document.svg import svg
from derive.show.formulas.equations import equation_layout
from derive.show.formulas.mathml import clean, math, render

from .document import blocks as B
from .font import font_face, notebook_font
from .formulas import layout as L

STYLE = """
.derivation { --ink: #1c1d22; --soft: #5d606b; --line: #d9dbe1; --wash: #f5f6f8; --accent: #2b5fab; --good: #1a6b2f;
  --bad: #a8201a; color: var(--ink); font: 1.05rem/1.6 "Source Serif 4", Charter, Georgia, "Times New Roman", serif;
  max-width: 56rem; margin: 0 auto; padding: 0 1.2rem 4rem; overflow-wrap: break-word; }
.derivation h1 { font-size: 1.9rem; line-height: 1.2; margin: 2.2rem 0 .8rem; }
.derivation h2 { font-size: 1.3rem; margin: 2.4rem 0 .6rem; padding-bottom: .2rem;
  border-bottom: 1px solid var(--line); }
.derivation h3 { font-size: 1.08rem; margin: 1.9rem 0 .3rem; color: var(--accent); }
.derivation a { color: var(--accent); text-decoration: none; }
.derivation .bar { border-top: .055em solid; padding-top: .1em; }
.derivation p { margin: .6rem 0; } .derivation ul { margin: .5rem 0; padding-left: 1.3rem; }
.derivation code { font: .86em ui-monospace, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.derivation math { font-size: 1.04em; font-family: "Derive Math", "STIX Two Math", "Cambria Math", math; }
.derivation math .prime { font-feature-settings: "ssty" 0; }
.derivation .eqs, .derivation .scroll { margin: .5rem 0 1rem; max-width: 100%; overflow-x: auto; overflow-y: hidden; }
.derivation .eqs table { border-collapse: collapse; width: 100%; }
.derivation .eqs td { padding: .28rem 0; vertical-align: baseline; white-space: nowrap; border: 0; background: none; }
.derivation .eqs td.lhs { text-align: right; padding-left: 1.6rem; width: 1%; }
.derivation .eqs td.rhs { text-align: left; padding-left: .3rem; }
.derivation .eqs td.more { padding-left: 2.4rem; }
.derivation .eqs td.aside { text-align: left; color: var(--soft); padding-left: 1.6rem; width: 1%; }
.derivation .eqs td.aside[colspan] { padding: 0 0 .5rem 1.9rem; }
.derivation .eqs td.shape { text-align: right; color: var(--soft); padding-left: 1.6rem; width: 1%; font-size: .86rem; }
.derivation .eqs td.num { text-align: right; color: var(--soft); padding-left: 1.2rem; width: 1%; font-size: .92rem; }
.derivation .boxed { background: var(--wash); border-left: 3px solid var(--accent); padding: .4rem .8rem .4rem 0;
  border-radius: 0 6px 6px 0; }
.derivation table.data { border-collapse: collapse; margin: 0; font-size: .96rem; text-align: left; }
.derivation table.data th { font-weight: 600; color: var(--soft); border-bottom: 1px solid var(--line);
  text-align: left; }
.derivation table.data th, .derivation table.data td { padding: .22rem 1.1rem .22rem 0; vertical-align: baseline;
  white-space: nowrap; }
.derivation table.data td.long { white-space: normal; min-width: 14rem; }
.derivation details { margin: .5rem 0 1rem; } .derivation summary { cursor: pointer; color: var(--soft); }
.derivation .proved { color: var(--good); } .derivation .refuted { color: var(--bad); }
.derivation .drawing { overflow-x: auto; margin: .8rem 0; }
.derivation figcaption { font-size: .9rem; color: var(--soft); }
.derivation svg.network { max-width: 100%; height: auto; min-width: 32rem; }
.derivation svg.network rect { fill: var(--wash); stroke: var(--line); stroke-width: 1.2; }
.derivation svg.network .parameter rect { stroke: var(--accent); stroke-width: 1.6; }
.derivation svg.network .computed rect { fill: none; stroke: var(--soft); }
.derivation svg.network text { fill: var(--ink); text-anchor: middle; font-family: inherit; }
.derivation svg.network .name { font-size: 14px; }
.derivation svg.network .letter { font: italic 16px "Derive Math", "STIX Two Text", "Times New Roman", serif; }
.derivation svg.network .label { font-size: 10.5px; }
.derivation svg.network .shape { font-size: 11px; fill: var(--soft); font-weight: 400; }
.derivation svg.network .arrow { fill: none; stroke: var(--soft); stroke-width: 1.2; }
.derivation svg.network .tip { fill: var(--soft); }
.derivation mtd.l { text-align: left; padding-right: .6em; }
@media (max-width: 34rem) { .derivation { font-size: 1rem; padding: 0 .8rem 3rem; }
  .derivation h1 { font-size: 1.5rem; } .derivation .eqs td.lhs { padding-left: .2rem; }
  .derivation .eqs td.aside, .derivation .eqs td.num, .derivation .eqs td.shape { padding-left: .8rem; } }
@media (prefers-color-scheme: dark) { .derivation { --ink: #e7e7ea; --soft: #a2a5b0; --line: #3a3d46; --wash: #22242b;
  --accent: #86b1f0; --good: #7fd492; --bad: #ff8a80; } }
@media print { .derivation { font-size: 10pt; max-width: none; --ink: #000; --soft: #444; --line: #999; --wash: #fff;
  --accent: #000; padding: 0; } .derivation h2, .derivation h3 { break-after: avoid; }
  .derivation .eqs tr, .derivation figure { break-inside: avoid; } .derivation .eqs, .derivation .scroll { overflow: visible; }
  .derivation .eqs td { white-space: normal; } .derivation svg.network { min-width: 0; }
  .derivation table.data th, .derivation table.data td { white-space: normal; padding-right: .6rem; }
  .derivation table.data td.long { min-width: 0; } .derivation .eqs math, .derivation table.data math { font-size: .78em; } }
"""
EQUALS = '<mo form="infix" lspace="0" rspace="0.28em">=</mo>'
LINE = 72  # a sum of more characters is broken before an operator
WIDE = 82  # formulas, their matrix forms and shapes stand side by side up to about so many characters
PAGE_STYLE = """
:root { color-scheme: light dark; } body { margin: 0; background: #fff; }
@media (prefers-color-scheme: dark) { body { background: #17181c; } }
@media print { body { background: #fff; } }
"""


def derivation_html(d: Derived, **options: Unpack[Choices]) -> str:
    """One self-contained page: MathML, inline SVG and CSS; no script, nothing fetched; well-formed XML as well as HTML 5.

    The options are those of :class:`~derive.show.document.options.Options`.
    """
    return blocks_html(outline(d, read_options(options)))


def blocks_html(blocks: Sequence[B.Block]) -> str:
    """The page of any list of blocks, of which the first is its title."""
    title = blocks[0].text if isinstance(blocks[0], B.Heading) else ""
    return (
        '<!DOCTYPE html>\n<html lang="en" xmlns="http://www.w3.org/1999/xhtml">\n<head><meta charset="utf-8"/>'
        '<meta name="viewport" content="width=device-width, initial-scale=1"/>\n'
        f"<title>{clean(title)}</title>\n<style>{font_face()}{PAGE_STYLE}{STYLE}</style></head>\n<body>\n"
        f"{_article(blocks)}\n</body>\n</html>\n"
    )


def derivation_fragment(d: Derived, **options: Unpack[Choices]) -> str:
    """The same as one element, to stand inside another page or a notebook."""
    return blocks_fragment(outline(d, read_options(options)))


def blocks_fragment(blocks: Sequence[B.Block]) -> str:
    """Any list of blocks as one element."""
    return f"<div><style>{notebook_font()}{STYLE}</style>\n{_article(blocks)}</div>"


def _article(blocks: Sequence[B.Block]) -> str:
    return f'<article class="derivation">\n{blocks_article(blocks)}\n</article>'


def blocks_article(blocks: Sequence[B.Block]) -> str:
    """What stands inside the article, for pages that bring their own frame."""
    return "\n".join(map(_Page().block, blocks))


def _begin(row: int, node: L.Node) -> str:
    """What stands before a row of a formula: the sign of equality, and before a row that goes on its plus sign."""
    if row == 0:
        return EQUALS
    return '<mo form="infix">+</mo>' if isinstance(node, L.Sum) and node.items[0][0] > 0 else ""


def _anchor(label: str) -> str:
    return "eq-" + label.replace("′", "-as-defined")


@printing.html.register(Step)
def step_html(step: Step) -> str:
    """A step: its rule and why, and the equations before and after."""
    lines = [*step.before, step.after]
    rows = "".join(
        f'<tr><td class="lhs">{word}</td><td class="rhs">{math(_equation(e), display=True)}</td></tr>'
        for word, e in zip(["before"] * len(step.before) + ["after"], lines, strict=True)
    )
    why = "; ".join((step.why, *step.facts))
    return (
        f'<div><style>{STYLE}</style><article class="derivation"><p><b>Step {step.id}</b> {clean(step.rule)}: '
        f'{clean(why)}</p><div class="eqs"><table><tbody>{rows}</tbody></table></div></article></div>'
    )


def _equation(eq: Equation) -> str:
    lhs, rhs = equation_layout(eq, None)
    return f"{render(lhs)}<mo>=</mo>{render(rhs)}"


def _size(part: B.Part) -> int:
    """About how many characters a part of a shape takes."""
    return len(part) if isinstance(part, str) else L.width(part) if isinstance(part, L.NODES) else 0


class _Page(Format):
    """Remembers which equation numbers it has shown, so that each is an anchor once."""

    def __init__(self) -> None:
        self.anchors: set[str] = set()

    def words(self, text: str) -> str:
        return clean(text)

    def sentence(self, parts: B.Sentence) -> str:
        """The parts in a row; a comma or a full stop stays with the formula that it follows."""
        out = ""
        for before, part in zip((None, *parts), parts, strict=False):
            stays = isinstance(before, L.Node) and isinstance(part, str) and part[:1] in (",", ".", ";", ":", ")")
            out += ("&#8288;" if stays else "") + self.part(part)
        return out

    def formula(self, node: L.Node) -> str:
        return math(render(node))

    def reference(self, label: str) -> str:
        return f'<a href="#{_anchor(label)}">({clean(label)})</a>'

    def mono(self, text: str) -> str:
        return f"<code>{clean(text)}</code>"

    def strong(self, text: str) -> str:
        return f"<b>{clean(text)}</b>"

    def heading(self, block: B.Heading) -> str:
        return f"<h{block.level}>{clean(block.text)}</h{block.level}>"

    def paragraph(self, block: B.Para) -> str:
        return f"<p>{self.sentence(block.parts)}</p>"

    def bullets(self, block: B.Bullets) -> str:
        return "<ul>" + "".join(f"<li>{self.sentence(i)}</li>" for i in block.items) + "</ul>"

    def table(self, block: B.Table) -> str:
        head = "".join(f"<th>{clean(h)}</th>" for h in block.header)
        rows = "".join("<tr>" + "".join(map(self._cell, row)) + "</tr>" for row in block.rows)
        return (
            f'<div class="scroll"><table class="data"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
        )

    def _cell(self, parts: B.Sentence) -> str:
        text = self.sentence(parts)
        if text in ("proved", "refuted"):
            return f'<td class="{text}">{text}</td>'
        long = len(text) > 60 if "<" not in text else any(isinstance(p, L.Relation) for p in parts)
        return f'<td class="long">{text}</td>' if long else f"<td>{text}</td>"

    def equations(self, block: B.Equations) -> str:
        widest = max((min(L.width(line.rhs), LINE) for line in block.lines), default=0)
        asides = [L.width(line.aside[1]) for line in block.lines if line.aside]
        ends = max((sum(map(_size, line.shape)) for line in block.lines), default=0)
        beside = bool(asides) and widest + max(asides) + ends < WIDE
        shapes = any(line.shape for line in block.lines)
        rows = "".join(self._line(line, beside, shapes) for line in block.lines)
        return f'<div class="eqs{" boxed" if block.boxed else ""}"><table><tbody>{rows}</tbody></table></div>'

    def _line(self, line: B.Line, beside: bool, shapes: bool) -> str:
        """A row; more where a sum is broken, or where the matrix form has no room beside it."""
        lhs = math(render(line.lhs), display=True) if line.lhs is not None else ""
        parts = [math(_begin(n, r) + render(r), display=True) for n, r in enumerate(L.broken(line.rhs, LINE))]
        said = math(f"{render(line.aside[0])}<mo>=</mo>{render(line.aside[1])}") if line.aside else ""
        number, anchor = f"({clean(line.label)})" if line.label else "", ""
        if line.label and line.label not in self.anchors:
            self.anchors.add(line.label)
            anchor = f' id="{_anchor(line.label)}"'
        out = ""
        for n, part in enumerate(parts):
            left, more = (lhs, "") if n == 0 else ("", " more")
            aside = f'<td class="aside">{said if n == 0 else ""}</td>' if beside else ""
            mark = number if n == len(parts) - 1 else ""
            shape = f'<td class="shape">{self.sentence(line.shape) if mark else ""}</td>' if shapes else ""
            out += f"<tr{anchor if n == 0 else ''}>" + (
                f'<td class="lhs">{left}</td><td class="rhs{more}">{part}</td>{aside}{shape}'
                f'<td class="num">{mark}</td></tr>'
            )
        return out + (f'<tr><td></td><td class="aside" colspan="3">{said}</td></tr>' if said and not beside else "")

    def fold(self, block: B.Fold) -> str:
        inside = "".join(map(self.block, block.blocks))
        return f"<details><summary>{clean(block.summary)}</summary>{inside}</details>"

    def drawing(self, graph: Graph) -> str:
        return (
            f'<figure class="drawing">{svg(graph)}<figcaption>Arrows run from what is read to its reader; '
            "outlined in colour is what the derivative is taken by.</figcaption></figure>"
        )
