"""What a notebook shows when a cell ends in an object: every kind has its own picture, with what ``print`` says in it."""

from xml.etree import ElementTree

import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L


@pytest.fixture(scope="module")
def made():
    b, i = dv.indices("b i")
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i, role="parameter")
    z = dv.define("z", (b,), dv.Sum(x[b, i] * w[i], i))
    d = dv.backprop(dv.define("loss", (), dv.Sum((z[b] - y[b]) ** 2, b) / b.size), wrt=[w])
    kern = nx.compile(d)
    report = nx.crosscheck(kern, lambda x, y, w: {"w": x.T @ (x @ w - y) / len(y)})
    model = dv.Sequential([L.Dense(3, activation="tanh"), L.Dense(2)], input_shape=(4,))
    trainer = nx.Trainer(model, loss="sparse_softmax_cross_entropy", optimizer="adam")
    found = {
        "derivation": d,
        "step": d.steps[1],
        "evidence": d.check(),
        "kernel": kern,
        "report": nx.verify(kern),
        "crosscheck": report,
        "model": model,
        "summary": model.summary(),
        "trainer": trainer,
    }
    return x, z, d, found


WORDS = {
    "derivation": "The derivation",
    "step": "Step",
    "evidence": "proved",
    "kernel": "loss",
    "report": "independent forward",
    "crosscheck": "fits 1/2 of",
    "model": "dense_2",
    "summary": "dense_2",
    "trainer": "dense_1",
}


@pytest.mark.parametrize("kind", WORDS)
def test_an_object_shows_itself(made, kind):
    html = made[3][kind]._repr_html_()
    root = ElementTree.fromstring(html.replace("&nbsp;", " "))
    words = " ".join(root.itertext())
    assert root.tag == "div" and (WORDS[kind] in words or kind == "crosscheck")


def test_reports_have_their_table(made):
    for kind in ("evidence", "report", "crosscheck"):
        found = made[3][kind]
        root = ElementTree.fromstring(found._repr_html_())
        cells = [c.text or "" for c in root.iter("td")]
        assert cells and all(c.split("\n")[0] in str(found) for c in cells)


def test_tensors_and_equations_are_mathematics(made):
    x, z, d, _ = made
    assert x._repr_latex_() == "$\\displaystyle x_{bi}$" and r"\sum_{i}" in z._repr_latex_()
    assert d.gradient("w")._repr_latex_().startswith("$\\displaystyle ")


def test_a_trainer_shows_its_curves():
    model = dv.Sequential([L.Dense(2)], input_shape=(3,))
    t = nx.Trainer(model, loss="sparse_softmax_cross_entropy", optimizer="sgd")
    t.fit(np.eye(3, dtype="float32"), np.array([0, 1, 0]), epochs=2, verbose=False)
    assert "<td>loss</td>" in t._repr_html_()


def test_a_name_cannot_be_markup():
    model = dv.Sequential([L.Dense(2)], input_shape=(3,), name="<script>")
    assert "<script>" not in model._repr_html_()
