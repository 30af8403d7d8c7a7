"""A derivation in short: one line a layer, what it computes and what it hands back."""

from __future__ import annotations

from collections.abc import Iterable

from derive.program.program import Equation
from derive.show.formulas.layout import Relation, width

from .argument import argument
from .blocks import Block, Bullets, Heading, Para, Part, Ref, Sentence, Table
from .formulas import Formulas

LONG = 48  # characters of a formula, beyond which only its number is given
SHOWN = 3  # formulas of a layer, beyond which only the last ones are shown


def short(f: Formulas, flat: bool = False) -> list[Block]:
    """A table of layers, in the order of the pass forward; where there are none, of definitions; ``flat`` for plain text."""
    if f.d.kind not in ("backprop", "vjp"):
        return []
    final = {t.target: t.steps[-1].after for t in argument(f.d).main}
    groups: dict[str, list[Equation]] = {}
    for e in f.d.source.equations:
        groups.setdefault(e.tensor.block or e.name, []).append(e)
    rows: list[tuple[Sentence, ...]] = []
    handed: set[str] = set()
    for block, equations in groups.items():
        own = dict.fromkeys(e.name for e in equations)
        read = dict.fromkeys(t.name for e in equations for t in e.tensors() if t.name not in own)
        back = [final[a] for n in read if (a := f.adjoint_of(n)) in final and n not in handed and _last(f, n, own)]
        handed |= set(read)
        inside = {t.name for e in back for t in e.tensors()}
        kept = [n for n in own if not any(n in _reads(e) for e in f.d.source if e.name not in own)]
        back = [*(final[a] for n in kept if (a := f.adjoint_of(n)) in final and a in inside), *back]
        label: Sentence = (block,) if equations[0].tensor.block else (f.names.name(equations[0].tensor),)
        rows.append((label, _formulas(f, equations), _formulas(f, back, every=True)))
    head: list[Block] = [Heading(2, "In short"), Para((INTRO,))]
    if flat:  # a table would be wider than a screen
        return [
            *head,
            Bullets(tuple((*row[0], ":  ", *row[1], *(["  |  ", *row[2]] if row[2] else [])) for row in rows)),
        ]
    return [*head, Table(("layer", "forward", "backward"), tuple(rows))]


INTRO = (
    "Each line says what is computed from what arrives, and what is handed back for it: d of a value is how fast the loss "
    "changes with it. How this comes about follows."
)


def _last(f: Formulas, name: str, own: Iterable[str]) -> bool:
    """Whether the reader here is the last one, so that the adjoint is complete."""
    readers = [e.name for e in f.d.source.equations if name in {t.name for t in e.tensors()}]
    return bool(readers) and readers[0] in own


def _reads(e: Equation) -> set[str]:
    return {t.name for t in e.tensors()}


def _formulas(f: Formulas, equations: Iterable[Equation], every: bool = False) -> Sentence:
    """Formulas side by side, in matrices where there is such a form."""
    told = list(equations)
    out: list[Part] = []
    if len(told) > SHOWN and not every:
        out.append("…, ")
        told = told[-SHOWN:]
    for n, e in enumerate(told):
        out += [",  "] if n else []
        out += _formula(f, e)
    return tuple(out)


def _formula(f: Formulas, e: Equation) -> list[Part]:
    """The formula, or where it is found if it is long."""
    lhs, rhs = f.matrix(e, always=True) or f.sides(e)
    if width(rhs) <= LONG or not f.label(e):
        return [Relation((lhs, rhs), ("==",))]
    return [lhs, " by ", Ref(f.label(e))]
