"""Scalar expressions over reads, as broadcast array source.

    a[b,k] - m[b]          a - m[:, None]
    g[b] * [x[b,k] > 0]    jnp.where(x > 0, g[:, None], 0)
    exp(u)**(-1/2)         lax.rsqrt(jnp.exp(u))
    p - [k = label[b]]     p.at[b, label].add(-1)           (rule scatter-labels)

``FUNCTIONS`` is the closed table of scalar functions; anything outside it is refused by name.
"""

from __future__ import annotations

import sympy
from sympy import Add, Integer, Mul, Piecewise, Pow, Rational
from sympy.logic.boolalg import And, BooleanFalse, BooleanTrue, Not, Or

from derive.language.errors import UnsupportedError
from derive.language.index import Index, Size
from derive.language.nodes import Iverson
from derive.language.tensor import Read

from . import accurate, reads
from .scope import Scope, number
from .value import ADD, AND, ATOM, COMPARE, MUL, OR, POW, UNARY, Val, align, around, joint_kind, union

# name -> source of the call; {0}, {1} are the arguments.  Pow, Piecewise and Iverson have rules of their own below.
FUNCTIONS = {
    "exp": "jnp.exp({0})",
    "log": "jnp.log({0})",
    "sin": "jnp.sin({0})",
    "cos": "jnp.cos({0})",
    "tan": "jnp.tan({0})",
    "asin": "jnp.arcsin({0})",
    "acos": "jnp.arccos({0})",
    "atan": "jnp.arctan({0})",
    "sinh": "jnp.sinh({0})",
    "cosh": "jnp.cosh({0})",
    "tanh": "jnp.tanh({0})",
    "asinh": "jnp.arcsinh({0})",
    "acosh": "jnp.arccosh({0})",
    "atanh": "jnp.arctanh({0})",
    "erf": "lax.erf({0})",
    "erfc": "lax.erfc({0})",
    "Abs": "jnp.abs({0})",
    "sign": "jnp.sign({0})",
    "floor": "jnp.floor({0})",
    "relu": "jnp.maximum({0}, 0)",
    "sigmoid": "jax.nn.sigmoid({0})",
    "softplus": "jax.nn.softplus({0})",
    "maximum": "jnp.maximum({0}, {1})",
    "minimum": "jnp.minimum({0}, {1})",
    "stop_gradient": "{0}",
}
SPECIAL = ("Pow", "Piecewise", "Iverson")
RELATIONS = {sympy.Eq: "==", sympy.Ne: "!=", sympy.Lt: "<", sympy.Le: "<=", sympy.Gt: ">", sympy.Ge: ">="}
WHOLE = 2**24  # whole numbers below are themselves in float32
KEEPS_INTEGERS = ("Abs", "sign", "maximum", "minimum", "relu", "stop_gradient")


def expr(scope: Scope, e, order) -> Val:
    """The value of a scalar expression; its axes are the indices in it, ``order`` sorts them where there is a choice."""
    if isinstance(e, Read):
        return reads.read(scope, e, order)
    if isinstance(e, Index):
        return scope.place(e)
    if _only_sizes(e):
        return _constant(scope, e) if e.is_Rational else scope.size(e)
    if isinstance(e, Add):
        if reads.is_index_array(e):
            return reads.index_array(scope, e, order)
        if reads.is_position(e):
            v = add(scope, addends(e), order)
            return scope.share(("at", e, v.src), ("at", "spot"), v) if len(v.src) > 12 else v
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
    if name == "log" and accurate.one_plus(e.args[0]) is not None:
        return call(scope, "log1p", [expr(scope, accurate.one_plus(e.args[0]), order)], order)
    if name in FUNCTIONS:
        return call(scope, name, [expr(scope, a, order) for a in e.args], order)
    raise UnsupportedError(
        f"{e}: no source is known for the function {name}; the functions are "
        f"{', '.join(sorted([*FUNCTIONS, *SPECIAL]))}"
    )


def _only_sizes(e) -> bool:
    if not isinstance(e, sympy.Expr) or e.has(Read) or not all(isinstance(s, Size) for s in e.free_symbols):
        return False
    return all(isinstance(f, sympy.floor) for f in e.atoms(sympy.Function, Piecewise, Iverson))


