"""What a derivation works on: rows, terms, equations, programs and steps.  All are immutable and checked.

program   = inputs, equations, outputs
equation  = tensor[idx] = term + term + ...              (plain)
          | tensor[idx] = max_{over} (terms | guards)    (reduce "max", "argmax")
          | tensor[idx] = inverse of a read over ``over``  (reduce "inverse", "det", "logdet", "logabsdet")
term      = coef * sum_{bnd} fac * fac * ... * [row] * [row]
row       = affine == affine | affine <= affine | ...    (kept as rows, solved only when a unit coefficient allows)
fac       = a pointwise SymPy expression over reads; no Sum, Max or ArgMax inside
coef      = a SymPy expression of numbers and sizes only
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import sympy
from sympy import Add, Basic, Expr, Mul
from sympy.core.relational import Relational

from derive.language.index import Fresh, Index, Size
from derive.language.keys import key
from derive.language.matrices import MATRICES, split_at
from derive.language.nodes import ArgMax, Iverson, Max, Sum
from derive.language.printing import html, latex, line
from derive.language.tensor import Read, Tensor

RELATIONS = {"==": sympy.Eq, "!=": sympy.Ne, "<=": sympy.Le, "<": sympy.Lt}


@dataclass(frozen=True)
class Row:
    """A condition on index values, ``lhs op rhs``; sides are affine in indices and may read integer tensors."""

    op: str
    lhs: Expr
    rhs: Expr

    @property
    def free_symbols(self) -> set[Basic]:
        return self.lhs.free_symbols | self.rhs.free_symbols

    def xreplace(self, mapping: Mapping[Any, Any]) -> Row:
        return Row(self.op, self.lhs.xreplace(mapping), self.rhs.xreplace(mapping))

    def key(self, env: dict[Index, str]) -> str:
        if self.op in ("==", "!="):
            return self.op + "".join(sorted((key(self.lhs, env), key(self.rhs, env))))
        return key(self.lhs, env) + self.op + key(self.rhs, env)

    @property
    def condition(self) -> Relational:
        """The row as a SymPy relation."""
        return RELATIONS[self.op](self.lhs, self.rhs, evaluate=False)

    def reads(self) -> set[Read]:
        return self.lhs.atoms(Read) | self.rhs.atoms(Read)

    def __str__(self) -> str:
        return f"{self.lhs} {self.op} {self.rhs}"


@dataclass(frozen=True)
class Term:
    """``coef * sum_{bnd} prod(fac) * prod([row])``; the factors stay a tuple, never a SymPy ``Mul``."""

    coef: Expr
    fac: tuple[Expr, ...] = ()
    bnd: tuple[Index, ...] = ()
    rows: tuple[Row, ...] = ()

    def xreplace(self, mapping: Mapping[Any, Any]) -> Term:
        """Replace reads and free indices everywhere (bound indices are fresh, so nothing is captured)."""
        if not mapping:
            return self
        return Term(
            self.coef,
            tuple(f.xreplace(mapping) for f in self.fac),
            self.bnd,
            tuple(r.xreplace(mapping) for r in self.rows),
        )

    def opened(self, fresh: Fresh) -> Term:
        """The same term with fresh bound indices."""
        mapping = {b: fresh(b) for b in self.bnd}
        moved = self.xreplace(mapping)
        return replace(moved, bnd=tuple(mapping[b] for b in self.bnd))

    def scaled(self, factor: Expr) -> Term:
        return replace(self, coef=sympy.expand(self.coef * factor) if factor.is_Add else self.coef * factor)

    def times(self, *factors: Expr) -> Term:
        return replace(self, fac=self.fac + factors)

    def only(self) -> Expr | None:
        """``f`` of ``coef * sum_{bnd} f [rows]``: the one factor, where there is one."""
        return self.fac[0] if len(self.fac) == 1 else None

    @property
    def is_plain(self) -> bool:
        """Whether the term is the product of its factors: coefficient 1, nothing summed, no condition."""
        return self.coef == 1 and not self.bnd and not self.rows

    def bare(self) -> Expr | None:
        """``f`` where the term is ``f`` and nothing else; None where it is more."""
        return self.only() if self.is_plain else None

    @property
    def free_symbols(self) -> set[Index]:
        found: set[Basic] = set()
        for f in self.fac:
            found |= f.free_symbols
        for r in self.rows:
            found |= r.free_symbols
        return {s for s in found if isinstance(s, Index)} - set(self.bnd)

    def reads(self) -> set[Read]:
        found: set[Read] = set()
        for f in self.fac:
            found |= f.atoms(Read)
        for r in self.rows:
            found |= r.reads()
        return found

    def expr(self) -> Expr:
        """The term as one SymPy expression."""
        body = Mul(*self.fac, *(Iverson(r.condition) for r in self.rows))
        if self.bnd:
            body = Sum(body, *self.bnd)
        return self.coef * body


@dataclass(frozen=True)
class Equation:
    """``tensor[idx] = right-hand side``, numbered within its derivation.

    ``.lhs`` and ``.rhs`` are SymPy; ``str()`` is one readable line; ``.terms`` is the normal form.
    For ``reduce`` "max" or "argmax", the terms (which bind nothing) are reduced over ``over`` where ``guards`` hold.
    """

    tensor: Tensor
    idx: tuple[Index, ...]
    terms: tuple[Term, ...]
    reduce: str | None = None
    over: tuple[Index, ...] = ()
    guards: tuple[Row, ...] = ()
    number: int = 0
    parents: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return self.tensor.name

    @property
    def lhs(self) -> Expr:
        return Read(self.tensor, *self.idx)

    @property
    def rhs(self) -> Expr:
        body = Add(*(t.expr() for t in self.terms))
        if self.reduce is None:
            return body
        if self.guards:
            guard = (
                sympy.And(*(g.condition for g in self.guards), evaluate=False)
                if len(self.guards) > 1
                else self.guards[0].condition
            )
            body = sympy.Piecewise((body, guard), (-sympy.oo, True), evaluate=False)
        if self.reduce in MATRICES:
            _, at = split_at(self.reduce, self.idx)
            return MATRICES[self.reduce].node(body, self.over, *at)
        return {"max": Max, "argmax": ArgMax}[self.reduce](body, *self.over)

    def single(self) -> Term | None:
        """The one term of ``h = coef * sum f * g * ... [rows]``; None of a longer sum and of a reduction."""
        return self.terms[0] if self.reduce is None and len(self.terms) == 1 else None

    def value(self) -> Expr | None:
        """``f`` where the equation is ``h = f`` and nothing else."""
        term = self.single()
        return None if term is None else term.bare()

    def reads(self) -> frozenset[Read]:
        """Every read on the right-hand side, those inside indices and conditions included."""
        return self._reads

    @cached_property
    def _reads(self) -> frozenset[Read]:
        found: set[Read] = set()
        for t in self.terms:
            found |= t.reads()
        for g in self.guards:
            found |= g.reads()
        return frozenset(found)

    def tensors(self) -> list[Tensor]:
        """The tensors read, sorted by name."""
        return list(self._tensors)

    @cached_property
    def _tensors(self) -> tuple[Tensor, ...]:
        return tuple(sorted({r.tensor for r in self.reads()}, key=lambda t: t.name))

    def xreplace(self, mapping: Mapping[Any, Any]) -> Equation:
        return replace(
            self,
            terms=tuple(t.xreplace(mapping) for t in self.terms),
            guards=tuple(g.xreplace(mapping) for g in self.guards),
        )

    def at(self, idx: tuple[Expr, ...], fresh: Fresh) -> tuple[Term, ...]:
        """The terms of a plain equation read at other index expressions, with fresh bound indices."""
        mapping = dict(zip(self.idx, idx, strict=True))
        return tuple(t.opened(fresh).xreplace(mapping) for t in self.terms)

    @property
    def is_pointwise(self) -> bool:
        """No bound index, no reduction: each element depends on single elements."""
        return self.reduce is None and not any(t.bnd for t in self.terms)

    def __str__(self) -> str:
        return line(self)

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {latex(self)}$"


@dataclass(frozen=True)
class Program:
    """Equations in order, the inputs they read, and the named outputs.

    Every tensor name is unique within a program; ``equation(name)`` finds a definition.
    """

    inputs: tuple[Tensor, ...]
    equations: tuple[Equation, ...]
    outputs: tuple[Tensor, ...] = ()

    @cached_property
    def _by_name(self) -> dict[str, Equation]:
        return {e.name: e for e in self.equations}

    def __iter__(self) -> Iterator[Equation]:
        return iter(self.equations)

    def __len__(self) -> int:
        return len(self.equations)

    def __getitem__(self, n: int) -> Equation:
        return self.equations[n]

    def equation(self, name: str | Tensor) -> Equation | None:
        return self._by_name.get(name.name if isinstance(name, Tensor) else name)

    def defining(self, tensor: Tensor) -> Equation:
        """The equation of a tensor that the program is known to compute."""
        return self._by_name[tensor.name]

    def sizes(self) -> list[Size]:
        """Every symbolic size in the program, by name."""
        found: set[Size] = set()
        for t in self.inputs:
            for a in t.axes + ((t.below,) if t.below is not None else ()):
                found |= a.free_symbols
        for e in self.equations:
            for a in e.tensor.axes:
                found |= a.free_symbols
            for term in e.terms:
                found |= {s for s in term.coef.free_symbols if isinstance(s, Size)}
                for part in (*term.fac, *term.rows):
                    found |= {s for s in part.free_symbols if isinstance(s, Size)}
                for b in term.bnd:
                    found |= b.size.free_symbols
            for b in e.over:
                found |= b.size.free_symbols
        return sorted(found, key=lambda s: s.name)

    def __str__(self) -> str:
        return "\n".join(str(e) for e in self.equations)


@dataclass(frozen=True)
class Step:
    """One kept step of a derivation.

    ``claim`` says what makes it right, and so how the exact check decides it:

    * ``"equal"``: ``before`` and ``after`` define the same tensor with equal values, given ``context``;
    * ``"exp-equal"``: the exponentials of both sides agree (exp is injective on the reals);
    * ``"ordered"``: both sides agree for every order of the elements of ``wrt``, however they are summed, given ``context``;
    * ``"structure"``: ``after`` gathers ``before`` at all places where a free entry of the matrix ``wrt`` stands, which are
      its last two axes, given ``context``;
    * ``"transpose"``: ``before`` are the consumers y = F(x, ...) of ``target`` x, and ``after`` is the sum over them
      of J_F' dy, tested by <dy, J_F v> = <after, v>;
    * ``"tangent"``: ``after`` is the derivative of the first equation of ``context`` by the elements of ``wrt``, its own
      indices first, given those of what it reads;
    * ``"definition"``: ``after`` names a new tensor; nothing is claimed of anything older.

    ``adjoint_of`` maps each consumer's name to the tensor that holds its adjoint; for a tangent, each tensor that is read
    to its derivative by ``wrt``.
    """

    id: int
    rule: str
    target: str
    before: tuple[Equation, ...]
    after: Equation
    why: str
    parents: tuple[int, ...] = ()
    facts: tuple[str, ...] = ()
    context: tuple[Equation, ...] = ()
    claim: str = "equal"
    adjoint_of: tuple[tuple[str, Tensor], ...] = ()
    wrt: Tensor | None = None

    def __str__(self) -> str:
        return line(self)

    def _repr_html_(self) -> str:
        return html(self)
