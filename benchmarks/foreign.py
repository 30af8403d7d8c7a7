"""Functions written elsewhere (``jax.nn``, ``jax.scipy.special``, optax, Flax): ``nx.value_and_grad`` against JAX's.

The suite is that of the tests, at sizes at which a step can be timed; functions under 50 microseconds are left out.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

import numerics as nx

from .harness import Row, interleaved, largest_error

TOLERANCE = 2e-4  # relative, float32, sums of up to 400 000 terms
LEAST = 50e-6  # seconds of a step below which a call's own cost is what is measured
TIMES = (256, 64)  # how often each axis of the tests' small arrays is repeated


def suite() -> dict:
    """Name -> a function that makes ``(f, args)`` of float32."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from foreign_functions import FUNCTIONS

    def larger(make):
        f, args = make()
        return f, tuple(_repeated(np.asarray(a)) for a in args)

    elementwise = ("nn.", "special.", "optax.")
    out = {n: lambda make=make: larger(make) for n, make in FUNCTIONS.items() if n.startswith(elementwise)}
    try:
        import flax  # noqa: F401
    except ImportError:
        return out
    return {**out, **networks()}


def networks() -> dict:
    """Networks of Flax at sizes of use."""
    import flax.linen as nn
    from foreign_networks import Block, Mlp, Pools

    def made(module, *shape):
        x = np.random.default_rng(0).normal(size=shape).astype("f")
        params = module.init(jax.random.key(0), x)["params"]
        return (lambda p, x: jnp.mean(module.apply({"params": p}, x) ** 2)), (params, x)

    return {
        "linen Dense 512": lambda: made(nn.Dense(512), 256, 512),
        "linen MLP": lambda: made(Mlp(), 2048, 256),
        "linen LayerNorm": lambda: made(nn.LayerNorm(), 1024, 256),
        "linen RMSNorm": lambda: made(nn.RMSNorm(), 1024, 256),
        "linen Conv 3x3": lambda: made(nn.Conv(32, (3, 3)), 8, 28, 28, 16),
        "linen Pools": lambda: made(Pools(), 32, 32, 32, 3),
        "linen LSTM": lambda: made(nn.RNN(nn.LSTMCell(64)), 32, 32, 64),
        "linen attention block": lambda: made(Block(), 8, 64, 8),
    }


def measure(quick: bool = False) -> list[Row]:
    """A row for each function that is slow enough to be timed, then the median and the least of them."""
    rows = []
    for n, (name, make) in enumerate(suite().items()):
        if quick and n % 20:
            continue
        row = compare(name, *make(), rounds=3 if quick else 15)
        if row is not None:
            rows.append(row)
    ratios = [r.ratio for r in rows]
    if not ratios:
        return []
    least = min(rows, key=lambda r: r.ratio)
    summary = Row(
        "foreign functions", "median step time", statistics.median(ratios), None, 1.0, {"functions": len(rows)}
    )
    return [
        *rows,
        summary,
        Row("foreign functions", "least step time", least.ratio, None, 0.95, {"of": least.workload}),
    ]


def compare(name: str, f, args, rounds: int) -> Row | None:
    """The ratio of jitted steps, after the gradients were compared; None where a step is too short to be timed."""
    ours = jax.jit(nx.value_and_grad(f).trace(*args))
    theirs = jax.jit(jax.value_and_grad(f))
    (value, grads), (wanted, by_autodiff) = ours(*args), theirs(*args)
    leaves = [dict(enumerate(jax.tree.leaves((v, g)))) for v, g in ((value, grads), (wanted, by_autodiff))]
    error = largest_error(*leaves)
    if not error <= TOLERANCE:
        raise ValueError(f"{name}: the gradients differ from autodiff by {error:.1e}; nothing was timed")

    steps = [lambda run=run: jax.block_until_ready(run(*args)) for run in (ours, theirs)]
    _, _, step = interleaved(*steps, rounds=3, inner=5)
    if step < LEAST:
        return None
    inner = max(1, min(20, int(5e-3 / step)))
    ratio, a, b = interleaved(*steps, rounds=rounds, inner=inner)
    control, _, _ = interleaved(steps[1], steps[1], rounds=rounds, inner=inner)
    return Row(name, "step time", ratio, control, None, {"derived_s": a, "autodiff_s": b, "error": error})


def _repeated(a):
    """An array repeated along its axes, in float32; copies in a row differ, 1 added or not, as they would tie at a maximum."""
    a = np.tile(a, TIMES[: a.ndim])
    if not np.issubdtype(a.dtype, np.floating):
        return a
    rng = np.random.default_rng(0)
    steps = rng.permuted(np.broadcast_to(np.arange(a.shape[-1]), a.shape), axis=-1) + 0.5 * rng.uniform(size=a.shape)
    return (a * (1 - 0.01 * steps / a.shape[-1])).astype(np.float32)


if __name__ == "__main__":
    from .harness import table

    print(table(measure("--quick" in sys.argv)))
