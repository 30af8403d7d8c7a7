"""Every activation with a gradient under every loss that can read it: proved, and against autodiff in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue_data import error, target

import derive as dv
import numerics as nx
from derive.networks.activations import ACTIVATIONS
from derive.networks.losses import LOSSES
from numerics.reference.activations import ACTIVATIONS as FORWARD
from numerics.reference.networks import LOSSES as COST

B, K = 5, 3
NAMES = [n for n in ACTIVATIONS if n not in ("threshold", "silu")]  # silu is swish
PAIRS = [(a, n) for a in NAMES for n, loss in LOSSES.items() if loss.admits(ACTIVATIONS[a].gives)]
b, k = dv.indices("b k")


def derivation(a, n):
    z = dv.tensor("z", b, k)
    h = dv.define("h", (b, k), ACTIVATIONS[a](z))
    loss = LOSSES[n]
    return dv.backprop(loss.define(h, loss.target_tensor(h)), [z])


def case(a, n):
    """Inputs away from kinks and clips of both, and what autodiff says of them."""
    rng = np.random.default_rng(11)
    at, y = rng.uniform(0.2, 1.5, (B, K)) * rng.choice([-1, 1], (B, K)), target(n, rng, (B, K))
    if LOSSES[n].reads == "nonnegative":
        at = np.abs(at)  # relu is 0 elsewhere, where these losses clip
    theirs = jax.value_and_grad(lambda u: COST[n](FORWARD[a](u), jnp.asarray(y)))(jnp.asarray(at))
    return at, y, theirs


def agrees(d, a, n):
    at, y, (cost, slope) = case(a, n)
    value, grads = nx.compile(d)(z=at, y=y)
    assert np.isfinite(float(value)) and np.isfinite(np.asarray(grads["z"])).all()
    assert error(value, cost) < 1e-12
    assert error(grads["z"], slope) < 1e-12


def test_the_matrix_is_what_the_domains_admit():
    def row(a):
        return {n for n in LOSSES if (a, n) in PAIRS}

    logits = {n for n in LOSSES if LOSSES[n].reads == "logits"}
    everywhere = {n for n in LOSSES if LOSSES[n].reads == "anything"}
    assert row("tanh") == everywhere | logits
    assert row("softplus") == everywhere | logits | {"poisson", "mean_squared_logarithmic_error"}
    assert row("sigmoid") == everywhere | {"poisson", "mean_squared_logarithmic_error", "binary_cross_entropy"}
    assert row("softmax") == set(LOSSES) - logits - {"binary_cross_entropy"}
    assert len(PAIRS) > 200


@pytest.mark.parametrize(
    "a, n",
    [
        ("softmax", "kullback_leibler"),
        ("sigmoid", "binary_cross_entropy"),
        ("softplus", "poisson"),
        ("mish", "logcosh"),
        ("selu", "huber"),
        ("log_softmax", "cosine"),
        ("gelu", "categorical_hinge"),
        ("softsign", "squared_hinge"),
    ],
)
def test_some_pairs(a, n, x64):
    d = derivation(a, n)
    assert d.check().ok
    agrees(d, a, n)


FAR = np.array([[1e4, -1e4, 0], [-1e4, 0, 1e4], [-1e4, -1e4, -1e4]], np.float32)


@pytest.mark.slow
@pytest.mark.parametrize("a", ["softmax", "sigmoid", "softplus", "gelu", "mish", "gaussian"])
def test_no_pair_gives_nan_far_out(a):
    for _, n in [p for p in PAIRS if p[0] == a]:
        y = np.arange(3) if LOSSES[n].target == "labels" else np.eye(3)
        value, grads = nx.compile(derivation(a, n))(z=FAR, y=y.astype("int32" if y.ndim == 1 else "float32"))
        assert np.isfinite(float(value)) and np.isfinite(np.asarray(grads["z"])).all(), n


@pytest.mark.slow
@pytest.mark.parametrize("a", NAMES)
def test_all_pairs(a, x64):
    for _, n in [p for p in PAIRS if p[0] == a]:
        d = derivation(a, n)
        evidence = d.check()
        assert evidence.ok and evidence.proved, (a, n)
        gradient = [row for row in evidence.rows if row.what.startswith("gradient")]
        assert gradient and all(row.verdict == "proved" for row in gradient), (a, n, evidence)
        agrees(d, a, n)
