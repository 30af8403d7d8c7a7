"""Matrix notation says what the index equation says: its formulas are read back by a reader of matrices, in numbers."""

import numpy as np
import pytest

import derive as dv
from derive.show.formulas import layout as L
from derive.show.formulas.matrix_notation import Notation
from derive.show.matrix_notation import ranks_of
from numerics.reference.programs import evaluate
from numerics.reference.sampling import draw_arrays, draw_sizes

N = 3
TEXTS = (
    "x'*A*x",
    "norm2(X*w - y)^2 + 0.5*lam*norm2(w)^2",
    "a'*inv(X)*b",
    "tr(X^2*B)",
    "(X*b+c)'*D*(X*b+c)",
    "1/2*norm2(A-U*V)^2",
    "exp(tr(S))",
    "tr(A)*A",
    "norm2(x)",
    "sum(q.*log(q))",
    "x*y'",
    "det(X)",
    "tr(inv(A)*B)",
    "tr(diag(x)*A)",
    "norm1(x)",
    "vector(1)'*A*vector(1)",
    "norm2(A*x)",
    "tr(A*X*B*X')",
    "A*x",
    "sum(log(vector(1)+exp(-y.*(X*w))))",
    "A: n x n positive definite; x'*inv(A)*x + logdet(A)",
    "log(sum(exp(x)))",
    "A: n x n symmetric; x'*A*x",
    "tr(A.*B*C)",
    "sum(exp(A))",
    "x'*diag(A)",
)
FUNCTIONS = {
    "log": np.log,
    "exp": np.exp,
    "sign": np.sign,
    "sqrt": np.sqrt,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "det": np.linalg.det,
    "diag": lambda v: np.diag(v[:, 0]),
    "diagonal": lambda m: np.diag(m)[:, None],
    "vec": lambda m: m.reshape(-1, 1),
    "tr": np.trace,
    "logdet": lambda m: np.log(np.linalg.det(m)),
}
ONES, IDENTITY = np.ones((N, 1)), np.eye(N)
COMMUTE = np.eye(N * N).reshape(N, N, N, N).transpose(0, 1, 3, 2).reshape(N * N, N * N)


def matrices(node, arrays):
    """A formula of square matrices of size N and columns, as NumPy has it; numbers are 0-dimensional."""
    v = lambda n: matrices(n, arrays)  # noqa: E731
    match node:
        case L.Num():
            return np.float64(node.text)
        case L.Letter(name="I"):
            return IDENTITY
        case L.Letter(name="K"):
            return COMMUTE
        case L.Name():
            array = np.asarray(arrays[node.raw])
            return (
                array[:, None]
                if array.ndim == 1
                else array
                if array.ndim < 3
                else array.reshape(-1, N * N if array.ndim == 4 else N)
            )
        case L.Ones():
            return ONES
        case L.Transposed():
            return v(node.body).T
        case L.Inverted():
            return np.linalg.inv(v(node.body))
        case L.Sum():
            items = [sign * v(item) for sign, item in node.items]
            return sum(items[1:], items[0])
        case L.Product(op="odot"):
            return np.prod([v(i) for i in node.items], axis=0)
        case L.Product(op="otimes"):
            return np.kron(*(v(i) for i in node.items))
        case L.Product():
            out = np.float64(1)
            for item in map(v, node.items):
                out = _unit(out * item if 1 in (out.size, item.size) else out @ item)
            return out
        case L.Fraction():
            return v(node.num) / v(node.den)
        case L.Power(base=L.Fence(kind="norm")):
            return np.sum(v(node.base.body) ** 2)
        case L.Power():
            return v(node.base) ** v(node.exponent)
        case L.Exp():
            return np.exp(v(node.arg))
        case L.Root():
            return np.sqrt(v(node.arg))
        case L.Fence(kind="abs"):
            return np.abs(v(node.body))
        case L.Apply():
            return np.asarray(FUNCTIONS[node.fn](v(node.args[0])))
    raise AssertionError(f"no reading of {node}")


def _unit(a):
    return a.reshape(()) if a.size == 1 else a


def values(d):
    """Every tensor at sizes that are all equal, so that a wrong transpose shows as a wrong number."""
    sizes = draw_sizes(d.program, square=True)
    assert set(sizes.values()) == {N}
    domains = {t.name: "(0.2, 1.5)" for t in d.program.inputs if not any(f.is_symmetric for f in t.facts)}
    return evaluate(d.program, draw_arrays(d.program, sizes, domains, np.random.default_rng(1)), sizes, np)


