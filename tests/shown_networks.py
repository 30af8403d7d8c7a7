"""The derivations whose documents are tested, each made once."""

import functools

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


@functools.cache
def mlp():
    b, i, l, k = dv.indices("b i l k")
    x, y = dv.tensor("x", b, i), dv.tensor("y", b, k)
    W1, b1, W2, b2 = dv.tensor("W1", i, l), dv.tensor("b1", l), dv.tensor("W2", l, k), dv.tensor("b2", k)
    a = dv.define("a", (b, l), dv.Sum(x[b, i] * W1[i, l], i) + b1[l])
    h = dv.define("h", (b, l), sympy.tanh(a[b, l]))
    o = dv.define("o", (b, k), dv.Sum(h[b, l] * W2[l, k], l) + b2[k])
    loss = dv.define("loss", (), dv.Sum((o[b, k] - y[b, k]) ** 2, b, k) / b.size)
    return dv.backprop(loss, wrt=[W1, b1, W2, b2], name="two_layer_mlp")


@functools.cache
def layer_norm():
    b, k = dv.indices("b k")
    x, y = dv.tensor("x", b, k), dv.tensor("y", b, k)
    g, beta = dv.tensor("gamma", k), dv.tensor("beta", k)
    mean = dv.define("mean", (b,), dv.Sum(x[b, k], k) / k.size)
    v = dv.define("v", (b,), dv.Sum((x[b, k] - mean[b]) ** 2, k) / k.size)
    rs = dv.define("rs", (b,), (v[b] + sympy.Rational("1e-5")) ** sympy.Rational(-1, 2))
    xhat = dv.define("xhat", (b, k), (x[b, k] - mean[b]) * rs[b])
    o = dv.define("o", (b, k), g[k] * xhat[b, k] + beta[k])
    loss = dv.define("loss", (), dv.Sum((o[b, k] - y[b, k]) ** 2, b, k) / 2)
    return dv.backprop(loss, wrt=[x, g, beta], name="layer_norm")


@functools.cache
def rnn():
    t, b, i, l = dv.indices("t b i l")
    m = dv.index("m", l.size)
    x, U, V = dv.tensor("x", t, b, i), dv.tensor("U", i, l), dv.tensor("V", m, l)
    h = dv.define(
        "h", (t, b, l), lambda h: sympy.tanh(dv.Sum(x[t, b, i] * U[i, l], i) + dv.Sum(h[t - 1, b, m] * V[m, l], m))
    )
    loss = dv.define("loss", (), dv.Sum(h[t, b, l] ** 2, t, b, l) / 2)
    return dv.backprop(loss, wrt=[U, V], name="tanh_rnn")


@functools.cache
def relu_conv():
    b, u, o = dv.indices("b u o")
    r = dv.index("r", 3)
    img, K, y = dv.tensor("img", b, "U"), dv.tensor("K", r, o), dv.tensor("y", b, u, o)
    z = dv.define("z", (b, u, o), dv.Sum(img[b, u + r - 1] * K[r, o], r))
    loss = dv.define("loss", (), dv.Sum(dv.relu(z[b, u, o]) * y[b, u, o], b, u, o))
    return dv.backprop(loss, wrt=[K, img], name="relu_conv")


@functools.cache
def hostile():
    """Names that would be code, markup or mathematics if anything took them for it."""
    b = dv.index("</script><i>", size="</math>")
    x = dv.tensor(r"\input{/etc/passwd}$", b)
    w = dv.tensor("<script>alert(1)</script>", b, facts=[dv.positive])
    y = dv.define("lambda & `x`|%", (b,), x[b] * w[b])
    loss = dv.define("a]]>&amp;_^{", (), dv.Sum(y[b] ** 2, b))
    return dv.backprop(loss, wrt=[w], name="<!-- $ \\")


NETWORKS = {f.__name__: f for f in (softmax_regression, mlp, layer_norm, rnn, relu_conv)}
