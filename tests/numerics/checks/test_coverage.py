"""A check says what it has seen: conditions both ways, regimes, and what it could not meet."""

import json

import numpy as np
import pytest
import sympy
from slowkernel import SlowKernel
from sympy import And, Eq, Piecewise, Rational, exp, log

import derive as dv
import numerics as nx
from numerics.checks.conditions import conditions_of
from numerics.checks.crosscheck import crosscheck
from numerics.checks.reachable import impossible
from numerics.checks.verify import verify

b, i, k, t = dv.indices("b i k t")
x, z = dv.tensor("x", b), dv.tensor("z", b, k)


def sigmoid(a):
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-a))


def pointwise(expr):
    return SlowKernel(dv.vjp(dv.define("y", (b,), expr(x[b])), [x], cotangent="dy"))


def slope(f):
    return lambda x, dy: {"x": dy * f(x)}


def negative_exp(a):
    return np.where(a > 0, 1, np.exp(np.minimum(a, 0)))


# name -> (function, its derivative, a derivative that is wrong on one side of a condition)
PIECES = {
    "relu6": (lambda u: dv.minimum(dv.relu(u), 6), lambda a: 1.0 * ((a > 0) & (a < 6)), lambda a: 1.0 * (a > 0)),
    "hard_swish": (
        lambda u: u * dv.minimum(dv.relu(u + 3), 6) / 6,
        lambda a: np.where(a > 3, 1, np.where(a > -3, (2 * a + 3) / 6, 0)),
        lambda a: np.where(a > -3, (2 * a + 3) / 6, 0),
    ),
    "softshrink": (lambda u: dv.relu(u - 2) - dv.relu(-u - 2), lambda a: 1.0 * (abs(a) > 2), lambda a: 1.0 * (a > 2)),
    "softplus": (
        lambda u: Piecewise((u, u > 20), (log(1 + exp(u)), True)),
        lambda a: np.where(a > 20, 1, sigmoid(a)),
        sigmoid,
    ),
    "elu": (lambda u: Piecewise((u, u > 0), (exp(u) - 1, True)), negative_exp, lambda a: np.where(a > 0, 1, 0.9)),
    "huber": (
        lambda u: Piecewise((u**2 / 2, sympy.Abs(u) <= 5), (5 * sympy.Abs(u) - Rational(25, 2), True)),
        lambda a: np.clip(a, -5, 5),
        lambda a: np.minimum(a, 5),
    ),
    "clip": (lambda u: dv.maximum(dv.minimum(u, 5), -5), lambda a: 1.0 * (abs(a) < 5), lambda a: 1.0 * (a < 5)),
    "quantile": (
        lambda u: dv.maximum(Rational(9, 10) * u, -Rational(1, 10) * u),
        lambda a: np.where(a > 0, 0.9, -0.1),
        lambda a: np.where(a > 0, 0.9, 0.1),
    ),
    "three branches": (
        lambda u: Piecewise((u, u < 1), (u**2, u < 2), (u**3, True)),
        lambda a: np.where(a < 1, 1, np.where(a < 2, 2 * a, 3 * a**2)),
        lambda a: np.where(a < 1, 1, 3 * a**2),
    ),
    "a narrow branch": (
        lambda u: Piecewise((2 * u, And(u > 5, u < Rational(51, 10))), (u, True)),
        lambda a: np.where((a > 5) & (a < 5.1), 2.0, 1.0),
        np.ones_like,
    ),
    "a far branch": (
        lambda u: Piecewise((2 * u, u > 10**6), (u, True)),
        lambda a: np.where(a > 1e6, 2.0, 1.0),
        np.ones_like,
    ),
    "one point": (
        lambda u: Piecewise((3 * u, Eq(u, 7)), (u**2, True)),
        lambda a: np.where(a == 7, 3.0, 2 * a),
        lambda a: 2 * a,
    ),
}


@pytest.mark.parametrize("name", PIECES)
def test_each_piece_is_met_both_ways(name):
    expr, right, wrong = PIECES[name]
    kern = pointwise(expr)
    report = crosscheck(kern, slope(right))
    assert report.ok, report
    assert report.not_seen == () and len(report.coverage.seen) == 2 * report.coverage.conditions
    for seed in range(3):
        assert not crosscheck(kern, slope(wrong), seed=seed).right


