"""Replaying a derivation: the kept steps, applied to the source one after another, give the program.

A step says what it starts from (``before``) and what it relies on (``context``): both must be what the steps before it left,
or the claim that the exact check decides would be about other equations than those of the program.
"""

from __future__ import annotations

from dataclasses import replace

from derive.language.errors import DerivationError
from derive.program.derived import Derived
from derive.program.program import Equation, Program, Step

REWRITES = ("equal", "exp-equal", "ordered", "structure")  # claims about one equation, which the step replaces
MAKES = ("definition", "transpose", "tangent")  # claims about a tensor that nothing has defined before


def replay(d: Derived) -> Program:
    """Apply every step of a derivation to its source; see :meth:`derive.derivation.derivation.Derivation.replay`."""
    now: dict[str, Equation] = {e.name: _plain(e) for e in d.source.equations}
    for n, s in enumerate(d.steps, start=1):
        if s.id != n:
            raise DerivationError(f"step {n} is missing: after it comes step {s.id} ({s.rule})")
        _check_start(s, now)
        now[s.after.name] = _plain(s.after)
    for e in d.program.equations:
        if now.get(e.name) != _plain(e):
            raise DerivationError(f"the steps give {now.get(e.name)}\n  but the program has {e}")
    for e in d.adjoint_equations.values():
        # a gradient that the program has too is read there
        if d.program.equation(e.name) is None and now.get(e.name) != _plain(e):
            raise DerivationError(f"the steps give {now.get(e.name)}\n  but the gradient is said to be {e}")
    return Program(d.program.inputs, tuple(now[e.name] for e in d.program.equations), d.program.outputs)


def _check_start(s: Step, now: dict[str, Equation]) -> None:
    """That a step makes what it says of its target, starting from what the steps before it left."""
    where = f"step {s.id} ({s.rule})"
    if s.after.name != s.target:
        raise DerivationError(f"{where} is about {s.target} and gives an equation of {s.after.name}")
    if s.claim in REWRITES and [b.name for b in s.before] != [s.target]:
        raise DerivationError(f"{where} claims to rewrite {s.target} and starts from {', '.join(map(str, s.before))}")
    if s.claim in MAKES and s.target in now and not _adds_seed(s, now[s.target]):
        raise DerivationError(
            f"{where} defines {s.target} again: {s.after}\n  the steps before it left {now[s.target]}"
        )
    for what, equations in (("rewrites" if s.claim in REWRITES else "reads", s.before), ("relies on", s.context)):
        for e in equations:
            if now.get(e.name) != _plain(e):
                raise DerivationError(f"{where} {what} {e}\n  but the steps before it left {now.get(e.name)}")


def _adds_seed(s: Step, before: Equation) -> bool:
    """Whether a definition only adds its first term, as the seed is added to what the target's own readers give."""
    return s.claim == "definition" and replace(_plain(s.after), terms=s.after.terms[1:]) == before


def _plain(e: Equation) -> Equation:
    """An equation without its place in a program."""
    return replace(e, number=0, parents=())
