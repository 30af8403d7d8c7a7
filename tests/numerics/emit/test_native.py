"""Loops in C give what the plain lines of the same module give, and are no harm where they cannot be built."""

import shutil
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import derive as dv
import numerics as nx
from derive.networks import layers as L

compiler = pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")


@pytest.fixture(autouse=True, scope="module")
def cache(tmp_path_factory):
    """The libraries that these tests build, in a folder of their own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("DERIVE_CACHE", str(folder))
        patch.delenv("CC", raising=False)
        yield folder


def layer(*layers, shape):
    model = dv.Sequential(list(layers), input_shape=shape)
    d = dv.vjp(model.output, [*(p.tensor for p in model.parameters.values()), model.input], cotangent="upstream")
    return d, model.sizes


def guarded():
    """Running means, half of them kept, and a sum over all of it; no size is fixed."""
    b, t = dv.indices("b t")
    x, w = dv.tensor("x", b, t), dv.tensor("w", t)
    near = sum((x[b, t - n] * w[n] for n in range(3)), x[b, t])
    y = dv.define("y", (b, t), near)
    v = dv.define("v", (b,), dv.Sum(y[b, t] ** 2, t) / t.size)
    r = dv.define("r", (b,), (v[b] + 1) ** sympy.Rational(1, 2))
    h = dv.define("h", (b, t), y[b, t] / r[b] - x[b, t] / 3)
    loss = dv.define("loss", (), dv.Sum(h[b, t] ** 2, b, t) / b.size)
    return dv.backprop(loss, wrt=[x, w]), {}


def channels_first():
    """A convolution as torch lays images out: columns along the image, which its padding cuts; a kernel's gradient has none."""
    b, o, c, u, v, r, s = dv.indices("b o c u v r s")
    x, k, bias = dv.tensor("x", b, c, u, v), dv.tensor("k", o, c, r, s), dv.tensor("bias", o)
    z = dv.define("z", (b, o, u, v), dv.Sum(x[b, c, u + r - 1, v + s - 1] * k[o, c, r, s], c, r, s) + bias[o])
    sizes = {"O": 18, "C": 17, "U": 9, "V": 20, "R": 3, "S": 3}
    return dv.vjp(z, [x, k, bias], cotangent="upstream"), sizes


PROGRAMS = {
    "layer norm": lambda: layer(L.LayerNorm(), shape=(96,)),
    "layer norm of sequences": lambda: layer(L.LayerNorm(), shape=(5, 24)),
    "group norm": lambda: layer(L.GroupNorm(2), shape=(5, 6, 8)),
    "depthwise": lambda: layer(L.DepthwiseConv2D(3), shape=(9, 8, 6)),
    "depthwise, strides, same": lambda: layer(L.DepthwiseConv2D(3, strides=2, padding="same"), shape=(9, 8, 6)),
    "depthwise, several": lambda: layer(L.DepthwiseConv2D((3, 2), depth_multiplier=2), shape=(9, 8, 5)),
    "written": guarded,
    "convolution": lambda: layer(L.Conv2D(20, 3, activation="relu"), shape=(9, 8, 16)),
    "convolution, strides, same": lambda: layer(L.Conv2D(33, (5, 4), strides=3, padding="same"), shape=(17, 16, 18)),
    "convolution, groups": lambda: layer(L.Conv2D(36, 3, groups=2), shape=(9, 8, 34)),
    "convolution, dilation, same": lambda: layer(L.Conv2D(16, 3, dilation_rate=2, padding="same"), shape=(9, 8, 17)),
    "convolution, transposed": lambda: layer(L.Conv2DTranspose(17, 3, strides=2), shape=(6, 7, 16)),
    "convolution, channels first": channels_first,
    "convolutions of sequences": lambda: layer(L.Conv1D(64, 5, padding="same"), L.Conv1D(16, 3), shape=(40, 24)),
}
TILED = {  # of the result and both gradients
    "convolution, strides, same": 3,
    "convolution, groups": 3,
    "convolution, dilation, same": 3,
    "convolution, transposed": 3,
    "convolution, channels first": 2,
}
FIRST = ("layer norm", "depthwise, strides, same", "written", "convolution")


def arrays(kern, dtype, batch=3):
    sizes = {"B": batch, "T": 7} | kern.sizes
    rng = np.random.default_rng(1)

    def length(a):
        return (
            int(a)
            if not getattr(a, "free_symbols", None)
            else int(a.xreplace({s: sizes[s.name] for s in a.free_symbols}))
        )

    return {t.name: rng.normal(size=[length(a) for a in t.axes]).astype(dtype) for t in kern.inputs}


