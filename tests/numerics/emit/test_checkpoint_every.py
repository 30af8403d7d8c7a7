"""checkpoint_every: the same results as the plain emission, less memory, and refusals."""

import jax
import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.errors import NumericsError

LAYERS = {
    "lstm": lambda: [L.LSTM(4, return_sequences=True)],
    "peepholes": lambda: [L.LSTM(4, peepholes=True)],
    "gru": lambda: [L.GRU(4)],
    "gru, reset before": lambda: [L.GRU(4, reset_after=False, return_sequences=True)],
    "bidirectional": lambda: [L.Bidirectional(L.LSTM(3, return_sequences=True))],
    "stacked": lambda: [L.LSTM(3, return_sequences=True), L.GRU(4, return_sequences=True), L.LSTM(2)],
    "carried": lambda: [L.LSTM(3, return_sequences=True, initial_state="carried")],
    "trained start": lambda: [L.LSTM(3, initial_state="parameter")],
}


def arrays(kern, sizes, seed=0):
    rng = np.random.default_rng(seed)
    found = {}
    for t in kern.inputs:
        shape = [int(a.xreplace(sizes)) for a in t.axes]
        below = int(t.below.xreplace(sizes)) if t.dtype == "int" else 0
        found[t.name] = rng.integers(0, below, shape) if t.dtype == "int" else rng.normal(size=shape)
    return found


def same(d, sizes, every, seed=0):
    with jax.enable_x64(True):
        plain, kept = nx.compile(d), nx.compile(d, checkpoint_every=every)
        given = arrays(plain, {dv.size(n): k for n, k in sizes.items()}, seed)
        expected, found = plain(**given), kept(**given)
        assert jax.tree.structure(expected) == jax.tree.structure(found)
        for a, b in zip(jax.tree.leaves(expected), jax.tree.leaves(found), strict=True):
            assert np.allclose(a, b, rtol=1e-12, atol=1e-13)
    return kept


@pytest.mark.parametrize("name, every", [*((name, 3) for name in LAYERS), ("lstm", 1), ("gru", 7)])
def test_the_results_are_those_of_the_plain_emission(name, every):
    model = dv.Sequential([*LAYERS[name](), L.Dense(3)], input_shape=(7, 5))
    d = model.backprop("sparse_softmax_cross_entropy")
    kept = same(d, {"B": 2, **model.sizes}, every)
    assert "scan_parts_back" in kept.source and ".grad" not in kept.source and "checkpoint in" in kept.source


def test_masked_steps():
    x, mask = dv.Input((7, 5), name="x"), dv.Input((7,), name="mask")
    h = L.LSTM(3, return_sequences=True, masked=True)([x, mask])
    model = dv.Model([x, mask], L.Dense(2)(L.GRU(3, masked=True)([h, mask])))
    d = model.backprop("mean_squared_error")
    same(d, {"B": 2, **model.sizes}, 3)


def test_memory():
    """A long LSTM in parts of about the square root of its length needs less than the usual program, and than autodiff."""
    model = dv.Sequential([L.LSTM(32, return_sequences=True), L.Dense(4)], input_shape=(256, 8))
    d = model.backprop("mean_squared_error")
    plain, kept = nx.compile(d), nx.compile(d, checkpoint_every=16)
    given = arrays(plain, {dv.size(n): k for n, k in {"B": 16, **model.sizes}.items()})
    given = [np.asarray(given[t.name], np.float32) for t in plain.inputs]

    def temporary(f):
        return jax.jit(f).lower(*given).compile().memory_analysis().temp_size_in_bytes

    assert temporary(kept.fn) < 0.7 * temporary(plain.fn)


@pytest.mark.parametrize(
    "every, message",
    [
        (0, "checkpoint_every is 0; accepted is a whole number of steps from 1"),
        (2.5, "checkpoint_every is 2.5"),
        (True, "checkpoint_every is True"),
    ],
)
def test_numbers_that_cannot_be(every, message):
    d = dv.Sequential([L.LSTM(3)], input_shape=(7, 5)).backprop("mean_squared_error")
    with pytest.raises(NumericsError, match=message):
        nx.compile(d, checkpoint_every=every)


def test_more_steps_than_there_are():
    model = dv.Sequential([L.LSTM(3)], input_shape=(7, 5))
    with pytest.raises(NumericsError, match="checkpoint_every is 8, and the recurrence of .* has 7 steps"):
        nx.compile(model.backprop("mean_squared_error"), sizes=model.sizes, checkpoint_every=8)


def test_nothing_to_compute_again():
    d = dv.Sequential([L.Dense(3)], input_shape=(5,)).backprop("mean_squared_error")
    with pytest.raises(NumericsError, match="no recurrence whose reverse one reads values that nothing else needs"):
        nx.compile(d, checkpoint_every=2)
