"""The front doors of matrix notation: text and SymPy give the derivations that index notation gives."""

import hypothesis.strategies as st
import pytest
import sympy
from hypothesis import given, settings

import derive as dv
from derive.language.formulas.syntax import parse_formula

i, j = dv.indices("i j", size="N")
(k,) = dv.indices("k", size="M")


def test_a_formula_is_the_definition_one_would_write_by_hand():
    A, x = dv.tensor("A", i, j), dv.tensor("x", i)
    assert dv.matrix("x'*A*x")["f"].digest == dv.define("f", (), dv.Sum(x[i] * A[i, j] * x[j], i, j)).digest
    assert dv.matrix("tr(A)")["f"].digest == dv.define("f", (), dv.Sum(A[i, i], i)).digest
    assert dv.matrix("tr(A)")["A"] == A
    X, w = dv.tensor("X", i, k), dv.tensor("w", k)
    assert dv.matrix("X*w")["f"].digest == dv.define("f", (i,), dv.Sum(X[i, k] * w[k], k)).digest
    assert (
        dv.matrix("norm2(w)^2", w="M")["f"].digest
        == dv.define(
            "f", (), dv.Sum(dv.tensor("w", dv.index("i", "M"))[dv.index("i", "M")] ** 2, dv.index("i", "M"))
        ).digest
    )


def test_a_formula_has_the_gradients_of_index_notation():
    found = dv.matrix("norm2(X*w - y)^2 + 0.5*lam*norm2(w)^2")
    assert [str(e) for e in dv.backprop(found["f"], [found["w"]]).program] == [
        "r[i] = sum_k w[k] X[i,k] - y[i]",
        "f = sum_i r[i]^2 + (lam / 2) sum_k w[k]^2",
        "dw[k] = 2 sum_i r[i] X[i,k] + lam w[k]",
    ]
    X, w, y, lam = (found[n] for n in ("X", "w", "y", "lam"))
    r = dv.define("res", (i,), dv.Sum(X[i, k] * w[k], k) - y[i])
    loss = dv.define("loss", (), dv.Sum(r[i] ** 2, i) + lam[()] / 2 * dv.Sum(w[k] ** 2, k))
    by_hand = dv.backprop(loss, [w]).gradient(w)
    assert str(by_hand) == "dw[k] = 2 sum_i res[i] X[i,k] + lam w[k]"
    (l,) = dv.indices("l", size="M")  # noqa: E741
    inside = dv.Sum(X[i, l] * w[l], l) - y[i]
    assert dv.backprop(found["f"], [w]).compare("w", 2 * dv.Sum(inside * X[i, k], i) + lam[()] * w[k])
    d = dv.derive_matrix("x'*A*x", "x", order=2)
    assert str(d.program.equation("H_x_x")) == "H_x_x[i,i'] = A[i,i'] + A[i',i]"


n, m = sympy.symbols("n m", integer=True, positive=True)
A, X, B = (sympy.MatrixSymbol(c, n, n) for c in "AXB")
x, a, b = (sympy.MatrixSymbol(c, n, 1) for c in "xab")
C, c = sympy.MatrixSymbol("C", n, m), sympy.Symbol("c")
SAME = [
    (x.T * A * x, "A: n x n; x: n; x'*A*x"),
    (a.T * X.inv() * b, "X: n x n; a, b: n; a'*inv(X)*b"),
    (sympy.log(sympy.Determinant(X)), "X: n x n; log(det(X))"),
    (sympy.Trace(X**2 * B), "X, B: n x n; tr(X^2*B)"),
    (sympy.exp(sympy.Trace(A)), "A: n x n; exp(tr(A))"),
    (sympy.Trace(A) * A, "A: n x n; tr(A)*A"),
    (sympy.HadamardProduct(A, B) * x, "A, B: n x n; x: n; (A.*B)*x"),
    (sympy.Trace(sympy.KroneckerProduct(A, B)), "A, B: n x n; tr(kron(A, B))"),
    (C.T * A * C, "A: n x n; C: n x m; C'*A*C"),
    (A.applyfunc(sympy.tanh) * x, "A: n x n; x: n; tanh(A)*x"),
    (c * sympy.Trace(A + sympy.Identity(n)), "A: n x n; c: scalar; c*tr(A + eye(1))"),
    (sympy.OneMatrix(1, n) * A * x, "A: n x n; x: n; sum(A*x)"),
    (sympy.Trace(sympy.DiagMatrix(x) * A), "A: n x n; x: n; tr(diag(x)*A)"),
    (sympy.HadamardPower(x, 2).T * x, "x: n; (x.^2)'*x"),
    (sympy.Determinant(A), "A: n x n; det(A)"),
]


