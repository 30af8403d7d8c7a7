"""The rows of loops and branches: ``scan`` is a recurrence, its carries read at the step before."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer

import derive as dv
from derive.language.index import Index
from derive.language.naming import numbered
from derive.language.tensor import Read, Tensor

from .flat import Block, Literal, Op, Var
from .interpret import Interpreter
from .numbers import exact
from .recurrence import Loop
from .source import statement
from .table import primitive, refuse
from .value import Value, chosen, kind_of, merged, opened, parts_of, put

FEW = 16  # steps up to which a loop over numbers is written out


@primitive("scan")
def _scan(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    p = op.params
    consts, carried = int(p["num_consts"]), int(p["num_carry"])
    length, body = p["length"], p["jaxpr"]
    outer, starts, xs = values[:consts], values[consts : consts + carried], values[consts + carried :]
    arrays = [new.held_array(v) for v in op.ins[consts + carried :]]
    known = [a for a in arrays if a is not None and a.ndim == 1]
    if known and len(known) == len(arrays) and carried == len(op.outs) and length.is_Integer and length <= FEW:
        return list(_written_out(new, op, outer, starts, known))
    if new.loop is not None:
        raise refuse(op, "a loop within a loop; accepted: one loop over a step without loops")
    t = opened(length)
    letter = new.letter(t, set())
    step = length - 1 - t if p["reverse"] else t
    loop = Loop(t, letter)
    each = [Value(x.axes[1:], x.at([step, *(merged(a) for a in x.axes[1:])]), x.kind) for x in xs]
    fixed = _fixed(body, consts, carried)
    carries: list[Value] = []
    heads: dict[int, Tensor] = {}
    for n, (start, var) in enumerate(zip(starts, body.ins[consts : consts + carried], strict=True)):
        counted = _counted(body, consts + n, n)
        if n in fixed:
            carries.append(start)
        elif counted is not None:
            carries.append(Value(start.axes, start.body + counted * t, start.kind))
        else:
            if kind_of(var.dtype) != "float":
                raise refuse(op, f"a carry of dtype {var.dtype}; accepted: floats, and counters")
            carries.append(_before(new, loop, op, n, start, var, t, heads))
    new.loop = loop
    try:
        outs = new.run(body, [*outer, *carries, *each])
        results = _close(new, loop, op, outs, starts, carries, heads, carried, t)
        for n, var in enumerate(body.outs[carried:], carried):  # a carry that is stacked too
            same = next((k for k in heads if body.outs[k] is var), None)
            if same is not None:
                results[n] = results[same]
    finally:
        new.loop = None
    made = loop.close() if loop.heads else {}
    for head in loop.heads:
        new.names[head.name] = made[head]
    return _outside(new, op, outs, results, carried, t, step, made, starts, length)


def _written_out(
    new: Interpreter, op: Op, outer: Sequence[Value], carries: Sequence[Value], arrays: Sequence[np.ndarray]
) -> Sequence[Value]:
    """A short loop over numbers that stand in the function, such as a polynomial's coefficients: step by step."""
    body, uses, new.nested = op.params["jaxpr"], new.uses, True
    steps = range(int(op.params["length"]))
    for n in reversed(steps) if op.params["reverse"] else steps:
        new.uses = dict(uses)
        each = [Value((), exact(a[n], a.dtype), kind_of(a.dtype)) for a in arrays]
        carries = new.run(body, [*outer, *carries, *each])
    new.uses, new.nested = uses, False
    return carries


def _before(
    new: Interpreter, loop: Loop, op: Op, n: int, start: Value, var: Var, t: Index, heads: dict[int, Tensor]
) -> Value:
    """A carry at the beginning of a step: what the step before left, or the start."""

    name = numbered(_carry_name(op, n), new.names, "_")
    new.names[name] = None
    idx = [parts_of([i.size for i in a]) for a in start.axes]
    flat = [i for a in idx for i in a if i.size != 1]
    taken = {loop.letter.name}
    letters = [loop.letter]
    for i in flat:
        letters.append(new.letter(i, taken))
        taken.add(letters[-1].name)
    heads[n] = loop.head(name, tuple(letters))
    earlier = Read(heads[n], t - 1, *flat)
    first = start.at([merged(a) for a in idx])
    body = earlier if first == 0 else chosen([(first, sympy.Eq(t, 0)), (earlier, sympy.true)])
    return Value(tuple(idx), body, "float")


