"""Every equation of a derivation in matrix notation, one line each: ``dv.matrix_notation(d)``."""

from __future__ import annotations

from derive.language.errors import DeriveError
from derive.program.derived import Derived
from derive.show.formulas.matrix_notation import Notation

from . import latex, text
from .formulas import plaintext, tex


def matrix_notation(d: Derived, format: str = "text") -> str:
    """Every equation of a derivation in matrix notation, one line each; in index notation, and said, where there is none.

    Parameters
    ----------
    d : Derivation
    format : {"text", "latex"}

    Returns
    -------
    str
        Lines ``name = formula``; in LaTeX an ``align*`` environment.

    >>> import derive as dv
    >>> print(dv.matrix_notation(dv.derive_matrix("tr(X^2*B)", "X")))
    f  = tr(X B X)
    dX = B^T X^T + X^T B^T
    """
    if format not in ("text", "latex"):
        raise DeriveError(f"matrix_notation(format={format!r}): give 'text' or 'latex'")
    notation, ranks = Notation.of(d.program), ranks_of(d)
    forms = [(e, notation.equation(e, ranks.get(e.name))) for e in d.program.equations]
    if format == "latex":
        lines = [
            f"{tex.render(f[0])} &= {tex.render(f[1])}"
            if f
            else latex.equation_latex(e).replace("=", "&=", 1) + r" && \text{(index notation)}"
            for e, f in forms
        ]
        return "\\begin{align*}\n" + " \\\\\n".join(lines) + "\n\\end{align*}"
    pairs = [
        (plaintext.render(f[0]), plaintext.render(f[1])) if f else (*text.equation_text(e).split(" = ", 1),)
        for e, f in forms
    ]
    width = max((len(left) for (left, _), (_, f) in zip(pairs, forms, strict=True) if f), default=0)
    return "\n".join(
        f"{left:<{width}} = {right}" + ("" if f else "   (index notation: no matrix form)")
        for (left, right), (_, f) in zip(pairs, forms, strict=True)
    )


def ranks_of(d: Derived) -> dict[str, tuple[int, int]]:
    """How the axes of every Jacobian and Hessian of a derivation split: those of what is derived, and of by what."""
    found: dict[str, tuple[int, int]] = {}
    for group, value in d.results:
        if group == "hessian":
            by = {t.name: t.rank for t in d.wrt}
            found |= {t.name: (by[a], by[b]) for (a, b), t in value.items()}
        elif group == "jacobian":
            found |= {t.name: (d.loss.rank, t.rank - d.loss.rank) for t in value.values()}
    return found
