"""Unknown functions f with f', f'': in text, formulas and SymPy; proved for every such function, computed for none."""

import pytest
import sympy

import derive as dv
import numerics as nx


@pytest.mark.parametrize(
    ("text", "by", "order", "form"),
    [
        ("f: function; sum(f(A*x))", "x", 1, "A'f'(A x)"),
        ("f: function; sum(f(A*x))", "x", 2, "A'diag(f''(A x)) A"),
        ("f: function; norm2(y - f(X*w))^2", "w", 1, "-2 X'(f'(X w) .* (y - f(X w)))"),
        ("f: function; y'*f(X*w)", "X", 1, "(y .* f'(X w))w'"),
        ("f, g: function; sum(g(f(x)))", "x", 1, "f'(x) .* g'(f(x))"),
        ("f: function; f(x'*A*x)", "x", 1, "f'(x'A x) (A + A')x"),
        ("f: function; A*f(B*x)", "x", 1, "A diag(f'(B x)) B"),
        ("phi: function; sum(phi(norm2(x)))", "x", 1, "phi'(||x||) x / ||x||"),
        ("f: function; sum(f'''(x))", "x", 1, "f^(4)(x)"),
    ],
)
def test_closed_forms(text, by, order, form):
    d = dv.derive_matrix(text, by, order=order)
    assert d.check().proved
    found = d.closed_form(f"H_{by}_{by}" if order == 2 else by)
    assert str(found) == form
    assert dv.matrix(f"{found.declared}; {found}")


def test_in_index_notation():
    t = dv.parse("f: function; x: float[i]; W: float[i,k]; loss = sum[k](f(sum[i](W[i,k]*x[i])))")
    assert list(t) == ["x", "W", "loss"]
    d = dv.backprop(t["loss"], [t["W"]])
    assert d.check().proved
    assert d.compare("W", "x[i]*f'(sum[i'](W[i',k]*x[i']))")
    assert not d.compare("W", "x[i]*f''(sum[i'](W[i',k]*x[i']))")
    assert "f is any function of one number" in d.to_text()
    assert r"f'" in d.to_latex() and "<msup><mi>f</mi><mo>′</mo></msup>" in d.to_html()


def test_from_python_and_from_sympy():
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    for F in (dv.function("F"), sympy.Function("F")):
        d = dv.backprop(dv.define("loss", (), dv.Sum(F(x[i]) * x[i], i)), [x])
        assert str(d.gradient(x)) == "dx[i] = F(x[i]) + x[i] F'(x[i])" and d.check().proved


def test_no_other_function_passes_for_it():
    d = dv.derive_matrix("f: function; g: function; sum(f(x)) + sum(g(x))", "x")
    assert not d.compare("x", "f'(x[i]) + f'(x[i])") and d.compare("x", "f'(x[i]) + g'(x[i])")


def test_nothing_is_computed():
    d = dv.derive_matrix("f: function; sum(f(x))", "x")
    for compute in (lambda: nx.compile(d), lambda: nx.source(d, "javascript")):
        with pytest.raises(nx.NumericsError, match="f in .* is an unknown function.*write what it is"):
            compute()


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: dv.matrix("f: function; f + 1"), r"stands before what it is applied to, as in f\(x\)"),
        (lambda: dv.matrix("f: function symmetric; f(x)"), "has no facts"),
        (lambda: dv.matrix("exp: function; exp(x)"), "known already"),
        (lambda: dv.matrix("f: function; f(x, y)"), "not of 2"),
        (lambda: dv.matrix("f: function; sum(x)"), "declared but does not occur"),
        (lambda: dv.matrix("h(x)"), "an unknown function is declared, h: function"),
        (lambda: dv.function("exp"), "known already"),
        (lambda: dv.function("f'"), "primes are derivatives"),
        (lambda: dv.parse("x: float[i]; loss = sum[i](g(x[i]))"), "an unknown function is declared, g: function"),
        (lambda: dv.parse("f: function[i]; x: float[i]; loss = sum[i](f(x[i]))"), "no axes and no facts"),
        (lambda: dv.parse("f: function; x: float[i]; loss = sum[i](f[i])"), r"applied as f\(\.\.\.\)"),
    ],
)
def test_what_is_no_function(make, why):
    with pytest.raises(dv.DeriveError, match=why):
        make()
