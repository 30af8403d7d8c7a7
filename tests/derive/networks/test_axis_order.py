"""Arrays in another library's axis order are told so, with a transposition that was checked to fit."""

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.data.examples import check_examples

MODEL = dv.Sequential([L.Conv2D(4, 3, padding=1), L.Flatten(), L.Dense(2)], input_shape=(6, 7, 3))


def call(sizes, **other):
    kern = nx.compile(MODEL.backprop("mean_squared_error"), sizes=sizes)
    given = {n: np.asarray(a) for n, a in nx.init(MODEL).items()}
    given |= {"x": np.zeros((5, 6, 7, 3), "float32"), "y": np.zeros((5, 2), "float32")}
    return kern(**{**given, **other})


@pytest.mark.parametrize("sizes", [MODEL.sizes, {}])
def test_channel_first_images(sizes):
    said = (
        r"x looks channel-first \(NCHW\); images are channels last \(NHWC\): x.transpose\(0, 2, 3, 1\) has shape "
        r"\(5, 6, 7, 3\) and would fit"
    )
    with pytest.raises(nx.InputError, match=said):
        call(sizes, x=np.zeros((5, 3, 6, 7), "float32"))
    assert np.isfinite(call(sizes, x=np.zeros((5, 3, 6, 7), "float32").transpose(0, 2, 3, 1))[0])


@pytest.mark.parametrize("sizes", [MODEL.sizes, {}])
def test_kernels_with_outputs_first(sizes):
    said = (
        r"conv2d_1_kernel looks like OIHW, outputs first; kernels are HWIO: "
        r"conv2d_1_kernel.transpose\(2, 3, 1, 0\) has shape \(3, 3, 3, 4\) and would fit"
    )
    with pytest.raises(nx.InputError, match=said):
        call(sizes, conv2d_1_kernel=np.zeros((4, 3, 3, 3), "float32"))


def test_the_wrong_number_of_channels_is_not_called_an_axis_order():
    with pytest.raises(nx.InputError) as error:
        call(MODEL.sizes, x=np.zeros((5, 6, 7, 1), "float32"))
    assert "axis 3 of x has size 1, but it is fixed by sizes" in str(error.value)
    assert "would fit" not in str(error.value)


def test_examples_for_training():
    said = r"channel-first \(NCHW\); images are channels last: np.moveaxis\(X, 1, -1\)"
    with pytest.raises(nx.InputError, match=said):
        check_examples(np.zeros((5, 3, 6, 7)), (6, 7, 3))


def test_channels_that_differ_are_told_with_the_order_of_axes():
    said = r"\(N, 8, 6, 2\); images are \(N, height, width, channels\): 2 channels, last, are expected, not 3"
    with pytest.raises(nx.InputError, match=said):
        check_examples(np.zeros((5, 8, 6, 3), "float32"), (8, 6, 2))
