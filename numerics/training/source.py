"""Where the batches of a fit come from: arrays in memory in a seeded order, or an iterable that makes them.

Arrays    examples of one length, shuffled by the seed and the number of the epoch; any epoch can be had again
Stream    (x, y) or (x, y, sample_weight), one batch after the other: a list, a DataLoader, a generator
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, islice
from typing import Any

from numerics.errors import InputError

from .examples import Examples, augmented, order_of, slices


class Arrays:
    """Batches of examples in memory.

    Attributes
    ----------
    steps : int
        In an epoch.
    extent : tuple of int
        How many examples, in batches of how many: an epoch that was interrupted goes on with the same.
    again : bool
        Whether the same epoch can be had a second time.
    """

    again = True

    def __init__(
        self,
        trainer: Any,
        examples: Examples,
        size: int,
        shuffle: bool = True,
        drop_last: bool = False,
        augment: Callable | None = None,
    ):
        self.trainer, self.examples, self.shuffle, self.augment = trainer, examples, shuffle, augment
        self.extent = len(examples), size
        self.parts = slices(len(examples), size, drop_last)
        self.steps = len(self.parts)

    def epoch(self, number: int) -> Iterator[dict]:
        """The batches of an epoch, arrays by name."""
        order = order_of(len(self.examples), self.trainer.seed, number, self.shuffle)
        for n, part in enumerate(self.parts):
            batch = self.examples.take(order[part])
            seed = [self.trainer.seed, number, n]
            yield {**augmented(self.augment, self.examples, batch, seed), **self.trainer.constants}


class Stream:
    """Batches that an iterable makes; each is checked when it comes.

    Parameters
    ----------
    batches : iterable, or a function that gives one
        Of pairs (x, y) or triples (x, y, sample_weight), each a batch.
    steps : int, optional
        How many batches are an epoch; all that the iterable has, where it is not given.
    """

    again, extent = False, (0, 0)

    def __init__(
        self, trainer: Any, batches: Any, steps: int | None = None, augment: Callable | None = None, what: str = "fit"
    ):
        if trainer.model.carried:
            raise InputError(
                f"{what}: {trainer.model.name} carries its state from batch to batch, so that a batch goes on where "
                f"the one before ended; give arrays, as nx.windows cuts them"
            )
        self.trainer, self.batches, self.augment, self.what, self.given = trainer, batches, augment, what, steps
        self.steps = steps if steps is not None else len(batches) if hasattr(batches, "__len__") else None
        self._running: Iterator | None = None
        self._taken = 0

    def epoch(self, number: int) -> Iterator[dict]:
        """The batches of an epoch, checked, arrays by name."""
        seen = 0
        for n, given in enumerate(self._next()):
            examples = self._checked(given, n)
            if n == 0 and self.what == "fit" and self.trainer.placement is not None:
                self.trainer.placement.check_batch(len(examples), "fit")
            seen, batch = n + 1, examples.take(slice(None))
            seed = [self.trainer.seed, number, n]
            yield {**augmented(self.augment, examples, batch, seed), **self.trainer.constants}
        self._taken += seen
        if not seen or self.given is not None and seen < self.given:
            raise InputError(
                f"{self.what}: the iterable ended after {self._taken} batches, in epoch {number + 1}"
                f"{f' of {self.given} steps' if self.given else ''}; give a list of batches, a DataLoader, or a function "
                f"that makes a new generator, which are gone through again, or fewer epochs or steps_per_epoch"
            )

    def _next(self) -> Iterable:
        """The batches of the next epoch; without a number of steps an iterable begins anew, as far as it can."""
        if self.given is None:
            return iter(self._begun())
        if self._running is None:
            self._running = iter(self._begun())
        found = list(islice(self._running, 1))
        if not found:  # at its end between two epochs: what can begin anew does
            self._running = iter(self._begun())
        return islice(chain(found, self._running), self.given)  # chain: a generator in between would close it

    def _begun(self) -> Iterable:
        made = self.batches() if callable(self.batches) else self.batches
        if not hasattr(made, "__iter__"):
            raise InputError(
                f"{self.what}: {type(made).__name__} gives no batches; accepted are arrays X and Y, or an iterable of "
                f"batches (x, y)"
            )
        return made

    def _checked(self, given: Any, n: int) -> Examples:
        if not isinstance(given, tuple | list) or len(given) not in (2, 3):
            found = f"{len(given)} things" if isinstance(given, tuple | list) else type(given).__name__
            raise InputError(
                f"{self.what}: batch {n + 1} is {found}; accepted is a pair (x, y), or a triple (x, y, sample_weight)"
            )
        x, y, *weights = given
        t = self.trainer
        if weights and not any(one.sample_weight for one in t.losses.values()):
            raise InputError(
                f"{self.what}: batch {n + 1} has weights, and the loss takes none; make it with them, as in "
                f"dv.losses.loss('mean_squared_error', sample_weight=True)"
            )
        return t.checked(x, y, weights[0] if weights else None, f"batch {n + 1}: ")


def is_stream(X: Any) -> bool:
    """Whether something is an iterable of batches rather than an array: a generator, a DataLoader, a function.

    >>> import numpy as np
    >>> is_stream(np.zeros(3)), is_stream([[1.0, 2.0]]), is_stream(iter([])), is_stream(lambda: [])
    (False, False, True, True)
    """
    if isinstance(X, dict | tuple | list | str) or any(hasattr(X, n) for n in ("__array__", "shape", "dtype")):
        return False
    return callable(X) or hasattr(X, "__iter__")
