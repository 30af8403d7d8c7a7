"""Penalties are equations of the loss: proved, verified, shown, saved, and not for sale twice."""

import json

import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.language.errors import DeriveError
from derive.networks import layers as L


def net(loss="sparse_softmax_cross_entropy"):
    first = L.Dense(4, activation="tanh").penalize(kernel=L.Penalty(l1=0.01, l2=0.1), activity=L.Penalty(l2=0.5))
    return dv.Sequential([first, L.Dense(3).penalize(bias=L.Penalty(l1=0.2))], input_shape=(5,))


def test_the_equations_say_the_half():
    d = net().backprop("sparse_softmax_cross_entropy")
    text = {
        name: str(d.program.equation(name))
        for name in ("penalty_dense_1_kernel", "penalty_dense_1_activity", "penalty_dense_2_bias", "loss")
    }
    assert text == {
        "penalty_dense_1_kernel": "penalty_dense_1_kernel = 1/20 sum_{i,j} dense_1_kernel[i,j]^2 + 1/100 sum_{i,j} "
        "|dense_1_kernel[i,j]|",
        "penalty_dense_1_activity": "penalty_dense_1_activity = (1 / (4 B)) sum_{b,j} h1[b,j]^2",
        "penalty_dense_2_bias": "penalty_dense_2_bias = 1/5 sum_k |dense_2_bias[k]|",
        "loss": "loss = fit + penalty_dense_1_activity + penalty_dense_1_kernel + penalty_dense_2_bias",
    }
    assert "penalty_dense_1_kernel" in d.to_text() and "|x|'(0) = 0" in " ".join(d.kinks)


def test_proved_verified_and_worth_what_they_say(x64):
    d = net().backprop("sparse_softmax_cross_entropy")
    assert d.check().proved
    assert nx.verify(nx.compile(d)).ok
    rng = np.random.default_rng(0)
    params = {name: rng.normal(size=p.shape) for name, p in net().parameters.items()}
    given = {**params, "x": rng.normal(size=(6, 5)), "y": rng.integers(0, 3, 6)}
    value, grads, _ = nx.compile(d)(**given)
    bare = dv.Sequential([L.Dense(4, activation="tanh"), L.Dense(3)], input_shape=(5,))
    plain, plain_grads, _ = nx.compile(bare.backprop("sparse_softmax_cross_entropy"))(**given)
    w, c = params["dense_1_kernel"], params["dense_2_bias"]
    h = np.tanh(given["x"] @ w + params["dense_1_bias"])
    extra = 0.01 * np.abs(w).sum() + 0.05 * (w**2).sum() + 0.25 * (h**2).sum() / 6 + 0.2 * np.abs(c).sum()
    assert float(value - plain) == pytest.approx(extra, rel=1e-13)
    assert np.asarray(grads["dense_2_bias"] - plain_grads["dense_2_bias"]) == pytest.approx(0.2 * np.sign(c), rel=1e-12)


def test_the_reference_has_them_too(monkeypatch):
    from numerics.reference import networks as catalogue

    model = dv.Sequential([L.Dense(3).penalize(kernel=L.Penalty(l2=0.1), activity=L.Penalty(l2=1))], input_shape=(2,))
    kern = nx.compile(model.backprop("mean_squared_error"))
    report = nx.verify(kern, dtypes=("float64",))
    assert report.ok and report.forward.startswith("jax.nn reference")
    monkeypatch.setattr(catalogue, "_penalties", lambda *given: 0)
    assert not nx.verify(kern, dtypes=("float64",)).ok


def test_a_shared_parameter_is_priced_once_and_its_outputs_each():
    x = dv.Input((4,))
    layer = L.Dense(4, activation="tanh").penalize(kernel=L.Penalty(l2=1), activity=L.Penalty(l2=1))
    d = dv.Model(x, layer(layer(x))).backprop("mean_squared_error")
    assert (
        str(d.program.equation("loss"))
        == "loss = fit + penalty_dense_1_activity + penalty_dense_1_activity_2 + penalty_dense_1_kernel"
    )
    assert nx.verify(nx.compile(d), dtypes=("float64",)).ok


def test_several_outputs_and_your_own_price(x64):
    x = dv.Input((4,))
    h = L.Dense(3, activation="tanh").penalize(kernel=lambda w: w**4)(x)
    model = dv.Model(x, {"a": L.Dense(1)(h), "b": L.Dense(2)(h)})
    d = model.backprop({"a": "mean_squared_error", "b": "mean_squared_error"}, weights={"a": 2})
    assert str(d.program.equation("loss")) == "loss = 2 loss_a + loss_b + penalty_dense_1_kernel"
    assert "4 dense_1_kernel[i,j]^3" in str(d.gradient("dense_1_kernel")) and d.check().proved
    with pytest.raises(DeriveError, match="layer dense_1: the penalty of its kernel is a function of your own"):
        model.to_dict()


def test_saved_as_data():
    data = json.loads(json.dumps(net().to_dict()))
    assert data["layers"][0]["penalties"] == {"kernel": {"l1": 0.01, "l2": 0.1}, "activity": {"l2": 0.5}}
    again = dv.Sequential.from_dict(data)
    assert again.loss("mean_squared_error") == net().loss("mean_squared_error")
    assert "penalties" not in dv.Sequential([L.Dense(3)], input_shape=(2,)).to_dict()["layers"][0]


def test_training_shrinks_the_weights():
    X = np.zeros((8, 3), np.float32)
    model = dv.Sequential([L.Dense(2, bias_initializer="zeros").penalize(kernel=L.Penalty(l2=0.5))], input_shape=(3,))
    t = nx.Trainer(model, "mean_squared_error", optax.sgd(0.1))
    before = np.asarray(t.params["dense_1_kernel"])
    t.fit(X, np.zeros((8, 2), np.float32), batch_size=8, epochs=1, verbose=False)
    assert np.asarray(t.params["dense_1_kernel"]) == pytest.approx(0.95 * before, rel=1e-6)  # 1 - rate * l2


def test_any_role_of_any_layer():
    model = dv.Sequential([L.GRU(3).penalize(recurrent=L.Penalty(l2=0.1)), L.Dense(1)], input_shape=(4, 2))
    d = model.backprop("mean_squared_error")
    assert "gru_1_recurrent" in str(d.program.equation("penalty_gru_1_recurrent"))
    assert nx.verify(nx.compile(d, sizes=model.sizes), dtypes=("float64",)).ok


def refused(layer, shape=(5,)):
    dv.Sequential([layer], input_shape=shape).backprop("mean_squared_error")


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: L.Penalty(l2=-1), "Penalty: l2 is -1; accepted is a number that is not negative"),
        (lambda: L.Penalty(), "l1 and l2 are 0; give one of them"),
        (lambda: L.Penalty(l1="x"), "Penalty: l1 is 'x'; accepted is a number"),
        (
            lambda: L.Dense(3).penalize(kernel=0.1),
            r"Dense.penalize: the penalty of kernel is 0.1; accepted is L.Penalty",
        ),
        (
            lambda: refused(L.Dense(3).penalize(kernal=L.Penalty(l2=1))),
            "layer dense_1 has no 'kernal' to penalize; did you mean 'kernel'.; accepted are kernel, bias, activity",
        ),
        (
            lambda: refused(L.TimeDistributed(L.Dense(3).penalize(kernel=L.Penalty(l2=1))), (4, 2)),
            "penalties are given to the layer around, as in L.TimeDistributed",
        ),
    ],
)
def test_refusals(make, message):
    with pytest.raises(DeriveError, match=message):
        make()
