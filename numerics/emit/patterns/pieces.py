"""Pieces laid end to end: ``{x[b,m] if m < M; y[b,m-M] otherwise}`` is ``jnp.concatenate((x, y), axis=1)``."""

from __future__ import annotations

from collections.abc import Iterator

import sympy
from sympy import Expr, Integer, Piecewise

from derive.language.affine import nonnegative, sizes_only
from derive.language.index import Index
from derive.program.program import Equation
from numerics.emit.source.code import Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import as_float
from numerics.emit.terms.plan import Plain


def applies(scope: Scope, e: Equation) -> bool:
    """Whether an equation is a choice by where one of its indices stands, and by nothing else."""
    return _pieces(scope, e) is not None


def equation(scope: Scope, e: Equation, plain: Plain) -> Val:
    """Each piece over its own part of the axis, and the pieces after one another."""
    found = _pieces(scope, e)
    assert found is not None
    along, pieces = found
    axis, parts = e.idx.index(along), []
    for value, start, size in pieces:
        own = Index(along.name, size)
        order = tuple(own if i == along else i for i in e.idx)
        v = as_float(scope, pointwise.expr(scope, value.xreplace({along: own + start}), order))
        parts.append(full(v, order, scope.shape, scope.dtype if set(v.axes) != set(order) else None).node)
    return Val(call("jnp.concatenate", Tuple(tuple(parts)), axis=number_of(axis)), e.idx, "float")


def _pieces(scope: Scope, e: Equation) -> tuple[Index, list[tuple[Expr, Expr, Expr]]] | None:
    """The index, and ``(value, first place, length)`` of each piece."""
    body = e.value()
    if not isinstance(body, Piecewise) or e.tensor.dtype != "float" or body.args[-1][1] != sympy.true:
        return None
    indices = {c.lhs for _, c in body.args[:-1] if isinstance(c, sympy.Lt)}
    along = indices.pop() if len(indices) == 1 else None
    if not isinstance(along, Index) or along not in e.idx:
        return None
    pieces = list(_lengths(scope, body, along))
    if any(size is None or value.has(sympy.oo) for value, _, size in pieces):
        return None
    return along, [(value, start, size) for value, start, size in pieces if size is not None]


def _lengths(scope: Scope, body: Piecewise, along: Index) -> Iterator[tuple[Expr, Expr, Expr | None]]:
    """The pieces in order, each with its length where that is known to be at least 1."""
    start: Expr = Integer(0)
    for value, c in body.args:
        end = along.size if c == sympy.true else c.rhs if isinstance(c, sympy.Lt) and sizes_only(c.rhs) else None
        size = None if end is None else sympy.expand(scope.known(end - start))
        yield value, start, size if size is not None and nonnegative(size - 1) else None
        start = start if end is None else end
