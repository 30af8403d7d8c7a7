"""Loss and gradients of conv, generated from its derivation.

    y[b,u,v,o]    = sum_{r,s,c} img[b,2r+2u-1,2s+2v-1,c] K[r,s,c,o]                   (1)
    loss          = sum_{b,u,v,o} tanh(y[b,u,v,o])                                    (2)

    dy[b,u,v,o]   = 1 - tanh(y[b,u,v,o])^2                                            (3)   from 1
    dK[r,s,c,o]   = sum_{b,u,v} img[b,2r+2u-1,2s+2v-1,c] dy[b,u,v,o]                  (4)   from 3
    dimg[b,h,v,c] = sum_{u,v',o,r,s: 2 r + 2 u - 1 = h, 2 s + 2 v' - 1 = v} dy[b,u,v',o] K[r,s,c,o]  (5)   from 3

Facts used: none.
Kinks: none.
Emission: each equation in its plain form, no choice was made.
"""
import jax
import jax.numpy as jnp


@jax.jit
def loss_and_grads(img, K):
    """img (B, H, V, C), K (3, 2, C, O) floats of one dtype. Returns loss (), {"img", "K"}."""
    H = img.shape[1]
    V = img.shape[2]
    dtype = img.dtype
    r = jnp.arange(3)
    u = jnp.arange((H - 3) // 2 + 1)
    rows = 2 * r + 2 * u[:, None] - 1
    s = jnp.arange(2)
    v = jnp.arange((V - 1) // 2 + 1)
    cols = 2 * s + 2 * v[:, None] - 1
    inside = ((rows >= 0) & (rows < H))[:, None, :, None] & ((cols >= 0) & (cols < V))[:, None]
    h = jnp.arange(H)
    vs = jnp.arange(V)

    img_at = jnp.where(inside[..., None], img[:, rows[:, None, :, None], cols[:, None]], 0)
    y = jnp.einsum("buvrsc,rsco->buvo", img_at, K)    # (1)
    loss = jnp.tanh(y).sum()                          # (2)
    dy = 1 - jnp.tanh(y) * jnp.tanh(y)                # (3)
    dK = jnp.einsum("buvrsc,buvo->rsco", img_at, dy)  # (4)
    dimg = jnp.einsum("buvo,rsco,hur,avs->bhac", dy, K, (h[:, None, None] == rows).astype(dtype),  # (5)
        (vs[:, None, None] == cols).astype(dtype))
    return loss, {"img": dimg, "K": dK}
