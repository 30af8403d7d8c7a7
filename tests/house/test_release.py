"""The wheel and the source archive: built from the tree, installed where nothing else is, and complete."""

import email
import os
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

TEXTS = {
    "derive/networks/examples/softmax_regression.dv",
    "derive/show/math.woff2",
    "derive/py.typed",
    "numerics/py.typed",
}
TEXTS |= {"numerics/__init__.pyi", "numerics/emit/loops/helpers.js", "numerics/sphinx/derivation.css"}
TEXTS |= {"numerics/emit/source/helpers/windows.py"}
USE = """
import sys
import derive as dv
from derive.networks.examples import load, names
assert "site-packages" in dv.__file__, dv.__file__
for name in names():
    load(name)
d = load("softmax_regression").backprop()
assert d.check().proved and "woff2" in d.to_html()
assert not {"jax", "numpy", "numerics"} & set(sys.modules)
import numerics as nx
kern = nx.compile(d)
assert nx.verify(kern).ok and "checked at" in kern.checked
assert "export function" in nx.source(d, target="javascript")
print("ok", len(names()))
"""


def run(*command, cwd=None, **env):
    clean = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "XLA_FLAGS")}
    done = subprocess.run(
        [str(c) for c in command],
        cwd=cwd,
        env={**clean, **env},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-3000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(root, tmp_path_factory):
    """A folder with the wheel and the source archive, the wheel made from the archive."""
    pytest.importorskip("build")
    out = tmp_path_factory.mktemp("dist")
    tree = tmp_path_factory.mktemp("tree") / "derive"
    skipped = shutil.ignore_patterns(
        ".git", ".venv", "out", "_build", "*.egg-info", "__pycache__", ".*_cache", "node_modules"
    )
    shutil.copytree(root, tree, ignore=skipped)
    run(sys.executable, "-m", "build", "--outdir", out, tree)
    return out


def members(built: Path) -> tuple[set[str], set[str], str]:
    (wheel,), (archive,) = built.glob("*.whl"), built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as z:
        inside = set(z.namelist())
        metadata = z.read(next(n for n in inside if n.endswith(".dist-info/METADATA"))).decode()
    with tarfile.open(archive) as t:
        return inside, {n.partition("/")[2] for n in t.getnames()}, metadata


@pytest.mark.slow
def test_both_hold_what_is_read_at_run_time_and_nothing_else(built, root):
    wheel, archive, metadata = members(built)
    examples = {str(p.relative_to(root)) for p in (root / "derive/networks/examples").glob("*.dv")}
    assert examples and wheel >= TEXTS | examples
    assert archive >= TEXTS | examples | {"README.md", "LICENSE", "NOTICE", "pyproject.toml"}
    assert {n.split("/")[0].partition("-")[0] for n in wheel} == {"derive", "numerics", "derive_numerics"}
    said = email.message_from_string(metadata)
    assert said["Name"] == "derive-numerics" and said["Version"] == "0.1.0" and said["Requires-Python"] == ">=3.11"
    needed = [r.split(">")[0] for r in said.get_all("Requires-Dist") if "extra ==" not in r]
    assert sorted(needed) == ["jax", "numpy", "sympy"]


@pytest.mark.slow
def test_the_wheel_works_with_its_declared_dependencies_alone(built, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(python, "-m", "pip", "install", "-q", "--disable-pip-version-check", wheel)
    assert run(python, "-c", USE, cwd=tmp_path, DERIVE_CACHE="off").startswith("ok")
    short = subprocess.run([tmp_path / "env" / "bin" / "derive"], capture_output=True, text=True, check=False)
    assert short.returncode == 2 and "pip install 'derive-numerics[train]'" in short.stderr


@pytest.mark.slow
@pytest.mark.parametrize("minor", [11, 12, 13, 14])
def test_derive_runs_on_every_python_it_names(built, tmp_path, minor):
    python = runs(f"python3.{minor}")
    if python is None:
        pytest.skip(f"there is no python3.{minor} here")
    run(python, "-m", "venv", tmp_path / "env")
    own = tmp_path / "env" / "bin" / "python"
    (wheel,) = built.glob("*.whl")
    run(own, "-m", "pip", "install", "-q", "--disable-pip-version-check", "sympy>=1.14")
    run(own, "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-deps", wheel)
    alone = "from derive.networks.examples import load\nd = load('layer_norm').backprop()\n"
    alone += "assert d.check().proved and d.to_html() and d.to_latex()\nprint('ok')"
    assert run(own, "-W", "error", "-c", alone, cwd=tmp_path) == "ok\n"


def runs(name: str) -> str | None:
    """The newest patch of a Python that starts: on the path, or kept by pyenv."""
    kept = sorted((Path.home() / ".pyenv" / "versions").glob(f"{name.removeprefix('python')}.*/bin/python"))
    for found in [*map(str, reversed(kept)), shutil.which(name)]:
        if found and subprocess.run([found, "-m", "venv", "--help"], capture_output=True, check=False).returncode == 0:
            return found
    return None
