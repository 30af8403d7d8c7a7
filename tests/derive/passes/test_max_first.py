"""The max is taken before relu and before a bias: the same function, proved, with less to compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from sympy import Abs, Integer

import derive as dv
import derive.passes.max_first
import numerics as nx
from derive.networks import layers as L

GIVEN = "given the steps that take a max first"


def pooled(*layers, shape=(9, 8, 2), **options):
    model = dv.Sequential([*layers, L.Flatten(), L.Dense(3)], input_shape=shape, **options)
    return model, model.backprop("sparse_softmax_cross_entropy")


def program(d):
    return {e.name: str(e) for e in d.program}


def test_relu_and_bias_are_evaluated_once_for_each_window():
    _, d = pooled(L.Conv2D(4, 2, activation="relu"), L.MaxPool2D(2))
    now = program(d)
    assert now["z1_sum"] == "z1_sum[b,u,v,o] = sum_{r,s,c} x[b,r+u,s+v,c] conv2d_1_kernel[r,s,c,o]"
    assert now["z1_sum_max_row"] == "z1_sum_max_row[b,u,v,o,r] = max_s z1_sum[b,2u+r,2v+s,o]"
    assert now["z1_sum_max"] == "z1_sum_max[b,u,v,o] = max_r z1_sum_max_row[b,u,v,o,r]"
    assert now["h2_pre"] == "h2_pre[b,u,v,o] = z1_sum_max[b,u,v,o] + conv2d_1_bias[o]"
    assert now["h2"] == "h2[b,u,v,o] = relu(h2_pre[b,u,v,o])"
    assert now["d_conv2d_1_bias"] == "d_conv2d_1_bias[o] = sum_{b,u,v} d_h2_pre[b,u,v,o]"
    assert not {"z1", "h1", "h2_max"} & set(now)
    assert [str(e) for e in d.source][:2] == [
        "z1[b,u,v,o] = sum_{r,s,c} x[b,r+u,s+v,c] conv2d_1_kernel[r,s,c,o] + conv2d_1_bias[o]",
        "h1[b,u,v,o] = relu(z1[b,u,v,o])",
    ]
    assert [e.name for e in d.replay()] == [e.name for e in d.program]


POOLS = {
    "side by side": (lambda: [L.Conv2D(4, 2, activation="relu"), L.MaxPool2D(2)], (9, 8, 2)),
    "overlapping and padded": (
        lambda: [L.Conv2D(4, 2, activation="relu"), L.MaxPool2D(3, strides=2, padding="same")],
        (9, 8, 2),
    ),
    "no bias": (lambda: [L.Conv2D(4, 2, activation="relu", use_bias=False), L.MaxPool2D(2)], (9, 8, 2)),
    "no relu": (lambda: [L.Conv2D(4, 2), L.MaxPool2D(2)], (9, 8, 2)),
    "all of the image": (lambda: [L.Conv2D(4, 2, activation="relu"), L.GlobalMaxPool(), L.Reshape((4, 1))], (6, 5, 2)),
    "one axis": (lambda: [L.Conv1D(4, 2, activation="relu"), L.MaxPool1D(3, strides=1)], (9, 2)),
    "three axes": (lambda: [L.Conv3D(2, 2, activation="relu"), L.MaxPool3D(2)], (5, 5, 5, 2)),
    "twice": (
        lambda: [L.Conv2D(4, 2, activation="relu"), L.MaxPool2D(2), L.Conv2D(3, 2, activation="relu"), L.MaxPool2D(2)],
        (11, 11, 2),
    ),
}

LONG = ("twice", "three axes")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in LONG)) for n in POOLS])
def test_it_is_proved_to_be_the_same_function(name):
    layers, shape = POOLS[name]
    _, d = pooled(*layers(), shape=shape)
    assert any(s.rule == "max first" and s.claim == "ordered" for s in d.steps)
    evidence = d.check()
    assert evidence.proved and not evidence.undecided
    assert all(GIVEN in r.detail for r in evidence.rows if r.what.startswith("gradient"))


@pytest.mark.parametrize("name", ["overlapping and padded", *(pytest.param(n, marks=pytest.mark.slow) for n in POOLS)])
def test_it_agrees_with_autodiff_of_the_usual_forward(name):
    layers, shape = POOLS[name]
    model, d = pooled(*layers(), shape=shape)
    report = nx.verify(nx.compile(d, sizes=model.sizes))
    assert report.ok, report


def test_ties_and_windows_without_a_positive_number_send_their_gradient_as_the_definitions_do():
    """Integers tie in most windows; the forward is the one people write, its gradient autodiff's on untied inputs."""
    b, c = dv.indices("b c")
    u, r = dv.index("u", 5), dv.index("r", 3)
    z, w = dv.tensor("z", b, 11, c), dv.tensor("w", b, u, c)
    m = dv.index("m", 11)
    h = dv.define("h", (b, m, c), dv.relu(z[b, m, c]))
    y = dv.define("y", (b, u, c), dv.Max(h[b, 2 * u + r, c], r))
    loss = dv.define("loss", (), dv.Sum(y[b, u, c] * w[b, u, c], b, u, c))
    kern = nx.compile(dv.backprop(loss, [z]))
    rng = np.random.default_rng(0)
    values, weights = rng.integers(-3, 3, (4, 11, 6)).astype(np.float32), rng.normal(size=(4, 5, 6)).astype(np.float32)
    expected = np.zeros_like(values)
    for n, p, k in np.ndindex(4, 5, 6):
        window = np.maximum(values[n, 2 * p : 2 * p + 3, k], 0)
        at = 2 * p + int(window.argmax())
        expected[n, at, k] += weights[n, p, k] * (values[n, at, k] > 0)
    value, grads = kern(z=values, w=weights)
    np.testing.assert_allclose(grads["z"], expected, rtol=1e-6)
    assert (values <= 0).all(axis=1).any() or (expected == 0).any()

    def forward(z):
        return (lax.reduce_window(jnp.maximum(z, 0), -jnp.inf, lax.max, (1, 3, 1), (1, 2, 1), "VALID") * weights).sum()

    np.testing.assert_allclose(value, forward(values), rtol=1e-6)
    untied = values + rng.permutation(values.size).reshape(values.shape).astype(np.float32) / 1000 + 1e-4
    np.testing.assert_allclose(kern(z=untied, w=weights)[1]["z"], jax.grad(forward)(untied), rtol=1e-6)


