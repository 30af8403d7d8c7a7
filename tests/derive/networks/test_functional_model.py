"""dv.Model: several inputs and outputs, shared layers, branches that meet, training and inference."""

import json
from fractions import Fraction

import pytest
from reference_layers import derivation, error_against_jax
from sympy import floor

import derive as dv
from derive.language.errors import DeriveError, ShapeError
from derive.networks import layers as L

B = dv.size("B")


def skip(width=3):
    x = dv.Input((width,))
    return dv.Model(x, L.Dense(2)(L.Add()([x, L.Dense(width, activation="tanh")(x)])))


def test_a_skip_connection_makes_two_sizes_one():
    model = skip()
    assert model.sizes == {"I": 3, "K": 2}
    assert model.parameters["dense_1_kernel"].tensor.axes == (dv.size("I"), dv.size("I"))
    b, i = model.input.letters
    add, h = model.layer("add_1"), model.layer("dense_1").output
    assert add.of == (model.input, h) and add.output.definition.body == model.input[b, i] + h[b, i]
    assert error_against_jax(model) < 1e-12


def test_the_input_of_a_skip_gets_both_gradients():
    d = derivation(skip())
    assert d.check().ok
    told = str(d.gradient("x"))
    assert "dh2[b,i]" in told and "dense_1_kernel" in told


def test_sequential_is_a_model_with_one_path():
    layers = [L.Dense(4, activation="relu"), L.Dropout(0.5), L.Dense(2)]
    one = dv.Sequential(layers, input_shape=(3,))
    x = dv.Input((3,))
    node = x
    for layer in layers:
        node = layer(node)
    other = dv.Model(x, node)
    assert isinstance(one, dv.Model) and one.output == other.output and one.parameters == other.parameters
    assert one.sizes == other.sizes and one.forward().program.outputs == other.forward().program.outputs


def tied():
    a, b = dv.Input((3,), name="a"), dv.Input((3,), name="b")
    tower = L.Dense(2, activation="tanh", name="tower")
    return dv.Model([a, b], L.Dense(1)(L.Concatenate()([tower(a), tower(b)])))


def test_a_layer_called_twice_has_one_set_of_parameters():
    model = tied()
    assert list(model.parameters) == ["tower_kernel", "tower_bias", "dense_2_kernel", "dense_2_bias"]
    assert [p.shared for p in model.layers] == [False, True, False, False]
    assert (
        str(model.summary())
        == """\
model: input a (B, 3), b (B, 3)
layer          output  parameters  trainable  initializers
tower          (B, 2)           8  yes        glorot_uniform, zeros
tower          (B, 2)      shared
concatenate_1  (B, 4)           0  -          -
dense_2        (B, 1)           5  yes        glorot_uniform, zeros
total                          13  trainable 13, frozen 0"""
    )
    d = derivation(model)
    reads = [t.reads() for t in d.gradient("tower_kernel").terms]
    assert len(reads) == 2 and {r.tensor.name for t in reads for r in t} >= {"a", "b"}
    assert d.check().ok
    assert error_against_jax(model) < 1e-12


def test_a_layer_called_on_its_own_output():
    x = dv.Input((4,))
    layer = L.Dense(4, activation="tanh")
    model = dv.Model(x, layer(layer(layer(x))))
    assert model.summary().total == 20 and model.sizes == {"I": 4}
    assert error_against_jax(model) < 1e-12


