"""Recurrences that keep every n-th carry only: ``checkpoint_every=n``, memory for time.

    forward     part after part of n steps; kept are what each part started from, and the members that others read
    backward    part after part, last first: its steps are computed again from where the part started, by the same
                equations, then gone through in reverse

What is computed again are equations of the derivation, as all else; nothing is differentiated here.  A time axis of T
steps becomes an axis of ``part`` steps inside the two functions that are written; tensors that are read at a step are
handed to them part by part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sympy import Integer

from derive.language.index import Size
from derive.program.schedule import Scan
from numerics.emit.source.code import Assign, Code, Constant, FunctionDef, Name, Return, Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.errors import NumericsError

from . import scan
from .earlier import Group
from .pairs import Pair, pairs, step_of
from .part import Body, Streams, members_of, regrouped, step_first
from .step import Step, add_carry, now


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
    found = pairs(groups, results)
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


def _first(g: Scan) -> str:
    return g.equations[0].name


def write_forward(scope: Scope, pair: Pair, every: int) -> None:
    """The forward recurrence, part after part."""
    body = Body(scope)
    given = Streams(scope, body, members_of(pair.forward.equations), pair, False)
    group = regrouped(pair.forward, [given.equation(e) for e in pair.forward.equations])
    step = scan.written(body, group)
    results = [e for e in group.equations if e.name in pair.kept]
    function = scan.define(step, [step.inner.arrays[now(e)] for e in results])
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
    beside = [step_first(e, both) for e in pair.beside]
    given = Streams(scope, body, members_of((*pair.reverse.equations, *beside)), pair, True)
    equations = [given.equation(e) for e in (*pair.reverse.equations, *beside)]
    equations = [*given.copies.values(), *equations]
    before = Streams(scope, body, members_of(pair.forward.equations), pair, False, given.found)
    forward = scan.written(body, regrouped(pair.forward, [before.equation(e) for e in pair.forward.equations]))
    needed = list(pair.again)
    for name, back in needed:
        if back:
            add_carry(forward, forward.members[name], back)
    function = scan.define(
        forward,
        [
            forward.inner.arrays[now(forward.members[n])] if back == 0 else forward.carried[n, back]
            for n, back in needed
        ],
    )
    values = scan.together(body.arrays[pair.again[k].name] for k in needed)
    body.assign(Tuple((Name("_"), values)), _scanned(function, Name("start"), forward, pair.forward))
    for e in equations:
        body.arrays.setdefault(e.name, scope.arrays.get(e.name, e.name))
    step = scan.written(body, regrouped(pair.reverse, equations))
    results = [e for e in equations if e.name in pair.kept]
    function = scan.define(step, [step.inner.arrays[now(e)] for e in results])
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
        t = step_of(e, both)
        if t is not None and (n := e.idx.index(t)):
            array = Name(scope.arrays[e.name])
            scope.assign(array, call("jnp.moveaxis", array, number_of(0), number_of(n)), f"({e.number})")


def _or(names: Sequence[str], otherwise: Code) -> Code:
    return scan.together(names) if names else otherwise


def _scanned(function: str, carry: Code, step: Step, group: Scan) -> Code:
    return call("lax.scan", Name(function), carry, scan.streams_of(step), **scan.turned(group))


def _arrays(given: Streams) -> Code:
    return Tuple(tuple(array for array, _ in given.found.values()))


def _write_function(scope: Scope, body: Body, hint: str, inside: Code) -> str:
    """The function of a part, ``(carry, now) -> ...``, which takes what it is handed apart first."""
    name = scope.names.fresh(hint)
    carry, now = Name("carry"), Name("now")
    scope.write(FunctionDef(name, (carry, now), (Assign(inside, now), *body.lines)))
    return name
