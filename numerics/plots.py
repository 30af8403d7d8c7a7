"""Training curves, drawn without a display."""

from __future__ import annotations

from pathlib import Path

from .errors import NumericsError


def training_curves(history: dict, path) -> Path:
    """Draw what a history holds, a panel for the loss and one for each metric, training and held out; PNG, SVG or PDF.

    Parameters
    ----------
    history : dict of str to list
        As :meth:`numerics.Trainer.fit` returns it: ``loss``, ``accuracy``, ``val_loss`` and so on, one number an epoch.
    path : path-like

    Returns
    -------
    Path
    """
    names = [n for n in history if not n.startswith("val_") and n != "seconds"]
    if not names or not history[names[0]]:
        raise NumericsError("training_curves: the history is empty; train first")
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * len(names), 3.4), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "held out")):
            if key in history:
                values = history[key]
                axes.plot(range(1, len(values) + 1), values, label=label, marker="." if len(values) < 40 else None)
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.grid(alpha=0.3)
        axes.legend()
    path = Path(path)
    figure.savefig(path, dpi=120)
    return path
