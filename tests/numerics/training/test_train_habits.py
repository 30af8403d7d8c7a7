"""What people bring along from other libraries works, or is told with what to write."""

from __future__ import annotations

import warnings

import numpy as np
import optax
import pytest
from trainers import blobs, small

import derive as dv
import numerics as nx
from derive import layers as L
from derive.networks.model.habits import ModelWarning
from numerics.errors import InputError, NotFiniteError, NumericsError
from numerics.training.scale import warn_of_scale

WORDS = np.array(["ant", "bee", "cow"])


def batches(X, Y, size=16):
    return [(X[k : k + size], Y[k : k + size]) for k in range(0, len(X), size)]


class Loader:
    """What a torch DataLoader looks like from outside: it can be gone through again, and is no list."""

    def __init__(self, found):
        self.found = found

    def __len__(self):
        return len(self.found)

    def __iter__(self):
        return iter(self.found)


@pytest.mark.parametrize("made", [list, Loader, lambda found: lambda: iter(found)], ids=["list", "loader", "function"])
def test_batches_of_an_iterable_train_as_the_same_arrays_do(made):
    X, Y = blobs()
    arrays, stream = small(), small()
    by_arrays = arrays.fit(X, Y, batch_size=16, epochs=3, shuffle=False, verbose=False)
    by_stream = stream.fit(made(batches(X, Y)), epochs=3, verbose=False)
    for name in ("loss", "accuracy"):
        np.testing.assert_allclose(by_stream[name], by_arrays[name], rtol=1e-6)
    for name, a in arrays.params.items():
        np.testing.assert_array_equal(stream.params[name], a)
    assert arrays.evaluate(X, Y, batch_size=16) == stream.evaluate(made(batches(X, Y)))
    np.testing.assert_allclose(stream.predict(Loader(batches(X, Y))), arrays.predict(X), rtol=1e-5, atol=1e-6)


def test_a_generator_gives_epochs_of_so_many_steps_and_an_early_end_is_told():
    X, Y = blobs()
    forever = (pair for _ in range(1000) for pair in batches(X, Y))
    t = small()
    history = t.fit(forever, epochs=4, steps_per_epoch=2, validation_data=(X, Y), verbose=False)
    assert t.step == 8 and len(history["val_loss"]) == 4
    with pytest.raises(InputError, match=r"ended after \d+ batches, in epoch 2.*a function that makes a new generator"):
        small().fit(iter(batches(X, Y)), epochs=3, verbose=False)
    with pytest.raises(InputError, match="ended after .* of 100 steps"):
        small().fit(iter(batches(X, Y)), steps_per_epoch=100, verbose=False)


def test_a_loss_of_an_iterable_that_is_not_finite_is_explained():
    X, Y = blobs()
    t = small(loss="mean_squared_error", metrics=(), optimizer=optax.sgd(1e30))
    with (
        np.errstate(all="ignore"),
        pytest.raises(NotFiniteError, match="the loss became .*those after 0 steps") as error,
    ):
        t.fit(iter(batches(X, np.eye(3)[Y], 4)), verbose=False)
    assert "step " in str(error.value)
    assert all(np.isfinite(a).all() for a in t.params.values())


@pytest.mark.parametrize(
    "given, message",
    [
        (lambda X, Y: [(X[:3], Y[:3], Y[:3], Y[:3])], "Y is not given, and X is list"),
        (lambda X, Y: Loader([X[:3]]), r"batch 1 is ndarray; accepted is a pair \(x, y\)"),
        (lambda X, Y: Loader([(X[:3], Y[:2])]), "batch 1: X has 3 examples and batch 1: Y 2"),
        (lambda X, Y: Loader([(X[:3], Y[:3], np.ones(3))]), "has weights, and the loss takes none"),
        (lambda X, Y: {"x": X}, "Y is not given, and X is dict"),
        (lambda X, Y: lambda: 3, "int gives no batches"),
    ],
)
def test_iterables_that_do_not_fit_are_refused(given, message):
    with pytest.raises(InputError, match=message):
        small().fit(given(*blobs()), verbose=False)


