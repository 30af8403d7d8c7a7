"""Derivations written by hand, textbook backward pass included, to test the exact check without the engine."""

import sympy
from sympy import Eq, Piecewise, exp, log, sqrt, tanh

import derive as dv
from derive.derivation.derivation import Derivation
from derive.program.ingest import ingest


def by_hand(loss, gradients, seed=None):
    """A Derivation without steps: ``gradients`` maps each tensor to the defined tensor claimed to be its gradient."""
    source, program = ingest([loss]), ingest([loss, *gradients.values()])
    results = (("loss", loss), ("grads", {t.name: g for t, g in gradients.items()}))
    return Derivation(
        "vjp" if seed is not None else "backprop", "by_hand", source, program, tuple(gradients), results, seed=seed
    )


def softmax_regression(sign=1, factor=1, onehot=1, shift=0):
    """(p - onehot)/B, with the usual ways to get it wrong as arguments."""
    b, i, k = dv.indices("b i k")
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W, c = dv.tensor("W", i, k), dv.tensor("c", k)
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k])
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    loss = dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size)
    p = exp(z[b, k] - lse[b])
    dz = dv.define("dz", (b, k), sign * (p - onehot * dv.Iverson(Eq(k, label[b]))) * factor / b.size)
    dW = dv.define("dW", (i, k), dv.Sum(x[b, i + shift] * dz[b, k], b))
    dc = dv.define("dc", (k,), dv.Sum(dz[b, k], b))
    return by_hand(loss, {W: dW, c: dc})


def convolution(divisible=True, padding=1):
    """A strided, padded convolution in one dimension; dx keeps the divisibility row ``2*u + r - 1 == h``."""
    n, c, f = dv.indices("n c f")
    r, h = dv.index("r", size=3), dv.index("h")
    u = dv.index("u", size=(h.size + 2 - 3) // 2 + 1)
    x, K, w = dv.tensor("x", n, h, c), dv.tensor("K", r, c, f), dv.tensor("w", n, u, f)
    y = dv.define("y", (n, u, f), dv.Sum(x[n, 2 * u + r - 1, c] * K[r, c, f], r, c))
    loss = dv.define("loss", (), dv.Sum(y[n, u, f] * w[n, u, f], n, u, f))
    dK = dv.define("dK", (r, c, f), dv.Sum(x[n, 2 * u + r - padding, c] * w[n, u, f], n, u))
    row = Eq(2 * u + r - padding, h) if divisible else (2 * u + r - padding <= h)
    dx = dv.define("dx", (n, h, c), dv.Sum(w[n, u, f] * K[r, c, f] * dv.Iverson(row), u, r, f))
    return by_hand(loss, {x: dx, K: dK})


def max_pool(everywhere=False):
    """Overlapping windows; the gradient goes to the first maximiser (or, wrongly, to every position of the window)."""
    n, h, r = dv.index("n"), dv.index("h"), dv.index("r", size=3)
    u = dv.index("u", size=(h.size - 3) // 2 + 1)
    x, w = dv.tensor("x", n, h), dv.tensor("w", n, u)
    y = dv.define("y", (n, u), dv.Max(dv.relu(x[n, 2 * u + r]), r))  # relu makes ties
    at = dv.define("at", (n, u), dv.argmax(dv.relu(x[n, 2 * u + r]), r))
    loss = dv.define("loss", (), dv.Sum(y[n, u] * w[n, u], n, u))
    where = dv.Iverson(Eq(2 * u + r, h)) if everywhere else dv.Iverson(Eq(2 * u + at[n, u], h)) * dv.Iverson(Eq(r, 0))
    dx = dv.define("dx", (n, h), dv.Sum(w[n, u] * dv.Iverson(x[n, h] > 0) * where, u, r))
    return by_hand(loss, {x: dx})


def recurrent(later=1):
    """A tanh recurrence with an initial state; the adjoint is read one step later."""
    t, b, l = dv.indices("t b l")
    m = dv.index("m", size="L")
    x, U, h0 = dv.tensor("x", t, b, l), dv.tensor("U", l, m), dv.tensor("h0", b, l)
    h = dv.define(
        "h",
        (t, b, l),
        lambda h: tanh(x[t, b, l] + dv.Sum(Piecewise((h0[b, m], Eq(t, 0)), (h[t - 1, b, m], True)) * U[m, l], m)),
    )
    loss = dv.define("loss", (), dv.Sum(h[t, b, l] ** 2, t, b, l))
    dh = dv.define(
        "dh",
        (t, b, l),
        lambda dh: 2 * h[t, b, l] + dv.Sum(dh[t + later, b, m] * (1 - h[t + 1, b, m] ** 2) * U[l, m], m),
    )
    dU = dv.define(
        "dU",
        (l, m),
        dv.Sum(dh[t, b, m] * (1 - h[t, b, m] ** 2) * Piecewise((h0[b, l], Eq(t, 0)), (h[t - 1, b, l], True)), t, b),
    )
    dh0 = dv.define("dh0", (b, l), dv.Sum(dh[0, b, m] * (1 - h[0, b, m] ** 2) * U[l, m], m))
    return by_hand(loss, {U: dU, h0: dh0})


def layer_norm(whole=True):
    """The x-hat form; without ``whole`` the term with the mean of dy*xhat is forgotten."""
    b, i = dv.indices("b i")
    j = dv.index("j", size="I")
    x, w = dv.tensor("x", b, i), dv.tensor("w", b, i)
    mean = dv.define("mean", (b,), dv.Sum(x[b, i], i) / i.size)
    var = dv.define("var", (b,), dv.Sum((x[b, i] - mean[b]) ** 2, i) / i.size)
    rs = dv.define("rs", (b,), 1 / sqrt(var[b] + sympy.Rational(1, 1000)))
    y = dv.define("y", (b, i), (x[b, i] - mean[b]) * rs[b])
    loss = dv.define("loss", (), dv.Sum(w[b, i] * y[b, i], b, i))
    a = dv.define("a", (b,), dv.Sum(w[b, j], j) / i.size)
    e = dv.define("e", (b,), dv.Sum(w[b, j] * y[b, j], j) / i.size)
    dx = dv.define("dx", (b, i), rs[b] * (w[b, i] - a[b] - (y[b, i] * e[b] if whole else 0)))
    return by_hand(loss, {x: dx})


def bilinear(transposed=False):
    """x' A x with a square A."""
    p, q = dv.indices("p q", size="N")
    A, x, y = dv.tensor("A", p, q), dv.tensor("x", p), dv.tensor("y", p)
    loss = dv.define("loss", (), dv.Sum(x[p] * A[p, q] * y[q], p, q))
    dA = dv.define("dA", (p, q), x[q] * y[p] if transposed else x[p] * y[q])
    return by_hand(loss, {A: dA})
