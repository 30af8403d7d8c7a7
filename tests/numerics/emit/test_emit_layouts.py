"""Which way arrays lie, and which axes they need: the choices that a product of several axes leaves open."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import derive as dv
import numerics as nx
from derive import layers as L


def body(kern):
    return kern.source.split('"""')[-1]


def arrays(integers=(), **shapes):
    rng = np.random.default_rng(0)
    return {n: rng.integers(0, integers[n], s) if n in integers else rng.normal(size=s) for n, s in shapes.items()}


def same(kern, forward, given):
    """Values and gradients are those of ``forward`` in jax.numpy, in float64."""
    with jax.enable_x64(True):
        given = {n: jnp.asarray(a) for n, a in given.items()}
        wrt = [t.name for t in kern.derivation.wrt]
        loss, grads = kern(**given)[:2]
        other, theirs = jax.value_and_grad(lambda p: forward(**{**given, **p}))({n: given[n] for n in wrt})
        np.testing.assert_allclose(loss, other, rtol=1e-11)
        for n in wrt:
            np.testing.assert_allclose(grads[n], theirs[n], rtol=1e-9, atol=1e-11)


def compiled(text, wrt, **options):
    t = dv.parse(text)
    return nx.compile(dv.backprop(t["loss"], wrt=[t[n] for n in wrt.split()]), **options)


GROUPED = """
z: float[b,t,u,g,k] parameter   y: float[b,q,u,k] parameter   up: float[b,t,u,g,k]
a[b,u,g,t,q] = sin(sum[k](z[b,t,u,g,k]*y[b,q,u,k]))
loss = sum[b,t,u,g,k](up[b,t,u,g,k]*sum[q](a[b,u,g,t,q]*y[b,q,u,k]))
"""


def grouped(z, y, up):
    a = jnp.sin(jnp.einsum("btugk,bquk->bugtq", z, y))
    return (up * jnp.einsum("bugtq,bquk->btugk", a, y)).sum()


def test_the_largest_array_of_a_product_is_never_turned():
    kern = compiled(GROUPED, "z y")
    assert 'einsum("bugtk,bquk->bugtq", z.transpose(0, 2, 3, 1, 4), y)' in body(kern)
    same(kern, grouped, arrays(z=(2, 5, 3, 2, 4), y=(2, 6, 3, 4), up=(2, 5, 3, 2, 4)))


def test_an_inner_product_that_is_read_in_another_order_is_written_out_in_it():
    kern = compiled(
        "a: float[b,t,u,k] parameter\nc: float[b,t,u,k] parameter\n"
        "s[b,u,t] = sum[k](a[b,t,u,k]*c[b,t,u,k])\nloss = sum[b,u,t](s[b,u,t]^3)",
        "a c",
    )
    assert 'jnp.einsum("btuk,btuk->but", a, c)' in body(kern)
    same(kern, lambda a, c: ((a * c).sum(3) ** 3).sum(), arrays(a=(2, 5, 3, 4), c=(2, 5, 3, 4)))


MACHINE = """
x: float[b,i]   y: float[b]   w: float[i] parameter   V: float[i,f] parameter
q[b] = sum[i](x[b,i]*w[i]) + sum[f](sum[i](x[b,i]*V[i,f])^2 - sum[i](x[b,i]^2*V[i,f]^2))/2
loss = sum[b]((q[b] - y[b])^2) / B
"""


def test_an_axis_along_which_nothing_varies_is_left_out():
    kern = compiled(MACHINE, "w V")
    assert " @ (x * x)" in body(kern) and "broadcast_to" not in body(kern)
    assert "narrow" in kern.source.split("import jax")[0]

    def forward(x, y, w, V):
        q = x @ w + ((x @ V) ** 2 - x**2 @ V**2).sum(1) / 2
        return ((q - y) ** 2).mean()

    same(kern, forward, arrays(x=(7, 5), y=(7,), w=(5,), V=(5, 3)))