def call(scope: Scope, name: str, args, order) -> Val:
    if name not in KEEPS_INTEGERS:
        args = [as_float(scope, a) if a.kind != "num" else _float_number(a) for a in args]
    axes = union(args, order)
    template = FUNCTIONS.get(name) or accurate.MACHINE[name]
    if template == "{0}":
        return args[0]
    scope.module(template.split(".")[0])
    kind = joint_kind(*(a.kind for a in args))
    kind = "weak" if kind == "num" else kind
    if len(args) == 1 or not args[1].axes:
        return around(args[0], template.format("{}", *(a.src for a in args[1:])), ATOM, kind)
    return Val(template.format(*(align(a, axes).src for a in args)), ATOM, axes, kind)


def _float_number(v: Val) -> Val:
    return Val(f"{v.src}.0" if v.src.isdigit() else f"float({v.src})", kind="num")


def as_float(scope: Scope, v: Val) -> Val:
    """Integers and conditions as floats of the program's dtype; floats and Python numbers as they are."""
    if v.kind in ("int", "bool"):
        return Val(f"{v.atom}.astype({scope.dtype})", ATOM, v.axes, "float")
    return v


def as_number(scope: Scope, v: Val) -> Val:
    """Conditions as floats; everything else as it is."""
    return as_float(scope, v) if v.kind == "bool" else v


# -- sums ---------------------------------------------------------------------------------------------------------------


def sum_of(scope: Scope, e: Add, order) -> Val:
    """A sum; a part of it that would cancel is computed by the function that does not, see :mod:`.accurate`."""
    found = accurate.cancelling(e)
    if found is None:
        return add(scope, addends(e), order)
    coef, name, argument, rest = found
    minus = coef.could_extract_minus_sign()
    v = call(scope, name, [expr(scope, argument, order)], order)
    v = plain_product(scope, (-coef if minus else coef,), order, first=v) if abs(coef) != 1 else v
    return add(scope, [*(_signed(a) for a in rest), (-1 if minus else 1, v)], order)


def addends(e) -> list:
    """The ``(sign, factors)`` pairs of an expression, longer indices first."""
    return [_signed(a) for a in Add.make_args(e)]


def _signed(e) -> tuple[int, tuple]:
    """``(sign, factors)`` of an addend."""
    coef = e.as_coeff_Mul()[0]
    return (-1, Mul.make_args(-e)) if coef.is_negative else (1, Mul.make_args(e))


def add(scope: Scope, addends, order) -> Val:
    """``+a - b + ...`` of ``(sign, factors or Val)`` pairs; one-hot rows are scattered onto the dense terms."""
    dense = [(sign, f) for sign, f in addends if isinstance(f, Val) or one_hot(f) is None]
    hot = [(sign, f) for sign, f in addends if not isinstance(f, Val) and one_hot(f) is not None]
    values = [(sign, f if isinstance(f, Val) else product(scope, f, order)) for sign, f in dense]
    axes = set(union([v for _, v in values], order)) if values else set()
    kept = [(sign, f) for sign, f in hot if all(_labels(g) <= axes for g in f)]
    values += [(sign, product(scope, f, order)) for sign, f in hot if (sign, f) not in kept]
    total = signed_sum(scope, values, order)
    for sign, f in kept:
        total = _scatter_one_hot(scope, total, sign, one_hot(f), order)
    return total


def _labels(e) -> set:
    return {s for s in e.free_symbols if isinstance(s, Index)}


def signed_sum(scope: Scope, values, order) -> Val:
    """``a - b + c`` of ``(sign, Val)`` pairs, a positive one first."""
    values = [_positive(s, as_number(scope, v)) for s, v in values]
    values.sort(key=lambda sv: (sv[0] < 0, sv[1].kind == "num"))
    axes = union([v for _, v in values], order)
    text, kind = "", joint_kind(*(v.kind for _, v in values))
    if len(values) == 1:
        return negate(values[0][1]) if values[0][0] < 0 else values[0][1]
    for sign, v in values:
        v = align(v, axes)
        if sign < 0:
            text = f"{text} - {v.within(ADD + 1)}" if text else f"-{v.within(UNARY)}"
        else:
            text = f"{text} + {v.within(ADD + 1 if v.src.startswith('-') else ADD)}" if text else v.within(ADD)
    return Val(text, ADD, axes, kind)


def _positive(sign: int, v: Val) -> tuple[int, Val]:
    """``(1, -a)`` as ``(-1, a)``."""
    return (-sign, Val(v.src[1:], MUL, v.axes, v.kind)) if v.prec == UNARY and v.src[0] == "-" else (sign, v)


