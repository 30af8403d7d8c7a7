"""Pictures of Newton's method: tangents at a root, the quadratic model beside the loss, convergence.

Each returns a matplotlib ``Figure`` drawn without a display; ``numerics.pages.plots.save(figure, path)`` writes it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from derive.derivation.derivation import Derivation
from numerics.checks.ground import float64
from numerics.errors import NumericsError
from numerics.pages.plots import HELD, MARK, TRAIN, _figure

from .history import NewtonResult, observed_order
from .problem import Problem

if TYPE_CHECKING:  # matplotlib is optional and slow to load
    from matplotlib.figure import Figure


def tangents(
    d: Derivation, result: NewtonResult, inputs: Mapping[str, ArrayLike] | None = None, steps: int = 3
) -> Figure:
    """Newton's method for one equation in one unknown: the curve, and the tangent at each point down to its root.

    Parameters
    ----------
    d : Derivation
        ``dv.jacobian(y, [x])`` of a scalar y by a scalar x.
    result : NewtonResult
        What ``nx.newton(d, ...)`` returned.
    inputs : dict of arrays, optional
        Other inputs of y.
    steps : int
        How many tangents to draw.

    Returns
    -------
    matplotlib.figure.Figure
    """
    points = [float(p[0]) for p in result.path[: steps + 1] if p.size == 1]
    if d.kind != "jacobian" or len(points) < 2:
        raise NumericsError(
            "tangents: draws one equation in one unknown, dv.jacobian(y, [x]) of scalars, after a step or "
            f"more; this is a {d.kind} of {result.path[0].size if result.path else 0} unknowns"
        )
    (name,) = (t.name for t in d.wrt)
    with float64():
        problem = Problem(d, {name: np.asarray(points[0])}, inputs or {})
        values = [float(problem.all(np.array([x]))[1][0]) for x in points]
        low, high = min(points), max(points)
        xs = np.linspace(low - 0.15 * (high - low), high + 0.15 * (high - low), 200)
        ys = [float(problem.all(np.array([x]))[1][0]) for x in xs]
    figure = _figure(5.2, 3.6)
    axes = figure.subplots()
    axes.axhline(0, color=MARK, linewidth=0.8)
    axes.plot(xs, ys, color=TRAIN, label=d.loss.name)
    for n, (x, y, root) in enumerate(zip(points, values, points[1:], strict=False)):
        axes.plot([x, root], [y, 0], color=HELD, linewidth=1, label="tangents" if n == 0 else None)
        axes.plot([x, x], [0, y], color=MARK, linewidth=0.8, linestyle=":")
    axes.plot(points, [0] * len(points), "o", color=MARK, markersize=4)
    for n, x in enumerate(points[:3]):
        axes.annotate(f"${name}_{n}$", (x, 0), textcoords="offset points", xytext=(0, -14), ha="center")
    axes.set(xlabel=name, title="each tangent's root is the next point")
    axes.legend(frameon=False, fontsize=8)
    return figure


def convergence(
    results: Mapping[str, NewtonResult | Sequence[float]], title: str = "", ylabel: str = "norm of the gradient"
) -> Figure:
    """Residuals against steps, on a logarithmic scale, with the observed order of each.

    Parameters
    ----------
    results : dict
        By label: a :class:`NewtonResult`, or a sequence of numbers such as the losses of gradient descent.
    title, ylabel : str

    Returns
    -------
    matplotlib.figure.Figure
    """
    if not results:
        raise NumericsError("convergence: give at least one result")
    figure = _figure(5.2, 3.6)
    axes = figure.subplots()
    for n, (label, found) in enumerate(results.items()):
        newton = isinstance(found, NewtonResult)
        values = [h.residual for h in found.history] if isinstance(found, NewtonResult) else list(map(float, found))
        order = observed_order(values) if newton else None
        shown = label if order is None else f"{label}: order {order:.2f}"
        axes.semilogy(
            range(len(values)),
            values,
            color=(HELD, TRAIN, MARK)[n % 3],
            label=shown,
            marker="o" if len(values) < 40 else None,
            markersize=3,
        )
    axes.set(xlabel="step", ylabel=ylabel, title=title)
    axes.grid(alpha=0.25)
    axes.legend(frameon=False, fontsize=8)
    return figure


def curvature(
    d: Derivation,
    at: Mapping[str, ArrayLike],
    inputs: Mapping[str, ArrayLike] | None = None,
    directions: Sequence[Mapping[str, ArrayLike]] | None = None,
    reach: float | None = None,
    path: Sequence[np.ndarray] | None = None,
) -> Figure:
    """Contours of the loss and, dashed, of its quadratic model around a point, with the steps that each suggests.

    The plane is that of the two parameters; with more, of the eigenvectors of the smallest and the largest curvature.  The
    gradient's and Newton's step are arrows; a direction of negative curvature, along which the model has no minimum, is
    a line of its own.

    Parameters
    ----------
    d : Derivation
        ``dv.hessian(loss, wrt)``.
    at : dict of arrays
        The point, by name.
    inputs : dict of arrays, optional
    directions : pair of dicts of arrays, optional
        Two directions that span the plane, instead.
    reach : float, optional
        Half the width of the picture; by default a little more than Newton's step.
    path : sequence of flat arrays, optional
        Points to draw, as ``NewtonResult.path``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    if d.kind != "hessian":
        raise NumericsError(f"curvature: takes dv.hessian(loss, wrt); {d.name} is a {d.kind}")
    with float64():
        problem = Problem(d, {n: np.asarray(a, np.float64) for n, a in at.items()}, inputs or {})
        here = problem.flat(problem.start)
        if here.size < 2:
            raise NumericsError("curvature: draws a plane, and there is one parameter")
        value, gradient, H = problem.all(here)
        plane, labels = _plane(problem, H, directions)
        g, Q = plane.T @ gradient, plane.T @ H @ plane
        newton = np.linalg.lstsq(Q, -g, rcond=None)[0]
        reach = reach or 1.6 * max(float(np.linalg.norm(newton)), 1e-3)
        grid = np.linspace(-reach, reach, 61)
        loss = np.array([[problem.value(here + plane @ (u, v)) for u in grid] for v in grid])
    u, v = np.meshgrid(grid, grid)
    model = value + g[0] * u + g[1] * v + (Q[0, 0] * u**2 + 2 * Q[0, 1] * u * v + Q[1, 1] * v**2) / 2
    return _drawn(grid, loss, model, g, Q, newton, reach, labels, _within(path, here, plane))