def _carry_name(op: Op, n: int) -> str:
    """The name of a carry: what the body's author calls it, where it can be seen."""
    for frame in () if op.frames and op.frames[0].is_row else op.frames:
        _, names = statement(frame)
        names = tuple(x for x in names if x and x.isidentifier() and x != "_")
        if names and not frame.is_library:
            carried = int(op.params["num_carry"])
            if n < len(names) and carried <= len(names):
                return names[n]
            return names[0]
    return "h" if n == 0 else "hcsuvw"[n] if n < 6 else f"h{n}"


def _close(
    new: Interpreter,
    loop: Loop,
    op: Op,
    outs: Sequence[Value],
    starts: Sequence[Value],
    carries: Sequence[Value],
    heads: dict[int, Tensor],
    carried: int,
    t: Index,
) -> dict[int, Value]:
    """The definition of each carry, at the end of a step."""
    results: dict[int, Value] = {}
    for n in heads:
        value = outs[n]
        flat = [i for a in value.axes for i in a if i.size != 1]
        renamed = loop.renamed(value.body, flat, heads[n])
        if renamed is not None:
            new.forget(value.body.tensor.name, heads[n].name)
            results[n] = Value(value.axes, renamed, "float")
            continue
        head = heads[n]
        idx = tuple(parts_of([i.size for i in a]) for a in starts[n].axes)
        flat = [i for a in idx for i in a if i.size != 1]
        body = value.at([merged(a) for a in idx]).xreplace(loop.instead)
        mapping = dict(zip(flat, head.indices[1:], strict=True)) | {t: loop.letter}
        taken = {i.name for i in head.indices}
        body = new.lettered(put(body, mapping), taken)
        loop.heads.append(head)
        loop.bodies.append(body)
        results[n] = Value(idx, Read(head, t, *flat), "float")
    return results


def _outside(
    new: Interpreter,
    op: Op,
    outs: Sequence[Value],
    results: dict[int, Value],
    carried: int,
    t: Index,
    step: Expr,
    made: dict[Any, Any],
    starts: Sequence[Value],
    length: Expr,
) -> list[Value]:
    """What a loop returns: its carries after the last step, and what it stacked."""
    found: list[Value] = []
    for n, out in enumerate(outs):
        value = results.get(n, out)
        body = value.body.xreplace(made) if hasattr(value.body, "xreplace") else value.body
        if n < carried:
            found.append(Value(value.axes, put(body, {t: length - 1}), value.kind))
        else:
            s = opened(length)
            at = length - 1 - s if op.params["reverse"] else s
            found.append(Value(((s,), *value.axes), put(body, {t: at}), value.kind))
    return found


def _fixed(body: Block, consts: int, carried: int) -> set[int]:
    """The carries that a step hands on as they are."""
    return {n for n in range(carried) if body.outs[n] is body.ins[consts + n]}


def _counted(body: Block, place: int, n: int) -> Expr | None:
    """The step of a counter: a carry to which a number is added."""
    made = next((o for o in body.ops if body.outs[n] in o.outs), None)
    if made is None or made.name != "add" or kind_of(body.ins[place].dtype) != "int":
        return None
    for a, b in (made.ins, made.ins[::-1]):
        if a is body.ins[place] and isinstance(b, Literal) and not b.rank:
            return Integer(int(b.value))
    return None


@primitive("cond")
def _cond(new: Interpreter, op: Op, values: Sequence[Value]) -> list[Value]:
    which, *operands = values
    branches = op.params["branches"]
    if isinstance(which.body, Integer):
        return new.run(branches[min(max(int(which.body), 0), len(branches) - 1)], operands)
    found = [new.run(b, operands) for b in branches]
    out: list[Value] = []
    for n, var in enumerate(op.outs):
        idx = tuple((opened(s),) for s in var.shape)
        at = [a[0] for a in idx]
        cases = [f[n].at(at) for f in found]
        pairs: list[Any] = [(c, _is(which.body, k)) for k, c in enumerate(cases[:-1])]
        out.append(Value(idx, chosen([*pairs, (cases[-1], sympy.true)]), kind_of(var.dtype)))
    return out


def _is(which: Any, k: int) -> Any:
    """Whether the branch ``k`` is taken."""
    if isinstance(which, dv.Iverson):
        return which.condition if k == 1 else sympy.Not(which.condition)
    return sympy.Eq(which, k)


@primitive("platform_index")
def _platform(new: Interpreter, op: Op, values: Sequence[Value]) -> Value:
    """The branch for the platforms that have none of their own: all compute the same."""
    platforms = list(op.params["platforms"])
    return Value((), Integer(platforms.index(None) if None in platforms else 0), "int")