def unmoved(d):
    return not any(s.rule == "max first" for s in d.steps)


def test_what_is_read_elsewhere_or_asked_for_stays():
    b, j = dv.indices("b j")
    z, w = dv.tensor("z", b, j), dv.tensor("w", j)
    h = dv.define("h", (b, j), dv.relu(z[b, j]))
    y = dv.define("y", (b,), dv.Max(h[b, j], j))
    alone = dv.define("loss", (), dv.Sum(y[b] ** 2, b))
    both = dv.define("loss", (), dv.Sum(y[b] ** 2, b) + dv.Sum(h[b, j] * w[j], b, j))
    assert not unmoved(dv.backprop(alone, [z]))
    assert unmoved(dv.backprop(alone, [z], outputs=[h]))
    assert unmoved(dv.backprop(alone, [h]))
    assert unmoved(dv.backprop(both, [z]))


def test_other_functions_and_normalized_values_stay():
    assert unmoved(pooled(L.Conv2D(4, 2, activation="tanh"), L.MaxPool2D(2))[1])
    _, d = pooled(L.Conv2D(4, 2), L.BatchNorm(), L.Activation("relu"), L.MaxPool2D(2))
    (step,) = [s for s in d.steps if s.claim == "ordered"]
    assert "relu never decreases, so" in step.why  # the shift of the norm is no bias of a sum: it stays inside
    assert program(d)["h2"].endswith("+ batch_norm_1_beta[o]")


def test_any_tensor_still_has_a_gradient():
    _, d = pooled(L.Conv2D(4, 2, activation="relu"), L.MaxPool2D(2))
    assert str(d.gradient("h1")).startswith("dh1[b,u,v,o] = sum_{")
    assert d.gradient("z1_sum") is d.program.equation("d_z1_sum")


