"""Fixtures shared by the tests and the doctests."""

import importlib.util
import os
from pathlib import Path

import pytest

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # tolerances are stated for the CPU
os.environ.setdefault("MPLBACKEND", "Agg")
os.environ["DERIVE_CACHE"] = "off"  # what a test sees is derived by the code under test

import jax  # noqa: E402  (after the variables that it reads when imported)

ROOT = Path(__file__).resolve().parent
collect_ignore_glob = ["numerics/emit/source/helpers/*"]  # text that is copied into generated modules, never imported
if importlib.util.find_spec("sphinx") is None:
    collect_ignore_glob.append("numerics/sphinx/*")  # the extension, whose doctests need the extra "docs"


@pytest.fixture(autouse=True)
def _precision_is_local():
    """A test that switches float64 on does not change the next one."""
    before = jax.config.jax_enable_x64
    yield
    if jax.config.jax_enable_x64 != before:
        jax.config.update("jax_enable_x64", before)


@pytest.fixture
def x64():
    """Runs the test with float64 arrays; switched off again above."""
    jax.config.update("jax_enable_x64", True)


@pytest.fixture(scope="session")
def data_dir():
    """The folder of data sets named by ``DERIVE_DATA``; tests that need it are skipped where it is not set."""
    found = os.environ.get("DERIVE_DATA")
    if not found or not Path(found).is_dir():
        pytest.skip("DERIVE_DATA names no folder")
    return Path(found)


@pytest.fixture(scope="session")
def root():
    """The top of the checkout."""
    return ROOT


@pytest.fixture
def script(monkeypatch):
    """``script("xor")`` is the function ``main`` of examples/xor.py."""
    monkeypatch.syspath_prepend(str(ROOT / "examples"))  # as where a script runs: one may import from another

    def find(name):
        spec = importlib.util.spec_from_file_location(f"example_{name}", ROOT / "examples" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.main

    return find
