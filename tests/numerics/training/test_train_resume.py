"""A run that ends at any moment goes on to the bit; what is not the same run, or not whole, is refused."""

import errno
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.errors import InputError, NumericsError
from numerics.training import saving as checkpoint

RNG = np.random.default_rng(0)
IMAGES = RNG.normal(size=(40, 6, 6, 1)).astype(np.float32)
KINDS = RNG.integers(0, 3, 40)
TEXT = RNG.integers(0, 5, 97)
SPARSE = "sparse_softmax_cross_entropy"


def dense():
    return dv.Sequential(
        [L.Flatten(), L.Dense(8, activation="relu"), L.Dropout(0.5), L.Dense(3)], input_shape=(6, 6, 1)
    )


def images():
    return dv.Sequential(
        [L.Conv2D(4, 3), L.BatchNorm(), L.Activation("relu"), L.MaxPool2D(2), L.Flatten(), L.Dense(3)],
        input_shape=(6, 6, 1),
    )


def text():
    return dv.Sequential(
        [L.Embedding(5, 3), L.LSTM(6, return_sequences=True, initial_state="carried"), L.Dense(5)], input_shape=(4,)
    )


def data(make):
    return nx.windows(TEXT, 3, 4) if make is text else (IMAGES, KINDS)


def trainer(make, **options):
    return nx.Trainer(make(), SPARSE, optax.adam(1e-2), **{"metrics": ["accuracy"], "seed": 1, **options})


