"""Equations in index notation as polynomials of matrices in the inputs: every tensor on the way is written out."""

from __future__ import annotations

import itertools
from dataclasses import replace

import sympy
from sympy import Add, Expr, Mul, Pow
from sympy.core.relational import Relational

from derive.language.functions import FUNCTIONS
from derive.language.index import Fresh, Index, Size, same_size
from derive.language.matrices import MATRICES
from derive.language.nodes import Iverson
from derive.language.tensor import Read, Tensor
from derive.language.unknown import Unknown
from derive.program.program import Equation, Program, Term

from .algebra import Atom, Axis, Monomial, NoClosedForm, Polynomial, constant, eye, named, of_atom, ones
from .functions import apply, determinant, inverse, log_determinant, symbolic_power
from .network import Edge, bracket, contracted
from .rules import hadamard, part, power, times
from .transposes import transposed

Place = tuple[Index | None, Index | None]


class Reader:
    """Values of tensors by the programs that compute them; the first program that has an equation is read."""

    def __init__(self, *programs: Program) -> None:
        self.programs = programs
        self.found: dict[str, Polynomial] = {}
        used = [b.uid for p in programs for e in p for t in e.terms for b in (*e.idx, *t.bnd)]
        self.fresh = Fresh(max(used, default=0) + 1)
        self.sums: dict[str, Polynomial] = {}  # the sums in the definitions, by key
        names = [t.name for p in programs for t in p.inputs]
        self.ranks = {n: k for k, n in enumerate(dict.fromkeys(names))}

    def equation_of(self, t: Tensor) -> Equation | None:
        return next((e for p in self.programs if (e := p.equation(t)) is not None), None)

    def tensor(self, t: Tensor) -> Polynomial:
        """The value of a scalar, vector or matrix."""
        if t.name not in self.found:
            eq = self.equation_of(t)
            if eq is not None:
                self.found[t.name] = self.equation(eq)
                if len(self.found[t.name].terms) > 1:
                    self.sums[self.found[t.name].key] = self.found[t.name]
            elif t.rank > 2 or t.dtype != "float":
                what = f"has {t.rank} axes" if t.rank > 2 else f"holds values of type {t.dtype}"
                raise NoClosedForm(f"{t.name} {what}, and is no scalar, vector or matrix of numbers")
            else:
                rows, columns = (*t.axes, None, None)[:2]
                symmetric = t.rank == 2 and any(f.is_symmetric for f in t.facts)
                fact = next((f.kind for f in t.facts if f.is_quadratic), "")
                rank = self.ranks.get(t.name, len(self.ranks))
                self.found[t.name] = named(t.name, (rows, columns), symmetric, rank, fact)
        return self.found[t.name]

    def equation(self, eq: Equation) -> Polynomial:
        """The value of an equation over its own letters; raises :class:`NoClosedForm`, naming it."""
        try:
            return self._equation(eq)
        except NoClosedForm as error:
            said = str(error)
            raise NoClosedForm(said if " in the equation " in said else f"{said}, in the equation {eq}") from None

    def _equation(self, eq: Equation) -> Polynomial:
        if len(eq.idx) not in (0, 1, 2, 4):
            raise NoClosedForm(f"{eq.name} has {len(eq.idx)} axes, and is no scalar, vector or matrix")
        if eq.reduce in MATRICES:
            read = eq.terms[0].fac[0]
            if len(eq.over) != 2 or not isinstance(read, Read) or len(read.idx) != 2:
                raise NoClosedForm("a matrix function of a batch")
            matrix = self.tensor(read.tensor)
            matrix = matrix if read.idx == eq.over else transposed(matrix)
            if eq.reduce == "logabsdet":
                return log_determinant(times(matrix, transposed(matrix))).scaled(sympy.Rational(1, 2))
            return {"inverse": inverse, "det": determinant, "logdet": log_determinant}[eq.reduce](matrix)
        if eq.reduce == "max" and not eq.idx and not eq.guards:
            places = (*eq.over, None, None)[:2]
            inside = [self.pointwise(t.expr(), *places) for t in eq.terms]
            return of_atom(Atom("max", (None, None), tuple(inside)))
        if eq.reduce is not None:
            raise NoClosedForm(f"a {eq.reduce} over an index")
        rows, columns = (*(i.size for i in eq.idx), None, None)[:2]
        if len(eq.idx) == 4:
            a, b, c, e = (i.size for i in eq.idx)
            rows, columns = a * b, c * e
        result = Polynomial((rows, columns))
        for t in eq.terms:
            result += self.term(t, eq.idx)
        return result

    # -- a term -----------------------------------------------------------------------------------------------------

    def term(self, t: Term, idx: tuple[Index, ...]) -> Polynomial:
        if (blocks := radix_pairs(t)) is not None:
            return self.blocks(t, blocks, idx)
        if (places := _along_diagonals(t, idx, self.fresh)) is not None:
            over, rest = places
            return part("diagsums", self.term(rest, over))
        if (written := self.written_out(t)) is not None:
            rows, columns = (*(i.size for i in idx), None, None)[:2]
            result = Polynomial((rows, columns))
            for one in written:
                result += self.term(one, idx)
            return result
        t, edges = self.tied(t, idx)
        factors = [a for f in t.fac for a in Mul.make_args(f)]
        for f in factors:
            edges += self.edges(f)
        return times(constant(t.coef), contracted(edges, t.bnd, idx))

    def written_out(self, t: Term) -> list[Term] | None:
        """The terms with a tensor of three axes or more, or one of sums along diagonals, replaced by its definition; None
        where the term has none."""
        for n, f in enumerate(t.fac):
            long = isinstance(f, Read) and (len(f.idx) > 2 or any(len(_letters(e)) == 2 for e in f.idx))
            eq = self.equation_of(f.tensor) if long else None
            if eq is not None and eq.reduce is None:
                rest = (*t.fac[:n], *t.fac[n + 1 :])
                inside = eq.at(tuple(f.idx), self.fresh)
                return [Term(t.coef * x.coef, (*rest, *x.fac), (*t.bnd, *x.bnd), (*t.rows, *x.rows)) for x in inside]
        return None

    def blocks(self, t: Term, pairs: dict[Index, tuple[Index, Index]], idx: tuple[Index, ...]) -> Polynomial:
        """A term whose rows and columns are those of a Kronecker product, ``r = n i + k`` and ``c = n j + l``."""
        plain = Term(t.coef, t.fac, tuple(b for b in t.bnd if b not in pairs), ())
        if all(i in pairs for i in idx) and len(idx) == 2 and not any(i in pairs for i in plain.bnd):
            (i, k), (j, l) = (pairs[x] for x in idx)
            bound = tuple(b for b in plain.bnd if b not in (i, k, j, l))
            return self.term(Term(t.coef, t.fac, bound, ()), (i, k, j, l))
        edges: list[Edge] = []
        sums: list[list[list[Edge]]] = []
        for f in (a for x in t.fac for a in Mul.make_args(x)):
            if not (isinstance(f, Read) and any(i in pairs for i in f.idx)):
                edges += self.edges(f)
                continue
            if len(f.idx) != 2 or not all(i in pairs for i in f.idx):
                raise NoClosedForm(f"the blocks of {f}")
            (i, k), (j, l) = (pairs[x] for x in f.idx)
            sums.append([[*e] for e in _block_edges(self.tensor(f.tensor), i, k, j, l)])
        if len(sums) != 1:
            raise NoClosedForm("the blocks of several matrices")
        rows, columns = (*(i.size for i in idx), None, None)[:2]
        result = Polynomial((rows, columns))
        for more in sums[0]:
            result += times(constant(t.coef), contracted([*edges, *more], plain.bnd, idx))
        return result

    def tied(self, t: Term, idx: tuple[Index, ...]) -> tuple[Term, list[Edge]]:
        """The term with equal letters as one, and an identity for each pair of free letters that are equal."""
        edges: list[Edge] = []
        while t.rows:
            row, rest = t.rows[0], t.rows[1:]
            a, b = row.lhs, row.rhs
            if row.op == "<=" and isinstance(a, Index) and isinstance(b, Index) and same_size(a.size, b.size):
                edges.append(bracket(a, b))
                t = Term(t.coef, t.fac, t.bnd, rest)
                continue
            if row.op != "==" or not (isinstance(a, Index) and isinstance(b, Index)):
                raise NoClosedForm(f"the condition {row} on indices")
            t = Term(t.coef, t.fac, t.bnd, rest)
            if a in t.bnd or b in t.bnd:
                gone, kept = (a, b) if a in t.bnd else (b, a)
                t = Term(t.coef, t.fac, tuple(x for x in t.bnd if x != gone), rest).xreplace({gone: kept})
            elif a != b:
                edges.append(Edge(eye(a.size), (a, b)))
        return t, edges

    def edges(self, f: Expr) -> list[Edge]:
        """A factor as edges; the square of a tensor is two of it, so that it can meet itself in an inner product."""
        if isinstance(f, Pow) and f.exp.is_Integer and 2 <= f.exp <= 4 and _letters(f.base) and not f.exp.free_symbols:
            return [e for _ in range(int(f.exp)) for e in self.edges(f.base)]
        if isinstance(f, Read):
            if len(f.idx) > 2 or not all(isinstance(i, Index) for i in f.idx):
                raise NoClosedForm(f"the read {f}")
            return [Edge(self.tensor(f.tensor), tuple(f.idx))]
        letters = _letters(f)
        if len(letters) > 2:
            raise NoClosedForm(f"{f} has {len(letters)} letters")
        return [Edge(self.pointwise(f, *(*letters, None, None)[:2]), letters)]

    # -- elementwise --------------------------------------------------------------------------------------------------

    def pointwise(self, e: Expr, row: Index | None, column: Index | None) -> Polynomial:
        """The value of an expression over a row and a column letter."""
        axes = tuple(i.size if i is not None else None for i in (row, column))
        letters = set(_letters(e))
        if column is not None and not letters >= {row, column}:
            return self.broadcast(e, letters, row, column)
        if row is not None and not letters:
            return times(self.pointwise(e, None, None), ones(row.size))
        if not e.atoms(Read) and not e.free_symbols - _sizes(e):
            return constant(e)
        if isinstance(e, Read):
            value = self.tensor(e.tensor)
            if len(e.idx) == 2 and e.idx[0] == e.idx[1]:
                return contracted([Edge(value, tuple(e.idx))], (), e.idx[:1])
            if not all(isinstance(i, Index) for i in e.idx):
                raise NoClosedForm(f"the read {e}")
            return transposed(value) if len(e.idx) == 2 and tuple(e.idx) == (column, row) else value
        if isinstance(e, (Add, Mul)):
            parts = [self.pointwise(a, row, column) for a in e.args]
            result = parts[0]
            for p in parts[1:]:
                result = result + p if isinstance(e, Add) else hadamard(result, p)
            if isinstance(e, Add):
                self.sums[result.key] = result
            return result
        if isinstance(e, Pow):
            base = self.pointwise(e.base, row, column)
            if e.exp.is_number and e.exp.is_Rational:
                return power(base, e.exp)
            if _letters(e.exp):
                raise NoClosedForm(f"the power {e}, whose exponent is no scalar,")
            return symbolic_power(base, self.pointwise(e.exp, None, None))
        name = type(e).__name__
        if isinstance(e, Unknown):
            return apply(e.called, self.pointwise(e.args[2], row, column))
        if name in FUNCTIONS and len(e.args) == 1:
            return apply(name, self.pointwise(e.args[0], row, column))
        if isinstance(e, Iverson) and isinstance(e.condition, Relational):
            return self.bracket(e.condition, row, column, (axes[0], axes[1]))
        raise NoClosedForm(f"{name} is not written with matrices")

    def broadcast(self, e: Expr, letters: set[Index], row: Index | None, column: Index) -> Polynomial:
        """A value of one letter, or none, over two: ``v 1'`` and ``1 v'``."""
        assert row is not None
        if column in letters:
            return times(ones(row.size), transposed(self.pointwise(e, column, None)))
        return times(self.pointwise(e, row, None), transposed(ones(column.size)))

    def bracket(self, c: Relational, row: Index | None, column: Index | None, shape: tuple[Axis, Axis]) -> Polynomial:
        """The identity of ``[i = j]``; ``[a > b]`` of every element as a difference compared with 0."""
        if isinstance(c, sympy.Eq) and row is not None and {c.lhs, c.rhs} == {row, column}:
            return eye(row.size)
        kinds = {sympy.StrictGreaterThan: 1, sympy.StrictLessThan: -1}
        kind = kinds.get(type(c))
        if kind is None:
            raise NoClosedForm(f"the bracket [{c}]")
        difference = self.pointwise((c.lhs - c.rhs) * kind, row, column)
        return of_atom(Atom("fn", shape, (difference,), ">"))


