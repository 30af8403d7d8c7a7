"""The argument, told: what is rewritten first, one pass backward with what to notice, and what keeps it safe."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from derive.language.tensor import Read
from derive.passes.chain_rule import CHAIN_RULE
from derive.passes.contract import CONTRACTION
from derive.passes.forward_sweep import FORWARD_RULE
from derive.passes.simplify import SUBSTITUTION
from derive.program.program import Equation, Step
from derive.show.formulas.layout import Big, Element, Fence, Letter, Name, Node, Product, Relation

from .argument import Told, argument, rule_of
from .blocks import Block, Equations, Fold, Heading, Line, Para, Part, Ref, Sentence, Strong
from .formulas import Formulas
from .notices import notice


def _pick() -> Line:
    """A bracket keeps one term of a sum: sum_n' [n' = n] f[n'] = f[n]."""
    n, other, f = Letter("n"), Letter("n", 1), Name("f", "f")
    bracket = Fence("iverson", Relation((other, n), ("==",)))
    return Line(Big("sum", (other,), (), Product((bracket, Element(f, (other,))))), Element(f, (n,)))


PICK = _pick()
HELD = (" already holds this value", " already hold this value")
NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def chapters(f: Formulas) -> list[Block]:
    """The derivation and what follows on how it is computed safely, each under its heading."""
    told = argument(f.d)
    out: list[Block] = []
    if told.main:
        out += [Heading(2, "The derivation"), *_first(f, told.before), *_main(f, told.main)]
    if told.safe:
        out += [Heading(2, "How it is computed safely"), *_safe(f, told.safe)]
    return out


def _first(f: Formulas, before: Sequence[Told]) -> list[Block]:
    if not before:
        return []
    intro = "Before anything is differentiated, some definitions get another form with the same values."
    return [Heading(3, "The definitions, rewritten"), Para((intro,)), *_by_rule(f, before)]


def _main(f: Formulas, main: Sequence[Told]) -> list[Block]:
    out: list[Block] = []
    if any(s.claim == "transpose" and s.before for t in main for s in t.steps):
        bracket = (
            "The partial derivative of an element by another of the same tensor is a bracket that is 1 where their "
            "indices agree and 0 elsewhere. Inside a sum such a bracket keeps one term, and the sum is gone; where the "
            "agreement cannot be solved for a summed index, it stays as a condition:"
        )
        out += [Heading(3, CHAIN_RULE.chapter), Para((CHAIN_RULE.idea,)), Para((bracket,)), Equations((PICK,))]
    where, forward = "", False
    for t in main:
        if t.first.rule == FORWARD_RULE.name and not forward:
            out += [Heading(3, FORWARD_RULE.chapter), Para((FORWARD_RULE.idea,))]
            forward = True
        block = (_block(f, t) or where) if not forward else where
        if block != where:
            out.append(Heading(3, _title(block)))
            where = block
        out += _paragraph(f, t)
    return out


def _block(f: Formulas, t: Told) -> str:
    """The layer that a paragraph belongs to: that of the tensor, of a parameter that of its reader."""
    s = t.first
    if s.wrt is not None and s.wrt.definition is None and s.before:
        return s.before[0].tensor.block
    return s.wrt.block if s.wrt is not None else s.after.tensor.block


def _title(block: str) -> str:
    return "The loss" if block == "loss" else f"Through {block}"


def _paragraph(f: Formulas, t: Told) -> list[Block]:
    """One adjoint: through whom it reaches the loss, what to notice, and how it comes to its form."""
    head = (Strong(f"Step {t.number}."), " ")
    first, last = t.first, t.steps[-1].after
    if f.given_as(last.tensor) is not None:
        return [Para((*head, *_sentence(f, first.why)))]
    if first.claim == "transpose" and not first.before:
        return [Para((*head, *_sentence(f, first.why))), Equations((_line(f, last),))]
    if first.claim != "transpose":
        said = [*_sentence(f, first.why), *_then(f, t.steps[1:])]
        return [Para((*head, *said)), Equations(tuple(_display(f, t)))]
    alias = _alias(last)
    if alias is not None:
        handed = (*head, *_paths(f, first), " It is handed on as it is")
        if f.label(last):  # so that it can be referred to
            return [Para((*handed, ".")), Equations((_line(f, last),))]
        return [Para((*handed, ": ", f.names.name(last.tensor), " = ", f.names.name(alias.tensor), "."))]
    seen = notice(f, last)
    lead: Sentence = (" ", *seen) if seen else ()
    then = _then(f, t.steps[1:], told="known already" in str(seen[-1:]))
    return [Para((*head, *_paths(f, first), *lead, *then)), Equations(tuple(_display(f, t)))]


def _alias(eq: Equation) -> Read | None:
    """``dz`` where the equation is ``dh[b,k] = dz[b,k]``."""
    value = eq.value()
    return value if isinstance(value, Read) and value.idx == eq.idx else None


def _paths(f: Formulas, s: Step) -> Sentence:
    """Who reads the tensor, by number; each is a path to the loss."""
    if s.wrt is None or not s.before:
        return _sentence(f, s.why)
    readers = sorted(s.before, key=lambda e: _label_order(f.label(e)))
    named: list[Part] = []
    for n, e in enumerate(readers):
        named += [", " if n < len(readers) - 1 else " and "] if n else []
        named.append(f.names.name(e.tensor))
        if f.label(e):
            named += [" ", Ref(f.label(e))]
    count = len(s.after.terms)
    more = f": {NUMBERS[count] if count < len(NUMBERS) else count} terms" if count > 1 else ""
    return (f.names.name(s.wrt), " is read by ", *named, f"{more}.")


def _then(f: Formulas, steps: Iterable[Step], told: bool = False) -> Sentence:
    """What happens after the brackets have picked their terms, in a few words each.

    ``told`` says that the use of a value that is known already was said.
    """
    said: list[Part] = []
    for s in steps:
        if s.rule == CONTRACTION.name or all(f.same(b, s.after) for b in s.before) or _only_ones(f, s):
            continue
        why = s.why.rstrip(".")
        if s.rule == SUBSTITUTION.name:
            names = [e.name for e in s.context if e.tensors() and _alias(e) is None]
            if not names:
                continue  # said where it was handed on
            why = f"{_listed(names)} {'are' if len(names) > 1 else 'is'} written in place"
        elif why.endswith(HELD):
            if told:
                continue
            names = why.removesuffix(HELD[0]).removesuffix(HELD[1]).split(", ")
            why = f"what {_listed(names)} hold{'' if len(names) > 1 else 's'} is read, not computed again"
        said += [" Then " if not said else "; ", *f.sentence(why + _facts(s))]
    return (*said, ".") if said else ()


def _listed(names: Sequence[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _only_ones(f: Formulas, s: Step) -> bool:
    """Whether all that is put in place is a constant, an adjoint that is handed on, or the cotangent under its own name."""
    return s.rule == SUBSTITUTION.name and all(
        not e.tensors() or _alias(e) is not None or f.given_as(e.tensor) is not None for e in s.context
    )


def _facts(s: Step) -> str:
    return f" (by the fact {'; '.join(s.facts)})" if s.facts and not all(t in s.why for t in s.facts) else ""


def _sentence(f: Formulas, why: str) -> Sentence:
    """A sentence of its own: with a capital, but for a name or a formula."""
    parts = f.sentence(why + ("" if why.endswith(".") else "."))
    if parts and isinstance(parts[0], str) and parts[0][:1].islower() and parts[0][1:2].isalpha():
        word = parts[0].split(" ", 1)[0]
        if word not in ("log", "exp", "sum", "max"):
            return (parts[0][:1].upper() + parts[0][1:], *parts[1:])
    return parts


def _label_order(label: str) -> tuple[int, int, str]:
    number = label.rstrip("′")
    return (0, int(number), label) if number.isdigit() else (1, 0, label)


def _line(f: Formulas, eq: Equation, lhs: bool = True) -> Line:
    left, right = f.sides(eq)
    return Line(left if lhs else None, right, f.label(eq))


def _display(f: Formulas, t: Told) -> list[Line]:
    """The chain rule as it stands, its contraction, and each form until the last, which has the number."""
    first, last = t.first, t.steps[-1].after
    formal = f.chain_rule(first) if first.claim == "transpose" else None
    lhs = f.whole(first.after)
    shown: list[tuple[Node, Node]] = [(lhs, formal)] if formal is not None else []
    after_contraction = [s for s in t.steps if s.rule == CONTRACTION.name or (formal is None)]
    forms = [
        *(after_contraction[:1] or t.steps[:1]),
        *(s for s in t.steps if s.rule != CONTRACTION.name and s != first),
    ]
    for s in forms:
        sides = f.sides(s.after)
        if _only_ones(f, s) and len(shown) > 1:
            shown.pop()  # what stood there, times 1
        if not shown or shown[-1] != sides:
            shown.append(sides)
    if parts := f.members(last):
        shown = [*shown[: 1 if formal is not None else 0], *parts]
    label = f.label(last)
    lefts = [None if n and left == shown[n - 1][0] else left for n, (left, _) in enumerate(shown)]
    return [
        Line(left, right, label if n == len(shown) - 1 else "")
        for n, (left, (_, right)) in enumerate(zip(lefts, shown, strict=True))
    ]


def _safe(f: Formulas, told: Sequence[Told]) -> list[Block]:
    intro = (
        "In exact numbers all is said. In floating-point numbers an exponential overflows, and what was computed once "
        "need not be computed again; these steps change how values are computed, not the values."
    )
    return [Para((intro,)), *_by_rule(f, told)]


def _by_rule(f: Formulas, told: Sequence[Told]) -> list[Block]:
    """Steps that stand alone, in order, with the idea of their rule where it first occurs; trivial ones folded."""
    out: list[Block] = []
    ideas: set[str] = set()
    folded: list[Told] = []

    def unfold() -> None:
        if folded:
            lines = tuple(_line(f, t.first.after) for t in folded)
            what = f"{_numbers(folded)}: {'these change' if len(folded) > 1 else 'this changes'} nothing that is seen"
            out.append(Fold(what, (Equations(lines),)))
            folded.clear()

    for t in told:
        s = t.first
        if s.before and all(f.same(b, s.after) for b in s.before):
            folded.append(t)
            continue
        unfold()
        idea = rule_of(s).idea
        if idea and idea not in ideas:
            ideas.add(idea)
            out.append(Para((idea,)))
        said = (*_sentence(f, s.why), *([f" {_facts(s).strip()}"] if _facts(s) else []))
        out += [Para((Strong(f"Step {t.number}."), " ", *said)), Equations(tuple(_rewritten(f, s)))]
    unfold()
    return out


def _rewritten(f: Formulas, s: Step) -> list[Line]:
    """Before and after."""
    lhs, rhs = f.sides(s.after)
    label = f.label(s.after)
    if len(s.before) == 1 and s.before[0].name == s.after.name:
        return [Line(lhs, f.sides(s.before[0])[1]), Line(None, rhs, label)]
    return [Line(*f.sides(b), f.label(b)) for b in s.before] + [Line(lhs, rhs, label)]


def _numbers(told: Sequence[Told]) -> str:
    """Steps 3, 5-8, 11"""
    runs: list[list[int]] = []
    for t in told:
        if runs and t.number == runs[-1][1] + 1:
            runs[-1][1] = t.number
        else:
            runs.append([t.number, t.number])
    shown = ", ".join(str(a) if a == b else f"{a}–{b}" for a, b in runs)
    return f"Step {shown}" if len(told) == 1 else f"Steps {shown}"
