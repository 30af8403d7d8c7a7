"""Losses in a network: targets, facts, stable gradients, and values against formulas written in NumPy."""

import numpy as np
import pytest

import derive as dv
from derive import Sum
from derive.language.errors import DeriveError, ShapeError
from derive.networks import layers as L
from derive.networks.losses import LOSSES, Loss
from derive.networks.losses import loss as find_loss

B, I, K = 5, 2, 3  # unequal on purpose


def model(activation=None):
    return dv.Sequential([L.Dense(K, activation=activation)], input_shape=(I,))


NAMES = (
    "mean_squared_error",
    "softmax_cross_entropy",
    "sparse_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "categorical_cross_entropy",
    "sparse_categorical_cross_entropy",
    "binary_cross_entropy",
)
ENDS = {"anything": None, "logits": None, "probabilities": "softmax", "bits": "sigmoid"}


@pytest.mark.parametrize(
    "name, shape, dtype, facts",
    [
        ("mean_squared_error", ("B", "J"), "float", []),
        ("softmax_cross_entropy", ("B", "J"), "float", ["sums_to"]),
        ("sparse_softmax_cross_entropy", ("B",), "int", []),
        ("sigmoid_binary_cross_entropy", ("B", "J"), "float", ["nonnegative"]),
        ("categorical_cross_entropy", ("B", "J"), "float", ["sums_to"]),
        ("sparse_categorical_cross_entropy", ("B",), "int", []),
        ("binary_cross_entropy", ("B", "J"), "float", ["nonnegative"]),
    ],
)
def test_the_target_says_its_shape_dtype_range_and_facts(name, shape, dtype, facts):
    y = model(ENDS[LOSSES[name].reads]).target(name)
    assert (y.name, tuple(map(str, y.axes)), y.dtype) == ("y", shape, dtype)
    assert y.below == (dv.size("J") if dtype == "int" else None)
    assert [f.kind for f in y.facts] == facts


@pytest.mark.parametrize(
    "name, gradient",
    [
        ("mean_squared_error", "2 (z1[b,j] - y[b,j]) / (B J)"),
        ("softmax_cross_entropy", "(exp(z1_shifted[b,j] - lse_shifted[b]) - y[b,j]) / B"),
        ("sparse_softmax_cross_entropy", "(exp(z1_shifted[b,j] - lse_shifted[b]) - [j = y[b]]) / B"),
        ("sigmoid_binary_cross_entropy", "(sigmoid(z1[b,j]) - y[b,j]) / (B J)"),
        ("categorical_cross_entropy", "(p1[b,j] - y[b,j]) / B"),
        ("sparse_categorical_cross_entropy", "(p1[b,j] - [j = y[b]]) / B"),
        ("binary_cross_entropy", "(h1[b,j] - y[b,j]) / (B J)"),
    ],
)
def test_the_gradient_of_the_logits_is_the_textbook_form(name, gradient):
    d = model(ENDS[LOSSES[name].reads]).backprop(name)
    assert str(d.gradient("z1")) == f"dz1[b,j] = {gradient}"
    evidence = d.check()
    assert evidence.ok and evidence.undecided == [] and evidence.proved


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def expected(name, z, y):
    """The definitions of the table, in NumPy."""
    if name == "mean_squared_error":
        return np.mean((z - y) ** 2)
    if name in ("softmax_cross_entropy", "categorical_cross_entropy"):
        return -np.mean(np.sum(y * np.log(softmax(z)), -1))
    if name in ("sparse_softmax_cross_entropy", "sparse_categorical_cross_entropy"):
        return -np.mean(np.log(softmax(z))[np.arange(len(y)), y])
    return -np.mean(y * np.log(sigmoid(z)) + (1 - y) * np.log(1 - sigmoid(z)))


@pytest.mark.parametrize("name", NAMES)
def test_the_value_is_the_one_of_the_table(name, x64):
    import numerics as nx

    rng = np.random.default_rng(0)
    net = model(ENDS[LOSSES[name].reads])
    x, w, c = rng.normal(size=(B, I)), rng.normal(size=(I, K)), rng.normal(size=K)
    y = {
        "labels": rng.integers(0, K, B),
        "values": rng.normal(size=(B, K)),
        "bits": rng.random((B, K)),
        "probabilities": rng.dirichlet(np.ones(K), B),
    }[LOSSES[name].target]
    value, grads, outputs = nx.compile(net.backprop(name), sizes=net.sizes)(x=x, y=y, dense_1_kernel=w, dense_1_bias=c)
    z = x @ w + c
    assert abs(float(value) - expected(name, z, y)) < 1e-12
    end = {None: lambda z: z, "softmax": softmax, "sigmoid": sigmoid}[ENDS[LOSSES[name].reads]]
    assert np.abs(np.asarray(outputs[net.output.name]) - end(z)).max() < 1e-12
    step = 1e-6  # a central difference of the loss along the bias, written above, not derived
    for k in range(K):
        d = step * np.eye(K)[k]
        slope = (expected(name, z + d, y) - expected(name, z - d, y)) / (2 * step)
        assert abs(float(grads["dense_1_bias"][k]) - slope) < 1e-8


