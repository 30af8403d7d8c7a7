"""Places that are computed: searches, interpolation, resizing, integer arithmetic, against jax.value_and_grad."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from foreign_functions import labels, normal
from test_foreign_functions import agrees

X, W, EDGES = normal(6, 4), normal(6, 4, seed=1), np.linspace(-3, 3, 5)
IDS = labels(8, 6)


def nearest(x):
    return jnp.sum(jax.image.resize(x, (8, 10), "nearest") ** 2)


def at_coordinates(c):
    return jnp.sum(jax.scipy.ndimage.map_coordinates(X, [c, c + 1], 1) ** 2)


def ignored(z, y):
    picked = jnp.take_along_axis(jax.nn.log_softmax(z), jnp.where(y < 0, 0, y)[:, None], 1)[:, 0]
    return -jnp.sum(jnp.where(y < 0, 0.0, picked))


def selected(x):
    return jnp.sum(jnp.select([x < -0.5, x < 0.5], [x**2, x], 0.0))


FUNCTIONS = {
    "interp by x": (lambda x: jnp.sum(jnp.interp(x, EDGES, jnp.sin(EDGES)) ** 2), X),
    "interp by values": (lambda f, x: jnp.sum(jnp.interp(x, EDGES, f) ** 2), normal(5), X),
    "searchsorted": (lambda w, x: jnp.sum(w[jnp.searchsorted(EDGES, x)]), normal(6), X),
    "digitize": (lambda w, x: jnp.sum(w * jnp.digitize(x, EDGES, right=True)), W, X),
    "histogram": (lambda w, x: jnp.sum(jnp.histogram(x, bins=EDGES, weights=w)[0] ** 2), W, X),
    "histogram by its range": (lambda w, x: jnp.sum(jnp.histogram(x, bins=5, weights=w)[0] ** 2), W, X),
    "nearest": (nearest, normal(4, 5)),
    "coordinates that are held": (
        lambda x: jnp.sum(jax.scipy.ndimage.map_coordinates(x, [EDGES[3:], EDGES[2:4]], 1) ** 2),
        X,
    ),
    "coordinates": (at_coordinates, np.array([0.5, 1.2])),
    "limited places": (lambda x: jnp.sum(x[jnp.maximum(jnp.arange(6) - 1, 0)] * x), X),
    "half of the labels": (lambda w, i: jnp.sum(w[i // 2] ** 2), normal(4, 3), IDS),
    "ignored labels": (ignored, X, np.array([0, -1, 2, 3, 1, -1])),
    "select": (selected, X),
    "gamma": (lambda x: jnp.sum(jax.scipy.special.gamma(x) * x), np.array([0.7, 2.2, -0.6, -1.4])),
    "whole division": (lambda x: jnp.sum(x * ((jnp.arange(4) - 3) // 2 + jax.lax.div(jnp.arange(4) - 3, 2))), X),
    "remainders": (lambda x: jnp.sum(x * ((jnp.arange(4) - 3) % 2 + jax.lax.rem(jnp.arange(4) - 3, 2))), X),
    "remainders of floats": (lambda x: jnp.sum(jnp.fmod(x, 0.7) ** 2 + x % 0.3), X),
}
QUICK = ("interp by values", "coordinates that are held", "half of the labels", "whole division", "gamma")


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in FUNCTIONS])
def test_places(name, x64):
    f, *args = FUNCTIONS[name]
    assert agrees(f, args).derivation.check().ok
