"""Loss and gradients of softmax_regression, generated from its derivation.

    z[b,k]             = sum_i x[b,i] W[i,k] + c[k]                   (1)
    lse_max[b]         = max_k z[b,k]                                 (2)
    lse_sum_shifted[b] = sum_k exp(z[b,k] - lse_max[b])               (3)
    lse[b]             = lse_max[b] + log(lse_sum_shifted[b])         (4)
    loss               = 1/B sum_b (lse[b] - z[b,label[b]])           (5)

    dz[b,k]            = (exp(z[b,k] - lse[b]) - [k = label[b]]) / B  (6)   from 1, 4
    dW[i,k]            = sum_b x[b,i] dz[b,k]                         (7)   from 6
    dc[k]              = sum_b dz[b,k]                                (8)   from 6

Facts used: 0 <= label[b] < K (declared).
Kinks: none.
Emission: scatter-labels in (6): k = label[b] is one place in each row: a scatter, where a one-hot of the whole array
  would be written and read again.
"""
import jax
import jax.numpy as jnp


@jax.jit
def loss_and_grads(W, c, x, label):
    """W (I, K), c (K,), x (B, I) floats of one dtype; label (B,) integers in [0, K). Returns loss (), {"W", "c"}."""
    B = x.shape[0]
    b = jnp.arange(B)

    z = x @ W + c                                                # (1)
    lse_max = z.max(axis=1)                                      # (2)
    lse_sum_shifted = jnp.exp(z - lse_max[:, None]).sum(axis=1)  # (3)
    lse = lse_max + jnp.log(lse_sum_shifted)                     # (4)
    loss = (lse - z[b, label]).mean()                            # (5)
    dz = jnp.exp(z - lse[:, None]).at[b, label].add(-1) / B      # (6)
    dW = x.T @ dz                                                # (7)
    dc = dz.sum(axis=0)                                          # (8)
    return loss, {"W": dW, "c": dc}
