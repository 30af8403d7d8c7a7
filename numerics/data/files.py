"""Reading data from files: CSV and ``.npz``, and standardizing it.  Everything comes back as plain arrays."""

from __future__ import annotations

import csv
import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from derive.language.hints import did_you_mean
from numerics.errors import InputError

LARGEST = float(np.finfo(np.float32).max)


class Loaded(NamedTuple):
    """What a loader read: ``X, Y, *_ = nx.load_csv(path, target="species")``.

    Attributes
    ----------
    X : array (N, ...)
        float32.
    Y : array (N,) or (N, M), or None
        int32 labels, or float32 values of as many columns as there are targets.
    names : tuple of str
        The columns of X, or the files that its rows were read from.
    classes : tuple of str
        What the labels 0, 1, ... stand for, where they were text.
    """

    X: np.ndarray
    Y: np.ndarray | None
    names: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()


# -- CSV ---------------------------------------------------------------------------------------------------------------


def load_csv(
    path,
    target: str | int | Sequence | None = None,
    header: bool | None = None,
    delimiter: str = ",",
    encoding: str = "utf-8-sig",
) -> Loaded:
    """Numbers from a text file of rows, one example a line.

    Parameters
    ----------
    path : path
    target : str, int, sequence of these, or None
        The column, or columns, of ``Y``, by name or number (-1 is the last).  A column of text is labels, counted in
        alphabetical order; one of whole numbers is labels as they stand; several, or others, are values.
    header : bool, optional
        Whether the first line has the names; by default it has if nothing in it is a number.
    delimiter, encoding : str

    Raises
    ------
    InputError
        For a file that cannot be read, and for a row that has another number of fields, something that is no finite
        number, or nothing where a number should be: with the line and the column.

    >>> import pathlib, tempfile
    >>> path = pathlib.Path(tempfile.mkdtemp(), "flowers.csv")
    >>> _ = path.write_text("length,width,species\\n5.1,3.5,setosa\\n6.2,2.9,virginica\\n4.9,3.0,setosa\\n")
    >>> X, Y, names, classes = load_csv(path, target="species")
    >>> X.shape, Y.tolist(), names, classes
    ((3, 2), [0, 1, 0], ('length', 'width'), ('setosa', 'virginica'))
    """
    rows = _rows(path, delimiter, encoding)
    first = rows[0][1]
    titled = not any(_is_number(field) for field in first) if header is None else header
    if titled:
        names, rows = [name.strip() for name in first], rows[1:]
        if not rows:
            raise InputError(f"{path}: there is a header and no row below it")
    else:
        names = [str(n) for n in range(len(first))]
    for line, fields in rows:
        if len(fields) != len(names):
            raise InputError(
                f"{path}, line {line}: {len(fields)} fields, but {'the header' if titled else 'the first row'} "
                f"has {len(names)}"
            )
    wanted = _columns(target, names, path)
    kept = [n for n in range(len(names)) if n not in wanted]
    if not kept:
        raise InputError(f"{path}: every column is a target; none is left for X")
    X = np.array([[_number(path, line, names, n, fields[n]) for n in kept] for line, fields in rows], np.float32)
    Y, classes = _target(path, rows, names, wanted)
    return Loaded(X, Y, tuple(names[n] for n in kept), classes)


