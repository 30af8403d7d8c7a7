"""One call of ``Trainer.fit``: epochs of steps, what is measured of them, and who is told."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import jax
import numpy as np

from numerics.errors import InputError

from . import use
from .callbacks import Calls
from .examples import prefetched
from .optimizer import rate
from .source import Arrays, Stream
from .watch import not_finite

BEHIND = 16  # so many losses are looked at together, and as many steps later: they are computed by then, nothing waits


@dataclass
class Part:
    """An epoch that has begun: how far it is, and what its steps gave.

    Attributes
    ----------
    examples, batch_size : int
        What it was begun with; it can go on with nothing else.  0 where an iterable makes the batches.
    done : int
        Steps.
    losses : list
    outputs : dict of str to list
        What metrics need of those of every step.
    """

    examples: int
    batch_size: int
    done: int = 0
    losses: list = field(default_factory=list)
    outputs: dict[str, list] = field(default_factory=dict)


class Trail:
    """The way back where a loss is not finite: to a place where all was well, and over the steps since.

    That is the beginning of the epoch, whose batches can be had again; of an iterable, which is gone through once, the
    latest blocks of ``BEHIND`` batches are kept.
    """

    def __init__(self, trainer: Any, source: Arrays | Stream, done: int):
        self.trainer, self.source, self.number, self.done = trainer, source, trainer.epoch, done
        self._blocks: deque = deque(maxlen=2)
        self.passed()

    def took(self, batch: dict) -> None:
        """A step is about to be taken on this batch."""
        if not self.source.again:
            self._blocks[-1][2].append(batch)

    def passed(self) -> None:
        """Every loss but those of the latest block is finite."""
        if not self._blocks or not self.source.again:
            self._blocks.append((self.trainer.memory, self.trainer.step, []))

    def back(self) -> str:
        """Go back there; says where that is."""
        self.trainer.memory, self.trainer.step, _ = self._blocks[0]
        return "before it" if self.source.again else f"after {self.trainer.step} steps"

    def batches(self) -> Iterable[dict]:
        """Those since, once more."""
        if self.source.again:
            return islice(self.source.epoch(self.number), self.done, None)
        return [batch for _, _, batches in self._blocks for batch in batches]


class Seen:
    """What an epoch needs of its batches at its end: how many examples each had, and their targets."""

    def __init__(self, trainer: Any):
        self.trainer = trainer
        self.counts: list[int] = []
        self.targets: dict[str, list] = {}
        self._names = [t.name for n, t in trainer.model.targets(trainer.losses).items() if trainer.metrics.get(n)]

    def passing(self, batches: Iterable[dict]) -> Iterator[dict]:
        """The same batches."""
        for batch in batches:
            self.counts.append(use.counted(self.trainer, batch))
            for name in self._names:
                self.targets.setdefault(name, []).append(batch[name])
            yield batch


@dataclass
class Fit:
    """What a fit is asked for.

    Attributes
    ----------
    trainer : Trainer
    source : Arrays or Stream
    held_out : Arrays or Stream or None
    start, epochs : int
        The epochs of the trainer before, and how many are trained.
    keep : callable or None
        Writes a checkpoint; called every ``every`` steps, or after every epoch where that is None.
    """

    trainer: Any  # a Trainer, which stands above: it makes fits
    source: Arrays | Stream
    held_out: Arrays | Stream | None
    start: int
    epochs: int
    calls: Calls
    keep: Callable[[], None] | None = None
    every: int | None = None
    resumed: bool = False

    def run(self) -> None:
        """Train until all epochs are done or somebody says stop; ``on_fit_end`` is called in any case."""
        trainer, error = self.trainer, None
        trainer.stop = trainer.stop and self.resumed
        examples, size = self.source.extent
        self.calls(
            "on_fit_begin",
            {
                "epochs": self.epochs,
                "steps": self.source.steps,
                "batch_size": size or None,
                "examples": examples or None,
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
        row = {"epoch": trainer.epoch + 1 - self.start, "epochs": self.epochs, "steps": self.source.steps}
        self.calls("on_epoch_begin", {**row, "done": part.done})
        if trainer.stop:
            return
        seen, trail = Seen(trainer), Trail(trainer, self.source, part.done)
        batches = islice(seen.passing(self.source.epoch(trainer.epoch)), part.done, None)
        for batch in prefetched(batches, trainer.placed if trainer.placement else None):
            trail.took(batch)
            loss, outputs = trainer.advance(batch)
            part.done += 1
            part.losses.append(loss)
            for name, a in outputs.items():
                part.outputs.setdefault(name, []).append(a)
            last = part.done == self.source.steps
            if part.done % BEHIND == 0:
                self._check(part.losses[-2 * BEHIND : -BEHIND], trail)
                trail.passed()
            self.calls("on_step_end", {**row, "step": part.done, "loss": loss})
            if self.every and trainer.step % self.every == 0 and not last:
                self._save(part, trail)
            if trainer.stop and not last:
                return
        self._end(part, seen, trail, begun)

    def _begun(self) -> Part:
        """The epoch that was interrupted, or a new one."""
        trainer, part = self.trainer, self.trainer.part
        examples, size = self.source.extent
        if part is None:
            trainer.part = part = Part(examples, size)
            trainer.carried = trainer.programs.start(size)
        elif (part.examples, part.batch_size) != self.source.extent:
            raise InputError(
                f"fit: epoch {trainer.epoch + 1} was interrupted after {part.done} steps on "
                f"{part.examples} examples in batches of {part.batch_size}; this call has "
                f"{examples} in batches of {size}. Give the same to go on, or call "
                f"trainer.new_epoch() to leave it"
            )
        return part

    def _check(self, losses, trail: Trail) -> np.ndarray:
        """The losses, all of them finite."""
        losses = np.asarray(jax.device_get(losses), np.float64)
        bad = losses[~np.isfinite(losses)]
        if not len(bad):
            return losses
        trainer, there = self.trainer, trail.back()
        trainer.part = None
        raise not_finite(
            trainer,
            trail.batches(),
            f"fit: the loss became {bad[0]} in epoch {trainer.epoch + 1}; the parameters are those {there}",
        )

    def _save(self, part: Part, trail: Trail) -> None:
        """Only what is finite is worth keeping."""
        self._check(part.losses[-2 * BEHIND :], trail)
        if self.keep is not None:
            self.keep()

    def _end(self, part: Part, seen: Seen, trail: Trail, begun: float) -> None:
        trainer = self.trainer
        losses = self._check(part.losses, trail)
        row = {"loss": _mean(losses, seen.counts)}
        if part.outputs:
            row |= use.measured(trainer, seen.targets, part.outputs)
        trainer.epoch, trainer.part = trainer.epoch + 1, None
        if self.held_out is not None:
            row |= {f"val_{n}": v for n, v in use.evaluated(trainer, self.held_out).items()}
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
