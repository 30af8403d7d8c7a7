"""Gauss-Newton products: proved, verified, equal to J'HJ and to the Fisher information; what is refused."""

from dataclasses import replace

import numpy as np
import pytest
from slowkernel import SlowKernel
from sympy import exp, log, tanh

import derive as dv
import numerics as nx
from derive.language.errors import DerivationError
from derive.program.program import Program


def classifier():
    b, i, j, k = dv.indices("b i j k")
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W, V = dv.tensor("W", i, j), dv.tensor("V", j, k)
    h = dv.define("h", (b, j), tanh(dv.Sum(x[b, i] * W[i, j], i)))
    z = dv.define("z", (b, k), dv.Sum(h[b, j] * V[j, k], j))
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    return dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size), [W, V], z


def decay():
    n = dv.index("n")
    t, y, a, k = dv.tensor("t", n), dv.tensor("y", n), dv.tensor("a"), dv.tensor("k")
    r = dv.define("r", (n,), a[()] * exp(-k[()] * t[n]) - y[n])
    return dv.define("loss", (), dv.Sum(r[n] ** 2, n) / 2), [a, k], r


@pytest.mark.parametrize("make", [classifier, decay])
def test_products_are_proved_and_verified(make):
    loss, wrt, at = make()
    d = dv.gauss_newton(loss, wrt, at=at)
    evidence = d.check()
    assert {f"gauss_newton {t.name}" for t in wrt} <= set(evidence.named("proved"))
    report = nx.verify(nx.compile(d))
    assert report.ok, report
    assert f"gauss_newton {wrt[0].name}" in {f.tensor for f in report.findings}


def test_the_hessian_product_in_its_place_is_refuted():
    """What distinguishes the two is exactly the dropped term."""
    loss, wrt, at = classifier()
    gn, hv = dv.gauss_newton(loss, wrt, at=at), dv.hvp(loss, wrt)
    fake = replace(
        gn, program=hv.program, steps=(), evidence={}, results=(*gn.results[:2], ("gauss_newton", hv.result("hvp")))
    )
    with pytest.raises(DerivationError, match="gauss_newton W is refuted"):
        fake.check()


def test_a_mutant_is_refuted_by_both():
    loss, wrt, at = classifier()
    d = dv.gauss_newton(loss, wrt, at=at)
    name = d.result("gauss_newton")["V"].name

    def doubled(e):
        return replace(e, terms=tuple(replace(t, coef=2 * t.coef) for t in e.terms)) if e.name == name else e

    wrong = replace(
        d,
        program=Program(d.program.inputs, tuple(map(doubled, d.program.equations)), d.program.outputs),
        steps=(),
        evidence={},
    )
    with pytest.raises(DerivationError, match="gauss_newton V is refuted"):
        wrong.check()
    report = nx.verify(SlowKernel(d, lambda n, a: 1.001 * a if n == "gauss_newton V" else a), dtypes=())
    assert "gauss_newton V" in {f.tensor for f in report.findings if f.verdict == "FAIL"}


def test_for_least_squares_it_is_the_normal_matrix():
    loss, wrt, r = decay()
    rng = np.random.default_rng(0)
    data = {"t": rng.random(9), "y": rng.random(9), "a": np.array(1.5), "k": np.array(0.7)}
    J = nx.compile(dv.jacobian(r, wrt))(**data).jacobian
    J = np.stack([np.asarray(J["a"]), np.asarray(J["k"])], axis=1)
    v = rng.normal(size=2)
    product = nx.compile(dv.gauss_newton(loss, wrt, at=r))(**data, a_dir=v[0], k_dir=v[1]).gauss_newton
    np.testing.assert_allclose([product["a"], product["k"]], J.T @ (J @ v), rtol=1e-5)


def test_for_logits_it_is_the_fisher_information():
    """F = E[g g'] over labels drawn from the model itself, here summed over all of them."""
    loss, wrt, z = classifier()
    rng = np.random.default_rng(1)
    x, W, V = rng.normal(size=(1, 3)), rng.normal(size=(3, 2)), rng.normal(size=(2, 4))
    dW, dV = rng.normal(size=W.shape), rng.normal(size=V.shape)
    gradient = nx.compile(dv.backprop(loss, wrt, outputs=[z]))
    logits = np.asarray(gradient(x=x, W=W, V=V, label=np.array([0])).outputs["z"])[0]
    p = np.exp(logits) / np.exp(logits).sum()
    expected = 0
    for label in range(4):
        g = gradient(x=x, W=W, V=V, label=np.array([label])).grads
        slope = np.sum(np.asarray(g["W"]) * dW) + np.sum(np.asarray(g["V"]) * dV)
        expected = expected + p[label] * slope * np.asarray(g["W"])
    made = nx.compile(dv.gauss_newton(loss, wrt, at=z))
    found = made(x=x, W=W, V=V, label=np.array([2]), W_dir=dW, V_dir=dV).gauss_newton["W"]
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-5)


def test_the_product_names_what_it_moves_along():
    loss, wrt, z = classifier()
    d = dv.gauss_newton(loss, wrt, at=z)
    assert {n: t.name for n, t in d.directions.items()} == {"W": "W_dir", "V": "V_dir"} and d.between.name == "z"
    assert str(d.program.equation("z_dot")) == "z_dot[b,k] = sum_j h[b,j] V_dir[j,k] + sum_j d_dh[b,j] V[j,k]"
    assert "def loss_grads_and_gauss_newton(" in nx.compile(d).source


def test_a_penalty_beside_z_is_refused():
    b, i = dv.indices("b i")
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    r = dv.define("r", (b,), dv.Sum(x[b, i] * w[i], i) - y[b])
    loss = dv.define("loss", (), dv.Sum(r[b] ** 2, b) + dv.Sum(w[i] ** 2, i))
    with pytest.raises(DerivationError, match="depends on w beside r too"):
        dv.gauss_newton(loss, [w], at=r)


def test_it_minimizes():
    loss, wrt, r = decay()
    times = np.linspace(0, 4, 30)
    result = nx.newton(
        dv.gauss_newton(loss, wrt, at=r),
        {"a": np.array(1.0), "k": np.array(0.1)},
        {"t": times, "y": 2.5 * np.exp(-1.3 * times)},
    )
    assert result.method == "gauss-newton-cg" and result.steps < 10
    np.testing.assert_allclose([result.parameters["a"], result.parameters["k"]], [2.5, 1.3], rtol=1e-9)


def test_an_adjoint_that_the_curvature_reads_is_that_of_the_gradient():
    """softplus'' is dz (1 - dz): the product reads the slope dz, of which there is one."""
    b, i = dv.indices("b i")
    x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    z = dv.define("z", (b,), dv.Sum(x[b, i] * w[i], i))
    d = dv.gauss_newton(dv.define("loss", (), dv.Sum(dv.softplus(z[b]), b)), [w], at=z)
    assert d.check().ok and [e.name for e in d.program.equations].count("dz") == 1
    X, v = np.random.default_rng(0).normal(size=(7, 3)), np.array([1.0, -2.0, 0.5])
    p = 1 / (1 + np.exp(-X @ np.ones(3)))
    found = nx.compile(d)(x=X, w=np.ones(3), w_dir=v).gauss_newton["w"]
    np.testing.assert_allclose(found, X.T @ (p * (1 - p) * (X @ v)), rtol=1e-5)
