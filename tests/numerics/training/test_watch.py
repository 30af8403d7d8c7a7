"""A trainer explains its step, names what stopped it, and warns of layers that no longer learn."""

import re
import warnings

import jax
import numpy as np
import optax
import pytest
import sympy

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.training.explain import lines_of

SPARSE = "sparse_softmax_cross_entropy"


def blobs(n=48):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, n).astype(np.int32)
    return (rng.normal(size=(n, 5)) + 2 * np.eye(5)[y]).astype(np.float32), y


def trainer(optimizer=None, activation="tanh", layers=None, shape=(5,), loss=SPARSE):
    layers = layers or [L.Dense(8, activation=activation), L.Dense(3)]
    return nx.Trainer(
        dv.Sequential(layers, input_shape=shape), loss=loss, optimizer=optimizer or optax.sgd(0.1), seed=0
    )


def test_explain_shows_equation_source_and_norms_layer_by_layer():
    X, Y = blobs()
    t = trainer()
    shown = t.explain(X, Y)
    assert [layer for layer, _ in shown.layers] == ["dense_2", "dense_1"], "backward, as the gradient goes"
    row = shown.row("dense_2_kernel")
    assert str(row.equation) == "d_dense_2_kernel[j,k] = sum_b h1[b,j] dz2[b,k]"
    assert row.number == t.derivation.gradient("dense_2_kernel").number
    assert row.lines == ("d_dense_2_kernel = h1.T @ dz2",)
    assert all(line in t.kernel.source for _, rows in shown.layers for r in rows for line in r.lines)
    text = str(shown)
    assert f"({row.number})  d_dense_2_kernel[j,k]" in text and "|update| / |parameter|" in text


def test_the_norms_are_those_of_autodiff_and_of_the_optimizer_s_step():
    X, Y = blobs()
    t = trainer(optax.sgd(0.1))

    def loss(p):
        z = jax.numpy.tanh(X @ p["dense_1_kernel"] + p["dense_1_bias"]) @ p["dense_2_kernel"] + p["dense_2_bias"]
        return -jax.nn.log_softmax(z)[jax.numpy.arange(len(Y)), Y].mean()

    shown = t.explain(X, Y)
    assert shown.loss == pytest.approx(float(loss(t.params)), rel=1e-5)
    for name, g in jax.grad(loss)(t.params).items():
        row = shown.row(name)
        assert row.gradient_norm == pytest.approx(float(np.linalg.norm(np.ravel(g))), rel=1e-4)
        if row.norm:
            assert row.update_ratio == pytest.approx(0.1 * row.gradient_norm / row.norm, rel=1e-4)


def test_explain_as_a_page_and_as_data():
    X, Y = blobs()
    t = trainer(layers=[L.Conv2D(2, 3, activation="relu"), L.Flatten(), L.Dense(3)], shape=(5, 5, 1))
    shown = t.explain(np.ones((3, 5, 5, 1), np.float32), np.array([0, 1, 2]))
    page = shown._repr_html_()
    assert "<math" in page and re.search(r"kernel_\w+\(x, dz1, \(3, 3\)\)", page) and "<script" not in page
    data = shown.as_dict()
    row = next(r for r in data["layers"]["conv2d_1"] if r["parameter"] == "conv2d_1_kernel")
    assert row["shape"] == [3, 3, 1, 2] and row["lines"] and row["latex"]


def test_explain_follows_the_latest_step_and_needs_one():
    X, Y = blobs()
    t = trainer()
    with pytest.raises(nx.NumericsError, match="no step has been taken yet: give a batch"):
        t.explain()
    t.fit(X, Y, batch_size=16, epochs=1, verbose=False)
    assert t.explain().title == "model after 3 steps"
    t.freeze("dense_1")
    assert [layer for layer, _ in t.explain(X, Y).layers] == ["dense_2"], "what is frozen has no equation"


def test_lines_of_a_scan_and_of_ranges_are_found():
    model = dv.Sequential([L.SimpleRNN(4), L.Dense(3)], input_shape=(6, 2))
    kernel = nx.compile(model.backprop(SPARSE))
    lines = lines_of(kernel.source)
    numbers = {e.number for e in kernel.derivation.program}
    assert set(lines) == numbers, "every equation has its lines"
    assert lines_of("def f(x):\n    a, b = g(x)  # (3)-(5)\n") == {n: ["a, b = g(x)"] for n in (3, 4, 5)}


