"""Layers around layers, states as outputs, and sequence models as data."""

import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
from derive.networks import layers as L
from numerics.checks.verify import verify
from numerics.kernel.compile import compile
from numerics.training.init import init


@pytest.mark.slow
def test_a_bidirectional_model_is_verified_against_the_unrolled_reference():
    model = dv.Sequential([L.Embedding(5, 3), L.Bidirectional(L.GRU(2))], input_shape=(3,))
    kern = compile(model.backprop("mean_squared_error"), sizes={"I": 3})
    report = verify(kern, dtypes=("float64",), tolerance=1e-12)
    assert report.ok, report
    assert report.forward == "jax.nn reference of model (numerics.reference.networks)"


@pytest.mark.parametrize("merge, size", [("concat", 8), ("sum", 4), ("mul", 4), ("ave", 4)])
def test_bidirectional_shapes_and_parameters(merge, size):
    model = dv.Sequential([L.Bidirectional(L.LSTM(4), merge_mode=merge)], input_shape=(5, 3))
    assert model.shape_of("bidirectional_1") == (size,)
    assert [n for n in model.parameters if "backward" in n] == [
        f"bidirectional_1_backward_{role}" for role in ("kernel", "recurrent", "bias")
    ]


def test_a_two_layer_bidirectional_lstm_is_proved():
    both = [L.Bidirectional(L.LSTM(2, return_sequences=True)) for _ in range(2)]
    d = dv.Sequential(both, input_shape=(5, 3)).backprop("mean_squared_error")
    evidence = d.check()
    assert evidence.ok and not evidence.undecided and len(d.gradients) == 12


def test_a_layer_at_every_step_is_the_layer_on_the_folded_batch():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 3, 6, 6, 1)).astype(np.float32)
    one = dv.Sequential([L.Conv2D(2, 3, activation="relu", name="conv")], input_shape=(6, 6, 1))
    many = dv.Sequential([L.TimeDistributed(L.Conv2D(2, 3, activation="relu"), name="conv")], input_shape=(3, 6, 6, 1))
    params = {n: np.asarray(a) for n, a in init(one).items()}
    assert list(many.parameters) == list(params)
    many_kernel, one_kernel = (compile(m.forward(), sizes=_unfixed(m)) for m in (many, one))
    got = np.asarray(many_kernel(x=x, **params)["conv"])
    expected = np.asarray(one_kernel(x=x.reshape(6, 6, 6, 1), **params)["conv"])
    np.testing.assert_allclose(got, expected.reshape(got.shape), rtol=1e-5, atol=1e-6)


def _unfixed(model):
    from numerics.training.programs import unfixed

    return unfixed(model.forward(), model.sizes)


def encoder_decoder():
    x, z = dv.Input((4, 3)), dv.Input((5, 2), name="z")
    _, h, c = L.LSTM(4, return_state=True)(x)
    return dv.Model([x, z], L.LSTM(4, initial_state="input", return_sequences=True)([z, h, c]))


def test_the_final_states_of_one_layer_start_another():
    model = encoder_decoder()
    d = model.backprop("mean_squared_error")
    assert d.check().ok
    assert all(name in d.gradients for name in ("lstm_1_kernel", "lstm_2_recurrent"))


def test_carried_states_join_two_windows_into_one():
    model = dv.Sequential([L.LSTM(4, return_sequences=True, initial_state="carried")], input_shape=(3, 2))
    forward = compile(model.forward())
    params = {n: np.asarray(a) for n, a in init(model).items()}
    x = np.random.default_rng(1).normal(size=(2, 6, 2)).astype(np.float32)
    state = {n: jnp.zeros((2, 4)) for n in model.carried}
    assert list(state) == ["lstm_1_h", "lstm_1_c"]
    whole, _ = forward(x=x, **params, **state)
    first, state = forward(x=x[:, :3], **params, **state)
    second, _ = forward(x=x[:, 3:], **params, **state)
    whole, first, second = (found["lstm_1"] for found in (whole, first, second))
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        lambda: dv.Sequential(
            [L.Embedding(7, 3), L.Bidirectional(L.LSTM(2, peepholes=True)), L.Dense(2)], input_shape=(4,)
        ),
        lambda: dv.Sequential([L.TimeDistributed(L.Dense(2)), L.GRU(3, reset_after=False)], input_shape=(4, 3)),
        encoder_decoder,
    ],
)
def test_sequence_models_as_data(make):
    model = make()
    again = dv.Model.from_dict(model.to_dict())
    assert again.output == model.output and list(again.parameters) == list(model.parameters)
