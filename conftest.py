"""Fixtures shared by the tests and the doctests."""

import gc
import importlib.util
import os
import subprocess
import sys
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

# The quick tests run small arrays once: more than half of their time was XLA's, in making code fast that runs once.  Of the
# two options the second is unknown to later versions.  The slow tests, and any with XLA_FLAGS set, run what users run.
QUICK_TO_COMPILE = ("--xla_backend_optimization_level=0", "--xla_cpu_use_fusion_emitters=false")


def pytest_configure(config):
    """The quick tests by themselves are compiled without optimization; workers inherit it."""
    if config.option.markexpr != "not slow" or "XLA_FLAGS" in os.environ or hasattr(config, "workerinput"):
        return
    starts = [sys.executable, "-c", "import jax; jax.devices()"]  # an option that XLA does not know ends the process
    for flags in (" ".join(QUICK_TO_COMPILE), QUICK_TO_COMPILE[0]):
        if subprocess.run(starts, env={**os.environ, "XLA_FLAGS": flags}, capture_output=True).returncode == 0:
            os.environ["XLA_FLAGS"] = flags
            return


def pytest_collection_finish(session):
    """What is imported stays: the collector need not look at it again, which was a tenth of the time."""
    gc.collect()
    gc.freeze()


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