# where a derivative of softplus is wrong: nothing in the equations tells
PLACES = {
    "at zero": lambda a: a == 0,
    "where large": lambda a: abs(a) > 1e3,
    "past a threshold that is not ours": lambda a: a > 20,
    "for one element": lambda a: np.full(a.shape, len(a) == 1),
    "for many": lambda a: np.full(a.shape, len(a) >= 7),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_gradient_that_is_wrong_in_one_regime_is_refused(name):
    kern = pointwise(dv.softplus)
    assert crosscheck(kern, slope(sigmoid)).ok
    assert not crosscheck(kern, slope(lambda a: sigmoid(a) * np.where(PLACES[name](a), 0.9, 1))).right


def test_an_overflow_at_large_numbers_is_told_and_refuses_nothing():
    def naive(a):
        return np.exp(a) / (1 + np.exp(a))

    report = crosscheck(pointwise(dv.softplus), slope(naive))
    assert report.ok, report
    assert any("yours is not finite there" in regime for regime in report.coverage.absent)


def test_other_conventions_at_ties_are_no_mistakes_and_nan_is():
    kern = pointwise(sympy.Abs)
    assert crosscheck(kern, slope(lambda a: np.where(a >= 0, 1.0, -1.0))).ok
    with np.errstate(invalid="ignore"):
        report = crosscheck(kern, slope(lambda a: np.where(a == 0, np.nan, np.sign(a))))
    assert report["x"].kind == "not finite"
    assert "exact zeros" in report["x"].text or not report.right


def test_labels_masks_and_winners():
    label = dv.tensor("label", b, dtype="int", below=k.size)
    margin = dv.define("m", (b, k), Piecewise((0, Eq(k, label[b])), (dv.relu(1 + z[b, k] - z[b, label[b]]), True)))
    kern = SlowKernel(dv.backprop(dv.define("loss", (), dv.Sum(margin[b, k], b, k)), [z]))

    def hinge(z, label, wrong=lambda n, K: n < 0):
        rows = np.arange(len(z))
        on = 1.0 * (1 + z - z[rows, label][:, None] > 0)
        on[rows, label] = 0
        on[rows, label] = -on.sum(1)
        return {"z": on * np.where(wrong(label, z.shape[1]), 1.1, 1)[:, None]}

    report = crosscheck(kern, hinge)
    assert report.ok, report
    assert {"all labels the first", "all labels the last"} <= set(report.seen)
    assert not crosscheck(kern, lambda **a: hinge(**a, wrong=lambda n, K: n == K - 1)).right
    assert not crosscheck(kern, lambda **a: hinge(**a, wrong=lambda n, K: n == 0)).right

    best = dv.define("best", (b,), dv.Max(z[b, k], k))
    kern = SlowKernel(dv.backprop(dv.define("loss", (), dv.Sum(best[b] ** 2, b)), [z]))

    def biggest(z, last=1.0):
        g, at = np.zeros_like(z), z.argmax(1)
        g[np.arange(len(z)), at] = 2 * z.max(1) * np.where(at == z.shape[1] - 1, last, 1)
        return {"z": g}

    report = crosscheck(kern, biggest)
    assert report.ok and "max[k] of best at the last position" in report.seen
    assert not crosscheck(kern, lambda z: biggest(z, last=0.9)).right


def test_long_recurrences_and_far_positions_are_seen():
    u, h0, w = dv.tensor("u", t, b), dv.tensor("h0", b), dv.tensor("w")
    h = dv.define(
        "h", (t, b), lambda h: Piecewise((h0[b], Eq(t, 0)), (sympy.tanh(w[()] * h[t - 1, b] + u[t, b]), True))
    )
    kern = SlowKernel(dv.backprop(dv.define("loss", (), dv.Sum(h[t, b] ** 2, t, b)), [h0]))

    def backward(u, h0, w, steps=1000):
        hs = [h0]
        for n in range(1, len(u)):
            hs.append(np.tanh(w * hs[-1] + u[n]))
        dh = 0 * h0
        for n in range(len(u) - 1, 0, -1):
            dh = (dh + 2 * hs[n]) * (1 - hs[n] ** 2) * w * (len(u) - n < steps)
        return {"h0": dh + 2 * h0}

    report = crosscheck(kern, backward)
    assert report.ok, report
    assert {"long axes", "B = 1", "T = 64 in float32"} <= set(report.seen)
    assert not crosscheck(kern, lambda **a: backward(**a, steps=6)).right

    later = dv.define("later", (t, b), Piecewise((2 * u[t, b], t >= 20), (u[t, b], True)))
    kern = SlowKernel(dv.backprop(dv.define("loss", (), dv.Sum(later[t, b], t, b)), [u]))
    assert not crosscheck(kern, lambda u: {"u": np.ones_like(u)}).right


def test_what_no_input_can_meet_is_told_apart():
    square = dv.define("s", (b,), x[b] ** 2)
    dead = dv.define("y", (b,), Piecewise((2 * x[b], square[b] < 0), (x[b], True)))
    d = dv.vjp(dead, [x], cotangent="dy")
    (c,) = conditions_of(d.source)
    assert impossible(d.source, c, True) and not impossible(d.source, c, False)
    report = crosscheck(SlowKernel(d), lambda x, dy: {"x": dy})
    assert report.ok and report.coverage.impossible == ("s[b] < 0",)
    assert "never true: s[b] < 0" in str(report)


def unreachable():
    """sin(x)^2 + cos(x)^2 > 2 is never true, and no range of its parts shows it."""
    s = dv.define("s", (b,), sympy.sin(x[b]) ** 2)
    c = dv.define("c", (b,), sympy.cos(x[b]) ** 2)
    return dv.vjp(
        dv.define("y", (b,), Piecewise((2 * x[b], s[b] + c[b] > Rational(3, 2)), (x[b], True))), [x], cotangent="dy"
    )


def test_a_condition_that_is_not_met_must_be_named():
    d = unreachable()

    def fn(x, dy):
        return {"x": dy}

    for check in (lambda **o: crosscheck(SlowKernel(d), fn, **o), lambda **o: verify(SlowKernel(d), dtypes=(), **o)):
        report = check()
        assert not report.ok
        (way,) = report.not_seen
        assert way == "c[b] + s[b] > 3/2"
        assert f"not seen: {way}" in str(report)
        assert json.loads(report.to_json())["coverage"]["not_seen"] == [way]
        allowed = check(allow_unseen=[way])
        assert allowed.ok and f"not seen, as allowed: {way}" in str(allowed)
        with pytest.raises(nx.NumericsError, match="names 'x > 1'; the conditions of y read"):
            check(allow_unseen=["x > 1"])
        with pytest.raises(nx.NumericsError, match="takes a list of conditions"):
            check(allow_unseen=way)


def test_verify_meets_conditions_too():
    y = dv.define("y", (b,), dv.minimum(dv.relu(x[b]), 6))
    d = dv.vjp(y, [x], cotangent="dy")
    report = verify(nx.compile(d), dtypes=("float64",))
    assert report.ok, report
    assert report.not_seen == () and report.coverage.conditions == 2
    assert "seen: 2 of 2 conditions both ways; ties" in str(report)

    class Beyond(SlowKernel):
        def __call__(self, **arrays):
            value, grads = super().__call__(**arrays)
            return value, {"x": grads["x"] + 0.5 * arrays["dy"] * (np.asarray(arrays["x"]) > 6)}

    assert not verify(Beyond(d), dtypes=("float64",)).ok
    nan = SlowKernel(d, lambda n, a: np.where(np.abs(a) > 1e3, np.nan, a) if n == "x" else a)
    assert not verify(nan, dtypes=("float64",)).ok


@pytest.mark.parametrize(
    ("text", "wrt"),
    [
        ("det(X'*X)", "X"),
        pytest.param("X: m x n; B: k x m; C: n x k; det(B*X*C)", "X", marks=pytest.mark.slow),
        pytest.param("X: m x n; norm2(y-X*inv(X'*X)*X'*y)^2", "X", marks=pytest.mark.slow),
    ],
)
def test_sizes_at_which_a_function_is_degenerate_are_left(text, wrt):
    report = verify(nx.compile(dv.derive_matrix(text, wrt)), dtypes=("float64",))
    assert report.ok, report
    assert "zero but for rounding" in str(report)
