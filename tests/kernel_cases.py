"""Programs with data for them, and the two opponents of every emission: the dense fallback and the plain evaluator."""

from __future__ import annotations

import numpy as np
import sympy
from sympy import Eq, Piecewise, Rational, erf, exp, log, tanh

import derive as dv
import numerics as nx
from derive.language.tensor import Tensor
from numerics.checks.ground import float64
from numerics.reference import sampling
from numerics.reference.programs import evaluate


def softmax_regression(outputs=False):
    b, i, k = dv.indices("b i k")
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W, c = dv.tensor("W", i, k), dv.tensor("c", k)
    z = dv.define("z", (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k])
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    loss = dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size)
    return dv.backprop(loss, wrt=[W, c], outputs=[z] if outputs else [], name="softmax_regression")


def mlp():
    b, i, j, k = dv.indices("b i j k")
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W1, c1, W2, c2 = dv.tensor("W1", i, j), dv.tensor("c1", j), dv.tensor("W2", j, k), dv.tensor("c2", k)
    a = dv.define("a", (b, j), dv.Sum(x[b, i] * W1[i, j], i) + c1[j])
    h = dv.define("h", (b, j), dv.relu(a[b, j]))
    z = dv.define("z", (b, k), dv.Sum(h[b, j] * W2[j, k], j) + c2[k])
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    loss = dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size)
    return dv.backprop(loss, wrt=[W1, c1, W2, c2], name="mlp")


def layer_norm():
    b, i = dv.indices("b i")
    x, y, gamma, beta = dv.tensor("x", b, i), dv.tensor("y", b, i), dv.tensor("gamma", i), dv.tensor("beta", i)
    mean = dv.define("mean", (b,), dv.Sum(x[b, i], i) / i.size)
    var = dv.define("var", (b,), dv.Sum((x[b, i] - mean[b]) ** 2, i) / i.size)
    rs = dv.define("rs", (b,), (var[b] + 1e-5) ** Rational(-1, 2))
    xhat = dv.define("xhat", (b, i), (x[b, i] - mean[b]) * rs[b])
    out = dv.define("out", (b, i), gamma[i] * xhat[b, i] + beta[i])
    loss = dv.define("loss", (), dv.Sum((out[b, i] - y[b, i]) ** 2, b, i) / b.size)
    return dv.backprop(loss, wrt=[x, gamma, beta], name="layer_norm")


def gelu():
    b, i, j = dv.indices("b i j")
    x, y, W = dv.tensor("x", b, i), dv.tensor("y", b, j), dv.tensor("W", i, j)
    a = dv.define("a", (b, j), dv.Sum(x[b, i] * W[i, j], i))
    h = dv.define("h", (b, j), a[b, j] * (1 + erf(a[b, j] / sympy.sqrt(2))) / 2)
    return dv.backprop(
        dv.define("loss", (), dv.Sum((h[b, j] - y[b, j]) ** 2, b, j) / (b.size * j.size)), wrt=[W], name="gelu"
    )


def tanh_rnn():
    t, b, i, l = dv.indices("t b i l")
    m = dv.index("m", l.size)
    x, y, h0 = dv.tensor("x", t, b, i), dv.tensor("y", t, b, l), dv.tensor("h0", b, l)
    W, U, c = dv.tensor("W", i, l), dv.tensor("U", m, l), dv.tensor("c", l)

    def step(h):
        before = Piecewise((h0[b, m], Eq(t, 0)), (h[t - 1, b, m], True))
        return tanh(dv.Sum(x[t, b, i] * W[i, l], i) + dv.Sum(before * U[m, l], m) + c[l])

    h = dv.define("h", (t, b, l), step)
    loss = dv.define("loss", (), dv.Sum((h[t, b, l] - y[t, b, l]) ** 2, t, b, l))
    return dv.backprop(loss, wrt=[W, U, c, h0], name="tanh_rnn")


def batch_first_rnn():
    """Time is axis 1 and the loss reads the last state only."""
    b, t, i, l = dv.indices("b t i l")
    m = dv.index("m", l.size)
    x, y = dv.tensor("x", b, t, i), dv.tensor("y", b, l)
    W, U = dv.tensor("W", i, l), dv.tensor("U", m, l)
    h = dv.define("h", (b, t, l), lambda h: tanh(dv.Sum(x[b, t, i] * W[i, l], i) + dv.Sum(h[b, t - 1, m] * U[m, l], m)))
    loss = dv.define("loss", (), dv.Sum((h[b, t.size - 1, l] - y[b, l]) ** 2, b, l))
    return dv.backprop(loss, wrt=[W, U], name="last_state")


