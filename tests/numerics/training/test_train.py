"""nx.Trainer: it trains, it measures, it freezes, and no autodiff takes part."""

import jax
import numpy as np
import optax
import pytest
from trainers import blobs, small

from derive import DeriveError
from derive.networks import layers as L
from derive.networks.model import Sequential
from numerics.data.examples import digits
from numerics.errors import InputError, NumericsError
from numerics.pages.plots import training_curves
from numerics.training import Trainer


def test_digits_reach_97_percent():
    (X, Y), (Xt, Yt) = digits(seed=0)
    hidden = [L.Dense(128, activation="relu"), L.Dense(64, activation="relu")]
    model = Sequential([*hidden, L.Dense(10)], input_shape=(64,))
    t = Trainer(model, loss="sparse_softmax_cross_entropy", optimizer=optax.adam(2e-3), metrics=["accuracy"], seed=0)
    history = t.fit(X, Y, batch_size=64, epochs=25, validation_data=(Xt, Yt), verbose=False)
    assert history["val_accuracy"][-1] >= 0.97
    assert np.mean(t.predict(Xt).argmax(axis=1) == Yt) == pytest.approx(history["val_accuracy"][-1])


def test_the_history_has_a_number_an_epoch_and_the_loss_falls():
    X, Y = blobs()
    t = small()
    history = t.fit(X, Y, batch_size=16, epochs=6, validation_split=0.25, verbose=False)
    assert list(history) == ["loss", "accuracy", "val_loss", "val_accuracy", "seconds"]
    assert {len(v) for v in history.values()} == {6}
    assert history["loss"][-1] < history["loss"][0]
    t.fit(X, Y, epochs=2, verbose=False)
    assert t.epoch == 8
    assert len(t.history["loss"]) == 8


def test_the_step_is_plain_gradient_descent_with_the_right_gradient():
    X, Y = blobs(20)
    t = small(optimizer=optax.sgd(0.1), metrics=())
    before = dict(t.params)

    def loss(p):
        h = jax.numpy.tanh(X @ p["dense_1_kernel"] + p["dense_1_bias"])
        z = h @ p["dense_2_kernel"] + p["dense_2_bias"]
        return -jax.nn.log_softmax(z)[jax.numpy.arange(20), Y].mean()

    expected = jax.tree.map(lambda p, g: p - 0.1 * g, before, jax.grad(loss)(before))
    history = t.fit(X, Y, batch_size=20, epochs=1, verbose=False)
    assert history["loss"][0] == pytest.approx(float(loss(before)), rel=1e-5)
    for name, value in expected.items():
        np.testing.assert_allclose(t.params[name], value, atol=1e-6)


def test_no_autodiff_takes_part(monkeypatch):
    X, Y = blobs()
    t = small()

    def forbidden(*a, **k):
        raise AssertionError("autodiff in the training step")

    for name in ("grad", "value_and_grad", "vjp", "jvp", "jacfwd", "jacrev", "linearize"):
        monkeypatch.setattr(jax, name, forbidden)
    t.fit(X, Y, epochs=1, verbose=False)
    assert "grad(" not in t.kernel.source.replace("loss_and_grads(", "")


def test_training_is_reproducible_and_depends_on_the_seed():
    X, Y = blobs()
    losses = [small(seed=s).fit(X, Y, batch_size=8, epochs=2, verbose=False)["loss"] for s in (0, 0, 1)]
    assert losses[0] == losses[1] != losses[2]


