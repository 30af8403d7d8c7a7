"""Small arrays drawn as grids, for pages about windows: which cells meet in one element.

The drawings are SVG in the colour of the text around them, so that they follow a page's light and dark modes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from derive.show.formulas.mathml import clean

CELL, GAP, TOP = 46, 64, 34


@dataclass(frozen=True)
class Grid:
    """One array: its title, its cells' texts by row, and what is marked.

    Attributes
    ----------
    title : str
    cells : tuple of tuple of str
    marked : frozenset of (row, column)
        Cells that are filled.
    outside : frozenset of (row, column)
        Cells outside the array, drawn with dashes; what is read there is zero.
    sign : str
        What stands between this grid and the next, such as ``=``.
    """

    title: str
    cells: tuple[tuple[str, ...], ...]
    marked: frozenset[tuple[int, int]] = frozenset()
    outside: frozenset[tuple[int, int]] = frozenset()
    sign: str = ""


def drawing(grids: Sequence[Grid], label: str) -> str:
    """Grids side by side, as one SVG; ``label`` is what a screen reader says."""
    high = max(len(g.cells) for g in grids) * CELL
    at, parts = 8, []
    for g in grids:
        rows, columns = len(g.cells), len(g.cells[0])
        top = TOP + (high - rows * CELL) / 2
        parts.append(f'<text x="{at + columns * CELL / 2:g}" y="{top - 10:g}" class="title">{clean(g.title)}</text>')
        parts += [_cell(g, i, j, at + j * CELL, top + i * CELL) for i in range(rows) for j in range(columns)]
        at += columns * CELL
        if g.sign:
            parts.append(f'<text x="{at + GAP / 2:g}" y="{TOP + high / 2 + 7:g}" class="sign">{clean(g.sign)}</text>')
        at += GAP
    wide = at - GAP + 8
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide:g} {high + TOP + 8:g}" width="{wide:g}" '
        f'style="max-width:100%;height:auto" role="img" aria-label="{clean(label)}"><style>'
        f"text {{ fill: currentColor; text-anchor: middle; font: 14px sans-serif; }} .title {{ font-weight: 600; }} "
        f".sign {{ font-size: 22px; }} .small {{ font-size: 12px; }} "
        f"rect {{ stroke: currentColor; fill: none; stroke-opacity: .55; }} "
        f".marked {{ fill: currentColor; fill-opacity: .16; stroke-opacity: 1; stroke-width: 2; }} "
        f".outside {{ stroke-dasharray: 3 4; stroke-opacity: .35; }}</style>{''.join(parts)}</svg>"
    )


def _cell(g: Grid, i: int, j: int, x: float, y: float) -> str:
    kinds = " ".join(k for k, held in (("marked", (i, j) in g.marked), ("outside", (i, j) in g.outside)) if held)
    box = f'<rect x="{x:g}" y="{y:g}" width="{CELL}" height="{CELL}"' + (f' class="{kinds}"' if kinds else "") + "/>"
    text = clean(g.cells[i][j])
    return box + (f'<text x="{x + CELL / 2:g}" y="{y + CELL / 2 + 5:g}" class="small">{text}</text>' if text else "")


def window(
    image: tuple[int, int],
    kernel: tuple[int, int],
    at: tuple[int, int],
    stride: int = 1,
    dilation: int = 1,
    names: tuple[str, str, str] = ("x", "K", "y"),
) -> str:
    """The window of a convolution without padding over its image, for one element of the output.

    Parameters
    ----------
    image, kernel : tuple of int
        Rows and columns.
    at : tuple of int
        The element of the output.
    stride, dilation : int
    names : tuple of str
        Of the image, the kernel and the output.

    Returns
    -------
    str
        SVG.
    """
    x, K, y = names
    out = [(n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(image, kernel, strict=True)]
    met = {
        (stride * at[0] + dilation * r, stride * at[1] + dilation * s)
        for r in range(kernel[0])
        for s in range(kernel[1])
    }
    grids = [
        Grid(f"{x}: {image[0]} × {image[1]}", _named(x, *image), frozenset(met), sign="∗"),
        Grid(f"{K}: {kernel[0]} × {kernel[1]}", _named(K, *kernel), frozenset(_all(*kernel)), sign="="),
        Grid(f"{y}: {out[0]} × {out[1]}", _named(y, *out), frozenset({at})),
    ]
    return drawing(
        grids,
        f"{y} at row {at[0]}, column {at[1]} is the sum of {kernel[0] * kernel[1]} products of cells of "
        f"{x} under the window with cells of {K}",
    )


def full_correlation(
    image: tuple[int, int],
    kernel: tuple[int, int],
    at: tuple[int, int],
    names: tuple[str, str, str] = ("dy", "K", "dx"),
) -> str:
    """The gradient of the image, stride 1: the kernel turned by half a circle over the output's gradient with a border.

    The arguments are as in :func:`window`; ``at`` is an element of the image.
    """
    dy, K, dx = names
    out = [n - k + 1 for n, k in zip(image, kernel, strict=True)]
    rows, columns = out[0] + 2 * (kernel[0] - 1), out[1] + 2 * (kernel[1] - 1)
    border = {
        (i, j)
        for i, j in _all(rows, columns)
        if not (0 <= i - kernel[0] + 1 < out[0] and 0 <= j - kernel[1] + 1 < out[1])
    }
    cells = tuple(
        tuple("0" if (i, j) in border else f"{dy}{i - kernel[0] + 1}{j - kernel[1] + 1}" for j in range(columns))
        for i in range(rows)
    )
    turned = tuple(
        tuple(f"{K}{kernel[0] - 1 - r}{kernel[1] - 1 - s}" for s in range(kernel[1])) for r in range(kernel[0])
    )
    met = {(at[0] + r, at[1] + s) for r in range(kernel[0]) for s in range(kernel[1])}
    grids = [
        Grid(f"{dy} in a border of zeros", cells, frozenset(met), frozenset(border), "∗"),
        Grid(f"{K}, flipped", turned, frozenset(_all(*kernel)), sign="="),
        Grid(f"{dx}: {image[0]} × {image[1]}", _named(dx, *image), frozenset({at})),
    ]
    return drawing(
        grids,
        f"{dx} at row {at[0]}, column {at[1]} is the sum of the products of the flipped kernel with the "
        f"cells of {dy} under it; outside {dy} there are zeros",
    )


def _all(rows: int, columns: int) -> list[tuple[int, int]]:
    return [(i, j) for i in range(rows) for j in range(columns)]


def _named(name: str, rows: int, columns: int) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(f"{name}{i}{j}" for j in range(columns)) for i in range(rows))
