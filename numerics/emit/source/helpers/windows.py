"""Windows over images: convolutions, their gradients, and max pools.

Images are (batch, positions ..., channels), kernels (taps ..., channels in, channels out).  Along each axis a window of
``R`` taps meets positions ``m = S*u + D*r - P``: strides S, dilations D, P positions of padding before the first; what
lies outside is zero.  ``low`` is P.  Every function is one equation; none knows about derivatives of another.
"""

# ruff: noqa: B905  positions are the first of an array's axes: zip stops at the shorter on purpose
import functools
from itertools import product

import jax.numpy as jnp
from jax import lax


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


def convolution(x, kernel, out, strides=None, dilation=None, low=None):
    """y[b,u,o] = sum_{r,c} x[b, S*u + D*r - P, c] kernel[r,c,o]"""
    rank = len(out)
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    pads = [(p, s * (u - 1) + d * (r - 1) + 1 - p - h)
            for p, s, d, u, r, h in zip(low, strides, dilation, out, kernel.shape, x.shape[1:])]
    letters = "DHW"[-rank:]
    names = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(x, kernel, strides, pads, rhs_dilation=dilation, dimension_numbers=names)


def row_taps(x, window, out, strides, dilation, low, loop=1):
    """The taps of the first ``loop`` axes one by one; what the window meets along the others is in the channels."""
    if loop < len(window):
        inner = taps(x, window[loop:], out[loop:], strides[loop:], dilation[loop:], low[loop:], 1 + loop)
        x = jnp.concatenate(list(inner.values()), axis=-1)
    rows = taps(x, window[:loop], out[:loop], strides[:loop], dilation[:loop], low[:loop])
    return [a.reshape(-1, a.shape[-1]) for a in rows.values()]


def convolution_by_rows(x, kernel, out, strides=None, dilation=None, low=None):
    """y[b,u,o] = sum_{r,c} x[b, S*u + D*r - P, c] kernel[r,c,o]: a matrix product for each row of taps"""
    rank, window = len(out), kernel.shape[:len(out)]
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    rows = row_taps(x, window, out, strides, dilation, low)
    blocks = kernel.reshape(window[0], -1, kernel.shape[-1])
    return sum(a @ block for a, block in zip(rows, blocks)).reshape(len(x), *out, -1)


def input_gradient(g, kernel, shape, strides=None, dilation=None, low=None):
    """dx[b,m,c] = sum_{u,r,o: S*u + D*r - P = m} g[b,u,o] kernel[r,c,o]: the transposed convolution, kernel flipped"""
    rank = len(shape)
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    pads = [(d * (r - 1) - p, h - 1 + p - s * (u - 1))
            for p, s, d, u, r, h in zip(low, strides, dilation, g.shape[1:], kernel.shape, shape)]
    if min(map(min, pads)) < 0:  # cut off here: at a negative padding XLA on CPUs may read beyond the array
        g = lax.pad(g, jnp.zeros((), g.dtype), [(0, 0, 0), *((0, 0, s - 1) for s in strides), (0, 0, 0)])
        g = g[(slice(None), *(slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pads, g.shape[1:])))]
        pads, strides = [(max(a, 0), max(b, 0)) for a, b in pads], (1,) * rank
    letters = "DHW"[-rank:]
    names = (f"N{letters}C", f"{letters}OI", f"N{letters}C")
    return lax.conv_general_dilated(g, jnp.flip(kernel, range(rank)), (1,) * rank, pads, lhs_dilation=strides,
                                    rhs_dilation=dilation, dimension_numbers=names)


def kernel_convolution(x, g, window, strides=None, dilation=None, low=None):
    """d_kernel[r,c,o] = sum_{b,u} x[b, S*u + D*r - P, c] g[b,u,o], as a convolution over the batch."""
    rank = len(window)
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    pads = [(p, s * (u - 1) + d * (r - 1) + 1 - p - h)
            for p, s, d, u, r, h in zip(low, strides, dilation, g.shape[1:], window, x.shape[1:])]
    letters = "DHW"[-rank:]
    names = (f"C{letters}N", f"I{letters}O", f"{letters}NC")
    return lax.conv_general_dilated(x, g, dilation, pads, rhs_dilation=strides, dimension_numbers=names)


