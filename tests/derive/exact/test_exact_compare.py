"""``d.compare``: the same function in any form is recognised; the usual mistakes are named."""

import exact_programs as hand
import pytest
import sympy
from sympy import Eq, exp

import derive as dv
from derive.language.errors import DeriveError

b, i, k = dv.indices("b i k")


@pytest.fixture(scope="module")
def softmax():
    d = hand.softmax_regression()
    t = {x.name: x for x in (*d.program.inputs, *(e.tensor for e in d.program.equations))}
    return d, t


def test_the_same_function_in_other_words(softmax):
    d, t = softmax
    x, z, lse, label = t["x"], t["z"], t["lse"], t["label"]
    j = dv.index("j", size="K")
    p = exp(z[b, k]) / dv.Sum(exp(z[b, j]), j)
    for same in (
        dv.Sum(x[b, i] * (p - dv.Iverson(Eq(label[b], k))), b) / b.size,
        dv.Sum(x[b, i] * exp(z[b, k] - lse[b]), b) / b.size - dv.Sum(x[b, i] * dv.Iverson(Eq(k, label[b])), b) / b.size,
        dv.Sum(x[b, i] * t["dz"][b, k], b),
        "sum[b](x[b,i] * (exp(z[b,k] - lse[b]) - [k == label[b]])) / B",
        "sum[b](x[b,i] * dz[b,k])",
    ):
        found = d.compare("W", same)
        assert found and found.verdict == "proved", str(found)
    assert "the same function" in str(found)
    assert d.compare(t["c"], "sum[b](dz[b,k])")


@pytest.mark.parametrize(
    "text, mistake",
    [
        ("-sum[b](x[b,i] * dz[b,k])", "wrong sign"),
        ("B * sum[b](x[b,i] * dz[b,k])", "missing 1/B"),
        ("sum[b](x[b,i] * dz[b,k]) / B", "an extra 1/B"),
        ("2 * sum[b](x[b,i] * dz[b,k])", "it is 2 times"),
        ("-sum[b](x[b,i] * dz[b,k]) / 2", "it is -1/2 times"),
        ("K * sum[b](x[b,i] * dz[b,k]) / B", "it is K/B times"),
        ("sum[b](x[b,i] * exp(z[b,k] - lse[b])) / B", "a missing term: "),
        ("-sum[b](x[b,i] * [k == label[b]]) / B", "a missing term: "),
        ("sum[b](x[b,i] * (exp(z[b,k] - lse[b]) - 2*[k == label[b]])) / B", "a doubled term: "),
        ("sum[b](x[b,i] * (exp(z[b,k] - lse[b]) + [k == label[b]])) / B", "wrong sign of one term: "),
        ("sum[b](x[b,i+1] * dz[b,k])", "index shift: it is the gradient at i + 1"),
        ("sum[b](x[b,i] * dz[b,k-1])", "index shift: it is the gradient at k - 1"),
    ],
)
def test_mistakes_are_named(softmax, text, mistake):
    d, _ = softmax
    found = d.compare("W", text)
    assert not found and found.verdict == "refuted"
    assert mistake in found.mistake, str(found)
    assert "dW[" in found.difference and "ours" in found.difference and "given" in found.difference
    assert found.mistake in str(found)


def test_the_named_term_is_the_one_that_is_missing(softmax):
    d, _ = softmax
    found = d.compare("W", "sum[b](x[b,i] * exp(z[b,k] - lse[b])) / B")
    assert "label" in found.mistake and "exp" not in found.mistake


def test_a_mistake_nobody_knows_is_only_a_difference(softmax):
    d, _ = softmax
    found = d.compare("W", "sum[b](x[b,i]^2 * dz[b,k])")
    assert not found and found.mistake == "" and found.difference


def test_transpose():
    d = hand.bilinear()
    p, q = dv.indices("p q", size="N")
    x, y = (t for t in d.program.inputs if t.name in "xy")
    found = d.compare("A", x[q] * y[p])
    assert not found and found.mistake.startswith("transpose: it is the gradient with p and q exchanged")
    assert d.compare("A", y[q] * x[p])


def test_a_gradient_that_is_undecided_mod_p_still_compares():
    n = dv.index("n")
    x = dv.tensor("x", n, facts=[dv.positive])
    d = hand.by_hand(
        dv.define("loss", (), dv.Sum(x[n] * sympy.log(x[n]), n)),
        {x: dv.define("dx", (n,), 2 * sympy.log(x[n]) + 2 - sympy.log(x[n]) - 1)},
    )
    found = d.compare("x", sympy.log(x[n] ** 2) / 2 + 1)
    assert found and found.verdict == "undecided" and found.by == "50-digit evaluation"
    assert not d.compare("x", sympy.log(x[n] ** 2) + 1)


def test_refusals(softmax):
    d, t = softmax
    with pytest.raises(DeriveError):
        d.compare("W", t["x"][b, i])  # b is free
    with pytest.raises(DeriveError, match="no gradient of 'label'"):
        d.compare("label", t["x"][b, i])
    with pytest.raises(DeriveError):
        d.compare("W", "sum[b](x[b,i] *")
