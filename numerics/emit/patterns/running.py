"""Prefix and suffix sums: ``sum_{k: k <= i} x[b,k]`` is ``lax.cumsum(x, 1)``, where a mask would be a triangle of zeros."""

from __future__ import annotations

import sympy
from sympy import Integer

from derive.language.index import Index, same_size
from numerics.emit.source.choose import choose
from numerics.emit.source.code import Code, Constant, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import Order, as_float
from numerics.emit.terms.plan import Plan, Together
from numerics.emit.terms.positions import labels


def running(scope: Scope, plans: list[Plan], order: Order, together: Together) -> list[Plan]:
    """The plans, those that are running sums replaced by a plan that holds the value."""
    return [_given(scope, p, order, together) or p for p in plans]


def _given(scope: Scope, p: Plan, order: Order, together: Together) -> Plan | None:
    if len(p.conditions) != 1 or p.scatter or p.folds or p.value is not None:
        return None
    ends = _ends(scope, p, order)
    if ends is None:
        return None
    k, i, reverse = ends
    inside = [f for f in p.fac if labels(f) & set(p.bnd)]
    if not inside or any(i in labels(f) for f in inside) or choose(scope, "running-sum") != "cumsum":
        return None
    terms = Plan(Integer(1), inside, [], [b for b in p.bnd if b != k])
    v = as_float(scope, together(scope, [terms], tuple(k if a == i else a for a in order)))
    more: dict[str, Code] = {"reverse": Constant(True)} if reverse else {}
    summed = call(f"{scope.module('lax')}.cumsum", v.node, number_of(v.axes.index(k)), **more)
    made = Val(summed, tuple(i if a == k else a for a in v.axes), v.kind)
    outside = [f for f in p.fac if f not in inside]
    if outside:
        made = pointwise.plain_product(scope, outside, order, first=made)
    return Plan(p.coef, [], [], [], value=made)


def _ends(scope: Scope, p: Plan, order: Order) -> tuple[Index, Index, bool] | None:
    """``(k, i, False)`` of the condition ``k <= i``, and True of ``i <= k``: both of one size, k summed, i free."""
    c = p.conditions[0]
    if not isinstance(c, sympy.Le | sympy.Ge):
        return None
    low, high = (c.lhs, c.rhs) if isinstance(c, sympy.Le) else (c.rhs, c.lhs)
    for k, i, reverse in ((low, high, False), (high, low, True)):
        named = isinstance(k, Index) and isinstance(i, Index) and k in p.bnd and i in order and i not in p.bnd
        if named and same_size(scope.known(k.size), scope.known(i.size)):
            return k, i, reverse
    return None
