"""What a trainer starts with: an optimizer's state made without a program for each shape, rules of the backend it runs on."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import derive as dv
import numerics as nx
from derive import layers as L
from numerics.training import optimizer as optimizers

PARAMS = {"w": jnp.ones((3, 4)), "b": jnp.full((4,), 2.0, "float32"), "c": jnp.zeros(())}
SCHEDULE = optax.cosine_decay_schedule(1e-3, 100)
MAKERS = {
    **{name: lambda name=name: optimizers.build(name) for name in optimizers.NAMED},
    "momentum": lambda: optax.sgd(0.1, momentum=0.9),
    "a schedule inside": lambda: optax.adam(SCHEDULE),
    "a schedule in the state": lambda: optimizers.build(optax.adam, SCHEDULE),
    "clipped and accumulated": lambda: optimizers.build("adam", clip_norm=1.0, accumulate=3),
    "masked": lambda: optax.masked(optax.adam(1e-3), {"w": True, "b": False, "c": False}),
    "in bfloat16": lambda: optax.adam(1e-3, mu_dtype="bfloat16"),
    "factored": lambda: optax.adafactor(1e-3, min_dim_size_to_factor=2),
    "an array from outside": lambda: optax.GradientTransformation(
        lambda p: (jnp.asarray(np.arange(3.0, dtype="float32")), p), lambda g, s, p: (g, s)
    ),
    "on plateaus": lambda: optax.chain(optax.adam(1e-3), optax.contrib.reduce_on_plateau()),
}
BY_ITSELF = {
    "copies": lambda: optax.contrib.schedule_free_adamw(1e-3),
    "computes arrays": lambda: optax.GradientTransformation(lambda p: jax.tree.map(jnp.sin, p), lambda g, s, p: (g, s)),
    "is a NumPy program": lambda: optax.GradientTransformation(
        lambda p: jax.tree.map(lambda a: jnp.asarray(np.zeros_like(a)), p), lambda g, s, p: (g, s)
    ),
    "looks at values": lambda: optax.GradientTransformation(lambda p: float(p["b"][0]), lambda g, s, p: (g, s)),
    "a weak type": lambda: optax.GradientTransformation(lambda p: jnp.asarray(0.5), lambda g, s, p: (g, s)),
}


def seen(leaf):
    return type(leaf), np.shape(leaf), np.asarray(leaf).dtype, getattr(leaf, "weak_type", None)


@pytest.mark.parametrize("name", [*MAKERS, *BY_ITSELF])
def test_the_state_is_that_of_the_optimizers_init(name):
    made = {**MAKERS, **BY_ITSELF}[name]()
    ran = []

    def init(params):
        ran.append(not isinstance(params["w"], jax.core.Tracer))
        return made.init(params)

    expected, found = made.init(PARAMS), optimizers.started(made._replace(init=init), PARAMS)
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert seen(a) == seen(b) and np.array_equal(a, b)
    assert any(ran) == (name in BY_ITSELF)


def model():
    return dv.Sequential([L.Conv2D(3, 3, activation="relu"), L.Flatten(), L.Dense(3)], input_shape=(6, 6, 2))


def trainer(**how):
    return nx.Trainer(model(), "sparse_softmax_cross_entropy", optax.adam(0.1), **{"cache": False, **how})


X = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype("float32")
Y = np.arange(8) % 3


def header(t):
    return next(line for line in t.kernel.source.splitlines() if "generated from" in line)


@pytest.fixture
def on_a_gpu(monkeypatch):
    """JAX says that its default backend is a GPU; what is compiled runs where it can."""
    with monkeypatch.context() as patched:
        patched.setattr(jax, "default_backend", lambda: "gpu")
        yield patched


def test_a_run_from_a_gpu_goes_on_here_by_the_rules_of_here(on_a_gpu, tmp_path):
    there = trainer(cache=tmp_path / "cache")
    there.fit(X, Y, batch_size=4, epochs=1, verbose=False)
    there.save(tmp_path / "run")
    assert "for gpu" in header(there) and "for gpu" in (tmp_path / "run" / "program.py").read_text()
    on_a_gpu.undo()
    assert "for cpu" in header(trainer(cache=tmp_path / "cache"))  # the kept program of the GPU is not taken
    here = nx.load(tmp_path / "run", optax.adam(0.1))
    assert "for cpu" in header(here) and here.kernel.choices != there.kernel.choices
    a, b = (t.fit(X, Y, batch_size=4, epochs=2, verbose=False) for t in (there, here))
    np.testing.assert_allclose(a["loss"], b["loss"], rtol=1e-5)
    here.save(tmp_path / "run")
    assert "for cpu" in (tmp_path / "run" / "program.py").read_text()


def test_a_program_is_for_the_devices_of_its_mesh(on_a_gpu):
    mesh = jax.sharding.Mesh(np.array(jax.devices("cpu")[:1]), ("data",))
    assert "for cpu" in header(trainer(mesh=mesh)) and "for gpu" in header(trainer())


@pytest.mark.parametrize("device", ["cpu", "device"])
def test_a_program_is_for_the_device_that_is_made_the_default(on_a_gpu, device):
    with jax.default_device(jax.devices("cpu")[0] if device == "device" else device):
        assert "for cpu" in header(trainer())


@pytest.mark.skipif(any(d.platform == "gpu" for d in jax.devices()), reason="there is a GPU")
def test_a_default_device_that_is_not_there_is_said():
    before = jax.config.jax_default_device
    try:
        jax.config.update("jax_default_device", "gpu")
        with pytest.raises(
            nx.NumericsError, match="no device of jax_default_device='gpu' here, accepted is a platform"
        ):
            trainer()
    finally:
        jax.config.update("jax_default_device", before)


def test_what_the_extra_train_brings_is_said(monkeypatch, tmp_path):
    made = trainer()
    for name in ("optax", "safetensors", "safetensors.numpy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(
        nx.NumericsError, match=r"optimizers are those of optax: pip install 'derive-numerics\[train\]'"
    ):
        nx.Trainer(model(), "sparse_softmax_cross_entropy", "adam", cache=False)
    assert nx.Trainer(model(), "sparse_softmax_cross_entropy", cache=False).predict(X).shape == (8, 3)
    with pytest.raises(nx.NumericsError, match=r"saved by safetensors: pip install 'derive-numerics\[train\]'"):
        made.save(tmp_path / "run")