def _along_diagonals(t: Term, idx: tuple[Index, ...], fresh: Fresh) -> tuple[tuple[Index, Index], Term] | None:
    """The summed letters p, q of ``sum_{p,q} G[p,q] [p - q = i - j]`` over the free i, j, and the term without the condition.

    So it is where ``q + i - j`` stands in place of p, too.
    """
    if len(idx) != 2:
        return None
    (i, j), found = idx, None
    for row in t.rows:
        for p, q in itertools.permutations(t.bnd, 2):
            if row.op == "==" and (row.lhs - row.rhs) in (p - q - i + j, q - p + i - j):
                found = p, q, replace(t, rows=tuple(r for r in t.rows if r != row))
    for q in t.bnd if found is None else ():
        p = fresh(i)
        moved = {e: p for r in t.reads() for e in r.idx if sympy.expand(e - (q + i - j)) == 0}
        if moved:
            found = p, q, t.xreplace(moved)
    if found is None:
        return None
    p, q, rest = found
    rest = replace(rest, bnd=tuple(b for b in rest.bnd if b not in (p, q)))
    fits = same_size(p.size, i.size) and same_size(q.size, j.size) and not {i, j} & rest.free_symbols
    return ((p, q), rest) if fits else None


def radix_pairs(t: Term) -> dict[Index, tuple[Index, Index]] | None:
    """The letters that rows tie to two others, ``r = n i + k`` with n the size of k; None where rows say anything else."""
    found: dict[Index, tuple[Index, Index]] = {}
    for row in t.rows:
        for one, other in ((row.lhs, row.rhs), (row.rhs, row.lhs)):
            letters = _letters(other)
            if row.op == "==" and isinstance(one, Index) and len(letters) == 2:
                for i, k in (letters, letters[::-1]):
                    if sympy.expand(other - (i * k.size + k)) == 0:
                        found[one] = (i, k)
    return found if t.rows and len(found) == len(t.rows) else None


def _block_edges(p: Polynomial, i: Index, k: Index, j: Index, l: Index) -> list[list[Edge]]:  # noqa: E741
    """``M[n i + k, n j + l]`` of a sum of Kronecker products and identities, as edges of each term."""
    found: list[list[Edge]] = []
    for m in p.terms:
        scale = Edge(Polynomial((None, None), (Monomial(m.coef, m.scalars),)))
        ops = [a.op for a in m.word]
        if ops == ["eye"]:
            found.append([scale, Edge(eye(i.size), (i, j)), Edge(eye(k.size), (k, l))])
        elif ops == ["kron"]:
            a, b = m.word[0].args
            found.append([scale, Edge(a, (i, j)), Edge(b, (k, l))])
        else:
            raise NoClosedForm("the blocks of a matrix that is no Kronecker product")
    return found


def _letters(e: Expr) -> tuple[Index, ...]:
    return tuple(sorted({s for s in e.free_symbols if isinstance(s, Index)}, key=lambda i: (i.name, i.uid)))


def _sizes(e: Expr) -> set[Size]:
    return {s for s in e.free_symbols if isinstance(s, Size)}
