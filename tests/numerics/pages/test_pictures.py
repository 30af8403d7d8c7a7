"""Pictures of what a network has learned: the numbers behind them are derived, and right."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.errors import InputError, NumericsError
from numerics.pages import pictures


@pytest.fixture(scope="module")
def network():
    model = dv.Sequential(
        [L.Conv2D(6, 3, activation="tanh"), L.MaxPool2D(2), L.Flatten(), L.Dense(4)], input_shape=(8, 8, 1)
    )
    return model, nx.init(model, seed=1), np.random.default_rng(0).normal(size=(8, 8, 1)).astype(np.float32)


def test_the_saliency_is_the_slope_of_the_score(network):
    model, params, x = network
    gradient = pictures.score_gradient(model, params, x, 2)
    kern = nx.compile(model.forward())
    way, small = np.random.default_rng(1).normal(size=x.shape).astype(np.float32), 1e-2

    def score(image):
        return float(next(iter(kern(x=image[None], **params).values()))[0, 2])

    assert np.isclose(
        (score(x + small * way) - score(x - small * way)) / (2 * small), (gradient * way).sum(), rtol=2e-2
    )
    figure = pictures.saliency(model, params, x, 2)
    assert [a.get_title() for a in figure.axes] == ["image", "|gradient of score 2|"]
    assert np.array_equal(figure.axes[1].images[0].get_array(), np.abs(gradient).max(-1))


def test_filters_and_feature_maps_show_the_arrays(network):
    model, params, x = network
    figure = pictures.filters(params, "conv2d_1", columns=3)
    shown = [a.images[0].get_array() for a in figure.axes if a.images]
    assert len(shown) == 6 and np.array_equal(shown[4], np.asarray(params["conv2d_1_kernel"])[:, :, 0, 4])
    values = pictures.layer_values(model, params, x, ["conv2d_1", "max_pool2d_1"])
    by_hand = sum(
        x[r : r + 6, s : s + 6, 0] * np.asarray(params["conv2d_1_kernel"])[r, s, 0, 1]
        for r in range(3)
        for s in range(3)
    )
    assert np.allclose(values["conv2d_1"][0, :, :, 1], np.tanh(by_hand), atol=1e-5)
    assert values["max_pool2d_1"].shape == (1, 3, 3, 6)
    figure = pictures.feature_maps(model, params, x)
    assert {a.get_title(loc="left") for a in figure.axes} == {"", "conv2d_1", "max_pool2d_1"}
    assert len([a for a in pictures.feature_maps(model, params, x, "conv2d_1").axes if a.images]) == 6


def test_norms_through_time():
    model = dv.Sequential([L.LSTM(5, name="cell"), L.Dense(3)], input_shape=(9, 2))
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(4, 9, 2)).astype(np.float32), rng.integers(0, 3, 4)
    norms = pictures.state_gradients(model, nx.init(model, seed=0), X, Y, "sparse_softmax_cross_entropy", "cell")
    assert norms.shape == (9,) and norms[-1] > norms[0] > 0
    (line,) = pictures.gradient_norms({"LSTM": norms}).axes[0].lines
    assert np.array_equal(line.get_ydata(), norms)


def test_what_cannot_be_shown(network):
    model, params, x = network
    with pytest.raises(InputError, match="'dense_1' is no kernel of a 2-D convolution; there is conv2d_1_kernel"):
        pictures.filters(params, "dense_1")
    with pytest.raises(InputError, match="no layer 'dense_1' of images; there is conv2d_1, max_pool2d_1"):
        pictures.feature_maps(model, params, x, "dense_1")
    with pytest.raises(InputError, match="label 4; accepted is 0 to 3"):
        pictures.saliency(model, params, x, 4)
    with pytest.raises(InputError, match="layer 'dense_1' is not recurrent"):
        pictures.state_gradients(model, params, x[None], np.array([1]), "sparse_softmax_cross_entropy", "dense_1")
    with pytest.raises(NumericsError, match="one input of numbers, and one output of logits"):
        tokens = dv.Sequential([L.Embedding(5, 2), L.LSTM(3), L.Dense(2)], input_shape=(4,))
        pictures.saliency(tokens, nx.init(tokens, seed=0), np.zeros(4, int), 0)


def test_rows_of_pictures():
    flat, grey, colour = np.zeros((3, 16)), np.ones((2, 4, 4, 1)), np.ones((4, 5, 3, 3))
    figure = pictures.rows({"flat": flat, "grey": grey, "colour": colour}, columns=3)
    assert len(figure.axes) == 9 and [a.get_ylabel() for a in figure.axes[::3]] == ["flat", "grey", "colour"]
    assert [len(a.images) for a in figure.axes] == [1, 1, 1, 1, 1, 0, 1, 1, 1]
    for wrong in ({}, {"x": np.zeros((3, 15))}):
        with pytest.raises(InputError, match="rows"):
            pictures.rows(wrong)