@pytest.mark.parametrize(("expr", "text"), SAME, ids=[t for _, t in SAME])
def test_sympy_and_text_are_one_definition(expr, text):
    left, right = dv.from_matrix(expr), dv.matrix(text)
    inputs = [t for t in right.values() if t.is_input]
    assert {t.name: t for t in left.values() if t.is_input} == {t.name: t for t in inputs}
    ours, theirs = (dv.backprop if not f["f"].rank else dv.jacobian for f in (left, right))
    d, e = ours(left["f"], inputs), theirs(right["f"], inputs)
    assert d.check().ok
    for t in inputs:
        group = "grads" if not left["f"].rank else "jacobian"
        mine, other = (q.program.equation(q.result(group)[t.name]) for q in (d, e))
        assert str(mine) == str(other) or d.compare(t, other.rhs)


def test_facts_and_names():
    found = dv.matrix("g = x'*A*x", A="n x n symmetric", x="n positive")
    assert found["A"].facts == (dv.symmetric,) and found["x"].facts == (dv.positive,) and "g" in found
    assert str(dv.backprop(found["g"], [found["x"]]).gradient("x")) == "dx[i] = 2 sum_j x[j] A[i,j]"
    assert dv.matrix("A: 2 x 3; A*x")["x"].axes == (3,)
    assert dv.matrix("S: n x n positive definite\nlogdet(S)")["S"].facts == (dv.positive_definite,)
    assert dv.from_matrix(sympy.Determinant(A), facts={"A": ["symmetric"]})["A"].facts == (dv.symmetric,)
    with pytest.raises(dv.DeriveError, match="facts name 'Q'"):
        dv.from_matrix(sympy.Determinant(A), facts={"Q": ["symmetric"]})
    assert dv.matrix("f'*x")["value"].rank == 0
    assert dv.matrix("sum(log(vector(1) + exp(-y.*(X*w))))")["X"].rank == 2


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "A*x + x'",
            dv.ShapeError,
            r"A\*x is a vector \(rows of A\), x' is \(1\) x \(rows of x\); \+ takes two of one shape",
        ),
        (
            "A: n x n; x: k; A*x",
            dv.ShapeError,
            r"A is \(n\) x \(n\), x is a vector \(k\); the columns of the first must be",
        ),
        ("X: m x n; inv(X)", dv.ShapeError, r"X is \(m\) x \(n\); a square matrix is needed"),
        ("x'*A*x + A", dv.ShapeError, r"is a scalar, A is .*multiply it by vector\(1\) or matrix\(1\)"),
        ("exp(A*x)./(y'*exp(A*x))", dv.ShapeError, r"a scalar; ./ takes two of one shape"),
        ("A^x", dv.ShapeError, "an exponent is a scalar"),
        ("A^2.5", dv.ShapeError, r"a matrix has whole powers, and \^-1; for its elements write A\.\^2\.5"),
        ("A/(B*x)", dv.ShapeError, r"one divides by a scalar, or element by element with \./"),
        (
            "a*b + z",
            dv.ShapeError,
            "it is ambiguous what is meant: a: scalar or b: scalar; declare it, as in  a: scalar; a",
        ),
        ("A: n x k symmetric; tr(A*A)", dv.ShapeError, r"A is declared symmetric, but its shape is \(n\) x \(k\)"),
        ("x' + ", dv.ParseError, "line 1, column 6: expected a number, a name or a bracket, found the end"),
        ("log_det(X)", dv.ParseError, r"log_det is no function here \(did you mean logdet\?\)"),
        ("x**2", dv.ParseError, r"column 3: .*found '\*'"),
        ("x y", dv.ShapeError, r"as spelled it does not fit: in x\*y: x is a vector"),
        ("__import__('os')", dv.ParseError, "is no function here"),
        ("x[0]", dv.ParseError, r"the character '\[' has no meaning here"),
        ("X: m x n; Y: m; X*w", dv.ParseError, "Y is declared but does not occur"),
        ("X: m x n; X: m; X*w", dv.ParseError, "X is declared twice"),
        ("X: m x 0; X*w", dv.ParseError, "expected a size, found '0'"),
        ("X: m x n lovely; X*w", dv.ParseError, "'lovely' is not a fact"),
        ("norm2(x, y)", dv.ParseError, "norm2 takes 1 argument, not 2"),
        ("1e999999999*x", dv.ParseError, "exponents up to 300"),
        ("2^3^99999999*tr(A)", dv.UnsupportedError, "exponents of numbers go up to 100"),
        ("(" * 500 + "x" + ")" * 500, dv.ParseError, "more than 100 levels"),
        ("A^99*x", dv.UnsupportedError, "matrix powers from 1 to 8"),
        ("1 + 2", dv.DeriveError, "names no tensor"),
        ("x = x'*x", dv.DeriveError, "the value is named x, and so is a tensor"),
    ],
)
def test_bad_formulas_say_what_is_wrong(text, error, message):
    with pytest.raises(error, match=message):
        dv.matrix(text)


