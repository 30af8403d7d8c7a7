r"""The compact arrays of a Hessian whose equations keep their brackets.

A block ``H[a, b]`` is a sum of parts.  In a part, brackets tie axes to each other, and what is left is a product of
arrays that share no summed index:

    [i' = i] sum_j V[j,k] V[j,k']        axes i k i k'     one array (k, k')
    U[i,k'] V[j,k]                       axes i k j k'     two arrays (i, k') and (j, k)
    dx[k] [k' = k]  -  dx[k] dx[k']      axes k k, one array (k); axes k k', two: a diagonal and rank one

Nothing is approximated: the sum of the parts is the block.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sympy import Integer

from .derivation import Derivation
from .errors import UnsupportedError
from .index import Index, same_size
from .program import Equation, Program, Row, Term
from .tensor import Read, Tensor


@dataclass(frozen=True)
class Part:
    """One part of a block: ``axes`` has a letter for each axis of the full block, tied axes sharing theirs.

    ``factors`` are ``(key, letters)`` of the arrays whose product it is, by einsum's rules.
    """

    axes: tuple[str, ...]
    factors: tuple[tuple[str, tuple[str, ...]], ...]


def structured(d: Derivation) -> tuple[Derivation, dict[tuple[str, str], tuple[Part, ...]]]:
    """A derivation that returns the factors of every part, by key, and the layout of each block.

    Raises
    ------
    UnsupportedError
        For a derivation without a Hessian.
    """
    blocks = dict(d.results).get("hessian")
    if blocks is None:
        raise UnsupportedError(f'form="structured" is for Hessians; {d.name} is a {d.kind}. Take form="dense", or '
                               f"dv.hessian(loss, wrt)")
    maker = _Maker(d, {t.name for t in blocks.values()})
    layout = {pair: maker.block(d.program.equation(t)) for pair, t in blocks.items()}
    kept = tuple(e for e in d.program.equations if e.name not in maker.blocks)
    made = tuple(replace(e, number=len(kept) + n) for n, e in enumerate(maker.made, start=1))
    results = tuple((g, dict(maker.results)) if g == "hessian" else (g, v) for g, v in d.results)
    outputs = tuple(t for _, v in results for t in (v.values() if hasattr(v, "values") else (v,)))
    program = Program(d.program.inputs, (*kept, *made), outputs)
    program.check("structured")
    return replace(d, program=program, results=results), layout


class _Maker:
    def __init__(self, d: Derivation, blocks: set[str]):
        self.program, self.blocks = d.program, blocks
        self.names = {e.name for e in d.program.equations} | {t.name for t in d.program.inputs}
        self.made: list[Equation] = []
        self.results: dict[str, Tensor] = {}

    def block(self, eq: Equation) -> tuple[Part, ...]:
        eq = self._resolved(eq)
        together: dict = {}  # parts of one array with the same axes are one array
        single: list[Part] = []
        for term in eq.terms:
            axes, term = _tied(eq, term)
            pieces = _pieces(eq, term)
            if len(pieces) == 1:
                letters = _letters(eq, pieces[0])
                together.setdefault((axes, letters), []).append(pieces[0])
            else:
                single.append(Part(tuple(i.name for i in axes), tuple(self._array(eq, [p]) for p in pieces)))
        summed = (Part(tuple(i.name for i in axes), (self._array(eq, terms),))
                  for (axes, _), terms in together.items())
        return (*summed, *single)

    def _resolved(self, eq: Equation) -> Equation:
        """A block that is another one transposed has the other's terms."""
        term = eq.terms[0] if len(eq.terms) == 1 else None
        read = term.fac[0] if term is not None and len(term.fac) == 1 and isinstance(term.fac[0], Read) else None
        if read is None or read.tensor.name not in self.blocks or term.coef != 1 or term.rows or term.bnd:
            return eq
        other = self._resolved(self.program.equation(read.tensor.name))
        return replace(eq, terms=tuple(t.xreplace(dict(zip(other.idx, read.idx, strict=True))) for t in other.terms))

    def _array(self, eq: Equation, terms) -> tuple[str, tuple[str, ...]]:
        letters = _letters(eq, *terms)
        name, n = f"{eq.name}_{1}", 1
        while name in self.names:
            n += 1
            name = f"{eq.name}_{n}"
        self.names.add(name)
        t = Tensor(name, tuple(i.size for i in letters), letters, role="computed", digest=f"part:{name}")
        self.made.append(Equation(t, letters, tuple(terms)))
        self.results[name] = t
        return name, tuple(i.name for i in letters)


def _letters(eq: Equation, *terms: Term) -> tuple[Index, ...]:
    held = set().union(*(_held(t) for t in terms))
    return tuple(i for i in eq.idx if i in held)


def _held(term: Term) -> set:
    return set().union(*(x.free_symbols for x in (*term.fac, *term.rows)), set()) - set(term.bnd)


def _tied(eq: Equation, term: Term):
    """The letter of every axis once brackets between free indices tie them, and the term without those brackets."""
    first, rows = {i: i for i in eq.idx}, []
    for row in term.rows:
        if row.op == "==" and row.lhs in first and row.rhs in first and same_size(row.lhs.size, row.rhs.size):
            a, b = sorted((first[row.lhs], first[row.rhs]), key=eq.idx.index)
            first = {i: a if r == b else r for i, r in first.items()}
        else:
            rows.append(row)
    moved = {i: r for i, r in first.items() if i != r}
    return tuple(first[i] for i in eq.idx), replace(term, rows=tuple(rows)).xreplace(moved)


def _pieces(eq: Equation, term: Term) -> list[Term]:
    """The term as a product of terms that share no summed index; a piece within another's letters joins it."""
    groups: list[tuple[set, list, list]] = []  # (indices, factors, rows)
    for item in (*term.fac, *term.rows):
        group = (set(item.free_symbols) & {*eq.idx, *term.bnd}, [], [])
        group[2 if isinstance(item, Row) else 1].append(item)
        for other in [g for g in groups if g[0] & group[0] & set(term.bnd)]:
            groups.remove(other)
            group = (group[0] | other[0], other[1] + group[1], other[2] + group[2])
        groups.append(group)
    free = set(eq.idx)
    joined: list = []
    for group in sorted(groups, key=lambda g: -len(g[0] & free)):
        home = next((g for g in joined if group[0] & free <= g[0] & free), None)
        if home is None:
            joined.append((set(group[0]), list(group[1]), list(group[2])))
        else:
            home[0].update(group[0])
            home[1].extend(group[1])
            home[2].extend(group[2])
    if not joined:
        return [term]
    joined.sort(key=lambda g: min((eq.idx.index(i) for i in g[0] & free), default=-1))
    used = set().union(*(g[0] for g in joined))
    idle = tuple(b for b in term.bnd if b not in used)  # a summed index that nothing reads multiplies
    return [Term(term.coef if n == 0 else Integer(1), tuple(fac),
                 tuple(b for b in term.bnd if b in held) + (idle if n == 0 else ()), tuple(rows))
            for n, (held, fac, rows) in enumerate(joined)]
