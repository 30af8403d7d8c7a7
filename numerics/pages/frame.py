"""The frame of the pages that ``derive docs`` writes, and their parts: tables, source with linked numbers.  No script."""

from __future__ import annotations

import io
import keyword
import re
import tokenize
from collections.abc import Container, Iterable
from html import escape
from string import Template

from derive.show.font import font_face
from derive.show.html import STYLE

PAGES = (
    ("index.html", "Overview"),
    ("definitions.html", "Definitions"),
    ("derivation.html", "Derivation"),
    ("source.html", "Source"),
    ("evidence.html", "Evidence"),
)

MORE = """
:root { color-scheme: light dark; }
body { margin: 0; background: #fff; }
nav { position: sticky; top: 0; z-index: 1; background: #ffffffee; border-bottom: 1px solid #d9dbe1;
  font: .95rem/1.4 system-ui, "Segoe UI", sans-serif; }
nav div { max-width: 56rem; margin: 0 auto; padding: .7rem 1.2rem; display: flex; gap: 1.3rem; flex-wrap: wrap; }
nav b { margin-right: auto; color: #1c1d22; } nav a { color: #2b5fab; text-decoration: none; }
nav a.here { color: #1c1d22; border-bottom: 2px solid #2b5fab; }
.derivation .verdict { display: inline-block; padding: .15rem .8rem; border-radius: 1rem; border: 1px solid;
  font: .92rem/1.5 system-ui, sans-serif; }
.derivation .verdict.ok { color: var(--good); } .derivation .verdict.wrong { color: var(--bad); }
.derivation .cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: .9rem; margin: 1.2rem 0; }
.derivation .cards a { display: block; padding: .8rem 1rem; border: 1px solid var(--line); border-radius: 8px;
  color: var(--ink); background: var(--wash); }
.derivation .cards b { color: var(--accent); } .derivation .cards span { display: block; color: var(--soft);
  font-size: .93rem; line-height: 1.45; }
.derivation pre { background: var(--wash); border: 1px solid var(--line); border-radius: 6px; padding: .8rem 1rem;
  overflow-x: auto; font: .82rem/1.5 ui-monospace, "DejaVu Sans Mono", monospace; tab-size: 4; }
.derivation pre .k { color: var(--accent); font-weight: 600; } .derivation pre .s { color: #7a5c00; }
.derivation pre .c { color: var(--soft); font-style: italic; } .derivation pre a { font-style: normal; }
.derivation table.data { font-variant-numeric: tabular-nums; } .derivation .wide { overflow-x: auto; }
.derivation .eqs tr:target, .derivation tr:target { background: #fff3c4; }
.derivation td.ok { color: var(--good); } .derivation td.wrong { color: var(--bad); font-weight: 600; }
@media (prefers-color-scheme: dark) { body { background: #17181c; } nav { background: #17181cee; border-color: #3a3d46; }
  nav b, nav a.here { color: #e7e7ea; } nav a { color: #86b1f0; } .derivation pre .s { color: #d6b656; }
  .derivation .eqs tr:target, .derivation tr:target { background: #4a4220; } }
@media print { nav { display: none; } }
"""

_PAGE = Template("""<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>$style</style></head><body>
<nav><div><b>$name</b>$links</div></nav>
<article class="derivation">
$body
</article>
</body></html>
""")


def page(name: str, file: str, body: str) -> str:
    """A page of the folder: the bar at the top says where one is."""
    links = "".join(f'<a href="{to}"{" class=here" if to == file else ""}>{label}</a>' for to, label in PAGES)
    label = dict(PAGES)[file]
    return _PAGE.substitute(
        title=escape(name if file == "index.html" else f"{name}: {label.lower()}"),
        style=font_face() + STYLE + MORE,
        name=escape(name),
        links=links,
        body=body,
    )


def table(header: Iterable[str], rows: Iterable[Iterable[object]], verdict: int | None = None) -> str:
    """A table; the cells of the column ``verdict`` are coloured."""
    head = "".join(f"<th>{escape(h)}</th>" for h in header)
    body = "".join("<tr>" + "".join(_cell(c, n == verdict) for n, c in enumerate(row)) + "</tr>" for row in rows)
    return f'<div class="wide"><table class="data"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _cell(text: object, coloured: bool) -> str:
    text = str(text)
    mark = ""
    if coloured:
        mark = ' class="ok"' if text.startswith(("ok", "proved", "convention")) else ' class="wrong"'
    return f"<td{mark}>{escape(text)}</td>"


def cards(items: Iterable[tuple[str, str, str]]) -> str:
    """Links with a sentence each: ``(file, title, sentence)``."""
    return (
        '<div class="cards">'
        + "".join(
            f'<a href="{escape(to, quote=True)}"><b>{escape(title)}</b><span>{escape(said)}</span></a>'
            for to, title, said in items
        )
        + "</div>"
    )


def source(text: str, target: str = "derivation.html", known: Container[int] = frozenset()) -> str:
    """A module with keywords, strings and comments marked; the numbers of equations lead to their derivation."""
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    out, at = [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = _kind(token)
        if kind is None:
            continue
        begin, end = (starts[row - 1] + column for row, column in (token.start, token.end))
        out += [
            escape(text[at:begin]),
            f'<span class="{kind}">',
            _linked(text[begin:end], target, known, kind),
            "</span>",
        ]
        at = end
    return "<pre>" + "".join(out) + escape(text[at:]) + "</pre>"


def _kind(token: tokenize.TokenInfo) -> str | None:
    if token.type == tokenize.COMMENT:
        return "c"
    if token.type == tokenize.STRING:
        return "s"
    return "k" if token.type == tokenize.NAME and keyword.iskeyword(token.string) else None


def _linked(text: str, target: str, known: Container[int], kind: str) -> str:
    if kind == "k":
        return escape(text)
    pieces, at = [], 0
    for m in re.finditer(r"\((\d+)\)", text):
        if int(m[1]) in known:
            pieces += [escape(text[at : m.start()]), f'<a href="{target}#eq-{m[1]}">({m[1]})</a>']
            at = m.end()
    return "".join(pieces) + escape(text[at:])
