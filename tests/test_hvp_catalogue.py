"""Hessian-vector products of every activation and every loss of the catalogue: proved, and jvp of grad to 1e-11."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue_data import error, output, target

import derive as dv
import numerics as nx
from derive.networks import layers as L
from derive.networks.activations import ACTIVATIONS, activation
from derive.networks.losses import LOSSES
from numerics.reference.activations import ACTIVATIONS as ACTIVATED
from numerics.reference.networks import LOSSES as REFERENCES

b, i, k = dv.indices("b i k")
DIFFERENTIABLE = [n for n in ACTIVATIONS if n != "threshold"]  # threshold's derivative is zero everywhere


def dense(name):
    """sum_bk v[b,k] act(x W)[b,k]: the second derivative of the activation takes part in every element."""
    x, W, v = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("v", b, k)
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[i, k], i))
    h = dv.define("h", (b, k), activation(name)(z))
    return dv.define("loss", (), dv.Sum(v[b, k] * h[b, k] ** 2, b, k)), [W]


def of_loss(name):
    z = dv.tensor("z", b, k)
    return LOSSES[name].define(z, LOSSES[name].target_tensor(z)), [z]


@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_products_through_every_activation_are_proved(name):
    evidence = dv.hvp(*dense(name)).check()
    assert evidence.ok and "hvp W" in {*evidence.named("proved"), *evidence.undecided}


@pytest.mark.parametrize("name", LOSSES)
def test_products_of_every_loss_are_proved(name):
    evidence = dv.hvp(*of_loss(name)).check()
    assert evidence.ok and "hvp z" in {*evidence.named("proved"), *evidence.undecided}


@pytest.mark.slow
@pytest.mark.parametrize("name", DIFFERENTIABLE)
def test_products_through_every_activation_agree_with_jvp_of_grad(name, x64):
    rng = np.random.default_rng(5)
    x, W, v, V = (rng.normal(size=s) for s in ((4, 3), (3, 5), (4, 5), (3, 5)))
    found = nx.compile(dv.hvp(*dense(name)))(x=x, W=W, v=v, W_dir=V).hvp["W"]
    expected = jax.jvp(jax.grad(lambda W: jnp.sum(v * ACTIVATED[name](x @ W) ** 2)), (W,), (V,))[1]
    assert error(found, expected) < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("name", LOSSES)
def test_products_of_every_loss_agree_with_jvp_of_grad(name, x64):
    rng = np.random.default_rng(6)
    at, y, V = output(name, rng, (5, 3)), target(name, rng, (5, 3)), rng.normal(size=(5, 3))
    found = nx.compile(dv.hvp(*of_loss(name)))(z=at, y=y, z_dir=V).hvp["z"]
    expected = jax.jvp(jax.grad(lambda z: REFERENCES[name](z, jnp.asarray(y))), (jnp.asarray(at),), (V,))[1]
    largest = max(float(jnp.abs(expected).max()), 1e-3)
    assert float(np.abs(np.asarray(found) - np.asarray(expected)).max()) < 1e-11 * largest


@pytest.mark.slow
def test_products_through_a_convolution_are_verified():
    model = dv.Sequential([L.Conv2D(2, 3, activation="tanh"), L.Flatten(), L.Dense(2)], input_shape=(5, 5, 1))
    d = model.backprop(loss="softmax_cross_entropy")
    product = dv.hvp(d.loss, list(d.wrt))
    assert product.check().ok
    report = nx.verify(nx.compile(product), dtypes=())
    assert report.ok, report
