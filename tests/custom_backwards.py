"""Functions with ``custom_vjp`` rules as people write them, into which a named mistake can be planted.

``FUNCTIONS[name](mistake) -> (function, arguments)``; its rules are right for the mistake ``""``.
"""

import jax
import jax.numpy as jnp
import numpy as np


def normal(*shape):
    return np.random.default_rng(len(shape)).normal(size=shape).astype("f")


def rms_norm(mistake):
    def stat(x):
        return jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True) + 1e-2)

    @jax.custom_vjp
    def rms_norm(x, gain):
        ms = jnp.mean(x * x, axis=-1, keepdims=True)
        r = jax.lax.rsqrt(ms + 1e-2)
        return x * r * gain

    def fwd(x, gain):
        r = stat(x)
        return x * r * gain, (x, gain, r)

    def bwd(res, dy):
        x, gain, r = res
        if mistake == "eps left out":
            r = jax.lax.rsqrt(jnp.mean(x * x, axis=-1, keepdims=True))
        xhat = x * r
        dgain = (dy * xhat).sum(axis=0)
        dxhat = dy * gain
        axis = 0 if mistake == "mean over the batch" else -1
        dx = r * (dxhat - xhat * jnp.mean(dxhat * xhat, axis=axis, keepdims=True))
        return dx, dgain

    rms_norm.defvjp(fwd, bwd)
    return rms_norm, (normal(4, 6), normal(6))


