r"""The Taylor remainder: does the loss itself agree that this is its gradient?

.. math::

    R(h) = |f(x + h v) - f(x) - h \langle g, v\rangle| = O(h^2)

With a right gradient the observed order is 2 (or the remainder is nothing but rounding: linear losses, flat
directions); with a wrong one it is 1, whatever the size of the array.  No autodiff takes part.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from derive.language.facts import structure_of
from derive.language.tensor import Tensor
from numerics.reference.sampling import gathered, structured

Function = Callable[[np.ndarray], float]

WANTED = 1.9
WANTED_SECOND = 2.9  # when the Hessian's term is taken off too
STEPS = 2.0 ** -np.arange(2, 24)
MARGIN = 20.0  # a remainder counts only this far above the rounding of the loss
DIRECTIONS = 5


@dataclass(frozen=True)
class Order:
    """The observed order, None where every remainder is at the rounding floor; ``tries`` directions were needed."""

    value: float | None
    tries: int = 1
    wanted: float = WANTED

    @property
    def ok(self) -> bool:
        return self.value is None or self.value >= self.wanted

    def __str__(self) -> str:
        return "floor" if self.value is None else f"{self.value:.2f}"


def order(
    loss: Function,
    point: np.ndarray,
    gradient: np.ndarray,
    noise: float,
    seed: int = 0,
    kinks: bool = False,
    hessian: np.ndarray | None = None,
    within: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Order:
    """The order of the remainder along a random direction.

    Parameters
    ----------
    loss : callable
        ``loss(array) -> float``, in float64.
    point, gradient : array
    noise : float
        The rounding of the loss, absolute.
    kinks : bool
        Where the loss has kinks, a direction may cross one between two steps; other directions are tried then.  A wrong
        gradient has order 1 along all of them.
    hessian : array, optional
        The matrix of second derivatives at a flat point: its term is taken off as well, and order 3 is expected.
    within : callable, optional
        Projects a direction onto those in which the loss is defined, see :func:`structured_directions`.
    """
    rng = np.random.default_rng(seed)
    found, wanted = Order(0.0), WANTED if hessian is None else WANTED_SECOND
    for tries in range(1, (DIRECTIONS if kinks else 2) + 1):
        direction = rng.normal(size=point.shape) * max(float(np.max(np.abs(point), initial=0.0)), 0.1) / 3
        direction = direction if within is None else within(direction)
        curvature = 0.0 if hessian is None else float(direction @ hessian @ direction)
        found = Order(_along(loss, point, gradient, direction, noise, curvature), tries, wanted)
        if found.ok:
            return found
    return found


def structured_directions(
    tensors: Sequence[Tensor], arrays: dict[str, np.ndarray]
) -> Callable[[np.ndarray], np.ndarray] | None:
    """A projection that moves declared symmetric matrices symmetrically, and others as they are declared; None where none is.

    A program that uses the declaration (a Cholesky factor reads one half) has its value at symmetric matrices only.
    """
    if not any(_structure(t) for t in tensors):
        return None
    ends = np.cumsum([arrays[t.name].size for t in tensors])[:-1]

    def project(direction: np.ndarray) -> np.ndarray:
        parts = [
            p.reshape(arrays[t.name].shape) for t, p in zip(tensors, np.split(direction.ravel(), ends), strict=True)
        ]
        parts = [structured(p, k) if (k := _structure(t)) else p for t, p in zip(tensors, parts, strict=True)]
        return np.concatenate([p.ravel() for p in parts]).reshape(direction.shape)

    return project


def _structure(t: Tensor) -> str | None:
    return structure_of(t) or ("symmetric" if any(f.is_symmetric for f in t.facts) else None)


def by_all_entries(gradient: np.ndarray, t: Tensor) -> np.ndarray:
    """A gradient by free entries shared among the places of each, so that its product with a direction is the slope."""
    if structure_of(t) is None:
        return gradient
    places = gathered(structured(np.ones(gradient.shape[-2:]), str(structure_of(t))), t)
    return gradient / np.maximum(places, 1)


def _along(
    loss: Function, point: np.ndarray, gradient: np.ndarray, direction: np.ndarray, noise: float, curvature: float
) -> float | None:
    start, slope = loss(point), float(np.sum(gradient * direction))
    remainders = np.array([abs(loss(point + h * direction) - start - h * slope - h**2 * curvature / 2) for h in STEPS])
    finite = np.isfinite(remainders)
    if not np.isfinite([start, slope, curvature]).all() or finite.sum() < 8:
        return float("nan")
    floor = MARGIN * (noise + np.finfo(float).eps * (abs(start) + STEPS * abs(slope) + STEPS**2 * abs(curvature)))
    above = finite & (remainders > floor)
    pairs = [n for n in range(len(STEPS) - 1) if above[n] and above[n + 1]]
    if not pairs:
        return None
    smallest = pairs[-3:]
    return float(np.median([np.log2(remainders[n] / remainders[n + 1]) for n in smallest]))