def kernel_gradient(x, g, window, strides=None, dilation=None, low=None, loop=1):
    """d_kernel[r,c,o] = sum_{b,u} x[b, S*u + D*r - P, c] g[b,u,o]: a matrix product for each tap of ``loop`` axes."""
    rank, out = len(window), g.shape[1:-1]
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    right = g.reshape(-1, g.shape[-1])
    blocks = [a.T @ right for a in row_taps(x, window, out, strides, dilation, low, loop)]
    return jnp.stack(blocks).reshape(*window, -1, g.shape[-1])


def kernel_gradient_by_blocks(x, g, window, strides=None, dilation=None, low=None, block=8):
    """d_kernel[r,c,o] = sum_{b,u} x[b, S*u + D*r - P, c] g[b,u,o]: the patches of 8 images stay in the cache"""
    def add(sums, pair):
        x, g = pair
        met = patches(x, window, g.shape[1:-1], strides, dilation, low)
        return sums + met.T @ g.reshape(-1, g.shape[-1]), None
    size = functools.reduce(lambda a, b: a * b, window) * x.shape[-1]
    whole = len(x) - len(x) % block
    blocks = tuple(a[:whole].reshape(-1, block, *a.shape[1:]) for a in (x, g))
    sums, _ = lax.scan(add, jnp.zeros((size, g.shape[-1]), x.dtype), blocks)
    return add(sums, (x[whole:], g[whole:]))[0].reshape(*window, -1, g.shape[-1])


def tiles(x, window):
    """(B*U, R*C): what each of the windows side by side meets, in a row; every element is met once."""
    rank, (b, *shape, c) = len(window), x.shape
    split = x.reshape(b, *(n for h, r in zip(shape, window) for n in (h // r, r)), c)
    turned = split.transpose(0, *range(1, 2 * rank, 2), *range(2, 2 * rank + 1, 2), 2 * rank + 1)
    for r in window:
        c = c * r
    return turned.reshape(-1, c)


def from_tiles(rows, shape, window):
    """The images of which :func:`tiles` makes these rows."""
    rank, out, c = len(window), [h // r for h, r in zip(shape, window)], rows.shape[1]
    for r in window:
        c = c // r
    turned = rows.reshape(-1, *out, *window, c)
    split = turned.transpose(0, *(n for k in range(rank) for n in (1 + k, 1 + rank + k)), 1 + 2 * rank)
    return split.reshape(-1, *shape, c)


def patches(x, window, out, strides=None, dilation=None, low=None):
    """(B*U, R*C): all that the window meets at one position in a row, so that the convolution is a matrix product."""
    met = jnp.concatenate(list(taps(x, window, out, strides, dilation, low).values()), axis=-1)
    return met.reshape(-1, met.shape[-1])


def total(a):
    """The sum of all elements: each column by a vector-matrix product, then what is left."""
    rows = a.reshape(-1, a.shape[-1])
    return (jnp.ones(len(rows), a.dtype) @ rows).sum()


def depthwise(x, kernel, out, strides=None, dilation=None, low=None):
    """y[b,u,c] = sum_r x[b, S*u + D*r - P, c] kernel[r,c]: shifted multiply-adds"""
    met = taps(x, kernel.shape[:len(out)], out, strides, dilation, low)
    return sum(a * kernel[tap] for tap, a in met.items())


def depthwise_input_gradient(g, kernel, shape, strides=None, dilation=None, low=None):
    """dx[b,m,c] = sum_{u,r: S*u + D*r - P = m} g[b,u,c] kernel[r,c]"""
    return spread(lambda tap, g: g * kernel[tap], (g,), kernel.shape[:len(shape)], shape, strides, dilation, low)


def depthwise_kernel_gradient(x, g, window, strides=None, dilation=None, low=None):
    """d_kernel[r,c] = sum_{b,u} x[b, S*u + D*r - P, c] g[b,u,c], example by example: one image stays in the cache"""
    out, channels = g.shape[1:-1], g.shape[-1]
    ones = jnp.ones(g[0, ..., 0].size, x.dtype)  # sums over positions as vector-matrix products

    def add(total, pair):
        met = taps(pair[0], window, out, strides, dilation, low, axis=0)
        return total + jnp.stack([ones @ (a * pair[1]).reshape(-1, channels) for a in met.values()]), None
    count = len(list(product(*map(range, window))))
    return lax.scan(add, jnp.zeros((count, x.shape[-1]), x.dtype), (x, g))[0].reshape(*window, -1)


def by_group(function, a, b, *geometry, **more):
    """``function`` for each group, on the last axis but one of all arrays."""
    parts = [function(a[..., i, :], b[..., i, :], *geometry, **more) for i in range(a.shape[-2])]
    return jnp.stack(parts, axis=-2)


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