@pytest.mark.parametrize("name", NAMES[1:])
def test_huge_logits_give_finite_right_gradients_in_float32(name):
    import numerics as nx

    net = model(ENDS[LOSSES[name].reads])
    z = np.array([[1e4, -1e4, 0], [-1e4, 0, 1e4]], np.float32)
    w = np.zeros((I, K), np.float32)
    w[:] = z  # the rows of x pick the rows of z
    y = {"labels": np.array([1, 2], np.int32)}.get(LOSSES[name].target, np.array([[0, 1, 0], [0, 0, 1]], np.float32))
    value, grads, _ = nx.compile(net.backprop(name))(
        x=np.eye(2, dtype=np.float32), y=y, dense_1_kernel=w, dense_1_bias=np.zeros(K, np.float32)
    )
    onehot = np.array([[0, 1, 0], [0, 0, 1]])
    if "binary" in name:
        right, scale = (z > 0) + 0.5 * (z == 0) - onehot, 2 * K
        total = np.maximum(z, 0) - z * onehot + np.log1p(np.exp(-np.abs(z)))
    else:
        right, scale = (z == 1e4) - onehot, 2
        total = z.max(1) - (z * onehot).sum(1)
    assert float(value) == pytest.approx(total.sum() / scale, rel=1e-6)
    assert np.allclose(np.asarray(grads["dense_1_kernel"]), right / scale, atol=1e-7)


def test_predictions_come_from_the_forward_alone(x64):
    import numerics as nx

    net = model("softmax")
    rng = np.random.default_rng(1)
    x, w, c = rng.normal(size=(B, I)), rng.normal(size=(I, K)), rng.normal(size=K)
    result = nx.compile(net.forward(), sizes=net.sizes)(x=x, dense_1_kernel=w, dense_1_bias=c)
    assert np.abs(np.asarray(result["dense_1"]) - softmax(x @ w + c)).max() < 1e-14


def test_own_losses():
    def absolute(z, y):
        return Sum(abs(z[z.letters] - y[z.letters]), *z.letters) / z.axes[0]

    net = model()
    b, j = net.output.letters
    loss = net.loss(absolute)
    assert loss.definition.body == Sum(abs(net.output[b, j] - dv.tensor("y", b, j)[b, j]), b, j) / b.size
    hinge = Loss(
        "hinge",
        lambda z, y: dv.define("hinge", (), Sum(1 - z[z.letters[0], y[z.letters[0]]], z.letters[0])),
        target="labels",
    )
    assert net.loss(hinge).name == "hinge" and net.target(hinge).dtype == "int"
    assert str(net.backprop(hinge).gradient("z1")) == "dz1[b,j] = -[j = y[b]]"


@pytest.mark.parametrize(
    "activation, name, message",
    [
        (
            "softmax",
            "softmax_cross_entropy",
            "reads logits, but layer dense_1 ends in softmax; drop that activation, or use 'categorical_cross_entropy'",
        ),
        ("softmax", "sparse_softmax_cross_entropy", "or use 'sparse_categorical_cross_entropy'"),
        ("sigmoid", "sigmoid_binary_cross_entropy", "or use 'binary_cross_entropy'"),
        (
            None,
            "categorical_cross_entropy",
            "reads probabilities of exclusive classes, but layer dense_1 ends in linear; "
            "end it in softmax, or use 'softmax_cross_entropy', which reads logits",
        ),
        ("sigmoid", "sparse_categorical_cross_entropy", "end it in softmax"),
        ("relu", "binary_cross_entropy", "end it in sigmoid, or use 'sigmoid_binary_cross_entropy'"),
        (None, "softmax_crossentropy", "unknown loss 'softmax_crossentropy'; that is 'softmax_cross_entropy' here"),
        (None, 3, "loss 3 is int; accepted are softmax_cross_entropy"),
        (None, lambda z: z, "a loss is a function of two tensors"),
    ],
)
def test_losses_that_do_not_fit(activation, name, message):
    with pytest.raises(DeriveError, match=message):
        model(activation).backprop(name)


def test_one_unit_has_no_classes():
    net = dv.Sequential([L.Dense(1)], input_shape=(I,))
    with pytest.raises(DeriveError, match="chooses among classes, but layer dense_1 has 1 unit; use 'sigmoid_binary"):
        net.backprop("sparse_softmax_cross_entropy")


def test_a_loss_is_a_scalar():
    with pytest.raises(ShapeError, match="a loss is a scalar: sum or average it"):
        model().backprop(lambda z, y: z)
    with pytest.raises(DeriveError, match="index b is unbound"):
        model().backprop(lambda z, y: z[z.letters])


def test_labels_of_sequences_are_averaged_over_every_outer_axis():
    net = dv.Sequential([L.Dense(K)], input_shape=(4, I))
    y = net.target("sparse_softmax_cross_entropy")
    assert [str(a) for a in y.axes] == ["B", "T"] and y.below == net.output.axes[-1]
    body = net.loss("sparse_softmax_cross_entropy").definition.body
    assert body.as_coeff_Mul()[0] == 1 and str(body).endswith("/(B*T)")


def test_every_loss_is_found_by_its_name():
    assert {name: find_loss(name).name for name in LOSSES} == {name: name for name in LOSSES}
    assert set(NAMES) <= set(LOSSES)
