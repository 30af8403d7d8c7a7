"""Gradients at the points where JAX computes a smooth function by branches: 0, ties, ends of ranges."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import numerics as nx

SMOOTH = {
    "softplus": lambda x: jnp.sum(jax.nn.softplus(x)),
    "log_sigmoid": lambda x: jnp.sum(jax.nn.log_sigmoid(x)),
    "mish": lambda x: jnp.sum(jax.nn.mish(x)),
    "logaddexp": lambda x: jnp.sum(jnp.logaddexp(x, x[::-1]) * jnp.arange(x.shape[0])),
    "logaddexp2": lambda x: jnp.sum(jnp.logaddexp2(x, 0.0)),
    "log_cosh": lambda x: optax.losses.log_cosh(x).sum(),
    "silu": lambda x: jnp.sum(jax.nn.silu(x)),
    "gelu": lambda x: jnp.sum(jax.nn.gelu(x, approximate=False)),
    "logsumexp": lambda x: jax.nn.logsumexp(x),
    "binary cross entropy": lambda x: optax.losses.sigmoid_binary_cross_entropy(x, jnp.ones(x.shape)).mean(),
    "focal loss": lambda x: optax.losses.sigmoid_focal_loss(x, jnp.ones(x.shape)).mean(),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_at_zero_and_at_a_tie(name):
    f = SMOOTH[name]
    for x in (np.zeros(4), np.array([0.5, -1.0, -1.0, 0.5])):
        value, grad = nx.value_and_grad(f)(x)
        wanted, by_autodiff = jax.value_and_grad(f)(x)
        assert np.allclose(value, wanted) and np.allclose(grad, by_autodiff), name


def test_logistic_regression_starts_from_zeros():
    def loss_fn(params, x, y):
        logits = x @ params["w"] + params["b"]
        return optax.losses.sigmoid_binary_cross_entropy(logits, y).mean()

    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(6, 3)), 1.0 * (rng.uniform(size=6) > 0.5)
    params = {"w": np.zeros(3), "b": np.zeros(())}
    vg = nx.value_and_grad(loss_fn)
    _, grads = vg(params, x, y)
    _, wanted = jax.value_and_grad(loss_fn)(params, x, y)
    assert all(np.allclose(grads[n], wanted[n]) for n in params)
    assert not vg.model.conventions


def test_a_loop_over_coefficients_is_a_polynomial():
    def f(x):
        return jnp.polyval(np.array([2.0, -1.0, 0.5]), x).sum()

    m = nx.from_jax(f, np.ones(5))
    polynomial = hasattr(jax.lax, "polynomial")  # of JAX 0.12, which reads the coefficients from their array
    assert list(m.constants) == ["constant"] * polynomial
    assert "scan" not in nx.compile(m.backprop()).source
    x = np.linspace(-1, 1, 5)
    value, grad = nx.value_and_grad(f)(x)
    assert np.allclose(value, f(x)) and np.allclose(grad, 4 * x - 1)


@pytest.mark.parametrize(
    "f",
    [
        lambda x: jnp.sum(jnp.log2(1.5 + x)),
        lambda x: jnp.sum(jnp.polyval(x, x**2)),  # coefficients that are computed
        lambda x: jnp.sum(jnp.polyval(jnp.array([2.0]), x) * x),
        lambda x: jnp.sum(
            jax.grad(lambda y: jnp.sum(jnp.tanh(y) * y))(x) ** 2
        ),  # 1 - tanh^2 is a row of its own in JAX 0.11
        lambda x: jnp.sum(jnp.arctanh(x / 2) + jnp.arcsin(x / 2)),
    ],
)
def test_what_jax_computes_by_other_primitives_in_other_versions(f):
    x = np.linspace(-0.9, 0.8, 5)
    value, grad = nx.value_and_grad(f)(x)
    wanted = jax.value_and_grad(f)(x)
    assert np.allclose(value, wanted[0], rtol=1e-5) and np.allclose(grad, wanted[1], rtol=1e-4)


def test_places_set_in_steps_and_multiplied():
    def f(x):
        table = jnp.zeros((x.shape[0], 6)).at[:, ::2].set(jnp.sin(x)).at[:, 1::2].set(x**2)
        return jnp.sum((table.at[0].multiply(3.0).at[1].subtract(x[0, 0])) ** 3)

    x = np.random.default_rng(0).normal(size=(4, 3))
    value, grad = nx.value_and_grad(f)(x)
    wanted, by_autodiff = jax.value_and_grad(f)(x)
    assert np.allclose(value, wanted) and np.allclose(grad, by_autodiff)


def test_rounding_as_of_jax():
    def f(x):
        return jnp.sum(x * jnp.round(x) + x * jax.lax.round(x))

    x = np.array([0.5, 1.5, -0.5, -1.5, 2.2, -2.7])
    value, grad = nx.value_and_grad(f)(x)
    wanted, by_autodiff = jax.value_and_grad(f)(x)
    assert np.allclose(value, wanted) and np.allclose(grad, by_autodiff)


def test_an_inverse_and_a_determinant_of_what_is_computed():
    def f(a):
        s = a @ a.T + jnp.eye(a.shape[0])
        return jnp.linalg.slogdet(s)[1] + jnp.sum(jnp.linalg.inv(s))

    a = np.random.default_rng(0).normal(size=(4, 4))
    value, grad = nx.value_and_grad(f)(a)
    wanted, by_autodiff = jax.value_and_grad(f)(a)
    assert np.allclose(value, wanted) and np.allclose(grad, by_autodiff)
