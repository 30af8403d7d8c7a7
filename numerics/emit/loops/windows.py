"""Which sums of products over windows are worth tiles of their own on a CPU: convolutions, and the gradients of them.

    z[b,u,v,o] = bias[o] + sum_rsc x[b,u+r,v+s,c] k[r,s,c,o]     rows v of x, columns o of k: a tile of z[b,u] in registers
    dk[r,s,c,o] = sum_buv x[b,u+r,v+s,c] dz[b,u,v,o]             rows c, columns o
    dx[b,u+r,v+s,c] += sum_o dz[b,u,v,o] k[r,s,c,o]              rows v, columns c of k with c moved to the end

All of them are one form: the places of the result and of both factors are affine in the indices that are gone through.  An
index of the result by which one factor is next to itself, and which the other has not, numbers the columns; one that only the
other has numbers the rows; what the result has not is summed over.  After K. Goto and R. van de Geijn, Anatomy of
high-performance matrix multiplication (2008), and, without copies of the patches, J. Zhang, F. Franchetti and T. M. Low, High
performance zero-memory overhead direct convolutions (2018).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from sympy import Expr, Integer, Mul, expand

from derive.language.affine import bounds, nonnegative, parts
from derive.language.index import Index
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term

from .costs import Known, arithmetic, count
from .equations import solution

COLUMNS, ROWS, DEPTH = (
    16,
    4,
    16,
)  # sizes from which on a tile fills the registers, and a sum is longer than what surrounds it
WORK = 2**20  # products from which on a call outside XLA pays
PARTS = 8  # parts from which on several threads have about as many each
TOTALS = 2**18  # numbers of a sum over what the parts share, of which each part has its own
PANEL = 2**16  # numbers of the factor with the columns that stay in the second cache
AGAIN = 64  # times that each number of a factor is used, from which on it is worth a copy in another order


@dataclass(frozen=True)
class Strides:
    """How far apart in a flat array the numbers are that follow each other along each index."""

    steps: dict[Index, Expr]
    start: Expr

    @classmethod
    def of(cls, places: Sequence[Expr], axes: Sequence[Expr]) -> Strides | None:
        """None where a place is no sum of multiples of indices."""
        steps: dict[Index, Expr] = {}
        start: Expr = Integer(0)
        for n, place in enumerate(places):
            split = parts(place)
            if split is None:
                return None
            apart = Mul(*axes[n + 1 :])
            for i, c in split[0].items():
                if not isinstance(i, Index):
                    return None
                steps[i] = steps.get(i, Integer(0)) + c * apart
            start += split[1] * apart
        return cls(steps, start)

    def __getitem__(self, i: Index) -> Expr:
        return self.steps.get(i, Integer(0))

    def __contains__(self, i: Index) -> bool:
        return i in self.steps


@dataclass(frozen=True)
class Tiled:
    """The roles of the indices of an equation whose sum of products is computed in tiles.

    Attributes
    ----------
    tensor : Tensor
        The result; ``places``: where it is added to.
    one, many : Read
        The factors: an element of ``one`` is used for a row of columns of ``many``.
    rows, columns, depth : Index
        Those of a tile, and the innermost one that is summed over.
    taps : tuple of Index
        Others that are summed over while the tile stays in registers.
    outer : tuple of Index
        Those around a tile, from the outermost on.
    shared : Index
        The index around all, whose steps run on several threads; ``summed``: it is summed over.
    limits : tuple of (Expr, Expr)
        Places that may lie outside of their axes, with the axes.
    """

    tensor: Tensor
    places: tuple[Expr, ...]
    one: Read
    many: Read
    rows: Index
    columns: Index
    depth: Index
    taps: tuple[Index, ...]
    outer: tuple[Index, ...]
    shared: Index
    summed: bool
    limits: tuple[tuple[Expr, Expr], ...]

    @property
    def copied(self) -> bool:
        """Whether the columns of a factor are not next to each other, so that it is copied first."""
        strides = Strides.of(self.many.idx, self.many.tensor.axes)
        assert strides is not None  # as the choice says
        return strides[self.columns] != 1


def tiled(e: Equation, known: Known, shared: Index | None = None) -> Tiled | None:
    """An equation in tiles, if its sum is one of products over windows and large enough; within the steps of ``shared``."""
    if e.reduce or e.guards or not e.idx or any(t.dtype != "float" for t in (e.tensor, *e.tensors())):
        return None
    sums = [t for t in e.terms if t.bnd]
    if len(sums) != 1 or not all(arithmetic(f) for t in e.terms if not t.bnd for f in t.fac):
        return None
    (t,) = sums
    if t.coef != 1 or len(t.fac) != 2 or not all(isinstance(f, Read) and f.idx for f in t.fac):
        return None
    found = []
    for over in (e.idx, t.bnd):
        given = _given(e, t, over, known)
        first, second = (f.xreplace(given or {}) for f in t.fac)
        pairs = ((first, second), (second, first)) if given is not None else ()
        found += [made for a, b in pairs if (made := _chosen(e, t, given or {}, a, b, known, shared)) is not None]
    return max(found, key=lambda made: math.prod(count(i.size, known) for i in (made.depth, *made.taps)), default=None)


def _given(e: Equation, t: Term, first: Sequence[Index], known: Known) -> dict[Expr, Expr] | None:
    """What the equalities of a term say that indices are, rather the longest of ``first``; None if they say more than that.

    Of ``p = u + r`` in a gradient: p, and products are added to u + r of the result, or u, and p - r of a factor is read.
    """
    given: dict[Expr, Expr] = {}
    for r in t.rows:
        found = [
            (i, s) for i in (*e.idx, *t.bnd) if i not in given and (s := solution(r, i)) is not None and _stepped(s)
        ]
        if not found:
            return None
        i, s = max(found, key=lambda f: (f[0] in first, count(f[0].size, known)))
        given[i] = s
    return None if any(s.free_symbols & set(given) for s in given.values()) else given


def _chosen(
    e: Equation, t: Term, given: dict[Expr, Expr], a: Read, b: Read, known: Known, around: Index | None
) -> Tiled | None:
    """The roles of the indices, where ``b`` has the columns."""
    places = tuple(given.get(i, i) for i in e.idx)
    accesses = [(places, e.tensor.axes), (a.idx, a.tensor.axes), (b.idx, b.tensor.axes)]
    out, one, many = (Strides.of(at, axes) for at, axes in accesses)
    limits = [p for at, axes in accesses for p in zip(at, axes, strict=True)]
    limits += [(s, i.size) for i, s in given.items() if isinstance(i, Index)]
    limits = list(dict.fromkeys(p for p in limits if not _inside(*p, known)))
    if out is None or one is None or many is None or not any(_window(p) for at, _ in accesses for p in at):
        return None
    over = [i for i in (*e.idx, *t.bnd) if i not in given]
    if any(i not in over for i in (*one.steps, *many.steps)) or not all(_stepped(p) for p, _ in limits):
        return None
    size = {i: count(i.size, known) for i in over}
    fixed = [i for i in over if not known(i.size).free_symbols]
    columns = [i for i in fixed if i != around and out[i] == 1 and i in many and i not in one]
    rows = [i for i in over if i != around and i in out and i in one and i not in many and size[i] >= ROWS]
    column = max(columns, key=lambda i: (many[i] == 1, not _met(limits, {i}), size[i]), default=None)
    rows = [i for i in rows if column is not None and i not in _met(limits, {column})]
    row = min(rows, key=lambda i: count(one[i], known), default=None)
    if column is None or row is None or size[column] < COLUMNS:
        return None
    others = [i for i in over if i not in (row, column) and around in (i, None)]
    shared, summed = _shared(places, others, limits, (out, one, many), size)
    inner = [i for i in over if i not in out and i != shared and i not in _met(limits, {row, column})]
    if shared is None or not inner:
        return None
    depth = min(inner, key=lambda i: (size[i] < ROWS, count(one[i], known) + count(many[i], known)))
    taps = [i for i in inner if i != depth and i not in _met(limits, {depth})]
    while taps and math.prod(size[i] for i in (*taps, depth)) * min(size[column], 4 * COLUMNS) > PANEL:
        taps.pop(0)
    outer = [i for i in over if i not in {row, column, depth, shared, *taps}]
    outer.sort(key=lambda i: i not in many)  # where only the other factor changes, the columns stay in the first cache
    work = math.prod(size.values())
    used = work / math.prod(size[i] for i in many.steps)
    if math.prod(size[i] for i in (*taps, depth)) < DEPTH or work < WORK:
        return None
    if summed and count(Mul(*e.tensor.axes), known) > TOTALS:
        return None
    if many[column] != 1 and (used < AGAIN or any(p in b.idx for p, _ in limits)):
        return None
    found = (row, column, depth, tuple(taps), tuple(outer), shared, summed, tuple(limits))
    return Tiled(e.tensor, places, a, b, *found)


def _shared(
    places: Sequence[Expr],
    over: Sequence[Index],
    limits: Sequence[tuple[Expr, Expr]],
    strides: tuple[Strides, Strides, Strides],
    size: dict[Index, int],
) -> tuple[Index | None, bool]:
    """The index of the parts: one that the result has by itself, else one that is summed over."""
    out, one, many = strides
    free = [i for i in over if not _met(limits, {i})]
    alone = [i for i in free if i in places and sum(i in p.free_symbols for p in places) == 1]
    plain = [i for i in alone if (i in one) != (i in many)]
    inner = [i for i in free if i not in out and i in one and i in many]
    for found, summed in ((plain, False), (inner, True), (alone, False)):
        many_parts = [i for i in found if size[i] >= PARTS]
        if many_parts:
            return many_parts[0], summed
    return (alone[0], False) if alone else (None, False)


def _inside(place: Expr, axis: Expr, known: Known) -> bool:
    """Whether a place is never outside of its axis, of the sizes that are known."""
    found = bounds(place)
    low, high = found if found is not None else (Integer(-1), axis)
    return nonnegative(known(low)) and nonnegative(expand(known(axis - 1 - high)))


def _window(place: Expr) -> bool:
    """Whether a place is a sum of multiples of two indices, by numbers: a step of a window and a place in it."""
    split = parts(place)
    return split is not None and len(split[0]) > 1 and all(c.is_Integer for c in split[0].values())


def _stepped(place: Expr) -> bool:
    """Whether a place grows with each of its indices, or falls by 1: what is inside of an axis is from one step to another."""
    split = parts(place)
    return split is not None and bool(split[0]) and all(c == -1 or nonnegative(c - 1) for c in split[0].values())


def _met(limits: Sequence[tuple[Expr, Expr]], these: set[Index]) -> set[Expr]:
    """The indices that stand in a limited place with one of these, and these where they do."""
    return {i for p, _ in limits if p.free_symbols & these for i in p.free_symbols}