@pytest.mark.parametrize("text", TEXTS)
def test_every_form_means_its_equation(text):
    d = dv.derive_matrix(text)
    seen = 0
    for one in (d, *([] if d.loss.rank else [dv.derive_matrix(text, order=2)])):
        arrays, notation, ranks = values(one), Notation.of(one.program), ranks_of(one)
        for e in one.program.equations:
            form = notation.equation(e, ranks.get(e.name))
            if form is None:
                continue
            array, found = np.asarray(arrays[e.name]), matrices(form[1], arrays)
            array = array[:, None] if array.ndim == 1 else array
            array = array if array.ndim < 3 else array.reshape(N ** ranks[e.name][0], -1)
            if np.size(found) == 1:  # a number in the place of a matrix is its every element
                found = np.full(array.shape, np.asarray(found).reshape(()))
            np.testing.assert_allclose(found, array, rtol=1e-9, atol=1e-12, err_msg=f"{e}")
            seen += 1
    assert seen >= len(d.program.equations) // 2


def stripped(text, wrt=(), **options):
    shown = dv.derive_matrix(text, wrt, **options).to_matrix_notation().splitlines()
    return {name.strip(): formula for name, formula in (line.split(" = ", 1) for line in shown)}


def test_the_textbook_forms():
    assert stripped("a'*inv(X)*b")["dX"] == "-X^-T d_X_inv X^-T"
    assert stripped("logdet(X)")["dX"] == "X^-T"
    assert stripped("det(X)")["dX"] == "f X^-T"
    assert stripped("tr(X^2*B)")["dX"] == "B^T X^T + X^T B^T"
    assert stripped("1/2*norm2(A-U*V)^2") == {
        "r": "A - U V",
        "f": "||r||^2 / 2",
        "dA": "r",
        "dU": "-r V^T",
        "dV": "-U^T r",
    }
    assert stripped("exp(tr(S))")["dS"] == "f I"
    assert stripped("tr(A)*A")["J_A"] == "tr(A) (I ⊗ I) + vec(A) vec(I)^T"
    assert stripped("norm2(x)", order=2)["H_x_x"] == "I / f - x x^T / f^3"
    assert stripped("sum(q.*log(q))", order=2)["H_q_q"] == "diag(1 / q)"
    assert stripped("(X*b+c)'*D*(X*b+c)", wrt="b")["db"] == "X^T dr"
    assert stripped("norm2(A - U*V)^2", order=2, wrt="U")["H_U_U"] == "2 (I ⊗ (V V^T))"
    assert stripped("norm2(A - U*V)^2", order=2, wrt="V")["H_V_V"] == "2 ((U^T U) ⊗ I)"
    assert stripped("log(sum(exp(x)))", order=2)["H_x_x"] == "diag(dx) - dx dx^T"


def test_what_has_no_matrix_form_stays_in_index_notation_and_says_so():
    text = dv.derive_matrix("tr(diag(x)*A)", order=2).to_matrix_notation()
    assert "H_x_A[i,i',j] = [i' = i] [j = i]   (index notation: no matrix form)" in text
    b, i, r = dv.indices("b i r")
    x, w = dv.tensor("x", b, i), dv.tensor("w", r)
    y = dv.define("y", (b,), dv.Sum(x[b, b + r] * w[r], r) + dv.Max(x[b, i], i))
    text = dv.backprop(dv.define("z", (), dv.Sum(y[b], b)), [w]).to_matrix_notation()
    assert "dw[r] = sum_b x[b,b+r]   (index notation: no matrix form)" in text and "z = 1^T y" in text


def test_latex_of_matrix_notation():
    latex = dv.derive_matrix("a'*inv(X)*b").to_matrix_notation("latex")
    assert r"X^{-\top}" in latex and latex.startswith("\\begin{align*}") and latex.endswith("\\end{align*}")
    latex = dv.derive_matrix("1/2*norm2(A-U*V)^2", "U", order=2).to_matrix_notation("latex")
    assert r"\otimes" in latex
    with pytest.raises(dv.DeriveError, match="'text' or 'latex'"):
        dv.derive_matrix("x'*A*x").to_matrix_notation("html")
