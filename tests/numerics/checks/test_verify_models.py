"""Networks of catalogue layers are verified against jax.nn; others against the evaluator of the definitions."""

import itertools

import pytest

from derive.networks import layers as L
from derive.networks.activations import ACTIVATIONS
from derive.networks.losses import LOSSES
from derive.networks.model import Sequential
from numerics.checks.verify import verify
from numerics.kernel.compile import compile
from numerics.reference import networks as catalogue

ENDS = {"logits": None, "probabilities": "softmax", "bits": "sigmoid", "anything": None, "nonnegative": "softplus"}


def net(loss, hidden="tanh", last=None):
    model = Sequential([L.Dense(4, activation=hidden), L.Dense(3, activation=last)], input_shape=(5,))
    return compile(model.backprop(loss))


def test_the_references_are_of_the_catalogue():
    assert set(catalogue.LOSSES) <= set(LOSSES)
    assert set(catalogue.ACTIVATIONS) <= set(ACTIVATIONS)


@pytest.mark.parametrize("loss", catalogue.LOSSES)
def test_every_loss_agrees_with_jax_nn(loss):
    report = verify(net(loss, last=ENDS[LOSSES[loss].reads]))
    assert report.ok, report
    assert report.forward == "jax.nn reference of model (numerics.reference.networks)"


@pytest.mark.parametrize("hidden", catalogue.ACTIVATIONS)
def test_every_activation_agrees_with_jax_nn(hidden):
    report = verify(net("mean_squared_error", hidden=hidden), dtypes=("float64",))
    assert report.ok, report
    assert report.forward.startswith("jax.nn reference")


def test_your_own_activation_falls_back_to_the_evaluator():
    report = verify(net("mean_squared_error", hidden=lambda u: u**2), dtypes=("float64",))
    assert report.ok, report
    assert report.forward.startswith("node-by-node evaluator")


def test_the_reference_is_not_blind(monkeypatch):
    wrong = dict(catalogue.LOSSES, mean_squared_error=lambda z, y: 0.5 * catalogue.jnp.mean((z - y) ** 2))
    monkeypatch.setattr(catalogue, "LOSSES", wrong)
    report = verify(net("mean_squared_error"), dtypes=("float64",))
    assert not report.ok
    assert len(list(itertools.filterfalse(lambda f: f.verdict == "ok", report.findings))) >= 5


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"num_kv_heads": 2}, {"rotary": True}], ids=str)
def test_the_reference_of_attention_takes_its_heads_from_the_arrays(options):
    model = Sequential([L.MultiHeadAttention(4, 4, **options)], input_shape=(3, 6))
    report = verify(compile(model.backprop("mean_squared_error"), check=False), dtypes=("float64",))
    assert report.ok and report.forward.startswith("jax.nn"), report
