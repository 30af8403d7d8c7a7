"""Windows in a term: along each axis three indices stand in one row, ``S*u + D*r - P = m``.

    gather    y[b,u,o] = sum_{r,c} x[b, S*u + D*r - P, c] K[r,c,o]               the image m is read
              dK[r,c,o] = sum_{b,u} x[b, S*u + D*r - P, c] dy[b,u,o]             the same, taps and positions exchanged
    scatter   dx[b,m,c] = sum_{u,r,o} dy[b,u,o] K[r,c,o] [S*u + D*r - P = m]     the image m is what is computed

:func:`find` reads these forms off a planned term and says which index plays which part; what is outside the image is
zero in all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Expr, expand

from derive.language.affine import nonnegative, parts
from derive.language.index import Index, Size
from derive.language.tensor import Read
from numerics.emit.source.code import Code
from numerics.emit.source.scope import Scope
from numerics.emit.terms.arithmetic import Order
from numerics.emit.terms.contraction import Operand
from numerics.emit.terms.plan import Plan
from numerics.emit.terms.positions import labels
from numerics.emit.terms.reshape import unfolded


@dataclass(frozen=True)
class Along:
    """One axis: position ``u``, tap ``r``, image place ``m``; ``m = stride*u + dilation*r - low``."""

    u: Index
    r: Index
    m: Index
    stride: Expr
    dilation: Expr
    low: Expr

    def turned(self) -> Along:
        return Along(self.r, self.u, self.m, self.dilation, self.stride, self.low)


@dataclass
class Windows:
    """A term with windows: which of image, output and kernel is computed, and the operands of the other two."""

    computes: str  # "output", "kernel" or "image"
    axes: list[Along]
    operands: dict[str, Operand]  # by part: "image", "output", "kernel"
    outside: Operand
    channels: dict[str, tuple[Index, ...]] = field(default_factory=dict)  # batch, group, ins, outs


def find(p: Plan, idx: Order, scope: Scope) -> Windows | None:
    """The windows of a term, or None where it has another form."""
    if p.scatter or not p.bnd:
        return None
    w = _gather(p, idx, scope, False) or _gather(p, idx, scope, True) or _scatter(p, idx, scope)
    return w if w is not None and _name_channels(w, p, idx) else None


# -- the two forms ------------------------------------------------------------------------------------------------


def _gather(p: Plan, idx: Order, scope: Scope, radix: bool) -> Windows | None:
    """``radix``: mixed-radix axes, such as the channels of groups, are taken apart first; they look like windows."""
    images = [
        (f, found)
        for f in p.fac
        if isinstance(f, Read) and f.tensor.dtype == "float" and (found := _windowed(f, idx, p.bnd, scope, radix))
    ]
    if len(images) != 1:
        return None
    image, (place, axes) = images[0]
    free = {a.u for a in axes}
    rest = [f for f in p.fac if f is not image]
    if any(labels(e) & free for e in (*rest, *p.conditions)):
        return None
    return _sorted(p, axes, [place], rest, "output")


def _windowed(r: Read, idx: Order, bnd: Sequence[Index], scope: Scope, radix: bool) -> tuple[Read, list[Along]] | None:
    """``(read at plain places, axes)`` of a read with windows; free indices stand as positions, bound ones as taps."""
    found = unfolded(scope, r) if radix else None
    source = r if found is None else found[1]
    places: list[Index] = []
    axes: list[Along] = []
    for n, (e, size) in enumerate(zip(source.idx, source.tensor.axes, strict=True)):
        if isinstance(e, Index):
            places.append(e)
            continue
        split = parts(e)
        if split is None or len(split[0]) != 2 or not all(isinstance(i, Index) for i in split[0]):
            return None
        coefs = split[0]
        u, t = next((i for i in coefs if i in idx), None), next((i for i in coefs if i in bnd), None)
        if u is None or t is None or not all(nonnegative(expand(c - 1)) for c in coefs.values()):
            return None
        m = Index(f"m{n}", size, -1 - n)
        places.append(m)
        axes.append(Along(u, t, m, coefs[u], coefs[t], -split[1]))
    used = [i for e in source.idx for i in labels(e)]
    if not axes or len(set(used)) != len(used):
        return None
    plain = dict(zip(source.idx, places, strict=True))
    return Read(r.tensor, *(plain.get(e, e) for e in r.idx)), axes  # mixed-radix axes stay as they are


def _scatter(p: Plan, idx: Order, scope: Scope) -> Windows | None:
    axes: list[Along] = []
    rows: list[Any] = []
    for c in p.conditions:
        along = _row(c, idx, p.bnd)
        if along is not None:
            axes.append(along)
            rows.append(c)
    rest = [*p.fac, *(c for c in p.conditions if c not in rows)]
    used = [i for a in axes for i in (a.u, a.r, a.m)]
    if not axes or len(set(used)) != len(used) or any(labels(e) & {a.m for a in axes} for e in rest):
        return None
    for n, a in enumerate(axes):
        axes[n] = a if any(a.u in labels(f) for f in p.fac) else a.turned()
    first = {i for f in p.fac if axes[0].u in labels(f) for i in labels(f)}
    axes = [a if a.u in first else a.turned() for a in axes]
    us, rs = {a.u for a in axes}, {a.r for a in axes}
    one = [f for f in p.fac if labels(f) & us]
    if not us <= {i for f in one for i in labels(f)} or any(labels(f) & rs for f in one):
        return None
    left = Plan(p.coef, list(p.fac), [c for c in p.conditions if c not in rows], list(p.bnd))
    return _sorted(left, axes, one, [f for f in p.fac if f not in one], "image")


def _row(c: Any, idx: Order, bnd: Sequence[Index]) -> Along | None:
    """``S*u + D*r - P == m`` with ``m`` free, ``u`` and ``r`` summed."""
    if getattr(c, "rel_op", "") != "==":
        return None
    split = parts(expand(c.lhs - c.rhs))
    if split is None or len(split[0]) != 3 or not all(isinstance(i, Index) for i in split[0]):
        return None
    coefs, rest = split
    m = next((i for i in coefs if i in idx), None)
    inner = [i for i in coefs if i in bnd]
    if m is None or len(inner) != 2 or coefs[m] not in (1, -1):
        return None
    sign = -coefs[m]
    u, r = inner
    if not all(nonnegative(expand(sign * coefs[i] - 1)) for i in inner):
        return None
    return Along(u, r, m, sign * coefs[u], sign * coefs[r], -sign * rest)


def _sorted(p: Plan, axes: list[Along], first: Sequence[Expr], rest: Sequence[Expr], computes: str) -> Windows | None:
    """Factors and conditions onto two operands and what stands outside; then positions are told from taps."""
    bound, spatial = set(p.bnd), {i for a in axes for i in (a.u, a.r, a.m)}
    one, two, outside = Operand(list(first)), Operand([]), Operand([])
    for f in rest:
        with_image = labels(f) <= one.labels and not labels(f) & spatial
        home = outside if not labels(f) & bound else one if with_image else two
        home.fac.append(f)
    for c in p.conditions:
        holder = outside if not labels(c) & bound else next((o for o in (two, one) if labels(c) <= o.labels), None)
        if holder is None:
            return None
        holder.conditions.append(c)
    summed = {i for a in axes for i in (a.u, a.r)} & bound
    loose = {i for i in summed if i not in one.labels | two.labels}
    if bool(loose) != (not two.fac):
        return None
    taps_are_summed = bool(loose) or sum(map(_is_tap, axes)) * 2 >= len(axes)
    if computes == "output":
        if taps_are_summed:
            return Windows("output", axes, {"image": one, "kernel": two}, outside)
        return Windows("kernel", [a.turned() for a in axes], {"image": one, "output": two}, outside)
    if taps_are_summed:
        return Windows("image", axes, {"output": one, "kernel": two}, outside)
    return Windows("image", [a.turned() for a in axes], {"output": two, "kernel": one}, outside)


def _is_tap(a: Along) -> bool:
    """Whether ``r`` is the tap: the smaller one where numbers say, else the one whose size the other depends on."""
    if a.u.size.is_Integer and a.r.size.is_Integer:
        return int(a.r.size) <= int(a.u.size)
    if a.r.size.is_Integer != a.u.size.is_Integer:
        return bool(a.r.size.is_Integer)
    return not (isinstance(a.u.size, Size) and a.u.size in a.r.size.free_symbols)


def options(scope: Scope, axes: Sequence[Along]) -> dict[str, Code]:
    """Strides, dilations and padding as arguments of a library function, where they are not the usual ones."""
    numbers = {
        "strides": [a.stride for a in axes],
        "dilation": [a.dilation for a in axes],
        "low": [a.low for a in axes],
    }
    return {
        name: scope.shape(several)
        for name, several in numbers.items()
        if any(scope.known(n) != (0 if name == "low" else 1) for n in several)
    }


# -- channels -----------------------------------------------------------------------------------------------------


def _name_channels(w: Windows, p: Plan, idx: Order) -> bool:
    """Which of the other indices are batch, group, channels in and out; False where one plays none of these parts."""
    spatial = {i for a in w.axes for i in (a.u, a.r, a.m)}
    has = {part: o.labels - spatial for part, o in w.operands.items()}
    has[w.computes] = {i for i in idx if any(i in own for own in has.values())}
    order = [i for i in (*idx, *p.bnd) if i not in spatial]
    image, output, kernel = (has.get(part, set()) for part in ("image", "output", "kernel"))
    w.channels = {
        "batch": tuple(i for i in order if i in image and i in output and i not in kernel),
        "group": tuple(i for i in order if i in image and i in output and i in kernel),
        "ins": tuple(i for i in order if i in image and i not in output and i in kernel),
        "outs": tuple(i for i in order if i not in image and i in output and i in kernel),
    }
    placed = {i for many in w.channels.values() for i in many}
    return placed == image | output | kernel
