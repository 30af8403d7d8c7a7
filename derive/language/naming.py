"""The names of adjoints; and a name that is not taken: with primes, as letters have them, or with a number, as tensors do."""

from __future__ import annotations

import re
from collections.abc import Container
from itertools import count

ONE_LETTER = re.compile(r"[^\W\d_][\d'′]*")  # W, z2, h', γ: beside a d, these are read as one symbol


def adjoint(name: str) -> str:
    """The name of the adjoint of a tensor: ``d`` before one letter, ``d_`` before a word.

    >>> adjoint("W1"), adjoint("xhat"), adjoint("dense_1_kernel")
    ('dW1', 'd_xhat', 'd_dense_1_kernel')
    """
    return f"d{name}" if ONE_LETTER.fullmatch(name) else f"d_{name}"


def primal(name: str) -> str:
    """The name of what a tensor is the adjoint of, read from its own name; empty where it is not the name of an adjoint.

    >>> primal("dW1"), primal("d_xhat"), primal("down")
    ('W1', 'xhat', '')
    """
    of = name.removeprefix("d").removeprefix("_")
    return of if of and name == adjoint(of) else ""


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
