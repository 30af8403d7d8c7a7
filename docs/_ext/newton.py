"""Parts of the chapter on Newton's method, made by the build: derived expansions, what is dropped, and pictures."""

import contextlib
import io
from pathlib import Path

import numpy as np
from matplotlib import rc_context


def write_all(app):
    """Runs before any page is read, so a part that cannot be derived fails the build."""
    folder = Path(app.srcdir) / "generated" / "newton"
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "tangent": tangent(folder),
        "logistic": logistic(folder),
        "dropped": dropped(),
        "bending": bending(folder),
        "network": network(folder),
    }.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def displayed(equation, left: str | None = None) -> str:
    """An equation as a display, its left side replaced if one is given."""
    from derive.show.latex import equation_latex

    lhs, _, rhs = equation_latex(equation).partition(" = ")
    return f"$$\n{left or lhs} = {rhs}\n$$\n"


def told(d, equations) -> str:
    """Equations of a derivation below each other, in the letters of its document; one of gates is a line for each."""
    from derive.show.document.formulas import Formulas
    from derive.show.document.options import read_options
    from derive.show.latex import display_rows

    f = Formulas(d, read_options({}))
    rows = [row for e in equations for line in f.lines(e, aside=False) for row in display_rows(line)]
    return "$$\n\\begin{aligned}\n" + " \\\\\n".join(rows) + "\n\\end{aligned}\n$$\n"


def picture(figure, path: Path, text: str) -> str:
    """The figure as SVG that is the same in every build, for print as PDF, and the line that shows it."""
    with rc_context({"svg.hashsalt": path.stem, "svg.fonttype": "path"}):
        figure.savefig(path, metadata={"Date": None})
        figure.savefig(path.with_suffix(".pdf"), metadata={"CreationDate": None})
    return f"![{text}](generated/newton/{path.stem}.*)\n"


def tangent(folder: Path) -> str:
    """A root: the tangent, its root, and the picture."""
    import derive as dv
    import numerics as nx
    from numerics.minimize import tangents

    x = dv.tensor("x")
    d = dv.jacobian(dv.define("f", (), x[()] ** 3 - 2 * x[()] - 5), [x])
    found = dv.taylor(d)
    result = nx.newton(d, {"x": np.array(4.0)})
    return "\n".join(
        [
            "The tangent of $f(x) = x^3 - 2x - 5$, and where it is zero, as derived:\n",
            displayed(found.model),
            displayed(found.condition[0], "0"),
            displayed(found.update),
            displayed(found.derivatives[0]),
            picture(tangents(d, result), folder / "tangents.svg", "Three tangents, each ending at the next point"),
            "```text",
            str(result),
            "```",
            "",
        ]
    )


def logistic(folder: Path) -> str:
    """Logistic regression: the expansion, and both methods on random data."""
    import derive as dv
    import numerics as nx
    from numerics.minimize import convergence

    d = dv.hessian(*_logistic())
    found = dv.taylor(d)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 5))
    data = {"x": x, "y": (rng.random(200) < 1 / (1 + np.exp(-x @ np.arange(5.0)))).astype(float), "lam": np.array(1e-3)}
    result = nx.newton(d, {"w": np.zeros(5)}, data)
    kernel, w, norms = nx.compile(dv.backprop(*_logistic())), np.zeros(5), []
    for _ in range(60):
        g = np.asarray(kernel(w=w, **data).grads["w"])
        norms.append(float(np.linalg.norm(g)))
        w = w - 2.0 * g
    figure = convergence({"Newton": result, "gradient descent": norms})
    return "\n".join(
        [
            displayed(found.model),
            "Its gradient by the step is zero where\n",
            displayed(found.condition[0], "0"),
            "with\n",
            *map(displayed, (*read_by(d, found.derivatives), *found.derivatives)),
            picture(figure, folder / "logistic.svg", "Gradient norms of both methods against the steps"),
            "",
        ]
    )


def read_by(d, equations) -> list:
    """The adjoints that these equations read, in order."""
    names = {t.name for e in equations for t in e.tensors()} - {e.name for e in equations}
    return [e for e in d.program.equations if e.name in names and e.name.startswith("d")]


def _logistic():
    from sympy import log

    import derive as dv

    b, i = dv.indices("b i")
    x, y, w, lam = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i), dv.tensor("lam")
    s = dv.define("s", (b,), dv.sigmoid(dv.Sum(x[b, i] * w[i], i)))
    fit = -dv.Sum(y[b] * log(s[b]) + (1 - y[b]) * log(1 - s[b]), b) / b.size
    return dv.define("L", (), fit + lam[()] * dv.Sum(w[i] ** 2, i) / 2), [w]


def dropped() -> str:
    """What Gauss-Newton leaves out of the Hessian of an exponential decay."""
    from sympy import exp

    import derive as dv

    n = dv.index("n")
    t, y, a, k = dv.tensor("t", n), dv.tensor("y", n), dv.tensor("a"), dv.tensor("k")
    r = dv.define("r", (n,), a[()] * exp(-k[()] * t[n]) - y[n])
    d = dv.dropped_term(dv.define("L", (), dv.Sum(r[n] ** 2, n) / 2), [a, k], at=r)
    shown = [d.program.equation(e) for e in ("r", "dr", "dr2", "dk_sum", "dk_sum_by_k", "H_a_a", "H_a_k", "H_k_k")]
    return "\n".join(["```text", *map(str, shown), "```", ""])


def bending(folder: Path) -> str:
    """The quadratic model where it is good, and where the loss bends down."""
    import derive as dv
    import numerics as nx
    from numerics.minimize import curvature

    x, y = dv.tensor("x"), dv.tensor("y")
    valley = dv.hessian(dv.define("L", (), 10 * (y[()] - x[()] ** 2) ** 2 + (1 - x[()]) ** 2), [x, y])
    saddle = dv.hessian(dv.define("L", (), x[()] ** 4 / 4 - x[()] ** 2 / 2 + y[()] ** 2 / 2), [x, y])
    path = nx.newton(valley, {"x": np.array(-0.5), "y": np.array(0.1)}, damping="auto").path
    first = curvature(valley, {"x": -0.5, "y": 0.1}, path=path, reach=1.6)
    second = curvature(saddle, {"x": 0.3, "y": 0.5})
    return "\n".join(
        [
            picture(first, folder / "valley.svg", "A curved valley and the path through it"),
            picture(second, folder / "saddle.svg", "A saddle with its direction of negative curvature"),
            "",
        ]
    )


def network(folder: Path) -> str:
    """The small network of the example, by both methods."""
    import importlib.util

    from numerics.minimize import convergence

    path = Path(__file__).parents[2] / "examples" / "newton_vs_gradient_descent.py"
    spec = importlib.util.spec_from_file_location("newton_vs_gradient_descent", path)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with contextlib.redirect_stdout(io.StringIO()):
        result, norms = example.main(steps=600)
    figure = convergence({"Newton, derived Hessian": result, "gradient descent": norms})
    return picture(figure, folder / "network.svg", "Gradient norms of a small network by both methods")


def setup(app):
    app.connect("builder-inited", write_all)
    return {"version": "1", "parallel_read_safe": True}
