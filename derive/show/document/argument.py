"""The steps of a derivation in the order of an argument: what is rewritten first, one pass backward, what keeps it safe.

The derivation keeps its steps by pass: all partial derivatives, then all contractions, then all simplifications.  A reader
follows one tensor at a time, so here all that happens to the adjoint of one tensor stands together, in the order in which
the pass backward reaches the tensors, and parameters stand with what they enter.  Numbers are those of the page.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.language.errors import DeriveError
from derive.passes.pipeline import RULES
from derive.passes.rule import Rule
from derive.program.derived import Derived
from derive.program.program import Step

# the rules of the main line: with them a derivative is found and brought into its form
MAIN = frozenset(
    {
        "seed",
        "forward rule",
        "chain rule",
        "contraction",
        "symmetry",
        "substitution",
        "inverse",
        "expand and collect",
        "collect",
        "saved value",
        "declared fact",
        "known sum",
        "hoist",
        "definition",
        "named values",
        "named derivative",
        "free entries",
    }
)
OPENING = ("seed", "chain rule", "forward rule")


@dataclass(frozen=True)
class Told:
    """What one numbered paragraph tells: all that happens to one tensor on the main line, or one step of another kind."""

    number: int
    target: str
    steps: tuple[Step, ...]

    @property
    def first(self) -> Step:
        return self.steps[0]


@dataclass(frozen=True)
class Argument:
    """The paragraphs of a document, numbered through."""

    before: tuple[Told, ...]
    main: tuple[Told, ...]
    safe: tuple[Told, ...]

    def number(self, step: int) -> int:
        """The paragraph that tells a step of the derivation."""
        every = (*self.before, *self.main, *self.safe)
        return next(t.number for t in every if any(s.id == step for s in t.steps))


def rule_of(s: Step) -> Rule:
    """The rule that a step uses, which says how it is told."""
    if s.rule not in RULES:
        raise DeriveError(
            f"step {s.id} is by the rule {s.rule!r}, which no pass lists; the rules are {', '.join(RULES)}"
        )
    return RULES[s.rule]


def argument(d: Derived) -> Argument:
    """Every step of a derivation in exactly one paragraph."""
    steps = sorted(d.steps, key=lambda s: s.id)
    for s in steps:
        rule_of(s)
    opened = min((s.id for s in steps if s.rule in OPENING), default=len(steps) + 1)
    before = [s for s in steps if s.id < opened]
    groups: dict[str, list[Step]] = {}
    safe: list[Step] = []
    left: set[str] = set()  # targets whose equation has left the main line
    for s in steps[len(before) :]:
        if s.rule in MAIN and s.target not in left:
            groups.setdefault(s.target, []).append(s)
        else:
            left.add(s.target)
            safe.append(s)
    main = [groups[name] for name in _order(d, groups)]
    count = iter(range(1, len(steps) + 2))

    def numbered(of: Sequence[Sequence[Step]]) -> tuple[Told, ...]:
        return tuple(Told(next(count), g[0].target, tuple(g)) for g in of)

    if not groups:
        return Argument((), (), numbered([[s] for s in before + safe]))
    return Argument(numbered([[s] for s in before]), numbered(main), numbered([[s] for s in safe]))


def _order(d: Derived, groups: dict[str, list[Step]]) -> list[str]:
    """The targets in the order of the pass backward: a parameter right behind the last reader, a named sum before its use."""
    order = [t for t, g in groups.items() if g[0].rule in OPENING]
    inputs = {t.name for t in d.source.inputs}
    for name in [t for t in order if (w := groups[t][0].wrt) is not None and w.name in inputs]:
        readers = {t.name for _, t in groups[name][0].adjoint_of}
        behind = [n for n, t in enumerate(order) if t in readers]
        if behind and groups[name][0].claim == "transpose":
            order.remove(name)
            at = max(n for n, t in enumerate(order) if t in readers) + 1
            while at < len(order) and _reads_of(groups, order[at]) == readers and _of_input(groups, order[at], inputs):
                at += 1
            order.insert(at, name)
    for name in [t for t in groups if t not in order]:  # a sum inside an adjoint got a name
        users = [n for n, t in enumerate(order) if any(_uses(s, name) for s in groups[t])]
        order.insert(min(users, default=len(order)), name)
    return order


def _reads_of(groups: dict[str, list[Step]], name: str) -> set[str]:
    return {t.name for _, t in groups[name][0].adjoint_of}


def _of_input(groups: dict[str, list[Step]], name: str, inputs: set[str]) -> bool:
    wrt = groups[name][0].wrt
    return wrt is not None and wrt.name in inputs


def _uses(s: Step, name: str) -> bool:
    return any(t.name == name for t in s.after.tensors())
