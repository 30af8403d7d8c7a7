"""A name that is not taken: with primes, as letters have them, or with a number, as the names of tensors have them."""

from __future__ import annotations

from collections.abc import Container
from itertools import count


def primed(name: str, taken: Container[str]) -> str:
    """The name with as few primes as keep it apart from those that are taken.

    >>> primed("i", {"i", "i'"})
    "i''"
    """
    while name in taken:
        name += "'"
    return name


def numbered(name: str, taken: Container[str], between: str = "") -> str:
    """The name, or the first of ``name2``, ``name3``, ... that is not taken; ``between`` parts name and number.

    >>> numbered("z", {"z", "z2"})
    'z3'
    """
    return (
        name
        if name not in taken
        else next(f"{name}{between}{n}" for n in count(2) if f"{name}{between}{n}" not in taken)
    )
