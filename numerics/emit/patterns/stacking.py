"""Terms that each stand at one position of a short axis: written side by side, not as masks over the whole axis.

    di [q = 0] + df [q = 1] + dg [q = 2] + do [q = 3]        jnp.stack((di, df, dg, do), axis=1)

A step of an LSTM gets its gates out of one product ``z[b,q,l]``, so their adjoints meet in such a sum.
"""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Integer

from derive.language.index import Index
from numerics.emit.source.code import Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full, union
from numerics.emit.terms.arithmetic import ZERO, Order
from numerics.emit.terms.plan import Plan, Together
from numerics.emit.terms.positions import labels


def value(scope: Scope, plans: list[Plan], order: Order, together: Together) -> Val | None:
    """The stack of the terms, if every one has a bracket ``[q = number]`` on the same axis; else None.

    ``together(scope, plans, order)`` adds up the terms of one position.
    """
    q = _axis(scope, plans, order)
    if q is None:
        return None
    rest = tuple(i for i in order if i != q)
    places: dict[int, list[Plan]] = {}
    for p in plans:
        n = _position(p, q)
        assert n is not None
        p.conditions = [c for c in p.conditions if _number(c, q) is None]
        p.xreplace({q: Integer(n)})
        places.setdefault(n, []).append(p)
    values = {n: together(scope, at, rest) for n, at in sorted(places.items())}
    axes = union(values.values(), rest)
    before = sum(1 for i in order[: order.index(q)] if i in axes)
    axes = tuple(i for i in order if i in axes)
    count = int(scope.known(q.size))
    shown = [full(values.get(n, ZERO), axes, scope.shape, scope.dtype) for n in range(count)]
    scope.choice(
        "stack", f"each term stands at one {q.name}: side by side, where masks would be written over all of them"
    )
    where = {"axis": number_of(before)} if before else {}
    node = call("jnp.stack", Tuple(tuple(v.node for v in shown)), **where)
    return Val(node, (*axes[:before], q, *axes[before:]), "float")


def _axis(scope: Scope, plans: list[Plan], order: Order) -> Index | None:
    if len(plans) < 2 or any(p.scatter for p in plans):
        return None
    for q in order:
        size = scope.known(q.size)
        if not (size.is_Integer and 2 <= size <= 16):
            continue
        found = [_position(p, q) for p in plans]
        if None in found or len(set(found)) < 2 or any(n is None or not 0 <= n < size for n in found):
            continue
        return q
    return None


def _position(p: Plan, q: Index) -> int | None:
    found = [n for n in (_number(c, q) for c in p.conditions) if n is not None]
    return found[0] if len(found) == 1 else None


def _number(c: Any, q: Index) -> int | None:
    """The number that a condition ``q = number`` names."""
    if not isinstance(c, sympy.Eq) or labels(c) != {q}:
        return None
    rest = sympy.expand(c.lhs - c.rhs)
    for sign in (1, -1):
        n = q - sign * rest
        if n.is_Integer:
            return int(n)
    return None