@pytest.mark.parametrize("option", ["batch_size", "validation_split", "sample_weight"])
def test_what_is_for_arrays_is_refused_for_iterables(option):
    X, Y = blobs()
    with pytest.raises(InputError, match=f"{option} is for arrays"):
        small().fit(batches(X, Y), **{option: 0.5}, verbose=False)


def test_words_are_numbered_said_and_kept(tmp_path, capsys):
    X, Y = blobs()
    t = small(optimizer=optax.adam(0.1))
    t.fit(X, WORDS[Y], epochs=5, validation_data=(X, list(WORDS[Y])))
    assert "ant is 0, bee is 1, cow is 2" in capsys.readouterr().out
    assert t.classes == tuple(WORDS)
    plain = small(optimizer=optax.adam(0.1))
    plain.fit(X, Y, epochs=5, verbose=False)
    assert t.evaluate(X, WORDS[Y]) == plain.evaluate(X, Y) == t.evaluate(X, Y)
    with pytest.raises(InputError, match="the class 'bea'; did you mean 'bee'"):
        t.evaluate(X[:1], ["bea"])
    t.save(tmp_path / "run")
    again = nx.load(tmp_path / "run")
    assert again.classes == tuple(WORDS) and again.evaluate(X, WORDS[Y]) == plain.evaluate(X, Y)
    with pytest.raises(InputError, match="Y has 4 different words .* 3 outputs"):
        small().fit(X[:4], list("abcd"), verbose=False)
    with pytest.raises(InputError, match="have no numbers yet"):
        small().evaluate(X, WORDS[Y])


def test_an_optimizer_has_a_name_and_a_rate():
    assert small(optimizer="adam").learning_rate == pytest.approx(1e-3)
    assert nx.Trainer(small().model, "sparse_softmax_cross_entropy", "SGD", learning_rate=0.5).learning_rate == 0.5
    X, Y = blobs()
    named, made = small(optimizer="rmsprop"), small(optimizer=optax.rmsprop(1e-3))
    named.fit(X, Y, verbose=False)
    made.fit(X, Y, verbose=False)
    for name, a in made.params.items():
        np.testing.assert_allclose(named.params[name], a, rtol=1e-6, atol=1e-8)


def test_without_an_optimizer_a_run_is_used_and_not_trained_or_written_over(tmp_path):
    X, Y = blobs()
    t = small()
    t.fit(X, Y, verbose=False)
    t.freeze(t.model.layers[0].name)
    t.save(tmp_path / "run")
    used = nx.load(tmp_path / "run")
    np.testing.assert_array_equal(used.predict(X), t.predict(X))
    assert used.evaluate(X, Y) == t.evaluate(X, Y) and used.frozen == t.frozen
    for refused in (lambda: used.fit(X, Y), lambda: used.advance({})):
        with pytest.raises(NumericsError, match="no optimizer"):
            refused()
    with pytest.raises(NumericsError, match="what that had gathered in .* steps would be lost"):
        used.save(tmp_path / "run")


def test_a_batch_larger_than_the_data_is_all_of_it():
    X, Y = blobs()
    t = small()
    t.fit(X, Y, batch_size=10**6, epochs=2, verbose=False)
    assert t.step == 2


def test_an_epoch_that_takes_long_says_so_before_it_ends(capsys, monkeypatch):
    monkeypatch.setattr("numerics.training.progress.FIRST", 0.0)
    X, Y = blobs()
    small().fit(X, Y, batch_size=4)
    first, *_, last = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch 1/1  step 1/") and " loss " in first
    assert "step" not in last and "accuracy" in last


def test_inputs_that_nobody_scaled_are_told_once():
    X, Y = blobs()
    apart, t = X * np.array([1e-3, 1, 1, 1, 200]), small()
    with pytest.warns(nx.TrainingWarning, match="the spread of column 4 is .* that of column 0 .* nx.Standardizer.fit"):
        t.fit(apart, Y, verbose=False)
    with pytest.warns(nx.TrainingWarning, match="bytes from 0 to 255.* / 255"):
        warn_of_scale(small(), np.where(X > 0, 255, 0).astype(np.uint8))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_scale(t, apart)  # said already
        warn_of_scale(small(), X * 1e4)  # large, and alike: a matter of the learning rate


