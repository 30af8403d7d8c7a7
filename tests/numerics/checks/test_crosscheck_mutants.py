"""Hand-written gradients with a planted mistake are all refused, and the mistake is named."""

import pytest
from handwritten import MODELS
from slowkernel import SlowKernel

from numerics.checks.crosscheck import crosscheck

MUTANTS = [  # model, mistake, tensor it shows in, kind, a phrase of the explanation
    ("softmax_regression", "onehot missing", "W", "missing term", "-[k = label[b]] / B is missing"),
    ("softmax_regression", "onehot twice", "W", "doubled term", "-[k = label[b]] / B is counted twice"),
    ("softmax_regression", "onehot added", "c", "sign of a term", "-[k = label[b]] / B has the wrong sign"),
    ("softmax_regression", "softmax missing", "c", "missing term", "]) / B is missing"),
    ("softmax_regression", "bias left out", "W", "missing term", "the term c[k] is missing"),
    ("softmax_regression", "1/B missing", "W", "factor", "missing 1/B of"),
    ("softmax_regression", "1/B twice", "c", "factor", "an extra 1/B"),
    ("softmax_regression", "1/K for 1/B", "W", "factor", "B/K times ours"),
    ("softmax_regression", "sign", "W", "sign", "theirs is minus ours"),
    ("softmax_regression", "bias not summed", "c", "missing sum", "right after a sum over axis 0 (size B)"),
    ("softmax_regression", "bias averaged", "c", "factor", "theirs is 1/B of ours"),
    ("softmax_regression", "labels shifted", "W", "index shift", "rolled by +1 along axis 1 (k)"),
    ("mlp", "2 missing", "W1", "factor", "1/2 of ours"),
    ("mlp", "mean over the batch only", "c2", "factor", "K times ours"),
    ("mlp", "target missing", "W2", "missing term", "y[b,k]"),
    ("mlp", "target added", "W2", "sign of a term", "y[b,k]"),
    ("mlp", "slope missing", "W1", "missing", "a[b,h]^2"),
    ("mlp", "slope of a sigmoid", "c1", "another factor", "the factor 1 - a[b,h]^2 stands; yours fits"),
    ("mlp", "slope not squared", "W1", "power", "the power of a[b,h] is 1, not 2"),
    ("mlp", "slope with a plus", "W1", "sign", "a[b,h]^2"),
    ("mlp", "hidden layer stopped", "W1", "zero", "all zero"),
    ("mlp", "W1 transposed", "W1", "transpose", "W1.T fits and is right"),
    ("mlp", "biases swapped names", "c2", "missing", "no gradient of c2 was returned"),
    ("mlp", "biases swapped names", "c3", "extra", "c3 is not differentiated here"),
    ("mlp", "first column zero", "W2", "zeroed slice", "zero at position 0 of axis 1 (k)"),
    ("mlp", "one sample left out", "W2", "range", "the first position of the sum over b is left out"),
    ("layer_norm", "gain missing", "x", "missing factor", "gain[i]"),
    ("layer_norm", "path through the mean missing", "x", "missing term", "is missing"),
    ("layer_norm", "path through the variance missing", "x", "missing term", "is missing"),
    ("layer_norm", "variance path twice", "x", "doubled term", "is counted twice"),
    ("layer_norm", "variance path added", "x", "sign of a term", "has the wrong sign"),
    ("layer_norm", "both paths missing", "x", "missing term", " and the term "),
    ("layer_norm", "sums for means", "x", "factor", "1/I"),
    ("layer_norm", "1/std missing", "x", "missing factor", "out_rsqrt[b]"),
    ("layer_norm", "not normalised", "gain", "missing factor", "out_rsqrt[b]"),
    ("layer_norm", "gain and shift swapped", "gain", "swapped", "this is the gradient of shift"),
    ("layer_norm", "shift averaged", "shift", "factor", "1/B of ours"),
    ("embedding", "target missing", "E", "missing", "y[b,t,e]"),
    ("embedding", "1/B missing", "E", "factor", "missing 1/B of"),
    ("embedding", "1/T too many", "E", "factor", "an extra 1/T"),
    ("embedding", "assigned, not added", "E", "repeated index", "yours keeps the last of them"),
    ("embedding", "first position left out", "E", "range", "the first position of the sum over t is left out"),
    ("embedding", "tokens counted from one", "E", "index shift", "rolled by +1 along axis 0 (v)"),
    ("embedding", "padding row zero", "E", "zeroed slice", "zero at position"),
    ("embedding", "sign", "E", "sign", "theirs is minus ours"),
    ("conv", "2 missing", "K", "factor", "1/2 of ours"),
    ("conv", "target missing", "x", "missing", "y[b,u,v,k]"),
    ("conv", "kernel flipped in dx", "x", "reversed", "K[r,s,c,k] is read backwards along r and s"),
    ("conv", "dK flipped", "K", "reversed", "reversed along axis 0 (r) and axis 1 (s)"),
    ("conv", "dK flipped in one axis", "K", "reversed", "reversed along axis 1 (s)"),
    ("conv", "channels exchanged", "K", "transpose", "transpose(0, 1, 3, 2) fits and is right"),
    ("conv", "edge rows zero", "x", "zeroed slice", "of axis 1 (h), right elsewhere"),
    ("conv", "dx one row off", "x", "index shift", "rolled by -1 along axis 1 (h)"),
    ("conv", "mean over positions", "K", "factor", "theirs is"),
]


def against(model, mistake, seed=0):
    derivation, gradients = MODELS[model]
    return crosscheck(SlowKernel(derivation()), lambda **inputs: gradients(mistake, **inputs), seed=seed)


def test_there_are_at_least_forty_mutants():
    assert len({(model, mistake) for model, mistake, *_ in MUTANTS}) >= 40


@pytest.mark.parametrize("model", MODELS)
def test_the_right_gradient_passes(model):
    report = against(model, "")
    assert report.ok, report
    assert all(v.error < 1e-13 for v in report.verdicts)


@pytest.mark.parametrize(("model", "mistake", "tensor", "kind", "phrase"), MUTANTS)
def test_a_mutant_is_refused_and_named(model, mistake, tensor, kind, phrase):
    report = against(model, mistake)
    assert not report.ok
    verdict = report[tensor]
    assert not verdict.ok
    assert kind in verdict.kind, f"{verdict.kind}: {verdict.text}"
    assert phrase in verdict.text
    assert phrase in str(report)
