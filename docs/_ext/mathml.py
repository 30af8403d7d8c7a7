"""Mathematics at build time: TeX becomes MathML, which browsers render with no script and no network.

A command that the converter does not know is a warning, and so an error of the build, never a backslash on the page.
"""

import html
import re
from xml.etree import ElementTree

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

ElementTree.register_namespace("", "http://www.w3.org/1998/Math/MathML")
logger = logging.getLogger(__name__)
_REWRITES = (
    (re.compile(r"\\(?:tfrac|dfrac)\b"), r"\\frac"),
    (re.compile(r"\\(?:displaystyle|textstyle|nonumber|notag)\b"), ""),
    (re.compile(r"\\mathrm\{(\w)\}"), r"\\text{\1}"),  # one upright letter: the converter would slant it
    (re.compile(r"\\mathbf\{1\}"), "\U0001d7cf"),  # browsers read no mathvariant but normal
    (re.compile(r"\\cr\b ?"), r"\\\\"),
    (re.compile(r"\\label\{[^}]*\}"), ""),
    (re.compile(r"\\(begin|end)\{(?:aligned|align|gather|equation)\*?\}"), r"\\\1{align*}"),
)
_TAG = re.compile(r"\\tag\{((?:[^{}]|\{[^{}]*\})*)\}")
_MAX = re.compile(r"\\(max|min|argmax)_\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_NAME = "{http://www.w3.org/1998/Math/MathML}"
_MTABLE = f"{_NAME}mtable"
_UNKNOWN = re.compile(r">\s*(\\[A-Za-z]+)\s*<")


def to_mathml(tex: str, display: str, where=None) -> str:
    """One formula as a ``<math>`` element."""
    for pattern, to in _REWRITES:
        tex = pattern.sub(to, tex)
    if display == "block":
        tex = _MAX.sub(r"\\underset{\2}{\\\1}", tex)
    tags = [_TAG.findall(row) for row in _rows(tex)]
    tex = _TAG.sub("", tex).strip()
    try:
        made = _numbered(convert(tex, display=display), tags)
    except Exception as error:  # the converter raises many kinds; each is a formula to mend
        logger.warning("mathematics %r: %s: %s", tex, type(error).__name__, error, location=where)
        return f"<code>{html.escape(tex)}</code>"
    unknown = _UNKNOWN.search(made)
    if unknown:
        logger.warning("mathematics %r: unknown command %s", tex, unknown.group(1), location=where)
    return made


def _rows(tex: str) -> list[str]:
    """The lines of a display; those of what is nested in it (a matrix, a stack under a sum) are not its own."""
    depth, rows = 0, [""]
    for token in re.split(r"(\\begin\{\w+\*?\}|\\end\{\w+\*?\}|[{}]|\\\\)", tex):
        if token == r"\\" and depth == 1:
            rows.append("")
            continue
        depth += (token.startswith(r"\begin") or token == "{") - (token.startswith(r"\end") or token == "}")
        rows[-1] += token
    return rows


def _numbered(made: str, tags: list[list[str]]) -> str:
    """Alignment by classes, which every browser reads, and the numbers in a column of their own at the right."""
    if "<mtable" not in made or not made.startswith("<math"):
        return made
    root = ElementTree.fromstring(made)
    table = root.find(f".//{_MTABLE}")
    rows = list(table)
    wide = max(len(row) for row in rows)
    aligned = any(cell.get("columnalign") for row in rows for cell in row)
    if not aligned or root.get("display") != "block":
        return made
    for cell in table.iter(f"{_NAME}mtd"):
        if cell.get("columnalign"):
            cell.set("class", cell.get("columnalign"))
    if len(tags) == len(rows) and any(tags):
        root.set("class", "numbered")
        for row, found in zip(rows, tags, strict=True):
            for _ in range(wide - len(row)):
                ElementTree.SubElement(row, f"{_NAME}mtd")
            ElementTree.SubElement(
                ElementTree.SubElement(row, f"{_NAME}mtd", {"class": "number"}), f"{_NAME}mtext"
            ).text = f"({found[0]})" if found else ""
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def visit_inline(self, node):
    self.body.append(f'<span class="math">{to_mathml(node.astext(), "inline", node)}</span>')
    raise nodes.SkipNode


def visit_block(self, node):
    number = f'<span class="eqno">({node["number"]})</span>' if node.get("number") else ""
    anchor = f' id="equation-{nodes.make_id(node["label"])}"' if node.get("label") else ""
    self.body.append(f'<div class="math"{anchor}>{number}{to_mathml(node.astext(), "block", node)}</div>\n')
    raise nodes.SkipNode


def setup(app):
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.add_css_file("mathml.css")
    return {"version": "1", "parallel_read_safe": True}
