"""One readable line of text from a layout tree: ``dW[i,k] = sum_b x[b,i] dz[b,k]``."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from . import layout as L
from .names import plain

SYMBOLS = {"==": "=", "!=": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


def name_text(name: str) -> str:
    """A tensor's name; one that is not a plain word is quoted, so that a formula cannot be misread."""
    return name if re.fullmatch(r"\w+", name) else repr(name)


def render(node: L.Node, tight: bool = False) -> str:
    """The text of a layout tree; ``tight`` leaves out the spaces, as inside ``h[t-1,b]``."""
    return _TABLE[type(node)](node, tight)


def _wrapped(node: L.Node, least: int, tight: bool = False) -> str:
    text = render(node, tight)
    return text if node.prec >= least else f"({text})"


def _sum(node: L.Sum, tight: bool) -> str:
    out: list[str] = []
    for n, (sign, item) in enumerate(node.items):
        text = f"({render(item, tight)})" if L.is_loose(node.items, n) else render(item, tight)
        mark = "-" if sign < 0 else "+"
        out.append(("-" if sign < 0 else "") + text if not out else f"{mark}{text}" if tight else f" {mark} {text}")
    return "".join(out)


def _product(node: L.Product, tight: bool) -> str:
    if node.op:
        glue = {"odot": " * ", "otimes": " ⊗ ", "mod": " mod "}[node.op]
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


def _fraction(node: L.Fraction, tight: bool) -> str:
    num, den = _wrapped(node.num, L.MUL, tight), _wrapped(node.den, L.POW, tight)
    if isinstance(node.num, L.Fraction) or isinstance(node.num, L.Product) and node.num.op == "otimes":
        num = f"({num})"
    close = tight or all(isinstance(n, (L.Num, L.Letter)) for n in (node.num, node.den))
    return f"{num}/{den}" if close else f"{num} / {den}"


def _power(node: L.Power, tight: bool) -> str:
    exponent = render(node.exponent, True)
    if not isinstance(node.exponent, (L.Num, L.Letter)):
        exponent = f"({exponent})"
    return f"{_wrapped(node.base, L.ATOM, tight)}^{exponent}"


def _fence(node: L.Fence, tight: bool) -> str:
    body = render(node.body)
    return {
        "abs": f"|{body}|",
        "norm": f"||{body}||",
        "floor": f"floor({body})",
        "ceil": f"ceil({body})",
        "iverson": f"[{body}]",
    }[node.kind]


def _relation(node: L.Relation, tight: bool) -> str:
    out = render(node.parts[0], tight)
    for op, part in zip(node.ops, node.parts[1:], strict=True):
        out += (SYMBOLS[op] if tight else f" {SYMBOLS[op]} ") + render(part, tight)
    return out


def _logic(node: L.Logic, tight: bool) -> str:
    if node.op == "not":
        return f"not ({render(node.items[0])})"
    return f" {node.op} ".join(_logic_item(node, i) for i in node.items)


def _logic_item(node: L.Logic, item: L.Node) -> str:
    return f"({render(item)})" if isinstance(item, L.Logic) and item.op != node.op else render(item)


def _big(node: L.Big, tight: bool) -> str:
    under = ",".join(render(i, True) for i in node.letters)
    if node.conditions:
        under += ": " + ", ".join(render(c) for c in node.conditions)
    under = f"{{{under}}}" if len(node.letters) > 1 or node.conditions or len(node.letters[0].name) > 2 else under
    return f"{node.op}_{under} {_wrapped(node.body, L.BIG)}"


def _cases(node: L.Cases, tight: bool) -> str:
    rows = [f"{render(v)} {'otherwise' if c is None else 'if ' + render(c)}" for v, c in node.rows]
    return "{" + "; ".join(rows) + "}"


def _is_transposed_name(node: L.Node) -> bool:
    return isinstance(node, L.Transposed) and isinstance(node.body, L.Name)


def _array(node: L.Array, tight: bool) -> str:
    return "[" + ", ".join(render(r, tight) for r in node.rows) + "]"


# a drawing takes the class that it stands beside
_TABLE: Mapping[type[L.Node], Callable[[Any, bool], str]] = {
    L.Num: lambda n, tight: "oo" if n.text == "infinity" else n.text,
    L.Letter: lambda n, tight: name_text(n.name) + "'" * n.primes,
    L.Member: lambda n, tight: str(n.number),
    L.Flat: lambda n, tight: render(n.body, tight),
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
