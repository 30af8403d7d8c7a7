"""Exponentials of a softmax once, inner products by the sum over the shorter axis: the dense fallback, and where not."""

import numpy as np
import pytest
import sympy
from kernel_cases import data, leaves

import derive as dv
import numerics as nx
from numerics.checks.ground import float64

b, q, r, t, k = dv.indices("b q r t k")
u, v = dv.indices("u v", size="T")


def attention(masked=False):
    """``o = softmax(x y') z`` and a loss that reads it."""
    x, y, z = dv.tensor("x", b, t, k), dv.tensor("y", b, q, k), dv.tensor("z", b, q, r)
    s = dv.define("s", (b, t, q), dv.Sum(x[b, t, k] * y[b, q, k], k))
    if masked:
        keep = dv.tensor("keep", b, q, dtype="int", below=2)
        s = dv.define("m", (b, t, q), sympy.Piecewise((s[b, t, q], sympy.Eq(keep[b, q], 1)), (-sympy.oo, True)))
    total = dv.define("total", (b, t), dv.Sum(sympy.exp(s[b, t, q]), q))
    a = dv.define("a", (b, t, q), sympy.exp(s[b, t, q]) / total[b, t])
    o = dv.define("o", (b, t, r), dv.Sum(a[b, t, q] * z[b, q, r], q))
    loss = dv.define("loss", (), dv.Sum(sympy.tanh(o[b, t, r]), b, t, r))
    return dv.backprop(loss, [x, y, z])


def rules(kern):
    return {rule for rule, _, _ in kern.choices}


def agrees(d, sizes=None):
    """The module and its dense fallback in float64."""
    found, arrays = data(d, sizes)
    with float64():
        kern, dense = (nx.compile(d, sizes={s.name: n for s, n in found.items()}, dense=w) for w in (False, True))
        given = {n.name: arrays[n.name] for n in kern.inputs}
        got, want = (leaves(d, kernel(**given)) for kernel in (kern, dense))
    for name, value in want.items():
        np.testing.assert_allclose(got[name], value, rtol=1e-10, atol=1e-12)
    return kern


def test_each_exponential_is_computed_once():
    kern = agrees(attention())
    body = kern.source[kern.source.rindex("@jax.jit") :]
    assert "exponentials-once" in rules(kern) and body.count("jnp.exp(") == 1


def test_the_inner_product_is_over_the_head():
    kern = agrees(attention(), {"Q": 7, "R": 3})
    assert "sums-exchanged" in rules(kern)
    assert any(line.strip().startswith("d") and "do * o" in line for line in kern.source.splitlines())


def test_where_the_head_is_longer_it_stays():
    assert "sums-exchanged" not in rules(agrees(attention(), {"Q": 3, "R": 7}))


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_float32_extremes(scale):
    d = attention()
    rng = np.random.default_rng(0)
    x, y, z = (rng.normal(size=s).astype("float32") for s in ((2, 5, 4), (2, 6, 4), (2, 6, 3)))
    found = nx.compile(d)(x=x * scale, y=y, z=z)
    assert np.isfinite(found.loss) and all(np.isfinite(g).all() for g in found.grads.values())


def test_a_row_far_below_the_maximum_of_the_whole_is_not_zero_by_zero():
    x, w = dv.tensor("x", t, q), dv.tensor("w", t, q)
    top = dv.define("top", (), dv.Max(x[t, q], t, q))
    low = dv.define("low", (t, q), x[t, q] - top[()])
    total = dv.define("total", (t,), dv.Sum(sympy.exp(low[t, q]), q))
    lse = dv.define("lse", (t,), sympy.log(total[t]))
    p = dv.define("p", (t, q), sympy.exp(low[t, q] - lse[t]))
    kern = nx.compile(dv.define("y", (t,), dv.Sum(p[t, q] * w[t, q], q)))
    given = np.array([[0, 1], [-2000, -2000]], "float32")
    np.testing.assert_allclose(kern(x=given, w=np.eye(2, dtype="float32"))["y"], [1 / (1 + np.e), 0.5], rtol=1e-6)


def test_a_matrix_product_is_not_exchanged():
    x, V, W = dv.tensor("x", b, t), dv.tensor("V", t, k), dv.tensor("W", k, r)
    h = dv.define("h", (b, k), dv.Sum(x[b, t] * V[t, k], t))
    y = dv.define("y", (b, r), dv.Sum(h[b, k] * W[k, r], k))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[b, r] ** 2, b, r)), [x, V, W])
    assert "sums-exchanged" not in rules(agrees(d))


def test_several_letters_in_the_opened_sum():
    a, c, z = dv.tensor("a", t, q), dv.tensor("c", t, k, r), dv.tensor("z", q, k, r)
    o = dv.define("o", (t, k, r), dv.Sum(a[t, q] * z[q, k, r], q))
    da = dv.define("da", (t, q), dv.Sum(c[t, k, r] * z[q, k, r], k, r))
    s = dv.define("s", (t,), dv.Sum(a[t, q] * da[t, q], q))
    kern = nx.compile([o, s])
    assert "sums-exchanged" in rules(kern)
    rng = np.random.default_rng(0)
    given = {n: rng.normal(size=z) for n, z in {"a": (5, 7), "c": (5, 2, 3), "z": (7, 2, 3)}.items()}
    want = np.einsum("tq,tkr,qkr->t", given["a"], given["c"], given["z"])
    np.testing.assert_allclose(kern(**given)["s"], want, rtol=1e-4)


def test_two_letters_of_one_size_are_not_mistaken():
    """``z[u, v]`` and its transpose: only the sum over the right letter is read."""
    a, c, z = dv.tensor("a", t, u), dv.tensor("c", t, v), dv.tensor("z", u, v)
    o = dv.define("o", (t, v), dv.Sum(a[t, u] * z[v, u], u))  # the transpose
    da = dv.define("da", (t, u), dv.Sum(c[t, v] * z[u, v], v))
    s = dv.define("s", (t,), dv.Sum(a[t, u] * da[t, u], u))
    kern = nx.compile([o, s])
    rng = np.random.default_rng(0)
    given = {n: rng.normal(size=m) for n, m in {"a": (5, 5), "c": (5, 5), "z": (5, 5)}.items()}
    want = np.einsum("tu,tv,uv->t", given["a"], given["c"], given["z"])
    np.testing.assert_allclose(kern(**given)["s"], want, rtol=1e-4)


def test_a_masked_softmax_is_the_dense_one():
    d = attention(masked=True)
    rng = np.random.default_rng(0)
    given = {"x": rng.normal(size=(2, 5, 4)), "y": rng.normal(size=(2, 6, 4)), "z": rng.normal(size=(2, 6, 3))}
    given["keep"] = np.array([[1, 1, 0, 1, 0, 0], [0, 1, 1, 1, 1, 1]])
    with float64():
        got, want = (nx.compile(d, dense=w)(**given) for w in (False, True))
    for name, g in want.grads.items():
        np.testing.assert_allclose(got.grads[name], g, rtol=1e-9, atol=1e-12)
