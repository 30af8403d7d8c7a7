r"""The compact arrays of a Hessian whose equations keep their brackets.

A block ``H[a, b]`` is a sum of parts.  In a part, brackets tie axes to each other, and what is left is a product of
arrays that share no summed index:

    [i' = i] sum_j V[j,k] V[j,k']        axes i k i k'     one array (k, k')
    U[i,k'] V[j,k]                       axes i k j k'     two arrays (i, k') and (j, k), inputs both: nothing is computed
    r[i,j] [k' = k]                      axes i k j k      where r = A - U V' is a value made of inputs: A, and U and V
    dx[k] [k' = k]  -  dx[k] dx[k']      axes k k, one array (k); axes k k', two: a diagonal and rank one

Nothing is approximated: the sum of the parts is the block.  Inputs are referred to by name, never copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import TypeAlias

from sympy import Basic, Expr, Integer

from derive.language.errors import UnsupportedError
from derive.language.index import Fresh, Index, same_size
from derive.language.naming import primed
from derive.language.tensor import Read, Tensor
from derive.program.check import check
from derive.program.program import Equation, Program, Row, Term

from .derivation import Derivation

Letters: TypeAlias = "tuple[Index, ...]"


@dataclass(frozen=True)
class Part:
    """One part of a block: ``axes`` has a letter for each axis of the full block, tied axes sharing theirs.

    ``factors`` are ``(key, letters)`` of the arrays whose product it is, by einsum's rules; a letter that is not in
    ``axes`` is summed over.  ``coef`` multiplies it: a number, or an expression of sizes until these are known.  The
    first ``rows`` axes are those of the first tensor.
    """

    axes: tuple[str, ...]
    factors: tuple[tuple[str, tuple[str, ...]], ...]
    coef: Expr | float = Integer(1)
    rows: int = 0

    @property
    def kind(self) -> str:
        """What the part is as a matrix, whose rows are the first ``rows`` axes."""
        rows, columns = self.axes[: self.rows], self.axes[self.rows :]
        tied = [a for a in rows if a in columns]
        if tied and set(rows) == set(columns):
            return "diagonal" if rows == columns else "permuted diagonal"
        if tied and not any({*of} & {*tied} for _, of in self.factors):
            return f"Kronecker product with the identity over {' '.join(tied)}"
        if tied:
            return f"block diagonal over {' '.join(tied)}"
        across = [bool({*of} & {*rows}) and bool({*of} & {*columns}) for _, of in self.factors]
        if len(across) < 2:
            return "full"
        if not any(across):
            return "low rank" if any({*of} - {*self.axes} for _, of in self.factors) else "rank one"
        alone = len({a for _, of in self.factors for a in of}) == sum(len(of) for _, of in self.factors)
        return "Kronecker product" if all(across) and alone else "product of arrays"


def structured(d: Derivation) -> tuple[Derivation, dict[tuple[str, str], tuple[Part, ...]]]:
    """A derivation that returns the factors of every part, by key, and the layout of each block.

    Raises
    ------
    UnsupportedError
        For a derivation without a Hessian.
    """
    blocks = dict(d.results).get("hessian")
    if blocks is None:
        raise UnsupportedError(
            f'form="structured" is for Hessians; {d.name} is a {d.kind}. Take form="dense", or dv.hessian(loss, wrt)'
        )
    maker = _Maker(d, {t.name for t in blocks.values()})
    rank = {t.name: t.rank for t in d.wrt}
    layout = {
        pair: tuple(replace(p, rows=rank[pair[0]]) for p in maker.block(d.program.defining(t)))
        for pair, t in blocks.items()
    }
    kept = tuple(e for e in d.program.equations if e.name not in maker.blocks)
    made = tuple(replace(e, number=len(kept) + n) for n, e in enumerate(maker.made, start=1))
    results = tuple((g, dict(maker.results)) if g == "hessian" else (g, v) for g, v in d.results)
    outputs = tuple(t for _, v in results for t in ((v,) if isinstance(v, Tensor) else v.values()))
    program = Program(d.program.inputs, (*kept, *made), outputs)
    check(program, "structured")
    return replace(d, program=program, results=results), layout


class _Maker:
    def __init__(self, d: Derivation, blocks: set[str]):
        self.program, self.blocks = d.program, blocks
        self.defined = {e.name for e in d.source.equations}
        self.names = {e.name for e in d.program.equations} | {t.name for t in d.program.inputs}
        self.made: list[Equation] = []
        self.done: dict[str, tuple[Part, ...]] = {}
        self.fresh = Fresh()
        self.results: dict[str, Tensor] = {}

    def block(self, eq: Equation) -> tuple[Part, ...]:
        read = self._mirrored(eq)
        if read is not None:  # the arrays of the other block, the axes in this one's order
            other = self.block(self.program.defining(read.tensor))
            places = [read.idx.index(i) for i in eq.idx]
            return tuple(replace(p, axes=tuple(p.axes[n] for n in places)) for p in other)
        if eq.name not in self.done:
            self.done[eq.name] = self._parts(eq)
        return self.done[eq.name]

    def _parts(self, eq: Equation) -> tuple[Part, ...]:
        together: dict[tuple[Letters, Letters], list[Term]] = {}  # parts of one array with the same axes are one array
        single: list[Part] = []
        for term, inputs in (t for given in eq.terms for t in self._opened(eq, given)):
            axes, term, moved = _tied(eq, term)
            names = tuple(i.name for i in axes)
            pieces = _pieces(eq, term) if term.fac or term.rows else []
            computed = [p for p in pieces if not _is_input(p)]
            references = [p.fac[0] for p in pieces if p not in computed] + [f.xreplace(moved) for f in inputs]
            if len(computed) == 1 and not references:
                together.setdefault((axes, _letters(eq, computed[0])), []).append(computed[0])
                continue
            if computed:
                computed[0] = replace(computed[0], coef=term.coef)
            held = tuple((f.tensor.name, _names(f.idx, eq)) for f in references)
            single.append(
                Part(names, (*(self._array(eq, [p]) for p in computed), *held), Integer(1) if computed else term.coef)
            )
        summed = (Part(tuple(i.name for i in axes), (self._array(eq, terms),)) for (axes, _), terms in together.items())
        return (*summed, *single)

    def _mirrored(self, eq: Equation) -> Read | None:
        """The read of the block that this one is, transposed."""
        read = eq.value()
        return read if isinstance(read, Read) and read.tensor.name in self.blocks else None

    def _opened(self, eq: Equation, term: Term) -> list[tuple[Term, tuple[Read, ...]]]:
        """``(rest, reads of inputs)``: a definition that is a sum of products of inputs is written by these.

        Its own sums stay products of two arrays: they are why the value has a low rank.
        """
        for f in term.fac:
            made = (
                self.program.equation(f.tensor.name) if isinstance(f, Read) and f.tensor.name in self.defined else None
            )
            if (
                made is None
                or made.reduce
                or f.free_symbols & set(term.bnd)
                or not all(t.fac and not t.rows and all(_plain_input(g) for g in t.fac) for t in made.terms)
            ):
                continue
            rest = tuple(g for g in term.fac if g is not f)
            return [(Term(term.coef * t.coef, rest, term.bnd, term.rows), t.fac) for t in made.at(f.idx, self.fresh)]
        return [(term, ())]

    def _array(self, eq: Equation, terms: Sequence[Term]) -> tuple[str, tuple[str, ...]]:
        """The key and the letters of a new array, the sum of the terms."""
        letters = _letters(eq, *terms)
        name = next(f"{eq.name}_{n}" for n in count(1) if f"{eq.name}_{n}" not in self.names)
        self.names.add(name)
        t = Tensor(name, tuple(i.size for i in letters), letters, role="computed", digest=f"part:{name}")
        self.made.append(Equation(t, letters, tuple(terms)))
        self.results[name] = t
        return name, tuple(i.name for i in letters)


def _plain_input(f: Expr) -> bool:
    """A read of an input, each of its axes by an index of its own."""
    return (
        isinstance(f, Read)
        and f.tensor.is_input
        and f.tensor.dtype == "float"
        and len(set(f.idx)) == len(f.idx)
        and all(isinstance(i, Index) and same_size(i.size, a) for i, a in zip(f.idx, f.tensor.axes, strict=True))
    )


def _is_input(piece: Term) -> bool:
    f = piece.only()
    return f is not None and not piece.bnd and not piece.rows and _plain_input(f)


def _names(idx: tuple[Index, ...], eq: Equation) -> tuple[str, ...]:
    """Letters of a read; those that are summed over differ from the block's own."""
    own = {i.name for i in eq.idx}
    return tuple(i.name if i in eq.idx else primed(i.name, own) for i in idx)


