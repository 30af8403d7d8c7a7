"""Functions that nobody wrote for this library: jax.nn, jax.scipy.special, optax, and models as people write them.

``FUNCTIONS`` is name -> a function that makes ``(f, args)``; f is differentiated by its first argument.
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

FUNCTIONS = {}


def normal(*shape, seed=0):
    return np.random.default_rng((seed, *shape)).normal(size=shape)


def uniform(low, high, *shape):
    return np.random.default_rng(shape).uniform(low, high, shape)


def labels(classes, *shape):
    return np.random.default_rng(shape).integers(0, classes, shape)


def function(*args):
    """Enter a function, its arguments made when they are asked for."""

    def enter(f):
        FUNCTIONS[f.__name__] = lambda: (f, tuple(a() if callable(a) else a for a in args))
        return f

    return enter


def _squared(g, *args):
    def f(x, *rest):
        h = g(x, *rest)
        return jnp.sum(h * h)

    return lambda: (f, args)


# -- jax.nn, jax.scipy.special, optax ----------------------------------------------------------------------------------

# fmt: off
for _name in [
    "relu", "gelu", "silu", "sigmoid", "softplus", "tanh", "elu", "selu", "celu", "leaky_relu", "log_sigmoid",
    "hard_tanh", "relu6", "hard_sigmoid", "hard_swish", "mish", "squareplus", "sparse_plus", "sparse_sigmoid",
    "identity", "soft_sign", "glu", "softmax", "log_softmax", "standardize", "logsumexp", "logmeanexp",
]:
    FUNCTIONS[f"nn.{_name}"] = _squared(getattr(jax.nn, _name), normal(6, 4))
# fmt: on
FUNCTIONS["nn.gelu exact"] = _squared(lambda x: jax.nn.gelu(x, approximate=False), normal(6, 4))

for _name in ["logsumexp", "erf", "erfc", "expit", "log_ndtr", "ndtr"]:
    FUNCTIONS[f"special.{_name}"] = _squared(getattr(jax.scipy.special, _name), normal(6, 4))
for _name, _low, _high in (
    ("logit", 0.1, 0.9),
    ("entr", 0.1, 2),
    ("gammaln", 0.5, 3),
    ("digamma", 0.5, 3),
    ("erfinv", -0.9, 0.9),
    ("ndtri", 0.1, 0.9),
):
    FUNCTIONS[f"special.{_name}"] = _squared(getattr(jax.scipy.special, _name), uniform(_low, _high, 6, 4))
for _name in ["xlogy", "xlog1py", "rel_entr", "kl_div", "betaln"]:
    FUNCTIONS[f"special.{_name}"] = _squared(
        getattr(jax.scipy.special, _name), uniform(0.2, 2, 6, 4), uniform(0.3, 2, 6, 4)
    )


def _loss(name, *targets):
    FUNCTIONS[f"optax.{name}"] = lambda: (
        lambda p, *t: getattr(optax.losses, name)(p, *t).mean(),
        (normal(6, 4), *targets),
    )


for _name in ["squared_error", "l2_loss", "huber_loss", "log_cosh", "cosine_distance", "cosine_similarity"]:
    _loss(_name, normal(6, 4, seed=1))
_PROBABILITIES = np.exp(normal(6, 4, seed=3)) / np.exp(normal(6, 4, seed=3)).sum(1, keepdims=True)
for _name in ["softmax_cross_entropy", "safe_softmax_cross_entropy", "poly_loss_cross_entropy", "kl_divergence"]:
    _loss(_name, _PROBABILITIES)
_loss("kl_divergence_with_log_targets", np.log(_PROBABILITIES))
_loss("sigmoid_binary_cross_entropy", 1.0 * (normal(6, 4, seed=1) > 0))
_loss("hinge_loss", np.sign(normal(6, 4, seed=1)))
_loss("triplet_margin_loss", normal(6, 4, seed=1), normal(6, 4, seed=2))
for _name in ["softmax_cross_entropy_with_integer_labels", "multiclass_hinge_loss", "multiclass_perceptron_loss"]:
    _loss(_name, labels(4, 6))


# -- models --------------------------------------------------------------------------------------------------------------


@function({"w": normal(4, 3), "b": normal(3)}, normal(6, 4), labels(3, 6))
def softmax_regression(params, x, y):
    return optax.softmax_cross_entropy_with_integer_labels(x @ params["w"] + params["b"], y).mean()


@function({"up": normal(4, 5), "down": normal(5, 3)}, normal(6, 4), labels(3, 6))
def mlp(params, x, y):
    h = jax.nn.gelu(x @ params["up"])
    z = h @ params["down"]
    return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()


@function([{"w": normal(4, 5), "b": normal(5)}, {"w": normal(5, 3), "b": normal(3)}], normal(6, 4), labels(3, 6))
def mlp_of_a_list(params, x, y):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    logits = x @ params[-1]["w"] + params[-1]["b"]
    return -jnp.mean(jax.nn.log_softmax(logits)[jnp.arange(x.shape[0]), y])


@function({"w": normal(4, 3)}, normal(6, 4), labels(3, 6))
def one_hot_cross_entropy(params, x, y):
    logp = jax.nn.log_softmax(x @ params["w"])
    return -(jax.nn.one_hot(y, logp.shape[-1]) * logp).sum(-1).mean()


@function({n: normal(8, 8, seed=k) for k, n in enumerate(("wq", "wk", "wv", "wo"))}, normal(2, 5, 8))
def causal_attention(params, x):
    B, T, D = x.shape
    H = 2
    q = (x @ params["wq"]).reshape(B, T, H, D // H)
    k = (x @ params["wk"]).reshape(B, T, H, D // H)
    v = (x @ params["wv"]).reshape(B, T, H, D // H)
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k) / jnp.sqrt(D // H)
    scores = jnp.where(jnp.tril(jnp.ones((T, T), bool)), scores, -jnp.inf)
    weights = jax.nn.softmax(scores, axis=-1)
    o = jnp.einsum("bhqk,bkhd->bqhd", weights, v).reshape(B, T, D)
    return jnp.mean((o @ params["wo"]) ** 2)


@function({"g": normal(4)}, normal(6, 4))
def rms_norm(params, x):
    r = lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-6)
    return jnp.sum((x * r * params["g"]) ** 3)


@function({"g": normal(4), "b": normal(4, seed=1)}, normal(6, 4))
def layer_norm(params, x):
    mean = x.mean(-1, keepdims=True)
    var = x.var(-1, keepdims=True)
    y = (x - mean) / jnp.sqrt(var + 1e-5) * params["g"] + params["b"]
    return jnp.sum(y**3)


@function(normal(6, 8), normal(8), normal(8, seed=1))
def group_norm(x, g, b):
    B, D = x.shape
    xg = x.reshape(B, 2, D // 2)
    xn = ((xg - xg.mean(-1, keepdims=True)) * lax.rsqrt(xg.var(-1, keepdims=True) + 1e-5)).reshape(B, D)
    return jnp.sum((xn * g + b) ** 3)


@function({"gate": normal(4, 6), "up": normal(4, 6, seed=1), "down": normal(6, 4)}, normal(6, 4))
def swiglu(params, x):
    return jnp.sum(((jax.nn.silu(x @ params["gate"]) * (x @ params["up"])) @ params["down"]) ** 2)


@function({"W": normal(4, 5), "U": normal(5, 5), "b": normal(5)}, normal(3, 6, 4))
def rnn(params, x):
    def step(h, xt):
        h = jnp.tanh(xt @ params["W"] + h @ params["U"] + params["b"])
        return h, h

    h0 = jnp.zeros((x.shape[0], 5))
    h, hs = lax.scan(step, h0, x.swapaxes(0, 1))
    return jnp.sum(h**2) + jnp.sum(hs**3)


@function({n: normal(9, 5, seed=k) for k, n in enumerate("zrc")}, normal(3, 6, 4), normal(3, 5))
def gru_backward_in_time(params, x, h0):
    def step(h, xt):
        hx = jnp.concatenate([xt, h], -1)
        z = jax.nn.sigmoid(hx @ params["z"])
        r = jax.nn.sigmoid(hx @ params["r"])
        c = jnp.tanh(jnp.concatenate([xt, r * h], -1) @ params["c"])
        h = (1 - z) * h + z * c
        return h, None

    h, _ = lax.scan(step, h0, x.swapaxes(0, 1), reverse=True)
    return jnp.sum(h**2)


@function({"K": normal(3, 3, 2, 4), "W": normal(64, 3)}, normal(2, 8, 8, 2), labels(3, 2))
def convolutional(params, x, y):
    h = lax.conv_general_dilated(x, params["K"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    h = lax.reduce_window(jax.nn.relu(h), -jnp.inf, lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID")
    z = h.reshape(h.shape[0], -1) @ params["W"]
    return optax.softmax_cross_entropy_with_integer_labels(z, y).mean()


@function({"K": normal(3, 3, 1, 4)}, normal(2, 8, 7, 4))
def depthwise(params, x):
    numbers = ("NHWC", "HWIO", "NHWC")
    h = lax.conv_general_dilated(
        x, params["K"], (2, 1), "VALID", dimension_numbers=numbers, feature_group_count=x.shape[-1]
    )
    return jnp.sum(h**2)


@function({"E": normal(7, 4), "W": normal(4, 7)}, labels(7, 3, 5), labels(7, 5, 3).T)
def language_model(params, ids, targets):
    logits = params["E"][ids] @ params["W"]
    lse = jax.nn.logsumexp(logits, axis=-1)
    picked = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return (lse - picked).mean()


@function(normal(6, 5), normal(6, 5, seed=1))
def info_nce(a, c):
    a = a / jnp.linalg.norm(a, axis=-1, keepdims=True)
    c = c / jnp.linalg.norm(c, axis=-1, keepdims=True)
    return -jnp.mean(jnp.diag(jax.nn.log_softmax(a @ c.T / 0.1, -1)))


@function(normal(4, 3), normal(6, 4), labels(3, 6))
def mapped(w, x, y):
    def one(x, y):
        z = x @ w
        return jax.nn.logsumexp(z) - z[y]

    return jax.vmap(one)(x, y).mean()


@function(normal(4, 3), normal(6, 4))
def jitted_and_rematerialised(w, x):
    @jax.jit
    def f(w, x):
        return jnp.tanh(x @ w)

    return jnp.sum(jax.checkpoint(f)(w, x) ** 2)


@function(normal(2, 5, 3, 4))
def rotary(x):
    T, D = x.shape[1], x.shape[3]
    angles = jnp.arange(T)[:, None] / 10 ** (jnp.arange(0, D, 2) / 4)
    x1, x2 = x[..., : D // 2], x[..., D // 2 :]
    c, s = jnp.cos(angles)[None, :, None], jnp.sin(angles)[None, :, None]
    return jnp.sum(jnp.concatenate([x1 * c - x2 * s, x1 * s + x2 * c], -1) ** 3)


@function({"w": normal(4, 5), "v": normal(5, 3)}, normal(6, 4), labels(3, 6), lambda: jax.random.key(3))
def dropped_out(params, x, y, key):
    h = jax.nn.relu(x @ params["w"])
    keep = jax.random.bernoulli(key, 0.7, h.shape)
    h = jnp.where(keep, h / 0.7, 0)
    return optax.softmax_cross_entropy_with_integer_labels(h @ params["v"], y).mean()


@function({"mu": normal(4, 2), "s": normal(4, 2, seed=1)}, normal(6, 4), lambda: jax.random.PRNGKey(3))
def variational(params, x, key):
    mu, logvar = x @ params["mu"], x @ params["s"]
    z = mu + jnp.exp(0.5 * logvar) * jax.random.normal(key, mu.shape)
    return jnp.mean(z**2) + 0.5 * jnp.mean(jnp.exp(logvar) + mu**2 - 1 - logvar)


@function(normal(6, 4))
def running_sum(x):
    return jnp.sum(jnp.cumsum(x, 1) ** 3)


@function(normal(6, 4))
def fixed_loop(x):
    return jnp.sum(lax.fori_loop(0, 5, lambda i, a: jnp.sin(a) + x * i, x))


@function(normal(6, 4))
def branches(x):
    return lax.cond(x.sum() > 0, lambda a: jnp.sum(a**2), lambda a: jnp.sum(a**3), x)


@function(normal(3, 3) + 3 * np.eye(3), normal(3))
def solved(M, b):
    return b @ jnp.linalg.solve(M, b) + jnp.linalg.slogdet(M)[1]


@function(normal(6, 4))
def products(x):
    return jnp.sum(jnp.prod(x, 1))


@function(normal(6, 4), normal(6, 4, seed=1))
def gaussian(mu, x):
    return -jax.scipy.stats.norm.logpdf(x, mu, 1.5).sum()


@function(normal(6, 4), normal(6, 4, seed=1))
def contrastive(a, c):
    scores = a @ c.T
    return optax.softmax_cross_entropy_with_integer_labels(scores, jnp.arange(scores.shape[0])).mean()


@function({"W": normal(3, 8, 8), "b": normal(3, 8)}, normal(6, 8))
def stacked_layers(params, x):
    def layer(h, p):
        return jnp.tanh(h @ p["W"] + p["b"]), None

    h, _ = lax.scan(layer, x, params)
    return jnp.mean(h**2)


@function(normal(4, 3), normal(6, 3))
def mapped_solve(W, x):
    S = W.T @ W + jnp.eye(3)
    return jnp.mean(jax.vmap(lambda v: v @ jnp.linalg.solve(S, v))(x)) + jnp.linalg.slogdet(S)[1]


@function(normal(2, 6, 6, 3))
def patches(x):
    B, H, W, C = x.shape
    p = x.reshape(B, H // 2, 2, W // 2, 2, C).transpose(0, 1, 3, 2, 4, 5).reshape(B, (H // 2) * (W // 2), 4 * C)
    return jnp.sum(jnp.mean(p, 1) ** 3)
