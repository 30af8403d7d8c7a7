"""Programs with a backward pass written by hand, whose mistakes need the equations to be named.

``PROGRAMS[name] = (derivation, gradients)``; ``gradients(mistake, **inputs)`` is right for the mistake ``""``.
"""

import functools

import numpy as np
import sympy

import derive as dv
from derive import Sum

EPS = sympy.Rational(1, 1000)


def mean(a, axis):
    return a.mean(axis, keepdims=True)


@functools.cache
def rms_norm():
    t, f = dv.indices("t f")
    x, gain, eps = dv.tensor("x", t, f), dv.tensor("gain", f), dv.tensor("eps", facts=[dv.positive])
    ms = dv.define("ms", (t,), Sum(x[t, f] ** 2, f) / f.size + eps)
    rs = dv.define("rs", (t,), 1 / sympy.sqrt(ms[t]))
    y = dv.define("y", (t, f), x[t, f] * rs[t] * gain[f])
    return dv.vjp(y, [x, gain], cotangent="dy")


def rms_norm_gradients(mistake, x, gain, eps, dy):
    rs = 1 / np.sqrt(mean(x**2, 1) + (0 if mistake == "eps missing" else eps))
    if mistake == "eps outside the root":
        rs = 1 / (np.sqrt(mean(x**2, 1)) + eps)
    xh, dxh = x * rs, dy * gain
    axis = 0 if mistake == "mean over the rows" else 1
    return {"x": rs * (dxh - xh * mean(dxh * xh, axis)), "gain": (dy * xh).sum(0)}


@functools.cache
def group_norm():
    n, s, g, e = dv.indices("n s g e")
    c = dv.index("c", size=g.size * e.size)
    x, gain = dv.tensor("x", n, s, c), dv.tensor("gain", c)
    at = g * e.size + e
    m = dv.define("m", (n, g), Sum(x[n, s, at], s, e) / (s.size * e.size))
    v = dv.define("v", (n, g), Sum((x[n, s, at] - m[n, g]) ** 2, s, e) / (s.size * e.size))
    r = dv.define("r", (n, g), 1 / sympy.sqrt(v[n, g] + EPS))
    xh = dv.define("xh", (n, s, g, e), (x[n, s, at] - m[n, g]) * r[n, g])
    y = dv.define("y", (n, s, g, e), xh[n, s, g, e] * gain[at])
    return dv.vjp(y, [x, gain], cotangent="dy")


def group_norm_gradients(mistake, x, gain, dy):
    N, S, G, E = dy.shape
    X, dh = x.reshape(N, S, G, E), dy * gain.reshape(G, E)
    m = mean(X, (1, 3))

    def normed(ddof=0, eps=1e-3):
        r = 1 / np.sqrt(X.var((1, 3), keepdims=True, ddof=ddof) + eps)
        return r, (X - m) * r

    right = normed()
    r, xh = {"ddof": normed(1), "eps": normed(eps=1e-5)}.get(mistake, right)
    axis = 1 if mistake == "positions only" else (1, 3)
    last = X if mistake == "x for xh" else xh
    dx = r * (dh - mean(dh, axis) - last * mean(dh * xh, axis))
    if mistake == "strided channels":
        dx = dx.swapaxes(2, 3)
    return {"x": dx.reshape(x.shape), "gain": (dy * right[1]).sum((0, 1)).reshape(-1)}


@functools.cache
def attention():
    b, h, a = dv.indices("b h a")
    p, q, r = dv.indices("p q r", size="T")
    Q, K, V = dv.tensor("Q", b, p, h), dv.tensor("K", b, q, h), dv.tensor("V", b, q, a)
    s = dv.define("s", (b, p, q), Sum(Q[b, p, h] * K[b, q, h], h) / sympy.sqrt(h.size))
    lse = dv.define("lse", (b, p), sympy.log(Sum(sympy.exp(s[b, p, r]) * dv.Iverson(r <= p), r)))
    P = dv.define("P", (b, p, q), sympy.exp(s[b, p, q] - lse[b, p]) * dv.Iverson(q <= p))
    o = dv.define("o", (b, p, a), Sum(P[b, p, q] * V[b, q, a], q))
    return dv.vjp(o, [Q, K, V], cotangent="do")


