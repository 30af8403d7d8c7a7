"""Sizes and indices: the letters of index notation.

An index is a SymPy symbol that knows its range, ``0 <= i < i.size``.  Sizes and indices live in namespaces of their
own: ``Index("N") != Size("N") != sympy.Symbol("N")``, and a name is never sympified, so ``I``, ``N``, ``S``, ``E``,
``Q`` and ``O`` are ordinary names.  Equality is by name and size (and ``uid``, the engine's mark for a bound index
that it opened fresh, so that nothing is ever captured).
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from typing import Self, TypeAlias

import sympy
from sympy import Basic, Expr, Integer, Symbol

from .errors import DeriveError, ShapeError, UnsupportedError

SizeLike: TypeAlias = Expr | str | int  # a size as people give it: an expression of sizes, a name, a number


class Size(Symbol):
    """A positive whole number that stays symbolic through the derivation, such as the batch size ``B``."""

    def __new__(cls, name: str) -> Self:
        return Symbol.__xnew__(cls, check_name(name, "size"), integer=True, positive=True)

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, object]]:
        return (self.name,), {}


class Index(Symbol):
    """An integer symbol ranging over ``0 .. size-1``; ``i.size`` is a SymPy expression of sizes."""

    __slots__ = ("size", "uid")
    name: str
    size: Expr
    uid: int

    def __new__(cls, name: str, size: Expr, uid: int = 0) -> Self:
        obj = Symbol.__xnew__(cls, check_name(name, "index"), integer=True, nonnegative=True)
        obj.size, obj.uid = size, uid
        return obj

    def _hashable_content(self) -> tuple[Hashable, ...]:
        return (self.name, self.size, self.uid) + tuple(self._assumptions0)

    def __getnewargs_ex__(self) -> tuple[tuple[str, Expr, int], dict[str, object]]:
        return (self.name, self.size, self.uid), {}


class Fresh:
    """Opens fresh copies of indices; one counter per derivation, so output does not depend on history."""

    def __init__(self, start: int = 1) -> None:
        self._uids = itertools.count(start)

    def __call__(self, index: Index, size: Expr | None = None) -> Index:
        return Index(index.name, index.size if size is None else size, next(self._uids))

    def named(self, name: str, size: Expr) -> Index:
        return Index(name, size, next(self._uids))


def as_sympy(value: object, where: str) -> Basic:
    """A value as SymPy, never through text: SymPy would evaluate a string as Python."""
    try:
        return sympy.sympify(value, strict=True)
    except sympy.SympifyError:
        hint = "; a text goes through dv.parse" if isinstance(value, str) else ""
        raise UnsupportedError(
            f"{where}: {value!r} is {type(value).__name__}, not a SymPy expression or a number{hint}"
        ) from None


def check_name(name: str, what: str) -> str:
    if not isinstance(name, str) or not name.strip():
        raise DeriveError(f"{what} name {name!r}: a name is a non-empty string")
    return name


def size(name: str) -> Size:
    """A size that no array fixes, such as a stride; bound by ``nx.compile(d, sizes={"S": 2})``.

    >>> size("S") + 1
    S + 1
    """
    return Size(name)


def as_size(value: SizeLike) -> Expr:
    """The SymPy expression of a size given as an int, a name, an index (its size) or an expression of sizes."""
    if isinstance(value, Index):
        return value.size
    if isinstance(value, str):
        return Size(value)
    if isinstance(value, bool):
        raise ShapeError(f"size {value!r}: a size is a name, a positive int or a SymPy expression of sizes")
    if isinstance(value, int) or hasattr(value, "__index__"):
        value = Integer(int(value))
    if not isinstance(value, Expr):
        raise ShapeError(f"size {value!r}: a size is a name, a positive int or a SymPy expression of sizes")
    bad = [s for s in value.free_symbols if not isinstance(s, Size)]
    if bad:
        raise ShapeError(f"size {value}: {bad[0]} is not a size; make sizes with dv.size(name) or index.size")
    if value.is_number and not (value.is_Integer and value > 0):
        raise ShapeError(f"size {value}: a size is a positive whole number (zero-size axes are refused)")
    return value


def index(name: str, size: SizeLike | None = None) -> Index:
    """One index.  ``index("t")`` ranges over the size named ``T``; give ``size=`` a name, an int or an expression.

    >>> t = index("t")
    >>> t.size
    T
    """
    check_name(name, "index")
    if size is None:
        upper = name.upper()
        size = upper if upper != name else f"N_{name}"
    return Index(name, as_size(size))


def indices(names: str, size: SizeLike | None = None) -> tuple[Index, ...]:
    """Several indices, by names parted by blanks or commas; always a tuple.

    Parameters
    ----------
    names : str
        For instance ``"b i k"``.  Index ``b`` ranges over the size named ``B``.
    size : str, int or sympy.Expr, optional
        One size shared by all of them.

    >>> b, i = indices("b i")
    >>> b.size, i.size
    (B, I)
    >>> p, q = indices("p q", size="N")
    >>> p.size == q.size
    True
    """
    found = names.replace(",", " ").split()
    if not found:
        raise DeriveError(f"indices({names!r}): give at least one name, as in indices('b i k')")
    twice = [n for n in found if found.count(n) > 1]
    if twice:
        raise DeriveError(f"indices({names!r}): the name {twice[0]!r} stands twice")
    return tuple(index(n, size) for n in found)


def same_size(a: Expr, b: Expr) -> bool:
    """Whether two sizes are the same expression (after expansion)."""
    return a == b or sympy.expand(a - b) == 0
