"""Plain text: one readable line per formula, and the whole derivation.

>>> from derive import indices, tensor, Sum
>>> b, i, k = indices("b i k")
>>> x, W = tensor("x", b, i), tensor("W", i, k)
>>> expr_text(Sum(x[b, i] * W[i, k], i))
'sum_i x[b,i] W[i,k]'
"""

from __future__ import annotations

import re

from .program import Equation, Step
from .show import layout as L
from .show.equations import equation_layout
from .show.expressions import expression
from .show.matrix import matrix_layout
from .show.names import Namer

SYMBOLS = {"==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def expr_text(e, names: Namer | None = None) -> str:
    """One line for an expression: ``exp(z[b,k] - lse[b])``."""
    return render(expression(e, names))


def equation_text(eq: Equation, names: Namer | None = None) -> str:
    """One line for an equation: ``dW[i,k] = sum_b x[b,i] dz[b,k]``."""
    lhs, rhs = equation_layout(eq, names)
    return f"{render(lhs)} = {render(rhs)}"


def matrix_text(eq: Equation, names: Namer | None = None) -> str | None:
    """The matrix form on one line, ``dW = x^T dz``, or None where there is none."""
    form = matrix_layout(eq, names)
    return form and f"{render(form[0])} = {render(form[1])}"


def step_text(step: Step, names: Namer | None = None) -> str:
    """A step: its rule and target, the equations before and after, and why."""
    lines = [f"Step {step.id}  {step.rule}  (target {plain(step.target)})"]
    lines += [f"  before  {equation_text(e, names)}" for e in step.before]
    lines.append(f"  after   {equation_text(step.after, names)}")
    lines.append(f"  why     {plain(step.why)}")
    if step.facts:
        lines.append(f"  facts   {plain('; '.join(step.facts))}")
    return "\n".join(lines)


def plain(text: str) -> str:
    """A string on one line, whatever its author put into it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def name_text(name: str) -> str:
    """A tensor's name; one that is not a plain word is quoted, so that a formula cannot be misread."""
    return name if re.fullmatch(r"\w+", name) else repr(name)


def render(node: L.Node, tight: bool = False) -> str:
    """The text of a layout tree; ``tight`` leaves out the spaces, as inside ``h[t-1,b]``."""
    return _TABLE[type(node)](node, tight)


def _wrapped(node, least, tight=False):
    text = render(node, tight)
    return text if node.prec >= least else f"({text})"


def _sum(node, tight):
    out = []
    for n, (sign, item) in enumerate(node.items):
        last = n == len(node.items) - 1
        loose = item.prec <= L.ADD or (not last and _opens_max(item))
        text = f"({render(item, tight)})" if loose else render(item, tight)
        mark = "-" if sign < 0 else "+"
        out.append(("-" if sign < 0 else "") + text if not out else f"{mark}{text}" if tight else f" {mark} {text}")
    return "".join(out)


def _opens_max(node):
    """Whether a line would read on past the end of a max."""
    if isinstance(node, L.Product):
        return _opens_max(node.items[-1])
    return isinstance(node, L.Big) and node.op != "sum"


def _product(node, tight):
    if node.op == "odot":
        return " * ".join(_wrapped(n, L.MUL) if not isinstance(n, L.Product) else f"({render(n)})" for n in node.items)
    out = []
    for n, item in enumerate(node.items):
        ends = n == len(node.items) - 1
        fraction_inside = n > 0 and isinstance(item, L.Fraction)
        least = L.BIG if ends else L.MUL
        text = render(item, tight)
        wide = isinstance(item, L.Fraction) and not ends and " / " in text
        out.append(f"({text})" if item.prec < least or fraction_inside or wide else text)
    if tight:
        return "".join(out) if isinstance(node.items[0], L.Num) and len(out) == 2 else "*".join(out)
    return " ".join(out)


def _fraction(node, tight):
    num, den = _wrapped(node.num, L.MUL, tight), _wrapped(node.den, L.POW, tight)
    if isinstance(node.num, L.Fraction):
        num = f"({num})"
    close = tight or all(isinstance(n, (L.Num, L.Letter)) for n in (node.num, node.den))
    return f"{num}/{den}" if close else f"{num} / {den}"


def _power(node, tight):
    exponent = render(node.exponent, True)
    if not isinstance(node.exponent, (L.Num, L.Letter)):
        exponent = f"({exponent})"
    return f"{_wrapped(node.base, L.ATOM, tight)}^{exponent}"


def _fence(node, tight):
    body = render(node.body)
    return {"abs": f"|{body}|", "floor": f"floor({body})", "ceil": f"ceil({body})", "iverson": f"[{body}]"}[node.kind]


def _relation(node, tight):
    out = render(node.parts[0], tight)
    for op, part in zip(node.ops, node.parts[1:], strict=True):
        out += (SYMBOLS[op] if tight else f" {SYMBOLS[op]} ") + render(part, tight)
    return out


def _logic(node, tight):
    if node.op == "not":
        return f"not ({render(node.items[0])})"
    return f" {node.op} ".join(_logic_item(node, i) for i in node.items)


def _logic_item(node, item):
    return f"({render(item)})" if isinstance(item, L.Logic) and item.op != node.op else render(item)


def _big(node, tight):
    under = ",".join(render(i, True) for i in node.letters)
    if node.conditions:
        under += ": " + ", ".join(render(c) for c in node.conditions)
    under = f"{{{under}}}" if len(node.letters) > 1 or node.conditions or len(under) > 2 else under
    return f"{node.op}_{under} {_wrapped(node.body, L.BIG)}"


def _cases(node, tight):
    rows = [f"{render(v)} {'otherwise' if c is None else 'if ' + render(c)}" for v, c in node.rows]
    return "{" + "; ".join(rows) + "}"


def _array(node, tight):
    return "[" + ", ".join(render(r, tight) for r in node.rows) + "]"


_TABLE = {
    L.Num: lambda n, tight: n.text,
    L.Letter: lambda n, tight: name_text(n.name) + "'" * n.primes,
    L.Name: lambda n, tight: name_text(n.raw),
    L.Element: lambda n, tight: f"{name_text(n.name.raw)}[{','.join(render(i, True) for i in n.idx)}]",
    L.Partial: lambda n, tight: render(n.raw, tight),
    L.Slope: lambda n, tight: f"(d {render(n.of)} / d {render(n.by)})",
    L.Array: _array,
    L.Sum: _sum,
    L.Product: _product,
    L.Fraction: _fraction,
    L.Power: _power,
    L.Exp: lambda n, tight: f"exp({render(n.arg)})",
    L.Root: lambda n, tight: f"sqrt({render(n.arg)})",
    L.Apply: lambda n, tight: f"{n.fn}({', '.join(render(a) for a in n.args)})",
    L.Fence: _fence,
    L.Relation: _relation,
    L.Logic: _logic,
    L.Big: _big,
    L.Cases: _cases,
    L.Transposed: lambda n, tight: f"{_wrapped(n.body, L.ATOM)}^T",
    L.Ones: lambda n, tight: "1",
    L.Words: lambda n, tight: plain(n.text),
}
