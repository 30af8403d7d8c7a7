"""The attention family against jitted ``value_and_grad`` of the forward that people write in jax.numpy, and eager torch.

Each case is one loss with the gradients of all its parameters (and of the inputs, where it is a layer alone), at sizes of
use.  Errors are compared before anything is timed.  One family alone: ``python -m benchmarks.attention GPT``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

import derive as dv
import numerics as nx
from derive import layers as L

from . import attention_forwards as forwards
from . import attention_torch as eager
from .harness import Row, interleaved, largest_error, memory
from .stacks import gpt

FLOOR = 0.95  # of autodiff's speed
TOLERANCE = 3e-4  # relative, float32, sums of up to 500 000 terms in another order
HEADS = 4


@dataclass(frozen=True)
class Workload:
    """A loss and its gradients, with the arrays that it is measured on.

    Attributes
    ----------
    derivation : Derivation
    sizes : dict of str to int
    arrays : dict of str to array
        By the names of the derivation's inputs.
    forward : callable
        ``forward(arrays) -> loss`` in jax.numpy.
    torch : callable
        The same of tensors in torch.
    """

    derivation: dv.Derivation
    sizes: dict
    arrays: dict
    forward: Callable
    torch: Callable


def layer(make: Callable, shapes: tuple, forward: Callable, torch: Callable, batch: int) -> Workload:
    """A layer alone: ``sum(h * up)``, and the gradients of its parameters and inputs."""
    inputs = [dv.Input(shape, name=name) for shape, name in zip(shapes, ("x", "memory"), strict=False)]
    model = dv.Model(inputs, make()(inputs if len(inputs) > 1 else inputs[0]))
    h = model.output
    up = dv.tensor("up", *h.letters)
    loss = dv.define("loss", (), dv.Sum(h[h.letters] * up[h.letters], *h.letters))
    wrt = [*(p.tensor for p in model.parameters.values()), *model.inputs.values()]
    rng = np.random.default_rng(0)
    arrays = {**_parameters(model, rng), "up": _normal(rng, (batch, *model.shape(h)[1:]))}
    arrays |= {name: _normal(rng, (batch, *shape)) for shape, name in zip(shapes, model.inputs, strict=True)}
    (name,) = {n.rpartition("_1_")[0] for n in model.parameters}

    def named(f):
        return lambda a: (f({n.removeprefix(f"{name}_1_"): v for n, v in a.items()}) * a["up"]).sum()

    return Workload(dv.backprop(loss, wrt=wrt), model.sizes, arrays, named(forward), named(torch))


def network(model: dv.Model, below: int, shape: tuple, forward: Callable, torch: Callable, x=None) -> Workload:
    """Cross entropy of a model's logits with labels below a number."""
    rng = np.random.default_rng(0)
    inputs = rng.integers(0, below, shape) if x is None else _normal(rng, x)
    arrays = {**_parameters(model, rng), "x": jnp.asarray(inputs), "y": jnp.asarray(rng.integers(0, below, shape))}
    d = model.backprop("sparse_softmax_cross_entropy")
    return Workload(d, model.sizes, arrays, forward, torch)


def written(text: str, wrt: str, arrays: dict, forward: Callable, torch: Callable) -> Workload:
    """A loss in index notation, by the parameters named."""
    t = dv.parse(text)
    return Workload(dv.backprop(t["loss"], wrt=[t[n] for n in wrt.split()]), {}, arrays, forward, torch)


def _normal(rng, shape, scale=1.0):
    return jnp.asarray(rng.normal(size=shape) * scale, jnp.float32)


def _parameters(model: dv.Model, rng) -> dict:
    """Initial parameters; those that begin as zeros or ones are moved, so that their gradients are seen."""
    return {n: jnp.asarray(a) + _normal(rng, a.shape, 0.02) for n, a in nx.init(model).items()}


# -- the cases -------------------------------------------------------------------------------------------------------


