"""The definitions that tensors need as their authors wrote them, in an order in which they can be computed.

This is where evidence starts: it reads ``tensor.definition.body`` and nothing that was made of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sympy import Expr, Integer
from sympy.utilities.iterables import strongly_connected_components

from .errors import UnsupportedError
from .index import Index, Size
from .tensor import Read, Tensor

Group = tuple[Tensor, ...]


def groups(roots: Sequence[Tensor]) -> list[Group]:
    """Every tensor that the roots need, inputs included, each after those that it reads.

    Tensors that read each other stand together.  A tensor that an earlier derivation made is read by its equation there.
    """
    read: dict[Tensor, list[Tensor]] = {}
    todo = list(roots)
    while todo:
        t = todo.pop()
        if t not in read:
            read[t] = read_by(t)
            todo += read[t]
    edges = [(t, other) for t, others in read.items() for other in others]
    return [tuple(found) for found in strongly_connected_components((list(read), edges))]


def read_by(t: Tensor) -> list[Tensor]:
    """The tensors that a definition reads; a recurrence reads itself under its own name."""
    if t.definition is None:
        equation = None if t.origin is None else t.origin.equation(t)
        return [] if equation is None else list(equation.tensors())
    return sorted({r.tensor.member for r in t.definition.body.atoms(Read)}, key=lambda x: x.name)


def sizes_in(roots: Sequence[Tensor]) -> set[Size]:
    """Every size that the definitions of tensors name, also one that ingestion finds to cancel, as that of a mean of one
    number."""
    found: set[Size] = set()
    for group in groups(roots):
        for t in group:
            found |= {s for a in t.axes for s in a.free_symbols if isinstance(s, Size)}
            if t.definition is not None:
                body = t.definition.body
                found |= body.atoms(Size) | {s for i in body.atoms(Index) for s in i.size.free_symbols}
    return found


def reads_itself(group: Group) -> bool:
    """Whether a group is a recurrence."""
    return len(group) > 1 or group[0] in read_by(group[0])


def time_of(group: Group) -> tuple[list[Tensor], dict[str, int], int]:
    """A recurrence as (its members in the order of one step, the time axis of each, +1 or -1 for the direction of time).

    Raises
    ------
    UnsupportedError
        Where no axis is read at a constant number of steps, all of one sign.
    """
    names = {t.name for t in group}
    inner = {t.name: [r for r in _body_reads(t) if r.tensor.name in names] for t in group}
    for axis, shifts in _time_axes(group, inner):
        if not any(s for *_, s in shifts):
            continue
        for direction in (1, -1):
            if all(s * direction <= 0 for *_, s in shifts):
                ordered = _within_step(group, {(a, b) for a, b, s in shifts if s == 0})
                if ordered is not None:
                    return ordered, axis, direction
    raise UnsupportedError(
        f"the definitions of {', '.join(sorted(names))} read each other, and not at a constant number of steps along one axis"
    )


def _body_reads(t: Tensor) -> set[Read]:
    assert t.definition is not None  # only definitions are written
    found: set[Read] = t.definition.body.atoms(Read)
    return found


def _time_axes(
    group: Group, inner: dict[str, list[Read]]
) -> Iterator[tuple[dict[str, int], list[tuple[str, str, int]]]]:
    """The ways to choose the time axis of each member, with (reader, read, steps) of each read: every axis that is read
    at a number of steps from the reader's own is tried, as ``A[t - 1, i, t - 1]`` has two."""
    members = {t.name: t for t in group}
    first = group[0].name
    tries = [{first: n} for n in reversed(range(group[0].rank))]
    while tries:
        axis = tries.pop()
        steps = [(t, r.tensor.name, _steps(r, members[t].indices[n])) for t, n in axis.items() for r in inner[t]]
        if any(axis.get(name, next(iter(at), -1)) not in at for _, name, at in steps):
            continue
        open_ = next(((name, at) for _, name, at in steps if name not in axis), None)
        if open_ is not None:
            tries += [{**axis, open_[0]: n} for n in sorted(open_[1], reverse=True)]
        elif len(axis) == len(group):
            yield axis, [(t, name, at[axis[name]]) for t, name, at in steps]


def _steps(r: Read, now: Expr) -> dict[int, int]:
    """The axes of a read that are a number of steps from the reader's time, with the number."""
    return {n: int(e - now) for n, e in enumerate(r.idx) if isinstance(e - now, Integer)}


def _within_step(group: Group, edges: set[tuple[str, str]]) -> list[Tensor] | None:
    left: list[Tensor] = list(group)
    done: list[Tensor] = []
    while left:
        known = {t.name for t in done}
        free = [t for t in left if all(b in known for a, b in edges if a == t.name)]
        if not free:
            return None
        done.append(free[0])
        left.remove(free[0])
    return done
