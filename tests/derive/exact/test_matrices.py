"""Inverse, determinant and log-determinant: every column of the table, the identities of the textbooks, bad input."""

import itertools
import random

import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from derive.exact.field import ModularField, RationalField, Undefined
from derive.exact.matrices import MATRIX_VALUES as EXACT_VALUES
from derive.exact.matrices import eliminated
from derive.language.matrices import KINDS, MATRICES
from derive.passes.matrices import slope
from derive.show.latex import equation_latex
from numerics.checks.ground import float64
from numerics.emit.patterns.matrices import EMISSIONS
from numerics.reference.functions import MATRIX_VALUES
from numerics.reference.programs import evaluate

p, q = dv.indices("p q", size="N")
(b,) = dv.indices("b")


def test_every_column_of_the_table_is_complete():
    assert set(MATRICES) - set(EMISSIONS) == set() and set(EMISSIONS) - set(MATRICES) == set()
    assert set(MATRICES) - set(MATRIX_VALUES) == set()
    assert set(MATRICES) == set(EXACT_VALUES)
    assert set(MATRICES) == set(KINDS.values())
    A = dv.tensor("A", p, q)
    for kind, value in (("inverse", dv.Sum(dv.inverse(A)[p, q], p, q)), ("det", dv.det(A)), ("logdet", dv.logdet(A))):
        d = dv.backprop(dv.define("y", (), value), [A])
        eq = next(e for e in d.program if e.reduce == kind)
        assert slope(eq, eq.idx, eq.over, d.program.equation("A_inv").tensor)[1]
        assert str(eq).split(" = ")[1] == {"inverse": "(A^-1)[p,q]", "det": "det(A)", "logdet": "logdet(A)"}[kind]
        assert {"inverse": "A^{-1}", "det": r"\det(A)", "logdet": r"\log\det(A)"}[kind] in equation_latex(eq)
        assert "<math" in d.to_html() and d.check().ok
        assert d.to_text()


def test_elimination_is_exact_in_every_field():
    rows = [[0, 2, 1], [3, 1, 4], [1, 5, 9]]
    for F in (RationalField(), ModularField(random.Random(1))):
        matrix = [[F.rational(v) for v in row] for row in rows]
        identity = [[F.rational(int(i == j)) for j in range(3)] for i in range(3)]
        inverse, determinant = eliminated(F, matrix, identity)
        assert determinant == F.rational(-32)
        for i, k in itertools.product(range(3), repeat=2):
            total = F.zero
            for j in range(3):
                total = F.add(total, F.mul(matrix[i][j], inverse[j][k]))
            assert total == identity[i][k]
        with pytest.raises(Undefined, match="singular"):
            eliminated(F, [[F.one, F.one], [F.one, F.one]], [[], []])


def same_as_the_evaluator(d, arrays, wrt, dense=False):
    """The compiled program against one that evaluates each equation on its grid."""
    sizes = dict(
        zip(
            (s for t in d.program.inputs for s in t.axes),
            (n for t in d.program.inputs for n in arrays[t.name].shape),
            strict=True,
        )
    )
    with float64():
        ours = nx.compile(d, dense=dense)(**arrays)
        expected = evaluate(d.program, arrays, sizes, np)
    for n in wrt:
        np.testing.assert_allclose(ours.grads[n], expected[f"d{n}"], rtol=1e-9, atol=1e-11)


def test_an_inverse_of_a_definition_and_of_a_batch():
    A, x = dv.tensor("A", b, p, q), dv.tensor("x", b, p)
    inv = dv.inverse(A)
    loss = dv.define(
        "loss", (), dv.Sum(x[b, p] * inv[b, p, q] * x[b, q], b, p, q) + dv.Sum(dv.logdet(A), b) + dv.Sum(dv.det(A), b)
    )
    d = dv.backprop(loss, [A, x])
    assert sum(e.reduce == "inverse" for e in d.program) == 1
    assert d.check().ok
    rng = np.random.default_rng(0)
    arrays = {"A": rng.normal(size=(4, 3, 3)) + 4 * np.eye(3), "x": rng.normal(size=(4, 3))}
    for dense in (False, True):
        same_as_the_evaluator(d, arrays, ("A", "x"), dense)
    kern = nx.compile(d)
    assert "A_inv = jnp.linalg.inv(A)" in kern.source and "jnp.linalg.slogdet(A)" in kern.source


