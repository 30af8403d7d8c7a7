"""Reads of tensors: plain axes, slices and pads, fixed positions, gathers; out of range is zero.

x[b,i]            x
x[q+1], Q < N     x[1:]                       proved in range by the sizes alone
x[t-1]            jnp.pad(x[:-1], (1, 0))     zero before the start
A[p,p]            jnp.diagonal(A)
z[b,label[b]]     z[b, label]                 an integer read is in range by declaration
W[u*V+v]          W.reshape(U, V)             see reshape.py
x[S*u+r-P]        jnp.where((0 <= at) & (at < N), x[at], 0)
"""

from __future__ import annotations

import sympy
from sympy import Integer, expand

from derive.affine import bounds, in_range, nonnegative, parts
from derive.facts import missing_value
from derive.index import Index, same_size
from derive.tensor import Read
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import ATOM, Val, align, union

from . import pointwise, reshape


def read(scope: Scope, r: Read, order) -> Val:
    """The array of ``r`` over the indices in it."""
    if hasattr(scope, "gather"):  # the dense fallback reads everything on its full grid
        return scope.gather(r)
    t = r.tensor
    base = Val(scope.arrays[t.name], ATOM, (), t.dtype)
    if not r.idx:
        return base
    wide = reshape.unfolded(scope, r)
    if wide is not None:
        base, r = Val(wide[0], ATOM, (), t.dtype), wide[1]
        t = r.tensor
    sizes = [scope.known(a) for a in t.axes]
    seen: dict = {}
    for e in r.idx:
        for label in _labels(e):
            seen[label] = seen.get(label, 0) + 1
    kinds = [_axis(scope, e, size, seen) for e, size in zip(r.idx, sizes, strict=True)]
    if all(kind == "all" for kind, *_ in kinds):
        return Val(base.src, ATOM, r.idx, t.dtype)
    if t.rank == 2 and r.idx[0] == r.idx[1] and isinstance(r.idx[0], Index) and _square(r, scope):
        return Val(f"jnp.diagonal({base.src})", ATOM, (r.idx[0],), t.dtype)
    if any(kind == "gather" for kind, *_ in kinds):
        return _gather(scope, base, r, kinds, sizes, order)
    return _slices(scope, base, r, kinds, sizes)


def _labels(e) -> set:
    return {s for s in e.free_symbols if isinstance(s, Index)}


def _square(r, scope) -> bool:
    size = scope.known(r.idx[0].size)
    return all(same_size(size, scope.known(a)) for a in r.tensor.axes)


def _axis(scope: Scope, e, size, seen):
    """How one axis is read: all | slice (label, start, low pad, high pad, step) | at (fixed position) | gather."""
    labels = _labels(e)
    if not labels:
        return ("at",)
    label = next(iter(labels))
    if len(labels) > 1 or seen[label] > 1 or e.has(Read):
        return ("gather",)
    split = parts(e)
    coef, start = split[0].get(label), scope.known(split[1]) if split else None
    if coef is None:
        return ("gather",)
    count, coef = scope.known(label.size), scope.known(coef)
    if coef == 1 and start == 0 and same_size(count, size):
        return ("all", label)
    if coef == 1:
        low, high = _excess(-start), _excess(expand(start + count - size))
        fits = low is not None and high is not None and nonnegative(expand(count - low - high))
        return ("slice", label, start, low, high, 1) if fits else ("gather",)
    if coef == -1 and same_size(count, size) and same_size(start, size - 1):
        return ("flip", label)
    inside = in_range(scope.known(e), size) if not scope.bound else _in_range(scope, e, size)
    return ("slice", label, start, 0, 0, coef) if inside and nonnegative(coef - 1) else ("gather",)


def _in_range(scope: Scope, e, size) -> bool:
    known = e.xreplace({i: Index(i.name, scope.known(i.size), i.uid) for i in _labels(e)})
    return in_range(scope.known(known), size)


def _excess(e):
    """``max(0, e)`` if the sign of ``e`` is the same for all sizes, else None."""
    if nonnegative(-e):
        return Integer(0)
    return e if nonnegative(e) else None


