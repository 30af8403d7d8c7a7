"""Initial parameters: moments, bounds, streams, and refusals."""

import numpy as np
import pytest

import derive as dv
from derive.networks import layers as L
from derive.networks.activations import ACTIVATIONS
from derive.networks.initializers import INITIALIZERS as NAMES
from numerics.errors import NumericsError
from numerics.training.init import INITIALIZERS, fans, init

SHAPE = (200, 300)


def drawn(how, shape=SHAPE, seed=0):
    return np.asarray(INITIALIZERS[how](shape, np.random.default_rng(seed)))


def test_the_names_that_layers_accept_are_the_ones_there_are():
    assert tuple(INITIALIZERS) == NAMES
    assert {a.init for a in ACTIVATIONS.values()} <= set(NAMES)


@pytest.mark.parametrize(
    "name, variance, bound",
    [
        ("glorot_uniform", 2 / 500, np.sqrt(6 / 500)),
        ("glorot_normal", 2 / 500, None),
        ("he_uniform", 2 / 200, np.sqrt(6 / 200)),
        ("he_normal", 2 / 200, None),
        ("lecun_uniform", 1 / 200, np.sqrt(3 / 200)),
        ("lecun_normal", 1 / 200, None),
        ("uniform", 0.05**2 / 3, 0.05),
        ("normal", 0.05**2, None),
    ],
)
def test_mean_variance_and_bounds(name, variance, bound):
    values = drawn(name)
    assert values.shape == SHAPE
    assert abs(values.mean()) < 5 * np.sqrt(variance / values.size)
    assert values.var() == pytest.approx(variance, rel=0.03)
    if bound is not None:
        assert 0.99 * bound < np.abs(values).max() <= bound
    elif name != "normal":
        limit = 2 * np.sqrt(variance) / 0.8796
        assert 0.99 * limit < np.abs(values).max() <= limit * 1.0001


def test_constants():
    assert (drawn("zeros") == 0).all() and (drawn("ones") == 1).all()


def test_fans_count_the_window_of_a_convolution():
    assert fans((3, 5, 16, 32)) == (3 * 5 * 16, 3 * 5 * 32) and fans((64, 10)) == (64, 10) and fans(()) == (1, 1)
    assert drawn("he_normal", (3, 3, 64, 32)).var() == pytest.approx(2 / 576, rel=0.05)


def network(*layers):
    return dv.Sequential(list(layers) or [L.Dense(50, activation="relu"), L.Dense(10)], input_shape=(64,))


def test_arrays_by_name_in_float32():
    model = network()
    params = init(model, seed=0)
    assert {n: (a.shape, str(a.dtype)) for n, a in params.items()} == {
        "dense_1_kernel": ((64, 50), "float32"),
        "dense_1_bias": ((50,), "float32"),
        "dense_2_kernel": ((50, 10), "float32"),
        "dense_2_bias": ((10,), "float32"),
    }
    assert np.asarray(params["dense_1_kernel"]).var() == pytest.approx(2 / 64, rel=0.1)  # he_normal before relu
    assert np.asarray(params["dense_2_kernel"]).var() == pytest.approx(2 / 60, rel=0.2)  # glorot_uniform
    assert not np.asarray(params["dense_1_bias"]).any()
    assert list(params) == list(model.parameters)


def test_seeds_and_streams():
    same, other = (init(network(), seed=s) for s in (0, 1))
    again = init(network(), seed=0)
    assert all((same[n] == again[n]).all() for n in same)
    assert (same["dense_1_kernel"] != other["dense_1_kernel"]).mean() > 0.99
    deeper = init(network(L.Dense(50, activation="relu"), L.Dense(10), L.Dense(7)), seed=0)
    assert (deeper["dense_2_kernel"] == same["dense_2_kernel"]).all()  # a layer more leaves the others as they were
    twins = init(network(L.Dense(64), L.Dense(64)), seed=0)
    assert (twins["dense_1_kernel"] != twins["dense_2_kernel"]).mean() > 0.99


def test_own_initializers_and_constants():
    model = network(L.Dense(3, kernel_initializer=lambda shape, rng: np.full(shape, 2.0), bias_initializer=0.25))
    params = init(model)
    assert (params["dense_1_kernel"] == 2).all() and (params["dense_1_bias"] == 0.25).all()


@pytest.mark.parametrize(
    "how, message",
    [
        (lambda shape, rng: np.zeros(7), r"dense_1_kernel gave shape \(7,\); dense_1_kernel has shape \(64, 3\)"),
        (lambda shape, rng: np.full(shape, np.nan), "of dense_1_kernel gave NaN or infinity"),
    ],
)
def test_bad_initializers_are_refused(how, message):
    with pytest.raises(NumericsError, match=message):
        init(network(L.Dense(3, kernel_initializer=how)))


@pytest.mark.parametrize("seed", [-1, 0.5, "0", None, True])
def test_bad_seeds_are_refused(seed):
    with pytest.raises(NumericsError, match="accepted is a whole number from 0"):
        init(network(), seed=seed)


def test_only_float_dtypes():
    with pytest.raises(NumericsError, match="is not a float dtype"):
        init(network(), dtype="int32")
    assert str(init(network(), dtype="bfloat16")["dense_1_kernel"].dtype) == "bfloat16"
