"""nx.verify on kinks, domains, facts, recurrences, vector-Jacobian and Hessian products, and the sampling behind it."""

import numpy as np
import pytest
import sympy
from slowkernel import SlowKernel

import derive as dv
from numerics.checks.ground import everything
from numerics.checks.taylor import order
from numerics.checks.verify import verify
from numerics.kernel.compile import compile
from numerics.reference.sampling import bind_sizes, draw, draw_sizes


def max_pool():
    b, h = dv.indices("b h")
    r = dv.index("r", size=2)
    x, u = dv.tensor("x", b, h), dv.index("u", size=h.size - 1)
    w = dv.tensor("w", u)
    m = dv.define("m", (b, u), dv.Max(x[b, u + r], r))
    return dv.backprop(dv.define("loss", (), dv.Sum(m[b, u] * w[u], b, u)), wrt=[x, w], name="max_pool")


def relu_net():
    b, i, k = dv.indices("b i k")
    x, W, c = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("c", k)
    h = dv.define("h", (b, k), dv.relu(dv.Sum(x[b, i] * W[i, k], i) + c[k]))
    return dv.backprop(dv.define("loss", (), dv.Sum(h[b, k] ** 2, b, k)), wrt=[W, c], name="relu_net")


def test_ties_in_a_max_are_a_stated_convention():
    report = verify(compile(max_pool()))
    assert report.ok, report
    at_ties = [f for f in report.findings if f.opponent == "stated conventions" and f.tensor == "x"]
    assert [f.verdict for f in at_ties] == ["convention"]
    assert "autodiff of the forward differs by" in at_ties[0].note
    assert "first maximiser" in at_ties[0].note


def test_a_kernel_that_breaks_a_tie_the_other_way_is_refused():
    d = max_pool()

    class Last(SlowKernel):  # the last maximiser gets the gradient
        def __call__(self, x, w):
            value, grads = super().__call__(x=x, w=w)
            gx = np.zeros_like(np.asarray(x))
            for u in range(len(np.asarray(w))):
                first = np.asarray(x)[:, u] > np.asarray(x)[:, u + 1]
                gx[:, u] += np.where(first, w[u], 0)
                gx[:, u + 1] += np.where(first, 0, w[u])
            return value, {**grads, "x": gx}

    report = verify(Last(d))
    assert not report.ok
    assert {f.opponent for f in report.findings if f.verdict == "FAIL"} == {"stated conventions"}


def test_relu_at_zero_agrees_with_autodiff_and_is_tested():
    report = verify(compile(relu_net()))
    assert report.ok, report
    assert [f.tensor for f in report.findings if f.opponent == "stated conventions"] == ["W", "c"]


def test_a_slope_of_one_at_zero_is_refused():
    kern = SlowKernel(relu_net())

    class Wrong(SlowKernel):  # relu'(0) = 1
        def __call__(self, **arrays):
            value, grads = super().__call__(**arrays)
            z = np.asarray(arrays["x"]) @ np.asarray(arrays["W"]) + np.asarray(arrays["c"])
            return value, {**grads, "c": grads["c"] + (z == 0).sum(axis=0)}

    assert verify(kern, dtypes=("float64",)).ok
    report = verify(Wrong(kern.derivation), dtypes=("float64",))
    assert {(f.tensor, f.opponent) for f in report.findings if f.verdict == "FAIL"} == {("c", "stated conventions")}


def test_stopped_gradients_are_met_by_autodiff_and_not_by_taylor():
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(x[i] * dv.stop_gradient(sympy.sin(x[i])), i))
    d = dv.backprop(loss, wrt=[x])
    report = verify(compile(d))
    assert report.ok, report
    assert "gradients are stopped on purpose" in str(report)
    assert not verify(SlowKernel(d, lambda name, a: 2 * a if name == "x" else a)).ok


def test_domains_are_found_and_stated():
    (i,) = dv.indices("i")
    x, y = dv.tensor("x", i), dv.tensor("y", i)
    loss = dv.define("loss", (), dv.Sum(sympy.acosh(x[i]) + sympy.atanh(y[i]), i))
    report = verify(compile(dv.backprop(loss, wrt=[x, y])))
    assert report.ok, report
    assert all(f.domain.startswith("x (1.1, 2.5), y ") for f in report.findings)
    assert {f.sizes for f in report.findings} == {"I=3"}, "one size alone needs no case of equal sizes"


