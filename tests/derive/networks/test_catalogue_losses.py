"""Losses of the catalogue: proved, compared with hand-written forwards in float64, right at +-1e4 in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalogue_data import error, output, target

import derive as dv
import numerics as nx
from derive.networks.losses import LOSSES
from numerics.reference.networks import LOSSES as REFERENCES

B, K = 5, 3
b, k = dv.indices("b k")
z = dv.tensor("z", b, k)


def derivation(loss):
    return dv.backprop(loss.define(z, loss.target_tensor(z)), [z])


GRADIENTS = {
    "mean_squared_error": "2 (z[b,k] - y[b,k]) / (B K)",
    "logcosh": "-tanh(y[b,k] - z[b,k]) / (B K)",  # SymPy's own order of the difference
    "hinge": "-y[b,k] [1 - y[b,k] z[b,k] > 0] / (B K)",
    "kullback_leibler": "-y[b,k] / (B z[b,k])",
    "poisson": "(1 - y[b,k] [z[b,k] >= 1e-7] / max(z[b,k], 1e-7)) / (B K)",
}


@pytest.mark.parametrize("name", LOSSES)
def test_every_gradient_is_proved(name):
    d = derivation(LOSSES[name])
    evidence = d.check()
    assert evidence.ok and evidence.undecided == [] and evidence.proved
    if name in GRADIENTS:
        assert str(d.gradient("z")) == f"dz[b,k] = {GRADIENTS[name]}"


@pytest.mark.parametrize("name", LOSSES)
def test_float64_agrees_with_autodiff_of_an_independent_forward(name, x64):
    rng = np.random.default_rng(3)
    at, y = output(name, rng, (B, K)), target(name, rng, (B, K))
    value, grads = nx.compile(derivation(LOSSES[name]))(z=at, y=y)
    theirs, slope = jax.value_and_grad(REFERENCES[name])(jnp.asarray(at), jnp.asarray(y))
    assert error(value, theirs) < 1e-12
    assert error(grads["z"], slope) < 1e-12


OPTAX = {
    "mean_squared_error": lambda z, y: optax.squared_error(z, y).mean(),
    "mean_absolute_error": lambda z, y: (
        optax.losses.absolute_error(z, y).mean() if hasattr(optax.losses, "absolute_error") else jnp.abs(z - y).mean()
    ),
    "logcosh": lambda z, y: optax.log_cosh(z, y).mean(),
    "huber": lambda z, y: optax.huber_loss(z, y).mean(),
    "hinge": lambda z, y: optax.hinge_loss(z, y).mean(),
    "cosine": lambda z, y: optax.cosine_distance(z, y).mean(),
    "softmax_cross_entropy": lambda z, y: optax.softmax_cross_entropy(z, y).mean(),
    "sparse_softmax_cross_entropy": lambda z, y: optax.softmax_cross_entropy_with_integer_labels(z, y).mean(),
    "sigmoid_binary_cross_entropy": lambda z, y: optax.sigmoid_binary_cross_entropy(z, y).mean(),
    "kullback_leibler": lambda p, y: optax.kl_divergence(jnp.log(p), y).mean(),
}


@pytest.mark.parametrize("name", OPTAX)
def test_the_references_are_those_of_optax(name, x64):
    rng = np.random.default_rng(4)
    at, y = jnp.asarray(output(name, rng, (B, K))), jnp.asarray(target(name, rng, (B, K)))
    assert error(REFERENCES[name](at, y), OPTAX[name](at, y)) < 1e-13


FAR = np.array([[1e4, -1e4, 0], [-1e4, 0, 1e4], [-1e4, -1e4, -1e4]], np.float32)


@pytest.mark.parametrize(
    "name",
    [
        n
        for n in LOSSES
        if LOSSES[n].reads == "logits"
        or n
        in (
            "logcosh",
            "huber",
            "mean_squared_error",
            "mean_absolute_error",
            "hinge",
            "squared_hinge",
            "categorical_hinge",
            "cosine",
        )
    ],
)
def test_float32_is_finite_and_right_far_out(name, x64):
    rng = np.random.default_rng(5)
    y = target(name, rng, FAR.shape, one_hot=True)
    y = {"values": np.round(y) + 0.5, "bits": np.round(y)}.get(LOSSES[name].target, y)  # no tie where |z - y| is 0
    wide = y.astype(np.int64 if y.dtype.kind == "i" else np.float64)
    value, slope = jax.value_and_grad(REFERENCES[name])(jnp.asarray(FAR, jnp.float64), jnp.asarray(wide))
    narrow = y.astype(np.int32 if y.dtype.kind == "i" else np.float32)
    ours, grads = nx.compile(derivation(LOSSES[name]))(z=FAR, y=narrow)
    assert np.asarray(ours).dtype == np.asarray(grads["z"]).dtype == np.float32
    assert np.isfinite(slope).all() and error(ours, value) < 1e-6
    assert error(grads["z"], slope) < 1e-6


def test_logits_that_are_large_and_near_each_other_keep_their_digits():
    at = np.array([[10000.0, 10000.5, 9999.0]], np.float32)
    p = np.exp(at[0].astype(float) - 10000) / np.exp(at[0].astype(float) - 10000).sum()
    value, grads = nx.compile(derivation(LOSSES["sparse_softmax_cross_entropy"]))(z=at, y=np.array([1], np.int32))
    assert error(value, -np.log(p[1])) < 1e-6 and error(grads["z"][0], p - [0, 1, 0]) < 1e-6
    value, grads = nx.compile(derivation(LOSSES["logcosh"]))(z=at, y=at - np.float32(0.5))
    assert error(value, np.log(np.cosh(0.5))) < 1e-6 and error(grads["z"], np.full((1, 3), np.tanh(0.5) / 3)) < 1e-6


@pytest.mark.parametrize(
    "name, at, y, value, slope",
    [
        ("mean_absolute_percentage_error", 1.0, 0.0, 1e9, 1e9),  # |y| counts as 1e-7
        ("mean_squared_logarithmic_error", -3.0, 1.0, np.log(2) ** 2, 0),  # z counts as 0
        ("poisson", 0.0, 2.0, -2 * np.log(1e-7), 1),  # log z is log 1e-7
        ("cosine", 0.0, 1.0, 1, -1e6),  # |z| counts as 1e-6
        ("kullback_leibler", 1.0, 0.0, 0, 0),  # 0 log 0 = 0
        ("mean_absolute_error", 2.0, 2.0, 0, 0),
        ("hinge", 1.0, 1.0, 0, 0),
        ("huber", 3.0, 2.0, 0.5, 1),
    ],
)
def test_clips_and_kinks_are_as_stated(name, at, y, value, slope, x64):
    ours, grads = nx.compile(derivation(LOSSES[name]))(z=np.array([[at]]), y=np.array([[y]]))
    assert float(ours) == pytest.approx(value, rel=1e-12)
    assert float(grads["z"][0, 0]) == pytest.approx(slope, rel=1e-12)


def test_the_tables_hold_the_same_losses():
    assert set(REFERENCES) == set(LOSSES)
    for loss in LOSSES.values():
        assert loss.domain and (loss.twin == "" or LOSSES[loss.twin].twin == loss.name)


def test_tensors_sort_by_name_so_that_no_hash_signs_a_difference():
    assert dv.tensor("y", b).sort_key() < dv.tensor("z", b).sort_key()
