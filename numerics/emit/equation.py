"""One equation as one value: its terms are planned, grouped and added.

Terms of one kind are written together: pointwise terms as one broadcast sum, plain sums over the same indices as one
reduction (``(lse - z[b, label]).mean()``), contractions one by one, scatters last, onto what is there.
"""

from __future__ import annotations

from dataclasses import replace

import sympy
from sympy import Integer, Mul

from derive.language.index import Index, same_size
from derive.language.nodes import Iverson
from derive.program.program import Equation
from numerics.plan import Plan, common_coefficient, common_factors, labels, opened, solved

from . import (
    affine,
    contraction,
    convolution,
    matrices,
    pointwise,
    reshape,
    rows,
    scatter,
    stacking,
    symmetric,
    windows,
)
from .scope import Scope
from .value import Val, align, full, union


def value(scope: Scope, e: Equation) -> Val:
    """The array of a plain or reduced equation, with axes ``e.idx`` and the tensor's dtype."""
    order, scope.whole = tuple(e.idx) + tuple(e.over), e.tensor.dtype == "int"
    if e.name in scope.forms:
        return finished(scope, affine.value(scope, scope.forms[e.name], order), e)
    if e.reduce in matrices.EMISSIONS:
        order = tuple(i for i in order if i not in matrices.split_at(e.reduce, e.idx)[1])
    with scope.assuming([g.condition for g in e.guards]):
        v = plain(scope, e.terms, order)
    if e.reduce in matrices.EMISSIONS:
        return matrices.value(scope, e, v)
    if e.reduce:
        v = _reduced(scope, e, v, order)
    return finished(scope, v, e)


def finished(scope: Scope, v: Val, e: Equation) -> Val:
    """Broadcast to the equation's shape and cast to its dtype."""
    if e.tensor.dtype == "float" and v.kind != "float":
        if v.kind in ("num", "weak") and not v.axes:
            v = Val(f"jnp.asarray({v.src}, {scope.dtype})") if not e.idx else v
        else:
            v = Val(f"{v.atom}.astype({scope.dtype})", axes=v.axes)
    if set(v.axes) == set(e.idx):
        return full(v, e.idx, "", "")
    return full(v, e.idx, scope.shape(e.idx), scope.dtype if v.kind != "float" and e.tensor.dtype == "float" else "")


def _reduced(scope: Scope, e: Equation, v: Val, order) -> Val:
    """Max or argmax over the positions that the guards admit."""
    method = {"max": "max", "argmax": "argmax"}[e.reduce]
    v = pointwise.as_float(scope, v) if e.guards or v.kind == "bool" else v
    test = pointwise.conjunction(scope, [g.condition for g in e.guards], order) if e.guards else None
    if test is not None:
        v = pointwise.where(scope, test, v, Val("-jnp.inf", 80, (), "num"), order)
    missing = [i for i in e.over if i not in v.axes]
    if missing:
        target = union([v, *(Val("", axes=(i,)) for i in missing)], order)
        v = Val(f"jnp.broadcast_to({align(v, target).src}, {scope.shape(target)})", axes=target, kind=v.kind)
    v = contraction.reduce(v, method, e.over)
    return Val(v.src, v.prec, v.axes, "int") if method == "argmax" else v


def plain(scope: Scope, terms, order) -> Val:
    """The sum of planned terms."""
    plans = [_planned(scope, t, order) for t in terms]
    plans = [p for p in plans if p.coef != 0]
    return _together(scope, plans, order) if plans else Val("0", kind="num")


def _together(scope: Scope, plans: list[Plan], order) -> Val:
    stacked = stacking.value(scope, plans, order, _together)
    if stacked is not None:
        return stacked
    tied = symmetric.diagonal(scope, plans, order, _together)
    if tied is not None:
        return tied
    plans = symmetric.stacked(scope, symmetric.pairs(scope, plans, order), order)
    groups = _groups(plans)
    if len(groups) == 1 and groups[0][0] == "sum":
        return _sum_group(scope, groups[0][1], order)
    shared = common_coefficient(plans)
    for p in plans:
        p.coef = sympy.cancel(p.coef / shared) if shared != 1 else p.coef
    outer = common_factors(plans) if all(kind == "pointwise" for kind, _ in groups) else []
    for p in plans:
        for f in outer:
            p.fac.remove(f)
    total = _added(scope, groups, order)
    if shared != 1 or outer:
        return pointwise.plain_product(scope, [shared, *outer], order, first=total)
    return total


