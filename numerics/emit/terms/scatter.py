"""Sums that are added at positions read from data: the adjoint of a gather.

sum_{b,t} [v = tok[b,t]] dx[b,t,d]      jnp.zeros((V, D), dtype).at[tok].add(dx)
[k = label[b]] g[b]                     jax.vmap(lambda row, at, by: row.at[at].add(by))(jnp.zeros((B, K), dtype), label, g)
"""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr

from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from numerics.emit.source.code import Code, call, method, updated
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import WHOLE, Val, align, full

from . import contraction, each, pointwise
from .arithmetic import Order, as_float, as_number
from .plan import Plan
from .positions import labels


def scattered(scope: Scope, plans: list[Plan], base: Val | None, order: Order) -> Val:
    """``base`` (zeros if None) with terms added at the same positions; repeated positions accumulate."""
    p = plans[0]
    batch = each.shared([a for a in order if a not in p.scatter], p.scatter.values())
    axes = tuple(a for a in order if a not in batch)  # of a row
    grid_set = {i for e in p.scatter.values() for i in labels(e)} - set(batch)
    last = max(n for n, a in enumerate(axes) if a in p.scatter)
    first = min(n for n, a in enumerate(axes) if a in p.scatter)
    # axes between two scattered ones, and those that the positions depend on, need index arrays of their own
    indexed = {a for n, a in enumerate(axes) if a in p.scatter or a in grid_set or first < n < last}
    spots = [n for n, a in enumerate(axes) if a in indexed]
    together = spots == list(range(spots[0], spots[-1] + 1))
    grid = tuple([a for a in axes if a in indexed and a not in p.scatter] + [b for b in p.bnd if b in grid_set])
    grid = _natural(scope, p, grid)
    rest = [a for a in axes if a not in indexed]
    front = sum(1 for a in axes[: spots[0]] if a not in indexed) if together else 0
    target = (*rest[:front], *grid, *rest[front:])
    places = [pointwise.expr(scope, p.scatter[a], (*batch, *grid)) for a in axes if a in p.scatter]
    every, held = (*batch, *target), grid_set | set(batch)
    if len(plans) == 1:
        amount = _updates(scope, p, held, every)
    else:
        terms = [(1, _updates(scope, q, held, every) if set(q.bnd) - held else _factors(q)) for q in plans]
        amount = as_number(scope, pointwise.add(scope, terms, every))
    whole = (*batch, *axes)
    start: Code = call("jnp.zeros", scope.shape(whole), scope.dtype)
    if base is not None:
        start = _floats(scope, full(as_float(scope, base), whole, scope.shape, scope.dtype))

    def added(row: Sequence[Val]) -> Code:
        onto, *found, by = row
        given, marks = iter(found), []
        for a in axes:
            if a in p.scatter:
                marks.append(align(next(given), grid).node)
            else:
                marks.append(align(scope.place(a), grid).node if a in indexed else WHOLE)
        while marks[-1] == WHOLE:
            marks.pop()
        return updated(onto.node, tuple(marks), align(by, target).node)

    names = (each.ROW, *each.names(len(places)), each.AMOUNT)
    operands = [Val(start, whole), *places, amount]
    node = each.over(batch, list(zip(names, operands, strict=True)), added) if batch else added(operands)
    return Val(node, whole)


def _floats(scope: Scope, base: Val) -> Code:
    return base.node if base.kind == "float" else method(base.node, "astype", scope.dtype)


def _natural(scope: Scope, p: Plan, grid: tuple[Index, ...]) -> tuple[Index, ...]:
    """The grid in the order of the integer array that says where, so that neither it nor the updates are transposed."""
    reads = sorted({r for e in p.scatter.values() for r in e.atoms(Read)}, key=lambda r: (-len(r.idx), str(r)))
    own = [i for r in reads for i in r.idx if i in grid]
    return tuple(dict.fromkeys([*own, *grid]))


def _factors(p: Plan) -> tuple[Expr, ...]:
    return (*([p.coef] if p.coef != 1 or not p.fac else []), *p.fac, *(Iverson(c) for c in p.conditions))


def _updates(scope: Scope, p: Plan, grid_set: set[Index], target: Order) -> Val:
    """What is added, over axes of ``target``; sums over indices no position depends on come first."""
    inner = [b for b in p.bnd if b not in grid_set]
    if not inner:
        v = pointwise.product(scope, _factors(p), target)
    else:
        c = contraction.arrange(Plan(p.coef, p.fac, p.conditions, inner, singular=p.singular))
        v = contraction.contract(scope, c, target)
        if p.coef != 1 or c.outside.fac:
            v = pointwise.plain_product(scope, [p.coef, *c.outside.fac], target, first=v)
        if c.outside.conditions:
            v = pointwise.masked(scope, c.outside.conditions, v, target)
    return as_number(scope, v)
