"""What can be added to a loss: smoothing, ignored labels, weights, numbers; and losses of your own."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import sympy
from catalogue_data import error, output, target

import derive as dv
import numerics as nx
from derive.language.errors import DeriveError
from derive.networks import layers as L
from derive.networks.losses import LOSSES, Loss, loss

B, K = 5, 3
b, k = dv.indices("b k")
z = dv.tensor("z", b, k)


def run(given, **arrays):
    d = dv.backprop(given.define(z, given.target_tensor(z)), [z])
    evidence = d.check()
    # of a weighted logcosh the shift agrees to 50 digits only: its |u| takes an order, which numbers mod p lack
    assert evidence.ok and all(r.verdict == "proved" for r in evidence.rows if r.what.startswith(("gradient", "loss")))
    value, grads = nx.compile(d)(**arrays)
    return value, grads["z"]


def agrees(given, forward, at, **arrays):
    """Ours against autodiff of ``forward(z)``, in float64."""
    value, slope = run(given, z=at, **arrays)
    theirs, expected = jax.value_and_grad(forward)(jnp.asarray(at))
    assert error(value, theirs) < 1e-12 and error(slope, expected) < 1e-12
    return value


def log_p(at):
    return jax.nn.log_softmax(at, axis=-1)


RNG = np.random.default_rng(7)
AT, LABELS, WEIGHTS, OF_CLASS = RNG.normal(size=(B, K)), RNG.integers(0, K, B), RNG.random(B), RNG.random(K)
SHARES = RNG.dirichlet(np.ones(K), B)


def test_label_smoothing_of_labels_and_of_probabilities_is_the_same(x64):
    soft = 0.8 * np.eye(K)[LABELS] + 0.2 / K
    given = loss("sparse_softmax_cross_entropy", label_smoothing=0.2)
    one = agrees(given, lambda at: -jnp.mean(jnp.sum(soft * log_p(at), -1)), AT, y=LABELS)
    two, _ = run(loss("softmax_cross_entropy", label_smoothing=0.2), z=AT, y=np.eye(K)[LABELS])
    assert error(one, two) < 1e-14


def test_label_smoothing_of_bits(x64):
    y = RNG.random((B, K))
    soft = 0.9 * y + 0.05
    agrees(
        loss("sigmoid_binary_cross_entropy", label_smoothing=0.1),
        lambda at: jnp.mean(jnp.logaddexp(at, 0) - soft * at),
        AT,
        y=y,
    )


def test_an_ignored_label_does_not_count(x64):
    keep = LABELS != 1
    assert keep.any() and not keep.all()
    agrees(
        loss("sparse_softmax_cross_entropy", ignored=1),
        lambda at: -jnp.sum(keep * log_p(at)[np.arange(B), LABELS]) / keep.sum(),
        AT,
        y=LABELS,
    )


@pytest.mark.parametrize("none", [-100, -1, 255])
def test_an_ignored_label_may_be_none_of_the_classes(none, x64):
    y = np.where(LABELS == 1, none, LABELS)
    keep = y != none
    given = loss("sparse_softmax_cross_entropy", ignored=none)
    agrees(given, lambda at: -jnp.sum(keep * log_p(at)[np.arange(B), LABELS]) / keep.sum(), AT, y=y)
    _, slope = run(given, z=AT, y=y)
    assert np.all(np.asarray(slope)[~keep] == 0) and np.all(np.abs(np.asarray(slope)[keep]).max(-1) > 1e-3)
    value, slope = run(given, z=AT, y=np.full(B, none))
    assert float(value) == 0 and np.all(np.asarray(slope) == 0)


def test_an_ignored_label_is_declared_shown_and_verified():
    given = loss("sparse_softmax_cross_entropy", ignored=-100)
    d = dv.backprop(given.define(z, given.target_tensor(z)), [z])
    assert "y[b] is -100 where there is none (declared)" in d.to_text()
    kern = nx.compile(d)
    assert "y (B,) integers in [0, K) or -100" in kern.source and "y[b] != -100" in kern.source
    assert nx.verify(kern).ok
    kern.validate(z=AT, y=np.array([0, 1, -100, 2, 0]))
    with pytest.raises(nx.InputError, match=r"y\[1\] = -1 is out of the declared range 0 <= y < K = 3, or -100"):
        kern.validate(z=AT, y=np.array([0, -1, -100, 2, 0]))


def test_a_missing_label_is_no_index():
    y = dv.tensor("y", b, dtype="int", below=k.size, facts=[dv.missing(-100)])
    with pytest.raises(
        dv.UnsupportedError, match=r"y\[b\] is used as an index of z, but may be -100; say what is read"
    ):
        dv.backprop(dv.define("loss", (), dv.Sum(z[b, y[b]], b)), [z])
    one_hot = dv.define("loss", (), dv.Sum(z[b, k] * dv.Iverson(sympy.Eq(k, y[b])), b, k))  # reads no z at -100
    d = dv.backprop(one_hot, [z])
    assert d.check().proved
    value, grads = nx.compile(d)(z=AT, y=np.array([0, -100, 2, -100, 1]))
    assert float(value) == pytest.approx(AT[0, 0] + AT[2, 2] + AT[4, 1])
    assert np.asarray(grads["z"]).sum(-1).tolist() == [1, 0, 1, 0, 1]
    x, here = dv.tensor("x", b), dv.Sum(dv.Iverson(sympy.Eq(k, y[b])), k)  # 1, or 0 where there is none
    value, grads = nx.compile(dv.backprop(dv.define("loss", (), dv.Sum(x[b] * here, b)), [x]), sizes={"K": K})(
        x=AT[:, 0], y=np.array([0, -100, 2, -100, 1])
    )
    assert float(value) == pytest.approx(AT[[0, 2, 4], 0].sum()) and np.asarray(grads["x"]).tolist() == [1, 0, 1, 0, 1]
    with pytest.raises(DeriveError, match="missing.-100. is about integers of a declared range; this one is float"):
        dv.tensor("w", b, facts=[dv.missing(-100)])


def test_only_the_number_that_stands_for_none_makes_a_range():
    y = dv.tensor("y", b, dtype="int", below=k.size, facts=[dv.missing(-100)])

    def below(*choices):
        return dv.define("label", (b,), sympy.Piecewise(*choices)).below

    assert below((0, sympy.Eq(y[b], -100)), (y[b], True)) == k.size
    assert below((0, sympy.Eq(y[b], -1)), (y[b], True)) is None
    assert below((y[b], sympy.Eq(y[b], -100)), (0, True)) is None
    assert below((5, sympy.Eq(y[b], -100)), (y[b], True)) is None  # 5 may be no class
    assert dv.define("copy", (b,), y[b]).below is None


def test_a_batch_of_ignored_labels_costs_nothing(x64):
    value, slope = run(loss("sparse_softmax_cross_entropy", ignored=1), z=AT, y=np.ones(B, int))
    assert float(value) == 0 and np.all(np.asarray(slope) == 0)


def test_an_ignored_label_with_all_else(x64):
    keep, soft = LABELS != 1, 0.8 * np.eye(K)[LABELS] + 0.2 / K
    agrees(
        loss("sparse_softmax_cross_entropy", ignored=1, label_smoothing=0.2, sample_weight=True, class_weight=True),
        lambda at: -jnp.sum(keep * WEIGHTS * jnp.sum(OF_CLASS * soft * log_p(at), -1)) / keep.sum(),
        AT,
        y=LABELS,
        sample_weight=WEIGHTS,
        class_weight=OF_CLASS,
    )


@pytest.mark.parametrize("name", ["softmax_cross_entropy", "categorical_cross_entropy"])
def test_class_weights(name, x64):
    at = AT if name.startswith("softmax") else np.asarray(jax.nn.softmax(AT))
    logarithm = log_p if name.startswith("softmax") else jnp.log
    agrees(
        loss(name, class_weight=True),
        lambda at: -jnp.mean(jnp.sum(OF_CLASS * SHARES * logarithm(at), -1)),
        at,
        y=SHARES,
        class_weight=OF_CLASS,
    )
    agrees(
        loss(f"sparse_{name}", class_weight=True),
        lambda at: -jnp.mean(OF_CLASS[LABELS] * logarithm(at)[np.arange(B), LABELS]),
        at,
        y=LABELS,
        class_weight=OF_CLASS,
    )


@pytest.mark.parametrize("name", LOSSES)
def test_equal_sample_weights_scale_and_zero_removes(name, x64):
    rng = np.random.default_rng(8)
    at, y = output(name, rng, (B, K)), target(name, rng, (B, K))
    plain, slope = run(LOSSES[name], z=at, y=y)
    value, weighted = run(loss(name, sample_weight=True), z=at, y=y, sample_weight=np.full(B, 2.0))
    assert error(value, 2 * plain) < 1e-12 and error(weighted, 2 * slope) < 1e-12
    first = np.eye(B)[0]
    value, weighted = run(loss(name, sample_weight=True), z=at, y=y, sample_weight=first)
    alone, its = run(LOSSES[name], z=at[:1], y=y[:1])
    assert error(value, alone / B) < 1e-12 and error(weighted[:1], its / B) < 1e-12
    assert np.all(np.asarray(weighted)[1:] == 0)


def test_weights_are_declared_inputs():
    given = loss("sparse_softmax_cross_entropy", sample_weight=True, class_weight=True)
    found = given.weights(z)
    assert {n: tuple(map(str, t.axes)) for n, t in found.items()} == {"sample_weight": ("B",), "class_weight": ("K",)}
    assert all([f.kind for f in t.facts] == ["nonnegative"] for t in found.values())
    d = dv.backprop(given.define(z, given.target_tensor(z)), [z])
    assert {t.name for t in d.program.inputs} == {"z", "y", "sample_weight", "class_weight"}
    assert loss("hinge").weights(z) == {}


def test_numbers_in_a_definition(x64):
    y = RNG.normal(size=(B, K))
    d = np.abs(AT - y)
    value, _ = run(loss("huber", delta=0.5), z=AT, y=y)
    assert error(value, np.mean(np.where(d <= 0.5, d**2 / 2, 0.5 * (d - 0.25)))) < 1e-14
    p = np.array([[0.0, 0.25, 0.75]])
    value, slope = run(loss("categorical_cross_entropy", clip=0.01), z=p, y=np.array([[0.5, 0.5, 0.0]]))
    assert float(value) == pytest.approx(-0.5 * (np.log(0.01) + np.log(0.25)))
    assert np.asarray(slope).tolist() == [[0, -2, 0]]


@pytest.mark.parametrize(
    "given",
    [
        "huber",
        {"name": "huber", "delta": 2},
        {"name": "sparse_softmax_cross_entropy", "label_smoothing": 0.1, "ignored": 0, "sample_weight": True},
    ],
)
def test_a_loss_as_data_comes_back(given):
    assert loss(given).config() == given and loss(loss(given).config()) == loss(given)


@pytest.mark.parametrize(
    "name, options, message",
    [
        ("hubert", {}, "unknown loss 'hubert'; did you mean 'huber'"),
        ("huber", {"dleta": 1}, "loss 'huber': unknown option 'dleta'; did you mean 'delta'.; it takes delta"),
        ("mean_squared_error", {"delta": 1}, "unknown option 'delta'; it takes none"),
        ("huber", {"delta": float("inf")}, "the option delta is inf; accepted is a finite number"),
        ("hinge", {"label_smoothing": 0.1}, "label smoothing is for classes; it has none"),
        ("softmax_cross_entropy", {"label_smoothing": 1}, r"label_smoothing is 1; accepted are numbers in \[0, 1\)"),
        ("softmax_cross_entropy", {"ignored": 1}, "ignored=1 is a label, but its targets are probabilities; give such"),
        (
            "sparse_softmax_cross_entropy",
            {"ignored": 1.0},
            "ignored is 1.0; accepted is a whole number: one of the labels, ",
        ),
        ("mean_squared_error", {"class_weight": True}, "class weights are for classes; it has none"),
    ],
)
def test_options_that_do_not_fit(name, options, message):
    with pytest.raises(DeriveError, match=message):
        loss(name, **options)


@pytest.mark.parametrize(
    "activation, name, message",
    [
        ("softmax", "sigmoid_binary_cross_entropy", "or use 'binary_cross_entropy'"),
        ("relu", "binary_cross_entropy", "end it in sigmoid, or use 'sigmoid_binary_cross_entropy'"),
        (
            "softmax",
            "binary_cross_entropy",
            "reads probabilities of separate answers, but layer dense_1 ends in softmax; end it in sigmoid",
        ),
        (
            "tanh",
            "kullback_leibler",
            "reads probabilities of exclusive classes, but layer dense_1 ends in tanh; end it in softmax$",
        ),
        (None, "poisson", "reads numbers that are not negative, but layer dense_1 ends in linear; end it in softplus"),
    ],
)
def test_a_loss_says_what_it_reads(activation, name, message):
    with pytest.raises(DeriveError, match=message):
        dv.Sequential([L.Dense(K, activation=activation)], input_shape=(2,)).backprop(name)


def test_your_own_cost_of_an_element_gets_everything(x64):
    cauchy = Loss("cauchy", lambda z, y, width=1: sympy.log(1 + ((z - y) / width) ** 2), per="element")
    y = RNG.normal(size=(B, K))
    agrees(
        cauchy.with_options(width=2, sample_weight=True),
        lambda at: jnp.mean(WEIGHTS[:, None] * jnp.log1p(jnp.square((at - y) / 2))),
        AT,
        y=y,
        sample_weight=WEIGHTS,
    )
    net = dv.Sequential([L.Dense(K, activation="tanh")], input_shape=(2,))
    assert nx.verify(nx.compile(net.backprop(cauchy))).ok
    with pytest.raises(DeriveError, match="a function of your own; code is not saved as data"):
        cauchy.config()
    with pytest.raises(DeriveError, match="it is a scalar already, so its examples cannot be weighted; write the cost"):
        loss(lambda z, y: z, sample_weight=True)


def test_your_own_cost_of_a_class_gets_smoothing_and_weights(x64):
    def squared(p):
        outer = p.letters[:-1]
        return lambda at: (1 - p[(*outer, at)]) ** 2

    own = Loss("squared", squared, target="labels", per="class")
    agrees(
        own.with_options(class_weight=True, label_smoothing=0.3),
        lambda at: jnp.mean(jnp.sum((0.7 * np.eye(K)[LABELS] + 0.1) * OF_CLASS * jnp.square(1 - at), -1)),
        AT,
        y=LABELS,
        class_weight=OF_CLASS,
    )


def test_a_network_with_options_is_saved_as_data():
    import json

    net = dv.Sequential([L.Dense(K, activation={"name": "leaky_relu", "alpha": 0.2})], input_shape=(2,))
    data = json.loads(json.dumps(net.to_dict()))
    assert data["layers"][0]["activation"] == {"name": "leaky_relu", "alpha": 0.2}
    assert dv.Sequential.from_dict(data).output == net.output


def test_a_trainer_with_an_optioned_loss_is_saved_and_loaded(tmp_path):
    net = dv.Sequential([L.Dense(K)], input_shape=(2,))
    trainer = nx.Trainer(net, loss("sparse_softmax_cross_entropy", label_smoothing=0.1), optax.sgd(0.1))
    trainer.save(tmp_path / "run")
    assert nx.load(tmp_path / "run", optimizer=optax.sgd(0.1)).loss == trainer.loss


@pytest.mark.parametrize(
    "name, y, message",
    [
        ("hinge", [[0.0], [1.0]], r"Y\[0, 0\] is 0.0; loss 'hinge' takes signs, -1 or 1; 2 \* Y - 1 fits"),
        ("squared_hinge", [[0.5], [1.0]], r"Y\[0, 0\] is 0.5; loss 'squared_hinge' takes signs, -1 or 1$"),
        ("poisson", [[2.0], [-1.0]], r"Y\[1, 0\] is -1.0; loss 'poisson' takes numbers that are not negative"),
    ],
)
def test_targets_are_validated(name, y, message):
    from numerics.data.examples import check_target

    with pytest.raises(nx.InputError, match=message):
        check_target(np.array(y), LOSSES[name], (1,), 1)


def test_ignored_targets_are_validated():
    from numerics.data.examples import check_target

    given = loss("sparse_softmax_cross_entropy", ignored=-100)
    assert check_target(np.array([0, -100, 2]), given, (), 3).tolist() == [0, -100, 2]
    with pytest.raises(nx.InputError, match=r"Y\[1\] is -1; .* takes labels in \[0, 3\), or -100$"):
        check_target(np.array([0, -1, 2]), given, (), 3)
    with pytest.raises(nx.InputError, match=r"Y\[2\] is 3; .* labels in \[0, 3\), or -100 \(labels counted from 1\?\)"):
        check_target(np.array([1, -100, 3]), given, (), 3)
