"""Derived Hessians against jitted ``jax.hessian``, on the classic problems; each with the floor it should reach.

The forward that autodiff differentiates is what people write by hand.  Values are compared before anything is timed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from sympy import exp, log, tanh

import derive as dv
import numerics as nx

from .harness import Row, interleaved, largest_error, memory
from .programs import arrays, forward, mlp, softmax_regression

TOLERANCE = 1e-4  # relative, float32: sums of up to 2048 terms in different orders


@dataclass(frozen=True)
class Problem:
    """A loss with what to differentiate by, its idiomatic forward, and example arrays."""

    name: str
    make: Callable
    forward: Callable  # forward(parameters: dict, data: dict) -> loss
    arrays: Callable  # arrays(rng, small) -> (parameters, data)
    floor: float


def logistic():
    b, i = dv.indices("b i")
    x, y, w = dv.tensor("x", b, i), dv.tensor("y", b), dv.tensor("w", i)
    s = dv.define("s", (b,), dv.sigmoid(dv.Sum(x[b, i] * w[i], i)))
    return dv.define("loss", (), -dv.Sum(y[b] * log(s[b]) + (1 - y[b]) * log(1 - s[b]), b) / b.size), [w]


def logistic_forward(p, d):
    z = d["x"] @ p["w"]
    return (jax.nn.softplus(z) - d["y"] * z).mean()


def logistic_arrays(rng, small):
    n, m = (64, 8) if small else (2048, 256)
    return {"w": rng.normal(size=m) / 16}, {"x": rng.normal(size=(n, m)), "y": (rng.random(n) < 0.5).astype(float)}


def cross_entropy(z, label):
    return -jnp.take_along_axis(jax.nn.log_softmax(z), label[:, None], axis=1).mean()


def softmax_arrays(rng, small, n=1000, m=64, k=10):
    n, m, k = (50, 6, 3) if small else (n, m, k)
    return (
        {"W": rng.normal(size=(m, k)) / 8, "c": rng.normal(size=k) / 8},
        {"x": rng.normal(size=(n, m)), "label": rng.integers(0, k, n)},
    )


def last_layer():
    """The last layer of an MLP: its Hessian by the last kernel alone, the features computed on the way."""
    b, i, j, k = dv.indices("b i j k")
    x, label = dv.tensor("x", b, i), dv.tensor("label", b, dtype="int", below=k.size)
    W1, c1, W = dv.tensor("W1", i, j), dv.tensor("c1", j), dv.tensor("W", j, k)
    h = dv.define("h", (b, j), tanh(dv.Sum(x[b, i] * W1[i, j], i) + c1[j]))
    z = dv.define("z", (b, k), dv.Sum(h[b, j] * W[j, k], j))
    lse = dv.define("lse", (b,), log(dv.Sum(exp(z[b, k]), k)))
    return dv.define("loss", (), dv.Sum(lse[b] - z[b, label[b]], b) / b.size), [W]


def last_layer_arrays(rng, small):
    n, i, j, k = (40, 5, 6, 3) if small else (512, 128, 64, 10)
    return (
        {"W": rng.normal(size=(j, k)) / 8},
        {
            "x": rng.normal(size=(n, i)),
            "W1": rng.normal(size=(i, j)) / 12,
            "c1": rng.normal(size=j) / 8,
            "label": rng.integers(0, k, n),
        },
    )


def quadratic_form():
    p, q = dv.indices("p q", size="N")
    A, x = dv.tensor("A", p, q), dv.tensor("x", p)
    return dv.define("loss", (), dv.Sum(x[p] * A[p, q] * x[q], p, q)), [x]


def quadratic_arrays(rng, small):
    n = 32 if small else 2048
    return {"x": rng.normal(size=n)}, {"A": rng.normal(size=(n, n))}


def factorization():
    i, j, k = dv.indices("i j k")
    A, U, V = dv.tensor("A", i, j), dv.tensor("U", i, k), dv.tensor("V", j, k)
    return dv.define("loss", (), dv.Sum((A[i, j] - dv.Sum(U[i, k] * V[j, k], k)) ** 2, i, j) / 2), [U, V]


def factorization_arrays(rng, small):
    n, k = (12, 3) if small else (100, 10)
    return {"U": rng.normal(size=(n, k)), "V": rng.normal(size=(n, k))}, {"A": rng.normal(size=(n, n))}


def log_sum_exp():
    k = dv.index("k")
    x = dv.tensor("x", k)
    return dv.define("loss", (), log(dv.Sum(exp(x[k]), k))), [x]


def log_sum_exp_arrays(rng, small):
    return {"x": rng.normal(size=20 if small else 1024)}, {}


PROBLEMS = (
    Problem("logistic 2048x256", logistic, logistic_forward, logistic_arrays, 2.0),
    Problem(
        "softmax regression 1000x64x10",
        softmax_regression,
        lambda p, d: cross_entropy(d["x"] @ p["W"] + p["c"], d["label"]),
        softmax_arrays,
        3.5,
    ),
    Problem(
        "last layer of an MLP 512x64x10",
        last_layer,
        lambda p, d: cross_entropy(jnp.tanh(d["x"] @ d["W1"] + d["c1"]) @ p["W"], d["label"]),
        last_layer_arrays,
        2.7,
    ),
    Problem("x'Ax n=2048", quadratic_form, lambda p, d: p["x"] @ d["A"] @ p["x"], quadratic_arrays, 3.0),
    Problem(
        "factorization 100x100 k=10",
        factorization,
        lambda p, d: 0.5 * jnp.sum((d["A"] - p["U"] @ p["V"].T) ** 2),
        factorization_arrays,
        60.0,
    ),
    Problem("log sum exp n=1024", log_sum_exp, lambda p, d: jax.nn.logsumexp(p["x"]), log_sum_exp_arrays, 2.0),
)


def measure(quick: bool = False, only: str = "") -> list[Row]:
    """The rows of all problems, or of those whose name contains ``only``."""
    rows = [row for p in PROBLEMS if only in p.name for row in compare(p, quick)]
    rows += [hessian_product(quick)] if only in "MLP product" else []
    rows += [newton_step(quick)] if only in "Newton step" else []
    return rows + ([structured_numbers(quick)] if only in "factorization structured" else [])


def structured_numbers(quick: bool) -> Row:
    """How many numbers the full blocks of a factorization hold for each one that the structured form computes."""
    parameters, data = _arrays(PROBLEMS[4], quick)
    found = nx.compile(dv.hessian(*factorization()), form="structured")(**parameters, **data).hessian
    full, kept = sum(int(np.prod(b.shape)) for b in found.values()), sum(b.size for b in found.values())
    return Row(
        PROBLEMS[4].name,
        "structured numbers",
        full / kept,
        floor=None if quick else 1000.0,
        values={"full": full, "computed": kept},
    )


def hessian_product(quick: bool) -> Row:
    """The Hessian of an MLP times a vector, against ``jvp`` of ``grad``."""
    widths = (20, 16, 16, 10) if quick else (784, 512, 512, 10)
    d = dv.hvp(*mlp(2))
    kernel = nx.compile(d)
    parameters, x, label = arrays(widths, 128)
    along = [jnp.asarray(np.random.default_rng(1).normal(size=p.shape), jnp.float32) for p in parameters]
    names = [t.name for t in d.wrt]
    given = {
        **dict(zip(names, parameters, strict=True)),
        "x": x,
        "label": label,
        **{d.directions[n].name: v for n, v in zip(names, along, strict=True)},
    }
    inputs = [given[t.name] for t in kernel.inputs]

    def theirs(parameters, along):
        return jax.jvp(jax.grad(lambda p: forward(p, x, label)), (parameters,), (along,))[1]

    found = kernel.fn(*inputs)[2]
    error = largest_error(found, dict(zip(names, theirs(parameters, along), strict=True)))
    return _timed(
        "MLP product 784-512-512-10",
        "Hessian times vector",
        lambda *a: kernel.fn(*a)[2],
        inputs,
        theirs,
        (parameters, along),
        error,
        1.0,
        quick,
    )


def newton_step(quick: bool) -> Row:
    """Gradient, Hessian and the solve, of logistic regression with a damping that makes it well posed."""
    parameters, data = _arrays(PROBLEMS[0], quick)
    d = dv.hessian(*logistic())
    kernel = nx.compile(d)
    inputs = [{**parameters, **data}[t.name] for t in kernel.inputs]

    def ours(*given):
        _, grads, hessian = kernel.fn(*given)
        return jnp.linalg.solve(hessian["w", "w"] + 1e-2 * jnp.eye(len(grads["w"])), grads["w"])

    def theirs(parameters, data):
        def f(w):
            return logistic_forward({"w": w}, data)

        w = parameters["w"]
        return jnp.linalg.solve(jax.hessian(f)(w) + 1e-2 * jnp.eye(len(w)), jax.grad(f)(w))

    error = largest_error({"p": ours(*inputs)}, {"p": theirs(parameters, data)})
    return _timed(
        "Newton step, logistic 2048x256",
        "gradient + Hessian + solve",
        ours,
        inputs,
        theirs,
        (parameters, data),
        error,
        1.5,
        quick,
    )


def _arrays(problem: Problem, quick: bool):
    rng = np.random.default_rng(0)
    return (
        {n: jnp.asarray(a, jnp.int32 if a.dtype.kind == "i" else jnp.float32) for n, a in part.items()}
        for part in problem.arrays(rng, quick)
    )


def _timed(name, measure, ours, inputs, theirs, given, error, floor, quick) -> Row:
    if not error <= TOLERANCE:
        raise ValueError(f"{name}: the result differs from autodiff by {error:.1e}; nothing was timed")
    a, b = jax.jit(ours).lower(*inputs).compile(), jax.jit(theirs).lower(*given).compile()
    steps = [lambda: jax.block_until_ready(a(*inputs)), lambda: jax.block_until_ready(b(*given))]
    rounds, inner = (3, 1) if quick else (11, 2)
    ratio, step_a, step_b = interleaved(*steps, rounds=rounds, inner=inner)
    control, _, _ = interleaved(steps[0], steps[0], rounds=rounds, inner=inner)
    return Row(
        name,
        measure,
        ratio,
        control,
        None if quick else floor,
        {"derived_s": step_a, "autodiff_s": step_b, "error": error},
    )


def compare(problem: Problem, quick: bool) -> list[Row]:
    """The Hessian alone: both programs return its blocks and nothing else, so that neither pays for the loss."""
    parameters, data = _arrays(problem, quick)
    start = time.perf_counter()
    d = dv.hessian(*problem.make())
    derived_in = time.perf_counter() - start
    kernel = nx.compile(d)
    inputs = [{**parameters, **data}[t.name] for t in kernel.inputs]

    def ours(*arrays):
        return kernel.fn(*arrays)[2]

    def theirs(parameters, data):
        return jax.hessian(lambda p: problem.forward(p, data))(parameters)

    found, expected = ours(*inputs), theirs(parameters, data)
    error = largest_error(
        {f"{a},{b}": v for (a, b), v in found.items()},
        {f"{a},{b}": v for a, row in expected.items() for b, v in row.items()},
    )
    if not error <= TOLERANCE:
        raise ValueError(f"{problem.name}: the Hessian differs from autodiff by {error:.1e}; nothing was timed")
    a = jax.jit(ours).lower(*inputs).compile()
    b = jax.jit(theirs).lower(parameters, data).compile()
    steps = [lambda: jax.block_until_ready(a(*inputs)), lambda: jax.block_until_ready(b(parameters, data))]
    rounds, inner = (3, 1) if quick else (7, 2)
    ratio, step_a, step_b = interleaved(*steps, rounds=rounds, inner=inner)
    control, _, _ = interleaved(steps[0], steps[0], rounds=rounds, inner=inner)
    rows = [
        Row(
            problem.name,
            "Hessian",
            ratio,
            control,
            None if quick else problem.floor,
            {"derived_s": step_a, "autodiff_s": step_b, "error": error, "derive_s": derived_in},
        )
    ]
    if memory(a) and memory(b):
        rows.append(
            Row(
                problem.name,
                "temporaries",
                memory(b) / memory(a),
                values={"derived_B": memory(a), "autodiff_B": memory(b)},
            )
        )
    return rows