def test_a_tensor_that_gradients_are_asked_of_is_read():
    torch = pytest.importorskip("torch")
    X, Y = blobs()
    plain, tensors = small(), small()
    plain.fit(X, Y, verbose=False)
    tensors.fit(torch.tensor(X, requires_grad=True), torch.tensor(Y), verbose=False)
    for name, a in plain.params.items():
        np.testing.assert_array_equal(tensors.params[name], a)
    pairs = torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y))
    found = small().fit(torch.utils.data.DataLoader(pairs, batch_size=16), epochs=2, verbose=False)
    assert found["loss"][1] < found["loss"][0]


def test_short_names_of_losses_and_metrics_are_the_same():
    X, Y = blobs()
    short, long = small(metrics=["acc"]), small(metrics=["accuracy"])
    assert short.evaluate(X, Y)["acc"] == long.evaluate(X, Y)["accuracy"]
    assert small(loss="mse", metrics=["mae"]).loss.name == "mean_squared_error"


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda: L.Conv2D(3, 3, stride=2), "unknown option 'stride'; that is 'strides' here"),
        (lambda: L.Conv2D(out_channels=3, kernel_size=3), "'out_channels'; that is 'filters' here"),
        (lambda: L.Dense(features=3), "'features'; that is 'units' here"),
        (lambda: L.Dense(3, input_dim=13), "'input_dim'; the size of the input is found when"),
        (lambda: L.Dense(3, kernel_init="zeros"), "'kernel_init'; that is 'kernel_initializer' here"),
        (lambda: L.Dense(3, kernel_regularizer="l2"), r"'kernel_regularizer'; .*penalize\(kernel="),
        (lambda: L.DepthwiseConv2D(3, kernel_initializer="zeros"), "that is 'depthwise_initializer' here"),
        (lambda: L.MaxPool2D(window_shape=2), "'window_shape'; that is 'pool_size' here"),
        (lambda: L.Dropout(p=0.5), "'p'; that is 'rate' here"),
        (lambda: L.LSTM(3, bidirectional=True), "'bidirectional'.*L.Bidirectional"),
        (lambda: L.Embedding(num_embeddings=5, output_dim=3), "'num_embeddings'; that is 'input_dim' here"),
        (lambda: dv.Sequential([L.Dense(3)]), "input_shape is not given"),
    ],
)
def test_options_of_other_libraries_are_told_by_their_names_here(wrong, message):
    with pytest.raises(dv.DeriveError, match=message):
        wrong()


@pytest.mark.parametrize(
    "name, ours",
    [("BatchNormalization", "'BatchNorm'"), ("Linear", "'Dense'"), ("MaxPooling2D", "'MaxPool2D'"),
     ("ReLU", "L.Activation"), ("Sequential", "dv.Sequential"), ("Embed", "'Embedding'")],
)  # fmt: skip
def test_layers_of_other_libraries_are_told_by_their_names_here(name, ours):
    with pytest.raises(AttributeError, match=ours):
        getattr(L, name)


@pytest.mark.parametrize("name", ["fit", "compile", "predict", "evaluate", "add", "state_dict", "save"])
def test_what_a_trainer_does_is_told_of_a_model(name):
    with pytest.raises(AttributeError, match=f"Sequential has no '{name}'; .*(nx.Trainer|at once)"):
        getattr(dv.Sequential([L.Dense(2)], input_shape=(3,)), name)
    with pytest.raises(AttributeError, match="fit\\(..., checkpoint"):
        nx.ModelCheckpoint  # noqa: B018


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda t, X, Y: t.fit(X, Y, initial_epoch=3), r"'initial_epoch'; a second fit goes on .*resume=True"),
        (lambda t, X, Y: t.fit(x=X, y=Y), "'x'; that is 'X' here"),
        (lambda t, X, Y: t.fit(X, Y, batchsize=3), "'batchsize'; that is 'batch_size' here"),
        (lambda t, X, Y: t.fit(X, Y, lr=0.1), "'lr'; it belongs to the trainer"),
        (lambda t, X, Y: t.evaluate(X, Y, verbose=0), r"Trainer.evaluate\(\) .*'verbose'; nothing is shown"),
        (lambda t, X, Y: t.predict(X, steps=3), "itertools.islice"),
        (
            lambda t, X, Y: nx.Trainer(t.model, "mse", clipnorm=1.0),
            r"^Trainer\(\) .*'clipnorm'; that is 'clip_norm' here",
        ),
        (lambda t, X, Y: nx.Trainer(t.model, "mse", batch_size=8), "belongs to fit"),
        (lambda t, X, Y: nx.Trainer(t.model, "mse", seeds=8), "did you mean 'seed'"),
    ],
)
def test_arguments_of_other_libraries_are_told_by_their_names_here(wrong, message):
    with pytest.raises(TypeError, match=message):
        wrong(small(), *blobs())


