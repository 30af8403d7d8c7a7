"""How planned terms are written: which belong together in one line, and that line."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import sympy
from sympy import Expr, Integer, Mul

from derive.language.index import Index, same_size
from derive.language.nodes import Iverson
from numerics.emit.source.code import method
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, full
from numerics.emit.terms import contraction, pointwise, scatter
from numerics.emit.terms.arithmetic import Order, as_float, negate, reduce
from numerics.emit.terms.contraction import Contraction
from numerics.emit.terms.plan import Plan, Together, digits_of
from numerics.emit.terms.pointwise import Addend
from numerics.emit.terms.positions import labels

# one contraction or one sum over axes, or None where the form is another
ContractionWay = Callable[[Scope, Contraction, Sequence[Index]], Val | None]
SumWay = Callable[[Scope, Val, Sequence[Index], Sequence[Expr]], Val | None]


def signed(coef: Expr, fac: Sequence[Expr]) -> tuple[int, tuple[Expr, ...]]:
    """``(sign, factors)`` of a coefficient and what it multiplies."""
    minus = coef.could_extract_minus_sign()
    coef = -coef if minus else coef
    return (-1 if minus else 1), (*(() if coef == 1 and fac else Mul.make_args(coef)), *fac)


def alone(first: Plan, p: Plan) -> bool:
    """A form that is written one by one."""
    return False


def always(first: Plan, p: Plan) -> bool:
    """A form whose terms all go into one line."""
    return True


# -- what a pattern has given the value of --------------------------------------------------------------------------


def is_given(p: Plan) -> bool:
    return p.value is not None and not p.folds


def given(scope: Scope, plans: list[Plan], order: Order, together: Together) -> list[Addend]:
    """The value times the plan's coefficient."""
    (p,) = plans
    assert p.value is not None
    sign, fac = signed(p.coef, ())
    scaled = fac != (Integer(1),)
    return [(sign, pointwise.plain_product(scope, fac, order, first=p.value) if scaled else p.value)]


# -- reshapes -------------------------------------------------------------------------------------------------------


def is_folded(p: Plan) -> bool:
    return bool(p.folds)


def folded(scope: Scope, plans: list[Plan], order: Order, together: Together) -> list[Addend]:
    """The value over the digits, reshaped to the indices that they number."""
    (p,) = plans
    unfolded, folds = digits_of(p, order), p.folds
    v = as_float(scope, together(scope, [replace(p, folds={})], unfolded))
    kept = [i for i in order if i in folds or i in v.axes]
    digits = [d for i in kept for d in folds.get(i, (i,))]
    v = full(v, digits, scope.shape, scope.dtype if v.kind != "float" else None)
    return [(1, Val(method(v.node, "reshape", *scope.shape(kept).items), tuple(kept)))]


# -- sums of products -----------------------------------------------------------------------------------------------


def is_product(p: Plan) -> bool:
    return bool(p.bnd) and not p.scatter and not contraction.arrange(p).is_sum


def contracted(
    scope: Scope, plans: list[Plan], order: Order, together: Together, ways: Sequence[ContractionWay]
) -> list[Addend]:
    """One contraction, its outside factors and coefficient applied to the result."""
    (p,) = plans
    c = contraction.arrange(p)
    out = [i for i in order if i not in p.bnd]
    held = [i for i in out if any(i in o.labels for o in c.operands)]
    v = next((v for way in ways if (v := way(scope, c, held)) is not None), None)
    v = contraction.contract(scope, c, out) if v is None else v
    sign, fac = signed(p.coef, c.outside.fac)
    if fac and fac != (Integer(1),):
        v = pointwise.plain_product(scope, fac, order, first=v)
    if c.outside.conditions:
        v = pointwise.masked(scope, c.outside.conditions, v, order)
    return [(sign, v)]


# -- plain sums -----------------------------------------------------------------------------------------------------


def is_sum(p: Plan) -> bool:
    return bool(p.bnd) and not p.scatter and contraction.arrange(p).is_sum


def alike(first: Plan, p: Plan) -> bool:
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
    theirs, own = (contraction.arrange(q).operands[0].labels for q in (first, p))
    if theirs != {mapping.get(i, i) for i in own}:
        return False
    p.bnd = [mapping[b] for b in p.bnd]
    p.xreplace(mapping)
    return True


