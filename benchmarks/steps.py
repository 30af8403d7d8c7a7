"""Derived programs against jitted ``value_and_grad``: step time, trace and compile time, memory of temporaries."""

from __future__ import annotations

import time

import jax

import derive as dv
import numerics as nx

from .harness import Row, interleaved, largest_error, memory
from .programs import arrays, forward, mlp, softmax_regression

TOLERANCE = 2e-5  # relative, float32, contractions of up to 784 terms


def measure(quick: bool = False) -> list[Row]:
    """The rows of both workloads."""
    rounds = 3 if quick else 15
    wide, narrow = ((20, 16, 16, 10), (20, 10)) if quick else ((784, 512, 512, 10), (784, 10))
    return [
        *compare("MLP " + "-".join(map(str, wide)) + " B=128", *mlp(2), wide, 128, rounds, 0.97),
        *compare("softmax regression " + "-".join(map(str, narrow)), *softmax_regression(), narrow, 128, rounds, None),
    ]


def compare(name, loss, wrt, widths, batch, rounds, floor) -> list[Row]:
    """One workload: errors first, then the ratios."""
    start = time.perf_counter()
    derivation = dv.backprop(loss, wrt=wrt)
    derived_in = time.perf_counter() - start
    start = time.perf_counter()
    kernel = nx.compile(derivation)
    emitted_in = time.perf_counter() - start

    parameters, x, label = arrays(widths, batch)
    names = [t.name for t in wrt]
    inputs = dict(zip(names, parameters, strict=True), x=x, label=label)
    ours = (kernel.fn, [inputs[t.name] for t in kernel.inputs])
    theirs = (jax.value_and_grad(forward), [parameters, x, label])

    loss_a, grads_a = kernel(**inputs)[:2]
    loss_b, grads_b = theirs[0](*theirs[1])
    error = largest_error({"loss": loss_a, **grads_a}, {"loss": loss_b, **dict(zip(names, grads_b, strict=True))})
    if not error <= TOLERANCE:
        raise ValueError(f"{name}: the gradients differ from autodiff by {error:.1e}; nothing was timed")

    first, ours_s, theirs_s = compile_times(ours, theirs, max(1, rounds // 3))
    a, b = (jax.jit(f).lower(*args).compile() for f, args in (ours, theirs))
    step = [
        lambda run=run, args=args: jax.block_until_ready(run(*args)) for run, args in ((a, ours[1]), (b, theirs[1]))
    ]
    ratio, step_a, step_b = interleaved(*step, rounds=rounds)
    control, _, _ = interleaved(step[1], step[1], rounds=rounds)
    rows = [
        Row(name, "step time", ratio, control, floor, {"derived_s": step_a, "autodiff_s": step_b, "error": error}),
        Row(name, "trace + compile", first, None, floor and 1.0, {"derived_s": ours_s, "autodiff_s": theirs_s}),
        Row(name, "derivation, generation", None, None, None, {"derive_s": derived_in, "generate_s": emitted_in}),
    ]
    temp_a, temp_b = memory(a), memory(b)
    if temp_a and temp_b:
        rows.append(Row(name, "temporaries", temp_b / temp_a, values={"derived_B": temp_a, "autodiff_B": temp_b}))
    return rows


def compile_times(ours, theirs, rounds: int):
    """Tracing and compiling anew: fresh functions each time, so that no cache answers."""

    def once(function, args):
        jax.clear_caches()
        jax.jit(lambda *a: function(*a)).lower(*args).compile()

    return interleaved(lambda: once(*ours), lambda: once(*theirs), rounds=rounds, inner=1)