def test_the_inverse_of_an_expression_is_the_inverse_of_a_named_matrix():
    (n,) = dv.indices("n")
    i, j = dv.indices("i j", size="N")
    X, lam = dv.tensor("X", n, p), dv.tensor("lam")
    gram = dv.Sum(X[n, p] * X[n, q], n) + lam[()] * dv.Iverson(sympy.Eq(p, q))
    d = dv.backprop(dv.define("w", (), dv.Sum(dv.Inverse(gram, (p, q), i, j), i, j)), [X, lam])
    assert "w_inv[p,q] = (w_matrix^-1)[p,q]" in [str(e) for e in d.program]
    assert d.check().ok


def test_an_inverse_within_a_recurrence():
    """As in Riccati's recursion: a matrix is inverted at every step."""
    (t,) = dv.indices("t")
    i, j = dv.indices("i j", size="N")
    F, Q = dv.tensor("F", i, j), dv.tensor("Q", t, i, j)
    P = dv.define("P", (t, i, j), lambda P: dv.Inverse(P[t - 1, p, q] + Q[t, p, q], (p, q), i, j) * F[i, j])
    d = dv.backprop(dv.define("loss", (), dv.Sum(P[t, i, j], t, i, j)), [Q, F])
    assert d.check().ok
    rng = np.random.default_rng(0)
    arrays = {"F": rng.normal(size=(3, 3)), "Q": rng.normal(size=(3, 3, 3)) + 3 * np.eye(3)}
    same_as_the_evaluator(d, arrays, ("Q", "F"))


def T(d):
    """The tensors of a derivation by name."""
    return {t.name: t for t in (*d.program.inputs, *(e.tensor for e in d.program))}


K, M = dv.index("k", "N"), dv.index("m", "N")
IDENTITIES = [  # formula, by what, the gradient as the textbooks have it, of the tensors and the free letters
    ("a'*inv(X)*b", "X", lambda t, i, j: -dv.Sum(t["X_inv"][K, i] * t["a"][K] * t["b"][M] * t["X_inv"][j, M], K, M)),
    ("logdet(X)", "X", lambda t, i, j: t["X_inv"][j, i]),
    ("det(X)", "X", lambda t, i, j: t["f"][()] * t["X_inv"][j, i]),
    ("tr(X^2*B)", "X", lambda t, i, j: dv.Sum(t["B"][K, i] * t["X"][j, K] + t["X"][K, i] * t["B"][j, K], K)),
    ("(X*b+c)'*D*(X*b+c)", "c", lambda t, i: dv.Sum((t["D"][i, K] + t["D"][K, i]) * t["r"][K], K)),
    ("exp(tr(S))", "S", lambda t, i, j: t["f"][()] * dv.Iverson(sympy.Eq(i, j))),
    ("norm2(x)", "x", lambda t, i: t["x"][i] / t["f"][()]),
    ("sum(q.*log(q))", "q", lambda t, i: sympy.log(t["q"][i]) + 1),
    ("1/2*norm2(A-U*V)^2", "A", lambda t, i, k: t["A"][i, k] - dv.Sum(t["U"][i, KU] * t["V"][KU, k], KU)),
    ("tr(inv(A)*B)", "B", lambda t, i, j: t["A_inv"][j, i]),
    ("A: n x n symmetric; x'*A*x", "x", lambda t, i: 2 * dv.Sum(t["A"][i, KN] * t["x"][KN], KN)),
]
KU, KN = dv.index("m", "K"), dv.index("m", "n")


