"""Reads of tensors: plain axes, slices and pads, fixed positions, gathers; out of range is zero.

x[b,i]            x
x[q+1], Q < N     x[1:]                       proved in range by the sizes alone
x[t-1]            jnp.pad(x[:-1], (1, 0))     zero before the start
A[p,p]            jnp.diagonal(A)
E[tok[b]]         E[tok]                      an integer read is in range by declaration
z[b,label[b]]     jax.vmap(lambda row, at: row[at])(z, label)      see each.py
W[u*V+v]          W.reshape(U, V)             see reshape.py
x[S*u+r-P]        jnp.where((0 <= at) & (at < N), x[at], 0)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import sympy
from sympy import Expr, Integer, expand

from derive.language.affine import bounds, nonnegative, parts
from derive.language.facts import missing_value
from derive.language.index import Index, same_size
from derive.language.tensor import Read, Tensor
from numerics.emit.source.code import Code, Number, Slice, Subscript, Tuple, Unary, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import WHOLE, Val, align, named, union

from . import each, pointwise, reshape
from .arithmetic import ZERO, Order, combine
from .positions import is_index_array, is_inside, known, labels

BACKWARD = Slice(step=Unary("-", Number(1)))  # ``::-1``


@dataclass(frozen=True)
class Along:
    """How one axis is read: "all" of it along a label, backward ("flip"), a "slice", one position ("at"), or a "gather".

    A slice goes from ``start`` in steps of ``step`` and runs ``low`` places over the beginning, ``high`` over the end.
    """

    how: str
    label: Index | None = None
    start: Expr = Integer(0)
    low: Expr = Integer(0)
    high: Expr = Integer(0)
    step: Expr = Integer(1)


AT, GATHER = Along("at"), Along("gather")


def read(scope: Scope, r: Read, order: Order) -> Val:
    """The array of ``r`` over the indices in it."""
    t = r.tensor
    if not r.idx:
        return named(scope.arrays[t.name], (), t.dtype)
    found = reshape.unfolded(scope, r)
    base, r = (named(scope.arrays[t.name]).node, r) if found is None else found
    sizes = [scope.known(a) for a in r.tensor.axes]
    seen: dict[Index, int] = {}
    for e in r.idx:
        for label in labels(e):
            seen[label] = seen.get(label, 0) + 1
    kinds = [_axis(scope, e, size, seen) for e, size in zip(r.idx, sizes, strict=True)]
    if all(kind.how == "all" for kind in kinds):
        return Val(base, r.idx, t.dtype)
    if r.tensor.rank == 2 and r.idx[0] == r.idx[1] and isinstance(r.idx[0], Index) and _square(r, scope):
        return Val(call("jnp.diagonal", base), (r.idx[0],), t.dtype)
    if GATHER in kinds:
        return _gather(scope, base, r, kinds, sizes, order)
    return _slices(scope, base, r, kinds, sizes)


def _square(r: Read, scope: Scope) -> bool:
    size = scope.known(r.idx[0].size)
    return all(same_size(size, scope.known(a)) for a in r.tensor.axes)


def _axis(scope: Scope, e: Expr, size: Expr, seen: dict[Index, int]) -> Along:
    """How one axis is read, without an index array where the sizes prove that none is needed."""
    own = labels(e)
    if not own:
        return AT
    label = next(iter(own))
    if len(own) > 1 or seen[label] > 1 or e.has(Read):
        return GATHER
    split = parts(e)
    if split is None or label not in split[0]:
        return GATHER
    coef, start = split[0][label], scope.known(split[1])
    count, coef = scope.known(label.size), scope.known(coef)
    if coef == 1 and start == 0 and same_size(count, size):
        return Along("all", label)
    if coef == 1:
        low, high = _excess(-start), _excess(expand(start + count - size))
        if low is None or high is None or not nonnegative(expand(count - low - high)):
            return GATHER
        return Along("slice", label, start, low, high)
    if coef == -1 and same_size(count, size) and same_size(start, size - 1):
        return Along("flip", label)
    proved = is_inside(scope, e, size)
    return Along("slice", label, start, step=coef) if proved and nonnegative(coef - 1) else GATHER


def _excess(e: Expr) -> Expr | None:
    """``max(0, e)`` if the sign of ``e`` is the same for all sizes, else None."""
    if nonnegative(-e):
        return Integer(0)
    return e if nonnegative(e) else None


def _slices(scope: Scope, base: Code, r: Read, kinds: list[Along], sizes: list[Expr]) -> Val:
    """Slices, fixed positions and pads: no index array is needed."""
    marks: list[Code] = []
    axes: list[Index] = []
    pads: list[tuple[Expr, Expr]] = []
    masks: list[Val] = []
    for kind, e, size in zip(kinds, r.idx, sizes, strict=True):
        if kind.label is None:
            marks.append(_position(scope, e, size, masks, r.tensor))
            continue
        axes.append(kind.label)
        pads.append((kind.low, kind.high))
        if kind.how == "slice":
            first = expand(kind.start + kind.low)
            stop = expand(kind.start + (scope.known(kind.label.size) - 1) * kind.step + 1 - kind.high)
            marks.append(_slice(scope, first, stop, size, kind.step))
        else:
            marks.append(WHOLE if kind.how == "all" else BACKWARD)
    while marks and marks[-1] == WHOLE:
        marks.pop()
    node = Subscript(base, tuple(marks)) if marks else base
    if any(low != 0 or high != 0 for low, high in pads):
        shown = [scope.shape(pair) for pair in pads]
        node = call("jnp.pad", node, shown[0] if len(shown) == 1 else Tuple(tuple(shown)))
    v = Val(node, tuple(axes), r.tensor.dtype)
    return _zero_outside(scope, v, masks, (), any(e.has(Read) for e in r.idx))


def _slice(scope: Scope, first: Expr, stop: Expr, size: Expr, step: Expr) -> Slice:
    """``first:stop:step``; an end within a fixed distance of the axis's end is counted from there."""
    beyond = expand(stop - size)
    end: Code | None
    if beyond == 0 or (step != 1 and nonnegative(beyond + step - 1) and nonnegative(-beyond)):
        end = None
    elif beyond.is_Integer and beyond < 0:
        end = number_of(int(beyond))
    else:
        end = scope.size(stop).node
    begin = None if first == 0 else scope.size(first).node
    return Slice(begin, end, None if step == 1 else scope.size(step).node)


