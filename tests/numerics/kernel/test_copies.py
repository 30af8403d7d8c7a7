"""Derivations and kernels are copied and pickled by their definition, trainers copied and written by ``save``."""

import copy
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import sympy
from trainers import blobs, small

import derive as dv
import numerics as nx
from derive import layers as L


def derivation():
    b, t, i, k = dv.indices("b t i k")
    x, W, label = dv.tensor("x", b, t, i), dv.tensor("W", i, k), dv.tensor("label", b, dtype="int", below=k.size)
    c = dv.tensor("c", k, facts=[dv.positive])
    h = dv.define("h", (t, b, k), lambda h: sympy.tanh(dv.Sum(x[b, t, i] * W[i, k], i) + h[t - 1, b, k]) * c[k])
    return dv.backprop(dv.define("loss", (), dv.Sum(h[t, b, label[b]], t, b)), wrt=[W, c])


def deep(layers: int):
    b = dv.index("b")
    x = h = dv.tensor("x", b)
    for n in range(layers):
        h = dv.define(f"h{n}", (b,), sympy.sin(h[b]) + 1)
    return dv.backprop(dv.define("loss", (), dv.Sum(h[b], b)), wrt=[x])


def network():
    return dv.Sequential([L.Dense(4, activation="relu"), L.Dense(3)], (2,)).backprop("sparse_softmax_cross_entropy")


@pytest.mark.parametrize("make", [derivation, network, lambda: deep(150)], ids=["recurrent", "network", "deep"])
@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))])
def test_a_derivation_is_copied(make, again):
    d = make()
    other = again(d)
    assert other is not d and other.loss == d.loss and str(other.program) == str(d.program)
    assert [str(other.gradient(t)) for t in other.wrt] == [str(d.gradient(t)) for t in d.wrt]
    if len(d.program) < 100:
        assert other.to_text() == d.to_text() and nx.compile(other).source == nx.compile(d).source
        assert other.check().ok and (not d.evidence or again is copy.copy) and dv.hvp(other.loss, wrt=list(other.wrt))


def test_another_process_reads_it():
    script = "import pickle, sys, test_copies; sys.stdout.buffer.write(pickle.dumps(test_copies.derivation()))"
    here = Path(__file__).parent
    paths = os.pathsep.join(map(str, (here.parents[2], here.parents[1], here)))
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, check=True, env={**os.environ, "PYTHONPATH": paths}
    )
    there, here = pickle.loads(found.stdout), derivation()
    assert there.loss == here.loss and hash(there.loss) == hash(here.loss) and there.to_text() == here.to_text()


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda k: pickle.loads(pickle.dumps(k))])
@pytest.mark.parametrize("form", ["dense", "structured"])
def test_a_kernel_is_copied(again, form):
    b = dv.index("b")
    w = dv.tensor("w", b)
    kern = nx.compile(dv.hessian(dv.define("loss", (), dv.Sum(w[b] ** 3, b)), wrt=[w]), name="cube", form=form)
    kern.evidence = {"summary": "checked"}
    other = again(kern)
    assert type(other) is type(kern) and other is not kern and other.source == kern.source
    given = {"w": np.arange(3, dtype=np.float32)}
    assert float(other(**given).loss) == float(kern(**given).loss) == 9.0
    if again is not copy.copy:
        other.evidence["summary"] = ""
        assert kern.evidence == {"summary": "checked"}


def test_a_copied_trainer_goes_its_own_way():
    X, Y = blobs()
    t, straight = small(), small()
    straight.fit(X, Y, batch_size=8, epochs=2, verbose=False)
    t.fit(X, Y, batch_size=8, epochs=1, verbose=False)
    before = {n: np.asarray(a) for n, a in t.params.items()}
    other = copy.deepcopy(t)
    other.fit(X, Y, batch_size=8, epochs=1, verbose=False)
    other.params["dense_1_kernel"] = 0 * other.params["dense_1_kernel"]
    assert other.history["loss"] == straight.history["loss"] and (t.epoch, other.epoch, len(t.rows)) == (1, 2, 1)
    for n, a in before.items():
        np.testing.assert_array_equal(t.params[n], a)


def test_a_trainer_says_what_to_save_instead():
    with pytest.raises(nx.NumericsError, match=r"not pickled: t.save\(folder\) writes it, and nx.load"):
        pickle.dumps(small())


@pytest.mark.parametrize("data", [{}, [], None, {"layers": 3}, {"input_shape": 1, "layers": [1], "name": "x"}])
def test_what_is_no_network_is_refused(data):
    with pytest.raises(dv.DeriveError, match="not what model.to_dict"):
        dv.Model.from_dict(data)
