"""Programs written for a GPU lower for one, without one: every layer, every program, every well-known network."""

import jax
import jax.numpy as jnp
import pytest
from kernel_cases import data, free_sizes
from programs import CASES
from reference_layers import LAYERS, alone, derivation

import derive as dv
import numerics as nx
from derive import layers as L
from derive.networks.examples.networks import NETWORKS
from numerics.checks.ground import float64
from numerics.reference.grid import size_value
from numerics.reference.sampling import draw_sizes

DTYPES = {"float": jnp.float32, "int": jnp.int32, "bool": jnp.bool_}


def lowered(d, sizes=None):
    """The text of the program lowered for CUDA at small sizes; nothing is compiled."""
    kern = nx.compile(d, sizes=sizes, backend="gpu", check=False)
    drawn = draw_sizes(d.program, dict(kern.request.sizes), pool=(3, 5, 4, 6, 7, 8, 9))
    shapes = [jax.ShapeDtypeStruct(tuple(size_value(a, drawn) for a in t.axes), DTYPES[t.dtype]) for t in kern.inputs]
    return kern, kern.fn.trace(*shapes).lower(lowering_platforms=("cuda",)).as_text()


def test_a_convolution_is_the_librarys_on_a_gpu():
    kern, text = lowered(derivation(alone(LAYERS["conv2d"][0](), LAYERS["conv2d"][1])))
    assert text.count("stablehlo.convolution") == 3  # forward, the gradients of kernel and image
    assert {"convolution as conv", "kernel-gradient as conv"} <= {rule for rule, _, _ in kern.choices}


@pytest.mark.slow
@pytest.mark.parametrize("name", LAYERS)
def test_every_image_layer(name):
    make, shape = LAYERS[name]
    model = alone(make(), shape)
    assert "stablehlo" in lowered(derivation(model), model.sizes)[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_program_outside_the_catalogue(name):
    d = CASES[name]()
    free = free_sizes(d)
    with float64():
        assert "stablehlo" in lowered(d, {s.name: n for s, n in data(d)[0].items() if s.name in free})[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_every_well_known_network(name):
    model = NETWORKS[name]()
    assert "stablehlo" in lowered(model.backprop("sparse_softmax_cross_entropy"), model.sizes)[1]


def sequence(*layers):
    return lambda: dv.Sequential(list(layers), input_shape=(5, 6))


def tokens(*layers):
    def make():
        x = dv.Input((5,), dtype="int", below=7)
        h = L.Embedding(7, 6)(x)
        for layer in layers:
            h = layer(h)
        return dv.Model(x, L.Dense(7)(h))

    return make


def masked():
    x, mask = dv.Input((5, 6), name="x"), dv.Input((5,), name="mask")
    h = L.LSTM(4, return_sequences=True, masked=True)([x, mask])
    return dv.Model([x, mask], L.GRU(4, masked=True)([h, mask]))


def translation():
    """An encoder's states and what was attended to go into the decoder."""
    x, before = dv.Input((5, 6), name="x"), dv.Input((4, 6), name="before")
    memory = L.TransformerBlock(2)(x)
    h = L.TransformerBlock(2, causal=True, cross=True)([before, memory])
    h = L.MultiHeadAttention(2, 3)([h, memory])
    return dv.Model([x, before], L.Dense(3)(h))


def joined():
    x = dv.Input((5, 6))
    left, right = L.Dense(4)(x), L.Dense(4, activation="gelu")(x)
    parts = [L.Add()([left, right]), L.Multiply()([left, right]), L.Activation("softmax")(left)]
    return dv.Model(x, L.Concatenate()(parts))


def carried():
    x = dv.Input((5, 6))
    h, state = L.LSTM(4, return_sequences=True), L.FinalState("c")
    return dv.Model(x, state(h(x)))


def bag():
    x = dv.Input((5,), dtype="int", below=7)
    return dv.Model(x, L.Dense(3)(L.EmbeddingBag(7, 6, mode="mean")(x)))


def patches():
    x = dv.Input((4, 6, 3))
    return dv.Model(x, L.Dense(3)(L.TransformerBlock(2)(L.ClassToken()(L.PatchEmbedding(2, 6)(x)))))


SEQUENCES = {
    "SimpleRNN": sequence(L.SimpleRNN(4, return_sequences=True), L.SimpleRNN(3)),
    "LSTM": sequence(L.LSTM(4, return_sequences=True, peepholes=True), L.LSTM(3, initial_state="carried")),
    "GRU": sequence(L.GRU(4, return_sequences=True, go_backwards=True), L.GRU(3, reset_after=False)),
    "masked": masked,
    "Bidirectional": sequence(L.Bidirectional(L.LSTM(4, return_sequences=True)), L.Bidirectional(L.GRU(3), "sum")),
    "TimeDistributed": sequence(L.TimeDistributed(L.Dense(3, activation="relu"))),
    "FinalState": carried,
    "Embedding": tokens(),
    "EmbeddingBag": bag,
    "MultiHeadAttention": sequence(L.MultiHeadAttention(2, 3, causal=True, dropout=0.1)),
    "rotary": sequence(L.MultiHeadAttention(4, 4, causal=True, num_kv_heads=2, rotary=True)),
    "MixtureOfExperts": sequence(L.MixtureOfExperts(4, 6, top_k=2)),
    "GatedDense": sequence(L.GatedDense(4)),
    "PatchEmbedding ClassToken": patches,
    "PositionalEmbedding": tokens(L.PositionalEmbedding(5), L.TransformerBlock(2, causal=True)),
    "SinusoidalPositions": tokens(L.SinusoidalPositions(), L.TransformerBlock(2, norm="post", dropout=0.1)),
    "RMSNorm": tokens(L.TransformerBlock(2, normalization="rms", gated=True, rotary=False), L.RMSNorm()),
    "Stack": tokens(L.Stack(L.TransformerBlock(2, causal=True), 3)),
    "TransformerBlock": translation,
    "PReLU Maxout": sequence(L.PReLU(), L.Maxout(4, 3)),
    "RBF": lambda: dv.Sequential([L.RBF(4), L.Dense(2)], input_shape=(6,)),
    "Activation Add Multiply Concatenate": joined,
}


def test_every_layer_of_the_catalogue_is_lowered_here():
    made = [*(alone(make(), shape) for make, shape in LAYERS.values()), *(make() for make in SEQUENCES.values())]
    used = {type(p.layer).__name__ for model in made for p in model.layers}
    inner = {"Bidirectional", "TimeDistributed", "Stack"}
    assert set(L.LAYERS) - used - inner == set() and inner <= set(SEQUENCES)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEQUENCES)
def test_every_layer_of_sequences(name):
    model = SEQUENCES[name]()
    assert "stablehlo" in lowered(model.backprop("mean_squared_error"), model.sizes)[1]
