"""The conditions of the definitions as they were written, and which way each has gone.

The search for inputs works on the program that was read from the definitions; whether they met what the author wrote is asked
of the written definitions, by their own evaluator: a condition that was lost or moved in reading is not seen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy.core.relational import Relational

from derive.language.index import Index
from derive.language.tensor import Read, Tensor
from derive.language.written import groups
from numerics.reference.definitions import Definitions, evaluate

from .conditions import Guard, margin_of, tests_in, text_of


@dataclass(frozen=True)
class Written:
    """A relation in the definition of a tensor, and the guards under which it is reached."""

    owner: Tensor
    test: Relational
    guards: tuple[Guard, ...]

    @property
    def by_data(self) -> bool:
        """Whether values decide it; ``k == label[b]`` only reads at a label."""
        sides = (self.test.lhs, self.test.rhs)
        reads_there = isinstance(self.test, sympy.Eq) and any(isinstance(s, Index) for s in sides)
        return self.test.has(Read) and not reads_there

    def text(self, way: bool) -> str:
        return text_of(self.test, self.guards, way)

    def ways(self, values: Mapping[str, Any], sizes: Mapping[Any, int]) -> set[bool]:
        """The ways that it goes at these values, anywhere."""
        assert self.owner.definition is not None  # it was found there
        idx = self.owner.definition.idx
        symbols = {s for e in (self.test, *(c for c, _ in self.guards)) for s in e.free_symbols}
        bound = sorted((s for s in symbols if isinstance(s, Index) and s not in idx), key=lambda i: i.name)
        grid = Definitions(values, sizes, np, False, {})
        scope = grid.scope((*idx, *bound), (), {})
        with np.errstate(all="ignore"):
            sides = (np.asarray(grid.value(s, scope), float) for s in (self.test.lhs, self.test.rhs))
            margin = margin_of(self.test, *sides)
            where = ~np.isnan(margin)
            for c, holds in self.guards:
                said = np.asarray(grid.condition(c, scope))
                where = where & (said if holds else ~said)
        margin, where = np.broadcast_arrays(margin, where)
        return set((margin[where] >= 0).tolist())


def written_conditions(roots: Sequence[Tensor]) -> list[Written]:
    """Every condition on data in the definitions that some tensors need, once by its text."""
    found: dict[str, Written] = {}
    for group in groups(roots):
        for t in group:
            for test, guards in tests_in(t.definition.body, ()) if t.definition is not None else ():
                c = Written(t, test, guards)
                if c.by_data:
                    found.setdefault(c.text(True), c)
    return list(found.values())


def values_as_written(roots: Sequence[Tensor], arrays: Mapping[str, Any], sizes: Mapping[Any, int]) -> dict[str, Any]:
    """All tensors by name, from the written definitions."""
    with np.errstate(all="ignore"):
        return evaluate(roots, arrays, sizes, np)
