"""Functions as people write them, against jax.grad: factors of matrices, segments, scans, places set, masks."""

import jax
import jax.numpy as jnp
import jax.scipy.linalg as jsp
import numpy as np
import pytest
from foreign_functions import labels, normal, uniform
from jax import lax
from test_foreign_functions import agrees

import numerics as nx

S, V = normal(4, 4), normal(4)
SEGMENTS = np.array([0, 0, 1, 3, 2, 2, 1, 3])


def covariance(a):
    return a @ a.T + jnp.eye(a.shape[0])


def gaussian_by_factor(a, x):
    L = jnp.linalg.cholesky(covariance(a))
    y = jsp.solve_triangular(L, x, lower=True)
    return 0.5 * y @ y + jnp.sum(jnp.log(jnp.diag(L)))


def gaussian_by_cho_solve(a, x):
    factor = jsp.cho_factor(covariance(a), lower=True)
    return 0.5 * x @ jsp.cho_solve(factor, x) + jnp.sum(jnp.log(jnp.diagonal(factor[0])))


def segment_softmax(x, segments):
    top = lax.stop_gradient(jax.ops.segment_max(x, segments, num_segments=4))
    e = jnp.exp(x - top[segments])
    return jnp.sum((e / jax.ops.segment_sum(e, segments, num_segments=4)[segments]) ** 2)


def linear_scan(a, x):
    return jnp.sum(lax.associative_scan(lambda p, q: (p[0] * q[0], q[0] * p[1] + q[1]), (a, x))[1] ** 2)


def filled_in_a_loop(x, w):
    w = jnp.asarray(w)
    return jnp.sum(lax.fori_loop(0, 4, lambda i, h: h.at[i].set(jnp.tanh(h @ w[i])), x) ** 2)


def straight_through(z, v):
    p = jax.nn.softmax(z)
    hard = jax.nn.one_hot(jnp.argmax(z, -1), z.shape[1])
    return jnp.sum((p + lax.stop_gradient(hard - p)) * v)


def mapped_scan(w, xs):
    def one(x):
        def step(h, xt):
            h = jnp.tanh(xt @ w["x"] + h @ w["h"])
            return h, h

        return lax.scan(step, jnp.zeros(5), x)[1]

    return jnp.mean(jax.vmap(one)(xs) ** 2)


def mapped_mean(x):
    return jnp.sum(jax.vmap(lambda v: v - lax.pmean(v, "batch"), axis_name="batch")(x) ** 3)


WRITTEN = {
    "gaussian by factor": (gaussian_by_factor, S, V),
    "gaussian by cho_solve": (gaussian_by_cho_solve, S, V),
    "multivariate normal": (
        lambda a, x: jnp.sum(jax.scipy.stats.multivariate_normal.logpdf(x, jnp.zeros(4), covariance(a))),
        S,
        normal(7, 4),
    ),
    "solve_triangular, upper": (
        lambda a, x: jnp.sum(
            jsp.solve_triangular(a + 3 * jnp.eye(4), x, lower=False, trans=1, unit_diagonal=True) ** 2
        ),
        S,
        V,
    ),
    "solve of a positive matrix": (lambda a, x: jnp.sum(jsp.solve(covariance(a), x, assume_a="pos") ** 2), S, V),
    "segment_softmax": (segment_softmax, normal(8), SEGMENTS),
    "segment_max": (lambda x: jnp.sum(jax.ops.segment_max(x, SEGMENTS, num_segments=4) ** 2), normal(8, 3)),
    "places": (
        lambda x: jnp.sum(x.at[1:3].set(0.0).at[0].add(x[4]).at[:, 1].mul(2.0).at[0, 0].max(1.0) ** 3),
        normal(5, 4),
    ),
    "linear_scan": (linear_scan, uniform(0.2, 0.9, 10), normal(10)),
    "filled_in_a_loop": (filled_in_a_loop, V, 0.3 * S),
    "straight_through": (straight_through, normal(3, 5), normal(3, 5, seed=1)),
    "mapped_scan": (mapped_scan, {"x": 0.3 * normal(4, 5), "h": 0.3 * normal(5, 5)}, normal(2, 6, 4)),
    "mapped_mean": (mapped_mean, normal(6, 4)),
    "angles": (lambda x: jnp.sum(jnp.arctan2(x, x[::-1] + 0.3) ** 2), normal(4, 6)),
    "einsum with an ellipsis": (
        lambda x, w: jnp.sum(jnp.einsum("...i,io->...o", x, w) ** 2),
        normal(2, 3, 4),
        normal(4, 5),
    ),
    "take_along_axis": (
        lambda z, i: jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(z), i, axis=1) ** 2),
        normal(6, 5),
        labels(5, 6, 1),
    ),
    "rolled": (lambda x: jnp.sum(x * jnp.roll(x, 1, axis=0) * jnp.roll(x, -2, axis=1)), normal(6, 4)),
    "triangles": (lambda x: jnp.sum(jnp.tril(x) ** 2) + jnp.sum(jnp.triu(x, 1) ** 3), normal(5, 5)),
    "weighted logsumexp": (
        lambda x, b: jnp.sum(jax.nn.logsumexp(x, axis=1, b=b)),
        normal(4, 6),
        uniform(0.2, 0.9, 4, 6),
    ),
    "resized": (lambda x: jnp.sum(jax.image.resize(x, (1, 8, 8, 2), "bilinear") ** 2), normal(1, 4, 4, 2)),
    "gradient penalty": (lambda x: jnp.sum(jax.grad(lambda a: jnp.sum(jnp.tanh(a) ** 2))(x) ** 2), normal(3, 4)),
}
QUICK = ("gaussian by factor", "segment_max", "angles", "filled_in_a_loop", "mapped_mean", "solve_triangular, upper")


@pytest.mark.parametrize("name", QUICK)
def test_a_function(name, x64):
    f, *args = WRITTEN[name]
    assert agrees(f, args).derivation.check().ok


@pytest.mark.slow
@pytest.mark.parametrize("name", [n for n in WRITTEN if n not in QUICK])
def test_each_function(name, x64):
    f, *args = WRITTEN[name]
    assert agrees(f, args).derivation.check().ok


def test_a_factor_is_proved_as_a_recurrence(x64):
    vg = agrees(gaussian_by_factor, (S, V))
    assert str(vg.model.tensors["L"].definition.body) and vg.derivation.check().proved


def test_an_argument_of_conditions_alone_has_zero_gradients(x64):
    def masked(x, w):
        return jnp.sum(jnp.where(w > 0, x, 0.0) ** 2)

    args = (normal(4), normal(4, seed=1))
    ours = jax.jit(lambda *a: nx.value_and_grad(masked, argnums=(0, 1))(*a))(*args)
    theirs = jax.value_and_grad(masked, argnums=(0, 1))(*args)
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b)
