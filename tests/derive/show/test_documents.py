"""The documents of a derivation: the same outline in every format, complete, safe and reproducible."""

import os
import re
import subprocess
import sys
import types
import xml.dom.minidom
from pathlib import Path

import pytest
from shown_networks import NETWORKS, hostile, layer_norm, mlp, relu_conv, rnn, softmax_regression

import derive as dv
from derive import layers as L
from derive.show import font
from derive.show.document.argument import argument
from derive.show.html import derivation_fragment
from derive.show.latex import derivation_latex
from derive.show.text import equation_text, matrix_text, step_text

GOLDEN = Path(__file__).parents[2] / "golden"
SECTIONS = [
    "The network",
    "What is given",
    "The definitions",
    "What is asked for",
    "How to read it",
    "The derivation",
    "The chain rule",
    "The result",
    "Facts used and conventions",
    "A worked example",
    "The evidence",
]


@pytest.mark.parametrize("name", ["softmax_regression", "mlp", "layer_norm", "rnn"])
@pytest.mark.parametrize("kind, suffix", [("text", "txt"), ("latex", "tex")])
def test_golden_documents(name, kind, suffix):
    """``make golden`` rewrites the files; read the difference as code."""
    made = getattr(NETWORKS[name](), f"to_{kind}")()
    path = GOLDEN / f"{name}.{suffix}"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(made, encoding="utf-8")
    assert path.exists(), f"{path.name} is missing: make golden writes it"
    assert made == path.read_text(encoding="utf-8")


def test_documents_do_not_depend_on_hash_seeds():
    code = (
        "import hashlib, sys; sys.path.insert(0, 'tests'); from shown_networks import layer_norm as f, rnn as g\n"
        "text = ''.join(getattr(d, 'to_' + k)() for d in (f(), g()) for k in ('text', 'latex', 'markdown', 'html'))\n"
        "print(hashlib.sha256(text.encode()).hexdigest())"
    )
    root = Path(__file__).parents[3]
    found = {
        subprocess.run(
            [sys.executable, "-c", code],
            cwd=root,
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
        ).stdout
        for seed in ("1", "2")
    }
    assert len(found) == 1 and len(found.pop()) == 65


@pytest.mark.parametrize("name", NETWORKS)
def test_every_format_has_every_section(name):
    d = NETWORKS[name]()
    for text in (d.to_text(), d.to_latex(), d.to_markdown(), d.to_html()):
        places = [text.find(s) for s in SECTIONS]
        assert min(places) >= 0, SECTIONS[places.index(-1)]
        assert places == sorted(places)


@pytest.mark.parametrize("name", NETWORKS)
def test_every_step_is_told_once_and_numbers_ascend(name):
    """Each step of the derivation belongs to one paragraph, and the numbers of the paragraphs run through the page."""
    d = NETWORKS[name]()
    told = argument(d)
    every = [*told.before, *told.main, *told.safe]
    assert sorted(s.id for t in every for s in t.steps) == sorted(s.id for s in d.steps)
    text = d.to_text()
    seen = []
    for first, last in re.findall(r"^ *Steps? (\d+)(?:–(\d+))?[.:]", text, re.M):
        seen += range(int(first), int(last or first) + 1)
    assert seen == list(range(1, len(every) + 1))


def test_the_main_line_goes_backward_once_and_parameters_stand_with_what_they_enter():
    order = [t.target for t in argument(mlp()).main]
    assert order == ["d_loss", "do", "dW2", "db2", "dh", "da", "dW1", "db1"]


@pytest.mark.parametrize(
    "name, said",
    [
        ("softmax_regression", "Softmax minus one-hot"),
        ("mlp", "What came out less what was asked for"),
        ("layer_norm", "The mean is removed from what arrives"),
        ("rnn", "backpropagation through time"),
        ("relu_conv", "passes where the value was positive"),
    ],
)
def test_what_to_notice_is_seen_in_the_equations(name, said):
    assert said in " ".join(NETWORKS[name]().to_text().split())


