"""Replaying a derivation: the kept steps, applied to the source one after another, give the program."""

from __future__ import annotations

from dataclasses import replace

from derive.language.errors import DerivationError
from derive.program.derived import Derived
from derive.program.program import Equation, Program


def replay(d: Derived) -> Program:
    """Apply every step of a derivation to its source; see :meth:`derive.derivation.derivation.Derivation.replay`."""
    now: dict[str, Equation] = {e.name: _plain(e) for e in d.source.equations}
    for s in d.steps:
        if s.claim in ("equal", "exp-equal", "ordered"):
            (before,) = s.before
            if now.get(before.name) != _plain(before):
                raise DerivationError(
                    f"step {s.id} ({s.rule}) rewrites {before}\n  but the steps before it left {now.get(before.name)}"
                )
        now[s.after.name] = _plain(s.after)
    for e in d.program.equations:
        if now.get(e.name) != _plain(e):
            raise DerivationError(f"the steps give {now.get(e.name)}\n  but the program has {e}")
    return Program(d.program.inputs, tuple(now[e.name] for e in d.program.equations), d.program.outputs)


def _plain(e: Equation) -> Equation:
    """An equation without its place in a program."""
    return replace(e, number=0, parents=())
