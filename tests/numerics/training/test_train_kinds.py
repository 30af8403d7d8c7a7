"""Networks with several inputs and outputs, drawn masks, running averages and carried states train like others."""

import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.errors import InputError, NumericsError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5)).astype(np.float32)
Y = (X[:, 0] + X[:, 1] > 0).astype(np.int32)
SPARSE = "sparse_softmax_cross_entropy"


def with_dropout(rate=0.5):
    return dv.Sequential([L.Dense(16, activation="relu"), L.Dropout(rate), L.Dense(2)], input_shape=(5,))


def with_batch_norm():
    return dv.Sequential([L.Dense(6), L.BatchNorm(momentum=0.5), L.Dropout(0.25), L.Dense(2)], input_shape=(5,))


def trainer(model, loss=SPARSE, **options):
    return nx.Trainer(model, loss=loss, **{"optimizer": optax.adam(1e-2), **options})


def two_and_two():
    a, b = dv.Input((5,), name="a"), dv.Input((3,), name="b")
    h = L.Dense(6, activation="tanh", name="h")(a)
    g = L.Concatenate()([h, L.Dense(4, activation="tanh")(b)])
    return dv.Model([a, b], {"kind": L.Dense(2, name="k")(g), "size": L.Dense(1, name="s")(h)})


# -- random inputs -----------------------------------------------------------------------------------------------------


def test_masks_are_drawn_anew_for_every_step_and_belong_to_the_seed():
    def masks(seed):
        t, found = trainer(with_dropout(), seed=seed), []

        class Look(nx.Callback):
            def on_step_end(self, trainer, row):
                found.append(np.asarray(trainer.inputs()["dropout_1_mask"]))

        t.fit(X, Y, batch_size=20, epochs=2, callbacks=[Look()], verbose=False)
        return found

    one, again, other = masks(3), masks(3), masks(4)
    assert [m.shape for m in one] == [(20, 16)] * 4
    assert set(np.unique(one)) == {0.0, 1.0}
    assert 0.4 < np.mean(one) < 0.6
    assert not any(np.array_equal(one[0], m) for m in one[1:])
    np.testing.assert_array_equal(one, again)
    assert not np.array_equal(one, other)


def test_the_step_uses_the_masks_and_prediction_has_none():
    t = trainer(with_dropout(), optimizer=optax.sgd(0.1))
    before = {n: np.asarray(a) for n, a in t.params.items()}
    history = t.fit(X, Y, batch_size=40, epochs=1, verbose=False)
    used = t.inputs()
    loss, gradients, _ = t.kernel(**used)
    assert history["loss"][0] == pytest.approx(float(loss), rel=1e-6)
    for name, gradient in gradients.items():
        np.testing.assert_allclose(t.params[name], before[name] - 0.1 * np.asarray(gradient), atol=1e-6)
    p = {n: np.asarray(a) for n, a in t.params.items()}
    h = np.maximum(X @ p["dense_1_kernel"] + p["dense_1_bias"], 0)
    expected = h @ p["dense_2_kernel"] + p["dense_2_bias"]
    np.testing.assert_allclose(t.predict(X), expected, rtol=1e-4, atol=1e-5)
    top = expected.max(axis=1, keepdims=True)
    cost = np.log(np.exp(expected - top).sum(axis=1)) + top[:, 0] - expected[np.arange(40), Y]
    assert t.evaluate(X, Y)["loss"] == pytest.approx(cost.mean(), rel=1e-5)


# -- state -------------------------------------------------------------------------------------------------------------