def test_layers_have_letters_and_numbers():
    model = dv.Sequential([L.LSTM(4), L.Dense(3)], input_shape=(6, 5))
    d = model.backprop("sparse_softmax_cross_entropy")
    latex = d.to_latex(example=False)
    shown = re.sub(r"\\texttt\{[^}]*\}", "", latex.replace(r"\allowbreak{}", ""))
    assert "kernel" not in shown and "lse" not in shown.replace("else", "").replace("elsewhere", "")
    for symbol in (
        r"W_{iql}^{(1)}",
        r"U_{mql}^{(1)}",
        r"W_{lj}^{(2)}",
        r"z_{b,t,\mathrm{f},l}^{(1)}",
        r"\mathrm{d}W_{lj}^{(2)}",
    ):
        assert symbol in latex, symbol
    assert re.findall(r"^([ifgo])_\{btl\}\^\{\(1\)\} &=", latex, re.M)[:4] == list("ifgo")


def test_one_letter_has_one_range_in_a_document():
    model = dv.Sequential([L.Conv2D(4, 3), L.AvgPool2D(2), L.Flatten(), L.Dense(3)], input_shape=(9, 9, 1))
    d = model.backprop("mean_squared_error")
    text = d.to_text(example=False)
    assert "h2[b,u2,v2,o] = 1/4 sum_{r2,s2} z1[b,2u2+r2,2v2+s2,o]" in " ".join(text.split())
    assert "r, s < 3" in " ".join(text.split()) and "r2, s2 < 2" in " ".join(text.split())
    assert "floor(u/2)" in text  # a pool whose windows do not overlap has no constrained sum


def test_in_short_is_a_line_a_layer():
    model = dv.Sequential([L.Dense(4, activation="tanh"), L.Dense(3)], input_shape=(5,))
    d = model.backprop("mean_squared_error")
    text = d.to_text(short=True)
    assert [line.split(":")[0] for line in text.splitlines() if line.startswith("- ")] == [
        "- dense_1",
        "- dense_2",
        "- loss",
    ]
    assert "Step 1" not in text and "In short" in d.to_html() and "Step 1." in d.to_html()


def test_a_notebook_embeds_the_font_once(monkeypatch):
    class Shell:
        execution_count = 1
        parent_header = {"metadata": {"cellId": "a"}}

    shell = Shell()
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setattr(font, "_embedded", [])
    assert len(font.font_bytes()) < 100_000 and font.font_face() in mlp().to_html()
    first, again = derivation_fragment(mlp()), derivation_fragment(mlp())
    assert font.font_face() in first and first == again  # the same cell, run again
    shell.parent_header = {"metadata": {"cellId": "b"}}
    assert "@font-face" not in derivation_fragment(mlp())


@pytest.mark.parametrize("name", NETWORKS)
def test_html_is_one_page_that_needs_nothing(name):
    page = NETWORKS[name]().to_html()
    document = xml.dom.minidom.parseString(page)
    assert document.documentElement.tagName == "html"
    assert len(document.getElementsByTagName("math")) > 10
    bare = page.replace('xmlns="http://www.w3.org/1999/xhtml"', "").replace(
        'xmlns="http://www.w3.org/1998/Math/MathML"', ""
    )
    assert "http:" not in bare and "https:" not in bare
    for fetching in ("<script", "src=", "@import", "url(http", "<link", "<iframe", "<img"):
        assert fetching not in page
    assert "prefers-color-scheme: dark" in page and "@media print" in page
    ids = [e.getAttribute("id") for e in document.getElementsByTagName("tr") if e.getAttribute("id")]
    targets = {a.getAttribute("href")[1:] for a in document.getElementsByTagName("a")}
    assert len(ids) == len(set(ids)) and targets <= set(ids)


def test_the_fragment_stands_inside_a_page():
    fragment = derivation_fragment(softmax_regression())
    assert fragment.startswith("<div>") and "<html" not in fragment and "<body" not in fragment
    xml.dom.minidom.parseString(fragment)
    style = fragment[fragment.index("<style>") + 7 : fragment.index("</style>")]
    selectors = [s.strip() for block in re.findall(r"(?:^|[}{])([^{}]+)\{", style) for s in block.split(",")]
    assert selectors and all(s.startswith((".derivation", "@media")) for s in selectors if s)


