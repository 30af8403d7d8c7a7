"""Closed forms: the book's formulas beside ours, each proved; what has none says why."""

import pytest
from cookbook import COOKBOOK

import derive as dv
from derive.derivation.closed.form import read_back
from derive.derivation.closed.reading import Reader
from derive.language.formulas.syntax import parse_formula
from derive.program.ingest import ingest

# Where ours is another form than the book's, or there is none, and why.
DIFFERENT: dict[str, str] = {}
NONE = {"kron": "blocks of a matrix that is no Kronecker product"}  # the book reshapes a vector to a matrix
SAMPLE = ("55 logdet(X'X)", "78 (Bx+b)'C(Dx+d)", "61 a'inv(X)b", "129 norm2(x-a)", "softmax vec", "105 tr(kron(A,X))")


def derived(row):
    _, formula, by, order, declared, _ = row
    d = dv.derive_matrix(f"{declared}\n{formula}" if declared else formula, by, order=order)
    return d, f"H_{by}_{by}" if order == 2 else by


def normal(text, d, equation):
    """The normal form of a text, over the tensors of a derivation."""
    known = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}
    read = read_back(text, equation, list(known.values()))
    tensor = getattr(read, "tensor", read)
    program = ingest([tensor])
    reader = Reader(program)
    reader.ranks = {n: k for k, n in enumerate(sorted(known))}
    return reader.equation(program.equation(tensor)).key


def agreement(row):
    """Our form, and whether it is the book's up to the order of factors; a form that is not proved is an error."""
    d, asked = derived(row)
    form = d.closed_form(asked)
    assert form.proof.verdict == "proved"
    assert dv.matrix(f"{form.declared}; {form}" if form.declared else str(form))
    equation = d.program.equation(form.name)
    if "commutation" in row[-1]:
        return str(form), parse_formula(str(form)).formula == parse_formula(row[-1]).formula
    return str(form), bool(row[-1]) and normal(str(form), d, equation) == normal(row[-1], d, equation)


@pytest.mark.parametrize("row", [r for r in COOKBOOK if r[0] in SAMPLE], ids=lambda r: r[0])
def test_a_sample_of_the_book(row):
    ours, same = agreement(row)
    assert same, f"{row[0]}: the book {row[-1]}, ours {ours}"


@pytest.mark.slow
def test_the_whole_book():
    """At least 90 of 92 agree with the book, every one is proved, and those that differ are listed with the reason."""
    differ, none = {}, {}
    for row in COOKBOOK:
        try:
            ours, same = agreement(row)
        except dv.DerivationError as error:
            none[row[0]] = str(error)
            continue
        if not same:
            differ[row[0]] = f"the book {row[-1]}, ours {ours}"
    assert set(differ) == set(DIFFERENT), "\n".join(f"{k}: {v}" for k, v in differ.items())
    assert all(NONE[k] in v for k, v in none.items()) and set(none) == set(NONE)
    assert len(COOKBOOK) - len(differ) - len(none) >= 90


@pytest.mark.parametrize(
    ("text", "order", "form"),
    [
        ("X: m x n; X'", 1, "commutation(X)"),
        ("X: m x n; X*X'", 1, "kron(X, eye(1)) commutation(X) + kron(eye(1), X)"),
        ("X: m x n; tr(A*X)*tr(B*X)", 2, "vec(A') vec(B')' + vec(B') vec(A')'"),
        ("tr(X)*X", 1, "tr(X) kron(eye(1), eye(1)) + vec(X) vec(eye(1))'"),
    ],
)
def test_stacked_rows_and_the_commutation_matrix(text, order, form):
    d = dv.derive_matrix(text, "X", order=order)
    assert str(d.closed_form("X" if order == 1 else "H_X_X")) == form


def closed(text, by, **declared):
    return str(dv.derive_matrix(text, by, **declared).closed_form(by))


