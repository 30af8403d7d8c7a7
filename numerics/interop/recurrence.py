"""The definitions of a loop's body, which read one another at earlier steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sympy import Expr

import derive as dv
from derive.language.index import Index
from derive.language.tensor import Read, Tensor


class Loop:
    """The definitions of one recurrence, which read one another, collected while its body is read."""

    def __init__(self, index: Index, letter: Index):
        self.index, self.letter = index, letter
        self.heads: list[Tensor] = []
        self.bodies: list[Expr] = []
        self.carries: list[Tensor] = []  # those of the heads that were renamed
        self.instead: dict[Any, Any] = {}  # what they were before

    def head(self, name: str, letters: tuple[Index, ...]) -> Tensor:
        """What stands for a definition in its own and in those of the others, until all are there."""
        return Tensor(name, tuple(i.size for i in letters), letters, role="computed", digest=f"head:{name}")

    def define(self, name: str, letters: tuple[Index, ...], body: Expr) -> Tensor:
        head = self.head(name, letters)
        self.heads.append(head)
        self.bodies.append(body.xreplace({self.index: self.letter}))
        return head

    def renamed(self, body: Any, idx: Sequence[Index], carry: Tensor) -> Expr | None:
        """What a step has defined and hands on as a carry, under the carry's name; None where it is no such thing."""
        if not isinstance(body, Read) or body.tensor not in self.heads or body.tensor in self.carries:
            return None
        if body.idx != (self.index, *idx):
            return None
        member = body.tensor
        made = self.head(carry.name, member.indices)
        self.heads[self.heads.index(member)] = made
        self.carries.append(made)
        self.instead |= {member: made, carry: made}
        self.bodies = [b.xreplace(self.instead) for b in self.bodies]
        return Read(made, *body.idx)

    def close(self) -> dict[Any, Any]:
        """The definitions; what stood for each of them is to be replaced by it."""
        names = " ".join(h.name for h in self.heads)

        def bodies(*members: Tensor) -> tuple[Expr, ...]:
            put = dict(zip(self.heads, members, strict=True))
            return tuple(body.xreplace(put) for body in self.bodies)

        made = dv.define(names, [h.indices for h in self.heads], bodies)
        made = made if isinstance(made, tuple) else (made,)
        found = dict(zip(self.heads, made, strict=True))
        return found | {old: found[new] for old, new in self.instead.items()}