@pytest.mark.parametrize("read", ["c[b,f+1]", "c[b,0]", "c[b,N-1-f]"])
def test_what_is_read_elsewhere_along_the_axis_keeps_it(read):
    """``c[b, f+1]`` is zero past the end, though ``c`` is the same everywhere."""
    text = f"x: float[b] parameter\nv: float[f(N)]\nc[b,f] = x[b]^2\nloss = sum[b,f]({read}*v[f])"
    places = {"c[b,f+1]": slice(0, -1), "c[b,0]": slice(None), "c[b,N-1-f]": slice(None)}
    kern = compiled(text.replace("f(N)", "f").replace("N-1-f", "F-1-f"), "x")
    same(kern, lambda x, v: (x**2).sum() * v[places[read]].sum(), arrays(x=(4,), v=(6,)))


def test_a_sum_along_an_axis_that_nothing_holds_is_a_factor():
    kern = compiled(
        "x: float[b] parameter\nv: float[b,f]\nc[b,f] = x[b]^2\ne[b] = sum[f](c[b,f])\n"
        "loss = sum[b](e[b]^2) + sum[b,f](v[b,f])",
        "x",
    )
    same(kern, lambda x, v: ((x**2 * v.shape[1]) ** 2).sum() + v.sum(), arrays(x=(4,), v=(4, 6)))


@pytest.mark.parametrize("size", [(3, 3), (2, 3), 2, 1])
def test_windows_side_by_side_are_a_product_of_tiles(size):
    model = dv.Sequential(
        [L.Conv2D(5, size, strides=size, activation="tanh"), L.Flatten(), L.Dense(3)], input_shape=(6, 12, 2)
    )
    d = model.backprop("sparse_softmax_cross_entropy")
    kern = nx.compile(d, sizes=model.sizes)
    assert ("tiles(x" in body(kern)) == (size != 1)
    rng = np.random.default_rng(0)
    params = {n: rng.normal(size=np.shape(a)) for n, a in nx.init(model).items()}
    given = {**params, "x": rng.normal(size=(4, 6, 12, 2)), "y": rng.integers(0, 3, 4)}
    steps = (size, size) if isinstance(size, int) else size

    def forward(x, y, conv2d_1_kernel, conv2d_1_bias, dense_1_kernel, dense_1_bias):
        h = jax.lax.conv_general_dilated(x, conv2d_1_kernel, steps, "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC"))
        z = jnp.tanh(h + conv2d_1_bias).reshape(len(x), -1) @ dense_1_kernel + dense_1_bias
        return -jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], 1).mean()

    same(kern, forward, given)


def test_the_image_of_tiles():
    model = dv.Sequential(
        [L.Conv2D(5, 2, padding="same", activation="tanh"), L.Conv2D(4, 2, strides=2), L.Flatten(), L.Dense(3)],
        input_shape=(6, 4, 2),
    )
    kern = nx.compile(model.backprop("sparse_softmax_cross_entropy"), sizes=model.sizes)
    assert "from_tiles(" in body(kern)
    assert nx.verify(kern).ok


GATHERED = """
U: float[w,d] parameter   V: float[w,d] parameter
centre: int[b] < W   near: int[b] < W   noise: int[b,k] < W
loss = sum[b](sin(sum[d](U[centre[b],d]*V[near[b],d])) + sum[k](cos(sum[d](U[centre[b],d]*V[noise[b,k],d]))))
"""


def test_rows_of_a_table_are_multiplied_where_they_lie_and_added_at_a_place_once():
    kern = compiled(GATHERED, "U V")
    assert 'jnp.einsum("bkd,bd->bk", V[noise], U[centre])' in body(kern)
    assert body(kern).count(".at[centre].add") == 1
    given = arrays({"centre": 6, "near": 6, "noise": 6}, U=(6, 3), V=(6, 3), centre=(5,), near=(5,), noise=(5, 4))

    def forward(U, V, centre, near, noise):
        u = U[centre]
        return jnp.sin((u * V[near]).sum(1)).sum() + jnp.cos(jnp.einsum("bd,bkd->bk", u, V[noise])).sum()

    same(kern, forward, given)