def _planned(scope: Scope, term, order) -> Plan:
    """A term with its pools, windows and reshapes recognised, else with its rows solved."""
    p = opened(term)
    p.conditions = [c for c in p.conditions if not _one_place(scope, c)]
    if scope.pools is not None and term.rows:
        p.value = scope.pools.gradient(scope, term, order, plain)
        if p.value is not None:
            p.coef = Integer(1)  # what multiplies the outer gradient is in it already
            return p
    if _in_windows(scope, p, order):
        return p
    p.folds = reshape.folded_rows(p, order, scope)
    if not p.folds:
        return solved(p, order, scope)
    unfolded = _digits(p, order)
    p.bnd = [b for b in p.bnd if b not in unfolded]
    return p if _in_windows(scope, p, unfolded) else solved(p, unfolded, scope)


def _one_place(scope: Scope, c) -> bool:
    """``m = 0`` where m takes no other value."""
    return isinstance(c, sympy.Eq) and c.rhs == 0 and isinstance(c.lhs, Index) and scope.known(c.lhs.size) == 1


def _in_windows(scope: Scope, p: Plan, order) -> bool:
    found = windows.find(p, order, scope)
    p.value = convolution.value(scope, found, order) if found is not None else None
    return p.value is not None


def _digits(p: Plan, order) -> tuple:
    return tuple(i for label in order for i in p.folds.get(label, (label,)))


def _groups(plans: list[Plan]):
    """``(kind, plans)`` in the order of first appearance."""
    groups: list = []
    for p in plans:
        if p.folds:
            groups.append(("fold", [p]))
        elif p.value is not None:
            groups.append(("windows", [p]))
        elif p.scatter:
            _join(groups, "scatter", p, _same_positions)
        elif not p.bnd:
            _join(groups, "pointwise", p, lambda q, p: True)
        elif contraction.arrange(p).is_sum:
            _join(groups, "sum", p, _alike)
        else:
            groups.append(("contract", [p]))
    return sorted(groups, key=lambda g: ("windows", "fold", "contract", "sum", "pointwise", "scatter").index(g[0]))


def _join(groups, kind, p, fits):
    for found, members in groups:
        if found == kind and fits(members[0], p):
            members.append(p)
            return
    groups.append((kind, [p]))


def _same_positions(first: Plan, p: Plan) -> bool:
    """Whether two scatters write at the same positions; then ``p`` takes the first's names."""
    mapping = {b: next((a for a in first.bnd if a.name == b.name and same_size(a.size, b.size)), None) for b in p.bnd}
    if None in mapping.values() or len(set(mapping.values())) != len(first.bnd):
        return False
    grid = {i for e in first.scatter.values() for i in labels(e)}
    if {k: e.xreplace(mapping) for k, e in p.scatter.items()} != first.scatter or not set(first.bnd) <= grid:
        return False
    p.bnd = [mapping[b] for b in p.bnd]
    p.xreplace(mapping)
    return True


def _alike(first: Plan, p: Plan) -> bool:
    """Whether two plain sums run over the same ranges and hold the same indices; then ``p`` takes the first's names."""
    if len(first.bnd) != len(p.bnd) or not sympy.cancel(p.coef / first.coef).is_Rational:
        return False
    mapping, left = {}, list(first.bnd)
    for b in p.bnd:
        twin = next(
            (a for a in left if a.name == b.name and same_size(a.size, b.size)),
            next((a for a in left if same_size(a.size, b.size)), None),
        )
        if twin is None:
            return False
        left.remove(twin)
        mapping[b] = twin
    a, b = contraction.arrange(first), contraction.arrange(p)
    if a.operands[0].labels != {mapping.get(i, i) for i in b.operands[0].labels}:
        return False
    p.bnd = [mapping[b] for b in p.bnd]
    p.xreplace(mapping)
    return True


def _added(scope: Scope, groups, order) -> Val:
    addends, late = [], []
    for kind, plans in groups:
        if kind == "pointwise":
            addends += _pointwise(scope, plans, order)
        elif kind == "sum":
            addends.append((1, _sum_group(scope, plans, order)))
        elif kind == "contract":
            addends.append(_contracted(scope, plans[0], order))
        elif kind == "windows":
            addends.append(_scaled(scope, plans[0], plans[0].value, order))
        elif kind == "fold":
            addends.append((1, _folded(scope, plans[0], order)))
        else:
            late.append(plans)
    total = pointwise.add(scope, addends, order) if addends else None
    for plans in late:
        total = scatter.scattered(scope, plans, total, order)
    return total


