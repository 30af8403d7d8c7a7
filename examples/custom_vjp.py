"""A derived gradient inside ordinary ``jax.grad`` code: the loss is ours, the features in front of it are yours."""

import jax
import jax.numpy as jnp
import numpy as np

import numerics as nx
from derive.networks.examples import load


def main() -> float:
    """Returns the largest difference between the gradient through our loss and plain autodiff."""
    loss = nx.compile(load("softmax_regression").backprop()).as_custom_vjp()

    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(6, 4)), jnp.float32)
    label = jnp.asarray(rng.integers(0, 3, 6))
    W, c = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32), jnp.zeros(3)
    scale = jnp.asarray(rng.normal(size=(4, 3)), jnp.float32)

    def ours(scale):
        return loss(W * jnp.tanh(scale), c, x, label)  # parameters in the order of wrt, then the inputs

    def plain(scale):
        logp = jax.nn.log_softmax(x @ (W * jnp.tanh(scale)) + c)
        return -logp[jnp.arange(6), label].mean()

    difference = float(jnp.abs(jax.grad(ours)(scale) - jax.grad(plain)(scale)).max())
    print(f"through the derived loss, jax.grad differs from plain autodiff by {difference:.1e}")
    return difference


if __name__ == "__main__":
    main()
