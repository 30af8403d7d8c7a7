"""LaTeX of a layout tree, for math mode, with amsmath; and text that LaTeX can only read."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from derive.language.functions import FUNCTIONS

from . import layout as L
from .names import GREEK, is_narrow, plain

SYMBOLS = {"==": "=", "!=": r"\ne", "<": "<", "<=": r"\le", ">": ">", ">=": r"\ge"}
COMMANDS = {f.text[0]: f.latex for f in FUNCTIONS.values()} | {  # what else a formula applies
    "mod": r"\operatorname{mod}",
    "diag": r"\operatorname{diag}",
    "onehot": r"\operatorname{onehot}",
    "det": r"\det",
    "logdet": r"\log\det",
    "logabsdet": r"\log\operatorname{abs}\det",
    "tr": r"\operatorname{tr}",
    "diagonal": r"\operatorname{diagonal}",
    "vec": r"\operatorname{vec}",
}
BIG = {
    "matrix": r"\operatorname*{mat}",
    "sum": r"\sum",
    "prod": r"\prod",
    "max": r"\max",
    "argmax": r"\operatorname*{arg\,max}",
}
FENCES = {
    "abs": (r"\lvert ", r"\rvert "),
    "norm": (r"\lVert ", r"\rVert "),
    "floor": (r"\lfloor ", r"\rfloor "),
    "ceil": (r"\lceil ", r"\rceil "),
    "iverson": ("[", "]"),
    "round": ("(", ")"),
}
ESCAPES = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    '"': r"{\symbol{34}}",
    "|": r"\textbar{}",
}
# characters of our own prose that pdflatex does not know
PROSE = {
    "·": r"\textperiodcentered{}",
    "≤": r"$\le$",
    "≥": r"$\ge$",
    "×": r"$\times$",
    "−": "$-$",
    "–": "--",
    "…": r"\dots{}",
}


def escape(text: str) -> str:
    """A string as LaTeX text that can do nothing but be read."""
    return "".join(_character(c) for c in plain(text))


def _character(c: str) -> str:
    if c in PROSE:
        return PROSE[c]
    # beyond Latin-1, which characters exist depends on the engine and its fonts
    return ESCAPES.get(c, c) if ord(c) < 256 else f"U+{ord(c):04X}"


LETTERS = {"ℓ": r"\ell", "ℒ": r"\mathcal{L}"}
ACCENTS = {"hat": (r"\hat", r"\widehat"), "tilde": (r"\tilde", r"\widetilde")}


def word(name: str) -> str:
    """A name in math mode: a letter, a Greek letter, a letter with a number below it (``o2``), or upright text."""
    if name in GREEK:
        return "\\" + name
    for latin, greek in GREEK.items():
        if name == greek:
            return "\\" + latin
    if name in LETTERS:
        return LETTERS[name]
    if len(name) == 1 and name.isascii() and name.isalpha():
        return name
    if name.isascii() and name.replace("_", "").isalnum():
        return rf"\mathrm{{{escape(name)}}}"
    return rf"\text{{{escape(name)}}}"


def letter(name: str) -> str:
    """An index or a size: ``o2`` is an o with a 2 below it."""
    numbered = re.fullmatch(r"([^\W\d_])_?(\d+)", name)
    return f"{word(numbered[1])}_{{{numbered[2]}}}" if numbered else word(name)


def render(node: L.Node, tight: bool = False) -> str:
    """The LaTeX of a layout tree; ``tight`` leaves out thin spaces, as in a subscript."""
    return _TABLE[type(node)](node, tight)


def fence(body: L.Node, kind: str = "round", tight: bool = False) -> str:
    left, right = FENCES[kind]
    if L.tall(body) and not tight:
        left, right = rf"\left{left.strip()} ", rf" \right{right.strip()}"
    return f"{left}{render(body, tight)}{right}"


def _wrapped(node: L.Node, least: int, tight: bool = False) -> str:
    return render(node, tight) if node.prec >= least else fence(node, tight=tight)


def name_latex(name: L.Name, extra: str = "", below: str = "") -> str:
    """A tensor's symbol with everything that stands above and below it."""
    base = word(name.base)
    if name.accent:
        base = rf"{ACCENTS[name.accent][not is_narrow(name.base)]}{{{base}}}"
    if name.mark == "bar":
        base = rf"\overline{{{base}}}"  # as wide as the letter: \bar h would read as Planck's constant
    elif name.mark == "d":
        base = rf"\mathrm{{d}}{'' if is_narrow(name.base) else chr(92) + ','}{base}"
    label = _label(name.label)
    over = label + extra
    return base + (f"_{{{below}}}" if below else "") + (f"^{{{over}}}" if over else "")


