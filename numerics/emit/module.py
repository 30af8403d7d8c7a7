"""The whole generated module: header, imports, one function."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import jax

from derive.derivation import Derivation
from derive.facts import missing_value
from derive.index import Size
from derive.order import Scan, schedule
from derive.program import Equation
from derive.tensor import Read, Tensor
from numerics.emit.patterns import pooling
from numerics.emit.patterns.affine import Affine, affine_forms
from numerics.emit.patterns.pools import Pools
from numerics.emit.patterns.rows import vectors_in_sums
from numerics.emit.patterns.sums import reuse_sums
from numerics.emit.source import choose, library, printer
from numerics.emit.source.code import Code, Dict, FunctionDef, Gap, Name, Return, Text, Tuple, dotted
from numerics.emit.source.names import Names, comment, literal
from numerics.emit.source.scope import Scope, Writers
from numerics.emit.source.sizes import preamble
from numerics.emit.terms import reads
from numerics.emit.time import checkpoint, scan
from numerics.emit.time.earlier import Earlier, earlier
from numerics.emit.time.time_first import TimeFirst, time_first
from numerics.errors import SizeError

from . import dense, equation

FUNCTION_NAMES = {
    "backprop": "loss_and_grads",
    "vjp": "vjp",
    "hvp": "loss_grads_and_hvp",
    "gauss_newton": "loss_grads_and_gauss_newton",
    "jacobian": "value_and_jacobian",
    "hessian": "loss_grads_and_hessian",
}


@dataclass(frozen=True)
class Module:
    """Generated source and what a kernel needs to know about it."""

    source: str
    function: str
    inputs: tuple[Tensor, ...]
    choices: tuple[tuple[str, int, str], ...]
    tree: FunctionDef  # the function, as it was printed


def inputs_of(d: Derivation) -> tuple[Tensor, ...]:
    """The tensors differentiated for, in order, then the other inputs by first use."""
    wanted = {t.name for t in d.program.inputs}
    order = [t for t in d.wrt if t.is_input]  # a computed tensor may be asked for too; it is not given
    for e in d.program.equations:
        reads = [
            r
            for part in (*(f for t in e.terms for f in (*t.fac, *t.rows)), *e.guards)
            for r in sorted(_reads(part), key=lambda r: (r.tensor.name, str(r)))
        ]
        order += [r.tensor for r in reads if r.tensor.is_input]
    order += [t for _, t in _results(d) if t.is_input]
    found = list(dict.fromkeys(order))
    missing = [t.name for t in found if t.name not in wanted and t not in d.wrt]
    if missing:
        raise SizeError(f"the program reads {missing[0]!r}, which is not among its inputs")
    return tuple(found)


def _reads(part: Any) -> set[Read]:
    found = part.reads() if hasattr(part, "reads") else part.atoms(Read)
    return {s for r in found for s in r.atoms(Read)}


def _results(d: Derivation) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    """``(path, tensor)`` of every result."""
    for name, value in d.results:
        if isinstance(value, Tensor):
            yield (name,), value
        else:
            for key, t in value.items():
                yield (name, key), t


def emit(
    d: Derivation,
    sizes: Mapping[Size | str, int] | None = None,
    dense_fallback: bool = False,
    name: str | None = None,
    verified: str | None = None,
    patterns: Mapping[str, str] | None = None,
    checkpoint_every: int | None = None,
) -> Module:
    """Write the module of a derivation.  See :func:`numerics.compile`."""
    title = name or d.name
    inputs = inputs_of(d)
    bound = {Size(k) if isinstance(k, str) else k: v for k, v in (sizes or {}).items()}
    names = Names({"jnp", "jax", "lax", "functools", "product", *library.NEEDS})
    function = FUNCTION_NAMES.get(d.kind, "loss_and_grads")
    names.taken.add(function)
    scope = Scope(names, Writers(reads.read, dense.value if dense_fallback else equation.value), bound)
    scope.patterns, scope.backend = choose.checked(patterns), jax.default_backend()
    for t in inputs:
        scope.arrays[t.name] = names.of(("tensor", t.name), t.name, f"{t.name}_in")
    for e in d.program.equations:
        scope.arrays[e.name] = names.of(("tensor", e.name), e.name, f"{e.name}_val")
    results = [t for _, t in _results(d)]
    order = TimeFirst(schedule(d.program)) if dense_fallback else _prepared(scope, d, results, checkpoint_every)
    kept = checkpoint.plan(order.groups, {t.name for t in results}, checkpoint_every, bound)
    order.prepare(scope)
    for group in order.groups:
        if not kept.write(scope, group):
            write_group(scope, group, d, dense_fallback)
    order.restore(scope, results)
    if dense_fallback:
        scope.choice("dense", "asked for: every term on the full grid of its indices", 0)
    body = (*preamble(scope, inputs), *scope.constants, Gap(), *scope.lines, Return(_returned(d, scope)))
    arguments = tuple(Name(scope.arrays[t.name]) for t in inputs)
    tree = FunctionDef(function, arguments, body, (dotted("jax.jit"),))
    text = "\n".join(
        [
            _header(d, title, scope, verified),
            _imports(scope),
            "",
            "",
            *(text + "\n\n" for text in library.sources(scope.helpers)),
            printer.function(tree, _docstring(d, inputs, scope)),
            "",
        ]
    )
    return Module(text, function, inputs, tuple(dict.fromkeys(scope.choices)), tree)


def _prepared(scope: Scope, d: Derivation, results: list[Tensor], checkpoint_every: int | None) -> TimeFirst:
    """What is written, in order: the program with what patterns know of all of it put to use."""
    names = {t.name for t in results}
    reused = reuse_sums(d.program)
    written = affine_forms(scope, vectors_in_sums(scope, reused.program), results)
    scope.choices += [*reused.choices, *written.choices]
    scope.records[Affine] = written
    order = time_first(schedule(written.program))
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
    return members & (read | {t.name for _, t in _results(d)})


def _returned(d: Derivation, scope: Scope) -> Code:
    """The results: an array each, or arrays by name."""

    def key(k: str | tuple[str, ...]) -> Code:
        return Tuple(tuple(map(Text, k))) if isinstance(k, tuple) else Text(k)

    return Tuple(
        tuple(
            Name(scope.arrays[value.name])
            if isinstance(value, Tensor)
            else Dict(tuple((key(k), Name(scope.arrays[t.name])) for k, t in value.items()))
            for _, value in d.results
        )
    )


# -- text ----------------------------------------------------------------------------------------------------------


def _key(key) -> str:
    if isinstance(key, tuple):
        return f"({', '.join(literal(k) for k in key)})"
    return literal(key)


def _imports(scope: Scope) -> str:
    lines = library.imports(scope.helpers)
    lines += [""] if lines else []
    lines += ["import jax", "import jax.numpy as jnp"]
    lines += ["from jax import lax"] if "lax" in scope.imports or scope.helpers else []
    return "\n".join(lines)


def _shape(t: Tensor) -> str:
    inside = ", ".join(str(a) for a in t.axes)
    return f"({inside}{',' if t.rank == 1 else ''})"


def _range(t: Tensor) -> str:
    none = missing_value(t)
    return f"integers in [0, {t.below})" + ("" if none is None else f" or {none}")


def _docstring(d: Derivation, inputs, scope: Scope) -> str:
    floats = [f"{scope.arrays[t.name]} {_shape(t)}" for t in inputs if t.dtype == "float"]
    others = [
        f"{scope.arrays[t.name]} {_shape(t)} "
        + (_range(t) if t.below is not None else {"int": "integers", "bool": "booleans"}[t.dtype])
        for t in inputs
        if t.dtype != "float"
    ]
    text = ", ".join(floats) + (" floats of one dtype" if len(floats) > 1 else " floats" if floats else "")
    text = "; ".join([text] * bool(floats) + others)
    returns = ", ".join(
        f"{n} {_shape(v)}" if isinstance(v, Tensor) else "{" + ", ".join(_key(k) for k in v) + "}" for n, v in d.results
    )
    text = comment(f"{text}. Returns {returns}.")
    if len(text) < 108:
        return f'    """{text}"""'.replace('""""', '" """')
    wrapped = textwrap.fill(text, 116, initial_indent="    ", subsequent_indent="    ")
    return f'    """{wrapped.strip()}\n    """'


def _header(d: Derivation, title: str, scope: Scope, verified) -> str:
    what = {
        "backprop": "Loss and gradients",
        "vjp": "Value and vector-Jacobian product",
        "hvp": "Loss, gradients and Hessian-vector product",
        "gauss_newton": "Loss, gradients and Gauss-Newton product",
        "jacobian": "Value and Jacobian",
        "hessian": "Loss, gradients and Hessian",
    }.get(d.kind, "Loss and gradients")
    forward = {e.name for e in d.source.equations}
    last = max((n for n, e in enumerate(d.program.equations) if e.name in forward), default=-1)
    first, second = d.program.equations[: last + 1], d.program.equations[last + 1 :]
    shown = [(*_equation_parts(e), e) for e in d.program.equations]
    width = min(max((len(left) for left, *_ in shown), default=0), 24)
    digits = max((len(f"({e.number})") for *_, e in shown), default=0)
    texts = {e.name: f"    {left:<{width}} = {right}" for left, right, e in shown}
    column = min(max((len(t) for t in texts.values()), default=0), 84) + 2
    lines = [f"{comment(what)} of {comment(title)}, generated from its derivation.", ""]
    for block in (first, second):
        for e in block:
            origin = f"   from {', '.join(map(str, e.parents))}" if e.parents and e in second else ""
            label = f"({e.number})"
            *above, text = _folded(texts[e.name], len(f"  {label}{origin}"), width + 7)
            lines += [comment(a) for a in above]
            lines.append(comment(f"{text:<{column - 2}}  {label:<{digits}}{origin}").rstrip())
        lines += [""] if block else []
    facts = "; ".join(dict.fromkeys(f.text if hasattr(f, "text") else str(f) for f in d.facts)) or "none"
    kinks = "; ".join(dict.fromkeys(map(str, d.kinks))) or "none"
    lines += _paragraph(f"Facts used: {facts}.") + _paragraph(f"Kinks: {kinks}.")
    lines += _paragraph(f"Emission: {_choices(scope)}.")
    if verified:
        lines += _paragraph(f"Verified: {verified}.")
    return '"""' + "\n".join(lines) + '\n"""'


def _folded(text: str, beside: int, indent: int) -> list[str]:
    """The lines of an equation that leave room for what stands beside it; broken between factors only."""
    if len(text) + beside <= 120:
        return [text]
    return textwrap.wrap(
        text,
        118 - beside,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def _equation_parts(e) -> tuple[str, str]:
    text = " ".join(str(e).split())
    left, _, right = text.partition(" = ")
    return left.strip(), right.strip()


def _choices(scope: Scope) -> str:
    grouped: dict = {}
    for rule, number, reason in scope.choices:
        grouped.setdefault((rule, reason), []).append(number)
    if not grouped:
        return "each equation in its plain form, no choice was made"
    return "; ".join(f"{rule}{_where(numbers)}: {reason}" for (rule, reason), numbers in grouped.items())


def _where(numbers) -> str:
    shown = ", ".join(f"({n})" for n in dict.fromkeys(numbers) if n)
    return f" in {shown}" if shown else ""


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(comment(text.replace("..", ".")), 118, subsequent_indent="  ")
