"""The playground beside the pages, where it can be made; where not, the build says so and no page links to it."""

import importlib.util
from pathlib import Path

from sphinx.util import logging

logger = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parents[1] / "playground" / "build.py"


def write(app):
    """Runs before any page is read: the page about the playground includes the link."""
    if app.builder.format != "html":
        return said(app, "It is part of these pages in HTML.")
    build = builder()
    try:
        build.build(Path(app.outdir) / "playground")
    except build.Unavailable as reason:
        logger.info("playground: left out: %s", reason)
        return said(app, "It was left out of this build of the pages; `make playground` makes it and serves it.")
    return said(app, '<p><a href="playground/index.html"><b>Open the playground</b></a></p>')


def builder():
    """The module that writes it, which stands beside its files."""
    spec = importlib.util.spec_from_file_location("playground_build", HERE)
    build = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(build)
    return build


def said(app, text):
    path = Path(app.srcdir) / "generated" / "playground_link.md"
    path.parent.mkdir(exist_ok=True)
    if not path.exists() or path.read_text(encoding="utf-8") != text + "\n":
        path.write_text(text + "\n", encoding="utf-8")


def setup(app):
    app.connect("builder-inited", write)
    return {"version": "1", "parallel_read_safe": True}
