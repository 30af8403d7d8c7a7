"""Callbacks: what is called when, how a fit is ended, what early stopping restores, how rates are seen and set."""

import numpy as np
import optax
import pytest
from trainers import blobs, small

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.errors import InputError, NumericsError


class Told(nx.Callback):
    def __init__(self):
        self.events = []

    def on_fit_begin(self, trainer, row):
        self.events.append(("fit", row["epochs"], row["steps"], row["examples"]))

    def on_epoch_begin(self, trainer, row):
        self.events.append(("epoch", row["epoch"]))

    def on_step_end(self, trainer, row):
        self.events.append((row["epoch"], row["step"], float(row["loss"])))

    def on_epoch_end(self, trainer, row):
        row["twice"] = 2 * row["loss"]
        self.events.append(("end", trainer.epoch, sorted(row)))

    def on_fit_end(self, trainer, row):
        self.events.append(("over", row["epochs"], row["error"]))


def test_what_is_called_when():
    X, Y = blobs(20)
    told, t = Told(), small(metrics=())
    history = t.fit(X, Y, batch_size=8, epochs=2, callbacks=told, verbose=False)
    kinds = [e[0] if isinstance(e[0], str) else e[:2] for e in told.events]
    assert kinds == ["fit", "epoch", (1, 1), (1, 2), (1, 3), "end", "epoch", (2, 1), (2, 2), (2, 3), "end", "over"]
    assert told.events[0] == ("fit", 2, 3, 20)
    assert told.events[-1] == ("over", 2, None)
    losses = [e[2] for e in told.events if not isinstance(e[0], str)]
    assert history["loss"][0] == pytest.approx(np.average(losses[:3], weights=[8, 8, 4]), rel=1e-6)
    assert history["twice"] == [2 * v for v in history["loss"]]


def test_a_fit_is_ended_after_a_step_or_an_epoch():
    X, Y = blobs(20)

    class AtStep(nx.Callback):
        def on_step_end(self, trainer, row):
            return row["epoch"] == 2 and row["step"] == 1

    class AtEpoch(nx.Callback):
        def on_epoch_end(self, trainer, row):
            trainer.stop = trainer.epoch == 2

    t = small()
    t.fit(X, Y, batch_size=8, epochs=9, callbacks=[AtEpoch()], verbose=False)
    assert (t.epoch, t.step) == (2, 6)
    t = small()
    assert len(t.fit(X, Y, batch_size=8, epochs=9, callbacks=[AtStep()], verbose=False)["loss"]) == 1
    assert (t.epoch, t.step, t.part.done) == (1, 4, 1)
    with pytest.raises(
        InputError, match="epoch 2 was interrupted after 1 steps on 20 examples in batches of 8; .*new_epoch"
    ):
        t.fit(X, Y, batch_size=5, verbose=False)
    t.fit(X, Y, batch_size=8, epochs=2, verbose=False)
    straight = small()
    straight.fit(X, Y, batch_size=8, epochs=3, verbose=False)
    assert t.history["loss"] == straight.history["loss"], "an interrupted epoch goes on where it was"


def test_the_end_is_told_also_when_a_fit_fails():
    X, Y = blobs(20)
    told = Told()
    t = small(loss="mean_squared_error", metrics=(), optimizer=optax.sgd(1e30))
    with np.errstate(all="ignore"), pytest.raises(NumericsError, match="the loss became"):
        t.fit(X, np.eye(3)[Y], batch_size=4, epochs=3, callbacks=[told], verbose=False)
    assert isinstance(told.events[-1][2], NumericsError)


