"""What a function may not do, each with its message: side effects, shapes by data, no loss, captured numbers, precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_functions import labels, normal
from jax import lax

import numerics as nx
from derive.language.errors import DeriveError, UnsupportedError

X, Y = normal(6, 4).astype("f"), labels(3, 6)
seen = []
rate = 0.1


def appends(x):
    seen.append(x * 2)
    return x.sum()


def prints(x):
    jax.debug.print("{}", x[0, 0])
    return x.sum()


def calls_numpy(x):
    return jax.pure_callback(np.sin, jax.ShapeDtypeStruct(x.shape, x.dtype), x).sum()


def drawn_by_values(x):
    return jax.random.normal(jax.random.key(x[0, 0].astype(int)), (3,)).sum() * x.sum()


BAD = {
    "appends": (appends, {}, "keeps what it computes in seen"),
    "prints": (
        prints,
        {},
        r"debug_print of .* at test_bad_functions.py:\d+ \(in prints\): a side effect has no formula",
    ),
    "calls_numpy": (calls_numpy, {}, r"pure_callback of .* \(in calls_numpy\): what is called is outside of JAX"),
    "mask as an index": (
        lambda x: x[x > 0].sum(),
        {},
        r"test_bad_functions.py:\d+ .*a shape depends on values: a mask",
    ),
    "nonzero": (lambda x: jnp.nonzero(x)[0].sum() * x.sum(), {}, "a shape or a Python number depends on values"),
    "branch": (
        lambda x: x.sum() if x[0, 0] > 0 else -x.sum(),
        {},
        r"a branch is taken by a value; accepted: jnp.where",
    ),
    "float": (lambda x: float(x[0, 0]) * x.sum(), {}, "a Python number depends on values"),
    "numpy": (lambda x: jnp.sum(np.sin(np.asarray(x))), {}, "the same function of jax.numpy"),
    "no scalar": (lambda x: x * 2, {}, r"gradients need a scalar; sum or average it, or use m.vjp\(\)"),
    "a pair": (lambda x: (x.sum(), x), {}, "return loss, aux with has_aux=True"),
    "no pair": (lambda x: x.sum(), {"has_aux": True}, "returns no pair"),
    "nothing": (lambda x: None, {}, "the function returns no array"),
    "text": (lambda x: "loss", {}, "the function returns str"),
    "argnums": (lambda x: x.sum(), {"argnums": 3}, "argnums=3 of a function of 1 arguments"),
    "while": (lambda x: lax.while_loop(lambda a: a.sum() < 9, lambda a: a * 2, x).sum(), {}, "the number of its steps"),
    "sort": (lambda x: jnp.sort(x)[0].sum(), {}, "sort of .*an order has no formula"),
    "median": (lambda x: jnp.median(x), {}, "sort of .*an order has no formula"),
    "top_k": (lambda x: lax.top_k(x, 2)[0].sum(), {}, "top_k of .*an order has no formula"),
    "fft": (lambda x: jnp.abs(jnp.fft.rfft(x)).sum(), {}, "complex numbers are not in the language"),
    "eigh": (lambda x: jnp.linalg.eigh(x.T @ x)[0].sum(), {}, "eigenvalues are not in the language"),
    "qr": (lambda x: jnp.linalg.qr(x)[1].sum(), {}, "qr of .*this factor of a matrix is not in the language"),
    "bessel": (lambda x: jnp.i0(x).sum(), {}, "bessel_i0e of .*not in the closed set"),
    "bits": (lambda x: x.view(jnp.int32).sum() * x.sum(), {}, "bits of numbers"),
    "entangled keys": (drawn_by_values, {}, "random keys that are entangled with values are refused"),
    "bfloat16": (
        lambda x: jnp.sum((x.astype(jnp.bfloat16) ** 2).astype(jnp.float32)),
        {},
        "rounded from float32 to bfloat16; accepted: one precision throughout",
    ),
    "axes": (lambda x: x.sum(), {"axes": ("B D",)}, "is no dict; accepted: the axes of arrays by name"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_function(name):
    f, options, said = BAD[name]
    with pytest.raises((DeriveError, nx.NumericsError), match=said):
        nx.value_and_grad(f, **options)(X)


def test_a_flax_module_of_bfloat16_is_refused_by_name():
    nn = pytest.importorskip("flax.linen")
    model = nn.Dense(3, dtype=jnp.bfloat16)
    params = model.init(jax.random.key(0), X)
    with pytest.raises(UnsupportedError, match="rounded from float32 to bfloat16"):
        nx.value_and_grad(lambda p, x: jnp.mean(model.apply(p, x).astype(jnp.float32) ** 2))(params, X)


def test_numbers_held_from_around_are_said():
    m = nx.from_jax(lambda x: rate * jnp.sum(x**2), X)
    assert any(note.startswith("held as it is: rate = 0.1") for note in m.notes)


def test_symbolic_shapes_are_sizes():
    b, d = jax.export.symbolic_shape("b, d")
    w, x = jax.ShapeDtypeStruct((d, 3), jnp.float32), jax.ShapeDtypeStruct((b, d), jnp.float32)
    vg = nx.value_and_grad(lambda w, x: jnp.mean(jnp.tanh(x @ w) ** 2)).trace(w, x)
    assert str(vg.model.tensors["x"].axes) == "(B, D)" and not vg.model.bound
    value, _ = vg(X.T[:, :3], X)
    assert len(vg._made) == 1
    np.testing.assert_allclose(value, np.mean(np.tanh(X @ X.T[:, :3]) ** 2), rtol=1e-5)
