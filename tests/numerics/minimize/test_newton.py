"""Newton's method: known answers, quadratic convergence, and every refusal with its history."""

import json

import numpy as np
import pytest
import sympy
from second_order_programs import logistic
from sympy import cos, exp, log, sin

import derive as dv
import numerics as nx
from numerics.minimize.history import observed_order
from numerics.minimize.steps import cg_step, newton_step


def penalized_logistic():
    b, i = dv.indices("b i")
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    c, lam = dv.tensor("c"), dv.tensor("lam")
    s = dv.define("s", (b,), dv.sigmoid(dv.Sum(x[b, i] * w[i], i) + c[()]))
    fit = -dv.Sum(y[b] * log(s[b]) + (1 - y[b]) * log(1 - s[b]), b) / b.size
    return dv.define("loss", (), fit + lam[()] * dv.Sum(w[i] ** 2, i) / 2), [w, c]


@pytest.fixture(scope="module")
def cancer():
    datasets = pytest.importorskip("sklearn.datasets")
    x, y = datasets.load_breast_cancer(return_X_y=True)
    x = (x - x.mean(axis=0)) / x.std(axis=0)
    return {"x": x, "y": y.astype(float), "lam": np.array(1 / len(y))}


def start(n):
    return {"w": np.zeros(n), "c": np.zeros(())}


def test_logistic_regression_agrees_with_scikit_learn(cancer):
    """Newton's method on the derived Hessian is iteratively reweighted least squares."""
    linear = pytest.importorskip("sklearn.linear_model")
    result = nx.newton(dv.hessian(*penalized_logistic()), start(30), cancer)
    assert result.steps <= 10 and result.residual < 1e-10
    assert result.order == pytest.approx(2, abs=0.1)
    theirs = linear.LogisticRegression(C=1.0, tol=1e-12, max_iter=1000, solver="newton-cholesky").fit(
        cancer["x"], cancer["y"]
    )
    np.testing.assert_allclose(result.parameters["w"], theirs.coef_[0], atol=1e-6)
    np.testing.assert_allclose(result.parameters["c"], theirs.intercept_[0], atol=1e-6)


def test_products_alone_give_the_same_point(cancer):
    full = nx.newton(dv.hessian(*penalized_logistic()), start(30), cancer)
    free = nx.newton(dv.hvp(*penalized_logistic()), start(30), cancer)
    assert free.method == "newton-cg" and all(h.inner > 0 for h in free.history[:-1])
    np.testing.assert_allclose(free.parameters["w"], full.parameters["w"], atol=1e-9)


def rosenbrock():
    x, y = dv.tensor("x"), dv.tensor("y")
    return dv.define("loss", (), 100 * (y[()] - x[()] ** 2) ** 2 + (1 - x[()]) ** 2), [x, y]


def test_rosenbrock_by_every_method():
    at = {"x": np.array(-1.2), "y": np.array(1.0)}
    assert nx.newton(dv.hessian(*rosenbrock()), at, damping="auto").parameters["x"] == pytest.approx(1, abs=1e-9)
    assert nx.newton(dv.hvp(*rosenbrock()), at, max_steps=100).parameters["x"] == pytest.approx(1, abs=1e-9)
    q = dv.index("q", size=2)
    v = dv.tensor("v", q)
    r = dv.define("r", (q,), sympy.Piecewise((10 * (v[1] - v[0] ** 2), sympy.Eq(q, 0)), (1 - v[0], True)))
    for method in ("root", "gauss-newton", "levenberg-marquardt"):
        found = nx.newton(dv.jacobian(r, [v]), {"v": np.array([-1.2, 1.0])}, method=method)
        np.testing.assert_allclose(found.parameters["v"], 1, atol=1e-9)
        assert found.method == method


def test_a_root_is_found_with_quadratic_convergence():
    """x - cos x = 0, the tangent-line equation in its oldest form."""
    x = dv.tensor("x")
    d = dv.jacobian(dv.define("y", (), x[()] - cos(x[()])), [x])
    result = nx.newton(d, {"x": np.array(1.0)})
    assert result.parameters["x"] == pytest.approx(0.7390851332151607, abs=1e-15)
    by_hand, v = [], 1.0
    for _ in range(result.steps):
        by_hand.append(abs(v - np.cos(v)))
        v -= (v - np.cos(v)) / (1 + np.sin(v))
    np.testing.assert_allclose([h.residual for h in result.history[:-1]], by_hand, rtol=1e-6, atol=1e-12)


