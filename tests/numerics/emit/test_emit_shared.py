"""What equations share is written in the form that XLA computes once; each form is what the equations say."""

import numpy as np
import pytest

import derive as dv
import numerics as nx

PROGRAMS = {
    "exp of the square that erf computes": (
        "x: float[i]; h[i] = x[i]*(1 + erf(x[i]/sqrt(2)))/2; loss = sum[i](h[i]^3)",
        "jnp.exp(-jnp.square(",
    ),
    "two tensors in the argument of erfc": (
        "x: float[i]; y: float[i]; h[i] = erfc(x[i] - y[i]); loss = sum[i](h[i]^2)",
        "jnp.exp(-jnp.square(x - y))",
    ),
    "squares summed elsewhere": ("x: float[i]; h[i] = tanh(x[i]); loss = sum[i](h[i]^2)", "(1 - h) * (1 + h)"),
    "squares not summed": ("x: float[i]; h[i] = tanh(x[i]); loss = sum[i](h[i]^3)", "(1 - h * h)"),
    "the conjugate of a sigmoid beside a number": (
        "x: float[i]; loss = sum[i](x[i]*sigmoid(x[i]))",
        "x * (1 - jax.nn.sigmoid(x)) + 1",
    ),
    "the conjugate of a sigmoid alone": ("x: float[i]; loss = sum[i](sigmoid(x[i])^3)", "jax.nn.sigmoid(-x)"),
    "erfc of what is not negative": ("x: float[i]; loss = sum[i]((2 - erfc(abs(x[i])))^2)", "2 - lax.erfc(jnp.abs(x))"),
    "the first place of a maximum": (
        "x: float[b,k]; loss = sum[b](max[k](x[b,k])^2)",
        "jnp.where(x == loss_max[:, None], k, K).min(axis=1)",
    ),
}


def parts():
    """A gate over the second half of an axis: the gradients of both halves are one array."""
    m = dv.index("m")
    b = dv.index("b")
    x = dv.tensor("x", b, 2 * m.size)
    h = dv.define("h", (b, m), x[b, m] * dv.sigmoid(x[b, m + m.size]))
    return dv.backprop(dv.define("loss", (), dv.Sum(h[b, m] ** 2, b, m)), wrt=[x])


@pytest.mark.parametrize("name", PROGRAMS)
def test_form(name):
    text, expected = PROGRAMS[name]
    tensors = dv.parse(text)
    d = dv.backprop(tensors["loss"], wrt=[tensors["x"]])
    kern = nx.compile(d)
    assert expected in kern.source
    assert nx.verify(kern, dtypes=("float64",)).ok


def test_terms_on_parts_of_an_axis_are_laid_end_to_end():
    kern = nx.compile(parts())
    assert "jnp.concatenate((" in kern.source and "jnp.pad" not in kern.source
    assert nx.verify(kern, dtypes=("float64",)).ok


def test_a_tie_goes_to_the_first():
    tensors = dv.parse("x: float[b,k]; loss = sum[b](max[k](x[b,k])^2)")
    d = dv.backprop(tensors["loss"], wrt=[tensors["x"]])
    x = np.array([[1.0, 2.0, 2.0], [3.0, 3.0, 3.0], [-np.inf, 0.0, -1.0]])
    for patterns in ({"argmax": "first"}, {"argmax": "plain"}):
        _, grads = nx.compile(d, patterns=patterns)(x=x)
        assert np.array_equal(grads["x"], [[0, 4, 0], [6, 0, 0], [0, 0, 0]])