def _plane(
    problem: Problem, H: np.ndarray, directions: Sequence[Mapping[str, ArrayLike]] | None
) -> tuple[np.ndarray, tuple[str, str]]:
    if directions is not None:
        basis, _ = np.linalg.qr(
            np.stack([problem.flat({n: np.asarray(a) for n, a in v.items()}) for v in directions], axis=1)
        )
        return basis, ("first direction", "second direction")
    if problem.size == 2:
        names = [
            n if problem.shapes[n] == () else f"{n}[{k}]"
            for n in problem.wrt
            for k in range(int(np.prod(problem.shapes[n], dtype=int)))
        ]
        return np.eye(2), (f"{names[0]}, from the point", f"{names[1]}, from the point")
    values, vectors = np.linalg.eigh(H)
    return vectors[:, [0, -1]], (f"least curvature, {values[0]:.2g}", f"largest curvature, {values[-1]:.2g}")


def _within(path: Sequence[np.ndarray] | None, here: np.ndarray, plane: np.ndarray) -> np.ndarray | None:
    return None if path is None else np.array([plane.T @ (np.ravel(p) - here) for p in path])


def _drawn(
    grid: np.ndarray,
    loss: np.ndarray,
    model: np.ndarray,
    g: np.ndarray,
    Q: np.ndarray,
    newton: np.ndarray,
    reach: float,
    labels: tuple[str, str],
    path: np.ndarray | None,
) -> Figure:
    figure = _figure(5.2, 4.4)
    axes = figure.subplots()
    levels = np.unique(np.quantile(loss[np.isfinite(loss)], np.linspace(0.02, 0.9, 12)))
    axes.contour(grid, grid, loss, levels=levels, colors=TRAIN, linewidths=1, linestyles="solid")
    axes.contour(grid, grid, model, levels=levels, colors=HELD, linewidths=1, linestyles="dashed")
    handles = [
        *axes.plot([], [], color=TRAIN, label="loss"),
        *axes.plot([], [], color=HELD, linestyle="dashed", label="quadratic model"),
    ]
    down = -g / max(float(np.linalg.norm(g)), 1e-300) * 0.35 * reach
    for step, color, label in ((down, MARK, "against the gradient"), (newton, HELD, "Newton's step")):
        axes.annotate(
            "", xy=(step[0], step[1]), xytext=(0, 0), arrowprops={"arrowstyle": "->", "color": color, "linewidth": 1.6}
        )
        handles += axes.plot([], [], color=color, label=label)
    values, vectors = np.linalg.eigh(Q)
    if values[0] < 0:
        line = np.outer([-reach, reach], vectors[:, 0])
        handles += axes.plot(
            line[:, 0], line[:, 1], color=MARK, linestyle=":", label=f"negative curvature, {values[0]:.2g}"
        )
    if path is not None:
        handles += axes.plot(path[:, 0], path[:, 1], "o-", color=MARK, markersize=3, linewidth=0.8, label="path")
    axes.plot([0], [0], "o", color=MARK)
    axes.set(xlabel=labels[0], ylabel=labels[1], xlim=(-reach, reach), ylim=(-reach, reach))
    axes.legend(handles=handles, frameon=True, fontsize=7, loc="upper right")
    return figure
