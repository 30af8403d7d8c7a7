"""Mistakes that only the equations can name: which element of which equation, and both forms."""

import pytest
from explained_programs import PROGRAMS
from slowkernel import SlowKernel

from numerics.checks.crosscheck import crosscheck

CASES = [  # program, mistake, tensor it shows in, kind, a phrase of the explanation
    ("rms_norm", "eps missing", "x", "missing term", "the term eps is missing"),
    ("rms_norm", "eps outside the root", "x", "constant", "eps is added under the root"),
    ("rms_norm", "mean over the rows", "x", "wrong axis", "sums over f; yours fits a mean over t"),
    ("group_norm", "positions only", "x", "wrong axis", "sums over s and e; yours fits a mean over s"),
    ("group_norm", "ddof", "x", "another size", "the coefficient is 1/(E*S); yours fits 1/(E*S - 1)"),
    ("group_norm", "eps", "x", "constant", "0.001 differs; yours fits 1e-05"),
    ("group_norm", "x for xh", "x", "another tensor", "xh[n,s,g,e] is read; yours fits x[n,s,E*g+e]"),
    ("group_norm", "strided channels", "x", "permuted axis", "grouped as G by E; yours fits E by G"),
    ("attention", "no mask", "V", "missing condition", "the condition q <= p and r <= p is missing"),
    ("attention", "mask transposed", "Q", "condition", "q <= p; yours fits p <= q"),
    ("attention", "Jacobian over queries", "Q", "wrong axis", "sums over q; yours fits a sum over p"),
    ("attention", "D without mask", "K", "stale value", "comes from a forward where the condition"),
    ("attention", "scale of the values", "Q", "factor", "sqrt(H/A) times ours"),
    ("info_nce", "softmax over rows", "a", "wrong axis", "sums over m; yours fits a sum over n"),
    ("info_nce", "temperature missing", "c", "factor", "tau times ours"),
    ("info_nce", "G for G'", "c", "transpose", "[n',n] is read; yours fits"),
    ("info_nce", "norm + eps", "a", "constant", "yours fits na[n] + 1e-06 there"),
    ("depthwise", "dilation 1", "x", "wrong step", "t = t' - 2 r is summed over; yours fits t = t' - r"),
    ("depthwise", "dilation 3", "K", "wrong step", "x[b,t-2r,c] is read; yours fits x[b,t-3r,c]"),
    ("depthwise", "one late", "K", "index shift", "x[b,t-2r,c] is read; yours fits x[b,t-2r-1,c]"),
    ("depthwise", "wrapped", "x", "wrap-around", "it wrapped around, modulo T"),
    ("rotary", "position rolled", "x", "index shift", "is read -1 along its axis 0 (T), wrapped around; and"),
    ("rotary", "turned before", "x", "index shift", "are read; yours fits sin[t,c]"),
    ("rotary", "interleaved", "x", "interleaved", "yours fits neighbours"),
    ("triplet", "all active", "n", "missing condition", "the condition near[b] + 1 - far[b] > 0 is missing"),
    ("triplet", "no margin", "a", "condition", "near[b] + 1 - far[b] > 0; yours fits near[b] - far[b] > 0"),
    ("triplet", "mean over active", "p", "factor", "positions where near[b] + 1 - far[b] is positive"),
    ("experts", "diagonal only", "G", "wrong axis", "yours fits no sum: the element itself (only the diagonal)"),
    ("gated", "s + a s", "W", "missing factor", "the factor 1 - s[b,j]"),
    ("gated", "s (1 - s)", "W", "two mistakes", "; and in"),
    ("gated", "weights swapped", "x", "another tensor", "W[i,j] is read; yours fits V[i,j]"),
    ("focal", "gamma 1", "z", "power", "is 1, not 2 (forward and backward)"),
    ("focal", "gamma 4", "z", "power", "is 4, not 2 (forward and backward)"),
    ("heads", "heads last", "W", "permuted axis", "x[b,t,E*g+e] is read; yours fits x[b,t,G*e+g]"),
    ("heads", "reversed", "x", "reversed", "reversed along axis 1 (t)"),
    ("heads", "permuted", "x", "permuted axis", "the positions of axis 2 (c) are permuted"),
    ("heads", "root of a ratio", "x", "factor", "sqrt(E/F) times ours"),
    ("cross_entropy", "softmax over the batch", "W", "wrong axis", "sums over k; yours fits a sum over b"),
    ("cross_entropy", "tau squared", "W", "constant", "the exponent -1 of 1 / tau differs; yours fits -2"),
    ("cross_entropy", "root of tau", "W", "constant", "the exponent -1 of 1 / tau differs; yours fits -0.5"),
    ("cross_entropy", "1/tau missing", "W", "factor", "tau"),
    ("cross_entropy", "rows of y sum to 1", "W", "missing sum", "the sum"),
    ("huber", "delta 1", "z", "constant", "0.75 differs in every place; yours fits 1"),
    ("huber", "delta 1/2", "z", "constant", "0.75 differs in every place; yours fits 0.5"),
    ("leaky", "slope 0.01", "x", "constant", "yours fits 0.01"),
    ("leaky", "no slope", "x", "constant", "yours fits 0"),
    ("hinge", "margin 2", "z", "condition", "yours fits 2 - y[b] z[b] > 0"),
    ("hinge", "margin 1/2", "z", "condition", "yours fits 1/2 - y[b] z[b] > 0"),
    ("recurrent", "state after the step", "V", "index shift", "s[t-1,b,m] is read; yours fits s[t,b,m]"),
    ("recurrent", "time not followed", "U", "missing term", "is missing"),
    ("recurrent", "V for V'", "U", "transpose", "is read; yours fits V[h',h]"),
    ("image", "no padding", "x", "index shift", "are summed over; yours fits"),
    ("image", "no padding", "K", "index shift", "is read; yours fits x[b,r+u,s+v,c]"),
    ("image", "wrapped", "x", "wrap-around", "yours fits both wrapped around"),
    ("image", "dilated", "K", "wrong step", "is read; yours fits x[b,2r+u-1,2s+v-1,c]"),
    ("gates", "gates exchanged", "old", "another factor", "the factor z[b,h] stands; yours fits 1 - z[b,h]"),
    ("gates", "slope of a tanh", "U", "another factor", "yours fits 1 - z[b,h]^2"),
    ("gates", "slope of a sigmoid", "A", "another factor", "yours fits n[b,h] (1 - n[b,h])"),
    ("dice", "smoothing 1e-5", "p", "constant", "the constant 1 in top and bottom differs; yours fits 1e-05"),
    ("dice", "not squared", "p", "power", "the power 2 differs in every place; yours fits 1"),
    ("windowed", "no window", "s", "missing condition", "the condition p < q + 3 is missing"),
    ("windowed", "one more", "v", "condition", "p < q + 3; yours fits p <= q + 3"),
    ("windowed", "one less", "s", "condition", "p < q + 3; yours fits p < q + 2"),
]


def against(program, mistake):
    derivation, gradients = PROGRAMS[program]
    return crosscheck(SlowKernel(derivation()), lambda **inputs: gradients(mistake, **inputs))


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_right_gradient_passes(program):
    report = against(program, "")
    assert report.ok, report


@pytest.mark.parametrize(("program", "mistake", "tensor", "kind", "phrase"), CASES)
def test_a_mistake_is_named(program, mistake, tensor, kind, phrase):
    report = against(program, mistake)
    assert not report[tensor].ok
    assert kind == report[tensor].kind, report
    assert phrase in report[tensor].text, report[tensor].text
    assert all(v.ok or v.kind != "unexplained" for v in report.verdicts), report
