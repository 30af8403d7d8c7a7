"""Arithmetic on values: sums with signs, products and quotients, masks, calls; whatever it is of, axes are aligned here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from sympy import Integer, Rational

from derive.language.errors import UnsupportedError
from derive.language.index import Index
from numerics.emit.source.code import (
    Binary,
    Code,
    Name,
    Number,
    Tuple,
    Unary,
    call,
    dotted,
    method,
    minus,
    number_of,
    plus,
    times,
)
from numerics.emit.source.scope import Scope, number
from numerics.emit.source.value import Val, align, elementwise, joint_kind, union

ZERO, ONE = number(Integer(0)), number(Integer(1))
MINUS_INFINITY = Val(Unary("-", dotted("jnp.inf")), (), "num")
WHOLE = 2**24  # whole numbers below are themselves in float32

Order = Sequence[Index]  # how axes are sorted where there is a choice

# -- kinds --------------------------------------------------------------------------------------------------------


def as_float(scope: Scope, v: Val) -> Val:
    """Integers and conditions as floats of the program's dtype; floats and Python numbers as they are."""
    if v.kind in ("int", "bool"):
        return Val(method(v.node, "astype", scope.dtype), v.axes, "float")
    return v


def as_number(scope: Scope, v: Val) -> Val:
    """Conditions as floats; everything else as it is."""
    return as_float(scope, v) if v.kind == "bool" else v


def float_number(v: Val) -> Val:
    """A Python number as a float: ``3.0``, ``float(B)``."""
    if isinstance(v.node, Number):
        return Val(Number(float(v.node.value)), (), "num")
    return Val(call("float", v.node), (), "num")


# -- sums -----------------------------------------------------------------------------------------------------------


def signed_sum(scope: Scope, values: Iterable[tuple[int, Val]], order: Order) -> Val:
    """``a - b + c`` of ``(sign, value)`` pairs, a positive one first."""
    pairs = [_positive(sign, as_number(scope, v)) for sign, v in values]
    pairs.sort(key=lambda sv: (sv[0] < 0, sv[1].kind == "num"))
    if len(pairs) == 1:
        sign, v = pairs[0]
        return negate(v) if sign < 0 else v
    axes = union([v for _, v in pairs], order)
    total: Code | None = None
    for sign, v in pairs:
        node = align(v, axes).node
        if total is None:
            total = node if sign > 0 else node.opposite
        else:
            total = minus(total, node) if sign < 0 else plus(total, node)
    assert total is not None
    return Val(total, axes, joint_kind(*(v.kind for _, v in pairs)))


def _positive(sign: int, v: Val) -> tuple[int, Val]:
    """``(1, -a)`` as ``(-1, a)``."""
    return (-sign, Val(v.node.opposite, v.axes, v.kind)) if v.node.is_negated else (sign, v)


def negate(v: Val) -> Val:
    """``-v``, without brackets: ``-a * b`` of a product, ``a`` of ``-a``."""
    kind = "int" if v.kind == "bool" else v.kind
    if v.node.is_operation:
        return Val(v.node.opposite, v.axes, kind)
    return elementwise(v, lambda node: node.opposite, kind)


# -- products -------------------------------------------------------------------------------------------------------


def ratio(scope: Scope, coef: Rational, top: list[Val], bottom: list[Val], order: Order) -> Val:
    """``coef * top / bottom`` for a positive rational; ``x / 3`` rather than ``0.333 * x``."""
    if coef.q != 1 and (isinstance(number(coef).node, Binary) or (coef.p == 1 and coef.q <= 1000 and top)):
        bottom = [number(Integer(coef.q)), *bottom]
        coef = Rational(coef.p)
    if coef == 1 and len(top) == 1 and not bottom:
        return top[0]
    top = ([constant(scope, coef)] if coef != 1 or not top else []) + sorted(top, key=place_in_product)
    if bottom:
        top, bottom = [as_float(scope, v) for v in top], [as_float(scope, as_number(scope, v)) for v in bottom]
    kind = joint_kind(*(v.kind for v in (*top, *bottom)))
    top, bottom = _scalars_first(top, bottom)
    axes = union([*top, *bottom], order)
    if len(top) == 2 and not bottom and top[0] == top[1] and top[0].node.is_operation:
        return elementwise(top[0], square, kind)
    whole_numbers = all(v.kind == "num" for v in bottom)
    arrays = [v for v in (*top, *bottom) if v.axes]
    if len(arrays) == 1:  # the rest is numbers: an axis can be inserted in the array alone
        (array,) = arrays

        def around(node: Code) -> Code:
            above, below = ([node if v is array else v.node for v in many] for many in (top, bottom))
            return _quotient(above, below, whole_numbers)

        return elementwise(array, around, kind)
    above, below = ([align(v, axes).node for v in many] for many in (top, bottom))
    return Val(_quotient(above, below, whole_numbers), axes, kind)


