"""A derivation in short: one line a layer, what it computes and what it hands back."""

from __future__ import annotations

from collections.abc import Iterable

from derive.language.tensor import Read
from derive.program.graph import ancestors
from derive.program.program import Equation, Program
from derive.program.schedule import in_order
from derive.show.formulas.layout import Relation, width

from .argument import argument
from .blocks import Block, Bullets, Heading, Para, Part, Ref, Sentence, Table
from .formulas import Formulas

ROLES = ("query", "key", "value")  # of the projections of one attention
LONG = 48  # characters of a formula, beyond which only its number is given
SHOWN = 3  # formulas of a layer, beyond which only the last ones are shown


def short(f: Formulas, narrow: bool = False) -> list[Block]:
    """A table of layers, in the order of the pass forward; where there are none, of definitions; a list if ``narrow``."""
    if f.d.kind not in ("backprop", "vjp"):
        return []
    final = {t.target: t.steps[-1].after for t in argument(f.d).main}
    forward = _rewritten(f)
    reads = {e.name: _reads(e) for e in forward}
    groups: dict[str, list[Equation]] = {}
    for e in forward:
        groups.setdefault(_part(f, e), []).append(e)
    rows: list[tuple[Sentence, ...]] = []
    handed: set[str] = set()
    for part, equations in groups.items():
        own = dict.fromkeys(e.name for e in equations)
        read_by_others = {f.adjoint_of(n) for e in forward if e.name not in own for n in reads[e.name]}
        read = dict.fromkeys(t.name for e in equations for t in e.tensors() if t.name not in own)
        back = [
            final[a] for n in read if (a := f.adjoint_of(n)) in final and n not in handed and _last(forward, n, own)
        ]
        handed |= set(read)
        back = _with_inner(f, back, [final[a] for n in own if (a := f.adjoint_of(n)) in final], read_by_others)
        label: Sentence = (part,) if equations[0].tensor.block else (f.names.name(equations[0].tensor),)
        rows.append((label, _formulas(f, equations), _formulas(f, back, every=True)))
    head: list[Block] = [Heading(2, "In short"), Para((INTRO,))]
    if narrow:  # a table would be wider than a page
        return [
            *head,
            Bullets(tuple((*row[0], ":  ", *row[1], *(["  |  ", *row[2]] if row[2] else [])) for row in rows)),
        ]
    return [*head, Table(("layer", "forward", "backward"), tuple(rows))]


INTRO = (
    "Each line says what is computed from what arrives, and what is handed back for it: d of a value is how fast the loss "
    "changes with it. How this comes about follows."
)


def _with_inner(f: Formulas, back: list[Equation], inner: list[Equation], others: set[str]) -> list[Equation]:
    """With the adjoints inside the layer that the formulas shown read, first what is read."""
    out = list(back)
    for e in out:
        read = _reads(e) if _is_shown(f, e) else set()
        out += [i for i in inner if i.name in read and i.name not in others and i not in out]
    return [*reversed(out[len(back) :]), *back]


def _rewritten(f: Formulas) -> list[Equation]:
    """The definitions as they are differentiated: in the forms that they get before."""
    known = {e.name: e for e in f.d.source.equations}
    for told in argument(f.d).before:
        for s in told.steps:
            known[s.after.name] = s.after
    needed = ancestors(known.values(), (f.d.loss, *dict(f.d.results).get("outputs", {}).values()))
    return in_order(Program(f.d.source.inputs, tuple(e for e in known.values() if e.name in needed)))


def _part(f: Formulas, e: Equation) -> str:
    """The layer of a definition; of a layer of several parts, such as a block of a Transformer, the part."""
    block = e.tensor.block
    if not block:
        return e.name
    label = f.names.name(e.tensor).label
    parts = [part for (_, part), shown in f.symbols.parts.items() if shown == label and not part.endswith(ROLES)]
    return f"{block}, {parts[0].replace('_', ' ')}" if label[-1:].isalpha() and parts else block


def _last(forward: Iterable[Equation], name: str, own: Iterable[str]) -> bool:
    """Whether the reader here is the last one, so that the adjoint is complete."""
    readers = [e.name for e in forward if name in _reads(e)]
    return bool(readers) and readers[0] in own


def _reads(e: Equation) -> set[str]:
    return {t.name for t in e.tensors()}


def _formulas(f: Formulas, equations: Iterable[Equation], every: bool = False) -> Sentence:
    """Formulas side by side, in matrices where there is such a form."""
    told = list(equations)
    out: list[Part] = []
    if len(told) > SHOWN and not every:
        out.append("…, ")
        told = [e for e in told if not isinstance(e.value(), Read)][-SHOWN:]
    for n, e in enumerate(told):
        out += [",  "] if n else []
        out += _formula(f, e)
    return tuple(out)


def _formula(f: Formulas, e: Equation) -> list[Part]:
    """The formula, or where it is found if it is long."""
    lhs, rhs = f.matrix(e, always=True) or f.sides(e)
    return [Relation((lhs, rhs), ("==",))] if _is_shown(f, e) else [lhs, " by ", Ref(f.label(e))]


def _is_shown(f: Formulas, e: Equation) -> bool:
    return width((f.matrix(e, always=True) or f.sides(e))[1]) <= LONG or not f.label(e)