def _slices(scope: Scope, base: Val, r: Read, kinds, sizes) -> Val:
    """Slices, fixed positions and pads: no index array is needed."""
    marks, axes, pads, masks = [], [], [], []
    for kind, e, size in zip(kinds, r.idx, sizes, strict=True):
        if kind[0] == "at":
            marks.append(_position(scope, e, size, masks, r.tensor))
            continue
        axes.append(kind[1])
        if kind[0] in ("all", "flip"):
            marks.append(":" if kind[0] == "all" else "::-1")
            pads.append((0, 0))
            continue
        _, label, start, low, high, step = kind
        count = scope.known(label.size)
        first = expand(start + low)
        stop = expand(start + (count - 1) * step + 1 - high)
        marks.append(_slice(scope, first, stop, size, step))
        pads.append((low, high))
    while marks and marks[-1] == ":":
        marks.pop()
    text = f"{base.src}[{', '.join(marks)}]" if marks else base.src
    if any(low != 0 or high != 0 for low, high in pads):
        shown = [f"({scope.size(low).src}, {scope.size(high).src})" for low, high in pads]
        text = f"jnp.pad({text}, {shown[0] if len(shown) == 1 else '(' + ', '.join(shown) + ')'})"
    v = Val(text, ATOM, tuple(axes), r.tensor.dtype)
    return _zero_outside(scope, v, masks, (), any(e.has(Read) for e in r.idx))


def _slice(scope: Scope, first, stop, size, step) -> str:
    begin = "" if first == 0 else scope.size(first).src
    beyond = expand(stop - size)
    if beyond == 0 or (step != 1 and nonnegative(beyond + step - 1) and nonnegative(-beyond)):
        end = ""
    elif beyond.is_Integer and beyond < 0:
        end = str(int(beyond))
    else:
        end = scope.size(stop).src
    return f"{begin}:{end}" + (f":{scope.size(step).src}" if step != 1 else "")


def _position(scope: Scope, e, size, masks, tensor) -> str:
    """One fixed position of an axis; whether it exists is asked when the sizes alone do not say."""
    at = pointwise.expr(scope, e, ())
    if tensor.dtype == "float" and not _declared(e) and not _in_range(scope, e, size):
        masks.append(_inside(scope, e, at, size))
    return "-1" if expand(e - size + 1) == 0 and not size.is_Integer else at.src


def _declared(e) -> bool:
    """Whether an index is an integer read that its declaration keeps in range."""
    return isinstance(e, Read) and missing_value(e.tensor) is None


def _gather(scope: Scope, base: Val, r: Read, kinds, sizes, order) -> Val:
    """Advanced indexing; every axis whose label takes part in a gather gets an index array too."""
    grid = _grid(scope, r, kinds, order)
    marks, masks, advanced, axes = [], [], [], []
    for n, (kind, e, size) in enumerate(zip(kinds, r.idx, sizes, strict=True)):
        if kind[0] == "all" and kind[1] not in grid:
            marks.append(":")
            axes.append(kind[1])
            continue
        at = pointwise.expr(scope, e, grid)
        if r.tensor.dtype == "float" and not _declared(e) and not _in_range(scope, e, size):
            masks.append(_inside(scope, e, at, size))
        marks.append(align(at, grid).src)
        advanced.append(n)
    together = advanced == list(range(advanced[0], advanced[-1] + 1))
    front = sum(1 for n in range(advanced[0]) if n not in advanced) if together else 0
    axes[front:front] = grid
    while marks[-1] == ":":
        marks.pop()
    v = Val(f"{base.src}[{', '.join(marks)}]", ATOM, tuple(axes), r.tensor.dtype)
    v = _zero_outside(scope, v, masks, axes, any(e.has(Read) for e in r.idx))
    return _named_patches(scope, r, v) if v.src.startswith("jnp.where") and any(map(is_index_array, r.idx)) else v


def _named_patches(scope: Scope, r: Read, v: Val) -> Val:
    """The windows of a convolution are read by several equations: one line, one name."""
    return scope.share(("windows", v.src), (f"{r.tensor.name}_at", f"{r.tensor.name}_windows"), v)


