"""A function traced at several sizes: which of its numbers are sizes, and which are bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax
from sympy import Expr, Integer

from derive.language.errors import ShapeError
from derive.language.index import Size

from .axes import Joined, axes_of
from .concrete import CONCRETE, by_values
from .flat import Block, flatten, shape_of
from .sizes import SizeDecides, Sizes, SizesEqual

Shape: TypeAlias = tuple[int, ...]
Given: TypeAlias = "Sequence[Sequence[str | None] | None]"

MOST = 64  # the greatest factor between two axes that is looked for
TRIES, FEW = 40, 8  # traces that look for ties between axes: where doubling all of them works, and where it does not
_USUAL = {1: "B", 2: "BI", 3: "BTD", 4: "BHWC"}
_OTHERS = "JKLMNOPQRSUVXYZACEFG"


@dataclass(frozen=True)
class Leaf:
    """One array among a function's arguments."""

    name: str
    shape: Shape
    dtype: Any
    trained: bool


@dataclass(frozen=True)
class Traced:
    """A function at every size.

    Attributes
    ----------
    block : Block
    axes : for each leaf the size of each axis
    sizes : Sizes
    letters : dict
        Names for axes whose size is a multiple, such as ``2*D_2``.
    bound : tuple of str
        The lengths that the function decides something by.
    out : the structure of what the function returns
    """

    block: Block
    axes: tuple[tuple[Expr, ...], ...]
    sizes: Sizes
    letters: dict[Expr, str]
    bound: tuple[str, ...]
    out: Any


def trace(f: Callable[..., Any], leaves: Sequence[Leaf], given: Given, use: Callable[[Traced], None]) -> Traced:
    """Trace ``f(*leaves)`` at the given sizes and at others, binding the sizes that it decides something by.

    ``use`` is given what was traced, and may say of sizes that they decide something, or that they are one.
    ``given`` names axes (``axes=`` of the user): for each leaf, for each axis, a name or None.
    """
    run = _Run(f, leaves, given)
    free = run.free()
    while True:
        try:
            found = run.traced(free)
            use(found)
            return found
        except SizesEqual as error:
            one, other = (next(own for own in free if run.sizes[own] == s) for s in error.pair)
            joined = Free(one.base, {**one.times, **other.times})
            free = [joined if own is one else own for own in free if own is not other]
        except SizeDecides as error:
            decided = [own for own in free if run.sizes[own] in error.sizes]
            if not decided:
                raise
            least = min((x for x in decided if x not in run.shorter), key=lambda x: x.base, default=None)
            if error.empty and least is not None and least.base > 2:
                run.shorter.add(least)  # it may only not be longer, as the width of a kernel than its image
                continue
            free = [own for own in free if own is not decided[-1]]  # of several the one that was found last, by a tie


@dataclass(eq=False)
class Free:
    """A length that is free: ``base``, and the groups of axes that are so many times it."""

    base: int
    times: dict[int, int] = field(default_factory=dict)


