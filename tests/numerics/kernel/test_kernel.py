"""Calling, saving and tracing kernels."""

import json
import os
import subprocess
import sys
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_cases import CASES, data, softmax_regression

import derive as dv
import numerics as nx


def small(seed=0):
    d = softmax_regression(outputs=True)
    _, arrays = data(d, {"B": 7, "I": 5, "K": 3}, seed)
    return d, nx.compile(d), {n: a.astype("float32") if a.dtype.kind == "f" else a for n, a in arrays.items()}


def test_a_call_returns_a_named_tuple_by_field_and_dict_by_tensor():
    d, kern, arrays = small()
    result = kern(**arrays)
    assert result._fields == ("loss", "grads", "outputs")
    loss, grads, outputs = result
    assert loss.shape == () and grads["W"].shape == (5, 3) and outputs["z"].shape == (7, 3)
    logp = jax.nn.log_softmax(arrays["x"] @ arrays["W"] + arrays["c"])
    assert abs(float(loss) + float(logp[jnp.arange(7), arrays["label"]].mean())) < 1e-6


def test_inputs_are_wrt_in_order_then_by_first_use_and_fn_is_positional():
    d, kern, arrays = small()
    assert [t.name for t in kern.inputs] == ["W", "c", "x", "label"]
    positional = kern.fn(*(arrays[t.name] for t in kern.inputs))
    for a, b in zip(jax.tree.leaves(tuple(kern(**arrays))), jax.tree.leaves(positional), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
    assert repr(kern) == "<kernel softmax_regression(W, c, x, label) -> loss, grads, outputs>"


def test_results_of_two_kernels_are_one_tree():
    _, kern, arrays = small()
    same = jax.tree.map(lambda a, b: float(abs(a - b).max()), kern(**arrays), small()[1](**arrays))
    assert max(jax.tree.leaves(same)) == 0


def test_logits_of_ten_thousand_are_finite_in_float32():
    _, kern, arrays = small()
    arrays["W"] = np.sign(arrays["W"]) * np.float32(1e4)
    loss, grads, _ = kern(**arrays)
    assert all(np.isfinite(v).all() for v in (loss, grads["W"], grads["c"]))


def test_a_traceback_shows_the_generated_line():
    _, kern, arrays = small()
    arrays["label"] = arrays["label"].astype(np.float32)  # shapes are looked at before, dtypes by JAX itself
    with pytest.raises(TypeError) as caught:
        kern.fn(*(arrays[t.name] for t in kern.inputs))
    text = "".join(traceback.format_exception(caught.value))
    assert "(z_shifted, label)" in text and "<generated loss_and_grads" in text


def test_a_saved_file_runs_where_only_jax_is(tmp_path):
    _, kern, arrays = small()
    kern.evidence = {"summary": "autodiff 1.1e-16", "rows": [1, 2]}
    path = kern.save(tmp_path / "softmax_regression.py")
    assert json.loads((tmp_path / "softmax_regression.json").read_text()) == kern.evidence
    assert sorted(p.name for p in tmp_path.iterdir()) == ["softmax_regression.json", "softmax_regression.py"]
    assert "Verified: autodiff 1.1e-16." in path.read_text(encoding="utf-8")
    np.savez(tmp_path / "data.npz", **arrays)
    script = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("derive", "numerics", "sympy"):
            raise ImportError(name + " must not be needed")
sys.meta_path.insert(0, Refuse())
import numpy as np, softmax_regression as m
a = np.load("data.npz")
print(float(m.loss_and_grads(a["W"], a["c"], a["x"], a["label"])[0]))
"""
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert abs(float(done.stdout) - float(kern(**arrays).loss)) < 1e-6


def test_a_save_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    _, kern, _ = small()
    path = tmp_path / "m.py"
    path.write_text("old")

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        kern.save(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["m.py"]


def test_only_derivations_are_compiled():
    with pytest.raises(nx.NumericsError, match=r"nx.compile\(int\): takes a derivation"):
        nx.compile(3)


@pytest.mark.parametrize("name", ["mlp", "tanh_rnn"])
def test_a_title_can_be_given(name):
    assert nx.compile(CASES[name](), name="mine").source.startswith('"""Loss and gradients of mine, generated')


def test_an_input_that_the_gradient_does_not_need_may_be_given():
    b = dv.index("b")
    x, w, unused = dv.tensor("x", b), dv.tensor("w", b), dv.tensor("unused", b)
    y = dv.define("y", (b,), x[b] * w[b] + dv.stop_gradient(unused[b]))
    kern = nx.compile(dv.vjp(y, wrt=[w]))
    arrays = {t.name: np.ones(3, "float32") for t in kern.inputs}
    kern(**arrays, **({} if "unused" in arrays else {"unused": np.ones(3, "float32")}))
