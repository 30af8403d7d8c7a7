"""What is measured beside the loss, from scikit-learn: accuracy, precision, recall, f1, mean_absolute_error, r2."""

from __future__ import annotations

import numpy as np

from .errors import InputError

CLASSIFIED = ("labels", "probabilities", "bits")


def decide(outputs, loss) -> np.ndarray:
    """The class that outputs stand for: the largest of exclusive ones, else yes or no for each (a logit above 0)."""
    if loss.target == "bits":
        return (outputs > (0.0 if loss.reads == "logits" else 0.5)).astype(int).ravel()
    return np.argmax(outputs, axis=-1).ravel()


def truth(y, loss) -> np.ndarray:
    """The class that targets stand for."""
    if loss.target == "probabilities":
        return np.argmax(y, axis=-1).ravel()
    return (np.asarray(y) > 0.5).astype(int).ravel() if loss.target == "bits" else np.asarray(y).ravel()


def _classes(name, **options):
    def measure(y, outputs, loss):
        import sklearn.metrics
        return float(getattr(sklearn.metrics, name)(truth(y, loss), decide(outputs, loss), **options))
    return measure


def _values(name):
    def measure(y, outputs, loss):
        import sklearn.metrics
        return float(getattr(sklearn.metrics, name)(np.asarray(y).reshape(len(y), -1), outputs.reshape(len(y), -1)))
    return measure


CLASSES = {
    "accuracy": _classes("accuracy_score"),
    "precision": _classes("precision_score", average="macro", zero_division=0.0),
    "recall": _classes("recall_score", average="macro", zero_division=0.0),
    "f1": _classes("f1_score", average="macro", zero_division=0.0),
}
VALUES = {"mean_absolute_error": _values("mean_absolute_error"), "r2": _values("r2_score")}


def find(metrics, loss) -> dict:
    """Name -> ``(y, outputs, loss) -> float``; your own metrics are functions ``(y, outputs) -> float``."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    found = {}
    for m in metrics:
        if callable(m):
            found[getattr(m, "__name__", "metric").strip("<>")] = lambda y, outputs, loss, m=m: float(m(y, outputs))
        elif m in CLASSES:
            if loss.target not in CLASSIFIED:
                raise InputError(f"metric {m!r} compares classes, but loss {loss.name!r} is about values; accepted are "
                                 f"{', '.join(VALUES)} or a function (y, outputs) -> float")
            found[m] = CLASSES[m]
        elif m in VALUES:
            if loss.target == "labels":
                raise InputError(f"metric {m!r} compares values, but loss {loss.name!r} is about labels; accepted are "
                                 f"{', '.join(CLASSES)} or a function (y, outputs) -> float")
            found[m] = VALUES[m]
        else:
            raise InputError(f"unknown metric {m!r}; accepted are {', '.join([*CLASSES, *VALUES])} or a function "
                             f"(y, outputs) -> float")
    return found