def _letters(eq: Equation, *terms: Term) -> tuple[Index, ...]:
    held = set().union(*(_held(t) for t in terms))
    return tuple(i for i in eq.idx if i in held)


def _held(term: Term) -> set[Basic]:
    return set().union(*(x.free_symbols for x in (*term.fac, *term.rows))) - set(term.bnd)


def _tied(eq: Equation, term: Term) -> tuple[tuple[Index, ...], Term, dict[Index, Index]]:
    """The letter of every axis once brackets between free indices tie them, the term without those brackets, and what
    stands for what."""
    first, rows = {i: i for i in eq.idx}, []
    for row in term.rows:
        if row.op == "==" and row.lhs in first and row.rhs in first and same_size(row.lhs.size, row.rhs.size):
            a, b = sorted((first[row.lhs], first[row.rhs]), key=eq.idx.index)
            first = {i: a if r == b else r for i, r in first.items()}
        else:
            rows.append(row)
    moved = {i: r for i, r in first.items() if i != r}
    return tuple(first[i] for i in eq.idx), replace(term, rows=tuple(rows)).xreplace(moved), moved


@dataclass(frozen=True)
class _Group:
    """Factors and conditions that stay together, and the block's and summed indices that they hold."""

    indices: set[Index]
    fac: list[Expr]
    rows: list[Row]

    def joined(self, other: _Group) -> _Group:
        return _Group(self.indices | other.indices, self.fac + other.fac, self.rows + other.rows)


