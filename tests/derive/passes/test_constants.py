"""Constants of any size: masks by -1e9 keep the scores, floats come out as they were written, whole numbers never overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from sympy import Rational

import derive as dv
import numerics as nx
from derive.language.errors import UnsupportedError
from derive.show.formulas.expressions import number
from derive.show.text import render

b, k = dv.indices("b k")
s = dv.tensor("s", b, k)
S = np.array([[1, 2, 3], [0.1, 0.2, 0.3]], np.float32)
M = np.array([[1, 0, 1], [1, 1, 1]])

FORMS = {  # what people write -> the same of arrays
    "1 - m": (lambda s, m, c: s - c * (1 - m), None),
    "m - 1": (lambda s, m, c: s + (m - 1) * c, None),
    "written out": (lambda s, m, c: c * m + s - c, lambda s, m, c: s + c * (m - 1)),
    "kept and masked": (lambda s, m, c: s * m - c * (1 - m), None),
    "scaled after": (lambda s, m, c: (s - c * (1 - m)) / 3, None),
    "two masks": (lambda s, m, c: s + c * (m + m * m - 2), None),
}


def masked(form, c, mask, named):
    m = dv.tensor("m", b, k, dtype=mask, below=2 if mask == "int" else None)
    z = FORMS[form][0](s[b, k], m[b, k], c)
    if named:
        z = dv.define("z", (b, k), z)[b, k]
    return dv.define("loss", (), dv.Sum(sympy.log(dv.Sum(sympy.exp(z), k)), b))


def agrees_with_jax(loss, form, c, mask):
    d = dv.backprop(loss, wrt=[s])
    m = M.astype(np.float32 if mask == "float" else np.int32)
    value, grads = nx.compile(d)(s=S, m=m)
    rule = FORMS[form][1] or FORMS[form][0]
    wanted, slope = jax.value_and_grad(lambda s: jax.nn.logsumexp(rule(s, m.astype(np.float32), c), 1).sum())(S)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(grads["s"], slope, atol=1e-6)
    return d


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("c", [1e4, 1e9, 1e30])
def test_an_additive_mask_keeps_the_scores(form, c):
    for mask, named in (("int", True), ("float", False)):
        d = agrees_with_jax(masked(form, c, mask, named), form, c, mask)
    evidence = d.check()
    assert evidence.ok and not evidence.undecided
    steps = [st for st in d.steps if st.rule == "regrouping"]
    assert steps and all(st.claim == "equal" for st in steps)


@pytest.mark.parametrize("named", [True, False])
def test_an_additive_mask_is_verified(named):
    d = dv.backprop(masked("1 - m", 1e9, "int", named), wrt=[s])
    assert nx.verify(nx.compile(d)).ok
    assert "1e9" in d.to_text() and "Large terms that cancel by design stay together" in " ".join(d.to_text().split())


@pytest.mark.parametrize(
    "line",
    [
        "loss = sum[b](log(sum[k](exp(s[b,k] - 1e9*(1 - m[b,k])))))",
        "z[b,k] = s[b,k] - 1e9*(1 - m[b,k])\nloss = sum[b](log(sum[k](exp(z[b,k]))))",
        "p[b,k] = exp(s[b,k] + 1e9*(m[b,k] - 1))\nloss = sum[b](log(sum[k](p[b,k])))",
    ],
)
def test_a_mask_in_a_text(line):
    given = dv.parse(f"s: float[b,k]; m: int[b,k] < 2\n{line}")
    d = dv.backprop(given["loss"], wrt=[given["s"]])
    got = nx.compile(d)(s=S, m=M)
    np.testing.assert_allclose(got.loss, jax.nn.logsumexp(np.where(M, S, -np.inf), 1).sum(), rtol=1e-6)
    assert d.check().ok


def test_a_mask_under_a_max_and_a_relu():
    m = dv.tensor("m", b, k, dtype="int", below=2)
    z = s[b, k] - 1e9 * (1 - m[b, k])
    loss = dv.define("loss", (), dv.Sum(dv.Max(z, k), b) + dv.Sum(dv.relu(z) * s[b, k], b, k))
    d = dv.backprop(loss, wrt=[s])
    z = np.where(M, S, -np.inf)
    wanted = z.max(1).sum() + (np.maximum(z, 0) * S).sum()
    np.testing.assert_allclose(nx.compile(d)(s=S, m=M).loss, wanted, rtol=1e-6)
    assert d.check().ok


def test_standardised_by_large_numbers():
    """``(x - 1000)/0.01`` near 1000: the difference is exact, its terms times 100 are not."""
    x = dv.tensor("x", b)
    X = np.float32(1000) + np.array([0.0, 0.005, 0.01], np.float32)
    wanted = jax.grad(lambda x: jnp.tanh((x - 1000) / 0.01).sum())(X)
    body = sympy.tanh((x[b] - 1000) / 0.01)
    for given in (
        dv.define("loss", (), dv.Sum(body, b)),
        dv.parse("x: float[b]\nloss = sum[b](tanh((x[b] - 1000)/0.01))")["loss"],
    ):
        got = nx.compile(dv.backprop(given, wrt=[x])).fn(X)[1]["x"]
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("c", [2**31, 3 * 10**9, 1e10, 1e30, -(2.0**40)])
def test_whole_numbers_beyond_int32(c):
    x = dv.tensor("x", b)
    body = c * x[b] + dv.maximum(x[b], c) / 2 + sympy.Piecewise((x[b], x[b] > c), (2 * x[b], True)) + c
    d = dv.backprop(dv.define("loss", (), dv.Sum(body, b)), wrt=[x])
    X = np.array([1, -2, 0.5], np.float32)
    wanted = c * X + np.maximum(X, c) / 2 + np.where(c < X, X, 2 * X) + c
    np.testing.assert_allclose(nx.compile(d)(x=X).loss, wanted.sum(), rtol=1e-5)
    assert d.check().ok


def test_a_number_beyond_floats_is_refused():
    x = dv.tensor("x", b)
    d = dv.backprop(dv.define("loss", (), dv.Sum(10**400 * x[b], b)), wrt=[x])
    with pytest.raises(UnsupportedError, match="is infinite as a float; accepted are numbers up to 1e308"):
        nx.compile(d)


def test_a_large_number_times_an_integer_is_a_float():
    """As in JAX: 1e9 times an int32 of 4 is 4e9, not what is left of it in 32 bits."""
    x, n = dv.tensor("x", b), dv.tensor("n", b, dtype="int", below=5)
    d = dv.backprop(dv.define("loss", (), dv.Sum(x[b] * (1e9 * n[b] + 1), b)), wrt=[x])
    got = nx.compile(d)(x=np.ones(3, np.float32), n=np.array([1, 3, 4]))
    np.testing.assert_allclose(got.grads["x"], [1e9, 3e9, 4e9], rtol=1e-6)
    whole = dv.define("whole", (b,), n[b] * 20000000 + 1)
    d = dv.backprop(dv.define("loss", (), dv.Sum(x[b] * whole[b], b)), wrt=[x], outputs=[whole])
    got = nx.compile(d)(x=np.ones(3, np.float32), n=np.array([1, 3, 4])).outputs["whole"]
    assert got.dtype == np.int32 and list(got) == [20000001, 60000001, 80000001]


GELU = {
    "rounded": (0.7978845608, 0.044715),
    "double": (float(np.sqrt(2 / np.pi)), 0.044715),
    "single": (0.7978845834732056, 0.044714998453855515),
}


@pytest.mark.parametrize("constants", GELU)
def test_gelu_in_floats(constants):
    a, c = GELU[constants]
    x, w = dv.tensor("x", b), dv.tensor("w")
    u = w * x[b]
    d = dv.backprop(dv.define("loss", (), dv.Sum(0.5 * u * (1 + sympy.tanh(a * (u + c * u**3))), b)), wrt=[w])
    X = np.array([1, -2, 0.3], np.float32)
    got = nx.compile(d)(x=X, w=np.float32(0.3)).grads["w"]
    np.testing.assert_allclose(got, jax.grad(lambda w: jax.nn.gelu(w * X).sum())(np.float32(0.3)), rtol=1e-5)
    assert str(a) in d.to_text() and "0000000" not in d.to_text() and d.check().ok


def test_a_text_shows_its_constants_as_written():
    given = dv.parse(
        "x: float[b] parameter\nloss = sum[b](tanh(0.7978845608*(x[b] + 0.044715*x[b]^3)) + ((x[b] - 0.1307)/0.3081)^2)"
    )
    d = dv.backprop(given["loss"], wrt=[given["x"]])
    text = d.to_text()
    assert "0.7978845608 (x[b] + 0.044715 x[b]^3)" in text and "0.1307" in text and "0.3081" in text
    assert d.check().ok and nx.verify(nx.compile(d)).ok


@pytest.mark.parametrize(
    "value, shown",
    [
        (Rational(1, 2), "1/2"),
        (Rational(1, 10), "1/10"),
        (Rational(1, 3), "1/3"),
        (Rational("0.044715"), "0.044715"),
        (Rational("1e-5"), "1e-5"),
        (Rational("1.994711402e-6"), "1.994711402e-6"),
        (Rational("3.75e-17"), "3.75e-17"),
        (Rational("0.7978845608028654"), "0.7978845608028654"),
        (Rational("0.7978845608") / 3, "0.26596152026666667"),
        (Rational(10**9), "1e9"),
        (Rational(25 * 10**29), "2.5e30"),
        (Rational(123456789), "123456789"),
        (Rational(10**400), "1e400"),
    ],
)
def test_how_a_number_is_shown(value, shown):
    assert render(number(value)) == shown


def test_a_sum_over_an_index_meets_the_number_that_it_cancels_against():
    t = dv.parse("p: float[k] parameter\nz: float parameter\nl = 1e6*sum[k](p[k]) - 1e6 + z")
    kern = nx.compile(dv.backprop(t["l"], wrt=[t["p"], t["z"]]))
    assert "1000000 * (l_sum - 1) + z" in kern.source
    loss, grads = kern(p=np.float32([0.25, 0.5, 0.25]), z=np.float32(1e-3))
    assert loss == np.float32(1e-3) and (grads["p"] == 1e6).all()


def test_a_nest_of_functions_is_not_multiplied_out():
    body = "x[b]"
    for _ in range(24):
        body = f"tanh(1 + {body})"
    t = dv.parse(f"x: float[b] parameter\nl = sum[b]({body})")
    d = dv.backprop(t["l"], wrt=[t["x"]])
    assert len(d.program.equations) == 2
