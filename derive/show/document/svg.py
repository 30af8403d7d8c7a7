"""The network as inline SVG; colours come from the page, so that it follows dark mode and print.

A network that is wider than a page is drawn in bands, one below the other; an arrow from one band to a later one runs
through the gutter between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from derive.show.formulas.mathml import clean
from derive.show.formulas.names import GREEK

from .graph import Box, Graph

ROW, HEIGHT, EDGE, GAP = 58, 38, 14, 40
LEAST, MOST = 64, 190  # the width of a box
PAGE = 840  # the width of a band
LETTER, SMALL = 8.2, 6.8  # about how wide a character of a name and of a shape is
GUTTER = 34  # between two bands
ACCENTS = {"hat": "\u0302", "tilde": "\u0303"}


@dataclass(frozen=True)
class _Sheet:
    """Where every column stands: its left edge and width within a band, and the band's upper edge."""

    graph: Graph
    left: Mapping[int, float]
    width: Mapping[int, float]
    band: Mapping[int, int]
    top: Mapping[int, float]
    first: Mapping[int, float]  # the lowest row number of a band
    size: tuple[float, float]

    def corner(self, box: Box) -> tuple[float, float]:
        band = self.band[box.column]
        return self.left[box.column], self.top[band] + (box.row - self.first[band]) * ROW

    def wide(self, box: Box) -> float:
        return self.width[box.column]


def svg(graph: Graph) -> str:
    """The drawing; boxes are tensors, arrows run from what is read to its reader."""
    if not graph.boxes:
        return ""
    sheet = _sheet(graph)
    place = {b.name: b for b in graph.boxes}
    parts = [_arrow(place[a], place[b], sheet) for a, b in graph.arrows]
    parts += [_loop(place[n], sheet) for n in graph.loops]
    parts += [_box(b, sheet) for b in graph.boxes]
    label = "Who reads whom: " + "; ".join(
        f"{b.name} reads {', '.join(graph.sources(b.name))}" for b in graph.boxes if graph.sources(b.name)
    )
    wide, high = map(_n, sheet.size)
    return (
        f'<svg class="network" viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" role="img" '
        f'aria-label="{clean(label)}"><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,1 L7,4 L0,7 z" class="tip"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _sheet(graph: Graph) -> _Sheet:
    columns = sorted({b.column for b in graph.boxes})
    width = {c: max(_width(b) for b in graph.boxes if b.column == c) for c in columns}
    left: dict[int, float] = {}
    band: dict[int, int] = {}
    x, n, widest = float(EDGE), 0, 0.0
    for c in columns:
        if x + width[c] > PAGE and x > EDGE:
            x, n = float(EDGE), n + 1
        left[c], band[c] = x, n
        widest = max(widest, x + width[c])
        x += width[c] + GAP
    top: dict[int, float] = {}
    first: dict[int, float] = {}
    y = EDGE + 14.0
    for k in range(n + 1):
        rows = [b.row for b in graph.boxes if band[b.column] == k]
        top[k], first[k] = y, min(rows)
        y += (max(rows) - min(rows)) * ROW + HEIGHT + GUTTER
    return _Sheet(graph, left, width, band, top, first, (widest + EDGE + (16 if n else 0), y - GUTTER + EDGE + 10))


def _width(box: Box) -> float:
    name = box.symbol
    letters = (len(name.base) if name.base not in GREEK else 1) + 0.7 * len(name.label) + 1 if name else len(box.name)
    return min(MOST, max(LEAST, 16 + max(LETTER * letters, SMALL * len(_shape(box)))))


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _shape(box: Box) -> str:
    """The shape as it is read: ``⌊H/2⌋`` for ``floor(H/2)``."""
    out, depth = "", 0
    inside: list[int] = []
    for c in box.shape.replace("floor(", "⌊"):
        if c == "⌊":
            inside.append(depth)
            depth += 1
        elif c == "(":
            depth += 1
        elif c == ")":
            depth -= 1
            if inside and inside[-1] == depth:
                inside.pop()
                c = "⌋"
        out += c
    return out.replace("*", "·").replace(" - ", "−").replace(" + ", "+")


def _box(box: Box, sheet: _Sheet) -> str:
    (x, y), wide = sheet.corner(box), sheet.wide(box)
    shape = _cut(_shape(box), int((wide - 8) / SMALL))
    kind = box.kind if box.kind in ("parameter", "data", "random", "state", "constant", "computed") else "computed"
    return (
        f'<g class="{kind}"><title>{clean(box.name)}, {clean(box.shape)}</title>'
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(wide)}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{_n(x + wide / 2)}" y="{_n(y + 17)}" class="name">{_name(box, int((wide - 8) / LETTER))}</text>'
        f'<text x="{_n(x + wide / 2)}" y="{_n(y + 31)}" class="shape">{clean(shape)}</text></g>'
    )


