"""The exact check on derivations written by hand: right ones are proved, wrong ones refused with what differs."""

from dataclasses import replace

import exact_programs as hand
import pytest
import sympy

import derive as dv
from derive.exact import check as checking
from derive.exact import evaluate
from derive.exact.case import Case
from derive.exact.decide import decide
from derive.exact.verdict import PROVED, REFUTED, UNDECIDED
from derive.language.errors import DerivationError
from derive.networks import layers as L


@pytest.mark.parametrize(
    "make", [hand.softmax_regression, hand.convolution, hand.max_pool, hand.recurrent, hand.layer_norm, hand.bilinear]
)
def test_textbook_gradients_are_proved(make):
    d = make()
    evidence = d.check()
    assert evidence.ok and not evidence.undecided
    assert {f"gradient {n}" for n in d.gradients} <= set(evidence.named("proved"))
    assert all(d.evidence[f"gradient:{n}"] == PROVED for n in d.gradients)
    assert all(row.by == "exact mod 2**61-1" for row in evidence.rows if row.what != "results")


@pytest.mark.parametrize(
    "make, wrong",
    [
        (lambda: hand.softmax_regression(sign=-1), "gradient W"),
        (lambda: hand.softmax_regression(factor=2), "gradient W"),
        (lambda: hand.softmax_regression(factor=sympy.Integer(1) * dv.size("B")), "gradient W"),
        (lambda: hand.softmax_regression(onehot=0), "gradient W"),
        (lambda: hand.softmax_regression(shift=1), "gradient W"),
        (lambda: hand.convolution(divisible=False), "gradient x"),
        (lambda: hand.convolution(padding=0), "gradient x"),
        (lambda: hand.max_pool(everywhere=True), "gradient x"),
        (lambda: hand.recurrent(later=2), "gradient U"),
        (lambda: hand.layer_norm(whole=False), "gradient x"),
        (lambda: hand.bilinear(transposed=True), "gradient A"),
    ],
)
def test_mistakes_are_refuted(make, wrong):
    d = make()
    with pytest.raises(DerivationError, match=f"{wrong} is refuted") as error:
        d.check()
    text = str(error.value)
    assert f"equation  d{wrong[-1]}" in text and "derived" in text and "true" in text
    assert d.evidence[wrong.replace(" ", ":")] == REFUTED


def test_the_message_shows_the_element_and_both_values():
    with pytest.raises(DerivationError) as error:
        hand.bilinear(transposed=True).check()
    text = str(error.value)
    assert "dA[0, 1]: derived " in text, text
    derived, true = (float(text.split(f"{word} ")[1].split()[0]) for word in ("derived", "true"))
    assert derived != true


def test_other_seeds_agree():
    for seed in (1, 2):
        assert hand.softmax_regression().check(seed=seed).ok
        with pytest.raises(DerivationError):
            hand.layer_norm(whole=False).check(seed=seed)


def test_a_crash_is_not_a_pass(monkeypatch):
    """An error of the checker itself comes out as it is; it is never counted as agreement."""

    def broken(self, *args, **kwargs):
        raise RuntimeError("the evaluator is broken")

    monkeypatch.setattr(Case, "written", broken)
    d = hand.bilinear()
    with pytest.raises(RuntimeError, match="the evaluator is broken"):
        d.check()
    assert "gradient:A" not in d.evidence


def test_a_program_without_values_is_undecided_and_not_ok():
    """log of minus an exponential has no real value; mod p a difference of atoms refutes nothing by itself."""
    i = dv.index("i")
    x = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(sympy.sqrt(-(x[i] ** 2) - 1) + sympy.log(-sympy.exp(x[i])), i))
    d = hand.by_hand(loss, {x: dv.define("dx", (i,), x[i])})
    evidence = d.check()
    row = evidence.row("gradient x")
    assert row.verdict == UNDECIDED and row.by == "nothing" and "no draw" in row.detail
    assert not evidence.ok and "gradient x" in evidence.undecided


def test_an_empty_check_is_not_ok():
    from derive.exact import Evidence

    assert not Evidence("nothing").ok


