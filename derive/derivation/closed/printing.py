"""Closed forms as text that the grammar of matrix formulas reads back, and as LaTeX."""

from __future__ import annotations

from derive.language.formulas.tree import APPLIED, Formula
from derive.language.functions import FUNCTIONS

SUM, PRODUCT, UNARY, POWER, ATOM = range(5)
LEVELS = {"+": SUM, "-": SUM, "neg": UNARY, "*": PRODUCT, "/": PRODUCT, ".*": PRODUCT, "./": PRODUCT}
TEX_CALLS = {
    "inv": None,
    "det": r"\det",
    "logdet": r"\log\det",
    "tr": r"\operatorname{tr}",
    "diag": r"\operatorname{diag}",
}
TEX_CALLS |= {"sum": r"\operatorname{sum}", "vec": r"\operatorname{vec}", "norm1": None, "norm2": None}
TEX_FUNCTIONS = {f.text[0]: f.latex for f in FUNCTIONS.values() if f.nargs == 1} | {"sqrt": r"\sqrt"}


def level(f: Formula) -> int:
    """How tightly a node binds."""
    if f.op in LEVELS:
        return LEVELS[f.op]
    return POWER if f.op in ("^", ".^") else ATOM


def plain(f: Formula) -> str:
    """The text: products by a space, none after a prime or a closing bracket."""
    if f.op in ("number", "name"):
        return f.text
    if f.op in ("+", "-"):
        return f"{plain(f.args[0])} {f.op} {_fenced(f.args[1], SUM + 1)}"
    if f.op == ">":
        return f"({_bare(f)})"
    if f.op == "neg":
        return f"-{_fenced(f.args[0], PRODUCT)}"
    if f.op == "*":
        return _juxtaposed(f)
    if f.op == "/":
        return f"{_fenced(f.args[0], PRODUCT)} / {_fenced(f.args[1], POWER)}"
    if f.op in (".*", "./"):
        return f"{_entrywise(f.args[0])} {f.op} {_fenced(f.args[1], POWER)}"
    if f.op in ("^", ".^"):
        return f"{_fenced(f.args[0], ATOM)}{f.op}{_fenced(f.args[1], ATOM)}"
    if f.op == "'":
        return f"{_fenced(f.args[0], ATOM)}'"
    if f.op == "norm2":
        return f"||{plain(f.args[0])}||"
    if f.op == "()":
        return f"({plain(f.args[0])})"
    return f"{f.text if f.op == APPLIED else f.op}({', '.join(map(_bare, f.args))})"


def _bare(f: Formula) -> str:
    """The text inside a bracket, where a comparison needs none of its own."""
    return f"{plain(f.args[0])} > {plain(f.args[1])}" if f.op == ">" else plain(f)


def _fenced(f: Formula, least: int) -> str:
    return plain(f) if level(f) >= least else f"({plain(f)})"


def _entrywise(f: Formula) -> str:
    return plain(f) if f.op in (".*", "./") or level(f) >= POWER else f"({plain(f)})"


def factors(f: Formula) -> list[Formula]:
    """The factors of nested products, in order."""
    return [x for a in f.args for x in factors(a)] if f.op == "*" else [f]


def _juxtaposed(f: Formula) -> str:
    shown = ""
    before: Formula | None = None
    for part in factors(f):
        text = f"({plain(part)})" if part.op == ".^" else _fenced(part, POWER)
        number = part.op == "/" and all(x.op == "number" for x in part.args)
        if not shown and number:
            shown = "/".join(x.text for x in part.args) + " "  # 1/2 x
            continue
        close = before is not None and (shown.endswith("'") or level(before) < POWER)
        shown += (
            ""
            if not shown or shown[-1] == " " or (close and not text[0].isdigit() and not text.startswith("|"))
            else " "
        ) + text
        before = part
    return shown


# -- LaTeX ------------------------------------------------------------------------------------------------------------


def tex(f: Formula) -> str:
    """The same as LaTeX, for a display."""
    if f.op == "number":
        return f.text
    if f.op == "name":
        return tex_name(f.text)
    if f.op in ("+", "-"):
        return f"{tex(f.args[0])} {f.op} {_tex_fenced(f.args[1], SUM + 1)}"
    if f.op == ">":
        return rf"\left[{tex(f.args[0])} > {tex(f.args[1])}\right]"
    if f.op == "neg":
        return f"-{_tex_fenced(f.args[0], PRODUCT)}"
    if f.op == "*":
        return r" \, ".join(tex(x) if x.op == "/" else _tex_fenced(x, POWER) for x in factors(f))
    if f.op == "/":
        return rf"\frac{{{tex(f.args[0])}}}{{{tex(f.args[1])}}}"
    if f.op in (".*", "./"):
        left = tex(f.args[0]) if f.args[0].op in (".*", "./") else _tex_fenced(f.args[0], POWER)
        sign = r"\odot" if f.op == ".*" else r"\oslash"
        return rf"{left} {sign} {_tex_fenced(f.args[1], POWER)}"
    if f.op in ("^", ".^"):
        mark = r"\odot " if f.op == ".^" else ""
        return f"{_tex_fenced(f.args[0], ATOM)}^{{{mark}{tex(f.args[1])}}}"
    if f.op == "'":
        if f.args[0].op == "inv":
            return rf"{_tex_fenced(f.args[0].args[0], ATOM)}^{{-\top}}"
        return rf"{_tex_fenced(f.args[0], ATOM)}^{{\top}}"
    return _tex_call(f)


def _tex_call(f: Formula) -> str:
    inside = ", ".join(map(tex, f.args))
    if f.op == "inv":
        return rf"{_tex_fenced(f.args[0], ATOM)}^{{-1}}"
    if f.op == "()":
        return rf"\left({inside}\right)"
    if f.op == "norm2":
        return rf"\lVert {inside} \rVert"
    if f.op == "abs":
        return rf"\lvert {inside} \rvert"
    if f.op == "sqrt":
        return rf"\sqrt{{{inside}}}"
    if f.op == "kron":
        return rf"{_tex_fenced(f.args[0], POWER)} \otimes {_tex_fenced(f.args[1], POWER)}"
    if f.op == "commutation":
        return f"K_{{{inside}}}"
    if f.op in ("eye", "vector", "matrix"):
        return {"eye": "I", "vector": r"\mathbf{1}", "matrix": r"\mathbf{1}\mathbf{1}^{\top}"}[f.op]
    if f.op == "size":
        return inside
    if f.op == APPLIED:
        name = f.text.partition("'")[0].partition("^")[0]
        order = f.text[len(name) :].replace("^(", "^{(").replace(")", ")}")
        return rf"{tex_name(name)}{order}\left({inside}\right)"
    name = TEX_CALLS.get(f.op) or TEX_FUNCTIONS.get(f.op) or rf"\operatorname{{{f.op}}}"
    return rf"{name}\left({inside}\right)"


def tex_name(name: str) -> str:
    """A letter as it is, a longer name upright."""
    greek = name.rstrip("_") in ("alpha", "beta", "gamma", "delta", "theta", "mu", "sigma", "rho", "tau", "phi", "psi")
    if greek or name in ("lam", "lambda_"):
        return "\\" + ("lambda" if name.startswith("lam") else name)
    upright = name.replace("_", r"\_")
    return name if len(name) == 1 else rf"\mathrm{{{upright}}}"


def _tex_fenced(f: Formula, least: int) -> str:
    bracketed = level(f) < least or (f.op == "kron" and least > SUM)
    return rf"\left({tex(f)}\right)" if bracketed else tex(f)
