"""Centres of Gaussian units from the data: k-means, widths by Moody and Darken, refusals."""

import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.errors import InputError

pytest.importorskip("sklearn")


def net(units, width=1, **options):
    return dv.Sequential([L.RBF(units, **options), L.Dense(1)], input_shape=(width,))


def test_centres_are_the_means_of_clusters_and_widths_their_distances():
    rng = np.random.default_rng(0)
    middle = np.array([[0, 0], [8, 0], [0, 6]])
    x = middle[np.arange(90) % 3] + 0.1 * rng.normal(size=(90, 2))
    found = nx.rbf_centres(net(3, 2), x)
    order = [int(np.argmin(np.linalg.norm(found["rbf_1_centres"] - m, axis=1))) for m in middle]
    assert np.abs(found["rbf_1_centres"][order] - middle).max() < 0.1
    wide = [np.sqrt((64 + 36) / 2), np.sqrt((64 + 100) / 2), np.sqrt((36 + 100) / 2)]
    assert found["rbf_1_widths"][order] == pytest.approx(wide, rel=0.02)
    half = nx.rbf_centres(net(3, 2), x, overlap=0.5)
    assert half["rbf_1_widths"] == pytest.approx(found["rbf_1_widths"] / 2)
    assert np.array_equal(nx.rbf_centres(net(3, 2), x)["rbf_1_centres"], found["rbf_1_centres"])


def test_one_unit_is_the_mean_and_the_spread():
    found = nx.rbf_centres(net(1), np.array([[1.0], [3.0]]))
    assert found["rbf_1_centres"].tolist() == [[2.0]] and found["rbf_1_widths"].tolist() == [1.0]


def test_a_network_with_fixed_centres_learns_a_sine():
    x = np.linspace(-3, 3, 120, dtype=np.float32)[:, None]
    model = net(12, trainable=False)
    t = nx.Trainer(model, "mean_squared_error", optax.adam(0.1))
    assert list(t.derivation.gradients) == ["dense_1_kernel", "dense_1_bias"]
    t.params |= nx.rbf_centres(model, x, overlap=2.0)
    history = t.fit(x, np.sin(2 * x), batch_size=30, epochs=150, verbose=False)
    assert history["loss"][-1] < 0.02 < history["loss"][0]


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: nx.rbf_centres(net(4), np.array([[0.0], [0.0], [1.0]])), "has 4 units, but X has 2 distinct rows"),
        (lambda: nx.rbf_centres(net(2), np.zeros((3, 2))), r"X has shape \(3, 2\); expected is \(N, 1\)"),
        (lambda: nx.rbf_centres(net(2), np.zeros((3, 1)), layer="rbf_2"), "no RBF layer 'rbf_2'; did you mean 'rbf_1'"),
        (
            lambda: nx.rbf_centres(dv.Sequential([L.Dense(2)], input_shape=(1,)), np.zeros((3, 1))),
            r"has 0 RBF layers; add L.RBF\(units\)",
        ),
        (
            lambda: nx.rbf_centres(dv.Sequential([L.RBF(2), L.RBF(2)], input_shape=(1,)), np.zeros((3, 1))),
            "has 2 RBF layers; name one, as in layer='rbf_1'",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