def _name(box: Box, most: int) -> str:
    """The symbol as formulas have it: a slanted letter, its accent, and what is raised beside it."""
    s = box.symbol
    if s is None:
        return clean(_cut(box.name, most))
    base = GREEK.get(s.base, s.base)
    shown = clean(_cut(base, most) + ACCENTS.get(s.accent, ""))
    label = " ".join(f"({w})" if w[:1].isdigit() else w for w in s.label.split())
    raised = f'<tspan class="label" dx="1.5" dy="-5">{clean(label)}</tspan>' if label else ""
    return (f'<tspan class="letter">{shown}</tspan>' if len(base) == 1 else shown) + raised


def _cut(text: str, most: int) -> str:
    """What fits into a box; the whole is its title."""
    return text if len(text) <= most else text[: max(1, most - 1)] + "…"


def _arrow(a: Box, b: Box, sheet: _Sheet) -> str:
    (x1, y1), (x2, y2) = sheet.corner(a), sheet.corner(b)
    x1, y1, y2 = x1 + sheet.wide(a), y1 + HEIGHT / 2, y2 + HEIGHT / 2 + _spread(a, b, sheet.graph)
    if sheet.band[a.column] != sheet.band[b.column]:
        last = sheet.top[sheet.band[b.column]] - GUTTER / 2 - 6
        path = _around(x1, y1, x2, y2, sheet.top[sheet.band[a.column] + 1] - GUTTER / 2 - 6, last)
    elif _blocked(a, b, sheet.graph):  # around the boxes between, by the shorter way
        between = [c.row for c in sheet.graph.boxes if a.column < c.column < b.column]
        above, below = min(between) - 0.55, max(between) + 0.55
        way = above if a.row + b.row - 2 * above <= 2 * below - a.row - b.row else below
        y = sheet.top[sheet.band[a.column]] + (way - sheet.first[sheet.band[a.column]]) * ROW + HEIGHT / 2
        path = (
            f"M{_n(x1)},{_n(y1)} C{_n(x1 + 26)},{_n(y1)} {_n(x1 + 14)},{_n(y)} {_n(x1 + 52)},{_n(y)} "
            f"L{_n(x2 - 52)},{_n(y)} "
            f"C{_n(x2 - 14)},{_n(y)} {_n(x2 - 26)},{_n(y2)} {_n(x2)},{_n(y2)}"
        )
    else:
        bend = max(20.0, (x2 - x1) / 2)
        path = f"M{_n(x1)},{_n(y1)} C{_n(x1 + bend)},{_n(y1)} {_n(x2 - bend)},{_n(y2)} {_n(x2)},{_n(y2)}"
    return f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>'


def _around(x1: float, y1: float, x2: float, y2: float, gutter: float, last: float) -> str:
    """From the end of one band through the gutter below it, along the margin, to the beginning of a later one."""
    corners = [(x1 + 15, y1), (x1 + 15, gutter)]
    corners += [(4.0, gutter), (4.0, last)] if last != gutter else []
    corners += [(x2 - 10, last), (x2 - 10, y2)]
    path, before = f"M{_n(x1)},{_n(y1)}", (x1, y1)
    for n, (x, y) in enumerate(corners):
        after = corners[n + 1] if n + 1 < len(corners) else (x2, y2)
        (ax, ay), (bx, by) = (_toward((x, y), p) for p in (before, after))
        path += f" L{_n(ax)},{_n(ay)} Q{_n(x)},{_n(y)} {_n(bx)},{_n(by)}"
        before = (x, y)
    return f"{path} L{_n(x2)},{_n(y2)}"


def _toward(corner: tuple[float, float], other: tuple[float, float], most: float = 6.0) -> tuple[float, float]:
    """A little way from a corner to the next, where its rounding begins."""
    (x, y), (u, v) = corner, other
    far = abs(u - x) + abs(v - y)
    part = min(most, far / 2) / far if far else 0.0
    return x + (u - x) * part, y + (v - y) * part


def _spread(a: Box, b: Box, graph: Graph) -> float:
    """Arrows into one box end a little apart, in the order they come from."""
    sources = sorted(graph.sources(b.name), key=lambda n: (graph.box(n).row, graph.box(n).column, n))
    return (sources.index(a.name) - (len(sources) - 1) / 2) * min(8.0, 28.0 / max(1, len(sources)))


def _blocked(a: Box, b: Box, graph: Graph) -> bool:
    """Whether a straight arrow would run through a box between."""
    for c in graph.boxes:
        if a.column < c.column < b.column:
            at = a.row + (b.row - a.row) * (c.column - a.column) / (b.column - a.column)
            if abs(at - c.row) < 0.6:
                return True
    return False


def _loop(box: Box, sheet: _Sheet) -> str:
    (x, y), wide = sheet.corner(box), sheet.wide(box)
    return (
        f'<path class="arrow" d="M{_n(x + wide - 14)},{_n(y)} '
        f"C{_n(x + wide - 6)},{_n(y - 24)} {_n(x + 6)},{_n(y - 24)} "
        f'{_n(x + 14)},{_n(y)}" marker-end="url(#tip)"/>'
    )
