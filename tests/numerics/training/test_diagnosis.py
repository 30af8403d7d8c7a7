"""What is not finite, dead or vanishing is found in the equations: the layer, the equation, the term, the element."""

import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from derive.networks import layers as L
from numerics.training.diagnosis import Examiner
from numerics.training.programs import unfixed
from numerics.training.trace import Values, first_bad, origin

SPARSE = "sparse_softmax_cross_entropy"


def examined(layers, shape, change=lambda p: None, scale=1.0, loss=SPARSE, batch=7):
    model = dv.Sequential(layers, input_shape=shape)
    d = model.backprop(loss)
    rng = np.random.default_rng(0)
    params = {n: np.array(a) for n, a in nx.init(model, seed=0).items()}
    change(params)
    x = (scale * rng.normal(size=(batch, *shape))).astype(np.float32)
    return Examiner(d, unfixed(d, model.sizes))({**params, "x": x, "y": rng.integers(0, 3, batch).astype(np.int32)})


def dense(activation, depth=1):
    return [*(L.Dense(16, activation=activation) for _ in range(depth)), L.Dense(3)]


def test_a_healthy_network_has_nothing_to_find():
    found = examined(dense("tanh"), (5,))
    assert found.ok and found.as_dict() == {"ok": True, "findings": []}
    assert str(found).startswith("nothing is wrong")


def test_an_overflow_is_named_by_equation_term_and_element():
    b, k = dv.indices("b k")
    z = dv.tensor("z", b, k, role="parameter")
    e = dv.define("e", (b, k), sympy.exp(z[b, k]) + z[b, k])
    s = dv.define("s", (b,), dv.Sum(e[b, k], k))
    loss = dv.define("loss", (), dv.Sum(s[b] ** 2, b))
    at = np.zeros((3, 4), np.float32)
    at[2, 1] = 90
    (found,) = Examiner(dv.backprop(loss, wrt=[z]))({"z": at}).findings
    assert (found.kind, found.number, found.term) == ("not finite", 1, "exp(z[b,k])")
    assert found.equation == "e[b,k] = z[b,k] + exp(z[b,k])"
    assert "at e[2, 1]: exp(z[b,k]) is inf where z[2, 1] = 90" in found.text
    assert "from there to s[2] (2), loss (3)" in found.text


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (lambda z: sympy.sqrt(1 + sympy.exp(z)), "exp(z[b])"),
        (lambda z: sympy.tanh(sympy.exp(z) - 1) * sympy.cos(1 / z), "1/z[b]"),
        (lambda z: sympy.sin(sympy.Piecewise((sympy.exp(z), z > 0), (sympy.log(z), True))), "log(z[b])"),
    ],
)
def test_the_smallest_part_that_is_not_finite_is_named(body, part):
    (b,) = dv.indices("b")
    z = dv.tensor("z", b)
    loss = dv.define("loss", (), dv.Sum(body(z[b]), b))
    bad = {"exp(z[b])": 90, "1/z[b]": 0, "log(z[b])": 0}[part]
    values, sizes = Values(d := dv.backprop(loss, wrt=[z]), {})({"z": np.array([1, bad], np.float32)})
    found = origin(d.program, values, sizes, *first_bad(values, ["loss", "dz"]))
    assert found.part.replace(" ", "") == part and found.reads[0].value == bad and found.reads[0].position == (1,)


def test_a_gradient_that_is_not_finite_under_a_loss_that_is():
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(sympy.sqrt(x[i]), i))
    (found,) = Examiner(dv.backprop(loss, wrt=[x]))({"x": np.array([1, 0, 4], np.float32)}).findings
    assert found.number == 2 and found.equation.startswith("dx[i] = ")
    assert "at dx[1]: " in found.text and "x[1] = 0" in found.text


def test_the_sum_and_the_product_that_overflow_are_told_apart():
    def widened(p):
        p["dense_1_kernel"] = np.full_like(p["dense_1_kernel"], 2e38)

    (product,) = examined(dense("elu"), (5,), widened, scale=1e5).findings
    assert "the product" in product.text and product.layer == "dense_1" and product.number == 1
    (i,) = dv.indices("i")
    x = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(x[i], i))
    (total,) = Examiner(dv.backprop(loss, wrt=[x]))({"x": np.full(3, 2e38, np.float32)}).findings
    assert "the sum" in total.text and "not finite in float32" in total.text


def test_a_recurrence_is_followed_back_to_the_step_where_it_began():
    def grown(p):
        p["simple_rnn_1_recurrent"] *= 30

    (found,) = examined([L.SimpleRNN(4, activation="relu"), L.Dense(3)], (60, 2), grown).findings
    assert found.layer == "simple_rnn_1" and found.number == 1
    assert "h1[b,t-1,m] simple_rnn_1_recurrent[m,l]" in found.term
    assert "more ..." in found.text and "loss" in found.text


