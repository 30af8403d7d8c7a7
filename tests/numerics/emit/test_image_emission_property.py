"""Any pattern of an image layer, at any geometry, is the dense fallback and float64 autodiff of jax.lax to 1e-12.

Strides, dilations, asymmetric padding, kernels wider than the image, sizes that no stride divides, groups, ties; the loss
has random weights; compared are the gradients of all parameters and of the image.
"""

import itertools

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, assume, example, given, note, settings
from hypothesis import strategies as st
from reference_layers import arrays
from sympy import Mul

import derive as dv
import numerics as nx
from derive.language.errors import ShapeError
from derive.networks import layers as L
from numerics.checks.ground import float64
from numerics.checks.opponent import flatten
from numerics.emit.source.choose import ACCEPTED
from numerics.reference import networks as catalogue

TOLERANCE = (
    1e-11  # of the largest number of a leaf, or a thousandth of the largest of all leaves (a batch norm cancels some)
)

CONVOLUTIONS = [
    {"convolution": one, "kernel-gradient": two, "input-gradient": three}
    for one, two, three in [
        ("conv", "conv", "conv"),
        ("patches", "patches", "conv"),
        ("conv", "rows", "windows"),
        ("windows", "taps", "conv"),
        ("patches", "windows", "conv"),
        ("conv", "blocks", "conv"),
    ]
]
GROUPS = [{"groups": how, "kernel-gradient": "rows"} for how in ACCEPTED["groups"]]
DEPTHWISE = [{"depthwise": how} for how in ACCEPTED["depthwise"]]
POOLS = [{"pool": how} for how in ACCEPTED["pool"]]
NORMS = [{"affine": one, "row-sums": two} for one, two in [("opened", "plain"), ("plain", "products")]]
BLOCKS = [
    {"pool": one, "affine": two, "kernel-gradient": three}
    for one, two, three in [("index", "opened", "rows"), ("windows", "plain", "patches")]
]


# -- random geometry ----------------------------------------------------------------------------------------------


def pairs(rank):
    side = st.integers(0, 3)
    return st.tuples(*[st.tuples(side, side)] * rank)


@st.composite
def windows(draw, rank, dilated=True):
    """Kernel, stride and padding, one number an axis; and dilation."""

    def each(high):
        return draw(st.tuples(*[st.integers(1, high)] * rank))

    found = {"kernel_size": each(5 if rank < 3 else 2), "strides": each(3)}
    if dilated:
        found["dilation_rate"] = each(3)
    return found | {"padding": draw(st.one_of(pairs(rank), st.sampled_from(["valid", "same"])))}


def shapes(rank, channels):
    return st.tuples(*[st.integers(1, 7 if rank < 3 else 3)] * rank, channels)


ACTIVATIONS = st.sampled_from([None, "relu", "tanh"])


@st.composite
def convolutions(draw):
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    layer = (L.Conv1D, L.Conv2D, L.Conv3D)[rank - 1]
    options = draw(windows(rank)) | {"use_bias": draw(st.booleans()), "activation": draw(ACTIVATIONS)}
    return [layer(draw(st.integers(1, 6)), **options)], draw(shapes(rank, st.integers(1, 6)))


@st.composite
def grouped(draw):
    groups = draw(st.integers(2, 3))
    filters, channels = (groups * draw(st.integers(1, 3)) for _ in range(2))
    return [L.Conv2D(filters, groups=groups, **draw(windows(2)))], draw(shapes(2, st.just(channels)))


@st.composite
def channelwise(draw):
    multiplier = draw(st.integers(1, 2))
    layer = draw(
        st.sampled_from(
            [
                L.DepthwiseConv2D(depth_multiplier=multiplier, **draw(windows(2))),
                L.SeparableConv2D(3, depth_multiplier=multiplier, **draw(windows(2))),
            ]
        )
    )
    return [layer], draw(shapes(2, st.integers(1, 4)))


@st.composite
def transposed(draw):
    return [L.Conv2DTranspose(draw(st.integers(1, 3)), **draw(windows(2)))], draw(shapes(2, st.integers(1, 3)))


@st.composite
def pools(draw):
    """Windows that overlap, leave gaps, and stand over the edge; a max and a mean."""
    rank = draw(st.sampled_from([2, 2, 2, 1, 3]))
    kind = draw(st.sampled_from(["Max", "Max", "Avg"]))
    options = draw(windows(rank, dilated=False))
    size = options.pop("kernel_size")
    more = {"count_padding": draw(st.booleans())} if kind == "Avg" else {}
    return [getattr(L, f"{kind}Pool{rank}D")(size, **options, **more)], draw(shapes(rank, st.integers(1, 3)))


@st.composite
def norms(draw):
    layer = draw(st.sampled_from([L.BatchNorm(), L.LayerNorm(), L.GroupNorm(2)]))
    return [layer, L.Activation("relu")], draw(shapes(2, st.sampled_from([2, 4])))


@st.composite
def blocks(draw):
    """A convolution, a norm, relu, a pool and another convolution: what one pattern leaves, the next one reads."""
    first = L.Conv2D(draw(st.integers(1, 4)), **draw(windows(2)), activation=draw(ACTIVATIONS))
    norm = draw(st.sampled_from([[], [L.BatchNorm()], [L.LayerNorm()]]))
    size = draw(st.integers(2, 3))
    pool = L.MaxPool2D(size, strides=draw(st.integers(1, 3)), padding=draw(st.integers(0, size - 1)))
    layers = [first, *norm, pool, L.Conv2D(2, draw(st.integers(1, 2)), padding="same")]
    return layers, draw(shapes(2, st.integers(1, 4)))