def test_what_the_exact_check_leaves_open_is_said(monkeypatch):
    from derive.exact.verdict import Evidence
    from derive.exact.verdict import Finding as Row

    kern = compile(relu_net())
    monkeypatch.setattr(
        type(kern.derivation),
        "check",
        lambda self, seed=0: Evidence("relu_net", [Row("gradient W", "undecided", "nothing")]),
    )
    report = verify(kern, dtypes=("float64",))
    assert {f.exact for f in report.findings if f.order} == {"undecided"}
    assert "could neither prove nor refute gradient W" in str(report)


def test_a_loss_defined_nowhere_is_an_error():
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(sympy.log(-(x[i] ** 2) - 1), i))
    report = verify(SlowKernel(dv.backprop(loss, wrt=[x])))
    assert not report.ok
    assert "no inputs with a finite loss and gradient were found" in str(report)


def test_a_recurrence_with_an_initial_state():
    t, b, l = dv.indices("t b l")
    m = dv.index("m", size=l.size)
    x, U, h0 = dv.tensor("x", t, b, l), dv.tensor("U", m, l), dv.tensor("h0", b, l)
    h = dv.define(
        "h",
        (t, b, l),
        lambda h: sympy.tanh(
            x[t, b, l] + dv.Sum(sympy.Piecewise((h0[b, m], sympy.Eq(t, 0)), (h[t - 1, b, m], True)) * U[m, l], m)
        ),
    )
    loss = dv.define("loss", (), dv.Sum(h[t, b, l] ** 2, t, b, l))
    report = verify(compile(dv.backprop(loss, wrt=[U, h0], name="rnn")))
    assert report.ok, report
    assert {f.tensor for f in report.findings if f.order} == {"U", "h0"}


def test_vector_jacobian_products_and_intermediates():
    b, i, k = dv.indices("b i k")
    x, W = dv.tensor("x", b, i), dv.tensor("W", i, k)
    y = dv.define("y", (b, k), sympy.exp(dv.Sum(x[b, i] * W[i, k], i)))
    report = verify(compile(dv.vjp(y, [x, W])))
    assert report.ok, report
    assert {f.tensor for f in report.findings} == {"x", "W", "value"}
    loss = dv.define("loss", (), dv.Sum(y[b, k] ** 3, b, k))
    report = verify(SlowKernel(dv.backprop(loss, wrt=[y, W], outputs=[y]), lambda n, a: a if n != "y" else 1.01 * a))
    assert {f.tensor for f in report.findings if f.verdict == "FAIL"} >= {"y"}


def test_hessian_products_meet_forward_over_reverse():
    b, i = dv.indices("b i")
    x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    loss = dv.define("loss", (), dv.Sum(sympy.tanh(dv.Sum(x[b, i] * w[i], i)), b))
    d = dv.hvp(loss, [w])
    assert verify(compile(d)).ok
    report = verify(SlowKernel(d, lambda n, a: -a if n == "hvp w" else a))
    assert {f.tensor for f in report.findings if f.verdict == "FAIL"} == {"hvp w"}


def test_jacobians_and_hessians_meet_autodiff():
    b, i = dv.indices("b i")
    x, w, c = dv.tensor("x", b, i), dv.tensor("w", i), dv.tensor("c")
    y = dv.define("y", (b,), sympy.exp(dv.Sum(x[b, i] * w[i], i)) * c[()])
    d = dv.jacobian(y, wrt=[w, c])
    report = verify(compile(d))
    assert report.ok, report
    assert {f.tensor for f in report.findings} == {"value", "jacobian w", "jacobian c"}
    assert not verify(SlowKernel(d, lambda n, a: a * 1.001 if n == "jacobian w" else a)).ok
    second = dv.hessian(dv.define("loss", (), dv.Sum(y[b], b)), wrt=[w, c])
    report = verify(compile(second))
    assert report.ok, report
    assert {"hessian w, w", "hessian w, c", "hessian c, w", "hessian c, c"} <= {f.tensor for f in report.findings}


