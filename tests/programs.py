"""Programs outside any catalogue, and every layer family written from its forward definition, for tests to derive.

``CASES`` maps a name to a function that returns a derivation; nothing here knows a backward rule.
"""

from __future__ import annotations

import sympy
from sympy import Abs, Eq, Piecewise, exp, log, sqrt, tanh

import derive as dv

b, i, j, k, l, m, t, q, p = dv.indices("b i j k l m t q p")
CASES = {}


def case(make):
    CASES[make.__name__] = make
    return make


@case
def softmax_regression():
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W, c = dv.tensor("W", i, k), dv.tensor("c", k)
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k])
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    loss = dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size)
    return dv.backprop(loss, wrt=[W, c])


def mlp(depth):
    x = dv.tensor("x", b, dv.index("i0"))
    h, wrt = x, []
    for n in range(1, depth + 1):
        a, o = dv.index(f"i{n - 1}"), dv.index(f"i{n}")
        W, c = dv.tensor(f"W{n}", a, o), dv.tensor(f"b{n}", o)
        wrt += [W, c]
        z = dv.define(f"z{n}", (b, o), dv.Sum(h[b, a] * W[a, o], a) + c[o])
        h = dv.define(f"h{n}", (b, o), dv.relu(z[b, o])) if n < depth else z
    label = dv.tensor("label", b, dtype="int", below=o.size)
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, o]), o)))
    return dv.backprop(dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size), wrt)


@case
def mlp3():
    return mlp(3)


@case
def nested_mlp():
    x, W, V, c = dv.tensor("x", b, i), dv.tensor("W", i, l), dv.tensor("V", l, k), dv.tensor("c", l)
    y = dv.tensor("y", b, k)
    hidden = tanh(dv.Sum(x[b, i] * W[i, l], i) + c[l])
    loss = dv.define("loss", (), dv.Sum((dv.Sum(hidden * V[l, k], l) - y[b, k]) ** 2, b, k) / b.size)
    return dv.backprop(loss, [W, V, c])


@case
def layer_norm():
    x, w = dv.tensor("x", b, i), dv.tensor("w", b, i)
    gamma, beta = dv.tensor("gamma", i), dv.tensor("beta", i)
    mean = dv.define("mean", (b,), dv.Sum(x[b, i], i) / i.size)
    var = dv.define("var", (b,), dv.Sum((x[b, i] - mean[b]) ** 2, i) / i.size)
    y = dv.define("y", (b, i), gamma[i] * (x[b, i] - mean[b]) / sqrt(var[b] + 1e-5) + beta[i])
    return dv.backprop(dv.define("loss", (), dv.Sum(y[b, i] * w[b, i], b, i)), [x, gamma, beta])


@case
def layer_norm_named():
    x, w = dv.tensor("x", b, i), dv.tensor("w", b, i)
    mean = dv.define("mean", (b,), dv.Sum(x[b, i], i) / i.size)
    var = dv.define("var", (b,), dv.Sum((x[b, i] - mean[b]) ** 2, i) / i.size)
    rs = dv.define("rs", (b,), 1 / sqrt(var[b] + 1e-5))
    xh = dv.define("xh", (b, i), (x[b, i] - mean[b]) * rs[b])
    return dv.backprop(dv.define("loss", (), dv.Sum(xh[b, i] * w[b, i], b, i)), [x])


@case
def batch_norm():
    x, w, gamma = dv.tensor("x", b, i), dv.tensor("w", b, i), dv.tensor("gamma", i)
    mean = dv.define("mean", (i,), dv.Sum(x[b, i], b) / b.size)
    var = dv.define("var", (i,), dv.Sum((x[b, i] - mean[i]) ** 2, b) / b.size)
    y = dv.define("y", (b, i), gamma[i] * (x[b, i] - mean[i]) / sqrt(var[i] + 1e-5))
    return dv.backprop(dv.define("loss", (), dv.Sum(y[b, i] ** 3 * w[b, i], b, i)), [x, gamma])


