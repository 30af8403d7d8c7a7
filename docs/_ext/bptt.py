"""Parts of the chapter on backpropagation through time, made by the build: derived, drawn, measured."""

from pathlib import Path

import numpy as np
from newton import displayed, picture, told


def write_all(app):
    """Runs before any page is read, so a part that cannot be derived fails the build."""
    folder = Path(app.srcdir) / "generated" / "bptt"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "network": network(),
        "adjoints": adjoints(),
        "jacobian": jacobian(),
        "product": product(),
        "norms": norms(folder),
        "lstm": gates("lstm"),
        "gru": gates("gru"),
    }.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def recurrent():
    """h_t = tanh(U x_t + W h_{t-1}), a softmax at every step."""
    from sympy import exp, log, tanh

    import derive as dv

    t, b, i, j, k = dv.indices("t b i j k")
    m = dv.index("m", j.size)
    x, y = dv.tensor("x", t, b, i), dv.tensor("y", t, b, dtype="int", below=k.size)
    U, W, S = dv.tensor("U", i, j), dv.tensor("W", m, j), dv.tensor("S", j, k)
    h = dv.define("h", (t, b, j), lambda h: tanh(dv.Sum(x[t, b, i] * U[i, j], i) + dv.Sum(h[t - 1, b, m] * W[m, j], m)))
    z = dv.define("z", (t, b, k), dv.Sum(h[t, b, j] * S[j, k], j))
    each = dv.define("L", (t, b), log(dv.Sum(exp(z[t, b, k]), k)) - z[t, b, y[t, b]])
    return dv.backprop(dv.define("loss", (), dv.Sum(each[t, b], t, b) / b.size), [U, W, S])


def network() -> str:
    from derive.show.pictures.unrolled import unrolled

    d = recurrent()
    shown = [e for e in d.source.equations if e.name in ("h_in", "h", "z")]
    return "\n".join([told(d, shown), f"```{{raw}} html\n<figure>{unrolled(d.source)}</figure>\n```\n"])


def adjoints() -> str:
    d = recurrent()
    d.check()
    wanted = [d.adjoint_equations[n] for n in ("h", "h_in")] + [d.gradient(n) for n in ("W", "U", "S")]
    return told(d, wanted)


def one_step():
    """The step alone: h from the state before it, as two tensors, so that the derivative is the immediate one."""
    from sympy import tanh

    import derive as dv

    i, j = dv.indices("i j")
    m = dv.index("m", j.size)
    x, U, W, before = dv.tensor("x", i), dv.tensor("U", i, j), dv.tensor("W", m, j), dv.tensor("h_prev", m)
    h = dv.define("h", (j,), tanh(dv.Sum(x[i] * U[i, j], i) + dv.Sum(before[m] * W[m, j], m)))
    return h, before, W


def jacobian() -> str:
    import derive as dv

    h, before, W = one_step()
    lines = []
    for of, left in (
        (before, r"\frac{\partial h_{j}}{\partial h^{\mathrm{prev}}_{m}}"),
        (W, r"\frac{\partial^{+} h_{j}}{\partial W_{mj'}}"),
    ):
        d = dv.jacobian(h, [of])
        d.check()
        lines.append(displayed(d.program.equations[-1], left))
    return "\n".join(lines)


def product(T: int = 5) -> str:
    """The sum over pairs of steps, computed by the products of Jacobians, against the derived gradient."""
    import numerics as nx

    d = recurrent()
    rng = np.random.default_rng(0)
    sizes = {"T": T, "B": 1, "I": 3, "J": 4, "K": 5}
    shape = {"x": "TBI", "y": "TB", "U": "IJ", "W": "JJ", "S": "JK"}
    a = {n: rng.normal(size=[sizes[s] for s in axes]) for n, axes in shape.items() if n != "y"}
    a["y"] = rng.integers(0, sizes["K"], (T, 1))
    derived = np.asarray(nx.compile(d)(**{n: v.astype(np.float32) if n != "y" else v for n, v in a.items()}).grads["W"])
    h = [np.zeros(4)]
    for t in range(T):
        h.append(np.tanh(a["x"][t, 0] @ a["U"] + h[-1] @ a["W"]))
    step = [None] + [(1 - h[t] ** 2)[:, None] * a["W"].T for t in range(1, T + 1)]
    total, count = np.zeros((4, 4)), 0
    for t in range(1, T + 1):
        p = np.exp(h[t] @ a["S"])
        back = (p / p.sum() - np.eye(5)[a["y"][t - 1, 0]]) @ a["S"].T
        for k in range(t, 0, -1):
            total += np.outer(h[k - 1], back * (1 - h[k] ** 2))
            back, count = back @ step[k], count + 1
    worst = float(np.abs(total - derived).max() / np.abs(total).max())
    if worst > 1e-5:
        raise AssertionError(f"the sum over products of Jacobians differs from the derived gradient by {worst}")
    return (
        f"Summed that way in NumPy for $T = {T}$, all {count} pairs $k \\le t$, it agrees with the derived gradient to "
        f"single precision, as this page was built: the reverse recurrence is the same sum, with the products shared.\n"
    )


def norms(folder: Path) -> str:
    import derive as dv
    import numerics as nx
    from derive.networks import layers as L
    from numerics.pages import pictures

    T, rng, found = 60, np.random.default_rng(0), {}
    X, Y = rng.normal(size=(16, T, 4)).astype(np.float32), rng.integers(0, 3, 16)
    for name, layer in (("tanh RNN", L.SimpleRNN(32, name="cell")), ("LSTM", L.LSTM(32, name="cell"))):
        model = dv.Sequential([layer, L.Dense(3)], input_shape=(T, 4))
        found[name] = pictures.state_gradients(
            model, nx.init(model, seed=0), X, Y, "sparse_softmax_cross_entropy", "cell"
        )
    figure = pictures.gradient_norms(found, "A loss at the last of 60 steps, before training")
    ratio = {n: v[0] / v[-1] for n, v in found.items()}
    said = ", ".join(f"{v:.0e} for the {n}" for n, v in ratio.items())
    shown = picture(figure, folder / "norms.svg", "Norms of the gradient by the state, through time")
    shown = shown.replace("generated/newton/", "generated/bptt/")
    return f"{shown}\nFrom the last step to the first the norm falls to {said}.\n"


def gates(kind: str) -> str:
    """One cell, its forward equations and its adjoints."""
    import derive as dv
    from derive.networks import layers as L

    layer = {"lstm": L.LSTM, "gru": L.GRU}[kind](4, return_sequences=True, name="cell")
    d = dv.Sequential([layer], input_shape=(5, 3)).backprop("mean_squared_error")
    forward = {e.name for e in d.source.equations}
    cell = [e for e in d.program.equations if e.tensor.block == "cell"]
    one, two = [e for e in cell if e.name in forward], [e for e in cell if e.name not in forward]
    return "\n".join([told(d, one), "and backward\n", told(d, two)])


def setup(app):
    app.connect("builder-inited", write_all)
    return {"version": "1", "parallel_read_safe": True}
