"""Recurrences: ``lax.scan`` with as little as possible inside.

    a[t,b,l] = sum_i x[t,b,i] U[i,l] + sum_m h[t-1,b,m] V[m,l] + c[l]      a_ext = x @ U          (hoisted: reads no h)
    h[t,b,l] = tanh(a[t,b,l])                                              def h_step(h_prev, a_ext_t): ...
                                                                           _, h = lax.scan(h_step, zeros, a_ext)

One time step is written as ordinary equations over tensors without the time axis: ``h_prev`` carried from the step
before, ``x_t`` streamed in.  What reads no member of the recurrence and sums something is computed before the scan, as
one product for all steps; what only reads the members' results (every parameter gradient) is not in the cycle at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from sympy import Integer

from derive.language.errors import UnsupportedError
from derive.language.index import same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Term
from derive.program.schedule import Scan
from numerics.emit.source.choose import choose
from numerics.emit.source.code import Assign, Code, Constant, FunctionDef, Name, Return, Tuple, call, number_of
from numerics.emit.source.scope import Scope

from .earlier import Earlier
from .step import Step, body, now, reads_member


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
    more: dict[str, Code] = {} if step.streams else {"length": scope.size(length).node}
    scope.number = first.number
    if choose(scope, "recurrence") == "unrolled":
        more["unroll"] = Constant(True)
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
        if axis := group.axis[e.name]:
            array = Name(scope.arrays[e.name])
            scope.assign(array, call("jnp.moveaxis", array, number_of(0), number_of(axis)))


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
        step.inner.assign(step.inner.arrays[now(e)], step.inner.equation(body(step, e)).node, f"({e.number})")
    return step


# -- what stays outside --------------------------------------------------------------------------------------------


def _hoist(step: Step, e: Equation) -> Equation:
    """Sum the terms that read no member before the scan, if there is a contraction among them.

    One that is the same at every step and sums nothing, a bias, stays inside, where adding it costs no array of its own.
    """
    free = [t for t in e.terms if not reads_member(step, t.reads()) and (t.bnd or step.time(e) in t.free_symbols)]
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