def attention(quick: bool, memory_steps: int | None = None, **options) -> Workload:
    batch, steps, width = (2, 5, 8) if quick else (8, 256, 128)
    shapes = ((steps, width),) if memory_steps is None else ((steps, width), (6 if quick else memory_steps, width))
    return layer(
        lambda: L.MultiHeadAttention(HEADS, width // HEADS, **options),
        shapes,
        partial(forwards.attention, **options),
        partial(eager.attention, **options),
        batch,
    )


def block(quick: bool) -> Workload:
    batch, steps, width = (2, 5, 8) if quick else (8, 256, 128)
    return layer(
        lambda: L.TransformerBlock(HEADS, causal=True), ((steps, width),), forwards.block_of, eager.block_of, batch
    )


def language_model(quick: bool, stacked: bool) -> Workload:
    batch, steps, width, depth = (2, 5, 8, 2) if quick else (8, 64, 64, 6)
    model = gpt(depth, steps, width, stacked)
    return network(model, 65, (batch, steps), partial(forwards.gpt, depth=depth), partial(eager.gpt, depth=depth))


def head(quick: bool) -> Workload:
    """Logits of 512 positions."""
    rows, width, words = (6, 8, 11) if quick else (512, 128, 8192)
    model = dv.Sequential([L.Dense(words)], input_shape=(width,))
    return network(model, words, (rows,), forwards.head, eager.head, x=(rows, width))


def patches(quick: bool) -> Workload:
    """28 x 28 pictures in patches of 4, embedded in 64."""
    batch, side = (2, 8) if quick else (64, 28)
    return layer(lambda: L.PatchEmbedding(4, 64), ((side, side, 1),), forwards.patches, eager.patches, batch)


INFO_NCE = """
u: float[b,d] parameter   v: float[b,d] parameter   tau: float parameter
n[b,d] = u[b,d] / sqrt(sum[d'](u[b,d']^2))
m[b,d] = v[b,d] / sqrt(sum[d'](v[b,d']^2))
s[b,b'] = exp(tau) * sum[d](n[b,d]*m[b',d])
rows[b] = log(sum[b'](exp(s[b,b'])))
columns[b] = log(sum[b'](exp(s[b',b])))
loss = sum[b](rows[b] + columns[b] - 2*s[b,b]) / (2*B)
"""


def info_nce(quick: bool) -> Workload:
    rng, shape = np.random.default_rng(0), (4, 6) if quick else (256, 128)
    arrays = {"u": _normal(rng, shape), "v": _normal(rng, shape), "tau": jnp.float32(1.5)}
    return written(INFO_NCE, "u v tau", arrays, forwards.info_nce, eager.info_nce)


WORD2VEC = """
U: float[w,d] parameter   V: float[w,d] parameter
centre: int[b] < W   context: int[b] < W   noise: int[b,k] < W
s[b] = sum[d](U[centre[b],d]*V[context[b],d])
r[b,k] = sum[d](U[centre[b],d]*V[noise[b,k],d])
loss = sum[b](softplus(-s[b]) + sum[k](softplus(r[b,k]))) / B
"""


def word2vec(quick: bool) -> Workload:
    """Skip-gram with negative sampling."""
    rng, (words, width, batch, count) = np.random.default_rng(0), (9, 4, 5, 3) if quick else (8192, 128, 1024, 5)
    arrays = {n: _normal(rng, (words, width), 0.1) for n in "UV"}
    drawn = {"centre": (batch,), "context": (batch,), "noise": (batch, count)}
    arrays |= {n: jnp.asarray(rng.integers(0, words, s)) for n, s in drawn.items()}
    return written(WORD2VEC, "U V", arrays, forwards.word2vec, eager.word2vec)


CTC = """
z: float[b,t,k] parameter
label: int[b,s] < K
skip: int[b,s] < 2
y[b,t,k] = z[b,t,k] - log(sum[k'](exp(z[b,t,k'])))
e[b,t,s] = y[b,t,label[b,s]]
a[t,b,s] = where(t == 0, where(s <= 1, e[b,t,s], -inf), e[b,t,s] + log(exp(a[t-1,b,s])
  + where(s >= 1, exp(a[t-1,b,s-1]), 0) + where(s >= 2 and skip[b,s] == 1, exp(a[t-1,b,s-2]), 0)))
loss = -sum[b](log(exp(a[T-1,b,S-1]) + exp(a[T-1,b,S-2]))) / B
"""


def ctc(quick: bool) -> Workload:
    """Labels of one length, blanks between them (class 0); two that are equal need the blank."""
    rng, (batch, steps, classes, length) = np.random.default_rng(0), (2, 7, 4, 2) if quick else (16, 64, 32, 12)
    own = rng.integers(1, classes, (batch, length))
    label = np.zeros((batch, 2 * length + 1), int)
    label[:, 1::2] = own
    skip = np.zeros_like(label)
    skip[:, 3::2] = own[:, 1:] != own[:, :-1]
    arrays = {"z": _normal(rng, (batch, steps, classes)), "label": jnp.asarray(label), "skip": jnp.asarray(skip)}
    return written(CTC, "z", arrays, forwards.ctc, eager.ctc)


FACTORIZATION = """
x: float[b,i]   y: float[b]
c: float parameter   w: float[i] parameter   V: float[i,f] parameter
p[b,f] = sum[i](x[b,i]*V[i,f])
q[b] = c + sum[i](x[b,i]*w[i]) + sum[f](p[b,f]^2 - sum[i](x[b,i]^2*V[i,f]^2))/2
loss = sum[b]((q[b] - y[b])^2) / B
"""


def factorization(quick: bool) -> Workload:
    rng, (batch, features, factors) = np.random.default_rng(0), (5, 6, 3) if quick else (1024, 256, 16)
    arrays = {"x": _normal(rng, (batch, features)), "y": _normal(rng, (batch,)), "c": jnp.float32(0.1)}
    arrays |= {"w": _normal(rng, (features,), 0.1), "V": _normal(rng, (features, factors), 0.1)}
    return written(FACTORIZATION, "c w V", arrays, forwards.factorization, eager.factorization)


CASES: dict[str, Callable[[bool], Workload]] = {
    "attention, 4 heads": attention,
    "attention, causal": partial(attention, causal=True),
    "attention, rotary": partial(attention, causal=True, rotary=True),
    "attention, grouped queries": partial(attention, causal=True, num_kv_heads=2),
    "attention, cross": partial(attention, memory_steps=192),
    "pre-norm block": block,
    "GPT of 6 blocks, written": partial(language_model, stacked=False),
    "GPT of 6 blocks, stack": partial(language_model, stacked=True),
    "LM head V=8192": head,
    "ViT patches": patches,
    "InfoNCE": info_nce,
    "word2vec": word2vec,
    "CTC": ctc,
    "factorization machine": factorization,
}


# -- measuring -------------------------------------------------------------------------------------------------------


def measure(quick: bool = False, only: str = "") -> list[Row]:
    """The rows of every case whose name contains ``only``."""
    return [
        row for name, make in CASES.items() if only in name for row in compare(name, make(quick), 3 if quick else 11)
    ]


def compare(name: str, work: Workload, rounds: int) -> list[Row]:
    """Errors, then the step's ratio with its control, then the temporaries, then torch's step where it is installed."""
    kernel = nx.compile(work.derivation, sizes=work.sizes)
    wrt = [t.name for t in work.derivation.wrt]
    rest = {n: a for n, a in work.arrays.items() if n not in wrt}

    def theirs(parameters):
        return jax.value_and_grad(lambda p: work.forward({**p, **rest}))(parameters)

    parameters = {n: work.arrays[n] for n in wrt}
    ours = [work.arrays[t.name] for t in kernel.inputs]
    a = jax.jit(lambda *v: kernel.fn(*v)[:2]).lower(*ours).compile()
    b = jax.jit(theirs).lower(parameters).compile()
    (loss_a, grads_a), (loss_b, grads_b) = a(*ours), b(parameters)
    error = largest_error({"loss": loss_a, **grads_a}, {"loss": loss_b, **grads_b})
    if not error <= TOLERANCE:
        raise ValueError(f"{name}: the gradients differ from autodiff by {error:.1e}; nothing was timed")

    def run_a():
        return jax.block_until_ready(a(*ours))

    def run_b():
        return jax.block_until_ready(b(parameters))

    ratio, step_a, step_b = interleaved(run_a, run_b, rounds, 3)
    control, _, _ = interleaved(run_b, run_b, max(3, rounds // 2), 3)
    rows = [Row(name, "step time", ratio, control, FLOOR, {"derived_s": step_a, "autodiff_s": step_b, "error": error})]
    used, theirs_used = memory(a), memory(b)
    if used and theirs_used:
        rows.append(Row(name, "temporaries", theirs_used / used, values={"derived_B": used, "autodiff_B": theirs_used}))
    other = eager.step(work.torch, parameters, rest, grads_b)
    if other is not None:
        ratio, _, step = interleaved(run_a, other, rounds, 3)
        rows.append(Row(name, "step time, torch eager", ratio, values={"torch_s": step}))
    return rows


if __name__ == "__main__":
    from .harness import table

    words = [a for a in sys.argv[1:] if a != "--quick"]
    print(table(measure("--quick" in sys.argv, *words[:1])))
