"""Loss and gradients of gelu, generated from its derivation, for cpu.

    a[b,j]  = sum_i x[b,i] W[i,j]                                                     (1)
    h[b,j]  = a[b,j] (erf(a[b,j] sqrt(2) / 2) + 1) / 2                                (2)
    loss    = (1 / (B J)) sum_{b,j} (h[b,j] - y[b,j])^2                               (3)

    dh[b,j] = 2 (h[b,j] - y[b,j]) / (B J)                                             (4)   from 2
    da[b,j] = dh[b,j] (sqrt(2) a[b,j] exp(-a[b,j]^2 / 2) / sqrt(pi) + (erf(a[b,j] sqrt(2) / 2) + 1))
              / 2                                                                     (5)   from 1, 4
    dW[i,j] = sum_b x[b,i] da[b,j]                                                    (6)   from 5

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
@shapes(W="I J", x="B I", y="B J")
def loss_and_grads(W, x, y):
    """W (I, J), x (B, I), y (B, J) floats of one dtype. Returns loss (), {"W"}."""
    J = W.shape[1]
    B = x.shape[0]

    a = x @ W                             # (1)
    h = a * lax.erfc(-a / 2 ** 0.5) / 2   # (2)
    loss = jnp.square(h - y).mean()       # (3)
    dh = 2 * (h - y) / (B * J)            # (4)
    da = dh * (2 ** 0.5 * a * jnp.exp(-jnp.square(-a / 2 ** 0.5)) / jnp.pi ** 0.5 + lax.erfc(-a / 2 ** 0.5)) / 2  # (5)
    dW = x.T @ da                         # (6)
    return loss, {"W": dW}