def attention_gradients(mistake, Q, K, V, do):
    T = Q.shape[1]
    row, column = np.arange(T)[:, None], np.arange(T)[None]

    def probabilities(mask, axis=2):
        s = np.einsum("bph,bqh->bpq", Q, K) / np.sqrt(Q.shape[-1])
        e = np.exp(np.where(mask, s, -np.inf))
        return e / e.sum(axis, keepdims=True)

    causal, whole = column <= row, column >= 0
    mask = {"no mask": whole, "mask transposed": row <= column}.get(mistake, causal)
    P = probabilities(mask)
    dP = np.einsum("bpa,bqa->bpq", do, V)
    D = (P * dP).sum(1 if mistake == "Jacobian over queries" else 2, keepdims=True)
    if mistake == "D without mask":
        D = (probabilities(whole) * dP).sum(2, keepdims=True)
    dS = P * (dP - D) / np.sqrt((V if mistake == "scale of the values" else Q).shape[-1])
    dV = np.einsum("bpq,bpa->bqa", P, do)
    return {"Q": np.einsum("bpq,bqh->bph", dS, K), "K": np.einsum("bpq,bph->bqh", dS, Q), "V": dV}


@functools.cache
def info_nce():
    n, m, f = dv.index("n", size="N"), dv.index("m", size="N"), dv.index("f")
    a, c, tau = dv.tensor("a", n, f), dv.tensor("c", n, f), dv.tensor("tau", facts=[dv.positive])
    na = dv.define("na", (n,), sympy.sqrt(Sum(a[n, f] ** 2, f)))
    u = dv.define("u", (n, f), a[n, f] / na[n])
    s = dv.define("s", (n, m), Sum(u[n, f] * c[m, f], f) / tau[()])
    lse = dv.define("lse", (n,), sympy.log(Sum(sympy.exp(s[n, m]), m)))
    return dv.backprop(dv.define("loss", (), Sum(lse[n] - s[n, n], n) / n.size), wrt=[a, c, tau])


def info_nce_gradients(mistake, a, c, tau):
    na = np.linalg.norm(a, axis=1, keepdims=True)
    u = a / na
    S = u @ c.T / tau
    P = np.exp(S) / np.exp(S).sum(0 if mistake == "softmax over rows" else 1, keepdims=True)
    G = (P - np.eye(len(a))) / len(a)
    scale = 1 if mistake == "temperature missing" else tau
    du, dc = G @ c / scale, (G if mistake == "G for G'" else G.T) @ u / scale
    da = (du - u * (u * du).sum(1, keepdims=True)) / (na + (1e-6 if mistake == "norm + eps" else 0))
    return {"a": da, "c": dc, "tau": -(G * S).sum() / tau}


@functools.cache
def depthwise():
    b, t, c, r = dv.indices("b t c r")
    x, K = dv.tensor("x", b, t, c), dv.tensor("K", r, c)
    y = dv.define("y", (b, t, c), Sum(x[b, t - 2 * r, c] * K[r, c], r))
    return dv.vjp(y, [x, K], cotangent="dy")


def depthwise_gradients(mistake, x, K, dy):
    T, dx, dK = x.shape[1], np.zeros_like(x), np.zeros_like(K)
    step, off = {"dilation 1": 1, "dilation 3": 3}.get(mistake, 2), 1 if mistake == "one late" else 0
    for r in range(len(K)):
        for t in range(T):
            source = t - step * r - off
            if mistake == "wrapped":
                source %= T
            if 0 <= source < T:
                dx[:, source] += dy[:, t] * K[r]
                dK[r] += (x[:, source] * dy[:, t]).sum(0)
    return {"x": dx, "K": dK}


@functools.cache
def rotary():
    b, t = dv.indices("b t")
    M = dv.size("M")
    c = dv.index("c", size=2 * M)
    x, cos, sin = dv.tensor("x", b, t, c), dv.tensor("cos", t, c), dv.tensor("sin", t, c)
    turned = sympy.Piecewise((-x[b, t, c + M], c < M), (x[b, t, c - M], True))
    y = dv.define("y", (b, t, c), x[b, t, c] * cos[t, c] + turned * sin[t, c])
    return dv.vjp(y, [x], cotangent="dy")


def rotary_gradients(mistake, x, cos, sin, dy):
    m = x.shape[-1] // 2

    def turned(a):
        return np.concatenate([a[..., m:], -a[..., :m]], -1)

    if mistake == "position rolled":
        cos, sin = np.roll(cos, 1, 0), np.roll(sin, 1, 0)
    if mistake == "turned before":
        return {"x": dy * cos + turned(dy) * sin}
    if mistake == "interleaved":
        ds, out = dy * sin, np.empty_like(x)
        out[..., 0::2], out[..., 1::2] = ds[..., 1::2], -ds[..., 0::2]
        return {"x": dy * cos + out}
    return {"x": dy * cos + turned(dy * sin)}