def test_running_averages_go_on_with_every_step_and_serve_prediction():
    t = trainer(with_batch_norm(), optimizer=optax.sgd(0.0))
    assert {n: np.unique(a).tolist() for n, a in t.state.items()} == {
        "batch_norm_1_mean": [0],
        "batch_norm_1_variance": [1],
    }
    t.fit(X, Y, batch_size=20, epochs=1, shuffle=False, verbose=False)
    z = X @ np.asarray(t.params["dense_1_kernel"]) + np.asarray(t.params["dense_1_bias"])
    mean, variance = np.zeros(6), np.ones(6)
    for part in (z[:20], z[20:]):
        mean, variance = 0.5 * mean + 0.5 * part.mean(axis=0), 0.5 * variance + 0.5 * part.var(axis=0)
    np.testing.assert_allclose(t.state["batch_norm_1_mean"], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(t.state["batch_norm_1_variance"], variance, rtol=1e-4)
    hat = (z - mean) / np.sqrt(variance + 1e-3)
    expected = hat @ np.asarray(t.params["dense_2_kernel"]) + np.asarray(t.params["dense_2_bias"])
    np.testing.assert_allclose(t.predict(X, batch_size=7), expected, rtol=1e-3, atol=1e-4)


def test_a_frozen_batch_normalization_is_as_in_use():
    t = trainer(dv.Sequential([L.Dense(6), L.BatchNorm(momentum=0.5), L.Dense(2)], input_shape=(5,)))
    t.fit(X, Y, batch_size=20, epochs=2, verbose=False)
    averages = {n: np.asarray(a) for n, a in t.state.items()}
    t.freeze("batch_norm_1")
    before = t.evaluate(X, Y)["loss"]
    assert "d_batch_norm_1_gamma" not in t.kernel.source
    assert {"batch_norm_1_mean", "batch_norm_1_variance"} <= {i.name for i in t.kernel.inputs}
    assert t.derivation.check().ok
    history = t.fit(X, Y, batch_size=40, verbose=False)
    assert history["loss"][0] == pytest.approx(before, rel=1e-5)
    for name, a in averages.items():
        np.testing.assert_array_equal(t.state[name], a)
    t.unfreeze("batch_norm_1").fit(X, Y, batch_size=20, verbose=False)
    assert not np.array_equal(t.state["batch_norm_1_mean"], averages["batch_norm_1_mean"])


# -- carried states ----------------------------------------------------------------------------------------------------


def language_model(steps=4):
    return dv.Sequential(
        [L.Embedding(5, 3), L.LSTM(6, return_sequences=True, initial_state="carried"), L.Dense(5)], input_shape=(steps,)
    )


def test_states_are_carried_from_batch_to_batch_and_reset_at_an_epoch():
    ids = np.tile(np.arange(5), 30)
    x, y = nx.windows(ids, batch=3, steps=4)
    t, seen = trainer(language_model()), []

    class Look(nx.Callback):
        def on_step_end(self, trainer, row):
            given = trainer.inputs()
            seen.append(
                (
                    row["step"],
                    np.asarray(given["lstm_1_h"]),
                    np.asarray(trainer.carried["lstm_1_h"]),
                    np.asarray(given["x"]),
                )
            )

    t.fit(x, y, batch_size=3, epochs=2, callbacks=[Look()], verbose=False)
    per_epoch = len(x) // 3
    assert len(seen) == 2 * per_epoch
    for (step, before, _, rows), (_, _, last, _) in zip(seen[1:], seen[:-1], strict=True):
        np.testing.assert_array_equal(before, np.zeros((3, 6)) if step == 1 else last)
        np.testing.assert_array_equal(rows, x[3 * (step - 1) : 3 * step])


def test_one_long_sequence_is_the_same_as_its_windows():
    ids = RNG.integers(0, 5, 61)
    whole, parts = trainer(language_model(20)), trainer(language_model(4))
    parts.params = whole.params
    x, y = nx.windows(ids, batch=3, steps=20)
    long = whole.predict(x)
    short = parts.predict(nx.windows(ids, batch=3, steps=4)[0], batch_size=3)
    np.testing.assert_allclose(np.concatenate(np.split(short, 5), axis=1), long, rtol=1e-4, atol=1e-5)
    expected = whole.evaluate(x, y)["loss"]
    assert parts.evaluate(*nx.windows(ids, 3, 4), batch_size=3)["loss"] == pytest.approx(expected, rel=1e-5)


def test_batches_that_do_not_fit_carried_states_are_refused():
    x, y = nx.windows(np.tile(np.arange(5), 30), batch=3, steps=4)
    with pytest.raises(
        InputError, match="carries are those of 5 sequences.*batch of 1; accepted are .* divide 36: 1, 2"
    ):
        trainer(language_model()).fit(x, y, batch_size=5, verbose=False)
    with pytest.raises(InputError, match="validation: the states .* are those of 3 sequences.*a batch of 1"):
        trainer(language_model()).fit(x, y, batch_size=3, validation_data=(x[:4], y[:4]), verbose=False)
    with pytest.raises(InputError, match="validation_split draws examples, but this model carries"):
        trainer(language_model()).fit(x, y, batch_size=3, validation_split=0.5, verbose=False)


# -- several inputs and outputs ----------------------------------------------------------------------------------------


def several():
    a, b = X, RNG.normal(size=(40, 3)).astype(np.float32)
    return {"a": a, "b": b}, {"kind": Y, "size": a[:, :1] - a[:, 2:3]}


LOSSES = {"kind": SPARSE, "size": "mean_squared_error"}


def test_several_inputs_and_outputs_by_name_or_in_order():
    inputs, targets = several()
    one, two = (
        trainer(two_and_two(), LOSSES, metrics={"kind": ["accuracy"], "size": ["r2"]}, loss_weights={"size": 2.0})
        for _ in range(2)
    )
    first = one.fit(inputs, targets, epochs=25, validation_split=0.2, verbose=False)
    second = two.fit(
        (inputs["a"], inputs["b"]), (targets["kind"], targets["size"]), epochs=25, validation_split=0.2, verbose=False
    )
    names = ["loss", "kind_accuracy", "size_r2", "val_loss", "val_kind_accuracy", "val_size_r2", "seconds"]
    assert list(first) == names
    assert first["loss"] == second["loss"]
    assert first["loss"][-1] < 0.6 * first["loss"][0]
    found = one.predict(inputs)
    assert {n: a.shape for n, a in found.items()} == {"kind": (40, 2), "size": (40, 1)}
    parts = one.evaluate(inputs, targets)
    z = found["kind"] - found["kind"].max(axis=1, keepdims=True)
    cross = (np.log(np.exp(z).sum(axis=1)) - z[np.arange(40), Y]).mean()
    assert parts["loss"] == pytest.approx(cross + 2 * np.mean((found["size"] - targets["size"]) ** 2), rel=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x, y: ({"a": x["a"]}, y), "X lacks b; the model has a, b"),
        (lambda x, y: ({**x, "bb": x["b"]}, y), r"X has 'bb'; did you mean 'b'\?; the model has a, b"),
        (lambda x, y: (x["a"], y), "X is ndarray; the model has 2 inputs?: give a dict by the names a, b"),
        (lambda x, y: ({**x, "b": x["b"][:-1]}, y), r"X\['a'\] has 40 examples and X\['b'\] 39"),
        (lambda x, y: (x, {**y, "size": y["size"][:-1]}), r"X\['a'\] has 40 examples and Y\['size'\] 39"),
        (lambda x, y: ({**x, "b": x["b"][:, :2]}, y), r"X\['b'\] has shape \(40, 2\); expected is \(N, 3\)"),
    ],
)
def test_what_does_not_fit_several_inputs_is_named(change, message):
    message = message.replace("2 inputs?", "2")
    with pytest.raises(InputError, match=message):
        trainer(two_and_two(), LOSSES).fit(*change(*several()), verbose=False)