def test_facts_are_kept_by_the_samples():
    p, q = dv.indices("p q", size="N")
    (k,) = dv.indices("k")
    sizes = {p.size: 4, k.size: 3}
    rng = np.random.default_rng(0)
    A = draw(dv.tensor("A", p, q, facts=[dv.symmetric]), sizes, "normal", rng)
    np.testing.assert_array_equal(A, A.T)
    y = draw(dv.tensor("y", p, k, facts=[dv.sums_to(1, k)]), sizes, "normal", rng)
    np.testing.assert_allclose(y.sum(axis=1), 1)
    assert (draw(dv.tensor("v", k, facts=[dv.positive]), sizes, "normal", rng) > 0).all()
    n = draw(dv.tensor("n", p, dtype="int", below=k.size), sizes, "normal", rng)
    assert n.min() >= 0
    assert n.max() < 3
    assert n[0] == n[-1], "an index is repeated on purpose"


def test_sizes_are_unequal_then_equal_and_derived_ones_positive():
    program = everything(max_pool())
    assert {s.name: n for s, n in draw_sizes(program).items()} == {"B": 5, "H": 3}
    assert {s.name: n for s, n in draw_sizes(program, square=True).items()} == {"B": 3, "H": 3}
    H = dv.size("H")
    assert draw_sizes(program, {H: 9})[H] == 9
    arrays = {"x": np.zeros((2, 6)), "w": np.zeros(5)}
    assert {s.name: n for s, n in bind_sizes(program, arrays).items()} == {"B": 2, "H": 6}


def test_the_taylor_order_tells_right_from_wrong_whatever_the_size():
    for n in (3, 1000):
        rng = np.random.default_rng(0)
        x = rng.normal(size=n)
        right = order(lambda a: float(np.sum(np.sin(a))), x, np.cos(x), 1e-15)
        wrong = order(lambda a: float(np.sum(np.sin(a))), x, np.cos(x) * 1.0001, 1e-15)
        zero = order(lambda a: float(np.sum(np.sin(a))), x, 0 * x, 1e-15)
        assert right.value == pytest.approx(2, abs=0.1)
        assert not wrong.ok
        assert zero.value == pytest.approx(1, abs=0.1)
    assert str(order(lambda a: float(np.sum(a)), x, np.ones(n), 1e-13)) == "floor"
    assert order(lambda a: float(np.sum(a * a)), x, 2 * x, 1e-13).value == pytest.approx(2, abs=0.01)
    assert not order(lambda a: float(np.sum(a)), x, np.ones(n) * 1.001, 1e-13).ok


RIGHT = {
    "a float mask of a large number": (
        "s: float[b,t] parameter; m: float[b,t]\nl = sum[b](log(sum[t](exp(s[b,t] - 1e9*(1 - m[b,t])))))"
    ),
    "a value that floats lose": "x: float[b] parameter\nl = sum[b](log(1 - exp(x[b] - 100)))",
    "a slope that autodiff loses": "x: float[b] parameter\nl = sum[b](x[b]/(abs(x[b]) + 1e-30))",
    "a distance of a point to itself, guarded later": (
        "index p q: N\nX: float[p,i] parameter\nr[p,q] = sqrt(sum[i]((X[p,i] - X[q,i])^2))\n"
        "e[p,q] = where(p != q, log(r[p,q])/r[p,q], 0)\nl = sum[p,q](e[p,q])"
    ),
    "an input that is an exponent": "x: float[b,t] parameter; p: float\nl = sum[b](sum[t](abs(x[b,t])^p)^(1/p))",
    "a quotient by whole numbers": "x: float[b] parameter; n: int[b] < 3\nl = sum[b](where(n[b] > 0, x[b]/n[b], 0))",
}


@pytest.mark.parametrize("kind", RIGHT)
def test_a_right_program_is_not_refused(kind):
    t = dv.parse(RIGHT[kind])
    d = dv.backprop(t["l"], wrt=[x for x in t.values() if x.role == "parameter"])
    assert d.check().ok
    report = verify(compile(d))
    assert report.ok, report


def test_digits_that_a_given_forward_loses_are_not_forgiven():
    t = dv.parse("x: float[b] parameter\nl = sum[b](log(1 - exp(x[b] - 100)))")
    kern = compile(dv.backprop(t["l"], wrt=[t["x"]]))
    assert not verify(kern, forward=lambda x: 0.0 * x.sum()).ok
