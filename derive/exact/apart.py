"""Steps by themselves, where a derivation is too large to be evaluated as a whole.

A step's claim is an identity between the few equations that it names, whatever the sizes: so each step is checked at small
sizes of its own, everything that it reads drawn free.  A chain of proved steps is evidence for the gradients, not the
comparison with the author's loss that the check of the whole is; so the gradients stay undecided, and it is said why.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NoReturn

from derive.language.tensor import Tensor
from derive.program.program import Equation, Program, Step

from .case import Case, Cases
from .checked import Checked
from .decide import Claim, decide
from .sample import TOO_MANY, Sizes, assignments
from .steps import Steps, step_name
from .verdict import PROVED, UNDECIDED, Finding


class NotByItself(Exception):
    """A step does not hold for free numbers; of the program's own numbers nothing is known."""


class StepsApart(Steps):
    """Claims about steps of which nothing outside their own equations is known: true, or nothing is said."""

    def claim(self, s: Step) -> Claim:
        claim = super().claim(s)

        # Free numbers are more than the program has: a step may rest on a definition that it does not name (dz is the
        # adjoint of this z), and then differs here though it is right.  A difference is therefore no refutation; it
        # asks for the program's own arrays, which is what cannot be had.
        def proved(case: Case) -> None:
            if claim(case) is not None:
                self.on_shell(s, case)

        return proved

    def on_shell(self, s: Step, case: Case) -> NoReturn:
        raise NotByItself("not true of free numbers, and the program's own are too large to be evaluated")


def step_findings(checker: Checked) -> list[tuple[int, Finding]]:
    """(id of the step, Finding) for every step."""
    return [(s.id, _finding(checker, s)) for s in checker.d.steps]


def _finding(checker: Checked, s: Step) -> Finding:
    equations = (*s.before, s.after, *s.context)
    sizes = Sizes(list(equations), tuple(_tensors(equations)))
    found = assignments(sizes, checker.seed)
    if not found or sizes.cost(found[0]) > TOO_MANY:
        return Finding(step_name(s), UNDECIDED, "nothing", detail="its sizes are too large for an exact evaluation")
    cases = Cases(Program((), ()), found, checker.seed, checker.linear)
    try:
        return decide(step_name(s), cases, StepsApart(checker).claim(s))
    except NotByItself as why:
        return Finding(step_name(s), UNDECIDED, "nothing", detail=str(why))


def _tensors(equations: Iterable[Equation]) -> dict[Tensor, None]:
    return dict.fromkeys(t for e in equations for t in (e.tensor, *e.tensors()))


def count(findings: Sequence[tuple[object, Finding]]) -> str:
    """What was proved of the steps, in words."""
    proved = sum(f.verdict == PROVED for _, f in findings)
    return f"{proved} of its {len(findings)} steps are proved, each by itself at sizes of its own"
