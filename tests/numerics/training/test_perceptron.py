"""Rosenblatt's perceptron: its rule, Novikoff's bound, several classes, and data that no hyperplane separates."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.errors import InputError

AND = np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), np.array([0, 0, 0, 1])


def separated(seed=0, n=60, gap=0.2):
    """Points on both sides of a random plane through nothing in particular, none nearer to it than the gap."""
    rng = np.random.default_rng(seed)
    w, x = rng.normal(size=3), rng.normal(size=(4 * n, 3))
    side = x @ w / np.linalg.norm(w) - 0.3
    keep = np.abs(side) > gap
    return x[keep][:n], (side[keep][:n] > 0).astype(int)


def test_the_rule_by_hand():
    p = nx.Perceptron(rate=0.5)
    p.fit(np.array([[2.0, 0.0], [2.0, 0.0]]), np.array([0, 1]), epochs=1)
    # whichever comes first: 0 answers 1 at w = 0, a mistake that moves by -x/2; then 1 answers 0, which moves back
    assert p.updates in (1, 2) and not p.converged and p.separable is False
    w = nx.Perceptron(rate=0.5).fit(np.array([[2.0, 4.0], [-1.0, 0.0]]), np.array([0, 1]), epochs=1)
    assert w.history["mistakes"][0] >= 1
    assert np.abs(w.kernel[:, 0]).tolist() == [1.0, 2.0] and w.bias.tolist() == [-0.5]


@pytest.mark.parametrize("seed", range(4))
def test_separable_data_converges_within_the_bound(seed):
    x, y = separated(seed)
    p = nx.Perceptron(seed=seed).fit(x, y, epochs=500)
    assert p.converged and p.separable and p.predict(x).tolist() == y.tolist()
    assert 0 < p.updates == sum(p.history["mistakes"]) <= p.bound(x, y) < np.inf
    assert p.history["mistakes"][-1] == 0 and p.history["accuracy"][-1] == 1
    assert str(p).startswith("perceptron: converged after")


def test_the_labels_minus_one_and_one_are_the_same():
    x, y = separated()
    assert np.array_equal(nx.Perceptron().fit(x, y).kernel, nx.Perceptron().fit(x, 2 * y - 1).kernel)


def test_the_rate_sets_only_the_scale_and_the_seed_the_order():
    x, y = separated()
    one, ten = nx.Perceptron().fit(x, y), nx.Perceptron(rate=8).fit(x, y)
    assert np.allclose(8 * one.kernel, ten.kernel) and one.updates == ten.updates
    assert np.array_equal(one.kernel, nx.Perceptron(seed=0).fit(x, y).kernel)
    assert not np.array_equal(one.kernel, nx.Perceptron(seed=1).fit(x, y).kernel)


def test_several_classes():
    rng = np.random.default_rng(2)
    y = np.arange(90) % 3
    x = np.array([[4, 0], [-4, 3], [-3, -4]])[y] + rng.uniform(-1, 1, (90, 2))
    p = nx.Perceptron().fit(x, y)
    assert p.converged and p.kernel.shape == (2, 3) and p.predict(x).tolist() == y.tolist()
    assert p.updates <= p.bound(x, y)


def test_the_rule_of_several_classes_by_hand():
    p = nx.Perceptron().fit(np.array([[2.0], [3.0]]), np.array([2, 2 - 1]), epochs=1)
    # zero weights answer 0: the first example moves to its class and away from 0, the second is then taken for it
    assert (p.kernel[0].tolist(), p.bias.tolist()) in (([-2, 3, -1], [-1, 1, 0]), ([-3, 1, 2], [-1, 0, 1]))
    assert p.updates == 2


def test_the_bound_is_novikoffs():
    x, y = separated(3)
    p = nx.Perceptron().fit(x, y)
    w, wide = np.append(p.kernel[:, 0], p.bias), np.hstack([x, np.ones((len(x), 1))])
    margin = min(v @ w * (1 if label else -1) for v, label in zip(wide, y, strict=True)) / np.sqrt(w @ w)
    assert p.bound(x, y) == pytest.approx(max(v @ v for v in wide) / margin**2)


def test_xor_is_not_separable_and_said_so():
    x, _ = AND
    p = nx.Perceptron().fit(x, np.array([0, 1, 1, 0]), epochs=20)
    assert not p.converged and p.separable is False and p.bound(x, [0, 1, 1, 0]) == np.inf
    assert "no hyperplane separates the classes, so the rule never comes to rest" in str(p)
    assert (p.predict(x) == [0, 1, 1, 0]).mean() == max(p.history["accuracy"])  # the pocket


def test_too_few_epochs_is_something_else():
    x, y = separated(1, gap=0.02)
    p = nx.Perceptron().fit(x, y, epochs=1)
    assert not p.converged and p.separable is True and "more epochs will find one" in str(p)


def test_three_classes_that_are_not_separable():
    x = np.array([[0.0], [1.0], [2.0], [3.0], [1.5]])
    p = nx.Perceptron().fit(x, np.array([0, 1, 0, 2, 2]), epochs=10)
    assert not p.converged and p.separable is False


def test_the_weights_are_those_of_a_threshold_layer():
    p = nx.Perceptron().fit(*AND)
    model = dv.Sequential([L.Dense(1, activation="threshold")], input_shape=(2,))
    forward = nx.compile(model.forward())
    out = forward(
        x=AND[0].astype("float32"), dense_1_kernel=p.kernel.astype("float32"), dense_1_bias=p.bias.astype("float32")
    )
    assert np.asarray(out["dense_1"]).ravel().tolist() == AND[1].tolist()


def test_training_a_threshold_by_descent_points_here():
    model = dv.Sequential([L.Dense(1, activation="threshold")], input_shape=(2,))
    with pytest.raises(dv.DerivationError, match=r"Rosenblatt's perceptron rule .* \(nx.Perceptron\)"):
        model.backprop("mean_squared_error")


@pytest.mark.parametrize(
    "x, y, message",
    [
        (AND[0], [1, 1, 1, 1], r"all 4 examples have the label \[1\]; two classes are needed"),
        (AND[0], [0.0, 1, 0, 1], "Y has shape .4,. and dtype float64; expected are integer labels"),
        (AND[0], [0, 1, 0], "X has 4 examples and Y 3"),
        (AND[0], [0, 1, -2, 1], "Y has the label -2; accepted are 0 and 1, -1 and 1, or 0, 1, ..., K - 1"),
        (AND[0][:, 0], AND[1], r"X has shape \(4,\); expected is \(N, I\)"),
        (np.where(AND[0] > 0, np.nan, 1.0), AND[1], r"X\[0, 1\] is|X\[1, 1\] is nan"),
    ],
)
def test_bad_data(x, y, message):
    with pytest.raises(InputError, match=message):
        nx.Perceptron().fit(x, np.array(y))


def test_bad_options_and_use_before_training():
    with pytest.raises(InputError, match="rate is 0; accepted is a number above 0"):
        nx.Perceptron(rate=0)
    with pytest.raises(InputError, match="not trained yet"):
        nx.Perceptron().predict(AND[0])
    with pytest.raises(InputError, match="epochs is 0"):
        nx.Perceptron().fit(*AND, epochs=0)
    with pytest.raises(InputError, match=r"X has shape \(1, 3\); expected is \(N, 2\)"):
        nx.Perceptron().fit(*AND).predict(np.zeros((1, 3)))
