"""Convolution and pooling by their patterns, against the plain evaluator, over random geometry; and what is chosen."""

import random

import numpy as np
import pytest
from kernel_cases import data, leaves
from sympy import Eq

import derive as dv
import numerics as nx
from derive.language.nodes import ArgMax, Iverson
from numerics.checks.ground import float64
from numerics.reference.programs import evaluate

b, c, o = dv.indices("b c o")
S, D, P, R, H = (dv.size(n) for n in "SDPRH")


def agrees(d, sizes, patterns=None, arrays=None):
    """Every result of the kernel is the evaluator's; returns the kernel."""
    found, drawn = data(d, sizes)
    drawn |= arrays or {}
    with float64():
        expected = evaluate(d.program, drawn, found, np)
        kern = nx.compile(d, sizes={s.name: n for s, n in found.items()}, patterns=patterns)
        got = leaves(d, kern(**{t.name: drawn[t.name] for t in kern.inputs}))
    for name, value in got.items():
        want = np.asarray(expected[name])
        assert value.shape == want.shape, (name, kern.source)
        assert np.abs(value - want).max() <= 1e-11 * (1 + np.abs(want).max()), (name, sizes, kern.source)
    return kern


def line_convolution():
    u, r = dv.index("u", (H + 2 * P - D * (R - 1) - 1) // S + 1), dv.index("r", R)
    x, K, w = dv.tensor("x", b, H, c), dv.tensor("K", r, c, o), dv.tensor("w", b, u, o)
    y = dv.define("y", (b, u, o), dv.Sum(x[b, S * u + D * r - P, c] * K[r, c, o], r, c))
    return dv.backprop(dv.define("loss", (), dv.Sum(y[b, u, o] ** 2 * w[b, u, o], b, u, o)), [x, K])


def geometry(seed):
    """A stride, dilation, padding and kernel that leave an output; every third kernel is wider than the input."""
    rng = random.Random(seed)
    while True:
        s, d, p, r, h = (rng.randint(1, 3), rng.randint(1, 3), rng.randint(0, 4), rng.randint(1, 5), rng.randint(1, 7))
        wide = d * (r - 1) + 1 > h
        if h + 2 * p >= d * (r - 1) + 1 and (wide or seed % 3):
            return {"S": s, "D": d, "P": p, "R": r, "H": h, "B": 2, "C": 2, "O": 3}


LINE = line_convolution()


@pytest.mark.parametrize("seed", range(12))
def test_a_convolution_of_any_geometry(seed):
    forced = [
        None,
        {"convolution": "patches", "kernel-gradient": "patches"},
        {"kernel-gradient": "taps"},
        {"convolution": "conv", "kernel-gradient": "conv"},
        {"convolution": "rows", "kernel-gradient": "rows"},
        {"kernel-gradient": "blocks"},
    ][seed % 6]
    kern = agrees(LINE, geometry(seed), forced)
    assert {"input-gradient as conv"} < {rule for rule, _, _ in kern.choices}
    for pattern, how in (forced or {}).items():
        assert any(rule == f"{pattern} as {how}" and why == "asked for" for rule, _, why in kern.choices)


@pytest.mark.parametrize(
    "forward,how", [("rows", "rows"), ("conv", "taps"), ("patches", "conv"), ("rows", "patches"), ("conv", "blocks")]
)
def test_two_axes_with_different_windows(forward, how):
    u, v, r, s = dv.index("u", H + 1), dv.index("v", dv.size("W") - 2), dv.index("r", 2), dv.index("s", 3)
    x, K, w = dv.tensor("x", b, H, "W", c), dv.tensor("K", r, s, c, o), dv.tensor("w", b, u, v, o)
    y = dv.define("y", (b, u, v, o), dv.Sum(x[b, u + r - 1, v + s, c] * K[r, s, c, o], r, s, c))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[b, u, v, o] ** 2 * w[b, u, v, o], b, u, v, o)), [x, K])
    agrees(d, {"H": 3, "W": 5, "B": 2, "C": 5, "O": 2}, {"convolution": forward, "kernel-gradient": how})


@pytest.mark.parametrize("examples", [1, 8, 11, 24])
def test_blocks_of_images_and_what_is_left_over(examples):
    sizes = {"S": 2, "D": 1, "P": 1, "R": 3, "H": 6, "B": examples, "C": 2, "O": 3}
    agrees(LINE, sizes, {"kernel-gradient": "blocks"})


def test_without_xlas_own_convolutions_large_ones_go_to_its_library():
    kern = nx.compile(LINE, sizes={"S": 2, "D": 1, "P": 1})
    assert any(rule == "kernel-gradient as conv" for rule, _, _ in kern.choices)


def test_channels_first_and_two_batches_are_brought_into_order():
    a, u, r = dv.index("a"), dv.index("u", H - 2), dv.index("r", 3)
    x, K, w = dv.tensor("x", c, H, a, b), dv.tensor("K", o, c, r), dv.tensor("w", o, u)
    y = dv.define("y", (a, o, b, u), dv.Sum(x[c, u + r, a, b] * K[o, c, r], r, c))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[a, o, b, u] ** 2 * w[o, u], a, b, o, u)), [x, K])
    kern = agrees(d, {"H": 5, "A": 2, "B": 2, "C": 2, "O": 3})
    assert "patches(x.transpose(2, 3, 1, 0)" in kern.source


