"""A fault of the library itself, planted in one of its rooms, is refused by two rungs of the ladder; a printer's by one.

The rungs: the exact check, the replay of the steps, the evaluator of the written definitions (values), autodiff of it
(gradients), and the Taylor remainder of the kernel's own loss.
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy
from sympy import Integer, Piecewise, exp, log, oo, sqrt, tanh

import derive as dv
import numerics as nx
from derive.language.tensor import Read
from derive.passes import adjoints, log_domain, pipeline, saved_values
from derive.program import ingest
from derive.program.program import Row
from numerics.checks.ground import float64
from numerics.checks.opponent import Opponent, flatten
from numerics.checks.taylor import order
from numerics.emit.patterns import convolution
from numerics.emit.source import printer
from numerics.emit.terms import pointwise
from numerics.reference.sampling import draw_arrays, draw_sizes

DRAWS = 4

b, i, j, k = dv.indices("b i j k")
q, p = dv.indices("q p", size="N")
r = dv.index("r", 3)


def masked():
    s, w = dv.tensor("s", q, p), dv.tensor("w", q, p)
    a = dv.define("a", (q, p), Piecewise((s[q, p], p <= q), (-oo, True)))
    lse = dv.define("lse", (q,), log(dv.Sum(exp(a[q, p]), p)))
    return dv.define("loss", (), dv.Sum(w[q, p] * exp(a[q, p] - lse[q]), q, p)), [s]


def distances():
    x = dv.tensor("x", q)
    return dv.define("loss", (), dv.Sum(Piecewise((1 / (x[q] - x[p]), q < p), (0, True)), q, p)), [x]


def bilinear():
    A, x, y = dv.tensor("A", q, p), dv.tensor("x", q), dv.tensor("y", q)
    return dv.define("loss", (), dv.Sum(x[q] * A[q, p] * y[p], q, p)), [A, x]


def network():
    x, y = dv.tensor("x", b, i), dv.tensor("y", b)
    W, v = dv.tensor("W", i, j), dv.tensor("v", j)
    h = dv.define("h", (b, j), tanh(dv.Sum(x[b, i] * W[i, j], i)))
    e = dv.define("e", (b,), y[b] - (dv.Sum(h[b, j] * v[j], j) - sympy.Rational(3, 10)))
    return dv.define("loss", (), dv.Sum(e[b] ** 2, b) / b.size), [W, v]


def normalized():
    x, g = dv.tensor("x", b, i), dv.tensor("g", b, i)
    ms = dv.define("ms", (b,), dv.Sum(x[b, i] ** 2, i) / i.size)
    return dv.define("loss", (), dv.Sum(g[b, i] * x[b, i] / sqrt(ms[b] + sympy.Float("0.1")), b, i)), [x, g]


def pooled():
    x, w = dv.tensor("x", q), dv.tensor("w", q)
    y = dv.define("y", (q,), dv.Max(x[q + r - 1] - 3, r))
    return dv.define("loss", (), dv.Sum(w[q] * y[q], q)), [x, w]


def largest():
    s, w = dv.tensor("s", q, p), dv.tensor("w", q)
    y = dv.define("y", (q,), dv.Max(Piecewise((s[q, p], p <= q), (-oo, True)), p))
    return dv.define("loss", (), dv.Sum(w[q] * y[q] ** 2, q)), [s, w]


def neighbours():
    x, w = dv.tensor("x", q), dv.tensor("w", q)
    rise = Piecewise((sqrt((x[q + 1] - x[q]) ** 2 + 1), q < q.size - 1), (0, True))
    return dv.define("loss", (), dv.Sum(w[q] * rise, q)), [x, w]


def softmax():
    s, w = dv.tensor("s", q, p), dv.tensor("w", q, p)
    r = dv.index("r", q.size)
    return dv.define("loss", (), dv.Sum(w[q, p] * exp(s[q, p]) / dv.Sum(exp(s[q, r]), r), q, p)), [s]


def convolved():
    u = dv.index("u")
    x, w, y = dv.tensor("x", b, 2 * u.size + 1, i), dv.tensor("w", 3, i, k), dv.tensor("y", b, u, k)
    z = dv.define("z", (b, u, k), dv.Sum(x[b, 2 * u + r, i] * w[r, i, k], r, i))
    return dv.define("loss", (), dv.Sum((z[b, u, k] - y[b, u, k]) ** 2, b, u, k)), [x, w]


def written(change):
    """Ingestion that reads something else than what was written."""
    return ingest, "normalise", lambda right: lambda e, who: right(change(e), who)


def swapped(e):
    return e.xreplace({x: Read(x.tensor, *reversed(x.idx)) for x in e.atoms(Read) if x.tensor.name == "A"})


def other_number(e):
    return e.replace(lambda n: n.is_Rational and not n.is_Integer, lambda n: 2 * n)


def shifted_rows(right):
    def changed(f):
        rows, inside = right(f)
        return [Row(x.op, x.lhs, x.rhs + 1) for x in rows], inside

    return changed


def without_rows(right):
    return lambda f: ([], right(f)[1])


def without_ranges(right):
    def changed(term):
        out = right(term)
        return out if out is None else replace(out, rows=tuple(x for x in out.rows if x.op == "=="))

    return changed


def negative(of):
    return lambda right: lambda e, *more: -right(e, *more) if isinstance(e, of) else right(e, *more)


def twice(right):
    return lambda f, *more: 2 * g if (g := right(f, *more)) != f else f


def other_call(right):
    return lambda scope, name, args, order: right(scope, {"tanh": "sin"}.get(name, name), args, order)


def strict(right):
    def changed(left, other, op):
        left, other, op = right(left, other, op)
        return left, other, {"<=": "<", ">=": ">"}.get(op, op)

    return changed


FAULTS = {
    "ingestion: an infinite branch lost": (masked, *written(lambda e: e.xreplace({-oo: Integer(0)}))),
    "ingestion: a condition lost": (masked, *written(lambda e: e.replace(Piecewise, lambda *a: a[0][0]))),
    "ingestion: an index swapped": (bilinear, *written(swapped)),
    "ingestion: a constant changed": (network, *written(other_number)),
    "guards: a row shifted": (distances, ingest, "split_guard", shifted_rows),
    "guards: a row lost": (distances, ingest, "split_guard", without_rows),
    "guards: of a mask": (largest, ingest, "split_masked", shifted_rows),
    "guards: positions that do not exist": (pooled, ingest, "ranges", lambda right: lambda e: []),
    "pass: a slope": (network, adjoints, "partial", negative(tanh)),
    "pass: a range of a contraction": (neighbours, pipeline, "contract", without_ranges),
    "pass: a saved value": (
        normalized,
        saved_values.Saved,
        "_root",
        lambda right: lambda self, e, used: -right(self, e, used),
    ),
    "pass: a log-sum-exp": (softmax, log_domain, "_in_lse", twice),
    "emitter: a function": (network, pointwise, "call", other_call),
    "emitter: a condition": (masked, pointwise, "tidy", strict),
    "emitter: strides": (
        convolved,
        convolution,
        "options",
        lambda right: lambda *a: {n: v for n, v in right(*a).items() if n != "strides"},
    ),
    "printer: precedence": (
        network,
        printer,
        "PRECEDENCE",
        lambda right: {**right, "+": printer.POW, "-": printer.POW},
    ),
}


def rungs(loss, wrt):
    """Which rungs of the ladder refuse; an error of the library on the way is a refusal by the one that met it."""
    refused = set()
    d = dv.backprop(loss, wrt)
    try:
        rows = d.check().rows
    except dv.DeriveError:
        rows = ()
        refused |= {("replay" if key == "steps" else "exact") for key, v in d.evidence.items() if v == "refuted"}
    assert rows or refused
    with float64():
        kern = nx.compile(d, check=False)  # which would refuse first
        sizes = draw_sizes(d.program, {}, False, 0) or {}
        for seed in range(DRAWS):
            arrays = draw_arrays(d.program, sizes, {}, np.random.default_rng(seed), d.wrt)
            refused |= _by_numbers(kern, Opponent(d, sizes), {n: np.asarray(a) for n, a in arrays.items()})
    return refused


def _by_numbers(kern, opponent, arrays):
    """What the values, gradients and the Taylor remainder say at one draw."""

    def ours(given):
        return flatten(kern.derivation, kern(**{t.name: given[t.name] for t in kern.inputs}))

    try:
        found, wanted = ours(arrays), opponent(arrays)
    except Exception:  # the module does not run: the first comparison refuses it, and the next
        return {"values", "gradients"}
    refused = set()
    for name, a in wanted.items():
        if found[name].shape != a.shape or not np.allclose(found[name], a, rtol=1e-9, atol=1e-12):
            refused.add("values" if name == "loss" else "gradients")
    t = kern.derivation.wrt[0]
    kinks = bool(kern.derivation.kinks)
    remainder = order(
        lambda x: float(ours({**arrays, t.name: x})["loss"]), arrays[t.name], found[t.name], 1e-13, kinks=kinks
    )
    return refused if remainder.ok else refused | {"Taylor"}


QUICK = {  # one of each room in the tests that run always
    "ingestion: an infinite branch lost",
    "guards: a row shifted",
    "pass: a slope",
    "emitter: a function",
    "printer: precedence",
}


def _all(names):
    return [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in names]


@pytest.mark.slow
@pytest.mark.parametrize("make", dict.fromkeys(make for make, *_ in FAULTS.values()))
def test_without_a_fault_nothing_is_refused(make):
    assert rungs(*make()) == set()


@pytest.mark.parametrize("name", _all(FAULTS))
def test_a_planted_fault_is_refused(name, monkeypatch):
    make, home, what, fault = FAULTS[name]
    loss, wrt = make()
    monkeypatch.setattr(home, what, fault(getattr(home, what)))
    refused = rungs(loss, wrt)
    assert len(refused) >= (1 if name.startswith("printer") else 2), refused
