"""``trainer.explain()``: layer by layer, the equation of each gradient, the lines of source that compute it, and its size."""

from __future__ import annotations

import ast
import io
import re
import textwrap
import tokenize
from dataclasses import dataclass, fields
from html import escape

import numpy as np

from derive.program.program import Equation
from derive.show.document.formulas import Formulas
from derive.show.document.options import Options
from derive.show.font import notebook_font
from derive.show.formulas.equations import equation_layout
from derive.show.formulas.mathml import math, render
from derive.show.html import STYLE
from derive.show.latex import equation_latex

NUMBERS = re.compile(r"\((\d+)\)(?:-\((\d+)\))?")


@dataclass(frozen=True)
class Row:
    """One equation of the backward pass, with the source that computes it; a parameter's gradient with its norms.

    ``parameter`` is "" for an adjoint on the way.  Norms are Euclidean; ``update_ratio`` is the norm of the change that
    the optimizer makes over that of the parameter, and about 1e-3 in a step that goes well.
    """

    number: int
    equation: Equation
    lines: tuple[str, ...]
    parameter: str = ""
    shape: tuple[int, ...] = ()
    norm: float | None = None
    gradient_norm: float | None = None
    update_ratio: float | None = None


@dataclass(frozen=True)
class Explanation:
    """``print`` shows it as text; notebooks as a page; ``as_dict`` is plain data."""

    title: str
    loss: float
    layers: tuple[tuple[str, tuple[Row, ...]], ...]
    formulas: Formulas

    def row(self, parameter: str) -> Row:
        """The row of one parameter."""
        return next(r for _, rows in self.layers for r in rows if r.parameter == parameter)

    def __str__(self):
        out = [f"{self.title}   loss {self.loss:.6g} on this batch", ""]
        for layer, rows in self.layers:
            out += [layer, "-" * len(layer)]
            for r in rows:
                out.append(f"  ({r.number})  {r.equation}")
                out += [f"       | {line}" for line in r.lines]
                if r.parameter:
                    out.append(f"       {_measured(r)}")
            out.append("")
        return "\n".join(out).rstrip()

    def as_dict(self) -> dict:
        return {
            "title": self.title,
            "loss": self.loss,
            "layers": {layer: [_data(r) for r in rows] for layer, rows in self.layers},
        }

    def to_html(self) -> str:
        """One element, with its own style: to stand in a page or a notebook."""
        parts = [f"<h2>{escape(self.title)}</h2><p>Loss {self.loss:.6g} on this batch.</p>"]
        for layer, rows in self.layers:
            parts.append(f"<h3>{escape(layer)}</h3>")
            parts += [self._html(r) for r in rows]
        style = f"<style>{notebook_font()}{STYLE}{MORE}</style>"
        return f'<div>{style}<article class="derivation explain">{"".join(parts)}</article></div>'

    def _repr_html_(self):
        return self.to_html()

    def _html(self, r: Row) -> str:
        lhs, rhs = equation_layout(r.equation, self.formulas.names)
        shown = math(render(lhs) + "<mo>=</mo>" + render(rhs), display=True)
        source = escape("\n".join(r.lines))
        measured = f'<p class="measured">{escape(_measured(r))}</p>' if r.parameter else ""
        return (
            f'<div class="eqs{" boxed" if r.parameter else ""}"><table><tbody><tr><td class="rhs">{shown}</td>'
            f'<td class="num">({r.number})</td></tr></tbody></table><pre>{source}</pre>{measured}</div>'
        )


MORE = """
.explain pre { margin: .2rem 0 .2rem .3rem; font: .8rem/1.4 ui-monospace, "DejaVu Sans Mono", monospace; color: var(--soft);
  overflow-x: auto; }
.explain .measured { margin: .2rem 0 .1rem .3rem; font-size: .92rem; }
.explain .boxed { padding-left: .8rem; }
"""


def _data(r: Row) -> dict:
    found = {f.name: getattr(r, f.name) for f in fields(r)}
    return found | {
        "equation": str(r.equation),
        "latex": equation_latex(r.equation),
        "lines": list(r.lines),
        "shape": list(r.shape),
    }


def _measured(r: Row) -> str:
    return (
        f"{r.parameter} {r.shape}: |parameter| {r.norm:.3g}, |gradient| {r.gradient_norm:.3g}, "
        f"|update| / |parameter| {r.update_ratio:.2g}"
        if r.norm
        else f"{r.parameter} {r.shape}: |parameter| {r.norm:.3g}, |gradient| {r.gradient_norm:.3g}"
    )


def explanation(
    derivation, source: str, layer_of, params: dict, loss: float, gradients: dict, updates: dict, title: str
) -> Explanation:
    """Put together what :meth:`numerics.Trainer.explain` shows.

    Parameters
    ----------
    derivation : Derivation
    source : str
        The generated module.
    layer_of : callable
        The layer of a tensor, by name.
    params, gradients, updates : dict of str to array
        By parameter; ``updates`` is what the optimizer adds.
    """
    lines = lines_of(source)
    parameter_of = {t.name: n for n, t in derivation.gradients.items()}
    backward = {t.name for _, t in derivation.adjoints} | set(parameter_of)
    layers: dict[str, list[Row]] = {}
    for e in derivation.program:
        if e.name not in backward:
            continue
        name = parameter_of.get(e.name, "")
        norms = _norms(params[name], gradients[name], updates[name]) if name else {}
        layers.setdefault(layer_of(name or e.name) or "loss", []).append(
            Row(e.number, e, tuple(lines.get(e.number, ())), name, **norms)
        )
    order = [(layer, tuple(sorted(rows, key=lambda r: r.number))) for layer, rows in layers.items()]
    return Explanation(title, loss, tuple(order), Formulas(derivation, Options()))


def _norms(parameter, gradient, update) -> dict:
    size = float(np.linalg.norm(np.ravel(parameter).astype(np.float64)))
    return {
        "shape": tuple(np.shape(parameter)),
        "norm": size,
        "gradient_norm": float(np.linalg.norm(np.ravel(gradient).astype(np.float64))),
        "update_ratio": float(np.linalg.norm(np.ravel(update).astype(np.float64))) / size if size else float("nan"),
    }


def lines_of(source: str) -> dict[int, list[str]]:
    """The lines of a generated module by the number of the equation that they compute; a statement is kept whole.

    >>> lines_of("def f(x):\\n    y = g(x,  # (3)\\n        1)\\n    return y\\n")
    {3: ['y = g(x,', '    1)']}
    """
    rows = source.splitlines()
    said = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            numbers = [n for a, b in NUMBERS.findall(token.string) for n in range(int(a), int(b or a) + 1)]
            said[token.start[0]] = (numbers, token.start[1])
    found: dict[int, list[str]] = {}
    for statement in _statements(ast.parse(source)):
        span = range(statement.lineno, (statement.end_lineno or statement.lineno) + 1)
        numbers = [n for line in span if line in said for n in said[line][0]]
        text = textwrap.dedent(
            "\n".join(rows[n - 1][: said[n][1]].rstrip() if n in said else rows[n - 1] for n in span)
        )
        for number in dict.fromkeys(numbers):
            found.setdefault(number, []).extend(text.splitlines())
    return found


def _statements(tree):
    """The statements that hold no others, in order."""
    for node in getattr(tree, "body", []):
        if isinstance(node, ast.FunctionDef):
            yield from _statements(node)
        elif isinstance(node, ast.stmt):
            yield node
