"""A trainer's network in use: evaluation and prediction in batches, nothing trained; and how large batches may be."""

from __future__ import annotations

import numpy as np

from derive.language.errors import DeriveError
from numerics.data import metrics as measures
from numerics.errors import InputError

from .examples import check_inputs, given_by, slices
from .optimizer import whole
from .source import is_stream

BATCH = 32
USE = 256  # examples at a time, where nothing is trained


def batch_size(trainer, given, n: int, where: str = "fit") -> int:
    """How many examples a batch has, at most all there are; carried states need batches of one size."""
    size = min(BATCH if given is None else whole(given, "batch_size", where), n)
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
    return batch_size(trainer, usual if given is None else given, n, where)


def evaluated(trainer, source) -> dict[str, float]:
    """The loss and the metrics on batches of checked examples."""
    losses, counts, carried = [], [], trainer.programs.start(source.extent[1])
    outputs: dict[str, list] = {}
    targets: dict[str, list] = {}
    names = {n: t.name for n, t in trainer.model.targets(trainer.losses).items() if trainer.metrics.get(n)}
    for batch in source.epoch(0):
        measure = trainer.programs.of(batch).measure
        loss, found, carried = measure(trainer.params, trainer.state, carried, trainer.placed(batch))
        losses.append(float(loss))
        counts.append(counted(trainer, batch))
        for name, target in names.items():
            kept = measures.kept(np.asarray(found[name]), trainer.losses[name], trainer.metrics[name])
            outputs.setdefault(name, []).append(kept)
            targets.setdefault(target, []).append(batch[target])
    total = float(np.average(losses, weights=counts)) if sum(counts) else 0.0
    return {"loss": total, **measured(trainer, targets, outputs)}


def measured(trainer, targets: dict, outputs: dict) -> dict[str, float]:
    """The metrics of what was kept of outputs and of targets, batch by batch; targets by the names of the tensors."""
    tensors, row = trainer.model.targets(trainer.losses), dict[str, float]()
    for name, metrics in trainer.metrics.items():
        if metrics:
            y, found = joined(targets[tensors[name].name], outputs[name])
            row |= measures.measured(y, found, trainer.losses[name], metrics)
    return row


def joined(*arrays: list) -> list[np.ndarray]:
    """Arrays (B, ...) of batches, one after the other; where their lengths differ, position by position."""
    found = [[np.asarray(a) for a in each] for each in arrays]
    if any(len({a.shape[1:] for a in each}) > 1 for each in found):
        found = [[a.reshape(-1, *a.shape[2:]) for a in each] for each in found]
    return [np.concatenate(each) for each in found]


def counted(trainer, batch: dict) -> int:
    """How many examples the mean of a batch is over: without those whose label is ignored."""
    loss = next(iter(trainer.losses.values()))
    y = batch[next(iter(trainer.model.targets(trainer.losses).values())).name]
    if len(trainer.losses) > 1 or loss.ignored is None:
        return len(y)
    return int((y != loss.ignored).sum())


def predicted(trainer, X, size: int | None):
    """The outputs for inputs that are checked here, as arrays or batch by batch; several are a dict."""
    found: dict[str, list] = {}
    for inputs in _inputs(trainer, X):
        n = len(next(iter(inputs.values())))
        each = use_size(trainer, size, n, "predict")
        carried = trainer.programs.start(each)
        for part in slices(n, each):
            given = trainer.placed({name: a[part] for name, a in inputs.items()})
            outputs, carried = trainer.programs.of(inputs).predict(trainer.params, trainer.state, carried, given)
            for name, a in outputs.items():
                found.setdefault(name, []).append(np.asarray(a))
    if not found:
        raise InputError("predict: the iterable has no batches")
    lengths = {a.shape[1:] for a in found[next(iter(found))]}
    if len(lengths) > 1:
        raise InputError(
            f"predict: the batches give outputs of {len(lengths)} shapes ({', '.join(map(str, sorted(lengths)))}); accepted "
            f"are batches of one length, or a call for each"
        )
    whole = {name: np.concatenate(a) for name, a in found.items()}
    return whole if len(trainer.model.outputs) > 1 else next(iter(whole.values()))


def _inputs(trainer, X):
    """The inputs, checked, at once or those of each batch of an iterable; what a batch has besides them (targets) is left."""
    if not is_stream(X):
        yield check_inputs(fitting(trainer, X).model, X)
        return
    if trainer.model.carried:
        raise InputError(f"predict: {trainer.model.name} carries its state; give arrays, as nx.windows cuts them")
    for n, batch in enumerate(X() if callable(X) else X):
        pair = isinstance(batch, tuple | list) and len(batch) in (2, 3) and hasattr(batch[0], "shape")
        given, which = batch[0] if pair else batch, f"batch {n + 1}: "
        yield check_inputs(fitting(trainer, given, which).model, given, which)


def fitting(trainer, X, which: str = ""):
    """The programs for the shapes of some examples: those at building, or others that the definitions allow."""
    model, shapes = trainer.model, trainer.programs.shapes
    given = {n: _shape(a)[1:] for n, a in given_by(model.inputs, X, f"{which}X").items()}
    if given == shapes or not all(_other_size(given[n], shapes[n], model.inputs[n]) for n in shapes):
        return trainer.programs
    try:
        return trainer.programs.for_shapes(given)
    except DeriveError as error:
        said = ", ".join(f"{n} {given[n]}" for n in shapes if given[n] != shapes[n])
        raise InputError(
            f"{which}{model.name} was built for {shapes}, and examples of {said} do not fit: {error}"
        ) from error


def _shape(a) -> tuple:
    """The shape of what was given; () of rows of unequal lengths, which the checks tell."""
    try:
        return np.shape(a)
    except ValueError:
        return ()


def _other_size(given: tuple, built: tuple, t) -> bool:
    """Whether a shape may be that of another length: all but the features are free, 0 is no length."""
    fixed = built if t.dtype != "int" and len(built) == 1 else built[-1:] if t.dtype != "int" else ()
    return len(given) == len(built) and 0 not in given and given[len(given) - len(fixed) :] == fixed
