"""Looking at a trainer while it trains: what its equations say of a batch, and why it stopped learning.

``trainer.explain()`` and ``trainer.diagnose()`` are here; so are :class:`Watch`, which every fit has, and the account of a
loss that is no longer finite.
"""

from __future__ import annotations

import warnings

import numpy as np

from numerics.errors import NotFiniteError, NumericsError

from .callbacks import Callback
from .diagnosis import Diagnosis, Finding
from .explain import Explanation, explanation
from .placement import on_host


class TrainingWarning(UserWarning):
    """A layer no longer learns; the text names the equation and the term that stops it."""


def inputs_of(trainer, X=None, Y=None) -> dict:
    """Every input of the training program by name: on some examples, or those of the latest step."""
    if X is None and Y is None:
        try:
            return trainer.inputs()
        except NumericsError:
            raise NumericsError(
                "no step has been taken yet: give a batch, as in trainer.explain(X[:64], Y[:64])"
            ) from None
    examples = trainer.checked(X, Y)
    batch = {**examples.take(np.arange(len(examples))), **trainer.constants}
    memory = trainer.memory._replace(carried=trainer.programs.start(len(examples)))
    return trainer.programs.of(batch).arrays(memory, batch, np.uint32(trainer.step))


def diagnose(trainer, X=None, Y=None) -> Diagnosis:
    """What is wrong on a batch; see :mod:`numerics.training.diagnosis`."""
    arrays = inputs_of(trainer, X, Y)
    return trainer.programs.of(arrays).examiner(arrays)


def explain(trainer, X=None, Y=None) -> Explanation:
    """The equations of the gradients, the source that computes them, and their sizes on a batch."""
    arrays = inputs_of(trainer, X, Y)
    programs = trainer.programs.of(arrays)
    loss, gradients, *_ = programs.kernel.fn(*[arrays[t.name] for t in programs.kernel.inputs])
    params = {n: arrays[n] for n in programs.derivation.gradients}
    updates, _ = trainer.optimizer.update(gradients, trainer.opt_state, params)
    return explanation(
        programs.derivation,
        programs.kernel.source,
        programs.examiner.layer,
        params,
        float(loss),
        gradients,
        updates,
        f"{trainer.model.name} after {trainer.step} steps",
    )


def not_finite(trainer, batches, message: str) -> NotFiniteError:
    """Take an epoch's steps again, up to the first that is not finite, and say what in it is not.

    Parameters
    ----------
    trainer
        As it was before the epoch; it is left so.
    batches : iterable of dict
        Of the epoch, in order.
    message : str
        What was seen.
    """
    kept = trainer.memory, trainer.step, trainer._latest
    found, step, before = Diagnosis(()), 0, None
    try:
        for step, batch in enumerate(batches, 1):  # noqa: B007  the number of the step that failed
            loss, _ = trainer.advance(batch)
            if not np.isfinite(loss):
                found, step = _examined(trainer, before, step)
                break
            before = trainer._latest
    finally:
        trainer.memory, trainer.step, trainer._latest = kept
    told = (
        f"{message}\n  step {step} of the epoch\n  " + str(found).replace("\n", "\n  ") if found.findings else message
    )
    return NotFiniteError(told, found)


def _examined(trainer, before, step: int) -> tuple[Diagnosis, int]:
    """What is not finite in the latest step, or in the one before, which left parameters that are not."""
    found = diagnose(trainer)
    first = next(iter(found.findings), None)
    if first is None or first.number or before is None:
        return found, step
    programs = trainer.programs.of(before[1])
    earlier = programs.examiner(programs.arrays(*before))
    if any(f.kind == "not finite" for f in earlier.findings):
        return earlier, step - 1
    return _by_the_optimizer(first.layer, first.text.partition(" already")[0]), step - 1


def _by_the_optimizer(layer: str, text: str) -> Diagnosis:
    return Diagnosis(
        (
            Finding(
                "not finite",
                layer,
                0,
                "",
                "",
                f"{text}: the optimizer made it so from gradients that are finite",
                "lower the learning rate, or clip the gradients",
            ),
        )
    )


class Watch(Callback):
    """Warns once of a layer that no longer learns: dead, saturated or vanishing, with the equation and the term.  Stops a
    fit whose last step left parameters that are not finite, and puts back those from before the epoch.

    Looking costs next to nothing: only where a parameter has not moved at all in an epoch are the equations evaluated
    term by term, on the epoch's last batch.
    """

    def __init__(self):
        self._before: dict = {}
        self._start: tuple | None = None
        self._told: set = set()

    def on_epoch_begin(self, trainer, row):
        self._before = trainer.programs.trained(trainer.params)
        self._start = trainer.memory, trainer.step

    def on_epoch_end(self, trainer, row):
        after = {name: on_host(trainer.params[name]) for name in self._before}
        for name, a in after.items():
            if not np.isfinite(a).all():
                self._stop(trainer, name)
        still = [n for n, a in self._before.items() if np.array_equal(on_host(a), after[n])]
        layers = {trainer.programs.examiner.layer(n) for n in still} if still else set()
        if not layers - self._told:
            return
        for found in diagnose(trainer).findings:
            if found.layer in layers - self._told and (found.kind == "vanishing" or found.share == 1):
                self._told.add(found.layer)
                warnings.warn(TrainingWarning(str(found)), stacklevel=2)
        self._told |= layers

    def _stop(self, trainer, name: str):
        """The loss of the last step was finite, but not what the step made of the parameters."""
        found = diagnose(trainer)
        if not any(f.kind == "not finite" for f in found.findings):
            found = _by_the_optimizer(trainer.programs.examiner.layer(name), f"{name} is not finite")
        if self._start is not None:
            trainer.memory, trainer.step = self._start
        trainer.epoch -= 1
        raise NotFiniteError(
            f"fit: {name} is not finite after epoch {trainer.epoch + 1}; the parameters are those before it\n"
            f"  last step of the epoch\n  " + str(found).replace("\n", "\n  "),
            found,
        )