@case
def tanh_rnn():
    m = dv.index("m", l.size)
    x, U, W = dv.tensor("x", t, b, i), dv.tensor("U", i, l), dv.tensor("W", m, l)
    h0, c = dv.tensor("h0", b, l), dv.tensor("c", l)
    h = dv.define(
        "h",
        (t, b, l),
        lambda h: tanh(
            dv.Sum(x[t, b, i] * U[i, l], i)
            + dv.Sum(Piecewise((h0[b, m], Eq(t, 0)), (h[t - 1, b, m], True)) * W[m, l], m)
            + c[l]
        ),
    )
    return dv.backprop(dv.define("loss", (), dv.Sum(h[t, b, l] ** 2, t, b, l)), [U, W, c, h0])


@case
def lstm():
    m = dv.index("m", l.size)
    x, c0, w = dv.tensor("x", t, b, i), dv.tensor("c0", b, l), dv.tensor("w", b, l)
    U = {g: dv.tensor("U" + g, i, l) for g in "ifgo"}
    W = {g: dv.tensor("W" + g, m, l) for g in "ifgo"}

    def pre(g, h):
        return dv.Sum(x[t, b, i] * U[g][i, l], i) + dv.Sum(h[t - 1, b, m] * W[g][m, l], m)

    h, c = dv.define(
        "h c",
        (t, b, l),
        lambda h, c: (
            dv.sigmoid(pre("o", h)) * tanh(c[t, b, l]),
            dv.sigmoid(pre("f", h)) * Piecewise((c0[b, l], Eq(t, 0)), (c[t - 1, b, l], True))
            + dv.sigmoid(pre("i", h)) * tanh(pre("g", h)),
        ),
    )
    loss = dv.define("loss", (), dv.Sum(h[t.size - 1, b, l] * w[b, l], b, l))
    return dv.backprop(loss, [*U.values(), *W.values(), c0])


@case
def reverse_rnn():
    x, w = dv.tensor("x", t, b), dv.tensor("w")
    h = dv.define("h", (t, b), lambda h: tanh(w * h[t + 1, b] + x[t, b]))
    return dv.backprop(dv.define("loss", (), dv.Sum(h[t, b] * x[t, b], t, b)), [w, x])


@case
def second_order_recurrence():
    x, a = dv.tensor("x", t), dv.tensor("a", 2)
    h = dv.define("h", (t,), lambda h: tanh(a[0] * h[t - 1] + a[1] * h[t - 2] + x[t]))
    return dv.backprop(dv.define("loss", (), dv.Sum(h[t] ** 2, t)), [a, x])


@case
def causal_attention():
    key, r = dv.index("k", q.size), dv.index("r", q.size)
    Q, K, V = dv.tensor("Q", b, q, i), dv.tensor("K", b, key, i), dv.tensor("V", b, key, j)
    w = dv.tensor("w", b, q, j)
    s = dv.define("s", (b, q, key), dv.Sum(Q[b, q, i] * K[b, key, i], i) / sqrt(i.size))
    total = dv.Sum(Piecewise((exp(s[b, q, r]), r <= q), (0, True)), r)
    P = dv.define("P", (b, q, key), Piecewise((exp(s[b, q, key]) / total, key <= q), (0, True)))
    O = dv.define("O", (b, q, j), dv.Sum(P[b, q, key] * V[b, key, j], key))
    return dv.backprop(dv.define("loss", (), dv.Sum(O[b, q, j] * w[b, q, j], b, q, j)), [Q, K, V])


