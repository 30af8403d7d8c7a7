"""The inside of a part: the recurrence over the steps of one part, and what it is handed of the tensors outside."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import sympy
from sympy import Expr, Integer

from derive.language.index import Index, Size, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term
from derive.program.schedule import Scan
from numerics.emit.source.code import Attribute, Code, Name, Subscript, call, number_of
from numerics.emit.source.names import Names
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val

from .pairs import Pair, step_of
from .time_first import first

PART = Size("steps of a part")


class Body(Scope):
    """The function of a part: the number of its steps is known only inside it."""

    def __init__(self, outer: Scope):
        super().__init__(Names(outer.names.taken), outer.writers, outer.bound, outer)
        self.measured = dict(outer.measured)

    def place(self, label: Index) -> Val:
        """The steps of a part, counted from its beginning, are written here; other indices at the top."""
        if label.size != PART:
            return super().place(label)
        steps = Val(call("jnp.arange", self.size(PART).node), (label,), "int")
        return self.share(("place", PART), (label.name, f"{label.name}_in"), steps)


@dataclass
class Streams:
    """What a part is handed of the tensors outside: by tensor, or by the read of it that is computed before."""

    scope: Scope
    body: Body
    members: dict[str, Tensor]
    pair: Pair
    reverse: bool
    found: dict[Hashable, tuple[Code, str]] = field(default_factory=dict)  # key -> (array outside, name inside)
    copies: dict[str, Equation] = field(default_factory=dict)  # member of the forward recurrence -> one that repeats it

    def equation(self, e: Equation) -> Equation:
        t = e.idx[0]
        u = Index(t.name, PART, t.uid)

        def at(x: Any) -> Any:
            return self._moved(x, t, u)

        terms = tuple(
            Term(
                term.coef,
                tuple(at(f) for f in term.fac),
                term.bnd,
                tuple(Row(r.op, at(r.lhs), at(r.rhs)) for r in term.rows),
            )
            for term in e.terms
        )
        guards = tuple(Row(g.op, at(g.lhs), at(g.rhs)) for g in e.guards)
        return replace(e, tensor=self.members[e.name], idx=(u, *e.idx[1:]), terms=terms, guards=guards)

    def _moved(self, x: Any, t: Index, u: Index) -> Any:
        if isinstance(x, Read):
            return self._read(x, t, u)
        if x == t:
            return Read(self._stream(("clock",), self.scope.place(t).node, (), f"{t.name}_part", "int", t.size), u)
        if not x.args or t not in x.free_symbols:
            return x
        args = [self._moved(a, t, u) for a in x.args]
        return x.func(*args, evaluate=False) if isinstance(x, sympy.core.relational.Relational) else x.func(*args)

    def _read(self, r: Read, t: Index, u: Index) -> Read:
        rest = r.idx[1:]
        if r.tensor.name in self.members:
            return Read(self.members[r.tensor.name], r.idx[0].xreplace({t: u}), *rest)
        if r.tensor.name in {e.name for e in self.pair.forward.equations}:
            return self._again(r, int(r.idx[0] - t), t, u)
        if t not in r.free_symbols:
            return r
        name = self.scope.arrays[r.tensor.name]
        if r.idx[0] == t and same_size(r.tensor.axes[0], t.size) and not any(t in i.free_symbols for i in rest):
            made = self._stream(
                (r.tensor.name,), Name(name), r.tensor.axes[1:], f"{name}_part", r.tensor.dtype, r.tensor.below
            )
            return Read(made, u, *rest)
        labels = tuple(
            sorted((s for s in r.free_symbols if isinstance(s, Index) and s != t), key=lambda i: (i.uid, i.name))
        )
        key = ("read", r.xreplace({t: Index("t", t.size, -1)}))
        if key not in self.found:
            whole = Tensor(
                f"{name}\0steps",
                tuple(i.size for i in (t, *labels)),
                (),
                r.tensor.dtype,
                r.tensor.below,
                role="computed",
                digest=f"emit:{name}:{len(self.found)}",
            )
            array = self.scope.equation(Equation(whole, (t, *labels), (Term(Integer(1), (r,)),))).node
        else:
            array = self.found[key][0]
        made = self._stream(key, array, tuple(i.size for i in labels), f"{name}_part", r.tensor.dtype, r.tensor.below)
        return Read(made, u, *labels)

    def _stream(
        self, key: Hashable, array: Code, axes: Iterable[Expr], hint: str, dtype: str, below: Expr | None = None
    ) -> Tensor:
        if key not in self.found:
            self.found[key] = (array, self.body.names.fresh(hint))
        inside = self.found[key][1]
        self.body.arrays[f"{inside}\0part"] = inside
        self.body.measured.setdefault(PART, Subscript(Attribute(Name(inside), "shape"), (number_of(0),)))
        return Tensor(f"{inside}\0part", (PART, *axes), (), dtype, below, role="computed", digest=f"emit:{inside}")

    def _again(self, r: Read, shift: int, t: Index, u: Index) -> Read:
        """A member of the forward recurrence in the reverse one: computed again in this part, or repeated by a member."""
        back = -shift * self.pair.forward.direction
        if back < 0:
            made = self.copies.setdefault(r.tensor.name, self._copy(r.tensor, t, u))
            return Read(made.tensor, u + shift, *r.idx[1:])
        return Read(self._values(r.tensor, back), u, *r.idx[1:])

    def _values(self, member: Tensor, back: int) -> Tensor:
        if (member.name, back) not in self.pair.again:
            shown = self.scope.arrays[member.name]
            inside = self.body.names.fresh(
                f"{shown}_part" if back == 0 else f"{shown}_before{back if back > 1 else ''}"
            )
            name = f"{member.name}\0again{back}"
            self.body.arrays[name] = inside
            self.pair.again[member.name, back] = Tensor(
                name, (PART, *member.axes[1:]), (), member.dtype, member.below, role="computed", digest=f"emit:{name}"
            )
        return self.pair.again[member.name, back]

    def _copy(self, member: Tensor, t: Index, u: Index) -> Equation:
        rest = tuple(Index(f"i{n}", a, -2 - n) for n, a in enumerate(member.axes[1:]))
        name = f"{member.name}\0copy"
        self.body.arrays[name] = self.body.names.fresh(f"{self.scope.arrays[member.name]}_same")
        made = Tensor(
            name,
            (PART, *member.axes[1:]),
            (u, *rest),
            member.dtype,
            member.below,
            role="computed",
            digest=f"emit:{name}",
        )
        number = next(e.number for e in self.pair.forward.equations if e.name == member.name)
        return Equation(
            made, (u, *rest), (Term(Integer(1), (Read(self._values(member, 0), u, *rest),)),), number=number
        )


def members_of(equations: Iterable[Equation]) -> dict[str, Tensor]:
    """The tensors of members over the steps of a part."""
    return {
        e.name: Tensor(
            e.name,
            (PART, *e.tensor.axes[1:]),
            (),
            e.tensor.dtype,
            e.tensor.below,
            role="computed",
            digest=f"emit:part:{e.name}",
        )
        for e in equations
    }


def step_first(e: Equation, members: Collection[str]) -> Equation:
    """An equation with the index of its steps first."""
    n = e.idx.index(step_of(e, members))
    t = Tensor(
        e.name,
        first(e.tensor.axes, n),
        (),
        e.tensor.dtype,
        e.tensor.below,
        role="computed",
        digest=f"emit:first:{e.name}",
    )
    return replace(e, tensor=t, idx=first(e.idx, n))


def regrouped(g: Scan, equations: Sequence[Equation]) -> Scan:
    """The recurrence of these equations, time first."""
    return replace(g, equations=tuple(equations), axis={e.name: 0 for e in equations})
