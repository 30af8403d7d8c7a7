"""Sphinx settings: pages are Markdown, mathematics becomes MathML at build time, warnings are errors."""

import os
import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent.parent), str(Path(__file__).parent / "_ext")]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

project = "derive"
copyright = "2026, the derive authors"
version = release = installed_version("derive-numerics")

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "mathml",
    "numerics.sphinx",
    "generated",
    "catalogue",
    "newton",
    "convolution",
    "bptt",
    "playground",
]
myst_enable_extensions = ["dollarmath", "amsmath", "colon_fence", "deflist", "attrs_inline"]
myst_dmath_double_inline = True
myst_heading_anchors = 3
html_math_renderer = "mathml"
included = ["passes", "catalogue", "playground_link"]  # parts of other pages
exclude_patterns = [
    "_build",
    "_ext",
    "playground",
    "generated/newton",
    "generated/convolution",
    "generated/bptt",
    *(f"generated/{name}.md" for name in included),
]

autodoc_member_order = "bysource"
autodoc_typehints = "none"
napoleon_google_docstring = False
napoleon_numpy_docstring = True
napoleon_use_rtype = False
napoleon_use_ivar = True
default_role = "code"

html_theme = "furo"
html_title = "derive"
html_static_path = ["_static", "../derive/show/math.woff2"]
html_show_sphinx = False
html_copy_source = False

latex_documents = [("book/index", "derivatives.tex", "Derivatives of neural networks", "the derive authors", "manual")]
latex_engine = "lualatex"
latex_elements = {"papersize": "a4paper", "printindex": "", "makeindex": "", "fontpkg": ""}  # Latin Modern, TeX's own
latex_show_urls = "no"
latex_use_xindy = False
