"""Pieces laid end to end.

{x[b,m] if m < M; y[b,m-M] otherwise}     jnp.concatenate((x, y), axis=1)
da[b,m] + db[b,m-M], da over m < M        jnp.concatenate((da, db), axis=1), where each would be padded and added
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sympy
from sympy import Expr, Integer, Piecewise

from derive.language.affine import nonnegative, parts, sizes_only
from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Equation, Term
from numerics.emit.source.code import Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full
from numerics.emit.terms.arithmetic import as_float
from numerics.emit.terms.plan import Plain


@dataclass(frozen=True)
class Piece:
    """The terms of one part of an axis, ``start .. start + size``."""

    terms: tuple[Term, ...]
    start: Expr
    size: Expr


def applies(scope: Scope, e: Equation) -> bool:
    """Whether an equation is one thing on one part of an axis and another on the next."""
    return _found(scope, e) is not None


def equation(scope: Scope, e: Equation, plain: Plain) -> Val:
    """Each piece over its own part of the axis, and the pieces after one another."""
    found = _found(scope, e)
    assert found is not None
    along, pieces = found
    axis, parts = e.idx.index(along), []
    for piece in pieces:
        own = Index(along.name, piece.size)
        order = tuple(own if i == along else i for i in e.idx)
        v = as_float(scope, plain(scope, [_moved(scope, t, along, own + piece.start) for t in piece.terms], order))
        parts.append(full(v, order, scope.shape, scope.dtype if set(v.axes) != set(order) else None).node)
    return Val(call("jnp.concatenate", Tuple(tuple(parts)), axis=number_of(axis)), e.idx, "float")


def _moved(scope: Scope, t: Term, along: Index, to: Expr) -> Term:
    """A term at a place of the axis; places are in numbers where sizes are, so that ``2 + m - K`` is ``m`` for K = 2."""
    t = t.xreplace({along: to})
    return replace(t, fac=tuple(scope.known(f) if isinstance(f, Read) else f for f in t.fac))


def _found(scope: Scope, e: Equation) -> tuple[Index, list[Piece]] | None:
    """The axis and its pieces."""
    if e.reduce is not None or e.tensor.dtype != "float":
        return None
    return _chosen(scope, e) if len(e.terms) == 1 else _added(scope, e)


# -- a choice by where an index stands ------------------------------------------------------------------------------


def _chosen(scope: Scope, e: Equation) -> tuple[Index, list[Piece]] | None:
    body = e.value()
    if not isinstance(body, Piecewise) or body.args[-1][1] != sympy.true:
        return None
    indices = {c.lhs for _, c in body.args[:-1] if isinstance(c, sympy.Lt)}
    along = indices.pop() if len(indices) == 1 else None
    if not isinstance(along, Index) or along not in e.idx:
        return None
    pieces = list(_lengths(scope, body, along))
    if any(size is None or value.has(sympy.oo) for value, _, size in pieces):
        return None
    return along, [Piece((Term(Integer(1), (v,)),), start, size) for v, start, size in pieces if size is not None]


def _lengths(scope: Scope, body: Piecewise, along: Index) -> Iterator[tuple[Expr, Expr, Expr | None]]:
    """The pieces in order, each with its length where that is known to be at least 1."""
    start: Expr = Integer(0)
    for value, c in body.args:
        end = along.size if c == sympy.true else c.rhs if isinstance(c, sympy.Lt) and sizes_only(c.rhs) else None
        size = None if end is None else sympy.expand(scope.known(end - start))
        yield value, start, size if size is not None and nonnegative(size - 1) else None
        start = start if end is None else end


# -- terms that are zero but on one part ----------------------------------------------------------------------------


def _added(scope: Scope, e: Equation) -> tuple[Index, list[Piece]] | None:
    for along in e.idx:
        spans = [_span(scope, t, along) for t in e.terms]
        if all(s is not None for s in spans):
            pieces = _laid(scope, e.terms, [s for s in spans if s is not None], along)
            if pieces is not None:
                return along, pieces
    return None


def _span(scope: Scope, t: Term, along: Index) -> tuple[Expr, Expr] | None:
    """The part of an axis on which a term is not zero, as the factors that are read there say: its start and size."""
    if t.rows:
        return None
    start, end = Integer(0), sympy.expand(scope.known(along.size))
    for f in t.fac:
        for at, size in zip(f.idx, f.tensor.axes, strict=True) if isinstance(f, Read) else ():
            split = parts(at)
            if split is None or split[0] != {along: 1}:
                continue
            low = sympy.expand(scope.known(-split[1]))
            first, last = _larger(start, low), _larger(-end, -sympy.expand(low + scope.known(size)))
            if first is None or last is None:
                return None
            start, end = first, -last
    return start, sympy.expand(end - start)


def _larger(a: Expr, b: Expr) -> Expr | None:
    """The larger one, where that is one for all sizes."""
    if nonnegative(sympy.expand(a - b)):
        return a
    return b if nonnegative(sympy.expand(b - a)) else None


def _laid(scope: Scope, terms: Sequence[Term], spans: Sequence[tuple[Expr, Expr]], along: Index) -> list[Piece] | None:
    """The terms by the parts they stand on, if those cover the axis from end to end."""
    pieces, start, whole = [], Integer(0), sympy.expand(scope.known(along.size))
    while not same_size(start, whole):
        here = [n for n, s in enumerate(spans) if s[0] == start]
        if not here or any(spans[n][1] != spans[here[0]][1] for n in here):
            return None
        size = spans[here[0]][1]
        pieces.append(Piece(tuple(terms[n] for n in here), start, size))
        start = sympy.expand(start + size)
        if len(pieces) > len(terms):
            return None
    covers = len(pieces) > 1 and sum(len(p.terms) for p in pieces) == len(terms)
    return pieces if covers and all(nonnegative(p.size - 1) for p in pieces) else None
