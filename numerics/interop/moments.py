"""A variance that its author computes as the mean of squares less the square of the mean, and guards against rounding."""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Add, Expr

import derive as dv
from derive.language.index import Index
from derive.language.tensor import Read, Tensor

from .value import put


def variance(body: Any) -> tuple[Expr, Tensor] | None:
    """``mean (f - m)**2`` of ``max(mean f**2 - m**2, 0)``, where ``m = mean f``; and the mean of squares.

    Both are the same number, and never negative: the maximum is there for what rounding leaves of the difference.  None for
    anything else.
    """
    if not isinstance(body, dv.relu) or not isinstance(body.args[0], Add) or len(body.args[0].args) != 2:
        return None
    for squares, minus in (body.args[0].args, body.args[0].args[::-1]):
        m = sympy.sqrt(-minus) if not isinstance(-minus, sympy.Pow) else (-minus).base
        if not isinstance(m, Read) or not isinstance(squares, Read) or -minus != m**2:
            continue
        first, second = _mean(m), _mean(squares)
        if first is None or second is None:
            continue
        (n, f, over), (n2, f2, over2) = first, second
        if n != n2 or len(over) != len(over2) or f2.xreplace(dict(zip(over2, over, strict=True))) != f**2:
            continue
        if any(i.size != j.size for i, j in zip(over, over2, strict=True)):
            continue
        return dv.Sum((f - m) ** 2, *over) * n, squares.tensor
    return None


def _mean(r: Read) -> tuple[Expr, Expr, tuple[Index, ...]] | None:
    """``(n, f, over)`` where a tensor is defined as ``n sum_over f``, at the places of a read."""
    t = r.tensor
    if t.definition is None:
        return None
    n, rest = t.definition.body.as_independent(dv.Sum, as_Add=False)
    if not isinstance(rest, dv.Sum):
        return None
    at = dict(zip(t.indices, r.idx, strict=True))
    if any(b in set(at.values()) for b in rest.binders):
        return None
    return n, put(rest.body, at), tuple(rest.binders)