@functools.cache
def triplet():
    b, f = dv.indices("b f")
    a, p, n = dv.tensor("a", b, f), dv.tensor("p", b, f), dv.tensor("n", b, f)
    near = dv.define("near", (b,), Sum((a[b, f] - p[b, f]) ** 2, f))
    far = dv.define("far", (b,), Sum((a[b, f] - n[b, f]) ** 2, f))
    return dv.backprop(dv.define("loss", (), Sum(dv.relu(near[b] - far[b] + 1), b) / b.size), [a, p, n])


def triplet_gradients(mistake, a, p, n):
    margin = 0 if mistake == "no margin" else 1
    gap = ((a - p) ** 2).sum(1) - ((a - n) ** 2).sum(1) + margin
    on = np.ones((len(a), 1)) if mistake == "all active" else (gap > 0)[:, None]
    count = max(on.sum(), 1) if mistake == "mean over active" else len(a)
    return {"a": 2 * (n - p) * on / count, "p": -2 * (a - p) * on / count, "n": 2 * (a - n) * on / count}


@functools.cache
def experts():
    b, i, j = dv.indices("b i j")
    e, k = dv.indices("e k", size="E")
    x, G, W = dv.tensor("x", b, i), dv.tensor("G", i, e), dv.tensor("W", e, i, j)
    z = dv.define("z", (b, e), Sum(x[b, i] * G[i, e], i))
    P = dv.define("P", (b, e), sympy.exp(z[b, e]) / Sum(sympy.exp(z[b, k]), k))
    y = dv.define("y", (b, j), Sum(P[b, e] * x[b, i] * W[e, i, j], e, i))
    return dv.vjp(y, [G, W], cotangent="dy")


def experts_gradients(mistake, x, G, W, dy):
    z = x @ G
    P = np.exp(z) / np.exp(z).sum(1, keepdims=True)
    dP = np.einsum("bj,bi,eij->be", dy, x, W)
    dz = P * (1 - P) * dP if mistake == "diagonal only" else P * (dP - (P * dP).sum(1, keepdims=True))
    return {"G": x.T @ dz, "W": np.einsum("be,bi,bj->eij", P, x, dy)}


@functools.cache
def gated():
    b, i, j = dv.indices("b i j")
    x, W, V = dv.tensor("x", b, i), dv.tensor("W", i, j), dv.tensor("V", i, j)
    a = dv.define("a", (b, j), Sum(x[b, i] * W[i, j], i))
    g = dv.define("g", (b, j), Sum(x[b, i] * V[i, j], i))
    s = dv.define("s", (b, j), dv.sigmoid(a[b, j]))
    y = dv.define("y", (b, j), a[b, j] * s[b, j] * g[b, j])
    return dv.vjp(y, [x, W, V], cotangent="dy")


def gated_gradients(mistake, x, W, V, dy):
    a, g = x @ W, x @ V
    s = 1 / (1 + np.exp(-a))
    slope = {"s + a s": s + a * s, "s (1 - s)": s * (1 - s)}.get(mistake, s * (1 + a * (1 - s)))
    da, dg = dy * g * slope, dy * a * s
    first, second = (V, W) if mistake == "weights swapped" else (W, V)
    return {"x": da @ first.T + dg @ second.T, "W": x.T @ da, "V": x.T @ dg}


@functools.cache
def focal():
    b = dv.index("b")
    z, y = dv.tensor("z", b), dv.tensor("y", b)
    p = dv.define("p", (b,), dv.sigmoid(z[b]))
    pt = dv.define("pt", (b,), y[b] * p[b] + (1 - y[b]) * (1 - p[b]))
    return dv.backprop(dv.define("loss", (), Sum(-((1 - pt[b]) ** 2) * sympy.log(pt[b]), b) / b.size), wrt=[z])


def focal_gradients(mistake, z, y):
    p, power = 1 / (1 + np.exp(-z)), {"gamma 1": 1, "gamma 4": 4}.get(mistake, 2)
    pt = y * p + (1 - y) * (1 - p)
    dpt = -((1 - pt) ** power / pt - power * (1 - pt) ** (power - 1) * np.log(pt))
    return {"z": dpt * (2 * y - 1) * p * (1 - p) / len(z)}


@functools.cache
def heads():
    b, t, g, e, f = dv.indices("b t g e f")
    c = dv.index("c", size=g.size * e.size)
    x, W = dv.tensor("x", b, t, c), dv.tensor("W", e, f)
    y = dv.define("y", (b, g, t, f), Sum(x[b, t, g * e.size + e] * W[e, f], e))
    return dv.vjp(y, [x, W], cotangent="dy")


