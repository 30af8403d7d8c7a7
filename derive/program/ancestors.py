"""The tensors that definitions need, in an order in which each comes after what it reads."""

from __future__ import annotations

from collections.abc import Sequence

from derive.language.tensor import Read, Tensor


def ancestors(roots: Sequence[Tensor]) -> list[Tensor]:
    """All tensors the roots need, each after those it reads; iterative, so that depth is no limit."""
    done: dict[Tensor, None] = {}
    opened: set[Tensor] = set()  # a derived recurrence reads itself: it is met again before it is done
    stack = [(r, False) for r in reversed(roots)]
    while stack:
        t, ready = stack.pop()
        if t in done or (not ready and t in opened):
            continue
        if ready:
            done[t] = None
            continue
        partners = () if opened & set(t.partners) else t.partners  # a recurrence in the order in which it is written
        opened.add(t)
        stack.append((t, True))
        others = (*partners, *(x.member for x in _read_by(t)))
        stack += [(other, False) for other in reversed(others) if other not in done and other != t]
    return list(done)


def _read_by(t: Tensor) -> list[Tensor]:
    if t.definition is None:
        eq = t.origin.equation(t) if t.origin is not None else None
        return [] if eq is None else [x for x in eq.tensors() if x != t]
    found = {r.tensor for r in t.definition.body.atoms(Read)}
    return sorted(found, key=lambda x: (x.name, x.digest))