def test_several_outputs_and_their_losses():
    x = dv.Input((4,))
    h = L.Dense(3, activation="tanh")(x)
    model = dv.Model(x, {"kind": L.Dense(2)(h), "size": L.Dense(1)(h)})
    losses = {"kind": "sparse_softmax_cross_entropy", "size": "mean_squared_error"}
    assert {n: (t.name, t.dtype) for n, t in model.targets(losses).items()} == {
        "kind": ("y_kind", "int"),
        "size": ("y_size", "float"),
    }
    d = model.backprop(losses, weights={"size": 0.25})
    told = str(d.program.equation("loss")).replace(" ", "")
    assert told in ("loss=loss_kind+loss_size/4", "loss=loss_size/4+loss_kind")
    assert len(d.gradients) == 6 and list(d.result("outputs")) == [t.name for t in model.outputs.values()]
    assert d.check().ok
    assert list(model.forward().result("outputs")) == ["kind", "size"]
    with pytest.raises(DeriveError, match=r"model has 2 outputs \(kind, size\); name one"):
        model.backprop("mean_squared_error")
    with pytest.raises(DeriveError, match="losses are given for outputs sizes; model has kind, size"):
        model.backprop({"sizes": "mean_squared_error"})
    with pytest.raises(DeriveError, match="loss weights: 'kin' has no loss; did you mean 'kind'"):
        model.backprop(losses, weights={"kin": 1})


def test_two_outputs_may_have_the_same_loss():
    x = dv.Input((4,))
    model = dv.Model(x, [L.Dense(3)(x), L.Dense(2)(x)])
    d = model.backprop(dict.fromkeys(model.outputs, "sparse_softmax_cross_entropy"))
    assert len(d.gradients) == 4 and d.check().ok


@pytest.mark.slow
def test_branches_of_different_size_expressions_meet():
    """Down by two and up again is the same size only if the size is even: so it becomes twice another one."""
    x = dv.Input((8, 6, 2))
    up = L.UpSampling2D(2)(L.MaxPool2D(2)(x))
    model = dv.Model(x, L.Conv2D(1, 1)(L.Concatenate()([x, up])))
    assert model.sizes == {"H_2": 4, "W_2": 3, "C": 2, "O": 1}
    assert model.input.axes[1] == 2 * dv.size("H_2")
    assert derivation(model).check().ok
    assert error_against_jax(model) < 1e-12


def test_strided_branches_meet_without_help():
    x = dv.Input((7, 6, 2))
    h = L.Conv2D(3, 3, strides=2, padding=1)(x)
    model = dv.Model(x, L.Add()([h, L.Conv2D(3, 1, strides=2)(x)]))
    assert model.output.axes[1] == floor((dv.size("H") - 1) / 2) + 1
    assert error_against_jax(model) < 1e-12


@pytest.mark.slow
def test_sizes_that_only_agree_by_their_numbers():
    """Nothing but 4 = (9 - 1)/2 = 9 - 5 makes these one: the axis is fixed to its number."""
    x = dv.Input((9, 9, 1))
    model = dv.Model(x, L.Add()([L.MaxPool2D(2)(x), L.Conv2D(1, 6)(x)]))
    assert model.input.axes[1:3] == (9, 9)
    assert error_against_jax(model) < 1e-12


@pytest.mark.slow
def test_one_value_that_serves_all():
    x = dv.Input((4, 3, 2))
    gate = L.Reshape((1, 1, 2))(L.Dense(2, activation="sigmoid")(L.GlobalAvgPool()(x)))
    model = dv.Model(x, L.Multiply()([x, gate]))
    assert model.shape_of("multiply_1") == (4, 3, 2)
    assert error_against_jax(model) < 1e-12


def test_training_and_inference_differ_in_one_place():
    model = dv.Sequential([L.Dense(3), L.BatchNorm(momentum=0.5), L.Dropout(0.25), L.Dense(2)], input_shape=(4,))
    assert {n: (s.shape, s.init, s.update.name) for n, s in model.state.items()} == {
        "batch_norm_1_mean": ((3,), "zeros", "batch_norm_1_mean_new"),
        "batch_norm_1_variance": ((3,), "ones", "batch_norm_1_variance_new"),
    }
    assert {n: (r.chance, r.tensor.role) for n, r in model.random.items()} == {
        "dropout_1_mask": (Fraction(3, 4), "random")
    }
    d = model.backprop("mean_squared_error")
    assert {t.name: t.role for t in d.program.inputs if t.role not in ("data", "parameter")} == {
        "dropout_1_mask": "random",
        "batch_norm_1_mean": "state",
        "batch_norm_1_variance": "state",
    }
    assert list(d.result("outputs")) == ["z4", "batch_norm_1_mean_new", "batch_norm_1_variance_new"]
    assert str(d.program.equation("batch_norm_1_mean_new")).split("=")[1].replace(" ", "") in (
        "mean2[j]/2+batch_norm_1_mean[j]/2",
        "batch_norm_1_mean[j]/2+mean2[j]/2",
        "1/2mean2[j]+1/2batch_norm_1_mean[j]",
        "1/2batch_norm_1_mean[j]+1/2mean2[j]",
        "(mean2[j]+batch_norm_1_mean[j])/2",
        "(batch_norm_1_mean[j]+mean2[j])/2",
    )
    forward = model.forward()
    assert {t.name for t in forward.program.inputs} == {"x", *model.parameters, *model.state}
    assert not any("mean2" in e.name for e in forward.program)


