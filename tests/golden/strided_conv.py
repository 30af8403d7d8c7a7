"""Loss and gradients of conv, generated from its derivation, for cpu.

    y[b,u,v,o]     = sum_{r,s,c} img[b,2r+2u-1,2s+2v-1,c] K[r,s,c,o]                  (1)
    loss           = sum_{b,u,v,o} tanh(y[b,u,v,o])                                   (2)

    dy[b,u,v,o]    = 1 - tanh(y[b,u,v,o])^2                                           (3)   from 1
    dK[r,s,c,o]    = sum_{b,u,v} img[b,2r+2u-1,2s+2v-1,c] dy[b,u,v,o]                 (4)   from 3
    d_img[b,h,v,c] = sum_{u,v',o,r,s: 2 r + 2 u - 1 = h, 2 s + 2 v' - 1 = v} dy[b,u,v',o] K[r,s,c,o]  (5)   from 3

Facts used: none.
Kinks: none.
Emission: convolution as conv in (1): the backend's convolution; kernel-gradient as conv in (4): XLA's convolution
  over the batch, as fast as any where its own cannot be asked for; input-gradient as conv in (5): the transposed
  convolution; patches would be added up one by one.
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


def convolution(x, kernel, out, strides=None, dilation=None, low=None):
    """y[b,u,o] = sum_{r,c} x[b, S*u + D*r - P, c] kernel[r,c,o]"""
    rank = len(out)
    strides, dilation, low = strides or (1,) * rank, dilation or (1,) * rank, low or (0,) * rank
    pads = [(p, s * (u - 1) + d * (r - 1) + 1 - p - h)
            for p, s, d, u, r, h in zip(low, strides, dilation, out, kernel.shape, x.shape[1:])]
    letters = "DHW"[-rank:]
    names = (f"N{letters}C", f"{letters}IO", f"N{letters}C")
    return lax.conv_general_dilated(x, kernel, strides, pads, rhs_dilation=dilation, dimension_numbers=names)


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


@jax.jit
@shapes(img="B H V C", K="3 2 C O")
def loss_and_grads(img, K):
    """img (B, H, V, C), K (3, 2, C, O) floats of one dtype. Returns loss (), {"img", "K"}."""
    H = img.shape[1]
    V = img.shape[2]

    y = convolution(img, K, ((H - 3) // 2 + 1, (V - 1) // 2 + 1), strides=(2, 2), dilation=(2, 2), low=(1, 1))  # (1)
    loss = jnp.tanh(y).sum()              # (2)
    dy = 1 - jnp.tanh(y) * jnp.tanh(y)    # (3)
    dK = kernel_convolution(img, dy, (3, 2), strides=(2, 2), dilation=(2, 2), low=(1, 1))  # (4)
    d_img = input_gradient(dy, K, (H, V), strides=(2, 2), dilation=(2, 2), low=(1, 1))  # (5)
    return loss, {"img": d_img, "K": dK}
