"""Max pooling: nested maxes over windows, with the first maximiser kept as one small integer.

    h_max[b,u,v,c,r] = max_s x[b,2u+r,2v+s,c]           h, h_argmax = max_pool(x, (2, 2), (U, V), strides=(2, 2))
    h[b,u,v,c]       = max_r h_max[b,u,v,c,r]
    d_h_max[b,u,v,c,r] = dh[b,u,v,c] [r = h_argmax[b,u,v,c]]
    dx[b,p,q,c] = sum_{u,v,r: 2u+r = p, 2v+h_max_argmax[b,u,v,c,r] = q} d_h_max[b,u,v,c,r]
                                                        dx = max_pool_gradient(dh, h_argmax, (2, 2), (H, W), ...)

The pair of argmaxes, row of taps first, is the number of the tap in reading order: the same first maximiser.  What
only these equations read is never formed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sympy import Expr, expand

from derive.language.affine import parts
from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term
from derive.program.schedule import Scan, members
from numerics.emit.source.scope import nonnegative_forms
from numerics.emit.terms.arithmetic import Order

from .windows import Along

Named = dict[Index, Index]  # an index of a pool -> the one that stands for it in a term


@dataclass
class Pool:
    """A max over windows: its levels from the innermost, in the letters of the outermost."""

    image: Read
    maxes: list[Equation]
    argmaxes: list[Equation]  # beside each max; none at all where no gradient is asked for
    axes: list[Along]  # outermost level first; ``m`` is made up
    adjoints: list[Equation] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)

    @property
    def outer(self) -> Equation:
        return self.maxes[-1]

    def spot(self, a: Along) -> int:
        """The axis of the image along which a window moves."""
        return next(n for n, e in enumerate(self.image.idx) if expand(e - _at(a)) == 0)

    def lead_and_tail(self) -> tuple[list[Index], list[Index]]:
        """The other axes of the image, before and after the windows; all before, where the windows stand apart."""
        spots = [n for n, e in enumerate(self.image.idx) if not isinstance(e, Index)]
        kept = [e for e in self.image.idx if isinstance(e, Index)]
        return kept[: spots[0]], kept[spots[0] :]

    def layout(self, role: str) -> list[Index]:
        lead, tail = self.lead_and_tail()
        return [*lead, *(getattr(a, role) for a in self.axes), *tail]


class Pools:
    """The pools of a program, by the equations that they stand for."""

    def __init__(self, equations: Iterable[Equation], every: Iterable[Equation], kept: Iterable[str]):
        every = list(every)
        self.by_name = {e.name: e for e in every}
        self.readers = _readers(every)
        self.kept = set(kept)
        self.found = [p for p in map(self._pool, equations) if p is not None]
        self.skipped = {e.name for p in self.found for e in (*p.maxes[:-1], *p.argmaxes, *p.adjoints)}
        self.outer = {p.outer.name: p for p in self.found}
        self.inner_argmax = {p.argmaxes[0].name: p for p in self.found if p.argmaxes}

    @classmethod
    def of(cls, groups: Iterable[Equation | Scan], kept: Iterable[str]) -> Pools:
        """The pools of a schedule, outside recurrences; ``kept`` are the names of results."""
        groups = list(groups)
        every = [e for g in groups for e in members(g)]
        return cls([g for g in groups if not isinstance(g, Scan)], every, kept)

    # -- finding ----------------------------------------------------------------------------------------------------

    def _pool(self, first: Equation) -> Pool | None:
        """The pool whose innermost max is ``first``."""
        image = _max_of(first, "max")
        if image is None or all(isinstance(e, Index) for e in image.idx):
            return None
        maxes, taps, guards = [first], [first.over[0]], list(first.guards)
        while True:
            readers = (self.by_name[n] for n in self.readers[maxes[-1].name])
            outer = next((e for e in readers if e.reduce == "max"), None)
            read = _max_of(outer, "max") if outer is not None else None
            if outer is None or read is None:
                break
            if not all(isinstance(e, Index) for e in read.idx) or len(set(read.idx)) != len(read.idx):
                break
            change = dict(zip(maxes[-1].idx, read.idx, strict=True))
            image, taps = image.xreplace(change), [change.get(t, t) for t in taps] + [outer.over[0]]
            guards = [g.xreplace(change) for g in guards] + list(outer.guards)
            maxes.append(outer)
        axes = _axes(image, taps)
        if axes is None or not _only_existence(guards, image):
            return None
        argmaxes = [a for e in maxes if (a := self._argmax(e)) is not None]
        pool = Pool(image, maxes, argmaxes, axes)
        return pool if len(argmaxes) in (0, len(maxes)) and self._closed(pool) else None

    def _argmax(self, e: Equation) -> Equation | None:
        """The argmax beside a max."""
        for name in sorted(self.readers[e.terms[0].fac[0].tensor.name]):
            a = self.by_name[name]
            read = _max_of(a, "argmax")
            if read is not None and len(a.idx) == len(e.idx):
                change = dict(zip((*a.idx, *a.over), (*e.idx, *e.over), strict=True))
                if read.xreplace(change) == e.terms[0].fac[0]:
                    return a
        return None

    def _closed(self, pool: Pool) -> bool:
        """Whether nothing else reads what is inside; the equations of the adjoint are noted."""
        inside = {e.name for e in (*pool.maxes[:-1], *pool.argmaxes)}
        if inside & self.kept:
            return False
        own = {e.name for e in (*pool.maxes, *pool.argmaxes)}
        pool.numbers = [e.number for e in (*pool.maxes, *pool.argmaxes)]
        outside = {reader for n in inside for reader in self.readers[n]} - own
        if not pool.argmaxes:
            return not outside
        images = [self.by_name[n] for n in self.readers[pool.argmaxes[0].name] - own]
        for e in images:
            if e.reduce:
                return False
            for t in e.terms:
                if _reads(t, pool.argmaxes[0].name) and self.adjoint(pool, e.idx, t) is None:
                    return False
        return outside <= {e.name for e in (*images, *pool.adjoints)}

    def adjoint(self, pool: Pool, idx: Order, t: Term) -> tuple[Term, Named, dict[int, Index]] | None:
        """``(term of the outer gradient, its indices, places m)`` of a term of the image's gradient.

        Why it is read backwards: the chain rule went through the nest of maxes from the outside in, so the gradient of the
        image holds the innermost argmax in a row ``place = m`` and, as a factor, the gradient of the innermost max, which
        is defined by the next argmax out, and so on.  Each level is peeled off by putting its definition in; what is left
        is the gradient of the outermost max, in the letters of this term.  Only a term that comes apart without a rest is
        the adjoint of a pool: with any other row or factor on a tap, the general path writes it.
        """
        found = [r for row in t.rows for r in row.reads() if r.tensor.name == pool.argmaxes[0].name]
        if not found or any(r != found[0] for r in found):
            return None
        if not all(isinstance(i, Index) for i in found[0].idx):
            return None
        named = dict(zip((*pool.argmaxes[0].idx, *pool.maxes[0].idx), found[0].idx * 2, strict=True))
        read, tap = pool.argmaxes[0].terms[0].fac[0], pool.argmaxes[0].over[0]
        image = read.xreplace(named).xreplace({tap: found[0]})
        places = _places(image, t, idx)
        inside = {
            named[i]
            for e in read.idx
            if not isinstance(e, Index)
            for i in e.free_symbols
            if isinstance(i, Index) and i != tap
        }
        if places is None or not inside <= set(t.bnd):
            return None
        rows = tuple(r for r in t.rows if not any(_is_place(r, image.idx[n], m) for n, m in places.items()))
        rest = Term(t.coef, t.fac, tuple(b for b in t.bnd if b not in inside), rows)
        for level in range(1, len(pool.maxes)):
            peeled = self._peel(pool, level, rest, named)
            if peeled is None:
                return None
            rest, named = peeled
        if any(_reads(rest, a.name) for a in pool.argmaxes):
            return None
        return rest, named, places

    def _peel(self, pool: Pool, level: int, t: Term, named: Named) -> tuple[Term, Named] | None:
        """The gradient of an inner max in terms of the next: ``d_h_max[.., r] = dh[..] [r = h_argmax[..]]``."""
        if len(t.fac) != 1 or not isinstance(t.fac[0], Read) or t.rows or t.bnd:
            return None
        read = t.fac[0]
        e = self.by_name.get(read.tensor.name)
        if e is None or e.reduce or len(e.terms) != 1 or e.name in self.kept or len(self.readers[e.name]) != 1:
            return None
        change = dict(zip(e.idx, read.idx, strict=True))
        inner = e.terms[0]
        if set(inner.bnd) & set(change.values()):
            return None
        inner = Term(
            inner.coef * t.coef,
            tuple(f.xreplace(change) for f in inner.fac),
            inner.bnd,
            tuple(r.xreplace(change) for r in inner.rows),
        )
        argmax, outer = pool.argmaxes[level], pool.maxes[level]
        below = outer.terms[0].fac[0]  # the inner max as the outer equation reads it
        letters = {x: named[y] for x, y in zip(below.idx, pool.argmaxes[level - 1].idx, strict=True)}
        tap = letters[outer.over[0]]
        wanted = dict(zip(argmax.idx, (letters[i] for i in outer.idx), strict=True))
        for row in inner.rows:
            at = [r for r in row.reads() if r.tensor.name == argmax.name]
            if (
                row.op == "=="
                and len(at) == 1
                and at[0].idx == tuple(wanted.values())
                and expand(row.lhs - row.rhs) in (tap - at[0], at[0] - tap)
            ):
                rows = tuple(r for r in inner.rows if r is not row)
                left = Term(inner.coef, inner.fac, inner.bnd, rows)
                if any(tap in f.free_symbols for f in (*left.fac, *rows)):
                    return None
                if e not in pool.adjoints:
                    pool.adjoints.append(e)
                return left, {**wanted, **dict(zip(outer.idx, wanted.values(), strict=True))}
        return None


def _readers(equations: Iterable[Equation]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {e.name: set() for e in equations}
    for e in equations:
        for t in e.tensors():
            found.setdefault(t.name, set()).add(e.name)
    return found


def _max_of(e: Equation | None, kind: str) -> Read | None:
    """What a max over one index reads, if it reads one tensor as it is."""
    if e is None or e.reduce != kind or len(e.over) != 1 or len(e.terms) != 1:
        return None
    t = e.terms[0]
    plain = t.coef == 1 and len(t.fac) == 1 and not t.bnd and not t.rows
    return t.fac[0] if plain and isinstance(t.fac[0], Read) and t.fac[0].tensor.dtype == "float" else None


def _axes(image: Read, taps: Sequence[Index]) -> list[Along] | None:
    """The windows of the image, in the order of the nest from the outside; every tap moves along one axis."""
    by_tap: dict[Index, Along] = {}
    for n, (e, size) in enumerate(zip(image.idx, image.tensor.axes, strict=True)):
        if isinstance(e, Index):
            if e in taps:
                return None
            continue
        split = parts(e)
        if split is None:
            return None
        own = [i for i in split[0] if i in taps]
        if len(own) != 1 or len(split[0]) != 2 or own[0] in by_tap:
            return None
        u = next(i for i in split[0] if i is not own[0] and i != own[0])
        if not isinstance(u, Index) or any(c.could_extract_minus_sign() for c in split[0].values()):
            return None
        by_tap[own[0]] = Along(u, own[0], Index(f"m{n}", size, -1 - n), split[0][u], split[0][own[0]], -split[1])
    used = [i for e in image.idx for i in e.free_symbols if isinstance(i, Index)]
    if set(by_tap) != set(taps) or Counter(used).most_common(1)[0][1] > 1:
        return None
    return [by_tap[t] for t in reversed(taps)]


def _at(a: Along) -> Expr:
    return a.stride * a.u + a.dilation * a.r - a.low


def _only_existence(guards: Iterable[Row], image: Read) -> bool:
    """Whether every guard says that a place of the image exists."""
    allowed = {expand(g) for e, n in zip(image.idx, image.tensor.axes, strict=True) for g in (e, n - 1 - e)}
    forms = [nonnegative_forms(g.condition) for g in guards]
    return all(f and all(expand(g) in allowed for g in f) for f in forms)


def _reads(t: Term, name: str) -> bool:
    found = {
        r.tensor.name for part in (*t.fac, *(x for row in t.rows for x in (row.lhs, row.rhs))) for r in part.atoms(Read)
    }
    return name in found


def _places(image: Read, t: Term, idx: Order) -> dict[int, Index] | None:
    """``{axis: free index m}`` from rows ``place == m``, one for each windowed axis of the image."""
    found: dict[int, Index] = {}
    for n, (e, size) in enumerate(zip(image.idx, image.tensor.axes, strict=True)):
        if isinstance(e, Index):
            if e not in idx:
                return None
            continue
        m = next((m for m in idx if m not in found.values() and any(_is_place(r, e, m) for r in t.rows)), None)
        if m is None or not same_size(m.size, size):
            return None
        found[n] = m
    return found


def _is_place(row: Row, e: Expr, m: Index) -> bool:
    return row.op == "==" and expand(row.lhs - row.rhs) in (expand(e - m), expand(m - e))