def negate(v: Val) -> Val:
    if v.prec == UNARY and v.src[0] == "-":
        return Val(v.src[1:], MUL, v.axes, v.kind)
    kind = "int" if v.kind == "bool" else v.kind
    return around(v, "-{}", UNARY, kind) if v.prec == ATOM else Val(f"-{v.within(MUL)}", UNARY, v.axes, kind)


def one_hot(factors):
    """``(label, integer read, other factors)`` of ``rest * [label = integer read]``, else None."""
    for n, f in enumerate(factors):
        if isinstance(f, Iverson) and isinstance(f.condition, sympy.Eq):
            for label, value in (f.condition.args, f.condition.args[::-1]):
                if isinstance(label, Index) and isinstance(value, Read) and label not in value.free_symbols:
                    rest = factors[:n] + factors[n + 1 :]
                    if not any(r.has(Iverson) for r in rest):
                        return label, value, tuple(r.xreplace({label: value}) for r in rest)
    return None


def _scatter_one_hot(scope: Scope, total: Val, sign: int, spot, order) -> Val:
    label, value, rest = spot
    grid = tuple(a for a in total.axes if a != label)
    places = []
    for a in total.axes:
        v = expr(scope, value, grid) if a == label else scope.place(a)
        places.append(align(v, grid).src)
    amount = product(scope, rest, grid) if rest else number(Integer(1))
    amount = align(as_number(scope, negate(amount) if sign < 0 else amount), grid)
    if len(total.axes) == 1 and not value.free_symbols & set(total.axes):
        places = [expr(scope, value, ()).src]
    scope.choices.append(
        (
            "scatter-labels",
            scope.number,
            f"{label} = {value} is one place in each row: a scatter, where a one-hot of the whole "
            f"array would be written and read again",
        )
    )
    total = as_float(scope, total)
    return Val(f"{total.atom}.at[{', '.join(places)}].add({amount.src})", ATOM, total.axes, total.kind)


# -- products -----------------------------------------------------------------------------------------------------------


def product(scope: Scope, factors, order) -> Val:
    """A product: numerators, then denominators; brackets ``[condition]`` become one ``jnp.where``."""
    conditions = [f.condition for f in factors if isinstance(f, Iverson)]
    factors = [f for f in factors if not isinstance(f, Iverson)]
    with scope.assuming(conditions):
        body = plain_product(scope, factors, order) if factors else None
    if not conditions:
        return body if body is not None else number(Integer(1))
    return masked(scope, conditions, body, order)


def masked(scope: Scope, conditions, body: Val | None, order) -> Val:
    """The body where all conditions hold, 0 elsewhere."""
    test = conjunction(scope, conditions, order)
    if test is None:
        return body if body is not None else number(Integer(1))
    if body is None:
        return test
    return where(scope, test, body, number(Integer(0)), order)


def where(scope: Scope, test: Val, yes: Val, no: Val, order) -> Val:
    axes = union([test, yes, no], order)
    kind = joint_kind(yes.kind, no.kind)
    kind = "weak" if kind == "num" and any("." in v.src or "/" in v.src for v in (yes, no)) else kind
    test, yes, no = (align(v, axes) for v in (test, yes, no))
    return Val(f"jnp.where({test.src}, {yes.src}, {no.src})", ATOM, axes, "int" if kind == "num" else kind)


def plain_product(scope: Scope, factors, order, first: Val | None = None) -> Val:
    """A product of expressions, after a value that is already there."""
    constant = Integer(1)
    top, bottom = [] if first is None else [first], []
    for f in (g for factor in factors for g in Mul.make_args(factor)):
        if f.is_number and _only_sizes(f):
            constant *= f
        elif isinstance(f, Pow) and f.exp.is_Rational and f.exp < 0 and (f.exp.is_Integer or _only_sizes(f.base)):
            bottom.append(expr(scope, Pow(f.base, -f.exp), order))
        else:
            top.append(as_number(scope, expr(scope, f, order)))
    minus = constant.could_extract_minus_sign()
    constant = -constant if minus else constant
    root = _root(constant)
    if root is not None:
        above, below = root
        top = ([scope.size(above)] if above != 1 else []) + top
        bottom = ([scope.size(below)] if below != 1 else []) + bottom
        constant = Integer(1)
    elif not constant.is_Rational:
        top, constant = [scope.size(constant), *top], Integer(1)
    merged = ratio(scope, constant, top, bottom, order)
    return negate(merged) if minus else merged