def test_reals_decide_what_atoms_cannot():
    """log(x**2) and 2*log(x) are different atoms mod p; their derivatives' logs agree in 50-digit reals only."""
    i = dv.index("i")
    x = dv.tensor("x", i, facts=[dv.positive])
    loss = dv.define("loss", (), dv.Sum(x[i] * sympy.log(x[i]) ** 2, i))
    right = dv.define("dx", (i,), sympy.log(x[i]) ** 2 + sympy.log(x[i] ** 2))
    evidence = hand.by_hand(loss, {x: right}).check()
    row = evidence.row("gradient x")
    assert (row.verdict, row.by) == (UNDECIDED, "50-digit evaluation")
    assert "agrees to 45 digits" in row.detail and "random atoms" in row.detail and evidence.ok
    wrong = dv.define("dx", (i,), sympy.log(x[i]) ** 2 + sympy.log(x[i] ** 2 + sympy.Rational(1, 10**9)))
    with pytest.raises(DerivationError, match="refuted by 50-digit evaluation"):
        hand.by_hand(loss, {x: wrong}).check()


def test_an_order_alone_refutes_nothing():
    """max(x, y) + min(x, y) = x + y needs a true order only in its branches; relu(x + 1) >= 0 is not decided mod p."""
    i = dv.index("i")
    x = dv.tensor("x", i)
    loss = dv.define("loss", (), dv.Sum(dv.relu(x[i]) ** 2 / 2, i))
    squares = dv.define("dx", (i,), dv.maximum(x[i], -sympy.Abs(x[i]) * dv.Iverson(x[i] + 10 < 0)))
    row = hand.by_hand(loss, {x: squares}).check().row("gradient x")
    assert row.verdict == UNDECIDED and "an order was used" in row.detail


def test_sizes_are_unequal_then_square():
    d = hand.softmax_regression()
    unequal, other, square = d.check().row("gradient W").sizes
    assert len(set(unequal.values())) == 3 and len(set(other.values())) == 3 and unequal != other
    assert len(set(square.values())) == 1