def test_what_sympy_has_and_we_have_not_is_refused():
    for expr, message in (
        (sympy.MatPow(A, sympy.Rational(1, 2)), "whole powers"),
        (A[0, 1], "element of a matrix"),
        (sympy.Matrix([[1, 2], [3, 4]]), "explicit matrix"),
        (sympy.gamma(sympy.Trace(A)), "gamma has no form"),
        (sympy.Adjoint(A), "Adjoint has no form"),
    ):
        with pytest.raises(dv.UnsupportedError, match=message):
            dv.from_matrix(expr)
    with pytest.raises(dv.ShapeError, match="x has two shapes: [mn] x 1 and [mn] x 1"):
        y = sympy.MatrixSymbol("x", m, 1)
        dv.from_matrix(sympy.Trace(x * x.T) + sympy.Trace(y * y.T))
    with pytest.raises(dv.UnsupportedError, match=r"without \[0, 0\]"):
        dv.from_matrix((x.T * A * x)[0, 0])
    with pytest.raises(dv.UnsupportedError, match="texts go through dv.matrix"):
        dv.from_matrix("x'*A*x")


def test_orders_and_names_of_a_derivation():
    with pytest.raises(dv.DerivationError, match="is not a scalar but N.*declare it"):
        dv.derive_matrix("A*x", order=2)
    with pytest.raises(dv.DeriveError, match="wrt names 'z', which is no tensor"):
        dv.derive_matrix("A*x", "z")
    assert dv.derive_matrix("A*x", "x").kind == "jacobian"
    assert dv.derive_matrix("x'*A*x", "x", order=2, kind="hvp").kind == "hvp"


PIECES = st.sampled_from(
    [
        "A",
        "x",
        "w",
        "lam",
        "1",
        "2.5",
        "+",
        "-",
        "*",
        ".*",
        "/",
        "./",
        "^",
        ".^",
        "'",
        "(",
        ")",
        "inv(",
        "tr(",
        "norm2(",
        "exp(",
        ",",
        ":",
        ";",
        "vector(1)",
        " ",
        "=",
        "n x n",
        "det(",
        "diag(",
        "sum(",
    ]
)


@settings(max_examples=200, deadline=None)
@given(st.lists(PIECES, max_size=12).map("".join))
def test_no_text_does_anything_but_be_read_or_refused(text):
    try:
        found = dv.matrix(text)
    except dv.DeriveError as error:
        assert str(error)
    else:
        assert list(found.values())[-1].definition is not None


