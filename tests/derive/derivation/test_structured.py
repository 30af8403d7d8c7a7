"""Structured Hessians: the compact arrays, their layout, and the full block they stand for."""

import numpy as np
import pytest
from second_order_programs import CLASSIC, log_sum_exp, logistic, matrix_factorization, softmax_cross_entropy
from sympy import sin

import derive as dv
import numerics as nx
from derive.derivation.structured import structured
from derive.language.errors import UnsupportedError
from numerics.checks.ground import everything
from numerics.reference.sampling import draw_arrays, draw_sizes


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
        return {
            pair: [(" ".join(p.axes), *(" ".join(of) for _, of in p.factors)) for p in parts]
            for pair, parts in layout.items()
        }

    factorization = texts(matrix_factorization)
    assert factorization["U", "U"] == [("i k i k'", "k k'")]
    assert set(factorization["U", "V"]) == {
        ("i k j k'", "i k'", "j k"),
        ("i k j k", "i j"),
        ("i k j k", "i k''", "j k''"),
    }
    assert texts(log_sum_exp)["x", "x"] == [("k k", "k"), ("k k'", "k", "k'")]
    assert texts(softmax_cross_entropy)["z", "z"] == [("b k b k", "b k"), ("b k b k'", "b k", "b k'")]
    assert texts(logistic)["w", "w"] == [("i i'", "i i'")]


def test_a_factorization_is_thousands_of_times_smaller():
    """V'V and U'U are computed; the mixed block refers to A, U and V, which the caller has."""
    rng = np.random.default_rng(0)
    A, U, V = (rng.normal(size=s).astype(np.float32) for s in ((100, 100), (100, 10), (100, 10)))
    d = dv.hessian(*matrix_factorization())
    found = nx.compile(d, form="structured")(A=A, U=U, V=V).hessian
    assert {pair: block.size for pair, block in found.items()} == {
        ("U", "U"): 100,
        ("U", "V"): 0,
        ("V", "U"): 0,
        ("V", "V"): 100,
    }
    full = sum(4 * int(np.prod(block.shape)) for block in found.values())
    assert sum(block.nbytes for block in found.values()) * 10_000 <= full == 16 * 10**6
    assert found["U", "V"].inputs.keys() == {"A", "U", "V"} and found["U", "V"].inputs["A"] is A
    dense = nx.compile(d)(A=A, U=U, V=V).hessian
    for pair, block in found.items():
        np.testing.assert_allclose(np.asarray(block), dense[pair], atol=2e-4)
    v = rng.normal(size=(100, 10))
    np.testing.assert_allclose(found["U", "V"].product(v), np.tensordot(dense["U", "V"], v, 2), rtol=1e-3, atol=1e-2)


def test_what_the_parts_are():
    def kinds(d, pair):
        return {p.kind for p in structured(d)[1][pair]}

    assert kinds(dv.hessian(*log_sum_exp()), ("x", "x")) == {"diagonal", "rank one"}
    assert kinds(dv.hessian(*softmax_cross_entropy()), ("z", "z")) == {"diagonal", "block diagonal over b"}
    mixed = kinds(dv.hessian(*matrix_factorization()), ("U", "V"))
    assert mixed == {"Kronecker product", "Kronecker product with the identity over k"}
    assert kinds(dv.hessian(*bilinear()), ("X", "X")) == {"Kronecker product"}
    assert kinds(dv.hessian(*logistic()), ("w", "w")) == {"full"}
    assert kinds(dv.hessian(*sensors()), ("x", "x")) == {"diagonal", "low rank"}


def bilinear():
    """|A X B|^2 / 2, whose Hessian is A'A times B B'."""
    m, i, j, n = dv.indices("m i j n")
    A, X, B = dv.tensor("A", m, i), dv.tensor("X", i, j), dv.tensor("B", j, n)
    return dv.define("loss", (), dv.Sum(dv.Sum(A[m, i] * X[i, j] * B[j, n], i, j) ** 2, m, n) / 2), [X]


def sensors():
    """A quadratic form whose matrix is defined as F F', beside a function of each element."""
    p, q, r = dv.index("p"), dv.index("q", size="P"), dv.index("r")
    F, x = dv.tensor("F", p, r), dv.tensor("x", p)
    S = dv.define("S", (p, q), dv.Sum(F[p, r] * F[q, r], r))
    return dv.define("loss", (), dv.Sum(x[p] * S[p, q] * x[q], p, q) / 2 + dv.Sum(sin(x[p]), p)), [x]


@pytest.mark.parametrize("make", [bilinear, sensors])
def test_products_and_low_ranks_are_the_block(make):
    dense, compact = both(dv.hessian(*make()))
    for pair, block in compact.hessian.items():
        np.testing.assert_allclose(np.asarray(block), dense.hessian[pair], rtol=2e-5, atol=2e-5)
        v = np.random.default_rng(2).normal(size=dense.grads[pair[1]].shape)
        np.testing.assert_allclose(block.product(v), np.tensordot(dense.hessian[pair], v, v.ndim), rtol=1e-4, atol=1e-4)


def test_a_coefficient_of_sizes_is_a_number_of_the_arrays():
    """x'Ax / N, in which nothing is computed: the parts are A and its transpose, a third of each."""
    p, q = dv.indices("p q", size="N")
    A, x = dv.tensor("A", p, q), dv.tensor("x", p)
    d = dv.hessian(dv.define("loss", (), dv.Sum(x[p] * A[p, q] * x[q], p, q) / p.size), [x])
    a = np.arange(9.0).reshape(3, 3)
    block = nx.compile(d, form="structured")(A=a, x=np.ones(3)).hessian["x", "x"]
    assert block.size == 0 and str(block).startswith("0.333333 A[p,p'] on axes p p' + 0.333333 A[p',p]")
    np.testing.assert_allclose(np.asarray(block), (a + a.T) / 3, rtol=1e-6)


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
    assert "3 numbers computed for 9" in str(block) and "jnp.where" not in kernel.source


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
