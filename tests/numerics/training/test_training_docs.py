"""The code of docs/training.md runs, in order; MNIST reaches what it should, where the data is."""

import re

import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L


@pytest.mark.slow
def test_the_page_runs(root, tmp_path, monkeypatch, capsys):
    text = (root / "docs" / "training.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    assert len(blocks) >= 7
    monkeypatch.chdir(tmp_path)
    names = {"__name__": "training"}
    for n, block in enumerate(blocks):
        exec(compile(block, f"docs/training.md, block {n + 1}", "exec"), names)
    assert names["t"].evaluate(names["X_test"], names["Y_test"])["accuracy"] > 0.9
    assert "top_3_accuracy" in capsys.readouterr().out
    again = names["run"]("run/")
    for name, a in names["first"].params.items():
        np.testing.assert_array_equal(again.params[name], a)


@pytest.mark.slow
def test_mnist_reaches_98_percent(data_dir):
    from numerics.data.examples import load_mnist

    folder = data_dir / "mnist"
    if not folder.is_dir():
        pytest.skip("DERIVE_DATA has no folder mnist")
    (X, Y), (X_test, Y_test) = load_mnist(folder)
    model = dv.Sequential(
        [L.Dense(256, activation="relu"), L.Dropout(0.2), L.Dense(128, activation="relu"), L.Dense(10)],
        input_shape=(784,),
    )
    t = nx.Trainer(
        model,
        "sparse_softmax_cross_entropy",
        optax.adam,
        learning_rate=optax.cosine_decay_schedule(1e-3, 3750),
        metrics=["accuracy"],
        seed=0,
    )
    t.fit(X, Y, batch_size=128, epochs=8, verbose=False)
    assert t.evaluate(X_test, Y_test)["accuracy"] >= 0.98
