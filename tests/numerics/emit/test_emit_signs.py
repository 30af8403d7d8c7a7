"""Brackets of positive parts read what the forward pass computed."""

import jax
import jax.numpy as jnp
import numpy as np

import derive as dv
import numerics as nx
from derive.language.nodes import relu

b, i = dv.indices("b i")
j = dv.index("j", size="I")
t = dv.index("t")
x, y, w = dv.tensor("x", b, i), dv.tensor("y", b, i), dv.tensor("w", i)


def written(value, over, wrt):
    u = dv.define("u", over, value)
    loss = dv.define("loss", (), dv.Sum(u[over] ** 2, *over))
    return nx.compile(dv.backprop(loss, wrt))


def rules(kern):
    return {rule for rule, _, _ in kern.choices}


def test_a_hinge_reads_its_own_value():
    u = dv.define("u", (b, i), relu(1 - x[b, i] * y[b, i]))
    kern = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum(u[b, i], b, i)), [x]))
    assert "signs-read" in rules(kern) and "jnp.where(u > 0, y, 0)" in kern.source and "x * y < 1" not in kern.source
    assert nx.verify(kern).ok
    rng = np.random.default_rng(0)
    given = {n: rng.normal(size=(5, 3)).astype(np.float32) for n in "xy"}
    want = jax.grad(lambda x, y: jnp.maximum(0, 1 - x * y).sum())(given["x"], given["y"])
    np.testing.assert_array_equal(kern(**given)[1]["x"], want)


def test_its_places_are_those_of_the_bracket():
    """The pair (i, j) of the gradient of one row is the pair (j, i) of the other."""
    kern = written(relu(1 - w[i] + w[j]), (i, j), [w])
    assert nx.verify(kern).ok
    rng = np.random.default_rng(0)
    value = rng.normal(size=6).astype(np.float32)
    want = jax.grad(lambda w: (jnp.maximum(0, 1 - w[:, None] + w) ** 2).sum())(value)
    np.testing.assert_allclose(kern(w=value)[1]["w"], want, rtol=1e-5)


def test_a_bare_value_stays():
    z = dv.define("z", (b, i), x[b, i] * w[i])
    u = dv.define("u", (b, i), relu(z[b, i]))
    kern = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum(u[b, i] * y[b, i], b, i)), [w]))
    assert nx.verify(kern).ok


def test_places_beside_it_stay():
    """``v[t-1]`` is outside at the first step, where its bracket is not that of 0."""
    v = dv.tensor("v", t)
    u = dv.define("u", (t,), relu(1 - v[t] * v[t]))
    loss = dv.define("loss", (), dv.Sum(u[t - 1] * v[t], t))
    kern = nx.compile(dv.backprop(loss, [v]))
    assert nx.verify(kern).ok
