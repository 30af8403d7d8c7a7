"""Loss and gradients of max_pool, generated from its derivation, for cpu.

    y[b,u,c]        = max_{r: 0 <= 2 u + r - 1 < H} img[b,2u+r-1,c]      (1)
    y_argmax[b,u,c] = argmax_{r: 0 <= 2 u + r - 1 < H} img[b,2u+r-1,c]   (2)
    loss            = sum_{b,u,c} y[b,u,c]^2                             (3)

    d_img[b,h,c]    = 2 sum_{u: 2 u + y_argmax[b,u,c] - 1 = h} y[b,u,c]  (4)   from 1, 2

Facts used: none.
Kinks: max over an index: the gradient goes to the first maximiser.
Emission: pool as index in (1): which tap was first is kept as int8; no window is written out; total as products in
  (3): a sum over all axes by a vector-matrix product: XLA's own is serial, what leads to it included.
"""
import functools
from itertools import product

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


def taps(x, window, out, strides=None, dilation=None, low=None, axis=1, fill=0):
    """{tap r: x[S*u + D*r - P] for all u < out}; positions start at ``axis``, and are ``fill`` outside."""
    rank = len(window)
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    reach = [s * (u - 1) + d * (r - 1) + 1 for r, u, s, d in zip(window, out, strides, dilation)]
    pads = [(0, 0, 0)] * x.ndim
    pads[axis:axis + rank] = [(p, n - p - h, 0) for p, n, h in zip(low, reach, x.shape[axis:])]
    x, found = lax.pad(x, jnp.asarray(fill, x.dtype), pads), {}
    for tap in product(*map(range, window)):
        cuts = [slice(d * r, d * r + s * (u - 1) + 1, s) for r, u, s, d in zip(tap, out, strides, dilation)]
        found[tap] = x[(slice(None),) * axis + tuple(cuts)]
    return found


def spread(piece, arrays, window, shape, strides=None, dilation=None, low=None, axis=1):
    """sum over r and u of piece(r, *arrays at u), put at m = S*u + D*r - P < shape: one dense sum for each m mod S.

    The arrays are padded with zeros once, and ``piece`` is given what each tap needs of them.
    """
    rank = len(shape)
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    count = [-(-h // s) for h, s in zip(shape, strides)]
    shifts = [[(d * r - p - i) // s for r in range(n) for i in range(s) if (d * r - p - i) % s == 0]
              for n, s, d, p in zip(window, strides, dilation, low)]
    pads = [(0, 0, 0)] * arrays[0].ndim
    pads[axis:axis + rank] = [(max(k), n - min(k) - u, 0) for k, n, u in zip(shifts, count, arrays[0].shape[axis:])]
    arrays = [lax.pad(a, jnp.zeros((), a.dtype), pads + [(0, 0, 0)] * (a.ndim - len(pads))) for a in arrays]
    phases = {}
    for phase in product(*map(range, strides)):
        total = None
        for tap in product(*map(range, window)):
            offset = [d * r - p - i for r, d, p, i in zip(tap, dilation, low, phase)]
            if any(a % s for a, s in zip(offset, strides)):
                continue
            starts = [max(k) - a // s for k, a, s in zip(shifts, offset, strides)]
            cuts = (slice(None),) * axis + tuple(slice(a, a + n) for a, n in zip(starts, count))
            met = piece(tap, *(a[cuts] for a in arrays))
            total = met if total is None else total + met
        phases[phase] = total
    some = next(a for a in phases.values() if a is not None)
    for k in reversed(range(rank)):
        lines, at = {}, axis + k
        for phase, a in phases.items():
            lines.setdefault(phase[:k], []).append(jnp.zeros_like(some) if a is None else a)
        phases = {lead: a[0] if len(a) == 1 else jnp.stack(a, axis=at + 1).reshape(
            *a[0].shape[:at], len(a) * a[0].shape[at], *a[0].shape[at + 1:]) for lead, a in lines.items()}
        some = next(iter(phases.values()))
    return phases[()][(slice(None),) * axis + tuple(slice(h) for h in shape)]


def total(a):
    """The sum of all elements: each column by a vector-matrix product, then what is left."""
    rows = a.reshape(-1, a.shape[-1])
    return (jnp.ones(len(rows), a.dtype) @ rows).sum()


def max_pool(x, window, out, strides=None, dilation=None, low=None, axis=1):
    """max_r x[S*u + D*r - P] over the positions that exist, and which tap has it first, row by row."""
    top, *met = taps(x, window, out, strides, dilation, low, axis, -jnp.inf).values()
    at = jnp.zeros(top.shape, jnp.int8 if len(met) < 127 else jnp.int32)
    for n, a in enumerate(met, 1):
        top, at = jnp.maximum(top, a), jnp.where(a > top, n, at).astype(at.dtype)
    return top, at


def max_pool_gradient(g, at, window, shape, strides=None, dilation=None, low=None, axis=1):
    """dx[m] = sum_{u: S*u + D*at[u] - P = m} g[u]; windows side by side: a mask and a reshape."""
    rank = len(window)
    side_by_side = strides == window and set(low or (0,)) == {0} and set(dilation or (1,)) == {1}
    if not side_by_side:
        number = {tap: n for n, tap in enumerate(product(*map(range, window)))}
        return spread(lambda tap, g, at: jnp.where(at == number[tap], g, 0), (g, at), window, shape, strides, dilation,
                      low, axis)
    number = jnp.arange(functools.reduce(lambda a, b: a * b, window), dtype=at.dtype).reshape(window)
    tail = g.ndim - axis - rank
    spots = [axis + 1 + 2 * k for k in range(rank)]
    number = jnp.expand_dims(number, [n for n in range(g.ndim + rank) if n not in spots])
    hit = jnp.where(jnp.expand_dims(at, spots) == number, jnp.expand_dims(g, spots), 0)
    wide = hit.reshape(*g.shape[:axis], *(n * r for n, r in zip(g.shape[axis:], window)), *g.shape[g.ndim - tail:])
    pads = [(0, 0, 0)] * g.ndim
    pads[axis:axis + rank] = [(0, h - n, 0) for h, n in zip(shape, wide.shape[axis:])]
    return lax.pad(wide, jnp.zeros((), g.dtype), pads)


@jax.jit
@shapes(img="B H C")
def loss_and_grads(img):
    """img (B, H, C) floats. Returns loss (), {"img"}."""
    H = img.shape[1]

    y, y_argmax = max_pool(img, (3,), ((H - 1) // 2 + 1,), strides=(2,), low=(1,))  # (1)-(2)
    loss = total(y * y)                   # (3)
    d_img = max_pool_gradient(2 * y, y_argmax, (3,), (H,), strides=(2,), low=(1,))  # (4)
    return loss, {"img": d_img}
