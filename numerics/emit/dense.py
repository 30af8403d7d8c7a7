"""The generic fallback: every term on the full grid of its indices.  Always right, and what every pattern is tested
against, so it shares only the scalar function table and the axis bookkeeping with them.

    sum_{i} x[b,i] W[i,k] [row]     jnp.where(row, x[b, i] * W[i, k], 0).sum(axis=...)   on the grid (b, k, i)
    h[t] = F(h[t-1])                T sweeps of the whole array, starting from zeros: after sweep n, steps < n are right
"""

from __future__ import annotations

import sympy

from derive.index import Index
from derive.nodes import Iverson
from derive.order import Scan
from derive.program import Equation
from derive.tensor import Read
from numerics.emit.patterns import matrices
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import ADD, ATOM, COMPARE, Val, align
from numerics.emit.terms import contraction, pointwise

from .equation import finished


class DenseScope(Scope):
    """A scope whose reads are all gathers on a full grid, masked to zero outside."""

    def __init__(self, scope: Scope, grid):
        super().__init__(scope.names, scope.bound, scope)
        self.lines, self.shared, self.grid = scope.lines, scope.shared, tuple(grid)

    def gather(self, r: Read) -> Val:
        """``T[e1, e2, ...]`` with an index array for every axis."""
        source = self.arrays[r.tensor.name]
        if not r.idx:
            return Val(source, ATOM, (), r.tensor.dtype)
        places, tests = [], []
        for e, size in zip(r.idx, r.tensor.axes, strict=True):
            at = pointwise.expr(self, e, self.grid)
            places.append(at)
            if r.tensor.dtype == "float" and not isinstance(e, Index):
                tests += [
                    Val(f"{at.within(ADD)} >= 0", COMPARE, at.axes, "bool"),
                    Val(f"{at.within(ADD)} < {self.size(size).within(ADD)}", COMPARE, at.axes, "bool"),
                ]
            elif r.tensor.dtype == "float" and self.known(e.size) != self.known(size):
                tests.append(Val(f"{at.within(ADD)} < {self.size(size).within(ADD)}", COMPARE, at.axes, "bool"))
        axes = tuple(i for i in self.grid if any(i in p.axes for p in places))
        v = Val(f"{source}[{', '.join(align(p, axes).src for p in places)}]", ATOM, axes, r.tensor.dtype)
        if not tests:
            return v
        test = pointwise.combine(tests, "&", 45, axes)
        return Val(f"jnp.where({align(test, axes).src}, {v.src}, 0)", ATOM, axes, v.kind)


def value(scope: Scope, e: Equation) -> Val:
    """The array of an equation, by the definition."""
    if e.reduce in matrices.EMISSIONS:
        grid = tuple(i for i in (*e.idx, *e.over) if i not in matrices.split_at(e.reduce, e.idx)[1])
        return matrices.value(scope, e, DenseScope(scope, grid).gather(e.terms[0].fac[0]))
    values = []
    for t in e.terms:
        grid = (*e.idx, *e.over, *t.bnd)
        inner = DenseScope(scope, grid)
        brackets = [Iverson(r.condition) for r in t.rows]
        body = pointwise.as_float(inner, pointwise.product(inner, [*t.fac, *brackets], grid))
        body = _on_grid(inner, body, (*body_free(body, e), *t.bnd))
        if t.bnd:
            body = contraction.reduce(body, "sum", t.bnd)
        values.append((1, pointwise.plain_product(inner, [t.coef], grid, first=body) if t.coef != 1 else body))
    order = (*e.idx, *e.over)
    inner = DenseScope(scope, order)
    total = pointwise.signed_sum(inner, values, order) if values else Val("0", kind="num")
    if e.reduce:
        total = _reduced(inner, e, total, order)
    return finished(scope, total, e)


def body_free(body: Val, e: Equation):
    return tuple(i for i in (*e.idx, *e.over) if i in body.axes)


def _on_grid(scope: Scope, v: Val, axes) -> Val:
    if set(v.axes) == set(axes):
        return v
    if not v.axes:
        return Val(f"jnp.full({scope.shape(axes)}, {v.src}, {scope.dtype})", ATOM, tuple(axes), "float")
    return Val(f"jnp.broadcast_to({align(v, axes).src}, {scope.shape(axes)})", ATOM, tuple(axes), v.kind)


def _reduced(scope: Scope, e: Equation, v: Val, order) -> Val:
    v = _on_grid(scope, pointwise.as_float(scope, v), order)
    if e.guards:
        test = pointwise.condition(scope, sympy.And(*(g.condition for g in e.guards)), order)
        v = pointwise.where(scope, test, v, Val("-jnp.inf", 80, (), "num"), order)
    v = contraction.reduce(v, e.reduce, e.over)
    return Val(v.src, v.prec, v.axes, "int") if e.reduce == "argmax" else v


def write_scan(scope: Scope, group: Scan, outside) -> None:
    """Sweep all members over the whole time axis, as many times as there are steps."""
    sources = [scope.arrays[e.name] for e in group.equations]
    step = scope.names.fresh("sweep")
    inner = Scope(scope.names, scope.bound, scope)
    for e in group.equations:
        inner.number = e.number
        v = value(inner, e)
        inner.write(f"{scope.arrays[e.name]} = {v.src}", f"({e.number})")
    first = group.equations[0]
    steps = scope.size(first.idx[group.axis[first.name]].size).src
    scope.write("")
    scope.write(f"def {step}(_, state):")
    scope.write(f"    {', '.join(sources)}{',' if len(sources) == 1 else ''} = state")
    for line in inner.lines:
        scope.write(f"    {line.code}", line.margin)
    scope.write(f"    return {', '.join(sources)}{',' if len(sources) == 1 else ''}")
    scope.write("")
    zeros = ", ".join(
        f"jnp.zeros({scope.shape(e.idx)}, {scope.dtype if e.tensor.dtype == 'float' else 'int'})"
        for e in group.equations
    )
    names = ", ".join(sources)
    scope.write(
        f"{names}{',' if len(sources) == 1 else ''} = {scope.module('lax')}.fori_loop(0, {steps}, {step}, ({zeros},))"
    )