def embedding():
    b, t, d, k = dv.indices("b t d k")
    tok, E, W = dv.tensor("tok", b, t, dtype="int", below="V"), dv.tensor("E", "V", d), dv.tensor("W", d, k)
    y = dv.tensor("y", b, k)
    x = dv.define("x", (b, t, d), E[tok[b, t], d])
    z = dv.define("z", (b, k), dv.Sum(tanh(x[b, t, d]) * W[d, k], t, d))
    return dv.backprop(dv.define("loss", (), dv.Sum((z[b, k] - y[b, k]) ** 2, b, k)), wrt=[E, W], name="embedding")


def strided_conv():
    b, c, o = dv.indices("b c o")
    r, s = dv.index("r", 3), dv.index("s", 2)
    H, V = dv.size("H"), dv.size("V")
    img, K = dv.tensor("img", b, "H", "V", c), dv.tensor("K", r, s, c, o)
    u, v = dv.index("u", (H + 2 - 5) // 2 + 1), dv.index("v", (V + 2 - 3) // 2 + 1)
    y = dv.define("y", (b, u, v, o), dv.Sum(img[b, 2 * u + 2 * r - 1, 2 * v + 2 * s - 1, c] * K[r, s, c, o], r, s, c))
    return dv.backprop(dv.define("loss", (), dv.Sum(tanh(y[b, u, v, o]), b, u, v, o)), wrt=[img, K], name="conv")


def padded_max_pool():
    b, c = dv.indices("b c")
    r, H = dv.index("r", 3), dv.size("H")
    img, u = dv.tensor("img", b, "H", c), dv.index("u", (H - 1) // 2 + 1)
    y = dv.define("y", (b, u, c), dv.Max(img[b, 2 * u + r - 1, c], r))
    return dv.backprop(dv.define("loss", (), dv.Sum(y[b, u, c] ** 2, b, u, c)), wrt=[img], name="max_pool")


def strange_names():
    b, i = dv.indices("b i")
    x, w, c = dv.tensor("lambda", b, i), dv.tensor("x; import os", i), dv.tensor("B", b)
    e, d = dv.tensor('jnp"""\n\\', b), dv.tensor("dtype", i)
    body = dv.Sum(tanh(x[b, i] * w[i] * d[i] + c[b]) * e[b], b, i) / b.size
    return dv.backprop(dv.define("I", (), body), wrt=[x, w, c, e], name='it"""\nraise SystemExit\n"""')


CASES = {
    f.__name__: f
    for f in (
        softmax_regression,
        mlp,
        layer_norm,
        gelu,
        tanh_rnn,
        batch_first_rnn,
        embedding,
        strided_conv,
        padded_max_pool,
        strange_names,
    )
}


def free_sizes(d) -> set[str]:
    """The sizes that no plain axis of an input fixes."""
    fixed = {a.name for t in d.program.inputs for a in t.axes if a.is_Symbol}
    return {s.name for s in d.program.sizes()} - fixed


def data(d, sizes=None, seed=0):
    """``(sizes, arrays)``: random float64 inputs, integers with repeats."""
    fixed = {dv.size(n): v for n, v in (sizes or {}).items()}
    found = sampling.draw_sizes(d.program, fixed, seed=seed)
    return found, sampling.draw_arrays(d.program, found, {}, np.random.default_rng(seed), d.wrt)


def compiled(d, sizes, dense=False):
    """The kernel, with only those sizes given that no array fixes."""
    free = free_sizes(d)
    return nx.compile(d, sizes={s.name: n for s, n in sizes.items() if s.name in free} or None, dense=dense)


def leaves(d, result) -> dict:
    """Result arrays by tensor name."""
    found = {}
    for (_, wanted), value in zip(d.results, result, strict=True):
        pairs = [(wanted, value)] if isinstance(wanted, Tensor) else [(t, value[k]) for k, t in wanted.items()]
        found.update({t.name: np.asarray(v) for t, v in pairs})
    return found


def check(d, sizes=None, seed=0, dense=(False, True), arrays=None, tolerance=1e-11):
    """Every result of the kernel and of the dense fallback equals the plain evaluator's; returns the fast source."""
    sizes, drawn = data(d, sizes, seed)
    arrays = {**drawn, **(arrays or {})}
    with float64():
        expected = evaluate(d.program, arrays, sizes, np)
        for fallback in dense:
            kern = compiled(d, sizes, fallback)
            got = leaves(d, kern(**{t.name: arrays[t.name] for t in kern.inputs}))
            for name, value in got.items():
                want = np.asarray(expected[name])
                assert value.shape == want.shape, (name, fallback, value.shape, want.shape)
                assert np.isfinite(value).all(), (name, fallback)
                scale = np.abs(want).max(initial=0) + 1e-3
                assert np.abs(value - want).max(initial=0) <= tolerance * scale, (name, fallback, kern.source)
    return compiled(d, sizes).source