def test_a_system_with_a_known_answer():
    """x^2 + y^2 = 4 and x y = 1: x and y are sqrt(2 + sqrt 3) and its inverse."""
    q = dv.index("q", size=2)
    v = dv.tensor("v", q)
    y = dv.define("y", (q,), sympy.Piecewise((v[0] ** 2 + v[1] ** 2 - 4, sympy.Eq(q, 0)), (v[0] * v[1] - 1, True)))
    result = nx.newton(dv.jacobian(y, [v]), {"v": np.array([2.0, 0.3])}, tolerance=1e-13)
    true = np.sqrt(2 + np.sqrt(3))
    np.testing.assert_allclose(result.parameters["v"], [true, 1 / true], rtol=1e-13)
    assert result.method == "root" and result.order == pytest.approx(2, abs=0.3)


def test_a_least_squares_fit_recovers_what_made_the_data():
    n = dv.index("n")
    t, y, a, k = dv.tensor("t", n), dv.tensor("y", n), dv.tensor("a"), dv.tensor("k")
    r = dv.define("r", (n,), a[()] * exp(-k[()] * t[n]) - y[n])
    times = np.linspace(0, 4, 30)
    data = {"t": times, "y": 2.5 * np.exp(-1.3 * times)}
    result = nx.newton(dv.jacobian(r, [a, k]), {"a": np.array(1.0), "k": np.array(0.1)}, data)
    assert result.method == "levenberg-marquardt"
    assert float(result.parameters["a"]) == pytest.approx(2.5, abs=1e-9)
    assert float(result.parameters["k"]) == pytest.approx(1.3, abs=1e-9)
    noisy = {**data, "y": data["y"] + 0.05 * np.sin(17 * times)}
    found = nx.newton(dv.jacobian(r, [a, k]), {"a": np.array(1.0), "k": np.array(0.1)}, noisy)
    optimize = pytest.importorskip("scipy.optimize")
    theirs, _ = optimize.curve_fit(lambda t, a, k: a * np.exp(-k * t), times, noisy["y"], (1, 0.1), xtol=1e-14)
    np.testing.assert_allclose([found.parameters["a"], found.parameters["k"]], theirs, rtol=1e-6)


def saddle():
    x, y = dv.tensor("x"), dv.tensor("y")
    return dv.define("loss", (), x[()] ** 4 / 4 - x[()] ** 2 / 2 + y[()] ** 2), [x, y]


def test_an_indefinite_hessian_is_said_and_damped_if_asked():
    at = {"x": np.array(0.1), "y": np.array(0.5)}
    with pytest.raises(nx.NewtonError, match="not positive definite: its smallest eigenvalue is -9.7") as error:
        nx.newton(dv.hessian(*saddle()), at)
    assert 'damping="auto"' in str(error.value) and len(error.value.history) == 1
    result = nx.newton(dv.hessian(*saddle()), at, damping="auto")
    assert float(result.parameters["x"]) == pytest.approx(1, abs=1e-9)
    assert result.history[0].damping > 0.97 and result.history[-2].damping == 0, "no damping where none is needed"


def test_a_singular_hessian_is_said():
    i = dv.index("i")
    x, w = dv.tensor("x", i), dv.tensor("w", i)
    loss = dv.define("loss", (), (dv.Sum(x[i] * w[i], i) - 1) ** 2)
    with pytest.raises(nx.NewtonError, match="the Hessian is singular"):
        nx.newton(dv.hessian(loss, [w]), {"w": np.zeros(3)}, {"x": np.array([1.0, 2.0, 3.0])})
    result = nx.newton(dv.hessian(loss, [w]), {"w": np.zeros(3)}, {"x": np.array([1.0, 2.0, 3.0])}, damping="auto")
    assert result.value < 1e-20


def test_a_singular_jacobian_is_said():
    q = dv.index("q", size=2)
    v = dv.tensor("v", q)
    y = dv.define("y", (q,), (v[0] + v[1]) ** 2 - 1)
    with pytest.raises(nx.NewtonError, match="the Jacobian is singular"):
        nx.newton(dv.jacobian(y, [v]), {"v": np.array([1.0, 2.0])})


def test_no_convergence_keeps_the_history():
    with pytest.raises(nx.NewtonError, match="no convergence in 3 steps") as error:
        nx.newton(dv.hessian(*rosenbrock()), {"x": np.array(-1.2), "y": np.array(1.0)}, max_steps=3, damping="auto")
    history = error.value.history
    assert [h.number for h in history] == [0, 1, 2, 3] and history[-1].value < history[0].value
    assert set(error.value.parameters) == {"x", "y"} and "residual" in str(error.value)


def test_values_that_are_not_finite_are_said():
    x = dv.tensor("x")
    with pytest.raises(nx.NewtonError, match="not finite at step 0"):
        nx.newton(dv.hessian(dv.define("loss", (), log(x[()]) ** 2), [x]), {"x": np.array(-1.0)})


