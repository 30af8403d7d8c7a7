"""nx.verify passes right kernels, refuses planted mistakes, and never passes by crashing."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from handwritten import MODELS
from slowkernel import SlowKernel

from numerics.checks.verify import verify
from numerics.errors import NumericsError

MISTAKES = {
    "a thousandth too large": lambda g: g * 1.001,
    "negated": lambda g: -g,
    "zero": lambda g: 0 * g,
    "doubled": lambda g: 2 * g,
    "shifted": lambda g: np.roll(g, 1, axis=0),
    "first row zero": lambda g: np.concatenate([0 * g[:1], g[1:]]),
    "not a number": lambda g: g * np.nan,
    "one entry off": lambda g: g + 1e-6 * np.eye(g.size)[0].reshape(g.shape),
    "an axis too many": lambda g: g[None],
}


def softmax(mutate=None):
    return SlowKernel(MODELS["softmax_regression"][0](), mutate)


def plant(tensor, mistake):
    return lambda name, array: MISTAKES[mistake](array) if name == tensor else array


@pytest.mark.parametrize("model", MODELS)
def test_right_kernels_pass(model):
    kern = SlowKernel(MODELS[model][0]())
    report = verify(kern)
    assert report.ok, report
    for name in kern.derivation.gradients:
        double = [f for f in report.findings if f.tensor == name and f.dtype == "float64"]
        assert len(double) == 2, "unequal and equal sizes"
        assert all(f.error < 1e-12 and f.exact == "mod 2**61-1" for f in double)
        assert all(f.order == "floor" or float(f.order) >= 1.9 for f in double)
        single = [f.opponent for f in report.findings if f.tensor == name and f.dtype == "float32"]
        assert single == ["kernel in float64"]


@pytest.mark.parametrize("mistake", MISTAKES)
@pytest.mark.parametrize("tensor", ["W", "c"])
def test_planted_mistakes_are_refused(tensor, mistake):
    report = verify(softmax(plant(tensor, mistake)), dtypes=("float64",))
    assert not report.ok
    wrong = {f.tensor for f in report.findings if f.verdict not in ("ok", "convention")}
    assert tensor in wrong or "unequal sizes" in wrong
    assert "verdict: NOT VERIFIED" in str(report)


def test_a_transpose_hides_in_no_square():
    kern = softmax(lambda name, a: a.T if name == "W" and a.shape[0] == a.shape[1] else a)
    report = verify(kern)
    assert not report.ok
    bad = [f for f in report.findings if f.verdict == "FAIL"]
    assert {f.sizes for f in bad} == {"B=3 I=3 K=3"}


def test_a_mistake_in_one_precision_only_is_refused():
    kern = softmax(lambda name, a: a)
    right = kern._rounded
    off = {("W", np.dtype(np.float32)): 1 + 1e-4}
    kern._rounded = lambda name, a, dtype: right(name, a * off.get((name, dtype), 1), dtype)
    report = verify(kern)
    assert {f.dtype for f in report.findings if f.verdict == "FAIL"} == {"float32"}


def test_a_kernel_that_returns_another_dtype_is_refused():
    kern = softmax()
    right = kern._rounded
    kern._rounded = lambda name, a, dtype: right(name, a, np.float64)
    notes = [f.note for f in verify(kern).findings if f.verdict == "FAIL"]
    assert "returned float64 for float32 inputs" in notes


def test_a_kernel_that_crashes_is_an_error():
    def crash(name, array):
        raise RuntimeError("out of memory")

    report = verify(softmax(crash))
    assert not report.ok
    assert "error: RuntimeError: out of memory" in str(report)


def test_an_exact_check_that_crashes_is_an_error(monkeypatch):
    kern = softmax()

    def crash(self, seed=0):
        raise KeyError("nothing here")

    monkeypatch.setattr(type(kern.derivation), "check", crash)
    report = verify(kern)
    assert not report.ok
    assert [f.verdict for f in report.findings if f.tensor == "exact check"] == ["error"]


def test_a_refuted_derivation_is_refused(monkeypatch):
    from derive import DerivationError

    kern = softmax()

    def refute(self, seed=0):
        raise DerivationError("step 3 is refuted")

    monkeypatch.setattr(type(kern.derivation), "check", refute)
    report = verify(kern)
    assert not report.ok
    assert "refuted: DerivationError: step 3 is refuted" in str(report)


def forward(x, label, W, c):
    return -jax.nn.log_softmax(x @ W + c)[jnp.arange(x.shape[0]), label].mean()


def test_your_own_forward_is_the_opponent():
    report = verify(softmax(), forward=forward)
    assert report.ok, report
    assert report.forward == "given: forward"


def test_a_forward_that_means_something_else_is_not_agreed_with():
    report = verify(softmax(), forward=lambda x, label, W, c: forward(x, label, W, c) + 1e-3 * jnp.sum(W**2))
    assert not report.ok
    bad = {f.tensor: f for f in report.findings if f.verdict == "FAIL"}
    assert set(bad) == {"W", "loss"}
    assert float(bad["W"].order) >= 1.9, "the kernel is right by its own loss; the forward is another function"


def test_a_forward_that_crashes_is_an_error():
    report = verify(softmax(), forward=lambda **a: a["nothing"])
    assert not report.ok
    assert "error: KeyError: 'nothing'" in str(report)


def test_the_users_precision_is_left_alone():
    before = jnp.asarray(1.0).dtype
    verify(softmax())
    assert jnp.asarray(1.0).dtype == before == jnp.float32


def test_unknown_dtypes_are_refused():
    with pytest.raises(NumericsError, match="'int8' is not one of float64, float32, bfloat16, float16"):
        verify(softmax(), dtypes=("int8",))


def test_bfloat16_and_float16_pass_and_a_zero_does_not():
    assert verify(softmax(), dtypes=("bfloat16", "float16")).ok
    kern = softmax()
    right = kern._rounded
    kern._rounded = lambda name, a, dtype: right(name, 0 * a if dtype != np.float64 and name == "W" else a, dtype)
    report = verify(kern, dtypes=("bfloat16", "float16"))
    bad = {(f.tensor, f.dtype) for f in report.findings if f.verdict == "FAIL"}
    assert bad == {("W", "bfloat16"), ("W", "float16")}


def test_the_evidence_goes_to_the_kernel_and_is_json():
    kern = softmax()
    report = verify(kern, seed=3)
    assert kern.evidence["verify"] == json.loads(report.to_json())
    assert kern.evidence["exact"]["ok"] is True
    assert kern.evidence["summary"].startswith("exact mod 2**61-1; autodiff ")
    assert "Taylor order 2.0" in kern.evidence["summary"] or "Taylor order 1.9" in kern.evidence["summary"]
    verify(softmax_into(kern, plant("W", "negated")))
    assert kern.evidence["summary"] == "", "a header never claims what was refused"


def softmax_into(kern, mutate):
    kern.mutate = mutate
    return kern


def test_the_table():
    text = str(verify(softmax()))
    first, columns, row, *_ = text.splitlines()
    assert first == "softmax_regression  float64  sizes B=7 I=5 K=3  inputs normal  seed 0"
    assert columns.split("  ")[0] == "tensor"
    for title in ("autodiff of the forward", "tolerance", "exact", "Taylor order", "verdict"):
        assert title in columns
    assert row.startswith("W ")
    assert row.endswith("ok")
    assert "independent forward: node-by-node evaluator of the definitions" in text
    assert text.endswith("verdict: ok")
