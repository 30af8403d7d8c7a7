"""What ``derive train`` trains on: digits, MNIST, a CSV file, an archive of arrays, or a folder of images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from derive.language.hints import did_you_mean
from numerics.data.examples import digits, load_mnist, split
from numerics.errors import InputError

KINDS = ("digits", "mnist", "csv", "npz", "images")


@dataclass(frozen=True)
class DataSet:
    """Examples to train on and to test with.

    Attributes
    ----------
    x, y, x_test, y_test : array
        Labels are int32; values float32 of shape (N, M).
    image : tuple or None
        (H, W, C), where an example is an image.
    classes : tuple of str
        Names of the classes; empty where numbers are predicted.
    """

    name: str
    x: np.ndarray
    y: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    image: tuple[int, int, int] | None = None
    classes: tuple[str, ...] = ()

    @property
    def labels(self) -> bool:
        return np.issubdtype(self.y.dtype, np.integer)

    @property
    def outputs(self) -> int:
        """How many numbers a network gives: one a class, or one a value."""
        if not self.labels:
            return int(self.y.shape[1])
        return len(self.classes)

    def shaped(self, shape) -> DataSet:
        """The same examples in the shape that a network reads."""
        shape = tuple(shape)
        if self.x.shape[1:] == shape:
            return self
        if int(np.prod(self.x.shape[1:])) != int(np.prod(shape)):
            raise InputError(f"{self.name}: an example has shape {self.x.shape[1:]}, and the network reads {shape}")
        return DataSet(
            self.name,
            self.x.reshape(-1, *shape),
            self.y,
            self.x_test.reshape(-1, *shape),
            self.y_test,
            self.image,
            self.classes,
        )


def load(
    kind: str,
    folder: Path | None = None,
    target: str | None = None,
    size: int | None = None,
    held_out: float = 0.2,
    seed: int = 0,
) -> DataSet:
    """Read a data set and split it, the classes in proportion; CSV columns are standardized on the training part.

    Raises
    ------
    InputError
        For an unknown kind, a missing path, a file that cannot be read, a set without targets.
    """
    if kind not in KINDS:
        raise InputError(f"train {kind}: the data sets are: {', '.join(KINDS)}{did_you_mean(kind, KINDS)}")
    if kind == "digits":
        (x, y), (x_test, y_test) = digits(seed, held_out)
        return DataSet("digits", x, y, x_test, y_test, (8, 8, 1), tuple(map(str, range(10))))
    if folder is None:
        what = {"mnist": "the folder of the four IDX files", "images": "a folder with a subfolder for each class"}
        raise InputError(f"train --data {kind}: --data-dir says where it is: {what.get(kind, f'the .{kind} file')}")
    if kind == "mnist":
        (x, y), (x_test, y_test) = load_mnist(folder)
        return DataSet("mnist", x, y, x_test, y_test, (28, 28, 1), tuple(map(str, range(10))))
    found = _read(kind, folder, target, size)
    x, y, classes = np.asarray(found.X), np.asarray(found.Y), found.classes
    if np.issubdtype(y.dtype, np.integer):
        if y.size and y.min() < 0:
            raise InputError(f"{folder}: labels count from 0, but the smallest is {y.min()}")
        classes = classes or tuple(map(str, range(int(y.max()) + 1)))
    else:
        y = y.astype(np.float32).reshape(len(y), -1)
    (x, y), (x_test, y_test) = split(x, y, held_out, seed)
    if kind == "csv":
        from numerics.data.files import Standardizer

        scale = Standardizer.fit(x)
        x, x_test = scale(x), scale(x_test)
    image = tuple(x.shape[1:]) if x.ndim == 4 else None
    return DataSet(folder.stem, x.astype(np.float32), y, x_test.astype(np.float32), y_test, image, classes)


def _read(kind: str, path: Path, target: str | None, size: int | None):
    from numerics.data.files import load_csv, load_npz
    from numerics.data.images import load_images

    if kind == "images":
        return load_images(path, size=None if size is None else (size, size))
    if kind == "npz":
        found = load_npz(path)
        y_shape = None if found.Y is None else found.Y.shape
        if y_shape is None or y_shape[:1] != found.X.shape[:1] or found.X.ndim < 2:
            raise InputError(
                f"{path}: X has shape {found.X.shape} and Y {y_shape}; expected are (N, ...) and (N,) or (N, M)"
            )
        return found
    column = -1 if target is None else int(target) if target.lstrip("-").isdigit() else target
    return load_csv(path, target=column)
