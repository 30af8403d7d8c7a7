"""What is measured beside the loss, from scikit-learn where it has it.

=============================  =====================================================================================
of classes                     what it is
=============================  =====================================================================================
accuracy                       share of examples (steps, elements) whose class is right
balanced_accuracy              mean of the recalls of the classes
precision, recall, f1          mean over the classes
top_2_accuracy, top_5_accuracy any number: the right class is among so many
auc                            area under the ROC curve; of several classes, one against the rest, mean
=============================  =====================================================================================

=============================  =====================================================================================
of values                      what it is
=============================  =====================================================================================
mean_absolute_error (mae)      mean of |z - y|
mean_squared_error (mse)       mean of (z - y)^2
root_mean_squared_error        its square root
r2                             1 - residual / total sum of squares; mean over the outputs
=============================  =====================================================================================

Labels that the loss ignores are left out.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from derive.language.hints import did_you_mean
from derive.networks import elsewhere
from numerics.errors import InputError

CLASSIFIED = ("labels", "probabilities", "bits", "signs")
TOP = re.compile(r"top_(\d+)_accuracy")


@dataclass(frozen=True)
class Metric:
    """A number of all targets and outputs of an epoch, ``(y, outputs, loss) -> float``.

    Attributes
    ----------
    rule : callable
        The same, or where ``of_classes`` is true ``(y, classes, loss) -> float``.
    of_classes : bool
        Whether the classes that the outputs stand for are all that is read of them: then only these are kept of a batch,
        one number where a language model gives one for each of its words.
    """

    rule: Callable
    of_classes: bool = False

    def __call__(self, y, outputs, loss) -> float:
        return self.rule(y, decide(outputs, loss) if self.of_classes else outputs, loss)


def decide(outputs, loss):
    """The class that outputs stand for: the largest of exclusive ones, else yes or no for each (a logit above 0).

    Of NumPy's arrays and JAX's, which a step is asked for.
    """
    if loss.target in ("bits", "signs"):
        return (outputs > (0.5 if loss.reads == "bits" else 0.0)).astype("int32")
    return outputs.argmax(-1).astype("int32")


def kept(outputs, loss, metrics: dict[str, Metric]):
    """What is kept of the outputs of a batch until the metrics are computed."""
    return decide(outputs, loss) if all(m.of_classes for m in metrics.values()) else outputs


def measured(y, found, loss, metrics: dict[str, Metric]) -> dict[str, float]:
    """The metrics of all targets, and of all that was kept."""
    classes = all(m.of_classes for m in metrics.values())
    return {called: m.rule(y, found, loss) if classes else m(y, found, loss) for called, m in metrics.items()}


def truth(y, loss) -> np.ndarray:
    """The class that targets stand for."""
    if loss.target == "probabilities":
        return np.argmax(y, axis=-1).ravel()
    middle = {"bits": 0.5, "signs": 0.0}.get(loss.target)
    return np.asarray(y).ravel() if middle is None else (np.asarray(y) > middle).astype(int).ravel()


def counted(y, loss) -> np.ndarray:
    """Which of the true classes are not ignored."""
    found = truth(y, loss)
    return np.ones(len(found), bool) if loss.ignored is None else found != loss.ignored


def _classes(name, **options):
    def measure(y, classes, loss):
        import sklearn.metrics

        keep = counted(y, loss)
        if not keep.any():
            return float("nan")
        return float(getattr(sklearn.metrics, name)(truth(y, loss)[keep], classes.ravel()[keep], **options))

    return Metric(measure, of_classes=True)


def _accuracy(y, classes, loss):
    keep = counted(y, loss)
    return float(np.mean(truth(y, loss)[keep] == classes.ravel()[keep])) if keep.any() else float("nan")


def _top(k):
    def measure(y, outputs, loss):
        keep, classes = counted(y, loss), outputs.shape[-1]
        rows, right = outputs.reshape(-1, classes)[keep], truth(y, loss)[keep]
        best = np.argsort(-rows, axis=-1, kind="stable")[:, :k]
        return float(np.mean((best == right[:, None]).any(axis=-1))) if len(rows) else float("nan")

    return Metric(measure)


def _auc(y, outputs, loss):
    from sklearn.metrics import roc_auc_score

    keep, right = counted(y, loss), truth(y, loss)
    if loss.target in ("bits", "signs"):
        scores, right = outputs.ravel(), right
        return float(roc_auc_score(right, scores)) if len(np.unique(right)) > 1 else float("nan")
    rows, right = outputs.reshape(-1, outputs.shape[-1])[keep].astype(np.float64), right[keep]
    present = np.unique(right)
    if len(present) < 2:
        return float("nan")
    if outputs.shape[-1] == 2:
        return float(roc_auc_score(right, rows[:, 1] - rows[:, 0]))
    if loss.reads == "logits":
        rows = np.exp(rows - rows.max(axis=-1, keepdims=True))
        rows /= rows.sum(axis=-1, keepdims=True)
    return float(np.mean([roc_auc_score(right == k, rows[:, k]) for k in present]))


def _values(name):
    def measure(y, outputs, loss):
        import sklearn.metrics

        return float(getattr(sklearn.metrics, name)(np.asarray(y).reshape(len(y), -1), outputs.reshape(len(y), -1)))

    return Metric(measure)


CLASSES = {
    "accuracy": Metric(_accuracy, of_classes=True),
    "acc": Metric(_accuracy, of_classes=True),
    "balanced_accuracy": _classes("balanced_accuracy_score"),
    "precision": _classes("precision_score", average="macro", zero_division=0.0),
    "recall": _classes("recall_score", average="macro", zero_division=0.0),
    "f1": _classes("f1_score", average="macro", zero_division=0.0),
    "auc": Metric(_auc),
}
VALUES = {
    "mean_absolute_error": _values("mean_absolute_error"),
    "mae": _values("mean_absolute_error"),
    "mean_squared_error": _values("mean_squared_error"),
    "mse": _values("mean_squared_error"),
    "root_mean_squared_error": _values("root_mean_squared_error"),
    "r2": _values("r2_score"),
}
ACCEPTED = (
    f"accepted are {', '.join(CLASSES)}, top_5_accuracy (or another number), {', '.join(VALUES)} or a function "
    f"(y, outputs) -> float"
)


def built_in(name) -> bool:
    """Whether a name is that of a metric of this module."""
    return name in CLASSES or name in VALUES or bool(TOP.fullmatch(name))


def find(metrics, loss) -> dict[str, Metric]:
    """By name; your own metrics are functions ``(y, outputs) -> float``."""
    if isinstance(metrics, str) or callable(metrics):
        metrics = [metrics]
    found = {}
    for m in metrics:
        if callable(m):
            own = getattr(m, "__name__", "metric").strip("<>")
            found[own] = Metric(lambda y, outputs, loss, m=m: float(m(y, outputs)))
        elif not isinstance(m, str) or not built_in(m):
            known = [*CLASSES, *VALUES, "top_5_accuracy"]
            raise InputError(f"unknown metric {m!r}{elsewhere.hint(m, known, elsewhere.METRICS)}; {ACCEPTED}")
        elif m in VALUES:
            if loss.target == "labels":
                raise InputError(
                    f"metric {m!r} compares values, but loss {loss.name!r} is about labels; accepted are "
                    f"{', '.join(CLASSES)} or a function (y, outputs) -> float"
                )
            found[m] = VALUES[m]
        else:
            if loss.target not in CLASSIFIED:
                raise InputError(
                    f"metric {m!r} compares classes, but loss {loss.name!r} is about values; accepted are "
                    f"{', '.join(VALUES)} or a function (y, outputs) -> float"
                )
            top = TOP.fullmatch(m)
            if top and loss.target not in ("labels", "probabilities"):
                raise InputError(f"metric {m!r} chooses among exclusive classes; loss {loss.name!r} has none")
            found[m] = _top(int(top[1])) if top else CLASSES[m]
    return found


def by_output(metrics, losses: dict) -> dict[str, dict[str, Metric]]:
    """Output -> called -> metric: ``accuracy``, or ``<output>_accuracy`` where there are several outputs."""
    if not isinstance(metrics, dict):
        metrics = dict.fromkeys(losses, metrics)
    unknown = [n for n in metrics if n not in losses]
    if unknown:
        raise InputError(
            f"metrics are given for {unknown[0]!r}{did_you_mean(unknown[0], losses)}; losses are given for "
            f"{', '.join(losses)}"
        )
    several = len(losses) > 1
    return {
        name: {f"{name}_{m}" if several else m: measure for m, measure in find(given, losses[name]).items()}
        for name, given in metrics.items()
    }
