r"""Second-order evidence: what Jacobians and Hessians predict of the values themselves, and symmetry.

.. math::

    |f(x + h v) - f(x) - h \langle g, v\rangle - \tfrac{h^2}{2} v^T H v| = O(h^3), \qquad
    |\langle c, y(x + h v)\rangle - \langle c, y\rangle - h \langle c, J v\rangle| = O(h^2)

The remainder of a block ``H[A, B]`` moves A and B together, so that all four blocks of the pair take part.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from derive.derivation.derivation import Derivation
from numerics.reference.sampling import Sample

from .taylor import Order, by_all_entries, order, structured_directions

Arrays = dict[str, np.ndarray]
Leaves = Callable[[dict], Arrays]  # the results of a kernel by label

DERIVATIVES = ("grads", "hvp", "gauss_newton", "jacobian", "hessian")


def taylor_order(
    d: Derivation, leaves: Leaves, sample: Sample, ours: Arrays, key: Any, noise: float, seed: int
) -> Order | None:
    """The order of the remainder that a Jacobian (``key`` a name) or a Hessian block (a pair) leaves.

    None where there is none to take: derivatives by intermediate tensors, which no input moves alone.
    """
    names = list(dict.fromkeys(key if isinstance(key, tuple) else (key,)))
    if any(n not in sample.arrays for n in names):
        return None
    point = np.concatenate([sample.arrays[n].ravel() for n in names])
    moved = [t for n in names for t in d.wrt if t.name == n]
    within = structured_directions(moved, sample.arrays)
    if isinstance(key, tuple):
        return _hessian_order(d, leaves, sample, ours, names, point, noise, seed, within)
    value = ours[d.results[0][0]]
    weight = np.random.default_rng(seed + 1).normal(size=value.shape)
    slope = by_all_entries(np.tensordot(weight, ours[f"jacobian {key}"], axes=weight.ndim), moved[0]).ravel()
    return order(
        _function(d, leaves, sample, names, weight),
        point,
        slope,
        noise * float(np.sum(np.abs(weight))),
        seed,
        bool(d.kinks),
        within=within,
    )


def _hessian_order(
    d: Derivation,
    leaves: Leaves,
    sample: Sample,
    ours: Arrays,
    names: list[str],
    point: np.ndarray,
    noise: float,
    seed: int,
    within: Callable[[np.ndarray], np.ndarray] | None,
) -> Order:
    width = {n: sample.arrays[n].size for n in names}
    gradient = np.concatenate([ours[n].ravel() for n in names])
    hessian = np.block([[ours[f"hessian {a}, {b}"].reshape(width[a], width[b]) for b in names] for a in names])
    return order(_function(d, leaves, sample, names, 1.0), point, gradient, noise, seed, bool(d.kinks), hessian, within)


def _function(
    d: Derivation, leaves: Leaves, sample: Sample, names: list[str], weight: Any
) -> Callable[[np.ndarray], float]:
    """The kernel's own value, weighted, as a function of the flat arrays of ``names``."""
    group, ends = d.results[0][0], np.cumsum([sample.arrays[n].size for n in names])

    def value(flat: np.ndarray) -> float:
        parts = np.split(flat, ends[:-1])
        moved = {n: p.reshape(sample.arrays[n].shape) for n, p in zip(names, parts, strict=True)}
        return float(np.sum(leaves({**sample.arrays, **moved})[group] * weight))

    return value


def asymmetries(d: Derivation, ours: Arrays, scale: dict[str, float]) -> dict[tuple[str, str], float]:
    """How far ``H[A, B]`` is from the transpose of ``H[B, A]``, relative to the block, for A up to B in order."""
    found = {}
    for n, a in enumerate(d.wrt):
        for b in d.wrt[n:]:
            block, other = ours[f"hessian {a.name}, {b.name}"], ours[f"hessian {b.name}, {a.name}"]
            axes = (*range(b.rank, b.rank + a.rank), *range(b.rank))
            worst = np.max(np.abs(block - np.transpose(other, axes)), initial=0.0)
            found[a.name, b.name] = float(worst) / scale[f"hessian {a.name}, {b.name}"]
    return found
