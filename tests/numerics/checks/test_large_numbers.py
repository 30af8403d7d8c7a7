"""At exponents of 1e4 the opponent is what the author wrote, with 50 digits: a shift that overflows is refused, not unseen."""

from dataclasses import replace

import numpy as np
import pytest
import sympy
from slowkernel import SlowKernel

import derive as dv
import numerics as nx


def _softmax():
    b, k = dv.indices("b k")
    z, y = dv.tensor("z", b, k), dv.tensor("y", b, k)
    lse = dv.define("lse", (b,), sympy.log(dv.Sum(sympy.exp(z[b, k]), k)))
    p = dv.define("p", (b, k), sympy.exp(z[b, k] - lse[b]))
    return dv.define("loss", (), dv.Sum((p[b, k] - y[b, k]) ** 2, b, k)), z


MADE = {
    "backprop": lambda loss, z: dv.backprop(loss, [z]),
    "hvp": lambda loss, z: dv.hvp(loss, [z]),
    "hessian": lambda loss, z: dv.hessian(loss, [z]),
    "jacobian": lambda loss, z: dv.jacobian(loss, [z]),
    "vjp": lambda loss, z: dv.vjp(dv.define("twice", (), 2 * loss[()]), [z]),
}


def _other_maximum(d):
    """The program with the shift of a log-sum-exp taken from the row before: right in exact arithmetic."""
    found = []
    for e in d.program.equations:
        reads = {r: r.func(r.tensor, r.idx[0] - 1) for r in e.reads() if r.tensor.name.endswith("_max")}
        found.append(e.xreplace(reads))
    assert tuple(found) != d.program.equations
    return replace(d, program=replace(d.program, equations=tuple(found)), evidence={})


@pytest.mark.parametrize("kind", MADE)
def test_a_shift_by_another_rows_maximum_is_refused(kind):
    d = MADE[kind](*_softmax())
    assert nx.verify(SlowKernel(d), dtypes=("float64",)).ok
    with np.errstate(all="ignore"):  # the slow kernel is NumPy, which tells that it overflows
        report = nx.verify(SlowKernel(_other_maximum(d)), dtypes=("float64",))
    told = [f for f in report.findings if "50 digits" in f.opponent and f.verdict == "FAIL"]
    assert told, report


def test_a_value_that_no_float_holds_is_no_fault():
    i = dv.index("i")
    x = dv.tensor("x", i)
    d = dv.backprop(dv.define("loss", (), dv.Sum(sympy.exp(x[i]) - x[i], i)), [x])
    report = nx.verify(nx.compile(d), dtypes=("float64",))
    assert report.ok and "exponents of +-1e4" in report.coverage.absent


def test_what_no_form_computes_is_no_fault():
    """At a = 1e4, e^a is no number of the machine, and exp(-d^2 e^a) has no other form; a log of it would have one."""
    i = dv.index("i")
    a, d = dv.tensor("a", i), dv.tensor("d", i)
    body = sympy.exp(-(d[i] ** 2) * sympy.exp(a[i]))
    report = nx.verify(nx.compile(dv.backprop(dv.define("loss", (), dv.Sum(body, i)), [a, d])), dtypes=("float64",))
    assert report.ok, report