def heads_gradients(mistake, x, W, dy):
    B, T, _ = x.shape
    G, E = dy.shape[1], len(W)
    swapped = mistake == "heads last"
    X = x.reshape(B, T, E, G).swapaxes(2, 3) if swapped else x.reshape(B, T, G, E)
    dX = np.einsum("bgtf,ef->btge", dy, W)
    dx = (dX.swapaxes(2, 3) if swapped else dX).reshape(x.shape)
    if mistake == "reversed":
        dx = dx[:, ::-1]
    if mistake == "permuted":
        dx = dx[:, :, np.random.default_rng(0).permutation(x.shape[2])]
    if mistake == "root of a ratio":
        dx = dx * np.sqrt(E / W.shape[1])
    return {"x": dx, "W": np.einsum("btge,bgtf->ef", X, dy)}


@functools.cache
def cross_entropy():
    b, i, k = dv.indices("b i k")
    x, W, y = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("y", b, k)
    tau = dv.tensor("tau", facts=[dv.positive])
    z = dv.define("z", (b, k), Sum(x[b, i] * W[i, k], i) / tau[()])
    lse = dv.define("lse", (b,), sympy.log(Sum(sympy.exp(z[b, k]), k)))
    return dv.backprop(dv.define("loss", (), Sum((lse[b] - z[b, k]) * y[b, k], b, k) / b.size), [W])


def cross_entropy_gradients(mistake, x, W, y, tau):
    power = {"tau squared": 2, "root of tau": 0.5}.get(mistake, 1)
    z = x @ W / tau**power
    p = np.exp(z) / np.exp(z).sum(0 if mistake == "softmax over the batch" else 1, keepdims=True)
    rows = 1 if mistake == "rows of y sum to 1" else y.sum(1, keepdims=True)
    return {"W": x.T @ (p * rows - y) / len(x) / tau ** (0 if mistake == "1/tau missing" else power)}


@functools.cache
def huber():
    b = dv.index("b")
    z, y = dv.tensor("z", b), dv.tensor("y", b)
    r, d = z[b] - y[b], sympy.Rational(3, 4)
    body = sympy.Piecewise((r**2 / 2, sympy.Abs(r) <= d), (d * (sympy.Abs(r) - d / 2), True))
    return dv.backprop(dv.define("loss", (), Sum(body, b) / b.size), [z])


def huber_gradients(mistake, z, y):
    d = {"delta 1": 1.0, "delta 1/2": 0.5}.get(mistake, 0.75)
    return {"z": np.clip(z - y, -d, d) / len(z)}


@functools.cache
def leaky():
    b, c = dv.indices("b c")
    x = dv.tensor("x", b, c)
    y = dv.define("y", (b, c), sympy.Piecewise((x[b, c], x[b, c] > 0), (x[b, c] / 10, True)))
    return dv.vjp(y, [x], cotangent="dy")


def leaky_gradients(mistake, x, dy):
    return {"x": dy * np.where(x > 0, 1, {"slope 0.01": 0.01, "no slope": 0}.get(mistake, 0.1))}


@functools.cache
def hinge():
    b = dv.index("b")
    z, y = dv.tensor("z", b), dv.tensor("y", b)
    return dv.backprop(dv.define("loss", (), Sum(dv.relu(1 - y[b] * z[b]), b) / b.size), [z])


def hinge_gradients(mistake, z, y):
    margin = {"margin 2": 2, "margin 1/2": 0.5}.get(mistake, 1)
    return {"z": -y * (margin - y * z > 0) / len(z)}


@functools.cache
def recurrent():
    t, b, i, h = dv.indices("t b i h")
    m = dv.index("m", size=h.size)
    x, U, V = dv.tensor("x", t, b, i), dv.tensor("U", i, h), dv.tensor("V", m, h)
    state = dv.define(
        "s", (t, b, h), lambda s: sympy.tanh(Sum(x[t, b, i] * U[i, h], i) + Sum(s[t - 1, b, m] * V[m, h], m))
    )
    return dv.backprop(dv.define("loss", (), Sum(state[t, b, h] ** 2, t, b, h) / b.size), [U, V])


def recurrent_gradients(mistake, x, U, V):
    T, B, _ = x.shape
    states, dU, dV, later = [np.zeros((B, len(V)))], np.zeros_like(U), np.zeros_like(V), 0
    for t in range(T):
        states.append(np.tanh(x[t] @ U + states[-1] @ V))
    for t in range(T)[::-1]:
        da = (2 * states[t + 1] / B + later) * (1 - states[t + 1] ** 2)
        dU, dV = dU + x[t].T @ da, dV + states[t + 1 if mistake == "state after the step" else t].T @ da
        later = 0 if mistake == "time not followed" else da @ (V if mistake == "V for V'" else V.T)
    return {"U": dU, "V": dV}


