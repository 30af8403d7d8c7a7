"""What was seen is asked of the definitions as they were written, not of what was read from them."""

from dataclasses import replace

import pytest
import sympy
from slowkernel import SlowKernel

import derive as dv
import numerics as nx


def _far(threshold=50000):
    i = dv.index("i")
    z = dv.tensor("z", i)
    h = dv.define("h", (i,), sympy.Piecewise((z[i] ** 2, z[i] > threshold), (z[i], True)))
    return dv.backprop(dv.define("loss", (), dv.Sum(h[i], i)), [z])


@pytest.mark.parametrize("threshold", [None, 100])
def test_a_condition_that_reading_lost_or_moved_is_not_seen(threshold):
    d = _far()
    other = _far(threshold).source if threshold else _far(-(10**9)).source
    if threshold is None:  # the branch is gone
        h = other.equation("h")
        plain = h.terms[0].fac[0].args[0][0]
        cut = replace(h, terms=(replace(h.terms[0], fac=(plain,)),))
        other = replace(other, equations=tuple(cut if e.name == "h" else e for e in other.equations))
    bad = replace(d, source=replace(d.source, equations=other.equations), evidence={})
    report = nx.verify(SlowKernel(bad), dtypes=("float64",))
    assert "z[i] > 50000" in report.not_seen


def test_what_is_met_as_read_and_as_written_is_told_once():
    report = nx.verify(SlowKernel(_far()), dtypes=("float64",))
    assert report.ok and report.not_seen == () and report.coverage.conditions == 1


def test_a_condition_inside_a_sum_under_a_guard_is_met_where_it_is_reached():
    b, k = dv.indices("b k")
    x, y = dv.tensor("x", b, k), dv.tensor("y", b)
    inner = sympy.Piecewise((dv.relu(x[b, k] - 40), y[b] > 2), (0, True))
    d = dv.backprop(dv.define("loss", (), dv.Sum(inner, b, k) + dv.Sum(x[b, k] ** 2, b, k)), [x])
    report = nx.verify(SlowKernel(d), dtypes=("float64",))
    assert report.ok, report
