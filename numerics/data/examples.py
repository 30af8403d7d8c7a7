"""Data for training: digits, IDX files, splits, and the checks made before the first step."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from numerics.errors import InputError

from .metrics import counted, truth

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}
GZIP = b"\x1f\x8b"
HIGHEST_RANK = 8  # axes of an array in an IDX file
PIECE = 1 << 20


def digits(seed: int = 0, held_out: float = 0.2):
    """Scikit-learn's 1797 handwritten digits, 8 x 8 pixels scaled to [0, 1], split with the classes in proportion.

    Parameters
    ----------
    seed : int
    held_out : float
        The share that is kept for testing.

    Returns
    -------
    (X, Y), (X_test, Y_test)
        Images (N, 64) float32, labels (N,) int32 in [0, 10).

    References
    ----------
    Alpaydin and Kaynak, *Optical recognition of handwritten digits*, UCI (1998).
    """
    try:
        from sklearn.datasets import load_digits
    except ModuleNotFoundError:
        raise InputError("the digits come with scikit-learn: pip install 'derive-numerics[train]'") from None
    images, labels = load_digits(return_X_y=True)
    return split((images / 16).astype(np.float32), labels.astype(np.int32), held_out, seed)


def split(X, Y, held_out: float = 0.2, seed: int = 0):
    """Shuffle and split, each class in proportion when ``Y`` is integer labels; ``(X, Y), (X_held, Y_held)``.

    >>> X, Y = np.arange(20.0).reshape(10, 2), np.array([0, 1] * 5)
    >>> (x, y), (xh, yh) = split(X, Y, 0.4, seed=0)
    >>> x.shape, yh.tolist().count(0), yh.tolist().count(1)
    ((6, 2), 2, 2)
    """
    X, Y = np.asarray(X), np.asarray(Y)
    if len(X) != len(Y):
        raise InputError(f"split: X has {len(X)} examples and Y {len(Y)}")
    kept, held = split_rows(len(X), held_out, seed, Y if Y.ndim == 1 and np.issubdtype(Y.dtype, np.integer) else None)
    return (X[kept], Y[kept]), (X[held], Y[held])


def split_rows(n: int, held_out: float = 0.2, seed: int = 0, classes=None) -> tuple[np.ndarray, np.ndarray]:
    """The rows that are kept and those that are held out of ``n``, shuffled; classes (n,) are kept in proportion."""
    if isinstance(held_out, bool) or not isinstance(held_out, int | float) or not 0 < held_out < 1:
        raise InputError(f"split: held_out is {held_out!r}; accepted is a share between 0 and 1, as in 0.2")
    rng = np.random.default_rng(seed)
    order = rng.permutation(n)
    count = round(held_out * n)
    if not 0 < count < n:
        raise InputError(f"split: {held_out} of {n} examples leaves one side empty")
    if classes is not None:
        order = order[np.argsort(_evenly(np.asarray(classes)[order]), kind="stable")]
    return rng.permutation(order[count:]), rng.permutation(order[:count])


def _evenly(labels) -> np.ndarray:
    """Positions in [0, 1) that spread every class evenly, so that any prefix has the classes in proportion."""
    spread = np.empty(len(labels))
    for value in np.unique(labels):
        where = np.flatnonzero(labels == value)
        spread[where] = (np.arange(len(where)) + 0.5) / len(where)
    return spread


def load_idx(path) -> np.ndarray:
    """An array in the IDX format of the MNIST files, gzipped or not.

    Raises
    ------
    InputError
        For a missing, truncated or overlong file, or one that is not IDX; says what was found.

    References
    ----------
    LeCun, Cortes, Burges, *The MNIST database*: two zero bytes, a type, a rank, the sizes (big-endian), the numbers.
    """
    path = Path(path)
    try:
        with open(path, "rb") as plain:
            zipped = plain.read(2) == GZIP
        with gzip.open(path) if zipped else open(path, "rb") as file:
            raw = _as_long_as_it_says(file)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path}: cannot be read: {error}") from None
    except ValueError as error:  # a path that no file can have
        raise InputError(f"{str(path)!r}: cannot be read: {error}") from None
    if len(raw) < 4 or raw[:2] != b"\0\0" or raw[2] not in IDX_TYPES:
        raise InputError(
            f"{path}: not an IDX file: it begins with {raw[:4].hex(' ') or 'nothing'}; expected are two "
            f"zero bytes, a type among {', '.join(f'{t:02x}' for t in IDX_TYPES)}, and a rank"
        )
    dtype, rank = np.dtype(IDX_TYPES[raw[2]]), raw[3]
    if rank > HIGHEST_RANK:
        raise InputError(f"{path}: says that it holds an array of {rank} axes; up to {HIGHEST_RANK} are read")
    header = 4 + 4 * rank
    if len(raw) < header:
        raise InputError(f"{path}: truncated in the header: {len(raw)} bytes, {header} expected for rank {rank}")
    shape, wanted = struct.unpack(f">{rank}I", raw[4:header]), _wanted(raw)
    if 0 in shape:
        raise InputError(f"{path}: holds nothing: its shape is {shape}")
    if len(raw) != wanted:
        word, more = ("truncated", "") if len(raw) < wanted else ("too long", " or more")
        raise InputError(
            f"{path}: {word}: {len(raw)} bytes{more}, but the shape {shape} of {dtype.name} takes {wanted}"
        )
    return np.frombuffer(raw, dtype, offset=header).reshape(shape).astype(dtype.newbyteorder("="))


def _as_long_as_it_says(file) -> bytes:
    """A file up to one byte beyond what its header says: a small one may unpack to any size, or promise any."""
    raw = bytearray(file.read(4 + 4 * HIGHEST_RANK))
    wanted = _wanted(raw) + 1
    while len(raw) < wanted and (piece := file.read(min(PIECE, wanted - len(raw)))):
        raw += piece
    return bytes(raw[:wanted] if wanted > 1 else raw)


def _wanted(raw: bytes | bytearray) -> int:
    """The length that a file of this beginning should have; 0 where that is no IDX."""
    if len(raw) < 4 or raw[2] not in IDX_TYPES or len(raw) < 4 + 4 * raw[3]:
        return 0
    shape = struct.unpack(f">{raw[3]}I", raw[4 : 4 + 4 * raw[3]])
    return 4 + 4 * raw[3] + math.prod(shape) * np.dtype(IDX_TYPES[raw[2]]).itemsize


def load_mnist(folder):
    """The four MNIST files of a folder: images (N, 784) float32 in [0, 1], labels (N,) int32.

    Returns ``(X, Y), (X_test, Y_test)``; the files may be gzipped.
    """
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    for part in ("train", "t10k"):
        images, labels = (load_idx(_find(Path(folder), f"{part}-{kind}")) for kind in ("images-idx3", "labels-idx1"))
        if images.ndim != 3 or labels.shape != images.shape[:1]:
            raise InputError(
                f"{folder}: {part} has images {images.shape} and labels {labels.shape}; expected are "
                f"(N, rows, columns) and (N,)"
            )
        if parts and images.shape[1] * images.shape[2] != parts[0][0].shape[1]:
            raise InputError(
                f"{folder}: images of {part} have {images.shape[1]} x {images.shape[2]} pixels, those of train "
                f"{parts[0][0].shape[1]} pixels"
            )
        if labels.max(initial=0) > 9:
            raise InputError(
                f"{folder}: {part} has the label {labels.max()} at {int(labels.argmax())}; MNIST has 0 to 9"
            )
        parts.append(((images.reshape(len(images), -1) / np.float32(255)).astype(np.float32), labels.astype(np.int32)))
    return tuple(parts)


def _find(folder: Path, stem: str) -> Path:
    names = [f"{s}-ubyte{end}" for s in (stem, stem.replace("-idx", ".idx")) for end in ("", ".gz")]
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise InputError(f"{folder} has none of {', '.join(names)}")


# -- checks before training -------------------------------------------------------------------------------------------


def check_examples(X, shape, name: str = "X", dtype="float32") -> np.ndarray:
    """Examples as floats of shape ``(N, *shape)``, finite; integers and booleans are converted, nothing else is."""
    X = _numbers(X, name)
    shape = tuple(shape)
    if not X.ndim or X.shape[1:] != shape:
        hint = ""
        if len(shape) > 1 and X.shape[1:] == (shape[-1], *shape[:-1]):
            hint = f"; this is channel-first (NCHW); images are channels last: np.moveaxis({name}, 1, -1)"
        elif len(shape) == 3 and X.shape[1:-1] == shape[:-1]:
            hint = f"; images are (N, height, width, channels): {shape[-1]} channels, last, are expected, not {X.shape[-1]}"
        elif X.ndim and math.prod(X.shape[1:]) == math.prod(shape) and X.ndim > 1:
            hint = f"; {name}.reshape({', '.join(map(str, (-1, *shape)))}) has as many numbers"
        elif X.shape == shape:
            hint = f"; a single example needs a batch axis: {name}[None]"
        raise InputError(f"{name} has shape {X.shape}; expected is (N, {', '.join(map(str, shape))}){hint}")
    if not len(X):
        raise InputError(f"{name} is empty: shape {X.shape}")
    _finite(X, name)
    return np.asarray(X, dtype)


def check_tokens(X, shape, below: int | None, name: str = "X") -> np.ndarray:
    """Token numbers of shape ``(N, *shape)`` in [0, below), as int32; any whole numbers where ``below`` is None."""
    found = check_examples(X, shape, name, None)
    if found.dtype == bool:
        found = found.astype(np.int32)
    if below is None:
        if not np.issubdtype(found.dtype, np.integer):
            raise InputError(f"{name} has dtype {found.dtype}; the model reads whole numbers")
        return found.astype(np.int32)
    if not np.issubdtype(found.dtype, np.integer):
        raise InputError(f"{name} has dtype {found.dtype}; the model reads token numbers, integers in [0, {below})")
    _within(found, 0, below - 1, name, f"the model reads token numbers in [0, {below})")
    return found.astype(np.int32)


def check_target(Y, loss, shape, classes: int, name: str = "Y", dtype="float32") -> np.ndarray:
    """Targets that fit a loss.

    Parameters
    ----------
    loss : derive.networks.losses.Loss
        Its ``target`` says what is expected: labels (and the ignored one), probabilities, bits, signs, values.
    shape : tuple of int
        Of one target, without the batch axis.
    classes : int
        The size of the output's last axis.
    """
    Y, shape = _numbers(Y, name), tuple(shape)
    said = f"loss {loss.name!r} takes"
    if loss.target == "labels":
        return _labels(Y, loss, shape, classes, name, said)
    wanted = f"(N, {', '.join(map(str, shape))})" if shape else "(N,)"
    if Y.shape[1:] != shape or not Y.ndim:
        hint = ""
        if Y.ndim == 1 and shape == (1,):
            hint = f"; {name}[:, None] fits"
        elif Y.ndim == 1 and np.issubdtype(Y.dtype, np.integer) and loss.target == "probabilities":
            hint = f"; for integer labels use 'sparse_{loss.name}', or give one-hot rows"
        raise InputError(f"{name} has shape {Y.shape}; {said} {wanted}{hint}")
    _finite(Y, name)
    if loss.target == "probabilities":
        off = np.abs(Y.astype(float).sum(axis=-1) - 1)
        if off.size and off.max() > 1e-3:
            at = np.unravel_index(int(off.argmax()), off.shape)
            total = Y.astype(float).sum(axis=-1)[at]
            raise InputError(f"{name}[{_at(at)}] sums to {total:.6g}; {said} probabilities, which sum to 1")
    if loss.target in ("probabilities", "bits"):
        _within(Y, 0, 1, name, f"{said} numbers in [0, 1]")
    if loss.target == "nonnegative":
        _within(Y, 0, np.inf, name, f"{said} numbers that are not negative")
    if loss.target == "signs":
        bits = f"; 2 * {name} - 1 fits" if np.isin(Y, (0, 1)).all() else ""
        _refuse(Y, np.abs(Y) != 1, name, f"{said} signs, -1 or 1{bits}")
    return np.asarray(Y, dtype)


def check_class_weight(given, classes: int, Y, loss) -> np.ndarray:
    """One number that is not negative for each class: an array, a dict by class (1 for the rest), or "balanced"."""
    said = f"class_weight is for {classes} classes"
    if isinstance(given, str) and given == "balanced":
        present, counts = np.unique(truth(np.asarray(Y), loss)[counted(np.asarray(Y), loss)], return_counts=True)
        found = np.ones(classes, np.float32)
        found[present.astype(int)] = counts.sum() / (len(present) * counts)
        return found
    if isinstance(given, dict):
        for k in given:
            if not isinstance(k, int | np.integer) or not 0 <= k < classes:
                raise InputError(f"class_weight has {k!r}; {said}, numbered 0 to {classes - 1}")
        given = [given.get(k, 1.0) for k in range(classes)]
    elif isinstance(given, str):
        raise InputError(f"class_weight is {given!r}; accepted are {classes} numbers, a dict by class, or 'balanced'")
    found = _numbers(given, "class_weight")
    if found.shape != (classes,):
        raise InputError(f"class_weight has shape {found.shape}; {said}")
    _finite(found, "class_weight")
    _within(found, 0, np.inf, "class_weight", "accepted are numbers that are not negative")
    return found.astype(np.float32)


def _labels(Y, loss, shape, classes, name, said):
    if Y.shape[1:] == (*shape, classes) and classes > 1:
        other = loss.name.replace("sparse_", "")
        raise InputError(
            f"{name} has shape {Y.shape}, which looks one-hot; {said} integer labels of shape "
            f"(N{''.join(f', {n}' for n in shape)}); use {name}.argmax(axis=-1), or the loss {other!r}"
        )
    if not np.issubdtype(Y.dtype, np.integer):
        hint = f"; {name}.astype('int32') is the same" if np.array_equal(Y, np.round(Y)) else ""
        raise InputError(f"{name} has dtype {Y.dtype}; {said} integer labels in [0, {classes}){hint}")
    if Y.shape[1:] != shape or not Y.ndim:
        hint = f"; {name}[:, 0] fits" if Y.shape[1:] == (*shape, 1) else ""
        raise InputError(
            f"{name} has shape {Y.shape}; {said} integer labels of shape (N{''.join(f', {n}' for n in shape)}){hint}"
        )
    counted = Y if loss.ignored is None else Y[loss.ignored != Y]
    said += f" labels in [0, {classes})" + ("" if loss.ignored is None else f", or {loss.ignored}")
    hint = " (labels counted from 1?)" if counted.size and counted.min() == 1 and counted.max() == classes else ""
    _refuse(Y, ((Y < 0) | (classes <= Y)) & (loss.ignored != Y), name, f"{said}{hint}")
    return Y.astype(np.int32)


def _numbers(a, name) -> np.ndarray:
    given = a
    if hasattr(a, "detach"):  # a torch tensor that gradients are asked of gives no array by itself
        a = a.detach().cpu()
    try:
        a = np.asarray(a)
    except ValueError:
        a = np.empty(0, object)
    if a.dtype == object:
        parts = given if hasattr(given, "__iter__") else ()
        found = sorted({len(s) for s in parts if hasattr(s, "__len__") and not isinstance(s, str)})
        if len(found) > 1:
            raise InputError(
                f"{name} holds sequences of unequal lengths ({', '.join(map(str, found[:4]))}"
                f"{', ...' if len(found) > 4 else ''}); nx.pad({name}) makes one array of them and the mask "
                f"that layers with masked=True take"
            )
    if not (np.issubdtype(a.dtype, np.number) or a.dtype == bool) or np.issubdtype(a.dtype, np.complexfloating):
        made = f", as {name}.astype('float32') makes them where all are" if a.dtype == object else ""
        raise InputError(f"{name} has dtype {a.dtype}; expected are real numbers{made}")
    return a


def _finite(a, name):
    if np.issubdtype(a.dtype, np.floating):
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(a.sum()):  # NaN and infinity stay in a sum: one quick pass where all is well
                return
        bad = np.argwhere(~np.isfinite(a))
        if len(bad):
            raise InputError(
                f"{name}[{_at(bad[0])}] is {a[tuple(bad[0])]}: {len(bad)} of {a.size} values are not finite"
            )


def _within(a, low, high, name, said):
    _refuse(a, (a < low) | (a > high), name, said)


def _refuse(a, wrong, name, said):
    """The first entry that is wrong, and what would be accepted."""
    bad = np.argwhere(wrong)
    if len(bad):
        raise InputError(f"{name}[{_at(bad[0])}] is {a[tuple(bad[0])]}; {said}")


def _at(position) -> str:
    return ", ".join(str(int(n)) for n in position)
