"""Loops in C, wherever they can be written, give what the plain lines give: the cost rule is asked for nothing."""

import shutil

import jax
import numpy as np
import pytest
from kernel_cases import data, free_sizes
from programs import CASES
from reference_layers import LAYERS, alone, derivation

import numerics as nx
from numerics.checks.ground import float64
from numerics.emit.loops import rows, windows
from numerics.reference.grid import size_value
from numerics.reference.sampling import draw_sizes

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")]


@pytest.fixture(autouse=True)
def everything(monkeypatch, tmp_path):
    monkeypatch.setattr(rows, "WORTH", 0.0)
    for least in ("COLUMNS", "ROWS", "DEPTH", "WORK", "AGAIN", "PARTS"):
        monkeypatch.setattr(windows, least, 1)
    monkeypatch.setenv("DERIVE_CACHE", str(tmp_path))


def compared(d, sizes, arrays):
    plain, native = (nx.compile(d, sizes=sizes, check=False, native=native) for native in (False, True))
    if "LOOPS" not in native.source:
        return
    with float64():
        given = arrays(plain)
        want, got = ([np.asarray(a) for a in jax.tree.leaves(tuple(k(**given)))] for k in (plain, native))
    top = max(np.abs(a).max() for a in want)
    for a, b in zip(want, got, strict=True):
        assert np.abs(a - b).max() <= 1e-11 * max(1e-3 * top, np.abs(a).max())


@pytest.mark.parametrize("name", LAYERS)
def test_layers_of_images(name):
    make, shape = LAYERS[name]
    model = alone(make(), shape)
    d = derivation(model)

    def arrays(kern):
        sizes = draw_sizes(d.program, dict(kern.request.sizes), pool=(3, 5, 4, 6, 7, 8, 9))
        rng = np.random.default_rng(0)
        return {t.name: rng.normal(size=[size_value(a, sizes) for a in t.axes]) ** 2 for t in kern.inputs}

    compared(d, model.sizes, arrays)


@pytest.mark.parametrize("name", CASES)
def test_programs_outside_the_catalogue(name):
    d = CASES[name]()
    sizes, arrays = data(d)[:2]
    free = free_sizes(d)
    compared(
        d, {s.name: n for s, n in sizes.items() if s.name in free}, lambda k: {t.name: arrays[t.name] for t in k.inputs}
    )