@pytest.mark.slow
def test_a_second_derivation_reads_the_same_equations():
    b, i, j = dv.indices("b i j")
    X, W, c = dv.tensor("X", b, i), dv.tensor("W", i, j), dv.tensor("c", j)
    z = dv.define("z", (b, j), dv.Sum(X[b, i] * W[i, j], i) + c[j])
    h = dv.define("h", (b, j), dv.relu(z[b, j]))
    y = dv.define("y", (b,), dv.Max(h[b, j], j))
    loss = dv.define("loss", (), dv.Sum(y[b] ** 2, b))
    for d in (dv.hvp(loss, [W, c]), dv.hessian(loss, [W, c])):
        assert sum(e.reduce == "max" for e in d.program) == 1
        assert sum(e.reduce == "argmax" for e in d.program) == 1
        evidence = d.check()
        assert evidence.proved and not evidence.undecided
        assert nx.verify(nx.compile(d)).ok


def test_a_number_that_a_row_shares_moves_past_its_max():
    """One max, no relu, and the bias is a scalar that the loss reads elsewhere too."""
    b, i, j = dv.indices("b i j")
    X, W, c = dv.tensor("X", b, i), dv.tensor("W", i, j), dv.tensor("c")
    z = dv.define("z", (b, j), dv.Sum(X[b, i] * W[i, j], i) + c[()])
    y = dv.define("y", (b,), dv.Max(z[b, j], j))
    d = dv.backprop(dv.define("loss", (), dv.Sum(y[b] ** 2, b) + c[()] ** 2), [W, c])
    assert program(d)["y"] == "y[b] = z_sum_max[b] + c"
    assert not d.check().undecided


def test_moving_a_function_that_decreases_is_refuted(monkeypatch):
    """The claim is decided on ordered numbers and reals, so a law that does not hold is found out."""
    b, j = dv.indices("b j")
    z = dv.tensor("z", b, j)
    for function, law in ((Abs, Abs), (lambda v: -v, None)):
        h = dv.define("h", (b, j), function(z[b, j]))
        y = dv.define("y", (b,), dv.Max(h[b, j], j))
        loss = dv.define("loss", (), dv.Sum(y[b] ** 2, b))
        assert unmoved(dv.backprop(loss, [z]))
        if law is not None:
            monkeypatch.setattr(derive.passes.max_first, "relu", law)
            with pytest.raises(dv.DerivationError, match="y is refuted by"):
                dv.backprop(loss, [z]).check()


def test_moving_what_a_window_moves_is_refuted(monkeypatch):
    b, i, j = dv.indices("b i j")
    X, W, c = dv.tensor("X", b, i), dv.tensor("W", i, j), dv.tensor("c", j)
    z = dv.define("z", (b, j), dv.Sum(X[b, i] * W[i, j], i) + c[j])
    y = dv.define("y", (b,), dv.Max(z[b, j], j))
    loss = dv.define("loss", (), dv.Sum(y[b] ** 2, b))
    monkeypatch.setattr(derive.passes.max_first, "_still", lambda nest, z: {z.idx[1]: Integer(0)})
    with pytest.raises(dv.DerivationError, match="step .* max first: y is refuted"):
        dv.backprop(loss, [c]).check()


def test_numbers_drawn_with_an_order_have_one():
    from random import Random

    from derive.exact.modular import ModularField

    field = ModularField(Random(0))
    numbers = field.draw_ordered(9)
    assert 0 in numbers and len(set(numbers)) == 9
    for n, low in enumerate(numbers):
        assert all(field.sign(high - low) == 1 and field.sign(low - high) == -1 for high in numbers[n + 1 :])


def test_what_is_moved_belongs_to_the_layer_it_came_from():
    _, d = pooled(L.Conv2D(4, 2, activation="relu"), L.MaxPool2D(2))
    assert {d.program.equation(n).tensor.block for n in ("z1_sum", "z1_sum_max", "h2_pre", "d_h2_pre")} == {"conv2d_1"}
    assert d.program.equation("h2").tensor.block == "max_pool2d_1"
