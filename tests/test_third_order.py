"""Derivatives of derivatives of derivatives: the Jacobian of a Hessian is one more derivation, proved and verified."""

import numpy as np
import pytest
from second_order_programs import log_sum_exp, logistic, matrix_factorization
from sympy import sin

import derive as dv
import numerics as nx
from derive.language.errors import DerivationError


@pytest.mark.parametrize("make", [logistic, log_sum_exp])
def test_third_derivatives_are_proved_and_verified(make):
    loss, (w,) = make()
    third = dv.jacobian(dv.hessian(loss, [w]).result("hessian")[w.name, w.name], [w])
    assert f"jacobian {w.name}" in third.check().named("proved")
    report = nx.verify(nx.compile(third))
    assert report.ok, report


def test_third_derivatives_are_symmetric_in_all_three():
    loss, (x,) = log_sum_exp()
    third = dv.jacobian(dv.hessian(loss, [x]).result("hessian")["x", "x"], [x])
    J = np.asarray(nx.compile(third)(x=np.array([0.3, -0.2, 1.0])).jacobian["x"])
    for order in ((1, 0, 2), (0, 2, 1), (2, 1, 0)):
        np.testing.assert_allclose(J, J.transpose(order), atol=1e-7)


def test_mixed_third_derivatives_of_a_factorization():
    """d/dV of the block U, U of |A - U V'|^2 / 2: V'V is quadratic in V."""
    loss, wrt = matrix_factorization()
    third = dv.jacobian(dv.hessian(loss, wrt).result("hessian")["U", "U"], [wrt[1]])
    assert third.check().ok and "jacobian V" in third.check().named("proved")


def test_the_hessian_of_a_gradient_component():
    """A scalar made of a derived gradient is a loss like any other: H of dL/dx[0] is a slice of third derivatives."""
    i = dv.index("i")
    x, a = dv.tensor("x", i), dv.tensor("a", i)
    gradient = dv.backprop(dv.define("loss", (), dv.Sum(a[i] * sin(x[i]), i)), [x]).gradient(x).tensor
    d = dv.hessian(dv.define("first", (), gradient[0]), [x])
    assert d.check().ok
    H = np.asarray(nx.compile(d)(x=np.array([0.5, 1.0]), a=np.array([2.0, 3.0])).hessian["x", "x"])
    np.testing.assert_allclose(H, [[-2 * np.cos(0.5), 0], [0, 0]], atol=1e-6)


def test_what_is_constant_by_then_is_said():
    r, q = dv.index("r"), dv.index("q", size="R")
    A, x = dv.tensor("A", r, q), dv.tensor("x", r)
    H = dv.hessian(dv.define("loss", (), dv.Sum(x[r] * A[r, q] * x[q], r, q)), [x]).result("hessian")["x", "x"]
    with pytest.raises(DerivationError, match="H_x_x does not depend on x; it depends on A"):
        dv.jacobian(H, [x])
