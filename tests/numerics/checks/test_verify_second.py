"""Jacobians and Hessians are verified by autodiff, Taylor remainders of third order, and symmetry; wrong ones fail."""

import numpy as np
import pytest
import sympy
from second_order_programs import CLASSIC, logistic, mlp
from slowkernel import SlowKernel

import derive as dv
from numerics import compile
from numerics.checks.taylor import order
from numerics.checks.verify import verify


@pytest.mark.parametrize("name", ["logistic", "softmax_regression", "matrix_factorization", "softmax_cross_entropy"])
def test_classic_hessians_are_verified(name):
    d = dv.hessian(*CLASSIC[name]())
    report = verify(compile(d))
    assert report.ok, report
    rows = [f for f in report.findings if f.tensor.startswith("hessian") and f.opponent.startswith("autodiff")]
    assert {f.tensor for f in rows} == {f"hessian {a}, {b}" for a, b in d.result("hessian")}
    assert all(f.error < 1e-11 and f.exact == "mod 2**61-1" for f in rows)
    assert all(f.order == "floor" or float(f.order) >= 2.9 for f in rows) and any(f.order != "floor" for f in rows)
    assert any(f.opponent == "its own transpose" for f in report.findings)


def failed(d, change):
    report = verify(SlowKernel(d, change), dtypes=("float64",))
    return {(f.tensor, f.opponent.split()[0]): f for f in report.findings if f.verdict == "FAIL"}


def test_a_wrong_block_fails_by_autodiff_and_by_its_taylor_remainder():
    d = dv.hessian(*mlp())
    found = failed(d, lambda n, a: 1.001 * a if n == "hessian W, V" else a)
    assert ("hessian W, V", "autodiff") in found
    assert float(found["hessian W, V", "autodiff"].order) < 2.5
    assert ("hessian W, V", "its") in found, "nor is it the transpose of the other block"


def test_an_asymmetric_block_fails():
    def tilted(name, a):
        return a + 0.01 * np.triu(np.ones_like(a), 1) if "hessian" in name else a

    found = failed(dv.hessian(*logistic()), tilted)
    assert found["hessian w, w", "its"].note == "not symmetric"


def test_jacobians_are_verified_and_wrong_ones_fail():
    i, j = dv.indices("i j")
    A, u = dv.tensor("A", i, j), dv.tensor("u", j)
    d = dv.jacobian(dv.define("y", (i,), sympy.tanh(dv.Sum(A[i, j] * u[j], j))), [A, u])
    report = verify(compile(d))
    assert report.ok, report
    orders = {f.tensor: f.order for f in report.findings if f.order}
    assert set(orders) == {"jacobian A", "jacobian u"} and all(float(o) >= 1.9 for o in orders.values())
    found = failed(d, lambda n, a: -a if n == "jacobian u" else a)
    assert float(found["jacobian u", "autodiff"].order) < 1.5


def test_hessians_with_kinks_follow_the_conventions():
    b, i = dv.indices("b i")
    x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    loss = dv.define("loss", (), dv.Sum(dv.relu(dv.Sum(x[b, i] * w[i], i)) ** 3, b))
    report = verify(compile(dv.hessian(loss, [w])), dtypes=("float64",))
    assert report.ok, report
    assert any(f.opponent == "stated conventions" and f.tensor == "hessian w, w" for f in report.findings)


def test_the_third_order_remainder_by_hand():
    """f = sum x^3: with its Hessian the remainder is h^3 sum v^3, exactly of order 3; with a wrong one, 2."""
    x = np.array([1.0, -2.0, 0.5])
    f, g, H = (lambda x: float(np.sum(x**3))), 3 * x**2, np.diag(6 * x)
    assert abs(order(f, x, g, 1e-15, hessian=H).value - 3) < 0.05
    wrong = order(f, x, g, 1e-15, hessian=1.01 * H)
    assert wrong.value < 2.3 and not wrong.ok
    assert order(f, x, g, 1e-15).value < 2.3, "without the Hessian it is of second order"


@pytest.mark.parametrize("name", ["quadratic_form", "log_sum_exp", "mlp"])
def test_the_other_classics_agree_with_jax_hessian(name):
    d = dv.hessian(*CLASSIC[name]())
    report = verify(compile(d), dtypes=("float64",))
    assert report.ok, report
    rows = [f for f in report.findings if f.tensor.startswith("hessian") and f.opponent.startswith("autodiff")]
    assert {f.tensor for f in rows} == {f"hessian {a}, {b}" for a, b in d.result("hessian")}
    assert all(f.error < 1e-11 for f in rows)
