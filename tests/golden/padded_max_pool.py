"""Loss and gradients of max_pool, generated from its derivation.

    y[b,u,c]        = max_{r: 0 <= 2 u + r - 1 < H} img[b,2u+r-1,c]      (1)
    y_argmax[b,u,c] = argmax_{r: 0 <= 2 u + r - 1 < H} img[b,2u+r-1,c]   (2)
    loss            = sum_{b,u,c} y[b,u,c]^2                             (3)

    dimg[b,h,c]     = 2 sum_{u: 2 u + y_argmax[b,u,c] - 1 = h} y[b,u,c]  (4)   from 1, 2

Facts used: none.
Kinks: max over an index: the gradient goes to the first maximiser.
Emission: each equation in its plain form, no choice was made.
"""
import jax
import jax.numpy as jnp


@jax.jit
def loss_and_grads(img):
    """img (B, H, C) floats. Returns loss (), {"img"}."""
    B, H, C = img.shape
    dtype = img.dtype
    u = jnp.arange((H - 1) // 2 + 1)
    r = jnp.arange(3)
    rows = 2 * u[:, None] + r - 1
    inside = (rows >= 0) & (rows < H)
    b = jnp.arange(B)
    c = jnp.arange(C)

    y = jnp.where(inside[..., None], img[:, rows], -jnp.inf).max(axis=2)  # (1)
    y_argmax = jnp.where(inside[..., None], img[:, rows], -jnp.inf).argmax(axis=2)  # (2)
    loss = (y * y).sum()                                                  # (3)
    at = 2 * u[:, None] + y_argmax - 1
    dimg = jnp.zeros((B, H, C), dtype).at[b[:, None, None], at, c].add(jnp.where((at >= 0) & (at < H), 2 * y, 0))  # (4)
    return loss, {"img": dimg}
