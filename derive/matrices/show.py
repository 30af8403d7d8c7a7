"""The layout of matrix equations: ``(A^-1)[i,j]``, ``log det A``; of a batch, with the slice's letters, ``A[b]``."""

from __future__ import annotations

from ..program import Equation
from ..show.expressions import Context, layout
from ..show.layout import Apply, Big, Element, Entry, Inverted, Node, Transposed
from ..tensor import Read
from .leaves import KINDS, MatrixFunction, split_at


def matrix_of(read, over, ctx: Context) -> Node:
    """The matrix itself, over its last two axes."""
    name, batch = ctx.names.name(read.tensor), read.idx[:-2]
    node = Element(name, tuple(layout(i, ctx) for i in batch)) if batch else name
    return Transposed(node) if read.idx[-2:] == tuple(reversed(over)) else node


def matrix_equation(eq: Equation, ctx: Context) -> Node:
    """The right-hand side of an equation that is an inverse or a determinant."""
    node = matrix_of(eq.terms[0].fac[0], eq.over, ctx)
    if eq.reduce != "inverse":
        return Apply(eq.reduce, (node,))
    return Entry(Inverted(node), tuple(layout(i, ctx) for i in split_at(eq.reduce, eq.idx)[1]))


def matrix_function(e: MatrixFunction, ctx: Context) -> Node:
    """A matrix function inside an expression, before it is named: its element stands in brackets."""
    if (
        isinstance(e.body, Read)
        and set(e.body.idx[-2:]) == set(e.binders)
        and not any(i.free_symbols & set(e.binders) for i in e.body.idx[:-2])
    ):
        node = matrix_of(e.body, e.binders, ctx)
    else:
        inner = ctx.bind(e.binders)
        node = Big("matrix", tuple(inner.scope.letter(b) for b in e.binders), (), layout(e.body, inner))
    if not e.at:
        return Apply(KINDS[type(e)], (node,))
    return Entry(Inverted(node), tuple(layout(i, ctx) for i in e.at))