def _pointwise(scope: Scope, plans: list[Plan], order) -> list:
    """``2*h - 2*y`` as ``2 * (h - y)``: a coefficient that all share is written once."""
    shared = plans[0].coef if len(plans) > 1 and len({abs(p.coef) for p in plans}) == 1 else Integer(1)
    shared = abs(shared) if shared.is_Rational else Integer(1)
    pairs = [_signed(p.coef / shared, [*p.fac, *(Iverson(c) for c in p.conditions)]) for p in plans]
    return (
        pairs
        if shared == 1
        else [(1, pointwise.plain_product(scope, [shared], order, first=pointwise.add(scope, pairs, order)))]
    )


def _signed(coef, fac):
    minus = coef.could_extract_minus_sign()
    coef = -coef if minus else coef
    return (-1 if minus else 1), tuple(([] if coef == 1 and fac else list(Mul.make_args(coef))) + list(fac))


def _contracted(scope: Scope, p: Plan, order):
    """``(sign, value)`` of one contraction, its outside factors and coefficient applied to the result."""
    c = contraction.arrange(p)
    out = [i for i in order if i not in p.bnd]
    v = symmetric.gram(scope, c, [i for i in out if any(i in o.labels for o in c.operands)])
    v = contraction.contract(scope, c, out) if v is None else v
    sign, fac = _signed(p.coef, c.outside.fac)
    if fac and fac != (Integer(1),):
        v = pointwise.plain_product(scope, fac, order, first=v)
    if c.outside.conditions:
        v = pointwise.masked(scope, c.outside.conditions, v, order)
    return sign, v


def _scaled(scope: Scope, p: Plan, v: Val, order):
    """``(sign, value)`` of a value times the plan's coefficient."""
    sign, fac = _signed(p.coef, [])
    return sign, pointwise.plain_product(scope, fac, order, first=v) if fac != (Integer(1),) else v


def _folded(scope: Scope, p: Plan, order) -> Val:
    """The value over the digits, reshaped to the indices that they number."""
    folds, p.folds = p.folds, {}
    unfolded = _digits(replace(p, folds=folds), order)
    v = pointwise.as_float(scope, _together(scope, [p], unfolded))
    kept = [i for i in order if i in folds or i in v.axes]
    digits = [d for i in kept for d in folds.get(i, (i,))]
    v = full(v, digits, scope.shape(digits), scope.dtype if v.kind != "float" else "")
    return Val(f"{v.atom}.reshape{scope.shape(kept)}", axes=tuple(kept))


def _sum_group(scope: Scope, plans: list[Plan], order) -> Val:
    """Several plain sums over the same indices as one reduction; ``1/B`` over an axis of size B is a mean."""
    first = plans[0]
    bnd, coef = tuple(first.bnd), first.coef
    outer = _common_outside(plans)
    scale = -coef if coef.could_extract_minus_sign() and len(plans) > 1 else coef
    minus = scale.could_extract_minus_sign()
    scale = -scale if minus else scale
    addends = []
    for p in plans:
        fac = [f for f in p.fac if f not in outer]
        ratio = sympy.cancel(p.coef / scale) if not minus else sympy.cancel(-p.coef / scale)
        addends.append(_signed(ratio, [*fac, *(Iverson(c) for c in p.conditions)]))
    inner = contraction.natural_order([f for p in plans for f in p.fac], tuple(order) + bnd)
    v = pointwise.as_float(scope, pointwise.add(scope, addends, inner))
    count = Mul(*(b.size for b in bnd))
    factors = [f for p in plans for f in p.fac]
    product = rows.row_sum(scope, v, bnd, factors) or rows.total(scope, v, bnd, factors)
    if product is not None:
        v = product
    elif sympy.expand(scale * count) == 1:
        v, scale = contraction.reduce(v, "mean", bnd), Integer(1)
    else:
        v = contraction.reduce(v, "sum", bnd)
    if scale != 1 or outer:
        v = pointwise.plain_product(scope, [scale, *outer], order, first=v)
    return pointwise.negate(v) if minus else v


def _common_outside(plans: list[Plan]) -> list:
    """Factors without a bound index that every plan holds; they multiply the result of the sum."""
    found = contraction.arrange(plans[0]).outside.fac
    return [f for f in found if all(f in p.fac for p in plans)]