def test_a_full_step_that_overshoots_is_halved():
    """sqrt(1 + x^2) from 3: Newton's own step diverges, the line search does not let it."""
    x = dv.tensor("x")
    d = dv.hessian(dv.define("loss", (), sympy.sqrt(1 + x[()] ** 2)), [x])
    result = nx.newton(d, {"x": np.array(3.0)})
    assert float(result.parameters["x"]) == pytest.approx(0, abs=1e-9) and result.history[0].rate < 1
    with pytest.raises(nx.NewtonError):
        nx.newton(d, {"x": np.array(3.0)}, line_search=False)


def test_a_hessian_too_large_names_its_bytes():
    data = {"x": np.zeros((2, 1000)), "y": np.zeros(2)}
    with pytest.raises(nx.NumericsError, match="8,000,000 bytes.*dv.hvp"):
        nx.newton(dv.hessian(*logistic()), {"w": np.zeros(1000)}, data, memory=10**6)


def test_what_does_not_fit_is_refused():
    loss, wrt = rosenbrock()
    at = {"x": np.array(0.0), "y": np.array(0.0)}
    with pytest.raises(nx.NumericsError, match="this is a backprop"):
        nx.newton(dv.backprop(loss, wrt), at)
    with pytest.raises(nx.NumericsError, match="y is missing"):
        nx.newton(dv.hessian(loss, wrt), {"x": np.array(0.0)})
    with pytest.raises(nx.NumericsError, match="'z' is not differentiated for"):
        nx.newton(dv.hessian(loss, wrt), {**at, "z": 1.0})
    with pytest.raises(nx.NumericsError, match="one of newton"):
        nx.newton(dv.hessian(loss, wrt), at, method="root")
    with pytest.raises(nx.NumericsError, match="damping=-1"):
        nx.newton(dv.hessian(loss, wrt), at, damping=-1)
    for wrong in (
        {"tolerance": -1},
        {"tolerance": float("nan")},
        {"tolerance": "small"},
        {"max_steps": -1},
        {"max_steps": 2.5},
        {"inner": 0},
    ):
        ((name, given),) = wrong.items()
        with pytest.raises(nx.NumericsError, match=f"{name}={given!r}: give a"):
            nx.newton(dv.hessian(loss, wrt), at, **wrong)
    with pytest.raises(nx.NumericsError, match="root takes no damping; what does are newton, newton-cg"):
        nx.newton(dv.jacobian(dv.define("y", (), wrt[0][()] ** 2 - 2), wrt[:1]), {"x": np.array(1.0)}, damping=0.1)
    n = dv.index("n")
    t, a = dv.tensor("t", n), dv.tensor("a")
    with pytest.raises(nx.NumericsError, match="3 equations in 1 unknowns"):
        nx.newton(
            dv.jacobian(dv.define("r", (n,), a[()] * t[n]), [a]), {"a": np.array(1.0)}, {"t": np.ones(3)}, method="root"
        )


def test_the_same_damping_gives_the_same_steps_with_a_matrix_and_with_products():
    """1/2 |w|^2_A and a damping of 1/2: the first step of both is the solution of (A + I/2) p = -A w."""
    q = dv.index("q")
    w, a = dv.tensor("w", q), dv.tensor("a", q)
    loss = dv.define("loss", (), dv.Sum(a[q] * w[q] ** 2, q) / 2)
    start, data = {"w": np.array([1.0, -2.0, 3.0])}, {"a": np.array([1.0, 2.0, 4.0])}
    for d in (dv.hessian(loss, [w]), dv.hvp(loss, [w])):
        history = nx.newton(d, start, data, damping=0.5, tolerance=1e-8).history
        steps = data["a"] * start["w"] / (data["a"] + 0.5)
        assert history[0].damping == 0.5 and history[0].step == pytest.approx(np.linalg.norm(steps), rel=0.1)
        assert len(history) > 5, "a constant damping converges linearly"


def test_data_that_are_not_what_was_declared_are_named():
    p, q = dv.indices("p q", size="N")
    A, x = dv.tensor("A", p, q, facts=[dv.symmetric]), dv.tensor("x", p)
    d = dv.hessian(dv.define("loss", (), dv.Sum(x[p] * A[p, q] * x[q], p, q)), [x])
    at = {"x": np.ones(2)}
    with pytest.raises(nx.NumericsError, match=r"A is symmetric \(declared\), but A\[0, 1\] = 2 and A\[1, 0\] = 0.5"):
        nx.newton(d, at, {"A": np.array([[3.0, 2.0], [0.5, 3.0]])})
    with pytest.raises(nx.NumericsError, match=r"A\[0, 1\] is NaN"):
        nx.newton(d, at, {"A": np.array([[3.0, np.nan], [0.5, 3.0]])})
    with pytest.raises(nx.NumericsError, match=r"x\[1\] is NaN"):
        nx.newton(d, {"x": np.array([1.0, np.nan])}, {"A": 3 * np.eye(2)})
    assert np.allclose(nx.newton(d, at, {"A": 3 * np.eye(2)}).parameters["x"], 0)


