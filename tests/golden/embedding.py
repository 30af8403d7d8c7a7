"""Loss and gradients of embedding, generated from its derivation, for cpu.

    x[b,t,d]        = E[tok[b,t],d]                          (1)
    z_tanh[b,t,d]   = tanh(x[b,t,d])                         (2)
    z[b,k]          = sum_{t,d} z_tanh[b,t,d] W[d,k]         (3)
    loss            = sum_{b,k} (z[b,k] - y[b,k])^2          (4)

    dz[b,k]         = 2 (z[b,k] - y[b,k])                    (5)   from 3
    d_z_tanh[b,t,d] = sum_k dz[b,k] W[d,k]                   (6)   from 5
    dx[b,t,d]       = d_z_tanh[b,t,d] (1 - z_tanh[b,t,d]^2)  (7)   from 2, 6
    dW[d,k]         = sum_{b,t} z_tanh[b,t,d] dz[b,k]        (8)   from 2, 5
    dE[v,d]         = sum_{b,t: tok[b,t] = v} dx[b,t,d]      (9)   from 7

Facts used: 0 <= tok[b, t] < V (declared).
Kinks: none.
Emission: narrow in (6): the same along an axis, which is left out.
"""
import jax
import jax.numpy as jnp


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
@shapes(E="V D", W="D K", tok="B T", y="B K")
def loss_and_grads(E, W, tok, y):
    """E (V, D), W (D, K), y (B, K) floats of one dtype; tok (B, T) integers in [0, V). Returns loss (), {"E", "W"}.
    """
    V, D = E.shape
    dtype = E.dtype

    x = E[tok]                                      # (1)
    z_tanh = jnp.tanh(x)                            # (2)
    z = z_tanh.sum(axis=1) @ W                      # (3)
    loss = jnp.square(z - y).sum()                  # (4)
    dz = 2 * (z - y)                                # (5)
    d_z_tanh = dz @ W.T                             # (6)
    dx = d_z_tanh[:, None] * (1 - z_tanh * z_tanh)  # (7)
    dW = z_tanh.sum(axis=1).T @ dz                  # (8)
    dE = jnp.zeros((V, D), dtype).at[tok].add(dx)   # (9)
    return loss, {"E": dE, "W": dW}
