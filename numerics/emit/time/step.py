"""One time step of a recurrence, as ordinary equations over tensors without the time axis."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import sympy
from sympy import Expr, Integer

from derive.language.index import Index, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term
from derive.program.schedule import Scan
from numerics.emit.source.code import Code, Name, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import named, transpose


@dataclass
class Step:
    """The body of a scan while it is being written."""

    scope: Scope  # outside the scan
    inner: Scope  # inside it
    group: Scan
    carried: dict[tuple[str, int], str] = field(default_factory=dict)  # (member, shift) -> its name inside
    streams: dict[Hashable, tuple[str, Code]] = field(
        default_factory=dict
    )  # key -> (name inside, array with time first)

    def __post_init__(self) -> None:
        self.members = {e.name: e for e in self.group.equations}

    def time(self, e: Equation) -> Index:
        return e.idx[self.group.axis[e.name]]

    def rest(self, e: Equation) -> tuple[Index, ...]:
        n = self.group.axis[e.name]
        return e.idx[:n] + e.idx[n + 1 :]


def now(e: Equation) -> str:
    """The name of a member's value at this step."""
    return f"{e.name}\0now"


def reads_member(step: Step, reads: Iterable[Read]) -> bool:
    """Whether a member of the recurrence is among the reads, also inside an index."""
    return any(s.tensor.name in step.members for r in reads for s in r.atoms(Read))


def body(step: Step, e: Equation) -> Equation:
    """The equation of one time step: reads of members become carried values, reads at time t streamed ones."""
    t, rest = step.time(e), step.rest(e)

    def at(expr: Any) -> Any:
        return _without_time(step, expr, t)

    terms = tuple(
        Term(
            term.coef,
            tuple(at(f) for f in _weights_turned(step, term, t)),
            term.bnd,
            tuple(Row(r.op, at(r.lhs), at(r.rhs)) for r in term.rows),
        )
        for term in e.terms
    )
    guards = tuple(Row(g.op, at(g.lhs), at(g.rhs)) for g in e.guards)
    made = Tensor(
        now(e),
        tuple(i.size for i in rest),
        rest,
        e.tensor.dtype,
        e.tensor.below,
        role="computed",
        digest=f"emit:{now(e)}",
    )
    return replace(e, tensor=made, idx=rest, terms=terms, guards=guards)


def _weights_turned(step: Step, term: Term, t: Index) -> tuple[Expr, ...]:
    """Factors, with a weight whose summed axes stand last transposed once, before the scan, not in every step."""
    if not reads_member(step, term.reads()):
        return term.fac
    return tuple(
        _turned(step, f, term.bnd)
        if isinstance(f, Read) and t not in f.free_symbols and not reads_member(step, [f])
        else f
        for f in term.fac
    )


def _turned(step: Step, r: Read, bnd: Collection[Index]) -> Read:
    order = sorted(range(len(r.idx)), key=lambda n: r.idx[n] not in bnd)
    plain = len(set(r.idx)) == len(r.idx) and all(
        isinstance(i, Index) and same_size(i.size, a) for i, a in zip(r.idx, r.tensor.axes, strict=True)
    )
    if not plain or order == list(range(len(order))) or not any(i in bnd for i in r.idx):
        return r
    name, axes = f"{r.tensor.name}\0turned:{order}", tuple(r.tensor.axes[n] for n in order)
    if name not in step.scope.arrays:
        given = step.scope.arrays[r.tensor.name]
        step.scope.arrays[name] = step.inner.arrays[name] = step.scope.names.fresh(f"{given}_T")
        axes_now = named(given, r.idx)
        step.scope.assign(step.scope.arrays[name], transpose(axes_now, [r.idx[n] for n in order]).node)
    step.inner.arrays[name] = step.scope.arrays[name]
    made = Tensor(name, axes, (), r.tensor.dtype, digest=f"emit:{name} {axes}", role="computed")
    return Read(made, *(r.idx[n] for n in order))


