"""What ``Trainer.fit`` is asked for, checked and made into a fit: nothing is compiled before the data fits."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numerics.errors import InputError, NumericsError

from . import use
from .callbacks import Calls
from .fit import Fit
from .lock import locked
from .optimizer import whole
from .placement import writes
from .progress import Progress
from .resume import Keeper
from .scale import warn_of_scale
from .source import Arrays, Stream, is_stream
from .watch import Watch

NO_OPTIMIZER = (
    "fit: this trainer has no optimizer, so that it evaluates and predicts; give one: "
    "nx.Trainer(..., optimizer=optax.adam(1e-3)), nx.load(folder, optimizer=...)"
)


@dataclass(frozen=True)
class Asked:
    """The arguments of one fit; see :meth:`numerics.training.trainer.Trainer.fit`."""

    X: Any
    Y: Any
    batch_size: int | None
    epochs: int
    steps_per_epoch: int | None
    validation_data: Any
    validation_split: float
    callbacks: Any
    sample_weight: Any
    class_weight: Any
    shuffle: bool
    drop_last: bool
    augment: Any
    checkpoint: Any
    checkpoint_every: int | None
    resume: bool
    verbose: bool


def fitted(trainer, asked: Asked) -> int:
    """Run a fit; the epoch that it began with."""
    if trainer.optimizer is None:
        raise NumericsError(NO_OPTIMIZER)
    epochs = whole(asked.epochs, "epochs")
    if asked.validation_split and asked.validation_data is not None:
        raise InputError("fit: give validation_data or validation_split, not both")
    source, held_out = _streamed(trainer, asked) if asked.Y is None else _in_memory(trainer, asked)
    examples, size = source.extent
    shuffle = asked.shuffle and not trainer.model.carried
    calls = Calls(
        [
            Watch(),
            *([asked.callbacks] if not hasattr(asked.callbacks, "__iter__") else asked.callbacks),
            *([Progress()] if asked.verbose else []),
        ],
        trainer,
    )
    every = None if asked.checkpoint_every is None else whole(asked.checkpoint_every, "checkpoint_every")
    same = {
        "start": trainer.epoch,
        "epochs": epochs,
        "examples": examples,
        "batch_size": size,
        "shuffle": shuffle,
        "drop_last": asked.drop_last,
    }
    keeper = None if asked.checkpoint is None else Keeper(trainer, asked.checkpoint, same, calls.callbacks)
    if keeper is None and (asked.resume or every):
        raise InputError("fit: resume and checkpoint_every need a folder, checkpoint='run/'")
    with locked(Path(asked.checkpoint)) if asked.checkpoint is not None and writes() else nullcontext():
        resumed = keeper is not None and keeper.begin(asked.resume)
        trainer.fitted_size = size or None
        Fit(trainer, source, held_out, same["start"], epochs, calls, keeper, every, resumed).run()
    return same["start"]


def _in_memory(trainer, asked: Asked) -> tuple[Arrays, Arrays | Stream | None]:
    if asked.steps_per_epoch is not None:
        raise InputError(
            "fit: steps_per_epoch is for an iterable of batches; an epoch takes every example of an array once"
        )
    if not isinstance(asked.Y, dict) and len(trainer.losses) == 1:
        name = next(iter(trainer.losses))
        learned = trainer.labels.learn(asked.Y, int(trainer.model.shape(trainer.model.outputs[name])[-1]))
        if learned and asked.verbose:
            print(f"the words of Y are numbered: {trainer.labels}", flush=True)
    trainer.weigh(asked.sample_weight, asked.class_weight, trainer.labels.numbers(asked.Y))
    warn_of_scale(trainer, asked.X)
    examples, held_out = trainer.checked(asked.X, asked.Y, asked.sample_weight), None
    if asked.validation_split:
        if trainer.model.carried:
            raise InputError(
                "fit: validation_split draws examples, but this model carries its state from batch to "
                "batch; give validation_data"
            )
        examples, held_out = examples.split(asked.validation_split, trainer.seed, trainer.losses)
    examples.check_classes(trainer.losses)
    size = use.batch_size(trainer, asked.batch_size, len(examples))
    if trainer.placement is not None:
        trainer.placement.check_batch(size, "fit")
    shuffle = asked.shuffle and not trainer.model.carried
    source = Arrays(trainer, examples, size, shuffle, asked.drop_last, asked.augment)
    if held_out is not None:
        return source, Arrays(trainer, held_out, use.batch_size(trainer, size, len(held_out), "validation"), False)
    return source, _held_out(trainer, asked.validation_data, size)


def _streamed(trainer, asked: Asked) -> tuple[Stream, Arrays | Stream | None]:
    for name in ("batch_size", "sample_weight", "class_weight", "validation_split"):
        if getattr(asked, name):
            raise InputError(
                f"fit: {name} is for arrays X and Y; an iterable gives its batches as they are, (x, y) or "
                f"(x, y, sample_weight)"
            )
    steps = None if asked.steps_per_epoch is None else whole(asked.steps_per_epoch, "steps_per_epoch")
    source = batches_of(trainer, asked.X, "fit", steps, asked.augment)
    return source, _held_out(trainer, asked.validation_data, use.USE)


def batches_of(trainer, X, where: str, steps: int | None = None, augment=None) -> Stream:
    """The batches of an iterable; anything else lacks its targets."""
    pairs = isinstance(X, list) and X and all(isinstance(b, tuple | list) and len(b) in (2, 3) for b in X)
    if not is_stream(X) and not (pairs and all(hasattr(b[0], "shape") for b in X)):
        raise InputError(
            f"{where}: Y is not given, and X is {type(X).__name__}; accepted are arrays X and Y (an autoencoder's targets "
            f"are its inputs: {where}(X, X)), or an iterable of batches (x, y)"
        )
    return Stream(trainer, X, steps, augment, where)


def _held_out(trainer, given, size: int) -> Arrays | Stream | None:
    if given is None:
        return None
    if isinstance(given, list) and len(given) in (2, 3) and all(hasattr(a, "shape") for a in given):
        given = tuple(given)  # a pair of arrays, as Keras takes it too; batches are pairs themselves
    if is_stream(given) or isinstance(given, list):
        return batches_of(trainer, given, "validation")
    if not isinstance(given, tuple) or len(given) not in (2, 3):
        raise InputError(
            "fit: validation_data is a pair (X, Y), a triple (X, Y, sample_weight), or an iterable of batches"
        )
    x, y, *weights = given
    examples = trainer.checked(x, y, weights[0] if weights else None, "validation ")
    return Arrays(trainer, examples, use.batch_size(trainer, size, len(examples), "validation"), shuffle=False)


def columns(rows) -> dict[str, list[float]]:
    """A table by its columns, in the order in which they first appear."""
    names = list(dict.fromkeys(n for row in rows for n in row))
    names = [n for n in names if n != "seconds"] + [n for n in names if n == "seconds"]
    return {n: [row[n] for row in rows if n in row] for n in names}
