"""Loss and gradients of layer_norm, generated from its derivation, for cpu.

    mean[b]       = 1/I sum_i x[b,i]                                                  (1)
    var[b]        = 1/I sum_i (x[b,i] - mean[b])^2                                    (2)
    rs[b]         = 1 / sqrt(var[b] + 1e-5)                                           (3)
    xhat[b,i]     = rs[b] (x[b,i] - mean[b])                                          (4)
    out[b,i]      = gamma[i] xhat[b,i] + beta[i]                                      (5)
    loss          = 1/B sum_{b,i} (out[b,i] - y[b,i])^2                               (6)

    d_out[b,i]    = 2 (out[b,i] - y[b,i]) / B                                         (7)    from 5
    d_xhat[b,i]   = gamma[i] d_out[b,i]                                               (8)    from 7
    d_rs_sum[b]   = sum_i d_xhat[b,i] xhat[b,i]                                       (9)    from 4, 8
    d_mean_sum[b] = sum_i d_xhat[b,i]                                                 (10)   from 8
    d_beta[i]     = sum_b d_out[b,i]                                                  (11)   from 7
    d_gamma[i]    = sum_b d_out[b,i] xhat[b,i]                                        (12)   from 4, 7
    dx[b,i]       = rs[b] (d_xhat[b,i] - d_mean_sum[b] / I - d_rs_sum[b] xhat[b,i] / I)  (13)   from 3, 4, 8, 9, 10

Facts used: none.
Kinks: none.
Emission: each equation in its plain form, no choice was made.
"""
import jax
import jax.numpy as jnp
from jax import lax


def shapes(**axes):
    """Refuse arrays whose shapes do not belong together: while the function is traced, so at no cost inside jit."""

    def of(function):
        def checked(*arrays, **named):
            sizes = {}
            for name, array in {**dict(zip(axes, arrays, strict=False)), **named}.items():
                shape, wanted = jnp.shape(array), axes[name].split()
                said = f"{name} has shape {shape}, but it is ({', '.join(wanted)})"
                if len(shape) != len(wanted) or 0 in shape:
                    raise ValueError(f"{said}, each at least 1")
                for size, n in zip(wanted, shape, strict=True):
                    known = int(size) if size.isdigit() else sizes.setdefault(size, n) if size.isidentifier() else n
                    if n != known:
                        raise ValueError(f"{said}, with {size} = {known}")
            return function(*arrays, **named)

        checked.__name__, checked.__doc__, checked.__wrapped__ = function.__name__, function.__doc__, function
        return checked

    return of


@jax.jit
@shapes(x="B I", gamma="I", beta="I", y="B I")
def loss_and_grads(x, gamma, beta, y):
    """x (B, I), gamma (I,), beta (I,), y (B, I) floats of one dtype. Returns loss (), {"x", "gamma", "beta"}."""
    B, I = x.shape

    mean = x.mean(axis=1)                             # (1)
    var = jnp.square(x - mean[:, None]).mean(axis=1)  # (2)
    rs = lax.rsqrt(var + 1e-05)                       # (3)
    xhat = rs[:, None] * (x - mean[:, None])          # (4)
    out = gamma * xhat + beta                         # (5)
    loss = jnp.square(out - y).sum() / B              # (6)
    d_out = 2 * (out - y) / B                         # (7)
    d_xhat = d_out * gamma                            # (8)
    d_rs_sum = (d_xhat * xhat).sum(axis=1)            # (9)
    d_mean_sum = d_xhat.sum(axis=1)                   # (10)
    d_beta = d_out.sum(axis=0)                        # (11)
    d_gamma = (d_out * xhat).sum(axis=0)              # (12)
    dx = rs[:, None] * (d_xhat - d_mean_sum[:, None] / I - d_rs_sum[:, None] * xhat / I)  # (13)
    return loss, {"x": dx, "gamma": d_gamma, "beta": d_beta}
