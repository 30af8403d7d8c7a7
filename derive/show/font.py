"""The mathematical font that documents bring along: a subset of TeX Gyre Pagella Math, made by ``docs/math_font.py``."""

from __future__ import annotations

import base64
import sys
from functools import cache
from importlib.resources import files

FAMILY = "Derive Math"
FILE = "math.woff2"


def font_bytes() -> bytes:
    """The font as WOFF2, for a page that serves it as a file of its own."""
    return files("derive.show").joinpath(FILE).read_bytes()


@cache
def font_face() -> str:
    """A CSS rule ``@font-face`` that holds the whole font, so that a page looks alike on a machine without fonts.

    Its family is :data:`FAMILY`; ``math { font-family: "Derive Math", math; }`` makes formulas use it.
    """
    data = base64.b64encode(font_bytes()).decode("ascii")
    return (
        f'@font-face {{ font-family: "{FAMILY}"; font-display: block; '
        f'src: url("data:font/woff2;base64,{data}") format("woff2"); }}'
    )


_embedded: list[object] = []  # the cell of the running notebook that carries the font


def notebook_font() -> str:
    """The same rule in the first cell of a notebook that shows a formula, again when that cell is run again, else nothing.

    A notebook keeps what its cells have written, so the font would otherwise be saved in it once per formula.
    """
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is None:
        return ""
    metadata = getattr(shell, "parent_header", {}).get("metadata", {}) if hasattr(shell, "parent_header") else {}
    cell = metadata.get("cellId", shell.execution_count)
    if not _embedded:
        _embedded.append(cell)
    return font_face() if _embedded[0] == cell else ""
