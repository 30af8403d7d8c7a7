"""The rows of sums, products of tensors, maxima, windows and cumulative sums."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import sympy
from sympy import Expr, Integer, Piecewise, expand

import derive as dv
from derive.language.index import Index

from .flat import Op
from .interpret import Interpreter
from .table import primitive, refuse
from .value import Value, as_float, chosen, kind_of, merged, opened, parts_of

FEW = 16  # conditions up to which the first that holds is asked for one by one


def _reduce(
    name: str, of: Callable[[Interpreter, Any, list[Index]], Any]
) -> Callable[[Interpreter, Op, Sequence[Value]], Value]:
    def row(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
        (v,) = values
        gone = {int(n) for n in op.params["axes"]}
        idx = v.like()
        bound = [i for n, a in enumerate(idx) if n in gone for i in a]
        body = v.at([merged(a) for a in idx])
        kept = tuple(a for n, a in enumerate(idx) if n not in gone)
        body = body.xreplace({i: Integer(0) for i in bound if i.size == 1})
        bound = [i for i in bound if i.size != 1]
        return Value(kept, of(new, body, bound) if bound else body, kind_of(op.outs[0].dtype))

    primitive(name)(row)
    return row


def _maximal(new: Interpreter, body: Expr, bound: list[Index]) -> Expr:
    return dv.Max(body, *bound) if body.free_symbols & set(bound) else body


_added = _reduce("reduce_sum", lambda new, body, bound: new.sum(as_float(body), bound))
_reduce("reduce_max", _maximal)
_reduce("reduce_min", lambda new, body, bound: -_maximal(new, -body, bound))
_reduce("reduce_prod", lambda new, body, bound: new.product(as_float(body), bound))
_reduce("reduce_or", lambda new, body, bound: sympy.Gt(new.sum(as_float(body), bound), 0))
_reduce("reduce_and", lambda new, body, bound: sympy.Eq(new.sum(as_float(sympy.Not(body)), bound), 0))


@primitive("psum")
def _psum(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    """The sum over a mapped axis, which ``jax.vmap(..., axis_name=)`` has made an axis of the arrays."""
    if any(isinstance(a, str) for a in op.params["axes"]):
        raise refuse(op, "programs of several devices are not in the language; accepted: the axis_name of a jax.vmap")
    ops = [replace(op, ins=[i], outs=[o]) for i, o in zip(op.ins, op.outs, strict=True)]
    return [_added(new, of, [v]) for of, v in zip(ops, values, strict=True)]


@primitive("argmax", "argmin")
def _argmax(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    axis = int(op.params["axes"][0])
    if v.kind == "bool" and op.name == "argmax" and v.shape[axis].is_Integer and v.shape[axis] <= FEW:
        return _first(v, axis)
    idx = v.like()
    if len(idx[axis]) > 1:
        idx = tuple((opened(v.shape[n]),) if n == axis else a for n, a in enumerate(idx))
    body = as_float(v.at([merged(a) for a in idx]))
    found = dv.argmax(body if op.name == "argmax" else -body, idx[axis][0])
    return new.named(Value(tuple(a for n, a in enumerate(idx) if n != axis), found, "int"), op, op.name)


def _first(v: Value, axis: int) -> Value:
    """The first of a few conditions that holds, as ``jnp.select`` and ``jnp.piecewise`` ask for it; 0 if none does."""
    idx = parts_of([s for n, s in enumerate(v.shape) if n != axis])
    pieces = [(Integer(k), v.at([*idx[:axis], Integer(k), *idx[axis:]])) for k in range(int(v.shape[axis]))]
    return Value(tuple((i,) for i in idx), chosen([*pieces, (Integer(0), sympy.true)]), "int")


@primitive("searchsorted")
def _search(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    """The place of a number among sorted ones: how many are less, or no greater."""
    among, sought = values
    j, idx = opened(among.shape[0]), sought.like()
    one, other = as_float(among.at([j])), as_float(sought.at([merged(a) for a in idx]))
    before = sympy.Lt(one, other) if op.params["side"] == "left" else sympy.Le(one, other)
    return new.named(Value(idx, new.sum(dv.Iverson(before), [j]), "int"), op, "place")


@primitive("dot_general")
def _dot(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    a, b = (new.shared(v, var, op) for v, var in zip(values, op.ins, strict=True))
    (lc, rc), (lb, rb) = op.params["dimension_numbers"]
    left: list[Any] = [None] * len(a.axes)
    right: list[Any] = [None] * len(b.axes)
    bound: list[Index] = []
    for shared, pairs in ((True, zip(lb, rb, strict=True)), (False, zip(lc, rc, strict=True))):
        for n, m in pairs:
            parted = max(a.axes[int(n)], b.axes[int(m)], key=len)
            fresh = parts_of([i.size for i in parted])
            left[int(n)] = right[int(m)] = fresh
            if not shared:
                bound += fresh
    left = [parts_of([i.size for i in own]) if x is None else x for own, x in zip(a.axes, left, strict=True)]
    right = [parts_of([i.size for i in own]) if x is None else x for own, x in zip(b.axes, right, strict=True)]
    body = as_float(a.at([merged(x) for x in left])) * as_float(b.at([merged(x) for x in right]))
    body = body.xreplace({i: Integer(0) for i in bound if i.size == 1})
    used_l, used_r = {int(n) for n in (*lb, *lc)}, {int(n) for n in (*rb, *rc)}
    axes = [left[int(n)] for n in lb]
    axes += [x for n, x in enumerate(left) if n not in used_l] + [x for n, x in enumerate(right) if n not in used_r]
    return Value(tuple(axes), new.sum(body, [i for i in bound if i.size != 1]), "float")


@primitive("cumsum", "cumprod", "cumlogsumexp", "cummax", "cummin")
def _cumulative(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    axis, back = int(op.params["axis"]), op.params["reverse"]
    idx = [(opened(s),) for s in v.shape]
    j, i = opened(v.shape[axis]), idx[axis][0]
    body = as_float(v.at([j if n == axis else a[0] for n, a in enumerate(idx)]))
    upto = j >= i if back else j <= i
    if op.name == "cumsum":
        found: Expr = dv.Sum(Piecewise((body, upto), (0, True), evaluate=False), j)
    elif op.name == "cumprod":
        found = dv.Prod(Piecewise((body, upto), (1, True), evaluate=False), j)
    elif op.name == "cumlogsumexp":
        found = sympy.log(dv.Sum(Piecewise((sympy.exp(body), upto), (0, True), evaluate=False), j))
    else:
        sign = 1 if op.name == "cummax" else -1
        found = sign * dv.Max(Piecewise((sign * body, upto), (-sympy.oo, True), evaluate=False), j)
    return Value(tuple(idx), found, kind_of(op.outs[0].dtype))


@primitive("reduce_window_sum", "reduce_window_max", "reduce_window_min")
def _window(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    p = op.params
    v = new.read_outside(values[0], op)
    if any(d != 1 for d in p["base_dilation"]):
        raise refuse(op, "base_dilation; accepted: window_dilation, strides and padding")
    idx = parts_of(op.outs[0].shape)
    taps = parts_of(p["window_dimensions"])
    at = []
    for i, r, s, d, (low, _) in zip(idx, taps, p["window_strides"], p["window_dilation"], p["padding"], strict=True):
        at.append(expand(s * i + (d * r if r.size != 1 else 0) - low))
    bound = [r for r in taps if r.size != 1]
    body = v.at(at)
    if op.name == "reduce_window_sum":
        found = new.sum(body, bound)
    elif op.name == "reduce_window_max":
        found = dv.Max(body, *bound) if bound else body
    else:
        found = -dv.Max(-body, *bound) if bound else body
    return Value(tuple((i,) for i in idx), found, "float")


@primitive("conv_general_dilated")
def _convolution(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    p = op.params
    d = p["dimension_numbers"]
    if p["batch_group_count"] != 1:
        raise refuse(op, "batch_group_count; accepted: feature_group_count")
    x, kernel = new.read_outside(values[0], op), values[1]
    out = op.outs[0]
    groups = p["feature_group_count"]
    per_in, features = op.ins[1].shape[d.rhs_spec[1]], op.ins[1].shape[d.rhs_spec[0]]
    idx = [opened(s) for s in out.shape]
    axes: list[tuple[Index, ...]] = [(i,) for i in idx]
    c = opened(per_in)
    channel: Expr = c if per_in != 1 else Integer(0)
    if groups != 1:
        each = (
            expand(features / groups)
            if not sympy.cancel(features / groups).is_Integer
            else sympy.cancel(features / groups)
        )
        g, m = opened(groups), opened(each)
        axes[d.out_spec[1]] = (g,) if each == 1 else (g, m)
        channel = expand(g * per_in + channel)
    feature = merged(axes[d.out_spec[1]])
    at_x: list[Expr] = [Integer(0)] * len(x.axes)
    at_k: list[Expr] = [Integer(0)] * len(kernel.axes)
    at_x[d.lhs_spec[0]], at_x[d.lhs_spec[1]] = idx[d.out_spec[0]], channel
    at_k[d.rhs_spec[0]], at_k[d.rhs_spec[1]] = feature, (c if per_in != 1 else Integer(0))
    bound = [c] if per_in != 1 else []
    inside: list[Any] = []
    for n, (m, k, o) in enumerate(zip(d.lhs_spec[2:], d.rhs_spec[2:], d.out_spec[2:], strict=True)):
        r = opened(op.ins[1].shape[k])
        tap: Expr = r if r.size != 1 else Integer(0)
        bound += [r] if r.size != 1 else []
        position = expand(p["window_strides"][n] * idx[o] + p["rhs_dilation"][n] * tap - p["padding"][n][0])
        at_k[k] = tap
        apart = p["lhs_dilation"][n]
        if apart == 1:
            at_x[m] = position
        else:
            u = opened(op.ins[0].shape[m])
            bound.append(u)
            at_x[m] = u
            inside.append(dv.Iverson(sympy.Eq(apart * u, position)))
    body = x.at(at_x) * kernel.at(at_k) * sympy.Mul(*inside)
    return Value(tuple(axes), new.sum(body, bound), "float")