class Die(nx.Callback):
    """As a signal would: an exception in the middle of an epoch."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, trainer, row):
        if trainer.step == self.step:
            raise KeyboardInterrupt


def same(a, b):
    assert {n: v for n, v in a.history.items() if n != "seconds"} == {
        n: v for n, v in b.history.items() if n != "seconds"
    }
    assert (a.epoch, a.step) == (b.epoch, b.step)
    for name, array in {**a.params, **a.state, **a.carried}.items():
        np.testing.assert_array_equal({**b.params, **b.state, **b.carried}[name], array)


@pytest.mark.parametrize("make", [dense, images, text])
def test_a_run_that_was_interrupted_is_the_same_to_the_bit(make, tmp_path):
    x, y = data(make)
    asked = {"batch_size": 3 if make is text else 8, "epochs": 3, "verbose": False}
    if make is not text:
        asked |= {"augment": lambda x, generator: x + generator.normal(size=(len(x), 1, 1, 1)), "validation_split": 0.2}
    straight = trainer(make)
    straight.fit(x, y, **asked)
    per_epoch = straight.step // 3
    for step in (per_epoch + 3, 2 * per_epoch + 1)[: 2 if make is dense else 1]:
        with pytest.raises(KeyboardInterrupt):
            trainer(make).fit(
                x, y, checkpoint=tmp_path / "run", checkpoint_every=2, resume=True, callbacks=[Die(step)], **asked
            )
    described = json.loads((tmp_path / "run" / "trainer.json").read_text())
    assert described["step"] == step - step % 2
    again = trainer(make)
    history = again.fit(x, y, checkpoint=tmp_path / "run", resume=True, **asked)
    same(straight, again)
    assert len(history["loss"]) == 3


def test_early_stopping_remembers_across_an_interruption(tmp_path):
    class Scripted(nx.Callback):
        def on_epoch_end(self, trainer, row):
            row["val_loss"] = float(abs(trainer.epoch - 2))

    def fit(t, *more, **options):
        t.fit(
            IMAGES,
            KINDS,
            batch_size=8,
            epochs=9,
            verbose=False,
            callbacks=[Scripted(), nx.EarlyStopping(patience=3), *more],
            **options,
        )

    straight, first, again = (trainer(dense) for _ in range(3))
    fit(straight)
    assert straight.epoch == 5
    with pytest.raises(KeyboardInterrupt):
        fit(first, Die(18), checkpoint=tmp_path)
    fit(again, checkpoint=tmp_path, resume=True)
    same(straight, again)
    over = trainer(dense)
    fit(over, checkpoint=tmp_path, resume=True)
    same(straight, over)


def test_frozen_layers_and_accumulated_gradients_are_resumed(tmp_path):
    def fit(t, **options):
        t.freeze("dense_1").fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=False, **options)
        return t

    straight = fit(trainer(dense, accumulate=3))
    with pytest.raises(KeyboardInterrupt):
        fit(trainer(dense, accumulate=3), checkpoint=tmp_path, checkpoint_every=1, callbacks=[Die(7)])
    t = trainer(dense, accumulate=3)
    t.fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=False, checkpoint=tmp_path, resume=True)
    assert t.frozen == ("dense_1",)
    same(straight, t)


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    trainer(dense).fit(IMAGES, KINDS, batch_size=8, epochs=1, verbose=False, checkpoint=folder)
    return folder


def other(units=8, kind=None, **options):
    layers = [L.Flatten(), L.Dense(units, activation="relu"), kind or L.Dropout(0.5), L.Dense(3)]
    return lambda: nx.Trainer(
        dv.Sequential(layers, input_shape=(6, 6, 1)),
        SPARSE,
        optax.adam(1e-2),
        **{"metrics": ["accuracy"], "seed": 1, **options},
    )


@pytest.mark.parametrize(
    ("make", "asked", "message"),
    [
        (other(), {"resume": False}, "holds another run; give another folder, or resume=True"),
        (other(units=9), {}, "holds a run of another model: layer dense_1, units is 8 there and 9 here"),
        (other(kind=L.Dropout(0.25)), {}, "another model: layer dropout_1, rate is 0.5 there and 0.25 here"),
        (
            other(kind=L.BatchNorm()),
            {},
            "another model: layer dropout_1, class is 'Dropout' there and 'BatchNorm' here",
        ),
        (other(seed=2), {}, "another seed: seed is 1 there and 2 here"),
        (other(metrics=[]), {}, "another metrics: .* is 'accuracy' there and None here"),
        (other(), {"batch_size": 10}, "holds a run with batch_size 8, and here it is 10"),
        (other(), {"shuffle": False}, "holds a run with shuffle True, and here it is False"),
    ],
)
def test_another_run_is_refused(make, asked, message, run):
    before = {p.name: p.read_bytes() for p in run.iterdir()}
    with pytest.raises(NumericsError, match=message):
        make().fit(
            IMAGES,
            KINDS,
            **{"batch_size": 8, "epochs": 2, "verbose": False, "checkpoint": run, "resume": True, **asked},
        )
    assert {p.name: p.read_bytes() for p in run.iterdir()} == before


def test_resuming_needs_a_folder():
    with pytest.raises(InputError, match="resume and checkpoint_every need a folder"):
        trainer(dense).fit(IMAGES, KINDS, resume=True, verbose=False)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (
            lambda arrays, index: arrays.write_bytes(arrays.read_bytes()[:-100]),
            r"arrays-\w+.safetensors: its content is not what",
        ),
        (lambda arrays, index: arrays.unlink(), r"arrays-\w+.safetensors: cannot be read"),
        (lambda arrays, index: index.write_text(index.read_text()[:-200]), "trainer.json: cannot be read"),
        (lambda arrays, index: index.write_text("[]"), "trainer.json: not format 4 of a saved trainer"),
    ],
)
def test_a_damaged_checkpoint_is_named(harm, message, tmp_path):
    trainer(dense).fit(IMAGES, KINDS, batch_size=8, verbose=False, checkpoint=tmp_path)
    harm(next(tmp_path.glob("arrays-*")), tmp_path / "trainer.json")
    with pytest.raises(NumericsError, match=message):
        trainer(dense).fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=False, checkpoint=tmp_path, resume=True)
    with pytest.raises(NumericsError, match=message):
        nx.load(tmp_path, optax.adam(1e-2))


@pytest.mark.parametrize("full_at", ["arrays-", "trainer.json"])
def test_a_full_disk_leaves_the_last_good_checkpoint(full_at, tmp_path, monkeypatch):
    t = trainer(dense)
    t.fit(IMAGES, KINDS, batch_size=8, epochs=1, verbose=False, checkpoint=tmp_path)
    good = {n: np.asarray(a) for n, a in t.params.items()}
    opened = os.fdopen

    def fdopen(handle, *args, **options):
        file = opened(handle, *args, **options)
        if full_at in os.readlink(f"/proc/self/fd/{handle}"):

            def write(raw):
                file.raw.write(raw[:50])
                raise OSError(errno.ENOSPC, "No space left on device")

            return _Full(file, write)
        return file

    monkeypatch.setattr(os, "fdopen", fdopen)
    with pytest.raises(
        NumericsError, match="No space left on device.*epoch 2, step 10.*the checkpoint before it stays"
    ):
        trainer(dense).fit(IMAGES, KINDS, batch_size=8, epochs=3, verbose=False, checkpoint=tmp_path, resume=True)
    monkeypatch.undo()
    assert not list(tmp_path.glob(".*")), "what was half written is gone"
    again = nx.load(tmp_path, optax.adam(1e-2))
    assert again.epoch == 1
    for name, a in good.items():
        np.testing.assert_array_equal(again.params[name], a)


class _Full:
    def __init__(self, file, write):
        self.file, self.write = file, write

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


def test_networks_with_functions_of_your_own_are_resumed_from_code(tmp_path):
    def scale(x, new):
        gain = new.parameter("gain", x.letters[-1], init="ones")
        return new.define("h", x.letters, gain[x.letters[-1]] * x[x.letters])

    def make():
        return dv.Sequential([L.Flatten(), scale, L.Dense(3)], input_shape=(6, 6, 1))

    straight, again = trainer(make), trainer(make)
    straight.fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=False)
    with pytest.raises(KeyboardInterrupt):
        trainer(make).fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=False, checkpoint=tmp_path, callbacks=[Die(8)])
    with pytest.raises(NumericsError, match="its model has a function of your own, which is not written down; build"):
        nx.load(tmp_path, optax.adam(1e-2))
    again.fit(IMAGES, KINDS, batch_size=8, epochs=2, verbose=False, checkpoint=tmp_path, resume=True)
    same(straight, again)


def test_first_differences_are_found_by_name():
    from numerics.training.resume import first_difference

    a = dense().to_dict()
    b = dv.Sequential([L.Flatten(), L.Dense(8, activation="relu"), L.Dropout(0.5)], input_shape=(6, 6, 1)).to_dict()
    assert first_difference(a, a) is None
    assert first_difference(a, b) == ("layer dense_2", "Dense", None)
    assert first_difference(a, {**a, "input_shape": [6, 7, 1]}) == ("input_shape[1]", 6, 7)


# -- killed ------------------------------------------------------------------------------------------------------------

SCRIPT = """
import sys
import numpy as np, optax, derive as dv, numerics as nx
from derive import layers as L
model = dv.Sequential([L.Dense(32, activation="relu"), L.Dropout(0.5), L.BatchNorm(), L.Dense(3)], input_shape=(8,))
t = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.adam(1e-2), metrics=["accuracy"], seed=3)
rng = np.random.default_rng(0)
X, Y = rng.normal(size=(96, 8)), rng.integers(0, 3, 96)
class Beat(nx.Callback):
    def on_step_end(self, trainer, row):
        print(trainer.step, flush=True)
