"""Mistakes that add up: coefficients of several terms solved for at once, and pairs of alterations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .candidates import Candidate
from .mistakes import Case


@dataclass(frozen=True)
class Effect:
    """What a candidate makes of the gradients."""

    candidate: Candidate
    gradients: dict[str, np.ndarray]


def pair_of(effects: list[Effect], name: str, case: Case) -> tuple[Candidate, Candidate] | None:
    """Two candidates whose effects on one gradient add up to the difference; a pair of one kind first."""
    weight = np.random.default_rng(0).normal(size=case.ours.shape)
    moves = [(x.candidate, x.gradients[name] - case.ours) for x in effects]
    moves = [(c, m) for c, m in moves if np.all(np.isfinite(m)) and np.any(m)]
    if len(moves) < 2:
        return None
    shares = np.array([float(np.sum(weight * m)) for _, m in moves])
    wanted = float(np.sum(weight * (case.theirs - case.ours)))
    order = np.argsort(shares)
    size = float(np.sum(np.abs(weight))) * max(case.scale, float(np.max(np.abs(case.theirs))))
    slack = 4 * case.tolerance * size
    hits = []
    for n, share in enumerate(shares):
        low, high = np.searchsorted(shares[order], [wanted - share - slack, wanted - share + slack])
        hits += [(n, int(m)) for m in order[low:high] if m > n]
    hits = [(n, m) for n, m in hits if case.fits(case.ours + moves[n][1] + moves[m][1])]
    if not hits:
        return None
    n, m = min(hits, key=lambda h: (moves[h[0]][0].kind != moves[h[1]][0].kind, h))
    return moves[n][0], moves[m][0]


def solve(columns: list[np.ndarray], target: np.ndarray) -> list[int] | None:
    """Coefficients in {0, 1, 2, -1} with ``target = sum (c - 1) column``; None where the best are others."""
    matrix = np.stack(columns, axis=1)
    if not np.all(np.isfinite(matrix)):
        return None
    used = np.abs(matrix).max(axis=0) > 0
    best, *_ = np.linalg.lstsq(matrix, target, rcond=1e-9)
    wanted = [int(np.rint(c)) + 1 if u else 1 for c, u in zip(best, used, strict=True)]
    return wanted if all(c in (0, 1, 2, -1) for c in wanted) else None
