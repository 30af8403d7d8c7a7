"""Sequential: what it defines, its parameters, sizes and summary, and the errors that name the layer."""

import json

import numpy as np
import pytest
import sympy

import derive as dv
from derive import Sum
from derive.language.errors import DeriveError, ShapeError
from derive.language.index import Index
from derive.language.tensor import Read
from derive.networks import layers as L


def mlp(**more):
    return dv.Sequential([L.Dense(128, activation="relu"), L.Dense(10)], input_shape=(64,), **more)


def test_the_definitions_are_those_one_would_write():
    b, i, j, k = dv.indices("b i j k")
    model = mlp()
    x = dv.tensor("x", b, i)
    w1, c1 = (dv.tensor(f"dense_1_{r}", *a, role="parameter") for r, a in (("kernel", (i, j)), ("bias", (j,))))
    w2, c2 = (dv.tensor(f"dense_2_{r}", *a, role="parameter") for r, a in (("kernel", (j, k)), ("bias", (k,))))
    z1 = dv.define("z1", (b, j), Sum(x[b, i] * w1[i, j], i) + c1[j])
    h1 = dv.define("h1", (b, j), dv.relu(z1[b, j]))
    z2 = dv.define("z2", (b, k), Sum(h1[b, j] * w2[j, k], j) + c2[k])
    assert model.input == x and model.output == z2
    assert [p.output for p in model.layers] == [h1, z2]
    assert model.layers[0].output.block == "dense_1"


def test_parameters_say_name_shape_initializer_and_layer():
    second = L.Dense(3, kernel_initializer="lecun_normal", bias_initializer=0.5, trainable=False)
    model = dv.Sequential([L.Dense(5, activation="relu", name="hidden"), second], input_shape=(7,))
    found = [(p.name, p.shape, p.init, p.trainable, p.layer, p.size) for p in model.parameters.values()]
    assert found == [
        ("hidden_kernel", (7, 5), "he_normal", True, "hidden", 35),
        ("hidden_bias", (5,), "zeros", True, "hidden", 5),
        ("dense_2_kernel", (5, 3), "lecun_normal", False, "dense_2", 15),
        ("dense_2_bias", (3,), 0.5, False, "dense_2", 3),
    ]
    assert all(p.tensor.role == "parameter" and p.tensor.name == p.name for p in model.parameters.values())


def test_sizes_stay_symbolic_and_are_bound_by_name():
    model = mlp()
    assert model.sizes == {"I": 64, "J": 128, "K": 10}
    assert model.output.axes == (dv.size("B"), dv.size("K"))
    assert model.shape(model.output) == (dv.size("B"), 10)
    assert {
        str(s)
        for s in dv.backprop(
            model.loss("mean_squared_error"), [model.parameters["dense_1_bias"].tensor]
        ).program.sizes()
    } == {"B", "I", "J", "K"}


def test_layers_of_one_width_do_not_share_a_size():
    model = dv.Sequential([L.Dense(8) for _ in range(20)], input_shape=(8,))
    assert len(model.sizes) == 21 and set(model.sizes.values()) == {8}
    assert list(model.sizes)[:8] == ["I", "J", "K", "L", "M", "N", "I2", "J2"]


def test_dense_without_bias_and_over_outer_axes():
    model = dv.Sequential([L.Dense(5, use_bias=False, activation="softmax")], input_shape=(4, 3))
    assert list(model.parameters) == ["dense_1_kernel"] and model.parameters["dense_1_kernel"].shape == (3, 5)
    assert model.shape(model.output) == (dv.size("B"), 4, 5)
    b, t, i, j = dv.indices("b t i j")
    w = model.parameters["dense_1_kernel"].tensor
    z = dv.define("z1", (b, t, j), Sum(model.input[b, t, i] * w[i, j], i))
    other = Index("j'", j.size)
    assert model.output == dv.define("p1", (b, t, j), sympy.exp(z[b, t, j]) / Sum(sympy.exp(z[b, t, other]), other))


def test_own_activations_and_own_layers():
    def scale(x, new):
        gain = new.parameter("gain", x.letters[-1], init="ones")
        return new.define("h", x.letters, gain[x.letters[-1]] * x[x.letters])

    model = dv.Sequential(
        [L.Dense(3, activation=lambda u: u * dv.sigmoid(u)), scale, L.Activation("tanh"), scale], input_shape=(2,)
    )
    assert [p.name for p in model.layers] == ["dense_1", "scale_1", "activation_1", "scale_2"]
    assert list(model.parameters) == ["dense_1_kernel", "dense_1_bias", "scale_1_gain", "scale_2_gain"]
    z, b, j = model.layers[0].output, *model.layers[0].output.letters
    pre = dv.define("z1", (b, j), z.definition.body.atoms(Read).pop().tensor.definition.body)
    assert z.definition.body == pre[b, j] * dv.sigmoid(pre[b, j])
    assert model.layers[2].output.definition.body == sympy.tanh(model.layers[1].output[b, j])
    assert set(model.backprop("mean_squared_error").gradients) == set(model.parameters)


