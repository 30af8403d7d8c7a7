"""Plots, drawn without a display: training curves, the confusion matrix, the decision boundary.

Each function returns a matplotlib ``Figure``; ``save(figure, path)`` writes it as PNG, SVG or PDF.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from numerics import files
from numerics.errors import InputError, NumericsError

if TYPE_CHECKING:  # matplotlib is optional and slow to load
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

History: TypeAlias = Mapping[str, Sequence[float]]
Predict: TypeAlias = "Callable[[np.ndarray], ArrayLike] | Predictor"


class Predictor(Protocol):
    """A trained network."""

    def predict(self, X: np.ndarray, /) -> ArrayLike: ...


TRAIN, HELD, MARK = "#2b5fab", "#c8571b", "#3a3a3a"
UNMEASURED = ("seconds", "epoch", "rate", "learning_rate")
FALLING = ("loss", "error", "mae", "mse", "perplexity")  # a measure whose name holds one of these is better when small
DENSE = 300  # points of the grid along each axis of a decision boundary


def curves(history: History, title: str = "") -> Figure:
    """What a history holds, a panel for the loss and one for each metric, training against held out.

    The gap between the two is shaded and the best held-out epoch marked; a line above the loss says whether the network
    overfits (held out gets worse while training gets better), or would still gain from more epochs.

    Parameters
    ----------
    history : dict of str to list
        As :meth:`numerics.Trainer.fit` returns it: ``loss``, ``accuracy``, ``val_loss`` and so on, one number an epoch.
    title : str, optional

    Returns
    -------
    matplotlib.figure.Figure

    >>> figure = curves({"loss": [1.0, 0.5, 0.2], "val_loss": [1.1, 0.8, 0.9]})
    >>> [axes.get_ylabel() for axes in figure.axes]
    ['loss']
    """
    names = _measures(history)
    if not names or not history[names[0]]:
        raise NumericsError("curves: the history is empty; train first")
    figure = _figure(4.6 * len(names), 3.6)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        _panel(axes, history, name)
    said = verdict(history)
    figure.axes[0].set_title(said, fontsize=9, loc="left", color=MARK)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _measures(history: History) -> list[str]:
    return [n for n in history if not n.startswith("val_") and n not in UNMEASURED]


def _panel(axes: Axes, history: History, name: str) -> None:
    train, held = history[name], history.get(f"val_{name}")
    epochs = np.arange(1, len(train) + 1)
    marker = "." if len(train) < 40 else None
    axes.plot(epochs, train, color=TRAIN, label="training", marker=marker)
    if held:
        axes.plot(epochs, held, color=HELD, label="held out", marker=marker)
        axes.fill_between(epochs, train, held, color=HELD, alpha=0.12, linewidth=0, label="gap")
        best = best_epoch(held, name)
        axes.axvline(best, color=MARK, linewidth=0.8, linestyle=":")
        axes.plot(
            [best],
            [held[best - 1]],
            "o",
            color=MARK,
            markersize=6,
            fillstyle="none",
            label=f"best: {held[best - 1]:.4g} in epoch {best}",
        )
    axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
    axes.locator_params(axis="x", integer=True)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False)


def best_epoch(values: Sequence[float], name: str = "loss") -> int:
    """The epoch, counted from 1, with the best value: the smallest of a loss or an error, the largest of a score."""
    falling = any(word in name for word in FALLING)
    return int(np.nanargmin(values) if falling else np.nanargmax(values)) + 1


def verdict(history: History) -> str:
    """One line: overfitting since when, still improving, or settled.

    >>> verdict({"loss": [1, .5, .3, .2], "val_loss": [1, .6, .7, .8]})
    'overfits after epoch 2: training 0.5 to 0.2, held out 0.6 to 0.8'
    """
    train, held = history["loss"], history.get("val_loss")
    if not held or len(held) < 3:
        return ""  # too early to say
    best, last = best_epoch(held), len(held)
    worse = held[-1] > held[best - 1] * 1.05 and last - best >= max(1, last // 10)
    if worse and train[-1] < train[best - 1]:
        return (
            f"overfits after epoch {best}: training {train[best - 1]:.3g} to {train[-1]:.3g}, "
            f"held out {held[best - 1]:.3g} to {held[-1]:.3g}"
        )
    before = held[-max(2, last // 5)]
    if best >= last - 1 and held[-1] < 0.98 * before:
        return "still improving at the last epoch: it would gain from more"
    return "settled: more epochs change little"


def confusion_matrix(
    labels: ArrayLike, predicted: ArrayLike, names: Sequence[str] | None = None, normalize: bool = False
) -> Figure:
    """How often each class (rows) was taken for each (columns).

    Parameters
    ----------
    labels : array (N,) of int
    predicted : array (N,) of int, or (N, K) of scores
        Of scores the largest counts, as :meth:`numerics.Trainer.predict` returns them.
    names : sequence of str, optional
        Of the classes.
    normalize : bool
        Shares of each row instead of counts.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from sklearn.metrics import confusion_matrix as counted

    true, taken = np.asarray(labels), np.asarray(predicted)
    if taken.ndim == 2:
        taken = taken.argmax(axis=1)
    if true.shape != taken.shape or true.ndim != 1:
        raise InputError(
            f"confusion_matrix: labels have shape {true.shape} and predictions {taken.shape}; expected "
            f"are (N,) and (N,) or (N, K)"
        )
    classes = np.union1d(true, taken) if names is None else np.arange(len(names))
    table = counted(true, taken, labels=classes)
    if normalize:
        table = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    size = 1.8 + 0.42 * len(classes)
    figure = _figure(size + 0.6, size)
    axes = figure.subplots()
    axes.imshow(table, cmap="Blues", vmin=0)
    ticks = [str(c) for c in (classes if names is None else names)]
    axes.set(
        xticks=range(len(classes)),
        yticks=range(len(classes)),
        xticklabels=ticks,
        yticklabels=ticks,
        xlabel="predicted",
        ylabel="true",
    )
    dark = table.max() / 2
    for (row, column), value in np.ndenumerate(table):
        if value:
            axes.text(
                column,
                row,
                f"{value:.2f}" if normalize else str(value),
                ha="center",
                va="center",
                fontsize=8,
                color="white" if value > dark else "black",
            )
    right = float(np.mean(true == taken))
    axes.set_title(f"{right:.1%} of {len(true)} right", fontsize=10, loc="left")
    return figure


