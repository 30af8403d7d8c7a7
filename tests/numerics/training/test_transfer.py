"""Another head on a trained network: weights stay by name, what is frozen is not in the program."""

import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.language.errors import DeriveError
from derive.networks import layers as L
from numerics.errors import NumericsError

SPARSE = "sparse_softmax_cross_entropy"
RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(30, 6, 6, 1)), RNG.integers(0, 4, 30)


def base(*end):
    return dv.Sequential(
        [
            L.Conv2D(3, 3, activation="relu"),
            L.BatchNorm(),
            L.Flatten(),
            L.Dense(8, activation="tanh"),
            L.Dropout(0.5),
            *(end or (L.Dense(5),)),
        ],
        input_shape=(6, 6, 1),
    )


def names(model):
    return [placed.name for placed in model.layers]


def test_the_head_is_what_comes_from_the_last_layer_with_parameters_on():
    stays = ["conv2d_1", "batch_norm_1", "flatten_1", "dense_1", "dropout_1"]
    assert names(base().with_head(L.Dense(4))) == [*stays, "head_1"]
    assert names(base(L.Dense(5), L.Activation("softmax")).with_head([L.Dense(7), L.Dense(4, name="out")])) == [
        *stays,
        "head_1",
        "out",
    ]
    assert names(base().with_head(L.Dense(4), after="flatten_1")) == [*stays[:3], "head_1"]
    again = base().with_head(L.Dense(4)).with_head(L.Dense(9))
    assert names(again) == [*stays, "head_2"], "a name is not used again: weights stay by name"
    assert again.shape(again.output)[1:] == (9,)
    assert names(base()) == [*stays, "dense_2"], "the old one is as it was"


def test_a_graph_of_layers_gets_another_head():
    a, b = dv.Input((4,), name="a"), dv.Input((3,), name="b")
    shared = L.Dense(3, name="shared")
    h = L.Add()([shared(a), shared(L.Dense(4)(b))])
    model = dv.Model([a, b], {"kind": L.Dense(2)(h), "size": L.Dense(1)(h)})
    with pytest.raises(DeriveError, match=r"has 2 outputs \(kind, size\); say after which layer"):
        model.with_head(L.Dense(4))
    new = model.with_head(L.Dense(4), after="add_1")
    assert list(new.inputs) == ["a", "b"]
    assert names(new) == ["shared", "dense_2", "shared", "add_1", "head_1"]
    assert {n: p.shape for n, p in new.parameters.items()}["head_1_kernel"] == (3, 4)
    assert dv.Model.from_dict(new.to_dict()).to_dict() == new.to_dict()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: base().with_head(L.Dense(4), after="dense_7"), "no layer 'dense_7'"),
        (lambda: base().with_head(L.Dense(4, name="dense_1")), "has a layer 'dense_1' already"),
        (
            lambda: dv.Sequential([L.Dense(3)], input_shape=(2,)).with_head(L.Dense(4)),
            "not clear where its head begins; say .* after= one of dense_1",
        ),
        (
            lambda: nx.transfer(base(), L.Dense(4), optimizer=optax.sgd(0.1)),
            "transfer: takes a trainer, .* given Sequential",
        ),
    ],
)
def test_what_cannot_be_replaced_is_refused(make, message):
    with pytest.raises((DeriveError, NumericsError), match=message):
        make()


def test_weights_stay_by_name_and_frozen_gradients_are_not_in_the_program(tmp_path):
    t = nx.Trainer(base(), SPARSE, optax.adam(1e-2))
    t.fit(X, Y, batch_size=10, epochs=2, verbose=False)
    new = nx.transfer(nx.load(t.save(tmp_path), optax.adam(1e-2)), L.Dense(4), optimizer=optax.adam, learning_rate=1e-2)
    for name in ("conv2d_1_kernel", "batch_norm_1_gamma", "dense_1_bias"):
        np.testing.assert_array_equal(new.params[name], t.params[name])
    for name, a in t.state.items():
        np.testing.assert_array_equal(new.state[name], a)
    assert new.frozen == ("conv2d_1", "batch_norm_1", "dense_1")
    assert list(new.derivation.gradients) == ["head_1_kernel", "head_1_bias"]
    assert (new.summary().trained, new.model.summary().trained) == (36, new.summary().total)
    assert "dense_1       (B, 8)               392  no" in str(new.summary())
    whole = nx.Trainer(new.model, SPARSE, optax.adam(1e-2))
    returned = new.kernel.source.split('"""')[1]
    assert "d_head_1_kernel" in new.kernel.source and "conv2d_1_kernel" in returned
    for gone in ("d_conv2d_1_kernel", "d_dense_1_kernel", "d_batch_norm_1_gamma"):
        assert gone in whole.kernel.source and gone not in new.kernel.source
    assert len(new.derivation.program) < 0.7 * len(whole.derivation.program)
    before = {n: np.asarray(a) for n, a in {**new.params, **new.state}.items()}
    new.fit(X, Y, batch_size=10, epochs=2, verbose=False)
    for name, a in {**new.params, **new.state}.items():
        assert np.array_equal(a, before[name]) == (not name.startswith("head"))
    new.unfreeze("dense_1")
    new.learning_rate = 1e-3
    new.fit(X, Y, batch_size=10, verbose=False)
    assert not np.array_equal(new.params["dense_1_kernel"], before["dense_1_kernel"])
    np.testing.assert_array_equal(new.params["conv2d_1_kernel"], before["conv2d_1_kernel"])


@pytest.mark.slow
def test_digits_5_to_9_on_the_features_of_0_to_4(script):
    found = [script("transfer_learning")(seed=seed, verbose=False) for seed in range(5)]
    assert np.median([f["digits 5-9, new head"] for f in found]) >= 0.97
    assert np.median([f["digits 0-4"] for f in found]) >= 0.98
    assert all(4 * f["trained"] <= f["of"] for f in found)