@pytest.mark.parametrize("stride,low", [(1, 0), (2, 1)])
def test_depthwise_and_groups(stride, low):
    g, k, r, m = dv.index("g", 2), dv.index("k", 3), dv.index("r", 3), dv.index("m", 2)
    u = dv.index("u", (H + 2 * low - 3) // stride + 1)
    x, one, w = dv.tensor("x", b, H, c), dv.tensor("one", r, c, m), dv.tensor("w", b, u, c)
    y = dv.define("y", (b, u, c, m), dv.Sum(x[b, stride * u + r - low, c] * one[r, c, m], r))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[b, u, c, m] ** 2 * w[b, u, c], b, u, c, m)), [x, one])
    assert "depthwise(" in agrees(d, {"H": 6, "B": 2, "C": 3}).source
    x, K, w = dv.tensor("x", b, H, 2 * c.size), dv.tensor("K", r, c, 6), dv.tensor("w", b, u, g)
    y = dv.define("y", (b, u, g, k), dv.Sum(x[b, stride * u + r - low, c.size * g + c] * K[r, c, 3 * g + k], r, c))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[b, u, g, k] ** 2 * w[b, u, g], b, u, g, k)), [x, K])
    assert "by_group(convolution" in agrees(d, {"H": 6, "B": 2, "C": 2}).source


def pool(rank, window, stride, low, kind):
    """A pool of ``rank`` axes over the positions that exist, with a definition around it."""
    sizes = [H, dv.size("W")][:rank]
    us = [dv.index("uv"[n], (a + 2 * low - window) // stride + 1) for n, a in enumerate(sizes)]
    rs = [dv.index("rs"[n], window) for n in range(rank)]
    x, w = dv.tensor("x", b, *sizes, c), dv.tensor("w", b, *us, c)
    at = x[(b, *(stride * u + r - low for u, r in zip(us, rs, strict=True)), c)]
    body = dv.Max(at, *rs) if kind == "max" else dv.Sum(at, *rs) / window**rank
    y = dv.define("y", (b, *us, c), body)
    every = (b, *us, c)
    return dv.backprop(dv.define("loss", (), dv.Sum(y[every] ** 2 * w[every], *every)), [x])


@pytest.mark.parametrize(
    "rank,window,stride,low",
    [(1, 2, 2, 0), (1, 3, 2, 1), (2, 2, 2, 0), (2, 3, 2, 0), (2, 3, 2, 1), (2, 2, 3, 0), (2, 3, 1, 1)],
)
@pytest.mark.parametrize("kind", ["max", "mean"])
def test_pools_with_ties(rank, window, stride, low, kind):
    d = pool(rank, window, stride, low, kind)
    sizes = {"H": 6, "W": 7, "B": 2, "C": 2}
    shape = (2, 6, 7, 2) if rank == 2 else (2, 6, 2)
    few = np.random.default_rng(0).integers(-2, 2, shape).astype(float)  # a quarter of all pairs are ties
    kern = agrees(d, {n: v for n, v in sizes.items() if rank == 2 or n != "W"}, arrays={"x": few})
    assert ("max_pool(" if kind == "max" else "taps(") in kern.source
    if kind == "max":
        assert "max_pool_gradient(" in kern.source
        assert not any("_max =" in line for line in kern.source.splitlines())


def test_a_pool_whose_argmax_is_wanted_elsewhere_is_left_alone():
    u, r = dv.index("u", H // 2), dv.index("r", 2)
    x, w = dv.tensor("x", b, H), dv.tensor("w", b, u)
    y = dv.define("y", (b, u), dv.Max(x[b, 2 * u + r], r))
    which = dv.define("which", (b, u), ArgMax(x[b, 2 * u + r], r))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[b, u] * w[b, u], b, u)), [x], outputs=[which])
    agrees(d, {"H": 5, "B": 2})


def test_flat_rows_are_reshapes():
    u, v, k = dv.index("u"), dv.index("v"), dv.index("k")
    f = dv.index("f", u.size * v.size * c.size)
    x, W = dv.tensor("x", b, u, v, c), dv.tensor("W", f, k)
    h = dv.define("h", (b, f), dv.Sum(x[b, u, v, c] * Iverson(Eq(f, (u * v.size + v) * c.size + c)), u, v, c))
    y = dv.define("y", (b, k), dv.Sum(h[b, f] * W[f, k], f))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[b, k] ** 2, b, k)), [x, W])
    kern = agrees(d, {"B": 2, "U": 2, "V": 3, "C": 2, "K": 2})
    assert "reshape(" in kern.source
    assert "arange" not in kern.source


def test_a_pattern_that_is_not_there_is_refused():
    with pytest.raises(nx.NumericsError, match="accepted are convolution: conv, rows, patches, windows"):
        nx.compile(LINE, patterns={"convolution": "fft"})
