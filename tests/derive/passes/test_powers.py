"""Powers with a variable exponent: the derivative by the exponent at base 0 is 0, the limit for a positive exponent."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx

CASES = {
    "one exponent": ("x: float[i]; p: float parameter\nloss = sum[i](x[i]^p)", lambda x, p: jnp.sum(x**p)),
    "of a computed base": (
        "x: float[i]; p: float parameter\nloss = sum[i](relu(x[i])^p)",
        lambda x, p: jnp.sum(jnp.maximum(x, 0) ** p),
    ),
    "in a product": (
        "x: float[i]; p: float parameter\nloss = sum[i](abs(x[i])^(2*p) * exp(x[i]*p))",
        lambda x, p: jnp.sum(jnp.abs(x) ** (2 * p) * jnp.exp(x * p)),
    ),
    "of a base with branches": (
        "x: float[i]; p: float parameter\nloss = sum[i]((where(x[i] < 1, x[i], 3)*where(x[i] > 1, 1, 0) + x[i]^2)^p)",
        lambda x, p: jnp.sum((jnp.where(x < 1, x, 3) * jnp.where(x > 1, 1, 0) + x**2) ** p),
    ),
    "of a base that is 0 in a branch": (
        "x: float[i]; p: float parameter\nloss = sum[i](where(x[i] > 1, x[i], 0)^p)",
        lambda x, p: jnp.sum(jnp.where(x > 1, x, 0) ** p),
    ),
}


def derived(text, wrt):
    given = dv.parse(text)
    return dv.backprop(given["loss"], wrt=[given[wrt]])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("at", [0.5, 1.0, 2.0])
def test_by_the_exponent_at_base_zero(case, at):
    text, forward = CASES[case]
    d = derived(text, "p")
    x, p = np.array([0, 2, 0.5], np.float32), np.float32(at)
    got = nx.compile(d)(x=x, p=p).grads["p"]
    np.testing.assert_allclose(got, jax.grad(forward, 1)(x, p), rtol=1e-5)
    assert d.check().ok


def test_the_convention_is_told():
    assert "at x = 0 is 0" in derived(CASES["one exponent"][0], "p").to_text()


def test_no_guard_where_the_base_cannot_be_zero():
    d = derived("x: float[i] parameter\nloss = sum[i](2^x[i] + (1 + x[i]^2)^x[i])", "x")
    assert "otherwise" not in d.to_text()