def test_summary_is_a_table():
    model = dv.Sequential(
        [L.Dense(128, activation="relu", trainable=False), L.Dense(10), L.Activation("softmax")],
        input_shape=(64,),
        name="digits",
    )
    assert (
        str(model.summary())
        == repr(model.summary())
        == """\
digits: input (B, 64)
layer         output    parameters  trainable  initializers
dense_1       (B, 128)       8,320  no         he_normal, zeros
dense_2       (B, 10)        1,290  yes        glorot_uniform, zeros
activation_1  (B, 10)            0  -          -
total                        9,610  trainable 1,290, frozen 8,320"""
    )
    assert model.summary().total == 64 * 128 + 128 + 128 * 10 + 10
    assert repr(mlp()) == "<Sequential model: 2 layers, 9,610 parameters>"


def test_backprop_differentiates_for_the_trainable_parameters_and_returns_the_output():
    d = mlp().backprop(loss="sparse_softmax_cross_entropy")
    assert list(d.gradients) == ["dense_1_kernel", "dense_1_bias", "dense_2_kernel", "dense_2_bias"]
    assert {t.name for t in d.program.inputs} == {"x", "y", *d.gradients}
    assert d.loss.name == "loss" and list(d.result("outputs")) == ["z2"]
    assert str(d.gradient("z2")).split("=", 1)[1].strip() == "(exp(z2_shifted[b,k] - lse_shifted[b]) - [k = y[b]]) / B"


def test_frozen_layers_get_no_gradient():
    model = dv.Sequential([L.Dense(4, trainable=False), L.Dense(3), L.Dense(2)], input_shape=(5,))
    loss = "mean_squared_error"
    assert list(model.backprop(loss).gradients) == ["dense_2_kernel", "dense_2_bias", "dense_3_kernel", "dense_3_bias"]
    assert list(model.backprop(loss, frozen="dense_2").gradients) == ["dense_3_kernel", "dense_3_bias"]
    assert list(model.backprop(loss, frozen=["dense_2", "dense_3_bias"]).gradients) == ["dense_3_kernel"]
    with pytest.raises(DeriveError, match="no layer 'dens_2'; did you mean 'dense_2'"):
        model.backprop(loss, frozen=["dens_2"])
    with pytest.raises(DeriveError, match="no trainable parameters left"):
        model.backprop(loss, frozen=["dense_2", "dense_3"])


def test_the_forward_alone_has_neither_loss_nor_target():
    d = dv.Sequential([L.Dense(3, activation="softmax")], input_shape=(2,)).forward()
    assert {t.name for t in d.program.inputs} == {"x", "dense_1_kernel", "dense_1_bias"}
    assert [t.name for t in d.program.outputs] == ["p1"] and [t.name for t in d.result("outputs").values()] == ["p1"]
    assert any(e.reduce == "max" for e in d.program)  # the softmax is shifted, as in training


def test_a_network_as_data():
    first = L.Dense(np.int64(5), activation="tanh", kernel_initializer="normal", bias_initializer=0.1)
    model = dv.Sequential([first, L.Dense(3, name="out"), L.Activation("softmax")], input_shape=(7,), name="small")
    again = dv.Sequential.from_dict(json.loads(json.dumps(model.to_dict())))
    assert again.output == model.output and again.name == "small" and again.sizes == model.sizes
    assert [(p.name, p.shape, p.init, p.trainable) for p in again.parameters.values()] == [
        (p.name, p.shape, p.init, p.trainable) for p in model.parameters.values()
    ]


@pytest.mark.parametrize(
    "layer, message",
    [
        (L.Dense(2, activation=lambda u: u**2), "layer .*_1: its activation is a function of your own"),
        (
            L.Dense(2, kernel_initializer=lambda shape, rng: rng.normal(size=shape)),
            "its kernel_initializer is a function of your own",
        ),
        (
            lambda x, new: new.define("h", x.letters, 2 * x[x.letters]),
            "layer lambda_1 is <function.*not of the catalogue",
        ),
    ],
)
def test_code_is_not_saved_as_data(layer, message):
    with pytest.raises(DeriveError, match=message):
        dv.Sequential([layer], input_shape=(2,)).to_dict()


