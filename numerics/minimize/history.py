"""What an iteration leaves behind: one line a step, the observed order, and the error that keeps both."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np

from numerics.errors import NumericsError


@dataclass(frozen=True)
class Iteration:
    """One point of the iteration and the step taken from it.

    Attributes
    ----------
    number : int
    value : float
        The loss; for roots and least squares, half the squared norm of the residual.
    residual : float
        What goes to zero, in the 2-norm: the gradient, or the value of the system.
    step : float
        The length of the step taken, 0.0 at the last point.
    rate : float
        The fraction of the full step that the line search took.
    damping : float
        The multiple of the identity that was added.
    inner : int
        Conjugate gradient iterations, or 0.
    """

    number: int
    value: float
    residual: float
    step: float = 0.0
    rate: float = 1.0
    damping: float = 0.0
    inner: int = 0


@dataclass(frozen=True)
class NewtonResult:
    """Where the iteration ended.

    ``parameters`` by name, ``history`` with one :class:`Iteration` a point, ``order`` the observed order of convergence
    (2 is quadratic; None where too few steps lie above the rounding).  ``path`` has the points as flat arrays, one for
    each line of the history, where there are at most ten thousand parameters.  ``print(result)`` is the table of the
    history.
    """

    name: str
    method: str
    parameters: Mapping[str, np.ndarray]
    history: tuple[Iteration, ...]
    reason: str
    converged: bool = True
    path: tuple[np.ndarray, ...] = ()

    @property
    def steps(self) -> int:
        """How many steps were taken."""
        return len(self.history) - 1

    @property
    def value(self) -> float:
        return self.history[-1].value

    @property
    def residual(self) -> float:
        return self.history[-1].residual

    @property
    def order(self) -> float | None:
        return observed_order([h.residual for h in self.history])

    def to_json(self) -> str:
        """The history and the reason of stopping; parameters as nested lists."""
        return json.dumps(
            {
                "name": self.name,
                "method": self.method,
                "reason": self.reason,
                "converged": self.converged,
                "order": self.order,
                "history": [asdict(h) for h in self.history],
                "parameters": {n: np.asarray(a).tolist() for n, a in self.parameters.items()},
            },
            indent=1,
        )

    def __str__(self) -> str:
        order = "" if self.order is None else f", observed order {self.order:.2f}"
        return f"{self.name}  {self.method}: {self.reason}{order}\n{table(self.history)}"


def table(history: Sequence[Iteration]) -> str:
    """The history, aligned."""
    inner = any(h.inner for h in history)
    lines = [
        f"{'step':>4}  {'value':>22}  {'residual':>9}  {'length':>9}  {'rate':>8}  {'damping':>8}"
        + ("  inner" if inner else "")
    ]
    for h in history:
        lines.append(
            f"{h.number:>4}  {h.value:>22.15g}  {h.residual:>9.2e}  {h.step:>9.2e}  {h.rate:>8.3g}  "
            f"{h.damping:>8.1e}" + (f"  {h.inner:>5}" if inner else "")
        )
    return "\n".join(lines)


def observed_order(residuals: Sequence[float]) -> float | None:
    r"""The order p in :math:`r_{k+1} \approx c\, r_k^p`, fitted to the last falling residuals above the rounding.

    At most four of them: the order is a property of the end.

    >>> observed_order([1e-1, 1e-2, 1e-4, 1e-8])
    2.0
    """
    r = [v for v in residuals if v > 1e-14 * max(residuals[0], 1.0)]
    start = len(r) - 1
    while start > max(0, len(r) - 4) and r[start - 1] > r[start]:
        start -= 1
    tail = np.log10(r[start:]) if r else np.array([])
    if len(tail) < 3:
        return None
    return round(float(np.polyfit(tail[:-1], tail[1:], 1)[0]), 6)


@dataclass(eq=False)
class NewtonError(NumericsError):
    """The iteration cannot go on, or did not arrive; ``history`` and ``parameters`` say how far it got."""

    message: str
    history: tuple[Iteration, ...] = ()
    parameters: Mapping[str, np.ndarray] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.message + (f"\n{table(self.history)}" if self.history else "")
