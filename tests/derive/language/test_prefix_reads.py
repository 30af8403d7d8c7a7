"""A bare index whose size is provably at most its axis's reads a prefix; every other size stays a shape error."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from derive import layers as L

b, t, i, l, k = dv.indices("b t i l k")  # noqa: E741
s = dv.index("s", size=t.size - 1)


def differences():
    v = dv.tensor("v", t)
    return dv.Sum((v[s + 1] - v[s]) ** 2, s), [v]


def rotary():
    m = dv.index("m")
    x, angle = dv.tensor("x", b, dv.index("c", size=2 * m.size)), dv.tensor("angle", b, m)
    low, high = x[b, m], x[b, m + m.size]
    first = dv.define("first", (b, m), low * sympy.cos(angle[b, m]) - high * sympy.sin(angle[b, m]))
    second = dv.define("second", (b, m), low * sympy.sin(angle[b, m]) + high * sympy.cos(angle[b, m]))
    return dv.Sum(first[b, m] ** 2 * second[b, m], b, m), [x, angle]


def transitions():
    j = dv.index("j", size="K")
    y = dv.tensor("y", b, t, dtype="int", below=k.size)
    scores, moves = dv.tensor("scores", b, t, k), dv.tensor("moves", k, j)
    gold = dv.Sum(scores[b, t, y[b, t]], b, t) + dv.Sum(moves[y[b, s], y[b, s + 1]], b, s)
    return gold**2, [scores, moves]


def gates():
    """An LSTM with one kernel of 4L columns, whose gates are slices of it."""
    size = l.size
    g, m = dv.index("g", size=4 * size), dv.index("m", size=size)
    x, U, W = dv.tensor("x", b, t, i), dv.tensor("U", i, g), dv.tensor("W", m, g)

    def step(z, c, h):
        return (
            dv.Sum(x[b, t, i] * U[i, g], i) + dv.Sum(h[t - 1, b, m] * W[m, g], m),
            dv.sigmoid(z[t, b, l + size]) * c[t - 1, b, l] + dv.sigmoid(z[t, b, l]) * sympy.tanh(z[t, b, l + 2 * size]),
            dv.sigmoid(z[t, b, l + 3 * size]) * sympy.tanh(c[t, b, l]),
        )

    *_, h = dv.define("z c h", [(t, b, g), (t, b, l), (t, b, l)], step)
    return dv.Sum(h[t.size - 1, b, l] ** 2, b, l), [U, W]


def reduced():
    """Prefixes under a sum, a max and a product of matrices."""
    n = dv.index("n")
    q = dv.index("q", size=n.size - 1)
    u, w = dv.tensor("u", b, n), dv.tensor("w", n, k)
    return dv.Sum(dv.Max(u[b, q], q) * dv.Sum(dv.Sum(u[b, q] * w[q, k], q) ** 2, k), b), [u, w]


@pytest.mark.parametrize("make", [differences, rotary, transitions, gates, reduced], ids=lambda f: f.__name__)
def test_a_prefix_is_read(make):
    body, wrt = make()
    d = dv.backprop(dv.define("loss", (), body), wrt=wrt)
    evidence, report = d.check(), nx.verify(nx.compile(d))
    assert evidence.ok and not evidence.undecided, evidence
    assert report.ok, report


def test_what_lies_beyond_the_prefix_is_zero_and_never_nan():
    """Of ``y[m]`` there is nothing to divide by or take the logarithm of where c >= M."""
    m = dv.index("m")
    x, y = dv.tensor("x", b, dv.index("c", size=2 * m.size)), dv.tensor("y", b, m, facts=[dv.positive])
    for at, low in ((m, True), (m + m.size, False)):
        d = dv.backprop(
            dv.define("loss", (), dv.Sum(x[b, at] ** 2 * sympy.log(y[b, m]) + x[b, at] / y[b, m], b, m)), wrt=[x]
        )
        X, Y = np.linspace(0.5, 2, 12, dtype=np.float32).reshape(2, 6), np.full((2, 3), 2, np.float32)

        def forward(x, low=low, Y=Y):
            half = x[:, :3] if low else x[:, 3:]
            return jnp.sum(half**2 * jnp.log(Y) + half / Y)

        np.testing.assert_allclose(nx.compile(d)(x=X, y=Y).grads["x"], jax.grad(forward)(X), rtol=1e-5)
        assert d.check().ok


def test_the_document_says_what_is_read_outside():
    body, wrt = rotary()
    text = dv.backprop(dv.define("loss", (), body), wrt=wrt).to_text()
    assert "What is read outside an array is 0." in text


@pytest.mark.parametrize("size", ["M", "T + 1", "2*T", "T*T"])
def test_unrelated_and_larger_sizes_are_refused(size):
    v = dv.tensor("v", t)
    over = dv.index("r", size=sympy.sympify(size, locals={"T": t.size, "M": dv.size("M")}))
    with pytest.raises(dv.ShapeError, match="index r has size"):
        dv.backprop(dv.define("loss", (), dv.Sum(v[over] ** 2, over)), wrt=[v])


@pytest.mark.slow
@pytest.mark.parametrize(
    "layers, shape",
    [
        ([L.Dense(6), L.Reshape((2, 3)), L.GroupNorm(3)], (3,)),
        ([L.Reshape((2, 6)), L.GroupNorm(3), L.Conv1D(4, 1, groups=2)], (12,)),
        ([L.Reshape((2, -1)), L.GroupNorm(4), L.Conv1D(2, 1)], (8,)),
    ],
)
def test_groups_of_an_axis_that_a_reshape_made(layers, shape):
    d = dv.Sequential(layers, input_shape=shape).backprop("mean_squared_error")
    assert d.check().ok
    assert nx.verify(nx.compile(d)).ok
