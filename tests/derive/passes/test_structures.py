"""Structured matrices: gradients by the free entries, with the book's forms; what conflicts is refused."""

from dataclasses import replace

import pytest

import derive as dv
from derive.derivation.derivation import Derivation


def closed(text, by):
    d = dv.derive_matrix(text, by)
    assert d.check().proved
    d.replay()
    return str(d.closed_form(by))


@pytest.mark.parametrize(
    ("text", "by", "form"),
    [
        ("S: n x n free symmetric; tr(A*S)", "S", "A + A' - diag(diag(A))"),  # the Cookbook's (138)
        ("S: n x n free symmetric; logdet(S)", "S", "2 inv(S) - diag(diag(inv(S)))"),  # (141)
        ("S: n x n free symmetric; x'*S*x", "S", "2 x x' - diag(x.^2)"),
        ("S: n x n symmetric; tr(A*S)", "S", "A'"),
        ("D: n x n diagonal; tr(A*D)", "D", "diag(diag(A))"),  # (142)
        ("D: n x n diagonal; norm2(D)^2", "D", "2 D"),
        ("D: n x n diagonal; logdet(A + D)", "D", "diag(diag(inv(A + D)))"),
        ("L: n x n lower triangular; norm2(y - L*x)^2", "L", "-2 tril((y - L x)x')"),
        ("U: n x n upper triangular; logdet(U)", "U", "triu(inv(U)')"),
        ("T: n x n toeplitz; tr(A*T)", "T", "diagsums(A')"),  # (143)
        ("T: n x n toeplitz; norm2(y - T*x)^2", "T", "-2 diagsums((y - T x)x')"),
        ("T: m x n toeplitz; tr(A*T*B*T')", "T", "diagsums(A T B + A'T B')"),
        ("norm2(y - tril(L)*x)^2", "L", "-2 tril((y - tril(L) x)x')"),
        ("norm2(y - tril(L)*x)^2", "x", "-2 tril(L)'(y - tril(L) x)"),
        ("sum(diagsums(X).*A)", "X", "diagsums(A)"),
        ("tr(tril(X)*A)", "X", "triu(A)'"),
    ],
)
def test_the_gradient_by_the_free_entries(text, by, form):
    assert closed(text, by) == form


@pytest.mark.parametrize("kind", ["free symmetric", "diagonal", "upper triangular", "toeplitz"])
def test_a_jacobian_by_the_free_entries(kind):
    d = dv.derive_matrix(f"S: n x n {kind}; S*x", "S")
    assert d.check().proved and d.facts


def test_in_index_notation_and_as_text():
    p, q = dv.indices("p q", size="N")
    T, a = dv.tensor("T", p, q, facts=[dv.toeplitz]), dv.tensor("a", p)
    d = dv.backprop(dv.define("f", (), dv.Sum(a[p] * T[p, q] * a[q], p, q)), [T])
    assert str(d.gradient(T)) == "dT[p,q] = dT_diagonals[p+N-q-1]"
    assert "T is Toeplitz" in str(d.facts[0]) and "by its free entries" in d.to_text()
    found = dv.parse("index i j : N; L: float[i,j] lower triangular; x: float[i]; f = sum[i,j](x[i]*L[i,j]*x[j])")
    assert str(dv.backprop(found["f"], [found["L"]]).gradient("L")) == "dL[i,j] = x[i] x[j] [j <= i]"


def test_a_gradient_by_all_entries_is_no_gradient_by_the_free_ones():
    d = dv.derive_matrix("S: n x n free symmetric; tr(A*S)", "S")
    assert "by all entries of S" in d.compare("S", "A[j,i]").mistake
    assert "by all entries of S" in d.compare("S", "(A[i,j] + A[j,i])/2").mistake
    assert d.compare("S", "A[i,j] + A[j,i] - [i == j]*A[i,j]")
    kept = [s for s in d.steps if s.rule == "free entries"]
    wrong = replace(kept[0], after=replace(kept[0].after, terms=kept[0].after.terms[:1]))
    steps = tuple(wrong if s is kept[0] else s for s in d.steps)
    program = replace(d.program, equations=tuple(wrong.after if e.name == "dS" else e for e in d.program.equations))
    with pytest.raises(dv.DerivationError, match="refuted"):
        Derivation(**{**vars(d), "steps": steps, "program": program}).check()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("S: m x n symmetric; sum(S)", r"declared symmetric, but its shape is \(m\) x \(n\); accepted is a square"),
        ("L: m x n lower triangular; sum(L)", "declared lower triangular, but its shape"),
        ("L: n lower triangular; sum(L)", r"but its shape is vector \(n\)"),
        ("L: n x n lower triangular symmetric; sum(L)", "conflict: a symmetric matrix that is triangular is diagonal"),
        ("L: n x n lower triangular upper triangular; sum(L)", "is diagonal"),
        ("D: n x n diagonal positive; sum(D)", "the other entries of a diagonal matrix are zero"),
        ("S: n x n free; sum(S)", "declare it symmetric as well"),
        ("L: n x n lower; sum(L)", "accepted are .*lower triangular"),
        ("tril(x)", "a square matrix is needed"),
        ("x: n; diagsums(x)", "takes a matrix"),
    ],
)
def test_what_conflicts_is_refused(text, why):
    with pytest.raises(dv.DeriveError, match=why):
        dv.matrix(text)


def test_second_derivatives_by_free_entries_are_refused():
    with pytest.raises(dv.UnsupportedError, match="hessian: D is declared diagonal.*only first ones.*diag\\(v\\)"):
        dv.derive_matrix("D: n x n diagonal; x'*D*D*x", "D", order=2)