def _pieces(eq: Equation, term: Term) -> list[Term]:
    """The term as a product of terms that share no summed index; a piece within another's letters joins it."""
    groups: list[_Group] = []
    for item in (*term.fac, *term.rows):
        group = _Group(
            set(item.free_symbols) & {*eq.idx, *term.bnd},
            [] if isinstance(item, Row) else [item],
            [item] if isinstance(item, Row) else [],
        )
        for other in [g for g in groups if g.indices & group.indices & set(term.bnd)]:
            groups.remove(other)
            group = other.joined(group)
        groups.append(group)
    free = set(eq.idx)
    joined: list[_Group] = []
    for group in sorted(groups, key=lambda g: -len(g.indices & free)):
        home = next((n for n, g in enumerate(joined) if group.indices & free <= g.indices & free), None)
        if home is None:
            joined.append(group)
        else:
            joined[home] = joined[home].joined(group)
    if not joined:
        return [term]
    joined.sort(key=lambda g: min((eq.idx.index(i) for i in g.indices & free), default=-1))
    used = set().union(*(g.indices for g in joined))
    idle = tuple(b for b in term.bnd if b not in used)  # a summed index that nothing reads multiplies
    return [
        Term(
            term.coef if n == 0 else Integer(1),
            tuple(g.fac),
            tuple(b for b in term.bnd if b in g.indices) + (idle if n == 0 else ()),
            tuple(g.rows),
        )
        for n, g in enumerate(joined)
    ]
