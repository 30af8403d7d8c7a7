"""Declared equalities: used at the end, listed as relied on, checked on their variety, refused where no rule uses them."""

from dataclasses import replace

import numpy as np
import pytest

import derive as dv
import numerics as nx


@pytest.mark.parametrize(
    ("text", "by", "closed", "fact"),
    [
        ("Q: n x n orthogonal; x'*Q'*Q*x", "x", "2 x", "Q'Q = I (declared)"),
        ("Q: n x n with Q'Q = eye(1); norm2(Q*x)^2", "x", "2 x", "Q'Q = I (declared)"),
        ("Q: n x n orthogonal; tr(Q'*A*Q)", "A", "eye(1)", "Q'Q = I (declared)"),
        ("x: n unit; (x'*A*x)/(x'*x)", "x", "(A + A')x - 2 (x'A x) x", "x'x = 1 (declared)"),
        ("x: n with ||x|| = 1; norm2(x)", "x", "x", "x'x = 1 (declared)"),
        ("p: n simplex; log(sum(p))*c'*p", "p", "(c'p) vector(1)", "sum over i of p[i] = 1 (declared)"),
        ("A: n x n with A = A'; x'*A*x", "x", "2 A x", "A is symmetric (declared)"),
    ],
)
def test_gradients(text, by, closed, fact):
    d = dv.derive_matrix(text, by)
    assert d.check().proved and fact in [f.text for f in d.facts if f.steps]
    assert nx.verify(nx.compile(d), dtypes=("float64",)).ok
    assert str(d.closed_form(by)) == closed


@pytest.mark.parametrize("text", ["x: n unit; (x'*A*x)/(x'*x)", "x: n unit; norm2(x)", "p: n simplex; log(sum(p))"])
def test_an_equality_is_not_differentiated(text):
    """The second derivative is that of the loss, at a point where the equality holds: not that of the number 1."""
    d = dv.derive_matrix(text, text[0], order=2)
    assert d.check().proved and nx.verify(nx.compile(d), dtypes=("float64",)).ok


def test_a_fact_that_is_dropped_is_refuted():
    d = dv.derive_matrix("Q: n x n orthogonal; x'*Q'*Q*x", "x")
    with pytest.raises(dv.DerivationError, match="is used and not listed"):
        replace(d, facts=()).check()


def test_documents_and_worked_examples():
    told = dv.derive_matrix("Q: n x n orthogonal; tr(Q'*A*Q*B)", "A").to_text()
    assert "Q" in told
    told = dv.derive_matrix("x: n unit; (x'*A*x)/(x'*x)", "x").to_text()
    assert "x'x = 1 (declared)" in told


def test_in_index_notation():
    t = dv.parse("x: float[i] unit; loss = sum[i](x[i]^2)^2")
    d = dv.backprop(t["loss"], [t["x"]])
    assert str(d.gradient("x")) == "dx[i] = 4 x[i]" and d.check().proved
    kern = nx.compile(d)
    assert "x'x = 1" in "\n".join(map(str, kern.validate(x=np.array([0.6, 0.8]))))
    with pytest.raises(nx.NumericsError, match="x'x = 1"):
        kern.validate(x=np.array([0.6, 0.9]))


@pytest.mark.parametrize(
    ("text", "by", "form"),
    [
        ("norm2(Q*x - y)^2", "x", "2 (x - Q'y)"),
        ("norm2(Q*x - y)", "x", "(x - Q'y) / ||Q x - y||"),
        ("norm2(X*Q - Y)^2", "X", "2 (X - Y Q')"),
        ("1/2*norm2(Q*x - y)^2 + lam*norm1(x)", "x", "x - Q'y + lam sign(x)"),
        ("logdet(Q*A*Q')", "A", "inv(A)'"),
    ],
)
def test_an_orthogonal_matrix_meets_its_transpose_in_a_bracket(text, by, form):
    d = dv.derive_matrix(f"Q: n x n orthogonal; {text}", by)
    assert str(d.closed_form(by)) == form and d.check().proved


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("x: n with x'x = 2; x'*x", "no rule uses the equality x'.x = 2; accepted are, of x alone"),
        ("A, B: n x n with A*B = eye(1); tr(A*B)", "declare each by itself"),
        ("Q: n x 3 with Q'Q = eye(1); x: 3; norm2(Q*x)", "declared orthogonal"),
        ("x: n x m unit; sum(x)", "unit .* is of a vector"),
        ("p: n x m simplex; sum(p)", "simplex"),
        ("x: n unit positive; sum(x)", "stands alone"),
    ],
)
def test_what_no_rule_uses_is_said(text, why):
    with pytest.raises(dv.DeriveError, match=why):
        dv.matrix(text)
