"""Networks with a backward pass written by hand in NumPy, into which a named mistake can be planted.

``MODELS[name] = (derivation, gradients)``; ``gradients(mistake, **inputs)`` is right for the mistake ``""``.
"""

import functools

import numpy as np
import sympy

import derive as dv


@functools.cache
def softmax_regression():
    b, i, k = dv.indices("b i k")
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W, c = dv.tensor("W", i, k), dv.tensor("c", k)
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k])
    lse = dv.define("lse", (b,), sympy.log(dv.Sum(sympy.exp(z[b, k]), k)))
    loss = dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size)
    return dv.backprop(loss, wrt=[W, c], name="softmax_regression")


def softmax_regression_gradients(mistake, x, label, W, c):
    z = x @ W + (0 if mistake == "bias left out" else c)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    onehot = np.eye(W.shape[1], dtype=x.dtype)[label]
    dz = {
        "onehot missing": p,
        "onehot twice": p - 2 * onehot,
        "onehot added": p + onehot,
        "softmax missing": -onehot,
    }.get(mistake, p - onehot)
    dz = dz / {"1/B missing": 1, "1/K for 1/B": W.shape[1], "1/B twice": len(x) ** 2}.get(mistake, len(x))
    if mistake == "sign":
        dz = -dz
    dW, dc = x.T @ dz, dz.sum(axis=0)
    if mistake == "bias not summed":
        dc = dz
    if mistake == "bias averaged":
        dc = dz.mean(axis=0)
    if mistake == "labels shifted":
        dW = np.roll(dW, 1, axis=1)
    return {"W": dW, "c": dc}


@functools.cache
def mlp():
    b, i, h, k = dv.indices("b i h k")
    x, y = dv.tensor("x", b, i), dv.tensor("y", b, k)
    W1, c1, W2, c2 = dv.tensor("W1", i, h), dv.tensor("c1", h), dv.tensor("W2", h, k), dv.tensor("c2", k)
    a = dv.define("a", (b, h), sympy.tanh(dv.Sum(x[b, i] * W1[i, h], i) + c1[h]))
    z = dv.define("z", (b, k), dv.Sum(a[b, h] * W2[h, k], h) + c2[k])
    loss = dv.define("loss", (), dv.Sum((z[b, k] - y[b, k]) ** 2, b, k) / (b.size * k.size))
    return dv.backprop(loss, wrt=[W1, c1, W2, c2], name="mlp")


def mlp_gradients(mistake, x, y, W1, c1, W2, c2):
    a = np.tanh(x @ W1 + c1)
    z = a @ W2 + c2
    dz = 2 * (z - y) / (x.shape[0] * y.shape[1])
    if mistake == "2 missing":
        dz = dz / 2
    if mistake == "mean over the batch only":
        dz = dz * y.shape[1]
    if mistake == "target missing":
        dz = 2 * z / (x.shape[0] * y.shape[1])
    if mistake == "target added":
        dz = 2 * (z + y) / (x.shape[0] * y.shape[1])
    da = dz @ W2.T
    slope = {
        "slope missing": 1,
        "slope of a sigmoid": a * (1 - a),
        "slope not squared": 1 - a,
        "slope with a plus": 1 + a**2,
    }.get(mistake, 1 - a**2)
    din = da * slope
    if mistake == "hidden layer stopped":
        din = np.zeros_like(din)
    found = {"W1": x.T @ din, "c1": din.sum(axis=0), "W2": a.T @ dz, "c2": dz.sum(axis=0)}
    if mistake == "W1 transposed":
        found["W1"] = found["W1"].T
    if mistake == "biases swapped names":
        found["c3"] = found.pop("c2")
    if mistake == "first column zero":
        found["W2"][:, 0] = 0
    if mistake == "one sample left out":
        found["W2"] = a[1:].T @ dz[1:]
    return found


@functools.cache
def layer_norm():
    b, i = dv.indices("b i")
    x, y = dv.tensor("x", b, i), dv.tensor("y", b, i)
    gain, shift = dv.tensor("gain", i), dv.tensor("shift", i)
    mean = dv.define("mean", (b,), dv.Sum(x[b, i], i) / i.size)
    var = dv.define("var", (b,), dv.Sum((x[b, i] - mean[b]) ** 2, i) / i.size)
    std = sympy.sqrt(var[b] + sympy.Rational(1, 1000))
    out = dv.define("out", (b, i), (x[b, i] - mean[b]) / std * gain[i] + shift[i])
    loss = dv.define("loss", (), dv.Sum((out[b, i] - y[b, i]) ** 2, b, i) / b.size)
    return dv.backprop(loss, wrt=[x, gain, shift], name="layer_norm")


