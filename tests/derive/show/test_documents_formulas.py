"""How single formulas are written: letters, order, brackets, fractions; every function in every format."""

import xml.dom.minidom
from typing import get_args

import pytest
import sympy
from sympy import Integer, Rational

import derive as dv
from derive.exact.functions import FUNCTIONS
from derive.language.errors import UnsupportedError
from derive.language.index import Index
from derive.language.nodes import Iverson, Max, Sum, argmax
from derive.language.tensor import Tensor
from derive.program.program import Equation, Row, Term
from derive.show.formulas import layout, mathml, plaintext, tex
from derive.show.formulas.expressions import APPLIED, SHAPED, expression
from derive.show.formulas.mathml import math, render
from derive.show.formulas.tex import COMMANDS
from derive.show.latex import equation_latex, latex_expr
from derive.show.text import equation_text, expr_text, matrix_text

b, i, k = dv.indices("b i k")
t = dv.index("t")
x, W, c = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("c", k)
label = dv.tensor("label", b, dtype="int", below=k.size)


def _computed(name, *idx):
    return Tensor(name, tuple(j.size for j in idx), idx, role="computed", digest=f"test:{name}")


@pytest.mark.parametrize(
    "e, text, latex",
    [
        (Sum(x[b, i] * W[i, k], i) + c[k], "sum_i x[b,i] W[i,k] + c[k]", r"\sum_{i} x_{bi} \, W_{ik} + c_{k}"),
        (1 - x[b, i] ** 2, "1 - x[b,i]^2", r"1 - x_{bi}^{2}"),
        (-x[b, i] - 1, "-x[b,i] - 1", r"-x_{bi} - 1"),
        (x[b, i] / (2 * b.size), "x[b,i] / (2 B)", r"\frac{x_{bi}}{2 \, B}"),
        (1 / sympy.sqrt(c[k] + Rational("1e-5")), "1 / sqrt(c[k] + 1e-5)", r"\frac{1}{\sqrt{c_{k} + 10^{-5}}}"),
        (Rational("0.044715") * c[k] ** 3, "0.044715 c[k]^3", r"0.044715 \, c_{k}^{3}"),
        (c[k] / 2 + c[k] ** Rational(3, 2), "c[k] / 2 + c[k]^(3/2)", r"\frac{c_{k}}{2} + c_{k}^{3/2}"),
        (sympy.exp(x[b, i]), "exp(x[b,i])", "e^{x_{bi}}"),
        (sympy.log(1 + sympy.exp(-c[k])), "log(1 + exp(-c[k]))", r"\log(1 + e^{-c_{k}})"),
        (W[label[b], k], "W[label[b],k]", r"W_{\mathrm{label}_{b},k}"),
        (x[b, 2 * i + 1], "x[b,2i+1]", "x_{b,2i+1}"),
        (Iverson(sympy.Eq(k, label[b])), "[k = label[b]]", r"[k = \mathrm{label}_{b}]"),
        (Max(W[i, k], k) + c[k], "c[k] + max_k' W[i,k']", r"c_{k} + \max_{k'} W_{ik'}"),
        (2 * Max(W[i, k], i), "2 max_i W[i,k]", r"2 \max_{i} W_{ik}"),
        (argmax(c[k], k), "argmax_k c[k]", r"\operatorname*{arg\,max}_{k} c_{k}"),
        (
            sympy.Piecewise((c[k], sympy.Eq(k, 0)), (x[b, i], True)),
            "{c[k] if k = 0; x[b,i] otherwise}",
            r"\begin{cases} c_{k} & \text{if } k = 0 \\ x_{bi} & \text{otherwise} \end{cases}",
        ),
        (dv.maximum(c[k], 0), "max(c[k], 0)", r"\max(c_{k}, 0)"),
        (sympy.Abs(c[k] - 1), "|c[k] - 1|", r"\lvert c_{k} - 1\rvert "),
    ],
)
def test_an_expression_in_text_and_latex(e, text, latex):
    assert expr_text(e) == text
    assert latex_expr(e) == latex


