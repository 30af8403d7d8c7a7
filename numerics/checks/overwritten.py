"""Gradients of gathered rows in which repeated positions overwrite each other or are averaged, where they should add.

``dE[idx] += dy`` in NumPy and ``.at[idx].set(dy)`` in JAX keep one of the contributions to a row that is read twice.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from derive.language.index import Index
from derive.language.tensor import Read
from derive.program.program import Equation, Row

from .elements import equation_text
from .mistakes import Case, Mistake
from .replay import QuickEvaluator, Replay


def overwritten(e: Equation | None, case: Case, replay: Replay) -> Mistake | None:
    """Whether theirs has one contribution to each row alone, or their mean, where ours adds them."""
    found = None if e is None or len(e.terms) != 1 else _gathered(e)
    if e is None or found is None:
        return None
    row, at, place = found
    term = replace(
        e.terms[0],
        bnd=tuple(i for i in e.terms[0].bnd if i not in at.idx),
        rows=tuple(r for r in e.terms[0].rows if r != row),
    )
    free = [*e.idx, *at.idx]
    quick = QuickEvaluator({}, replay.sizes, {})
    quick.values = replay.base
    each = np.broadcast_to(quick.term(term, free, {}), quick.scope(free, (), {}).extents)
    each = np.moveaxis(each.reshape(*each.shape[: len(e.idx)], -1), e.idx.index(place), 0)
    positions = np.asarray(replay.base[at.tensor.name]).ravel()
    for which, order in (("last", positions[::-1]), ("first", positions)):
        kept: Any = np.zeros(each.shape[:-1])
        for b in np.unique(positions):
            n = int(np.argmax(order == b))
            kept[b] = each[b, ..., len(order) - 1 - n if which == "last" else n]
        if case.fits(np.moveaxis(kept, 0, e.idx.index(place))):
            text = (
                f"repeated positions of {at.tensor.name} add up in {equation_text(e)}; yours keeps the {which} of them (they "
                f"overwrite each other: jnp's .at[].add or np.add.at adds)"
            )
            return Mistake("repeated index", text)
    count = np.bincount(positions, minlength=case.ours.shape[e.idx.index(place)])
    along = [-1 if n == e.idx.index(place) else 1 for n in range(case.ours.ndim)]
    if case.fits(case.ours / np.maximum(count, 1).reshape(along)):
        text = (
            f"repeated positions of {at.tensor.name} add up in {equation_text(e)}; yours has their mean, divided by how "
            f"often each is read"
        )
        return Mistake("repeated index", text)
    return None


def _gathered(e: Equation) -> tuple[Row, Read, Index] | None:
    """The condition ``idx[j] = b`` that a row adds up by, with the read and the index of the row."""
    bound = set(e.terms[0].bnd)
    for row in e.terms[0].rows:
        for a, b in ((row.lhs, row.rhs), (row.rhs, row.lhs)):
            if row.op == "==" and isinstance(a, Read) and b in e.idx and a.idx and set(a.idx) <= bound:
                return row, a, b
    return None