t.fit(X, Y, batch_size=8, epochs=int(sys.argv[2]), checkpoint=sys.argv[1], checkpoint_every=1, resume=True, verbose=False,
      callbacks=[Beat()])
"""


def start(folder, epochs, root):
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(epochs)],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"},
    )


def killed(folder, root, after: int, wait: float) -> int:
    """Start the run, let it take some steps, kill it a moment later; the step that it was at."""
    process, step = start(folder, 20, root), 0
    for n, line in enumerate(process.stdout):
        step = int(line)
        if n == after:
            time.sleep(wait)
            os.kill(process.pid, signal.SIGKILL)
            break
    rest = process.communicate()[0].split()
    assert process.returncode == -signal.SIGKILL
    return int(rest[-1]) if rest and rest[-1].isdigit() else step


def finished(folder, root):
    process = start(folder, 20, root)
    process.communicate(timeout=500)
    assert process.returncode == 0


@pytest.mark.slow
def test_kill_9_at_any_moment_leaves_a_checkpoint_that_goes_on_to_the_bit(tmp_path, root):
    straight, folder = tmp_path / "straight", tmp_path / "run"
    finished(straight, root)
    rng, last = np.random.default_rng(0), 0
    for _ in range(6):
        step = killed(folder, root, int(rng.integers(1, 30)), float(rng.uniform(0, 0.02)))
        found = checkpoint.read(pathlib.Path(folder))[0]["step"]
        assert step - 2 <= found <= step + 1, "every step was kept, up to the one that was cut off"
        assert found > last
        last = found
    finished(folder, root)
    (a, arrays_a), (b, arrays_b) = checkpoint.read(straight), checkpoint.read(folder)
    for described in (a, b):
        for row in described["history"]:
            row.pop("seconds")
    assert a["history"] == b["history"]
    assert sorted(arrays_a) == sorted(arrays_b)
    for name, array in arrays_a.items():
        np.testing.assert_array_equal(arrays_b[name], array)
    assert len(list(folder.glob("arrays-*"))) == 1
    assert not list(folder.glob(".*")), "what was half written is cleared away"
