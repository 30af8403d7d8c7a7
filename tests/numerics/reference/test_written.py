"""The evidence reads what was written: the evaluator of definitions, and the exact check, by rules of their own."""

import numpy as np
import pytest
import sympy
from sympy import And, Piecewise, exp, log, oo, sqrt

import derive as dv
import numerics as nx
from derive.language.nodes import Iverson
from numerics.reference.definitions import evaluate

i, k = dv.indices("i k")
j = dv.index("j", i.size)
r = dv.index("r", 3)
v, w, m = dv.tensor("v", i), dv.tensor("w", i), dv.tensor("m", i)
V = np.array([-1.0, -2.0, -3.0, -4.0])
W = np.array([0.5, 2.0, 1.0, 3.0])


def value(body, free=(), xp=np):
    y = dv.define("y", free, body)
    return evaluate([y], {"v": V, "w": W, "m": np.array([1.0, 0.0, 1.0, 1.0])}, {i.size: 4}, xp)["y"]


def test_a_max_ranges_over_the_positions_that_exist():
    assert value(dv.Max(v[i + r - 1], r), (i,)).tolist() == [-1, -1, -2, -3]


def test_a_branch_that_is_not_chosen_reads_nothing():
    """Zero padding written out: the padded positions exist, and are 0."""
    inside = And(i + r - 1 >= 0, i + r - 1 < i.size)
    body = dv.Max(Piecewise((v[i + r - 1], inside), (0, True)), r)
    assert value(body, (i,)).tolist() == [0, -1, -2, 0]
    y = dv.define("y", (i,), body)
    d = dv.backprop(dv.define("loss", (), dv.Sum(w[i] * y[i], i)), [v])
    loss, grads = nx.compile(d)(v=V, w=W)
    assert np.isclose(loss, W @ [0, -1, -2, 0]) and grads["v"].tolist() == [2, 1, 0, 0]
    assert d.check().ok


def test_infinities_are_those_of_floats():
    masked = Piecewise((v[i], i > 1), (-oo, True))
    assert value(masked, (i,)).tolist() == [-np.inf, -np.inf, -3, -4]
    assert np.isclose(value(log(dv.Sum(exp(masked), i))), np.log(np.exp(-3) + np.exp(-4)))


def test_a_condition_protects_what_it_multiplies():
    assert np.isclose(value(dv.Sum(Iverson(i < j) / sqrt((v[i] - v[j]) ** 2), i, j)), 3 + 2 / 2 + 1 / 3)
    assert np.isclose(value(dv.Sum(Piecewise((w[i], i > 0), (0, True)) * (v[i] / i), i)), -2 * 2 - 1.5 - 4)


def test_large_numbers_that_cancel():
    assert np.isclose(value(dv.Sum(exp(v[i] - 1e9 * (1 - m[i])), i)), np.exp(V[[0, 2, 3]]).sum(), rtol=1e-12)


def test_what_sympy_has_of_its_own():
    assert value(sympy.Sum(v[i], (i, 1, i.size - 2))) == -5
    assert value(dv.Sum(sympy.KroneckerDelta(i, j) * v[i] * w[j], i, j)) == V @ W
    assert value(sympy.Max(v[i] + 2, 0, w[i] - 1), (i,)).tolist() == [1, 1, 0, 2]


def test_a_recurrence_backward_in_time_and_a_coupled_one():
    t = dv.index("t", i.size)
    h = dv.define("h", (t,), lambda h: h[t + 1] / 2 + w[t])
    assert evaluate([h], {"w": W}, {i.size: 4}, np)["h"].tolist() == [2.125, 3.25, 2.5, 3.0]
    a, c = dv.define("a c", (t,), lambda a, c: (a[t - 1] + c[t], c[t - 1] + w[t]))
    found = evaluate([a], {"w": W}, {i.size: 4}, np)
    assert found["c"].tolist() == np.cumsum(W).tolist() and found["a"].tolist() == np.cumsum(np.cumsum(W)).tolist()


def test_an_input_without_an_array_is_named():
    with pytest.raises(dv.ShapeError, match="no array for the input v"):
        evaluate([dv.define("y", (), dv.Sum(v[i], i))], {}, {i.size: 4}, np)
