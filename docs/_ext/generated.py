"""Pages written by the build from the library itself: the passes, derivations made live, the public names."""

import importlib
import inspect
import re
import tomllib
from pathlib import Path

from api_groups import BASE, DERIVE, FAMILY, NUMERICS, PLAIN_DATA
from sphinx.errors import ExtensionError

DERIVATIONS = {
    "softmax_regression": "Softmax regression",
    "layer_norm": "Layer normalisation",
    "attention": "Attention with a causal mask",
}


def write_all(app):
    """Runs before any page is read, so a page that cannot be made fails the build."""
    folder = Path(app.srcdir) / "generated"
    folder.mkdir(exist_ok=True)
    pages = {
        "passes": passes(),
        "floors": floors(Path(app.srcdir) / "floors.toml"),
        "catalogue": catalogue(),
        "api_derive": api_derive(),
        "api_layers": api_layers(),
        "api_numerics": api_numerics(),
    }
    pages |= {name: derivation(name, title, folder) for name, title in DERIVATIONS.items()}
    for name, text in pages.items():
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def passes() -> str:
    """The passes drawn as a column of boxes, then what each is for, then what each did to one real model."""
    from derive.networks.examples import load
    from derive.passes.pipeline import PASSES

    derived = load("softmax_regression").backprop()
    lines = ["```text", *drawn([p.name for p in PASSES]), "```", "", "## Pass by pass", ""]
    for step in PASSES:
        lines += [f"### {step.name}", "", "```{eval-rst}", first_paragraph(step), "```", ""]
        if step.rules:
            lines += [f"Its rules, in the order in which it tries them: {', '.join(r.name for r in step.rules)}.", ""]
    lines += ["## What each did to softmax regression", "", "```text", *map(str, derived.passes), "```", ""]
    return "\n".join(lines)


def drawn(names: list[str]) -> list[str]:
    """The column of boxes; a type check stands on every arrow."""
    width = max(map(len, names)) + 2
    middle = width // 2
    arrow = " " * (middle + 3) + "│ "
    lines = ["  forward definitions", arrow]
    for name in names:
        lines += [
            "  ┌" + "─" * middle + "┴" + "─" * (width - middle - 1) + "┐",
            "  │" + name.center(width) + "│",
            "  └" + "─" * middle + "┬" + "─" * (width - middle - 1) + "┘",
            arrow + " type check of the whole program",
        ]
    return [*lines, " " * (middle + 3) + "▼", "  forward and backward equations, numbered; every step kept"]


def floors(plan: Path) -> str:
    """The house drawn from the list that the test of the floors reads, and what each room is for."""
    houses = {n: f for n, f in tomllib.loads(plan.read_text(encoding="utf-8")).items() if n != "doors"}
    width = max(len(_row(rooms)) for found in houses.values() for rooms in found) + 2
    lines, table = [], ["| room | what it is for |", "| --- | --- |"]
    for name in reversed(houses):
        lines.append("  ┌" + f" {name} ".center(width, "─") + "┐")
        for n, rooms in enumerate(reversed(houses[name])):
            lines += (["  ├" + "─" * width + "┤"] if n else []) + ["  │" + _row(rooms).center(width) + "│"]
        lines.append("  └" + "─" * width + "┘")
        for room in (r for rooms in houses[name] for r in rooms):
            first = (inspect.getdoc(importlib.import_module(room)) or "").split("\n\n")[0].replace("\n", " ")
            if not first:
                raise ExtensionError(f"room {room} has no docstring to teach from")
            first = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", first)
            table.append(f"| `{room}` | {first.replace('|', chr(92) + '|')} |")
    return "\n".join(["```text", *lines, "```", "", *table, ""])


def _row(rooms: list[str]) -> str:
    return "    ".join(r.partition(".")[2] or r for r in rooms)


def first_paragraph(step) -> str:
    text = getattr(step, "why", None) or inspect.getdoc(getattr(step, "run", step)) or ""
    if not text:
        raise ExtensionError(f"pass {step.name!r} has no docstring to teach from")
    return text.split("\n\n")[0]


