"""Functions that nobody wrote for this library: their values, their gradients against jax.grad, and the exact check."""

import jax
import numpy as np
import pytest
from foreign_functions import FUNCTIONS

import numerics as nx

QUICK = ("mlp", "nn.gelu", "special.entr", "optax.hinge_loss", "running_sum", "dropped_out", "stacked_layers")


def networks():
    pytest.importorskip("flax")
    pytest.importorskip("equinox")
    from foreign_networks import NETWORKS

    return NETWORKS


def agrees(f, args):
    """Values and gradients to 1e-10 of jax.grad, and no refutation."""
    vg = nx.value_and_grad(f)
    value, grads = vg(*args)
    wanted, by_autodiff = jax.value_and_grad(f)(*args)
    np.testing.assert_allclose(value, wanted, rtol=1e-10, atol=1e-12)
    assert jax.tree.structure(grads) == jax.tree.structure(by_autodiff)
    for a, b in zip(jax.tree.leaves(grads), jax.tree.leaves(by_autodiff), strict=True):
        assert a.dtype == b.dtype
        assert float(np.max(np.abs(a - b))) <= 1e-10 * max(1.0, float(np.max(np.abs(b))))
    return vg


@pytest.mark.parametrize("name", QUICK)
def test_a_function(name, x64):
    assert agrees(*FUNCTIONS[name]()).derivation.check().ok


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in FUNCTIONS if n not in QUICK])
def test_each_function(name, x64):
    assert agrees(*FUNCTIONS[name]()).derivation.check().ok


@pytest.mark.slow
def test_networks_of_flax_and_equinox(x64):
    for name, make in networks().items():
        vg = agrees(*make())
        assert name == "linen transformer" or vg.derivation.check().ok, name