def test_a_loss_that_is_not_finite_names_layer_equation_and_term():
    X, Y = blobs()
    t = trainer(optax.sgd(1e30), "elu")
    before = {n: np.asarray(a) for n, a in t.params.items()}
    with np.errstate(all="ignore"), pytest.raises(nx.NotFiniteError) as caught:
        t.fit(1e6 * X, Y, batch_size=8, epochs=3, verbose=False)
    text, (found,) = str(caught.value), caught.value.diagnosis.findings
    assert "in epoch 1; the parameters are those before it" in text and "step 2 of the epoch" in text
    assert (found.kind, found.layer) == ("not finite", "dense_1")
    assert f"equation ({found.number})  {found.equation}" in text and "dense_1_kernel[i,j]" in found.term
    for name, a in before.items():
        np.testing.assert_array_equal(t.params[name], a)
    assert t.step == 0 and t.epoch == 0


def test_an_update_that_is_not_finite_is_the_optimizer_s():
    X, Y = blobs()
    t = trainer(optax.scale(-np.inf))
    with np.errstate(all="ignore"), pytest.raises(nx.NotFiniteError) as caught:
        t.fit(X, Y, batch_size=8, epochs=1, verbose=False)
    assert "the optimizer made it so from gradients that are finite" in str(caught.value)
    assert "step 1 of the epoch" in str(caught.value)


def test_a_gradient_that_spoils_the_parameters_is_found_one_step_back():
    def root(z, y):
        b, k = z.letters
        return dv.Sum(sympy.sqrt(sympy.Abs(z[b, k] - y[b, k])), b, k)

    t = trainer(optax.sgd(0.1), layers=[L.Dense(1, use_bias=False)], shape=(2,), loss=root)
    X = np.array([[1, 2], [0, 0], [3, 1], [1, 1]], np.float32)
    with np.errstate(all="ignore"), pytest.raises(nx.NotFiniteError) as caught:
        t.fit(X, np.array([[1], [0], [1], [2]], np.float32), batch_size=1, epochs=1, verbose=False, shuffle=False)
    (found,) = caught.value.diagnosis.findings
    assert "step 2 of the epoch" in str(caught.value), "z = y = 0 there: the root has no slope"
    assert found.number > 1 and "is " in found.text


def test_a_last_step_that_spoils_the_parameters_is_not_left_unseen(tmp_path):
    """Its own loss was finite, and no other step comes to show it."""
    X, Y = blobs()
    t = trainer(optax.scale(-np.inf))
    before = {n: np.asarray(a) for n, a in t.params.items()}
    with (
        np.errstate(all="ignore"),
        pytest.raises(nx.NotFiniteError, match="after epoch 1; the parameters are") as caught,
    ):
        t.fit(X, Y, batch_size=len(X), epochs=1, callbacks=[nx.Log(tmp_path / "log.tsv")], verbose=False)
    assert "the optimizer made it so" in str(caught.value)
    assert t.epoch == 0 and t.step == 0 and (tmp_path / "log.tsv").read_text() == ""
    for name, a in before.items():
        np.testing.assert_array_equal(t.params[name], a)


def test_a_dead_layer_is_warned_of_once_and_a_live_one_is_not():
    X, Y = blobs()
    t = trainer(activation="relu")
    t.params = {**t.params, "dense_1_bias": t.params["dense_1_bias"] - 1000}
    with pytest.warns(nx.TrainingWarning) as caught:
        t.fit(X, Y, batch_size=16, epochs=3, verbose=False)
    (text,) = {str(w.message) for w in caught}
    assert len(caught) == 1 and text.startswith("dead: dense_1: 8 of 8 units")
    assert "[z1[b,j] > 0]" in text and "equation (" in text
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(activation="relu").fit(X, Y, batch_size=16, epochs=3, verbose=False)


def test_a_rate_of_zero_is_no_fault_of_a_layer():
    X, Y = blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer(optax.sgd(0.0)).fit(X, Y, batch_size=16, epochs=2, verbose=False)


def test_a_log_of_a_real_fit_is_its_history(tmp_path):
    X, Y = blobs()
    t = trainer()
    t.fit(
        X, Y, batch_size=16, epochs=2, validation_data=(X, Y), callbacks=[nx.Log(tmp_path / "log.tsv")], verbose=False
    )
    found = nx.read_log(tmp_path / "log.tsv")
    assert found["epoch"] == [1, 2]
    assert found["loss"] == pytest.approx(t.history["loss"]) and found["val_loss"] == pytest.approx(
        t.history["val_loss"]
    )
