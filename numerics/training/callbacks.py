"""What is called while a network trains: progress, early stopping, logs, checks; write your own in a few lines.

A callback is told five things.  It is given the trainer, and a row: a dict that grows as the fit goes on.

================  =========================================  =======================================================
event             when                                       the row has
================  =========================================  =======================================================
on_fit_begin      before the first step                      epochs, steps (in an epoch), batch_size, examples; None
                                                             where an iterable does not say
on_epoch_begin    before the first step of an epoch          epoch (from 1), epochs, steps, done (steps, if resumed)
on_step_end       after a step                               epoch, step (in the epoch, from 1), steps, loss
on_epoch_end      after an epoch and its validation          loss, the metrics, val_..., learning_rate, seconds
on_fit_end        after the last step, also when it failed   epochs (trained in all), error (None, or the exception)
================  =========================================  =======================================================

- ``loss`` of a step is an array on the device: ``float(row["loss"])`` waits for it, so do it seldom.
- Numbers that ``on_epoch_end`` puts into its row are kept in the history and shown.
- ``trainer.stop = True``, or a true value returned by any of them, ends the fit after this step or epoch.
- Callbacks are called in the order given; the progress line comes last.

What there is to look at: ``trainer.params``, ``trainer.state`` (running averages), ``trainer.opt_state``,
``trainer.history``, ``trainer.epoch`` and ``trainer.step`` (how many are done), ``trainer.kernel`` and
``trainer.derivation``, and ``trainer.inputs()``: every input of the latest step's program by name, with the parameters
*before* that step, so that ``trainer.kernel(**trainer.inputs())`` computes its loss and gradients again.

>>> class Norms(Callback):
...     def on_epoch_end(self, trainer, row):
...         row["norm"] = float(sum((a**2).sum() for a in trainer.params.values()))**0.5
"""

from __future__ import annotations

from numerics.errors import InputError

from . import habits
from .placement import on_host

EVENTS = ("on_fit_begin", "on_epoch_begin", "on_step_end", "on_epoch_end", "on_fit_end")


class Callback:
    """Base of callbacks: override what you need; see :mod:`numerics.training.callbacks` for what is called when.

    One that remembers things says what in ``saved`` and takes it back in ``restore``: then a resumed fit is the same as
    one that was never interrupted.
    """

    def on_fit_begin(self, trainer, row: dict):
        """Before the first step of a fit."""

    def on_epoch_begin(self, trainer, row: dict):
        """Before the first step of an epoch."""

    def on_step_end(self, trainer, row: dict):
        """After a step."""

    def on_epoch_end(self, trainer, row: dict):
        """After an epoch and its validation."""

    def on_fit_end(self, trainer, row: dict):
        """After a fit, also one that failed."""

    def saved(self) -> dict:
        """What a checkpoint keeps: plain data, and arrays by name."""
        return {}

    def restore(self, saved: dict) -> None:
        """Take back what :meth:`saved` gave."""


class EarlyStopping(Callback):
    """Stop when a number no longer improves, and go back to the parameters that it was best with.

    Parameters
    ----------
    monitor : str
        A column of the history.
    patience : int
        How many epochs without an improvement are waited for.
    min_delta : float
        How much better counts as better.
    mode : {"auto", "min", "max"}
        Whether smaller or larger is better; auto: smaller for losses and errors, larger for the rest.
    restore_best_weights : bool
        Whether the fit ends with the best parameters and running averages, also where it ran to its end.

    References
    ----------
    Prechelt, *Early stopping - but when?*, Neural Networks: Tricks of the Trade (1998).

    >>> EarlyStopping("val_accuracy", patience=3).mode
    'max'
    """

    @habits.told({"metric": "monitor", "start_from_epoch": "patience"})
    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 5,
        min_delta: float = 0.0,
        mode: str = "auto",
        restore_best_weights: bool = True,
    ):
        if mode not in ("auto", "min", "max"):
            raise InputError(f"EarlyStopping: mode is {mode!r}; accepted are 'auto', 'min', 'max'")
        if isinstance(patience, bool) or not hasattr(patience, "__index__") or patience < 0:
            raise InputError(f"EarlyStopping: patience is {patience!r}; accepted is a whole number from 0")
        falls = "loss" in monitor or "error" in monitor or monitor.endswith(("mae", "mse", "perplexity"))
        self.monitor, self.patience, self.min_delta = monitor, int(patience), abs(float(min_delta))
        self.mode = mode if mode != "auto" else "min" if falls else "max"
        self.restore_best_weights = restore_best_weights
        self._fresh()

    def _fresh(self):
        self.best: float | None = None
        self.best_epoch, self.waited, self._kept = 0, 0, {}

    def on_fit_begin(self, trainer, row):
        if not row.get("resumed"):
            self._fresh()

    def on_epoch_end(self, trainer, row):
        if self.monitor not in row:
            hint = "; give validation_data or validation_split" if self.monitor.startswith("val_") else ""
            raise InputError(
                f"EarlyStopping: there is no {self.monitor!r}{hint}; an epoch has "
                f"{', '.join(n for n in row if n != 'seconds')}"
            )
        now = float(row[self.monitor])
        gain = 0.0 if self.best is None else (self.best - now if self.mode == "min" else now - self.best)
        if self.best is None or gain > self.min_delta:
            self.best, self.best_epoch, self.waited = now, trainer.epoch, 0
            if self.restore_best_weights:
                self._kept = {"params": dict(trainer.params), "state": dict(trainer.state)}
            return False
        self.waited += 1
        return self.waited >= max(1, self.patience)

    def on_fit_end(self, trainer, row):
        if row["error"] is None and self._kept and self.best_epoch != trainer.epoch:
            trainer.params, trainer.state = self._kept["params"], self._kept.get("state", {})

    def saved(self):
        kept = {f"{group}/{n}": on_host(a) for group, arrays in self._kept.items() for n, a in arrays.items()}
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, **kept}

    def restore(self, saved):
        import jax.numpy as jnp

        self.best, self.best_epoch, self.waited = saved["best"], saved["best_epoch"], saved["waited"]
        self._kept = {}
        for name, a in saved.items():
            group, _, key = name.partition("/")
            if key:
                self._kept.setdefault(group, {})[key] = jnp.asarray(a)


class Calls:
    """The callbacks of one fit, told one after the other."""

    def __init__(self, callbacks, trainer):
        callbacks = [callbacks] if isinstance(callbacks, Callback) else list(callbacks)
        for c in callbacks:
            if isinstance(c, type) or not all(callable(getattr(c, event, None)) for event in EVENTS):
                hint = f"; write {c.__name__}(...)" if isinstance(c, type) else ""
                raise InputError(f"fit: callbacks has {c!r}; accepted are objects of subclasses of nx.Callback{hint}")
        self.callbacks, self.trainer = callbacks, trainer

    def __call__(self, event: str, row: dict) -> dict:
        for c in self.callbacks:
            if getattr(c, event)(self.trainer, row):
                self.trainer.stop = True
        return row
