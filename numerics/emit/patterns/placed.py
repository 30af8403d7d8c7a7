"""One value written over at a place: ``{now[b,k] if q = position; kept[b,q,k] otherwise}`` is an update in place.

``lax.dynamic_update_index_in_dim(kept, now, position, 1)`` writes the one row; a choice by a mask writes every one.
"""

from __future__ import annotations

from dataclasses import dataclass

import sympy
from sympy import Expr, Piecewise

from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Equation
from numerics.emit.source.code import call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import as_float
from numerics.emit.terms.plan import Plain


@dataclass(frozen=True)
class Placed:
    """``now`` at the place ``at`` of the axis ``along``, and ``kept`` elsewhere."""

    now: Expr
    kept: Read
    along: Index
    at: Read


def applies(scope: Scope, e: Equation) -> bool:
    """Whether an equation is another tensor with one place along an axis written over."""
    return _placed(e) is not None


def equation(scope: Scope, e: Equation, plain: Plain) -> Val:
    found = _placed(e)
    assert found is not None
    order = tuple(i for i in e.idx if i != found.along)
    now, kept = (pointwise.expr(scope, x, o) for x, o in ((found.now, order), (found.kept, e.idx)))
    if e.tensor.dtype == "float":
        now, kept = as_float(scope, now), as_float(scope, kept)
    now = full(now, order, scope.shape, scope.dtype if set(now.axes) != set(order) else None)
    at = pointwise.expr(scope, found.at, ())
    update = f"{scope.module('lax')}.dynamic_update_index_in_dim"
    return Val(call(update, kept.node, now.node, at.node, number_of(e.idx.index(found.along))), e.idx, kept.kind)


def _placed(e: Equation) -> Placed | None:
    """The form, if the place is one integer of the data that is declared to lie on the axis."""
    body = e.value()
    if not isinstance(body, Piecewise) or len(body.args) != 2 or body.args[1][1] != sympy.true:
        return None
    (now, condition), (kept, _) = body.args
    if not isinstance(condition, sympy.Eq) or not isinstance(kept, Read) or kept.idx != e.idx:
        return None
    for along, at in (condition.args, condition.args[::-1]):
        whole = isinstance(at, Read) and not at.idx and at.tensor.below is not None and isinstance(along, Index)
        if whole and along in e.idx and not now.has(along) and same_size(at.tensor.below, along.size):
            return Placed(now, kept, along, at)
    return None
