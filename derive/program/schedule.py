"""The order in which a program's equations can be evaluated; recurrences are its strongly connected components.

``schedule(program)`` returns groups: a single equation, or a :class:`Scan` of equations that read each other at
constant shifts along one axis each.  Inside a scan, reads at shift 0 must not form a cycle.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sympy import Integer

from derive.language.errors import UnsupportedError
from derive.language.index import Index
from derive.language.tensor import Read

from .program import Equation, Program


@dataclass(frozen=True)
class Scan:
    """Equations evaluated together, one time step after another.

    ``axis[name]`` is the position of the time axis in each member, ``direction`` +1 when time runs forward (reads at
    t-1) and -1 when it runs backward (reads at t+1), ``depth`` the largest shift.
    ``equations`` are in an order that is right within one time step.
    """

    equations: tuple[Equation, ...]
    axis: dict[str, int]
    direction: int
    depth: int


def schedule(program: Program) -> list[Equation | Scan]:
    """Groups in evaluation order; ties keep the program's own order, so the result is deterministic.

    Raises
    ------
    UnsupportedError
        For a cycle that no shift along one axis breaks; the message names the cycle.
    """
    groups: list[Equation | Scan] = []
    for component in components(program):
        first = component[0]
        names = {e.name for e in component}
        if len(component) == 1 and first.name not in {t.name for t in first.tensors()}:
            groups.append(first)
        else:
            groups.append(_scan(component, names))
    return groups


def members(group: Equation | Scan) -> tuple[Equation, ...]:
    """The equations of a group, in the order in which one time step evaluates them."""
    return group.equations if isinstance(group, Scan) else (group,)


def in_order(program: Program) -> list[Equation]:
    """Every equation of a program in evaluation order."""
    return [e for group in schedule(program) for e in members(group)]


def components(program: Program) -> list[list[Equation]]:
    """The equations that read each other, each group after those that it reads: Tarjan's algorithm.

    ``index`` numbers equations as they are met, ``low`` is the earliest one on the stack that each can reach: where the two
    agree, the equations above it on the stack read each other and nothing that is still open.  It is iterative because a
    program of a thousand definitions is a path of a thousand, deeper than Python's own stack.
    """
    order = {e.name: n for n, e in enumerate(program.equations)}
    deps = [sorted(order[t.name] for t in e.tensors() if t.name in order) for e in program.equations]
    index: dict[int, int] = {}
    low: dict[int, int] = {}
    on: set[int] = set()
    stack: list[int] = []
    out: list[list[Equation]] = []
    for root in range(len(deps)):
        if root in index:
            continue
        work = [(root, 0)]
        while work:
            v, n = work[-1]
            if n == 0:
                index[v] = low[v] = len(index)
                stack.append(v)
                on.add(v)
            if n < len(deps[v]):
                work[-1] = (v, n + 1)
                w = deps[v][n]
                if w not in index:
                    work.append((w, 0))
                elif w in on:
                    low[v] = min(low[v], index[w])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[v])
            if low[v] == index[v]:
                members = []
                while True:
                    w = stack.pop()
                    on.discard(w)
                    members.append(w)
                    if w == v:
                        break
                out.append([program.equations[m] for m in sorted(members)])
    return out


def _scan(component: list[Equation], names: set[str]) -> Scan:
    """The component as a recurrence: along some axis every read within it is at a constant shift, all of one sign.

    Shifts of one sign mean that a step reads only steps that are done.  Reads at shift 0 stay within a step, and only
    their order matters there; with no read at another shift the cycle would be one within a step, which nothing breaks.
    """
    cycle = " -> ".join(sorted(names)) + f" -> {min(names)}"
    reads = {e.name: _inner(e, names) for e in component}
    for axis in _axis_choices(component, reads):
        shifts = _shifts(component, reads, axis)
        if shifts is None:
            continue
        values = {s for *_, s in shifts}
        for direction in (1, -1):
            if all(s * direction <= 0 for s in values) and any(s for s in values):
                ordered = _within_step(component, [(a, b) for a, b, s in shifts if s == 0])
                if ordered is not None:
                    return Scan(tuple(ordered), axis, direction, max(abs(s) for s in values))
    raise UnsupportedError(
        f"the definitions {cycle} read each other in a cycle that no constant shift along one axis breaks; a recurrence "
        f"reads itself at an earlier step, as in h[t - 1, b, l], the same sign of shift throughout"
    )


def _axis_choices(component: list[Equation], reads: dict[str, list[Read]]) -> Iterator[dict[str, int]]:
    """Assignments of one axis position to each member, grown from each axis of the first member along its reads.

    Members need not keep time at the same place (``h[t, b]`` and ``dW[i, t]``), so the place of each is found from who
    reads it: where the reader's own time letter stands, plus a number, is the time axis of what is read.  Every member
    reads, directly or through others, every other one; so one axis of the first decides all, and the tries are few.
    """
    by_name = {e.name: e for e in component}
    first = component[0]
    tries = [({first.name: a}, [first.name]) for a in reversed(range(first.tensor.rank))]
    while tries:
        axis, todo = tries.pop()
        if not todo:
            if len(axis) == len(component):
                yield axis
            continue
        e = by_name[todo[-1]]
        found = _spots(e.idx[axis[e.name]], reads[e.name], axis)
        if found is None:
            continue
        name, spots = found
        if not spots:
            tries.append((axis, todo[:-1]))
        tries += [({**axis, name: n}, [name, *todo]) for n in reversed(spots)]


def _spots(t: Index, reads: list[Read], axis: dict[str, int]) -> tuple[str, list[int]] | None:
    """The first tensor read whose time axis is open, with where it may be; none is open if there are no places.

    None where a read is not a number of steps away, along the axis chosen or along any.
    """
    for r in reads:
        spots = [n for n, x in enumerate(r.idx) if t in x.free_symbols and (x - t).is_Integer]
        if not spots or axis.get(r.tensor.name, spots[0]) not in spots:
            return None
        if r.tensor.name not in axis:
            return r.tensor.name, spots
    return "", []


def _shifts(
    component: list[Equation], reads: dict[str, list[Read]], axis: dict[str, int]
) -> list[tuple[str, str, int]] | None:
    """``(reader, read, shift)`` of every read within the component; None where one is not a number of steps away."""
    found = []
    for e in component:
        t: Index = e.idx[axis[e.name]]
        for r in reads[e.name]:
            shift = r.idx[axis[r.tensor.name]] - t
            if not isinstance(shift, Integer):
                return None
            found.append((e.name, r.tensor.name, int(shift)))
    return found


def _inner(e: Equation, names: set[str]) -> list[Read]:
    """An equation's reads of the cycle, in an order that does not depend on hashes; to print them is slow."""
    found = [r for r in e.reads() if r.tensor.name in names]
    return sorted(found, key=str) if len(found) > 1 else found


def _within_step(component: list[Equation], edges: list[tuple[str, str]]) -> list[Equation] | None:
    """Order members so that a read at shift 0 comes after its definition; None if that is impossible."""
    left, out = list(component), []
    done: set[str] = set()
    while left:
        for e in left:
            if all(b in done or a != e.name for a, b in edges):
                out.append(e)
                done.add(e.name)
                left.remove(e)
                break
        else:
            return None
    return out
