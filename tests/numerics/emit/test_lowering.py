"""Programs written for a GPU lower for one, without one: every layer of images, every program, every well-known network."""

import jax
import jax.numpy as jnp
import pytest
from kernel_cases import data, free_sizes
from programs import CASES
from reference_layers import LAYERS, alone, derivation

import numerics as nx
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
@pytest.mark.parametrize("name", [n for n in NETWORKS if n not in ("vgg16", "resnet50")])
def test_every_well_known_network(name):
    model = NETWORKS[name]()
    assert "stablehlo" in lowered(model.backprop("sparse_softmax_cross_entropy"), model.sizes)[1]