def test_sympy_prints_reads_by_the_same_notation():
    assert sympy.latex(x[b, i] ** 2) == "x_{bi}^{2}"
    assert sympy.latex(2 * Sum(c[k], k)) == r"2 \sum_{k} c_{k}"


def test_bound_letters_never_clash():
    """Free letters stay; bound ones take primes; a uid is never seen; a scalar's name is no bound letter."""
    b7, b8 = Index("b", b.size, 7), Index("b", b.size, 8)
    y = _computed("y", b)
    eq = Equation(y, (b,), (Term(Integer(1), (x[b7, 0], x[b8, 1]), (b7, b8)),))
    assert equation_text(eq) == "y[b] = sum_{b',b''} x[b',0] x[b'',1]"
    assert equation_latex(eq) == r"y_{b} = \sum_{b',b''} x_{b'0} \, x_{b''1}"
    scalar = dv.tensor("k")
    eq = Equation(y, (b,), (Term(Integer(1), (scalar[()], W[b, Index("k", k.size, 9)]), (Index("k", k.size, 9),)),))
    assert equation_text(eq) == "y[b] = k sum_k' W[b,k']"


def test_letters_that_already_carry_primes():
    l2 = Index("i'", i.size)
    g = _computed("g", i, l2)
    eq = Equation(g, (i, l2), (Term(Integer(1), (c[i], c[l2])),))
    assert equation_text(eq) == "g[i,i'] = c[i] c[i']"
    inner = Index("i", i.size, 4)
    eq = Equation(g, (i, l2), (Term(Integer(1), (c[i], c[l2], c[inner]), (inner,)),))
    assert equation_text(eq) == "g[i,i'] = c[i] c[i'] sum_i'' c[i'']"


def test_terms_share_what_they_have_in_common():
    y, z, s = _computed("y", b, k), _computed("z", b, k), _computed("s", b)
    k1 = Index("k", k.size, 1)
    B, K = b.size, k.size
    pieces = (Term(1 / B, (s[b], z[b, k])), Term(-1 / (B * K), (s[b], s[b], z[b, k1]), (k1,)))
    assert equation_text(Equation(y, (b, k), pieces)) == "y[b,k] = s[b] (z[b,k] - (s[b] / K) sum_k' z[b,k']) / B"
    assert (
        equation_text(Equation(y, (b, k), (Term(Integer(-1), (z[b, k],)), Term(Integer(-1), (c[k],)))))
        == "y[b,k] = -(z[b,k] + c[k])"
    )
    assert equation_text(Equation(y, (b, k), ())) == "y[b,k] = 0"


def test_conditions_stand_under_the_sum_and_are_joined():
    y, z = _computed("y", b), _computed("z", b)
    b1, i1 = Index("b", b.size, 1), Index("i", i.size, 2)
    rows = (Row("==", 2 * b1 + i1 - b - 1, Integer(0)), Row("<=", Integer(0), i1 - 1), Row("<", i1 - 1, i.size))
    eq = Equation(y, (b,), (Term(Integer(1), (z[b1],), (b1, i1), rows),))
    assert equation_text(eq) == "y[b] = sum_{b',i: 2 b' + i - 1 = b, 0 <= i - 1 < I} z[b']"
    assert r"\sum_{\substack{b',i \\ 2b'+i-1 = b \\ 0 \le i-1 < I}} z_{b'}" in equation_latex(eq)
    eq = Equation(y, (b,), (Term(Integer(1), (z[b],), (), (Row("<=", b, label[b]),)),))
    assert equation_text(eq) == "y[b] = z[b] [b <= label[b]]"


def test_max_with_guards_and_recurrences():
    h = _computed("h", t, b)
    t1 = Index("t", t.size, 3)
    eq = Equation(_computed("m", b), (b,), (Term(Integer(1), (h[t1, b],)),), "max", (t1,), (Row("<=", t1, b),))
    assert equation_text(eq) == "m[b] = max_{t: t <= b} h[t,b]"
    eq = Equation(h, (t, b), (Term(Integer(1), (sympy.tanh(h[t - 1, b]),)),))
    assert equation_text(eq) == "h[t,b] = tanh(h[t-1,b])"
    assert equation_latex(eq) == r"h_{tb} = \tanh(h_{t-1,b})"