@pytest.mark.parametrize(
    "place, name, message",
    [
        (nx, "StandardScaler", "nx.Standardizer.fit"), (nx, "Sequential", "it is dv.Sequential"),
        (nx, "Dense", "it is L.Dense"), (nx, "Adam", "optimizer='adam'"), (nx, "EarlyStop", "'EarlyStopping'"),
        (dv, "Dense", "that is L.Dense"), (dv, "Trainer", "it is nx.Trainer"), (dv, "Sequentials", "'Sequential'"),
        (L, "SwiGLU", "'GatedDense'"), (L, "Lambda", "stands among the layers"), (L, "concatenate", "'Concatenate'"),
    ],
)  # fmt: skip
def test_names_of_other_libraries_are_told_where_they_are_looked_for(place, name, message):
    with pytest.raises(AttributeError, match=message):
        getattr(place, name)


@pytest.mark.parametrize(
    "name, ours",
    [("Accuracy", "'accuracy'"), ("sparse_categorical_accuracy", "'accuracy'"), ("rmse", "'root_mean_squared_error'"),
     ("top5", "'top_5_accuracy'"), ("loss", "in any case")],
)  # fmt: skip
def test_metrics_of_other_libraries_are_told_by_their_names_here(name, ours):
    with pytest.raises(InputError, match=f"unknown metric '{name}'; .*{ours}"):
        small(metrics=[name])


@pytest.mark.parametrize(
    "wrong, message",
    [
        (lambda x: L.Add()(x, x), r"on a list of several, as in layer\(\[x, memory\]\); it was given 2 things"),
        (
            lambda x: L.Dropout(0.5)(x, training=True),
            "given 'training'; training and use have definitions of their own",
        ),
        (lambda x: L.MultiHeadAttention(2, 4)(query=x, value=x), "'query'; symbols are given in their order"),
        (lambda x: L.MultiHeadAttention(2, 4)(x, use_causal_mask=True), "causal=True"),
        (lambda x: L.Dense(3)(np.zeros((2, 5))), r"called on an array of shape \(2, 5\)"),
        (lambda x: dv.Model(x, L.Dense(3)(x))(np.zeros((2, 5))), r"called on an array of shape \(2, 5\)"),
        (lambda x: x + L.Dense(5)(x), r"L.Add\(\)\(\[h, x\]\)"),
        (lambda x: 2 * x, "symbols stand for outputs of layers"),
        (lambda x: dv.Input((None, 4)), "a usual length in place of None"),
        (
            lambda x: dv.Sequential([x, L.Dense(3)]),
            r"leave it out, and write Sequential\(\[...\], input_shape=\(5,\)\)",
        ),
        (lambda x: L.Dense(3, activation=np.tanh)(x) and dv.Model(x, L.Dense(3, activation=np.tanh)(x)), "as 'relu'"),
        (lambda x: dv.Model(x, L.Dense(3)(x)).forward(np.zeros((2, 5))), "an array of shape .*trainer.predict"),
        (lambda x: L.Stack(L.Dense, 2), "the block is type"),
        (lambda x: L.Concatenate(axis=-1), "'axis'; the last axis is meant"),
    ],
)
def test_calls_as_other_libraries_write_them_are_told(wrong, message):
    with pytest.raises(dv.DeriveError, match=message):
        wrong(dv.Input((5,)))