def _rows(path, delimiter, encoding) -> list[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    try:
        with open(path, newline="", encoding=encoding) as file:
            try:
                reader = csv.reader(file, delimiter=delimiter, strict=True, skipinitialspace=True)
            except TypeError:
                raise InputError(f"load_csv: delimiter is {delimiter!r}; accepted is one character") from None
            found = []
            try:
                for fields in reader:
                    if fields:
                        found.append((reader.line_num, fields))
            except csv.Error as error:
                raise InputError(f"{path}, line {reader.line_num}: {error}") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in {encoding}: {error.reason} at byte {error.start}") from None
    except LookupError:
        raise InputError(f"load_csv: there is no encoding {encoding!r}") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    except ValueError as error:  # a path that no file can have
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path!r}: cannot be read: {error}") from None
    if not found:
        raise InputError(f"{path}: empty")
    return found


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _number(path, line, names, n, text) -> float:
    where = f"{path}, line {line}, column {n + 1} ({names[n]})"
    if not text.strip():
        raise InputError(f"{where}: empty; a number is expected")
    try:
        found = float(text)
    except ValueError:
        raise InputError(f"{where}: {text!r} is not a number") from None
    if not math.isfinite(found):
        raise InputError(f"{where}: {text!r} is not finite")
    if abs(found) > LARGEST:
        raise InputError(f"{where}: {text!r} is beyond the range of float32, {LARGEST:.3g}")
    return found


def _columns(target, names, path) -> list[int]:
    if target is None:
        return []
    many = target if isinstance(target, list | tuple) else [target]
    found = []
    for one in many:
        if isinstance(one, str) and one in names:
            found.append(names.index(one))
        elif isinstance(one, int) and not isinstance(one, bool) and -len(names) <= one < len(names):
            found.append(one % len(names))
        else:
            raise InputError(
                f"{path}: no column {one!r}{did_you_mean(str(one), names)}; it has {', '.join(names)}, or "
                f"{-len(names)} to {len(names) - 1} by number"
            )
    return found


def _target(path, rows, names, wanted):
    """The targets, and what their labels stand for."""
    if not wanted:
        return None, ()
    if len(wanted) == 1:
        n = wanted[0]
        texts = [fields[n].strip() for _, fields in rows]
        if not any(_is_number(t) for t in texts):
            if "" in texts:
                raise InputError(
                    f"{path}, line {rows[texts.index('')][0]}, column {n + 1} ({names[n]}): empty; a label is expected"
                )
            classes = sorted(set(texts))
            return np.array([classes.index(t) for t in texts], np.int32), tuple(classes)
    found = np.array([[_number(path, line, names, n, fields[n]) for n in wanted] for line, fields in rows])
    whole = len(wanted) == 1 and all(fields[wanted[0]].strip().lstrip("+-").isdigit() for _, fields in rows)
    if not whole:
        return found.astype(np.float32), ()
    for line, fields in rows:
        if abs(int(fields[wanted[0]])) >= 2**31:
            raise InputError(
                f"{path}, line {line}, column {wanted[0] + 1} ({names[wanted[0]]}): the label {fields[wanted[0]].strip()} "
                f"does not fit in an int32; labels count the classes from 0 (an identifier is no label)"
            )
    return found[:, 0].astype(np.int32), ()


# -- npz ---------------------------------------------------------------------------------------------------------------


def load_npz(path, x: str = "X", y: str | None = "Y") -> Loaded:
    """Two arrays of a NumPy archive; pickled objects are refused, never loaded.

    Parameters
    ----------
    path : path
        As ``np.savez(path, X=X, Y=Y)`` writes.
    x, y : str
        The names of the arrays; ``y=None`` where there is no target.

    Returns
    -------
    Loaded
        The arrays as they are, without conversion.

    Raises
    ------
    InputError
        For a missing, truncated or corrupt file, one that is no archive, a name that is not in it, or Python objects.
    """
    try:
        with open(path, "rb") as file:  # np.load would leave a broken one open
            archive = np.load(file, allow_pickle=False)
            if isinstance(archive, np.ndarray):
                raise InputError(f"{path}: a single array, not an archive; np.load reads it")
            found = [_member(archive, path, name) for name in (x, y) if name is not None]
    except InputError:
        raise
    except MemoryError:
        raise InputError(f"{path}: cannot be read: it says that it holds more than the memory does") from None
    except ARCHIVE_ERRORS as error:
        if "pickle" in str(error):
            raise InputError(
                f"{path}: holds pickled Python objects, which are never loaded; save arrays of numbers with "
                f"np.savez(path, X=X, Y=Y)"
            ) from None
        raise InputError(f"{path}: cannot be read: {error}") from None
    return Loaded(found[0], found[1] if y is not None else None)