def test_early_stopping_goes_back_to_the_best_epoch():
    X, Y = blobs(40)
    t, seen = small(optimizer=optax.sgd(1.0)), []

    class Worse(nx.Callback):  # the validation loss of the third epoch is the best
        def on_epoch_end(self, trainer, row):
            row["val_loss"] = abs(trainer.epoch - 3)
            seen.append({n: np.asarray(a) for n, a in trainer.params.items()})

    early = nx.EarlyStopping(patience=2)
    t.fit(X, Y, batch_size=8, epochs=20, callbacks=[Worse(), early], verbose=False)
    assert t.epoch == 5
    assert (early.best_epoch, early.best) == (3, 0)
    for name, a in t.params.items():
        np.testing.assert_array_equal(a, seen[2][name])
    assert np.abs(seen[2]["dense_1_kernel"] - seen[4]["dense_1_kernel"]).max() > 0


def test_early_stopping_restores_running_averages_too():
    X, Y = blobs(40)
    t = nx.Trainer(
        dv.Sequential([L.Dense(4), L.BatchNorm(), L.Dense(3)], input_shape=(5,)),
        loss="sparse_softmax_cross_entropy",
        optimizer=optax.adam(0.1),
    )

    class Worse(nx.Callback):
        def on_epoch_end(self, trainer, row):
            row["val_loss"] = trainer.epoch
            if trainer.epoch == 1:
                self.state = {n: np.asarray(a) for n, a in trainer.state.items()}

    worse = Worse()
    t.fit(X, Y, batch_size=8, epochs=3, callbacks=[worse, nx.EarlyStopping(patience=9)], verbose=False)
    for name, a in worse.state.items():
        np.testing.assert_array_equal(t.state[name], a)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nx.EarlyStopping(mode="least"), "mode is 'least'; accepted are 'auto', 'min', 'max'"),
        (lambda: nx.EarlyStopping(patience=-1), "patience is -1; accepted is a whole number from 0"),
        (
            lambda: nx.EarlyStopping("val_loss"),
            "there is no 'val_loss'; give validation_data or validation_split; an epoch has loss, accuracy",
        ),
        (lambda: nx.EarlyStopping, r"accepted are objects of subclasses of nx.Callback; write EarlyStopping\(...\)"),
        (lambda: print, "callbacks has <built-in function print>; accepted are objects of subclasses"),
    ],
)
def test_callbacks_that_cannot_work_are_refused(make, message):
    X, Y = blobs()
    with pytest.raises(InputError, match=message):
        small().fit(X, Y, callbacks=[make()], verbose=False)


def test_rates_are_seen_where_they_are_known():
    X, Y = blobs(20)
    schedule = optax.exponential_decay(0.1, 3, 0.5)
    t = small(optimizer=optax.sgd(0.1))
    assert t.learning_rate is None
    assert "learning_rate" not in t.fit(X, Y, batch_size=8, verbose=False)
    model = t.model
    t = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.sgd, learning_rate=schedule)
    plain = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.sgd(schedule))
    history = t.fit(X, Y, batch_size=8, epochs=3, verbose=False)
    np.testing.assert_allclose(history["learning_rate"], [schedule(2), schedule(5), schedule(8)], rtol=1e-6)
    assert plain.fit(X, Y, batch_size=8, epochs=3, verbose=False)["loss"] == pytest.approx(history["loss"], rel=1e-6)
    with pytest.raises(NumericsError, match="a schedule sets it at every step"):
        t.learning_rate = 0.1
    with pytest.raises(NumericsError, match="does not keep its rate in its state"):
        plain.learning_rate = 0.1


def test_a_rate_can_be_set():
    X, Y = blobs(20)
    t = nx.Trainer(small().model, "sparse_softmax_cross_entropy", optax.adam, learning_rate=0.1)
    t.fit(X, Y, verbose=False)
    before = dict(t.params)
    t.learning_rate = 0.0
    assert t.fit(X, Y, verbose=False)["learning_rate"] == [0.0]
    for name, a in before.items():
        np.testing.assert_array_equal(t.params[name], a)
    with pytest.raises(NumericsError, match="optimizer is a function that makes one of it"):
        small_with = {"optimizer": optax.adam(0.1), "learning_rate": 0.1}
        nx.Trainer(t.model, "sparse_softmax_cross_entropy", **small_with)
    with pytest.raises(NumericsError, match="with optimizer=optax.adam, give learning_rate= as well"):
        nx.Trainer(t.model, "sparse_softmax_cross_entropy", optax.adam)