def test_freezing_stops_a_layer_and_derives_the_rest_again():
    X, Y = blobs()
    t = small()
    t.fit(X, Y, epochs=2, verbose=False)
    count = int(t.opt_state[0].count)
    moments = np.asarray(t.opt_state[0].mu["dense_2_kernel"])
    frozen, trained = np.asarray(t.params["dense_1_kernel"]), np.asarray(t.params["dense_2_kernel"])
    assert t.freeze("dense_1") is t
    assert list(t.derivation.gradients) == ["dense_2_kernel", "dense_2_bias"]
    assert "d_dense_1_kernel" not in t.kernel.source
    assert int(t.opt_state[0].count) == count, "what the optimizer gathered is kept"
    np.testing.assert_array_equal(t.opt_state[0].mu["dense_2_kernel"], moments)
    t.fit(X, Y, epochs=2, verbose=False)
    np.testing.assert_array_equal(t.params["dense_1_kernel"], frozen)
    assert np.abs(np.asarray(t.params["dense_2_kernel"]) - trained).max() > 1e-4


def test_freezing_an_unknown_layer_or_everything_changes_nothing():
    t = small()
    with pytest.raises(DeriveError, match="no layer 'dense_7'"):
        t.freeze("dense_7")
    with pytest.raises(DeriveError, match="no trainable parameters left"):
        t.freeze("dense_1", "dense_2")
    assert t.frozen == ()
    assert len(t.derivation.gradients) == 4


def test_evaluate_and_predict_agree_and_train_nothing():
    X, Y = blobs()
    t = small(metrics=["accuracy", "f1", lambda y, outputs: float(np.abs(outputs).max())])
    before = {n: np.asarray(a) for n, a in t.params.items()}
    found = t.evaluate(X, Y, batch_size=7)
    assert found["accuracy"] == pytest.approx(np.mean(t.predict(X, batch_size=11).argmax(axis=1) == Y))
    assert found["loss"] == pytest.approx(t.evaluate(X, Y, batch_size=60)["loss"], rel=1e-5)
    assert set(found) == {"loss", "accuracy", "f1", "lambda"}
    for name, value in before.items():
        np.testing.assert_array_equal(t.params[name], value)


@pytest.mark.slow
def test_other_losses_train_too():
    X, Y = blobs()
    onehot = np.eye(3, dtype=np.float32)[Y]
    for loss, target, activation in (
        ("mean_squared_error", onehot, None),
        ("softmax_cross_entropy", onehot, None),
        ("categorical_cross_entropy", onehot, "softmax"),
        ("sigmoid_binary_cross_entropy", onehot, None),
    ):
        metrics = ["mean_absolute_error"] if loss == "mean_squared_error" else ["accuracy"]
        history = small(loss=loss, metrics=metrics, activation=activation).fit(X, target, epochs=8, verbose=False)
        assert history["loss"][-1] < history["loss"][0], loss


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda X, Y: (X[:, :4], Y), r"X has shape \(60, 4\); expected is \(N, 5\)"),
        (lambda X, Y: (X[0], Y), r"a single example needs a batch axis: X\[None\]"),
        (
            lambda X, Y: (np.where(np.arange(300).reshape(60, 5) == 13, np.nan, X), Y),
            r"X\[2, 3\] is nan: 1 of 300 values",
        ),
        (lambda X, Y: (X.astype(str), Y), "X has dtype <U32; expected are real numbers"),
        (lambda X, Y: (X[:0], Y[:0]), "X is empty"),
        (lambda X, Y: (X, Y[:-1]), "X has 60 examples and Y 59"),
        (
            lambda X, Y: (X, Y + 1),
            r"is 3; loss 'sparse_softmax_cross_entropy' takes labels in \[0, 3\) \(labels counted from 1\?\)",
        ),
        (lambda X, Y: (X, Y - 5), r"takes labels in \[0, 3\)"),
        (lambda X, Y: (X, Y.astype(float)), r"Y has dtype float64.*Y.astype\('int32'\) is the same"),
        (lambda X, Y: (X, np.eye(3)[Y]), r"looks one-hot; .* or the loss 'softmax_cross_entropy'"),
        (lambda X, Y: (X, Y[:, None]), r"Y\[:, 0\] fits"),
    ],
)
def test_data_that_does_not_fit_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        small().fit(*change(*blobs()), verbose=False)


