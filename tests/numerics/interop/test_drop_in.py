"""nx.value_and_grad in the place of jax.value_and_grad: training loops of Flax and Equinox, auxiliary values, bad inputs."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from foreign_functions import labels, normal
from jax import lax

import numerics as nx
from derive.language.errors import DerivationError, DeriveError, UnsupportedError

X, Y = normal(12, 4).astype("f"), labels(3, 12)


def cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def trained(value_and_grad, loss, params, *args, steps=4):
    """Losses and parameters after some steps of Adam, each step jitted."""
    optimizer = optax.adam(0.05)
    vg = value_and_grad(loss)

    @jax.jit
    def step(params, state, *args):
        value, grads = vg(params, *args)
        updates, state = optimizer.update(grads, state, params)
        return optax.apply_updates(params, updates), state, value

    state, values = optimizer.init(params), []
    for _ in range(steps):
        params, state, value = step(params, state, *args)
        values.append(float(value))
    return values, params


def same(loss, params, *args):
    ours, theirs = (trained(vg, loss, params, *args) for vg in (nx.value_and_grad, jax.value_and_grad))
    np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-4)
    assert ours[0][-1] < ours[0][0] and jax.tree.structure(ours[1]) == jax.tree.structure(theirs[1])
    assert [a.dtype for a in jax.tree.leaves(ours[1])] == [a.dtype for a in jax.tree.leaves(theirs[1])]


def test_a_linen_loop():
    nn = pytest.importorskip("flax.linen")
    model = nn.Sequential([nn.Dense(8), nn.relu, nn.Dense(3)])
    variables = model.init(jax.random.key(0), X)
    same(lambda variables, x, y: cross_entropy(model.apply(variables, x), y), variables, X, Y)


def test_an_nnx_loop():
    nnx = pytest.importorskip("flax.nnx")
    graph, params, rest = nnx.split(nnx.Linear(4, 3, rngs=nnx.Rngs(0)), nnx.Param, ...)
    same(lambda params, x, y: cross_entropy(nnx.merge(graph, params, rest)(x), y), params, X, Y)


def test_an_equinox_loop():
    eqx = pytest.importorskip("equinox")
    params, static = eqx.partition(eqx.nn.MLP(4, 3, 8, 1, key=jax.random.key(0)), eqx.is_inexact_array)
    same(lambda params, x, y: cross_entropy(jax.vmap(eqx.combine(params, static))(x), y), params, X, Y)


def test_averages_of_batch_norm_come_back_as_aux():
    nn = pytest.importorskip("flax.linen")
    model = nn.Sequential([nn.Dense(5), nn.BatchNorm(use_running_average=False)])
    variables = model.init(jax.random.key(0), X)

    def loss(params, stats, x):
        out, updated = model.apply({"params": params, "batch_stats": stats}, x, mutable=["batch_stats"])
        return jnp.mean(out**3), updated

    args = (variables["params"], variables["batch_stats"], X)
    ours = jax.jit(nx.value_and_grad(loss, has_aux=True))(*args)
    theirs = jax.value_and_grad(loss, has_aux=True)(*args)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_several_arguments_integers_and_masks():
    def loss(table, ids, scale, mask):
        return jnp.sum(jnp.where(mask, table[ids].sum(-1), 0) * scale)

    args = (normal(7, 3).astype("f"), labels(7, 12), X[:, 0], Y > 0)
    ours = jax.jit(nx.value_and_grad(loss, argnums=(2, 0)))(*args)
    theirs = jax.value_and_grad(loss, argnums=(2, 0))(*args)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_options_and_arrays_by_name():
    def loss(w, x, square, *, mask=None, how="sum"):
        z = w * x if not square else (w * x) ** 2
        z = z if mask is None else z * mask
        return z.sum() if how == "sum" else z.mean()

    vg = nx.value_and_grad(loss)
    for square, named in ((True, {}), (False, {}), (True, {"mask": X > 0}), (True, {"how": "mean"}), (True, {})):
        ours, theirs = (g(X, X, square, **named) for g in (vg, jax.value_and_grad(loss)))
        np.testing.assert_allclose(ours[0], theirs[0], rtol=1e-5)
        np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-5)
    assert len(vg._made) == 4 and "mask" in vg._made[2].model.tensors
    with pytest.raises(nx.InputError, match="what is differentiated by is given by its place"):
        vg(w=X, x=X, square=True)


def test_noise_and_averages_of_nnx():
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.up, self.norm = nnx.Linear(4, 8, rngs=rngs), nnx.BatchNorm(8, rngs=rngs)
            self.drop, self.down = nnx.Dropout(0.5, rngs=rngs), nnx.Linear(8, 3, rngs=rngs)

        def __call__(self, x):
            return self.down(self.drop(nnx.relu(self.norm(self.up(x)))))

    def net_and_optimizer():
        net = Net(nnx.Rngs(0))
        return net, nnx.Optimizer(net, optax.adam(0.05), wrt=nnx.Param)

    def of_ours():
        net, optimizer = net_and_optimizer()
        graph, _, _ = nnx.split(net, nnx.Param, ...)

        def loss(params, rest, x, y):
            net = nnx.merge(graph, params, rest, copy=True)
            return cross_entropy(net(x), y), nnx.split(net, nnx.Param, ...)[2]

        vg = nx.value_and_grad(loss, has_aux=True)
        for _ in range(3):
            _, params, rest = nnx.split(net, nnx.Param, ...)
            (value, rest), grads = vg(params, rest, X, Y)
            nnx.update(net, rest)
            optimizer.update(net, grads)
            yield value

    def of_flax():
        net, optimizer = net_and_optimizer()
        for _ in range(3):
            value, grads = nnx.value_and_grad(lambda net: cross_entropy(net(X), Y))(net)
            optimizer.update(net, grads)
            yield value

    np.testing.assert_allclose(list(of_ours()), list(of_flax()), rtol=1e-4)


def test_a_loss_that_reads_no_parameter_has_zero_gradients():
    vg = nx.value_and_grad(lambda w, x: jnp.sum(x**2))
    value, grad = vg(X, Y.astype("f"))
    assert float(value) == float(np.sum(Y**2)) and grad.shape == X.shape and not grad.any()
    with pytest.raises(nx.NumericsError, match="depends on none of w: its gradients are zeros"):
        vg.source  # noqa: B018


@pytest.mark.slow
@pytest.mark.parametrize("wide", [False, True])
def test_attention_in_float32(wide):
    """What JAX casts to float32 inside is float32 already, under x64 as well."""
    q, k, v = (normal(2, 5, 2, 4, seed=n).astype("f") for n in range(3))

    def loss(q, k, v):
        return jnp.sum(jax.nn.dot_product_attention(q, k, v, is_causal=True) ** 2)

    with jax.enable_x64(wide):
        value, grad = nx.value_and_grad(loss)(q, k, v)
        wanted, by_autodiff = jax.value_and_grad(loss)(q, k, v)
    assert grad.dtype == jnp.float32
    np.testing.assert_allclose(value, wanted, rtol=1e-5)
    np.testing.assert_allclose(grad, by_autodiff, atol=2e-5)


def looped(x):
    return lax.while_loop(lambda a: jnp.sum(a) < 9, lambda a: a * 2, x).sum()


def shaped_by_data(x):
    return x[x > 0].sum()


def branching(x):
    return x.sum() if x[0, 0] > 0 else -x.sum()


@pytest.mark.parametrize(
    ("f", "args", "options", "error", "said"),
    [
        (
            looped,
            (X,),
            {},
            UnsupportedError,
            r"while of .* at test_drop_in.py:\d+ \(in looped\): the number of its steps",
        ),
        (shaped_by_data, (X,), {}, Exception, "NonConcreteBooleanIndexError|must be concrete"),
        (branching, (X,), {}, Exception, "traced array"),
        (lambda x: x * 2, (X,), {}, DerivationError, r"gradients need a scalar; sum or average it, or use m.vjp\(\)"),
        (lambda x, y: x.sum(), (X, Y), {"argnums": 1}, nx.InputError, r"argnums=\(1,\) names y, which is int"),
        (lambda x, how: x.sum(), (X, "fast"), {}, nx.InputError, "how is str, no array"),
        (lambda x: jnp.sort(x).sum(), (X,), {}, UnsupportedError, r"sort of .* at test_drop_in.py:\d+"),
        (lambda x, z: (x * z).sum(), (X, X), {"axes": {"x": "B"}}, DeriveError, "x has 2 axes"),
    ],
)
def test_bad_inputs(f, args, options, error, said):
    with pytest.raises(error, match=said):
        nx.value_and_grad(f, **options)(*args)
