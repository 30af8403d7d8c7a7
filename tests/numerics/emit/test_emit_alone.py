"""The emitter makes text only: no JAX and no NumPy, and a cost that is linear in the depth of a network."""

import ast
import cProfile
import importlib
import pkgutil
import pstats
import subprocess
import sys
import types

import pytest
from kernel_cases import CASES
from programs import mlp
from second_order_programs import logistic
from sympy.core.cache import clear_cache

import derive as dv
import numerics as nx
from derive import layers as L
from numerics.emit.patterns import sums
from numerics.emit.source import library

HEAVY = {"jax", "jaxlib", "numpy", "optax", "matplotlib", "scipy"}
WRITE = """
import derive as dv, numerics as nx
from derive.networks.examples import load, names
for name in names():
    assert "@jax.jit" in nx.source(load(name).backprop())
"""


def loaded(statement, root) -> set[str]:
    """The heavy modules that a fresh interpreter holds after a statement."""
    code = f"import sys; sys.path.insert(0, {str(root)!r})\n{statement}\nprint(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {name.split(".")[0] for name in done.stdout.split()} & HEAVY


@pytest.mark.parametrize(
    "statement", ["import numerics", "import numerics; dir(numerics)", "import numerics.emit", WRITE]
)
def test_source_is_written_without_arrays(statement, root):
    assert loaded(statement, root) == set()


def test_no_module_of_the_emitter_loads_arrays(root):
    files = [f for f in (root / "numerics" / "emit").rglob("*.py") if f.parent.name != "helpers"]
    modules = {".".join(f.relative_to(root).with_suffix("").parts).removesuffix(".__init__") for f in files}
    assert len(modules) > 25
    assert loaded("\n".join(f"import {m}" for m in sorted(modules)), root) == set()


def test_the_test_of_imports_can_fail(root):
    assert "jax" in loaded("import numerics; numerics.compile", root)


# -- nx.source -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (CASES["mlp"], {}),
        (CASES["mlp"], {"sizes": {"I": 200}, "dense": True, "name": "another title"}),
        (CASES["strided_conv"], {"sizes": {"C": 3}, "patterns": {"convolution": "conv"}}),
        (lambda: dv.hessian(*logistic()), {"form": "structured"}),
        (
            lambda: dv.Sequential([L.LSTM(3), L.Dense(2)], input_shape=(9, 2)).backprop("mean_squared_error"),
            {"checkpoint_every": 3},
        ),
    ],
    ids=["plain", "dense", "patterns", "structured", "checkpoint"],
)
@pytest.mark.parametrize("backend", [None, "gpu"])
def test_it_is_the_source_of_the_kernel(make, options, backend):
    d = make()
    needed = {s.name for s in d.program.sizes()} - {a.name for t in d.program.inputs for a in t.axes if a.is_Symbol}
    options = options | {"sizes": dict.fromkeys(needed, 2) | options.get("sizes", {}), "backend": backend}
    assert nx.source(d, **options) == nx.compile(d, **options).source


def test_the_backend_decides_between_emissions():
    d = dv.Sequential([L.Conv2D(4, 3), L.Flatten(), L.Dense(2)], input_shape=(8, 8, 3)).backprop("mean_squared_error")
    cpu, gpu = nx.source(d), nx.source(d, backend="gpu")
    assert cpu == nx.source(d, backend="cpu") == nx.compile(d, backend="cpu").source
    assert "best on gpu" in gpu and "best on gpu" not in cpu


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "fortran"}, r"nx.source\(target='fortran'\): give one of 'jax'"),
        ({"backend": "abacus"}, r"nx.source\(backend='abacus'\): give one of 'cpu', 'gpu', 'tpu'"),
        ({"form": "sparse"}, r"nx.source\(form='sparse'\): give one of 'dense', 'structured'"),
        ({"sizes": {"Q": 2}}, "nx.source: size 'Q' is not in this derivation; its sizes are"),
        ({"sizes": {"B": 2.5}}, "nx.source: size B = 2.5: give a whole number"),
        ({"checkpoint_every": 2, "dense": True}, "nx.source: checkpoint_every is for the usual emission"),
        ({"patterns": {"pool": "sideways"}}, "'sideways'} is not known"),
    ],
)
def test_what_is_refused(options, message):
    with pytest.raises(nx.NumericsError, match=message):
        nx.source(CASES["mlp"](), **options)
    if "target" not in options:
        with pytest.raises(nx.NumericsError, match=message.replace("nx.source", "nx.compile")):
            nx.compile(CASES["mlp"](), **options)


