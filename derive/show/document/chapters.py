"""The steps of a derivation, told in chapters: one per kind of step, the trivial steps folded away."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from derive.language.errors import DeriveError
from derive.passes.contract import CONTRACTION
from derive.passes.pipeline import RULES
from derive.passes.rule import Rule
from derive.passes.simplify import SUBSTITUTION
from derive.program.program import Equation, Step
from derive.show.formulas.layout import Big, Element, Fence, Letter, Name, Product, Relation

from .blocks import Block, Equations, Fold, Heading, Line, Para, Part, Ref, Strong
from .formulas import Formulas


def _pick() -> Line:
    """A bracket keeps one term of a sum: sum_n' [n' = n] f[n'] = f[n]."""
    n, other, f = Letter("n"), Letter("n", 1), Name("f", "f")
    bracket = Fence("iverson", Relation((other, n), ("==",)))
    return Line(Big("sum", (other,), (), Product((bracket, Element(f, (other,))))), Element(f, (n,)))


PICK = _pick()


def chapters(f: Formulas) -> list[Block]:
    """Heading, idea and steps for each kind of step that occurs, in the order of the pipeline's rules."""
    place = {name: n for n, name in enumerate(RULES)}
    told: dict[str, list[Step]] = {}
    for s in sorted(f.d.steps, key=lambda s: (place[rule_of(s).name], s.id)):
        told.setdefault(rule_of(s).chapter, []).append(s)
    out: list[Block] = []
    for title, steps in told.items():
        out.append(Heading(3, title))
        out += [Para((idea,)) for idea in dict.fromkeys(rule_of(s).idea for s in steps) if idea]
        if title == CONTRACTION.chapter:
            out.append(Equations((PICK,)))
        out += _chapter(f, sorted(steps, key=lambda s: s.id))
    return out


def rule_of(s: Step) -> Rule:
    """The rule that a step uses, which says where it is told."""
    if s.rule not in RULES:
        raise DeriveError(
            f"step {s.id} is by the rule {s.rule!r}, which no pass lists; the rules are {', '.join(RULES)}"
        )
    return RULES[s.rule]


def _chapter(f: Formulas, steps: Sequence[Step]) -> list[Block]:
    out: list[Block] = []
    folded: list[Step] = []
    for s in steps:
        if _trivial(f, s):
            folded.append(s)
        else:
            out += _told(f, s)
    above = [s for s in folded if s.rule == CONTRACTION.name and _chain_of(f, s) is not None]
    folded = [s for s in folded if s not in above]
    if above:
        out.append(
            Para(
                (
                    f"{_numbers(above)}: every bracket picks its one term; the outcome stands under the chain rule "
                    "above.",
                )
            )
        )
    if folded:
        what = f"{'more ' if out else ''}step{'s' if len(folded) > 1 else ''}"
        count = f"{len(folded)} {what} in which only the obvious happens"
        body: list[Block] = [
            Para((f"{_numbers(folded)}.",)),
            Equations(tuple(line for s in folded for line in _after_line(f, s))),
        ]
        out.append(Fold(count, tuple(body)))
    return out


def _numbers(steps: Sequence[Step]) -> str:
    """Steps 3, 5-8, 11"""
    runs: list[list[int]] = []
    for s in steps:
        if runs and s.id == runs[-1][1] + 1:
            runs[-1][1] = s.id
        else:
            runs.append([s.id, s.id])
    shown = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs)
    return f"Step {shown}" if len(steps) == 1 else f"Steps {shown}"


def _after_line(f: Formulas, s: Step) -> tuple[Line, ...]:
    lhs, rhs = f.sides(s.after)
    return (Line(lhs, rhs, f.label(s.after) if _settled(f, s) else ""),)


def _trivial(f: Formulas, s: Step) -> bool:
    """Whether a reader may skip it: nothing visible changes, a constant 1 goes in, or a bracket picks its term."""
    if s.claim == "transpose":
        return not s.before
    if not s.before:
        return False
    if all(f.same(b, s.after) for b in s.before):
        return True
    if s.rule == CONTRACTION.name:
        return not any(t.rows for t in s.after.terms)
    if s.rule == SUBSTITUTION.name:
        return all(not e.tensors() for e in s.context)
    return False


def _settled(f: Formulas, s: Step) -> bool:
    """Whether the step leaves its equation as the program has it."""
    final = f.d.program.equation(s.target)
    return final is not None and f.same(s.after, final)


def _told(f: Formulas, s: Step) -> list[Block]:
    """A sentence and a display."""
    head = (Strong(f"Step {s.id}."), " ")
    named = re.match(r"\w+", s.why)
    name_first = named and (named.group() in f.tensors or named.group() in ("log", "exp", "sum", "max"))
    why = s.why if name_first else s.why[:1].upper() + s.why[1:]
    said = f.sentence(why + ("" if why.endswith(".") else "."))
    seen: list[Part] = (
        [" From ", *_joined([_source(f, b) for b in sorted(s.before, key=lambda e: _label_order(f.label(e)))]), "."]
        if s.claim == "transpose" and s.before
        else []
    )
    facts = [f" Uses the fact: {'; '.join(s.facts)}."] if s.facts and not all(t in s.why for t in s.facts) else []
    return [Para((*head, *said, *seen, *facts)), Equations(tuple(_display(f, s)))]


def _source(f: Formulas, eq: Equation) -> Part:
    """How to point at an equation: by its number, or by name where the program no longer has it."""
    return Ref(f.label(eq)) if f.label(eq) else f.names.name(eq.tensor)


def _label_order(label: str) -> tuple[int, str]:
    return (int(label.rstrip("′") or 0), label)


def _joined(items: Iterable[Part]) -> list[Part]:
    out: list[Part] = []
    for n, item in enumerate(items):
        out += ([", "] if n else []) + [item]
    return out


def _display(f: Formulas, s: Step) -> list[Line]:
    lhs, rhs = f.sides(s.after)
    label = f.label(s.after) if _settled(f, s) else ""
    if s.claim == "transpose" and (formal := f.chain_rule(s)) is not None:
        solved = _solved(f, s)
        if solved is not None:
            rhs, label = f.sides(solved.after)[1], f.label(solved.after) if _settled(f, solved) else ""
        return [Line(lhs, formal), Line(None, rhs, label)]
    same_tensor = [b for b in s.before if b.name == s.after.name]
    if len(same_tensor) == 1 and same_tensor == list(s.before):
        before = f.sides(s.before[0])
        return [Line(lhs, before[1]), Line(None, rhs, label)]
    return [Line(*f.sides(b), f.label(b)) for b in s.before] + [Line(lhs, rhs, label)]


def _chain_of(f: Formulas, s: Step) -> Step | None:
    """The chain rule step that a contraction solves."""
    return next((t for t in f.d.steps if t.id in s.parents and t.claim == "transpose" and t.before), None)


def _solved(f: Formulas, s: Step) -> Step | None:
    """The contraction that follows a chain rule: its outcome is shown at once, and how it came about in its chapter."""
    return next((t for t in f.d.steps if t.rule == CONTRACTION.name and s.id in t.parents), None)
