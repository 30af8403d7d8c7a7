"""The directives of ``numerics.sphinx`` in small projects, built for HTML and LaTeX."""

import re
from io import StringIO

import pytest

pytest.importorskip("sphinx")
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.docutils import docutils_namespace

TEXT = """
   x: float[b,i]
   y: float[b]
   w: float[i] parameter
   z[b] = sum[i](x[b,i]*w[i])
   loss = sum[b]((z[b] - y[b])^2)/B
"""
OBJECTS = """
import derive as dv, sympy
i = dv.index("i")
w = dv.tensor("w", i, role="parameter")
loss = dv.define("loss", (), dv.Sum(w[i]**2, i))
right = dv.backprop(loss, wrt=[w])

def wrong():
    from dataclasses import replace
    d = dv.backprop(loss, wrt=[w])
    step = d.steps[-1]
    bad = replace(step.after, terms=tuple(t.scaled(sympy.Integer(-1)) for t in step.after.terms))
    return replace(d, steps=(*d.steps[:-1], replace(step, after=bad)), evidence={})
"""


@pytest.fixture
def built(tmp_path, monkeypatch):
    """Builds a page and gives what was written, and Sphinx's warnings."""

    def build(page, builder="html", extensions=("numerics.sphinx",), name="index.rst", **config):
        source, out = tmp_path / "source", tmp_path / "out" / builder
        source.mkdir(exist_ok=True)
        (source / "objects_of_docs.py").write_text(OBJECTS)
        (source / name).write_text(page)
        (source / "conf.py").write_text("")
        warned = StringIO()
        config |= {"extensions": list(extensions), "project": "p", "author": "a"}
        monkeypatch.syspath_prepend(source)
        with docutils_namespace():
            app = Sphinx(
                source, source, out, tmp_path / "trees", builder, config, status=None, warning=warned, freshenv=True
            )
            app.build()
        written = next(p for p in (out / "index.html", out / "p.tex") if p.exists()).read_text()
        return written, warned.getvalue()

    return build


def page(*directives):
    return "Page\n====\n\n" + "\n\n".join(directives) + "\n"


def test_a_text_is_derived_proved_and_shown(built):
    html, warned = built(
        page(f".. derivation::\n   :name: squares\n{TEXT}", "See :ref:`squares-1`.", f".. derivation::\n{TEXT}")
    )
    assert not warned
    assert r"\begin{align*}" in html and "<details>" in html and "<svg" in html and "proved" in html
    assert re.search(r'href="#squares-1"[^>]*><span[^>]*>\(1\)', html)
    assert html.count('id="squares-1"') == html.count('id="model-1"') == 1


def test_mathematics_is_written_for_latex(built):
    tex, warned = built(page(f".. derivation::\n{TEXT}", ".. equation:: x'*A*x\n   :of: x\n   :closed:"), "latex")
    assert not warned and r"\begin{align*}" in tex and "details" not in tex and "<svg" not in tex


def test_an_equation_is_referred_to_by_number(built):
    text = page(".. equation:: softmax_regression\n   :of: W\n   :label: softmax-W", "By :eq:`softmax-W`.")
    html, warned = built(text)
    assert not warned and 'id="equation-softmax-w"' in html.lower() and re.search(r"By <a[^>]*>\(1\)</a>", html)


def test_a_formula_in_closed_form(built):
    html, warned = built(page(".. equation:: x'*A*x\n   :of: x\n   :closed:"))
    assert not warned and "A" in html and r"\top" in html


@pytest.mark.parametrize(
    "target, words", [("jax", "def loss_and_grads"), ("javascript", "export function lossAndGrads")]
)
def test_the_generated_module(built, target, words):
    html, warned = built(page(f".. kernel:: softmax_regression\n   :target: {target}\n   :caption: The program"))
    assert not warned and words in re.sub(r"<[^>]+>", "", html) and "The program" in html


def test_the_evidence_is_a_table(built):
    html, warned = built(page(".. evidence:: objects_of_docs:right\n   :numeric:"))
    assert not warned and "proved" in html and "Independent forward" in html and "float32" in html


def test_results_alone(built):
    html, _ = built(page(".. derivation:: softmax_regression\n   :results:\n   :notation: index"))
    assert "<details>" not in html and r"\begin{align*}" in html


def test_sections_and_folds(built):
    html, _ = built(page(".. derivation:: softmax_regression\n   :sections: The definitions\n   :folded: Look"))
    assert "<summary>Look</summary>" in html and r"\begin{align*}" in html and "The derivation" not in html


def test_a_remark_is_folded_with_what_it_is_about(built):
    html, warned = built(
        page(".. derivation:: softmax_regression\n   :results:\n   :folded: Look\n   :remark: It is *so*.")
    )
    assert not warned and html.index("<summary>Look") < html.index("It is <em>so</em>.") < html.index("</details>")


def test_an_equation_has_the_letters_of_the_document(built):
    html, warned = built(page(".. equation:: softmax_regression\n   :of: 3"))
    assert not warned and r"\tilde{z}_{bk} = z_{bk} - m_{b}" in html and "shifted" not in html


def test_markdown_pages_have_them_too(built):
    pytest.importorskip("myst_parser")
    text = "# Page\n\n```{equation} objects_of_docs:loss\n:of: w\n```\n"
    html, warned = built(text, extensions=("myst_parser", "numerics.sphinx"), name="index.md")
    assert not warned and "math" in html


@pytest.mark.parametrize(
    "directive, told",
    [
        (".. derivation:: objects_of_docs:wrong", r"step .* is refuted"),
        (".. derivation:: no_such_model", "no_such_model"),
        (".. derivation::\n\n   x: float[b,i\n", "line 1"),
        (".. derivation:: softmax_regression\n   :notation: roman", "notation='roman'"),
        (".. derivation:: softmax_regression\n   :order: 3", ":order: 3"),
        (".. derivation:: softmax_regression\n   :sections: The end", "the document has .*The derivation"),
        (".. derivation::", "one of them"),
        (f".. derivation:: softmax_regression\n{TEXT}", "one of them"),
        (".. equation:: softmax_regression", ":of: is needed"),
        (".. equation:: softmax_regression\n   :of: V", "no such tensor"),
        (".. equation:: softmax_regression\n   :of: 99", "equations 1 to"),
        (".. kernel:: softmax_regression\n   :target: fortran", "fortran"),
        (".. evidence:: objects_of_docs:missing", "missing"),
        (".. derivation:: softmax_regression\n   :wrt: V", "V"),
    ],
)
def test_a_page_that_is_wrong_ends_the_build(built, directive, told):
    with pytest.raises(ExtensionError, match=told) as error:
        built(page(directive))
    assert "index.rst:4" in str(error.value)
