"""Blocks of a Hessian that are symmetric: half of their products are another's mirror image.

    sum_b s[b] x[b,i] x[b,i']                                       gram(x, s)
    [k = k'] sum_b x[b,i] x[b,i'] p[b,k]
      - sum_b x[b,i] x[b,i'] p[b,k] p[b,k']                         class_pairs(x, weights of (b, k, k'))
    d[k] ([k = k'] - d[k'])                                         (-(d[:, None] * d)).at[k, k].add(d)
    f[b,k,k'] [b = b']                                              jnp.where(b' == b, f[:, :, None], 0), f made once
    sum_b h[b,i] e[b,k] + sum_b g[b,i] f[b,k]                       products((h, e), (g, f))

The equation stays as derived; only how it is computed changes, and only where sizes and backend say that it pays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import sympy
from sympy import Add, Expr, Integer, Mul

from derive.language.index import Index, same_size
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from numerics.emit.source.choose import choose
from numerics.emit.source.code import Code, Constant, Name, Tuple, call, updated
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, align, full
from numerics.emit.terms import pointwise
from numerics.emit.terms.arithmetic import ZERO, Order, as_float, where
from numerics.emit.terms.contraction import Contraction, arrange
from numerics.emit.terms.plan import Plan, Together, common_coefficient, flat
from numerics.emit.terms.positions import labels

from .groups import signed

SMALL = 64  # columns below which a Gram matrix is one plain product


def _is_plain(p: Plan) -> bool:
    return not p.scatter and not p.folds and p.value is None


# -- a Gram matrix ------------------------------------------------------------------------------------------------


def gram(scope: Scope, c: Contraction, out: Sequence[Index]) -> Val | None:
    """``sum_b w[b] x[b,i] x[b,j]``, if that is what a contraction says.

    Why it has a function: ``x.T @ (w * x)`` computes both triangles.  Strips of columns meet only what stands to their
    right, which halves the work as long as a strip is wide enough to be a fast product, hence ``SMALL``.  The weights may
    hold b alone: one that holds i or j would be another matrix on one side, and the product no mirror image of itself.
    """
    if len(out) != 2 or len(c.bnd) != 1 or any(o.conditions for o in c.operands):
        return None
    (i, j), b, fac = out, c.bnd[0], [f for o in c.operands for f in o.fac]
    size = scope.known(i.size)
    split = _mirrored(fac, i, j, b)
    if split is None or not same_size(size, scope.known(j.size)) or (size.is_Integer and size < SMALL):
        return None
    x, weights = split
    if any(labels(f) != {b} for f in weights) or choose(scope, "gram") == "plain":
        return None
    given = [align(pointwise.product(scope, x, (b, i)), (b, i)).node]
    given += [as_float(scope, pointwise.product(scope, weights, (b,))).node] if weights else []
    return Val(call(scope.helper("gram"), *given), (i, j))


def _mirrored(fac: Sequence[Expr], i: Index, j: Index, b: Index) -> tuple[list[Expr], list[Expr]] | None:
    """``(x, rest)`` of factors ``x[b,i] x[b,j] rest``, the rest without i and j."""
    with_i, with_j = ([f for f in fac if a in labels(f)] for a in (i, j))
    if not with_i or any(labels(f) != {b, i} for f in with_i):
        return None
    if Counter(f.xreplace({i: j}) for f in with_i) != Counter(with_j):
        return None
    return with_i, [f for f in fac if f not in with_i and f not in with_j]


# -- class pairs --------------------------------------------------------------------------------------------------


def pairs(scope: Scope, plans: list[Plan], order: Order, together: Together) -> list[Plan]:
    """The plans, those that make one block over class pairs replaced by a plan that holds its value."""
    order, half = tuple(order), len(order) // 2
    if len(order) != 4 or not all(same_size(a.size, c.size) for a, c in zip(order[:2], order[2:], strict=True)):
        return plans
    for n in (0, 1):
        i, k, j, l = order[n], order[1 - n], order[half + n], order[half + 1 - n]
        found = _over_classes(plans, i, j, {k, l})
        if found is not None and _symmetric(found[2], k, l) and choose(scope, "class-pairs") == "pairs":
            made = Plan(Integer(1), [], [], [], value=_of_pairs(scope, found, i, k, j, l))
            return [made, *(p for p in plans if p not in found[0])]
    return plans


def _of_pairs(scope: Scope, found: OverClasses, i: Index, k: Index, j: Index, l: Index) -> Val:
    _, b, weighted, x = found
    shared, grid = common_coefficient([Plan(p.coef, [], [], []) for p in weighted]), (b, k, l)
    addends = [signed(p.coef / shared, [*p.fac, *(Iverson(c) for c in p.conditions)]) for p in weighted]
    w = pointwise.add(scope, addends, grid)
    w = w if shared == 1 else pointwise.plain_product(scope, [shared], grid, first=w)
    w = full(as_float(scope, w), grid, scope.shape)
    w = scope.share(("weights", scope.number), ("weights", "pair_weights"), w)
    array = align(pointwise.product(scope, x, (b, i)), (b, i))
    return Val(call(scope.helper("class_pairs"), array.node, w.node), (i, k, j, l))


# the plans used, the index summed over, the weights of each plan, and the factors of the matrix
OverClasses = tuple[list[Plan], Index, list[Plan], list[Expr]]


def _over_classes(plans: list[Plan], i: Index, j: Index, classes: set[Index]) -> OverClasses | None:
    """``(plans used, b, their weights, x)`` of the sums ``x[b,i] x[b,j] weight[b,k,l]`` of one matrix x.

    None unless a diagonal and a product over classes meet: one of them alone has a plainer form.
    """
    used: list[Plan] = []
    weighted: list[Plan] = []
    first: Index | None = None
    matrix: list[Expr] | None = None
    for p in plans:
        if len(p.bnd) != 1 or not _is_plain(p) or any(labels(c) & {i, j} for c in p.conditions):
            continue
        b = first or p.bnd[0]
        if not same_size(b.size, p.bnd[0].size):
            continue
        moved = {p.bnd[0]: b}
        split = _mirrored([f.xreplace(moved) for f in p.fac], i, j, b)
        if split is None or (matrix is not None and Counter(split[0]) != Counter(matrix)):
            continue
        first, matrix = b, split[0]
        used.append(p)
        weighted.append(Plan(p.coef, split[1], [c.xreplace(moved) for c in p.conditions], []))
    if first is None or matrix is None or len(used) < 2:
        return None
    if not any({s for f in p.fac for s in labels(f)} >= {first, *classes} for p in weighted):
        return None
    return used, first, weighted, matrix


def _symmetric(plans: list[Plan], k: Index, l: Index) -> bool:
    """Whether the sum of the weights stays the same when k and l change places.

    The plans are compared as a bag, each before and after the exchange: a sum is symmetric also where no term of it is,
    ``p[k] q[l] + p[l] q[k]``.  On the diagonal k and l are one number, so there every l is read as k first; otherwise
    ``[k = l] p[k]`` and ``[k = l] p[l]`` would count as different.  What is not recognised is computed in full, never wrong.
    """
    swap = {k: l, l: k}

    def form(p: Plan, moved: dict[Index, Index]) -> tuple[Any, ...]:
        if any(_ties(c, k, l) for c in p.conditions):  # on the diagonal both are one
            moved = {l: k}
        conditions = [c.xreplace(moved) for c in p.conditions if not _ties(c, k, l)]
        return (
            p.coef,
            frozenset(Counter(f.xreplace(moved) for f in p.fac).items()),
            frozenset(conditions),
            len(conditions) < len(p.conditions),
        )

    return Counter(form(p, {}) for p in plans) == Counter(form(p, swap) for p in plans)


# -- what brackets between axes tie -----------------------------------------------------------------------------------


def diagonal(scope: Scope, plans: list[Plan], order: Order, together: Together) -> Val | None:
    """The sum of terms that brackets tie to a diagonal, if there are."""
    made = _blocks(scope, plans, order, together)
    return _on_diagonal(scope, plans, order, together) if made is None else made


def _on_diagonal(scope: Scope, plans: list[Plan], order: Order, together: Together) -> Val | None:
    """A full matrix and a diagonal as one matrix with numbers added along its diagonal, not as a mask over all of it.

    A mask would read, compare and write K x K numbers for the K that differ.  It needs something dense to add onto: a
    diagonal alone is a mask already as short as can be.

    The matrix is over the last two axes; those before are a batch.
    """
    order = tuple(order)
    if not 2 <= len(order) <= 3 or not same_size(order[-1].size, order[-2].size):
        return None
    *batch, k, l = order
    spread = [q for p in plans for q in _spread(p, k, l)]
    hot = [p for p in spread if any(_ties(c, k, l) for c in p.conditions)]
    dense = [p for p in spread if p not in hot]
    if not hot or any(p.scatter or p.folds for p in spread) or not _fills(dense, {*order}):
        return None
    if choose(scope, "diagonal") == "mask":
        return None
    total = as_float(scope, full(together(scope, dense, order), order, scope.shape))
    for p in hot:
        p.conditions = [c for c in p.conditions if not _ties(c, k, l)]
        p.xreplace({l: k})
    amount = align(together(scope, hot, order[:-1]), order[:-1])
    at: list[Code] = [*([Constant(...)] if batch else []), *[scope.place(k).node] * 2]
    return Val(updated(total.node, tuple(at), amount.node), order)


def _blocks(scope: Scope, plans: list[Plan], order: Order, together: Together) -> Val | None:
    """``[b = b'] f`` in every term: f is computed with b alone, and stands in the blocks of a diagonal."""
    order = tuple(order)
    pair = next(
        (
            (k, l)
            for n, k in enumerate(order)
            for l in order[n + 1 :]
            if len(order) > 3 and all(_is_plain(p) and any(_ties(c, k, l) for c in p.conditions) for p in plans)
        ),
        None,
    )
    if pair is None:
        return None
    k, l = pair
    for p in plans:
        p.conditions = [c for c in p.conditions if not _ties(c, k, l)]
        p.xreplace({l: k})
    inner = together(scope, plans, tuple(i for i in order if i != l))
    if not isinstance(inner.node, Name):
        inner = scope.share(("block", scope.number), ("block", "blocks"), inner)
    test = pointwise.condition(scope, sympy.Eq(l, k, evaluate=False), order)
    return where(test, inner, ZERO, order)


def _ties(c: Any, k: Index, l: Index) -> bool:
    return isinstance(c, sympy.Eq) and {*c.args} == {k, l}


def _fills(plans: list[Plan], both: set[Index]) -> bool:
    return bool({s for p in plans for e in (*p.fac, *p.conditions) for s in labels(e)} >= both) or any(
        p.value is not None and {*p.value.axes} >= both for p in plans
    )


def _spread(p: Plan, k: Index, l: Index) -> list[Plan]:
    """``d[k] ([k = l] - d[l])`` as two plans; others stay one."""
    sums = [
        f
        for f in p.fac
        if isinstance(f, Add)
        and any(isinstance(a, Iverson) and _ties(a.condition, k, l) for term in f.args for a in Mul.make_args(term))
    ]
    if len(sums) != 1 or not _is_plain(p):
        return [replace(p, fac=list(p.fac), conditions=list(p.conditions))]
    rest = [f for f in p.fac if f is not sums[0]]
    out: list[Plan] = []
    for a in sums[0].args:
        q = Plan(p.coef, [*rest, *flat(a)], list(p.conditions), list(p.bnd))
        q.clean()
        out.append(q)
    return out


# -- several products of one shape ----------------------------------------------------------------------------------


def stacked(scope: Scope, plans: list[Plan], order: Order, together: Together) -> list[Plan]:
    """The plans, products ``sum_b a[b,i] c[b,k]`` of one sign and shape replaced by a plan that holds their sum."""
    order = tuple(order)
    found = [(p, pair) for p in plans if (pair := _pair(scope, p, order)) is not None]
    if len(found) < 2 or len({p.coef for p, _ in found}) > 1 or choose(scope, "products") == "plain":
        return plans
    shown = (Tuple((a.node, c.node)) for _, (a, c) in found)
    value = Val(call(scope.helper("products"), *shown), order)
    used = [p for p, _ in found]
    return [Plan(used[0].coef, [], [], [], value=value), *(p for p in plans if p not in used)]


def _pair(scope: Scope, p: Plan, order: Order) -> tuple[Val, Val] | None:
    """The two operands of a term that is a plain product of two named matrices, rows summed over."""
    if len(order) != 2 or len(p.bnd) != 1 or not _is_plain(p) or p.conditions or len(p.fac) != 2:
        return None
    c = arrange(p)
    if len(c.operands) != 2 or c.outside.fac or any(o.conditions for o in c.operands):
        return None
    pair: list[Val] = []
    for i in order:
        fac = next((f for f in p.fac if isinstance(f, Read) and f.idx == (p.bnd[0], i)), None)
        v = pointwise.product(scope, [fac], fac.idx) if fac is not None else None
        if fac is None or v is None or v.axes != fac.idx or not isinstance(v.node, Name):
            return None
        pair.append(v)
    return pair[0], pair[1]
