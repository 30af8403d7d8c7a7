"""Random strides, dilations and paddings; kernels larger than the image; ties; and what geometry is refused."""

import random

import numpy as np
import pytest
from jax import lax
from reference_layers import alone, derivation, error_against_jax

import derive as dv
import numerics as nx
from derive.language.errors import DeriveError, ShapeError
from derive.language.tensor import Read
from derive.networks import layers as L


def any_geometry(rng: random.Random) -> dict:
    return {
        "kernel_size": (rng.randint(1, 4), rng.randint(1, 4)),
        "strides": (rng.randint(1, 3), rng.randint(1, 3)),
        "dilation_rate": (rng.randint(1, 2), rng.randint(1, 3)),
        "padding": rng.choice(
            ("valid", "same", rng.randint(0, 3), ((rng.randint(0, 3), rng.randint(0, 3)), rng.randint(0, 2)))
        ),
    }


def any_convolution(rng: random.Random):
    kind, geometry = rng.choice(("plain", "plain", "grouped", "depthwise", "transposed")), any_geometry(rng)
    if kind == "depthwise":
        return L.DepthwiseConv2D(depth_multiplier=rng.randint(1, 2), **geometry)
    if kind == "transposed":
        return L.Conv2DTranspose(2, **geometry)
    return L.Conv2D(4 if kind == "grouped" else 2, groups=2 if kind == "grouped" else 1, **geometry)


def any_pool(rng: random.Random):
    return rng.choice((L.MaxPool2D, L.MaxPool2D, L.AvgPool2D))(
        (rng.randint(1, 3), rng.randint(1, 3)),
        strides=rng.choice((None, 1, 2, (2, 3))),
        padding=rng.choice(("valid", "same", 1, ((0, 1), (1, 2)))),
    )


def random_model(make, seed) -> dv.Sequential:
    """A layer of random geometry on a small image; all that is asked for is that something comes out."""
    rng = random.Random(seed)
    while True:
        try:
            return alone(make(rng), (rng.randint(1, 5), rng.randint(1, 5), rng.choice((1, 2, 4))))
        except ShapeError:
            continue


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 25))])
def test_random_convolutions(seed):
    assert error_against_jax(random_model(any_convolution, seed), seed) < 1e-12


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(n, marks=pytest.mark.slow) for n in range(3, 25))])
def test_random_pools_with_ties(seed):
    """A tie goes to the first maximiser, row by row, as an argmax over the window's taps says."""
    assert error_against_jax(random_model(any_pool, seed), seed, ties=True) < 1e-12


@pytest.mark.parametrize("seed", [0, *(pytest.param(n, marks=pytest.mark.slow) for n in range(1, 8))])
def test_random_geometry_is_proved(seed):
    for model in (random_model(any_convolution, seed), random_model(any_pool, seed)):
        evidence = derivation(model).check()
        assert evidence.ok and not evidence.undecided, evidence


def test_a_kernel_larger_than_the_image():
    model = alone(L.Conv2D(2, 5, padding=2), (2, 3, 1))
    assert model.shape_of("conv2d_1") == (2, 3, 2)
    assert error_against_jax(model) < 1e-12


