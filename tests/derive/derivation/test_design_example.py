"""The example of the public surface, word for word: these names are a contract."""

import numpy as np

EXAMPLE = """
import sympy, derive as dv, numerics as nx

b, i, k = dv.indices("b i k")                       # b.size is the SymPy symbol B, and so on
p, q    = dv.indices("p q", size="N")               # two indices over one size
S       = dv.size("S")                              # a size no array fixes (a stride): bound by nx.compile(d, sizes={"S": 2})
x       = dv.tensor("x", b, i)                      # an axis is an index, or a size: dv.tensor("img", b, "H", 32)
label   = dv.tensor("label", b, dtype="int", below=k.size)   # 0 <= label < K
W, c    = dv.tensor("W", i, k), dv.tensor("c", k)

z    = dv.define("z",   (b, k), dv.Sum(x[b, i] * W[i, k], i) + c[k])   # right-hand sides are SymPy
lse  = dv.define("lse", (b,),   sympy.log(dv.Sum(sympy.exp(z[b, k]), k)))
loss = dv.define("loss", (),    dv.Sum(lse[b] - z[b, label[b]], b) / b.size)

d = dv.backprop(loss, wrt=[W, c])   # Derivation; outputs=[z] would return z beside the gradients
d.gradient(W)                       # Equation with .lhs and .rhs (SymPy); str() is one readable line; any tensor has one
d.program                           # all equations, forward then backward, in order
d.steps                             # Step(id, rule, target, before, after, why, parents)
d.facts                             # the facts used, and by which steps
d.to_text(), d.to_latex(), d.to_markdown(), d.to_html()   # the whole derivation; notebooks render it
d.check()                           # exact check; returns Evidence (proved / undecided), raises DerivationError if refuted
d.compare(W, expr)                  # is this gradient, as SymPy or text, the same function? Exact, and says where not

kern = nx.compile(d)                # Kernel
kern.source                         # a standalone, readable JAX module
kern.save("softmax_regression.py")  # runs where only jax is installed
loss_value, grads = kern(x=X, label=Y, W=W0, c=c0)      # {"W": ..., "c": ...}; with outputs=: (loss, grads, outputs)
kern.fn                             # the pure function, positional (wrt in order, then inputs by first use), for jit/vmap/shard_map
kern.validate(x=X, label=Y)         # values: ranges, NaN, declared facts; a call itself checks shapes and dtypes only
kern.as_custom_vjp()                # a function for people's own jax.grad code, Flax or Equinox
report = nx.verify(kern, forward=None, seed=0)   # report.ok, print(report) is a table
nx.crosscheck(kern, fn, inputs=None)   # fn(**inputs) -> {"W": ...}: a hand-written gradient against ours; a report that says what is wrong
"""

SURFACE = """
from derive import layers as L
model = dv.Sequential([L.Dense(128, activation="relu"), L.Dense(10)], input_shape=(64,))
model.summary()                                     # layer, output shape, parameters, trainable
d = model.backprop(loss="sparse_softmax_cross_entropy")   # parameters dense_1_kernel, conv2d_2_bias, lstm_1_...; inputs x, y
params = nx.init(model, seed=0)                     # flat dict of arrays by those names
t = nx.Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(1e-3), metrics=["accuracy"], seed=0)
history = t.fit(X, Y, batch_size=64, epochs=10, validation_data=(Xv, Yv))
t.evaluate(Xt, Yt); t.predict(Xt); t.freeze("dense_1"); t.derivation, t.kernel, t.params   # params: flat dict of arrays
t.save("run/"); t = nx.load("run/", optimizer=optax.adam(1e-3))
"""


def by_hand(x, label, W, c):
    """The gradient that every textbook has."""
    z = np.asarray(x) @ np.asarray(W) + np.asarray(c)
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(label)), np.asarray(label)] -= 1
    p /= len(label)
    return {"W": np.asarray(x).T @ p, "c": p.sum(axis=0)}


def test_the_example_runs_word_for_word(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(7, 5)).astype(np.float32), rng.integers(0, 3, 7).astype(np.int32)
    W0, c0 = rng.normal(size=(5, 3)).astype(np.float32), rng.normal(size=3).astype(np.float32)
    names = {
        "X": X,
        "Y": Y,
        "W0": W0,
        "c0": c0,
        "fn": by_hand,
        "expr": "sum[b](x[b,i]*(exp(z[b,k] - lse[b]) - [k == label[b]]))/B",
    }
    exec(EXAMPLE, names)

    expected = by_hand(X, Y, W0, c0)
    for name, e in expected.items():
        np.testing.assert_allclose(names["grads"][name], e, atol=1e-6)
    assert names["report"].ok
    assert names["d"].compare(names["W"], names["expr"])
    assert not names["d"].compare(names["W"], "sum[b](x[b,i]*(exp(z[b,k] - lse[b]) - [k == label[b]]))")
    assert str(names["d"].gradient(names["W"])).startswith("dW[i,k] = ")
    saved = (tmp_path / "softmax_regression.py").read_text().splitlines()
    assert saved == [line for line in names["kern"].source.splitlines() if not line.startswith("Verified: ")]
    assert names["nx"].crosscheck(names["kern"], by_hand).ok


def test_the_network_surface_runs_word_for_word(tmp_path, monkeypatch):
    import optax

    import derive as dv
    import numerics as nx

    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(96, 64)).astype(np.float32), rng.integers(0, 10, 96)
    names = {"dv": dv, "nx": nx, "optax": optax, "X": X, "Y": Y, "Xv": X[:32], "Yv": Y[:32], "Xt": X[:16], "Yt": Y[:16]}
    exec(SURFACE, names)
    assert {"dense_1_kernel", "dense_1_bias", "dense_2_kernel", "dense_2_bias"} == set(names["params"])
    assert names["t"].predict(X[:16]).shape == (16, 10)
