"""The measuring instrument: its clock, its order, its errors first."""

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks import depth, harness, programs, recurrent, second_order, stacks, steps


@pytest.fixture
def clock(monkeypatch):
    """A clock that only the measured functions advance."""
    now = [0.0]
    monkeypatch.setattr(harness.time, "perf_counter", lambda: now[0])

    def lasting(name, seconds, calls):
        def function():
            now[0] += seconds
            calls.append(name)

        return function

    return lasting


def test_the_ratio_is_of_medians_in_one_round(clock):
    calls = []
    ratio, a, b = harness.interleaved(clock("a", 0.002, calls), clock("b", 0.003, calls), rounds=3, inner=2)
    assert (ratio, a, b) == pytest.approx((1.5, 0.002, 0.003))


def test_every_other_round_goes_the_other_way(clock):
    calls = []
    harness.interleaved(clock("a", 1, calls), clock("b", 1, calls), rounds=4, inner=1)
    assert "".join(calls) == "ab" + "ab" + "ba" + "ab" + "ba"  # the first pair warms up


def test_errors_are_relative_to_the_leaf_with_a_floor():
    expected = {"W": np.array([1.0, 2.0]), "zero": np.zeros(2)}
    assert harness.largest_error(expected, expected) == 0
    off = {"W": np.array([1.0, 2.2]), "zero": np.zeros(2)}
    assert harness.largest_error(off, expected) == pytest.approx(0.1)
    tiny = {"W": expected["W"], "zero": np.array([1e-6, 0])}
    assert harness.largest_error(tiny, expected) == pytest.approx(1e-6 / 2e-3)


def test_a_nan_or_a_missing_leaf_is_refused():
    expected = {"W": np.ones(2)}
    with pytest.raises(ValueError, match="W: the difference is nan"):
        harness.largest_error({"W": np.array([np.nan, 1])}, expected)
    with pytest.raises(ValueError, match="leaves differ"):
        harness.largest_error({"V": np.ones(2)}, expected)


def test_nothing_is_timed_when_the_gradients_differ(monkeypatch):
    monkeypatch.setattr(steps, "forward", lambda p, x, label: 1.001 * programs.forward(p, x, label))
    with pytest.raises(ValueError, match="differ from autodiff by 1.0e-03; nothing was timed"):
        steps.compare("softmax", *programs.softmax_regression(), (5, 3), 7, 3, None)


@pytest.mark.slow
def test_the_quick_run_measures_everything(tmp_path):
    rows = steps.measure(quick=True) + depth.measure(quick=True)
    measures = {row.measure for row in rows}
    expected = {
        "step time",
        "trace + compile",
        "derivation, generation",
        "derivation per layer",
        "generation per layer",
    }
    assert expected <= measures
    assert all(row.values["error"] <= steps.TOLERANCE for row in rows if row.measure == "step time")
    saved = json.loads(harness.save(rows, tmp_path).read_text())
    assert {"date", "machine", "versions", "rows"} == set(saved)
    assert len(harness.table(rows).splitlines()) == len(rows) + 1


@pytest.mark.slow
def test_recurrences_agree_with_autodiff_before_they_are_timed(monkeypatch):
    rows = [r for r in recurrent.measure(quick=True) if r.measure == "step time"]
    assert len(rows) == 4 and all(r.values["error"] <= recurrent.TOLERANCE for r in rows)
    right = recurrent.FORWARDS["LSTM"]
    monkeypatch.setitem(recurrent.FORWARDS, "LSTM", lambda p, x, y: 1.01 * right(p, x, y))
    with pytest.raises(ValueError, match="nothing was timed"):
        recurrent.compare("LSTM", 4, 2, 3, 3)


def test_a_ratio_below_its_floor_says_so():
    assert harness.Row("w", "m", 0.9, floor=0.97).verdict == "below the floor"
    assert harness.Row("w", "m", 0.98, floor=0.97).verdict == "ok"


@pytest.mark.slow
def test_second_order_problems_agree_with_autodiff_before_they_are_timed():
    measured = second_order.measure(quick=True)
    rows = [r for r in measured if r.measure == "Hessian"]
    assert len(rows) == len(second_order.PROBLEMS)
    assert {"Hessian times vector", "gradient + Hessian + solve"} <= {r.measure for r in measured}
    (compact,) = (r for r in measured if r.measure == "structured numbers")
    assert compact.values == {"full": 4 * (12 * 3) ** 2, "computed": 2 * 3**2}
    assert all(r.values["error"] <= second_order.TOLERANCE and r.values["derive_s"] < 5 for r in rows)


def test_a_wrong_forward_stops_the_second_order_measurement():
    problem = replace(second_order.PROBLEMS[3], forward=lambda p, d: 1.01 * (p["x"] @ d["A"] @ p["x"]))
    with pytest.raises(ValueError, match="the Hessian differs from autodiff"):
        second_order.compare(problem, quick=True)


@pytest.mark.slow
def test_a_stack_is_the_blocks_written_out():
    rows = stacks.measure(quick=True)
    assert {row.measure for row in rows} >= {"step time", "compile"}
