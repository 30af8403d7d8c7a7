"""Labels that are words: numbered in alphabetical order, as they were at the first fit."""

from __future__ import annotations

from typing import Any

import numpy as np

from derive.language.hints import did_you_mean
from numerics.errors import InputError


class Labels:
    """The classes of a trainer whose targets are words.

    Attributes
    ----------
    classes : tuple of str
        Class k is ``classes[k]``; empty where the targets are numbers.

    >>> labels = Labels()
    >>> labels.learn(["dog", "cat", "dog"], 2)
    True
    >>> labels.classes, labels.numbers(["dog", "dog"]).tolist(), labels.learn(["cat"], 2)
    (('cat', 'dog'), [1, 1], False)
    """

    def __init__(self, classes: tuple[str, ...] = ()):
        self.classes = tuple(classes)

    def learn(self, Y: Any, outputs: int) -> bool:
        """Number the words of ``Y`` for a model of so many outputs; whether that was done now."""
        if self.classes or not is_words(Y):
            return False
        found = sorted({str(v) for v in np.asarray(Y).ravel()})
        if len(found) > outputs:
            yes = f"; for a yes or no, (Y == {found[1]!r})[:, None]" if outputs == 1 and len(found) == 2 else ""
            raise InputError(
                f"Y has {len(found)} different words ({', '.join(found[:5])}{', ...' if len(found) > 5 else ''}), but the "
                f"model has {outputs} output{'s' if outputs > 1 else ''}; accepted are at most as many{yes}"
            )
        self.classes = tuple(found)
        return True

    def numbers(self, Y: Any) -> Any:
        """``Y`` with its words replaced by their numbers; anything else as it is."""
        if not is_words(Y):
            return Y
        if not self.classes:
            raise InputError(
                "Y holds words, and the classes have no numbers yet: fit on arrays first, or give whole numbers"
            )
        place = {c: n for n, c in enumerate(self.classes)}
        given = np.asarray(Y)
        unknown = sorted({str(v) for v in given.ravel()} - set(place))
        if unknown:
            raise InputError(
                f"Y has the class {unknown[0]!r}{did_you_mean(unknown[0], place)}; the classes are "
                f"{', '.join(self.classes)}"
            )
        return np.array([place[str(v)] for v in given.ravel()], np.int32).reshape(given.shape)

    def __str__(self) -> str:
        return ", ".join(f"{c} is {n}" for n, c in enumerate(self.classes))


def is_words(Y: Any) -> bool:
    """Whether targets are words, as an array, a list or a column of them."""
    if isinstance(Y, dict) or hasattr(Y, "detach"):
        return False
    try:
        found = np.asarray(Y)
    except ValueError:
        return False
    return found.dtype.kind in "US" or (
        found.dtype == object and found.size > 0 and all(isinstance(v, str) for v in found.ravel())
    )
