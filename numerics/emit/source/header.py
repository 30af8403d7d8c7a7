"""What stands above the code of a generated module: the derivation it was made from, imports, docstring."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence

from derive.derivation.derivation import Derivation
from derive.language.facts import missing_value
from derive.language.tensor import Tensor
from derive.program.program import Equation
from numerics.emit.source.names import comment, literal
from numerics.emit.source.scope import Scope

from . import library

TITLES = {
    "backprop": "Loss and gradients",
    "vjp": "Value and vector-Jacobian product",
    "hvp": "Loss, gradients and Hessian-vector product",
    "gauss_newton": "Loss, gradients and Gauss-Newton product",
    "jacobian": "Value and Jacobian",
    "hessian": "Loss, gradients and Hessian",
    "forward": "Outputs",
}


def header(d: Derivation, title: str, scope: Scope, verified: str | None) -> str:
    """The module's docstring: every equation with its number, what it was derived from, and what was chosen."""
    what = TITLES.get(d.kind, "Loss and gradients")
    source = "its definitions" if d.kind == "forward" else "its derivation"
    lines = [f"{comment(what)} of {comment(title)}, generated from {source}, for {scope.backend}.", "", *_equations(d)]
    facts = "; ".join(dict.fromkeys(f.text if hasattr(f, "text") else str(f) for f in d.facts)) or "none"
    kinks = "; ".join(dict.fromkeys(map(str, d.kinks))) or "none"
    lines += _paragraph(f"Facts used: {facts}.") + _paragraph(f"Kinks: {kinks}.")
    lines += _paragraph(f"Emission: {_choices(scope)}.")
    if verified:
        lines += _paragraph(f"Verified: {verified}.")
    return '"""' + "\n".join(lines) + '\n"""'


def _equations(d: Derivation) -> list[str]:
    """The forward equations, then the derived ones, with numbers in one column."""
    equations = d.program.equations
    shown = [(*_sides(e), e) for e in equations]
    width = min(max((len(left) for left, *_ in shown), default=0), 24)
    digits = max((len(f"({e.number})") for *_, e in shown), default=0)
    texts = [f"    {left:<{width}} = {right}" for left, right, _ in shown]
    column = min(max(map(len, texts), default=0), 84) + 2
    forward = {e.name for e in d.source.equations}
    last = max((n for n, e in enumerate(equations) if e.name in forward), default=-1)
    lines = []
    for derived, block in ((False, range(last + 1)), (True, range(last + 1, len(equations)))):
        for n in block:
            e = equations[n]
            origin = f"   from {', '.join(map(str, e.parents))}" if e.parents and derived else ""
            label = f"({e.number})"
            *above, text = _folded(texts[n], len(f"  {label}{origin}"), width + 7)
            lines += [comment(a) for a in above]
            lines.append(comment(f"{text:<{column - 2}}  {label:<{digits}}{origin}").rstrip())
        lines += [""] if block else []
    return lines


def _sides(e: Equation) -> tuple[str, str]:
    text = " ".join(str(e).split())
    left, _, right = text.partition(" = ")
    return left.strip(), right.strip()


def _folded(text: str, beside: int, indent: int) -> list[str]:
    """The lines of an equation that leave room for what stands beside it; broken between factors only."""
    if len(text) + beside <= 120:
        return [text]
    return textwrap.wrap(
        text,
        max(118 - beside, 60),  # what is made of many equations names them all
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
        drop_whitespace=True,
    )


def _choices(scope: Scope) -> str:
    grouped: dict[tuple[str, str], list[int]] = {}
    for rule, number, reason in scope.choices:
        grouped.setdefault((rule, reason), []).append(number)
    if not grouped:
        return "each equation in its plain form, no choice was made"
    return "; ".join(f"{rule}{_where(numbers)}: {reason}" for (rule, reason), numbers in grouped.items())


def _where(numbers: Iterable[int]) -> str:
    shown = ", ".join(f"({n})" for n in dict.fromkeys(numbers) if n)
    return f" in {shown}" if shown else ""


def _paragraph(text: str) -> list[str]:
    return textwrap.wrap(comment(text.replace("..", ".")), 118, subsequent_indent="  ")


def imports(scope: Scope) -> str:
    """The import statements of the module."""
    lines = library.imports(scope.helpers)
    lines += [""] if lines else []
    lines += ["import jax", "import jax.numpy as jnp"]
    lines += ["from jax import lax"] if "lax" in scope.imports or library.reads(scope.helpers, "lax") else []
    return "\n".join(lines)


def docstring(d: Derivation, inputs: Sequence[Tensor], scope: Scope) -> str:
    """What the function takes and returns, with shapes."""
    floats = [f"{scope.arrays[t.name]} {_shape(t)}" for t in inputs if t.dtype == "float"]
    others = [f"{scope.arrays[t.name]} {_shape(t)} {_values(t)}" for t in inputs if t.dtype != "float"]
    text = ", ".join(floats) + (" floats of one dtype" if len(floats) > 1 else " floats" if floats else "")
    text = "; ".join([text] * bool(floats) + others)
    returns = ", ".join(
        f"{n} {_shape(v)}" if isinstance(v, Tensor) else "{" + ", ".join(map(literal, v)) + "}" for n, v in d.results
    )
    text = comment(f"{text}. Returns {returns}.")
    if len(text) < 108:
        return f'    """{text}"""'.replace('""""', '" """')
    wrapped = textwrap.fill(text, 116, initial_indent="    ", subsequent_indent="    ")
    return f'    """{wrapped.strip()}\n    """'


def _shape(t: Tensor) -> str:
    inside = ", ".join(str(a) for a in t.axes)
    return f"({inside}{',' if t.rank == 1 else ''})"


def _values(t: Tensor) -> str:
    """The values that an array of whole numbers or booleans may have."""
    if t.below is None:
        return {"int": "integers", "bool": "booleans"}[t.dtype]
    none = missing_value(t)
    return f"integers in [0, {t.below})" + ("" if none is None else f" or {none}")
