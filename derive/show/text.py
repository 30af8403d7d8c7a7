"""Plain text: one readable line per formula, and the whole derivation.

>>> from derive import indices, tensor, Sum
>>> b, i, k = indices("b i k")
>>> x, W = tensor("x", b, i), tensor("W", i, k)
>>> expr_text(Sum(x[b, i] * W[i, k], i))
'sum_i x[b,i] W[i,k]'
"""

from __future__ import annotations

import re
import textwrap

from sympy import Expr

from derive.language import printing
from derive.program.derived import Derived
from derive.program.program import Equation, Step
from derive.show.document.options import read_options
from derive.show.document.outline import outline
from derive.show.formulas.equations import equation_layout
from derive.show.formulas.expressions import expression
from derive.show.formulas.matrix import matrix_layout
from derive.show.formulas.names import Namer, plain

from .document import blocks as B
from .formulas import layout as L

SYMBOLS = {"==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


@printing.line.register(Expr)
def expr_text(e, names: Namer | None = None) -> str:
    """One line for an expression: ``exp(z[b,k] - lse[b])``."""
    return render(expression(e, names))


@printing.line.register(Equation)
def equation_text(eq: Equation, names: Namer | None = None) -> str:
    """One line for an equation: ``dW[i,k] = sum_b x[b,i] dz[b,k]``."""
    lhs, rhs = equation_layout(eq, names)
    return f"{render(lhs)} = {render(rhs)}"


def matrix_text(eq: Equation, names: Namer | None = None) -> str | None:
    """The matrix form on one line, ``dW = x^T dz``, or None where there is none."""
    form = matrix_layout(eq, names)
    return form and f"{render(form[0])} = {render(form[1])}"


@printing.line.register(Step)
def step_text(step: Step, names: Namer | None = None) -> str:
    """A step: its rule and target, the equations before and after, and why."""
    lines = [f"Step {step.id}  {step.rule}  (target {plain(step.target)})"]
    lines += [f"  before  {equation_text(e, names)}" for e in step.before]
    lines.append(f"  after   {equation_text(step.after, names)}")
    lines.append(f"  why     {plain(step.why)}")
    if step.facts:
        lines.append(f"  facts   {plain('; '.join(step.facts))}")
    return "\n".join(lines)


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
    if node.op:
        glue = {"odot": " * ", "otimes": " ⊗ "}[node.op]
        return glue.join(_wrapped(n, L.MUL) if not isinstance(n, L.Product) else f"({render(n)})" for n in node.items)
    out = []
    for n, item in enumerate(node.items):
        if isinstance(item, L.Product) and item.op:
            out.append(f"({render(item)})")
            continue
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
    if isinstance(node.num, L.Fraction) or isinstance(node.num, L.Product) and node.num.op == "otimes":
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
    return {
        "abs": f"|{body}|",
        "norm": f"||{body}||",
        "floor": f"floor({body})",
        "ceil": f"ceil({body})",
        "iverson": f"[{body}]",
    }[node.kind]


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
    under = f"{{{under}}}" if len(node.letters) > 1 or node.conditions or len(node.letters[0].name) > 2 else under
    return f"{node.op}_{under} {_wrapped(node.body, L.BIG)}"


def _cases(node, tight):
    rows = [f"{render(v)} {'otherwise' if c is None else 'if ' + render(c)}" for v, c in node.rows]
    return "{" + "; ".join(rows) + "}"


def _is_transposed_name(node):
    return isinstance(node, L.Transposed) and isinstance(node.body, L.Name)


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
    L.Inverted: lambda n, tight: (
        f"{render(n.body.body)}^-T" if _is_transposed_name(n.body) else f"{_wrapped(n.body, L.ATOM)}^-1"
    ),
    L.Entry: lambda n, tight: f"({render(n.matrix)})[{','.join(render(i, True) for i in n.idx)}]",
    L.Ones: lambda n, tight: "1",
    L.Words: lambda n, tight: plain(n.text),
}


WIDTH = 100


def derivation_text(d: Derived, **options) -> str:
    """The whole derivation as plain text.

    Parameters
    ----------
    d : Derivation
    **options
        ``notation`` ("both", "index", "matrix"), ``adjoint`` (ignored: text writes dW), ``example`` (bool).

    Returns
    -------
    str
    """
    return blocks_text(outline(d, read_options(options), flat=True))