def derivation(name: str, title: str, folder: Path) -> str:
    """One model of the catalogue: its text, its derivation made now, its program."""
    from derive.networks.examples import load

    model = load(name)
    derived = model.backprop()
    derived.check()  # the evidence stands at the end of the self-contained page
    html = folder / "html" / f"{name}.html"
    html.parent.mkdir(exist_ok=True)
    html.write_text(derived.to_html(), encoding="utf-8")
    return "\n".join(
        [
            f"# {title}",
            "",
            f"Derived by the build of this page from the text below; also as {{download}}`one self-contained page "
            f"<html/{name}.html>`, or by `derive show {name}` as text, LaTeX or Markdown.",
            "",
            "```text",
            model.text.strip(),
            "```",
            "",
            f"```{{derivation}} {name}",
            "```",
            "",
            "## The program",
            "",
            f"`derive emit {name}` writes:",
            "",
            f"```{{kernel}} {name}",
            "```",
            "",
        ]
    )


def catalogue() -> str:
    from derive.networks.examples import load, names

    parts = []
    for name in names():
        parts += [f"`{name}`", "", "```text", load(name).text.strip(), "```", ""]
    return "\n".join(parts)


def api(title: str, intro: str, groups: dict[str, tuple], module) -> str:
    """One page of public names in groups, those in no group last; one without a docstring fails the build."""
    listed = {n for _, members in groups.values() for n in members}
    public = {n for n in dir(module) if not n.startswith("_") and not inspect.ismodule(getattr(module, n))}
    further = sorted(public - listed - PLAIN_DATA)
    if further:
        groups = {**groups, "Further": (("members",), tuple(further))}
    mute = [n for n in sorted(listed | set(further)) if not inspect.getdoc(getattr(module, n))]
    if mute:
        raise ExtensionError(f"{module.__name__}: public names without a docstring: {mute}")
    lines = [f"# {title}", "", intro, ""]
    for heading, (options, members) in groups.items():
        lines += [f"## {heading}", ""]
        for name in members:
            kind, extra = directive(getattr(module, name), options)
            lines += ["```{eval-rst}", f".. {kind}:: {module.__name__}.{name}", *extra, "```", ""]
    return "\n".join(lines)


def directive(thing, options):
    if inspect.isclass(thing):
        return "autoclass", [f"   :{o}:" for o in options]
    if callable(thing):
        return "autofunction", []
    return "autodata", ["   :no-value:"]


def api_derive() -> str:
    import derive

    return api("derive", "The mathematics: `import derive as dv`. SymPy and the standard library only.", DERIVE, derive)


def api_layers() -> str:
    """Layers by the file they stand in, so that a new one finds its place by itself."""
    from derive.networks import layers

    by_file: dict[str, list[str]] = {}
    for name, thing in vars(layers).items():
        if not name.startswith("_") and (inspect.isclass(thing) or inspect.isfunction(thing)):
            file = thing.__module__.rsplit(".", 1)[-1]
            by_file.setdefault(FAMILY.get(file, file), []).append(name)
    kinds = sorted(set(by_file) - set(BASE)) + [m for m in BASE if m in by_file]
    groups = {BASE.get(m, m.capitalize()): (("members",) if m in BASE else (), tuple(by_file[m])) for m in kinds}
    return api("derive.networks.layers", "Forward definitions only: `from derive import layers as L`.", groups, layers)


def api_numerics() -> str:
    import numerics

    return api("numerics", "The arrays: `import numerics as nx`, on JAX.", NUMERICS, numerics)


def examples_have_a_heading(app, what, name, obj, options, lines):
    """A doctest after a section such as Parameters would be read as one more parameter: give it a heading."""
    underlined = [n for n, line in enumerate(lines) if line and set(line.strip()) == {"-"}]
    first = next((n for n, line in enumerate(lines) if line.startswith(">>> ")), None)
    if first is None or not underlined or underlined[0] > first:
        return
    last = max(n for n in underlined if n < first)
    if lines[last - 1].strip() not in ("Examples", "Notes"):
        lines[first:first] = ["Examples", "--------"]


def setup(app):
    app.connect("builder-inited", write_all)
    app.connect("autodoc-process-docstring", examples_have_a_heading, priority=400)  # before napoleon's, at 500
    return {"version": "1", "parallel_read_safe": True}
