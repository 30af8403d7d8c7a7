"""A recurrence drawn step by step: the same equations side by side, time to the right, gradients back to the left."""

from __future__ import annotations

from derive.language.errors import DeriveError
from derive.program.program import Program
from derive.program.schedule import Scan, schedule
from derive.show.formulas.mathml import clean

WIDE, HIGH, BOX = 132, 74, (58, 34)


def unrolled(program: Program, steps: int = 4) -> str:
    """The first recurrence of a program, unrolled, as SVG.

    Columns are steps.  From below come the inputs that are read at each step; the state goes from column to column; above
    stand the values made from it at each step.  Dashed arrows are the way the gradient takes back: down from what was made,
    and from each state to the one before.

    Parameters
    ----------
    program : Program
        Such as ``d.source``.
    steps : int
        How many columns, at least 2.

    Returns
    -------
    str
        SVG in the colour of the text around it.

    Raises
    ------
    DeriveError
        For a program without a recurrence, or fewer than two steps.
    """
    scan = next((g for g in schedule(program) if isinstance(g, Scan)), None)
    if scan is None:
        raise DeriveError(
            f"unrolled: the program of {program.outputs[0].name if program.outputs else '?'} has no recurrence"
        )
    if steps < 2:
        raise DeriveError(f"unrolled: {steps} steps; a recurrence shows from 2")
    given, states, made = _roles(program, scan)
    rows = [*made[::-1], *states, *given]
    parts = [_defs()]
    for n, name in enumerate(rows):
        kind = "given" if name in given else "state" if name in states else "made"
        parts += [_box(k, n, name, kind) for k in range(steps)]
    top, bottom = len(made), len(made) + len(states)
    for k in range(steps):
        for name in given:
            parts.append(_arrow(_place(k, rows.index(name)), _place(k, bottom - 1), "up"))
        for n in range(top):
            parts.append(_arrow(_place(k, n + 1), _place(k, n), "up"))
            parts.append(_arrow(_place(k, n), _place(k, n + 1), "down"))
    for n in range(top, bottom):
        for k in range(steps - 1):
            a, b = _place(k, n), _place(k + 1, n)
            parts += [_arrow(a, b, "right"), _arrow(b, a, "left")]
    wide, high = steps * WIDE + 20, len(rows) * HIGH + 16
    label = f"{', '.join(states)} at each step read {', '.join(given) or 'nothing else'} and their own last values"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {wide} {high}" width="{wide}" '
        f'style="max-width:100%;height:auto" role="img" aria-label="{clean(label)}">{"".join(parts)}</svg>'
    )


def _roles(program: Program, scan: Scan) -> tuple[list[str], list[str], list[str]]:
    members = {e.name: e for e in scan.equations}
    states = sorted(
        {
            r.tensor.name
            for e in scan.equations
            for r in e.reads()
            if r.tensor.name in members and r.idx[scan.axis[r.tensor.name]] != e.idx[scan.axis[e.name]]
        }
    )
    steps = {e.idx[scan.axis[e.name]] for e in scan.equations}
    given = sorted(
        {
            r.tensor.name
            for e in scan.equations
            for r in e.reads()
            if r.tensor.name not in members and steps & r.free_symbols
        }
    )
    made: list[str] = []
    known = set(states)
    for e in program.equations:
        read = [r for r in e.reads() if r.tensor.name in known]
        own = e.tensor.definition is not None and e.name not in members  # not what a pass named on the way
        if own and any(i in e.idx and i.size in {t.size for t in steps} for r in read for i in r.idx):
            made.append(e.name)
            known.add(e.name)
    return given, states, made[:3]


def _place(column: int, row: int) -> tuple[float, float]:
    return 10 + column * WIDE + WIDE / 2, 8 + row * HIGH + HIGH / 2


def _box(column: int, row: int, name: str, kind: str) -> str:
    x, y = _place(column, row)
    t = f"t{column - 1:+d}".replace("t+0", "t")
    w, h = BOX
    round_ = 17 if kind == "state" else 4
    return (
        f'<rect class="{kind}" x="{x - w / 2:g}" y="{y - h / 2:g}" width="{w}" height="{h}" rx="{round_}"/>'
        f'<text x="{x:g}" y="{y + 5:g}">{clean(name)}<tspan class="sub" dy="4">{clean(t)}</tspan></text>'
    )


def _arrow(a: tuple[float, float], b: tuple[float, float], way: str) -> str:
    """From box a to box b; the two ways between the same boxes stand side by side."""
    w, h = BOX[0] / 2, BOX[1] / 2
    shift = 7
    if way == "right":
        line, kind = (a[0] + w, a[1] - shift, b[0] - w - 2, b[1] - shift), "forth"
    elif way == "left":
        line, kind = (a[0] - w, a[1] + shift, b[0] + w + 2, b[1] + shift), "back"
    elif way == "up":
        line, kind = (a[0] - shift, a[1] - h, b[0] - shift, b[1] + h + 2), "forth"
    else:
        line, kind = (a[0] + shift, a[1] + h, b[0] + shift, b[1] - h - 2), "back"
    x1, y1, x2, y2 = line
    return f'<line class="{kind}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" marker-end="url(#tip-{kind})"/>'


def _defs() -> str:
    heads = "".join(
        f'<marker id="tip-{k}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        f'orient="auto"><path d="M0,1 L7,4 L0,7 z" fill="{c}"/></marker>'
        for k, c in (("forth", "currentColor"), ("back", "#c8571b"))
    )
    return (
        f"<defs>{heads}</defs><style>text {{ fill: currentColor; text-anchor: middle; font: 15px sans-serif; }} "
        ".sub { font-size: 11px; } rect { fill: none; stroke: currentColor; stroke-opacity: .6; } "
        ".state { fill: currentColor; fill-opacity: .1; stroke-opacity: 1; } .forth { stroke: currentColor; } "
        ".back { stroke: #c8571b; stroke-dasharray: 5 4; }</style>"
    )
