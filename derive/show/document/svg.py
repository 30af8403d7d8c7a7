"""The network as inline SVG; colours come from the page, so that it follows dark mode and print."""

from __future__ import annotations

from derive.show.formulas.mathml import clean

from .graph import Box, Graph

COLUMN, ROW, HEIGHT, EDGE = 132, 58, 38, 14
WIDTH = 92


def svg(graph: Graph) -> str:
    """The drawing; boxes are tensors, arrows run from what is read to its reader."""
    if not graph.boxes:
        return ""
    columns = 1 + max(b.column for b in graph.boxes)
    rows = 1 + max(b.row for b in graph.boxes)
    wide, high = columns * COLUMN - (COLUMN - WIDTH) + 2 * EDGE, rows * ROW - (ROW - HEIGHT) + 2 * EDGE + 24
    place = {b.name: b for b in graph.boxes}
    parts = [_arrow(place[a], place[b], graph) for a, b in graph.arrows]
    parts += [_loop(place[n]) for n in graph.loops]
    parts += [_box(b) for b in graph.boxes]
    fit = ' style="max-width:100%;height:auto"' if columns <= 9 else ""  # longer ones scroll
    label = "Who reads whom: " + "; ".join(
        f"{b.name} reads {', '.join(graph.sources(b.name))}" for b in graph.boxes if graph.sources(b.name)
    )
    return (
        f'<svg class="network" viewBox="0 0 {wide} {_n(high)}" width="{wide}" height="{_n(high)}" role="img" '
        f'aria-label="{clean(label)}"{fit}><defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        f'markerHeight="7" orient="auto"><path d="M0,1 L7,4 L0,7 z" class="tip"/></marker></defs>'
        f"{''.join(parts)}</svg>"
    )


def _n(value: float) -> str:
    return f"{value:.1f}".rstrip("0").rstrip(".")


def _corner(box: Box) -> tuple[float, float]:
    return EDGE + box.column * COLUMN, EDGE + 14 + box.row * ROW


def _box(box: Box) -> str:
    x, y = _corner(box)
    name, shape = _cut(box.name, 13), _cut(box.shape, 17)
    kind = box.kind if box.kind in ("parameter", "data", "random", "state", "constant", "computed") else "computed"
    return (
        f'<g class="{kind}"><title>{clean(box.name)}, {clean(box.shape)}</title>'
        f'<rect x="{_n(x)}" y="{_n(y)}" width="{WIDTH}" height="{HEIGHT}" rx="6"/>'
        f'<text x="{_n(x + WIDTH / 2)}" y="{_n(y + 16)}" class="name">{clean(name)}</text>'
        f'<text x="{_n(x + WIDTH / 2)}" y="{_n(y + 30)}" class="shape">{clean(shape)}</text></g>'
    )


def _cut(text: str, most: int) -> str:
    """What fits into a box; the whole is its title."""
    return text if len(text) <= most else text[: most - 1] + "…"


def _arrow(a: Box, b: Box, graph: Graph) -> str:
    (x1, y1), (x2, y2) = _corner(a), _corner(b)
    x1, y1, y2 = x1 + WIDTH, y1 + HEIGHT / 2, y2 + HEIGHT / 2 + _spread(a, b, graph)
    between = [c.row for c in graph.boxes if a.column < c.column < b.column]
    if _blocked(a, b, graph):  # around the boxes between, by the shorter way
        above, below = min(between) - 0.55, max(between) + 0.55
        way = above if a.row + b.row - 2 * above <= 2 * below - a.row - b.row else below
        y = EDGE + 14 + way * ROW + HEIGHT / 2
        path = (
            f"M{_n(x1)},{_n(y1)} C{_n(x1 + 26)},{_n(y1)} {_n(x1 + 14)},{_n(y)} {_n(x1 + 52)},{_n(y)} "
            f"L{_n(x2 - 52)},{_n(y)} "
            f"C{_n(x2 - 14)},{_n(y)} {_n(x2 - 26)},{_n(y2)} {_n(x2)},{_n(y2)}"
        )
    else:
        bend = max(20.0, (x2 - x1) / 2)
        path = f"M{_n(x1)},{_n(y1)} C{_n(x1 + bend)},{_n(y1)} {_n(x2 - bend)},{_n(y2)} {_n(x2)},{_n(y2)}"
    return f'<path class="arrow" d="{path}" marker-end="url(#tip)"/>'


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


def _loop(box: Box) -> str:
    x, y = _corner(box)
    return (
        f'<path class="arrow" d="M{_n(x + WIDTH - 18)},{_n(y)} '
        f"C{_n(x + WIDTH - 8)},{_n(y - 24)} {_n(x + 8)},{_n(y - 24)} "
        f'{_n(x + 18)},{_n(y)}" marker-end="url(#tip)"/>'
    )