def _label(label: str) -> str:
    """``(1)``, ``(1b)`` for the parts of a layer, ``K(1)``, or a word."""
    return "".join(f"({w})" if w[:1].isdigit() else word(w) for w in label.split())


def _subscript(idx: Sequence[L.Node]) -> str:
    simple = all(
        isinstance(i, L.Letter) and L.is_one_letter(i.name) or isinstance(i, L.Num) and len(i.text) == 1 for i in idx
    )
    return ("" if simple else ",").join(render(i, True) for i in idx)


def _sum(node: L.Sum, tight: bool) -> str:
    out: list[str] = []
    for n, (sign, item) in enumerate(node.items):
        loose = L.is_loose(node.items, n)
        text = fence(item, tight=tight) if loose else render(item, tight)
        space = "" if tight else " "
        out.append(f"{'-' if sign < 0 else '+'}{space}{text}" if out else f"{'-' if sign < 0 else ''}{text}")
    return ("" if tight else " ").join(out)


def _product(node: L.Product, tight: bool) -> str:
    if node.op:
        glue = {"odot": r" \odot ", "otimes": r" \otimes ", "mod": r" \bmod "}[node.op]
        return glue.join(fence(n) if isinstance(n, L.Product) else _wrapped(n, L.MUL) for n in node.items)
    out = []
    for n, item in enumerate(node.items):
        least = L.BIG if n == len(node.items) - 1 else L.MUL
        elementwise = isinstance(item, L.Product) and item.op
        out.append(fence(item) if elementwise else _wrapped(item, least, tight))
    glue = "" if tight and all(isinstance(i, (L.Num, L.Letter)) for i in node.items) else r" \, "
    text = out[0]
    for before, after, shown in zip(node.items, node.items[1:], out[1:], strict=False):
        both_numbers = isinstance(before, L.Num) and isinstance(after, L.Num)
        text += (r" \cdot " if both_numbers else " " if isinstance(after, L.Big) else glue) + shown
    return text


def _power(node: L.Power, tight: bool) -> str:
    exponent = exponent_text(node.exponent) or render(node.exponent, True)
    base = node.base
    labelled = isinstance(base, L.Name) and base.label or isinstance(base, L.Element) and base.name.label
    if labelled or isinstance(base, (L.Exp, L.Partial)) or base.prec < L.ATOM:
        return f"{fence(base, tight=tight)}^{{{exponent}}}"
    return f"{render(base, tight)}^{{{exponent}}}"


def exponent_text(node: L.Node) -> str:
    """``3/2`` for a fraction of numbers in an exponent, where a bar would be too small; else nothing."""
    if isinstance(node, L.Fraction) and isinstance(node.num, L.Num) and isinstance(node.den, L.Num):
        return f"{node.num.text}/{node.den.text}"
    return ""


def _exp(node: L.Exp, tight: bool) -> str:
    if L.width(node.arg) <= 15 and not L.tall(node.arg):
        return f"e^{{{render(node.arg, True)}}}"
    return r"\exp" + fence(node.arg, tight=tight)


def _apply(node: L.Apply, tight: bool) -> str:
    body = ", ".join(render(a, tight) for a in node.args)
    grow = any(L.tall(a) for a in node.args) and not tight
    return (COMMANDS.get(node.fn) or _unknown(node.fn)) + (rf"\left( {body} \right)" if grow else f"({body})")


def _unknown(called: str) -> str:
    """An unknown function with its primes."""
    name = called.partition("'")[0].partition("^")[0]
    order = called[len(name) :].replace("^(", "^{(").replace(")", ")}")
    return (letter(name) if len(name) == 1 or name in GREEK else rf"\operatorname{{{name}}}") + order


def _logic(node: L.Logic, tight: bool) -> str:
    if node.op == "not":
        return rf"\lnot ({render(node.items[0], tight)})"
    glue = {"and": r" \wedge ", "or": r" \vee "}[node.op]
    return glue.join(fence(i) if isinstance(i, L.Logic) and i.op != node.op else render(i, tight) for i in node.items)


def _relation(node: L.Relation, tight: bool) -> str:
    out = render(node.parts[0], tight)
    for op, part in zip(node.ops, node.parts[1:], strict=True):
        out += f" {SYMBOLS[op]} {render(part, tight)}"
    return out