def test_masks_are_inputs_like_others():
    x, mask = dv.Input((6, 2)), dv.Input((6,), name="mask", dtype="int", below=2)
    model = dv.Model([x, mask], L.Dense(2)(L.GRU(4, masked=True)([x, mask])))
    data = RNG.normal(size=(20, 6, 2))
    lengths = RNG.integers(2, 7, 20)
    on = (np.arange(6) < lengths[:, None]).astype(int)
    right = (data[:, 0, 0] > 0).astype(int)
    t = trainer(model, metrics=["accuracy"])
    t.fit((data, on), right, batch_size=10, epochs=2, verbose=False)
    changed = np.where(on[..., None] > 0, data, 99.0)
    np.testing.assert_array_equal(t.predict((data, on)), t.predict((changed, on)))


# -- weights -----------------------------------------------------------------------------------------------------------


def test_examples_of_weight_zero_do_not_count():
    weight = np.where(np.arange(40) < 20, 2.0, 0.0)
    weighted, fewer = (trainer(with_dropout(0.0), optimizer=optax.sgd(0.5)) for _ in range(2))
    weighted.fit(X, Y, batch_size=40, epochs=3, sample_weight=weight, shuffle=False, verbose=False)
    fewer.fit(X[:20], Y[:20], batch_size=20, epochs=3, shuffle=False, verbose=False)
    for name, a in fewer.params.items():
        np.testing.assert_allclose(weighted.params[name], a, atol=1e-6)
    assert weighted.evaluate(X, Y)["loss"] == pytest.approx(fewer.evaluate(X, Y)["loss"], rel=1e-5)


