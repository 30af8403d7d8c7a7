"""A mixture of experts: its gates, the price of an unequal share, and what is refused."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from derive.language.errors import DeriveError, ShapeError


def softmax(r):
    p = np.exp(r - r.max(-1, keepdims=True))
    return p / p.sum(-1, keepdims=True)


@pytest.mark.parametrize("top_k", [None, 2, 4])
def test_the_output_and_the_loss(top_k):
    model = dv.Sequential([L.MixtureOfExperts(4, 3, top_k=top_k, balance=0.5)], input_shape=(5,))
    t = nx.Trainer(model, "mean_squared_error", seed=0)
    rng = np.random.default_rng(0)
    p = {n.removeprefix("mixture_of_experts_1_"): rng.normal(size=a.shape).astype("f") for n, a in t.params.items()}
    t.params = {f"mixture_of_experts_1_{n}": a for n, a in p.items()}
    x, y = rng.normal(size=(6, 5)).astype("f"), rng.normal(size=(6, 3)).astype("f")
    r = x @ p["gate_kernel"]
    rank = (r[:, None, :] > r[:, :, None]).sum(2)
    chosen = rank < (top_k or 4)
    gates = softmax(np.where(chosen, r, -np.inf))
    each = np.maximum(np.einsum("bi,eij->bej", x, p["kernel"]) + p["bias"], 0)
    h = (gates[..., None] * each).sum(1)
    np.testing.assert_allclose(t.predict(x), h, rtol=1e-4, atol=1e-5)
    share = softmax(r).mean(0)
    used = share if top_k in (None, 4) else chosen.mean(0) / top_k
    price = 0.5 * 4 * (used * share).sum()
    np.testing.assert_allclose(t.evaluate(x, y)["loss"], ((h - y) ** 2).mean() + price, rtol=1e-4)


@pytest.mark.parametrize("top_k", [None, pytest.param(1, marks=pytest.mark.slow)])
def test_it_is_proved(top_k):
    model = dv.Sequential([L.MixtureOfExperts(3, 4, top_k=top_k, hidden=2), L.Dense(2)], input_shape=(3, 5))
    assert model.backprop("mean_squared_error").check().proved


def test_it_trains_and_is_saved(tmp_path):
    model = dv.Sequential([L.MixtureOfExperts(4, 8, top_k=2), L.Dense(1)], input_shape=(2,))
    t = nx.Trainer(model, "mean_squared_error", optimizer="adam", learning_rate=0.02, seed=0)
    x = np.random.default_rng(0).normal(size=(64, 2)).astype("f")
    y = np.abs(x[:, :1]) + x[:, 1:]
    loss = t.fit(x, y, epochs=30, verbose=False)["loss"]
    assert loss[-1] < 0.3 * loss[0]
    t.save(tmp_path / "run")
    np.testing.assert_array_equal(nx.load(tmp_path / "run").predict(x), t.predict(x))


def test_twice_called_its_price_is_paid_twice():
    x = dv.Input((3,))
    experts = L.MixtureOfExperts(2, 3)
    model = dv.Model(x, L.Dense(1)(experts(experts(x))))
    program = model.backprop("mean_squared_error").program
    names = [e.name for e in program.equations]
    assert {"penalty_mixture_of_experts_1_balance", "penalty_mixture_of_experts_1_balance_2"} <= set(names)
    free = dv.Sequential([L.MixtureOfExperts(2, 3, balance=0)], input_shape=(3,))
    assert not any("penalty" in e.name for e in free.backprop("mean_squared_error").program.equations)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"top_k": 5}, DeriveError, r"top_k is 5; accepted is a number from 1 to 4, or None for all"),
        ({"top_k": 0}, ShapeError, "top_k is 0; accepted is a positive whole number"),
        ({"balance": -1}, DeriveError, "balance is -1; accepted is a number that is not negative"),
        ({"hidden": 1.5}, ShapeError, "hidden is 1.5"),
        ({"experts": 2}, DeriveError, "unknown option 'experts'"),
    ],
)
def test_what_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        L.MixtureOfExperts(4, 3, **options)
