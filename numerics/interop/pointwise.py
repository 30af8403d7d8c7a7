"""The rows of elementwise primitives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import sympy
from sympy import And, Eq, Expr, Ge, Gt, Integer, Le, Lt, Ne, Rational

import derive as dv
from derive.language.nodes import Reduction, digamma, loggamma, polygamma
from derive.language.tensor import Read

from .flat import Op
from .interpret import Interpreter
from .numbers import exact
from .table import primitive, refuse
from .value import Value, as_float, chosen, common, kind_of, merged


def elementwise(op: Op, values: Sequence[Value], body: Callable[..., Any]) -> Value:
    """A function of the values at the same index."""
    out = op.outs[0]
    whole = [v for v in values if v.axes]
    axes = common(whole, out.shape)
    at = [merged(a) for a in axes]
    return Value(axes, body(*(v.at(at) if v.axes else v.body for v in values)), kind_of(out.dtype))


def _number(e: Any) -> Any:
    """A condition among numbers counts as 1 or 0."""
    return as_float(e)


def _row(name: str, body: Callable[..., Any]) -> None:
    @primitive(name)
    def row(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
        if op.outs[0].dtype is not None and np.issubdtype(op.outs[0].dtype, np.complexfloating):
            raise refuse(op, "complex numbers are not in the language")
        return elementwise(op, values, lambda *args: body(*map(_number, args)))


def _power(x: Expr, y: Expr) -> Expr:
    return x**y


def _maximum(a: Expr, b: Expr) -> Expr:
    if -sympy.oo in (a, b):
        return b if a == -sympy.oo else a
    if a.is_number and b.is_number:
        return sympy.Max(a, b)
    if 0 in (a, b):
        return dv.relu(a if b == 0 else b)
    return dv.maximum(a, b)


def _minimum(a: Expr, b: Expr) -> Expr:
    if sympy.oo in (a, b):
        return b if a == sympy.oo else a
    return dv.minimum(a, b)


def _absolute(x: Expr) -> Expr:
    return x if is_positive(x) else sympy.Abs(x)


def is_positive(e: Any) -> bool:
    """Whether an expression is seen to be no less than zero: powers of e, their sums and products."""
    if isinstance(e, Read) and e.tensor.definition is not None:
        return is_positive(e.tensor.definition.body)
    if isinstance(e, dv.Sum | dv.Max):
        return is_positive(e.body)
    if isinstance(e, sympy.Add | sympy.Mul):
        return all(map(is_positive, e.args))
    if isinstance(e, sympy.Piecewise):
        return all(is_positive(v) for v, _ in e.args)
    if isinstance(e, sympy.Pow) and e.exp.is_even:
        return True
    return isinstance(e, sympy.exp | sympy.Abs | dv.Iverson | dv.sigmoid | dv.relu) or e.is_nonnegative is True


def truncated(x: Expr) -> Expr:
    """The whole part of a number, towards zero."""
    return sympy.floor(x) if is_positive(x) else sympy.sign(x) * sympy.floor(sympy.Abs(x))


LOG_2, HALF = sympy.log(2), Rational(1, 2)
for _name, _body in {
    "neg": lambda x: -x,
    "add": lambda x, y: x + y,
    "add_any": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: x * y,
    "pow": _power,
    "sqrt": sympy.sqrt,
    "rsqrt": lambda x: x ** Rational(-1, 2),
    "cbrt": lambda x: sympy.sign(x) * sympy.Abs(x) ** Rational(1, 3),
    "square": lambda x: x**2,
    "one_minus_square": lambda x: 1 - x**2,
    "polynomial": lambda x, *coefs: sympy.Add(*(c * x**n for n, c in enumerate(coefs))),
    "exp": sympy.exp,
    "exp2": lambda x: sympy.exp(x * LOG_2),
    "expm1": lambda x: sympy.exp(x) - 1,
    "log": sympy.log,
    "log2": lambda x: sympy.log(x) / LOG_2,
    "log1p": lambda x: sympy.log(1 + x),
    "logaddexp": lambda x, y: sympy.log(sympy.exp(x) + sympy.exp(y)),
    "logaddexp2": lambda x, y: sympy.log(sympy.exp(x * LOG_2) + sympy.exp(y * LOG_2)) / LOG_2,
    "sin": sympy.sin,
    "cos": sympy.cos,
    "tan": sympy.tan,
    "asin": sympy.asin,
    "acos": sympy.acos,
    "atan": sympy.atan,
    "sinh": sympy.sinh,
    "cosh": sympy.cosh,
    "tanh": sympy.tanh,
    "asinh": sympy.asinh,
    "acosh": sympy.acosh,
    "atanh": sympy.atanh,
    "erf": sympy.erf,
    "erfc": sympy.erfc,
    "erf_inv": sympy.erfinv,
    "ndtri": dv.ndtri,
    "log_ndtr": dv.log_ndtr,
    "lgamma": loggamma,
    "digamma": digamma,
    "polygamma": polygamma,
    "logistic": dv.sigmoid,
    "abs": _absolute,
    "sign": sympy.sign,
    "floor": sympy.floor,
    "ceil": lambda x: -sympy.floor(-x),
    "max": _maximum,
    "min": _minimum,
    "clamp": lambda low, x, high: _minimum(_maximum(x, low), high),
    "stop_gradient": lambda x: dv.stop_gradient(x) if x.has(Read) else x,
    "floor_divide": lambda x, y: sympy.floor(x / y),
    "remainder": lambda x, y: x - y * sympy.floor(x / y),
    "rem": lambda x, y: x - y * truncated(x / y),
    "atan2": dv.atan2,
}.items():
    _row(_name, _body)


@primitive(
    "copy",
    "optimization_barrier",
    "device_put",
    "sharding_constraint",
    "reshard",
    "layout_constraint",
    "relayout",
    "name",
    view=True,
)
def _as_it_is(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    """What says where or when values are computed, and not what they are."""
    return list(values)


@primitive("div")
def _div(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    if kind_of(op.outs[0].dtype) == "int":
        return elementwise(op, values, lambda x, y: truncated(as_float(x) / as_float(y)))
    return elementwise(op, values, lambda x, y: as_float(x) / as_float(y))


@primitive("round")
def _round(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    to_even = int(op.params["rounding_method"]) == 1
    return elementwise(op, values, _to_even if to_even else lambda x: sympy.sign(x) * sympy.floor(sympy.Abs(x) + HALF))


def _to_even(x: Expr) -> Expr:
    """The nearest whole number, of two the even one."""
    up = sympy.floor(x + HALF)
    tie = And(Eq(up - x, HALF), Ne(2 * sympy.floor(up / 2), up))
    return chosen([(up - 1, tie), (up, sympy.true)])


@primitive("integer_pow")
def _integer_pow(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    return elementwise(op, values, lambda x: as_float(x) ** op.params["y"])


@primitive("signbit")
def _signbit(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    return elementwise(op, values, lambda x: sympy.false if is_positive(x) else Lt(x, 0))


@primitive("is_finite")
def _is_finite(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    return elementwise(op, values, lambda x: sympy.true)


def _comparison(
    name: str, relation: Callable[[Any, Any], Any], of_conditions: Callable[[Any, Any], Any] | None
) -> None:
    @primitive(name)
    def row(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
        def body(a: Any, b: Any) -> Any:
            if of_conditions is not None and values[0].kind == values[1].kind == "bool":
                return of_conditions(a, b)
            a, b = as_float(a), as_float(b)
            if isinstance(a, dv.Iverson) and b == 0 and name in ("ne", "gt", "eq"):  # a mask made a number, and back
                return sympy.Not(a.condition) if name == "eq" else a.condition
            if isinstance(a, dv.Iverson) and b == 1 and name in ("ne", "eq"):
                return sympy.Not(a.condition) if name == "ne" else a.condition
            if isinstance(a, sympy.Piecewise):  # SymPy would try to solve a condition on branches
                return chosen([(relation(v, b), c) for v, c in a.args])
            if b == 0 and name in ("lt", "ge") and is_positive(a):
                return sympy.false if name == "lt" else sympy.true
            if a == b and not isinstance(a, sympy.Float):
                return relation(Integer(0), Integer(0))
            return relation(a, b)

        # SymPy would draw the branches of a reduction out of it, and the index that it is over with them
        pairs = zip(values, op.ins, strict=True)
        plain = [new.shared(v, var, op) if _is_branched(v.body) else v for v, var in pairs]
        return elementwise(op, plain, body)


_comparison("eq", Eq, lambda a, b: sympy.Not(sympy.Xor(a, b)))
_comparison("ne", Ne, sympy.Xor)
for _compared, _relation in {"lt": Lt, "le": Le, "gt": Gt, "ge": Ge}.items():
    _comparison(_compared, _relation, None)


def _is_branched(e: Any) -> bool:
    """Whether an expression reduces over branches."""
    return isinstance(e, Expr) and any(r.has(sympy.Piecewise) for r in e.atoms(Reduction))


def _logical(name: str, of: Callable[..., Any]) -> None:
    @primitive(name)
    def row(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
        if any(v.kind != "bool" for v in values):
            masks = [_as_mask(v) for v in values]
            if name == "not" or any(m is None for m in masks):
                raise refuse(
                    op, "bits of integers are not in the language; accepted: masks, and the integers 0 and 1 of them"
                )
            return elementwise(op, [m for m in masks if m is not None], lambda *args: as_float(of(*args)))
        return elementwise(op, values, of)


def _as_mask(v: Value) -> Value | None:
    """Integers that are 0 or 1 as a mask; None for others."""
    if v.kind == "bool":
        return v
    if v.body in (0, 1):
        return Value(v.axes, sympy.true if v.body == 1 else sympy.false, "bool")
    return Value(v.axes, v.body.condition, "bool") if isinstance(v.body, dv.Iverson) else None


for _logic, _of in {"and": sympy.And, "or": sympy.Or, "not": sympy.Not, "xor": sympy.Xor}.items():
    _logical(_logic, _of)


@primitive("select_n")
def _select(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    which, *cases = values
    lowest = exact(np.finfo(op.outs[0].dtype).min, op.outs[0].dtype) if kind_of(op.outs[0].dtype) == "float" else None

    def body(w: Any, *found: Any) -> Any:
        if which.kind == "bool":
            if sympy.nan in found:  # where JAX has no value there is none here
                return found[0] if found[1] is sympy.nan else found[1]
            if found[0] == lowest and not w.has(Read):  # no row of a mask of indices is empty
                found = (-sympy.oo, *found[1:])
            no, yes = _by_sign(w, *found)
            if _alike(no, yes):
                return yes
            return chosen([(yes, w), (no, sympy.true)])
        if isinstance(w, sympy.Piecewise) and all(n.is_Integer for n, _ in w.args):
            return chosen(_without_nan([(found[min(max(int(n), 0), len(found) - 1)], c) for n, c in w.args]))
        pairs = [(v, Eq(w, n)) for n, v in enumerate(found[:-1])]
        return chosen([*pairs, (found[-1], sympy.true)])

    return elementwise(op, [which, *cases], body)


def _by_sign(w: Any, no: Any, yes: Any) -> tuple[Any, Any]:
    """Branches by the sign of x, with x for |x| in the one and -x in the other: what JAX so writes may be one formula."""
    if not isinstance(w, Gt | Lt) or 0 not in w.args:
        return no, yes
    x = (w.lhs - w.rhs).as_coeff_Mul()[1] if isinstance(w, Gt) else (w.rhs - w.lhs).as_coeff_Mul()[1]
    x = sympy.Mul(*(f for f in sympy.Mul.make_args(x) if not f.is_number))
    positive = isinstance(w, Gt) == bool((w.lhs - w.rhs).coeff(x).is_positive)
    signs = [(no, -x if positive else x), (yes, x if positive else -x)]
    found = [e.xreplace({sympy.Abs(x): v}) if isinstance(e, Expr) else e for e, v in signs]
    return found[0], found[1]


def _alike(a: Any, b: Any) -> bool:
    """Whether two branches are one function of the error function, 1 - erf(u) in the one and erfc(u) in the other."""
    if not any(isinstance(e, Expr) and e.has(sympy.erfc) for e in (a, b)) or not (
        isinstance(a, Expr) and isinstance(b, Expr)
    ):
        return False
    return bool(sympy.expand((a - b).replace(sympy.erfc, lambda u: 1 - sympy.erf(u))) == 0)


def _without_nan(cases: list[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """Cases where JAX has a value; the last of them for all that is left."""
    kept = [(v, c) for v, c in cases if v is not sympy.nan] or cases
    return [*kept[:-1], (kept[-1][0], sympy.true)]


@primitive("convert_element_type", view=True)
def _convert(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    before, after = kind_of(op.ins[0].dtype), kind_of(op.outs[0].dtype)
    (v,) = values
    if after == "bool" and before != "bool":
        return elementwise(op, values, lambda x: x.condition if isinstance(x, dv.Iverson) else Ne(x, 0))
    if before == "bool" and after != "bool":
        return elementwise(op, values, as_float)
    if before == "float" and after == "int":
        return elementwise(op, values, truncated)
    if before == after == "float" and any(r.tensor.name not in new.arrays for r in v.body.atoms(Read)):
        new.convert(op)
    return Value(v.axes, v.body, after)