def test_float32_stays_float32():
    x = dv.tensor("x")
    d = dv.hessian(dv.define("loss", (), (x[()] - 3) ** 2 + sin(x[()])), [x])
    result = nx.newton(d, {"x": np.array(1.0, np.float32)}, tolerance=1e-5, damping="auto")
    assert result.parameters["x"].dtype == np.float32


def test_the_history_is_data():
    x = dv.tensor("x")
    result = nx.newton(dv.hessian(dv.define("loss", (), exp(x[()]) - x[()]), [x]), {"x": np.array(1.0)})
    saved = json.loads(result.to_json())
    assert saved["converged"] and len(saved["history"]) == result.steps + 1 and saved["order"] == result.order
    assert str(result).splitlines()[0].startswith("loss_hessian  newton: converged in")


def test_the_order_is_of_the_last_steps_above_the_rounding():
    assert observed_order([1, 1e-1, 1e-2, 1e-3]) == pytest.approx(1)
    assert observed_order([1e-1, 1e-2, 1e-4, 1e-8, 3e-17]) == pytest.approx(2)
    assert observed_order([1e-3, 1e-20]) is None


def test_the_algebra_by_itself():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(6, 6))
    H, g = A @ A.T + np.eye(6), rng.normal(size=6)
    p, used = newton_step(H, g, 0.0)
    np.testing.assert_allclose(H @ p, -g, atol=1e-10)
    assert used == 0
    p, inner = cg_step(lambda v: H @ v, 1e-6 * g, 100)
    assert np.linalg.norm(H @ p + 1e-6 * g) < 1e-5 * 1e-6 and inner <= 7
    with pytest.raises(nx.NewtonError, match="not symmetric"):
        newton_step(A, g, 0.0)


def test_a_full_step_of_logistic_regression_is_a_weighted_regression(x64):
    """Iteratively reweighted least squares: weights s(1-s), working response Xw + (y-s)/(s(1-s))."""
    rng = np.random.default_rng(4)
    x, w = rng.normal(size=(40, 3)), rng.normal(size=3) / 2
    y = (rng.random(40) < 0.5).astype(float)
    found = nx.compile(dv.hessian(*logistic()))(w=w, x=x, y=y)
    stepped = w - np.linalg.solve(found.hessian["w", "w"], found.grads["w"])
    s = 1 / (1 + np.exp(-x @ w))
    root = np.sqrt(s * (1 - s))
    regression = np.linalg.lstsq(x * root[:, None], root * (x @ w + (y - s) / root**2), rcond=None)[0]
    np.testing.assert_allclose(stepped, regression, rtol=1e-10)


def test_products_find_the_minimum_from_where_the_loss_bends_down():
    result = nx.newton(dv.hvp(*saddle()), {"x": np.array(0.1), "y": np.array(0.5)})
    assert abs(float(result.parameters["x"])) == pytest.approx(1, abs=1e-8) and np.isfinite(result.value)


def test_data_that_is_not_finite_is_no_silent_nan(cancer):
    broken = {**cancer, "y": np.where(np.arange(len(cancer["y"])) == 3, np.nan, cancer["y"])}
    for d in (dv.hessian(*penalized_logistic()), dv.hvp(*penalized_logistic())):
        with pytest.raises(nx.NewtonError, match=r"y\[3\] is NaN") as error:
            nx.newton(d, start(30), broken)
        assert not error.value.history and not error.value.parameters["w"].any()


def test_a_large_problem_goes_by_products_alone():
    """Twenty thousand parameters, whose Hessian would take 3.2 GB: a chain of springs."""
    q = dv.index("q", size=20_000)
    w, a = dv.tensor("w", q), dv.tensor("a", q)
    bend = dv.Sum((w[q] - dv.Iverson(sympy.Ge(q, 1)) * w[q - 1]) ** 2, q)
    loss = dv.define("loss", (), bend / 2 + dv.Sum((w[q] ** 2 - a[q]) ** 2, q) / 4)
    result = nx.newton(dv.hvp(loss, [w]), {"w": np.full(20_000, 0.5)}, {"a": np.full(20_000, 1.0)}, tolerance=1e-8)
    assert result.method == "newton-cg" and result.residual < 1e-8 and result.path == ()
    assert float(result.parameters["w"][10_000]) == pytest.approx(1, abs=1e-8)
