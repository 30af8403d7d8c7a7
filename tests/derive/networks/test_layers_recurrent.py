"""Recurrent layers: every one is checked exactly and against jax.grad of an unrolled loop, for several lengths."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
from derive.networks import layers as L
from numerics.checks.ground import float64
from numerics.checks.verify import verify
from numerics.kernel.compile import compile
from numerics.reference.networks import LAYERS as REFERENCES

LAYERS = {
    "rnn": lambda **o: L.SimpleRNN(4, **o),
    "rnn_sigmoid": lambda **o: L.SimpleRNN(4, activation="sigmoid", use_bias=False, **o),
    "lstm": lambda **o: L.LSTM(4, **o),
    "lstm_peepholes": lambda **o: L.LSTM(4, peepholes=True, **o),
    "gru_after": lambda **o: L.GRU(4, **o),
    "gru_before": lambda **o: L.GRU(4, reset_after=False, **o),
}
OPTIONS = {
    "last": {},
    "sequence": {"return_sequences": True},
    "backwards": {"go_backwards": True},
    "masked": {"masked": True, "return_sequences": True},
    "masked_backwards": {"masked": True, "go_backwards": True},
    "parameter": {"initial_state": "parameter"},
    "masked_parameter_backwards": {"masked": True, "initial_state": "parameter", "go_backwards": True},
    "input": {"initial_state": "input", "masked": True},
    "carried": {"initial_state": "carried", "return_sequences": True},
}


def network(layer, T=5, F=3):
    """A functional model of one recurrent layer with whatever symbols it is called on."""
    x = dv.Input((T, F))
    on = [x]
    if layer.masked:
        on.append(dv.Input((T,), name="mask", dtype="int", below=2))
    if layer.initial_state == "input":
        on += [dv.Input((layer.units,), name=f"{s}_start") for s in layer.states]
    return dv.Model(on, layer(on if layer.merges else x))


def forward(model):
    """The mean of the squared distance of the unrolled layer's output from y."""
    placed = model.layers[0]

    def loss(**arrays):
        xs = [arrays[name] for name in model.inputs]
        return jnp.mean((REFERENCES[type(placed.layer)](model, placed, xs, arrays) - arrays["y"]) ** 2)

    return loss


def agrees(model, T, tolerance=1e-12):
    """The kernel's loss and gradients against autodiff of the unrolled loop, float64, sizes unequal."""
    with float64():
        kern = compile(model.backprop("mean_squared_error"), sizes={"T": T})
        rng = np.random.default_rng(T)
        sizes = {"B": 3, **model.sizes, "T": T}
        arrays = {}
        for t in kern.inputs:
            shape = [int(a.xreplace({dv.size(n): sympy.Integer(v) for n, v in sizes.items()})) for a in t.axes]
            arrays[t.name] = jnp.asarray(rng.integers(0, 2, shape) if t.dtype == "int" else rng.normal(size=shape))
            if t.dtype == "int":
                arrays[t.name] = arrays[t.name].at[0].set(1)  # a mask of zeros alone says nothing
        loss, gradients = kern(**arrays)[:2]
        opponent = jax.value_and_grad(lambda p: forward(model)(**{**arrays, **p}))
        wanted, expected = opponent({n: arrays[n] for n in gradients})
        top = max(float(jnp.abs(e).max()) for e in expected.values())
        assert abs(loss - wanted) <= tolerance * abs(wanted)
        for name, e in expected.items():
            error = float(jnp.abs(gradients[name] - e).max()) / max(float(jnp.abs(e).max()), 1e-3 * top)
            assert error <= tolerance, f"{name}, T = {T}: {error:.1e}"
    return kern


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_agrees_with_the_unrolled_loop(kind):
    agrees(network(LAYERS[kind](return_sequences=True)), 3)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.slow
def test_every_layer_is_proved_and_verified(kind):
    model = network(LAYERS[kind](return_sequences=True))
    d = model.backprop("mean_squared_error")
    evidence = d.check()
    assert evidence.ok and not evidence.undecided
    report = verify(compile(d, sizes={"T": 3}), forward=forward(model), dtypes=("float64",), tolerance=1e-12)
    assert report.ok, report


@pytest.mark.slow
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("kind", LAYERS)
def test_every_option_and_length(kind, options):
    for T in (1, 2, 3, 17):
        agrees(network(LAYERS[kind](**OPTIONS[options])), T)


@pytest.mark.parametrize(
    "kind, options, T",
    [
        ("lstm_peepholes", "masked_parameter_backwards", 2),
        ("gru_before", "input", 1),
        ("lstm", "carried", 2),
        ("rnn", "masked", 17),
    ],
)
def test_some_options_and_lengths(kind, options, T):
    agrees(network(LAYERS[kind](**OPTIONS[options])), T)


def test_masked_steps_carry_the_state_and_get_no_gradient():
    model = network(L.LSTM(4, masked=True, return_sequences=True))
    d = model.backprop("mean_squared_error")
    x = model.inputs["x"]
    d = dv.backprop(model.loss("mean_squared_error"), wrt=[x], outputs=[model.output])
    kern = compile(d)
    rng = np.random.default_rng(0)
    sizes = {"B": 2, **model.sizes}
    arrays = {
        t.name: jnp.asarray(rng.normal(size=[sizes[str(a)] if str(a) in sizes else int(a) for a in t.axes]))
        for t in kern.inputs
        if t.dtype == "float"
    }
    mask = np.array([[1, 1, 0, 0, 0], [1, 0, 1, 1, 0]], np.int32)
    _, gradients, outputs = kern(mask=jnp.asarray(mask), **arrays)
    h = np.asarray(outputs[model.output.name])
    assert (h[0, 2:] == h[0, 1]).all() and (h[1, 1] == h[1, 0]).all() and (h[1, 4] == h[1, 3]).all()
    moved = np.abs(np.asarray(gradients["x"])).max(axis=-1) > 0
    assert (moved == (mask == 1)).all()