def _scalars_first(top: list[Val], bottom: list[Val]) -> tuple[list[Val], list[Val]]:
    """``2 * h / s * e`` of scalars h, s and an array e: what is one number is computed once, not for each element."""
    scalars = [v for v in (*top, *bottom) if not v.axes and v.kind != "num"]
    arrays = [v for v in top if v.axes]
    small = [v for v in top if not v.axes]
    if len(scalars) < 2 or not arrays or not small or any(v.axes for v in bottom):
        return top, bottom
    one = Val(_quotient([v.node for v in small], [v.node for v in bottom], all(v.kind == "num" for v in bottom)))
    return [one, *arrays], []


def constant(scope: Scope, value: Rational) -> Val:
    """A number; a large whole one is a float in a float equation, as ``1e9 * m`` of an integer m must not be an int32."""
    if math.isinf(float(value)):
        raise UnsupportedError(
            f"a number of {len(str(value))} digits is infinite as a float; accepted are numbers up to 1e308"
        )
    if value.is_Integer and abs(value) >= WHOLE and not scope.whole:
        return Val(number_of(float(value)), (), "num")
    return number(value)


def place_in_product(v: Val) -> int:
    """Numbers first, then names, then everything longer."""
    return 0 if v.kind == "num" else 1 if isinstance(v.node, Name) else 2


def _quotient(top: list[Code], bottom: list[Code], whole_numbers: bool) -> Code:
    """``a * b / c / d``; denominators that are numbers are multiplied first, ``a * b / (2 * B)``."""
    node = times(top)
    for under in [times(bottom)] if bottom and whole_numbers else bottom:
        node = Binary(node, "/", under)
    return node


def square(node: Code) -> Code:
    return call("jnp.square", node)


# -- calls and masks ------------------------------------------------------------------------------------------------


def applied(function: str, args: Sequence[Val], order: Order, kind: str) -> Val:
    """``function(a, b)``, elementwise."""
    first, *rest = args
    if not any(a.axes for a in rest):
        return elementwise(first, lambda node: call(function, node, *(a.node for a in rest)), kind)
    axes = union(args, order)
    return Val(call(function, *(align(a, axes).node for a in args)), axes, kind)


def where(test: Val, yes: Val, no: Val, order: Order) -> Val:
    """``jnp.where(test, yes, no)``"""
    axes = union([test, yes, no], order)
    kind = joint_kind(yes.kind, no.kind)
    kind = "weak" if kind == "num" and any(v.node.is_fractional for v in (yes, no)) else kind
    return Val(
        call("jnp.where", *(align(v, axes).node for v in (test, yes, no))), axes, "int" if kind == "num" else kind
    )


def combine(values: Iterable[Val], op: str, order: Order) -> Val:
    """``a & b`` or ``a | b`` of conditions, each written once."""
    values = list(dict.fromkeys(values))
    if len(values) == 1:
        return values[0]
    axes = union(values, order)
    first, *rest = (align(v, axes).node for v in values)
    for node in rest:
        first = Binary(first, op, node)
    return Val(first, axes, "bool")


def reduce(v: Val, name: str, over: Iterable[Index]) -> Val:
    """``v.sum(axis=...)`` and its like."""
    over = set(over)
    left = tuple(a for a in v.axes if a not in over)
    if not left:
        return Val(method(v.node, name), (), v.kind)
    spots = [number_of(n) for n, a in enumerate(v.axes) if a in over]
    return Val(method(v.node, name, axis=spots[0] if len(spots) == 1 else Tuple(tuple(spots))), left, v.kind)
