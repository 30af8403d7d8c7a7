"""Hessians and Jacobians that would not fit are refused with their bytes, when compiled, when called, and by nx.newton."""

import numpy as np
import pytest
from second_order_programs import logistic, matrix_factorization

import derive as dv
import numerics as nx
from numerics.kernel import memory


@pytest.fixture
def small(monkeypatch):
    """A machine of 2 MB, of which half may be used."""
    monkeypatch.setattr(memory, "physical_memory", lambda: 2_000_000)


def test_sizes_known_when_compiled_are_enough():
    with pytest.raises(nx.NumericsError) as error:
        nx.compile(dv.hessian(*matrix_factorization()), sizes={"I": 10**6, "J": 10**5, "K": 64})
    text = str(error.value)
    assert "the Hessian takes 19,824,640,000,000,000 bytes" in text
    assert "hessian['U', 'U'] alone 16,384,000,000,000,000" in text
    assert "dv.hvp(loss, wrt)" in text and 'form="structured"' in text


def test_the_structured_form_and_products_compile_at_any_size():
    sizes = {"I": 10**6, "J": 10**5, "K": 64}
    nx.compile(dv.hessian(*matrix_factorization()), sizes=sizes, form="structured")
    nx.compile(dv.hvp(*matrix_factorization()), sizes=sizes)


def test_a_call_is_checked_by_the_shapes_it_is_given(small):
    kernel = nx.compile(dv.hessian(*logistic()))

    def data(n):
        return {"w": np.zeros(n, np.float32), "x": np.zeros((2, n), np.float32), "y": np.zeros(2, np.float32)}

    kernel(**data(100))
    with pytest.raises(nx.NumericsError, match="takes 4,000,000 bytes at these sizes.*more than the 1,000,000"):
        kernel(**data(1000))


def test_newton_is_checked_before_its_first_step(small):
    data = {"x": np.zeros((2, 1000)), "y": np.zeros(2)}
    with pytest.raises(nx.NumericsError, match="8,000,000 bytes"):
        nx.newton(dv.hessian(*logistic()), {"w": np.zeros(1000)}, data)


def test_jacobians_suggest_products(small):
    i, j = dv.indices("i j")
    A, u = dv.tensor("A", i, j), dv.tensor("u", j)
    d = dv.jacobian(dv.define("y", (i,), dv.Sum(A[i, j] * u[j] ** 2, j)), [u])
    with pytest.raises(nx.NumericsError, match="the Jacobian takes 4,000,000 bytes.*dv.vjp"):
        nx.compile(d, sizes={"I": 1000, "J": 1000})


def test_gradients_are_never_in_the_way(small):
    nx.compile(dv.backprop(*logistic()), sizes={"I": 10**9, "B": 10**9})