@pytest.mark.parametrize(
    ("text", "by", "form"),
    [
        ("relu(W*x + b)", "x", "diag(W x + b > 0) W"),
        ("log(abs(det(X)))", "X", "inv(X)'"),
        ("||A x - b||", "x", "A'(A x - b) / ||A x - b||"),
        ("tr(X^-2)", "X", "-2 (inv(X)^3)'"),
        ("b'(A\\c)", "A", "-inv(A)'b c'inv(A)'"),
        ("sum((A*x > 0).*x)", "x", "(A x > 0)"),
        ("x^T A x", "x", "(A + A')x"),
        ("tr(kron(A,X)*kron(B,C))", "X", "tr(A B) C'"),
        ("c: scalar; sum(x.^c)", "x", "c (x.^(c - 1))"),
        ("sum((1 + x'*x)^3*x)", "x", "(1 + x'x)^2 ((1 + x'x)vector(1) + 6 sum(x) x)"),
        ("sum(x)/norm2(x)", "x", "(vector(1) - sum(x) x / (x'x)) / ||x||"),
    ],
)
def test_kinds(text, by, form):
    assert closed(text, by) == form


def test_the_loss_and_what_is_on_the_way():
    d = dv.derive_matrix("c*norm1(W) + norm2(Y - X*W)^2", "W")
    assert str(d.closed_form("f")) == "||Y - X W||^2 + c sum(abs(W))"
    assert str(d.closed_form(d.loss.name)) == str(d.closed_form("f"))
    assert d.closed_form("W").to_latex().endswith(r"X^{\top} \, \left(Y - X \, W\right)")
    with pytest.raises(dv.DeriveError, match="no such equation.*there are"):
        d.closed_form("Q")


def test_helpers_name_what_repeats():
    declared = "C: m x m symmetric; B: m x m symmetric; X: m x n; "
    d = dv.derive_matrix(declared + "tr(inv(X'*C*X)*(X'*B*X))", "X")
    form, whole = d.closed_form("X", helpers=True), d.closed_form("X")
    assert str(form) == "2 (B - C X R X'B)X R  with R = inv(X'C X)"
    assert (
        str(whole) == "2 (B - C X inv(X'C X) X'B)X inv(X'C X)" and form.formula == whole.formula and not whole.helpers
    )
    assert form.to_latex().endswith(r"R = \left(X^{\top} \, C \, X\right)^{-1}")


def test_a_root_of_a_square_keeps_its_sign():
    assert closed("sqrt((a'*x)^2)", "x") == "sign(a'x) a"
    assert closed("norm2(c*x.*a)", "c", c="scalar", x="n", a="n") == "c sqrt(a'(a .* x.^2)) / abs(c)"


@pytest.mark.parametrize("name", ["pinv", "expm", "logm", "sqrtm", "eig", "svd", "rank"])
def test_functions_of_matrices_that_are_refused_say_what_to_write(name):
    with pytest.raises(dv.ParseError, match=f"{name} is no function here: .*(write|zero)"):
        dv.matrix(f"sum({name}(A))")


def test_tensors_in_index_notation():
    b, i, k = dv.indices("b i k")
    x, W, c = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("c", k)
    y = dv.tensor("y", b, k)
    r = dv.define("r", (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k] - y[b, k])
    d = dv.backprop(dv.define("loss", (), dv.Sum(r[b, k] ** 2, b, k) / b.size), [W, c])
    assert str(d.closed_form(W)) == "2 x'(x W + vector(1) c' - y) / size(B)"


def written(text, by):
    found = dv.parse(text)
    return dv.backprop(found["loss"], [found[by]])


@pytest.mark.parametrize(
    ("d", "name", "why"),
    [
        (
            dv.derive_matrix("a'*kron(A,B)*b", "A", A="m x m", B="n x n"),
            "A",
            "no Kronecker product.*in index notation it is",
        ),
        (dv.derive_matrix("sum(X.^3)", "X", order=2), "H_X_X", "no product of two matrices"),
        (written("x: float[i]; loss = sum[i](x[i]*x[i+1])", "x"), "x", r"the read x\[.*\]"),
        (written("x: float[i,j,k]; loss = sum[i,j,k](x[i,j,k]^2)", "x"), "x", "x has 3 axes|dx has 3 axes"),
    ],
)
def test_what_has_none_says_why(d, name, why):
    with pytest.raises(dv.DerivationError, match=f"(?s)no closed form in matrices: .*{why}"):
        d.closed_form(name)
