"""One call of ``Trainer.fit``: epochs of steps, what is measured of them, and who is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np

from numerics.errors import InputError

from . import use
from .callbacks import Calls
from .examples import Examples, augmented, order_of, prefetched, slices
from .optimizer import rate
from .watch import not_finite

BEHIND = 16  # so many losses are looked at together, and as many steps later: they are computed by then, nothing waits


@dataclass
class Part:
    """An epoch that has begun: how far it is, and what its steps gave.

    Attributes
    ----------
    examples, batch_size : int
        What it was begun with; it can go on with nothing else.
    done : int
        Steps.
    losses : list
    outputs : dict of str to list
        Of every step, where metrics need them.
    """

    examples: int
    batch_size: int
    done: int = 0
    losses: list = field(default_factory=list)
    outputs: dict[str, list] = field(default_factory=dict)


@dataclass
class Fit:
    """What a fit is asked for.

    Attributes
    ----------
    trainer : Trainer
    examples, held_out : Examples
    start, epochs : int
        The epochs of the trainer before, and how many are trained.
    keep : callable or None
        Writes a checkpoint; called every ``every`` steps, or after every epoch where that is None.
    """

    trainer: Any  # a Trainer, which stands above: it makes fits
    examples: Examples
    held_out: Examples | None
    batch_size: int
    start: int
    epochs: int
    calls: Calls
    shuffle: bool = True
    drop_last: bool = False
    augment: Callable | None = None
    keep: Callable[[], None] | None = None
    every: int | None = None
    resumed: bool = False

    def __post_init__(self):
        self.parts = slices(len(self.examples), self.batch_size, self.drop_last)

    def run(self) -> None:
        """Train until all epochs are done or somebody says stop; ``on_fit_end`` is called in any case."""
        trainer, error = self.trainer, None
        trainer.stop = trainer.stop and self.resumed
        self.calls(
            "on_fit_begin",
            {
                "epochs": self.epochs,
                "steps": len(self.parts),
                "batch_size": self.batch_size,
                "examples": len(self.examples),
                "resumed": self.resumed,
                "done": trainer.epoch - self.start,
            },
        )
        try:
            while trainer.epoch < self.start + self.epochs and not trainer.stop:
                self._epoch()
        except BaseException as e:
            error = e
            raise
        finally:
            self.calls("on_fit_end", {"epochs": trainer.epoch, "error": error})
        if self.keep is not None:
            self.keep()

    # -- an epoch --------------------------------------------------------------------------------------------------

    def _epoch(self) -> None:
        trainer, begun = self.trainer, time.perf_counter()
        part = self._begun()
        row = {"epoch": trainer.epoch + 1 - self.start, "epochs": self.epochs, "steps": len(self.parts)}
        self.calls("on_epoch_begin", {**row, "done": part.done})
        if trainer.stop:
            return
        order = order_of(len(self.examples), trainer.seed, trainer.epoch, self.shuffle)
        before = trainer.memory, trainer.step, partial(self._batches, order, part.done)
        for batch in prefetched(self._batches(order, part.done)):
            loss, outputs = trainer.advance(batch)
            part.done += 1
            part.losses.append(loss)
            for name, a in outputs.items():
                part.outputs.setdefault(name, []).append(a)
            if part.done % BEHIND == 0:
                self._check(part.losses[-2 * BEHIND : -BEHIND], before)
            self.calls("on_step_end", {**row, "step": part.done, "loss": loss})
            if self.every and trainer.step % self.every == 0 and part.done < len(self.parts):
                self._save(part, before)
            if trainer.stop and part.done < len(self.parts):
                return
        self._end(part, order, before, begun)

    def _begun(self) -> Part:
        """The epoch that was interrupted, or a new one."""
        trainer, part = self.trainer, self.trainer.part
        if part is None:
            trainer.part = part = Part(len(self.examples), self.batch_size)
            trainer.carried = trainer.programs.start(self.batch_size)
        elif (part.examples, part.batch_size) != (len(self.examples), self.batch_size):
            raise InputError(
                f"fit: epoch {trainer.epoch + 1} was interrupted after {part.done} steps on "
                f"{part.examples} examples in batches of {part.batch_size}; this call has "
                f"{len(self.examples)} in batches of {self.batch_size}. Give the same to go on, or call "
                f"trainer.new_epoch() to leave it"
            )
        return part

    def _batches(self, order, done: int):
        trainer = self.trainer
        for n, part in enumerate(self.parts[done:], done):
            batch = self.examples.take(order[part])
            seed = [trainer.seed, trainer.epoch, n]
            yield {**augmented(self.augment, self.examples, batch, seed), **trainer.constants}

    def _check(self, losses, before) -> np.ndarray:
        """The losses, all of them finite."""
        losses = np.asarray(jax.device_get(losses), np.float64)
        bad = losses[~np.isfinite(losses)]
        if not len(bad):
            return losses
        trainer = self.trainer
        trainer.memory, trainer.step = before[:2]
        trainer.part = None
        raise not_finite(
            trainer,
            before[2](),
            f"fit: the loss became {bad[0]} in epoch {trainer.epoch + 1}; the parameters are those before it",
        )

    def _save(self, part: Part, before) -> None:
        """Only what is finite is worth keeping."""
        self._check(part.losses[-2 * BEHIND :], before)
        if self.keep is not None:
            self.keep()

    def _end(self, part: Part, order, before, begun) -> None:
        trainer = self.trainer
        losses = self._check(part.losses, before)
        order = np.concatenate([order[p] for p in self.parts])
        counts = [use.counted(trainer, self.examples, order[p]) for p in slices(len(order), self.batch_size)]
        row = {"loss": _mean(losses, counts)}
        if part.outputs:
            outputs = {n: np.concatenate([np.asarray(a) for a in found]) for n, found in part.outputs.items()}
            row |= use.measured(trainer, self.examples, outputs, order)
        trainer.epoch, trainer.part = trainer.epoch + 1, None
        if self.held_out is not None:
            row |= {f"val_{n}": v for n, v in use.evaluated(trainer, self.held_out, self.batch_size).items()}
        now = rate(trainer.opt_state)
        if now is not None:
            row["learning_rate"] = now
        row["seconds"] = time.perf_counter() - begun
        self.calls("on_epoch_end", row)
        trainer.rows.append(dict(row))
        if self.keep is not None:
            self.keep()


def _mean(losses, counts) -> float:
    return float(np.average(losses, weights=counts)) if np.sum(counts) else 0.0
