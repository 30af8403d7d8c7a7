"""Saved trainers go on as if nothing had happened; damaged or foreign files are refused; nothing is pickled."""

import json

import numpy as np
import optax
import pytest
from trainers import blobs, small

from numerics.errors import NumericsError
from numerics.training.loading import load


def test_a_loaded_trainer_goes_on_as_if_not_interrupted(tmp_path):
    X, Y = blobs()
    straight, stopped = small(), small()
    straight.fit(X, Y, batch_size=8, epochs=5, verbose=False)
    stopped.fit(X, Y, batch_size=8, epochs=2, verbose=False)
    stopped.save(tmp_path / "run")
    again = load(tmp_path / "run", optimizer=optax.adam(1e-2))
    assert again.epoch == 2
    again.fit(X, Y, batch_size=8, epochs=3, verbose=False)
    assert again.history["loss"] == straight.history["loss"]
    for name, value in straight.params.items():
        np.testing.assert_array_equal(again.params[name], value)


def test_frozen_layers_stay_frozen(tmp_path):
    X, Y = blobs()
    t = small()
    t.fit(X, Y, epochs=1, verbose=False)
    t.freeze("dense_1").save(tmp_path)
    again = load(tmp_path, optimizer=optax.adam(1e-2))
    assert again.frozen == ("dense_1",)
    assert set(again.derivation.gradients) == {"dense_2_kernel", "dense_2_bias"}
    np.testing.assert_array_equal(again.predict(X), t.predict(X))


def test_saving_twice_leaves_one_arrays_file_and_a_module(tmp_path):
    X, Y = blobs()
    t = small()
    t.save(tmp_path)
    t.fit(X, Y, epochs=1, verbose=False)
    t.save(tmp_path)
    names = sorted(p.name for p in tmp_path.iterdir())
    assert len(names) == 3
    assert names[0].startswith("arrays-")
    assert names[0].endswith(".safetensors")
    assert names[1:] == ["program.py", "trainer.json"]
    assert json.loads((tmp_path / "trainer.json").read_text())["epoch"] == 1


def test_an_interrupted_save_leaves_the_old_one_whole(tmp_path, monkeypatch):
    X, Y = blobs()
    t = small()
    t.save(tmp_path)
    before = t.predict(X)
    t.fit(X, Y, epochs=1, verbose=False)
    from numerics import files

    write = files.write

    def interrupted(path, raw):
        if path.name == "trainer.json":
            raise KeyboardInterrupt
        write(path, raw)

    monkeypatch.setattr(files, "write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        t.save(tmp_path)
    np.testing.assert_array_equal(load(tmp_path, optax.adam(1e-2)).predict(X), before)


def test_other_optimizers_missing_and_damaged_files_are_refused(tmp_path):
    t = small()
    t.save(tmp_path)
    with pytest.raises(NumericsError, match="saved with another optimizer"):
        load(tmp_path, optax.sgd(0.1))
    with pytest.raises(NumericsError, match="no trainer.json in it"):
        load(tmp_path / "nowhere", optax.adam(1e-2))
    arrays = next(tmp_path.glob("arrays-*"))
    raw = bytearray(arrays.read_bytes())
    raw[-1] ^= 1
    arrays.write_bytes(raw)
    with pytest.raises(NumericsError, match="its content is not what was saved"):
        load(tmp_path, optax.adam(1e-2))
    (tmp_path / "trainer.json").write_text("{")
    with pytest.raises(NumericsError, match="cannot be read"):
        load(tmp_path, optax.adam(1e-2))


def test_functions_of_your_own_are_not_written_down(tmp_path):
    with pytest.raises(NumericsError, match="the metric 'lambda' is a function of your own"):
        small(metrics=[lambda y, outputs: 0.0]).save(tmp_path)
    own = small(loss=lambda z, y: sum_of_squares(z, y), metrics=())
    with pytest.raises(NumericsError, match="the loss 'lambda' is a function of your own"):
        own.save(tmp_path)
    assert not list(tmp_path.iterdir())


def sum_of_squares(z, y):
    import derive as dv

    return dv.Sum((z[z.letters] - y[z.letters]) ** 2, *z.letters)
