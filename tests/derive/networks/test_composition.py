"""Models called on symbols: shared parameters, names, freezing, saving, and what cannot be called."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from derive.language.errors import DeriveError, ShapeError


def pair():
    forger = dv.Sequential([L.Dense(4, activation="tanh"), L.Dense(1)], input_shape=(2,), name="forger")
    critic = dv.Sequential([L.Dense(3, activation="tanh"), L.Dense(1)], input_shape=(1,), name="critic")
    return forger, critic


def test_a_model_called_on_what_another_gives():
    forger, critic = pair()
    both = dv.Model(forger.input, critic(forger.output))
    assert list(both.parameters) == [
        f"{m}_dense_{n}_{role}" for m in ("forger", "critic") for n in (1, 2) for role in ("kernel", "bias")
    ]
    params = nx.init(both, seed=1)
    x = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)

    def alone(model, x):
        kern = nx.compile(model.forward())
        own = {t.name: params[f"{model.name}_{t.name}"] for t in kern.inputs if t.name != "x"}
        (out,) = kern(x=x, **own).values()
        return out

    (out,) = nx.compile(both.forward())(x=x, **params).values()
    np.testing.assert_allclose(out, alone(critic, alone(forger, x)), rtol=1e-6)
    assert nx.verify(nx.compile(both.backprop("mean_squared_error")), dtypes=("float64",)).ok


def test_a_model_called_twice_has_one_set_of_parameters():
    _, critic = pair()
    a, b = dv.Input((1,), name="a"), dv.Input((1,), name="b")
    both = dv.Model([a, b], {"first": critic(a), "second": critic(b)})
    assert list(both.outputs) == ["first", "second"]
    assert len(both.parameters) == 4 and both.summary().total == critic.summary().total
    assert dv.Model([a, b], L.Add()([critic(a), critic(b)])).backprop("mean_squared_error").check().ok


def test_an_encoder_with_two_heads():
    encoder = dv.Sequential([L.Dense(4, activation="tanh")], input_shape=(3,), name="encoder")
    code = encoder.output
    model = dv.Model(encoder.input, {"class": L.Dense(2)(code), "again": L.Dense(3)(code)})
    assert [p.name for p in model.layers] == ["encoder_dense_1", "dense_1", "dense_2"]


def test_models_inside_of_models():
    inner = dv.Sequential([L.Dense(4)], input_shape=(3,), name="inner")
    middle = dv.Sequential([inner, L.Dense(2)], name="middle")
    outer = dv.Sequential([middle, L.Dense(5), dv.Sequential([L.Dense(1)], input_shape=(5,))])
    assert [p.name for p in outer.layers] == ["middle_inner_dense_1", "middle_dense_1", "dense_1", "model_1_dense_1"]
    assert {p.layer for p in outer.trainable("middle")} == {"dense_1", "model_1_dense_1"}
    assert {p.layer for p in outer.trainable("middle_inner")} == {"middle_dense_1", "dense_1", "model_1_dense_1"}
    ids = dv.Sequential([L.Embedding(7, 3)], input_shape=(4,), name="table")
    assert dv.Sequential([ids, L.Dense(2)]).input.dtype == "int"


def test_several_inputs_and_outputs():
    a, b = dv.Input((2,), name="a"), dv.Input((2,), name="b")
    s = L.Add()([a, b])
    pieces = dv.Model([a, b], {"sum": s, "wide": L.Dense(3)(s)}, name="pieces")
    u, v = dv.Input((2,), name="u"), dv.Input((2,), name="v")
    for given in ([u, v], {"b": v, "a": u}):
        total, wide = pieces(given)
        assert dv.Model([u, v], L.Concatenate()([total, wide])).shape_of("concatenate_1") == (5,)
    with pytest.raises(DeriveError, match=r"pieces has 2 inputs \(a, b\) and was called on 1 symbols"):
        pieces(u)
    with pytest.raises(DeriveError, match="its inputs are a, b"):
        pieces({"a": u, "c": v})


def test_saved_with_its_parts(tmp_path):
    forger, critic = pair()
    both = dv.Model(forger.input, critic(forger.output))
    again = dv.Model.from_dict(both.to_dict())
    assert list(again.parameters) == list(both.parameters)
    assert [p.name for p in again.trainable("critic")] == [p.name for p in both.trainable("critic")]
    t = nx.Trainer(both, "mean_squared_error", "sgd").freeze("critic")
    x, y = np.ones((4, 2), np.float32), np.zeros((4, 1), np.float32)
    t.fit(x, y, verbose=False)
    t.save(tmp_path / "run")
    loaded = nx.load(tmp_path / "run", "sgd")
    assert loaded.frozen == ("critic",)
    assert np.array_equal(loaded.predict(x), t.predict(x))
    assert list(t.unfreeze("critic").derivation.gradients) == list(both.parameters)


def test_what_cannot_be_called():
    forger, critic = pair()
    x = dv.Input((3,))
    with pytest.raises(ShapeError, match=r"critic is called on x of shape \(B, 3\); its input x has shape \(B, 1\)"):
        dv.Model(x, critic(x))
    ids = dv.Input((1,), dtype="int", below=5)
    with pytest.raises(ShapeError, match="critic is called on x, which is int; its input x is float"):
        dv.Model(ids, critic(ids))
    with pytest.raises(DeriveError, match=r"arrays go to trainer.predict"):
        critic(np.ones((2, 1)))
    with pytest.raises(DeriveError, match="same object"):
        dv.Sequential([critic, critic])
    with pytest.raises(DeriveError, match="forger is a model, and stands here as a layer"):
        dv.Sequential([L.Stack(forger, 2)], input_shape=(2,))
    with pytest.raises(DeriveError, match="two models are named 'critic'"):
        y = dv.Input((1,), name="y")
        dv.Model(y, pair()[1](critic(y)))
    with pytest.raises(DeriveError, match="critic is a model; accepted are layers"):
        forger.with_head(critic)
    with pytest.raises(DeriveError, match="has no layer 'critics'; did you mean 'critic'"):
        dv.Model(forger.input, critic(forger.output)).trainable("critics")
