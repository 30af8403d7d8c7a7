"""Loss and gradients of softmax_regression, generated from its derivation, for cpu.

    z[b,k]             = sum_i x[b,i] W[i,k] + c[k]                                   (1)
    lse_max[b]         = max_k z[b,k]                                                 (2)
    z_shifted[b,k]     = z[b,k] - lse_max[b]                                          (3)
    lse_sum_shifted[b] = sum_k exp(z_shifted[b,k])                                    (4)
    lse_shifted[b]     = log(lse_sum_shifted[b])                                      (5)
    loss               = 1/B sum_b (lse_shifted[b] - z_shifted[b,label[b]])           (6)

    dz[b,k]            = (exp(z_shifted[b,k] - lse_shifted[b]) - [k = label[b]]) / B  (7)   from 3, 5
    dW[i,k]            = sum_b x[b,i] dz[b,k]                                         (8)   from 7
    dc[k]              = sum_b dz[b,k]                                                (9)   from 7

Facts used: 0 <= label[b] < K (declared).
Kinks: none.
Emission: exponentials-once in (7): the exponentials that the sum adds up are those that it divides; scatter-labels in
  (7): k = label[b] is one place in each row: a scatter, where a one-hot of the whole array would be written and read
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
@shapes(W="I K", c="K", x="B I", label="B")
def loss_and_grads(W, c, x, label):
    """W (I, K), c (K,), x (B, I) floats of one dtype; label (B,) integers in [0, K). Returns loss (), {"W", "c"}."""
    B = x.shape[0]

    z = x @ W + c                                # (1)
    lse_max = z.max(axis=1)                      # (2)
    z_shifted = z - lse_max[:, None]             # (3)
    z_shifted_exp = jnp.exp(z_shifted)
    lse_sum_shifted = z_shifted_exp.sum(axis=1)  # (4)
    lse_shifted = jnp.log(lse_sum_shifted)       # (5)
    loss = (lse_shifted - jax.vmap(lambda row, at: row[at])(z_shifted, label)).mean()  # (6)
    dz = jax.vmap(lambda row, at: row.at[at].add(-1 / B))(z_shifted_exp / B / lse_sum_shifted[:, None], label)  # (7)
    dW = x.T @ dz                                # (8)
    dc = dz.sum(axis=0)                          # (9)
    return loss, {"W": dW, "c": dc}
