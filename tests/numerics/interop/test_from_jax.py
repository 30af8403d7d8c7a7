"""nx.from_jax and nx.value_and_grad: names, sizes, structures, what is refused and how."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_functions import FUNCTIONS, normal
from jax import lax

import derive as dv
import numerics as nx
from derive.language.errors import DerivationError, UnsupportedError


def loss_fn(params, x, y):
    h = jnp.tanh(x @ params["up"])
    z = h @ params["down"]
    return -jnp.mean(jax.nn.log_softmax(z)[jnp.arange(x.shape[0]), y])


PARAMS = {"up": normal(4, 5).astype("f"), "down": normal(5, 3).astype("f")}
X, Y = normal(6, 4).astype("f"), np.array([0, 2, 1, 1, 0, 2])


def test_definitions_have_the_names_of_their_author():
    m = nx.from_jax(loss_fn, PARAMS, X, Y)
    t = m.tensors
    assert str(t["h"].definition.body) == "tanh(sum[i](up[i, j]*x[b, i]))"
    assert str(t["z"].definition.body) == "sum[j](down[j, k]*h[b, j])"
    assert [w.name for w in m.wrt] == ["down", "up"]
    assert str(t["y"].below) == "K"
    assert set(t) == {"up", "down", "x", "y", "h", "z", "loss"}  # nothing of jax.nn's maxima and guards is left
    assert m.lines["h"].startswith("test_from_jax.py:")


def test_a_layer_is_a_definition_under_its_modules_name():
    nn = pytest.importorskip("flax.linen")

    class Block(nn.Module):
        @nn.compact
        def __call__(self, x):
            h = nn.gelu(nn.Dense(8)(x))
            x = x + nn.Dense(4)(nn.LayerNorm()(h))
            return nn.LayerNorm()(x)

    block = Block()
    params = block.init(jax.random.key(0), X)["params"]
    m = nx.from_jax(lambda params, x: jnp.mean(block.apply({"params": params}, x) ** 3), params, X)
    names = [t for t, v in m.tensors.items() if v.definition is not None]
    assert (
        names[:5] == ["Dense_0", "h", "mu", "var", "LayerNorm_0"] and "Dense_1" in names and "LayerNorm_1_mu" in names
    )
    assert str(m.backprop().gradient("Dense_0_bias")) == "d_Dense_0_bias[p] = sum_b d_Dense_0[b,p]"


def test_a_bias_is_added_in_a_line_of_its_own():
    def loss(params, x):
        h = jnp.tanh(x @ params["w"] + params["b"])
        low, high = h.min(1), h.max(1)
        return jnp.sum((high - low) ** 2)

    m = nx.from_jax(loss, {"w": PARAMS["up"], "b": X[0, :1].repeat(5)}, X)
    assert str(m.tensors["h"].definition.body) == "tanh(z[b, j])" and {"low", "high"} <= set(m.tensors)
    assert str(m.backprop().gradient("b")) == "db[j] = sum_b dz[b,j]"


def test_axes_are_named_by_their_author():
    m = nx.from_jax(loss_fn, PARAMS, X, Y, axes={"x": "Batch In", "down": ["Hidden", None]})
    assert str(m.tensors["h"].definition.body) == "tanh(sum[in](up[in, hidden]*x[batch, in]))"
    with pytest.raises(dv.DeriveError, match="'xx' is no array; the arrays are down, up, x, y"):
        nx.from_jax(loss_fn, PARAMS, X, Y, axes={"xx": "B I"})
    with pytest.raises(dv.ShapeError, match="B is 5 elsewhere, but 6 in x"):
        nx.from_jax(loss_fn, PARAMS, X, Y, axes={"x": "B I", "down": "B K"})


def test_equal_numbers_are_not_equal_sizes_and_the_mean_is_over_any_batch():
    square = {"up": np.eye(4, dtype="f"), "down": np.ones((4, 4), "f")}
    m = nx.from_jax(loss_fn, square, X[:4], Y[:4])
    assert len({str(a) for t in ("x", "up", "down") for a in m.tensors[t].axes}) == 4
    kern = nx.compile(m.backprop())
    value, grads = kern(**m.arrays(PARAMS, X, Y))
    wanted, by_autodiff = jax.value_and_grad(loss_fn)(PARAMS, X, Y)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_allclose(grads["up"], by_autodiff["up"], atol=1e-6)


def test_heads_are_a_multiple_and_fixed_features_are_bound():
    f, args = FUNCTIONS["causal_attention"]()
    m = nx.from_jax(f, *args)
    assert str(m.tensors["x"].axes[2]) == "2*D_2" and not m.bound
    m = nx.from_jax(lambda x: jnp.sum(x.reshape(-1, 2, 2) ** 2 * jnp.arange(4.0).reshape(2, 2)), X)
    assert m.bound == ("x axis 1 = 4",) and "bound: x axis 1 = 4" in m.notes


def test_structures_dtypes_and_jit():
    vg = nx.value_and_grad(lambda p, x: jnp.sum((x @ p[0]["w"]) ** 2) + jnp.sum(p[1]), argnums=(0, 1))
    args = ([{"w": PARAMS["up"]}, X[0]], X)
    value, grads = jax.jit(vg)(*args)
    _, by_autodiff = jax.value_and_grad(vg._f, argnums=(0, 1))(*args)
    assert jax.tree.structure(grads) == jax.tree.structure(by_autodiff)
    assert [g.dtype for g in jax.tree.leaves(grads)] == [jnp.float32] * 3
    assert vg.trace(*args) is vg and vg.derivation.check().ok and "import jax" in vg.source
    vg([{"w": normal(7, 2).astype("f")}, X[0]], normal(3, 7).astype("f"))
    assert len(vg._made) == 1  # other lengths are the same program


def test_aux_and_unread_parameters():
    def f(params, x):
        h = x @ params["w"]
        return jnp.sum(h**2), {"h": h, "step": 3}

    vg = nx.value_and_grad(f, has_aux=True)
    (value, aux), grads = vg({"w": PARAMS["up"], "idle": X}, X)
    np.testing.assert_allclose(aux["h"], X @ PARAMS["up"], rtol=1e-5)
    assert aux["step"] == 3 and float(jnp.sum(jnp.abs(grads["idle"]))) == 0


def test_second_order_and_vjp():
    m = nx.from_jax(lambda w, x: jnp.sum(jnp.tanh(x @ w)), normal(4), normal(6, 4))
    assert m.hessian().check().ok and m.hvp().check().ok
    m = nx.from_jax(lambda w, x: x @ w, normal(4), normal(6, 4))
    assert m.vjp().check().ok
    assert str(m.jacobian().program.equations[-1].rhs) == "x[b, i]"
    with pytest.raises(DerivationError, match=r"gradients need a scalar; sum or average it, or use m.vjp\(\)"):
        m.backprop()


def test_rules_of_ones_own_are_compared(x64):
    values = X.astype("d")  # 1 - tanh(x)**2 of float32 has lost digits, how many is a matter of how it was compiled

    @jax.custom_vjp
    def straight_through(x):
        return jnp.tanh(x)

    straight_through.defvjp(lambda x: (jnp.tanh(x), None), lambda _, g: (g,))

    @jax.custom_jvp
    def softplus(x):
        return jnp.log1p(jnp.exp(x))

    softplus.defjvp(lambda p, t: (softplus(p[0]), jax.nn.sigmoid(p[0]) * t[0]))
    nx.value_and_grad(lambda x: jnp.sum(softplus(x)))(values)
    f = lambda x: jnp.sum(straight_through(x))  # noqa: E731
    with pytest.raises(
        UnsupportedError, match="straight_through .*the gradients by x differ; accepted: custom_rules='primal'"
    ):
        nx.value_and_grad(f)(values)
    np.testing.assert_allclose(
        nx.value_and_grad(f, custom_rules="primal")(values)[1], 1 - np.tanh(values) ** 2, rtol=1e-12
    )


@pytest.mark.parametrize(
    ("f", "said"),
    [
        (lambda x: lax.while_loop(lambda a: jnp.sum(a) < 9, lambda a: a * 2, x).sum(), "while .*lax.scan"),
        (lambda x: jax.scipy.linalg.expm(x[:4]).sum(), "abs of .*in JAX's expm, .*the exponential of a matrix is not"),
        (lambda x: jnp.median(x), "sort of .*, in JAX's median, .*an order has no formula"),
        (lambda x: jax.scipy.special.spence(x).sum(), "select_n of .*it puts NaN in the place of some values"),
        (lambda x: jnp.sort(x).sum(), "sort of .*an order has no formula"),
        (lambda x: jnp.abs(jnp.fft.fft(x)).sum(), "convert_element_type of .*complex64 is not in the language"),
        (
            lambda x: jnp.sum(x.astype(jnp.bfloat16)),
            "convert_element_type of .*rounded from float32 to bfloat16; accepted: one precision",
        ),
        (lambda x: jnp.sum(jnp.linalg.eigh(x.T @ x)[0]), "eigh of .*eigenvalues are not in the language"),
    ],
)
def test_what_has_no_meaning_is_refused_by_name_and_line(f, said):
    with pytest.raises(UnsupportedError, match=f"nx.from_jax: {said}") as refused:
        nx.from_jax(f, X)
    assert "at test_from_jax.py:" in str(refused.value)


def test_conventions_name_the_line():
    m = nx.from_jax(lambda x: jnp.max(jnp.maximum(x, 0.0), 1).sum() + jnp.sum(jax.nn.softmax(x, axis=1)[:, 0]), X)
    assert [c.partition(": ")[2][:30] for c in m.conventions] == [
        "relu'(0) = 0, as of jax.nn.rel",
        "among equal maxima the first h",
    ]
    assert all(c.startswith("test_from_jax.py:") for c in m.conventions)


def test_bad_arguments():
    with pytest.raises(nx.InputError, match=r"argnums=\(2,\) names y, which is int"):
        nx.from_jax(loss_fn, PARAMS, X, Y, argnums=2)
    with pytest.raises(nx.InputError, match="option is str, no array; accepted: arrays and numbers in pytrees"):
        nx.from_jax(lambda w, option: w.sum(), X, "fast")
    with pytest.raises(DerivationError, match="loss depends on none of x, but through stop_gradient"):
        nx.from_jax(lambda x: jnp.sum(lax.stop_gradient(x) * 2), X).backprop()


def primitives_of_jax():
    import sys

    from jax.extend.core import Primitive

    modules = [module for name, module in list(sys.modules.items()) if name.startswith("jax")]
    return {v.name for module in modules for v in list(vars(module).values()) if isinstance(v, Primitive)}


def test_every_primitive_of_jax_is_meant_or_refused_by_name():
    from numerics.interop.table import REASONS, known

    theirs = primitives_of_jax()
    if jax.__version__.startswith(
        ("0.10.", "0.11.", "0.12.")
    ):  # what another adds is refused by name, without a reason
        assert theirs <= known() | set(REASONS), sorted(theirs - known() - set(REASONS))
    assert not known() & set(REASONS)


def test_primitives_are_those_of_jax_and_the_rest_is_known():
    """Every row names a primitive that JAX has, so that a renamed one is found."""
    from numerics.interop.flat import LEAVES, OPAQUE
    from numerics.interop.table import PRIMITIVES
    from numerics.interop.whole import WRITTEN

    later = {"log2", "one_minus_square", "relayout", "polynomial"}  # than JAX 0.10
    theirs = primitives_of_jax() | later
    ours = PRIMITIVES.keys() - {"zero", *OPAQUE.values(), *WRITTEN, *(row for _, row in LEAVES.values())}
    assert ours <= theirs, sorted(ours - theirs)
    assert {"while", "sort", "top_k", "fft", "eig", "eigh", "svd"} <= theirs - ours
