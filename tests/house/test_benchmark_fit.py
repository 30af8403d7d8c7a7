"""The benchmark of fit measures what it says, on the same batches."""

import numpy as np

import derive as dv
from benchmarks import fit
from derive.networks import layers as L


def absent(*_):
    raise ModuleNotFoundError("flax")


def test_the_quick_run_compares_an_epoch_with_the_bare_step(monkeypatch):
    monkeypatch.setattr(fit, "flax", absent)  # what is not installed is left out
    rows = fit.measure(quick=True)
    assert rows[0].measure == "epoch, bare step" and rows[0].floor == fit.BARE
    assert all(row.ratio > 0 and row.values["fit_s"] > 0 for row in rows)


def test_the_bare_loop_trains():
    X = np.random.default_rng(0).normal(size=(256, 5)).astype(np.float32)
    Y = (X[:, 0] > 0).astype(np.int32)
    epoch = fit.bare(dv.Sequential([L.Dense(8, activation="relu"), L.Dense(2)], input_shape=(5,)), X, Y)
    losses = [epoch() for _ in range(60)]
    assert losses[-1] < 0.8 * losses[0]
