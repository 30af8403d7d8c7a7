"""Members of a recurrence that others read one step earlier only: what a step was given is stacked, not what it makes.

    dz[t,b,l] = ... c[t-1,b,l] ...        def c_step(carry, z_ext_t): c_prev, h_prev = carry; ...
                                          _, (c_prev, h) = lax.scan(c_step, ...)        no shifted copy of c

The value is the same: the carry starts from zeros, which is what a read before the start is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from derive.language.index import Index, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row
from derive.program.schedule import Scan, members

Group = Equation | Scan  # what a schedule is a list of


@dataclass(frozen=True)
class Earlier:
    """The groups of a program with those reads at the same step, and the tensors that they read.

    Attributes
    ----------
    groups : list of Equation or Scan
    stacked : dict of str to (Tensor, int)
        By member: the tensor of its values ``shift`` steps earlier.
    """

    groups: list[Group]
    stacked: dict[str, tuple[Tensor, int]]


def earlier(groups: list[Group], results: Collection[str], readers: Mapping[str, set[str]]) -> Earlier:
    """Find the members that others read at one earlier step only.

    Parameters
    ----------
    groups : list of Equation or Scan
        With time first.
    results : set of str
        Names of what the program returns.
    readers : dict of str to set of str
        By tensor, the equations that read it; one that is read elsewhere too is left alone.
    """
    found: dict[str, tuple[Tensor, int]] = {}
    reads = _reads(groups)
    for g in groups:
        if not isinstance(g, Scan):
            continue
        inside = {e.name for e in g.equations}
        for e in g.equations:
            outside = [(reader, r) for reader, r in reads.get(e.name, ()) if reader not in inside]
            shift = _shift(e, g, outside, readers.get(e.name, set()) - inside)
            if shift is not None and e.name not in results and _carried(e.name, g, shift):
                name = f"{e.name}\0before"
                found[e.name] = (
                    Tensor(
                        name, e.tensor.axes, (), e.tensor.dtype, e.tensor.below, role="computed", digest=f"emit:{name}"
                    ),
                    shift,
                )
    return Earlier([_rewritten(g, found) for g in groups] if found else list(groups), found)


def _reads(groups: Iterable[Group]) -> dict[str, list[tuple[str, Read]]]:
    """``(reader, read)`` of every tensor, by its name."""
    found: dict[str, list[tuple[str, Read]]] = {}
    for g in groups:
        for e in members(g):
            for r in e.reads():
                found.setdefault(r.tensor.name, []).append((e.name, r))
    return found


def _shift(e: Equation, g: Scan, outside: list[tuple[str, Read]], readers: set[str]) -> int | None:
    """How many steps earlier every reader outside reads ``e``, if all agree and run over all steps."""
    if g.axis[e.name] != 0 or e.tensor.dtype != "float":
        return None
    shifts = {_steps_before(r, e, g.direction) for _, r in outside}
    seen = {reader for reader, _ in outside}
    return shifts.pop() if len(shifts) == 1 and seen == readers and None not in shifts else None


def _steps_before(r: Read, e: Equation, direction: int) -> int | None:
    times = [i for i in r.idx[0].free_symbols if isinstance(i, Index)]
    if (
        len(times) != 1
        or not same_size(times[0].size, e.tensor.axes[0])
        or any(times[0] in i.free_symbols or i.has(Read) for i in r.idx[1:])
    ):
        return None
    shift = (times[0] - r.idx[0]) * direction
    return int(shift) if shift.is_Integer and shift > 0 else None


def _carried(name: str, g: Scan, shift: int) -> bool:
    return any(
        r.tensor.name == name and (e.idx[g.axis[e.name]] - r.idx[0]) * g.direction == shift
        for e in g.equations
        for r in e.reads()
    )


def _rewritten(g: Group, found: Mapping[str, tuple[Tensor, int]]) -> Group:
    own = {e.name for e in g.equations} if isinstance(g, Scan) else set()

    def expression(x: Any) -> Any:
        if not x.args or not x.has(Read):
            return x
        args = [expression(a) for a in x.args]
        if isinstance(x, Read) and x.tensor.name in found and x.tensor.name not in own:
            time = next(i for i in x.idx[0].free_symbols if isinstance(i, Index))
            return Read(found[x.tensor.name][0], time, *args[2:])
        return x if args == list(x.args) else x.func(*args)

    def row(r: Row) -> Row:
        return replace(r, lhs=expression(r.lhs), rhs=expression(r.rhs))

    def equation(e: Equation) -> Equation:
        if not any(r.tensor.name in found and r.tensor.name not in own for r in e.reads()):
            return e
        terms = tuple(
            replace(t, fac=tuple(expression(f) for f in t.fac), rows=tuple(row(r) for r in t.rows)) for t in e.terms
        )
        return replace(e, terms=terms, guards=tuple(row(r) for r in e.guards))

    return replace(g, equations=tuple(equation(e) for e in g.equations)) if isinstance(g, Scan) else equation(g)