def _position(scope: Scope, e: Expr, size: Expr, masks: list[Val], tensor: Tensor) -> Code:
    """One fixed position of an axis; whether it exists is asked when the sizes alone do not say."""
    at = pointwise.expr(scope, e, ())
    if tensor.dtype == "float" and not _declared(e) and not is_inside(scope, e, size):
        masks += _inside(scope, e, at, size)
    return number_of(-1) if expand(e - size + 1) == 0 and not size.is_Integer else at.node


def _declared(e: Expr) -> bool:
    """Whether an index is an integer read that its declaration keeps in range."""
    return isinstance(e, Read) and missing_value(e.tensor) is None


def _gather(scope: Scope, base: Code, r: Read, kinds: list[Along], sizes: list[Expr], order: Order) -> Val:
    """Advanced indexing, in each row where rows share an axis with the data that says where; every other axis whose label
    takes part in a gather gets an index array too.

    NumPy puts the axes of the index arrays where the first of them stands, if they stand side by side, else in front.
    """
    grid = _grid(scope, r, kinds, order)
    whole = [e for e, size in zip(r.idx, sizes, strict=True) if e in grid and same_size(scope.known(e.size), size)]
    batch = each.shared([e for e in whole if r.idx.count(e) == 1], r.idx)
    places: list[Val | None] = []  # of the axes that are left in a row; None where it is whole
    axes: list[Index] = []
    masks: list[Val] = []
    advanced: list[int] = []
    for kind, e, size in zip(kinds, r.idx, sizes, strict=True):
        if e in batch:
            continue
        if kind.how == "all" and kind.label is not None and kind.label not in grid:
            places.append(None)
            axes.append(kind.label)
            continue
        at = pointwise.expr(scope, e, grid)
        if r.tensor.dtype == "float" and not _declared(e) and not is_inside(scope, e, size):
            masks += _inside(scope, e, at, size)
        advanced.append(len(places))
        places.append(at)
    together = advanced == list(range(advanced[0], advanced[-1] + 1))
    front = sum(1 for n in range(advanced[0]) if n not in advanced) if together else 0
    inner = tuple(i for i in grid if i not in batch)
    axes[front:front] = inner

    def indexed(base: Code, at: Iterable[Val]) -> Code:
        given = iter(at)
        marks: list[Code] = [WHOLE if p is None else align(next(given), inner).node for p in places]
        while marks[-1] == WHOLE:
            marks.pop()
        return Subscript(base, tuple(marks))

    found = [p for p in places if p is not None]
    if batch:
        operands = [(each.ROW, Val(base, tuple(r.idx))), *zip(each.names(len(found)), found, strict=True)]
        node = each.over(batch, operands, lambda row: indexed(row[0].node, row[1:]))
    else:
        node = indexed(base, found)
    v = Val(node, (*batch, *axes), r.tensor.dtype)
    v = _zero_outside(scope, v, masks, axes, any(e.has(Read) for e in r.idx))
    return _named_patches(scope, r, v) if v.node.is_masked and any(map(is_index_array, r.idx)) else v