def _big(node: L.Big, tight: bool) -> str:
    under = ",".join(render(i, True) for i in node.letters)
    if len(node.conditions) > 1:
        lines = r" \\ ".join([under] + [render(c, True) for c in node.conditions])
        under = rf"\substack{{{lines}}}"
    elif node.conditions:
        under += r" \,:\, " + render(node.conditions[0], True)
    return f"{BIG[node.op]}_{{{under}}} {_wrapped(node.body, L.BIG)}"


def _cases(node: L.Cases, tight: bool) -> str:
    rows = [
        f"{render(v)} & " + (r"\text{otherwise}" if c is None else r"\text{if } " + render(c)) for v, c in node.rows
    ]
    return r"\begin{cases} " + r" \\ ".join(rows) + r" \end{cases}"


def _number(node: L.Num, tight: bool) -> str:
    if node.text == "infinity":
        return r"\infty"
    mantissa, _, exponent = node.text.partition("e")
    if not exponent:
        return node.text
    return f"10^{{{int(exponent)}}}" if mantissa == "1" else rf"{mantissa} \cdot 10^{{{int(exponent)}}}"


def _transposed(node: L.Transposed, tight: bool) -> str:
    body = node.body
    if isinstance(body, L.Name):
        return name_latex(body, extra=r"\top")
    if isinstance(body, L.Element):
        return name_latex(body.name, extra=r"\top", below=_subscript(body.idx))
    return (render(body) if isinstance(body, L.Ones) else fence(body)) + r"^{\top}"


def _inverted(body: L.Node) -> str:
    if isinstance(body, L.Name):
        return name_latex(body, extra="-1")
    if isinstance(body, L.Element):
        return name_latex(body.name, extra="-1", below=_subscript(body.idx))
    if isinstance(body, L.Transposed) and isinstance(body.body, L.Name):
        return name_latex(body.body, extra=r"-\top")
    return fence(body) + "^{-1}"


def _array(node: L.Array, tight: bool) -> str:
    lines = [row.rows if isinstance(row, L.Array) else (row,) for row in node.rows]
    if not isinstance(node.rows[0], L.Array):
        return r"\begin{pmatrix} " + " & ".join(render(r) for r in node.rows) + r" \end{pmatrix}"
    if not isinstance(lines[0][0], L.Array):
        rows = r" \\ ".join(" & ".join(render(v) for v in line) for line in lines)
        return rf"\begin{{pmatrix}} {rows} \end{{pmatrix}}"
    return r"\left[ " + r",\; ".join(render(r) for r in node.rows) + r" \right]"


# a drawing takes the class that it stands beside
_TABLE: Mapping[type[L.Node], Callable[[Any, bool], str]] = {
    L.Num: _number,
    L.Letter: lambda n, tight: letter(n.name) + "'" * n.primes,
    L.Member: lambda n, tight: rf"\mathrm{{{n.letter}}}",
    L.Flat: lambda n, tight: "(" + _subscript(n.letters) + ")",
    L.Name: lambda n, tight: name_latex(n),
    L.Element: lambda n, tight: name_latex(n.name, below=_subscript(n.idx)),
    L.Partial: lambda n, tight: rf"\frac{{\partial {render(n.of)}}}{{\partial {render(n.by)}}}",
    L.Slope: lambda n, tight: rf"\frac{{\partial {render(n.of)}}}{{\partial {render(n.by)}}}",
    L.Array: _array,
    L.Sum: _sum,
    L.Product: _product,
    L.Fraction: lambda n, tight: rf"\frac{{{render(n.num, tight)}}}{{{render(n.den, tight)}}}",
    L.Power: _power,
    L.Exp: _exp,
    L.Root: lambda n, tight: rf"\sqrt{{{render(n.arg, tight)}}}",
    L.Apply: _apply,
    L.Fence: lambda n, tight: fence(n.body, n.kind, tight),
    L.Relation: _relation,
    L.Logic: _logic,
    L.Big: _big,
    L.Cases: _cases,
    L.Transposed: _transposed,
    L.Inverted: lambda n, tight: _inverted(n.body),
    L.Entry: lambda n, tight: rf"\left( {render(n.matrix)} \right)_{{{_subscript(n.idx)}}}",
    L.Ones: lambda n, tight: r"\mathbf{1}",
    L.Words: lambda n, tight: rf"\text{{{escape(n.text)}}}",
}
