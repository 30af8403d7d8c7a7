"""A function traced at several sizes: which of its numbers are sizes, and which are bound."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from derive.language.index import Size

from .axes import Joined, axes_of
from .flat import Block, flatten, shape_of
from .sizes import SizeDecides, Sizes

Shape = tuple[int, ...]


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
    axes : for each leaf, for each axis, its size
    sizes : Sizes
    bound : the sizes, by name, that the function decides something by, with their numbers
    out : the structure of what the function returns
    """

    block: Block
    axes: tuple[tuple[Size | int, ...], ...]
    sizes: Sizes
    bound: dict[str, str]
    out: Any


def trace(
    f: Callable[..., Any], leaves: Sequence[Leaf], named: Sequence[Sequence[str | None] | None]
) -> Traced:
    """Trace ``f(*leaves)`` at the given sizes and at others, binding the sizes that it decides something by.

    ``named`` gives names to axes (``axes=`` of the user): for each leaf, for each axis, a name or None.
    """
    first, out = _at(f, leaves, [x.shape for x in leaves])
    groups = _groups(first, leaves, named)
    fixed: dict[int, str] = {}
    while True:
        free = [n for n in groups.names if n not in fixed]
        try:
            return _traced(f, leaves, groups, free, first, out, fixed)
        except SizeDecides as error:
            for s in error.sizes:
                n = next((n for n, size in groups.names.items() if size == s), None)
                if n is not None:
                    fixed.setdefault(n, str(error))
            if not error.sizes:
                raise


@dataclass
class _Groups:
    """The sizes: for each axis of each leaf the number of its size, or None where its length is 1 or given."""

    of: list[list[int | None]]
    names: dict[int, Size]
    lengths: dict[int, int]


def _at(f: Callable[..., Any], leaves: Sequence[Leaf], shapes: Sequence[Shape]) -> tuple[Any, Any]:
    args = [jax.ShapeDtypeStruct(s, x.dtype) for s, x in zip(shapes, leaves, strict=True)]
    closed, out = jax.make_jaxpr(f, return_shape=True)(*args)
    return closed, jax.tree_util.tree_structure(out)


def _traced(
    f: Callable[..., Any],
    leaves: Sequence[Leaf],
    groups: _Groups,
    free: Sequence[int],
    first: Any,
    out: Any,
    fixed: dict[int, str],
) -> Traced:
    names = tuple(groups.names[n] for n in free)
    base = {groups.names[n]: groups.lengths[n] for n in free}
    used = set(groups.lengths.values()) | {0, 1}
    others = {}
    for s, length in base.items():
        others[s] = next(m for m in range(length + 1, length + 1000) if m not in used)
        used.add(others[s])
    farther = {s: n + 2 * (n - base[s]) + 1 for s, n in others.items()}
    assignments = [base, *({**base, s: others[s]} for s in names)]
    if len(names) > 1:
        assignments.append(others)
    if names:
        assignments.append(farther)
    traces = [first]
    wanted = shape_of(first)
    for k, at in enumerate(assignments[1:], 1):
        decided = (names[k - 1],) if k <= len(names) else names
        shapes = [
            tuple(
                at[groups.names[g]] if g is not None and g in free else n for g, n in zip(own, x.shape, strict=True)
            )
            for own, x in zip(groups.of, leaves, strict=True)
        ]
        try:
            closed, _ = _at(f, leaves, shapes)
        except Exception as error:  # whatever the function raises at another size: it decides by this one
            raise SizeDecides(decided, f"{type(error).__name__} at {at[decided[0]]}") from error
        if shape_of(closed) != wanted:
            raise SizeDecides(decided, "the operations differ")
        traces.append(closed)
    sizes = Sizes(names, tuple(assignments))
    block = flatten(traces, sizes)
    axes = tuple(
        tuple(groups.names[g] if g is not None and g in free else n for g, n in zip(own, x.shape, strict=True))
        for own, x in zip(groups.of, leaves, strict=True)
    )
    bound = {f"{groups.names[n].name} = {groups.lengths[n]}": why for n, why in fixed.items()}
    return Traced(block, axes, sizes, bound, out)


def _groups(first: Any, leaves: Sequence[Leaf], named: Sequence[Sequence[str | None] | None]) -> _Groups:
    """One size for all axes that the operations join; names as given, else by what an array's axes are called."""
    axes = [axes_of(v.aval) for v in first.jaxpr.invars]
    Joined().walk(first, axes)
    given: dict[str, Any] = {}
    for own, names in zip(axes, named, strict=True):
        for axis, name in zip(own, names or (), strict=False):
            if name is not None:
                axis.join(given.setdefault(name, axis))
    roots: dict[Any, int] = {}
    of: list[list[int | None]] = []
    for own in axes:
        of.append([None if a.length == 1 else roots.setdefault(a.root(), len(roots)) for a in own])
    chosen: dict[int, str] = {}
    for name, axis in given.items():
        if axis.root() in roots:
            chosen[roots[axis.root()]] = name
    order = sorted(range(len(leaves)), key=lambda n: (leaves[n].trained, n))
    for n in order:
        _letters(of[n], chosen, leaves[n])
    lengths = {n: root.length for root, n in roots.items()}
    return _Groups(of, {n: Size(chosen[n]) for n in sorted(roots.values())}, lengths)


_USUAL = {1: "B", 2: "BI", 3: "BTD", 4: "BHWC"}
_OTHERS = "JKLMNOPQRSUVXYZACEFG"


def _letters(groups: list[int | None], chosen: dict[int, str], leaf: Leaf) -> None:
    """Names for the sizes of an array that have none: the usual ones of data, the next letters for parameters."""
    usual = "" if leaf.trained else _USUAL.get(len(groups), "")
    for axis, g in enumerate(groups):
        if g is None or g in chosen:
            continue
        candidates = [*usual[axis : axis + 1], *_OTHERS, *(f"N{k}" for k in range(1, 1000))]
        chosen[g] = next(c for c in candidates if c not in chosen.values())
