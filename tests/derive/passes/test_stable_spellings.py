"""Masked softmax, log-sum-exp, tanh: finite and right at float32 extremes in every spelling (law 13)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx

S = np.array([[100.0, 99, 500, -300], [-1e4, 1e4, 30, 20]], np.float32)
M = np.array([[1, 1, 0, 1], [1, 0, 1, 1]])
V = np.array([[1.0, -2, 0.3, 0.5], [0.2, 1, -1, 2]], np.float32)

MASKED = {
    "inline, int": (
        "int[b,k] < 2",
        "p[b,k] = where(m[b,k]==1,exp(s[b,k]),0)/sum[k'](where(m[b,k']==1,exp(s[b,k']),0))",
    ),
    "named, int": ("int[b,k] < 2", "w[b,k] = where(m[b,k]==1,exp(s[b,k]),0)\np[b,k] = w[b,k]/sum[k'](w[b,k'])"),
    "inline, bool": ("bool[b,k]", "p[b,k] = where(m[b,k],exp(s[b,k]),0)/sum[k'](where(m[b,k'],exp(s[b,k']),0))"),
    "named, bool": ("bool[b,k]", "w[b,k] = where(m[b,k],exp(s[b,k]),0)\np[b,k] = w[b,k]/sum[k'](w[b,k'])"),
    "named twice": ("bool[b,k]", "w[b,k] = where(m[b,k],exp(s[b,k]),0)\nn[b] = sum[k](w[b,k])\np[b,k] = w[b,k]/n[b]"),
    "inline, float": ("float[b,k]", "p[b,k] = m[b,k]*exp(s[b,k])/sum[k'](m[b,k']*exp(s[b,k']))"),
    "named, float": ("float[b,k]", "w[b,k] = m[b,k]*exp(s[b,k])\np[b,k] = w[b,k]/sum[k'](w[b,k'])"),
    "exponent, bool": ("bool[b,k]", "z[b,k] = where(m[b,k],s[b,k],-inf)\np[b,k] = exp(z[b,k])/sum[k'](exp(z[b,k']))"),
}


def of_mask(kind):
    return M.astype({"i": np.int32, "b": bool, "f": np.float32}[kind[0]])


@pytest.mark.parametrize("name", MASKED)
def test_a_masked_softmax(name):
    mask, body = MASKED[name]
    t = dv.parse(f"s: float[b,k] parameter\nv: float[b,k]\nm: {mask}\n{body}\nl = sum[b,k](p[b,k]*v[b,k])")
    d = dv.backprop(t["l"], wrt=[t["s"]])
    kern = nx.compile(d)

    def reference(s):
        return (jax.nn.softmax(jnp.where(M == 1, s, -jnp.inf), axis=1) * V).sum()

    for s in (S, S / 100):
        loss, grads = kern(s=s, v=V, m=of_mask(mask))
        want, slope = jax.value_and_grad(reference)(jnp.asarray(s))
        np.testing.assert_allclose(loss, want, rtol=1e-5)
        np.testing.assert_allclose(grads["s"], slope, atol=1e-5)
    assert not any(row.verdict == "refuted" for row in d.check().rows)


@pytest.mark.parametrize("name", ["named, bool", "named, float"])
def test_a_masked_softmax_is_verified(name):
    mask, body = MASKED[name]
    t = dv.parse(f"s: float[b,k] parameter\nv: float[b,k]\nm: {mask}\n{body}\nl = sum[b,k](p[b,k]*v[b,k])")
    report = nx.verify(nx.compile(dv.backprop(t["l"], wrt=[t["s"]])))
    assert report.ok, str(report)


@pytest.mark.parametrize(
    "body",
    ["log(where(m[b],exp(s[b]),0) + 1)", "log(sum[k](where(n[b,k],exp(z[b,k]),0)))", "log(sum[k](g[b,k]*exp(z[b,k])))"],
)
def test_a_masked_log_sum_exp_has_no_refuted_step(body):
    t = dv.parse(
        f"s: float[b] parameter\nz: float[b,k] parameter\ng: float[b,k]\nm: bool[b]\nn: bool[b,k]\n"
        f"l = sum[b]({body} + s[b] + sum[k](z[b,k]))"
    )
    d = dv.backprop(t["l"], wrt=[t["s"], t["z"]])
    assert not any(row.verdict == "refuted" for row in d.check().rows)


@pytest.mark.parametrize(("a", "c"), [(100, 99), (-100, 100), (1e4, -1e4), (0, 0)])
@pytest.mark.parametrize("body", ["log(exp(a)+exp(c))", "log(2*exp(a)+exp(c)/3)", "u = exp(a)\nl = log(u+exp(c))"])
def test_a_logarithm_of_two_exponentials(a, c, body):
    text = body if "\n" in body else f"l = {body}"
    t = dv.parse(f"a: float parameter\nc: float parameter\n{text}")
    p, q = (np.log(2), -np.log(3)) if "2*" in body else (0, 0)
    loss, grads = nx.compile(dv.backprop(t["l"], wrt=[t["a"], t["c"]]))(a=np.float32(a), c=np.float32(c))
    want, slopes = jax.value_and_grad(lambda a, c: jnp.logaddexp(a + p, c + q), (0, 1))(jnp.float32(a), jnp.float32(c))
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose([grads["a"], grads["c"]], slopes, atol=1e-5)


TANH = {
    "exps": "(exp(x[b])-exp(-x[b]))/(exp(x[b])+exp(-x[b]))",
    "doubled": "(exp(2*x[b])-1)/(exp(2*x[b])+1)",
    "turned": "(1-exp(-2*x[b]))/(1+exp(-2*x[b]))",
    "of a sum": "(exp(x[b]+1)-exp(-x[b]-1))/(exp(x[b]+1)+exp(-x[b]-1))",
    "gelu": "x[b]/2*(1+(exp(c*(x[b]+x[b]^3))-exp(-c*(x[b]+x[b]^3)))/(exp(c*(x[b]+x[b]^3))+exp(-c*(x[b]+x[b]^3))))",
}


@pytest.mark.parametrize("name", TANH)
def test_tanh_by_exponentials(name):
    t = dv.parse(f"x: float[b] parameter\nc: float\nl = sum[b]({TANH[name]})")
    kern = nx.compile(dv.backprop(t["l"], wrt=[t["x"]]))
    x = np.array([100.0, -100, 0.5, -1e3, 0], np.float32)
    shift = 1 if name == "of a sum" else 0
    f = {"gelu": lambda x: x / 2 * (1 + jnp.tanh(0.8 * (x + x**3)))}.get(name, lambda x: jnp.tanh(x + shift))
    inputs = {"x": x} | ({"c": np.float32(0.8)} if name == "gelu" else {})
    loss, grads = kern(**inputs)
    want, slope = jax.value_and_grad(lambda x: f(x).sum())(jnp.asarray(x))
    np.testing.assert_allclose(loss, want, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(grads["x"], np.nan_to_num(slope), rtol=1e-4, atol=1e-5)


REGRESSION = {
    "one formula": "l = -sum[c](y[c]*log(exp(sum[d](W[c,d]*x[d]))/sum[c'](exp(sum[d](W[c',d]*x[d])))))",
    "exp named": "e[c] = exp(sum[d](W[c,d]*x[d]))\nl = -sum[c](y[c]*log(e[c]/sum[c'](e[c'])))",
    "both named": "e[c] = exp(sum[d](W[c,d]*x[d]))\nn = sum[c](e[c])\nl = -sum[c](y[c]*log(e[c]/n))",
}


@pytest.mark.parametrize("name", REGRESSION)
def test_a_multinomial_regression(name):
    t = dv.parse(f"W: float[c,d] parameter\nx: float[d]\ny: float[c]\n{REGRESSION[name]}")
    d = dv.backprop(t["l"], wrt=[t["W"]])
    W, x, y = np.float32(np.diag([100, 0, -100])), np.ones(3, np.float32), np.float32([0, 1, 0])
    loss, grads = nx.compile(d)(W=W, x=x, y=y)
    want, slope = jax.value_and_grad(lambda W: -(y * jax.nn.log_softmax(W @ x)).sum())(jnp.asarray(W))
    np.testing.assert_allclose(loss, want, rtol=1e-6)
    np.testing.assert_allclose(grads["W"], slope, atol=1e-6)
    assert not any(row.verdict == "refuted" for row in d.check().rows)


LOGARITHMS = {
    "abs(det(X))": 1,
    "det(X)^2": 2,
    "sqrt(det(X))": 0.5,
    "det(X)^3": 3,
    "1/det(X)": -1,
    "det(X)^(2/3)": 2 / 3,
}


@pytest.mark.parametrize("body", LOGARITHMS)
def test_a_logarithm_of_a_determinant(body):
    power = LOGARITHMS[body]
    d = dv.derive_matrix(f"X: n x n; log({body})", "X")
    loss, grads = nx.compile(d)(X=(np.eye(100) * 1e-2).astype(np.float32))
    np.testing.assert_allclose(loss, 100 * np.log(1e-2) * power, rtol=1e-5)
    np.testing.assert_allclose(grads["X"], 100 * power * np.eye(100), rtol=1e-4, atol=1e-3)
    assert not any(row.verdict == "refuted" for row in d.check().rows)


@pytest.mark.parametrize("body", ["abs(det(X))", "det(X)^2"])
def test_the_logarithm_of_a_negative_determinant(body):
    X = np.array([[0, 2], [3, 1]], np.float32)
    loss, grads = nx.compile(dv.derive_matrix(f"X: n x n; log({body})", "X"))(X=X)
    np.testing.assert_allclose(loss, LOGARITHMS[body] * np.log(6), rtol=1e-5)
    np.testing.assert_allclose(grads["X"], LOGARITHMS[body] * np.linalg.inv(X).T, rtol=1e-5)


@pytest.mark.parametrize(
    "text, value",
    [
        ("sinh(x[b])/cosh(x[b])", np.tanh),
        ("1/cosh(x[b])^2", lambda x: 1 - np.tanh(x) ** 2),
        ("log(sqrt(exp(x[b])+1))", lambda x: np.logaddexp(0, x) / 2),
        ("log((exp(x[b])+1)^3)", lambda x: 3 * np.logaddexp(0, x)),
        ("x[b]*n[b]/(n[b]+2)", lambda x: x * np.tanh(np.logaddexp(0, x))),
    ],
)
def test_quotients_and_roots_of_several_exponentials(text, value):
    t = dv.parse(f"x: float[b] parameter\nn[b] = exp(x[b])^2 + 2*exp(x[b])\nl = sum[b]({text})")
    d = dv.backprop(t["l"], wrt=[t["x"]])
    assert d.check().ok
    kern, step = nx.compile(d), 1e-4
    for x in (-1e4, -300.0, -2.0, 0.0, 0.7, 50.0, 1e4):
        loss, grads = kern(x=np.array([x], np.float32))
        np.testing.assert_allclose(loss, value(x), rtol=1e-5, atol=1e-6)
        slope = (value(x + step) - value(x - step)) / (2 * step)
        np.testing.assert_allclose(grads["x"][0], slope, rtol=1e-3, atol=1e-5)
