"""Checkpoints of a fit: a folder that survives an end at any moment, and going on from it as if nothing had happened.

Everything that a step depends on is in the folder: parameters, running averages, carried states, what the optimizer has
gathered, the number of the step (masks are drawn from it), how far the epoch is, the history, and what callbacks
remember.  The data, the code and the arguments of the call are given again; what can be compared is.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from numerics.errors import InputError, NumericsError

from . import saving as checkpoint

SAME = ("examples", "batch_size", "shuffle", "drop_last")  # of a fit, for the order of its batches


class Keeper:
    """Keeps the checkpoints of one fit in a folder.

    Parameters
    ----------
    asked : dict
        What the fit is asked for: ``start``, ``epochs`` and those of ``SAME``.
    """

    def __init__(self, trainer, folder, asked: dict, callbacks):
        self.trainer, self.folder, self.asked, self.callbacks = trainer, Path(folder), asked, callbacks
        self._kept: tuple | None = None  # what the latest checkpoint has

    def begin(self, resume: bool) -> bool:
        """Refuse a folder with another run, or take the trainer back to where the run in it was."""
        if not checkpoint.holds(self.folder):
            return False
        if not resume:
            raise NumericsError(
                f"fit: {self.folder} holds another run; give another folder, or resume=True to go on with that one"
            )
        described, arrays = checkpoint.read(self.folder)
        self._compare(described)
        checkpoint.restore(self.trainer, described, arrays, self.folder)
        fit = described.get("fit") or {}
        self.asked["start"] = fit.get("start", 0)
        for n, (kind, saved) in enumerate(fit.get("callbacks", [])):
            if n < len(self.callbacks) and type(self.callbacks[n]).__name__ == kind:
                mine = f"callbacks/{n}/"
                own = {k.removeprefix(mine): a for k, a in arrays.items() if k.startswith(mine)}
                try:
                    self.callbacks[n].restore({**saved, **own})
                except (KeyError, TypeError, ValueError) as error:
                    raise NumericsError(
                        f"fit: {self.folder} holds a {kind} with something else to remember: {error!r}"
                    ) from None
        self.trainer.stop = bool(fit.get("stopped"))
        return True

    def _compare(self, described: dict) -> None:
        here = checkpoint.describe(self.trainer, strict=False)
        for what in ("model", "losses", "loss_weights", "metrics", "seed"):
            found = first_difference(described[what], here[what])
            if found:
                where, there, now = found
                raise NumericsError(
                    f"fit: {self.folder} holds a run of another {what}: {where or what} is {there!r} "
                    f"there and {now!r} here; resume with the same, or give another folder"
                )
        fit = described.get("fit") or {}
        for what in SAME:
            if what in fit and fit[what] != self.asked[what]:
                raise InputError(
                    f"fit: {self.folder} holds a run with {what} {fit[what]}, and here it is "
                    f"{self.asked[what]}; resume with the same"
                )

    def __call__(self) -> None:
        """Write a checkpoint; where that fails, the one before stays as it is."""
        now = self.trainer.memory, self.trainer.part, self.trainer.stop
        if self._kept is not None and all(a is b for a, b in zip(self._kept, now, strict=True)):
            return
        callbacks: list[list] = []
        arrays: dict[str, np.ndarray] = {}
        for n, c in enumerate(self.callbacks):
            saved = c.saved()
            arrays |= {f"callbacks/{n}/{k}": v for k, v in saved.items() if isinstance(v, np.ndarray)}
            callbacks.append([type(c).__name__, {k: v for k, v in saved.items() if not isinstance(v, np.ndarray)}])
        fit = {**self.asked, "stopped": self.trainer.stop and self.trainer.part is None, "callbacks": callbacks}
        try:
            checkpoint.write(self.trainer, self.folder, {"fit": fit}, arrays, strict=False)
        except OSError as error:
            stays = "; the checkpoint before it stays as it was" if checkpoint.holds(self.folder) else ""
            raise NumericsError(
                f"fit: no checkpoint could be written to {self.folder}: {error.strerror or error} (epoch "
                f"{self.trainer.epoch}, step {self.trainer.step}){stays}. trainer.save writes one once "
                f"there is room"
            ) from error
        self._kept = now


def first_difference(there, here, where: str = "") -> tuple[str, object, object] | None:
    """Where two descriptions first differ, and what stands there; layers are called by their names."""
    if isinstance(there, dict) and isinstance(here, dict):
        for key in dict.fromkeys([*there, *here]):
            found = first_difference(there.get(key), here.get(key), f"{where}, {key}" if where else str(key))
            if found:
                return found
        return None
    if isinstance(there, list) and isinstance(here, list):
        for n in range(max(len(there), len(here))):
            a, b = (side[n] if n < len(side) else None for side in (there, here))
            called = next(
                (f"layer {s['name']}" for s in (a, b) if isinstance(s, dict) and "name" in s), f"{where}[{n}]"
            )
            if a is None or b is None:
                a, b = (s if s is None else s.get("class", s) if isinstance(s, dict) else s for s in (a, b))
                return called, a, b
            found = first_difference(a, b, called)
            if found:
                return found
        return None
    return None if there == here else (where, there, here)
