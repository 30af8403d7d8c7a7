"""Loops that stand one after the other over the same index as one, where that changes no value.

    for i: xh[i] = ...;  for i: h[i] = g[i] xh[i] + c[i];  for i: total += g[i] xh[i]      ->      for i: all three

A loop moves up to an earlier one past what it neither reads nor changes, with the totals that it adds to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from .tree import Array, At, Comment, Let, Lines, Loop, Put, Statement, Var


def joined_loops(statements: Sequence[Statement]) -> list[Statement]:
    """The statements of a block with the loops along lanes joined."""
    out: list[Statement] = []
    for s in statements:
        if not (isinstance(s, Loop) and s.lanes):
            out.append(s)
            continue
        own: list[Statement] = []  # its totals, which start before it
        while out and isinstance(out[-1], Let) and out[-1].name in s.totals:
            own.insert(0, out.pop())
        about = [out.pop()] if out and isinstance(out[-1], Comment) else []
        at = _place(out, s)
        if at is None:
            out += [*about, *own, s]
            continue
        first = out[at]
        assert isinstance(first, Loop)
        whole = replace(first, body=(*first.body, *about, *s.body), totals=(*first.totals, *s.totals))
        out[at : at + 1] = [*own, whole]
    return out


def _place(before: Sequence[Statement], s: Loop) -> int | None:
    """Where the loop stands that this one can join."""
    mine = _Uses.of(s)
    for at in reversed(range(len(before))):
        other = before[at]
        theirs = _Uses.of(other)
        shared = theirs.conflicts(mine)
        if isinstance(other, Loop) and other.lanes and (other.var, other.stop) == (s.var, s.stop):
            same = all(len(theirs.places.get(n, set()) | mine.places.get(n, set())) == 1 for n in shared)
            return at if same else None
        if shared:
            return None
    return None


@dataclass(frozen=True)
class _Uses:
    """The names that a statement reads and changes, and the places of arrays."""

    reads: set[str]
    changes: set[str]
    places: dict[str, set[object]]

    @classmethod
    def of(cls, s: Statement) -> _Uses:
        found = cls(set(), set(), {})
        for node in _nodes(s):
            if isinstance(node, At):
                found.places.setdefault(node.array, set()).add(node.place)
                found.reads.add(node.array)
            elif isinstance(node, Var):
                found.reads.add(node.name)
            elif isinstance(node, Lines):
                found.reads.update(node.reads)
                found.changes.update(node.changes)
            elif isinstance(node, Let | Array):
                found.changes.add(node.name)
            elif isinstance(node, Put):
                target = node.target
                assert isinstance(target, At | Var)
                found.changes.add(target.array if isinstance(target, At) else target.name)
        return found

    def conflicts(self, other: _Uses) -> set[str]:
        """What one of them changes and the other uses."""
        return self.changes & (other.reads | other.changes) | other.changes & self.reads


def _nodes(node: object) -> Iterator[object]:
    yield node
    if dataclasses.is_dataclass(node):
        for f in dataclasses.fields(node):
            value = getattr(node, f.name)
            for inner in value if isinstance(value, tuple) else (value,):
                yield from _nodes(inner)
