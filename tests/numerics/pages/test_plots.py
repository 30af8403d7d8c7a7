"""Plots: what they show is asked of the figure, not of its pixels."""

import numpy as np
import pytest

from numerics.errors import InputError, NumericsError
from numerics.pages.plots import best_epoch, confusion_matrix, curves, decision_boundary, save, training_curves, verdict

OVERFIT = {
    "loss": [2.0, 1.0, 0.5, 0.2],
    "accuracy": [0.2, 0.6, 0.8, 0.9],
    "val_loss": [2.1, 1.2, 1.4, 1.9],
    "val_accuracy": [0.2, 0.5, 0.7, 0.6],
    "seconds": [1, 1, 1, 1],
}


def labels_of(axes):
    return [t.get_text() for t in axes.get_legend().get_texts()]


def test_curves_show_training_held_out_the_gap_and_the_best_epoch():
    figure = curves(OVERFIT, "a network")
    loss, accuracy = figure.axes
    assert (loss.get_ylabel(), accuracy.get_ylabel()) == ("loss", "accuracy")
    assert labels_of(loss) == ["training", "held out", "gap", "best: 1.2 in epoch 2"]
    assert labels_of(accuracy)[-1] == "best: 0.7 in epoch 3"
    np.testing.assert_allclose(loss.lines[0].get_ydata(), OVERFIT["loss"])
    np.testing.assert_allclose(loss.lines[1].get_ydata(), OVERFIT["val_loss"])
    assert loss.get_title(loc="left").startswith("overfits after epoch 2")
    assert figure._suptitle.get_text() == "a network"


@pytest.mark.parametrize(
    ("held", "train", "says"),
    [
        (
            [1.0, 0.5, 0.6, 0.7],
            [1.0, 0.4, 0.3, 0.2],
            "overfits after epoch 2: training 0.4 to 0.2, held out 0.5 to 0.7",
        ),
        ([1.0, 0.8, 0.6, 0.4], [1.0, 0.8, 0.6, 0.4], "still improving at the last epoch"),
        ([1.0, 0.5, 0.5, 0.5], [1.0, 0.5, 0.5, 0.5], "settled"),
        ([1.0, 0.5, 0.8, 0.9], [1.0, 0.5, 0.8, 0.9], "settled"),  # both get worse: that is not overfitting
    ],
)
def test_the_verdict_tells_over_from_underfitting(held, train, says):
    assert verdict({"loss": train, "val_loss": held}).startswith(says)


def test_without_held_out_data_there_is_one_line_and_no_verdict():
    (axes,) = curves({"loss": [1.0, 0.5]}).axes
    assert labels_of(axes) == ["training"]
    assert axes.get_title(loc="left") == ""


def test_after_one_epoch_nothing_is_said():
    assert verdict({"loss": [1.0], "val_loss": [2.0]}) == ""
    assert len(curves({"loss": [1.0], "val_loss": [2.0]}).axes) == 1


def test_the_best_epoch_is_the_smallest_loss_or_the_largest_score():
    assert best_epoch([3, 1, 2]) == 2
    assert best_epoch([3, 1, 2], "accuracy") == 1
    assert best_epoch([np.nan, 1, 2], "mean_squared_error") == 2


def test_a_confusion_matrix_counts_and_takes_scores():
    labels = np.array([0, 0, 1, 2, 2, 2])
    scores = np.eye(3)[[0, 1, 1, 2, 2, 0]]
    figure = confusion_matrix(labels, scores, names=["a", "b", "c"])
    axes = figure.axes[0]
    shown = {(t.get_position()[1], t.get_position()[0]): t.get_text() for t in axes.texts}
    assert shown == {(0, 0): "1", (0, 1): "1", (1, 1): "1", (2, 2): "2", (2, 0): "1"}
    assert [t.get_text() for t in axes.get_yticklabels()] == ["a", "b", "c"]
    assert axes.get_title(loc="left") == "66.7% of 6 right"
    shares = {t.get_text() for t in confusion_matrix(labels, scores, normalize=True).axes[0].texts}
    assert shares == {"0.50", "1.00", "0.67", "0.33"}
    with pytest.raises(InputError, match=r"labels have shape \(6,\) and predictions \(5,\)"):
        confusion_matrix(labels, labels[:5])


def test_a_decision_boundary_shows_the_class_of_each_point_of_the_plane():
    X = np.array([[-1, -1], [-1, 1], [1, -1], [1, 1]], np.float32)
    labels = np.array([0, 1, 1, 0])
    figure = decision_boundary(lambda g: -(g[:, :1] * g[:, 1:]), X, labels, ("left", "up"))
    axes = figure.axes[0]
    chosen = np.asarray(axes.collections[0].get_array()).reshape(300, 300)
    assert chosen[10, 10] == 0 and chosen[10, -10] == 1 and chosen[-10, 10] == 1 and chosen[-10, -10] == 0
    assert axes.get_title(loc="left") == "100.0% of 4 right"
    assert axes.get_xlabel() == "left"
    with pytest.raises(InputError, match=r"expected is \(N, 2\)"):
        decision_boundary(lambda g: g, np.zeros((4, 3)), labels)


def test_figures_are_written_by_the_ending_of_the_name(tmp_path):
    assert save(curves(OVERFIT), tmp_path / "a.png").read_bytes()[:4] == b"\x89PNG"
    assert training_curves(OVERFIT, tmp_path / "a.pdf").read_bytes()[:4] == b"%PDF"
    with pytest.raises(ValueError, match="bmpx"):
        save(curves(OVERFIT), tmp_path / "a.bmpx")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pdf", "a.png"]
    assert save(curves(OVERFIT), tmp_path / "new" / "folder" / "b.png").exists()


def test_an_empty_history_is_refused():
    with pytest.raises(NumericsError, match="the history is empty"):
        curves({})