def summed(scope: Scope, plans: list[Plan], order: Order, together: Together, ways: Sequence[SumWay]) -> list[Addend]:
    """Several plain sums over the same indices as one reduction; ``1/B`` over an axis of size B is a mean."""
    first = plans[0]
    bnd, coef = tuple(first.bnd), first.coef
    outer = _common_outside(plans)
    scale = -coef if coef.could_extract_minus_sign() and len(plans) > 1 else coef
    minus = scale.could_extract_minus_sign()
    scale = -scale if minus else scale
    addends: list[Addend] = []
    for p in plans:
        fac = [f for f in p.fac if f not in outer]
        ratio = sympy.cancel(p.coef / scale) if not minus else sympy.cancel(-p.coef / scale)
        addends.append(signed(ratio, [*fac, *(Iverson(c) for c in p.conditions)]))
    factors = [f for p in plans for f in p.fac]
    inner = contraction.natural_order(factors, tuple(order) + bnd)
    v = as_float(scope, pointwise.add(scope, addends, inner))
    product = next((made for way in ways if (made := way(scope, v, bnd, factors)) is not None), None)
    if product is None and len(plans) == 1 and not outer and not first.conditions:
        product = contraction.turned_inner_product(scope, factors, bnd, order)
    if product is not None:
        v = product
    elif sympy.expand(scale * Mul(*(b.size for b in bnd))) == 1:
        v, scale = reduce(v, "mean", bnd), Integer(1)
    else:
        v = reduce(v, "sum", bnd)
    if scale != 1 or outer:
        v = pointwise.plain_product(scope, [scale, *outer], order, first=v)
    return [(1, negate(v) if minus else v)]


def _common_outside(plans: list[Plan]) -> list[Expr]:
    """Factors without a bound index that every plan holds; they multiply the result of the sum."""
    found = contraction.arrange(plans[0]).outside.fac
    return [f for f in found if all(f in p.fac for p in plans)]


# -- elementwise ----------------------------------------------------------------------------------------------------


def is_pointwise(p: Plan) -> bool:
    return not p.bnd and not p.scatter


def is_one_place(p: Plan) -> bool:
    """Whether a term is added to one element of each row; a number that all terms share then is not taken out of their sum.

    ``(p / s - [k = label]) / B`` would go over the array once more, after the element was added.
    """
    return is_pointwise(p) and pointwise.one_hot((*p.fac, *(Iverson(c) for c in p.conditions))) is not None


def pointwise_sum(scope: Scope, plans: list[Plan], order: Order, together: Together) -> list[Addend]:
    """``2*h - 2*y`` as ``2 * (h - y)``: a coefficient that all share is written once."""
    shared = plans[0].coef if len(plans) > 1 and len({abs(p.coef) for p in plans}) == 1 else Integer(1)
    shared = abs(shared) if shared.is_Rational and not any(map(is_one_place, plans)) else Integer(1)
    each = [signed(p.coef / shared, [*p.fac, *(Iverson(c) for c in p.conditions)]) for p in plans]
    pairs = pointwise.rounded(scope, each, order)
    if shared == 1:
        return pairs
    return [(1, pointwise.plain_product(scope, [shared], order, first=pointwise.add(scope, pairs, order)))]


# -- scatters -------------------------------------------------------------------------------------------------------


def is_scattered(p: Plan) -> bool:
    return bool(p.scatter)


def same_positions(first: Plan, p: Plan) -> bool:
    """Whether two scatters write at the same positions; then ``p`` takes the first's names."""
    grid = {i for e in first.scatter.values() for i in labels(e)}
    own, theirs = [b for b in first.bnd if b in grid], {i for e in p.scatter.values() for i in labels(e)}
    places = [b for b in p.bnd if b in theirs]
    twins = {b: next((a for a in own if a.name == b.name and same_size(a.size, b.size)), None) for b in places}
    mapping = {b: a for b, a in twins.items() if a is not None}
    if len(mapping) < len(twins) or len(set(mapping.values())) != len(own):
        return False
    inner = [b for b in p.bnd if b not in places]
    if {k: e.xreplace(mapping) for k, e in p.scatter.items()} != first.scatter or set(inner) & set(own):
        return False
    p.bnd = [mapping.get(b, b) for b in p.bnd]
    p.xreplace(mapping)
    return True


def scattered(scope: Scope, plans: list[Plan], total: Val | None, order: Order) -> Val:
    """What is there, with these terms added at their positions."""
    return scatter.scattered(scope, plans, total, order)
