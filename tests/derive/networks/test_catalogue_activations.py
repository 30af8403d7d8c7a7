"""Activations of the catalogue: proved, compared with jax.nn in float64, right at +-1e4 in float32, options, errors."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from derive.language.errors import DerivationError, DeriveError
from derive.networks import layers as L
from derive.networks.activations import ACTIVATIONS, activation, maxout, prelu
from numerics.reference.activations import ACTIVATIONS as REFERENCES

B, K = 5, 3
TRAINED = [n for n in ACTIVATIONS if n != "threshold"]
b, k, r = dv.indices("b k r")
z, w = dv.tensor("z", b, k), dv.tensor("w", b, k)


def derivation(given, **options):
    """The activated z, pulled back along w."""
    return dv.vjp(dv.define("h", (b, k), activation(given, **options)(z)), [z], cotangent="w")


def error(ours, theirs) -> float:
    """The norm of DESIGN section 8, for one leaf."""
    return float(np.abs(np.asarray(ours) - np.asarray(theirs)).max() / np.abs(np.asarray(theirs)).max())


GRADIENTS = {
    "linear": "w[b,k]",
    "sigmoid": "w[b,k] h[b,k] (1 - h[b,k])",
    "tanh": "w[b,k] (1 - h[b,k]^2)",
    "relu": "w[b,k] [z[b,k] > 0]",
    "leaky_relu": "w[b,k] {1 if z[b,k] > 0; 1/100 otherwise}",
    "elu": "w[b,k] {1 if z[b,k] > 0; exp(z[b,k]) otherwise}",
    "softplus": "w[b,k] sigmoid(z[b,k])",
    "softsign": "w[b,k] / (|z[b,k]| + 1)^2",
    "swish": "w[b,k] sigmoid(z[b,k]) (1 + z[b,k] (1 - sigmoid(z[b,k])))",
    "hard_tanh": "w[b,k] {0 if z[b,k] <= -1 or z[b,k] >= 1; 1 otherwise}",
    "gaussian": "-2 h[b,k] w[b,k] z[b,k]",
}


@pytest.mark.parametrize("name", TRAINED)
def test_every_derivative_is_proved(name):
    d = derivation(name)
    evidence = d.check()
    assert evidence.ok and evidence.undecided == [] and evidence.proved
    if name in GRADIENTS:
        assert str(d.gradient("z")) == f"dz[b,k] = {GRADIENTS[name]}"


@pytest.mark.parametrize("name", TRAINED)
def test_float64_agrees_with_autodiff_of_an_independent_forward(name, x64):
    rng = np.random.default_rng(3)
    at, along = 2 * rng.normal(size=(B, K)), rng.normal(size=(B, K))
    value, grads = nx.compile(derivation(name))(z=at, w=along)
    theirs, pull = jax.vjp(REFERENCES[name], jnp.asarray(at))
    assert error(value, theirs) < 1e-12
    assert error(grads["z"], pull(jnp.asarray(along))[0]) < 1e-12


def _softplus(u):
    return max(u, mpmath.mpf(0)) + mpmath.log1p(mpmath.exp(-abs(u)))


def _clip(u, low, high):
    return min(max(u, mpmath.mpf(low)), mpmath.mpf(high))


EXACT = {  # the scalar activations with 50 digits, for the far ends
    "linear": lambda u: u,
    "sigmoid": lambda u: 1 / (1 + mpmath.exp(-u)),
    "tanh": mpmath.tanh,
    "relu": lambda u: max(u, mpmath.mpf(0)),
    "leaky_relu": lambda u: u if u > 0 else u / 100,
    "elu": lambda u: u if u > 0 else mpmath.expm1(u),
    "selu": lambda u: (
        mpmath.mpf("1.0507009873554805") * (u if u > 0 else mpmath.mpf("1.6732632423543772") * mpmath.expm1(u))
    ),
    "gelu": lambda u: u * mpmath.erfc(-u / mpmath.sqrt(2)) / 2,
    "gelu_tanh": lambda u: u / 2 * (1 + mpmath.tanh(mpmath.sqrt(2 / mpmath.pi) * (u + mpmath.mpf("0.044715") * u**3))),
    "softplus": _softplus,
    "softsign": lambda u: u / (1 + abs(u)),
    "swish": lambda u: u / (1 + mpmath.exp(-u)),
    "silu": lambda u: u / (1 + mpmath.exp(-u)),
    "mish": lambda u: u * mpmath.tanh(_softplus(u)),
    "hard_sigmoid": lambda u: _clip(u / 6 + mpmath.mpf(1) / 2, 0, 1),
    "hard_tanh": lambda u: _clip(u, -1, 1),
    "gaussian": lambda u: mpmath.exp(-(u**2)),
}


FAR = np.array([[-1e4, 1e4, -30], [30, -5, 5], [-0.5, 0.5, 1e-3]], np.float32)
SCALAR = [n for n in TRAINED if not ACTIVATIONS[n].whole_axis]


def test_the_exact_forms_are_all_there():
    assert set(EXACT) == set(SCALAR) and set(TRAINED) <= set(REFERENCES)


@pytest.mark.parametrize("name", SCALAR)
def test_float32_is_finite_and_right_far_out(name):
    step = mpmath.mpf(10) ** -20
    with mpmath.workdps(80):
        at = [[mpmath.mpf(float(u)) for u in row] for row in FAR]
        value = np.array([[float(EXACT[name](u)) for u in row] for row in at])
        slope = np.array(
            [[float((EXACT[name](u + step) - EXACT[name](u - step)) / (2 * step)) for u in row] for row in at]
        )
    ours, grads = nx.compile(derivation(name))(z=FAR, w=np.ones_like(FAR))
    assert np.asarray(ours).dtype == np.float32
    assert np.allclose(np.asarray(ours), value, rtol=1e-5, atol=1e-7)
    assert np.allclose(np.asarray(grads["z"]), slope, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_is_right_far_out(name):
    at = np.array([[1e4, -1e4, 0], [-1e4, -1e4, -1e4]], np.float32)
    along = np.array([[1, 2, 3], [1, 2, 3]], np.float32)
    value, grads = nx.compile(derivation(name))(z=at, w=along)
    p = np.array([[1, 0, 0], [1 / 3] * 3])
    log_p = np.array([[0, -2e4, -1e4], [-np.log(3)] * 3])
    total = along.sum(1, keepdims=True)
    expected = p * (along - (p * along).sum(1, keepdims=True)) if name == "softmax" else along - p * total
    assert np.allclose(np.asarray(value), p if name == "softmax" else log_p, rtol=1e-6)
    assert np.allclose(np.asarray(grads["z"]), expected, rtol=1e-6, atol=1e-6)


def test_digits_near_zero_and_in_the_tails_are_kept(x64):
    cases = {"elu": [-1e-9], "gelu": [-12.0], "gelu_tanh": [-8.0], "swish": [-300.0], "softplus": [-300.0]}
    for name, at in cases.items():
        at = np.array([at])
        value, grads = nx.compile(derivation(name))(z=at, w=np.ones_like(at))
        with mpmath.workdps(400):
            u, step = mpmath.mpf(float(at[0, 0])), mpmath.mpf(10) ** -150
            slope = (EXACT[name](u + step) - EXACT[name](u - step)) / (2 * step)
            assert error(value, float(EXACT[name](u))) < 1e-13, name
            assert error(grads["z"], float(slope)) < 1e-12, name


@pytest.mark.parametrize(
    "name, at, slope",
    [
        ("relu", 0, 0),
        ("leaky_relu", 0, 0.01),
        ("elu", 0, 1),
        ("hard_tanh", 1, 0),
        ("hard_tanh", -1, 0),
        ("hard_sigmoid", 3, 0),
        ("hard_sigmoid", -3, 0),
        ("softsign", 0, 1),
    ],
)
def test_kinks_have_the_stated_derivative(name, at, slope):
    _, grads = nx.compile(derivation(name))(z=np.full((1, 1), at, np.float32), w=np.ones((1, 1), np.float32))
    assert float(grads["z"][0, 0]) == pytest.approx(slope)


def test_options_change_the_numbers(x64):
    at = np.array([[-2.0, 3.0]])
    for name, options, expected in (
        ("leaky_relu", {"alpha": 0.2}, [-0.4, 3]),
        ("elu", {"alpha": 2}, [2 * np.expm1(-2), 3]),
        ("swish", {"beta": 0.5}, at[0] / (1 + np.exp(-at[0] / 2))),
    ):
        value, _ = nx.compile(derivation(name, **options))(z=at, w=np.ones_like(at))
        assert error(value[0], expected) < 1e-14
    assert activation("leaky_relu", alpha=0.2).config() == {"name": "leaky_relu", "alpha": 0.2}
    assert activation({"name": "leaky_relu", "alpha": 0.2}) == activation("leaky_relu", alpha=0.2)
    assert activation("leaky_relu", alpha=sympy.Rational(1, 100)) == ACTIVATIONS["leaky_relu"]
    assert activation("elu").config() == "elu"


@pytest.mark.parametrize(
    "given, options, message",
    [
        ("leaky_relo", {}, "unknown activation 'leaky_relo'; did you mean 'leaky_relu'"),
        ("prelu", {}, r"'prelu' is a layer, not a function of one value; accepted is layers.PReLU\(\)"),
        ("maxout", {}, r"'maxout' is a layer, not a function of one value; accepted is layers.Maxout\(units, pieces\)"),
        ("relu", {"alpha": 2}, "activation 'relu': unknown option 'alpha'; it takes none"),
        ("elu", {"alfa": 2}, "activation 'elu': unknown option 'alfa'; did you mean 'alpha'.; it takes alpha"),
        ("elu", {"alpha": float("nan")}, "the option alpha is nan; accepted is a finite number"),
        ("elu", {"alpha": "1"}, "the option alpha is '1'; accepted is a finite number"),
        (3, {}, "activation 3 is int"),
    ],
)
def test_bad_activations_and_options(given, options, message):
    with pytest.raises(DeriveError, match=message):
        activation(given, **options)


def test_training_through_a_step_is_refused_and_the_perceptron_rule_named():
    net = dv.Sequential([L.Dense(3, activation="threshold"), L.Dense(2)], input_shape=(2,))
    with pytest.raises(DerivationError) as caught:
        net.backprop("mean_squared_error")
    assert "the gradient of loss with respect to dense_1_kernel is zero everywhere" in str(caught.value)
    assert "h1[b,j] = {1 if z1[b,j] >= 0; 0 otherwise}" in str(caught.value)
    assert "Rosenblatt's perceptron rule" in str(caught.value)
    after = net.backprop("mean_squared_error", frozen=["dense_1"])  # what stands behind the step has a gradient
    assert str(after.gradient("dense_2_kernel")) == "d_dense_2_kernel[j,k] = sum_b h1[b,j] dz2[b,k]"


def test_a_step_predicts():
    net = dv.Sequential([L.Dense(2, activation="threshold", use_bias=False)], input_shape=(2,))
    out = nx.compile(net.forward())(x=np.array([[1, -1]], np.float32), dense_1_kernel=np.eye(2, dtype=np.float32))
    assert np.asarray(out["dense_1"]).tolist() == [[1, 0]]


def test_a_stopped_gradient_is_meant_to_be_zero():
    x = dv.tensor("x", b)
    d = dv.backprop(dv.define("loss", (), dv.Sum(dv.stop_gradient(x[b]), b)), [x])
    assert str(d.gradient("x")) == "dx[b] = 0"


def test_prelu_learns_its_slope(x64):
    a = dv.tensor("a", k)
    h = dv.define("h", (b, k), prelu(z[b, k], a[k]))
    d = dv.backprop(dv.define("loss", (), dv.Sum(w[b, k] * h[b, k], b, k)), [a, z])
    assert str(d.gradient("a")) == "da[k] = sum_b w[b,k] {0 if z[b,k] > 0; z[b,k] otherwise}"
    assert d.check().ok
    rng = np.random.default_rng(0)
    at = {"z": rng.normal(size=(B, K)), "w": rng.normal(size=(B, K)), "a": rng.random(K)}
    _, grads = nx.compile(d)(**at)
    assert error(grads["a"], (at["w"] * np.minimum(at["z"], 0)).sum(0)) < 1e-14
    assert error(grads["z"], at["w"] * np.where(at["z"] > 0, 1, at["a"])) < 1e-14


def test_maxout_sends_its_gradient_to_the_first_largest_piece():
    pieces = dv.tensor("z", b, k, r)
    d = dv.vjp(dv.define("h", (b, k), maxout(pieces)), [pieces], cotangent="w")
    assert d.check().ok
    at = np.array([[[1, 3, 2], [5, 5, 0]]], np.float32)
    value, grads = nx.compile(d)(z=at, w=np.array([[7, 9]], np.float32))
    assert np.asarray(value).tolist() == [[3, 5]]
    assert np.asarray(grads["z"]).tolist() == [[[0, 7, 0], [9, 0, 0]]]


def test_your_own_activation_gets_everything(x64):
    def bent(u, bend=1):
        return (sympy.sqrt(u**2 + 1) - 1) * bend / 2 + u

    own = activation(bent, bend=3)
    assert own.name == "bent" and own.options == (("bend", 3),)
    d = dv.vjp(dv.define("h", (b, k), own(z)), [z], cotangent="w")
    assert d.check().ok
    at, along = np.random.default_rng(1).normal(size=(2, B, K))
    value, grads = nx.compile(d)(z=at, w=along)
    assert error(value, 1.5 * (np.sqrt(at**2 + 1) - 1) + at) < 1e-14
    assert error(grads["z"], along * (1.5 * at / np.sqrt(at**2 + 1) + 1)) < 1e-14
    with pytest.raises(DeriveError, match="a function of your own; code is not saved as data"):
        own.config()
    net = dv.Sequential([L.Dense(3, activation=bent)], input_shape=(2,))
    assert nx.verify(nx.compile(net.backprop("mean_squared_error"))).ok