KINDS = {
    "convolutions": (convolutions(), CONVOLUTIONS),
    "grouped": (grouped(), GROUPS),
    "channelwise": (channelwise(), DEPTHWISE),
    "transposed": (transposed(), CONVOLUTIONS[:3]),
    "pools": (pools(), POOLS),
    "norms": (norms(), NORMS),
    "blocks": (blocks(), BLOCKS),
}
UNEVEN = {"strides": (2, 3), "padding": ((1, 3), (2, 0))}  # on 5x4: more before or after, divided by no stride
TELLING = {  # one geometry that shows most mistakes, in every run
    "convolutions": ([L.Conv2D(3, (3, 5), dilation_rate=(2, 1), activation="relu", **UNEVEN)], (5, 4, 2)),
    "grouped": ([L.Conv2D(4, (3, 2), groups=2, dilation_rate=(2, 3), **UNEVEN)], (5, 4, 6)),
    "channelwise": ([L.DepthwiseConv2D((2, 3), depth_multiplier=2, dilation_rate=(3, 2), **UNEVEN)], (5, 4, 3)),
    "transposed": ([L.Conv2DTranspose(2, (3, 4), dilation_rate=(2, 1), **UNEVEN)], (3, 4, 2)),
    "pools": ([L.MaxPool2D((3, 4), strides=(2, 1), padding=((1, 2), (2, 0)))], (5, 4, 2)),
    "norms": ([L.GroupNorm(2), L.BatchNorm(), L.Activation("relu")], (3, 2, 4)),
    "blocks": (
        [
            L.Conv2D(3, 3, strides=(1, 2), padding="same"),
            L.BatchNorm(),
            L.Activation("relu"),
            L.MaxPool2D(3, strides=2, padding=1),
            L.Conv2D(2, 2),
        ],
        (6, 7, 2),
    ),
}
SMOOTH = {"norms", "blocks"}  # where ties are not kept exactly: a statistic rounds


# -- the comparison -----------------------------------------------------------------------------------------------


def weighted(model):
    """``sum weights * output``, differentiated for the parameters and the image."""
    at = model.output.letters
    weights = dv.tensor("weights", *model.output.axes)
    loss = dv.define("loss", (), dv.Sum(Mul(weights[at], model.output[at]), *at))
    return dv.backprop(loss, [*model.inputs.values(), *(p.tensor for p in model.parameters.values())])


def by_autodiff(model, given, names):
    """The loss and its gradients by autodiff of the layers in jax.lax."""

    def forward(parts):
        inputs = {**given, **parts}
        values = {t: inputs[name] for name, t in model.inputs.items()}
        for placed in model.layers:
            values[placed.output] = catalogue.LAYERS[type(placed.layer)](
                model, placed, [values[t] for t in placed.of], inputs
            )
        return (values[model.output] * inputs["weights"]).sum()

    loss, found = jax.jit(jax.value_and_grad(forward))({n: given[n] for n in names})
    return {"loss": np.asarray(loss), **{n: np.asarray(g) for n, g in found.items()}}


def compare(layers, shape, patterns, seed, ties):
    try:
        model = dv.Sequential(layers, input_shape=shape)
    except ShapeError:
        assume(False)
    d = weighted(model)
    names = list(d.gradients)
    dense = nx.compile(d, sizes=model.sizes, dense=True)
    with float64():
        given = arrays(dense, model, seed, ties)
        results = {"autodiff": by_autodiff(model, given, names), "dense": flatten(d, dense(**given))}
        for forced in (None, *patterns):
            kern = nx.compile(d, sizes=model.sizes, patterns=forced)
            results[str(forced)] = flatten(d, kern(**given))
    assert all(set(found) == {"loss", *names} for found in results.values())
    top = max(np.abs(results["dense"][n]).max(initial=0) for n in names)
    for (one, left), (other, right) in itertools.product([("autodiff", results.pop("autodiff"))], results.items()):
        for n in names:
            note(f"{one} against {other}: {n}")
            assert left[n].shape == right[n].shape, (one, other, n)
            scale = max(np.abs(left[n]).max(initial=0), 1e-3 * top)
            error = np.abs(left[n] - right[n]).max(initial=0)
            assert error <= TOLERANCE * scale, f"{one} against {other}: {n} differs by {error / scale:.1e}"


@pytest.fixture(autouse=True)
def quick_to_compile():
    """Hundreds of small programs are compiled, each to run once."""
    before = jax.config.values["jax_disable_most_optimizations"]
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", before)


def check(kind, examples):
    strategy, patterns = KINDS[kind]

    @settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        phases=[Phase.explicit, Phase.generate],  # small as they are: nothing need be shrunk for minutes
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(strategy, st.integers(0, 2**16), st.booleans())
    @example(TELLING[kind], 0, True)
    def holds(made, seed, ties):
        compare(*made, patterns, seed, ties and kind not in SMOOTH)

    holds()


@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_agrees(kind):
    check(kind, 2 if kind in ("convolutions", "pools") else 1)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_pattern_agrees_over_many_geometries(kind):
    check(kind, 10 if kind == "blocks" else 18)
