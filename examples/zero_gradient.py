"""A gradient that is zero everywhere: ``jax.test_util.check_grads`` passes it, the crosscheck does not.

``check_grads`` compares two projections on a random direction to an absolute tolerance. The gradient of a mean over
100,000 elements is so small that its projection and zero are the same to it.
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.test_util import check_grads

import derive as dv
import numerics as nx


@jax.custom_vjp
def mean_square(x):
    """The mean of squares, with a backward rule that somebody forgot to write."""
    return jnp.mean(x**2)


mean_square.defvjp(lambda x: (mean_square(x), x), lambda x, g: (jnp.zeros_like(x),))


def main(n: int = 100_000):
    """Returns whether check_grads passes it, and the crosscheck's report."""
    x = np.random.default_rng(0).normal(size=n).astype(np.float32)
    try:
        check_grads(mean_square, (x,), order=1, modes=["rev"])
        passed = True
    except AssertionError:
        passed = False
    print(f"check_grads: {'passes' if passed else 'refuses'} an all-zero gradient of a mean over {n} elements")

    i = dv.index("i")
    X = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(X[i] ** 2, i) / i.size)
    kernel = nx.compile(dv.backprop(loss, wrt=[X]))
    report = nx.crosscheck(kernel, lambda x: {"x": jax.grad(mean_square)(x)}, inputs={"x": x})
    print(report)
    return passed, report


if __name__ == "__main__":
    main()
