"""Formulas of statistics and machine learning: the printed form, read back, proved, and against autodiff in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from papers import PAPERS
from test_closed_forms import derived, normal

import derive as dv
from numerics.checks.ground import float64
from numerics.reference.definitions import evaluate
from numerics.reference.sampling import draw

SIZES = {"n": 4, "m": 3, "p": 2, "q": 3, "k": 2, "N": 4, "M": 3, "K": 2, "L": 3}
ANY, POSITIVE = "normal", "(0.2, 1.5)"  # what inputs are drawn from
EXACTLY = {  # text for text
    "ridge": "X'(X w - y) + lam w",
    "logistic labels 0 1": "X'(sigmoid(X w) - y)",
    "H logistic labels 0 1": "X'diag(sigmoid(X w) .* (vector(1) - sigmoid(X w))) X",
    "GP likelihood by K": "(inv(K) - inv(K) y y'inv(K)) / 2",
    "factor analysis": "2 inv(L L' + P) (L - S inv(L L' + P) L)",
    "two layers": "((V'(V tanh(W x) - y)) .* (vector(1) - tanh(W x).^2))x'",
    "RBF kernel": "-2 g exp(-g ||x - y||^2) (x - y)",
    "Huber by root": "-X'((y - X w) ./ sqrt(vector(1) + (y - X w).^2))",
    "H log barrier": "A'diag((b - A x).^(-2)) A",
    "ICA": "tanh(W x) x' - inv(W)'",
}
SAMPLE = ("ridge", "RBF kernel", "H log barrier", "Huber by root")


def checked(row):
    name, _, by, order, _, book = row
    d, asked = derived(row)
    form = d.closed_form(asked)
    equation = d.program.equation(form.name)
    assert form.proof.verdict == "proved"
    assert normal(str(form), d, equation) == normal(book, d, equation), f"{name}: the book {book}, ours {form}"
    assert str(form) == EXACTLY.get(name, str(form))
    value = list(dv.matrix(f"{form.declared}; {form}").values())[-1]
    _agrees(d, value, by, order)


def _agrees(d, value, by, order):
    """The closed form's own definitions, evaluated, against autodiff of the loss's, where both exist."""
    inputs = {t.name: t for t in d.source.inputs}
    sizes = {s: SIZES[s.name] for t in inputs.values() for a in t.axes for s in a.free_symbols}
    differentiate = jax.grad if order == 1 else jax.hessian
    with float64(), np.errstate(all="ignore"):
        for seed in range(100):
            rng = np.random.default_rng(seed)
            arrays = {
                n: np.asarray(draw(t, sizes, ANY if seed % 2 else POSITIVE, rng), float) for n, t in inputs.items()
            }
            if not np.isfinite(evaluate([d.loss], arrays, sizes, np)[d.loss.name]):
                continue
            true = differentiate(lambda x, a=arrays: evaluate([d.loss], {**a, by: x}, sizes, jnp)[d.loss.name])(
                arrays[by]
            )
            ours = evaluate([value], arrays, sizes, np)[value.name]
            assert np.isfinite(ours).all() and np.isfinite(true).all() and np.any(true)
            np.testing.assert_allclose(np.broadcast_to(ours, true.shape), true, rtol=1e-8, atol=1e-8)
            return
    pytest.fail("no draw gives a finite loss")


@pytest.mark.parametrize("row", [r for r in PAPERS if r[0] in SAMPLE], ids=lambda r: r[0])
def test_a_sample(row):
    checked(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", [r for r in PAPERS if r[0] not in SAMPLE], ids=lambda r: r[0])
def test_all(row):
    checked(row)
