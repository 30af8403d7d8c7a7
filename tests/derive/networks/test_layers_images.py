"""Every image layer: all its gradients agree with autodiff of jax.lax, and the exact check proves the derivation."""

import json

import pytest
from reference_layers import LAYERS, alone, derivation, error_against_jax

import derive as dv
from derive.networks import layers as L

QUICK = {
    "conv1d",
    "conv2d",
    "conv2d_grouped",
    "depthwise",
    "transposed_same",
    "max_pool1d",
    "avg_pool2d",
    "flatten",
    "batch_norm",
    "layer_norm",
    "spatial_dropout",
}


def some(names):
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]


def test_every_image_layer_is_here():
    here = {type(make()).__name__ for make, _ in LAYERS.values()}
    elsewhere = {"Activation", "Dense", "Add", "Multiply", "Concatenate"}
    images = {
        name
        for name, kind in L.LAYERS.items()
        if kind.__module__.rsplit(".", 1)[1]
        in (
            "convolution",
            "pooling",
            "resizing",
            "reshaping",
            "normalization",
            "dropout",
            "activation",
            "dense",
            "merging",
        )
    }
    assert images == here | elsewhere


@pytest.mark.parametrize("name", some(LAYERS))
def test_gradients_agree_with_autodiff_of_jax(name):
    make, shape = LAYERS[name]
    assert error_against_jax(alone(make(), shape)) < 1e-12


@pytest.mark.parametrize("name", some(LAYERS))
def test_the_exact_check_proves_the_derivation(name):
    make, shape = LAYERS[name]
    evidence = derivation(alone(make(), shape)).check()
    assert evidence.ok and not evidence.undecided, evidence


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_as_data_is_the_same_layer(name):
    make, shape = LAYERS[name]
    model = alone(make(), shape)
    again = dv.Sequential.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.output == model.output and again.sizes == model.sizes
    assert again.to_dict() == model.to_dict()