def _root(c):
    """``(above, below)`` of an irrational ``c = above / below`` whose square is simple, such as ``1 / (2*pi)**(1/2)``."""
    if c.is_Rational:
        return None
    square = c**2
    top, bottom = sympy.fraction(square)
    if not (square.is_Rational or all(a.is_Rational or a in (sympy.pi, sympy.E) for a in Mul.make_args(top * bottom))):
        return None
    half = Rational(1, 2)
    return (
        Pow(top, half, evaluate=top.is_Rational and sympy.sqrt(top).is_Rational) if top != 1 else Integer(1),
        Pow(bottom, half, evaluate=bottom.is_Rational and sympy.sqrt(bottom).is_Rational)
        if bottom != 1
        else Integer(1),
    )


def ratio(scope: Scope, coef, top, bottom, order) -> Val:
    """``coef * top / bottom`` for a positive rational; ``x / 3`` rather than ``0.333 * x``."""
    if coef.q != 1 and (number(coef).prec == MUL or (coef.p == 1 and coef.q <= 1000 and top)):
        bottom = [number(Integer(coef.q)), *bottom]
        coef = Rational(coef.p)
    if coef == 1 and len(top) == 1 and not bottom:
        return top[0]
    top = ([_constant(scope, coef)] if coef != 1 or not top else []) + sorted(top, key=_place_in_product)
    if bottom:
        top, bottom = [as_float(scope, v) for v in top], [as_float(scope, as_number(scope, v)) for v in bottom]
    axes = union([*top, *bottom], order)
    kind = joint_kind(*(v.kind for v in (*top, *bottom)))
    if len(top) == 2 and not bottom and top[0] == top[1] and top[0].prec < ATOM:
        return around(top[0], "jnp.square({})", ATOM, kind)
    arrays = [v for v in (*top, *bottom) if v.axes]
    if len(arrays) == 1:
        core = arrays[0]
        text, prec = _ratio_text(
            [Val("{}") if v is core else v for v in top], [Val("{}") if v is core else v for v in bottom]
        )
        if core.prec == ATOM or any(v is core for v in bottom) or prec > MUL:
            return around(core, text, prec, kind)
        if core.prec < ATOM:  # brackets only where the product needs them
            plain, prec = _ratio_text(top, bottom)
            return Val(plain, prec, core.axes, kind, core, text)
    top, bottom = [align(v, axes) for v in top], [align(v, axes) for v in bottom]
    text, prec = _ratio_text(top, bottom)
    return Val(text, prec, axes, kind)


def _constant(scope: Scope, coef: Rational) -> Val:
    """A coefficient; a large whole one is a float in a float equation, as ``1e9 * m`` of an integer m must not be an int32."""
    if coef.is_Integer and abs(coef) >= WHOLE and not scope.whole:
        return Val(repr(float(coef)).replace("e+", "e"), ATOM if coef >= 0 else UNARY, kind="num")
    return number(coef)


def _place_in_product(v: Val) -> int:
    """Numbers first, then names, then everything longer."""
    return 0 if v.kind == "num" else 1 if v.src.isidentifier() else 2


def _times(factors) -> str:
    """A product; ``a * (n // 2)`` keeps its brackets, ``n // 2 * a`` needs none."""
    return " * ".join(v.within(MUL if n == 0 or "/" not in v.src else MUL + 1) for n, v in enumerate(factors))


def _ratio_text(top, bottom) -> tuple[str, int]:
    text = _times(top)
    prec = MUL if len(top) > 1 else max(top[0].prec, MUL)
    if not bottom:
        return text, prec
    if len(bottom) == 1:
        under = bottom[0].within(MUL + 1)
    elif all(v.kind == "num" for v in bottom):
        under = f"({_times(bottom)})"
    else:
        under = " / ".join(v.within(MUL + 1) for v in bottom)
    return f"{text} / {under}", MUL


