"""Runs that were saved, loaded again: ``nx.load``."""

from __future__ import annotations

from pathlib import Path

from derive.networks.model import Model
from numerics.data.metrics import built_in
from numerics.errors import NumericsError

from .saving import read, restore
from .trainer import Trainer


def load(folder, optimizer=None, layers=(), mesh=None, shardings=None) -> Trainer:
    """A trainer as it was saved; training goes on as if it had not been interrupted.

    Parameters
    ----------
    folder : path-like
    optimizer : optax.GradientTransformation or str, optional
        The same kind as before, since its state is restored; the learning rate may differ.  Without one the trainer
        evaluates and predicts.
    layers : sequence of subclasses of ``L.Layer``
        Layers of your own in the model, where they are not imported: a file's names are never imported by themselves.

    mesh, shardings
        As of :class:`Trainer`: the devices to go on with, whatever the run was saved from.

    Raises
    ------
    NumericsError
        For a folder that holds no saved trainer, a damaged file, or another optimizer.
    """
    folder = Path(folder)
    described, arrays = read(folder)
    own = _own(described)
    if own:
        raise NumericsError(
            f"{folder}: its {own} a function of your own, which is not written down; build the trainer in "
            f"code and go on with fit(..., checkpoint={str(folder)!r}, resume=True)"
        )
    trainer = Trainer(
        Model.from_dict(described["model"], layers),
        described["losses"],
        optimizer,
        described["metrics"],
        described["seed"],
        described["loss_weights"],
        mesh=mesh,
        shardings=shardings,
    )
    restore(trainer, described, arrays, folder)
    return trainer


def _own(described: dict) -> str:
    if isinstance(described["model"], str):
        return "model has"
    if any(isinstance(one, dict) and "own" in one for one in described["losses"].values()):
        return "loss is"
    return "" if all(built_in(m) for names in described["metrics"].values() for m in names) else "metrics have"
