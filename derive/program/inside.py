"""What a condition keeps inside: ``{x[m] if m < M; y[m-M] otherwise}`` never reads x beyond its end."""

from __future__ import annotations

import sympy
from sympy import Basic, Expr, Mul, Piecewise

from derive.language import affine
from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read


def is_below(e: Basic, r: Read, i: Index, size: Expr) -> bool:
    """Whether ``r`` stands in an expression only where a condition says that ``i < size``."""
    if e == r:
        return False
    if isinstance(e, Piecewise):
        before: list[Basic] = []
        for value, condition in e.args:
            known = (condition, *(sympy.Not(c) for c in before))
            if not (any(_says_below(c, i, size) for c in known) or is_below(value, r, i, size)):
                return False
            if not is_below(condition, r, i, size):
                return False
            before.append(condition)
        return True
    if isinstance(e, Mul) and any(isinstance(f, Iverson) and _says_below(f.condition, i, size) for f in e.args):
        return True
    return all(is_below(a, r, i, size) for a in e.args)


def _says_below(c: Basic, i: Index, size: Expr) -> bool:
    if isinstance(c, sympy.And):
        return any(_says_below(a, i, size) for a in c.args)
    if isinstance(c, sympy.Gt | sympy.Ge):
        c = c.reversed
    if not isinstance(c, sympy.Lt | sympy.Le) or c.lhs != i or not affine.sizes_only(c.rhs):
        return False
    return affine.nonnegative(size - c.rhs - int(isinstance(c, sympy.Le)))
