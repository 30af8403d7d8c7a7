"""Structured Hessians: the compact arrays, their layout, and the full block they stand for."""

import numpy as np
import pytest
from second_order_programs import CLASSIC, log_sum_exp, logistic, matrix_factorization, softmax_cross_entropy
from sympy import sin

import derive as dv
import numerics as nx
from derive.errors import UnsupportedError
from derive.structured import structured
from numerics.sampling import draw_arrays, draw_sizes
from numerics.verify import everything


def both(d, seed=0):
    """Results of the dense and the structured kernel on the same arrays."""
    program = everything(d)
    arrays = draw_arrays(program, draw_sizes(program), {}, np.random.default_rng(seed), d.wrt)
    dense, compact = nx.compile(d), nx.compile(d, form="structured")
    given = {t.name: arrays[t.name] for t in dense.inputs}
    return dense(**given), compact(**{t.name: given[t.name] for t in compact.inputs})


@pytest.mark.parametrize("name", CLASSIC)
def test_the_parts_sum_to_the_block(name):
    d = dv.hessian(*CLASSIC[name]())
    dense, compact = both(d)
    assert set(compact.hessian) == set(dense.hessian)
    for pair, block in compact.hessian.items():
        assert block.shape == dense.hessian[pair].shape
        np.testing.assert_allclose(np.asarray(block), dense.hessian[pair], rtol=2e-5, atol=2e-5)
        v = np.random.default_rng(1).normal(size=dense.grads[pair[1]].shape)
        expected = np.tensordot(np.asarray(dense.hessian[pair], float), v, axes=v.ndim)
        np.testing.assert_allclose(block.product(v), expected, rtol=1e-4, atol=1e-4)


def test_the_layouts_are_what_the_equations_say():
    def texts(make):
        _, layout = structured(dv.hessian(*make()))
        return {pair: [(" ".join(p.axes), *(" ".join(of) for _, of in p.factors)) for p in parts]
                for pair, parts in layout.items()}

    factorization = texts(matrix_factorization)
    assert factorization["U", "U"] == [("i k i k'", "k k'")]
    assert set(factorization["U", "V"]) == {("i k j k", "i j"), ("i k j k'", "i k'", "k j")}
    assert texts(log_sum_exp)["x", "x"] == [("k k", "k"), ("k k'", "k", "k'")]
    assert texts(softmax_cross_entropy)["z", "z"] == [("b k b k", "b k"), ("b k b k'", "b k", "b k'")]
    assert texts(logistic)["w", "w"] == [("i i'", "i i'")]


def test_a_factorization_is_a_thousand_times_smaller():
    rng = np.random.default_rng(0)
    A, U, V = rng.normal(size=(100, 100)), rng.normal(size=(100, 10)), rng.normal(size=(100, 10))
    kernel = nx.compile(dv.hessian(*matrix_factorization()), form="structured")
    found = kernel(A=A.astype(np.float32), U=U.astype(np.float32), V=V.astype(np.float32)).hessian
    for (a, b), block in found.items():
        full = int(np.prod(block.shape))
        assert full == 10**6
        assert block.size == (100 if a == b else 100 * 100 + 2 * 100 * 10)
    assert found["U", "U"].nbytes * 1000 <= 4 * 10**6


def test_a_structured_kernel_is_verified_like_any_other():
    d = dv.hessian(*matrix_factorization())
    report = nx.verify(nx.compile(d, form="structured"))
    assert report.ok, report
    assert "hessian U, V" in {f.tensor for f in report.findings}


def test_a_diagonal_stays_a_vector():
    i = dv.index("i")
    x = dv.tensor("x", i)
    kernel = nx.compile(dv.hessian(dv.define("loss", (), dv.Sum(sin(x[i]), i)), [x]), form="structured")
    block = kernel(x=np.array([0.5, 1.0, 2.0])).hessian["x", "x"]
    (part,), (array,) = block.parts, block.arrays.values()
    assert part.axes == ("i", "i") and array.shape == (3,)
    np.testing.assert_allclose(np.asarray(block), np.diag(-np.sin([0.5, 1.0, 2.0])), rtol=1e-6)
    assert "3 numbers for 9" in str(block) and "jnp.where" not in kernel.source


def test_a_zero_block_has_no_parts():
    i = dv.index("i")
    x, a = dv.tensor("x", i), dv.tensor("a", i)
    kernel = nx.compile(dv.hessian(dv.define("loss", (), dv.Sum(a[i] * x[i], i)), [x, a]), form="structured")
    blocks = kernel(x=np.ones(2), a=np.ones(2)).hessian
    assert blocks["x", "x"].parts == () and not np.asarray(blocks["x", "x"]).any()
    assert str(blocks["x", "x"]).startswith("zero")
    np.testing.assert_array_equal(np.asarray(blocks["x", "a"]), np.eye(2))


def test_what_has_no_structure_is_refused():
    loss, wrt = logistic()
    with pytest.raises(UnsupportedError, match="is a backprop"):
        nx.compile(dv.backprop(loss, wrt), form="structured")
    with pytest.raises(nx.NumericsError, match="'dense', 'structured'"):
        nx.compile(dv.hessian(loss, wrt), form="sparse")
    block = both(dv.hessian(loss, wrt))[1].hessian["w", "w"]
    with pytest.raises(ValueError, match="takes an array of shape ending it"):
        block.product(np.ones(99))
