"""The generic fallback: every term on the full grid of its indices.  Always right, and what every pattern is tested
against, so it shares only the scalar function table and the axis bookkeeping with them.

    sum_{i} x[b,i] W[i,k] [row]     jnp.where(row, x[b, i] * W[i, k], 0).sum(axis=...)   on the grid (b, k, i)
    h[t] = F(h[t-1])                T sweeps of the whole array, starting from zeros: after sweep n, steps < n are right
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import sympy

from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation
from derive.program.schedule import Scan
from numerics.emit.patterns import matrices
from numerics.emit.source.code import (
    Assign,
    Code,
    Compare,
    FunctionDef,
    Name,
    Return,
    Subscript,
    Tuple,
    call,
    number_of,
)
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, align, full, named
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import MINUS_INFINITY, ZERO, Order, as_float, combine, reduce, signed_sum, where
from numerics.emit.terms.finish import finished


class DenseScope(Scope):
    """A scope whose reads are all gathers on a full grid, masked to zero outside."""

    def __init__(self, scope: Scope, grid: Iterable[Index]):
        super().__init__(scope.names, scope.writers, scope.bound, scope)
        self.lines, self.shared, self.grid = scope.lines, scope.shared, tuple(grid)

    def read(self, r: Read, order: Sequence[Index] = ()) -> Val:
        """``T[e1, e2, ...]`` with an index array for every axis."""
        array = named(self.arrays[r.tensor.name], (), r.tensor.dtype)
        if not r.idx:
            return array
        places: list[Val] = []
        tests: list[Val] = []
        for e, size in zip(r.idx, r.tensor.axes, strict=True):
            at = pointwise.expr(self, e, self.grid)
            places.append(at)
            if r.tensor.dtype == "float" and not isinstance(e, Index):
                tests.append(Val(Compare(at.node, ">=", number_of(0)), at.axes, "bool"))
            if r.tensor.dtype == "float" and not (isinstance(e, Index) and self.known(e.size) == self.known(size)):
                tests.append(Val(Compare(at.node, "<", self.size(size).node), at.axes, "bool"))
        axes = tuple(i for i in self.grid if any(i in p.axes for p in places))
        v = Val(Subscript(array.node, tuple(align(p, axes).node for p in places)), axes, r.tensor.dtype)
        if not tests:
            return v
        return where(combine(tests, "&", axes), v, ZERO, axes)


def value(scope: Scope, e: Equation) -> Val:
    """The array of an equation, by the definition."""
    if matrices.applies(scope, e):
        grid = tuple(i for i in (*e.idx, *e.over) if i not in matrices.split(e)[1])
        return matrices.value(scope, e, DenseScope(scope, grid).read(e.terms[0].fac[0]))
    values: list[tuple[int, Val]] = []
    order = (*e.idx, *e.over)
    for t in e.terms:
        inner = DenseScope(scope, (*order, *t.bnd))
        brackets = [Iverson(r.condition) for r in t.rows]
        body = as_float(inner, pointwise.product(inner, [*t.fac, *brackets], inner.grid))
        body = _on_grid(inner, body, (*(i for i in order if i in body.axes), *t.bnd))
        if t.bnd:
            body = reduce(body, "sum", t.bnd)
        values.append((1, pointwise.plain_product(inner, [t.coef], inner.grid, first=body) if t.coef != 1 else body))
    inner = DenseScope(scope, order)
    total = signed_sum(inner, values, order) if values else ZERO
    if e.reduce:
        total = _reduced(inner, e, total, order)
    return finished(scope, total, e)


def _on_grid(scope: Scope, v: Val, axes: Order) -> Val:
    return v if set(v.axes) == set(axes) else full(v, axes, scope.shape, scope.dtype)


def _reduced(scope: Scope, e: Equation, v: Val, order: Order) -> Val:
    v = _on_grid(scope, as_float(scope, v), order)
    if e.guards:
        test = pointwise.condition(scope, sympy.And(*(g.condition for g in e.guards)), order)
        v = where(test, v, MINUS_INFINITY, order)
    v = reduce(v, str(e.reduce), e.over)
    return Val(v.node, v.axes, "int") if e.reduce == "argmax" else v


def write_scan(scope: Scope, group: Scan, outside: Collection[str]) -> None:
    """Sweep all members over the whole time axis, as many times as there are steps."""
    arrays = Tuple(tuple(Name(scope.arrays[e.name]) for e in group.equations))
    step = scope.names.fresh("sweep")
    inner = Scope(scope.names, scope.writers, scope.bound, scope)
    for e in group.equations:
        inner.number = e.number
        inner.assign(scope.arrays[e.name], value(inner, e).node, f"({e.number})")
    first = group.equations[0]
    steps = scope.size(first.idx[group.axis[first.name]].size).node
    state = Name("state")
    scope.write(FunctionDef(step, (Name("_"), state), (Assign(arrays, state), *inner.lines, Return(arrays))))
    zeros: tuple[Code, ...] = tuple(
        call("jnp.zeros", scope.shape(e.idx), scope.dtype if e.tensor.dtype == "float" else Name("int"))
        for e in group.equations
    )
    loop = f"{scope.module('lax')}.fori_loop"
    scope.assign(arrays, call(loop, number_of(0), steps, Name(step), Tuple(zeros)))
