"""Infinity is a value of a definition: masks of -inf, named, inline, additive, under data and index conditions (law 11)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx

HEAD = "index k t: T\ns: float[t,k] parameter\nm: int[t,k] < 2\n"
LOWER = np.tril(np.ones((4, 4), int))


def masked(s, m):
    return jnp.where(m == 1, s, -jnp.inf)


def softmax_score(z):
    return (jax.nn.softmax(z, axis=1) * jnp.arange(4.0)).sum()


PROGRAMS = {
    "named, data": ("z[t,k] = where(m[t,k]==1, s[t,k], -inf)\nl = sum[t](log(sum[k](exp(z[t,k]))))", "lse"),
    "named, index": ("z[t,k] = where(k<=t, s[t,k], -inf)\nl = sum[t](log(sum[k](exp(z[t,k]))))", "lse"),
    "inline, data": ("l = sum[t](log(sum[k](exp(where(m[t,k]==1, s[t,k], -inf)))))", "lse"),
    "inline, index": ("l = sum[t](log(sum[k](exp(where(k<=t, s[t,k], -inf)))))", "lse"),
    "additive, inline": ("l = sum[t](log(sum[k](exp(s[t,k] + where(m[t,k]==1, 0, -inf)))))", "lse"),
    "additive, named": (
        "a[t,k] = where(k<=t, 0, -inf)\nz[t,k] = s[t,k] + a[t,k]\nl = sum[t](log(sum[k](exp(z[t,k]))))",
        "lse",
    ),
    "two masks": (
        "z[t,k] = where(k<=t, s[t,k], -inf) + where(m[t,k]==1, 0, -inf)\nl = sum[t](log(sum[k](exp(z[t,k]))))",
        "lse",
    ),
    "scaled": ("z[t,k] = 2*where(k<=t, s[t,k]/2, -inf)\nl = sum[t](log(sum[k](exp(z[t,k]))))", "lse"),
    "softmax, named": (
        "z[t,k] = where(m[t,k]==1, s[t,k], -inf)\np[t,k] = exp(z[t,k])/sum[k'](exp(z[t,k']))\nl = sum[t,k](p[t,k]*k)",
        "softmax",
    ),
    "max": ("z[t,k] = where(m[t,k]==1, s[t,k], -inf)\nl = sum[t](max[k](z[t,k]))", "max"),
    "max, inline": ("l = sum[t](max[k](where(k<=t, s[t,k], -inf)))", "max"),
    "min": ("z[t,k] = where(k<=t, s[t,k], inf)\nl = sum[t](min[k](z[t,k]))", "min"),
    "min, inline, data": ("l = sum[t](min[k](where(m[t,k]==1, s[t,k], inf)))", "min"),
    "sigmoid": ("l = sum[t,k](sigmoid(where(m[t,k]==1, s[t,k], -inf)))", "sigmoid"),
}
REFERENCES = {
    "lse": lambda s: jax.nn.logsumexp(masked(s, LOWER), axis=1).sum(),
    "softmax": lambda s: softmax_score(masked(s, LOWER)),
    "max": lambda s: masked(s, LOWER).max(axis=1).sum(),
    "min": lambda s: jnp.where(LOWER == 1, s, jnp.inf).min(axis=1).sum(),
    "sigmoid": lambda s: jnp.where(LOWER == 1, jax.nn.sigmoid(s), 0).sum(),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_masks_mean_what_they_mean_in_jax(name, scale):
    text, kind = PROGRAMS[name]
    t = dv.parse(HEAD + text)
    kern = nx.compile(dv.backprop(t["l"], wrt=[t["s"]]))
    s = (scale * np.random.default_rng(0).normal(size=(4, 4))).astype(np.float32)
    inputs = {"s": s} | ({"m": LOWER} if any(x.name == "m" for x in kern.inputs) else {})
    loss, grads = kern(**inputs)
    want, slope = jax.value_and_grad(REFERENCES[kind])(jnp.asarray(s))
    np.testing.assert_allclose(loss, want, rtol=1e-5)
    np.testing.assert_allclose(grads["s"], slope, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["named, data", "softmax, named", "two masks", "max", "min", "additive, named"])
def test_the_evidence_agrees(name):
    t = dv.parse(HEAD + PROGRAMS[name][0])
    d = dv.backprop(t["l"], wrt=[t["s"]])
    assert not any(row.verdict == "refuted" for row in d.check().rows)
    report = nx.verify(nx.compile(d))
    assert report.ok, str(report)


def test_an_output_shows_its_infinities():
    t, k = dv.indices("t k", size="T")
    s = dv.tensor("s", t, k)
    z = dv.define("z", (t, k), sympy.Piecewise((s[t, k], k <= t), (-sympy.oo, True)))
    loss = dv.define("l", (), dv.Sum(sympy.exp(z[t, k]), t, k))
    d = dv.backprop(loss, wrt=[s], outputs=[z])
    assert "-oo otherwise" in str(d.program.equation("z"))
    result = nx.compile(d)(s=np.ones((3, 3), np.float32))
    np.testing.assert_array_equal(np.isneginf(result.outputs["z"]), np.triu(np.ones((3, 3), bool), 1))


def test_a_row_that_is_masked_entirely():
    t = dv.parse(HEAD + "z[t,k] = where(m[t,k]==1, s[t,k], -inf)\ne[t] = log(sum[k](exp(z[t,k])))\nl = sum[t](e[t])")
    kern = nx.compile(dv.backprop(t["l"], wrt=[t["s"]], outputs=[t["e"]]))
    m = LOWER.copy()
    m[2] = 0
    s = np.zeros((4, 4), np.float32)
    np.testing.assert_allclose(kern(s=s, m=m).outputs["e"], jax.nn.logsumexp(masked(s, m), axis=1), rtol=1e-6)
    with pytest.raises(nx.NumericsError, match=r"max\[2\] is -inf: the mask leaves nothing there"):
        kern.validate(s=s, m=m)
    kern.validate(s=s, m=LOWER)


def test_a_max_over_a_branch_of_zero_is_not_a_guard():
    t = dv.parse(HEAD + "l = sum[t](max[k](where(k<=t, s[t,k], 0)))")
    s = -1 - np.abs(np.random.default_rng(0).normal(size=(4, 4)))
    loss, _ = nx.compile(dv.backprop(t["l"], wrt=[t["s"]]))(s=s.astype(np.float32))
    np.testing.assert_allclose(loss, np.where(LOWER == 1, s, 0).max(axis=1).sum(), rtol=1e-6)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("l = sum[t,k](m[t,k]*where(k<=t, s[t,k], -inf))", "0 times infinity"),
        ("z[t,k] = where(k<=t, s[t,k], -inf)\nl = sum[t,k](m[t,k]*z[t,k])", "0 times infinity"),
        ("l = sum[t,k](where(k<=t, s[t,k], -inf) + where(k<t, s[t,k], inf))", "would meet"),
        ("l = sum[t,k](log(where(k<=t, s[t,k], -inf)))", "has no value at -oo"),
    ],
)
def test_an_infinity_that_has_no_value_is_refused(text, told):
    t = dv.parse(HEAD + text)
    with pytest.raises(dv.UnsupportedError, match=told):
        dv.backprop(t["l"], wrt=[t["s"]])


def test_an_infinity_is_a_constant_and_no_addend():
    b = dv.index("b")
    s = dv.tensor("s", b)
    for infinity in (sympy.oo, -sympy.oo, float("inf")):
        for build in (lambda x: s[b] + x, lambda x: x + s[b], lambda x: s[b] - x, lambda x: x - s[b]):
            with pytest.raises(dv.UnsupportedError, match="SymPy would forget"):
                build(infinity)
    t = dv.parse("s: float[b] parameter\nz[b] = -inf\nl = sum[b](log(exp(z[b]) + exp(s[b])))")
    loss, grads = nx.compile(dv.backprop(t["l"], wrt=[t["s"]]))(s=np.ones(3, np.float32))
    assert loss == 3 and (grads["s"] == 1).all()
    with pytest.raises(dv.UnsupportedError, match="branch of where"):
        dv.parse("s: float[b]\nz[b] = s[b] - inf")


EMPTY_ROWS = {
    "bool": ("m: bool[b,t]", "m[b,t]", np.array([[1, 1, 0], [0, 0, 0]], bool)),
    "float": ("m: float[b,t]", "m[b,t] > 0", np.array([[1.0, 1, 0], [0, 0, 0]])),
    "int": ("m: int[b,t] < 2", "m[b,t] == 1", np.array([[1, 1, 0], [0, 0, 0]])),
    "length": ("m: int[b] < T + 1", "t < m[b]", np.array([2, 0])),
}


@pytest.mark.parametrize("kind", EMPTY_ROWS)
@pytest.mark.parametrize("named", [False, True])
def test_the_extreme_of_a_row_that_is_masked_whole_has_no_gradient(kind, named):
    declared, condition, m = EMPTY_ROWS[kind]
    branch = f"where({condition}, x[b,t]^2, inf)"
    name, read = (f"y[b,t] = {branch}\n", "y[b,t]") if named else ("", branch)
    t = dv.parse(f"x: float[b,t] parameter; {declared}\n{name}r[b] = min[t]({read})\nl = sum[b](r[b]^2)")
    d = dv.backprop(t["l"], wrt=[t["x"]])
    assert d.check().ok
    value, grads = nx.compile(d)(x=np.array([[1.0, -0.5, 3.0], [2.0, 1.0, 0.1]]), m=m)
    assert value == np.inf
    np.testing.assert_array_equal(grads["x"], [[0, -0.5, 0], [0, 0, 0]])  # as jax.grad of jnp.where and jnp.min
    assert nx.verify(nx.compile(d)).ok
