"""The steps of a derivation, told in chapters: one per kind of step, the trivial steps folded away."""

from __future__ import annotations

import re

from derive.program.program import Equation, Step
from derive.show.formulas.layout import Big, Element, Fence, Letter, Name, Product, Relation

from .blocks import Equations, Fold, Heading, Line, Para, Ref, Strong
from .formulas import Formulas

# rule -> title, what the idea is; the order here is the order of the story
KINDS = {
    "regrouping": (
        "What cancels stays together",
        "In floating-point numbers the sum of a large number and a small one loses the small one. Large terms that were "
        "written to cancel are therefore computed as one product with their difference.",
    ),
    "log-sum-exp": (
        "Sums of exponentials go to the log domain",
        "An exponential overflows where its logarithm does not, so sums of exponentials are kept as logarithms.",
    ),
    "max first": (
        "The max comes first",
        "A function that never decreases, and adding what is the same for all, do not change which element is the "
        "largest. So the max of a window can be taken before them, and they are evaluated once for each window.",
    ),
    "forward rule": (
        "Differentiating forward",
        "Going forward from a parameter, the derivative of a tensor by it gathers one term from everything that the "
        "tensor reads: the partial derivative by what is read, times the derivative of that by the parameter.",
    ),
    "symmetry": ("Symmetry", "Second derivatives commute, so a block is the transpose of its mirror image."),
    "seed": ("The start", ""),
    "chain rule": (
        "The chain rule",
        "Going backward from the result, each tensor gathers one term from every place that reads it: the "
        "adjoint of the reader, times the partial derivative of the reader by what it reads.",
    ),
    "contraction": (
        "Contraction",
        "The partial derivative of an element by another is a bracket that is 1 where their indices agree and "
        "0 elsewhere. Inside a sum such a bracket keeps one term, and the sum is gone. Where the agreement "
        "cannot be solved for a summed index, it stays as a condition.",
    ),
    "substitution": ("Substitution", "An adjoint that is only a few letters long is written in place."),
    "saved value": (
        "Saved values",
        "The forward pass already computed some of what the derivative needs; it is read, not computed again.",
    ),
    "declared fact": ("Declared facts", "What was promised about an input is used here, and nowhere else."),
    "known sum": ("Known sums", "A sum that an earlier equation holds is read from it."),
    "expand and collect": (
        "Expanding and collecting",
        "Products are multiplied out where terms then cancel or combine.",
    ),
    "collect": ("Collecting", "Equal factors and like terms combine."),
    "definition": ("New names", "Values that are needed more than once, or that deserve a name, get one."),
    "hoist": ("Out of the sum", ""),
    "stabilize": ("Stabilizing", "The same values, computed so that nothing overflows."),
}


def _pick() -> Line:
    """A bracket keeps one term of a sum: sum_n' [n' = n] f[n'] = f[n]."""
    n, other, f = Letter("n"), Letter("n", 1), Name("f", "f")
    bracket = Fence("iverson", Relation((other, n), ("==",)))
    return Line(Big("sum", (other,), (), Product((bracket, Element(f, (other,))))), Element(f, (n,)))


PICK = _pick()


def chapters(f: Formulas) -> list:
    """Heading, idea and steps for each kind of step that occurs."""
    by_rule: dict[str, list[Step]] = {}
    for s in f.d.steps:
        by_rule.setdefault(s.rule, []).append(s)
    known = [r for r in KINDS if r in by_rule]
    out = []
    for rule in known + [r for r in by_rule if r not in KINDS]:
        title, idea = KINDS.get(rule, (rule[:1].upper() + rule[1:], ""))
        out.append(Heading(3, title))
        if idea:
            out.append(Para((idea,)))
        if rule == "contraction":
            out.append(Equations((PICK,)))
        out += _chapter(f, by_rule[rule])
    return out


def _chapter(f: Formulas, steps) -> list:
    out, folded = [], []
    for s in steps:
        if _trivial(f, s):
            folded.append(s)
        else:
            out += _told(f, s)
    above = [s for s in folded if s.rule == "contraction" and _chain_of(f, s) is not None]
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
        steps = f"{'more ' if out else ''}step{'s' if len(folded) > 1 else ''}"
        count = f"{len(folded)} {steps} in which only the obvious happens"
        body = [Para((f"{_numbers(folded)}.",)), Equations(tuple(line for s in folded for line in _after_line(f, s)))]
        out.append(Fold(count, tuple(body)))
    return out


def _numbers(steps) -> str:
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
    if s.rule == "contraction":
        return not any(t.rows for t in s.after.terms)
    if s.rule == "substitution":
        return all(not e.tensors() for e in s.context)
    return False


def _settled(f: Formulas, s: Step) -> bool:
    """Whether the step leaves its equation as the program has it."""
    final = f.d.program.equation(s.target)
    return final is not None and f.same(s.after, final)


def _told(f: Formulas, s: Step) -> list:
    """A sentence and a display."""
    head = [Strong(f"Step {s.id}."), " "]
    named = re.match(r"\w+", s.why)
    name_first = named and (named.group() in f.tensors or named.group() in ("log", "exp", "sum", "max"))
    why = s.why if name_first else s.why[:1].upper() + s.why[1:]
    why = f.sentence(why + ("" if why.endswith(".") else "."))
    seen = (
        [" From ", *_joined([_source(f, b) for b in sorted(s.before, key=lambda e: _label_order(f.label(e)))]), "."]
        if s.claim == "transpose" and s.before
        else []
    )
    facts = [f" Uses the fact: {'; '.join(s.facts)}."] if s.facts and not all(t in s.why for t in s.facts) else []
    return [Para((*head, *why, *seen, *facts)), Equations(tuple(_display(f, s)))]


def _source(f: Formulas, eq: Equation):
    """How to point at an equation: by its number, or by name where the program no longer has it."""
    return Ref(f.label(eq)) if f.label(eq) else f.names.name(eq.tensor)


def _label_order(label: str):
    return (int(label.rstrip("′") or 0), label)


def _joined(items) -> list:
    out = []
    for n, item in enumerate(items):
        out += ([", "] if n else []) + [item]
    return out


def _display(f: Formulas, s: Step) -> list[Line]:
    lhs, rhs = f.sides(s.after)
    label = f.label(s.after) if _settled(f, s) else ""
    if s.claim == "transpose":
        formal = f.chain_rule(s)
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
    return next((t for t in f.d.steps if t.rule == "contraction" and s.id in t.parents), None)
