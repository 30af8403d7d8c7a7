"""Update equations under the gradients: shown in every format, and the same steps as optax takes."""

import jax
import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive.derivation.updates import RULES, with_update
from derive.networks import layers as L
from derive.networks.examples import load

OPTAX = {
    "sgd": (optax.sgd(0.1), {"eta": 0.1}),
    "momentum": (optax.sgd(0.1, momentum=0.9), {"eta": 0.1, "mu": 0.9}),
    "nesterov": (optax.sgd(0.1, momentum=0.9, nesterov=True), {"eta": 0.1, "mu": 0.9}),
    "adagrad": (optax.adagrad(0.1, initial_accumulator_value=0.0, eps=1e-7), {"eta": 0.1, "epsilon": 1e-7}),
    "rmsprop": (optax.rmsprop(0.01, decay=0.9, eps=1e-8), {"eta": 0.01, "rho": 0.9, "epsilon": 1e-8}),
    "adam": (optax.adam(0.01, b1=0.8, b2=0.95, eps=1e-8), {"eta": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-8}),
    "adamw": (
        optax.adamw(0.01, b1=0.8, b2=0.95, eps=1e-8, weight_decay=0.05),
        {"eta": 0.01, "beta1": 0.8, "beta2": 0.95, "epsilon": 1e-8, "lambda": 0.05},
    ),
}


@pytest.fixture(scope="module")
def softmax():
    return load("softmax_regression").backprop()


def test_every_rule_is_held_against_optax():
    assert set(OPTAX) == set(RULES)


@pytest.mark.parametrize("rule", OPTAX)
def test_the_written_update_takes_the_steps_that_optax_takes(rule, softmax):
    optimizer, constants = OPTAX[rule]
    rng = np.random.default_rng(3)
    start, gradients = rng.normal(size=(3, 2)), rng.normal(size=(6, 3, 2))
    kernel = nx.compile(with_update(softmax, rule).updates["W"])
    with jax.enable_x64(True):
        parameters, state, expected = start, optimizer.init(start), []
        for g in gradients:
            change, state = optimizer.update(g, state, parameters)
            parameters = optax.apply_updates(parameters, change)
            expected.append(np.asarray(parameters))
        found = kernel(dW=gradients, W_start=start, **{n: np.float64(v) for n, v in constants.items()})[0]
    assert np.abs(np.stack(expected) - start).max() > 1e-3
    np.testing.assert_allclose(np.asarray(found), np.stack(expected), rtol=1e-12, atol=1e-12)


def test_the_update_stands_under_its_gradient_in_text(softmax):
    text = with_update(softmax, "momentum").to_text()
    chapter = text[text.index("The update: Momentum") : text.index("Facts used")]
    lines = [" ".join(line.split()) for line in chapter.splitlines()]
    at = lines.index("dW[i,k] = sum_b x[b,i] dz[b,k] dW = x^T dz (I, K) (8)")
    assert lines[at + 1] == "m[n,i,k] = mu m[n-1,i,k] + dW[n,i,k] (8a)"
    assert lines[at + 2] == "W[n,i,k] = W[n-1,i,k] - eta m[n,i,k] (8b)"
    assert "Polyak" in chapter and "0.9" in chapter


def test_the_update_in_latex_markdown_and_html(softmax):
    document = with_update(softmax, "adam")
    latex = document.to_latex(standalone=True)
    assert r"\hat{m}_{nik} = " not in latex  # aligned
    assert r"W_{nik} &= W_{n-1,i,k} - \frac{\eta \, \hat{m}_{nik}}{\epsilon + \sqrt{\hat{v}_{nik}}} \tag{8e}" in latex
    assert latex.rstrip().endswith(r"\end{document}")
    assert r"\text{(8e)}" in document.to_markdown()
    html = document.to_html()
    assert "The update: Adam" in html and "(8e)" in html and "<script" not in html
    assert document._repr_html_().startswith("<div><style>")


def test_names_that_the_model_already_uses_are_not_taken_twice():
    i, n = dv.indices("i n")
    m, eta = dv.tensor("m", i), dv.tensor("eta", n)
    loss = dv.define("loss", (), dv.Sum(m[i] ** 2, i) * dv.Sum(eta[n] ** 2, n))
    document = with_update(dv.backprop(loss, wrt=[m, eta]), "momentum")
    assert [str(e) for e in document.equations("m")] == [
        "m_2[n,i] = mu m_2[n-1,i] + dm[n,i]",
        "m[n,i] = m[n-1,i] - eta_2 m_2[n,i]",
    ]
    assert [str(e) for e in document.equations("eta")] == [
        "m_2[t,n] = mu m_2[t-1,n] + d_eta[t,n]",
        "eta[t,n] = eta[t-1,n] - eta_2 m_2[t,n]",
    ]


def test_a_scalar_parameter_has_an_update_too():
    (i,) = dv.indices("i")
    x, c = dv.tensor("x", i), dv.tensor("c")
    loss = dv.define("loss", (), dv.Sum((x[i] - c[()]) ** 2, i))
    document = with_update(dv.backprop(loss, wrt=[c]))
    assert [str(e) for e in document.equations("c")] == ["c[n] = c[n-1] - eta dc[n]"]
    kernel = nx.compile(document.updates["c"])
    found = kernel(dc=np.array([1.0, 2.0]), eta=np.float64(0.5), c_start=np.float64(3.0))[0]
    np.testing.assert_allclose(found, [2.5, 1.5])


def test_what_there_is_no_update_of_is_said(softmax):
    with pytest.raises(dv.DeriveError, match="no rule 'adm'; did you mean 'adam'"):
        with_update(softmax, "adm")
    with pytest.raises(dv.DeriveError, match="no update of 'x': the gradients here are of W, c"):
        with_update(softmax).equations("x")


def test_a_network_of_layers_has_an_update_for_every_parameter():
    model = dv.Sequential([L.Conv2D(2, 3), L.Flatten(), L.Dense(2)], input_shape=(5, 5, 1))
    d = model.backprop(loss="sparse_softmax_cross_entropy")
    text = with_update(d, "rmsprop").to_text(example=False)
    assert [n for n in d.gradients if f"The update of {n}\n" in text] == list(d.gradients)
    assert "conv2d_1_kernel[n,r,s,c,o] = conv2d_1_kernel[n-1,r,s,c,o]" in text
