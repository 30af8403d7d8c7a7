"""Which array tells a size: an axis that has it, or one that is linear in it."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Symbol, solve

from derive.language.index import Size
from derive.language.tensor import Tensor


def size_place(s: Size, inputs: Sequence[Tensor]) -> tuple[Tensor, int, Expr | None] | None:
    """``(tensor, axis, formula)`` that fixes a size: an axis of that size, else one that is linear in it alone."""
    for t in inputs:
        for n, a in enumerate(t.axes):
            if a == s:
                return t, n, None
    unknown = Symbol("n")
    for t in inputs:
        for n, a in enumerate(t.axes):
            if a.free_symbols == {s} and a.is_polynomial(s):
                found = solve(a - unknown, s)
                if len(found) == 1:
                    return t, n, found[0]
    return None