def test_only_derivations_have_a_source():
    with pytest.raises(nx.NumericsError, match=r"nx.source\(int\): takes a derivation"):
        nx.source(3)


# -- the functions that modules copy -------------------------------------------------------------------------------


def test_every_helper_is_found_with_what_it_calls():
    found = library.helpers()
    assert {"taps", "spread", "max_pool", "gram", "scan_parts", "total"} <= set(found)
    assert found["scan_parts"].calls == {"in_parts", "joined"}
    assert found["depthwise_kernel_gradient"].calls == {"taps"}  # its variable `total` is not the function
    for name in found:
        module = "\n\n".join([*library.imports([name]), *library.sources([name])])
        defined = {n.name for n in ast.parse(module).body if isinstance(n, ast.FunctionDef)}
        called = {n.id for n in ast.walk(ast.parse(module)) if isinstance(n, ast.Name)}
        assert name in defined and (called & set(found)) - {"total"} <= defined


def test_helpers_are_written_each_once_and_in_order():
    texts = library.sources(["max_pool", "patches", "scan_parts_back"])
    assert [text.split("(")[0] for text in texts] == [
        f"def {name}" for name in ("in_parts", "joined", "scan_parts_back", "taps", "patches", "max_pool")
    ]
    assert library.imports(["max_pool_gradient"]) == ["import functools", "from itertools import product"]


# -- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", [dv, nx], ids=["derive", "numerics"])
def test_dir_shows_public_names_only(package):
    assert dir(package) == sorted(package.__all__)
    assert all(hasattr(package, name) and not name.startswith("_") for name in dir(package))
    spaces = {name for name in dir(package) if isinstance(getattr(package, name), types.ModuleType)}
    assert (
        spaces
        == {"derive": {"activations", "examples", "layers", "losses"}, "numerics": set(nx.SPACES)}[package.__name__]
    )


def test_no_function_of_numerics_has_the_name_of_a_module():
    """Importing the module would put it in the function's place."""
    modules = {m.name for m in pkgutil.iter_modules(nx.__path__)}
    assert modules & set(nx.__all__) <= set(nx.SPACES)
    importlib.import_module("numerics.minimize.solve")
    assert callable(nx.newton) and callable(nx.verify) and callable(nx.compile)


def test_type_checkers_read_the_same_names(root):
    tree = ast.parse((root / "numerics" / "__init__.pyi").read_text(encoding="utf-8"))
    found = {(n.module, a.asname) for n in tree.body if isinstance(n, ast.ImportFrom) for a in n.names}
    table = {(module, name) for module, names in nx.NAMES.items() for name in names.split()}
    assert found == table | {(module.rpartition(".")[0] or None, name) for name, module in nx.SPACES.items()}


def test_a_name_that_there_is_not():
    with pytest.raises(AttributeError, match="module 'numerics' has no attribute 'comple'"):
        nx.comple  # noqa: B018


# -- cost ----------------------------------------------------------------------------------------------------------


def normalized(depth):
    layers = [layer for _ in range(depth) for layer in (L.Dense(4), L.BatchNorm())]
    return dv.Sequential([*layers, L.Dense(2)], input_shape=(3,)).backprop("mean_squared_error")


def calls_per_layer(make, depth) -> float:
    """Calls of functions while the source is written, for each layer: what a clock says without its noise."""
    clear_cache()
    d, profile = make(depth), cProfile.Profile()
    profile.runcall(nx.source, d)
    return sum(calls for _, calls, *_ in pstats.Stats(profile).stats.values()) / depth


@pytest.mark.parametrize("make", [mlp, normalized])
def test_emission_is_linear_in_depth(make):
    calls_per_layer(make, 2)  # what is done once
    assert calls_per_layer(make, 20) < 1.1 * calls_per_layer(make, 5)


def test_a_sum_is_compared_with_the_sums_like_it_only(monkeypatch):
    compared = []
    match = sums.matching_sum
    monkeypatch.setattr(sums, "matching_sum", lambda t, f: compared.append(f.name) or match(t, f))
    counts = []
    for depth in (5, 20):
        compared.clear()
        sums.reuse_sums(normalized(depth).program)
        counts.append(len(compared) / depth)
    assert 0 < counts[1] <= 1.1 * counts[0]


def test_the_test_of_linearity_can_fail(monkeypatch):
    monkeypatch.setattr(sums.Sums, "like", lambda self, t: sorted((n, e) for s in self.by_key.values() for n, e in s))
    assert calls_per_layer(normalized, 20) > 1.3 * calls_per_layer(normalized, 5)
