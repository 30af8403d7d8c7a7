"""A guard protects what it guards: nothing singular behind a false condition reaches the result or the gradient (law 12)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx

PAIRS = "index p q: N\nx: float[p,d] parameter\n"
DISTANCE = "sqrt(sum[d]((x[p,d]-x[q,d])^2))"
X = np.random.default_rng(0).normal(size=(4, 2)).astype(np.float32)


def over_pairs(f):
    i, j = np.triu_indices(4, 1)
    return lambda x: f(jnp.sqrt(((x[i] - x[j]) ** 2).sum(axis=1))).sum()


@pytest.mark.parametrize(
    ("text", "f"),
    [
        (f"l = sum[p,q](where(p<q, {DISTANCE}, 0))", lambda r: r),
        (f"l = sum[p,q](where(p<q, 1/{DISTANCE}, 0))", lambda r: 1 / r),
        (f"D[p,q] = {DISTANCE}\nl = sum[p,q](where(p<q, D[p,q], 0))", lambda r: r),
        (f"D[p,q] = {DISTANCE}\nl = sum[p,q](where(p<q, 1/D[p,q], 0))", lambda r: 1 / r),
        (f"D[p,q] = {DISTANCE}\nl = sum[p,q](where(p<q, log(D[p,q])^2, 0))", lambda r: jnp.log(r) ** 2),
        (f"D[p,q] = where(p<q, {DISTANCE}, 0)\nl = sum[p,q](where(p<q, 1/D[p,q]^2, 0))", lambda r: 1 / r**2),
        (f"l = sum[p,q](where(p<q, exp(-{DISTANCE})/{DISTANCE}, 0))", lambda r: jnp.exp(-r) / r),
    ],
)
def test_distances_of_pairs(text, f):
    t = dv.parse(PAIRS + text)
    loss, grads = nx.compile(dv.backprop(t["l"], wrt=[t["x"]]))(x=X)
    want, slope = jax.value_and_grad(over_pairs(f))(jnp.asarray(X))
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(grads["x"], slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mask", ["float", "bool"])
@pytest.mark.parametrize("body", ["sqrt(S[b])", "log(S[b])", "1/S[b]", "S[b]*log(S[b])", "sqrt(S[b])*w[b]"])
def test_a_guard_by_data(mask, body):
    condition = "m[b]" if mask == "bool" else "m[b] > 0"
    t = dv.parse(
        f"x: float[b,i] parameter\nw: float[b] parameter\nm: {mask}[b]\nS[b] = sum[i](x[b,i]^2)\n"
        f"r[b] = {body}\nl = sum[b](where({condition}, r[b], 0)) + sum[b](w[b]^2)"
    )
    d = dv.backprop(t["l"], wrt=[t["x"], t["w"]])
    x = np.array([[1, 2], [0, 0], [3, 1]], np.float32)
    w = np.ones(3, np.float32)
    m = np.array([1, 0, 1])
    loss, grads = nx.compile(d)(x=x, w=w, m=m.astype(bool) if mask == "bool" else m.astype(np.float32))
    S = (x**2).sum(axis=1)[[0, 2]]
    value = {"sqrt(S[b])": np.sqrt(S), "log(S[b])": np.log(S), "1/S[b]": 1 / S, "S[b]*log(S[b])": S * np.log(S)}
    np.testing.assert_allclose(loss, value.get(body, np.sqrt(S)).sum() + 3, rtol=1e-5)
    assert all(np.isfinite(g).all() for g in grads.values())
    np.testing.assert_array_equal(grads["x"][1], 0)


def test_the_evidence_of_guards():
    t = dv.parse(PAIRS + f"l = sum[p,q](where(p<q, 1/{DISTANCE}, 0))")
    d = dv.backprop(t["l"], wrt=[t["x"]])
    assert all(row.verdict == "proved" for row in d.check().rows)
    report = nx.verify(nx.compile(d))
    assert report.ok, str(report)


def test_a_kept_guard_is_a_step():
    t = dv.parse(PAIRS + f"D[p,q] = {DISTANCE}\nl = sum[p,q](where(p<q, D[p,q], 0))")
    d = dv.backprop(t["l"], wrt=[t["x"]])
    assert any(s.rule == "guard" for s in d.steps)
    assert not any(row.verdict == "refuted" for row in d.check().rows)


def test_a_read_before_the_start():
    t = dv.parse("x: float[t] parameter\nl = sum[t](where(t>=1, log(x[t-1])*x[t], 0))")
    d = dv.backprop(t["l"], wrt=[t["x"]])
    x = np.array([1.0, 2, 4], np.float32)
    loss, grads = nx.compile(d)(x=x)
    want, slope = jax.value_and_grad(lambda x: (jnp.log(x[:-1]) * x[1:]).sum())(jnp.asarray(x))
    np.testing.assert_allclose(loss, want, rtol=1e-6)
    np.testing.assert_allclose(grads["x"], slope, rtol=1e-5)


@pytest.mark.parametrize("form", ["a/s", "1/sqrt(s)", "log(s)"])
def test_a_filter_that_starts_by_itself(form):
    t = dv.index("t")
    a, y = dv.tensor("a"), dv.tensor("y", t)
    step = {"a/s": lambda s: a / s, "1/sqrt(s)": lambda s: a / sympy.sqrt(s), "log(s)": lambda s: a * sympy.log(s)}[
        form
    ]
    jstep = {
        "a/s": lambda a, s: a / s,
        "1/sqrt(s)": lambda a, s: a / jnp.sqrt(s),
        "log(s)": lambda a, s: a * jnp.log(s),
    }[form]
    s = dv.define(
        "s", (t,), lambda s: sympy.Piecewise((1 + y[t] ** 2, sympy.Eq(t, 0)), (step(s[t - 1]) + y[t] ** 2 + 1, True))
    )
    d = dv.backprop(dv.define("l", (), dv.Sum(s[t] ** 2, t)), wrt=[a, y])
    values = np.linspace(1, 2, 5).astype(np.float32)

    def reference(a, y):
        rows = [1 + y[0] ** 2]
        for e in y[1:]:
            rows.append(jstep(a, rows[-1]) + e**2 + 1)
        return (jnp.stack(rows) ** 2).sum()

    kern = nx.compile(d)
    loss, grads = kern(a=np.float32(0.5), y=values)
    want, slope = jax.value_and_grad(reference, (0, 1))(jnp.float32(0.5), jnp.asarray(values))
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(grads["a"], slope[0], rtol=1e-4)
    np.testing.assert_allclose(grads["y"], slope[1], rtol=1e-4)
    report = nx.verify(kern)
    assert report.ok, str(report)


SINGULAR = {"1/r[i,j]": lambda r: 1 / r, "log(r[i,j])": jnp.log, "sqrt(r[i,j])": jnp.sqrt}


@pytest.mark.parametrize("body", SINGULAR)
@pytest.mark.parametrize(
    "use",
    [
        "y[i] = sum[j](where(j >= 1, q[i,j]*w[j], 0))",
        "y[i] = sum[j](where(j >= 1, q[i,j], 0)*w[j])",
        "y[i] = where(i >= 1, sum[j](where(j >= 1, q[i,j]*w[j], 0)), 0)",
    ],
)
def test_a_named_singular_tensor_in_a_guarded_contraction(body, use):
    """A condition on one index of a contraction masks the tensor that is infinite where it fails, not the other one."""
    t = dv.parse(f"r: float[i,j] parameter\nw: float[j] parameter\nq[i,j] = {body}\n{use}\nl = sum[i](y[i]^2)")
    r, w = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 4]], np.float32), np.array([1, 2, 3], np.float32)
    loss, grads = nx.compile(dv.backprop(t["l"], wrt=[t["r"], t["w"]]))(r=r, w=w)
    rows, columns = jnp.arange(3)[:, None] >= ("i >= 1" in use), jnp.arange(3) >= 1

    def reference(r, w):
        q = jnp.where(columns, SINGULAR[body](jnp.where(columns, r, 1)), 0)
        return ((jnp.where(rows, q, 0) @ w) ** 2).sum()

    want, slopes = jax.value_and_grad(reference, (0, 1))(jnp.asarray(r), jnp.asarray(w))
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(grads["r"], slopes[0], rtol=1e-5)
    np.testing.assert_allclose(grads["w"], slopes[1], rtol=1e-5)


BRANCHES = {
    "named": ("h[b] = exp(x[b])-1\nl = sum[b](where(x[b]>0, x[b], h[b]))", lambda x: jax.nn.elu(x)),
    "times a number": ("l = sum[b](2*where(x[b]>0, x[b], 3*(exp(x[b])-1)))", lambda x: 2 * jax.nn.elu(x, 3.0)),
    "between two": (
        "h[b] = exp(x[b])\nl = sum[b](where(x[b]<-3, 0, where(x[b]<3, h[b], 2)))",
        lambda x: jnp.where(jnp.abs(x) < 3, jnp.exp(jnp.clip(x, -3, 3)), jnp.where(x < 0, 0.0, 2.0)),
    ),
}


@pytest.mark.parametrize("kind", BRANCHES)
def test_a_branch_that_overflows_where_it_is_not_taken(kind):
    text, f = BRANCHES[kind]
    t = dv.parse("x: float[b] parameter\n" + text)
    d = dv.backprop(t["l"], wrt=[t["x"]])
    assert d.check().ok
    x = np.array([-200.0, -1.0, 0.5, 100.0, 1e4], np.float32)
    value, grads = nx.compile(d)(x=x)
    want, slope = jax.value_and_grad(lambda x: f(x).sum())(jnp.asarray(x))
    np.testing.assert_allclose(value, want, rtol=1e-5)
    np.testing.assert_allclose(grads["x"], slope, rtol=1e-5)


def test_a_quotient_that_is_singular_on_the_diagonal():
    t = dv.parse("index s t: N\nx: float[s] parameter\nl = sum[s,t](where(s!=t, 1/(x[s]-x[t])^2, 0))")
    report = nx.verify(nx.compile(dv.backprop(t["l"], wrt=[t["x"]])), dtypes=("float64",))
    assert report.ok and "long axes" in report.coverage.regimes
