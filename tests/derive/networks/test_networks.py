"""The well-known networks: their parameter counts, shapes and derivations."""

import time

import pytest

from derive.networks.examples.networks import NETWORKS, keras_mnist, lenet5, resnet50, small_resnet, twenty, vgg16


def test_the_network_that_lectures_count():
    assert (
        str(twenty().summary())
        == """\
twenty: input (B, 20, 20, 3)
layer         output           parameters  trainable  initializers
dense_1       (B, 20, 20, 16)          64  yes        he_normal, zeros
conv2d_1      (B, 20, 20, 32)       4,640  yes        he_normal, zeros
max_pool2d_1  (B, 10, 10, 32)           0  -          -
conv2d_2      (B, 10, 10, 64)      51,264  yes        he_normal, zeros
flatten_1     (B, 6400)                 0  -          -
dense_2       (B, 2)               12,802  yes        glorot_uniform, zeros
total                              68,770  trainable 68,770, frozen 0"""
    )


@pytest.mark.parametrize(
    "make, total", [(keras_mnist, 34_826), (lenet5, 61_706), (vgg16, 138_357_544), (resnet50, 25_557_032)]
)
def test_published_parameter_counts(make, total):
    assert make().summary().total == total


def test_the_sizes_of_the_input_stay_symbols_throughout():
    model = vgg16()
    assert [str(a) for a in model.layer("block5_pool").output.axes] == ["B", "floor(H/32)", "floor(W/32)", "O13"]
    assert {n: v for n, v in model.sizes.items() if n in ("H", "W", "C")} == {"H": 224, "W": 224, "C": 3}


@pytest.mark.parametrize("name", ["twenty", "keras_mnist", "lenet5", "digits_cnn", "small_resnet"])
def test_every_parameter_gets_a_gradient(name):
    model = NETWORKS[name]()
    d = model.backprop("sparse_softmax_cross_entropy")
    assert set(d.gradients) == set(model.parameters)
    assert len(model.forward().program) > len(model.layers)


def test_the_gradient_of_a_convolution_is_a_correlation_and_a_transposed_convolution():
    d = keras_mnist().backprop("sparse_softmax_cross_entropy")
    kernel, image = d.gradient("conv2d_2_kernel"), d.gradient("h2")
    assert str(kernel).split(" = ")[1] == "sum_{b,u,v} h2[b,r+u,s+v,o] d_z3_sum[b,u,v,o2]"
    (term,) = image.terms
    assert len(term.rows) == 2 and {str(t) for t in image.tensors()} == {
        "<float tensor conv2d_2_kernel(3, 3, O, O2)>",
        str(d.gradient("z3_sum").tensor),
    }


def test_batch_normalization_gets_its_x_hat_form():
    """dx = rs (d_xh - mean(d_xh) - xh mean(d_xh xh)): no adjoint of the mean or the variance is left."""
    d = small_resnet().backprop("sparse_softmax_cross_entropy")
    names = {e.name for e in d.program if not e.name.endswith("_sum")}
    assert "d_xh2" in names and not any(n.startswith(("d_mean", "d_var")) for n in names)


@pytest.mark.slow
@pytest.mark.parametrize("make, seconds", [(vgg16, 20), (resnet50, 60)])
def test_deep_networks_are_derived_in_time(make, seconds):
    model, start = make(), time.process_time()
    d = model.backprop("sparse_softmax_cross_entropy")
    assert time.process_time() - start < seconds
    assert set(d.gradients) == set(model.parameters)
