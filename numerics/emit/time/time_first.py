"""Sequences (B, T, F) in a recurrence: time comes first inside the program, so that a scan's slices are contiguous.

    h[b,t,l] = tanh(h[b,t-1,m] ...)      is written as h[t,b,l]; only what is returned is moved back, once

Reads of the members are permuted wherever they stand, also in the products after the scan; no value changes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row
from derive.program.schedule import Scan
from numerics.emit.source.code import Name, call, number_of
from numerics.emit.source.scope import Scope

from .earlier import Group

T = TypeVar("T")


@dataclass
class TimeFirst:
    """The groups of a program with every recurrence along the first axis.

    Attributes
    ----------
    groups : list of Equation or Scan
    moved : dict of str to int
        Where the time axis of a member was.
    """

    groups: list[Group]
    moved: dict[str, int] = field(default_factory=dict)
    inputs: dict[str, tuple[Tensor, int]] = field(
        default_factory=dict
    )  # name of the moved copy -> the input and its time axis

    def prepare(self, scope: Scope) -> None:
        """Inputs that a recurrence reads at every step are moved once."""
        for name, (t, n) in self.inputs.items():
            given = scope.arrays[t.name]
            scope.arrays[name] = scope.names.fresh(f"{given}_steps")
            scope.assign(scope.arrays[name], call("jnp.moveaxis", Name(given), number_of(n), number_of(0)))

    def restore(self, scope: Scope, results: Iterable[Tensor]) -> None:
        """Returned tensors get their axes as defined."""
        for name in dict.fromkeys(t.name for t in results):
            if name in self.moved:
                given = scope.arrays[name]
                scope.arrays[name] = scope.names.fresh(f"{given}_out")
                back = call("jnp.moveaxis", Name(given), number_of(0), number_of(self.moved[name]))
                scope.assign(scope.arrays[name], back)


def time_first(groups: Iterable[Group]) -> TimeFirst:
    """Permute the axes of the members whose time axis is not the first, and of what their steps read."""
    groups = list(groups)
    members = {e.name: g.axis[e.name] for g in groups if isinstance(g, Scan) for e in g.equations}
    moved = {name: n for name, n in members.items() if n}
    if not moved:
        return TimeFirst(list(groups))
    for g in groups:
        if not isinstance(g, Scan):
            continue
        for e in g.equations:
            for r in e.reads():
                if e.name in moved and r.tensor.name not in members and r.tensor.name not in moved:
                    spots = [n for n, i in enumerate(r.idx) if e.idx[g.axis[e.name]] in i.free_symbols]
                    if len(spots) == 1 and spots[0] and (r.idx[spots[0]] - e.idx[g.axis[e.name]]).is_Integer:
                        moved[r.tensor.name] = spots[0]
    made: dict[Tensor, Tensor] = {}
    inputs: dict[str, tuple[Tensor, int]] = {}

    def tensor(t: Tensor) -> Tensor:
        if t not in made:
            n = moved[t.name]
            name = f"{t.name}\0steps" if t.is_input else t.name
            if t.is_input:
                inputs[name] = (t, n)
            made[t] = Tensor(
                name,
                first(t.axes, n),
                first(t.letters, n),
                t.dtype,
                t.below,
                t.role,
                t.facts,
                None,
                f"emit:{t.digest}",
                t.block,
            )
        return made[t]

    def expression(e: Any) -> Any:
        if not e.args or not e.has(Read):
            return e
        args = [expression(a) for a in e.args]
        if isinstance(e, Read) and e.tensor.name in moved:
            return Read(tensor(e.tensor), *first(args[1:], moved[e.tensor.name]))
        return e if args == list(e.args) else e.func(*args)

    def equation(e: Equation) -> Equation:
        terms = tuple(
            replace(t, fac=tuple(expression(f) for f in t.fac), rows=tuple(row(r) for r in t.rows)) for t in e.terms
        )
        e = replace(e, terms=terms, guards=tuple(row(g) for g in e.guards))
        n = moved.get(e.name)
        return e if n is None else replace(e, tensor=tensor(e.tensor), idx=first(e.idx, n))

    def row(r: Row) -> Row:
        return replace(r, lhs=expression(r.lhs), rhs=expression(r.rhs))

    out = [
        replace(g, equations=tuple(equation(e) for e in g.equations), axis=dict.fromkeys(g.axis, 0))
        if isinstance(g, Scan)
        else equation(g)
        for g in groups
    ]
    return TimeFirst(out, {name: n for name, n in moved.items() if f"{name}\0steps" not in inputs}, inputs)


def first(items: Iterable[T], n: int) -> tuple[T, ...]:
    """The ``n``-th item moved to the front."""
    given = tuple(items)
    return (given[n], *given[:n], *given[n + 1 :])
