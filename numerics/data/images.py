"""Image folders, a class for each subfolder, and augmentation on the host."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from numerics.errors import InputError

from .files import Loaded

GREY = ("1", "L", "LA", "I;16", "I", "F")  # Pillow's modes of one channel


def load_images(folder, size: tuple[int, int] | None = None, channels: int | None = None, skip: bool = False) -> Loaded:
    """The images of a folder in which each subfolder is a class.

    Parameters
    ----------
    folder : path
        Classes are its subfolders, in alphabetical order; hidden files are left out.
    size : (height, width), optional
        Scale every image to this; by default all have the size of the first, and one that has not is an error.
    channels : 1 or 3, optional
        Grey or RGB; by default what the first image is.
    skip : bool
        Leave out files that cannot be read or have another size, with a warning that names them.

    Returns
    -------
    Loaded
        X (N, H, W, C) float32 in [0, 1], Y (N,) int32, the files and the classes.

    Raises
    ------
    InputError
        For a folder without subfolders or images, and, unless they are skipped, for a file that is no image, is cut off,
        or has another size, by name.
    """
    try:
        from PIL import Image
    except ModuleNotFoundError:
        raise InputError("images are read with Pillow: pip install pillow") from None
    folder = Path(folder)
    classes = (
        sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")) if folder.is_dir() else []
    )
    if not classes:
        raise InputError(
            f"{folder}: {'no subfolders' if folder.is_dir() else 'no such folder'}; expected is a folder with a "
            f"subfolder of images for each class"
        )
    images: list[np.ndarray] = []
    labels: list[int] = []
    names: list[str] = []
    left_out: list[str] = []
    for label, name in enumerate(classes):
        for path in sorted(p for p in (folder / name).rglob("*") if p.is_file() and not p.name.startswith(".")):
            try:
                image = _read(Image, path, size, channels)
                wanted = images[0].shape if images else image.shape
                if image.shape != wanted:
                    raise InputError(
                        f"{path}: {image.shape[0]} x {image.shape[1]} pixels, but {names[0]} has {wanted[0]} x "
                        f"{wanted[1]}; give size=(height, width) to scale, or skip=True to leave it out"
                    )
            except InputError as error:
                if not skip:
                    raise
                left_out.append(str(error))
                continue
            channels = channels or image.shape[-1]
            images.append(image)
            labels.append(label)
            names.append(str(path.relative_to(folder)))
    if left_out:
        warnings.warn(f"{len(left_out)} files left out: " + "; ".join(left_out), stacklevel=2)
    if not images:
        raise InputError(f"{folder}: no images in {', '.join(classes)}")
    return Loaded(np.stack(images), np.array(labels, np.int32), tuple(names), tuple(classes))


def _read(Image, path, size, channels) -> np.ndarray:  # noqa: N803  Pillow's module, imported late
    """One image as (H, W, C) in [0, 1]."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                grey = image.mode in GREY if channels is None else channels == 1
                deep = image.mode in ("I;16", "I", "F")
                image.load()
                if not deep:
                    image = image.convert("L" if grey else "RGB")
                if size is not None:
                    image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
                found = np.asarray(image, np.float32) / np.float32(65535 if deep else 255)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: cannot be read as an image: {error}; skip=True leaves such files out") from None
    if found.ndim == 2:
        found = np.repeat(found[..., None], 1 if grey else 3, axis=-1)
    return found


@dataclass(frozen=True)
class Augment:
    """Images moved and mirrored at random: ``t.fit(X, Y, augment=nx.Augment(shift=2, flip=True))``.

    Parameters
    ----------
    shift : int or (int, int)
        The most that an image is moved up or down, and left or right, in pixels; what is moved in is 0.
    flip : bool
        Mirror left and right with probability 1/2.

    Notes
    -----
    A function ``(x, generator) -> x`` of a batch (N, H, W, C) and a NumPy generator, on the host: the same generator gives
    the same images.

    >>> x = np.arange(6.0).reshape(1, 2, 3, 1)
    >>> Augment(shift=(0, 1))(x, np.random.default_rng(0))[0, ..., 0].tolist()
    [[0.0, 0.0, 1.0], [0.0, 3.0, 4.0]]
    """

    shift: int | tuple[int, int] = 0
    flip: bool = False

    def __post_init__(self):
        pair = self.shifts
        if len(pair) != 2 or any(isinstance(n, bool) or not isinstance(n, int) or n < 0 for n in pair):
            raise InputError(f"Augment: shift is {self.shift!r}; accepted is a whole number from 0, or two of them")
        object.__setattr__(self, "shift", pair)

    @property
    def shifts(self) -> tuple[int, int]:
        """The most that an image is moved, as a pair."""
        return self.shift if isinstance(self.shift, tuple) else (self.shift, self.shift)

    def __call__(self, x, generator: np.random.Generator) -> np.ndarray:
        x = np.asarray(x)
        if x.ndim != 4:
            raise InputError(f"Augment: x has shape {x.shape}; expected are images (N, H, W, C)")
        n, height, width, _ = x.shape
        p, q = np.arange(height)[None, :], np.arange(width)[None, :]
        down, right = (generator.integers(-s, s + 1, (n, 1)) for s in self.shifts)
        mirrored = generator.random((n, 1)) < 0.5 if self.flip else np.zeros((n, 1), bool)
        rows, columns = p - down, np.where(mirrored, width - 1 - q, q) - right
        inside = ((rows >= 0) & (rows < height))[:, :, None] & ((columns >= 0) & (columns < width))[:, None, :]
        moved = x[
            np.arange(n)[:, None, None],
            np.clip(rows, 0, height - 1)[:, :, None],
            np.clip(columns, 0, width - 1)[:, None, :],
        ]
        return np.where(inside[..., None], moved, np.zeros((), x.dtype))