def test_a_parameter_that_was_not_finite_before_is_no_equation_s_fault():
    def spoiled(p):
        p["dense_1_kernel"][1, 2] = np.nan

    (found,) = examined(dense("relu"), (5,), spoiled).findings
    assert (found.number, found.layer) == (0, "dense_1")
    assert found.text.startswith("dense_1_kernel[1, 2] is nan already")


def test_relu_units_that_are_never_active():
    def drowned(p):
        p["dense_1_bias"] -= 100
        p["dense_1_bias"][[3, 8]] = 5

    (found,) = examined(dense("relu"), (5,), drowned).findings
    assert (found.kind, found.layer, found.term) == ("dead", "dense_1", "[z1[b,j] > 0]")
    assert found.equation == "dz1[b,j] = dh1[b,j] [z1[b,j] > 0]"
    assert "14 of 16 units (0, 1, 2, 4, 5, 6, 7, 9, ...)" in found.text
    assert found.share == 14 / 16


def test_a_dead_convolution_is_dead_by_channel():
    def drowned(p):
        p["conv2d_1_bias"][:] = [-50, 1, -50, 1]

    found = examined([L.Conv2D(4, 3, activation="relu"), L.Flatten(), L.Dense(3)], (6, 6, 1), drowned).findings
    assert [(f.kind, f.layer) for f in found] == [("dead", "conv2d_1")]
    assert "2 of 4 units (0, 2)" in found[0].text


def test_sigmoids_far_out_are_saturated():
    found = examined(dense("sigmoid"), (5,), lambda p: p["dense_1_bias"].__iadd__(12)).findings
    assert {(f.kind, f.layer) for f in found} == {("saturated", "dense_1")}
    assert found[0].term == "h1[b,j] (1 - h1[b,j])" and "16 of 16 units" in found[0].text


def test_a_vanishing_gradient_names_the_equation_that_shrinks_it_most():
    def squeezed(p):
        p["dense_6_bias"] += 9  # its sigmoid passes about 1e-4

    found = examined(dense("sigmoid", 12), (5,), squeezed).findings
    vanishing = [f for f in found if f.kind == "vanishing"]
    assert {"dense_1", "dense_2"} <= {f.layer for f in vanishing}
    assert not {"dense_12", "dense_13"} & {f.layer for f in vanishing}
    assert all("of dense_6, to" in f.text and f.term.startswith("h6[") for f in vanishing)


@pytest.mark.parametrize("ruined", ["dense_1_kernel", "dense_2_kernel", "dense_3_kernel", "dense_2_bias", "x"])
@pytest.mark.parametrize("activation", ["softplus", "linear"])
def test_the_origin_reads_only_finite_elements(ruined, activation):
    """The property that makes it the origin, checked on the values themselves."""
    model = dv.Sequential(dense(activation, 2), input_shape=(5,))
    d = model.backprop("mean_squared_error")
    rng = np.random.default_rng(1)
    arrays = {
        **{n: np.array(a) for n, a in nx.init(model, seed=0).items()},
        "x": rng.normal(size=(4, 5)).astype(np.float32),
        "y": rng.normal(size=(4, 3)).astype(np.float32),
    }
    arrays[ruined] = np.full_like(arrays[ruined], 3e38)
    values, sizes = Values(d, unfixed(d, model.sizes))(arrays)
    start = first_bad(values, [d.loss.name, *(t.name for t in d.gradients.values())])
    assert start is not None
    found = origin(d.program, values, sizes, *start)
    assert not np.isfinite(values[found.place.tensor][found.place.position])
    assert found.reads and all(np.isfinite(p.value) for p in found.reads)
    for p in found.reads:
        np.testing.assert_equal(p.value, float(values[p.tensor][p.position]))
    assert [p.number for p in found.path] == sorted((p.number for p in found.path), reverse=True), "ever earlier"


def test_what_stands_inside_a_sum_is_no_local_derivative():
    """Attention's weights multiply adjoints under a sum over positions: they gate no unit, zero or not."""
    from derive.networks.examples import load

    rng = np.random.default_rng(0)
    arrays = {
        n: rng.normal(size=shape).astype(np.float32)
        for n, shape in {"x": (2, 3, 4), "Q": (4, 5), "K": (4, 5), "V": (4, 5), "target": (2, 3, 5)}.items()
    }
    assert Examiner(load("attention").backprop())(arrays).ok