def layer_norm_gradients(mistake, x, y, gain, shift):
    n = x.shape[1]
    centred = x - x.mean(axis=1, keepdims=True)
    rs = 1 / np.sqrt((centred**2).mean(axis=1, keepdims=True) + np.asarray(1e-3, x.dtype))
    hat = centred * rs
    dout = 2 * (hat * gain + shift - y) / x.shape[0]
    dhat = dout * (1 if mistake == "gain missing" else gain)
    first, second = dhat.mean(axis=1, keepdims=True), hat * (dhat * hat).mean(axis=1, keepdims=True)
    if mistake == "path through the mean missing":
        first = 0
    if mistake == "path through the variance missing":
        second = 0
    if mistake == "variance path twice":
        second = 2 * second
    if mistake == "variance path added":
        second = -second
    if mistake == "both paths missing":
        first = second = 0
    if mistake == "sums for means":
        first, second = first * n, second * n
    dx = (dhat - first - second) * (1 if mistake == "1/std missing" else rs)
    dgain = (dout * (centred if mistake == "not normalised" else hat)).sum(axis=0)
    dshift = dout.sum(axis=0)
    if mistake == "gain and shift swapped":
        dgain, dshift = dshift, dgain
    if mistake == "shift averaged":
        dshift = dout.mean(axis=0)
    return {"x": dx, "gain": dgain, "shift": dshift}


@functools.cache
def embedding():
    b, t, v, e = dv.indices("b t v e")
    token, y = dv.tensor("token", b, t, dtype="int", below=v.size), dv.tensor("y", b, t, e)
    E = dv.tensor("E", v, e)
    loss = dv.define("loss", (), dv.Sum((E[token[b, t], e] - y[b, t, e]) ** 2, b, t, e) / b.size)
    return dv.backprop(loss, wrt=[E], name="embedding")


def embedding_gradients(mistake, token, y, E):
    g = 2 * (E[token] - y) / len(token)
    if mistake == "target missing":
        g = 2 * E[token] / len(token)
    if mistake == "1/B missing":
        g = g * len(token)
    if mistake == "1/T too many":
        g = g / token.shape[1]
    found = np.zeros_like(E)
    if mistake == "assigned, not added":
        found[token] = g
    elif mistake == "first position left out":
        np.add.at(found, token[:, 1:], g[:, 1:])
    else:
        np.add.at(found, token, g)
    if mistake == "tokens counted from one":
        found = np.roll(found, 1, axis=0)
    if mistake == "padding row zero":
        found[token[0, 0]] = 0
    if mistake == "sign":
        found = -found
    return {"E": found}


@functools.cache
def conv():
    b, h, w, c, k, r, s = dv.indices("b h w c k r s")
    x, K = dv.tensor("x", b, h, w, c), dv.tensor("K", r, s, c, k)
    u, v = dv.index("u", size=h.size - r.size + 1), dv.index("v", size=w.size - s.size + 1)
    y = dv.tensor("y", b, u, v, k)
    z = dv.define("z", (b, u, v, k), dv.Sum(x[b, u + r, v + s, c] * K[r, s, c, k], r, s, c))
    loss = dv.define("loss", (), dv.Sum((z[b, u, v, k] - y[b, u, v, k]) ** 2, b, u, v, k) / b.size)
    return dv.backprop(loss, wrt=[x, K], name="conv")


def conv_gradients(mistake, x, K, y):
    (R, S), (U, V) = K.shape[:2], y.shape[1:3]
    z = sum(np.einsum("buvc,ck->buvk", x[:, r : r + U, s : s + V], K[r, s]) for r in range(R) for s in range(S))
    dz = 2 * (z - y) / len(x)
    if mistake == "2 missing":
        dz = dz / 2
    if mistake == "target missing":
        dz = 2 * z / len(x)
    dK, dx = np.zeros_like(K), np.zeros_like(x)
    for r in range(R):
        for s in range(S):
            dK[r, s] = np.einsum("buvc,buvk->ck", x[:, r : r + U, s : s + V], dz)
            flipped = K[R - 1 - r, S - 1 - s] if mistake == "kernel flipped in dx" else K[r, s]
            dx[:, r : r + U, s : s + V] += np.einsum("buvk,ck->buvc", dz, flipped)
    if mistake == "dK flipped":
        dK = dK[::-1, ::-1]
    if mistake == "dK flipped in one axis":
        dK = dK[:, ::-1]
    if mistake == "channels exchanged":
        dK = dK.transpose(0, 1, 3, 2)
    if mistake == "edge rows zero":
        dx[:, -1] = 0
    if mistake == "dx one row off":
        dx = np.roll(dx, -1, axis=1)
    if mistake == "mean over positions":
        dK = dK / (U * V)
    return {"x": dx, "K": dK}


MODELS = {
    "softmax_regression": (softmax_regression, softmax_regression_gradients),
    "mlp": (mlp, mlp_gradients),
    "layer_norm": (layer_norm, layer_norm_gradients),
    "embedding": (embedding, embedding_gradients),
    "conv": (conv, conv_gradients),
}