def _without_time(step: Step, e: Any, t: Index) -> Any:
    if isinstance(e, Read):
        if e.tensor.name in step.members:
            return _member(step, e, t)
        return (
            _streamed(step, e, t)
            if t in e.free_symbols and not reads_member(step, [e])
            else Read(e.tensor, *(_without_time(step, i, t) for i in e.idx))
        )
    if e == t:
        return _clock(step, t)
    if not e.args or (t not in e.free_symbols and not reads_member(step, e.atoms(Read))):
        return e
    args = [_without_time(step, a, t) for a in e.args]
    if isinstance(e, sympy.core.relational.Relational):
        return e.func(*args, evaluate=False)
    return e.func(*args)


def _member(step: Step, r: Read, t: Index) -> Read:
    """A member at this step, or carried from an earlier one."""
    e = step.members[r.tensor.name]
    n = step.group.axis[e.name]
    shift = abs(int(r.idx[n] - t))
    rest = [_without_time(step, i, t) for k, i in enumerate(r.idx) if k != n]
    axes = [a for k, a in enumerate(r.tensor.axes) if k != n]
    name = now(e) if shift == 0 else f"{e.name}\0{shift}"
    made = Tensor(name, axes, (), r.tensor.dtype, r.tensor.below, role="computed", digest=f"emit:{name} {axes}")
    if shift:
        add_carry(step, e, shift)
    return Read(made, *rest)


def add_carry(step: Step, e: Equation, shift: int) -> None:
    """Give a step the values of a member of so many steps before."""
    word = "prev" if step.group.direction > 0 else "next"
    for s in range(1, shift + 1):
        name = f"{e.name}\0{s}"
        if name not in step.inner.arrays:
            step.inner.arrays[name] = step.inner.names.fresh(f"{e.name}_{word}{s if s > 1 else ''}")
            step.carried[e.name, s] = step.inner.arrays[name]


def _clock(step: Step, t: Index) -> Read:
    name = f"{t.name}\0clock"
    made = Tensor(name, (), (), "int", t.size, role="computed", digest=f"emit:{name}")
    if name not in step.inner.arrays:
        places = step.scope.place(t).node
        step.inner.arrays[name] = step.inner.names.fresh(f"{t.name}_now", "now")
        step.streams[name] = (step.inner.arrays[name], places)
    return Read(made)


def _streamed(step: Step, r: Read, t: Index) -> Read:
    """A read at time t of a tensor outside the recurrence: that tensor with time first, one slice a step."""
    plain = len(set(r.idx)) == len(r.idx) and all(
        isinstance(i, Index) and same_size(i.size, a) for i, a in zip(r.idx, r.tensor.axes, strict=True)
    )
    labels = (
        tuple(i for i in r.idx if i != t)
        if plain
        else tuple(
            sorted((s for s in r.free_symbols if isinstance(s, Index) and s != t), key=lambda i: (i.uid, i.name))
        )
    )
    key = ("stream", r.xreplace({t: Index("t", t.size, -1)}))
    shown = step.scope.arrays[r.tensor.name]
    if key not in step.streams:
        if plain:
            n = r.idx.index(t)
            array: Code = Name(shown)
            array = array if n == 0 else call("jnp.moveaxis", array, number_of(n), number_of(0))
        else:
            made = Tensor(
                f"{shown}\0stream",
                tuple(i.size for i in (t, *labels)),
                (),
                r.tensor.dtype,
                r.tensor.below,
                role="computed",
                digest=f"emit:{shown}:{len(step.streams)}",
            )
            array = step.scope.equation(Equation(made, (t, *labels), (Term(Integer(1), (r,)),))).node
        spots = [int(i - t) for i in r.idx if t in i.free_symbols and (i - t).is_Integer]
        word = {-1: "prev", 1: "next"}.get(spots[0], "t") if len(spots) == 1 else "t"
        step.streams[key] = (step.inner.names.fresh(f"{shown}_{word}", f"{shown}_now"), array)
    local = step.streams[key][0]
    name = f"{local}\0slice"
    step.inner.arrays[name] = local
    axes = tuple(i.size for i in labels)
    identity = f"emit:{name} {axes}"  # for SymPy's cache: part of an axis in one recurrence, all of it in another
    made = Tensor(name, axes, (), r.tensor.dtype, r.tensor.below, role="computed", digest=identity)
    return Read(made, *labels)
