"""XLA's options: probed, passed where the outermost jit is ours, counted on by the cost rule, without harm elsewhere."""

import jax
import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from numerics.kernel import xla

MODEL = dv.Sequential([L.Conv2D(6, 3), L.Flatten(), L.Dense(3)], input_shape=(5, 5, 5))
D = MODEL.backprop("sparse_softmax_cross_entropy")


def arrays(count=3):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(count, 5, 5, 5)).astype("float32")
    return {**nx.init(MODEL), "x": x, "y": rng.integers(0, 3, count)}


def chosen(kern):
    return {rule for rule, _, _ in kern.choices}


@pytest.fixture
def unprobed():
    xla.settings.cache_clear()
    yield
    xla.settings.cache_clear()


def test_with_the_hint_convolutions_are_xlas_own_and_the_results_are_the_same():
    plain, hinted = (nx.compile(D, sizes=MODEL.sizes, xla=hint) for hint in (False, True))
    assert {"convolution as conv", "kernel-gradient as conv"} <= chosen(hinted)
    assert {"convolution as rows", "kernel-gradient as rows"} <= chosen(plain)
    a, b = plain(**arrays()), hinted(**arrays())
    for name, expected in a.grads.items():
        np.testing.assert_allclose(b.grads[name], expected, rtol=1e-4, atol=1e-5)


def test_the_option_does_what_it_is_set_for():
    kern = nx.compile(D, sizes=MODEL.sizes, xla=True)
    given = [arrays()[t.name] for t in kern.inputs]
    step = jax.jit(kern.fn, compiler_options=kern.compiler_options).lower(*given).compile()
    outside = [line for line in step.as_text().split("ENTRY")[1].splitlines() if "ynn_fusion" in line]
    assert not any("conv_general_dilated" in line for line in outside)


def test_a_kernel_with_the_hint_runs_inside_anothers_jit():
    kern = nx.compile(D, sizes=MODEL.sizes, xla=True)
    given = arrays()
    inside = jax.jit(lambda x: kern(**given | {"x": x}).loss)(given["x"])
    np.testing.assert_allclose(inside, kern(**given).loss, rtol=1e-5)


def test_an_option_that_xla_does_not_know_is_not_passed(monkeypatch, unprobed):
    monkeypatch.setattr(xla, "OWN_CONVOLUTIONS", {"xla_cpu_no_such_option": "1"})
    kern = nx.compile(D, sizes=MODEL.sizes, xla=True)
    assert kern.compiler_options in ({}, None) and np.isfinite(kern(**arrays()).loss)
    if xla.settings("cpu") is None:  # convolutions are the library's here, and nothing is known to change it
        assert "convolution as rows" in chosen(kern)


def test_where_the_default_is_not_at_fault_nothing_is_set(monkeypatch, unprobed):
    monkeypatch.setattr(xla, "_own", lambda tried, backend: True)
    kern = nx.compile(D, sizes=MODEL.sizes, xla=True)
    assert kern.compiler_options == {} and "convolution as conv" in chosen(kern)


def test_a_program_without_convolutions_has_no_options():
    model = dv.Sequential([L.Dense(3)], input_shape=(5,))
    assert nx.compile(model.backprop("mean_squared_error"), xla=True).compiler_options == {}


def test_the_probe_may_be_made_while_something_is_traced(unprobed):
    @jax.jit
    def traced(x):
        return nx.compile(D, sizes=MODEL.sizes, xla=True)(**arrays() | {"x": x}).loss

    assert np.isfinite(traced(arrays()["x"]))


def test_on_another_backend_the_hint_changes_nothing():
    for backend in ("gpu", "tpu"):
        a, b = (nx.compile(D, sizes=MODEL.sizes, backend=backend, xla=hint) for hint in (False, True))
        assert a.source == b.source and b.compiler_options == {}


def test_the_trainers_step_is_compiled_with_them():
    trainer = nx.Trainer(MODEL, "sparse_softmax_cross_entropy", optax.sgd(0.1))
    assert "convolution as conv" in chosen(trainer.kernel)
    given = arrays(4)
    history = trainer.fit(given["x"], given["y"], batch_size=2, epochs=1, verbose=False)
    assert np.isfinite(history["loss"]).all() and trainer.predict(given["x"]).shape == (4, 3)


def test_a_copied_kernel_keeps_the_hint():
    import pickle

    kern = nx.compile(D, sizes=MODEL.sizes, xla=True)
    again = pickle.loads(pickle.dumps(kern))
    assert again.source == kern.source and again.compiler_options == kern.compiler_options


def test_a_platform_without_a_device_is_said(monkeypatch):
    def none():
        raise AssertionError

    monkeypatch.setattr(jax, "default_backend", none)
    monkeypatch.setenv("JAX_PLATFORMS", "cuda")
    b = dv.index("b")
    x = dv.tensor("x", b)
    d = dv.backprop(dv.define("loss", (), dv.Sum(x[b] ** 2, b)), wrt=[x])
    with pytest.raises(nx.NumericsError, match="JAX finds no device of JAX_PLATFORMS='cuda' here"):
        nx.compile(d)
