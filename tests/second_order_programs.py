"""The classic second-order problems, shared by the tests of evidence, emission and Newton's method."""

from sympy import exp, log, tanh

import derive as dv

b, i, k, j, q = dv.indices("b i k j q")


def logistic():
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    s = dv.define("s", (b,), dv.sigmoid(dv.Sum(x[b, i] * w[i], i)))
    return dv.define("loss", (), -dv.Sum(y[b] * log(s[b]) + (1 - y[b]) * log(1 - s[b]), b) / b.size), [w]


def softmax_regression():
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W, c = dv.tensor("W", i, k), dv.tensor("c", k)
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k])
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    return dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size), [W, c]


def quadratic_form():
    r = dv.index("r", q.size)
    A, x = dv.tensor("A", q, r), dv.tensor("x", q)
    return dv.define("loss", (), dv.Sum(x[q] * A[q, r] * x[r], q, r)), [x]


def log_sum_exp():
    x = dv.tensor("x", k)
    return dv.define("loss", (), log(dv.Sum(exp(x[k]), k))), [x]


def matrix_factorization():
    A, U, V = dv.tensor("A", i, j), dv.tensor("U", i, k), dv.tensor("V", j, k)
    return dv.define("loss", (), dv.Sum((A[i, j] - dv.Sum(U[i, k] * V[j, k], k)) ** 2, i, j) / 2), [U, V]


def mlp():
    x, y = dv.tensor("x", b, i), dv.tensor("y", b, k)
    W, V = dv.tensor("W", i, j), dv.tensor("V", j, k)
    h = dv.define("h", (b, j), tanh(dv.Sum(x[b, i] * W[i, j], i)))
    return dv.define("loss", (), dv.Sum((dv.Sum(h[b, j] * V[j, k], j) - y[b, k]) ** 2, b, k) / b.size), [W, V]


def softmax_cross_entropy(declared=True):
    """Batched, from probabilities y; ``declared`` says that the rows of y sum to 1."""
    z = dv.tensor("z", b, k)
    y = dv.tensor("y", b, k, facts=[dv.sums_to(1, k)] if declared else [])
    r = dv.index("r", k.size)
    p = dv.define("p", (b, k), exp(z[b, k]) / dv.Sum(exp(z[b, r]), r))
    return dv.define("loss", (), -dv.Sum(y[b, k] * log(p[b, k]), b, k) / b.size), [z]


CLASSIC = {
    f.__name__: f
    for f in (
        logistic,
        softmax_regression,
        quadratic_form,
        log_sum_exp,
        matrix_factorization,
        mlp,
        softmax_cross_entropy,
    )
}