def blocks_text(blocks) -> str:
    """The text of any list of blocks."""
    return "\n\n".join(filter(None, (_block(b) for b in blocks))) + "\n"


def _block(block, indent: str = "") -> str:
    return _BLOCKS[type(block)](block, indent)


def _heading(block, indent):
    text = plain(block.text)
    return text + ("\n" + {1: "=", 2: "-"}[block.level] * len(text) if block.level < 3 else "\n" + "." * len(text))


def parts_text(parts) -> str:
    """A sentence on one line."""
    shown = []
    for p in parts:
        if isinstance(p, L.Node):
            shown.append(render(p))
        elif isinstance(p, B.Ref):
            shown.append(f"({p.label})")
        else:
            shown.append(plain(p.text if isinstance(p, (B.Mono, B.Strong)) else p))
    return "".join(shown)


def _paragraph(block, indent):
    return textwrap.fill(parts_text(block.parts), WIDTH, initial_indent=indent, subsequent_indent=indent)


def _bullets(block, indent):
    return "\n".join(
        textwrap.fill(parts_text(i), WIDTH, initial_indent=f"{indent}- ", subsequent_indent=f"{indent}  ")
        for i in block.items
    )


def _table(block, indent):
    rows = [tuple(block.header)] + [tuple(parts_text(c) for c in row) for row in block.rows]
    if not block.header[0]:  # the column of typeset symbols says nothing new in text
        rows = [r[1:] for r in rows]
    widths = [max(len(r[n]) for r in rows) for n in range(len(rows[0]))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in rows]
    lines.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(indent + line for line in lines)


def _equations(block, indent):
    """Lines aligned at their equal signs, numbers at the right."""
    lhs = ["" if line.lhs is None else render(line.lhs) for line in block.lines]
    left = max((len(t) for t in lhs if len(t) <= 24), default=0)
    out = []
    for text, line in zip(lhs, block.lines, strict=True):
        *more, body = _lines(f"{indent}    {text.ljust(left)} = ", line.rhs)
        out += more
        aside = f"{render(line.aside[0])} = {render(line.aside[1])}" if line.aside else ""
        if aside and len(body) + len(aside) + 12 <= WIDTH + 10:
            body, aside = f"{body.ljust(64)}  {aside}", ""
        if line.label:
            body = f"{body.ljust(WIDTH - 4)}  ({line.label.replace('′', chr(39))})"
        out.append(body)
        if aside:
            out.append(f"{indent}    {''.ljust(left)}   {aside}")
    return "\n".join(out)


def _lines(head: str, rhs: L.Node) -> list[str]:
    """One line, or several where a sum is too long for one."""
    if not isinstance(rhs, L.Sum) or len(head) + len(render(rhs)) <= WIDTH:
        return [head + render(rhs)]
    lines, items = [], []
    for item in rhs.items:
        if items and len(head) + len(render(L.Sum((*items, item)))) > WIDTH:
            lines.append(tuple(items))
            items = []
        items.append(item)
    lines.append(tuple(items))
    signs = ["" if n == 0 or line[0][0] < 0 else "+ " for n, line in enumerate(lines)]
    return [
        (head if n == 0 else " " * len(head)) + sign + render(L.Sum(line))
        for n, (sign, line) in enumerate(zip(signs, lines, strict=True))
    ]


def _fold(block, indent):
    inside = "\n".join(_block(b, indent + "  ") for b in block.blocks)
    return f"{indent}{block.summary}:\n{inside}"


def _drawing(block, indent):
    """Who reads whom, column by column."""
    graph = block.graph
    lines = []
    for box in graph.boxes:
        sources = graph.sources(box.name)
        again = " (and its own earlier values)" if box.name in graph.loops else ""
        if sources or box.name in graph.loops:
            lines.append((name_text(box.name), box.shape, ", ".join(name_text(s) for s in sources) + again))
    names, shapes = (max((len(line[n]) for line in lines), default=0) for n in (0, 1))
    return "\n".join(f"{indent}    {n.ljust(names)}  {s.ljust(shapes)}  <-  {r}" for n, s, r in lines)


_BLOCKS = {
    B.Heading: _heading,
    B.Para: _paragraph,
    B.Bullets: _bullets,
    B.Table: _table,
    B.Equations: _equations,
    B.Fold: _fold,
    B.Drawing: _drawing,
}