def _balanced(latex):
    depth, stack = 0, []
    text = re.sub(r"\\[{}]", "", latex)
    for m in re.finditer(r"\\begin\{([a-z*]+)\}|\\end\{([a-z*]+)\}|\\left\b|\\right\b|[{}]", text):
        token = m.group()
        if token.startswith(r"\begin") or token == r"\left":
            stack.append(m.group(1) or "left")
        elif token.startswith(r"\end") or token == r"\right":
            assert stack and stack.pop() == (m.group(2) or "left"), text[max(0, m.start() - 60) : m.end()]
        else:
            depth += 1 if token == "{" else -1
            assert depth >= 0
    return depth == 0 and not stack


@pytest.mark.parametrize("make", [*NETWORKS.values(), hostile], ids=lambda f: f.__name__)
def test_latex_is_balanced_and_needs_amsmath_only(make):
    latex = make().to_latex()
    assert _balanced(latex)
    assert "documentclass" not in latex and "usepackage" not in latex.replace(r"needs \usepackage{amsmath}", "")
    assert not re.search(r"\^\{[^{}]*\}\^|_\{[^{}]*\}_", latex)  # no double scripts
    standalone = derivation_latex(make(), standalone=True)
    assert standalone.startswith(r"\documentclass") and standalone.rstrip().endswith(r"\end{document}")


def test_the_balance_test_can_fail():
    with pytest.raises(AssertionError):
        _balanced(r"\left( a \begin{x} \right)")
    assert not _balanced(r"{\left( a \right)")


def test_hostile_names_are_only_read():
    d = hostile()
    page = d.to_html()
    document = xml.dom.minidom.parseString(page)
    assert not document.getElementsByTagName("script") and not document.getElementsByTagName("i")
    shown = "".join(n.data for e in document.getElementsByTagName("code") for n in e.childNodes)
    assert "<script>alert(1)</script>" in shown and r"\input{/etc/passwd}$" in shown
    latex = d.to_latex()
    assert r"\input" not in latex and "\\textbackslash{}input\\{/etc/passwd\\}\\$" in latex
    assert latex.replace(r"\$", "").count("$") % 2 == 0
    markdown = d.to_markdown()
    assert "<script" not in markdown and r"\input" not in markdown
    assert all(line.count("$") % 2 == 0 or line == "$$" for line in markdown.splitlines()), markdown
    assert equation_text(d.program[0]).startswith("'lambda & `x`|%'[")
    for text in (d.to_text(), latex, markdown, page):
        assert all(c.isprintable() or c == "\n" for c in text)


def test_notation_options():
    d = softmax_regression()
    both, index, matrix = (d.to_text(notation=n) for n in ("both", "index", "matrix"))
    assert "dW[i,k] = sum_b x[b,i] dz[b,k]" in both and "dW = x^T dz" in both
    assert "dW[i,k] = sum_b x[b,i] dz[b,k]" in index and "x^T" not in index
    result = matrix[matrix.index("The result") :]
    assert re.search(r"dW += x\^T dz", result) and "sum_b x[b,i]" not in result
    assert "vectors are columns" in both and "vectors are columns" not in index


def test_adjoint_options():
    d = mlp()
    bar, partial, plain = (d.to_latex(adjoint=a) for a in ("bar", "partial", "d"))
    assert r"\overline{W}_{ik}" not in bar and r"\overline{W}_{lk}^{(2)}" in bar
    assert r"\frac{\partial \mathcal{L}}{\partial W_{lk}^{(2)}}" in partial and r"\overline{W}" not in partial
    assert r"\mathrm{d}W_{lk}^{(2)}" in plain and r"\overline" not in plain and plain == d.to_latex()
    assert d.to_text(adjoint="bar") == d.to_text(adjoint="d")
    assert "How does" in partial and "A bar marks" in bar and "A bar marks" not in partial


def test_unknown_options_are_refused():
    d = mlp()
    with pytest.raises(dv.DeriveError, match="notaton= is not an option.*notation, adjoint, example, short"):
        d.to_html(notaton="index")
    with pytest.raises(dv.DeriveError, match="notation='words': choose one of 'both', 'index', 'matrix'"):
        d.to_text(notation="words")


def test_greek_hats_and_labels():
    latex = layer_norm().to_latex()
    assert (
        r"\gamma_{k}" in latex
        and r"\hat{x}_{bk}" in latex
        and r"\mathrm{d}\gamma_{k}" in latex
        and r"\mathrm{d}\hat{x}_{bk}" in latex
    )
    assert r"W_{il}^{(1)}" in mlp().to_latex() and r"x_{t}^{\top}" in rnn().to_latex()
    page = layer_norm().to_html()
    assert "<mi>γ</mi>" in page and '<mo stretchy="false">^</mo>' in page