@case
def conv2d():
    H, X, R, Q, S, P, D = (dv.size(n) for n in ("H", "X", "R", "Q", "S", "P", "D"))
    u = dv.index("u", size=(H + 2 * P - D * (R - 1) - 1) // S + 1)
    v = dv.index("v", size=(X + 2 * P - D * (Q - 1) - 1) // S + 1)
    r, s, c, o = dv.index("r", R), dv.index("s", Q), dv.index("c"), dv.index("o")
    x, K, w = dv.tensor("x", b, H, X, c), dv.tensor("K", r, s, c, o), dv.tensor("w", b, u, v, o)
    y = dv.define("y", (b, u, v, o), dv.Sum(x[b, S * u + D * r - P, S * v + D * s - P, c] * K[r, s, c, o], r, s, c))
    return dv.backprop(dv.define("loss", (), dv.Sum(y[b, u, v, o] ** 2 * w[b, u, v, o], b, u, v, o)), [x, K])


@case
def max_pool():
    u, r = dv.index("u", size=(dv.size("H") - 3) // 2 + 1), dv.index("r", size=3)
    x, w = dv.tensor("x", b, "H"), dv.tensor("w", b, u)
    y = dv.define("y", (b, u), dv.Max(x[b, 2 * u + r], r))
    return dv.backprop(dv.define("loss", (), dv.Sum(y[b, u] * w[b, u], b, u)), [x])


@case
def flatten():
    u, v, c = dv.indices("u v c")
    f = dv.index("f", u.size * v.size * c.size)
    x, W, w = dv.tensor("x", b, u, v, c), dv.tensor("W", f, k), dv.tensor("w", b, k)
    y = dv.define("y", (b, k), dv.Sum(x[b, u, v, c] * W[(u * v.size + v) * c.size + c, k], u, v, c))
    return dv.backprop(dv.define("loss", (), dv.Sum(y[b, k] ** 2 * w[b, k], b, k)), [x, W])


@case
def embedding():
    tok, w = dv.tensor("tok", b, t, dtype="int", below="V"), dv.tensor("w", b, t, i)
    E = dv.tensor("E", "V", i)
    return dv.backprop(dv.define("loss", (), dv.Sum(E[tok[b, t], i] ** 2 * w[b, t, i], b, t, i)), [E])


@case
def sigmoid_then_cross_entropy():
    a, y = dv.tensor("a", b), dv.tensor("y", b)
    s = dv.define("s", (b,), 1 / (1 + exp(-a[b])))
    loss = dv.define("loss", (), -dv.Sum(y[b] * log(s[b]) + (1 - y[b]) * log(1 - s[b]), b) / b.size)
    return dv.backprop(loss, [a])


def softmax_then_cross_entropy(facts=()):
    z, y, r = dv.tensor("z", b, k), dv.tensor("y", b, k, facts=facts), dv.index("r", k.size)
    P = dv.define("p", (b, k), exp(z[b, k]) / dv.Sum(exp(z[b, r]), r))
    loss = dv.define("loss", (), -dv.Sum(y[b, k] * log(P[b, k]), b, k) / b.size)
    return dv.backprop(loss, [z], outputs=[P])


@case
def cross_entropy_of_probabilities():
    return softmax_then_cross_entropy([dv.sums_to(1, k)])


@case
def cross_entropy_without_the_fact():
    return softmax_then_cross_entropy()


@case
def quadratic_form():
    r = dv.index("r", q.size)
    A, x = dv.tensor("A", q, r), dv.tensor("x", q)
    return dv.backprop(dv.define("loss", (), dv.Sum(x[q] * A[q, r] * x[r], q, r)), [x, A])


@case
def symmetric_quadratic_form():
    r = dv.index("r", q.size)
    A, x = dv.tensor("A", q, r, facts=[dv.symmetric]), dv.tensor("x", q)
    return dv.backprop(dv.define("loss", (), dv.Sum(x[q] * A[q, r] * x[r], q, r)), [x])


@case
def distance_kernel():
    x, a, r = dv.tensor("x", p, i), dv.tensor("a", p), dv.index("r", p.size)
    K = dv.define("K", (p, r), exp(-dv.Sum((x[p, i] - x[r, i]) ** 2, i) / 2))
    return dv.backprop(dv.define("loss", (), dv.Sum(a[p] * K[p, r] * a[r], p, r)), [x, a])


@case
def total_variation():
    x = dv.tensor("x", q)
    return dv.backprop(dv.define("loss", (), dv.Sum(Abs(x[q + 1] - x[q]), q)), [x])


@case
def entropy():
    x, r = dv.tensor("x", i, facts=[dv.positive]), dv.index("r", i.size)
    share = x[i] / dv.Sum(x[r], r)
    return dv.backprop(dv.define("loss", (), -dv.Sum(share * log(share), i)), [x])


@case
def cosine_similarity():
    x, y = dv.tensor("x", i), dv.tensor("y", i)
    norms = sqrt(dv.Sum(x[i] ** 2, i)) * sqrt(dv.Sum(y[i] ** 2, i))
    return dv.backprop(dv.define("loss", (), dv.Sum(x[i] * y[i], i) / norms), [x, y])


@case
def gather_of_gather():
    n = dv.index("n")
    f, g = dv.tensor("f", n, dtype="int", below="M"), dv.tensor("g", "M", dtype="int", below="K")
    x = dv.tensor("x", "K")
    return dv.backprop(dv.define("loss", (), dv.Sum(x[g[f[n]]] ** 3, n)), [x])


@case
def two_gathers_in_a_sum():
    n = dv.index("n")
    f, g = dv.tensor("f", n, dtype="int", below=q.size), dv.tensor("g", n, dtype="int", below=q.size)
    x, w = dv.tensor("x", q, i), dv.tensor("w", n)
    return dv.backprop(dv.define("loss", (), dv.Sum(w[n] * dv.Sum((x[f[n], i] - x[g[n], i]) ** 2, i), n)), [x, w])


@case
def max_then_log():
    x = dv.tensor("x", b, k, facts=[dv.positive])
    return dv.backprop(dv.define("loss", (), dv.Sum(log(dv.Max(x[b, k], k)), b)), [x])


@case
def strided_reads():
    n = dv.index("n")
    x, w = dv.tensor("x", dv.size("N") * 2), dv.tensor("w", n)
    return dv.backprop(dv.define("loss", (), dv.Sum(w[n] * x[2 * n] ** 2 + x[n + 1] * w[n], n)), [x, w])


@case
def trace_and_product():
    r = dv.index("r", q.size)
    A = dv.tensor("A", q, r)
    return dv.backprop(dv.define("loss", (), dv.Sum(A[q, q], q) ** 2 + dv.Sum(A[q, r] * A[r, q], q, r)), [A])


@case
def plain_sympy_sum():
    x, w = dv.tensor("x", q), dv.tensor("w", q)
    body = sympy.Sum(w[q] * sympy.sin(x[q]) ** 2, (q, 0, q.size - 1)) + sympy.Sum(x[q], (q, 1, q.size - 2))
    return dv.backprop(dv.define("loss", (), body), [x, w])


@case
def stopped_gradient():
    x, w = dv.tensor("x", q), dv.tensor("w", q)
    return dv.backprop(dv.define("loss", (), dv.Sum(dv.stop_gradient(x[q]) * x[q] * w[q], q)), [x, w])


@case
def index_as_value():
    x = dv.tensor("x", q, p)
    body = dv.Sum(Piecewise((x[q, p] ** 2 * (p - q), q <= p), (x[q, p], True)), q, p)
    return dv.backprop(dv.define("loss", (), body), [x])


@case
def vector_jacobian_product():
    x, W = dv.tensor("x", b, i), dv.tensor("W", i, k)
    y = dv.define("y", (b, k), tanh(dv.Sum(x[b, i] * W[i, k], i)))
    return dv.vjp(y, [x, W])


@case
def hessian_vector_product():
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    s = dv.define("s", (b,), dv.sigmoid(dv.Sum(x[b, i] * w[i], i)))
    loss = dv.define("loss", (), -dv.Sum(y[b] * log(s[b]) + (1 - y[b]) * log(1 - s[b]), b) / b.size)
    return dv.hvp(loss, [w])
