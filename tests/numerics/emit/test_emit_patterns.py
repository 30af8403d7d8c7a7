"""Every emission pattern against the dense fallback and against the plain evaluator."""

import numpy as np
import pytest
from kernel_cases import CASES, check, compiled, data, leaves
from programs import CASES as PROGRAMS
from sympy import Eq, Ge, Piecewise, Rational, exp, tanh

import derive as dv
import numerics as nx
from numerics.checks.ground import float64


@pytest.mark.parametrize("name", CASES)
def test_the_kernel_is_the_program(name):
    check(CASES[name]())


@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_outside_any_catalogue(name):
    check(PROGRAMS[name](), tolerance=1e-10)


def scalar(body, *over, wrt, name="loss"):
    return dv.backprop(dv.define(name, (), dv.Sum(body, *over)), wrt=wrt)


@pytest.mark.parametrize("sizes", [{"N": 1}, {"N": 2}, {"N": 7}])
def test_shifts_read_zero_outside_at_every_length(sizes):
    q = dv.index("q", "N")
    x = dv.tensor("x", q)
    check(scalar(tanh(x[q + 1] + 2 * x[q - 1] - x[q] * x[q + 3] + x[q - 2]), q, wrt=[x]), sizes)


@pytest.mark.parametrize("kernel,length", [(1, 1), (3, 3), (2, 5), (4, 5)])
def test_strides_meet_windows_of_every_width(kernel, length):
    u, r = dv.index("u", "U"), dv.index("r", "R")
    x, w = dv.tensor("x", "N"), dv.tensor("w", r)
    d = scalar(tanh(dv.Sum(x[3 * u + 2 * r - 1] * w[r], r)), u, wrt=[x, w])
    check(d, {"U": 2, "R": kernel, "N": length})


def test_reversed_diagonal_fixed_and_last_reads():
    p, q = dv.indices("p q", size="N")
    N = p.size
    A, x = dv.tensor("A", p, q), dv.tensor("x", p)
    source = check(scalar(A[p, p] * x[N - 1 - p] + A[0, p] * x[N - 1] + A[p, N - 1 - p], p, wrt=[A, x]))
    assert "jnp.diagonal(A)" in source
    assert "x[::-1]" in source
    assert "x[-1]" in source


def test_ties_go_to_the_first_maximiser_and_repeats_accumulate():
    b, k, m = dv.indices("b k m")
    z, at = dv.tensor("z", b, k), dv.tensor("at", m, dtype="int", below=b.size)
    d = scalar(dv.Max(z[at[m], k], k) ** 2, m, wrt=[z])
    arrays = {"z": np.array([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0]]), "at": np.array([0, 0, 1, 1, 1])}
    check(d, {"B": 2, "K": 3, "M": 5}, arrays=arrays)
    with float64():
        got = leaves(d, compiled(d, {})(**arrays))
    assert got[d.gradients["z"].name].tolist() == [[0, 12, 0], [12, 0, 0]]


def test_masks_by_index_and_by_data():
    p, q = dv.indices("p q", size="N")
    x, w = dv.tensor("x", p, q), dv.tensor("w", q)
    body = Piecewise((x[p, q] * exp(w[q]), q <= p), (w[p], Ge(x[p, q], 0)), (3 * x[q, p], True))
    check(scalar(body, p, q, wrt=[x, w]))


def test_an_index_as_a_value_and_a_sum_that_reads_nothing():
    p, q = dv.indices("p q")
    x = dv.tensor("x", p)
    check(scalar((p + 1) * x[p] ** 2 / (q + 1) + p, p, q, wrt=[x]), {"P": 3, "Q": 4})


def test_scatter_onto_two_axes_with_a_free_axis_between():
    m, a, c, e = dv.indices("m a c e")
    x = dv.tensor("x", a, c, e)
    f, g = dv.tensor("f", m, dtype="int", below=a.size), dv.tensor("g", m, dtype="int", below=e.size)
    check(scalar(tanh(x[f[m], c, g[m]]), m, c, wrt=[x]))


def test_a_recurrence_with_two_lags_and_a_gate_by_time():
    t, l = dv.indices("t l")
    x, w = dv.tensor("x", t, l), dv.tensor("w", l)
    h = dv.define(
        "h",
        (t, l),
        lambda h: tanh(
            x[t, l] + w[l] * h[t - 1, l] - h[t - 3, l] * x[t - 1, l] + Piecewise((w[l], Eq(t, 1)), (0, True))
        ),
    )
    d = scalar(h[t, l] ** 2, t, l, wrt=[x, w])
    source = check(d, {"T": 5, "L": 2})
    check(d, {"T": 1, "L": 2})
    assert source.count("lax.scan") == 2