def test_what_would_change_nothing_is_refused():
    t = small()
    with pytest.raises(AttributeError, match="trainer.freeze"):
        t.model.trainable = False
    for name, message in (
        ("train_on_batch", "advance"),
        ("layers", "t.model.layers"),
        ("nothing", "has no 'nothing'$"),
    ):
        with pytest.raises(AttributeError, match=message):
            getattr(t, name)
    with pytest.raises(NumericsError, match=r"params: dense_1_kernel has shape \(3, 3\), and in model \(5, 8\)"):
        t.params = {**t.params, "dense_1_kernel": np.zeros((3, 3))}
    with pytest.raises(NumericsError, match="params: dense_2_bias is missing"):
        t.params = {n: a for n, a in t.params.items() if n != "dense_2_bias"}


def test_a_history_is_a_dict_and_held_out_arrays_a_pair():
    X, Y = blobs()
    history = small().fit(X, Y, validation_data=[X, Y], verbose=False)
    assert isinstance(history, dict) and len(history["val_loss"]) == 1
    with pytest.raises(AttributeError, match=r"it is the dict itself, as in history\['loss'\]"):
        history.history  # noqa: B018


def test_words_for_a_yes_or_no_are_told():
    with pytest.raises(InputError, match=r"for a yes or no, \(Y == 'bee'\)\[:, None\]"):
        small("sigmoid_binary_cross_entropy", last=1).fit(blobs()[0], WORDS[np.arange(60) % 2], verbose=False)


def test_statistics_are_made_of_data():
    with pytest.raises(InputError, match=r"nx.Standardizer.fit\(X\)"):
        nx.Standardizer()


def test_a_forgotten_flatten_is_told_when_the_model_is_built():
    with pytest.warns(
        ModelWarning, match=r"max_pool2d_1 gives images \(B, 3, 3, 4\) and dense_1 runs over their channels"
    ):
        dv.Sequential([L.Conv2D(4, 3), L.MaxPool2D(), L.Dense(8), L.Dense(10)], input_shape=(8, 8, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dv.Sequential([L.Conv2D(4, 3), L.Flatten(), L.Dense(10)], input_shape=(8, 8, 1))
        dv.Sequential([L.Dense(10)], input_shape=(8, 8, 1))  # no image that a convolution made


@pytest.mark.slow
def test_other_lengths_than_at_building_are_trained_on_and_evaluated():
    def built(length):
        layers = [L.SimpleRNN(4, return_sequences=True), L.Dense(3)]
        model = dv.Sequential(layers, input_shape=(length, 2))
        return nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(1e-2), metrics=["accuracy"], seed=0)

    rng = np.random.default_rng(0)
    data = {n: (rng.normal(size=(8, n, 2)), rng.integers(0, 3, (8, n))) for n in (4, 6)}
    there, here = built(4), built(6)
    for t in (there, here):
        t.fit(*data[4], epochs=2, shuffle=False, verbose=False)
    for name, a in there.params.items():
        np.testing.assert_allclose(here.params[name], a, rtol=1e-5, atol=1e-6)
    assert here.evaluate(*data[4]) == pytest.approx(there.evaluate(*data[4]), rel=1e-5)
    assert here.diagnose().ok and "simple_rnn_1" in str(here.explain())
    both = list(data.values())
    history = here.fit(both, epochs=2, validation_data=both, verbose=False)
    right = [int((here.predict(x).argmax(-1) == y).sum()) for x, y in both]
    assert history["val_accuracy"][-1] == pytest.approx(sum(right) / (8 * 10))
    with pytest.raises(InputError, match=r"Y has shape \(8, 6\); .* of shape \(N, 4\)"):
        here.evaluate(data[4][0], data[6][1])
    with pytest.raises(InputError, match=r"batch 1: X has shape \(8, 4, 3\); expected is \(N, 6, 2\)"):
        here.fit([(np.zeros((8, 4, 3)), data[4][1])], verbose=False)
