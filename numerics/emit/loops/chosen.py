"""Which equations are loops in C: those over the same rows together, and sums over windows in tiles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from derive.program.program import Equation
from derive.program.schedule import Scan

from .rows import Fused, Known, fused
from .windows import Tiled, tiled

Group = Equation | Scan | Fused | Tiled


def in_loops(
    groups: Sequence[Equation | Scan], results: Iterable[str], known: Known, apart: Iterable[str] = ()
) -> list[Group]:
    """The groups of a program, those that are worth it as loops; those ``apart`` are written otherwise."""
    apart = set(apart)
    found: list[Group] = []
    for g in fused(groups, results, known, apart):
        made = tiled(g, known) if isinstance(g, Equation) and g.name not in apart else None
        found.append(g if made is None else made)
    return found