def test_jacobians_are_documents_too():
    d = dv.derive_matrix("A*x")
    text = d.to_text()
    assert "J_x[i,k]    = A[i,k]" in text and "J_x = A" in text and "f = A x" in text
    assert "J_A (jacobian), of shape (N, N, M)" in text
    assert "<math" in d.to_html() and "A_{ik}" in d.to_latex()


# -- sizes and values --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, shown",
    [
        ("A: n x n; tr(eye(n) - A)^2", ("f_sum = n - tr(A)", "f = f_sum^2", "dA = -2 f_sum I")),
        ("A: 2 x 2; tr(eye(2) - A)", ("f = 2 - tr(A)", "dA = -I")),
        ("X: m x n; tr(X*eye(n)*X'*eye(m)) + tr(eye(n))", ("f = n + ||X||^2", "dX = 2 X")),
        ("A: n x n; v: 3; size(3)*v'*v + tr(A*eye(1))", ("f = 3 ||v||^2 + tr(A)", "dA = I", "dv = 6 v")),
    ],
)
def test_eye_is_the_identity_of_a_size(text, shown):
    d = dv.derive_matrix(text)
    lines = {" ".join(line.split()) for line in d.to_matrix_notation().splitlines()}
    assert lines == set(shown) and d.check().ok
    assert {t.name for t in d.program.inputs} <= {"A", "X", "v"}


@pytest.mark.parametrize(
    "text, message",
    [
        ("A: n x n; n*tr(A)", r"n is a size, and stands as a value too; write size\(n\)"),
        ("A: n x n; n: scalar; n*tr(A)", r"n is a size, and stands as a value too"),
        ("A: n x n; c: scalar; tr(eye(c)*A)", r"in eye\(c\): c is no size \(the declared sizes are n\).*c\*eye\(1\)"),
        ("tr(eye(n) - A)", r"n is no size \(no size is declared\)"),
        ("A: n x n; tr(eye(n + 1)*A)", r"eye takes the size of the identity"),
        ("A: 2 x 2; norm2(eye(3)*A)", r"eye\(3\) is \(3\) x \(3\), A is \(2\) x \(2\)"),
    ],
)
def test_a_size_is_no_value(text, message):
    with pytest.raises(dv.DeriveError, match=message):
        dv.matrix(text)


def test_a_size_in_a_sympy_expression_is_the_number_that_it_is():
    n = sympy.Symbol("n", integer=True, positive=True)
    A = sympy.MatrixSymbol("A", n, n)
    found = dv.from_matrix(n * sympy.Trace(A + sympy.Identity(n)))
    assert list(found) == ["A", "f"]


@pytest.mark.parametrize(
    ("book", "text"),
    [
        ("2 X'X w", "2*X'*X*w"),
        ("w (a'b)", "w*(a'*b)"),
        ("a^T X^-T b", "a'*inv(X)'*b"),
        ("||x - y||^3", "norm2(x - y)^3"),
        ("b'(A \\ c)", "b'*solve(A, c)"),
        ("tr(adj(X))", "tr(det(X)*inv(X))"),
        ("(r > 0)'x", "(r > 0)'*x"),
    ],
)
def test_what_books_write(book, text):
    assert parse_formula(book).formula == parse_formula(text).formula


def test_a_bracket_of_a_comparison_and_a_scalar_named_t():
    assert str(dv.derive_matrix("sum(relu(x))", "x").closed_form("x")) == "(x > 0)"
    assert dv.matrix("T: scalar; a: scalar; a^T")["T"].rank == 0  # declared, T is an exponent
    with pytest.raises(dv.ParseError, match=r"expected '\|\|', found the end"):
        dv.matrix("||x")


def test_a_long_sum_is_read_as_quickly_as_it_is_written():
    """Every node's text was made twice by the node above it: 150 terms never ended."""
    text = " + ".join(f"x'*A{n}*x" for n in range(150))
    assert str(parse_formula(text).formula) == text
    d = dv.derive_matrix(text, "x")
    with pytest.raises(dv.DeriveError, match="more than 64 terms"):
        d.closed_form("x")
