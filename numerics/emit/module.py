"""The whole generated module: header, imports, one function."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from derive.derivation.derivation import Derivation
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.program.infinite import may_be_infinite
from derive.program.program import Equation
from derive.program.rows import singular
from derive.program.schedule import Scan, schedule
from numerics.emit.patterns import pooling, products
from numerics.emit.patterns.affine import Affine, affine_forms
from numerics.emit.patterns.errors import Errors
from numerics.emit.patterns.exponentials import exponentials_once
from numerics.emit.patterns.gathers import gathers_through
from numerics.emit.patterns.kinks import Kinks
from numerics.emit.patterns.narrow import narrowed
from numerics.emit.patterns.pools import Pools
from numerics.emit.patterns.positive import known_signs
from numerics.emit.patterns.rows import vectors_in_sums
from numerics.emit.patterns.signs import signs_of_parts
from numerics.emit.patterns.sums import exchange_sums, reuse_sums
from numerics.emit.source import choose, header, library, printer
from numerics.emit.source.asked import FUNCTION_NAMES, inputs_of, only_outputs, results
from numerics.emit.source.code import Call, Code, Dict, FunctionDef, Gap, Name, Return, Text, Tuple, call, dotted
from numerics.emit.source.names import Names
from numerics.emit.source.scope import Scope, Writers
from numerics.emit.source.sizes import preamble, shapes_of
from numerics.emit.terms import reads
from numerics.emit.terms.shared import Shared
from numerics.emit.time import checkpoint, scan
from numerics.emit.time.earlier import Earlier, earlier
from numerics.emit.time.time_first import TimeFirst, time_first

from . import dense, equation
from .loops import c
from .loops.rows import Fused, Group, fused

LOOPS = "LOOPS"  # what a module calls the text of its loops in C


@dataclass(frozen=True)
class Module:
    """Generated source and what a kernel needs to know about it."""

    source: str
    function: str
    inputs: tuple[Tensor, ...]
    choices: tuple[tuple[str, int, str], ...]
    tree: FunctionDef  # the function, as it was printed


def emit(
    d: Derivation,
    sizes: Mapping[Size, int] | None = None,
    dense_fallback: bool = False,
    name: str | None = None,
    verified: str | None = None,
    patterns: Mapping[str, str] | None = None,
    checkpoint_every: int | None = None,
    backend: str = "cpu",
    own_convolutions: bool = False,
    native: bool = False,
) -> Module:
    """Write the module of a derivation.  See :func:`numerics.compile`."""
    title = name or d.name
    inputs = inputs_of(d)
    bound = dict(sizes or {})
    names = Names({"jnp", "jax", "lax", "functools", "product", LOOPS, *library.names()})
    function = FUNCTION_NAMES.get(d.kind, "loss_and_grads")
    names.taken.add(function)
    scope = Scope(names, Writers(reads.read, dense.value if dense_fallback else equation.value), bound)
    scope.patterns, scope.backend = choose.checked(patterns), backend
    scope.own_convolutions = own_convolutions and backend == "cpu"
    scope.singular = singular(d.program.equations) | may_be_infinite(d.program.equations)
    for t in inputs:
        scope.arrays[t.name] = names.of(("tensor", t.name), t.name, f"{t.name}_in")
    for e in d.program.equations:
        scope.arrays[e.name] = names.of(("tensor", e.name), e.name, f"{e.name}_val")
    returned = [t for _, t in results(d)]
    order = TimeFirst(schedule(d.program)) if dense_fallback else _prepared(scope, d, returned, checkpoint_every)
    kept = checkpoint.plan(order.groups, {t.name for t in returned}, checkpoint_every, bound)
    order.prepare(scope)
    groups: list[Group] = [*order.groups]
    if native and backend == "cpu" and not dense_fallback and checkpoint_every is None:
        pools = scope.record(Pools)
        apart = pools.skipped if pools is not None else ()
        groups = fused(order.groups, {t.name for t in returned}, scope.known, apart)
    loops: dict[str, Fused] = {}
    for group in groups:
        if isinstance(group, Fused):
            write_loops(scope, group, d, loops)
        elif not kept.write(scope, group):
            write_group(scope, group, d, dense_fallback)
    order.restore(scope, returned)
    if dense_fallback:
        scope.choice("dense", "asked for: every term on the full grid of its indices", 0)
    body = (*preamble(scope, inputs), *scope.constants, Gap(), *scope.lines, Return(_returned(d, scope)))
    arguments = tuple(Name(scope.arrays[t.name]) for t in inputs)
    scope.helpers.append("shapes")
    tree = FunctionDef(function, arguments, body, (dotted("jax.jit"), shapes_of(scope, inputs)))
    text = "\n".join(
        [
            header.header(d, title, scope, verified),
            header.imports(scope),
            "",
            "",
            *(text + "\n\n" for text in library.sources(scope.helpers)),
            *([f'{LOOPS} = r"""\n{c.functions(loops, bound)}"""\n\n'] if loops else []),
            printer.function(tree, header.docstring(d, inputs, scope)),
            "",
        ]
    )
    return Module(text, function, inputs, tuple(dict.fromkeys(scope.choices)), tree)


def _prepared(scope: Scope, d: Derivation, returned: list[Tensor], checkpoint_every: int | None) -> TimeFirst:
    """What is written, in order: the program with what patterns know of all of it put to use."""
    names = {t.name for t in returned}
    shared = exponentials_once(d.program, names)
    for e in shared.program.equations:
        scope.arrays.setdefault(e.name, scope.names.of(("tensor", e.name), e.name, f"{e.name}_val"))
    reused = reuse_sums(shared.program)
    known = known_signs(reused.program)
    signs = signs_of_parts(known.program)
    exchanged = exchange_sums(signs.program, scope.known)
    gathered = gathers_through(exchanged.program, names)
    narrow = narrowed(gathered.program, names)
    written = affine_forms(scope, vectors_in_sums(scope, narrow.program), returned)
    for part in (shared, reused, known, signs, exchanged, gathered, narrow, written):
        scope.choices += part.choices
    scope.records[Affine] = written
    if scope.backend == "cpu":
        scope.records[Kinks] = Kinks(written.program)
        scope.records[Errors] = Errors(written.program)
    scope.records[Shared] = Shared(written.program.equations)
    order = time_first(products.as_equations(scope, schedule(written.program)))
    if checkpoint_every is None:
        found = earlier(order.groups, names, _readers(d))
        order.groups, scope.records[Earlier] = found.groups, found
    if scope.patterns.get("pool") != "windows":
        scope.records[Pools] = Pools.of(order.groups, names)
    return order


def write_group(scope: Scope, group: Equation | Scan, d: Derivation, dense_fallback: bool) -> None:
    """One equation, or one recurrence."""
    if isinstance(group, Scan):
        outside = _read_outside(d, group)
        (dense if dense_fallback else scan).write_scan(scope, group, outside)
        return
    scope.number = group.number
    pools = scope.record(Pools)
    if pools is not None and group.name in pools.skipped:
        return
    if pools is not None and group.name in pools.outer:
        pooling.write(scope, pools, group.name)
        return
    scope.assign(scope.arrays[group.name], scope.equation(group).node, f"({group.number})" if group.number else "")


def write_loops(scope: Scope, group: Fused, d: Derivation, loops: dict[str, Fused]) -> None:
    """Equations as a function of their own, and the call of the loops that take its place on a CPU."""
    if not c.possible(group, scope.bound):
        for e in group.equations:
            write_group(scope, e, d, False)
        return
    name = scope.fresh_everywhere(f"rows_{len(loops) + 1}")
    loops[name] = group
    inside = scope.inside()
    for e in group.equations:
        scope.choice("loops in C", group.reason, e.number)
        write_group(inside, e, d, False)
    given = tuple(Name(scope.arrays[t.name]) for t in c.given(group))
    made = tuple(Name(scope.arrays[n]) for n in group.kept)
    left: Code = made[0] if len(made) == 1 else Tuple(made)
    scope.write(FunctionDef(name, given, (*inside.lines, Return(left))))
    called = Call(call(scope.helper("native"), Name(LOOPS), Text(name), Name(name)), given)
    scope.assign(left, called)


def _readers(d: Derivation) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for e in d.program.equations:
        for t in e.tensors():
            found.setdefault(t.name, set()).add(e.name)
    return found


def _read_outside(d: Derivation, group: Scan) -> set[str]:
    """The members of a recurrence that something outside it reads."""
    members = {e.name for e in group.equations}
    read = {t.name for e in d.program.equations if e.name not in members for t in e.tensors()}
    return members & (read | {t.name for _, t in results(d)})


def _returned(d: Derivation, scope: Scope) -> Code:
    """The results: an array each, or arrays by name."""

    def key(k: str | tuple[str, ...]) -> Code:
        return Tuple(tuple(map(Text, k))) if isinstance(k, tuple) else Text(k)

    found = tuple(
        Name(scope.arrays[value.name])
        if isinstance(value, Tensor)
        else Dict(tuple((key(k), Name(scope.arrays[t.name])) for k, t in value.items()))
        for _, value in d.results
    )
    return found[0] if only_outputs(d) else Tuple(found)
