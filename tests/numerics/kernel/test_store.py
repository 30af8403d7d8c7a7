"""What a later process finds of an earlier one: the same program, nothing derived; and nothing that is damaged or foreign."""

import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import optax
import pytest
import sympy

import derive as dv
import numerics as nx
from derive import layers as L
from derive.derivation.fingerprint import fingerprint
from derive.language.tensor import Tensor
from numerics.kernel import store
from numerics.kernel.stored import StoredKernel

X = np.random.default_rng(0).normal(size=(6, 4)).astype("float32")
Y = np.array([0, 1, 2, 0, 1, 2])


def model(units=5):
    return dv.Sequential([L.Dense(units, activation="gelu"), L.Dense(3)], input_shape=(4,))


def trainer(cache, made=None, loss="sparse_softmax_cross_entropy"):
    return nx.Trainer(
        made or model(), loss, optax.adam(0.1), metrics=["accuracy"] if isinstance(loss, str) else (), cache=cache
    )


def kept(t):
    return isinstance(t.kernel, StoredKernel)


def fitted(t):
    t.fit(X, Y, batch_size=2, epochs=2, verbose=False)
    return t


def test_the_second_trainer_derives_nothing_and_goes_the_same_way(tmp_path):
    first, second = fitted(trainer(tmp_path)), trainer(tmp_path)
    assert not kept(first) and kept(second)
    fitted(second)
    assert "derivation" not in vars(second.programs) and "request" not in vars(second.kernel)
    assert first.history["loss"] == second.history["loss"]
    assert all(np.array_equal(a, second.params[n]) for n, a in first.params.items())


