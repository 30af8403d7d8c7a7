"""However a softmax or a sigmoid is written, its loss and gradients are finite and right at float32 logits of +-1e4."""

import numpy as np
import pytest
import sympy
from sympy import exp, log

import derive as dv
import numerics as nx

b, k = dv.indices("b k")
r = dv.index("r", k.size)
z, a = dv.tensor("z", b, k), dv.tensor("a", b)
y, t = dv.tensor("y", b, k), dv.tensor("t", b)
label = dv.tensor("label", b, dtype="int", below=k.size)


def total(p):
    return dv.define("loss", (), -dv.Sum(log(p[b, label[b]]), b) / b.size)


def in_three_definitions():
    e = dv.define("e", (b, k), exp(z[b, k]))
    s = dv.define("s", (b,), dv.Sum(e[b, k], k))
    return total(dv.define("p", (b, k), e[b, k] / s[b]))


def in_one_definition():
    return total(dv.define("p", (b, k), exp(z[b, k]) / dv.Sum(exp(z[b, r]), r)))


def in_no_definition():
    return dv.define("loss", (), -dv.Sum(log(exp(z[b, label[b]]) / dv.Sum(exp(z[b, r]), r)), b) / b.size)


def in_no_definition_twice():
    both = exp(z[b, label[b]] - 1) * exp(1) / dv.Sum(exp(z[b, r]), r)
    return dv.define("loss", (), -dv.Sum(log(both), b) / b.size)


def from_logits():
    return dv.define("loss", (), dv.Sum(log(dv.Sum(exp(z[b, r]), r)) - z[b, label[b]], b) / b.size)


def from_log_probabilities():
    p = dv.define("p", (b, k), exp(z[b, k]) / dv.Sum(exp(z[b, r]), r))
    q = dv.define("q", (b, k), log(p[b, k]))
    return dv.define("loss", (), -dv.Sum(q[b, label[b]], b) / b.size)


@pytest.mark.parametrize(
    "write",
    [
        in_three_definitions,
        in_one_definition,
        in_no_definition,
        in_no_definition_twice,
        from_logits,
        from_log_probabilities,
    ],
)
def test_softmax_cross_entropy(write):
    d = dv.backprop(write(), [z])
    assert d.check().ok
    logits = np.array([[1e4, -1e4, 0.0], [-1e4, -1e4, -1e4], [3.0, 1e4, 1e4]], np.float32)
    labels = np.array([1, 0, 2])
    loss, grads = nx.compile(d)(z=logits, label=labels)
    exact = np.exp(logits.astype(np.float64) - logits.max(1, keepdims=True))
    exact /= exact.sum(1, keepdims=True)
    exact[np.arange(3), labels] -= 1
    assert np.allclose(loss, (2e4 + np.log(3) + np.log(2)) / 3, rtol=1e-6)
    assert np.allclose(grads["z"], exact / 3, atol=1e-7)


def bits(p):
    return dv.define("loss", (), -dv.Sum(t[b] * log(p) + (1 - t[b]) * log(1 - p), b) / b.size)


def sigmoid_in_two_definitions():
    e = dv.define("e", (b,), exp(-a[b]))
    return bits(dv.define("s", (b,), 1 / (1 + e[b]))[b])


SIGMOIDS = {
    "two definitions": sigmoid_in_two_definitions,
    "one definition": lambda: bits(dv.define("s", (b,), 1 / (1 + exp(-a[b])))[b]),
    "no definition": lambda: bits(1 / (1 + exp(-a[b]))),
    "a quotient": lambda: bits(dv.define("s", (b,), exp(a[b]) / (1 + exp(a[b])))[b]),
    "by name": lambda: bits(dv.sigmoid(a[b])),
}


@pytest.mark.parametrize("name", SIGMOIDS)
def test_sigmoid_cross_entropy(name):
    d = dv.backprop(SIGMOIDS[name](), [a])
    assert d.check().ok
    logits, targets = np.array([1e4, -1e4, 0.0, 1e4], np.float32), np.array([0, 1, 1, 1], np.float32)
    loss, grads = nx.compile(d)(a=logits, t=targets)
    assert np.allclose(loss, (2e4 + np.log(2)) / 4, rtol=1e-6)
    assert np.allclose(grads["a"], np.array([1, -1, -0.5, 0]) / 4, atol=1e-7)


def test_a_log_sum_exp_of_a_nested_sum_is_shifted():
    W, x = dv.tensor("W", b, k), dv.tensor("x", k)
    loss = dv.define("loss", (), log(dv.Sum(exp(dv.Sum(W[b, k] * x[k], k)), b)))
    for d in (dv.backprop(loss, [x]), dv.hvp(loss, [x]), dv.hessian(loss, [x])):
        assert d.check().ok
        values = {"W": np.array([[1e4, 0], [-1e4, 1e4]], np.float32), "x": np.array([1, 1], np.float32)}
        if d.kind == "hvp":
            values["x_dir"] = np.array([1, 0], np.float32)
        out = nx.compile(d)(**values)
        assert all(np.isfinite(v).all() for v in (out[0], *out[1].values())), d.kind
        assert np.allclose(out[0], 1e4)
        names = [e.name for e in d.program]
        assert len(names) == len({str(e.rhs) for e in d.program}), "one value, one equation"


def test_a_logarithm_read_on_other_axes_than_its_sum_is_shifted():
    z = dv.tensor("z", b, k)
    total = dv.define("total", (b,), dv.Sum(exp(z[b, k]), k))
    loss = dv.define("loss", (), dv.Sum(log(total[b]), b))
    d = dv.backprop(loss, [z])
    assert d.check().ok
    value, grads = nx.compile(d)(z=np.array([[1e4, 0], [-1e4, -1e4]], np.float32))
    assert np.allclose(value, np.log(2), atol=1e-3)
    assert np.allclose(grads["z"], [[1, 0], [0.5, 0.5]])


def test_overflow_is_what_an_unrecognised_form_would_give():
    """The meta-test: the logits are extreme enough that the textbook form fails."""
    logits = np.array([1e4, -1e4], np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        assert np.isnan(np.exp(logits) / np.exp(logits).sum()).any()
    assert sympy.exp(1e4) > 1e300