def test_derived_sizes_are_whole_and_positive():
    h = dv.index("h")
    S, P = dv.size("S"), dv.size("P")
    u = dv.index("u", size=(h.size + 2 * P - 3) // S + 1)
    f = dv.index("f", size=h.size / 2)
    x = dv.tensor("x", h)
    y = dv.define("y", (u,), x[S * u - P] ** 2)
    z = dv.define("z", (f,), x[2 * f + 1])
    loss = dv.define("loss", (), dv.Sum(y[u], u) * dv.Sum(z[f], f))
    for sizes in checking.Checker(hand.by_hand(loss, {x: dv.define("dx", (h,), x[h])}), 0).assignments:
        assert sizes["H"] % 2 == 0 and sizes["H"] + 2 * sizes["P"] - 3 >= 0


def test_fixed_sizes_that_are_too_large_are_said_to_be():
    i, j = dv.index("i", size=2000), dv.index("j", size=2000)
    A, x = dv.tensor("A", i, j), dv.tensor("x", j)
    loss = dv.define("loss", (), dv.Sum(A[i, j] * x[j], i, j))
    evidence = hand.by_hand(loss, {A: dv.define("dA", (i, j), x[j])}).check()
    assert not evidence.ok and "too large" in evidence.rows[0].detail


def test_vjp_contracts_with_the_cotangent():
    b, i, k = dv.indices("b i k")
    x, W, dy = dv.tensor("x", b, i), dv.tensor("W", i, k), dv.tensor("dy", b, k)
    y = dv.define("y", (b, k), sympy.sin(dv.Sum(x[b, i] * W[i, k], i)))
    slope = dv.define("slope", (b, k), sympy.cos(dv.Sum(x[b, i] * W[i, k], i)) * dy[b, k])
    dW = dv.define("dW", (i, k), dv.Sum(x[b, i] * slope[b, k], b))
    assert hand.by_hand(y, {W: dW}, seed=dy).check().row("gradient W").verdict == PROVED
    bad = dv.define("dW", (i, k), dv.Sum(x[b, i] * slope[b, k] ** 2, b))
    with pytest.raises(DerivationError, match="gradient W is refuted"):
        hand.by_hand(y, {W: bad}, seed=dy).check()


def test_a_gradient_of_an_intermediate():
    i = dv.index("i")
    x = dv.tensor("x", i)
    z = dv.define("z", (i,), sympy.sin(x[i]))
    loss = dv.define("loss", (), dv.Sum(z[i] ** 3, i))
    assert hand.by_hand(loss, {z: dv.define("dz", (i,), 3 * z[i] ** 2)}).check().ok
    with pytest.raises(DerivationError, match="gradient z is refuted"):
        hand.by_hand(loss, {z: dv.define("dz", (i,), 3 * z[i])}).check()


def test_evidence_prints_and_saves():
    import json

    evidence = hand.bilinear().check()
    assert "gradient A" in str(evidence) and "3 proved, 0 undecided" in str(evidence)
    saved = json.loads(json.dumps(evidence.to_json()))
    assert saved["ok"] is True and saved["rows"][0]["verdict"] == PROVED and saved["rows"][0]["sizes"][0]["N"] > 1


def test_many_gradients_move_at_once_and_a_wrong_one_is_still_named():
    i = dv.index("i")
    xs = [dv.tensor(f"x{n}", i) for n in range(checking.ALONE + 2)]
    loss = dv.define("loss", (), dv.Sum(sympy.Mul(*(x[i] for x in xs)), i))

    def gradients(wrong=None):
        return {
            x: dv.define(f"d{x.name}", (i,), sympy.Mul(*(y[i] for y in xs if y != x)) * (2 if x is wrong else 1))
            for x in xs
        }

    assert "moved at once" in hand.by_hand(loss, gradients()).check().rows[0].detail
    d = hand.by_hand(loss, gradients(xs[4]))
    with pytest.raises(DerivationError, match="gradient x4 is refuted"):
        d.check()
    assert d.evidence["gradient:x3"] == PROVED


def test_decide_needs_every_case_to_agree():
    """A claim that holds at unequal sizes and fails at the square ones is refuted."""
    checker = checking.Checker(hand.bilinear(), 0)
    square = checker.assignments[-1]

    def claim(case):
        from derive.exact.decide import Difference

        return Difference("at", "1", "2") if case.sizes == square else None

    assert decide("a claim", checker.cases, claim).verdict == REFUTED


def test_evaluate_is_public_and_exact():
    d = hand.bilinear()
    values = {"A": [[1, 2], [3, 4]], "x": ["1/2", 1], "y": [1, "1/3"]}
    found = evaluate(d.program, values, {"N": 2})
    assert str(found["loss"].nested()) == "31/6" and found["dA"][1, 0] == 1
    with pytest.raises(DerivationError, match="no value for the input y"):
        evaluate(d.program, {"A": values["A"], "x": values["x"]}, {"N": 2})
    with pytest.raises(DerivationError, match="wanted"):
        evaluate(d.program, {**values, "x": [1]}, {"N": 2})


def test_seeded_runs_repeat():
    one, two = hand.layer_norm().check(), hand.layer_norm().check()
    assert [replace(r, seconds=0) for r in one.rows] == [replace(r, seconds=0) for r in two.rows]


def test_sizes_without_values_are_left_out():
    """max over i of x[j + i] needs J <= I: sizes where a window is empty are not used, the others prove."""
    i, j = dv.indices("i j")
    x = dv.tensor("x", i)
    u = dv.index("u", size=2)
    loss = dv.define("loss", (), dv.Sum(dv.Max(x[j + u], u), j))
    d = dv.backprop(loss, [x])
    evidence = d.check()
    assert evidence.ok and not evidence.undecided
    assert all(s["J"] <= s["I"] for row in evidence.rows for s in row.sizes)


def test_many_square_roots_are_found_one_by_one():
    """Twelve rows of layer norms in a chain: one draw in 2**24 has all their roots, changing inputs finds them."""
    network = dv.Sequential(
        [x for _ in range(12) for x in (L.Dense(4, activation="tanh"), L.LayerNorm())] + [L.Dense(3)], input_shape=(5,)
    )
    evidence = network.backprop(loss="mean_squared_error").check()
    assert evidence.ok and not evidence.undecided
