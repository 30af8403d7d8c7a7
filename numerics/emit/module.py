"""The whole generated module: header, imports, one function."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import jax
from sympy import Expr, Poly, Symbol, floor, solve

from derive.derivation import Derivation
from derive.facts import missing_value
from derive.index import Size
from derive.order import Scan, schedule
from derive.tensor import Tensor
from numerics.emit.patterns import affine, rows
from numerics.emit.patterns.pooling import Pools
from numerics.emit.patterns.sums import reuse_sums
from numerics.emit.source import choose, library
from numerics.emit.source.names import Names, comment, literal
from numerics.emit.source.scope import Scope
from numerics.emit.terms import reads
from numerics.emit.time import checkpoint, scan
from numerics.emit.time.earlier import earlier
from numerics.emit.time.time_first import TimeFirst, time_first
from numerics.errors import SizeError

from . import dense, equation

MARGIN = 76  # equation numbers stand in one column, unless a line is longer than this
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
    identifiers: dict[str, str]


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


def _reads(part):
    from derive.tensor import Read

    found = part.reads() if hasattr(part, "reads") else part.atoms(Read)
    return {s for r in found for s in r.atoms(Read)}


def _results(d: Derivation):
    """``(path, tensor)`` of every result."""
    for name, value in d.results:
        if isinstance(value, Tensor):
            yield (name,), value
        else:
            for key, t in value.items():
                yield (name, key), t


def emit(
    d: Derivation,
    sizes=None,
    dense_fallback=False,
    name=None,
    verified=None,
    patterns=None,
    checkpoint_every: int | None = None,
) -> Module:
    """Write the module of a derivation.  See :func:`numerics.compile`."""
    title = name or d.name
    inputs = inputs_of(d)
    bound = {Size(k) if isinstance(k, str) else k: v for k, v in (sizes or {}).items()}
    names = Names({"jnp", "jax", "lax", "functools", "product", *library.NEEDS})
    function = FUNCTION_NAMES.get(d.kind, "loss_and_grads")
    names.taken.add(function)
    scope = Scope(names, bound)
    scope.patterns, scope.backend = choose.checked(patterns), jax.default_backend()
    for t in inputs:
        scope.arrays[t.name] = names.of(("tensor", t.name), t.name, f"{t.name}_in")
    for e in d.program.equations:
        scope.arrays[e.name] = names.of(("tensor", e.name), e.name, f"{e.name}_val")
    if dense_fallback:
        order = TimeFirst(schedule(d.program))
    else:
        reused = reuse_sums(d.program)
        program = rows.vectors_in_sums(scope, reused.program)
        written = affine.affine_forms(scope, program, [t for _, t in _results(d)])
        scope.choices += [*reused.choices, *written.choices]
        scope.forms = written.forms
        order = time_first(schedule(written.program))
        if checkpoint_every is None:
            found = earlier(order.groups, {t.name for _, t in _results(d)}, _readers(d))
            order.groups, scope.earlier = found.groups, found.stacked
    if not dense_fallback and scope.patterns.get("pool") != "windows":
        scope.pools = Pools.of(order.groups, {t.name for _, t in _results(d)})
    kept = checkpoint.plan(order.groups, {t.name for _, t in _results(d)}, checkpoint_every, bound)
    order.prepare(scope)
    for group in order.groups:
        if not kept.write(scope, group):
            write_group(scope, group, d, dense_fallback)
    order.restore(scope, [t for _, t in _results(d)])
    if dense_fallback:
        scope.choices.append(("dense", 0, "asked for: every term on the full grid of its indices"))
    body = _preamble(scope, inputs, d.program) + [(line.code, line.margin) for line in scope.constants]
    body += [("", "")] + [(line.code, line.margin) for line in scope.lines]
    body.append((f"return {_returned(d, scope)}", ""))
    text = "\n".join(
        [
            _header(d, title, scope, verified),
            _imports(scope),
            "",
            "",
            *(text + "\n\n" for text in library.sources(scope.helpers)),
            _signature(function, inputs, scope),
            _docstring(d, inputs, scope),
            _laid_out(body),
            "",
        ]
    )
    given = {t.name: scope.arrays[t.name] for t in inputs}
    return Module(text, function, inputs, tuple(dict.fromkeys(scope.choices)), given)


def write_group(scope: Scope, group, d: Derivation, dense_fallback: bool) -> None:
    """One equation, or one recurrence."""
    if isinstance(group, Scan):
        outside = _read_outside(d, group)
        (dense if dense_fallback else scan).write_scan(scope, group, outside)
        return
    scope.number = group.number
    if scope.pools is not None and group.name in scope.pools.skipped:
        return
    if scope.pools is not None and group.name in scope.pools.outer:
        scope.pools.write(scope, group.name, reads.read)
        return
    writer = dense if dense_fallback else equation
    v = writer.value(scope, group)
    scope.write(f"{scope.arrays[group.name]} = {v.src}", f"({group.number})" if group.number else "")


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


# -- the top of the function ---------------------------------------------------------------------------------------


def _preamble(scope: Scope, inputs, program) -> list[tuple[str, str]]:
    """Sizes and dtype, as far as they are used."""
    lines, solved = [], {}
    todo = set(scope.used_sizes)
    for s in sorted(todo, key=lambda s: s.name):
        if s in scope.bound:
            lines.append((f"{scope.used_sizes[s]} = {scope.bound[s]}", ""))
            continue
        place = size_place(s, inputs)
        if place is None:
            raise SizeError(
                f'size {s.name} is fixed by no array; give it, as in nx.compile(d, sizes={{"{s.name}": 2}})'
            )
        solved[s] = place
    by_tensor: dict = {}
    for s, (t, axis, e) in sorted(solved.items(), key=lambda kv: (inputs.index(kv[1][0]), kv[1][1])):
        by_tensor.setdefault(t, []).append((s, axis, e))
    for t, found in by_tensor.items():
        lines += _sizes_of(scope, t, found)
    if scope.dtype_used:
        first = next(t for t in inputs if t.dtype == "float")
        lines.append((f"{scope.dtype} = {scope.arrays[first.name]}.dtype", ""))
    return lines


def _sizes_of(scope: Scope, t: Tensor, found) -> list[tuple[str, str]]:
    source = scope.arrays[t.name]
    if len(found) == t.rank and t.rank > 1 and all(e is None for *_, e in found):
        return [(f"{', '.join(scope.used_sizes[s] for s, *_ in found)} = {source}.shape", "")]
    lines = []
    for s, axis, e in found:
        code = f"{source}.shape[{axis}]"
        if e is not None:
            unknown = Symbol("n")
            whole = all(c.is_Integer for c in Poly(e, unknown).coeffs())  # n / 2 of an array's axis is a whole number
            code = Scope.size(_Plain(scope, unknown, code), e if whole else floor(e)).src
        lines.append((f"{scope.used_sizes[s]} = {code}", ""))
    return lines


class _Plain(Scope):
    """Writes a size expression in which one symbol stands for a source text."""

    def __init__(self, scope, unknown, text):
        super().__init__(scope.names, scope.bound, scope)
        self.unknown, self.text = unknown, text

    def size(self, e):
        from numerics.emit.source.value import Val

        return Val(self.text, kind="num") if e == self.unknown else super().size(e)


def size_place(s: Size, inputs) -> tuple[Tensor, int, Expr | None] | None:
    """``(tensor, axis, formula)`` that fixes a size: an axis of that size, else one that is linear in it alone."""
    for t in inputs:
        for n, a in enumerate(t.axes):
            if a == s:
                return t, n, None
    unknown = Symbol("n")
    for t in inputs:
        for n, a in enumerate(t.axes):
            if a.free_symbols == {s} and a.is_polynomial(s):
                found = solve(a - unknown, s)
                if len(found) == 1:
                    return t, n, found[0]
    return None


# -- text ----------------------------------------------------------------------------------------------------------


def _laid_out(body) -> str:
    lines = [
        ("    " + line, margin if n == 0 else "")
        for code, margin in body
        for n, line in enumerate(wrapped(code, 112) if code.strip() else [""])
    ]
    short = [len(line) for line, margin in lines if margin and len(line) <= MARGIN]
    column = max([40, *short]) + 2
    out = []
    for line, margin in lines:
        if not line.strip():
            out += [""] if out and out[-1] else []
            continue
        out.append((f"{line:<{column - 2}}  # {comment(margin)}" if margin else line).rstrip())
    return "\n".join(out)


def wrapped(code: str, width: int) -> list[str]:
    """A long statement on several lines, broken inside brackets, at the shallowest place that fits."""
    if len(code) <= width:
        return [code]
    begin = code.find(" = ") + 3 if " = " in code else 0
    spots = [(depth, n) for depth, n in _breaks(code) if n > begin]
    if begin and any(depth == 0 and n <= width for depth, n in spots):
        code = f"{code[:begin]}({code[begin:]})"
        spots = [(depth, n) for depth, n in _breaks(code) if n > begin]
    indent = " " * (len(code) - len(code.lstrip()) + 4)
    lines, start, room = [], 0, width
    while len(code) - start > room:
        here = [(depth, n) for depth, n in spots if depth > 0 and start + 24 < n <= start + room]
        if not here:
            break
        shallow = min(depth for depth, _ in here)
        cut = max(n for depth, n in here if depth == shallow)
        lines.append(code[start:cut].strip() if lines else code[:cut].rstrip())
        start, room = cut, width - len(indent)
    lines.append(code[start:].strip() if lines else code)
    return [lines[0], *(indent + line for line in lines[1:])]


def _breaks(code: str):
    """``(bracket depth, position)`` where a line may be broken: before an operator, after a comma."""
    depth, quote, spots = 0, "", []
    for n, ch in enumerate(code):
        if quote:
            quote = "" if ch == quote and code[n - 1] != "\\" else quote
        elif ch in "\"'":
            quote = ch
        elif ch in "([{":
            depth += 1
        elif ch in ")]}":
            depth -= 1
        elif ch == " " and (code[n - 1] == "," or code[n : n + 3] in (" + ", " - ", " & ", " * ", " @ ", " / ")):
            spots.append((depth, n))
    return spots


def _returned(d: Derivation, scope: Scope) -> str:
    parts = []
    for _, value in d.results:
        if isinstance(value, Tensor):
            parts.append(scope.arrays[value.name])
        else:
            inside = ", ".join(f"{_key(key)}: {scope.arrays[t.name]}" for key, t in value.items())
            parts.append(f"{{{inside}}}")
    return ", ".join(parts) + ("," if len(parts) == 1 else "")


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


def _signature(function, inputs, scope) -> str:
    start = f"def {function}("
    text = f"{start}{', '.join(scope.arrays[t.name] for t in inputs)}):"
    lines = textwrap.wrap(text, 119, subsequent_indent=" " * len(start), break_long_words=False)
    return "\n".join(["@jax.jit", *lines])


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
