"""Saving and loading a trainer: a JSON file and a safetensors file, never pickle.

    trainer.json                  the model, the loss, the metrics, seed, epoch, history, and which arrays file is meant
    arrays-<digest>.safetensors   params/<name> and optimizer/<path>
    program.py                    the generated module, for reading

The arrays are written first under a name made of their content; replacing ``trainer.json`` is what makes them current,
in one atomic step, so an interrupted save leaves the previous one whole.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from derive.losses import LOSSES
from derive.model import Sequential

from .errors import NumericsError
from .metrics import CLASSES, VALUES
from .train import Trainer

FORMAT = 1
INDEX = "trainer.json"


def save(trainer: Trainer, folder) -> Path:
    """Write a trainer into a folder (made if need be); returns the folder.

    Raises
    ------
    NumericsError
        For a loss, metric or layer that is a function of your own: only names can be written down.
    """
    from safetensors.numpy import save as to_bytes
    folder = Path(folder)
    described = _describe(trainer)
    arrays = {f"params/{n}": np.asarray(a) for n, a in trainer.params.items()}
    for path, leaf in _leaves(trainer.opt_state):
        arrays[f"optimizer/{path}"] = np.asarray(leaf)
    raw = to_bytes(arrays)
    digest = hashlib.sha256(raw).hexdigest()
    described |= {"arrays": f"arrays-{digest[:16]}.safetensors", "sha256": digest}
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / described["arrays"], raw)
    _write(folder / "program.py", trainer.kernel.source.encode())
    _write(folder / INDEX, (json.dumps(described, indent=1) + "\n").encode())
    for old in folder.glob("arrays-*.safetensors"):
        if old.name != described["arrays"]:
            old.unlink()
    return folder


def load(folder, optimizer) -> Trainer:
    """A trainer as it was saved; training goes on as if it had not been interrupted.

    Parameters
    ----------
    folder : path-like
    optimizer : optax.GradientTransformation
        The same kind as before, since its state is restored; the learning rate may differ.

    Raises
    ------
    NumericsError
        For a folder that holds no saved trainer, a damaged file, or another optimizer.
    """
    folder = Path(folder)
    described = _read_index(folder)
    arrays = _read_arrays(folder, described)
    trainer = Trainer(Sequential.from_dict(described["model"]), described["loss"], optimizer, described["metrics"],
                      described["seed"])
    if described["frozen"]:
        trainer.freeze(*described["frozen"])
    trainer.params = {n: jnp.asarray(_one(arrays, f"params/{n}", a, folder)) for n, a in trainer.params.items()}
    trainer.opt_state = _restored(trainer.opt_state, arrays, folder)
    trainer.epoch, trainer.history = described["epoch"], described["history"]
    return trainer


def _describe(trainer) -> dict:
    known = LOSSES.get(trainer.loss.name)
    if known is None or known.rule is not trainer.loss.rule:
        raise NumericsError(f"save: the loss {trainer.loss.name!r} is a function of your own, which cannot be written "
                            f"down; save trainer.params (safetensors) and build the trainer in code")
    own = [n for n in trainer.metrics if n not in CLASSES and n not in VALUES]
    if own:
        raise NumericsError(f"save: the metric {own[0]!r} is a function of your own, which cannot be written down")
    return {"format": FORMAT, "model": trainer.model.to_dict(), "loss": trainer.loss.config(),
            "metrics": list(trainer.metrics), "seed": trainer.seed, "frozen": list(trainer.frozen),
            "epoch": trainer.epoch, "history": trainer.history}


def _read_index(folder: Path) -> dict:
    try:
        described = json.loads((folder / INDEX).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NumericsError(f"{folder}: no {INDEX} in it; a folder written by trainer.save is expected") from None
    except (OSError, ValueError) as error:
        raise NumericsError(f"{folder / INDEX}: cannot be read: {error}") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise NumericsError(f"{folder / INDEX}: not format {FORMAT} of a saved trainer")
    return described


def _read_arrays(folder: Path, described) -> dict:
    from safetensors import SafetensorError
    from safetensors.numpy import load as from_bytes
    path = folder / Path(described["arrays"]).name
    try:
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != described["sha256"]:
            raise NumericsError(f"{path}: its content is not what was saved (the sha256 differs)")
        return from_bytes(raw)
    except (OSError, SafetensorError) as error:
        raise NumericsError(f"{path}: cannot be read: {error}") from None


def _leaves(state):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)]


def _restored(state, arrays, folder):
    """The state of a fresh optimizer with every leaf replaced by the saved one."""
    saved = {n for n in arrays if n.startswith("optimizer/")}
    wanted = {f"optimizer/{path}" for path, _ in _leaves(state)}
    if saved != wanted:
        raise NumericsError(f"{folder}: saved with another optimizer: its state has {len(saved)} arrays, this one's "
                            f"{len(wanted)} (first difference: {sorted(saved ^ wanted)[0]}); give the same kind "
                            f"of optimizer")
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.asarray(_one(arrays, f"optimizer/{jax.tree_util.keystr(path)}", leaf, folder)), state)


def _one(arrays, name, like, folder):
    found = arrays.get(name)
    if found is None:
        raise NumericsError(f"{folder}: holds no {name}")
    if found.shape != np.shape(like):
        raise NumericsError(f"{folder}: {name} has shape {found.shape}, expected {np.shape(like)}")
    return found


def _write(path: Path, raw: bytes) -> None:
    """Write beside, then rename: a reader sees the old file or the new one."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(raw)
            f.flush()
            os.fsync(f.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
