"""The progress of training: a live line on a terminal (with rich, where it is installed), a few lines elsewhere."""

from __future__ import annotations

import sys
import time


class Progress:
    """``with Progress(epochs, steps, shown) as p: ... p.step() ... p.epoch({"loss": 0.3})``."""

    def __init__(self, epochs: int, steps: int, shown: bool = True):
        self.epochs, self.steps, self.shown = epochs, steps, shown
        self.done, self.every = 0, max(1, -(-epochs // 10))
        self._bar = self._task = None
        self._start = time.perf_counter()

    def __enter__(self):
        if self.shown and sys.stdout.isatty():
            try:
                from rich import progress
            except ModuleNotFoundError:
                return self
            self._bar = progress.Progress(progress.TextColumn("epoch {task.fields[epoch]}"), progress.BarColumn(None),
                                          progress.TimeElapsedColumn(), progress.TextColumn("{task.fields[row]}"))
            self._task = self._bar.add_task("", total=self.epochs * self.steps, epoch=f"0/{self.epochs}", row="")
            self._bar.start()
        return self

    def __exit__(self, *_):
        if self._bar is not None:
            self._bar.stop()

    def step(self):
        if self._bar is not None:
            self._bar.advance(self._task)

    def epoch(self, row: dict):
        """An epoch is over; ``row`` is what was measured."""
        self.done += 1
        text = "  ".join(f"{n} {v:.4f}" for n, v in row.items() if n != "seconds")
        if self._bar is not None:
            self._bar.update(self._task, epoch=f"{self.done}/{self.epochs}", row=text)
        elif self.shown and (self.done % self.every == 0 or self.done in (1, self.epochs)):
            print(f"epoch {self.done:>{len(str(self.epochs))}}/{self.epochs}  {text}  "
                  f"{time.perf_counter() - self._start:.1f} s", flush=True)
