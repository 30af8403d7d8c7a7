"""Matrix formulas -> definitions in index notation.

A node becomes a function of its row and column; a product opens one letter, and a product of sums is one sum over all
their letters, so that ``x'*A*x`` is the ``sum_ij x[i] A[i,j] x[j]`` that one would write by hand.  A sum of matrices
that holds a product, and the argument of an inverse or a determinant, get names of their own.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

import sympy
from sympy import Eq, Expr, Integer, Mul, Rational, Symbol

from derive.language.declare import tensor
from derive.language.define import define
from derive.language.errors import DeriveError, ShapeError, UnsupportedError
from derive.language.facts import (
    STRUCTURES,
    Fact,
    free_entries,
    nonnegative,
    orthogonal,
    positive,
    positive_definite,
    sums_to,
    symmetric,
    unit,
)
from derive.language.functions import FUNCTIONS
from derive.language.index import Index, Size, as_sympy, size
from derive.language.matrices import Determinant, Inverse, LogDet, MatrixFunction
from derive.language.nodes import Iverson, Reduction, Sum
from derive.language.tensor import Tensor
from derive.language.unknown import applied_function

from .functions import kron
from .shapes import Dim, Shape, Sizes, Times, declared_sizes
from .tree import APPLIED, ELEMENTWISE, HALVES, Declaration, Formula

Place: TypeAlias = tuple[Index | None, Index | None]  # row and column of an element; None where the axis is one

CALLED: dict[str, Callable[[Expr], Expr]] = {f.text[0]: f.form for f in FUNCTIONS.values() if f.nargs == 1}
CALLED["sqrt"] = sympy.sqrt
FACTS = {
    "symmetric": symmetric,
    "positive_definite": positive_definite,
    "positive": positive,
    "nonnegative": nonnegative,
    "orthogonal": orthogonal,
    "unit": unit,
    "free": free_entries,
    **{k: Fact(k) for k in STRUCTURES},
}
SIZES = ("N", "M", "K", "L", "P", "Q", "R", "S")
LETTERS = ("ij", "kl", "mn", "pq", "rs", "tu", "vw", "ab")
PARTS = ("r", "s", "t", "u", "v", "z")
LONGEST_POWER = 8
LARGEST_EXPONENT = 100


class Lowering:
    """Tensors of the names of a formula, and the definitions that its nodes become."""

    def __init__(
        self,
        formula: Formula,
        names: Mapping[str, Shape],
        shapes: Mapping[int, Shape],
        sizes: Sizes,
        declared: Mapping[str, Declaration],
        value: str,
    ) -> None:
        self.formula, self.shapes, self.sizes = formula, shapes, sizes
        self.known_sizes = declared_sizes(declared)
        facts = {n: d.facts for n, d in declared.items()}
        self.known: dict[Dim, Expr] = {}  # root of a size -> SymPy size
        self.order: list[Expr] = []  # sizes in the order that the formula shows them
        self.used: set[str] = set()  # letters of the definition being written
        self.taken = set(names) | {value}
        self.declared_sizes = {d for shape in shapes.values() for d in map(sizes.find, shape) if isinstance(d, str)}
        self.parts: dict[str, Tensor] = {}
        self.tensors = {n: self.input(n, shape, facts.get(n, ())) for n, shape in names.items()}

    def input(self, name: str, shape: Shape, facts: Sequence[str]) -> Tensor:
        axes = self.axes(shape)
        if "simplex" in facts and len(axes) != 1:
            raise ShapeError(f"{name} is declared simplex, which a vector is, and not a tensor of {len(axes)} axes")
        known: list[Fact] = [
            g for f in facts for g in ((nonnegative, sums_to(1, axes[0])) if f == "simplex" else (FACTS[f],))
        ]
        return tensor(name, *axes, facts=known)

    # -- sizes and letters ------------------------------------------------------------------------------------------

    def size(self, d: Dim) -> Expr:
        d = self.sizes.find(d)
        if isinstance(d, int):
            return Integer(d)
        if isinstance(d, Times):
            return self.size(d.left) * self.size(d.right)
        if isinstance(d, Expr):
            return d
        if d not in self.known:
            used = {str(s) for s in self.known.values()} | self.declared_sizes | self.taken
            self.known[d] = (
                size(d)
                if isinstance(d, str)
                else size(
                    next(n for n in itertools.chain(SIZES, (f"N{k}" for k in itertools.count(2))) if n not in used)
                )
            )
        return self.known[d]

    def names_of(self, axis: Expr) -> Iterator[str]:
        """The letters of a size, without end: i, j, i', j', ... for the first that the formula has."""
        if axis not in self.order:
            self.order.append(axis)
        n = self.order.index(axis)
        return (c + "'" * k for k in itertools.count(n // len(LETTERS)) for c in LETTERS[n % len(LETTERS)])

    def letter(self, d: Dim) -> Index:
        """A letter that no other index of the definition being written has."""
        axis = self.size(d)
        name = next(n for n in self.names_of(axis) if n not in self.used)
        self.used.add(name)
        return Index(name, axis)

    def axes(self, shape: Shape) -> tuple[Index, ...]:
        """Letters for the axes of a tensor, those that are longer than one."""
        found: list[Index] = []
        for axis in [self.size(d) for d in shape if self.is_long(d)]:
            taken = {i.name for i in found}
            found.append(Index(next(n for n in self.names_of(axis) if n not in taken), axis))
        return tuple(found)

    def is_long(self, d: Dim) -> bool:
        return self.sizes.find(d) != 1

    def shape(self, f: Formula) -> Shape:
        return self.shapes[id(f)]

    # -- definitions ------------------------------------------------------------------------------------------------

    def define(self, name: str, f: Formula) -> Tensor:
        """``name`` as the value of a node, over its own axes."""
        idx = self.axes(self.shape(f))
        before, self.used = self.used, {i.name for i in idx}
        body = self.element(f, *self.places(f, idx))
        self.used = before
        return define(name, idx, body)

    def places(self, f: Formula, idx: Sequence[Index]) -> Place:
        """Row and column of a node, None for an axis of one, from the indices of the others."""
        left = list(idx)
        row, column = (left.pop(0) if self.is_long(d) else None for d in self.shape(f))
        return row, column

    def part(self, f: Formula) -> Tensor:
        """A tensor that holds a node: the input it names, or a definition of its own."""
        if f.op == "name":
            return self.tensors[f.text]
        key = f"{f} {[str(self.size(d)) for d in self.shape(f)]}"
        if key not in self.parts:
            name = next(
                n
                for n in itertools.chain(PARTS, (f"{PARTS[0]}{k}" for k in itertools.count(2)))
                if n not in self.taken and n not in self.tensors
            )
            self.taken.add(name)
            self.parts[key] = self.define(name, f)
        return self.parts[key]

    def read(self, t: Tensor, row: Index | None, column: Index | None) -> Expr:
        return t[tuple(i for i in (row, column) if i is not None)] if t.rank else t._sympy_()

    # -- elements ---------------------------------------------------------------------------------------------------

    def element(self, f: Formula, row: Index | None, column: Index | None) -> Expr:
        """The element of a node at a row and a column; None where the axis is one."""
        if f.op == "number":
            return Rational(f.text)
        if f.op == "name":
            return self.read(self.tensors[f.text], row, column)
        if f.op == "'":
            return self.element(f.args[0], column, row)
        if f.op == "neg":
            return -self.element(f.args[0], row, column)
        if f.op in ("+", "-"):
            a, b = (self.element(a, row, column) for a in f.args)
            return a + b if f.op == "+" else a - b
        if f.op in (".*", "./", "/"):
            a = self.factor(f.args[0], row, column)
            b = self.factor(f.args[1], *((row, column) if f.op != "/" else (None, None)))
            return _times(a, b) if f.op == ".*" else a / b
        if f.op == ">":
            zero = f.args[1].op == "number"
            a = self.factor(f.args[0], row, column)
            return Iverson(a > (Integer(0) if zero else self.factor(f.args[1], row, column)))
        if f.op == "*":
            return self.product(f, row, column)
        if f.op in ("^", ".^"):
            return self.power(f, row, column)
        return self.call(f, row, column)

    def factor(self, f: Formula, row: Index | None, column: Index | None) -> Expr:
        """The element of a node inside a product or a function: a sum that holds a product is named first."""
        if f.op in ("+", "-") and (row is not None or column is not None) and self.holds_product(f):
            return self.read(self.part(f), row, column)
        if f.op in ("'", "neg") and f.args[0].op in ("+", "-"):
            found = self.factor(f.args[0], *((column, row) if f.op == "'" else (row, column)))
            return -found if f.op == "neg" else found
        return self.element(f, row, column)

    def product(self, f: Formula, row: Index | None, column: Index | None) -> Expr:
        a, b = f.args
        (ra, ca), (rb, cb) = self.shape(a), self.shape(b)
        if not self.is_long(ra) and not self.is_long(ca):
            return _times(self.factor(a, None, None), self.factor(b, row, column))
        if not self.is_long(rb) and not self.is_long(cb):
            return _times(self.factor(a, row, column), self.factor(b, None, None))
        chain = self.chain(f)
        letters = [self.letter(d) if self.is_long(d) else None for d in (self.shape(x)[0] for x in chain[1:])]
        places = [row, *letters, column]
        found = Integer(1)
        for x, (i, j) in zip(chain, itertools.pairwise(places), strict=True):
            found = _times(found, self.factor(x, i, j))
        return _summed(found, *(i for i in letters if i is not None))

    def holds_product(self, f: Formula) -> bool:
        """Whether an addend is a product of matrices; one inside a function is named by the function."""
        if f.op == ">":
            return False
        if f.op == "*":
            return len(self.chain(f)) > 1 or any(map(self.holds_product, f.args))
        return (
            f.op in ("^", "inv", "solve", "kron")
            or f.op in ("+", "-", "neg", "'")
            and any(map(self.holds_product, f.args))
        )

    def chain(self, f: Formula) -> list[Formula]:
        """The factors of a product of matrices, however it is bracketed."""
        if f.op != "*" or any(not any(map(self.is_long, self.shape(a))) for a in f.args):
            return [f]
        return [x for a in f.args for x in self.chain(a)]

    def power(self, f: Formula, row: Index | None, column: Index | None) -> Expr:
        base, exponent = f.args
        if f.op == ".^" or not any(map(self.is_long, self.shape(base))):
            b, e = self.factor(base, row, column), self.element(exponent, None, None)
            if b.is_number and e.is_number and abs(e) > LARGEST_EXPONENT:
                raise UnsupportedError(f"in {f}: exponents of numbers go up to {LARGEST_EXPONENT}")
            return b**e
        inverted = exponent.op == "neg"
        n = int((exponent.args[0] if inverted else exponent).text)
        if not 1 <= n <= LONGEST_POWER:
            raise UnsupportedError(
                f"in {f}: matrix powers from 1 to {LONGEST_POWER}, and of the inverse from -1, are accepted"
            )
        letters = [self.letter(self.shape(base)[1]) for _ in range(n - 1)]
        found = Integer(1)
        for i, j in itertools.pairwise([row, *letters, column]):
            found = _times(found, self.inverse(base, i, j) if inverted else self.factor(base, i, j))
        return _summed(found, *letters)

    def inverse(self, f: Formula, row: Index | None, column: Index | None) -> Expr:
        d = self.shape(f)[0]
        p, q = self.letter(d), self.letter(d)
        return Inverse(self.read(self.part(f), p, q), (p, q), row, column)

    def over(self, f: Formula) -> tuple[Place, tuple[Index, ...]]:
        """Fresh letters for the long axes of a node, as (row, column), and the letters alone."""
        row, column = (self.letter(d) if self.is_long(d) else None for d in self.shape(f))
        return (row, column), tuple(i for i in (row, column) if i is not None)

    def call(self, f: Formula, row: Index | None, column: Index | None) -> Expr:
        arg = f.args[0]
        if f.op == "size":
            return Integer(arg.text) if arg.op == "number" else self.size(self.known_sizes[arg.text])
        if f.op == "log" and arg.op == "det":
            return self.determinant(LogDet, arg.args[0])
        if f.op == APPLIED:
            name = f.text.partition("'")[0].partition("^")[0]
            order = int(f.text[len(name) + 2 : -1]) if "^" in f.text else f.text.count("'")
            return applied_function(name, self.factor(arg, row, column), order)
        if f.op in ELEMENTWISE:
            return CALLED[f.op](self.factor(arg, row, column))
        if f.op == "inv":
            return self.inverse(arg, row, column)
        if f.op == "solve":
            inner = self.letter(self.shape(arg)[1])
            return _summed(_times(self.inverse(arg, row, inner), self.factor(f.args[1], inner, column)), inner)
        if f.op in ("det", "logdet"):
            return self.determinant(Determinant if f.op == "det" else LogDet, arg)
        if f.op == "tr":
            if not self.is_long(self.shape(arg)[0]):
                return self.element(arg, None, None)
            i = self.letter(self.shape(arg)[0])
            return _summed(self.element(arg, i, i), i)
        if f.op in ("sum", "norm1", "norm2"):
            at, letters = self.over(arg)
            inside = self.element(arg, *at) if f.op == "sum" else self.factor(arg, *at)
            inside = {"sum": lambda e: e, "norm1": sympy.Abs, "norm2": lambda e: e**2}[f.op](inside)
            inside = _summed(inside, *letters)
            return sympy.sqrt(inside) if f.op == "norm2" else inside
        if f.op == "diag":
            if self.is_long(self.shape(arg)[1]) or row is None or column is None:
                return self.factor(arg, row, row)
            return Mul(self.factor(arg, row, None), Iverson(Eq(row, column)))
        if f.op in HALVES or f.op == "diagsums":
            if row is None or column is None:
                raise UnsupportedError(f"in {f}: {f.op} takes a matrix of more than one row and column")
            if f.op in HALVES:
                first, second = (column, row) if f.op == "tril" else (row, column)
                return _times(self.factor(arg, row, column), Iverson(first <= second))
            p, q = (self.letter(d) for d in self.shape(arg))
            return _summed(_times(self.factor(arg, p, q), Iverson(Eq(p - q, row - column))), p, q)
        if f.op in ("vec", "commutation"):
            return self.stacked(f, row, column)
        if f.op in ("vector", "matrix"):
            return self.element(arg, None, None)
        if f.op == "eye":
            return Integer(1) if row is None or column is None else Iverson(Eq(row, column))
        a, b = (self.part(x) for x in f.args)
        if a.rank != 2 or b.rank != 2:
            raise UnsupportedError(f"in {f}: kron takes two matrices; the outer product of vectors is written x*y'")
        key = f"kron {a.name} {b.name}"
        if key not in self.parts:
            self.parts[key] = kron(a, b)
        return self.read(self.parts[key], row, column)

    def stacked(self, f: Formula, row: Index | None, column: Index | None) -> Expr:
        """The rows of a matrix one below the other; and the matrix K with ``K vec(X) = vec(X')``, X giving its shape."""
        (rows, columns), arg = self.shape(f.args[0]), f.args[0]
        if row is None or (f.op == "commutation" and not (self.is_long(rows) and self.is_long(columns))):
            raise UnsupportedError(f"in {f}: {f.op} takes a matrix of more than one row and column")
        i, k = (self.letter(d) if self.is_long(d) else None for d in (rows, columns))
        if i is None or k is None:
            return self.factor(arg, *((row, None) if k is None else (None, row)))
        place = Iverson(Eq(row if f.op == "vec" else column, i * k.size + k))
        if f.op == "vec":
            return _summed(_times(self.factor(arg, i, k), place), i, k)
        return _summed(Iverson(Eq(row, k * i.size + i)) * place, i, k)

    def determinant(self, node: type[MatrixFunction], arg: Formula) -> Expr:
        if not self.is_long(self.shape(arg)[0]):
            return (sympy.log if node is LogDet else lambda e: e)(self.element(arg, None, None))
        p, q = (self.letter(d) for d in self.shape(arg))
        return node(self.read(self.part(arg), p, q), p, q)


def _taken_apart(e: Expr) -> tuple[Expr, tuple[Index, ...]]:
    """``(body, letters)`` of an expression that is one sum times what holds no reduction."""
    sums = [a for a in Mul.make_args(e) if isinstance(a, Sum)]
    rest = [a for a in Mul.make_args(e) if not isinstance(a, Sum)]
    if len(sums) != 1 or any(a.has(Reduction) for a in rest):
        return e, ()
    return Mul(*rest, sums[0].body), sums[0].binders


def _times(a: Expr, b: Expr) -> Expr:
    """The product of two elements, one sum over the letters of both."""
    if not (a.has(Sum) or b.has(Sum)):
        return a * b
    (x, i), (y, j) = _taken_apart(a), _taken_apart(b)
    if set(i) & set(j) or (not i and a.has(Reduction)) or (not j and b.has(Reduction)):
        return a * b
    return Sum(x * y, *i, *j) if i or j else a * b


def _summed(e: Expr, *new: Index) -> Expr:
    body, letters = _taken_apart(e)
    return Sum(body, *new, *letters) if new or letters else e


def lowered(
    formula: Formula,
    names: Mapping[str, Shape],
    shapes: Mapping[int, Shape],
    sizes: Sizes,
    declared: Mapping[str, Declaration],
    value: str,
) -> dict[str, Tensor]:
    """All inputs of a formula and its value, by name."""
    work = Lowering(formula, names, shapes, sizes, declared, value)
    if value in work.tensors:
        raise DeriveError(
            f"the value is named {value}, and so is a tensor of {formula}; give it another name, as in g = {formula}"
        )
    made = work.define(value, formula)
    return {**work.tensors, **{t.name: t for t in work.parts.values()}, value: made}


def size_of(e: Expr | int) -> Expr:
    """A size as SymPy's matrices have it, its symbols as ours."""
    e = as_sympy(e, "a size of a matrix")
    return e.xreplace({s: Size(s.name) for s in e.atoms(Symbol)})