def test_markdown_keeps_its_backslashes():
    for make in NETWORKS.values():
        text = make().to_markdown()
        assert not re.search(r"\\[^A-Za-z]", text)  # nothing that a Markdown reader could take for its own
        assert text.count("$$") % 2 == 0


def test_the_worked_example_is_right():
    text = softmax_regression().to_text()
    example = text[text.index("A worked example") : text.index("The evidence")]
    quotient, slope = re.search(
        r"divided by 0.002 is (-?[\d.]+), and the gradient\s+says (-?[\d.]+)\.", example
    ).groups()
    assert float(quotient) == pytest.approx(float(slope), abs=2e-4) and abs(float(slope)) > 0.01
    assert "worked example" not in softmax_regression().to_text(example=False)


def test_conventions_and_facts_are_listed():
    assert "relu'(0) = 0" in relu_conv().to_text()
    assert "0 <= label[b] < K (declared)" in softmax_regression().to_text()
    assert "no convention was needed" in mlp().to_text()


def test_steps_and_equations_print_on_readable_lines():
    d = softmax_regression()
    assert str(d.gradient("W")) == "dW[i,k] = sum_b x[b,i] dz[b,k]"
    assert str(d.gradient("z")) == "dz[b,k] = (exp(z_shifted[b,k] - lse_shifted[b]) - [k = label[b]]) / B"
    assert matrix_text(d.gradient("W")) == "dW = x^T dz"
    assert matrix_text(d.source.equation("lse")) is None
    step = next(s for s in d.steps if s.rule == "contraction" and s.target == "dW")
    assert str(step) == step_text(step)
    assert step_text(step).splitlines()[0] == f"Step {step.id}  contraction  (target dW)"
    assert "  after   dW[i,k] = sum_b x[b,i] dz[b,k]" in step_text(step)


def test_products_with_a_cotangent_and_of_second_order():
    """A vjp says of what it is the derivative; in second order no bar is used, for it could not say of what."""
    d = mlp()
    h, W2 = (next(e.tensor for e in d.source if e.name == "o"), d.wrt[2])
    text = dv.vjp(h, [W2], cotangent="g").to_text()
    assert "dW2 = the derivative of the sum of the elements of o times those of g with respect to W2" in text
    loss = next(e.tensor for e in d.source if e.name == "loss")
    hvp = dv.hvp(loss, [W2])
    assert "W2_hvp = the Hessian times the direction, at W2" in hvp.to_text()
    assert r"\bar" not in hvp.to_latex() and r"\overline" not in hvp.to_latex()
    for make in (hvp.to_html, hvp.to_markdown):
        assert "Hessian-vector product" in make()


def test_the_evidence_table_follows_the_check():
    d = softmax_regression.__wrapped__()  # one of its own: the check leaves its verdicts in the derivation
    assert "The exact check was not run" in d.to_text()
    d.check()
    text = d.to_text()
    evidence = text[text.index("The evidence") :]
    assert re.search(r"^W +gradient +proved$", evidence, re.M) and re.search(r"^c +gradient +proved$", evidence, re.M)
    assert re.search(rf"^{len(d.steps)} of {len(d.steps)} steps +step +proved$", evidence, re.M)
    d.evidence[d.steps[3].id] = "undecided"
    assert "- Step 4, chain rule of dz: undecided" in d.to_text()
    assert '<td class="proved">proved</td>' in d.to_html()


def test_a_long_shape_is_cut_in_the_drawing_and_whole_in_its_title():
    from derive.show.document.graph import network
    from derive.show.document.svg import svg

    p, q, r = dv.indices("p q r", size="AMuchLongerName")
    x = dv.tensor("x", p, q, r)
    drawn = svg(network(dv.backprop(dv.define("loss", (), dv.Sum(x[p, q, r] ** 2, p, q, r)), wrt=[x]).source))
    assert "<title>x, AMuchLongerName × AMuchLongerName × AMuchLongerName</title>" in drawn
    assert re.search(r'"shape">AMuchLongerName × AMuch\w*…</text>', drawn)