def test_gradients_are_accumulated_and_clipped():
    X, Y = blobs(16)
    model, loss = small().model, "sparse_softmax_cross_entropy"
    parts = nx.Trainer(model, loss, optax.sgd(0.5), accumulate=4, clip_norm=0.1)
    whole = nx.Trainer(model, loss, optax.sgd(0.5), clip_norm=0.1)
    start = {n: np.asarray(a) for n, a in whole.params.items()}
    parts.fit(X, Y, batch_size=4, epochs=1, shuffle=False, verbose=False)
    whole.fit(X, Y, batch_size=16, epochs=1, shuffle=False, verbose=False)
    for name, a in whole.params.items():
        np.testing.assert_allclose(parts.params[name], a, atol=1e-6)
    moved = np.sqrt(sum(np.sum((np.asarray(a) - start[n]) ** 2) for n, a in whole.params.items()))
    assert moved == pytest.approx(0.05, rel=1e-4)
    for options, message in (
        ({"clip_norm": 0}, "clip_norm is 0; accepted is a number above 0"),
        ({"accumulate": 0}, "accumulate is 0; accepted is a whole number above 0"),
    ):
        with pytest.raises(NumericsError, match=message):
            nx.Trainer(model, loss, optax.sgd(0.5), **options)


def test_augmentation_is_seeded_and_keeps_shapes():
    X, Y = blobs(20)
    seen = []

    def shift(x, generator):
        made = x + generator.normal(size=(len(x), 1))
        seen.append(made)
        return made

    first = small().fit(X, Y, batch_size=8, epochs=2, augment=shift, verbose=False)["loss"]
    again = small().fit(X, Y, batch_size=8, epochs=2, augment=shift, verbose=False)["loss"]
    assert first == again != small().fit(X, Y, batch_size=8, epochs=2, verbose=False)["loss"]
    assert len(seen) == 12
    assert not np.allclose(seen[0] - seen[0].mean(), seen[3] - seen[3].mean())
    with pytest.raises(InputError, match=r"augment: x had shape \(8, 5\) and has \(8, 4\) now"):
        small().fit(X, Y, batch_size=8, augment=lambda x, generator: x[:, :4], verbose=False)


def test_unfreezing_derives_the_gradients_again_and_keeps_what_the_optimizer_knows():
    X, Y = blobs()
    t = small().freeze("dense_1")
    t.fit(X, Y, epochs=1, verbose=False)
    moments, frozen = np.asarray(t.opt_state[0].mu["dense_2_kernel"]), np.asarray(t.params["dense_1_kernel"])
    assert t.unfreeze("dense_1_bias").frozen == ("dense_1_kernel",)
    assert list(t.derivation.gradients) == ["dense_1_bias", "dense_2_kernel", "dense_2_bias"]
    t.unfreeze()
    assert t.frozen == ()
    np.testing.assert_array_equal(t.opt_state[0].mu["dense_2_kernel"], moments)
    assert np.unique(t.opt_state[0].mu["dense_1_kernel"]).tolist() == [0]
    t.fit(X, Y, epochs=1, verbose=False)
    assert np.abs(np.asarray(t.params["dense_1_kernel"]) - frozen).max() > 1e-4
    with pytest.raises(dv.DeriveError, match="no layer 'dense_7'"):
        t.unfreeze("dense_7")


def test_data_that_teaches_nothing_is_refused():
    X, Y = blobs()
    with pytest.raises(
        InputError, match="all 60 examples to train on are of class 1; accepted are at least two classes"
    ):
        small().fit(X, np.ones(60, int), verbose=False)
