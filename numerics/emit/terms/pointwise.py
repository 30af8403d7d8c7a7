"""Scalar expressions over reads, as broadcast array code.

a[b,k] - m[b]          a - m[:, None]
g[b] * [x[b,k] > 0]    jnp.where(x > 0, g[:, None], 0)
exp(u)**(-1/2)         lax.rsqrt(jnp.exp(u))
p - [k = label[b]]     jax.vmap(lambda row, at: row.at[at].add(-1))(p, label)      (rule scatter-labels, see each.py)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from sympy import Add, Expr, Integer, Mul, Piecewise, Pow, Rational
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from derive.language.errors import UnsupportedError
from derive.language.functions import STRUCTURAL
from derive.language.index import Index
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from numerics.emit.source.code import Binary, Code, Compare, Constant, Name, Number, Unary, number_of, updated
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, align, elementwise, joint_kind, union

from . import accurate, each, masks
from .arithmetic import (
    ONE,
    ZERO,
    Order,
    applied,
    as_float,
    as_number,
    combine,
    constant,
    float_number,
    negate,
    ratio,
    signed_sum,
    square,
    where,
)
from .forms import (
    RELATIONS,
    Factors,
    addends,
    is_guarded,
    one_hot,
    only_sizes,
    sides,
    signed,
    simple_root,
    tidy,
    unguarded,
)
from .functions import FUNCTIONS, MACHINE
from .positions import is_index_array, is_position, labels
from .shared import HALF, Shared

Addend = tuple[int, Factors | Val]  # a sign, and what it stands before


def expr(scope: Scope, e: Expr, order: Order) -> Val:
    """The value of a scalar expression; its axes are the indices in it, ``order`` sorts them where there is a choice."""
    if isinstance(e, Read):
        return scope.read(e, order)
    if isinstance(e, Index):
        return scope.place(e)
    if only_sizes(e):
        return constant(scope, e) if isinstance(e, Rational) else scope.size(e)
    if isinstance(e, Add):
        if is_index_array(e):
            return index_array(scope, e, order)
        if is_position(e):
            v = add(scope, addends(e), order)
            return scope.share(("at", e, v.node), ("at", "spot"), v) if _is_long(v.node) else v
        return sum_of(scope, e, order)
    if isinstance(e, Mul):
        return product(scope, e.args, order)
    if isinstance(e, Pow):
        return power(scope, e, order)
    if isinstance(e, Piecewise):
        return piecewise(scope, e, order)
    if isinstance(e, Iverson):
        return condition(scope, e.condition, order)
    name = type(e).__name__
    if name == "log" and (u := accurate.one_minus_exp(e.args[0])) is not None:
        return call(scope, "log1mexp", [expr(scope, -u, order)], order)
    if name == "log" and (u := accurate.one_plus(e.args[0])) is not None:
        return call(scope, "log1p", [expr(scope, u, order)], order)
    if name == "exp" and (shared := scope.record(Shared)) and (u := shared.root(e.args[0])) is not None:
        squared = elementwise(as_float(scope, expr(scope, u, order)), square, "float")
        return call(scope, "exp", [negate(squared)], order)
    if name in FUNCTIONS:
        return call(scope, name, [expr(scope, a, order) for a in e.args], order)
    raise UnsupportedError(
        f"{e}: no source is known for the function {name}; the functions are "
        f"{', '.join(sorted([*FUNCTIONS, *STRUCTURAL]))}"
    )


def _is_long(node: Code) -> bool:
    """Whether a position is worth a name: ``label + 1`` is not."""
    return sum(isinstance(n, Name | Number) for n in node.walk()) > 2


def call(scope: Scope, name: str, args: list[Val], order: Order) -> Val:
    """A function of the table, applied."""
    f = FUNCTIONS.get(name) or MACHINE[name]
    if not f.keeps_integers:
        args = [as_float(scope, a) if a.kind != "num" else float_number(a) for a in args]
    if f.path is None:
        return args[0]
    scope.module(f.path.split(".")[0])
    kind = joint_kind(*(a.kind for a in args))
    return applied(f.path, [*args, *f.more], order, "weak" if kind == "num" else kind)


def index_array(scope: Scope, e: Expr, order: Order) -> Val:
    """The named array of an affine index expression, such as ``rows = 2 * u[:, None] + r - 1``."""
    plain_of = {i: Index(i.name, i.size) for i in labels(e)}
    plain = e.xreplace(plain_of)
    made = scope.root.shared.get(("index array", plain))
    if made is None:
        axes = [plain_of[i] for i in order if i in plain_of]
        v = add(scope, addends(plain), axes)
        made = scope.share(("index array", plain), ("rows", "cols", "deep", "at"), v, constant=True)
        scope.index_arrays |= made.node.names
    own = {p: i for i, p in plain_of.items()}
    return Val(made.node, tuple(own[p] for p in made.axes), "int")


# -- sums ---------------------------------------------------------------------------------------------------------------


def sum_of(scope: Scope, e: Add, order: Order) -> Val:
    """A sum; a part of it that would cancel is computed by the function that does not, see :mod:`.accurate`."""
    if (one := accurate.as_tanh(e)) is not e:
        return expr(scope, one, order)
    found = accurate.cancelling(e)
    if found is None:
        shared = scope.record(Shared)
        if shared is not None and (h := shared.conjugates(e)) is not None:
            return _conjugates(scope, h, order)
        return add(scope, rounded(scope, addends(e), order), order)
    coef, name, argument, rest = found
    minus = coef.could_extract_minus_sign()
    v = call(scope, name, [expr(scope, argument, order)], order)
    v = plain_product(scope, (-coef if minus else coef,), order, first=v) if abs(coef) != 1 else v
    return add(scope, [*(signed(a) for a in rest), (-1 if minus else 1, v)], order)


def _conjugates(scope: Scope, h: Expr, order: Order) -> Val:
    """``(1 - h) * (1 + h)``"""
    return elementwise(
        expr(scope, h, order),
        lambda node: Binary(Binary(number_of(1), "-", node), "*", Binary(number_of(1), "+", node)),
        "float",
    )


def rounded(scope: Scope, pairs: Sequence[tuple[int, Factors]], order: Order) -> list[Addend]:
    """Addends; ``a (1 - sigmoid(u))`` beside a number is that: the sum has no use for the digits of ``sigmoid(-u)``."""
    if not any(all(f.is_number for f in factors) for _, factors in pairs):
        return list(pairs)
    return [(sign, _with_conjugate(scope, factors, order) or factors) for sign, factors in pairs]


def _with_conjugate(scope: Scope, factors: Factors, order: Order) -> Val | None:
    """The product with a factor ``1 - sigmoid(u)`` as it stands; None where there is none, or a mask."""
    if any(isinstance(f, Piecewise | Iverson) for f in factors):
        return None
    for f in factors:
        found = accurate.cancelling(f) if isinstance(f, Add) else None
        if found is not None and found[1] == "sigmoid" and not found[3]:
            rest = [g for g in factors if g is not f]
            return plain_product(scope, rest, order, first=add(scope, addends(f), order))
    return None


def add(scope: Scope, addends: Iterable[Addend], order: Order) -> Val:
    """``+a - b + ...`` of ``(sign, factors or value)`` pairs; one-hot rows are scattered onto the dense terms."""
    values: list[tuple[int, Val]] = []
    hot: list[tuple[int, Factors]] = []
    for sign, f in addends:
        if isinstance(f, Val):
            values.append((sign, f))
        elif one_hot(f) is None:
            values.append((sign, product(scope, f, order)))
        else:
            hot.append((sign, f))
    axes = set(union([v for _, v in values], order)) if values else set()
    kept = [(sign, f) for sign, f in hot if all(labels(g) <= axes for g in f)]
    values += [(sign, product(scope, f, order)) for sign, f in hot if (sign, f) not in kept]
    total = signed_sum(scope, values, order)
    for sign, f in kept:
        total = _scatter_one_hot(scope, total, sign, f, order)
    return total


def _scatter_one_hot(scope: Scope, total: Val, sign: int, factors: Factors, order: Order) -> Val:
    found = one_hot(factors)
    assert found is not None
    label, value, rest = found
    grid = tuple(a for a in total.axes if a != label)
    batch = each.shared(grid, [value])
    at = expr(scope, value, grid)
    amount = product(scope, rest, grid) if rest else ONE
    amount = as_number(scope, negate(amount) if sign < 0 else amount)
    scope.choice(
        "scatter-labels",
        f"{label} = {value} is one place in each row: a scatter, where a one-hot of the whole "
        f"array would be written and read again",
    )
    total = as_float(scope, total)
    kept = tuple(a for a in total.axes if a not in batch)
    inner = tuple(a for a in kept if a != label)

    def added(row: Sequence[Val]) -> Code:
        start, place, by = row
        places = [align(place if a == label else scope.place(a), inner).node for a in kept]
        return updated(start.node, tuple(places), align(by, inner).node)

    if not batch:
        return Val(added((total, at, amount)), total.axes, total.kind)
    node = each.over(batch, [(each.ROW, total), ("at", at), (each.AMOUNT, amount)], added)
    return Val(node, (*batch, *kept), total.kind)


# -- products -----------------------------------------------------------------------------------------------------------


def product(scope: Scope, factors: Iterable[Expr], order: Order) -> Val:
    """A product: numerators, then denominators; brackets ``[condition]`` become one ``jnp.where``."""
    factors = [g for f in factors for g in unguarded(f)] if is_guarded(scope, factors := list(factors)) else factors
    conditions = masks.together([f.condition for f in factors if isinstance(f, Iverson)])
    factors = [f for f in factors if not isinstance(f, Iverson)]
    shared = scope.record(Shared)
    numbers = masks.taken_out(factors, shared.scaled) if conditions and shared is not None else []
    if numbers:
        rest = [*(f for f in factors if f not in numbers), *map(Iverson, conditions)]
        return plain_product(scope, numbers, order, first=product(scope, rest, order))
    with scope.assuming(conditions):
        body = plain_product(scope, factors, order) if factors else None
    if not conditions:
        return body if body is not None else ONE
    return masked(scope, conditions, body, order)


def masked(scope: Scope, conditions: list[Any], body: Val | None, order: Order) -> Val:
    """The body where all conditions hold, 0 elsewhere."""
    test = conjunction(scope, conditions, order)
    if test is None:
        return body if body is not None else ONE
    if body is None:
        return test
    return where(test, body, ZERO, order)


def plain_product(scope: Scope, factors: Iterable[Expr], order: Order, first: Val | None = None) -> Val:
    """A product of expressions, after a value that is already there."""
    constant = Integer(1)
    top, bottom = [] if first is None else [first], []
    for f in (g for factor in factors for g in Mul.make_args(factor)):
        if f.is_number and not f.is_infinite and only_sizes(f):
            constant *= f
        elif isinstance(f, Pow) and f.exp.is_Rational and f.exp < 0 and _divides(scope, f):
            bottom.append(expr(scope, Pow(f.base, -f.exp), order))
        else:
            top.append(as_number(scope, expr(scope, f, order)))
    minus = constant.could_extract_minus_sign()
    constant = -constant if minus else constant
    root = simple_root(constant)
    if root is not None:
        above, below = root
        top = ([scope.size(above)] if above != 1 else []) + top
        bottom = ([scope.size(below)] if below != 1 else []) + bottom
        constant = Integer(1)
    elif not constant.is_Rational:
        top, constant = [scope.size(constant), *top], Integer(1)
    merged = ratio(scope, constant, top, bottom, order)
    return negate(merged) if minus else merged


def _divides(scope: Scope, f: Pow) -> bool:
    """Whether a negative power is written as a divisor; one over a root has its own function, where the root is not there."""
    shared = scope.record(Shared)
    there = f.exp == -HALF and shared is not None and shared.has_root(f.base)
    return f.exp.is_Integer or there or only_sizes(f.base)


def power(scope: Scope, e: Pow, order: Order) -> Val:
    """A power; one with a negative whole exponent is a quotient, roots and squares have functions of their own."""
    base, exponent = e.args
    if exponent.is_Integer and exponent < 0:
        return ratio(scope, Rational(1), [], [expr(scope, Pow(base, -exponent), order)], order)
    v = as_number(scope, expr(scope, base, order))
    if exponent == 2:
        return elementwise(v, _times_itself if _is_short(v.node) else square, v.kind)
    if exponent.is_Integer:
        return Val(Binary(v.node, "**", number_of(int(exponent))), v.axes, v.kind)
    v = as_float(scope, v)
    if exponent == Rational(1, 2):
        return applied("jnp.sqrt", [v], order, v.kind)
    if exponent == Rational(-1, 2):
        return applied(f"{scope.module('lax')}.rsqrt", [v], order, v.kind)
    w = expr(scope, exponent, order)
    if v.kind == "num":
        w = as_float(scope, w)  # 2 to an array of negative integers is 0 in JAX
    axes = union([v, w], order)
    kind = joint_kind(v.kind, w.kind)
    return Val(Binary(align(v, axes).node, "**", align(w, axes).node), axes, kind)


def _times_itself(node: Code) -> Code:
    return Binary(node, "*", node)


def _is_short(node: Code) -> bool:
    """Whether ``a * a`` is easier to read than ``jnp.square(a)``."""
    return not node.is_operation and sum(1 for _ in node.walk()) <= 7


# -- conditions ---------------------------------------------------------------------------------------------------------


def piecewise(scope: Scope, e: Piecewise, order: Order) -> Val:
    """Nested masks, the first branch outermost."""
    *branches, (last, always) = e.args
    if not isinstance(always, BooleanTrue):
        raise UnsupportedError(f"{e}: a Piecewise needs a last branch (value, True)")
    v = as_number(scope, expr(scope, last, order))
    for value, test in reversed(branches):
        with scope.assuming([test]):
            yes = as_number(scope, expr(scope, value, order))
        v = where(condition(scope, test, order), yes, v, order)
    return v


def conjunction(scope: Scope, conditions: Sequence[Any], order: Order) -> Val | None:
    """All of the conditions, or None if every one is known to hold."""
    found = [v for v in (condition(scope, c, order) for c in conditions) if v.node != Constant(True)]
    if not found:
        return None
    test = combine(found, "&", order)
    if len(found) > 1 and test.node.names & scope.index_arrays and not any(c.has(Read) for c in conditions):
        return scope.share(("inside", test.node), ("inside",), test, constant=True)  # of positions only: named, once
    return test


def condition(scope: Scope, c: Any, order: Order) -> Val:
    """A condition as a boolean value."""
    if isinstance(c, BooleanTrue | BooleanFalse):
        return Val(Constant(bool(c)), (), "bool")
    if isinstance(c, And):
        return combine([condition(scope, a, order) for a in c.args], "&", order)
    if isinstance(c, Or):
        return combine([condition(scope, a, order) for a in c.args], "|", order)
    if isinstance(c, Not):
        v = condition(scope, c.args[0], order)
        return Val(Unary("~", v.node), v.axes, "bool")
    if isinstance(c, Read) and c.tensor.dtype == "bool":
        return expr(scope, c, order)
    op = next((text for cls, text in RELATIONS.items() if isinstance(c, cls)), None)
    if op is None:
        raise UnsupportedError(f"condition {c}: accepted are ==, !=, <, <=, >, >=, And, Or and Not of scalars")
    left, right, op = tidy(*sides(c), op)
    a, b = expr(scope, left, order), expr(scope, right, order)
    axes = union([a, b], order)
    return Val(Compare(align(a, axes).node, op, align(b, axes).node), axes, "bool")
