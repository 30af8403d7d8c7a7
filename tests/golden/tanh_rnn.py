"""Loss and gradients of tanh_rnn, generated from its derivation, for cpu.

    h_in[t,b,l]   = sum_m U[m,l] {h0[b,m] if t = 0; h[t-1,b,m] otherwise} + sum_i x[t,b,i] W[i,l] + c[l]  (1)
    h[t,b,l]      = tanh(h_in[t,b,l])                                                 (2)
    loss          = sum_{t,b,l} (h[t,b,l] - y[t,b,l])^2                               (3)

    dh[t,b,l]     = sum_l' d_h_in[t+1,b,l'] U[l,l'] + 2 (h[t,b,l] - y[t,b,l])         (4)   from 2, 5
    d_h_in[t,b,l] = dh[t,b,l] (1 - h[t,b,l]^2)                                        (5)   from 2, 4
    dU[m,l]       = sum_{t,b} d_h_in[t,b,l] {h0[b,m] if t = 0; h[t-1,b,m] otherwise}  (6)   from 2, 5
    dW[i,l]       = sum_{t,b} x[t,b,i] d_h_in[t,b,l]                                  (7)   from 5
    dc[l]         = sum_{t,b} d_h_in[t,b,l]                                           (8)   from 5
    dh0[b,l]      = sum_l' d_h_in[0,b,l'] U[l,l']                                     (9)   from 5

Facts used: none.
Kinks: none.
Emission: hoist in (1): what does not depend on the recurrence is one product for all steps, before the scan; scan in
  (1): from step to step h alone is carried; of every step h alone is saved; total as products in (3): a sum over all
  axes by a vector-matrix product: XLA's own is serial, what leads to it included; scan in (4): from step to step
  d_h_in alone is carried; of every step d_h_in alone is saved.
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


def total(a):
    """The sum of all elements: each column by a vector-matrix product, then what is left."""
    rows = a.reshape(-1, a.shape[-1])
    return (jnp.ones(len(rows), a.dtype) @ rows).sum()


@jax.jit
@shapes(W="I L", U="L L", c="L", h0="B L", x="T B I", y="T B L")
def loss_and_grads(W, U, c, h0, x, y):
    """W (I, L), U (L, L), c (L,), h0 (B, L), x (T, B, I), y (T, B, L) floats of one dtype. Returns loss (), {"W", "U",
    "c", "h0"}.
    """
    L = W.shape[1]
    B = h0.shape[0]
    T = x.shape[0]
    dtype = W.dtype
    t = jnp.arange(T)

    h_ext = x @ W                                                     # (1), for all steps

    def h_step(h_prev, now):
        h_ext_t, t_now = now
        h_in_t = jnp.where(t_now == 0, h0, h_prev) @ U + h_ext_t + c  # (1)
        h_t = jnp.tanh(h_in_t)                                        # (2)
        return h_t, h_t

    _, h = lax.scan(h_step, jnp.zeros((B, L), dtype), (h_ext, t))     # (2)
    loss = total(jnp.square(h - y))                                   # (3)
    U_T = U.T

    def d_h_in_step(d_h_in_next, now):
        y_t, h_t = now
        dh_t = d_h_in_next @ U_T + 2 * (h_t - y_t)                    # (4)
        d_h_in_t = dh_t * (1 - h_t * h_t)                             # (5)
        return d_h_in_t, d_h_in_t

    _, d_h_in = lax.scan(d_h_in_step, jnp.zeros((B, L), dtype), (y, h), reverse=True)  # (5)
    dU = jnp.tensordot(jnp.where((t == 0)[:, None, None], h0, jnp.pad(h[:-1], ((1, 0), (0, 0), (0, 0)))), d_h_in,  # (6)
        ((0, 1), (0, 1)))
    dW = jnp.tensordot(x, d_h_in, ((0, 1), (0, 1)))                   # (7)
    dc = d_h_in.sum(axis=(0, 1))                                      # (8)
    dh0 = d_h_in[0] @ U.T                                             # (9)
    return loss, {"W": dW, "U": dU, "c": dc, "h0": dh0}
