"""The progress of training: a live line on a terminal (with rich, where it is installed), a few lines elsewhere."""

from __future__ import annotations

import sys
import time

from .callbacks import Callback

HIDDEN = ("seconds",)


def number(name: str, value) -> str:
    """``loss 0.0123``; rates as short as they are."""
    return f"{name} {value:.3g}" if name == "learning_rate" or 0 < abs(value) < 1e-3 else f"{name} {value:.4f}"


FIRST, NEXT = 5.0, 30.0  # seconds until a word on an epoch that is not over yet, and between two of them


class Progress(Callback):
    """Shows the epoch, the loss, the metrics, the learning rate where it is known, and the time left.

    Without a terminal (a log, a notebook): a line an epoch, and lines in between where an epoch takes long.
    """

    def __init__(self):
        self._bar = self._task = None

    def on_fit_begin(self, trainer, row):
        self.epochs, self.steps = row["epochs"], row["steps"]
        self.done, self.every, self._start = row.get("done", 0), max(1, -(-self.epochs // 10)), time.perf_counter()
        self._due = self._start + FIRST
        if not sys.stdout.isatty():
            return
        try:
            from rich import progress
        except ModuleNotFoundError:
            return
        self._bar = progress.Progress(
            progress.TextColumn("epoch {task.fields[epoch]}"),
            progress.BarColumn(None),
            progress.TimeElapsedColumn(),
            progress.TextColumn("left"),
            progress.TimeRemainingColumn(),
            progress.TextColumn("{task.fields[row]}"),
        )
        self._task = self._bar.add_task(
            "",
            total=self.steps and self.epochs * self.steps,
            completed=self.steps and self.done * self.steps,
            epoch=f"{self.done}/{self.epochs}",
            row="",
        )
        self._bar.start()

    def on_step_end(self, trainer, row):
        if self._bar is not None:
            self._bar.advance(self._task)
        elif time.perf_counter() > self._due:
            self._due = time.perf_counter() + NEXT
            of = f"/{self.steps}" if self.steps else ""
            print(
                f"epoch {self._epoch_text(self.done + 1)}  step {row['step']}{of}  {number('loss', float(row['loss']))}  "
                f"{time.perf_counter() - self._start:.1f} s",
                flush=True,
            )

    def on_epoch_end(self, trainer, row):
        self.done += 1
        text = "  ".join(number(n, v) for n, v in row.items() if n not in HIDDEN)
        if self._bar is not None:
            self._bar.update(self._task, epoch=f"{self.done}/{self.epochs}", row=text)
        elif self.done % self.every == 0 or self.done in (1, self.epochs):
            print(f"epoch {self._epoch_text(self.done)}  {text}  {time.perf_counter() - self._start:.1f} s", flush=True)

    def _epoch_text(self, n: int) -> str:
        return f"{n:>{len(str(self.epochs))}}/{self.epochs}"

    def on_fit_end(self, trainer, row):
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
