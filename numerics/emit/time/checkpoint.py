"""Recurrences that keep every n-th carry only: ``checkpoint_every=n``, memory for time.

    forward     part after part of n steps; kept are what each part started from, and the members that others read
    backward    part after part, last first: its steps are computed again from where the part started, by the same
                equations, then gone through in reverse

What is computed again are equations of the derivation, as all else; nothing is differentiated here.  A time axis of T
steps becomes an axis of ``part`` steps inside the two functions that are written; tensors that are read at a step are
handed to them part by part.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sympy
from sympy import Expr, Integer

from derive.index import Index, Size, same_size
from derive.order import Scan
from derive.program import Equation, Row, Term
from derive.tensor import Read, Tensor
from numerics.emit.source.code import (
    Assign,
    Attribute,
    Code,
    Constant,
    FunctionDef,
    Name,
    Return,
    Subscript,
    Tuple,
    call,
    number_of,
)
from numerics.emit.source.names import Names
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val
from numerics.errors import NumericsError

from . import scan
from .earlier import Group
from .time_first import first

PART = Size("steps of a part")


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


@dataclass
class Plan:
    """Which recurrences keep every n-th carry only."""

    pairs: list[Pair]
    every: int = 0

    def write(self, scope: Scope, group: Group) -> bool:
        """Write a group if it belongs to one of them."""
        for pair in self.pairs:
            if group is pair.forward:
                write_forward(scope, pair, self.every)
            elif group is pair.reverse:
                write_reverse(scope, pair, self.every)
            if group is pair.forward or group is pair.reverse or any(group is e for e in pair.beside):
                return True
        return False


def plan(groups: list[Group], results: set[str], every: int | None, bound: Mapping[Size, int]) -> Plan:
    """The recurrences of a program that ``checkpoint_every`` is about.

    Raises
    ------
    NumericsError
        For a number of steps below 1 or beyond a fixed length, or a program without a recurrence and its reverse.
    """
    if every is None:
        return Plan([])
    if isinstance(every, bool) or not hasattr(every, "__index__") or int(every) < 1:
        raise NumericsError(
            f"checkpoint_every is {every!r}; accepted is a whole number of steps from 1, about the square "
            f"root of the length"
        )
    found = _pairs(groups, results)
    if not found:
        raise NumericsError(
            "checkpoint_every: this program has no recurrence whose reverse one reads values that nothing "
            "else needs, so there is nothing to compute again; leave it out"
        )
    for pair in found:
        e = pair.forward.equations[0]
        length = e.idx[0].size.xreplace({s: Integer(n) for s, n in bound.items()})
        if length.is_Integer and int(every) > int(length):
            raise NumericsError(
                f"checkpoint_every is {int(every)}, and the recurrence of {e.name} has {length} steps; "
                f"accepted is a number from 1 to {length}"
            )
    return Plan(found, int(every))


def _pairs(groups: list[Group], results: set[str]) -> list[Pair]:
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
    return {t.name for g in groups for e in _equations(g) for t in e.tensors()}


def _equations(g: Group) -> tuple[Equation, ...]:
    return g.equations if isinstance(g, Scan) else (g,)


def _first(g: Scan) -> str:
    return g.equations[0].name


def _beside(groups: list[Group], f: Scan, r: Scan) -> tuple[Equation, ...]:
    members = {e.name for g in (f, r) for e in g.equations}
    backward = {e.name for e in r.equations}
    known = {e.name for g in groups[: groups.index(r) + 1] for e in _equations(g)}
    later = [g for g in groups[groups.index(r) + 1 :] if not isinstance(g, Scan)]
    return tuple(
        e
        for e in later
        if _step_of(e, members) is not None
        and all(t.is_input or t.name in known for t in e.tensors())
        and _in_time(e, r, members, backward)
    )


def _step_of(e: Equation, members: Collection[str]) -> Index | None:
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
    t = _step_of(e, members)
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


class Body(Scope):
    """The function of a part: the number of its steps is known only inside it."""

    def __init__(self, outer: Scope):
        super().__init__(Names(outer.names.taken), outer.writers, outer.bound, outer)
        self.measured = dict(outer.measured)

    def place(self, label: Index) -> Val:
        """The steps of a part, counted from its beginning, are written here; other indices at the top."""
        if label.size != PART:
            return super().place(label)
        steps = Val(call("jnp.arange", self.size(PART).node), (label,), "int")
        return self.share(("place", PART), (label.name, f"{label.name}_in"), steps)


@dataclass
class Streams:
    """What a part is handed of the tensors outside: by tensor, or by the read of it that is computed before."""

    scope: Scope
    body: Body
    members: dict[str, Tensor]
    pair: Pair
    reverse: bool
    found: dict[Hashable, tuple[Code, str]] = field(default_factory=dict)  # key -> (array outside, name inside)
    copies: dict[str, Equation] = field(default_factory=dict)  # member of the forward recurrence -> one that repeats it

    def equation(self, e: Equation) -> Equation:
        t = e.idx[0]
        u = Index(t.name, PART, t.uid)

        def at(x: Any) -> Any:
            return self._moved(x, t, u)

        terms = tuple(
            Term(
                term.coef,
                tuple(at(f) for f in term.fac),
                term.bnd,
                tuple(Row(r.op, at(r.lhs), at(r.rhs)) for r in term.rows),
            )
            for term in e.terms
        )
        guards = tuple(Row(g.op, at(g.lhs), at(g.rhs)) for g in e.guards)
        return replace(e, tensor=self.members[e.name], idx=(u, *e.idx[1:]), terms=terms, guards=guards)

    def _moved(self, x: Any, t: Index, u: Index) -> Any:
        if isinstance(x, Read):
            return self._read(x, t, u)
        if x == t:
            return Read(self._stream(("clock",), self.scope.place(t).node, (), f"{t.name}_part", "int", t.size), u)
        if not x.args or t not in x.free_symbols:
            return x
        args = [self._moved(a, t, u) for a in x.args]
        return x.func(*args, evaluate=False) if isinstance(x, sympy.core.relational.Relational) else x.func(*args)

    def _read(self, r: Read, t: Index, u: Index) -> Read:
        rest = r.idx[1:]
        if r.tensor.name in self.members:
            return Read(self.members[r.tensor.name], r.idx[0].xreplace({t: u}), *rest)
        if r.tensor.name in {e.name for e in self.pair.forward.equations}:
            return self._again(r, int(r.idx[0] - t), t, u)
        if t not in r.free_symbols:
            return r
        name = self.scope.arrays[r.tensor.name]
        if r.idx[0] == t and same_size(r.tensor.axes[0], t.size) and not any(t in i.free_symbols for i in rest):
            made = self._stream(
                (r.tensor.name,), Name(name), r.tensor.axes[1:], f"{name}_part", r.tensor.dtype, r.tensor.below
            )
            return Read(made, u, *rest)
        labels = tuple(
            sorted((s for s in r.free_symbols if isinstance(s, Index) and s != t), key=lambda i: (i.uid, i.name))
        )
        key = ("read", r.xreplace({t: Index("t", t.size, -1)}))
        if key not in self.found:
            whole = Tensor(
                f"{name}\0steps",
                tuple(i.size for i in (t, *labels)),
                (),
                r.tensor.dtype,
                r.tensor.below,
                role="computed",
                digest=f"emit:{name}:{len(self.found)}",
            )
            array = self.scope.equation(Equation(whole, (t, *labels), (Term(Integer(1), (r,)),))).node
        else:
            array = self.found[key][0]
        made = self._stream(key, array, tuple(i.size for i in labels), f"{name}_part", r.tensor.dtype, r.tensor.below)
        return Read(made, u, *labels)

    def _stream(
        self, key: Hashable, array: Code, axes: Iterable[Expr], hint: str, dtype: str, below: Expr | None = None
    ) -> Tensor:
        if key not in self.found:
            self.found[key] = (array, self.body.names.fresh(hint))
        inside = self.found[key][1]
        self.body.arrays[f"{inside}\0part"] = inside
        self.body.measured.setdefault(PART, Subscript(Attribute(Name(inside), "shape"), (number_of(0),)))
        return Tensor(f"{inside}\0part", (PART, *axes), (), dtype, below, role="computed", digest=f"emit:{inside}")

    def _again(self, r: Read, shift: int, t: Index, u: Index) -> Read:
        """A member of the forward recurrence in the reverse one: computed again in this part, or repeated by a member."""
        back = -shift * self.pair.forward.direction
        if back < 0:
            made = self.copies.setdefault(r.tensor.name, self._copy(r.tensor, t, u))
            return Read(made.tensor, u + shift, *r.idx[1:])
        return Read(self._values(r.tensor, back), u, *r.idx[1:])

    def _values(self, member: Tensor, back: int) -> Tensor:
        if (member.name, back) not in self.pair.again:
            shown = self.scope.arrays[member.name]
            inside = self.body.names.fresh(
                f"{shown}_part" if back == 0 else f"{shown}_before{back if back > 1 else ''}"
            )
            name = f"{member.name}\0again{back}"
            self.body.arrays[name] = inside
            self.pair.again[member.name, back] = Tensor(
                name, (PART, *member.axes[1:]), (), member.dtype, member.below, role="computed", digest=f"emit:{name}"
            )
        return self.pair.again[member.name, back]

    def _copy(self, member: Tensor, t: Index, u: Index) -> Equation:
        rest = tuple(Index(f"i{n}", a, -2 - n) for n, a in enumerate(member.axes[1:]))
        name = f"{member.name}\0copy"
        self.body.arrays[name] = self.body.names.fresh(f"{self.scope.arrays[member.name]}_same")
        made = Tensor(
            name,
            (PART, *member.axes[1:]),
            (u, *rest),
            member.dtype,
            member.below,
            role="computed",
            digest=f"emit:{name}",
        )
        number = next(e.number for e in self.pair.forward.equations if e.name == member.name)
        return Equation(
            made, (u, *rest), (Term(Integer(1), (Read(self._values(member, 0), u, *rest),)),), number=number
        )


def _members(equations: Iterable[Equation]) -> dict[str, Tensor]:
    return {
        e.name: Tensor(
            e.name,
            (PART, *e.tensor.axes[1:]),
            (),
            e.tensor.dtype,
            e.tensor.below,
            role="computed",
            digest=f"emit:part:{e.name}",
        )
        for e in equations
    }


def _step_first(e: Equation, members: Collection[str]) -> Equation:
    """An equation with the index of its steps first."""
    n = e.idx.index(_step_of(e, members))
    t = Tensor(
        e.name,
        first(e.tensor.axes, n),
        (),
        e.tensor.dtype,
        e.tensor.below,
        role="computed",
        digest=f"emit:first:{e.name}",
    )
    return replace(e, tensor=t, idx=first(e.idx, n))


def _group(g: Scan, equations: Sequence[Equation]) -> Scan:
    return replace(g, equations=tuple(equations), axis={e.name: 0 for e in equations})


def write_forward(scope: Scope, pair: Pair, every: int) -> None:
    """The forward recurrence, part after part."""
    body = Body(scope)
    given = Streams(scope, body, _members(pair.forward.equations), pair, False)
    group = _group(pair.forward, [given.equation(e) for e in pair.forward.equations])
    step = scan.written(body, group)
    results = [e for e in group.equations if e.name in pair.kept]
    function = scan.define(step, [step.inner.arrays[scan.now(e)] for e in results])
    kept = [body.arrays[e.name] for e in results]
    after, carry = Name("after"), Name("carry")
    body.assign(Tuple((after, _or(kept, Name("_")))), _scanned(function, carry, step, pair.forward))
    body.write(Return(Tuple((after, Tuple((carry, _or(kept, Constant(None))))))))
    inside = tuple(Name(name) for _, name in given.found.values())
    part = _write_function(scope, body, f"{scope.arrays[_first(pair.forward)]}_part", Tuple(inside))
    pair.starts = scope.names.fresh(f"{scope.arrays[_first(pair.forward)]}_starts")
    target = Tuple((Name(pair.starts), _or([scope.arrays[e.name] for e in results], Name("_"))))
    scope.module("lax")
    made = call(
        scope.helper("scan_parts"),
        Name(part),
        scan.zeros(step),
        _arrays(given),
        number_of(every),
        **scan.turned(pair.forward),
    )
    scope.assign(target, made, ", ".join(f"({e.number})" for e in pair.forward.equations))
    again = sorted(
        {t.name for e in pair.reverse.equations for t in e.tensors()}
        & {e.name for e in pair.forward.equations} - pair.kept
    )
    scope.choice(
        "checkpoint",
        f"of every {every} steps the first carry is "
        f"kept; {', '.join(again)} are computed again, part by part, in the reverse pass",
        pair.forward.equations[0].number,
    )


def write_reverse(scope: Scope, pair: Pair, every: int) -> None:
    """The reverse recurrence, part after part, last first; each part's forward steps are computed again."""
    body = Body(scope)
    both = {x.name for x in (*pair.forward.equations, *pair.reverse.equations)}
    beside = [_step_first(e, both) for e in pair.beside]
    given = Streams(scope, body, _members((*pair.reverse.equations, *beside)), pair, True)
    equations = [given.equation(e) for e in (*pair.reverse.equations, *beside)]
    equations = [*given.copies.values(), *equations]
    before = Streams(scope, body, _members(pair.forward.equations), pair, False, given.found)
    forward = scan.written(body, _group(pair.forward, [before.equation(e) for e in pair.forward.equations]))
    needed = list(pair.again)
    for name, back in needed:
        if back:
            scan.carry(forward, forward.members[name], back)
    function = scan.define(
        forward,
        [
            forward.inner.arrays[scan.now(forward.members[n])] if back == 0 else forward.carried[n, back]
            for n, back in needed
        ],
    )
    values = scan.together(body.arrays[pair.again[k].name] for k in needed)
    body.assign(Tuple((Name("_"), values)), _scanned(function, Name("start"), forward, pair.forward))
    for e in equations:
        body.arrays.setdefault(e.name, scope.arrays.get(e.name, e.name))
    step = scan.written(body, _group(pair.reverse, equations))
    results = [e for e in equations if e.name in pair.kept]
    function = scan.define(step, [step.inner.arrays[scan.now(e)] for e in results])
    body.write(Return(_scanned(function, Name("carry"), step, pair.reverse)))
    inside = tuple(Name(name) for _, name in given.found.values())
    part = _write_function(
        scope, body, f"{scope.arrays[_first(pair.reverse)]}_part", Tuple((Name("start"), Tuple(inside)))
    )
    target = _or([scope.arrays[e.name] for e in results], Name("_"))
    scope.module("lax")
    made = call(
        scope.helper("scan_parts_back"),
        Name(part),
        scan.zeros(step),
        Name(pair.starts),
        _arrays(given),
        number_of(every),
        **scan.turned(pair.reverse),
    )
    scope.assign(target, made, ", ".join(f"({e.number})" for e in results))
    for e in pair.beside:
        t = _step_of(e, both)
        if t is not None and (n := e.idx.index(t)):
            array = Name(scope.arrays[e.name])
            scope.assign(array, call("jnp.moveaxis", array, number_of(0), number_of(n)), f"({e.number})")


def _or(names: Sequence[str], otherwise: Code) -> Code:
    return scan.together(names) if names else otherwise


def _scanned(function: str, carry: Code, step: scan.Step, group: Scan) -> Code:
    return call("lax.scan", Name(function), carry, scan.streams_of(step), **scan.turned(group))


def _arrays(given: Streams) -> Code:
    return Tuple(tuple(array for array, _ in given.found.values()))


def _write_function(scope: Scope, body: Body, hint: str, inside: Code) -> str:
    """The function of a part, ``(carry, now) -> ...``, which takes what it is handed apart first."""
    name = scope.names.fresh(hint)
    carry, now = Name("carry"), Name("now")
    scope.write(FunctionDef(name, (carry, now), (Assign(inside, now), *body.lines)))
    return name
