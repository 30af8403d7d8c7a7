"""A trainer's network in use: evaluation and prediction in batches, nothing trained; and how large batches may be."""

from __future__ import annotations

import numpy as np

from numerics.errors import InputError

from .examples import Examples, check_inputs, slices
from .optimizer import whole

BATCH = 32
USE = 256  # examples at a time, where nothing is trained


def batch_size(trainer, given, n: int, where: str = "fit") -> int:
    """How many examples a batch has; carried states need batches of one size."""
    size = min(BATCH, n) if given is None else whole(given, "batch_size", where)
    if size > n and where == "fit":
        raise InputError(f"fit: batch_size is {size}, but there are {n} examples to train on; accepted are at most {n}")
    if trainer.model.carried and n % size:
        fits = [d for d in range(1, n + 1) if n % d == 0]
        raise InputError(
            f"{where}: the states that {trainer.model.name} carries are those of {size} sequences, but the "
            f"last of the {n} examples would make a batch of {n % size}; accepted are batch sizes that "
            f"divide {n}: {', '.join(map(str, fits[-12:]))}; nx.windows cuts a text so that it fits"
        )
    return size


def use_size(trainer, given, n: int, where: str) -> int:
    """Carried states belong to as many sequences as were trained on, unless another number is given."""
    usual = trainer.fitted_size if trainer.model.carried and trainer.fitted_size else USE
    return batch_size(trainer, min(usual if given is None else whole(given, "batch_size", where), n), n, where)


def evaluated(trainer, examples: Examples, size: int) -> dict[str, float]:
    """The loss and the metrics on checked examples."""
    losses, counts, carried = [], [], trainer.programs.start(size)
    outputs: dict[str, list] = {}
    for part in slices(len(examples), size):
        batch = {**examples.take(part), **trainer.constants}
        loss, found, carried = trainer.programs.measure(trainer.params, trainer.state, carried, batch)
        losses.append(float(loss))
        counts.append(counted(trainer, examples, part))
        for name in trainer.metrics:
            if trainer.metrics[name]:
                outputs.setdefault(name, []).append(np.asarray(found[name]))
    total = float(np.average(losses, weights=counts)) if sum(counts) else 0.0
    return {"loss": total, **measured(trainer, examples, {n: np.concatenate(a) for n, a in outputs.items()})}


def measured(trainer, examples: Examples, outputs: dict, order=slice(None)) -> dict[str, float]:
    """The metrics of some outputs, with the targets in that order."""
    targets, row = trainer.model.targets(trainer.losses), {}
    for name, metrics in trainer.metrics.items():
        y = examples.targets[targets[name].name][order] if metrics else None
        for called, measure in metrics.items():
            row[called] = measure(y, outputs[name], trainer.losses[name])
    return row


def counted(trainer, examples: Examples, rows) -> int:
    """How many examples the mean of a batch is over: without those whose label is ignored."""
    loss = next(iter(trainer.losses.values()))
    y = next(iter(examples.targets.values()))[rows]
    if len(trainer.losses) > 1 or loss.ignored is None:
        return len(y)
    return int((y != loss.ignored).sum())


def predicted(trainer, X, size: int | None):
    """The outputs for inputs that are checked here; several are a dict."""
    inputs = check_inputs(trainer.model, X)
    n = len(next(iter(inputs.values())))
    size = use_size(trainer, size, n, "predict")
    found: dict[str, list] = {}
    carried = trainer.programs.start(size)
    for part in slices(n, size):
        outputs, carried = trainer.programs.predict(
            trainer.params, trainer.state, carried, {name: a[part] for name, a in inputs.items()}
        )
        for name, a in outputs.items():
            found.setdefault(name, []).append(np.asarray(a))
    whole = {name: np.concatenate(a) for name, a in found.items()}
    return whole if len(trainer.model.outputs) > 1 else next(iter(whole.values()))
