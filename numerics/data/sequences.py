"""Sequences for training: padding with a mask, lengths, text as numbers, streams for truncated backpropagation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from numerics.errors import InputError


def pad(sequences: Sequence, dtype=None) -> tuple[np.ndarray, np.ndarray]:
    """Sequences of unequal lengths as one array, zeros behind, and the mask that says what counts.

    Parameters
    ----------
    sequences : sequence of arrays
        Each (T_n, ...), the same but for its length.

    Returns
    -------
    array (N, T, ...), mask (N, T) int32
        T is the longest length; the mask is 1 where a step is there.

    Raises
    ------
    InputError
        For an empty list or sequence, or sequences that differ in more than their length.

    >>> X, mask = pad([[1, 2, 3], [4]])
    >>> X.tolist(), mask.tolist()
    ([[1, 2, 3], [4, 0, 0]], [[1, 1, 1], [1, 0, 0]])
    """
    arrays = [np.asarray(s) for s in sequences]
    if not arrays:
        raise InputError("pad: there are no sequences")
    for n, a in enumerate(arrays):
        if not a.ndim or not len(a):
            raise InputError(f"pad: sequence {n} is empty: shape {a.shape}; accepted are those of at least one step")
        if a.shape[1:] != arrays[0].shape[1:]:
            raise InputError(
                f"pad: a step of sequence {n} has shape {a.shape[1:]}, one of sequence 0 has "
                f"{arrays[0].shape[1:]}; sequences may differ in their length only"
            )
    longest = max(map(len, arrays))
    out = np.zeros((len(arrays), longest, *arrays[0].shape[1:]), dtype or np.result_type(*arrays))
    mask = np.zeros((len(arrays), longest), np.int32)
    for n, a in enumerate(arrays):
        out[n, : len(a)], mask[n, : len(a)] = a, 1
    return out, mask


def lengths(mask) -> np.ndarray:
    """How many steps of each sequence count; the mask must be a prefix of ones.

    >>> lengths([[1, 1, 0], [1, 1, 1]]).tolist()
    [2, 3]
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise InputError(f"lengths: the mask has shape {mask.shape}; accepted is (N, T)")
    other = np.argwhere((mask != 0) & (mask != 1))
    if len(other):
        n, t = other[0]
        raise InputError(f"lengths: mask[{n}, {t}] is {mask[n, t]}; a mask is 1 where a step counts and 0 elsewhere")
    on = mask > 0
    bad = np.argwhere(on[:, 1:] & ~on[:, :-1])
    if len(bad):
        n, t = bad[0]
        raise InputError(
            f"lengths: mask[{n}, {t + 1}] is 1 after a 0 at {t}; a length needs a mask that is ones first "
            f"and zeros then, a prefix. The layers themselves take any mask"
        )
    return on.sum(axis=1)


class Vocabulary:
    """The characters of a text, numbered in order.

    Attributes
    ----------
    characters : str

    >>> words = Vocabulary("hello")
    >>> len(words), words.encode("hole").tolist(), words.decode([1, 0, 2])
    (4, [1, 3, 2, 0], 'hel')
    """

    def __init__(self, text: str):
        if not isinstance(text, str) or not text:
            raise InputError(
                "the text is empty; a vocabulary needs at least one character"
                if text == ""
                else f"the text is {type(text).__name__}; accepted is a str"
            )
        self.characters = "".join(sorted(set(text)))
        self._number = {c: n for n, c in enumerate(self.characters)}

    def __len__(self) -> int:
        return len(self.characters)

    def encode(self, text: str) -> np.ndarray:
        """The numbers of a text's characters (N,) int32; one outside the vocabulary is refused with its position."""
        if not text:
            raise InputError("the text is empty")
        for n, c in enumerate(text):
            if c not in self._number:
                raise InputError(f"character {c!r} at position {n} is not in the vocabulary of {len(self)} characters")
        return np.array([self._number[c] for c in text], np.int32)

    def decode(self, numbers) -> str:
        """The text of some numbers."""
        return "".join(self.characters[int(n)] for n in np.asarray(numbers).ravel())


def streams(ids, batch: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Inputs and targets of truncated backpropagation through time, (batch, steps) each, in order.

    The series is cut into ``batch`` streams side by side; each window goes on where the one before ended, so that the
    final state of one is the initial state of the next.  The target is the element after the input.  What is left over
    at the end of a stream, less than ``steps``, is dropped.

    >>> [(x.tolist(), y.tolist()) for x, y in streams(np.arange(11), batch=2, steps=2)]
    [([[0, 1], [5, 6]], [[1, 2], [6, 7]]), ([[2, 3], [7, 8]], [[3, 4], [8, 9]])]
    """
    ids = np.asarray(ids)
    long = (len(ids) - 1) // batch
    if steps < 1 or batch < 1:
        raise InputError(f"streams: batch {batch} and steps {steps} are whole numbers from 1")
    if len(ids) <= batch:
        raise InputError(
            f"streams: {len(ids)} elements for {batch} streams; each needs at least {steps} inputs and "
            f"the element after them, {batch * steps + 1} together"
        )
    if long < steps:
        raise InputError(
            f"streams: truncation after {steps} steps, but {len(ids)} elements in {batch} streams are "
            f"{long} steps each; accepted are at most {long} steps, or fewer streams"
        )
    x, y = (a[: batch * long].reshape(batch, long, *ids.shape[1:]) for a in (ids, ids[1:]))
    for first in range(0, long - steps + 1, steps):
        yield x[:, first : first + steps], y[:, first : first + steps]


def windows(ids, batch: int, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """All windows of :func:`streams` as inputs and targets, (N, steps) each, for ``Trainer.fit(..., batch_size=batch)``.

    A model whose layers carry their state takes the batches in this order, so that row b of a batch goes on where row b
    of the batch before ended.

    >>> X, Y = windows(np.arange(11), batch=2, steps=2)
    >>> X.tolist()
    [[0, 1], [5, 6], [2, 3], [7, 8]]
    """
    x, y = zip(*streams(ids, batch, steps), strict=True)
    return np.concatenate(x), np.concatenate(y)
