"""What a program will be derived from, as one line: for whoever keeps what was made of it on a disk.

Two sets of definitions have the same fingerprint when they are written alike, names of indices and the library included:
then the derivation, its document and its program are the same too.
"""

from __future__ import annotations

import functools
import hashlib
import platform
from collections.abc import Iterable
from pathlib import Path

import mpmath
import sympy
from sympy import Basic, preorder_traversal

from derive.language.index import Index
from derive.language.tensor import Tensor

OURS = ("sympy", "derive")  # whose classes mean the same in every process of one version


def fingerprint(tensors: Iterable[Tensor]) -> str | None:
    """Of some tensors and all that they are computed from; None where a class of the user's own stands in a definition.

    >>> from derive import indices, tensor, define, Sum
    >>> i, j = indices("i j", size="N")
    >>> one, two = (define("s", (), Sum(tensor("x", "N")[n] ** 2, n)) for n in (i, j))
    >>> fingerprint([one]) == fingerprint([one]), fingerprint([one]) == fingerprint([two])
    (True, False)
    """
    asked = [t.member for t in tensors]
    said, todo, seen = [library(), repr([(t.name, t.digest) for t in asked])], asked[::-1], set(asked)
    while todo:
        t = todo.pop()
        said.append(repr((t.name, t.digest, t.block, t.letters, t.axes, t.dtype, t.role)))
        if t.definition is None:
            continue
        for node in preorder_traversal(t.definition.body):
            if not _known(node):
                return None
            if isinstance(node, Index):
                said.append(node.name)
            elif isinstance(node, Tensor):
                said.append(node.name)
                if node.member not in seen:
                    seen.add(node.member)
                    todo.append(node.member)
    return hashlib.sha256("\x1f".join(said).encode()).hexdigest()


@functools.cache
def library() -> str:
    """The library's own text, with the versions of what it derives by: a changed rule is another library."""
    made = hashlib.sha256(repr((platform.python_version(), sympy.__version__, mpmath.__version__)).encode())
    top = Path(__file__).resolve().parents[2]
    for package in ("derive", "numerics"):
        for path in sorted((top / package).rglob("*.py")):
            made.update(path.relative_to(top).as_posix().encode() + b"\0" + path.read_bytes())
    return made.hexdigest()


def _known(node: Basic) -> bool:
    return type(node).__module__.partition(".")[0] in OURS