class _Run:
    """The groups of axes that are one size, and what traces at other lengths show."""

    def __init__(self, f: Callable[..., Any], leaves: Sequence[Leaf], given: Given):
        self.f, self.leaves = f, leaves
        try:
            self.first, self.out = self.at({})
        except CONCRETE as error:
            raise by_values(error) from error
        axes = [axes_of(v.aval) for v in self.first.jaxpr.invars]
        Joined().walk(self.first, axes)
        self.given: dict[int, str] = {}
        named: dict[str, Any] = {}
        for leaf, own, names in zip(leaves, axes, given, strict=True):
            for axis, name in zip(own, names or (), strict=False):
                if name is None:
                    continue
                same = named.setdefault(name, axis)
                if same.length != axis.length:
                    raise ShapeError(f"axes: {name} is {same.length} elsewhere, but {axis.length} in {leaf.name}")
                axis.join(same)
        roots: dict[Any, int] = {}
        self.of = [[None if a.length == 1 else roots.setdefault(a.root(), len(roots)) for a in own] for own in axes]
        self.lengths = {n: root.length for root, n in roots.items()}
        for name, axis in named.items():
            if axis.root() in roots:
                self.given[roots[axis.root()]] = name
        self.wanted = shape_of(self.first)
        self.shorter: set[Free] = set()  # whose other lengths are shorter than their own
        self.names: dict[Free, str] = {}
        self.sizes: dict[Free, Size] = {}

    def at(self, lengths: dict[int, int]) -> tuple[Any, Any]:
        """The trace with groups of axes at other lengths."""
        shapes = [x.shape for x in self.leaves]
        if lengths:
            shapes = [
                tuple(lengths.get(-1 if g is None else g, n) for g, n in zip(own, x.shape, strict=True))
                for own, x in zip(self.of, self.leaves, strict=True)
            ]
        args = [jax.ShapeDtypeStruct(s, x.dtype) for s, x in zip(shapes, self.leaves, strict=True)]
        closed, out = jax.make_jaxpr(self.f, return_shape=True)(*args)
        return closed, jax.tree_util.tree_structure(out)

    # -- which lengths are free ---------------------------------------------------------------------------------------

    def works(self, times: dict[int, int], base: int) -> bool:
        """Whether the function does the same where groups of axes are ``times`` another length."""
        try:
            closed, _ = self.at({n: k * base for n, k in times.items()})
        except Exception:  # whatever the function raises at another length: it decides by this one
            return False
        return shape_of(closed) == self.wanted

    def free(self) -> list[Free]:
        """The lengths that may change, each alone where it may, else with those that it is tied to."""
        bad: list[int] = []
        out: list[Free] = []
        for n, length in self.lengths.items():
            if self.works({n: 1}, length + 1):
                out.append(Free(length, {n: 1}))
            else:
                bad.append(n)
        tries, bad = self._worth(bad)
        while bad and tries:
            n = min(bad, key=lambda n: (self.lengths[n], n))
            bad.remove(n)
            found = None
            for x in self._tied(n, bad):
                tries -= 1
                if not tries or self.works(x.times, x.base + 1):
                    found = x if tries else None
                    break
            if found is None:
                continue
            for m in list(found.times):
                fewer = {k: t for k, t in found.times.items() if k != m}
                if m != n and len(fewer) and self.works(fewer, found.base + 1):
                    found = Free(found.base, fewer)
            out.append(found)
            bad = [m for m in bad if m not in found.times]
        return out

    def _worth(self, bad: list[int]) -> tuple[int, list[int]]:
        """How many traces the search for ties is worth, and of which groups: those that can be doubled together."""
        lengths = sorted({self.lengths[m] for m in bad})
        for left_out in [0, *lengths]:
            some = [m for m in bad if self.lengths[m] != left_out]
            if some and self.works({m: self.lengths[m] for m in some}, 2):
                return TRIES, some
        return FEW, bad

    def _tied(self, n: int, bad: Sequence[int]) -> Iterator[Free]:
        """A group with those of its length, and those of multiples of it, in units of its divisors."""
        length = self.lengths[n]
        same = [m for m in bad if self.lengths[m] == length]
        larger = [m for m in bad if self.lengths[m] > length and self.lengths[m] % length == 0]
        units = [1, *(g for g in range(2, min(length // 2, MOST) + 1) if length % g == 0)]
        sets = [dict.fromkeys([n, *same], 1)]
        if same:
            sets.append({n: 1})
        for m in larger:
            sets.append({**sets[0], m: self.lengths[m] // length})
        if len(larger) > 1:
            sets.append({**sets[0], **{m: self.lengths[m] // length for m in larger}})
        for unit in units[:4]:
            for times in sets:
                yield Free(length // unit, {m: unit * t for m, t in times.items()})

    # -- all traces ---------------------------------------------------------------------------------------------------

    def traced(self, free: Sequence[Free]) -> Traced:
        self._name(free)
        sizes = tuple(self.sizes[x] for x in free)
        base = {self.sizes[x]: x.base for x in free}
        used = {0, 1, *self.lengths.values(), *base.values()}
        others: dict[Size, int] = {}
        for s, n in base.items():
            others[s] = next(m for m in range(n + 1, n + 1000) if m not in used)
            used.add(others[s])
        farther = {s: n + 2 * (n - base[s]) + 1 for s, n in others.items()}
        for x in free:
            if x in self.shorter:
                farther[self.sizes[x]] = others[self.sizes[x]]
                others[self.sizes[x]] = x.base - 1
        assignments = [base, *({**base, s: others[s]} for s in sizes)]
        assignments += [others] if len(sizes) > 1 else []
        assignments += [farther] if sizes else []
        traces = [self.first]
        for k, at in enumerate(assignments[1:], 1):
            decided = (sizes[k - 1],) if k <= len(sizes) else sizes
            lengths = {n: t * at[self.sizes[x]] for x in free for n, t in x.times.items()}
            try:
                closed, _ = self.at(lengths)
            except Exception as error:
                raise SizeDecides(decided, f"{type(error).__name__} at {at[decided[0]]}", True) from error
            if shape_of(closed) != self.wanted:
                raise SizeDecides(decided, "the operations differ")
            traces.append(closed)
        found = Sizes(sizes, tuple(assignments))
        block = flatten(traces, found)
        whole = {n: t * self.sizes[x] for x in free for n, t in x.times.items()}
        axes = tuple(
            tuple(whole.get(-1 if g is None else g, Integer(n)) for g, n in zip(own, x.shape, strict=True))
            for own, x in zip(self.of, self.leaves, strict=True)
        )
        letters = {t * self.sizes[x]: self.names[x] for x in free for t in x.times.values() if t != 1}
        return Traced(block, axes, found, letters, self._bound(whole), self.out)

    def _bound(self, whole: dict[int, Expr]) -> tuple[str, ...]:
        """The axes whose lengths are numbers of the program, as "x axis 1 = 28"."""
        out = []
        for own, leaf in zip(self.of, self.leaves, strict=True):
            out += [
                f"{leaf.name} axis {axis} = {leaf.shape[axis]}"
                for axis, g in enumerate(own)
                if g is not None and g not in whole
            ]
        return tuple(out)

    def _name(self, free: Sequence[Free]) -> None:
        """Names for the sizes: as given, else the usual ones of data, then the next letters for parameters."""
        owner = {n: x for x in free for n in x.times}
        names: dict[Free, str] = {}
        for n, name in self.given.items():
            if n in owner:
                names.setdefault(owner[n], name)
        taken = {*names.values(), *self.given.values()}
        for k in sorted(range(len(self.leaves)), key=lambda k: (self.leaves[k].trained, -len(self.leaves[k].shape), k)):
            usual = "" if self.leaves[k].trained else _USUAL.get(len(self.of[k]), "")
            for axis, g in enumerate(self.of[k]):
                x = owner.get(-1 if g is None else g)
                if x is None or x in names:
                    continue
                candidates = [*usual[axis : axis + 1], *_OTHERS, *(f"N{m}" for m in range(1, 1000))]
                names[x] = next(c for c in candidates if c not in taken)
                taken.add(names[x])
        self.names = {x: names[x] for x in free}
        self.sizes = {
            x: Size(names[x] if 1 in x.times.values() else f"{names[x]}_{min(x.times.values())}") for x in free
        }