def decision_boundary(
    predict: Predict, X: ArrayLike, labels: ArrayLike, names: tuple[str, str] = ("x1", "x2")
) -> Figure:
    """Which class a network gives to each point of the plane, with the examples on top.

    Parameters
    ----------
    predict : numerics.Trainer or callable
        A trainer of two inputs, or a function (N, 2) -> (N, K) scores, (N, 1) logits, or (N,) labels.
    X : array (N, 2)
    labels : array (N,) of int
    names : pair of str
        Of the axes.

    Returns
    -------
    matplotlib.figure.Figure
    """
    X, labels = np.asarray(X, np.float32), np.asarray(labels)
    if X.ndim != 2 or X.shape[1] != 2:
        raise InputError(f"decision_boundary: X has shape {X.shape}; expected is (N, 2), two numbers an example")
    call = predict.predict if hasattr(predict, "predict") else predict
    low, high = X.min(axis=0), X.max(axis=0)
    margin = 0.12 * np.maximum(high - low, 1e-6)
    across, up = (np.linspace(a, b, DENSE, dtype=np.float32) for a, b in zip(low - margin, high + margin, strict=True))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    chosen = _classes(np.asarray(call(grid))).reshape(DENSE, DENSE)
    from matplotlib.colors import ListedColormap

    count = int(max(chosen.max(), labels.max())) + 1
    colours = [COLOURS[n % len(COLOURS)] for n in range(count)]
    figure = _figure(4.6, 4.2)
    axes = figure.subplots()
    axes.pcolormesh(
        across,
        up,
        chosen,
        cmap=ListedColormap(colours),
        vmin=-0.5,
        vmax=count - 0.5,
        alpha=0.22,
        shading="nearest",
        rasterized=True,
    )
    if len(np.unique(chosen)) > 1:
        axes.contour(across, up, chosen, levels=np.arange(count - 1) + 0.5, colors=MARK, linewidths=1.0)
    for n in np.unique(labels):
        across_n, up_n = X[labels == n].T
        axes.scatter(across_n, up_n, s=18, color=colours[int(n)], edgecolor="white", linewidth=0.5, label=f"class {n}")
    axes.set(xlabel=names[0], ylabel=names[1])
    right = float(np.mean(_classes(np.asarray(call(X))) == labels))
    axes.set_title(f"{right:.1%} of {len(X)} right", fontsize=10, loc="left")
    axes.legend(fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1), borderaxespad=0)  # beside, not on the points
    return figure


COLOURS = ("#2b5fab", "#c8571b", "#2e8b57", "#8a4fae", "#b59000", "#b3344a", "#3b8ea5", "#6b6b6b")


def _classes(scores: np.ndarray) -> np.ndarray:
    """Labels from scores: the largest of several, the sign of one."""
    if scores.ndim == 2 and scores.shape[1] > 1:
        return scores.argmax(axis=1)
    flat = scores.reshape(len(scores))
    return flat.astype(int) if np.issubdtype(flat.dtype, np.integer) else (flat > 0).astype(int)


def training_curves(history: History, path: str | Path) -> Path:
    """:func:`curves`, written to a file; returns its path."""
    return save(curves(history), path)


def save(figure: Figure, path: str | Path) -> Path:
    """Write a figure by the ending of its name, in a folder that is made if need be; a reader never sees half a file."""
    path, drawn = Path(path), io.BytesIO()
    figure.savefig(drawn, dpi=140, format=path.suffix.lstrip(".") or "png")
    path.parent.mkdir(parents=True, exist_ok=True)
    return files.write(path, drawn.getvalue())


def _figure(width: float, height: float) -> Figure:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
