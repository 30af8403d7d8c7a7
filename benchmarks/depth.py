"""Derivation and generation time by depth: linear, or the engine has lost one adjoint per tensor."""

from __future__ import annotations

import gc
import statistics
import time

from sympy.core.cache import clear_cache

import derive as dv
import numerics as nx

from .harness import Row
from .programs import mlp

DEPTHS = (2, 8, 32, 128)
BASE = 8  # hidden layers that the others are compared with: below, what there is once in a network counts
FLOOR = 1 / 1.3


def measure(quick: bool = False) -> list[Row]:
    """Two rows a depth; the ratio is the time per layer at :data:`BASE` hidden layers over the time per layer here."""
    depths, rounds = (DEPTHS[:2], 1) if quick else (DEPTHS, 3)
    nx.source(dv.backprop(*mlp(1)))  # SymPy's own first-use costs are not the engine's
    timed = {depth: _times(depth, rounds) for depth in depths}
    return [
        Row(
            f"MLP of {depth} hidden layers",
            f"{what} per layer",
            timed[BASE][what] / values[what],
            floor=FLOOR if depth > BASE else None,
            values={"ms_per_layer": 1e3 * values[what], "equations": values["equations"]},
        )
        for depth, values in timed.items()
        for what in ("derivation", "generation")
    ]


def _times(depth: int, rounds: int) -> dict[str, float]:
    """Seconds per layer of the two, medians over rounds, and how many equations the program has."""
    derived, generated, equations = [], [], 0
    for _ in range(rounds):
        clear_cache()  # what SymPy kept of the round before would serve the small networks only
        gc.collect()
        loss, wrt = mlp(depth)
        start = time.perf_counter()
        derivation = dv.backprop(loss, wrt=wrt)
        middle = time.perf_counter()
        nx.source(derivation)
        generated.append(time.perf_counter() - middle)
        derived.append(middle - start)
        equations = len(derivation.program)
    layers = depth + 1
    return {
        "derivation": statistics.median(derived) / layers,
        "generation": statistics.median(generated) / layers,
        "equations": equations,
    }
