"""Sources whose maxes are taken first, for a field without an order, and the parts of the dual numbers that are compared."""

from __future__ import annotations

from derive.program.derived import Derived
from derive.program.program import Program

from .abstract import Element


def parts(v: Element) -> list[Element]:
    """The value of a dual number and its tangents, 0 where there is none."""
    return [*parts(v[0]), *([0] if v[1] is None else parts(v[1]))] if isinstance(v, tuple) else [v]


def max_first(d: Derived) -> Program:
    """The source with each max first that a step takes first: an identity of ordered numbers, checked by itself."""
    moved = {s.after.name: s for s in d.steps if s.claim == "ordered"}
    if not moved:
        return d.source
    known = {e.name for e in d.source.equations}
    before = dict.fromkeys(e for s in moved.values() for e in s.context if e.name not in known)
    equations = [moved[e.name].after if e.name in moved else e for e in d.source.equations]
    return Program(d.source.inputs, (*before, *equations), d.source.outputs)
