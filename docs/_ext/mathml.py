"""Mathematics at build time: TeX becomes MathML, which browsers render with no script and no network.

A command that the converter does not know is a warning, and so an error of the build, never a backslash on the page.
"""

import html
import re

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.util import logging

logger = logging.getLogger(__name__)
_REWRITES = (
    (re.compile(r"\\(?:tfrac|dfrac)\b"), r"\\frac"),
    (re.compile(r"\\(?:displaystyle|textstyle|nonumber|notag)\b"), ""),
    (re.compile(r"\\mathrm\{(\w)\}"), r"\\text{\1}"),  # one upright letter: the converter would slant it
    (re.compile(r"\\cr\b ?"), r"\\\\"),
    (re.compile(r"\\label\{[^}]*\}"), ""),
    (re.compile(r"\\(begin|end)\{(?:aligned|align|gather|equation)\*?\}"), r"\\\1{align*}"),
)
_TAG = re.compile(r"\\tag\{((?:[^{}]|\{[^{}]*\})*)\}")
_MAX = re.compile(r"\\(max|min|argmax)_\{((?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*)\}")
_UNKNOWN = re.compile(r">\s*(\\[A-Za-z]+)\s*<")


def to_mathml(tex: str, display: str, where=None) -> str:
    """One formula as a ``<math>`` element."""
    for pattern, to in _REWRITES:
        tex = pattern.sub(to, tex)
    if display == "block":
        tex = _MAX.sub(r"\\underset{\2}{\\\1}", tex)
    tex = _TAG.sub(r"\\qquad (\1)", tex).strip()
    try:
        made = convert(tex, display=display)
    except Exception as error:  # the converter raises many kinds; each is a formula to mend
        logger.warning("mathematics %r: %s: %s", tex, type(error).__name__, error, location=where)
        return f"<code>{html.escape(tex)}</code>"
    unknown = _UNKNOWN.search(made)
    if unknown:
        logger.warning("mathematics %r: unknown command %s", tex, unknown.group(1), location=where)
    return made


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
