"""Metrics against scikit-learn or plain counting; names that do not fit are refused with the nearest one."""

import numpy as np
import pytest
import sklearn.metrics as sk

from derive.networks.losses import loss
from numerics.data import metrics
from numerics.errors import InputError

RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(50, 4)).astype(np.float32)
LABELS = RNG.integers(0, 4, 50)
SPARSE = loss("sparse_softmax_cross_entropy")


def value(name, y, outputs, one=SPARSE):
    return metrics.find([name], one)[name](y, outputs, one)


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_metrics_of_classes():
    right = LOGITS.argmax(axis=1)
    assert value("accuracy", LABELS, LOGITS) == pytest.approx(np.mean(right == LABELS))
    assert value("balanced_accuracy", LABELS, LOGITS) == pytest.approx(sk.balanced_accuracy_score(LABELS, right))
    assert value("f1", LABELS, LOGITS) == pytest.approx(sk.f1_score(LABELS, right, average="macro"))
    for k in (1, 2, 3):
        expected = sk.top_k_accuracy_score(LABELS, LOGITS, k=k)
        assert value(f"top_{k}_accuracy", LABELS, LOGITS) == pytest.approx(expected)
    assert value("top_4_accuracy", LABELS, LOGITS) == 1
    expected = sk.roc_auc_score(LABELS, softmax(LOGITS.astype(float)), multi_class="ovr")
    assert value("auc", LABELS, LOGITS) == pytest.approx(expected, rel=1e-6)


def test_one_hot_targets_count_as_labels():
    one = loss("softmax_cross_entropy")
    for name in ("accuracy", "auc", "top_2_accuracy"):
        assert value(name, np.eye(4)[LABELS], LOGITS, one) == value(name, LABELS, LOGITS)


@pytest.mark.parametrize(
    ("name", "scale"),
    [
        ("sigmoid_binary_cross_entropy", lambda z: z),
        ("hinge", lambda z: z),
        ("binary_cross_entropy", lambda z: 1 / (1 + np.exp(-z))),
    ],
)
def test_two_classes_by_one_number(name, scale):
    one, bits = loss(name), RNG.integers(0, 2, (50, 1))
    z = LOGITS[:, :1]
    y = 2 * bits - 1 if name == "hinge" else bits
    assert value("accuracy", y, scale(z), one) == pytest.approx(np.mean((z > 0) == bits))
    assert value("auc", y, scale(z), one) == pytest.approx(sk.roc_auc_score(bits[:, 0], z[:, 0]))


def test_ignored_labels_do_not_count():
    one = loss("sparse_softmax_cross_entropy", ignored=-1)
    y = np.where(np.arange(50) < 30, LABELS, -1)
    for name in ("accuracy", "f1", "top_2_accuracy", "auc"):
        assert value(name, y, LOGITS, one) == pytest.approx(value(name, LABELS[:30], LOGITS[:30]))
    for name in ("accuracy", "f1", "top_2_accuracy", "auc"):
        assert np.isnan(value(name, np.full(50, -1), LOGITS, one))


def test_metrics_of_values():
    one, y = loss("mean_squared_error"), RNG.normal(size=(50, 4))
    for name in ("mae", "mean_absolute_error"):
        assert value(name, y, LOGITS, one) == pytest.approx(np.abs(y - LOGITS).mean())
    assert value("mse", y, LOGITS, one) == pytest.approx(np.mean((y - LOGITS) ** 2))
    assert value("r2", y, LOGITS, one) == pytest.approx(sk.r2_score(y, LOGITS))
    only = value("root_mean_squared_error", y[:, :1], LOGITS[:, :1], one)
    assert only == pytest.approx(np.sqrt(np.mean((y[:, :1] - LOGITS[:, :1]) ** 2)))


@pytest.mark.parametrize(
    ("name", "one", "message"),
    [
        (
            "acurracy",
            SPARSE,
            r"unknown metric 'acurracy'; did you mean 'accuracy'\?; accepted are accuracy, acc, balanced_accuracy",
        ),
        ("top_k_accuracy", SPARSE, r"unknown metric 'top_k_accuracy'; did you mean 'top_5_accuracy'\?"),
        (3, SPARSE, "unknown metric 3"),
        ("r2", SPARSE, "'r2' compares values, but loss 'sparse_softmax_cross_entropy' is about labels"),
        (
            "auc",
            loss("huber"),
            "'auc' compares classes, but loss 'huber' is about values; accepted are mean_absolute_error",
        ),
        ("top_2_accuracy", loss("hinge"), "'top_2_accuracy' chooses among exclusive classes; loss 'hinge' has none"),
    ],
)
def test_names_that_do_not_fit_are_refused(name, one, message):
    with pytest.raises(InputError, match=message):
        metrics.find([name], one)


def test_metrics_by_output():
    losses = {"kind": SPARSE, "size": loss("mean_squared_error")}
    found = metrics.by_output({"kind": ["accuracy"], "size": "mae"}, losses)
    assert {n: list(m) for n, m in found.items()} == {"kind": ["kind_accuracy"], "size": ["size_mae"]}
    with pytest.raises(InputError, match=r"metrics are given for 'sise'; did you mean 'size'\?; losses are"):
        metrics.by_output({"sise": "mae"}, losses)


def test_of_the_outputs_only_the_classes_are_kept_where_nothing_else_is_read():
    y, z = RNG.integers(0, 5, (4, 6)), RNG.normal(size=(4, 6, 5))
    for names, shape in (
        (["accuracy", "f1"], (4, 6)),
        (["accuracy", "top_2_accuracy"], (4, 6, 5)),
        (["auc"], (4, 6, 5)),
    ):
        found = metrics.find(names, SPARSE)
        small = metrics.kept(z, SPARSE, found)
        assert small.shape == shape
        assert metrics.measured(y, small, SPARSE, found) == {n: m(y, z, SPARSE) for n, m in found.items()}
