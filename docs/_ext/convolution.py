"""Parts of the chapter on convolution, made by the build: derived, written out, proved, drawn."""

from pathlib import Path

from newton import displayed


def write_all(app):
    """Runs before any page is read, so a part that cannot be derived fails the build."""
    folder = Path(app.srcdir) / "generated" / "convolution"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "definition": definition(),
        "strided": strided(),
        "worked": worked(),
        "flipped": flipped(),
        "pooling": pooling(),
        "first": max_first(),
        "norm": norm(),
    }.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def plane(stride=1, padding=0):
    """One channel: ``y[u,v] = sum_{r,s} x[S u + r - P, S v + s - P] K[r,s]``."""
    import derive as dv

    H, W, R, Q = (dv.size(n) for n in "HWRQ")
    u = dv.index("u", (H + 2 * padding - R) // stride + 1)
    v = dv.index("v", (W + 2 * padding - Q) // stride + 1)
    r, s = dv.index("r", R), dv.index("s", Q)
    x, K = dv.tensor("x", H, W), dv.tensor("K", R, Q)
    y = dv.define("y", (u, v), dv.Sum(x[stride * u + r - padding, stride * v + s - padding] * K[r, s], r, s))
    return y, x, K


def derived(**geometry):
    import derive as dv

    y, x, K = plane(**geometry)
    d = dv.vjp(y, [K, x], cotangent="dy")
    d.check()
    return d, x, K


def definition() -> str:
    d, x, K = derived()
    return "\n".join(
        [
            displayed(d.program.equation("y")),
            "From this line the engine derives\n",
            displayed(d.gradient(K)),
            displayed(d.gradient(x)),
        ]
    )


def strided() -> str:
    import derive as dv
    from derive.show.latex import equation_latex

    d, x, K = derived(stride=dv.size("S"), padding=dv.size("P"))
    lines = [
        displayed(d.program.equation("y")),
        displayed(d.gradient(K)),
        displayed(d.gradient(x)),
        "The conditions of the last sum, solved for the position in the output:\n",
        "```text",
    ]
    lines += [str(c) for c in dv.solved(d.gradient(x))]
    assert equation_latex(d.gradient(x)).count("=") == 3  # both conditions are in the equation
    return "\n".join([*lines, "```", ""])


def worked() -> str:
    import derive as dv
    from derive.show.pictures.grids import window

    d, x, K = derived()
    sizes = {"H": 4, "W": 3, "R": 2, "Q": 2}
    parts = [drawn(window((4, 3), (2, 2), (1, 0)))]
    for title, e in (
        ("Forward, six elements of four products each:", d.program.equation("y")),
        (
            "The kernel's gradient, four elements of six products each: the window slides over *x*, and is *dy*:",
            d.gradient(K),
        ),
        ("The image's gradient, a term for every window that an element was under:", d.gradient(x)),
    ):
        parts += [title + "\n", aligned(dv.written_out(e, sizes, latex=True))]
    return "\n".join(parts)


def flipped() -> str:
    """The gradient of the image with the flipped kernel, and the proof that it is the derived one."""
    import derive as dv
    from derive.show.pictures.grids import full_correlation

    d, x, K = derived()
    H, W, R, Q = (dv.size(n) for n in "HWRQ")
    h, w, r, s = dv.index("h", H), dv.index("w", W), dv.index("r", R), dv.index("s", Q)
    dy = next(t for t in d.program.inputs if t.name == "dy")
    turned = dv.Sum(dy[h + r - (R - 1), w + s - (Q - 1)] * K[R - 1 - r, Q - 1 - s], r, s)
    found = d.compare(x, turned)
    if not found:
        raise AssertionError(str(found))
    return "\n".join(
        [
            "With $r' = R - 1 - r$ and $s' = Q - 1 - s$ the same sum reads\n",
            "$$\n\\mathrm{d}x_{hw} = \\sum_{r,s} \\mathrm{dy}_{h+r-(R-1),\\,w+s-(Q-1)} \\; K_{R-1-r,\\,Q-1-s}\n$$\n",
            "and `d.compare(x, ...)` with that formula answers, as this page was built:\n",
            "```text",
            str(found),
            "```",
            "",
            drawn(full_correlation((4, 3), (2, 2), (1, 0))),
        ]
    )


def pooling() -> str:
    """Max pooling of one row with a tie, and where the gradient goes."""
    import derive as dv
    from derive.exact import evaluate

    n = dv.size("N")
    u, r = dv.index("u", n // 2), dv.index("r", 2)
    x = dv.tensor("x", n)
    p = dv.define("p", (u,), dv.Max(x[2 * u + r], r))
    d = dv.vjp(p, [x], cotangent="dp")
    d.check()
    values = evaluate(d.program, {"x": [3, 1, 5, 5, 2, 4], "dp": [10, 20, 30]}, {"N": 6})
    rows = [
        ("x", "image"),
        ("p", "largest of each pair"),
        (f"{p.name}_argmax", "which of the two, the first at a tie"),
        ("dp", "gradient that arrives"),
        (d.gradients["x"].name, "gradient that leaves"),
    ]
    table = ["| | | |", "| --- | --- | --- |"]
    table += [f"| `{name}` | {', '.join(map(str, values[name].nested()))} | {what} |" for name, what in rows]
    return "\n".join([*(displayed(e) for e in d.program.equations), *table, ""])


def max_first() -> str:
    """A convolution of one row with a bias, relu and a pool, and the forward equations that the engine leaves."""
    import derive as dv

    n, r = dv.size("N"), dv.index("r", 3)
    m, u, w = dv.index("m", n - 2), dv.index("u", (n - 2) // 2), dv.index("w", 2)
    x, K, c = dv.tensor("x", n), dv.tensor("K", r), dv.tensor("c")
    z = dv.define("z", (m,), dv.Sum(x[m + r] * K[r], r) + c)
    h = dv.define("h", (m,), dv.relu(z[m]))
    p = dv.define("p", (u,), dv.Max(h[2 * u + w], w))
    d = dv.vjp(p, [K, c], cotangent="dp")
    evidence = d.check()
    if evidence.undecided:
        raise ValueError("the chapter says that these steps are proved")
    now = [e for e in d.program if e.name in ("z_sum", "z_sum_max", "p_pre", "p", d.gradients["c"].name)]
    return "\n".join([*(displayed(e) for e in d.source.equations), "becomes\n", *(displayed(e) for e in now)])


def norm() -> str:
    """Batch normalization over a batch of one channel vector."""
    import sympy

    import derive as dv

    b, c = dv.indices("b c")
    x, gamma, beta = dv.tensor("x", b, c), dv.tensor("gamma", c), dv.tensor("beta", c)
    eps = dv.tensor("epsilon", facts=[dv.positive])
    mu = dv.define("mu", (c,), dv.Sum(x[b, c], b) / b.size)
    v = dv.define("v", (c,), dv.Sum((x[b, c] - mu[c]) ** 2, b) / b.size)
    sigma = dv.define("s", (c,), (v[c] + eps[()]) ** sympy.Rational(-1, 2))
    hat = dv.define("xhat", (b, c), (x[b, c] - mu[c]) * sigma[c])
    y = dv.define("y", (b, c), gamma[c] * hat[b, c] + beta[c])
    d = dv.vjp(y, [x, gamma, beta], cotangent="dy")
    d.check()
    forward = {e.name for e in d.source.equations}
    one = [displayed(e) for e in d.program.equations if e.name in forward]
    two = [displayed(e) for e in d.program.equations if e.name not in forward]
    return "\n".join([*one, "The gradients, as the passes leave them:\n", *two])


def aligned(lines) -> str:
    rows = " \\\\\n".join(line.replace(" = ", " &= ", 1) for line in lines)
    return f"$$\n\\begin{{aligned}}\n{rows}\n\\end{{aligned}}\n$$\n"


def drawn(svg: str) -> str:
    return f"```{{raw}} html\n<figure>{svg}</figure>\n```\n"


def setup(app):
    app.connect("builder-inited", write_all)
    return {"version": "1", "parallel_read_safe": True}