@pytest.mark.parametrize(
    "config, message",
    [
        ({"class": "Dens", "units": 2}, "unknown layer 'Dens'; did you mean 'Dense'.*Activation, .*Dense"),
        ({"class": "Dense", "unit": 2}, "layer Dense: unknown argument 'unit'; did you mean 'units'"),
        ({"units": 2}, "unknown layer None"),
    ],
)
def test_data_that_is_no_network(config, message):
    with pytest.raises(DeriveError, match=message):
        dv.Sequential.from_dict({"name": "m", "input_shape": [2], "layers": [config]})


@pytest.mark.parametrize(
    "make, kind, message",
    [
        (lambda: L.Dense(0), ShapeError, r"Dense\(0\): units is 0; accepted is a positive whole number"),
        (lambda: L.Dense(2.5), ShapeError, r"Dense\(2.5\): units is 2.5"),
        (lambda: L.Dense(True), ShapeError, r"units is True"),
        (
            lambda: L.Dense(2, activation="relo"),
            DeriveError,
            r"Dense\(2\): unknown activation 'relo'; did you mean 'relu'",
        ),
        (lambda: L.Dense(2, activation=3), DeriveError, r"Dense\(2\): activation 3 is int"),
        (
            lambda: L.Dense(2, kernel_initializer="he"),
            DeriveError,
            r"kernel_initializer: unknown initializer 'he'.*he_normal",
        ),
        (
            lambda: L.Dense(2, bias_initializer=[0]),
            DeriveError,
            r"Dense\(2\): bias_initializer: initializer \[0\] is list",
        ),
        (lambda: L.Dense(2, name=" "), DeriveError, r"a name is a non-empty string"),
        (lambda: dv.Sequential([], input_shape=(2,)), DeriveError, "the list of layers is empty"),
        (lambda: dv.Sequential(L.Dense(2), input_shape=(2,)), DeriveError, "layers is Dense; give a list"),
        (lambda: dv.Sequential([L.Dense], input_shape=(2,)), DeriveError, r"layer 1 is .*write Dense\(\.\.\.\)"),
        (lambda: dv.Sequential([L.Dense(2), "relu"], input_shape=(2,)), DeriveError, "layer 2 is 'relu'; accepted are"),
        (
            lambda: dv.Sequential([L.Dense(2)] * 2, input_shape=(2,)),
            DeriveError,
            r"layer 2 \(Dense\) is the same object",
        ),
        (
            lambda: dv.Sequential([L.Dense(2, name="a"), L.Dense(3, name="a")], input_shape=(2,)),
            DeriveError,
            "two layers are named 'a'",
        ),
        (lambda: dv.Sequential([L.Dense(2)], input_shape=()), ShapeError, r"input_shape is \(\); give the shape"),
        (lambda: dv.Sequential([L.Dense(2)], input_shape=64), ShapeError, "input_shape is 64; give the shape"),
        (lambda: dv.Sequential([L.Dense(2)], input_shape=(0,)), ShapeError, r"an axis of input_shape \(0,\) is 0"),
        (
            lambda: dv.Sequential([lambda x, new: x], input_shape=(2,)),
            DeriveError,
            "layer lambda_1 gave .*a layer gives",
        ),
        (
            lambda: dv.Sequential([L.Dense(2, activation=lambda u: "no")], input_shape=(2,)),
            DeriveError,
            r"layer dense_1, given x of shape \(B, 2\): .*is str, not a SymPy expression",
        ),
        (
            lambda: mlp().layer("dense_3"),
            DeriveError,
            "no layer 'dense_3'; did you mean 'dense_[12]'.*it has dense_1, dense_2",
        ),
    ],
)
def test_errors_name_the_layer_and_what_is_accepted(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_an_own_layer_with_a_shape_error_is_named():
    def broken(x, new):
        b, i = x.letters
        return new.define("h", (b,), x[b, i])

    said = r"layer broken_1, given z1 of shape \(B, 3\): in h2\[b\] = .*\s+index j is unbound"
    with pytest.raises(DeriveError, match=said):
        dv.Sequential([L.Dense(3), broken], input_shape=(2,)).backprop("mean_squared_error")


def test_derivation_grows_linearly_with_depth():
    steps = [
        len(
            dv.Sequential([L.Dense(4, activation="tanh") for _ in range(n)], input_shape=(3,))
            .backprop("mean_squared_error")
            .steps
        )
        for n in (2, 4, 8)
    ]
    assert steps[2] - steps[1] == 2 * (steps[1] - steps[0])
