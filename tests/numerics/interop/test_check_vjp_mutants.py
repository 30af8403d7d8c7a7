"""Realistic wrong backward passes of custom_vjp functions: all are refused, and what is said of them is right."""

import time

import pytest
from custom_backwards import FUNCTIONS

import numerics as nx

pytestmark = pytest.mark.slow

CASES = [  # function, mistake, gradient it shows in, kind, a phrase of the explanation
    ("rms_norm", "eps left out", "x", "missing term", "the term 1/100 is missing"),
    ("rms_norm", "mean over the batch", "x", "wrong axis", "sums over i; yours fits a mean over b"),
    ("group_norm", "ddof 1", "x", "another size", "yours fits 1/(D_2*T - 1)"),
    ("group_norm", "positions only", "x", "unexplained", ""),
    ("rope", "turned forward", "x", "sign of a term", "has the wrong sign"),
    ("rope", "second half negated", "x", "wrong slice", "the sign is wrong at positions"),
    ("causal_attention", "no mask", "v", "missing condition", "the condition b >= b' is missing"),
    ("causal_attention", "row sums left out", "q", "missing term", "the term d_p_lse[b] p[b,b'] is missing"),
    ("swiglu", "product rule cut", "x", "missing term", "the term dy[b,j] u[b,j] sigmoid(a[b,j]) is missing"),
    ("swiglu", "gate forgotten", "w", "missing factor", "the factor u[b,j] is missing"),
    ("info_nce", "softmax over rows", "a", "wrong axis", "yours fits a sum over b"),
    ("info_nce", "temperature forgotten", "c", "factor", "missing 2 of (12)"),
    ("depthwise", "kernel not flipped", "x", "reversed", "is read backwards along j"),
    ("depthwise", "no padding", "w", "index shift", "x is read +1 along its axis 1 (T)"),
]


@pytest.mark.parametrize("name, mistake, tensor, kind, phrase", CASES)
def test_it_is_refused_and_explained(name, mistake, tensor, kind, phrase):
    f, args = FUNCTIONS[name](mistake)
    start = time.process_time()
    report = nx.check_vjp(f, *args)
    assert time.process_time() - start < 5
    assert not report.ok
    assert report[tensor].kind == kind and phrase in report[tensor].text, str(report)
    assert any("custom_backwards.py" in place for place in report.places)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_the_right_one_is_accepted(name):
    f, args = FUNCTIONS[name]("")
    report = nx.check_vjp(f, *args)
    assert report.ok, str(report)