def _grid(scope: Scope, r: Read, kinds, order) -> tuple[Index, ...]:
    """The labels of all index arrays, in order: those of every axis that is not read whole.

    An index array that an earlier line made keeps its order, so that it need not be transposed.
    """
    found = {label for kind, e in zip(kinds, r.idx, strict=True) if kind[0] != "all" for label in _labels(e)}
    known = [label for label in order if label in found]
    rest = sorted(found - set(known), key=lambda i: (i.name, i.uid))
    for e in r.idx:
        made = index_array(scope, e, (*known, *rest)).axes if is_index_array(e) else ()
        if len(made) > 1 and set(made) <= set(known):
            spots = sorted(known.index(i) for i in made)
            for n, i in zip(spots, made, strict=True):
                known[n] = i
    return tuple(known + rest)


def is_index_array(e) -> bool:
    """An affine expression of two or more indices, each with a letter of its own: written once, and named."""
    letters = [(i.name, i.size) for i in _labels(e)]
    return len(letters) > 1 and len(set(letters)) == len(letters) and not e.has(Read) and parts(e) is not None


def is_position(e) -> bool:
    """A whole-number sum that reads integers, such as ``2*u + argmax[u] - 1``."""
    return (
        e.has(Read)
        and bool(_labels(e))
        and all(r.tensor.dtype == "int" for r in e.atoms(Read))
        and parts(e) is not None
    )


def inside(scope: Scope, test: Val, conditions) -> Val:
    """Conditions on positions only are named, once."""
    if any(c.has(Read) for c in conditions) or "rows" not in test.src and "cols" not in test.src:
        return test
    return scope.share(("inside", test.src), ("inside",), test, constant=True)


def index_array(scope: Scope, e, order) -> Val:
    """The named array of an affine index expression, such as ``rows = 2 * u[:, None] + r - 1``."""
    labels = {Index(i.name, i.size): i for i in _labels(e)}
    plain = e.xreplace({i: p for p, i in labels.items()})
    made = scope.root.shared.get(("at", plain))
    if made is None:
        axes = [i for i in order if i in _labels(e)]
        to_plain = {i: p for p, i in labels.items()}
        v = pointwise.add(scope, pointwise.addends(plain), [to_plain[i] for i in axes])
        made = scope.share(("at", plain), ("rows", "cols", "deep", "at"), v, constant=True)
    return Val(made.src, ATOM, tuple(labels[p] for p in made.axes), "int")


def _inside(scope: Scope, e, at: Val, size) -> Val:
    """The condition ``0 <= e < size``, without the half that the sizes prove."""
    known = e.xreplace({i: Index(i.name, scope.known(i.size), i.uid) for i in _labels(e)})
    found = bounds(scope.known(known))
    tests = []
    if (found is None or not nonnegative(found[0])) and expand(e) not in scope.assumed:
        tests.append(pointwise.condition(scope, sympy.Ge(e, 0, evaluate=False), at.axes))
    below = found is not None and nonnegative(expand(size - 1 - found[1]))
    if not below and not {expand(scope.known(size - 1 - e)), expand(size - 1 - e)} & scope.assumed:
        tests.append(pointwise.condition(scope, sympy.Lt(e, size, evaluate=False), at.axes))
    return pointwise.combine(tests, "&", 45, at.axes) if tests else None


def _zero_outside(scope: Scope, v: Val, masks, order, reading: bool) -> Val:
    masks = [m for m in masks if m is not None]
    if not masks:
        return v
    test = pointwise.combine(masks, "&", 45, order)
    if len(masks) > 1 or "&" in test.src:
        test = scope.share(("inside", test.src), ("inside",), test, constant=not reading)
    axes = union([v, test], order)
    return Val(f"jnp.where({align(test, axes).src}, {align(v, axes).src}, 0)", ATOM, axes, v.kind)


def inside_conditions(e, size, scope: Scope) -> list:
    """Conditions that say ``0 <= e < size``, where sizes and declared ranges do not prove it."""
    known = scope.known(e.xreplace({i: Index(i.name, scope.known(i.size), i.uid) for i in _labels(e)}))
    found, size = bounds(known), scope.known(size)
    out = []
    if found is None or not nonnegative(found[0]):
        out.append(sympy.Ge(e, 0, evaluate=False))
    if found is None or not nonnegative(expand(size - 1 - found[1])):
        out.append(sympy.Lt(e, size, evaluate=False))
    return out