@pytest.mark.parametrize(("text", "wrt", "expected"), IDENTITIES, ids=[i[0] for i in IDENTITIES])
def test_the_usual_identities(text, wrt, expected):
    d = dv.derive_matrix(text)
    evidence = d.check()
    assert evidence.undecided == [] and len(evidence.named("proved")) > 3
    letters = d.gradient(wrt).idx
    assert d.compare(wrt, expected(T(d), *letters)), d.gradient(wrt)
    assert not d.compare(wrt, -expected(T(d), *letters))


@pytest.mark.parametrize(
    "text", ["a'*inv(X)*b", "A: n x n positive definite; x'*inv(A)*x + logdet(A)", "det(A)", "1/2*norm2(A-U*V)^2"]
)
def test_hessians_of_the_identities(text):
    d = dv.derive_matrix(text, order=2, wrt=[dv.derive_matrix(text).wrt[1 if text.startswith("a'") else 0].name])
    assert d.check().undecided == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: dv.derive_matrix("a'*inv(X)*b + logdet(X)", "X"),
        lambda: dv.derive_matrix("A: n x n positive definite; x'*inv(A)*x + logdet(A)", "A", order=2),
    ],
)
def test_the_programs_agree_with_autodiff(make):
    report = nx.verify(nx.compile(make()))
    assert report.ok, report


def test_a_positive_definite_matrix_goes_through_its_cholesky_factor():
    d = dv.derive_matrix("A: n x n positive definite; x'*inv(A)*x + logdet(A)")
    source = nx.compile(d).source
    assert source.count("jnp.linalg.cholesky") == 1 and "slogdet" not in source and "linalg.inv" not in source
    assert "A is positive definite (declared), so its Cholesky factor" in source
    A_inv = d.program.equation("A_inv").tensor
    assert [f.text(A_inv) for f in A_inv.facts] == ["A_inv is positive definite, as A is (declared)"]


# -- bad input -----------------------------------------------------------------------------------------------------


def covariance(n=3):
    m = np.random.default_rng(0).normal(size=(n, n))
    return m @ m.T + np.eye(n)


def test_validate_names_what_is_wrong_with_a_matrix():
    kern = nx.compile(dv.derive_matrix("A: n x n positive definite; x'*inv(A)*x + logdet(A)", "A"))
    good, x = covariance(), np.ones(3)
    assert "A: A is positive definite (declared)" in kern.validate(A=good, x=x)
    with pytest.raises(nx.NumericsError, match=r"smallest eigenvalue is -\d.*of 3 are not positive.*row \d"):
        kern.validate(A=good - 3 * np.eye(3), x=x)
    crooked = good.copy()
    crooked[0, 2] += 0.5
    with pytest.raises(nx.NumericsError, match=r"but A\[0, 2\] = \S+ and A\[2, 0\] = \S+, the largest violation"):
        kern.validate(A=crooked, x=x)
    kern = nx.compile(dv.derive_matrix("x'*inv(A)*x + logdet(A)", "A"))
    assert any(line.startswith("A: of positive determinant") for line in kern.validate(A=good, x=x))
    flipped = good * np.array([1, 1, -1])[:, None]
    with pytest.raises(nx.NumericsError, match=r"in f_logdet = logdet\(A\)\n  the determinant of A is -.*not positive"):
        kern.validate(A=flipped, x=x)
    assert np.isnan(kern(A=flipped, x=x).loss)
    with pytest.raises(nx.NumericsError, match="A is singular: .* 1 of 3 dimensions are left"):
        kern.validate(A=np.ones((3, 3)), x=x)
    with pytest.raises(nx.NumericsError, match="not finite at step 0: in f_logdet.*\n.*not positive"):
        nx.newton(dv.derive_matrix("a'*A*a - logdet(A)", "A", order=2), {"A": flipped}, {"a": x})


def test_matrices_of_a_batch_are_told_by_their_place():
    A = dv.tensor("A", b, p, q)
    kern = nx.compile(dv.backprop(dv.define("f", (), dv.Sum(dv.logdet(A), b)), [A]))
    arrays = np.stack([np.eye(3), np.diag([1.0, -2.0, 1.0])])
    with pytest.raises(nx.NumericsError, match=r"the determinant of A\[1\] is -2, not positive"):
        kern.validate(A=arrays)