@functools.cache
def image():
    b, c, f = dv.indices("b c f")
    u, v, r, s = dv.index("u", size="H"), dv.index("v", size="W"), dv.index("r"), dv.index("s")
    x, K = dv.tensor("x", b, u, v, c), dv.tensor("K", r, s, c, f)
    y = dv.define("y", (b, u, v, f), Sum(x[b, u + r - 1, v + s - 1, c] * K[r, s, c, f], r, s, c))
    return dv.vjp(y, [x, K], cotangent="dy")


def image_gradients(mistake, x, K, dy):
    B, H, W, C = x.shape
    dx, dK, step = np.zeros_like(x), np.zeros_like(K), 2 if mistake == "dilated" else 1
    pad = 0 if mistake == "no padding" else 1
    for r, s, u, v in np.ndindex(*K.shape[:2], H, W):
        p, q = u + step * r - pad, v + step * s - pad
        if mistake == "wrapped":
            p, q = p % H, q % W
        if 0 <= p < H and 0 <= q < W:
            dx[:, p, q] += dy[:, u, v] @ K[r, s].T
            dK[r, s] += x[:, p, q].T @ dy[:, u, v]
    return {"x": dx, "K": dK}


@functools.cache
def gates():
    b, i, h = dv.indices("b i h")
    x, U, A, old = dv.tensor("x", b, i), dv.tensor("U", i, h), dv.tensor("A", i, h), dv.tensor("old", b, h)
    z = dv.define("z", (b, h), dv.sigmoid(Sum(x[b, i] * U[i, h], i)))
    n = dv.define("n", (b, h), sympy.tanh(Sum(x[b, i] * A[i, h], i)))
    new = dv.define("new", (b, h), (1 - z[b, h]) * n[b, h] + z[b, h] * old[b, h])
    return dv.vjp(new, [U, A, old], cotangent="do")


def gates_gradients(mistake, x, U, A, old, do):
    z, n = 1 / (1 + np.exp(-x @ U)), np.tanh(x @ A)
    kept = 1 - z if mistake == "gates exchanged" else z
    dz = do * (old - n) * (1 - z**2 if mistake == "slope of a tanh" else z * (1 - z))
    dn = do * (1 - kept) * (n * (1 - n) if mistake == "slope of a sigmoid" else 1 - n**2)
    return {"U": x.T @ dz, "A": x.T @ dn, "old": do * kept}


@functools.cache
def dice():
    b = dv.index("b")
    p, t = dv.tensor("p", b, facts=[dv.positive]), dv.tensor("t", b, facts=[dv.positive])
    top = dv.define("top", (), 2 * Sum(p[b] * t[b], b) + 1)
    bottom = dv.define("bottom", (), Sum(p[b] ** 2 + t[b] ** 2, b) + 1)
    return dv.backprop(dv.define("loss", (), 1 - top[()] / bottom[()]), [p])


def dice_gradients(mistake, p, t):
    smooth, k = {"smoothing 1e-5": 1e-5}.get(mistake, 1), 1 if mistake == "not squared" else 2
    top, bottom = 2 * (p * t).sum() + smooth, (p**k + t**k).sum() + smooth
    return {"p": -2 * t / bottom + top * k * p ** (k - 1) / bottom**2}


@functools.cache
def windowed():
    b = dv.index("b")
    p, q = dv.indices("p q", size="T")
    s, v = dv.tensor("s", b, p, q), dv.tensor("v", b, q)
    near = dv.define("near", (b, p, q), s[b, p, q] ** 2 * dv.Iverson(q <= p) * dv.Iverson(p < q + 3))
    return dv.vjp(dv.define("o", (b, p), Sum(near[b, p, q] * v[b, q], q)), [s, v], cotangent="do")


def windowed_gradients(mistake, s, v, do):
    p, q = np.arange(s.shape[1])[:, None], np.arange(s.shape[1])[None]
    on = (q <= p) & (p < q + {"no window": len(p), "one more": 4, "one less": 2}.get(mistake, 3))
    return {"s": 2 * s * on * do[:, :, None] * v[:, None], "v": np.einsum("bp,bpq->bq", do, s**2 * on)}


PROGRAMS = {
    f.__name__: (f, globals()[f"{f.__name__}_gradients"])
    for f in (
        rms_norm,
        group_norm,
        attention,
        info_nce,
        depthwise,
        rotary,
        triplet,
        experts,
        gated,
        focal,
        heads,
        cross_entropy,
        huber,
        leaky,
        hinge,
        recurrent,
        image,
        gates,
        dice,
        windowed,
    )
}
