"""Expressions of whole numbers that say where: which are index arrays, which stay in range."""

from __future__ import annotations

from typing import Any

import sympy
from sympy import Expr, expand

from derive.language.affine import bounds, in_range, nonnegative, parts
from derive.language.index import Index
from derive.language.tensor import Read
from numerics.emit.source.scope import Scope


def labels(e: Any) -> set[Index]:
    """The indices in an expression."""
    return {s for s in e.free_symbols if isinstance(s, Index)}


def is_index_array(e: Expr) -> bool:
    """An affine expression of two or more indices, each with a letter of its own: written once, and named."""
    letters = [(i.name, i.size) for i in labels(e)]
    return len(letters) > 1 and len(set(letters)) == len(letters) and not e.has(Read) and parts(e) is not None


def is_position(e: Expr) -> bool:
    """A whole-number sum that reads integers, such as ``2*u + argmax[u] - 1``."""
    return (
        e.has(Read) and bool(labels(e)) and all(r.tensor.dtype == "int" for r in e.atoms(Read)) and parts(e) is not None
    )


def known(scope: Scope, e: Expr) -> Expr:
    """The expression with the sizes fixed at compile time put in, also into its indices."""
    return scope.known(e.xreplace({i: Index(i.name, scope.known(i.size), i.uid) for i in labels(e)}))


def is_inside(scope: Scope, e: Expr, size: Expr) -> bool:
    """Whether sizes and declared ranges prove ``0 <= e < size``."""
    return in_range(known(scope, e), size)


def inside_conditions(e: Expr, size: Expr, scope: Scope) -> list[Any]:
    """Conditions that say ``0 <= e < size``, where sizes and declared ranges do not prove it."""
    found, size = bounds(known(scope, e)), scope.known(size)
    out = []
    if found is None or not nonnegative(found[0]):
        out.append(sympy.Ge(e, 0, evaluate=False))
    if found is None or not nonnegative(expand(size - 1 - found[1])):
        out.append(sympy.Lt(e, size, evaluate=False))
    return out