def test_what_is_not_a_square_matrix_is_refused():
    i, j = dv.indices("i j")
    B, v = dv.tensor("B", i, j), dv.tensor("v", i)
    for make, message in (
        (lambda: dv.inverse(B), "B has axes .I, J.; accepted is a square matrix"),
        (lambda: dv.logdet(v), "v has axes .I.; accepted is a square"),
        (lambda: dv.Inverse(B[i, j], (i, j), *dv.indices("k l")), "the matrix is I x J"),
        (lambda: dv.solve(dv.tensor("A", p, q), v), "the first axis of v must be N"),
        (lambda: dv.kron(B, v), "takes two matrices"),
        (lambda: dv.tensor("C", i, j, facts=[dv.positive_definite]), "positive definite needs two axes"),
    ):
        with pytest.raises(dv.ShapeError, match=message):
            make()
    with pytest.raises(dv.IndexCaptureError, match="bound by the matrix"):
        dv.Inverse(dv.tensor("A", p, q)[p, q], (p, q), p, q)
    with pytest.raises(dv.DeriveError, match="takes a tensor"):
        dv.trace(3)


@pytest.mark.parametrize(
    ("text", "by", "gradient"),
    [
        ("tr(inv(A)*A*B)", "B", "dB[i,j] = [j = i]"),
        ("tr(inv(A)*A)", "A", "dA[i,j] = 0"),
        ("a'*A*inv(A)*b", "a", "da[i] = b[i]"),
        ("a'*inv(A)*A*b", "b", "db[i] = a[i]"),
    ],
)
def test_a_matrix_times_its_inverse_is_the_identity(text, by, gradient):
    d = dv.derive_matrix(text, by)
    assert str(d.gradient(by)) == gradient
    assert "inverse" in {s.rule for s in d.steps} and d.check().undecided == []


def test_what_is_no_inverse_of_the_other_does_not_cancel():
    for text in ("a'*inv(A)*A'*b", "a'*inv(A)*B*b", "a'*inv(A)*diag(c)*A*b"):
        d = dv.derive_matrix(text, "a")
        assert "inverse" not in {s.rule for s in d.steps} and d.check().ok, text


def test_documents_show_products_of_several_matrices():
    text = dv.derive_matrix("a'*inv(X)*b + logdet(X)", "X").to_text()
    for shown in ("X_inv = X^-1", "f = f_logdet + a^T X_inv b", "dX = X_inv^T - X_inv^T d_X_inv X_inv^T"):
        assert shown in text


def test_the_text_language_declares_positive_definite_matrices():
    found = dv.parse("index p q : N\nS: float[p, q] parameter positive definite\nf = sum[p, q](S[p, q])")
    assert found["S"].facts == (dv.positive_definite,)


def _mutants():
    def flipped(eq, idx, over, inverse):
        coef, fac = slope(eq, idx, over, inverse)
        return -coef, fac

    def turned(eq, idx, over, inverse):
        coef, fac = slope(eq, idx, over, inverse)
        return coef, tuple(f.func(f.tensor, *f.idx[:-2], f.idx[-1], f.idx[-2]) if f.idx else f for f in fac)

    def forgotten(eq, idx, over, inverse):
        coef, fac = slope(eq, idx, over, inverse)
        return coef, fac[-1:]

    return {"flipped": flipped, "turned": turned, "forgotten": forgotten}


@pytest.mark.parametrize(
    ("mutant", "text"),
    [
        (m, t)
        for m in _mutants()
        for t in ("a'*inv(X)*b", "det(X)", "logdet(X)")
        if (m, t) != ("forgotten", "logdet(X)")
    ],
)
@pytest.mark.parametrize("order", [1, 2])
def test_a_wrong_rule_is_refuted(mutant, text, order, monkeypatch):
    monkeypatch.setattr("derive.passes.matrices.slope", _mutants()[mutant])
    with pytest.raises(dv.DerivationError, match="gradient X is refuted by (mod 2|50-digit)"):
        dv.derive_matrix(text, "X", order=order).check()
