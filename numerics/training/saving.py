"""Saving and loading a trainer: a JSON file and a safetensors file, never pickle.

    trainer.json                  the model, losses, metrics, seed, epoch, step, history, and which arrays file is meant
    arrays-<digest>.safetensors   params/<name>, optimizer/<path>, state/<name>, carried/<name>, part/<...>
    program.py                    the generated module, for reading

The arrays are written first under a name made of their content; replacing ``trainer.json`` is what makes them current,
in one atomic step, so an interrupted save leaves the previous one whole.  One writes at a time: the folder is locked.
``trainer.json`` carries the checksum of its own content and of the arrays; what was edited is refused.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Protocol

import jax
import numpy as np

from derive.language.errors import DeriveError
from derive.networks.losses import Loss
from derive.networks.model import Model
from numerics import files
from numerics.data.metrics import built_in
from numerics.errors import NumericsError
from numerics.kernel.kernel import Kernel

from . import use
from .fit import Part
from .init import on_device
from .labels import Labels
from .lock import locked
from .placement import on_host, together, writes
from .programs import Memory

FORMAT = 4
INDEX, PROGRAM = "trainer.json", "program.py"
REREAD = 3  # times, while somebody else replaces the files that are being read


class Saved(Protocol):
    """What of a trainer is written down, and taken back."""

    model: Model
    losses: dict[str, Loss]
    memory: Memory
    part: Part | None
    optimizer: Any
    seed: int
    epoch: int
    step: int
    rows: list[dict]
    frozen: tuple[str, ...]

    @property
    def kernel(self) -> Kernel: ...


def save(trainer: Saved, folder) -> Path:
    """Write a trainer into a folder (made if need be); returns the folder.

    Raises
    ------
    NumericsError
        For a loss, metric or layer that is a function of your own: only names can be written down; for a folder that
        another run writes to, and one that cannot be written: what was in it stays as it was.
    """
    folder = Path(folder)
    if trainer.optimizer is None and trainer.step:
        raise NumericsError(
            f"save: this trainer was loaded without an optimizer, and what that had gathered in {trainer.step} steps would "
            f"be lost; load it with the optimizer, nx.load(folder, optimizer=...), to save it again"
        )
    with locked(folder) if writes() else nullcontext():
        try:
            write(trainer, folder)
        except OSError as error:
            stays = "; what was saved before stays as it was" if holds(folder) else ""
            raise NumericsError(
                f"save: nothing could be written to {folder}: {error.strerror or error}{stays}"
            ) from error
    return folder


def write(
    trainer: Saved,
    folder: Path,
    also: Mapping[str, Any] | None = None,
    arrays: Mapping[str, np.ndarray] | None = None,
    strict: bool = True,
) -> None:
    """Write a trainer, further entries and further arrays; not strict: functions of your own only by their names."""
    to_bytes = _safetensors().numpy.save
    described = describe(trainer, strict) | dict(also or {})
    raw = to_bytes(
        {
            n: np.ascontiguousarray(a) if np.ndim(a) else np.asarray(a)
            for n, a in {**_arrays(trainer), **(arrays or {})}.items()
        }
    )
    if not writes():  # every process has given its parts
        together("saved")
        return
    digest = hashlib.sha256(raw).hexdigest()
    described |= {"arrays": f"arrays-{digest[:16]}.safetensors", "sha256": digest}
    described["checksum"] = checksum(described)
    folder.mkdir(parents=True, exist_ok=True)
    current, path = _current(folder), folder / described["arrays"]
    try:
        files.write(path, raw)
        source = trainer.kernel.source.encode()
        if not (folder / PROGRAM).is_file() or (folder / PROGRAM).read_bytes() != source:
            files.write(folder / PROGRAM, source)
        files.write(folder / INDEX, (json.dumps(described, indent=1) + "\n").encode())
    except BaseException:
        if path.name not in (current, _current(folder)):
            path.unlink(missing_ok=True)  # room for the next try; nothing points at it
        raise
    finally:
        together("saved")
    for old in (*folder.glob("arrays-*.safetensors"), *folder.glob(".arrays-*"), *folder.glob(f".{INDEX}.*")):
        if old.name != described["arrays"]:
            old.unlink(missing_ok=True)


def _current(folder: Path) -> str | None:
    """The name of the arrays that a folder's index means, if there is one."""
    try:
        return _read_index(folder)["arrays"]
    except NumericsError:
        return None