@compiler
@pytest.mark.parametrize(
    "name", [*FIRST, *(pytest.param(n, marks=pytest.mark.slow) for n in PROGRAMS if n not in FIRST)]
)
def test_equal_to_the_plain_lines(name):
    d, sizes = PROGRAMS[name]()
    plain, native = nx.compile(d, sizes=sizes), nx.compile(d, sizes=sizes, native=True)
    assert "loops in C" in {rule for rule, *_ in native.choices} and "LOOPS" in native.source
    assert "LOOPS" not in plain.source
    tiles = native.source.count("products((Products){")
    assert name not in TILED or tiles == TILED[name]
    assert native.checked.startswith("not checked") or "its loops in C against its plain lines" in native.checked
    for dtype, close in ((np.float32, 2e-5), (np.float64, 1e-13)):
        with jax.enable_x64(dtype is np.float64):
            given = arrays(plain, dtype)
            for want, got in zip(jax.tree.leaves(plain(**given)), jax.tree.leaves(native(**given)), strict=True):
                assert got.dtype == want.dtype == dtype
                assert np.abs(got - want).max() <= close * max(1, np.abs(want).max())


@compiler
def test_verified_vmapped_and_lowered_for_a_gpu():
    d, sizes = PROGRAMS["layer norm"]()
    kern = nx.compile(d, sizes=sizes, native=True)
    assert nx.verify(kern).ok
    given = [jnp.asarray(a) for a in arrays(kern, np.float32).values()]
    many = jax.vmap(kern.fn)(*(jnp.stack([a, 2 * a]) for a in given))
    alone = kern.fn(*(2 * a for a in given))
    assert np.allclose(many[0][1], alone[0], atol=1e-5)
    text = jax.jit(kern.fn).trace(*given).lower(lowering_platforms=("cuda",)).as_text()
    assert "rows_1" not in text
    half = kern.fn(*(a.astype(jnp.bfloat16) for a in given))
    assert half[0].dtype == jnp.bfloat16


@compiler
def test_a_library_that_is_not_as_it_was_built_is_built_again(cache):
    d, sizes = PROGRAMS["layer norm"]()
    kern = nx.compile(d, sizes=sizes, native=True)
    given = arrays(kern, np.float32)
    kern(**given)
    built = sorted((cache / "native").glob("*.so"))
    for path in built:
        path.chmod(0o700)
        content = path.read_bytes()
        path.unlink()  # the one that is loaded stays what it is
        path.write_bytes(content[: len(content) // 2])
    again = nx.compile(d, sizes=sizes, native=True)
    assert np.allclose(again(**given)[0], kern(**given)[0])
    assert not [p for p in (cache / "native").iterdir() if p.is_dir()]


def test_without_a_compiler_the_plain_lines_run_and_it_is_said_once(monkeypatch, tmp_path):
    monkeypatch.setenv("DERIVE_CACHE", str(tmp_path))
    monkeypatch.setenv("CC", str(tmp_path / "no-compiler"))
    d, sizes = PROGRAMS["layer norm"]()
    plain = nx.compile(d, sizes=sizes)
    given = arrays(plain, np.float32)
    with pytest.warns(UserWarning, match="loops in C are left to XLA's operations.*no-compiler"):
        kern = nx.compile(d, sizes=sizes, native=True)
        found = kern(**given)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        kern(**arrays(kern, np.float32, batch=4))
    assert np.array_equal(found[0], plain(**given)[0])


NETWORKS = {
    "norms": (lambda: [L.Dense(64), L.LayerNorm(), L.Dense(3)], (4,), "LOOPS"),
    "convolutions": (
        lambda: [L.Conv2D(16, 3), L.Conv2D(16, 3), L.GlobalAvgPool(), L.Dense(3)],
        (12, 12, 1),
        "products(",
    ),
}


@compiler
@pytest.mark.parametrize("name", ["norms", pytest.param("convolutions", marks=pytest.mark.slow)])
def test_a_network_is_trained_by_them(name):
    import optax

    layers, shape, said = NETWORKS[name]
    model = dv.Sequential(layers(), input_shape=shape)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(32, *shape)).astype("float32"), rng.integers(0, 3, 32)
    losses = []
    for native in (False, True):
        t = nx.Trainer(model, "sparse_softmax_cross_entropy", optax.sgd(0.1), native=native, cache=False)
        losses.append(t.fit(X, y, batch_size=8, epochs=2, verbose=False)["loss"])
        assert (said in t.kernel.source) is native
    assert np.allclose(*losses, rtol=1e-4)
    with pytest.raises(nx.NumericsError, match="whole arrays of one device"):
        nx.Trainer(model, "sparse_softmax_cross_entropy", native=True, mesh=jax.make_mesh((1,), ("data",)))


def test_products_of_matrices_stay_with_xla():
    model = dv.Sequential([L.Dense(16, activation="relu"), L.Conv1D(4, 3)], input_shape=(8, 6))
    d = model.backprop("mean_squared_error")
    kern = nx.compile(d, sizes=model.sizes, native=True)
    products = {"z1", "z2", "dh1", "d_dense_1_kernel", "d_conv1d_1_kernel"}
    numbers = {e.number for e in d.program.equations if e.name in products}
    assert len(numbers) == 5
    assert not numbers & {number for rule, number, _ in kern.choices if rule == "loops in C"}
    assert "LOOPS" not in nx.compile(d, sizes=model.sizes, native=True, backend="gpu", check=False).source
