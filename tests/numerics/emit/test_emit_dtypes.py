"""Kernels under float32, float64 and bfloat16, jit, vmap and sharding."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from kernel_cases import CASES, compiled, data, leaves

from numerics.checks.ground import float64

NAMES = [n for n in CASES if n != "strange_names"]


def cast(arrays, dtype):
    return {n: a.astype(dtype) if a.dtype.kind == "f" else a for n, a in arrays.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_results_have_the_dtype_of_the_inputs(name, dtype):
    d = CASES[name]()
    sizes, arrays = data(d)
    kern = compiled(d, sizes)
    given = {t.name: arrays[t.name] for t in kern.inputs}
    with float64():  # a float64 constant would show here: it would widen the result
        shapes = jax.eval_shape(kern.fn, *(jnp.asarray(v) for v in cast(given, dtype).values()))
        assert {v.dtype for v in jax.tree.leaves(shapes)} == {jnp.dtype(dtype)}
        wide = leaves(d, kern(**given))
    narrow = leaves(d, kern(**cast(given, dtype)))
    for key, value in narrow.items():
        error = np.abs(value.astype(np.float64) - wide[key]).max() / (np.abs(wide[key]).max() + 1e-3)
        assert error < (2e-4 if dtype == "float32" else 0.2), (key, error)


def test_numpy_float64_works_without_x64():
    d = CASES["softmax_regression"]()
    sizes, arrays = data(d)
    got = compiled(d, sizes)(**arrays)
    assert got.loss.dtype == jnp.float32


@pytest.mark.parametrize("name", ["softmax_regression", "tanh_rnn", "embedding", "padded_max_pool", "strided_conv"])
def test_vmap_is_a_loop(name):
    d = CASES[name]()
    sizes, one = data(d, seed=0)
    _, two = data(d, {s.name: n for s, n in sizes.items()}, seed=1)
    kern = compiled(d, sizes)
    first, second = ([jnp.asarray(a[t.name]) for t in kern.inputs] for a in (one, two))
    both = jax.jit(jax.vmap(kern.fn))(*(jnp.stack(pair) for pair in zip(first, second, strict=True)))
    for n, arrays in enumerate((first, second)):
        for a, b in zip(jax.tree.leaves(both), jax.tree.leaves(kern.fn(*arrays)), strict=True):
            np.testing.assert_allclose(a[n], b, rtol=2e-5, atol=2e-5)


SHARDED = """
import sys; sys.path[:0] = {path!r}
import jax, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec as P
from kernel_cases import CASES, compiled, data
assert jax.device_count() == 2
mesh = Mesh(np.array(jax.devices()), ("data",))
for name, batch in (("mlp", {{"x": 0, "label": 0}}), ("tanh_rnn", {{"x": 1, "y": 1, "h0": 0}})):
    d = CASES[name]()
    sizes, arrays = data(d, {{"B": 4}})
    kern = compiled(d, sizes)
    arrays = {{t.name: arrays[t.name].astype("float32") if t.dtype == "float" else arrays[t.name] for t in kern.inputs}}
    expected = kern(**arrays)
    spread = {{n: jax.device_put(a, NamedSharding(mesh, P(*[None] * batch[n], "data") if n in batch else P()))
              for n, a in arrays.items()}}
    for a, b in zip(jax.tree.leaves(kern(**spread)), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
print("sharded ok")
"""


def test_sharded_inputs():
    import os

    env = {**os.environ, "XLA_FLAGS": "--xla_force_host_platform_device_count=2", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SHARDED.format(path=[p for p in sys.path if p])],
        env=env,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "sharded ok" in done.stdout, done.stderr[-2000:]