def test_every_function_of_the_language_is_shown_in_every_format():
    shown = {f.__name__ for f in APPLIED} | {f.__name__ for f in SHAPED}
    assert set(FUNCTIONS) - shown == set()
    assert set(APPLIED.values()) - set(COMMANDS) == set()
    for f in APPLIED:
        if f in (sympy.Max, sympy.Min, sympy.Mod, dv.polygamma):
            continue
        nargs = 2 if f in (dv.maximum, dv.minimum, dv.logaddexp, dv.atan2) else 1
        e = f(*(c[k], x[b, i])[:nargs])
        page = math(render(expression(e)))
        xml.dom.minidom.parseString(page)
        assert "c[k]" in expr_text(e) and "c_{k}" in latex_expr(e) and "<mi>c</mi>" in page, f


def test_what_cannot_be_shown_is_refused():
    with pytest.raises(UnsupportedError, match="cannot show zeta.*closed set of functions"):
        expr_text(sympy.zeta(c[k], 2))


@pytest.mark.parametrize(
    "name, latex",
    [
        ("alpha", r"\alpha"),
        ("W1", "W^{(1)}"),
        ("W_out", r"W^{\mathrm{out}}"),
        ("xhat", r"\hat{x}"),
        ("lse", r"\mathrm{lse}"),
        ("dense_1_kernel", r"\mathrm{dense\_1\_kernel}"),
        ("I", "I"),
        ("lambda", r"\lambda"),
        ("λ", r"\lambda"),
        ("x; import os", r"\text{x; import os}"),
        ("a$b", r"\text{a\$b}"),
        ("重み", r"\text{U+91CDU+307F}"),
    ],
)
def test_names(name, latex):
    assert latex_expr(dv.tensor(name)[()]) == latex


def test_a_labelled_name_takes_a_power_in_brackets():
    assert latex_expr(dv.tensor("W1", i)[i] ** 2) == "(W_{i}^{(1)})^{2}"
    assert latex_expr(dv.tensor("v1")[()] ** 2) == "(v^{(1)})^{2}"


def test_sums_over_the_same_letters_stand_under_one_sign():
    loss, v, w = _computed("loss"), _computed("v", b), _computed("w", b)
    b1, b2, b3 = (Index("b", b.size, n) for n in (1, 2, 3))
    terms = (Term(1 / b.size, (v[b1],), (b1,)), Term(-1 / b.size, (w[b2],), (b2,)))
    assert equation_text(Equation(loss, (), terms)) == "loss = 1/B sum_b (v[b] - w[b])"
    shared = (Term(Integer(1), (v[b1], w[b1]), (b1,)), Term(Integer(-1), (w[b2], v[b2] ** 2), (b2,)))
    assert equation_text(Equation(loss, (), shared)) == "loss = sum_b v[b] w[b] (1 - v[b])"
    apart = (Term(Integer(1), (v[b1], w[b1]), (b1,)), Term(Integer(1), (x[b3, 0], x[b3, 1]), (b3,)))
    assert equation_text(Equation(loss, (), apart)) == "loss = sum_b v[b] w[b] + sum_b x[b,0] x[b,1]"


def test_matrix_forms_of_scalars():
    s, v, w = _computed("s"), _computed("v", b), _computed("w", b)
    b1, i1 = Index("b", b.size, 1), Index("i", i.size, 2)

    def form(*fac, bnd=(b1,)):
        return matrix_text(Equation(s, (), (Term(Integer(1), fac, bnd),)))

    assert form(v[b1]) == "s = 1^T v"
    assert form(v[b1], w[b1]) == "s = v^T w"
    assert form(v[b1] ** 2) == "s = ||v||^2"
    assert form(x[b1, i1], bnd=(b1, i1)) == "s = 1^T x 1"
    assert form(v[label[b1]]) is None


@pytest.mark.parametrize("renderer", [mathml, plaintext, tex], ids=lambda r: r.__name__.rpartition(".")[2])
def test_every_format_draws_every_node(renderer):
    assert set(renderer._TABLE) == set(get_args(layout.Node))
