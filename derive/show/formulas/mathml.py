"""Presentation MathML: formulas that a browser draws by itself, with no script and no font to fetch."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any

from derive.language.functions import FUNCTIONS

from . import layout as L
from .names import GREEK, is_narrow

SYMBOLS = {"==": "=", "!=": "≠", "<": "&lt;", "<=": "≤", ">": "&gt;", ">=": "≥"}
APPLIED = {f.text[0]: f.mathml for f in FUNCTIONS.values()} | {  # what else a formula applies under another name
    "logdet": "log det",
    "logabsdet": "log abs det",
}
BIG = {"matrix": "mat", "sum": "∑", "prod": "∏", "max": "max", "argmax": "arg max"}
FENCES = {
    "abs": ("|", "|"),
    "norm": ("‖", "‖"),
    "floor": ("⌊", "⌋"),
    "ceil": ("⌈", "⌉"),
    "iverson": ("[", "]"),
    "round": ("(", ")"),
}
THIN = '<mspace width="0.17em"/>'
MOD = '<mspace width="0.22em"/><mi mathvariant="normal">mod</mi><mspace width="0.22em"/>'


def math(node_text: str, display: bool = False) -> str:
    """A complete ``<math>`` element."""
    kind = ' displaystyle="true"' if display else ""
    return f'<math xmlns="http://www.w3.org/1998/Math/MathML"{kind}><mrow>{node_text}</mrow></math>'


def equation(lhs: L.Node, rhs: L.Node) -> str:
    return f"{render(lhs)}<mo>=</mo>{render(rhs)}"


def clean(text: str) -> str:
    """Escaped, and without the control characters that XML does not allow."""
    return escape("".join(c if c.isprintable() or c == " " else "�" for c in str(text)))


def identifier(name: str) -> str:
    shown = GREEK.get(name, name)
    return f"<mi>{clean(shown)}</mi>" if len(shown) == 1 else f'<mi mathvariant="normal">{clean(shown)}</mi>'


def row(*parts: str) -> str:
    return f"<mrow>{''.join(parts)}</mrow>"


def op(symbol: str, **attributes: str) -> str:
    extra = "".join(f' {k}="{v}"' for k, v in attributes.items())
    return f"<mo{extra}>{symbol}</mo>"


def render(node: L.Node) -> str:
    return _TABLE[type(node)](node)


def fence(body: L.Node, kind: str = "round") -> str:
    left, right = FENCES[kind]
    stretchy = "true" if L.tall(body) else "false"
    return row(
        op(left, fence="true", form="prefix", stretchy=stretchy),
        render(body),
        op(right, fence="true", form="postfix", stretchy=stretchy),
    )


def _wrapped(node: L.Node, least: int) -> str:
    return render(node) if node.prec >= least else fence(node)


ACCENTS = {"hat": "^", "tilde": "~"}


def _base(name: L.Name) -> str:
    """The symbol without what is raised and lowered beside it."""
    base = identifier(name.base)
    if name.accent:
        base = f'<mover accent="true">{base}<mo stretchy="false">{ACCENTS[name.accent]}</mo></mover>'
    if name.mark == "bar":
        return f'<mrow class="bar">{base}</mrow>'  # as wide as the letter: an accent over h would read as Planck's constant
    if name.mark == "d":
        return row('<mi mathvariant="normal">d</mi>', "" if is_narrow(name.base) else THIN, base)
    return base


def _name(name: L.Name, below: str = "", extra: str = "") -> str:
    base = _base(name)
    words = [f"({w})" if w[:1].isdigit() else w for w in name.label.split()]
    label = "".join(identifier(w) if w.isalpha() and len(w) == 1 else f"<mtext>{clean(w)}</mtext>" for w in words)
    over = f"<mrow>{label}{extra}</mrow>" if label or extra else ""
    if below and over:
        return f"<msubsup>{base}<mrow>{below}</mrow>{over}</msubsup>"
    if below:
        return f"<msub>{base}<mrow>{below}</mrow></msub>"
    return f"<msup>{base}{over}</msup>" if over else base


def _subscript(idx: Sequence[L.Node]) -> str:
    simple = all(
        isinstance(i, L.Letter) and L.is_one_letter(i.name) or isinstance(i, L.Num) and len(i.text) == 1 for i in idx
    )
    glue = '<mspace width="0.06em"/>' if simple else '<mo lspace="0" rspace="0.1em">,</mo>'
    inside = glue.join(render(i) for i in idx)
    return inside.replace(' form="infix">', ' form="infix" lspace="0.08em" rspace="0.08em">')


def _sum(node: L.Sum) -> str:
    out: list[str] = []
    for n, (sign, item) in enumerate(node.items):
        loose = L.is_loose(node.items, n)
        text = fence(item) if loose else render(item)
        form = "infix" if out else "prefix"
        out.append((op("−", form=form) if sign < 0 else op("+", form=form) if out else "") + text)
    return row(*out)


def _product(node: L.Product) -> str:
    if node.op:
        between = MOD if node.op == "mod" else op({"odot": "⊙", "otimes": "⊗"}[node.op])
        return row(between.join(fence(n) if isinstance(n, L.Product) else _wrapped(n, L.MUL) for n in node.items))
    out = []
    for n, item in enumerate(node.items):
        if n:
            numbers = isinstance(item, L.Num) and isinstance(node.items[n - 1], L.Num)
            out.append(op("·") if numbers else THIN)
        elementwise = isinstance(item, L.Product) and item.op
        out.append(fence(item) if elementwise else _wrapped(item, L.BIG if n == len(node.items) - 1 else L.MUL))
    return row(*out)


def _power(node: L.Power) -> str:
    base = node.base
    labelled = isinstance(base, L.Name) and base.label or isinstance(base, L.Element) and base.name.label
    exponent = f"<mrow>{render(node.exponent)}</mrow>"
    if isinstance(above := node.exponent, L.Fraction) and isinstance(above.num, L.Num) and isinstance(above.den, L.Num):
        exponent = f"<mn>{above.num.text}/{above.den.text}</mn>"
    if not labelled and isinstance(base, L.Element):
        return f"<msubsup>{_base(base.name)}<mrow>{_subscript(base.idx)}</mrow>{exponent}</msubsup>"
    wrap = labelled or isinstance(base, (L.Exp, L.Partial)) or base.prec < L.ATOM
    return f"<msup>{fence(base) if wrap else render(base)}{exponent}</msup>"


def _exp(node: L.Exp) -> str:
    if L.width(node.arg) <= 15 and not L.tall(node.arg):
        return f"<msup><mi>e</mi><mrow>{render(node.arg)}</mrow></msup>"
    return row('<mi mathvariant="normal">exp</mi>', fence(node.arg))


def _apply(node: L.Apply) -> str:
    name = f'<mi mathvariant="normal">{APPLIED[node.fn]}</mi>' if node.fn in APPLIED else _unknown(node.fn)
    if len(node.args) == 1:
        return row(name, fence(node.args[0]))
    return row(name, op("(", stretchy="false"), op(",").join(render(a) for a in node.args), op(")", stretchy="false"))


def _unknown(called: str) -> str:
    """An unknown function with its primes."""
    name = called.partition("'")[0].partition("^")[0]
    order = called[len(name) :].lstrip("^").replace("'", "′")
    shown = f"<mi>{GREEK.get(name, name)}</mi>"
    return f"<msup>{shown}<mo>{order}</mo></msup>" if order else shown


def _relation(node: L.Relation) -> str:
    out = render(node.parts[0])
    for symbol, part in zip(node.ops, node.parts[1:], strict=True):
        out += op(SYMBOLS[symbol]) + render(part)
    return row(out)


def _logic(node: L.Logic) -> str:
    if node.op == "not":
        return row(op("¬"), fence(node.items[0]))
    glue = op({"and": "∧", "or": "∨"}[node.op])
    return row(glue.join(fence(i) if isinstance(i, L.Logic) and i.op != node.op else render(i) for i in node.items))


def _big(node: L.Big) -> str:
    under = op(",").join(render(i) for i in node.letters)
    if len(node.conditions) > 1:
        lines = [under] + [render(c) for c in node.conditions]
        under = '<mtable rowspacing="0.1em">' + "".join(f"<mtr><mtd>{line}</mtd></mtr>" for line in lines) + "</mtable>"
    elif node.conditions:
        under += op(":") + render(node.conditions[0])
    symbol = (
        op(BIG[node.op], movablelimits="false", largeop="true")
        if node.op in ("sum", "prod")
        else op(BIG[node.op], movablelimits="false", form="prefix", rspace="0.17em")
    )
    return row(f"<munder>{symbol}<mrow>{under}</mrow></munder>", _wrapped(node.body, L.BIG))


def _cases(node: L.Cases) -> str:
    rows = "".join(
        f'<mtr><mtd class="l">{render(v)}</mtd><mtd class="l">'
        + ("<mtext>otherwise</mtext>" if c is None else f"<mtext>if </mtext>{render(c)}")
        + "</mtd></mtr>"
        for v, c in node.rows
    )
    return row(op("{", fence="true", form="prefix", stretchy="true"), f"<mtable>{rows}</mtable>")


def _number(node: L.Num) -> str:
    if node.text == "infinity":
        return "<mi>∞</mi>"
    mantissa, _, exponent = node.text.partition("e")
    if not exponent:
        return f"<mn>{clean(node.text)}</mn>"
    power = f"<msup><mn>10</mn><mn>{int(exponent)}</mn></msup>".replace("-", "−")
    return power if mantissa == "1" else row(f"<mn>{mantissa}</mn>", op("·"), power)


def _transposed(node: L.Transposed) -> str:
    top = "<mo>⊤</mo>"
    if isinstance(node.body, L.Name):
        return _name(node.body, extra=top)
    if isinstance(node.body, L.Element):
        return _name(node.body.name, below=_subscript(node.body.idx), extra=top)
    return f"<msup>{_wrapped(node.body, L.ATOM)}{top}</msup>"


def _inverted(body: L.Node) -> str:
    power = "<mo>−</mo><mn>1</mn>"
    if isinstance(body, L.Name):
        return _name(body, extra=power)
    if isinstance(body, L.Element):
        return _name(body.name, below=_subscript(body.idx), extra=power)
    return f"<msup>{_wrapped(body, L.ATOM)}<mrow>{power}</mrow></msup>"


def _letter(node: L.Letter) -> str:
    """An index or a size; ``o2`` is an o with a 2 below it, and primes stand on the line, where they stay legible."""
    numbered = re.fullmatch(r"([^\W\d_])_?(\d+)", node.name)
    base = f"<msub>{identifier(numbered[1])}<mn>{numbered[2]}</mn></msub>" if numbered else identifier(node.name)
    return row(base, f'<mo class="prime">{"′" * node.primes}</mo>') if node.primes else base


def _array(node: L.Array) -> str:
    inner = [r for r in node.rows if isinstance(r, L.Array)]
    if inner and isinstance(inner[0].rows[0], L.Array):
        return row(op("[", stretchy="true"), op(",").join(map(_array, inner)), op("]", stretchy="true"))
    lines = [r.rows for r in inner] or [node.rows]
    cells = "".join("<mtr>" + "".join(f"<mtd>{render(v)}</mtd>" for v in line) + "</mtr>" for line in lines)
    return row(op("(", stretchy="true"), f"<mtable>{cells}</mtable>", op(")", stretchy="true"))


# a drawing takes the class that it stands beside
_TABLE: Mapping[type[L.Node], Callable[[Any], str]] = {
    L.Num: _number,
    L.Letter: _letter,
    L.Member: lambda n: f'<mi mathvariant="normal">{clean(n.letter)}</mi>',
    L.Flat: lambda n: row(op("(", stretchy="false"), _subscript(n.letters), op(")", stretchy="false")),
    L.Name: _name,
    L.Element: lambda n: _name(n.name, below=_subscript(n.idx)),
    L.Partial: lambda n: f"<mfrac>{row(op('∂'), render(n.of))}{row(op('∂'), render(n.by))}</mfrac>",
    L.Slope: lambda n: f"<mfrac>{row(op('∂'), render(n.of))}{row(op('∂'), render(n.by))}</mfrac>",
    L.Array: _array,
    L.Sum: _sum,
    L.Product: _product,
    L.Fraction: lambda n: f"<mfrac><mrow>{render(n.num)}</mrow><mrow>{render(n.den)}</mrow></mfrac>",
    L.Power: _power,
    L.Exp: _exp,
    L.Root: lambda n: f"<msqrt>{render(n.arg)}</msqrt>",
    L.Apply: _apply,
    L.Fence: lambda n: fence(n.body, n.kind),
    L.Relation: _relation,
    L.Logic: _logic,
    L.Big: _big,
    L.Cases: _cases,
    L.Transposed: _transposed,
    L.Inverted: lambda n: _inverted(n.body),
    L.Entry: lambda n: f"<msub>{fence(n.matrix)}<mrow>{_subscript(n.idx)}</mrow></msub>",
    L.Ones: lambda n: '<mn mathvariant="bold">𝟏</mn>',
    L.Words: lambda n: f"<mtext>{clean(n.text)}</mtext>",
}
