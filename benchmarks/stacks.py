"""A stack of Transformer blocks: against the same blocks written one after the other, and by depth.

The written model has the same parameters, a slice of the stack's for each block, so both take the same step.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import derive as dv
import numerics as nx
from derive import layers as L

from .harness import Row, interleaved, memory

STEP, COMPILE = 1 / 1.05, 1 / 1.5  # floors: the written model's time over the stack's; of 2 blocks over that of many
DEPTHS = (2, 48)
VOCABULARY = 65
TOLERANCE = 1e-4  # float32, and sums in another order


def measure(quick: bool = False) -> list[Row]:
    """Step time and temporaries of 6 blocks, time to compile by depth."""
    shape, rounds = ((2, 5, 8), 3) if quick else ((8, 64, 64), 15)
    return [*compare(2 if quick else 6, *shape, rounds), *compiling(DEPTHS[:1] if quick else DEPTHS, *shape)]


def gpt(depth: int, steps: int, width: int, stacked: bool) -> dv.Model:
    """The model, its blocks stacked or one after the other."""
    x = dv.Input((steps,), dtype="int", below=VOCABULARY)
    h = L.PositionalEmbedding(steps)(L.Embedding(VOCABULARY, width)(x))
    if stacked:
        h = L.Stack(L.TransformerBlock(4, causal=True), depth)(h)
    else:
        for _ in range(depth):
            h = L.TransformerBlock(4, causal=True)(h)
    return dv.Model(x, L.Dense(VOCABULARY)(L.LayerNorm()(h)))


def compare(depth: int, batch: int, steps: int, width: int, rounds: int) -> list[Row]:
    """The stack and the written blocks with the same numbers in them."""
    stack, written = (_program(gpt(depth, steps, width, stacked), batch, steps) for stacked in (True, False))
    fn, arrays = written
    for name in arrays:
        if name.startswith("transformer_block_"):
            _, _, number, role = name.split("_", 3)
            arrays[name] = stack[1][f"stack_1_{role}"][int(number) - 1]
    ours, theirs = (jax.jit(f).lower(*a.values()).compile() for f, a in (stack, (fn, arrays)))
    a, b = (list(x.values()) for x in (stack[1], arrays))
    error = abs(float(ours(*a)[0]) / float(theirs(*b)[0]) - 1)
    if error > TOLERANCE:
        raise ValueError(f"the losses of the stack and of its blocks differ by {error:.1e}; nothing was timed")

    def run(f: Callable, x: list) -> Callable:
        return lambda: jax.block_until_ready(f(*x))

    ratio, step_a, step_b = interleaved(run(ours, a), run(theirs, b), rounds, 3)
    control, *_ = interleaved(run(ours, a), run(ours, a), rounds, 3)
    name, used, theirs_used = f"GPT of {depth} blocks, stack or written", memory(ours), memory(theirs)
    rows = [Row(name, "step time", ratio, control, STEP, {"stack_s": step_a, "written_s": step_b, "error": error})]
    if used and theirs_used:
        rows.append(
            Row(name, "temporaries", theirs_used / used, floor=1.0, values={"bytes": used, "written": theirs_used})
        )
    return rows


def compiling(depths: tuple[int, ...], batch: int, steps: int, width: int) -> list[Row]:
    """XLA's time for the stack, that of the first depth over that of each."""
    seconds = {}
    for depth in depths:
        fn, arrays = _program(gpt(depth, steps, width, True), batch, steps)
        lowered = jax.jit(fn).lower(*arrays.values())
        start = time.perf_counter()
        lowered.compile()
        seconds[depth] = time.perf_counter() - start
    return [
        Row(f"GPT of {d} blocks in a stack", "compile", seconds[depths[0]] / s, floor=COMPILE, values={"seconds": s})
        for d, s in seconds.items()
    ]


def _program(model: dv.Model, batch: int, steps: int) -> tuple[Callable, dict]:
    kernel = nx.compile(model.backprop("sparse_softmax_cross_entropy"), sizes=model.sizes)
    rng = np.random.default_rng(0)
    given = {name: jnp.asarray(rng.integers(0, VOCABULARY, (batch, steps))) for name in "xy"}
    arrays = {**nx.init(model), **given}
    return kernel.fn, {t.name: arrays[t.name] for t in kernel.inputs}
