"""Second derivatives of recurrences: the adjoint recurrence is a definition that is differentiated again."""

import jax
import jax.numpy as jnp
import numpy as np

import derive as dv
import numerics as nx
from derive.networks import layers as L


def test_a_hessian_vector_product_through_time():
    model = dv.Sequential([L.SimpleRNN(3)], input_shape=(4, 2))
    first = model.backprop("mean_squared_error")
    d = dv.hvp(first.loss, wrt=list(first.wrt))
    rng = np.random.default_rng(0)
    p = {n: rng.normal(size=q.shape) / 2 for n, q in model.parameters.items()}
    v = {n: rng.normal(size=a.shape) for n, a in p.items()}
    x, y = rng.normal(size=(5, 4, 2)), rng.normal(size=(5, 3))

    def loss(w):
        h = jnp.zeros((5, 3))
        for t in range(4):
            h = jnp.tanh(x[:, t] @ w["simple_rnn_1_kernel"] + h @ w["simple_rnn_1_recurrent"] + w["simple_rnn_1_bias"])
        return jnp.mean((h - y) ** 2)

    found = nx.compile(d)(**p, **{f"{n}_dir": a for n, a in v.items()}, x=x, y=y).hvp
    _, wanted = jax.jvp(jax.grad(loss), (p,), (v,))
    for n in p:
        np.testing.assert_allclose(found[n], wanted[n], rtol=2e-4, atol=2e-6)
