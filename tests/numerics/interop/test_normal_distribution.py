"""The quantile and the log of the normal distribution, which JAX writes out, are read as what they are."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy
from jax.scipy import special
from jax.scipy.stats import norm

import derive as dv
import numerics as nx
from numerics.interop.whole import wholes

P = np.random.default_rng(0).uniform(0.01, 0.99, (3, 4))


def repeated(x):
    return jax.lax.fori_loop(0, 2, lambda n, h: jax.nn.sigmoid(special.ndtri(h)), x).sum()


@pytest.mark.parametrize(
    "f, equations",
    [
        (lambda x: jnp.sum(special.ndtri(x) ** 2), 2),
        (lambda x: jnp.sum(special.ndtri(jax.nn.sigmoid(special.ndtri(x)))), 2),
        (lambda x: jnp.sum(jax.vmap(lambda row: special.ndtri(row) * row)(x)), 3),
        (lambda x: jnp.sum(jax.jit(special.ndtri)(x) ** 3), 2),
        (repeated, None),
        (lambda x: jnp.sum(norm.ppf(x, 1.0, 2.0) ** 2), 2),
        (lambda x: jnp.sum(norm.logcdf(x, 0.5, 0.2) ** 2), 2),
        (lambda x: jnp.sum(special.log_ndtr(x, 5)), 2),
    ],
    ids=["once", "twice", "mapped", "jitted", "in a loop", "ppf", "logcdf", "of five terms"],
)
def test_values_gradients_and_no_trace_of_how_jax_computes_it(f, equations, x64):
    vg = nx.value_and_grad(f)
    value, grads = vg(P)
    wanted, slopes = jax.value_and_grad(f)(P)
    np.testing.assert_allclose(value, wanted, rtol=1e-12)
    np.testing.assert_allclose(grads, slopes, rtol=1e-10, atol=1e-12)
    d = vg.model.backprop()
    assert d.check().proved
    assert equations is None or len(d.program) <= equations and "log(" not in str(d.program)


def test_operations_of_ones_own_that_look_alike_stay():
    closed = jax.make_jaxpr(lambda x: jnp.where(x > 0.8646647334098816, 1 - x, x))(P)
    assert wholes(closed.jaxpr) == {}
    closed = jax.make_jaxpr(lambda x: special.ndtri(x) + special.ndtri(2 * x))(P)
    assert [w.name for w in wholes(closed.jaxpr).values()] == ["ndtri"] * 2


def test_both_tails_keep_their_digits(x64):
    p = np.array([1e-300, 1e-30, 1e-5, 0.4, 1 - 1e-9])
    x = np.array([-30.0, -12, -5, 0, 7, 30])
    _, by_p = nx.value_and_grad(lambda p: jnp.sum(special.ndtri(p)))(p)
    _, by_x = nx.value_and_grad(lambda x: jnp.sum(special.log_ndtr(x)))(x)
    with mpmath.workdps(350):
        z = [mpmath.sqrt(2) * mpmath.erfinv(2 * mpmath.mpf(q) - 1) for q in p]
        slopes = [float(mpmath.sqrt(2 * mpmath.pi) * mpmath.exp(u * u / 2)) for u in z]
        falls = [float(mpmath.npdf(u) / mpmath.ncdf(u)) for u in map(mpmath.mpf, x)]
    np.testing.assert_allclose(by_p, slopes, rtol=1e-12)
    np.testing.assert_allclose(by_x, falls, rtol=1e-9)


def test_told_and_written():
    t = dv.parse("p: float[i]; x: float[i]; loss = sum[i](ndtri(p[i])*log_ndtr(x[i]))")
    d = dv.backprop(t["loss"], wrt=[t["p"], t["x"]])
    assert r"\Phi^{-1}" in d.to_latex() and r"\log\Phi" in d.to_latex()
    assert str(d.gradient("p")) == "dp[i] = sqrt(2) sqrt(pi) exp(ndtri(p[i])^2 / 2) log_ndtr(x[i])"
    assert dv.ndtri(sympy.Rational(1, 2)) == 0
