"""Loss and gradients of mlp, generated from its derivation, for cpu.

    a[b,j]             = sum_i x[b,i] W1[i,j] + c1[j]                                 (1)
    h[b,j]             = relu(a[b,j])                                                 (2)
    z[b,k]             = sum_j h[b,j] W2[j,k] + c2[k]                                 (3)
    lse_max[b]         = max_k z[b,k]                                                 (4)
    z_shifted[b,k]     = z[b,k] - lse_max[b]                                          (5)
    lse_sum_shifted[b] = sum_k exp(z_shifted[b,k])                                    (6)
    lse_shifted[b]     = log(lse_sum_shifted[b])                                      (7)
    loss               = 1/B sum_b (lse_shifted[b] - z_shifted[b,label[b]])           (8)

    dz[b,k]            = (exp(z_shifted[b,k] - lse_shifted[b]) - [k = label[b]]) / B  (9)    from 5, 7
    dh[b,j]            = sum_k dz[b,k] W2[j,k]                                        (10)   from 9
    da[b,j]            = dh[b,j] [a[b,j] > 0]                                         (11)   from 1, 10
    dW2[j,k]           = sum_b h[b,j] dz[b,k]                                         (12)   from 2, 9
    dc2[k]             = sum_b dz[b,k]                                                (13)   from 9
    dW1[i,j]           = sum_b x[b,i] da[b,j]                                         (14)   from 11
    dc1[j]             = sum_b da[b,j]                                                (15)   from 11

Facts used: 0 <= label[b] < K (declared).
Kinks: relu'(0) = 0.
Emission: exponentials-once in (9): the exponentials that the sum adds up are those that it divides; scatter-labels in
  (9): k = label[b] is one place in each row: a scatter, where a one-hot of the whole array would be written and read
  again.
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
@shapes(W1="I J", c1="J", W2="J K", c2="K", x="B I", label="B")
def loss_and_grads(W1, c1, W2, c2, x, label):
    """W1 (I, J), c1 (J,), W2 (J, K), c2 (K,), x (B, I) floats of one dtype; label (B,) integers in [0, K). Returns
    loss (), {"W1", "c1", "W2", "c2"}.
    """
    B = x.shape[0]

    a = x @ W1 + c1                              # (1)
    h = jnp.maximum(a, 0)                        # (2)
    z = h @ W2 + c2                              # (3)
    lse_max = z.max(axis=1)                      # (4)
    z_shifted = z - lse_max[:, None]             # (5)
    z_shifted_exp = jnp.exp(z_shifted)
    lse_sum_shifted = z_shifted_exp.sum(axis=1)  # (6)
    lse_shifted = jnp.log(lse_sum_shifted)       # (7)
    loss = (lse_shifted - jax.vmap(lambda row, at: row[at])(z_shifted, label)).mean()  # (8)
    dz = jax.vmap(lambda row, at: row.at[at].add(-1 / B))(z_shifted_exp / B / lse_sum_shifted[:, None], label)  # (9)
    dh = dz @ W2.T                               # (10)
    da = jnp.where(a > 0, dh, 0)                 # (11)
    dW2 = h.T @ dz                               # (12)
    dc2 = dz.sum(axis=0)                         # (13)
    dW1 = x.T @ da                               # (14)
    dc1 = da.sum(axis=0)                         # (15)
    return loss, {"W1": dW1, "c1": dc1, "W2": dW2, "c2": dc2}