def checksum(described: Mapping[str, Any]) -> str:
    """The sha256 of an index but for its checksum, however it is laid out."""
    rest = {n: v for n, v in described.items() if n != "checksum"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()


def holds(folder: Path) -> bool:
    """Whether a folder has a trainer in it."""
    return (folder / INDEX).exists()


def read(folder: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """What a folder holds: the index, and the arrays by name; checked."""
    for _ in range(REREAD - 1):
        described = _read_index(folder)
        if (folder / described["arrays"]).is_file():
            break  # else a writer has replaced both since the index was read
    described = _read_index(folder)
    return described, _read_arrays(folder, described)


def describe(trainer, strict: bool = True) -> dict:
    """The index of a trainer, without its arrays."""
    for loss in trainer.losses.values() if strict else ():
        if not loss.built_in:
            raise NumericsError(
                f"save: the loss {loss.name!r} is a function of your own, which cannot be written down; "
                f"save trainer.params (safetensors) and build the trainer in code"
            )
    own = [m for m in trainer.metric_names() if not built_in(m)]
    if own and strict:
        raise NumericsError(f"save: the metric {own[0]!r} is a function of your own, which cannot be written down")
    part = trainer.part
    return {
        "format": FORMAT,
        "model": trainer.model.to_dict() if strict else _as_data(trainer.model),
        "losses": {n: one.config() if one.built_in else {"own": one.name} for n, one in trainer.losses.items()},
        "loss_weights": trainer.loss_weights,
        "metrics": trainer.metric_names(by_output=True),
        "seed": trainer.seed,
        "classes": list(trainer.labels.classes),
        "frozen": list(trainer.frozen),
        "epoch": trainer.epoch,
        "step": trainer.step,
        "history": trainer.rows,
        "batch_size": trainer.fitted_size,
        "part": None if part is None else {"examples": part.examples, "batch_size": part.batch_size, "done": part.done},
    }


def _as_data(model):
    """The model as data; of one with functions of your own, its summary."""
    try:
        return model.to_dict()
    except DeriveError:
        return str(model.summary())


def _arrays(trainer) -> dict[str, np.ndarray]:
    found = {f"{group}/{n}": a for group in ("params", "state", "carried") for n, a in getattr(trainer, group).items()}
    found |= {f"optimizer/{path}": leaf for path, leaf in _leaves(trainer.opt_state)}
    if trainer.class_weight is not None:
        found["class_weight"] = trainer.class_weight
    if trainer.part is not None:
        found["part/losses"] = np.asarray(jax.device_get(trainer.part.losses), np.float32)
        found |= {f"part/outputs/{n}": use.joined(outputs)[0] for n, outputs in trainer.part.outputs.items()}
    return {n: on_host(a) for n, a in found.items()}


def restore(trainer, described, arrays, folder) -> None:
    """Take a trainer back to what was saved; its model and losses are those of the index."""
    if described["frozen"] != list(trainer.frozen):
        trainer._frozen(described["frozen"])

    def group(name, like):
        return on_device({n: _one(arrays, f"{name}/{n}", a, folder) for n, a in like.items()})

    carried = {n.removeprefix("carried/"): a for n, a in arrays.items() if n.startswith("carried/")}
    trainer.memory = Memory(
        params=group("params", trainer.params),
        state=group("state", trainer.state),
        carried=on_device(carried),
        opt_state=() if trainer.optimizer is None else _restored(trainer.opt_state, arrays, folder),
    )
    trainer.epoch, trainer.step, trainer.rows = described["epoch"], described["step"], described["history"]
    trainer.labels = Labels(described["classes"])
    trainer.class_weight, trainer.fitted_size = arrays.get("class_weight"), described["batch_size"]
    if trainer.class_weight is not None:
        _floats(trainer.class_weight, "class_weight", folder)
    part, trainer.part = described["part"], None
    if part is not None:
        outputs = {n.removeprefix("part/outputs/"): [a] for n, a in arrays.items() if n.startswith("part/outputs/")}
        losses = arrays.get("part/losses")
        if losses is None or losses.shape != (part["done"],):
            raise NumericsError(f"{folder}: part/losses has not the losses of the {part['done']} steps of its epoch")
        trainer.part = Part(**part, losses=list(_floats(losses, "part/losses", folder)), outputs=outputs)


def _whole(low: int):
    return lambda v: isinstance(v, int) and not isinstance(v, bool) and v >= low


def _names(v) -> bool:
    return isinstance(v, list) and all(isinstance(n, str) for n in v)


def _by_name(of):
    return lambda v: isinstance(v, dict) and all(map(of, v.values()))


def _number(v) -> bool:
    return isinstance(v, int | float) and not isinstance(v, bool)


def _maybe(of):
    return lambda v: v is None or of(v)


def _is(kind):
    return lambda v: isinstance(v, kind)


def _matches(pattern: str):
    return lambda v: isinstance(v, str) and re.fullmatch(pattern, v) is not None


def _part(v) -> bool:
    return isinstance(v, dict) and set(v) == {"examples", "batch_size", "done"} and all(map(_whole(0), v.values()))


def _fit(v) -> bool:
    calls = v.get("callbacks", []) if isinstance(v, dict) else None
    return (
        isinstance(calls, list)
        and all(isinstance(c, list) and len(c) == 2 and isinstance(c[0], str) and isinstance(c[1], dict) for c in calls)
        and _whole(0)(v.get("start", 0))
    )


# what each entry of an index is: a test, and the same in words
FIELDS = {
    "model": (_is(dict | str), "a network as data"),
    "losses": (_is(dict), "losses by output"),
    "loss_weights": (_maybe(_by_name(_number)), "numbers by output, or nothing"),
    "metrics": (_by_name(_names), "names by output"),
    "seed": (_is(int), "a whole number"),
    "classes": (_names, "words"),
    "frozen": (_names, "names"),
    "epoch": (_whole(0), "a whole number from 0"),
    "step": (_whole(0), "a whole number from 0"),
    "history": (lambda v: isinstance(v, list) and all(map(_by_name(_number), v)), "numbers by column, epoch by epoch"),
    "batch_size": (_maybe(_whole(1)), "a whole number from 1, or nothing"),
    "part": (_maybe(_part), "how far an epoch is, or nothing"),
    "arrays": (_matches(r"arrays-[0-9a-f]{16}\.safetensors"), "the name of a file of arrays beside it"),
    "sha256": (_matches("[0-9a-f]{64}"), "a sha256"),
    "fit": (_fit, "what a fit was asked for"),
}
OPTIONAL = ("fit",)


def check_index(described: Mapping[str, Any], path: Path) -> None:
    """Every entry is there, and is of its kind: a checksum can be written by anybody."""
    for name, (holds_for, words) in FIELDS.items():
        if name not in described and name in OPTIONAL:
            continue
        if name not in described or not holds_for(described[name]):
            raise NumericsError(f"{path}: {name} is {str(described.get(name, 'missing'))[:60]}; expected is {words}")


def _read_index(folder: Path) -> dict[str, Any]:
    path = folder / INDEX
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise NumericsError(f"{folder}: no {INDEX} in it; a folder written by trainer.save is expected") from None
    except RecursionError:
        raise NumericsError(f"{path}: cannot be read: it is nested too deep") from None
    except (OSError, ValueError) as error:
        raise NumericsError(f"{path}: cannot be read: {error}") from None
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise NumericsError(f"{path}: not format {FORMAT} of a saved trainer")
    if described.get("checksum") != checksum(described):
        raise NumericsError(f"{path}: its content is not what was saved (the checksum differs): it was edited")
    check_index(described, path)
    return described


def _read_arrays(folder: Path, described: Mapping[str, Any]) -> dict[str, np.ndarray]:
    safetensors, path = _safetensors(), folder / described["arrays"]
    try:
        raw = path.read_bytes()
        if hashlib.sha256(raw).hexdigest() != described["sha256"]:
            raise NumericsError(f"{path}: its content is not what was saved (the sha256 differs)")
        return dict(safetensors.numpy.load(raw))
    except (
        OSError,
        safetensors.SafetensorError,
        KeyError,
        TypeError,
        ValueError,
    ) as error:  # KeyError: a dtype NumPy has not
        if isinstance(error, NumericsError):
            raise
        raise NumericsError(f"{path}: cannot be read: {error}") from None


def _safetensors() -> Any:
    try:
        import safetensors.numpy
    except ModuleNotFoundError:
        raise NumericsError("arrays are saved by safetensors: pip install 'derive-numerics[train]'") from None
    return safetensors


def _leaves(state):
    return [(jax.tree_util.keystr(path), leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(state)]


def _restored(state, arrays, folder):
    """The state of a fresh optimizer with every leaf replaced by the saved one."""
    saved = {n for n in arrays if n.startswith("optimizer/")}
    wanted = {f"optimizer/{path}" for path, _ in _leaves(state)}
    if saved != wanted:
        raise NumericsError(
            f"{folder}: saved with another optimizer: its state has {len(saved)} arrays, this one's "
            f"{len(wanted)} (first difference: {sorted(saved ^ wanted)[0]}); give the same kind "
            f"of optimizer"
        )
    found = jax.tree_util.tree_map_with_path(
        lambda path, leaf: _one(arrays, f"optimizer/{jax.tree_util.keystr(path)}", leaf, folder), state
    )
    return jax.device_put(found)


def _floats(found: np.ndarray, name: str, folder: Path) -> np.ndarray:
    if found.dtype != np.float32:
        raise NumericsError(f"{folder}: {name} is {found.dtype}, expected float32")
    return found


def _one(arrays, name, like, folder):
    found = arrays.get(name)
    if found is None:
        raise NumericsError(f"{folder}: holds no {name}")
    if found.shape != np.shape(like):
        raise NumericsError(f"{folder}: {name} has shape {found.shape}, expected {np.shape(like)}")
    if found.dtype != np.asarray(like).dtype:
        raise NumericsError(f"{folder}: {name} is {found.dtype}, expected {np.asarray(like).dtype}")
    return found
