"""The last steps of every equation: reduced over its indices, brought to its shape and dtype."""

from __future__ import annotations

from derive.program.program import Equation
from numerics.emit.source.choose import choose
from numerics.emit.source.code import Compare, call, method
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, align, full, named, union

from .arithmetic import MINUS_INFINITY, Order, as_float, reduce, where
from .pointwise import conjunction
from .shared import Shared


def finished(scope: Scope, v: Val, e: Equation) -> Val:
    """Broadcast to the equation's shape and cast to its dtype."""
    if e.tensor.dtype == "float" and v.kind != "float":
        if v.kind in ("num", "weak") and not v.axes:
            v = Val(call("jnp.asarray", v.node, scope.dtype)) if not e.idx else v
        else:
            v = Val(method(v.node, "astype", scope.dtype), v.axes)
    cast = v.kind != "float" and e.tensor.dtype == "float"
    return full(v, e.idx, scope.shape, scope.dtype if cast else None)


def reduced(scope: Scope, v: Val, e: Equation, order: Order) -> Val:
    """Max or argmax over the positions that the guards admit."""
    v = as_float(scope, v) if e.guards or v.kind == "bool" else v
    test = conjunction(scope, [g.condition for g in e.guards], order) if e.guards else None
    if test is not None:
        v = where(test, v, MINUS_INFINITY, order)
    missing = [i for i in e.over if i not in v.axes]
    if missing:
        target = union([v, *(named("_", (i,)) for i in missing)], order)
        v = Val(call("jnp.broadcast_to", align(v, target).node, scope.shape(target)), target, v.kind)
    first = _first(scope, v, e) if e.reduce == "argmax" else None
    if first is not None:
        return first
    v = reduce(v, str(e.reduce), e.over)
    return Val(v.node, v.axes, "int") if e.reduce == "argmax" else v


def _first(scope: Scope, v: Val, e: Equation) -> Val | None:
    """``jnp.where(z == m[:, None], k, K).min(axis=1)``: the first place of the maximum that an equation before has."""
    shared = scope.record(Shared)
    largest = shared.largest.get(e.name) if shared is not None else None
    if largest is None or len(e.over) != 1 or not set(v.axes) >= set(e.over) or choose(scope, "argmax") == "plain":
        return None
    (k,) = e.over
    m = named(scope.arrays[largest.name], e.idx)
    axes = union([v, m], v.axes)
    test = Val(Compare(align(v, axes).node, "==", align(m, axes).node), axes, "bool")
    return reduce(where(test, scope.place(k), scope.size(k.size), axes), "min", e.over)