def test_contractions_of_three_operands_and_of_none():
    a, b, c = dv.indices("a b c")
    x, y, z, s = dv.tensor("x", a, b), dv.tensor("y", b, c), dv.tensor("z", c, a), dv.tensor("s", b)
    check(scalar(x[a, b] * y[b, c] * z[c, a] * s[b], a, b, c, wrt=[x, y, z, s]))


def test_one_and_two_sized_axes():
    d = CASES["softmax_regression"]()
    check(d, {"B": 1, "I": 1, "K": 1})
    check(d, {"B": 1, "I": 2, "K": 1})
    check(CASES["tanh_rnn"](), {"T": 1, "B": 1, "I": 1, "L": 1})


@pytest.mark.parametrize("seed", [0, 3, 4, 11, 20, 26])
def test_random_programs(seed):
    from random_programs import Maker

    maker = Maker(seed)
    d = dv.backprop(maker.loss, wrt=maker.wrt)
    sizes, arrays = data(d, seed=seed)
    with float64():
        fast, slow = (
            leaves(d, kern(**{t.name: arrays[t.name] for t in kern.inputs}))
            for kern in (compiled(d, sizes), compiled(d, sizes, dense=True))
        )
    for name, value in fast.items():
        np.testing.assert_allclose(value, slow[name], rtol=1e-9, atol=1e-11, err_msg=name)


def test_a_sum_that_is_there_up_to_a_factor_is_not_made_again():
    b, p, c = dv.indices("b p c")
    x, w, gamma, beta = dv.tensor("x", b, p, c), dv.tensor("w", b, p, c), dv.tensor("gamma", c), dv.tensor("beta", c)
    n = b.size * p.size
    mean = dv.define("mean", (c,), dv.Sum(x[b, p, c], b, p) / n)
    var = dv.define("var", (c,), dv.Sum((x[b, p, c] - mean[c]) ** 2, b, p) / n)
    hat = dv.define("hat", (b, p, c), (x[b, p, c] - mean[c]) / (var[c] + 1) ** Rational(1, 2))
    h = dv.define("h", (b, p, c), gamma[c] * hat[b, p, c] + beta[c])
    d = scalar(h[b, p, c] ** 2 * w[b, p, c], b, p, c, wrt=[x, gamma, beta])
    source = check(d)
    kern = nx.compile(d)
    assert [rule for rule, _, _ in kern.choices].count("sum-reused") == 2
    assert source.count(".sum(axis=(0, 1))") == 2


def test_the_gradient_of_a_computed_tensor_is_returned_and_the_tensor_not_asked_for():
    b, i = dv.indices("b i")
    x = dv.tensor("x", b, i)
    z = dv.define("z", (b, i), tanh(x[b, i]))
    kern = nx.compile(scalar(z[b, i] ** 3, b, i, wrt=[z, x]))
    assert [t.name for t in kern.inputs] == ["x"]
    found = kern(x=np.full((1, 2), 0.5, np.float32))[1]
    assert np.allclose(found["z"], 3 * np.tanh(0.5) ** 2)


def test_a_sum_over_all_axes_of_an_image_is_a_vector_matrix_product():
    b, u, c = dv.indices("b u c")
    x, w = dv.tensor("x", b, u, c), dv.tensor("w", b, u, c)
    loss = dv.define("loss", (), 3 * dv.Sum(x[b, u, c] ** 2 * w[b, u, c], b, u, c) / b.size)
    d = dv.backprop(loss, [x])
    kern, plain = nx.compile(d), nx.compile(d, patterns={"total": "plain"})
    assert "total(" in kern.source and "total(" not in plain.source
    assert any(rule == "total as products" for rule, _, _ in kern.choices)
    rng = np.random.default_rng(0)
    arrays = {"x": rng.normal(size=(3, 5, 7)).astype(np.float32), "w": rng.normal(size=(3, 5, 7)).astype(np.float32)}
    expected = 3 * np.sum(arrays["x"].astype(float) ** 2 * arrays["w"]) / 3
    np.testing.assert_allclose([kern(**arrays)[0], plain(**arrays)[0]], [expected] * 2, rtol=1e-5)
    assert nx.verify(kern).ok