# what zipfile, its decompressors and NumPy's reader raise for bytes that are no archive of arrays
ARCHIVE_ERRORS = (
    OSError, EOFError, ValueError, KeyError, TypeError, OverflowError, NotImplementedError, RuntimeError, SyntaxError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip


def _member(archive, path, name: str) -> np.ndarray:
    if name not in archive.files:
        raise InputError(
            f"{path}: no array {name!r}{did_you_mean(name, archive.files)}; it has {', '.join(archive.files) or 'none'}"
        )
    _check_header(archive.zip, path, name)
    return archive[name]


def _check_header(archive: zipfile.ZipFile, path, name: str) -> None:
    """The shape that an array's header says takes as many bytes as there are: neither more nor less is read."""
    info = archive.getinfo(f"{name}.npy")
    with archive.open(info) as file:
        version = np.lib.format.read_magic(file)
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        if version not in readers:
            raise InputError(f"{path}: {name} is written in version {version} of NumPy's format; 1.0 and 2.0 are read")
        shape, _, dtype = readers[version](file)
        if dtype.hasobject:
            raise ValueError("pickled objects")
        wanted = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or info.file_size - file.tell() != wanted:
            raise InputError(
                f"{path}: {name} has {info.file_size - file.tell()} bytes, but the shape {shape} of {dtype} in its "
                f"header takes {wanted}"
            )


# -- standardization ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Standardizer:
    r"""Features of mean 0 and variance 1, by the statistics of the training part alone.

    .. math:: x \mapsto (x - \mu) / \sigma

    Fit it after the split; a feature that is constant there is only centred.

    Attributes
    ----------
    mean, scale : array
        Broadcast against an example.

    >>> X, X_test = np.array([[0.0, 5], [2, 5]]), np.array([[4.0, 6]])
    >>> scaled = Standardizer.fit(X)
    >>> scaled(X).tolist(), scaled(X_test).tolist(), scaled.inverse(scaled(X_test)).tolist()
    ([[-1.0, 0.0], [1.0, 0.0]], [[3.0, 1.0]], [[4.0, 6.0]])
    """

    mean: np.ndarray
    scale: np.ndarray

    def __new__(cls, *statistics, **named) -> Standardizer:
        if not statistics and not named:
            raise InputError("Standardizer: it is made of data, nx.Standardizer.fit(X), and called on data, scaled(X)")
        return super().__new__(cls)

    @classmethod
    def fit(cls, X, channels: bool = False) -> Standardizer:
        """The statistics of each feature; with ``channels`` of each position of the last axis, as for images."""
        X = np.asarray(X)
        if X.ndim < 2 or not len(X) or not np.isfinite(X).all():
            raise InputError(
                f"Standardizer: X has shape {X.shape}; expected are finite examples (N, ...), at least one"
            )
        axes = tuple(range(X.ndim - 1)) if channels else 0
        mean, scale = X.mean(axis=axes, dtype=np.float64), X.std(axis=axes, dtype=np.float64)
        flat = scale <= 1e-12 * np.maximum(np.abs(mean), 1e-300)  # rounding of a constant is no spread
        return cls(mean, np.where(flat, 1.0, scale))

    def __call__(self, X) -> np.ndarray:
        """Standardized, float32."""
        return ((self._fitting(X) - self.mean) / self.scale).astype(np.float32)

    def inverse(self, X) -> np.ndarray:
        """As it was before, float32."""
        return (self._fitting(X) * self.scale + self.mean).astype(np.float32)

    def _fitting(self, X) -> np.ndarray:
        X = np.asarray(X)
        if X.shape[X.ndim - self.mean.ndim :] != self.mean.shape or X.ndim <= self.mean.ndim:
            raise InputError(
                f"Standardizer: X has shape {X.shape}; it was fitted to (N, ..., "
                f"{', '.join(map(str, self.mean.shape))})"
            )
        return X
