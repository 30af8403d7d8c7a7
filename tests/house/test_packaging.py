"""What the packages promise of themselves: who imports whom, and what generated code never does."""

import ast
import subprocess
import sys

import pytest

from derive.networks.examples import load, names

FORBIDDEN = ("jax", "jaxlib", "numpy", "numerics", "scipy", "matplotlib")
AUTODIFF = {
    "grad",
    "value_and_grad",
    "vjp",
    "jvp",
    "hessian",
    "jacfwd",
    "jacrev",
    "jacobian",
    "linearize",
    "linear_transpose",
    "custom_vjp",
    "custom_jvp",
    "checkpoint",
}


def modules_after(statement: str, root) -> set[str]:
    """The top-level modules that a fresh interpreter holds after a statement."""
    code = f"import sys; sys.path.insert(0, {str(root)!r})\n{statement}\nprint(' '.join(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()}


def loaded(statement: str, root) -> list[str]:
    return sorted(modules_after(statement, root) & set(FORBIDDEN))


def test_importing_derive_loads_no_arrays(root):
    assert loaded("import derive", root) == []


def test_deriving_and_showing_loads_no_arrays(root):
    statement = (
        "from derive.networks.examples import load\n"
        "d = load('softmax_regression').backprop()\n"
        "assert d.check() and d.to_html() and d.to_latex() and d.to_markdown() and d.to_text()"
    )
    assert loaded(statement, root) == []


def test_every_module_of_derive_loads_no_arrays(root):
    files = sorted((root / "derive").rglob("*.py"))
    modules = [".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for f in files]
    modules = [m for m in modules if not m.endswith("__main__")]
    assert len(modules) > 20
    assert loaded("\n".join(f"import {m}" for m in modules), root) == []


@pytest.mark.parametrize("culprit", ["numpy", "jax", "numerics"])
def test_the_import_test_can_fail(culprit, root):
    assert culprit in loaded(f"import derive, {culprit}", root)


def autodiff_in(source: str) -> set[str]:
    """The names of autodiff that a module uses, as a name, an attribute or an import."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name):
            found.add(node.id)
        elif isinstance(node, ast.Attribute):
            found.add(node.attr)
        elif isinstance(node, ast.alias):
            found.add(node.name.split(".")[-1])
    return found & AUTODIFF


@pytest.mark.parametrize("name", names())
def test_generated_source_never_calls_autodiff(name):
    import numerics as nx

    source = nx.compile(load(name).backprop()).source
    assert autodiff_in(source) == set()
    imported = {a.name.split(".")[0] for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module.split(".")[0] for n in ast.walk(ast.parse(source)) if isinstance(n, ast.ImportFrom)}
    assert imported <= {"jax", "__future__"}, "a saved module runs where only JAX is installed"


@pytest.mark.parametrize("line", ["jax.grad(f)", "from jax import vjp", "import jax.numpy\ng = jax.value_and_grad"])
def test_the_autodiff_test_can_fail(line):
    assert autodiff_in(f"import jax\n{line}\n") & AUTODIFF


def test_nothing_is_pickled_or_evaluated(root):
    calls = {"eval", "compile", "exec"}
    for path in sorted((root / "derive").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        used = {n.func.id for n in ast.walk(tree) if isinstance(n, ast.Call) and isinstance(n.func, ast.Name)}
        modules = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
        assert not used & calls, f"{path}: {used & calls}"
        assert not modules & {"pickle", "marshal", "shelve"}, f"{path}: {modules}"


def test_version_is_one_number():
    from importlib.metadata import version

    assert version("derive-numerics").count(".") >= 2
