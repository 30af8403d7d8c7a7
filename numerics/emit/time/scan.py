"""Recurrences: ``lax.scan`` with as little as possible inside.

    a[t,b,l] = sum_i x[t,b,i] U[i,l] + sum_m h[t-1,b,m] V[m,l] + c[l]      a_ext = x @ U          (hoisted: reads no h)
    h[t,b,l] = tanh(a[t,b,l])                                              def h_step(h_prev, a_ext_t): ...
                                                                           _, h = lax.scan(h_step, zeros, a_ext)

One time step is written as ordinary equations over tensors without the time axis: ``h_prev`` carried from the step
before, ``x_t`` streamed in.  What reads no member of the recurrence and sums something is computed before the scan, as
one product for all steps; what only reads the members' results (every parameter gradient) is not in the cycle at all.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sympy
from sympy import Expr, Integer

from derive.errors import UnsupportedError
from derive.index import Index, same_size
from derive.order import Scan
from derive.program import Equation, Row, Term
from derive.tensor import Read, Tensor
from numerics.emit.source.code import Assign, Code, Constant, FunctionDef, Name, Return, Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import named, transpose

from .earlier import Earlier


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


def write_scan(scope: Scope, group: Scan, outside: Collection[str]) -> None:
    """Write a recurrence; ``outside`` are the members that later equations or results read.

    Why so little is inside: a scan's body runs once a step and XLA optimizes nothing across steps.  A product that reads no
    member is one large product before the scan instead of T small ones (:func:`_hoist`); a weight is turned once; and a
    gradient of a parameter, which reads members and is read by none, is one contraction over time after it.
    """
    step = written(scope, group)
    first, length = group.equations[0], step.time(group.equations[0]).size
    found = scope.record(Earlier)
    before = {n: of for n, of in found.stacked.items() if n in step.members} if found else {}
    results = [e for e in group.equations if e.name in outside]
    function = define(
        step,
        [step.carried[e.name, before[e.name][1]] if e.name in before else step.inner.arrays[now(e)] for e in results],
    )
    for n, (made, shift) in before.items():
        scope.arrays[made.name] = scope.arrays[n] = scope.names.fresh(step.carried[n, shift])
        scope.choice(
            "earlier",
            "others read it at the step before only: what each step was given is stacked, not shifted afterwards",
            step.members[n].number,
        )
    more = {} if step.streams else {"length": scope.size(length).node}
    scanned = call(
        f"{scope.module('lax')}.scan", Name(function), zeros(step), streams_of(step), **more, **turned(group)
    )
    target = together(scope.arrays[e.name] for e in results) if results else Name("_")
    scope.assign(Tuple((Name("_"), target)), scanned, ", ".join(f"({e.number})" for e in results or [first]))
    names = list(dict.fromkeys(n for (n, _), _ in carry_of(step)))
    kept = ", ".join(scope.arrays[e.name] for e in results)
    scope.choice(
        "scan",
        f"from step to step {', '.join(names)} alone {_are(names)} carried; "
        f"{f'of every step {kept} alone {_are(results)} saved' if kept else 'no step is saved'}",
        first.number,
    )
    for e in results:
        n = group.axis[e.name]
        if n:
            array = Name(scope.arrays[e.name])
            scope.assign(array, call("jnp.moveaxis", array, number_of(0), number_of(n)))


def _are(found: Sequence[object]) -> str:
    return "are" if len(found) > 1 else "is"


def written(scope: Scope, group: Scan) -> Step:
    """The lines of one step, in a body of their own; what does not depend on the recurrence is written before it."""
    step = Step(scope, scope.inside(), group)
    first = group.equations[0]
    length = step.time(first).size
    for e in group.equations:
        if not same_size(step.time(e).size, length):
            raise UnsupportedError(
                f"the recurrence of {first.name} and {e.name} runs over {length} and "
                f"{step.time(e).size} steps; its members must have the same number of steps"
            )
    hoisted = [_hoist(step, e) for e in group.equations]
    for e in hoisted:
        step.inner.arrays[now(e)] = step.inner.names.fresh(f"{e.name}_t", f"{e.name}_now")
    for e in hoisted:
        step.inner.number = e.number
        body = _body(step, e)
        step.inner.assign(step.inner.arrays[now(e)], step.inner.equation(body).node, f"({e.number})")
    return step


def now(e: Equation) -> str:
    """The name of a member's value at this step."""
    return f"{e.name}\0now"


# -- what stays outside --------------------------------------------------------------------------------------------


