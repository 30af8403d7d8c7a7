"""Derived gradients inside other people's ``jax.grad``."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_cases import data, softmax_regression

import derive as dv
import numerics as nx


@pytest.fixture
def setting():
    d = softmax_regression()
    _, arrays = data(d, {"B": 7, "I": 5, "K": 3})
    kern = nx.compile(d)
    return kern, [
        jnp.asarray(arrays[t.name], "float32") if t.dtype == "float" else jnp.asarray(arrays[t.name])
        for t in kern.inputs
    ]


def plain(W, c, x, label):
    return -jax.nn.log_softmax(x @ W + c)[jnp.arange(len(x)), label].mean()


def test_gradients_are_the_derived_ones_times_the_cotangent(setting):
    kern, args = setting
    f = kern.as_custom_vjp()
    np.testing.assert_allclose(f(*args), plain(*args), rtol=1e-6)
    ours = jax.jit(jax.grad(lambda W, c: 3 * f(W, c, *args[2:]) ** 2, argnums=(0, 1)))(*args[:2])
    theirs = jax.grad(lambda W, c: 3 * plain(W, c, *args[2:]) ** 2, argnums=(0, 1))(*args[:2])
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert f.__name__ == "softmax_regression"
    np.testing.assert_allclose(f(args[0], args[1], label=args[3], x=args[2]), plain(*args), rtol=1e-6)


def test_integer_inputs_get_float0(setting):
    kern, args = setting
    _, pull = jax.vjp(lambda W, label: kern.as_custom_vjp()(W, *args[1:3], label), args[0], args[3])
    assert pull(jnp.float32(1))[1].dtype == jax.dtypes.float0


def test_a_gradient_that_was_not_derived_is_refused_not_zero(setting):
    kern, args = setting
    f = kern.as_custom_vjp()
    with pytest.raises(
        nx.NumericsError,
        match=r"with respect to 'x' was not derived \(wrt = W, c\); derive it too, as "
        r"in wrt=\[..., x\], or pass jax.lax.stop_gradient\(x\)",
    ):
        jax.grad(f, argnums=2)(*args)
    with pytest.raises(nx.NumericsError, match="with respect to 'x' was not derived"):
        jax.jit(jax.grad(lambda s: f(args[0], args[1], s * args[2], args[3])))(2.0)
    held = jax.grad(lambda s: f(args[0], args[1], jax.lax.stop_gradient(s) * args[2], args[3]) + s)(2.0)
    assert held == 1


def test_wrong_arguments_are_named(setting):
    kern, args = setting
    f = kern.as_custom_vjp()
    with pytest.raises(nx.NumericsError, match=r"takes \(W, c, x, label\), by position or by name; missing 'label'"):
        f(*args[:3])
    with pytest.raises(nx.NumericsError, match="got 'z'"):
        f(*args, z=1)


def test_inside_an_equinox_model(setting):
    kern, (W, c, x, label) = setting
    head = kern.as_custom_vjp()

    class Model(eqx.Module):
        body: eqx.nn.Linear
        W: jax.Array
        c: jax.Array

    model = Model(eqx.nn.Linear(5, 5, key=jax.random.key(0)), W, c)

    def loss(model, use):
        features = jax.lax.stop_gradient(jax.vmap(model.body)(x))
        return use(model.W, model.c, features, label)

    ours = eqx.filter_jit(eqx.filter_grad(loss))(model, head)
    theirs = eqx.filter_grad(loss)(model, plain)
    np.testing.assert_allclose(ours.W, theirs.W, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours.c, theirs.c, rtol=1e-4, atol=1e-6)


def layer():
    b, i, k = dv.indices("b i k")
    x, W = dv.tensor("x", b, i), dv.tensor("W", i, k)
    return dv.vjp(dv.define("y", (b, k), dv.sigmoid(dv.Sum(x[b, i] * W[i, k], i))), wrt=[W, x])


def test_a_vjp_is_a_layer_of_an_equinox_model():
    f = nx.compile(layer()).as_custom_vjp()

    class Net(eqx.Module):
        first: eqx.nn.Linear
        W: jax.Array
        derived: bool = eqx.field(static=True)

        def __call__(self, x):
            h = jax.vmap(self.first)(x)
            return f(self.W, h) if self.derived else jax.nn.sigmoid(h @ self.W)

    x = jnp.asarray(np.random.default_rng(0).normal(size=(6, 4)), "float32")
    W = jnp.asarray(np.random.default_rng(1).normal(size=(5, 3)), "float32")
    nets = [Net(eqx.nn.Linear(4, 5, key=jax.random.key(0)), W, derived) for derived in (True, False)]
    grads = [eqx.filter_jit(eqx.filter_grad(lambda net: (net(x) ** 2).sum()))(net) for net in nets]
    for a, b in zip(jax.tree.leaves(grads[0]), jax.tree.leaves(grads[1]), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


def test_under_vmap_and_scan(setting):
    kern, (W, c, x, label) = setting
    f = kern.as_custom_vjp()
    Ws = jnp.stack([W, 2 * W])
    ours = jax.vmap(jax.grad(f), (0, None, None, None))(Ws, c, x, label)
    theirs = jax.vmap(jax.grad(plain), (0, None, None, None))(Ws, c, x, label)
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)

    def descend(use):
        step = lambda W, _: (W - 0.1 * jax.grad(use)(W, c, x, label), None)  # noqa: E731
        return jax.lax.scan(step, W, None, length=3)[0]

    np.testing.assert_allclose(descend(f), descend(plain), rtol=1e-4, atol=1e-5)