def test_same_padding_is_that_of_tensorflow():
    for size, stride, taps, before in ((28, 2, 3, 0), (27, 2, 3, 1), (7, 3, 5, 2), (5, 1, 4, 1)):
        layer = L.Conv1D(1, taps, strides=stride, padding="same", use_bias=False)
        model = alone(layer, (size, 1))
        assert model.shape_of("conv1d_1") == (-(-size // stride), 1)
        (read,) = (r for r in model.output.definition.body.atoms(Read) if r.tensor == model.input)
        u, r = model.output.letters[1], dv.index("r", taps)
        assert (read.idx[1] - (stride * u + r)).subs(model.input.axes[1], size) == -before


@pytest.mark.parametrize("built", [4, 7])
@pytest.mark.parametrize("stride, taps", [(2, 3), (2, 5), (3, 5), (3, 2), (1, 4), (4, 3)])
def test_same_padding_holds_at_every_size(built, stride, taps):
    """What a size decides (the padding before, the count of a window that hangs over) is no number of the size built."""
    conv = alone(L.Conv1D(1, taps, strides=stride, padding="same", use_bias=False), (built, 1))
    mean = alone(L.AvgPool1D(taps, strides=stride, padding="same"), (built, 1))
    convolve, average = (nx.compile(m.forward()) for m in (conv, mean))
    w = np.random.default_rng(0).normal(size=(taps, 1, 1)).astype(np.float32)
    for size in (4, 5, 6, 7, 9, 12):
        x = np.random.default_rng(size).normal(size=(2, size, 1)).astype(np.float32)
        if stride > taps > 2 and size != built:  # the one case without a formula: the size is part of the program
            with pytest.raises(nx.NumericsError, match="size"):
                convolve(x=x, conv1d_1_kernel=w)
            continue
        layout = ("NTC", "TIO", "NTC")
        z = convolve(x=x, conv1d_1_kernel=w)["conv1d_1"]
        np.testing.assert_allclose(
            z, lax.conv_general_dilated(x, w, (stride,), "SAME", dimension_numbers=layout), atol=1e-6
        )
        count, total = (
            lax.reduce_window(a, 0.0, lax.add, (1, taps, 1), (1, stride, 1), "SAME") for a in (np.ones_like(x), x)
        )
        (h,) = average(x=x).values()
        np.testing.assert_allclose(h, total / count, atol=1e-6)


def test_what_is_broadcast_has_one_element():
    """An axis of which one value serves all is no axis of the other's size: at another size it is refused."""
    a, b = dv.Input((2, 3), name="a"), dv.Input((1, 3), name="b")
    kernel = nx.compile(dv.Model([a, b], L.Multiply()([a, b])).forward())
    kernel(a=np.ones((4, 5, 3), np.float32), b=np.ones((4, 1, 3), np.float32))
    with pytest.raises(nx.NumericsError, match="b"):
        kernel(a=np.ones((4, 5, 3), np.float32), b=np.ones((4, 5, 3), np.float32))


def test_valid_windows_need_no_conditions():
    """What sizes prove inside is read as it is: no guard in any equation of the forward program."""
    for layer in (
        L.Conv2D(2, 3, strides=2),
        L.MaxPool2D(2),
        L.MaxPool2D(3, strides=2),
        L.Conv2D(2, 2, dilation_rate=2),
    ):
        program = alone(layer, (9, 8, 3)).forward().program
        assert not any(e.guards for e in program) and not any(t.rows for e in program for t in e.terms)
    padded = alone(L.MaxPool2D(3, padding=1), (9, 8, 3)).forward().program
    assert [len(e.guards) for e in padded] == [2, 2]  # rows by one max, columns by the other


@pytest.mark.parametrize(
    "make, shape, message",
    [
        (
            lambda: L.Conv2D(4, 5),
            (3, 9, 1),
            r"layer conv2d_1, given x of shape \(B, 3, 9, 1\): Conv2D: no output is left "
            r"along the height \(axis 1\): a window of 5 spans 5, and there are 3; use padding='same'",
        ),
        (lambda: L.Conv2D(4, 3, dilation_rate=4), (8, 9, 1), r"a window of 3 with dilation 4 spans 9, and there are 8"),
        (
            lambda: L.Conv2D(4, 3),
            (1, 28, 28),
            r"\(B, 1, 28, 28\) looks channel-first: images are \(B, H, W, C\), so "
            r"input_shape \(28, 28, 1\)",
        ),
        (
            lambda: L.Conv2D(4, 3),
            (8, 8),
            r"Conv2D reads \(B, H, W, C\), channels last; it was given 3 axes, \(B, 8, 8\)",
        ),
        (
            lambda: L.Conv2D(4, 3, groups=2),
            (8, 8, 3),
            r"Conv2D: 2 groups do not divide 3 channels \(the last axis\); "
            r"accepted are 1, 3",
        ),
        (lambda: L.Conv2D(5, 3, groups=2), (8, 8, 4), r"Conv2D: 2 groups do not divide 5 filters; accepted are 1, 5"),
        (lambda: L.GroupNorm(4), (2, 2, 6), r"GroupNorm: 4 groups do not divide 6 channels .*accepted are 1, 2, 3, 6"),
        (
            lambda: L.MaxPool2D(2, padding=2),
            (4, 4, 1),
            r"MaxPool2D: along the height \(axis 1\) a window of 2 lies wholly "
            r"in the padding \(2 before, 2 after\)",
        ),
        (
            lambda: L.Conv2DTranspose(2, 2, padding=4),
            (3, 3, 1),
            r"no output is left along the height \(axis 1\): 4 "
            r"positions, of which the padding cuts off 4 \+ 4",
        ),
        (lambda: L.GlobalAvgPool(), (5,), r"GlobalAvgPool reads .* it was given \(B, 5\)"),
        (lambda: L.Flatten(), (5,), r"\(B, 5\) is flat already"),
        (lambda: L.Reshape((4, -1)), (6,), r"\(B, 6\) has 6 elements an example, and \(4, -1\) needs a multiple of 4"),
        (lambda: L.SpatialDropout(0.5), (6,), r"SpatialDropout reads .* it was given \(B, 6\)"),
    ],
)
def test_geometry_that_cannot_be(make, shape, message):
    with pytest.raises(ShapeError, match=message):
        alone(make(), shape)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: L.Conv2D(0, 3), r"Conv2D: filters is 0"),
        (
            lambda: L.Conv2D(4, (3, 3, 3)),
            r"Conv2D: the window is \(3, 3, 3\); accepted is one number, or 2, one an axis "
            r"\(height, width\)",
        ),
        (lambda: L.Conv2D(4, 3, padding="full"), r"Conv2D: padding is 'full'; accepted are 'valid', 'same'"),
        (lambda: L.Conv2D(4, 3, padding=-1), r"Conv2D: padding -1 is not a whole number from 0"),
        (lambda: L.Conv2D(4, 3, padding=((1, 2, 3), 0)), r"a pair is \(before, after\)"),
        (lambda: L.Conv2D(4, 3, strides=0), r"Conv2D: strides is 0"),
        (
            lambda: L.Conv2D(4, 3, stride=2),
            r"Conv2D: unknown option .stride.; that is .strides. here; it takes filters, ",
        ),
        (lambda: L.ZeroPadding2D("same"), r"ZeroPadding2D: padding is 'same'"),
        (lambda: L.UpSampling2D(2, "cubic"), r"interpolation is 'cubic'; accepted are 'nearest' and 'bilinear'"),
        (lambda: L.Dropout(1.0), r"Dropout: rate is 1.0; accepted is a number from 0, below 1"),
        (lambda: L.BatchNorm(momentum=1), r"BatchNorm: momentum is 1"),
        (lambda: L.BatchNorm(epsilon="small"), r"BatchNorm: epsilon is 'small'"),
        (lambda: L.LocalResponseNorm(4), r"n is 4; accepted is an odd number"),
        (lambda: L.Reshape((-1, -1)), r"Reshape: target_shape is \(-1, -1\)"),
    ],
)
def test_arguments_that_cannot_be(make, message):
    with pytest.raises(DeriveError, match=message):
        make()