@pytest.mark.parametrize(
    ("loss", "target", "message"),
    [
        ("softmax_cross_entropy", lambda Y: Y, "for integer labels use 'sparse_softmax_cross_entropy'"),
        (
            "softmax_cross_entropy",
            lambda Y: np.full((60, 3), 0.5),
            r"Y\[0\] sums to 1.5; .* probabilities, which sum to 1",
        ),
        ("sigmoid_binary_cross_entropy", lambda Y: np.full((60, 3), 2.0), r"Y\[0, 0\] is 2.0; .* numbers in \[0, 1\]"),
        (
            "mean_squared_error",
            lambda Y: np.zeros((60, 4)),
            r"Y has shape \(60, 4\); loss 'mean_squared_error' takes \(N, 3\)",
        ),
    ],
)
def test_targets_that_do_not_fit_the_loss_are_refused(loss, target, message):
    X, Y = blobs()
    with pytest.raises(InputError, match=message):
        small(loss=loss, metrics=()).fit(X, target(Y), verbose=False)


def test_bad_arguments_are_refused():
    X, Y = blobs()
    with pytest.raises(NumericsError, match="accepted is an optax optimizer"):
        small(optimizer=3)
    with pytest.raises(NumericsError, match="unknown optimizer 'adan'; did you mean 'adam'"):
        small(optimizer="adan")
    with pytest.raises(InputError, match=r"unknown metric 'acuracy'; did you mean 'accuracy'\?; accepted are accuracy"):
        small(metrics=["acuracy"])
    with pytest.raises(InputError, match="'accuracy' compares classes, but loss 'mean_squared_error' is about values"):
        small(loss="mean_squared_error")
    with pytest.raises(InputError, match="batch_size is 0; accepted is a whole number above 0"):
        small().fit(X, Y, batch_size=0)
    with pytest.raises(InputError, match="not both"):
        small().fit(X, Y, validation_data=(X, Y), validation_split=0.1)
    with pytest.raises(InputError, match=r"validation_data is a pair \(X, Y\)"):
        small().fit(X, Y, validation_data=X)
    with pytest.raises(InputError, match="Y is not given, and X is ndarray"):
        small().fit(X)


def test_a_loss_that_diverges_stops_and_keeps_the_parameters():
    X, Y = blobs()
    t = small(loss="mean_squared_error", metrics=(), optimizer=optax.sgd(1e30))
    before = {n: np.asarray(a) for n, a in t.params.items()}
    with np.errstate(all="ignore"), pytest.raises(NumericsError, match="the loss became .* in epoch 1; the param"):
        t.fit(X, np.eye(3)[Y], batch_size=4, epochs=3, verbose=False)
    for name, value in before.items():
        np.testing.assert_array_equal(t.params[name], value)


def test_progress_without_a_terminal_is_a_few_lines(capsys, monkeypatch):
    monkeypatch.setattr("numerics.training.progress.FIRST", 1e9)  # no lines in between, however slow the first step is
    X, Y = blobs()
    small().fit(X, Y, epochs=20)
    lines = capsys.readouterr().out.strip().splitlines()
    assert 10 <= len(lines) <= 11
    assert lines[0].startswith("epoch  1/20  loss ")
    assert "accuracy 0." in lines[-1] or "accuracy 1." in lines[-1]


def test_curves_are_drawn_and_an_empty_history_is_refused(tmp_path):
    path = training_curves(
        {"loss": [2.0, 1.0], "accuracy": [0.1, 0.9], "val_loss": [2.1, 1.2], "seconds": [1, 1]}, tmp_path / "curves.svg"
    )
    text = path.read_text()
    assert text.startswith("<?xml")
    assert (training_curves({"loss": [1.0]}, tmp_path / "curves.png")).read_bytes()[:4] == b"\x89PNG"
    with pytest.raises(NumericsError, match="the history is empty"):
        training_curves({}, tmp_path / "nothing.png")