def _named_patches(scope: Scope, r: Read, v: Val) -> Val:
    """The windows of a convolution are read by several equations: one line, one name."""
    return scope.share(("windows", v.node), (f"{r.tensor.name}_at", f"{r.tensor.name}_windows"), v)


def _grid(scope: Scope, r: Read, kinds: list[Along], order: Order) -> tuple[Index, ...]:
    """The labels of all index arrays, in order: those of every axis that is not read whole.

    An index array that an earlier line made keeps its order, so that it need not be transposed.
    """
    found = {label for kind, e in zip(kinds, r.idx, strict=True) if kind.how != "all" for label in labels(e)}
    own = [label for label in order if label in found]
    rest = sorted(found - set(own), key=lambda i: (i.name, i.uid))
    for e in r.idx:
        made = pointwise.index_array(scope, e, (*own, *rest)).axes if is_index_array(e) else ()
        if len(made) > 1 and set(made) <= set(own):
            spots = sorted(own.index(i) for i in made)
            for n, i in zip(spots, made, strict=True):
                own[n] = i
    return tuple(own + rest)


def _inside(scope: Scope, e: Expr, at: Val, size: Expr) -> list[Val]:
    """The condition ``0 <= e < size``, without the half that the sizes prove or the guards around it say."""
    found = bounds(known(scope, e))
    tests = []
    if (found is None or not nonnegative(found[0])) and expand(e) not in scope.assumed:
        tests.append(pointwise.condition(scope, sympy.Ge(e, 0, evaluate=False), at.axes))
    below = found is not None and nonnegative(expand(size - 1 - found[1]))
    if not below and not {expand(scope.known(size - 1 - e)), expand(size - 1 - e)} & scope.assumed:
        tests.append(pointwise.condition(scope, sympy.Lt(e, size, evaluate=False), at.axes))
    return [combine(tests, "&", at.axes)] if tests else []


def _zero_outside(scope: Scope, v: Val, masks: list[Val], order: Sequence[Index], reading: bool) -> Val:
    """The value where every mask holds, 0 elsewhere; a test of several parts gets a name, so that it is made once."""
    if not masks:
        return v
    test = combine(masks, "&", order)
    if test.node.is_conjunction:
        test = scope.share(("inside", test.node), ("inside",), test, constant=not reading)
    axes = union([v, test], order)
    return Val(call("jnp.where", align(test, axes).node, align(v, axes).node, ZERO.node), axes, v.kind)
