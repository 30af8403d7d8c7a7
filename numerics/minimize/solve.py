"""``nx.newton``: the iteration, its line search and its stopping rules."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn, TypeGuard

import numpy as np
from numpy.typing import ArrayLike

from derive.derivation.derivation import Derivation
from numerics.checks.ground import float64
from numerics.errors import NumericsError
from numerics.kernel.kernel import Kernel

from .history import Iteration, NewtonError, NewtonResult
from .problem import NEEDED, Problem
from .steps import cg_step, least_squares_step, newton_step, root_step

METHODS = {
    "hessian": ("newton",),
    "hvp": ("newton-cg",),
    "gauss_newton": ("gauss-newton-cg",),
    "jacobian": ("root", "gauss-newton", "levenberg-marquardt"),
}
DAMPED = ("newton", "newton-cg", "gauss-newton-cg", "levenberg-marquardt")
ARMIJO = 1e-4  # of the decrease that the slope promises
HALVINGS = 40
KEPT = 10_000  # parameters up to which the points of the path are kept


def newton(
    d: Derivation | Kernel,
    start: Mapping[str, ArrayLike],
    inputs: Mapping[str, ArrayLike] | None = None,
    *,
    method: str | None = None,
    tolerance: float = 1e-10,
    max_steps: int = 50,
    damping: float | str = 0.0,
    line_search: bool = True,
    inner: int = 200,
    memory: int | None = None,
) -> NewtonResult:
    r"""Newton's method on derived equations.

    .. math::

        x_{n+1} = x_n - H(x_n)^{-1} \nabla L(x_n), \qquad x_{n+1} = x_n - J(x_n)^{-1} y(x_n)

    Parameters
    ----------
    d : Derivation or Kernel
        ``dv.hessian(loss, wrt)``: minimize with the full Hessian.  ``dv.hvp(loss, wrt)``: minimize with products only
        (Newton-CG), or ``dv.gauss_newton(loss, wrt, at)`` (always
        downhill).  ``dv.jacobian(y, wrt)``: a root of a square system, or the least squares of ``y``.
    start : dict of arrays
        Where to begin, by name; the precision of the whole computation (float64 arrays are computed in float64).
    inputs : dict of arrays, optional
        The data: every other input.
    method : str, optional
        For a Jacobian: "root" (the default for as many equations as unknowns), "gauss-newton" or
        "levenberg-marquardt" (the default otherwise).
    tolerance : float
        Of the 2-norm of the gradient; for a root, of the system's value; for least squares, of ``J'y``.
    max_steps : int
    damping : float or "auto"
        A multiple of the identity added to the Hessian; "auto" adds what makes it positive definite, and nothing where
        it is.  For Levenberg-Marquardt the first damping (1e-3 if 0).  "root" and "gauss-newton" take none.
    line_search : bool
        Armijo backtracking: halve the step until the loss (or the squared residual) falls enough.
    inner : int
        At most so many conjugate gradient iterations a step.
    memory : int, optional
        Bytes that a full Hessian may take; half of the machine's memory if not given.

    Returns
    -------
    NewtonResult
        ``.parameters``, ``.history`` (one :class:`Iteration` a point), ``.order``, ``.steps``; prints as a table.

    Raises
    ------
    NewtonError
        For a singular or indefinite matrix, for values that are not finite, and for no convergence; with
        ``.history`` and ``.parameters``.
    numerics.NumericsError
        For a derivation of another kind, missing inputs, a Hessian too large for memory (with its bytes).

    References
    ----------
    Nocedal and Wright, *Numerical Optimization*, 2nd ed., algorithms 3.1, 3.3, 7.1 and section 10.3.

    Examples
    --------
    The square root of two, as the root of ``x**2 - 2``:

    >>> import numpy as np, derive as dv, numerics as nx
    >>> x = dv.tensor("x")
    >>> result = nx.newton(dv.jacobian(dv.define("y", (), x[()]**2 - 2), [x]), {"x": np.array(1.0)})
    >>> round(float(result.parameters["x"]), 10), result.steps
    (1.4142135624, 4)
    """
    _check_options(tolerance, max_steps, damping, inner)
    problem = Problem(d, start, dict(inputs or {}))
    if problem.dtype == np.float64:
        with float64():
            return _Iteration(problem, method, tolerance, max_steps, damping, line_search, inner, memory).run()
    return _Iteration(problem, method, tolerance, max_steps, damping, line_search, inner, memory).run()


def _check_options(tolerance: float, max_steps: int, damping: float | str, inner: int) -> None:
    def number(given: object) -> TypeGuard[float]:
        if isinstance(given, bool) or not isinstance(given, int | float | np.number):
            return False
        return bool(np.isfinite(given))

    if damping != "auto" and not (number(damping) and damping >= 0):
        raise NumericsError(f'damping={damping!r}: give a number >= 0, or "auto"')
    if not (number(tolerance) and tolerance >= 0):
        raise NumericsError(f"tolerance={tolerance!r}: give a number >= 0, the norm at which the iteration stops")
    for name, given, least in (("max_steps", max_steps, 0), ("inner", inner, 1)):
        if not (number(given) and given >= least and given == int(given)):
            raise NumericsError(f"{name}={given!r}: give a whole number from {least}")


class _Iteration:
    def __init__(
        self,
        problem: Problem,
        method: str | None,
        tolerance: float,
        max_steps: int,
        damping: float | str,
        line_search: bool,
        inner: int,
        memory: int | None,
    ) -> None:
        problem.check()
        problem.check_memory(memory)
        self.problem, self.tolerance, self.max_steps = problem, tolerance, max_steps
        self.line_search, self.inner = line_search, inner
        self.point = problem.flat(problem.start)
        self.method = self._method(method)
        if damping not in (0, "auto") and self.method not in DAMPED:
            raise NumericsError(
                f"damping={damping!r}: {self.method} takes no damping; what does are {', '.join(DAMPED)}"
            )
        given = 0.0 if isinstance(damping, str) else float(damping)
        self.damping = 1e-3 if self.method == "levenberg-marquardt" and given == 0 else given
        self.automatic = damping == "auto"
        self.history: list[Iteration] = []
        self.path: list[np.ndarray] = []

    def _method(self, asked: str | None) -> str:
        kind = self.problem.kind
        if asked is None:
            square = kind != "jacobian" or self._rows() == self.problem.size
            return NEEDED[kind] if square else "levenberg-marquardt"
        if asked not in METHODS[kind]:
            raise NumericsError(f"method={asked!r}: with a {kind} derivation it is one of {', '.join(METHODS[kind])}")
        if asked == "root" and self._rows() != self.problem.size:
            raise NumericsError(
                f"{self.problem.d.loss.name} has {self._rows()} equations in {self.problem.size} "
                f"unknowns: a root needs as many of both; least squares are "
                f'method="levenberg-marquardt"'
            )
        return asked

    def _rows(self) -> int:
        return self.problem.all(self.point)[1].size

    def run(self) -> NewtonResult:
        """Steps until the residual is small enough."""
        number = 0
        while True:
            if self.problem.size <= KEPT:
                self.path.append(self.point)
            value, first, matrix = self.problem.all(self.point)
            squares = self.method in ("gauss-newton", "levenberg-marquardt")
            slope = matrix.T @ first if squares else first
            residual = float(np.linalg.norm(slope))
            if not np.isfinite([value, residual, np.sum(matrix)]).all():
                self._fail(
                    f"the value or its derivatives are not finite at step {number}{self.problem.why(self.point)}"
                )
            if residual <= self.tolerance:
                self.history.append(Iteration(number, value, residual))
                return self._result(f"converged in {number} steps: residual {residual:.1e} <= {self.tolerance:g}")
            if number == self.max_steps:
                self.history.append(Iteration(number, value, residual))
                self._fail(f"no convergence in {number} steps: residual {residual:.1e} > {self.tolerance:g}")
            self._step(number, value, first, matrix, slope, residual)
            number += 1

    def _step(
        self, number: int, value: float, first: np.ndarray, matrix: np.ndarray, slope: np.ndarray, residual: float
    ) -> None:
        try:
            if self.method == "levenberg-marquardt":
                p, rate, used = self._trust(value, first, matrix)
                inner = 0
            else:
                p, used, inner = self._direction(first, matrix)
                rate = self._search(value, p, matrix.T @ first if self.method == "root" else slope)
        except NewtonError as error:
            self.history.append(Iteration(number, value, residual))
            self._fail(f"at step {number}: {error.message}")
        self.history.append(Iteration(number, value, residual, rate * float(np.linalg.norm(p)), rate, used, inner))
        self.point = self.point + (rate * p).astype(self.point.dtype)

    def _direction(self, first: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, float, int]:
        """``(p, damping used, inner iterations)``."""
        if self.method == "newton":
            return *newton_step(matrix, first, "auto" if self.automatic else self.damping), 0
        if self.method in ("newton-cg", "gauss-newton-cg"):
            # no damping with "auto": where it bends down, they stop by themselves
            p, inner = cg_step(lambda v: self.problem.product(self.point, v) + self.damping * v, first, self.inner)
            return p, self.damping, inner
        return (root_step(matrix, first) if self.method == "root" else least_squares_step(matrix, first, 0.0)), 0.0, 0

    def _search(self, value: float, p: np.ndarray, slope: np.ndarray) -> float:
        """The Armijo rule; where the promised decrease is below the rounding of the value, the full step is taken."""
        promised = float(slope @ p)
        if not self.line_search:
            return 1.0
        if promised >= 0:
            raise NewtonError(f"the step does not lead downhill (slope {promised:.1e})")
        rounding = 64 * np.finfo(self.point.dtype).eps * max(abs(value), 1e-300)
        rate = 1.0
        for _ in range(HALVINGS):
            found = self.problem.value(self.point + (rate * p).astype(self.point.dtype))
            if np.isfinite(found) and found <= value + ARMIJO * rate * promised + rounding:
                return rate
            rate /= 2
        raise NewtonError(f"the line search found no decrease along the step (slope {promised:.1e})")

    def _trust(self, value: float, y: np.ndarray, J: np.ndarray) -> tuple[np.ndarray, float, float]:
        """Levenberg-Marquardt: raise the damping until the squares fall, lower it when the model was right."""
        for _ in range(HALVINGS):
            p = least_squares_step(J, y, self.damping)
            found = self.problem.value(self.point + p.astype(self.point.dtype))
            predicted = value - 0.5 * float(np.sum((y + J @ p) ** 2))
            rounding = 64 * np.finfo(self.point.dtype).eps * value
            if np.isfinite(found) and found <= value + rounding and value - found >= 1e-3 * predicted - rounding:
                used, self.damping = self.damping, max(self.damping / 10, 1e-15)
                return p, 1.0, used
            self.damping *= 10
        raise NewtonError(f"no damping up to {self.damping:.1e} makes the squares fall")

    def _result(self, reason: str) -> NewtonResult:
        parameters = self.problem.parts(self.point)
        return NewtonResult(
            self.problem.d.name, self.method, parameters, tuple(self.history), reason, path=tuple(self.path)
        )

    def _fail(self, message: str) -> NoReturn:
        raise NewtonError(f"{self.problem.d.name}: {message}", tuple(self.history), self.problem.parts(self.point))