def power(scope: Scope, e: Pow, order) -> Val:
    base, exponent = e.args
    if exponent == -1:
        return ratio(scope, Rational(1), [], [expr(scope, base, order)], order)
    if exponent.is_Integer and exponent < 0:
        return ratio(scope, Rational(1), [], [expr(scope, Pow(base, -exponent), order)], order)
    v = as_number(scope, expr(scope, base, order))
    if exponent == 2:
        if v.prec == ATOM and len(v.src) <= 20:
            return around(v, "{} * {}", MUL, v.kind)
        return around(v, "jnp.square({})", ATOM, v.kind)
    if exponent.is_Integer:
        return Val(f"{v.within(POW + 1)} ** {int(exponent)}", POW, v.axes, v.kind)
    v = as_float(scope, v)
    if exponent == Rational(1, 2):
        return around(v, "jnp.sqrt({})", ATOM, v.kind)
    if exponent == Rational(-1, 2):
        return around(v, f"{scope.module('lax')}.rsqrt({{}})", ATOM, v.kind)
    w = expr(scope, exponent, order)
    axes = union([v, w], order)
    v, w = align(v, axes), align(w, axes)
    return Val(f"{v.within(POW + 1)} ** {w.within(UNARY)}", POW, axes, joint_kind(v.kind, w.kind))


# -- conditions ---------------------------------------------------------------------------------------------------------


def piecewise(scope: Scope, e: Piecewise, order) -> Val:
    *branches, (last, always) = e.args
    if not isinstance(always, BooleanTrue):
        raise UnsupportedError(f"{e}: a Piecewise needs a last branch (value, True)")
    v = as_number(scope, expr(scope, last, order))
    for value, test in reversed(branches):
        with scope.assuming([test]):
            yes = as_number(scope, expr(scope, value, order))
        v = where(scope, condition(scope, test, order), yes, v, order)
    return v


def conjunction(scope: Scope, conditions, order) -> Val | None:
    """All of the conditions, or None if every one is known to hold."""
    found = [v for v in (condition(scope, c, order) for c in conditions) if v.src != "True"]
    if not found:
        return None
    test = combine(found, "&", AND, order)
    return reads.inside(scope, test, conditions) if len(found) > 1 else test


def combine(values, op: str, prec: int, order) -> Val:
    values = list(dict.fromkeys(values))
    if len(values) == 1:
        return values[0]
    axes = union(values, order)
    values = [align(v, axes) for v in values]
    return Val(f" {op} ".join(v.within(prec + 1) for v in values), prec, axes, "bool")


def condition(scope: Scope, c, order) -> Val:
    """A condition as a boolean value."""
    if isinstance(c, BooleanTrue | BooleanFalse):
        return Val(str(bool(c)), ATOM, (), "bool")
    if isinstance(c, And):
        return combine([condition(scope, a, order) for a in c.args], "&", AND, order)
    if isinstance(c, Or):
        return combine([condition(scope, a, order) for a in c.args], "|", OR, order)
    if isinstance(c, Not):
        v = condition(scope, c.args[0], order)
        return Val(f"~{v.within(UNARY)}", UNARY, v.axes, "bool")
    if isinstance(c, Read) and c.tensor.dtype == "bool":
        return expr(scope, c, order)
    op = next((text for cls, text in RELATIONS.items() if isinstance(c, cls)), None)
    if op is None:
        raise UnsupportedError(f"condition {c}: accepted are ==, !=, <, <=, >, >=, And, Or and Not of scalars")
    left, right, op = _tidy(*_sides(c), op)
    a, b = expr(scope, left, order), expr(scope, right, order)
    axes = union([a, b], order)
    a, b = align(a, axes), align(b, axes)
    return Val(f"{a.within(COMPARE + 1)} {op} {b.within(COMPARE + 1)}", COMPARE, axes, "bool")


def _sides(c):
    """Both sides of a relation; ``a - b == 0`` with an index in ``b`` is shown as ``a == b``."""
    left, right = c.args
    if right == 0 and isinstance(left, Add):
        minus = [a for a in left.args if a.could_extract_minus_sign()]
        if any(_labels(a) for a in minus) and len(minus) < len(left.args):
            return Add(*(a for a in left.args if a not in minus)), Add(*(-a for a in minus))
    return left, right


FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def _tidy(left, right, op: str):
    """``0 <= q - 1`` as ``q >= 1``: the index alone on the left, where one index and numbers are all there is."""
    if not _labels(left) and _labels(right):
        left, right, op = right, left, FLIPPED[op]
    shift = left.as_coeff_Add()[0]
    if isinstance(left, Add) and shift.is_Integer and isinstance(left - shift, Index) and right.is_Integer:
        return left - shift, right - shift, op
    return left, right, op
