"""Derivation and generation time by depth: linear, or the engine has lost one adjoint per tensor."""

from __future__ import annotations

import statistics
import time

import derive as dv
import numerics as nx

from .harness import Row
from .programs import mlp

DEPTHS = (2, 8, 32, 128)


def measure(quick: bool = False) -> list[Row]:
    """One row a depth; the ratio is the time per layer at the smallest depth over the time per layer here."""
    depths, rounds = (DEPTHS[:2], 1) if quick else (DEPTHS, 3)
    dv.backprop(*mlp(1))  # SymPy's own first-use costs are not the engine's
    rows, base = [], None
    for depth in depths:
        derived, generated, equations = [], [], 0
        for _ in range(rounds):
            loss, wrt = mlp(depth)
            start = time.perf_counter()
            derivation = dv.backprop(loss, wrt=wrt)
            middle = time.perf_counter()
            nx.compile(derivation)
            generated.append(time.perf_counter() - middle)
            derived.append(middle - start)
            equations = len(derivation.program)
        per_layer = statistics.median(derived) / (depth + 1)
        base = base or per_layer
        values = {
            "derive_s": statistics.median(derived),
            "generate_s": statistics.median(generated),
            "ms_per_layer": 1e3 * per_layer,
            "equations": equations,
        }
        rows.append(Row(f"MLP of {depth} hidden layers", "derivation per layer", base / per_layer, values=values))
    return rows
