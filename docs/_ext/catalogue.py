"""One page for each activation and loss: its definition, the derivation of its derivative, a plot of both, its caveats.

Everything on a page is made by the build from the entry itself: the plot is of the compiled program.
"""

import inspect
from pathlib import Path

import numpy as np
from learned import entries, learned_page
from matplotlib import rc_context
from matplotlib.figure import Figure
from sphinx.errors import ExtensionError

POINTS = 121
STEPS = {"threshold"}  # no gradient: only the value is shown


def write_all(app):
    """Runs before any page is read, so an entry that cannot be derived fails the build."""
    from derive.networks.activations import ACTIVATIONS
    from derive.networks.losses import LOSSES

    folder, learned = Path(app.srcdir) / "generated", entries()
    pages = {
        "activations/index": index("Activations", "derive.networks.activations", {**ACTIVATIONS, **learned}),
        "losses/index": index("Losses", "derive.networks.losses", LOSSES),
    }
    for name, entry in ACTIVATIONS.items():
        pages[f"activations/{name}"] = activation_page(entry, folder / "activations")
    for name, entry in learned.items():
        pages[f"activations/{name}"] = learned_page(entry, folder / "activations")
    for name, entry in LOSSES.items():
        pages[f"losses/{name}"] = loss_page(entry, folder / "losses")
    for name, text in pages.items():
        path = folder / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def index(title: str, module: str, table) -> str:
    """The module's own text, its table included, and a list of the pages."""
    names = "\n".join(table)
    return (
        f"# {title}\n\n```{{eval-rst}}\n.. automodule:: {module}\n```\n\n```{{toctree}}\n:maxdepth: 1\n\n{names}\n```\n"
    )


def activation_page(entry, folder: Path) -> str:
    import derive as dv

    b, k = dv.indices("b k")
    z = dv.tensor("z", b, k)
    h = dv.define("h", (b, k), entry(z))
    facts = [f"Gives {entry.gives}. Default weights before it: `{entry.init}`.", options(entry)]
    if entry.name in STEPS:
        return page(entry, facts, None, "")
    derived = dv.vjp(h, [z], cotangent="w", name=entry.name)
    at = np.linspace(-6, 6, POINTS)
    rows = np.zeros((POINTS, 3 if entry.whole_axis else 1))
    rows[:, 0] = at
    along = np.zeros_like(rows)
    along[:, 0] = 1
    value, grads = compiled(derived)(z=rows.astype("float32"), w=along.astype("float32"))
    said = "the others 0" if entry.whole_axis else ""
    plot(folder, entry.name, at, np.asarray(value)[:, 0], np.asarray(grads["z"])[:, 0], f"u {said}".strip())
    return page(entry, facts, derived, "The value and its derivative" + (f", {said}." if said else "."))


def loss_page(entry, folder: Path) -> str:
    import derive as dv

    b, k = dv.indices("b k")
    z = dv.tensor("p" if entry.reads in ("probabilities", "bits") else "z", b, k)
    derived = dv.backprop(entry.define(z, entry.target_tensor(z)), [z], name=entry.name)
    at, rows, y, said = sweep(entry)
    run = compiled(derived)
    found = [run(**{z.name: row[None].astype("float32"), "y": y}) for row in rows]
    cost = [float(value) for value, _ in found]
    slope = [float(grads[z.name][0, 0]) for _, grads in found]
    plot(folder, entry.name, at, cost, slope, z.name)
    facts = [f"Reads {entry.reads}; the target is {entry.target}.", f"Domain: {entry.domain}", options(entry)]
    if entry.twin:
        facts.append(
            f"The same from {'probabilities' if entry.reads == 'logits' else 'logits'}: "
            f"[{entry.twin}]({entry.twin}.md)."
        )
    return page(entry, facts, derived, f"The cost of one prediction and its derivative, {said}.")


def sweep(entry):
    """``(abscissa, rows, target, what is held)``: the first entry of one row moves, the others stand."""
    line = np.linspace(-4, 4, POINTS)
    open_ = np.linspace(0.02, 0.98, POINTS)
    one = np.ones((1, 1), "float32")
    first = np.array([[1, 0]], "float32")
    if entry.reads == "probabilities":
        y = np.zeros(1, "int32") if entry.target == "labels" else first
        return open_, np.stack([open_, 1 - open_], 1), y, "the right class being this one"
    if entry.reads == "bits":
        return open_, open_[:, None], one, "the answer being yes"
    if entry.target in ("labels", "probabilities"):
        y = np.zeros(1, "int32") if entry.target == "labels" else first
        return line, np.stack([line, 0 * line], 1), y, "the right class being this one, the other's score 0"
    if entry.name == "cosine":
        rows, y = np.stack([line, 0 * line + 1], 1), np.array([[1, 1]], "float32")
        return line, rows, y, "the row being (z, 1), the target (1, 1)"
    if entry.target == "nonnegative":
        line = np.linspace(0.05, 5, POINTS)
    return line, line[:, None], one, "the target being 1"


def compiled(derived):
    import numerics as nx

    return nx.compile(derived)


def plot(folder: Path, name: str, at, value, slope, label: str) -> None:
    """The function and its derivative, as an SVG beside the page."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (np.isfinite(value).all() and np.isfinite(slope).all()):
        raise ExtensionError(f"{name}: the plotted values are not all finite")
    with rc_context({"svg.hashsalt": name, "font.size": 9}):
        figure = Figure(figsize=(5.6, 3.0), layout="constrained")
        axes = figure.subplots()
        axes.plot(at, value, label="value", color="#1f5fa8")
        axes.plot(at, slope, label="derivative", color="#c2541a", linestyle="--")
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})


def options(entry) -> str:
    from derive.networks.catalogue import option_names

    known = option_names(entry.rule)
    return f"Options: {', '.join(f'{n} = {v}' for n, v in known.items())}." if known else ""


def page(entry, facts, derived, caption: str) -> str:
    said = (inspect.getdoc(entry.rule) or "").split("\n>>> ")[0].replace("References\n----------", "**References**\n")
    if not said or not entry.caveats:
        raise ExtensionError(f"{entry.name}: an entry of the catalogue needs a docstring and its caveats")
    lines = [
        f"# {entry.name}",
        "",
        "```{eval-rst}",
        said.rstrip(),
        "```",
        "",
        *(f"- {fact}" for fact in facts if fact),
        "",
    ]
    if derived is not None:
        evidence = derived.check()
        if not evidence.ok:
            raise ExtensionError(f"{entry.name}: {evidence}")
        lines += [f"![{caption}]({entry.name}.svg)", "", caption, ""]
    lines += ["## In floating point", "", entry.caveats, ""]
    if derived is not None:
        lines += [
            "## The derivation",
            "",
            "````{raw} html",
            derived._repr_html_(),
            "````",
            "",
            "## The program",
            "",
            "```python",
            compiled(derived).source.rstrip(),
            "```",
            "",
        ]
    return "\n".join(lines)


def setup(app):
    app.connect("builder-inited", write_all)
    return {"version": "1", "parallel_read_safe": True}