def group_norm(mistake, G=2):
    def stats(x, ddof=0):
        n, s, c = x.shape
        xg = x.reshape(n, s, G, c // G)
        mu = xg.mean(axis=(1, 3), keepdims=True)
        var = ((xg - mu) ** 2).sum(axis=(1, 3), keepdims=True) / (s * (c // G) - ddof)
        return xg - mu, jax.lax.rsqrt(var + 1e-3)

    @jax.custom_vjp
    def group_norm(x, gain):
        n, s, c = x.shape
        xg = x.reshape(n, s, G, c // G)
        mu = xg.mean(axis=(1, 3), keepdims=True)
        xc = xg - mu
        var = (xc * xc).mean(axis=(1, 3), keepdims=True)
        xhat = xc * jax.lax.rsqrt(var + 1e-3)
        return xhat.reshape(n, s, c) * gain

    def fwd(x, gain):
        xc, r = stats(x)
        return (xc * r).reshape(x.shape) * gain, (x, gain)

    def bwd(res, dy):
        x, gain = res
        n, s, c = x.shape
        xc, r = stats(x, 1 if mistake == "ddof 1" else 0)
        xhat = xc * r
        dgain = (dy * xhat.reshape(x.shape)).sum(axis=(0, 1))
        dxhat = (dy * gain).reshape(xhat.shape)
        over = (1,) if mistake == "positions only" else (1, 3)
        m1 = dxhat.mean(axis=over, keepdims=True)
        m2 = (dxhat * xhat).mean(axis=over, keepdims=True)
        dx = r * (dxhat - m1 - xhat * m2)
        return dx.reshape(x.shape), dgain

    group_norm.defvjp(fwd, bwd)
    return group_norm, (normal(3, 5, 4), normal(4))


def rope(mistake):
    def angles(T, D):
        inv = 10000.0 ** (-jnp.arange(D // 2) / (D // 2))
        return jnp.arange(T)[:, None] * inv[None, :]

    def turned(x, sign):
        h = x.shape[-1] // 2
        a = angles(x.shape[0], x.shape[-1])
        c, s = jnp.cos(a), jnp.sin(a) * sign
        x1, x2 = x[:, :h], x[:, h:]
        return jnp.concatenate([x1 * c - x2 * s, x2 * c + x1 * s], axis=-1)

    @jax.custom_vjp
    def rope(x):
        h = x.shape[-1] // 2
        a = angles(x.shape[0], x.shape[-1])
        c, s = jnp.cos(a), jnp.sin(a)
        x1, x2 = x[:, :h], x[:, h:]
        return jnp.concatenate([x1 * c - x2 * s, x2 * c + x1 * s], axis=-1)

    def fwd(x):
        return rope(x), None

    def bwd(_, dy):
        if mistake == "turned forward":
            return (turned(dy, 1),)
        dx = turned(dy, -1)
        if mistake == "second half negated":
            h = dy.shape[-1] // 2
            dx = jnp.concatenate([dx[:, :h], -dx[:, h:]], axis=-1)
        return (dx,)

    rope.defvjp(fwd, bwd)
    return rope, (normal(5, 8),)


def causal_attention(mistake):
    def weights(q, k, masked=True):
        s = q @ k.T / jnp.sqrt(q.shape[-1])
        T = s.shape[0]
        if masked:
            s = jnp.where(jnp.tril(jnp.ones((T, T), bool)), s, -jnp.inf)
        return jax.nn.softmax(s, axis=-1)

    @jax.custom_vjp
    def attention(q, k, v):
        T, D = q.shape
        s = q @ k.T / jnp.sqrt(D)
        s = jnp.where(jnp.tril(jnp.ones((T, T), bool)), s, -jnp.inf)
        p = jax.nn.softmax(s, axis=-1)
        return p @ v

    def fwd(q, k, v):
        p = weights(q, k)
        return p @ v, (q, k, v, p)

    def bwd(res, do):
        q, k, v, p = res
        if mistake == "no mask":
            p = weights(q, k, False)
        dv = p.T @ do
        dp = do @ v.T
        delta = (dp * p).sum(axis=-1, keepdims=True)
        ds = p * dp if mistake == "row sums left out" else p * (dp - delta)
        ds = ds / jnp.sqrt(q.shape[-1])
        return ds @ k, ds.T @ q, dv

    attention.defvjp(fwd, bwd)
    return attention, (normal(5, 3), normal(5, 3) * 2, normal(5, 3) + 1)


def swiglu(mistake):
    @jax.custom_vjp
    def swiglu(x, w, v):
        a = x @ w
        u = x @ v
        return jax.nn.silu(a) * u

    def fwd(x, w, v):
        return swiglu(x, w, v), (x, w, v)

    def bwd(res, dy):
        x, w, v = res
        a, u = x @ w, x @ v
        s = jax.nn.sigmoid(a)
        du = dy * a * s
        slope = s * a * (1 - s) if mistake == "product rule cut" else s + a * s * (1 - s)
        da = dy * slope if mistake == "gate forgotten" else dy * u * slope
        return da @ w.T + du @ v.T, x.T @ da, x.T @ du

    swiglu.defvjp(fwd, bwd)
    return swiglu, (normal(4, 3), normal(3, 5), normal(3, 5) * 2)


def info_nce(mistake, tau=0.5):
    @jax.custom_vjp
    def info_nce(a, c):
        s = a @ c.T / tau
        logp = jax.nn.log_softmax(s, axis=-1)
        return -jnp.mean(jnp.diagonal(logp))

    def fwd(a, c):
        return info_nce(a, c), (a, c)

    def bwd(res, dy):
        a, c = res
        axis = 0 if mistake == "softmax over rows" else 1
        p = jax.nn.softmax(a @ c.T / tau, axis=axis)
        ds = dy * (p - jnp.eye(a.shape[0])) / a.shape[0]
        if mistake != "temperature forgotten":
            ds = ds / tau
        return ds @ c, ds.T @ a

    info_nce.defvjp(fwd, bwd)
    return info_nce, (normal(5, 3), normal(5, 3) * 2)


def depthwise(mistake, K=3):
    def conv(x, w):
        return jax.lax.conv_general_dilated(
            x, w[:, None, :], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=x.shape[-1]
        )

    @jax.custom_vjp
    def depthwise(x, w):
        return jax.lax.conv_general_dilated(
            x, w[:, None, :], (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"), feature_group_count=x.shape[-1]
        )

    def fwd(x, w):
        return conv(x, w), (x, w)

    def bwd(res, dy):
        x, w = res
        dx = conv(dy, w if mistake == "kernel not flipped" else w[::-1])
        xp = jnp.pad(x, ((0, 0), (1, 1), (0, 0)))
        late = 1 if mistake == "no padding" else 0
        if late:
            xp = jnp.pad(x, ((0, 0), (0, 2), (0, 0)))
        dw = jnp.stack([(xp[:, r : r + x.shape[1]] * dy).sum(axis=(0, 1)) for r in range(K)])
        return dx, dw

    depthwise.defvjp(fwd, bwd)
    return depthwise, (normal(2, 7, 3), normal(3, 3))


FUNCTIONS = {f.__name__: f for f in (rms_norm, group_norm, rope, causal_attention, swiglu, info_nce, depthwise)}
