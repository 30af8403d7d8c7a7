"""Which letter an index is shown as: its own, or its own with primes when that is taken; never a uid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sympy import Expr

from derive.language.index import Index

from .layout import Letter


@dataclass(frozen=True)
class Scope:
    """The letters in force at one place of a formula."""

    shown: Mapping[Index, Letter] = field(default_factory=dict)
    taken: frozenset[tuple[str, int]] = frozenset()  # names and primes
    letters: Mapping[tuple[str, Expr], str] = field(default_factory=dict)  # of those that are shown by another one

    def bind(self, indices: Iterable[Index]) -> Scope:
        """The scope inside a binder of ``indices``, in order."""
        shown, taken = dict(self.shown), set(self.taken)
        for i in indices:
            name, primes = self._own(i)
            while (name, primes) in taken:
                primes += 1
            shown[i] = Letter(name, primes)
            taken.add((name, primes))
        return Scope(shown, frozenset(taken), self.letters)

    def reserve(self, names: Iterable[str]) -> Scope:
        """The same scope with letters that a binder may not use, such as the names of scalars in the formula."""
        return Scope(self.shown, self.taken | {(n, 0) for n in names}, self.letters)

    def letter(self, i: Index) -> Letter:
        return self.shown.get(i) or Letter(*self._own(i))

    def _own(self, i: Index) -> tuple[str, int]:
        name, primes = _parted(i.name)
        return self.letters.get((name, i.size), name), primes


def _parted(name: str) -> tuple[str, int]:
    """``("i", 1)`` from a letter that is already named ``i'``."""
    bare = name.rstrip("'")
    return (bare, len(name) - len(bare)) if bare else (name, 0)


def open_scope(free: Iterable[Index], letters: Mapping[tuple[str, Expr], str] | None = None) -> Scope:
    """A scope of free indices: the user's own (uid 0) keep their letters first."""
    return Scope(letters=letters or {}).bind(sorted(set(free), key=lambda i: (i.uid != 0, i.name, i.uid, str(i.size))))
