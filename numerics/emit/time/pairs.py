"""Which recurrences can be gone through part by part: one, and the reverse one that reads it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from derive.language.index import Index, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation
from derive.program.schedule import Scan, members

from .earlier import Group


@dataclass
class Pair:
    """A recurrence, the reverse one that reads it, and what the reverse one needs computed again.

    ``beside`` are equations that read the values of both at one step and nothing at another, such as the gradients of a
    GRU's pre-activations: they are computed with the reverse recurrence, so that those values need not be kept.
    """

    forward: Scan
    reverse: Scan
    beside: tuple[Equation, ...]
    kept: set[str]  # members that others read too
    again: dict[tuple[str, int], Tensor] = field(default_factory=dict)  # (member, shift) -> its values in a part
    starts: str = ""  # the name of what each part started from


def pairs(groups: list[Group], results: set[str]) -> list[Pair]:
    """The recurrences whose reverse reads values that nothing else needs."""
    scans = [g for g in groups if isinstance(g, Scan)]
    found: list[Pair] = []
    for n, f in enumerate(scans):
        names = {e.name for e in f.equations}
        backward = [g for g in scans[n + 1 :] if g.direction == -f.direction and names & _read_by([g])]
        if (
            not backward
            or any(backward[0] is p.reverse for p in found)
            or not all(_plain(g, names) for g in (f, backward[0]))
        ):
            continue
        r = backward[0]
        beside = _beside(groups, f, r)
        others = [g for g in groups if g is not f and g is not r and not any(g is e for e in beside)]
        kept = (names | {e.name for e in (*r.equations, *beside)}) & (_read_by(others) | results)
        if _read_by([r, *beside]) & names - kept:
            found.append(Pair(f, r, beside, kept))
    return found


def _read_by(groups: Iterable[Group]) -> set[str]:
    return {t.name for g in groups for e in members(g) for t in e.tensors()}


def _beside(groups: list[Group], f: Scan, r: Scan) -> tuple[Equation, ...]:
    both = {e.name for g in (f, r) for e in g.equations}
    backward = {e.name for e in r.equations}
    known = {e.name for g in groups[: groups.index(r) + 1] for e in members(g)}
    later = [g for g in groups[groups.index(r) + 1 :] if not isinstance(g, Scan)]
    return tuple(
        e
        for e in later
        if step_of(e, both) is not None
        and all(t.is_input or t.name in known for t in e.tensors())
        and _in_time(e, r, both, backward)
    )


def step_of(e: Equation, members: Collection[str]) -> Index | None:
    """The index of ``e`` at which, or at constant shifts of which, it reads members, without summing; or None."""
    reads = [r for r in e.reads() if r.tensor.name in members]
    inside = any(s.tensor.name in members for r in e.reads() for i in r.idx for s in i.atoms(Read))
    if not reads or inside or e.reduce or any(t.bnd for t in e.terms):
        return None
    return next(
        (t for t in e.idx if all((r.idx[0] - t).is_Integer and same_size(r.tensor.axes[0], t.size) for r in reads)),
        None,
    )


def _in_time(e: Equation, r: Scan, members: Collection[str], backward: Collection[str]) -> bool:
    """Whether members of the reverse recurrence are read at steps that it has gone through."""
    t = step_of(e, members)
    return all(int(x.idx[0] - t) * r.direction <= 0 for x in e.reads() if x.tensor.name in backward)


def _plain(g: Scan, names: Collection[str]) -> bool:
    """Whether time is the first axis, and members are read at constant shifts of it and stand in no index."""
    for e in g.equations:
        t = e.idx[g.axis[e.name]]
        if g.axis[e.name] != 0:
            return False
        for r in e.reads():
            if r.tensor.name in names and not (r.idx[0] - t).is_Integer:
                return False
            if any(s.tensor.name in names or s.tensor.name in g.axis for i in r.idx for s in i.atoms(Read)):
                return False
    return True
