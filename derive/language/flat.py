"""Places in an axis that was made flat: which tuple of indices a sum counts."""

from __future__ import annotations

import sympy
from sympy import Add, Expr, Integer

from .index import Index, Size, same_size


def flat_indices(e: Add) -> tuple[Index, ...]:
    """``(u, v, c)`` where the sum is the place of that tuple in a flat axis, ``(u V + v) C + c``; else nothing."""
    letters = [s for s in e.free_symbols if isinstance(s, Index)]
    if len(letters) < 2 or not all(isinstance(s, (Index, Size)) for s in e.free_symbols):
        return ()
    expanded = sympy.expand(e)
    left = {i: expanded.coeff(i) for i in letters}
    if sympy.expand(expanded - Add(*(c * i for i, c in left.items()))) != 0:
        return ()
    stride: Expr = Integer(1)
    found: list[Index] = []
    while left:
        last = next((i for i, c in left.items() if c == stride or same_size(c, stride)), None)
        if last is None or (found and stride.is_Number):
            return ()
        found.insert(0, last)
        del left[last]
        stride = sympy.expand(stride * last.size)
    return tuple(found)
