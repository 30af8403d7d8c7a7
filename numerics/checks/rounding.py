r"""How far a right gradient may be from the exact one: the rounding model behind every tolerance.

.. math::

    \mathrm{tol} = \min\big(\mathrm{cap},\; u\,(8 + 2\,\mathrm{chain} + \mathrm{additions}) + 8\,\mathrm{moved}\big)

relative to the largest entry of the leaf.  ``u`` is the unit roundoff of the dtype, ``chain`` the longest chain of
equations, ``additions`` the length of the longest contraction (each addition rounds once), and ``moved`` how much the
leaf itself moves, in float64, when the float inputs move by one rounding: an ill-conditioned gradient is not blamed on
the one who computes it.  The cap keeps an all-zero, negated or doubled gradient refused whatever the sizes are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from derive.program.program import Program
from numerics.reference.grid import size_value

FLOOR = 1e-3  # of the largest leaf: some gradients are exactly zero, and all that is left of them is rounding
FEW = 6  # inputs
CAPS = {"float64": 1e-6, "float32": 1e-2, "float16": 0.2, "bfloat16": 0.2}


def known_dtype(name: str) -> bool:
    return name in CAPS


def unit(dtype: str) -> float:
    """The unit roundoff, half the distance from 1 to the next number."""
    return float(jnp.finfo(dtype).eps) / 2


def round_to(arrays: dict, dtype: str) -> dict:
    """The float arrays in another precision, the others as they are."""
    kind = jnp.dtype(dtype)
    return {n: a.astype(kind) if is_float(a) else a for n, a in arrays.items()}


def is_float(array: Any) -> bool:
    return jnp.issubdtype(np.asarray(array).dtype, jnp.floating)


@dataclass(frozen=True)
class Model:
    """The two counts of a program at given sizes."""

    chain: int
    additions: int

    @classmethod
    def of(cls, program: Program, sizes: dict) -> Model:
        depth: dict[str, int] = {}
        additions = 1
        for e in program.equations:
            depth[e.name] = 1 + max((depth.get(t.name, 0) for t in e.tensors()), default=0)
            for term in e.terms:
                count = 1
                for b in (*term.bnd, *e.over):
                    count *= size_value(b.size, sizes)
                additions = max(additions, count)
        steps = max(
            (size_value(a, sizes) for e in program.equations if e.tensor in e.tensors() for a in e.tensor.axes),
            default=1,
        )
        return cls(max(depth.values(), default=1) * steps, additions)

    def tolerance(self, dtype: str, moved: float = 0.0) -> float:
        bound = unit(dtype) * (8 + 2 * self.chain + self.additions) + 8 * moved
        return min(CAPS[dtype], max(bound, 1e-12))

    def text(self, dtype: str) -> str:
        return (
            f"{unit(dtype):.1e} (8 + 2*{self.chain} equations in a chain + {self.additions} additions) "
            f"+ 8 moved, at most {CAPS[dtype]:g}"
        )


def moved(
    leaves: Callable[[dict], dict[str, np.ndarray]], arrays: dict, dtype: str, seed: int = 0, draws: int = 4
) -> dict[str, float]:
    """How much each leaf moves, relative to its scale, when the float inputs move by one rounding of ``dtype``.

    ``leaves(arrays)`` returns name -> float64 array.  Where the inputs are few, each is moved by itself as well: two that
    cancel (a mean and what is near it) may by chance move together in every draw, and then show nothing.
    """
    rng = np.random.default_rng(seed)
    floats = [n for n, a in arrays.items() if is_float(a)]
    ways = [*[floats] * draws, *([[n] for n in floats] if 1 < len(floats) <= FEW else [])]
    step = max(unit(dtype), 1e-9)
    base = leaves(arrays)
    scale = scales(base)
    worst = dict.fromkeys(base, 0.0)
    for way in ways:
        near = {n: a * (1 + step * rng.choice([-1.0, 1.0], a.shape)) if n in way else a for n, a in arrays.items()}
        for name, leaf in leaves(near).items():
            change = float(np.max(np.abs(leaf - base[name]), initial=0.0)) / scale[name]
            worst[name] = max(worst[name], change * unit(dtype) / step) if np.isfinite(change) else np.inf
    return worst


def cancelled(
    jittered: Callable[[float, np.random.Generator], dict[str, np.ndarray]],
    leaves: dict[str, np.ndarray],
    dtype: str,
    seed: int = 0,
    draws: int = 4,
) -> dict[str, float]:
    """How much each leaf moves, relative to its scale, when every tensor on the way is off by one rounding of ``dtype``.

    ``jittered(step, rng)`` returns the leaves with that done.  What large numbers leave when they cancel is known only as
    well as those numbers, which moving the inputs does not show.
    """
    rng, scale = np.random.default_rng(seed), scales(leaves)
    step = max(unit(dtype), 1e-12)  # above what the float64 evaluation rounds by itself
    worst = dict.fromkeys(leaves, 0.0)
    for _ in range(draws):
        for name, leaf in jittered(step, rng).items():
            change = float(np.max(np.abs(leaf - leaves[name]), initial=0.0)) / scale[name]
            worst[name] = max(worst[name], change * unit(dtype) / step) if np.isfinite(change) else np.inf
    return worst


def scales(leaves: dict) -> dict[str, float]:
    """What an error of each leaf is measured against: its own largest entry, at least ``FLOOR`` of the largest leaf."""
    size = {n: float(np.max(np.abs(a), initial=0.0)) for n, a in leaves.items()}
    largest = max(size.values(), default=0.0)
    return {n: max(s, FLOOR * largest) or 1.0 for n, s in size.items()}
