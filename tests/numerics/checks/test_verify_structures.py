"""Programs of gradients by free entries: against autodiff of every entry, the loss itself, and written by hand."""

import numpy as np
import pytest

import derive as dv
import numerics as nx


@pytest.mark.parametrize(
    ("text", "by"),
    [
        ("S: n x n free positive definite; logdet(S) + x'*inv(S)*x", "S"),
        ("T: m x n toeplitz; norm2(y - T*x)^2", "T"),
        ("L: n x n lower triangular; L*x", "L"),
    ],
)
def test_the_program_is_right(text, by):
    d = dv.derive_matrix(text, by)
    report = nx.verify(nx.compile(d), dtypes=("float64",))
    assert report.ok, report


def test_a_hand_written_gradient():
    kern = nx.compile(dv.derive_matrix("S: n x n free symmetric; tr(A*S*S)", "S"))

    def by_all(A, S):
        return {"S": (A @ S + S @ A).T}

    def by_free(A, S):
        G = by_all(A, S)["S"]
        return {"S": G + G.T - np.diag(np.diag(np.asarray(G)))}

    assert nx.crosscheck(kern, by_free).ok
    assert not nx.crosscheck(kern, by_all).ok


def test_values_are_checked():
    kern = nx.compile(dv.derive_matrix("T: n x n toeplitz; D: n x n diagonal; sum(T.*D)", "T"))
    kern.validate(T=np.ones((3, 3)), D=np.eye(3))
    with pytest.raises(nx.NumericsError, match=r"D is diagonal \(declared\), but D\[0, 1\] = 1"):
        kern.validate(T=np.ones((3, 3)), D=np.ones((3, 3)))
    with pytest.raises(nx.NumericsError, match=r"T is Toeplitz.*but T\[2, 2\] = 8 and T\[0, 0\] = 0"):
        kern.validate(T=np.arange(9.0).reshape(3, 3), D=np.eye(3))
    with pytest.raises(nx.NumericsError, match="free entries, and JAX's chain rule needs that by all"):
        kern.as_custom_vjp()
