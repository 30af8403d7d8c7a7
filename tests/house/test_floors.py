"""The house keeps its floors: no import runs up or in a circle, late ones included; and the test of that can fail."""

import ast
import functools
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PLAN = tomllib.loads((ROOT / "docs" / "floors.toml").read_text(encoding="utf-8"))
FLOOR = {room: (top, n) for top in ("derive", "numerics") for n, rooms in enumerate(PLAN[top]) for room in rooms}

# what a function may import late, and why
HEAVY = {
    "jax": "loading it takes a second, and text can be written without it",
    "matplotlib": "loading it takes a second; an extra",
    "rich": "an extra",
    "typer": "an extra",
    "sklearn": "loading it takes a second; an extra",
    "torch": "optional",
    "optax": "an extra",
    "safetensors": "an extra",
    "PIL": "an extra",
    "scipy": "loading it takes a while; it comes with JAX",
    "ml_dtypes": "comes with JAX",
    "pygments": "every notebook brings it",
}


def modules(root: Path = ROOT) -> dict[str, Path]:
    """Dotted name -> file; what a folder without ``__init__.py`` holds is data."""
    found = {}
    for path in sorted(p for top in ("derive", "numerics") for p in (root / top).rglob("*.py")):
        if not (path.parent / "__init__.py").exists():
            continue
        parts = path.relative_to(root).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports(name: str, path: Path, known) -> list[tuple[str, bool, int]]:
    """``(module, whether inside a function, line)`` of every import of the house, those under any ``if`` included."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    found = []
    for node, late in statements(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            names = [a.name for a in node.names]
        else:
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            base = ".".join(filter(None, (base, node.module)))
            names = [f"{base}.{a.name}" if f"{base}.{a.name}" in known else base for a in node.names]
        found += [(n, late, node.lineno) for n in names]
    return found


@functools.cache
def statements(text: str) -> list[tuple[ast.Import | ast.ImportFrom, bool]]:
    """The imports of a module, and whether each is inside a function."""
    tree = ast.parse(text)
    inside = {
        n
        for f in ast.walk(tree)
        if isinstance(f, ast.FunctionDef | ast.AsyncFunctionDef)
        for n in ast.walk(f)
        if n != f
    }
    return [(n, n in inside) for n in ast.walk(tree) if isinstance(n, ast.Import | ast.ImportFrom)]


def room_of(module: str) -> str:
    """The room that a module stands in: the longest name in the plan that it begins with."""
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in FLOOR:
            return ".".join(parts[:n])
    raise AssertionError(f"{module}: docs/floors.toml has no room for it")


def arrows(found) -> list[tuple[str, str, bool, int]]:
    """``(importer, imported, late, line)`` of every import of one module of the house by another."""
    return [
        (name, target, late, line)
        for name, path in found.items()
        for target, late, line in imports(name, path, found)
        if target in found and target != name
    ]


def refused(arrow) -> str:
    """Why an arrow is not allowed, or nothing."""
    here, there, late, line = arrow
    if late and f"{here} -> {there}" in PLAN["doors"]:
        return ""
    mine, its = room_of(here), room_of(there)
    where = f"{here}:{line} imports {there}"
    if mine == its:
        return ""
    if FLOOR[mine][0] != FLOOR[its][0]:
        return f"{where}: derive knows nothing of numerics" if FLOOR[mine][0] == "derive" else ""
    if FLOOR[mine][1] == FLOOR[its][1]:
        return f"{where}: {its} stands beside {mine}, on one floor"
    return f"{where}: {its} stands above {mine}" if FLOOR[mine][1] < FLOOR[its][1] else ""


def circles(found) -> list[list[str]]:
    """Modules that import each other, late or not: strongly connected components of more than one, by Tarjan."""
    reads: dict[str, set[str]] = {name: set() for name in found}
    for here, there, _, _ in arrows(found):
        reads[here].add(there)
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    out: list[list[str]] = []

    def visit(v):
        index[v] = low[v] = len(index)
        stack.append(v)
        for w in reads[v]:
            if w not in index:
                visit(w)
            if w in stack:
                low[v] = min(low[v], low[w])
        if low[v] == index[v]:
            component = []
            while not component or component[-1] != v:
                component.append(stack.pop())
            if len(component) > 1:
                out.append(sorted(component))

    for v in sorted(reads):
        if v not in index:
            visit(v)
    return out


def test_no_import_runs_up_or_aside():
    assert [why for arrow in arrows(modules()) if (why := refused(arrow))] == []


def test_there_is_no_circle():
    assert circles(modules()) == []


def test_every_room_is_there_and_every_module_has_one():
    found = modules()
    assert {room_of(m) for m in found} == set(FLOOR)


def test_late_imports_are_of_heavy_packages_and_say_why():
    """Below the command line an import inside a function is of an optional or heavy package, or of what loads one."""
    found, loads = modules(), {}
    for name, path in found.items():
        loads[name] = {n.split(".")[0] for n, late, _ in imports(name, path, found) if not late}
    heavy = {n for n, roots in loads.items() if roots & set(HEAVY)}
    plain, before = [(here, there) for here, there, late, _ in arrows(found) if not late], set()
    while heavy != before:  # what imports a heavy module is heavy, too
        before = set(heavy)
        heavy |= {here for here, there in plain if there in heavy}
    wrong = []
    for name, path in found.items():
        if room_of(name) in ("numerics.cli", "derive"):
            continue  # a command loads what it runs: the help of the command line must appear at once
        for target, late, line in imports(name, path, found):
            if late and target.split(".")[0] not in HEAVY and target not in heavy:
                wrong.append(f"{name}:{line} imports {target} late, which is not heavy")
    assert wrong == []


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("derive/language/nodes.py", "from derive.show import latex", "stands above"),
        ("derive/language/nodes.py", "def f():\n    from derive.show.latex import latex_expr", "stands above"),
        ("derive/exact/field.py", "def f():\n    from ..passes import contract", "beside"),
        ("derive/show/text.py", "if False:\n    import numerics.errors", "knows nothing of numerics"),
    ],
)
def test_an_arrow_up_is_seen(file, text, said, tmp_path):
    """A faulty house is built from the names of this one, with one import planted."""
    for path in modules().values():
        copy = tmp_path / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_text(text + "\n" if str(path.relative_to(ROOT)) == file else "", encoding="utf-8")
    found = [why for arrow in arrows(modules(tmp_path)) if (why := refused(arrow))]
    assert len(found) == 1 and said in found[0], found


def test_a_circle_is_seen(tmp_path):
    for name, text in {"__init__": "", "a": "from . import b", "b": "def f():\n    from .a import x"}.items():
        path = tmp_path / "derive" / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    assert circles(modules(tmp_path)) == [["derive.a", "derive.b"]]