def test_class_weights_balance():
    rare = np.concatenate([np.flatnonzero(Y == 0), np.flatnonzero(Y == 1)[:3]])
    t = trainer(with_dropout(0.0))
    t.fit(X[rare], Y[rare], batch_size=5, class_weight="balanced", verbose=False)
    n, zeros = len(rare), int((Y[rare] == 0).sum())
    np.testing.assert_allclose(t.class_weight, [n / (2 * zeros), n / 6], rtol=1e-6)
    np.testing.assert_array_equal(t.inputs()["class_weight"], t.class_weight)
    for given, message in (
        ([1.0], r"class_weight has shape \(1,\); class_weight is for 2 classes"),
        ({2: 1.0}, "class_weight has 2; class_weight is for 2 classes, numbered 0 to 1"),
        ("even", "class_weight is 'even'; accepted are 2 numbers, a dict by class, or 'balanced'"),
        ([1.0, -1.0], r"class_weight\[1\] is -1.0; accepted are numbers that are not negative"),
    ):
        with pytest.raises(InputError, match=message):
            t.fit(X, Y, class_weight=given, verbose=False)
    with pytest.raises(InputError, match=r"sample_weight\[2\] is -1.0"):
        t.fit(X, Y, sample_weight=np.where(np.arange(40) == 2, -1.0, 1.0), verbose=False)


def test_ignored_labels_are_left_out_of_loss_and_metrics():
    model = dv.Sequential([L.SimpleRNN(4, return_sequences=True), L.Dense(3)], input_shape=(5, 2))
    x, y = RNG.normal(size=(12, 5, 2)), RNG.integers(0, 3, (12, 5))
    y[:, 3:] = -100
    y[:6] = -100
    t = trainer(model, dv.losses.loss(SPARSE, ignored=-100), metrics=["accuracy"])
    assert t.evaluate(x, y, batch_size=4)["loss"] == pytest.approx(t.evaluate(x, y, batch_size=12)["loss"], rel=1e-5)
    right = (t.predict(x).argmax(axis=-1) == y)[6:, :3].mean()
    assert t.evaluate(x, y)["accuracy"] == pytest.approx(right)
    with pytest.raises(InputError, match="takes labels in .*or -100"):
        t.evaluate(x, np.where(y == -100, -1, y))


# -- saved and read again ----------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    "make, loss, data",
    [
        (with_batch_norm, SPARSE, lambda: (X, Y)),
        (two_and_two, LOSSES, several),
        (language_model, SPARSE, lambda: nx.windows(np.tile(np.arange(5), 20), 3, 4)),
    ],
)
def test_every_kind_goes_on_as_if_not_interrupted(make, loss, data, tmp_path):
    x, y = data()
    straight, stopped = trainer(make(), loss), trainer(make(), loss)
    straight.fit(x, y, batch_size=3 if make is language_model else 8, epochs=4, verbose=False)
    stopped.fit(x, y, batch_size=3 if make is language_model else 8, epochs=2, verbose=False)
    again = nx.load(stopped.save(tmp_path), optimizer=optax.adam(1e-2))
    again.fit(x, y, batch_size=3 if make is language_model else 8, epochs=2, verbose=False)
    assert again.history["loss"] == straight.history["loss"]
    for name, a in {**straight.params, **straight.state}.items():
        np.testing.assert_array_equal({**again.params, **again.state}[name], a)


def test_there_are_no_inputs_before_a_step():
    with pytest.raises(NumericsError, match="no step has been taken yet"):
        trainer(with_dropout()).inputs()