def test_a_model_as_data():
    for model in (skip(), tied()):
        data = json.loads(json.dumps(model.to_dict()))
        again = dv.Model.from_dict(data)
        assert again.outputs == model.outputs and again.sizes == model.sizes and again.to_dict() == data


X = dv.Input((3,))


@pytest.mark.parametrize(
    "make, kind, message",
    [
        (lambda: L.Add()(X), DeriveError, r"Add is called on a list of symbols, as in L.Add\(\)\(\[h, x\]\)"),
        (lambda: L.Dense(2)([X, X]), DeriveError, r"Dense is called on one symbol, as in L.Dense\(10\)\(h\)"),
        (lambda: L.Dense(2)(3.0), DeriveError, r"Dense was called on 3.0; layers are called on symbols"),
        (lambda: L.Add()([X]), DeriveError, "Add merges at least two symbols; it was given 1"),
        (lambda: dv.Input(3), ShapeError, "Input: shape is 3; give the shape of one example"),
        (lambda: dv.Model(X, X), DeriveError, "an output is an input"),
        (lambda: dv.Model(L.Dense(2)(X), L.Dense(2)(X)), DeriveError, "inputs are made by dv.Input"),
        (
            lambda: dv.Model(X, L.Add()([L.Dense(2)(X), L.Dense(2)(dv.Input((3,), name="z"))])),
            DeriveError,
            "the outputs need the input 'z', which is not among inputs",
        ),
        (
            lambda: dv.Model([X, dv.Input((2,), name="z")], L.Dense(2)(X)),
            DeriveError,
            "no output depends on the input 'z'",
        ),
        (lambda: dv.Model([X, dv.Input((2,))], L.Concatenate()([X, X])), DeriveError, "two inputs are named 'x'"),
        (lambda: dv.Model(X, [L.Dense(2)]), DeriveError, "outputs has <.*Dense.*; accepted are symbols"),
        (
            lambda: dv.Model(X, L.Add()([X, L.Dense(4)(X)])),
            ShapeError,
            r"layer add_1, given x of shape \(B, 3\), z1 of shape \(B, 4\): Add: the shapes are x \(B, 3\), z1 \(B, 4\)",
        ),
        (
            lambda: dv.Sequential([L.Add()], input_shape=(3,)),
            DeriveError,
            "layer 1 is Add, which merges several symbols",
        ),
        (lambda: dv.Model(X, L.Dense(2, name="a")(L.Dense(3, name="a")(X))), DeriveError, "two layers are named 'a'"),
        (lambda: skip().shape_of("dense_7"), DeriveError, "has no 'dense_7'; did you mean"),
    ],
)
def test_errors(make, kind, message):
    with pytest.raises(kind, match=message):
        make()


def test_a_shared_layer_on_other_widths_is_refused():
    a, b = dv.Input((3,), name="a"), dv.Input((4,), name="b")
    tower = L.Dense(2, name="tower")
    said = r"layer tower is shared, but its kernel has shape \(3, 2\) and would need \(4, 2\)"
    with pytest.raises(ShapeError, match=said):
        dv.Model([a, b], L.Add()([tower(a), tower(b)]))
