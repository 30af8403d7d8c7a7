"""Mixed-radix positions: ``(u*V + v)*C + c`` over full ranges is a reshape, in a read and in a row.

W[(u*V + v)*C + c, k]                          W.reshape(U, V, C, K)     with axes (u, v, c, k)
sum_{u,v,c} h[b,u,v,c] [(u*V + v)*C + c = f]   h.reshape(B, F)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sympy import Expr, Integer, expand

from derive.language.affine import parts
from derive.language.index import Index, same_size
from derive.language.tensor import Read, Tensor
from numerics.emit.source.code import Code, Name, method
from numerics.emit.source.scope import Scope

from .arithmetic import Order
from .plan import Plan


def digits(scope: Scope, e: Expr, size: Expr) -> tuple[Index, ...] | None:
    """The indices, most significant first, whose mixed-radix number ``e`` is, if it takes all values below ``size``."""
    if isinstance(e, Index) or e.has(Read):
        return None
    split = parts(e)
    if split is None or expand(split[1]) != 0 or len(split[0]) < 2:
        return None
    if not all(isinstance(label, Index) for label in split[0]):
        return None
    return _digits(split[0], size, lambda n: n) or _digits(split[0], size, scope.known)


def _digits(coefs: dict[Index, Expr], size: Expr, known: Callable[[Expr], Expr]) -> tuple[Index, ...] | None:
    left, weight = dict(coefs), Integer(1)
    found: list[Index] = []
    while left:
        label = next((i for i, coef in left.items() if same_size(known(coef), weight)), None)
        if label is None:  # one place only: it may stand anywhere
            label = next((i for i in left if known(i.size) == 1), None)
        if label is None:
            return None
        del left[label]
        found.insert(0, label)
        weight = expand(weight * known(label.size))
    return tuple(found) if same_size(weight, known(size)) else None


def unfolded(scope: Scope, r: Read) -> tuple[Code, Read] | None:
    """``(array, read)`` of a read with mixed-radix axes: the array reshaped, every digit an axis of its own."""
    found = [digits(scope, e, a) for e, a in zip(r.idx, r.tensor.axes, strict=True)]
    if not any(found):
        return None
    idx: list[Expr] = []
    axes: list[Expr] = []
    for e, a, several in zip(r.idx, r.tensor.axes, found, strict=True):
        idx += several or (e,)
        axes += [i.size for i in several] if several else [a]
    t = r.tensor
    wide = Tensor(t.name, tuple(axes), tuple(idx), t.dtype, t.below, t.role, digest=f"{t.digest}:wide")
    return method(Name(scope.arrays[t.name]), "reshape", *scope.shape(axes).items), Read(wide, *idx)


def folded_rows(p: Plan, idx: Order, scope: Scope) -> dict[Index, tuple[Index, ...]]:
    """``{free index: its digits}`` of the rows of a plan that write a full range; these rows are taken out."""
    folds: dict[Index, tuple[Index, ...]] = {}
    for c in list(p.conditions):
        if getattr(c, "rel_op", "") != "==":
            continue
        for f, e in ((c.lhs, c.rhs), (c.rhs, c.lhs)):
            several = digits(scope, e, f.size) if isinstance(f, Index) and f in idx and f not in folds else None
            taken = {i for many in folds.values() for i in many}
            if several and set(several) <= set(p.bnd) - taken and not _reads(p, f, c):
                p.conditions.remove(c)
                folds[f] = several
                break
    return folds


def _reads(p: Plan, f: Index, row: Any) -> bool:
    return any(f in e.free_symbols for e in (*p.fac, *(c for c in p.conditions if c is not row)))
