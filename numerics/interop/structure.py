"""The rows of primitives that move values about: reads at other indices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
from sympy import Expr, Integer, expand

import derive as dv
from derive.language import affine
from derive.language.index import Index, same_size

from .axes import runs
from .flat import Op
from .interpret import Interpreter
from .table import primitive, refuse
from .value import Value, as_float, chosen, kind_of, merged, opened, parts_of, radix


def _plain(op: Op, at: Any, n: int = 0) -> Value:
    """The result of fresh indices, one an axis, whose value is ``at(indices)``."""
    out = op.outs[n]
    idx = parts_of(out.shape)
    return Value(tuple((i,) for i in idx), at(idx), kind_of(out.dtype))


@primitive("broadcast_in_dim", view=True)
def _broadcast(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v, out = values[0], op.outs[0]
    to = op.params["broadcast_dimensions"]
    axes: list[tuple[Index, ...]] = [(opened(s),) for s in out.shape]
    at: list[Expr] = []
    for own, n in zip(v.axes, to, strict=True):
        if same_size(v.shape[len(at)], out.shape[int(n)]):
            axes[int(n)] = parts_of([i.size for i in own])
            at.append(merged(axes[int(n)]))
        else:
            at.append(Integer(0))
    return Value(tuple(axes), v.at(at), v.kind)


@primitive("transpose", view=True)
def _transpose(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    return Value(tuple(v.axes[int(n)] for n in op.params["permutation"]), v.body, v.kind)


@primitive("squeeze", view=True)
def _squeeze(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    gone = {int(n) for n in op.params["dimensions"]}
    idx = v.like()
    kept = tuple(a for n, a in enumerate(idx) if n not in gone)
    return Value(kept, v.at([Integer(0) if n in gone else merged(a) for n, a in enumerate(idx)]), v.kind)


@primitive("reshape", view=True)
def _reshape(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    out = op.outs[0]
    old, wanted = [new.number(s) for s in v.shape], [new.number(s) for s in out.shape]
    axes: list[tuple[Any, ...]] = [(opened(s),) for s in out.shape]
    at: list[Expr] = [Integer(0)] * len(old)
    for source, target in runs(old, wanted):
        if len(target) == 1:
            parts = [tuple(v.axes[n]) for n in source]
            fresh = [parts_of([i.size for i in p]) for p in parts]
            axes[target[0]] = tuple(i for f in fresh for i in f)
            for n, f in zip(source, fresh, strict=True):
                at[n] = merged(f)
        elif len(source) == 1:
            idx = [axes[n][0] for n in target]
            at[source[0]] = radix(idx, [out.shape[n] for n in target])
        else:
            found = _refined([v.shape[n] for n in source], [out.shape[n] for n in target])
            if found is None:
                raise refuse(op, f"axes {source} become axes {target}, and none is a product of the others")
            for n, own in zip(source, found[0], strict=True):
                at[n] = merged(own)
            for n, own in zip(target, found[1], strict=True):
                axes[n] = own
    return Value(tuple(axes), v.at(at), v.kind)


def _refined(
    old: Sequence[Expr], new: Sequence[Expr]
) -> tuple[list[tuple[Index, ...]], list[tuple[Index, ...]]] | None:
    """Both shapes in parts that they have in common: of (B, 8) and (2*B, 4) those are B, 2 and 4."""
    parts: tuple[list[list[Index]], list[list[Index]]] = ([[] for _ in old], [[] for _ in new])
    n, m = len(old) - 1, len(new) - 1
    a, b = old[n], new[m]
    while True:
        more, less = sympy.cancel(a / b), sympy.cancel(b / a)
        if not _is_whole(more) and not _is_whole(less):
            return None
        part = opened(b if _is_whole(more) else a)
        parts[0][n].insert(0, part)
        parts[1][m].insert(0, part)
        a, b = (more, Integer(1)) if _is_whole(more) else (Integer(1), less)
        if a == 1:
            n -= 1
        if b == 1:
            m -= 1
        if n < 0 or m < 0:
            return ([tuple(p) for p in parts[0]], [tuple(p) for p in parts[1]]) if n == m == -1 else None
        a, b = (old[n] if a == 1 else a), (new[m] if b == 1 else b)


def _is_whole(e: Expr) -> bool:
    """Whether a quotient of sizes is a product of sizes."""
    return bool(sympy.denom(e) == 1 and (e.is_Integer or e.is_polynomial()))


@primitive("slice", view=True)
def _slice(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    starts = op.params["start_indices"]
    steps = op.params["strides"] or [Integer(1)] * len(starts)
    out = op.outs[0]
    axes = tuple(
        parts_of([i.size for i in a]) if same_size(v.shape[n], s) else (opened(s),)
        for n, (a, s) in enumerate(zip(v.axes, out.shape, strict=True))
    )
    at = [expand(a + s * merged(i)) for a, s, i in zip(starts, steps, axes, strict=True)]
    for e, size in zip(at, v.shape, strict=True):
        new.within(e, size)
    return Value(axes, v.at(at), v.kind)


@primitive("split", view=True)
def _split(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    (v,) = values
    axis, start, out = int(op.params["axis"]), Integer(0), []
    for n, size in enumerate(op.params["sizes"]):
        begin = start
        new.within(opened(size) + begin, v.shape[axis])
        out.append(
            _plain(op, lambda idx, begin=begin: v.at([e + begin if m == axis else e for m, e in enumerate(idx)]), n)
        )
        start += size
    return out


@primitive("rev", view=True)
def _reversed(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    turned = {int(n) for n in op.params["dimensions"]}
    return _plain(op, lambda idx: v.at([v.shape[n] - 1 - e if n in turned else e for n, e in enumerate(idx)]))


@primitive("zero", "empty")
def _zero(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    return _plain(op, lambda idx: Integer(0))


@primitive("iota")
def _iota(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    return _plain(op, lambda idx: idx[int(op.params["dimension"])] * Integer(1))


@primitive("concatenate")
def _concatenate(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    axis = int(op.params["dimension"])
    values = [new.shared(v, var, op) for v, var in zip(values, op.ins, strict=True)]

    def at(idx: Sequence[Expr]) -> Any:
        cases, start = [], Integer(0)
        for n, v in enumerate(values):
            stop = start + v.shape[axis]
            here = [e - start if m == axis else e for m, e in enumerate(idx)]
            cases.append((v.at(here), sympy.true if n == len(values) - 1 else idx[axis] < stop))
            start = stop
        return chosen(cases)

    return _plain(op, at)


@primitive("stack")
def _stack(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    axis = int(op.params["axis"])
    values = [new.shared(v, var, op) for v, var in zip(values, op.ins, strict=True)]

    def at(idx: Sequence[Expr]) -> Any:
        rest = [e for n, e in enumerate(idx) if n != axis]
        cases = [(v.at(rest), sympy.Eq(idx[axis], n)) for n, v in enumerate(values[:-1])]
        return chosen([*cases, (values[-1].at(rest), sympy.true)])

    return _plain(op, at)


@primitive("unstack", view=True)
def _unstack(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    (v,) = values
    axis = int(op.params["axis"])
    return [_plain(op, lambda idx, n=n: v.at([*idx[:axis], Integer(n), *idx[axis:]]), n) for n in range(len(op.outs))]


@primitive("tile")
def _tile(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    (v,) = values
    reps = op.params["reps"]
    axes = tuple(
        parts_of([i.size for i in own]) if r == 1 else (opened(r), *parts_of([i.size for i in own]))
        for own, r in zip(v.axes, reps, strict=True)
    )
    at = [merged(a if r == 1 else a[1:]) for a, r in zip(axes, reps, strict=True)]
    return Value(axes, v.at(at), v.kind)


@primitive("pad")
def _pad(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v, filler = values
    lows = [low for low, _, _ in op.params["padding_config"]]
    if any(inner != 0 for _, _, inner in op.params["padding_config"]):
        return _spread(new, op, v, filler)

    def at(idx: Sequence[Expr]) -> Any:
        inside: list[Any] = []
        for e, low, n, total in zip(idx, lows, v.shape, op.outs[0].shape, strict=True):
            if low != 0:
                inside.append(e >= low)
            if not same_size(low + n, total):
                inside.append(e < low + n)
        here = v.at([e - low for e, low in zip(idx, lows, strict=True)])
        return chosen([(here, sympy.And(*inside)), (filler.body, sympy.true)])

    return _plain(op, at)


def _spread(new: Interpreter, op: Op, v: Value, filler: Value) -> Value:
    """Elements set apart: at ``low + (inner + 1)*u`` stands the one at u, between them zeros."""
    if filler.body != 0:
        raise refuse(op, "interior padding by other numbers; accepted: interior padding by zeros")
    v = new.read_outside(v, op)

    def at(idx: Sequence[Expr]) -> Any:
        here, over, places = list(idx), [], []
        for n, (low, _, inner) in enumerate(op.params["padding_config"]):
            if inner == 0:
                here[n] = idx[n] - low
                continue
            here[n] = opened(v.shape[n])
            over.append(here[n])
            places.append(dv.Iverson(sympy.Eq(low + (inner + 1) * here[n], idx[n])))
        body = sympy.Mul(as_float(v.at(here)), *places).xreplace({u: Integer(0) for u in over if u.size == 1})
        return new.sum(body, [u for u in over if u.size != 1])

    return _plain(op, at)


@primitive("dynamic_slice")
def _dynamic_slice(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v, *starts = values
    at = [
        Integer(0) if same_size(n, m) else new.index(s.body, n - m + 1, op)
        for s, n, m in zip(starts, v.shape, op.outs[0].shape, strict=True)
    ]
    return _plain(op, lambda idx: v.at([expand(a + e) for a, e in zip(at, idx, strict=True)]))


@primitive("dynamic_update_slice")
def _dynamic_update(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v, update, *starts = values
    at = [
        Integer(0) if same_size(n, m) else new.index(s.body, n - m + 1, op)
        for s, n, m in zip(starts, v.shape, update.shape, strict=True)
    ]

    def body(idx: Sequence[Expr]) -> Any:
        inside = [
            c
            for e, a, n, m in zip(idx, at, update.shape, v.shape, strict=True)
            if not same_size(n, m)
            for c in (e >= a, e < a + n)
        ]
        here = update.at([e - a for e, a in zip(idx, at, strict=True)])
        return chosen([(here, sympy.And(*inside)), (v.at(idx), sympy.true)])

    return _plain(op, body)


@primitive("gather")
def _gather(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v, where = values
    d, out = op.params["dimension_numbers"], op.outs[0]
    slices = op.params["slice_sizes"]
    kept = [n for n in range(len(v.shape)) if n not in (*d.collapsed_slice_dims, *d.operand_batching_dims)]
    along = iter(where.like())
    axes = [(opened(s),) if n in d.offset_dims else next(along) for n, s in enumerate(out.shape)]
    batch = [merged(a) for n, a in enumerate(axes) if n not in d.offset_dims]
    inside = dict(zip(kept, (axes[n][0] for n in d.offset_dims), strict=True))
    at: list[Expr] = []
    over: list[Index] = []
    places: list[Expr] = []
    for n, size in enumerate(v.shape):
        e: Expr = Integer(0)
        if n in d.start_index_map and not same_size(size, slices[n]):
            span = size - slices[n] + 1
            found = new.places(op.ins[1], where, d.start_index_map.index(n), span, op).at(batch)
            e = new.index(found, span, op, loose=True)
        if n in d.operand_batching_dims:
            e = batch[d.start_indices_batching_dims[d.operand_batching_dims.index(n)]]
        e = expand(e + inside.get(n, Integer(0)))
        if not new.is_position(e):
            over.append(opened(size))
            places.append(dv.Iverson(sympy.Eq(over[-1], e)))
            e = over[-1]
        at.append(e)
    if not over:
        return Value(tuple(axes), v.at(at), v.kind)
    body = dv.Sum(as_float(new.shared(v, op.ins[0], op).at(at)) * sympy.Mul(*places), *over)
    return Value(tuple(axes), sympy.Gt(body, 0) if v.kind == "bool" else body, v.kind)


@primitive("scatter", "scatter-add", "scatter-sub", "scatter-mul", "scatter-max", "scatter-min")
def _scatter(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    v, where, update = values
    d = op.params["dimension_numbers"]
    if d.operand_batching_dims:
        raise refuse(op, "batched scatters; accepted: x.at[index].set, .add and .multiply")
    batch = [n for n in range(len(update.shape)) if n not in d.update_window_dims]
    over = parts_of([update.shape[n] for n in batch])
    kept = [n for n in range(len(v.shape)) if n not in d.inserted_window_dims]
    sums = [i for i in over if i.size != 1]
    sign = {"scatter-add": 1, "scatter-sub": -1}.get(op.name, 0)
    starts: list[Expr] = []

    def body(idx: Sequence[Expr]) -> Any:
        inside: list[Any] = []
        window = dict(zip(d.update_window_dims, kept, strict=True))
        here: list[Expr] = []
        for n in range(len(update.shape)):
            here.append(over[batch.index(n)] if n in batch else idx[window[n]])
        for k, n in enumerate(d.scatter_dims_to_operand_dims):
            spread = update.shape[d.update_window_dims[kept.index(n)]] if n in kept else Integer(1)
            if n in kept and same_size(spread, v.shape[n]):
                continue
            span = v.shape[n] - spread + 1
            found = new.places(op.ins[1], where, k, span, op).at(over)
            start = new.index(found, span, op, loose=n not in kept and bool(sign))
            starts.append(start)
            if n in kept:
                here[d.update_window_dims[kept.index(n)]] = idx[n] - start
                inside += [idx[n] >= start, idx[n] < start + spread]
            else:
                inside.append(sympy.Eq(idx[n], start))
        hit = sympy.And(*inside)
        moved = [Integer(0) if i.size == 1 else i for i in over]
        put_here = update.at(here)
        put_here = put_here.xreplace(dict(zip(over, moved, strict=True)))
        hit = hit.xreplace(dict(zip(over, moved, strict=True)))
        if op.name in ("scatter-max", "scatter-min"):
            return _extreme(v.at(idx), put_here, hit, sums, 1 if op.name == "scatter-max" else -1)
        if not sign and all(_apart(i, sums, starts) for i in sums):
            put_here = put_here if op.name == "scatter" else as_float(v.at(idx)) * as_float(put_here)
            if not sums:
                return chosen([(put_here, hit), (v.at(idx), sympy.true)])
            kept_here = as_float(v.at(idx)) * (1 - new.sum(as_float(hit), sums))
            return kept_here + new.sum(as_float(put_here) * as_float(hit), sums)
        if not sign:
            raise refuse(
                op,
                "several places set at once may be one place; accepted: x.at[index].add, one index, or places in steps "
                "such as x.at[::2].set",
            )
        added = sign * as_float(put_here) * as_float(hit)
        return v.at(idx) + (new.sum(added, sums) if sums else added)

    return _plain(op, body)


def _extreme(before: Any, update: Any, hit: Any, sums: Sequence[Index], sign: int) -> Any:
    """The greatest of what was there and what is put there, or the least: sign -1."""
    found = chosen([(sign * as_float(update), hit), (-sympy.oo, sympy.true)])
    if sums:
        found = dv.Max(found, *sums)
    return sign * found if before == -sign * sympy.oo else sign * dv.maximum(sign * as_float(before), found)


def _apart(i: Index, sums: Sequence[Index], starts: Sequence[Expr]) -> bool:
    """Whether places that differ in one index are different places: a start moves in equal steps with it alone."""
    split = [p for p in map(affine.parts, starts) if p is not None]
    return any(set(atoms) & set(sums) == {i} and atoms[i].is_nonzero and len(atoms) == 1 for atoms, _ in split)