def test_a_kept_kernel_is_like_another(tmp_path):
    first, second = trainer(tmp_path).kernel, trainer(tmp_path).kernel
    assert (second.source, second.choices, second.checked, repr(second), second.sizes) == (
        first.source,
        first.choices,
        first.checked,
        repr(first),
        first.sizes,
    )
    given = {**nx.init(model()), "x": X, "y": Y}
    a, b = first(**given), second(**given)
    assert type(a).__name__ == type(b).__name__ and a._fields == b._fields and float(a.loss) == float(b.loss)
    assert second.derivation.check().ok and str(second.derivation.program) == str(first.derivation.program)
    assert nx.verify(second, dtypes=("float64",)).ok and "Verified" in second.source
    assert pickle.loads(pickle.dumps(second)).module.source == first.source
    with pytest.raises(nx.InputError):
        second(**given | {"x": X[:, :3]})


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "",
        lambda text: "[]",
        lambda text: text.replace("loss", "lose"),
        lambda text: json.dumps(json.loads(text) | {"key": "another"}),
        lambda text: json.dumps(json.loads(text) | {"content": {"source": "import os"}}),
        lambda text: "[" * 100_000,
        lambda text: "\N{SNOWMAN}" + text,
    ],
)
def test_a_damaged_entry_is_no_entry(tmp_path, damage):
    trainer(tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_text(damage(path.read_text()))
    assert not kept(trainer(tmp_path)) and kept(trainer(tmp_path))


@pytest.mark.parametrize(
    "changed",
    [
        {"source": "def f("},
        {"source": 3},
        {"source": "raise OSError"},
        {"choices": 3},
        {"inputs": ["none"]},
        {"name": None},
    ],
)
def test_an_entry_of_something_else_with_the_right_checksum_is_no_entry(tmp_path, changed):
    first = trainer(tmp_path)
    (path,) = tmp_path.iterdir()
    entry = json.loads(path.read_text())
    content = {n: v for n, v in (entry["content"] | changed).items() if v is not None}
    store.Store(tmp_path).put(entry["key"], content)
    again = trainer(tmp_path)
    assert not kept(again) and again.kernel.source == first.kernel.source and kept(trainer(tmp_path))


@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root gives files away")
def test_an_entry_of_somebody_else_is_no_entry(tmp_path):
    trainer(tmp_path)
    (path,) = tmp_path.iterdir()
    os.chown(path, 12345, 12345)
    assert not kept(trainer(tmp_path))


def test_what_differs_is_another_entry(tmp_path):
    trainer(tmp_path)
    assert not kept(trainer(tmp_path, model(6)))
    assert not kept(nx.Trainer(model(), "mean_squared_error", cache=tmp_path))
    frozen = trainer(tmp_path)
    assert kept(frozen) and not kept(frozen.freeze("dense_1"))
    assert kept(trainer(tmp_path).freeze("dense_1"))


def test_another_library_has_other_entries(tmp_path, monkeypatch):
    trainer(tmp_path)
    monkeypatch.setattr("derive.derivation.fingerprint.library", lambda: "another version")
    assert not kept(trainer(tmp_path))


def test_a_folder_that_cannot_be_written_is_told_of_once(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.warns(store.CacheWarning, match="nothing is kept in .*file: .*; cache=False keeps nothing"):
        fitted(trainer(tmp_path / "file"))
    assert not kept(trainer(tmp_path / "file"))  # a warning would be an error here


def test_where_it_is_kept(tmp_path, monkeypatch):
    assert store.Store.of(None) is None and store.Store.of(False) is None  # DERIVE_CACHE=off in the tests
    monkeypatch.setenv("DERIVE_CACHE", str(tmp_path / "named"))
    assert store.Store.of(None).folder == tmp_path / "named"
    monkeypatch.delenv("DERIVE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert store.Store.of(None).folder == tmp_path / "derive"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert store.Store.of("~/kept").folder == tmp_path / "home" / "kept"
    for wrong in (3, ""):
        with pytest.raises(nx.NumericsError, match=f"cache={wrong!r}: give a folder, or False to keep nothing"):
            trainer(wrong)


def test_a_user_without_a_home_keeps_nothing(monkeypatch):
    for name in ("HOME", "DERIVE_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)  # as where the user is in no list
    assert store.Store.of(None) is None


@pytest.mark.parametrize("folder", ["a\0b", "long" * 2000, "/dev/null/folder"])
def test_a_path_that_can_be_none_is_told_of(folder, monkeypatch):
    monkeypatch.setattr(store, "_TOLD", set())
    with pytest.warns(store.CacheWarning, match="cache=False keeps nothing"):
        assert not kept(trainer(folder))


def test_no_more_than_so_many_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(store, "KEPT", 2)
    one = store.Store(tmp_path)
    for n in range(5):
        (tmp_path / f"{n}.json").write_text("somebody's own")
        os.utime(tmp_path / f"{n}.json", (n, n))
    for n in range(4):
        one.put(f"key {n}", {"n": n})
        os.utime(one._path(f"key {n}"), (n, n))
    one.put("last", {})
    assert len(list(tmp_path.iterdir())) == 7 and one.get("key 0") is None and one.get("last") == {}


def test_the_fingerprint_is_of_what_is_written():
    i, j, k = dv.indices("i j k", size="N")
    x = dv.tensor("x", "N")
    one, same, renamed = (dv.define("s", (), dv.Sum(x[n] ** 2, n)) for n in (i, i, k))
    assert fingerprint([one]) == fingerprint([same]) != fingerprint([renamed])  # the document has its letters
    assert fingerprint([one]) != fingerprint([dv.define("s", (), dv.Sum(x[i] ** 3, i))])


def test_definitions_with_a_class_of_ones_own_are_never_kept():
    class Own(sympy.Symbol):
        pass

    i = dv.index("i")
    x = dv.tensor("x", i)
    plain = dv.define("s", (), dv.Sum(x[i], i))
    assert fingerprint([plain]) is not None
    body = plain.definition.body + Own("q", real=True)  # what a process means by it, another does not know
    assert fingerprint([Tensor("s", definition=replace(plain.definition, body=body))]) is None


@pytest.mark.slow
def test_another_process_finds_it(tmp_path):
    code = (
        "import derive as dv, numerics as nx\n"
        "from derive import layers as L\n"
        "x = dv.Input((6,), dtype='int', below=5)\n"
        "h = L.TransformerBlock(2, causal=True)(L.LSTM(4, return_sequences=True)(L.Embedding(5, 4)(x)))\n"
        "t = nx.Trainer(dv.Model(x, L.Dense(5)(h)), 'sparse_softmax_cross_entropy', 'adam')\n"
        "print(type(t.kernel).__name__, hash(t.kernel.source) and len(t.kernel.source))"
    )
    env = {**os.environ, "DERIVE_CACHE": str(tmp_path)}
    said = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.split()
        for _ in range(2)
    ]
    assert [name for name, _ in said] == ["Kernel", "StoredKernel"] and said[0][1] == said[1][1]