def _hoist(step: Step, e: Equation) -> Equation:
    """Sum the terms that read no member before the scan, if there is a contraction among them.

    One that is the same at every step and sums nothing, a bias, stays inside, where adding it costs no array of its own.
    """
    free = [t for t in e.terms if not _reads_member(step, t.reads()) and (t.bnd or step.time(e) in t.free_symbols)]
    if e.reduce or not any(t.bnd for t in free) or not any(step.time(e) in t.free_symbols for t in free):
        return e
    t, rest = step.time(e), step.rest(e)
    name = f"{e.name}\0in"
    made = Tensor(name, (t.size, *(i.size for i in rest)), (t, *rest), role="computed", digest=f"emit:{name}")
    step.scope.arrays[name] = step.scope.names.fresh(f"{e.name.removesuffix('_in')}_ext", f"{e.name}_ext")
    before = Equation(made, (t, *rest), tuple(free), number=e.number)
    step.scope.number = e.number
    step.scope.assign(step.scope.arrays[name], step.scope.equation(before).node, f"({e.number}), for all steps")
    kept = tuple(t_ for t_ in e.terms if t_ not in free)
    step.scope.choice(
        "hoist", "what does not depend on the recurrence is one product for all steps, before the scan", e.number
    )
    return replace(e, terms=(Term(Integer(1), (Read(made, t, *rest),)), *kept))


def _reads_member(step: Step, reads: Iterable[Read]) -> bool:
    return any(s.tensor.name in step.members for r in reads for s in r.atoms(Read))


# -- one step, without the time axis -------------------------------------------------------------------------------


def _body(step: Step, e: Equation) -> Equation:
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
    if not _reads_member(step, term.reads()):
        return term.fac
    return tuple(
        _turned(step, f, term.bnd)
        if isinstance(f, Read) and t not in f.free_symbols and not _reads_member(step, [f])
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
    made = Tensor(name, axes, (), r.tensor.dtype, digest=f"emit:{name}", role="computed")
    return Read(made, *(r.idx[n] for n in order))


def _without_time(step: Step, e: Any, t: Index) -> Any:
    if isinstance(e, Read):
        if e.tensor.name in step.members:
            return _member(step, e, t)
        return (
            _streamed(step, e, t)
            if t in e.free_symbols and not _reads_member(step, [e])
            else Read(e.tensor, *(_without_time(step, i, t) for i in e.idx))
        )
    if e == t:
        return _clock(step, t)
    if not e.args or (t not in e.free_symbols and not _reads_member(step, e.atoms(Read))):
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
    made = Tensor(name, axes, (), r.tensor.dtype, r.tensor.below, role="computed", digest=f"emit:{name}")
    if shift:
        carry(step, e, shift)
    return Read(made, *rest)


def carry(step: Step, e: Equation, shift: int) -> None:
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
    made = Tensor(
        name, tuple(i.size for i in labels), (), r.tensor.dtype, r.tensor.below, role="computed", digest=f"emit:{name}"
    )
    return Read(made, *labels)


# -- what is written -----------------------------------------------------------------------------------------------


def together(names: Iterable[str]) -> Code:
    """One name, or several as a tuple."""
    found = tuple(map(Name, names))
    return found[0] if len(found) == 1 else Tuple(found)


def streams_of(step: Step) -> Code:
    """The arrays that a scan goes through."""
    arrays = tuple(array for _, array in step.streams.values())
    return Constant(None) if not arrays else arrays[0] if len(arrays) == 1 else Tuple(arrays)


def turned(group: Scan) -> dict[str, Code]:
    """The argument that says that a recurrence goes backward."""
    return {"reverse": Constant(True)} if group.direction < 0 else {}


def carry_of(step: Step) -> list[tuple[tuple[str, int], str]]:
    """``((member, shift), name)`` of what is carried, in order."""
    members = list(step.members)
    return sorted(step.carried.items(), key=lambda kv: (members.index(kv[0][0]), kv[0][1]))


def zeros(step: Step) -> Code:
    """What a recurrence starts from: a read before the start is zero."""
    scope, found = step.scope, []
    for (n, _), _ in carry_of(step):
        e = step.members[n]
        dtype = scope.dtype if e.tensor.dtype == "float" else Name("int")
        found.append(call("jnp.zeros", scope.shape(step.rest(e)), dtype))
    return found[0] if len(found) == 1 else Tuple(tuple(found))


def define(step: Step, results: Sequence[str]) -> str:
    """Write the function of one step, ``(carry, now) -> (carry, results)``, and return its name."""
    scope, group = step.scope, step.group
    first = next(e.name for e in group.equations if any(n == e.name for n, _ in step.carried))
    function = scope.names.fresh(f"{scope.arrays[first]}_step")
    after = [
        step.inner.arrays[now(step.members[n])] if s == 1 else step.carried[n, s - 1] for (n, s), _ in carry_of(step)
    ]
    carry_in, stream_in = [v for _, v in carry_of(step)], [v for v, _ in step.streams.values()]
    fresh = step.inner.names.fresh
    given = stream_in[0] if len(stream_in) == 1 else fresh("now", "now_in") if stream_in else "_"
    carry = carry_in[0] if len(carry_in) == 1 else fresh("carry", "carry_in")
    opened = [
        Assign(together(many), Name(one)) for many, one in ((carry_in, carry), (stream_in, given)) if len(many) > 1
    ]
    made = Return(Tuple((together(after), together(results) if results else Constant(None))))
    scope.write(FunctionDef(function, (Name(carry), Name(given)), (*opened, *step.inner.lines, made)))
    return function
