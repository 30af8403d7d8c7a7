"""What crosscheck accepts and refuses as arrays: precisions, kinds of array, shapes, names, failures."""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from handwritten import MODELS
from slowkernel import SlowKernel

from numerics.checks.crosscheck import crosscheck, to_numpy
from numerics.checks.mistakes import name_factor


def softmax():
    derivation, gradients = MODELS["softmax_regression"]
    return SlowKernel(derivation()), gradients


def inputs(dtype, seed=0):
    rng = np.random.default_rng(seed)
    kind = jnp.dtype(dtype)
    return {
        "x": rng.normal(size=(7, 5)).astype(kind),
        "label": rng.integers(0, 3, 7),
        "W": rng.normal(size=(5, 3)).astype(kind),
        "c": rng.normal(size=3).astype(kind),
    }


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("model", ["softmax_regression", "mlp", "layer_norm"])
def test_right_gradients_computed_in_any_precision_pass(model, dtype):
    derivation, gradients = MODELS[model]
    kind = jnp.dtype(dtype)

    def narrow(**arrays):
        found = gradients("", **{n: a.astype(kind) if a.dtype.kind == "f" else a for n, a in arrays.items()})
        return {n: g.astype(kind) for n, g in found.items()}

    report = crosscheck(SlowKernel(derivation()), narrow)
    assert report.ok, report
    assert {v.dtype for v in report.verdicts} == {dtype}
    if dtype != "float64":
        assert all("only rounding" in v.text for v in report.verdicts if v.error > 1e-10)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("mistake", ["sign", "onehot missing", "1/B missing", "labels shifted", "softmax missing"])
def test_wrong_gradients_in_low_precision_are_refused(mistake, dtype):
    kern, gradients = softmax()
    kind = jnp.dtype(dtype)

    def narrow(**arrays):
        return {n: a.astype(kind) for n, a in gradients(mistake, **arrays).items()}

    assert not crosscheck(kern, narrow).ok


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_a_zero_gradient_never_passes(dtype):
    kern, _ = softmax()
    report = crosscheck(kern, lambda x, label, W, c: {"W": jnp.zeros(W.shape, dtype), "c": jnp.zeros(c.shape, dtype)})
    assert [v.kind for v in report.verdicts] == ["zero", "zero"]
    assert "all zero" in report["W"].text


def test_given_inputs_are_passed_as_copies_in_their_own_precision():
    kern, gradients = softmax()
    given, seen = inputs("float32"), {}

    def fn(**arrays):
        seen.update(arrays)
        return gradients("", **arrays)

    assert crosscheck(kern, fn, inputs=given).ok
    assert all(seen[n] is not given[n] and seen[n].dtype == given[n].dtype for n in given)
    assert all(np.array_equal(seen[n], given[n]) for n in given)
    assert not crosscheck(kern, lambda **a: gradients("sign", **a), inputs=given).ok


def test_jax_arrays_and_torch_like_tensors_are_understood():
    class Tensor:  # what torch tensors offer
        def __init__(self, array):
            self.array, self.dtype = array, "torch.float32"

        def detach(self):
            return self

        def cpu(self):
            return self

        def numpy(self):
            return self.array

    kern, gradients = softmax()
    as_jax = {n: jnp.asarray(a) for n, a in inputs("float32").items()}

    def fn(**arrays):
        found = gradients("", **{n: np.asarray(a) for n, a in arrays.items()})
        return {"W": jnp.asarray(found["W"]), "c": Tensor(found["c"])}

    assert crosscheck(kern, fn, inputs=as_jax).ok
    with pytest.raises(TypeError, match="holds dict objects"):
        to_numpy({})


def test_a_function_that_fails_is_an_error_and_not_a_pass():
    kern, _ = softmax()

    def fn(**arrays):
        raise RuntimeError("device lost")

    report = crosscheck(kern, fn)
    assert not report.ok
    assert {v.kind for v in report.verdicts} == {"error"}
    assert "the function failed: RuntimeError: device lost" in str(report)


def test_what_is_returned_must_be_named():
    kern, gradients = softmax()
    assert crosscheck(kern, lambda **a: tuple(gradients("", **a).values())).ok  # in the order of wrt
    assert crosscheck(kern, lambda **a: (0.5, gradients("", **a))).ok  # the loss beside them, as value_and_grad
    report = crosscheck(kern, lambda **a: (*gradients("", **a).values(), 0.0))
    assert not report.ok
    assert "returned tuple of 3; expected a dict with the keys W, c" in report["W"].text
    backwards = crosscheck(kern, lambda **a: tuple(gradients("", **a).values())[::-1])
    assert {v.kind for v in backwards.verdicts} == {"shape"}


def test_a_single_gradient_may_be_a_bare_array():
    derivation, gradients = MODELS["embedding"]
    assert crosscheck(SlowKernel(derivation()), lambda **a: gradients("", **a)["E"]).ok


def test_wrong_dtypes_nan_and_wrong_entries_are_named():
    kern, gradients = softmax()

    def fn(**arrays):
        found = gradients("", **arrays)
        found["W"][2, 1] = np.nan
        found["c"] = np.zeros(3, int)
        return found

    report = crosscheck(kern, fn)
    assert report["W"].kind == "not finite"
    assert "NaN at [2, 1]: 1 of 15 entries" in report["W"].text
    assert report["c"].kind == "dtype"
    assert "dtype int64" in report["c"].text

    def off_by_one_entry(**arrays):
        found = gradients("", **arrays)
        found["W"][1, 2] += 0.25
        return found

    assert "one entry is wrong, W[1, 2]" in crosscheck(kern, off_by_one_entry)["W"].text


def test_float32_arithmetic_returned_as_float64_is_said_to_be_that():
    kern, gradients = softmax()

    def fn(**arrays):
        narrow = {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in arrays.items()}
        return {n: a.astype(float) for n, a in gradients("", **narrow).items()}

    report = crosscheck(kern, fn)
    assert not report.ok
    assert {v.kind for v in report.verdicts} == {"precision"}
    assert "about what float32 arithmetic gives" in report["W"].text


def test_the_report_is_a_table_and_json():
    kern, gradients = softmax()
    report = crosscheck(kern, lambda **a: gradients("sign", **a))
    head, columns, first, *_ = str(report).splitlines()
    assert head == "crosscheck of softmax_regression  sizes B=7 I=5 K=3  seed 0"
    assert columns.split() == ["tensor", "dtype", "error", "tolerance", "verdict"]
    assert first.split() == ["W", "float64", "2.0e+00", "1.0e-10", "sign"]
    assert json.loads(report.to_json())["ok"] is False


def test_factors_are_named_by_the_simplest_sizes():
    sizes = {"B": 7, "I": 5, "K": 3}
    assert name_factor(7.0, sizes, 1e-10) == "B"
    assert name_factor(1 / 35, sizes, 1e-10) == "1/(B*I)"
    assert name_factor(-2.0, sizes, 1e-10) == "-2"
    assert name_factor(7 / 3, sizes, 1e-10) == "B/K"
    assert name_factor(0.3712, sizes, 1e-10) is None
