"""Which names of a matrix formula are matrices, vectors and scalars, and which of their sizes are one.

Every node has a shape (rows, columns); a size is 1, a whole number, a declared name, or an unknown that the formula
identifies with others.  What a name is follows from its declaration; else from its spelling: a capital letter is a
matrix, a small one a vector, a Greek name (``lam``, ``alpha``) a scalar.  Where that does not fit, a small name that is
nowhere treated as a vector (transposed, summed, in a norm) may be a scalar, if there is one way to make it fit.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from sympy import Expr

from derive.language.errors import ShapeError

from .tree import APPLIED, ELEMENTWISE, HALVES, OF_SIZES, SIZES_TAKEN, Declaration, Formula

GREEK = {
    "alpha",
    "beta",
    "gamma",
    "delta",
    "eps",
    "epsilon",
    "zeta",
    "eta",
    "theta",
    "kappa",
    "lam",
    "lambda_",
    "mu",
    "nu",
    "xi",
    "rho",
    "sigma",
    "tau",
    "phi",
    "chi",
    "psi",
    "omega",
}
MOST_CHANGES = 3
# facts of square matrices
SQUARE = ("symmetric", "positive_definite", "orthogonal", "diagonal", "lower_triangular", "upper_triangular")
LONG = ("rows", "columns")  # unknown sizes of matrices and vectors, which are never 1 unless declared so


class Conflict(Exception):
    """Two shapes that do not fit, inside this module only; becomes a :class:`ShapeError`."""


Unknown: TypeAlias = tuple[str, str]  # which size, and of what: ("rows", "X")


@dataclass(frozen=True)
class Times:
    """The size of an axis of a Kronecker product."""

    left: Dim
    right: Dim

    def __str__(self) -> str:
        return f"{_text(self.left)} {_text(self.right)}"


Dim: TypeAlias = int | str | Expr | Unknown | Times  # a number, a declared name, SymPy's own, or not known yet
Shape: TypeAlias = tuple[Dim, Dim]  # rows, columns


def _text(d: Dim) -> str:
    return f"{d[0]} of {d[1]}" if isinstance(d, tuple) else str(d)


@dataclass
class Sizes:
    """Unknown sizes, identified with each other: a union-find whose roots may be bound to a number or a name."""

    parent: dict[Dim, Dim] = field(default_factory=dict)

    def find(self, d: Dim) -> Dim:
        while self.parent.get(d, d) != d:
            d = self.parent[d]
        return d

    def occurs(self, a: Dim, b: Dim) -> bool:
        """Whether a size is a part of a product: n = n m has no answer."""
        b = self.find(b)
        return a == b or (isinstance(b, Times) and (self.occurs(a, b.left) or self.occurs(a, b.right)))

    def unify(self, a: Dim, b: Dim, why: str) -> None:
        a, b = self.find(a), self.find(b)
        if a == b:
            return
        if isinstance(a, Times) and isinstance(b, Times):
            self.unify(a.left, b.left, why)
            self.unify(a.right, b.right, why)
            return
        if isinstance(b, tuple) and not (isinstance(a, tuple) and b[0] in LONG):
            a, b = b, a  # a is unknown, and b is what it is, or an axis that is longer than one
        if not isinstance(a, tuple) or (b == 1 and a[0] in LONG) or self.occurs(a, b):
            raise Conflict(why)
        self.parent[a] = b


def shapes(formula: Formula, declared: Mapping[str, Declaration]) -> tuple[dict[str, Shape], dict[int, Shape], Sizes]:
    """Kinds and shapes of all names, the shape of every node, and the sizes behind them.

    Raises
    ------
    ShapeError
        Where the formula fits no reading of its names, or several equally well; the message names both.
    """
    names, known = formula.names(), declared_sizes(declared)
    twice = [n for n in names if n in known]
    if twice:
        raise ShapeError(
            f"{formula}\n  {twice[0]} is a size, and stands as a value too; write size({twice[0]}) for the number that it "
            f"is, or give the value another name"
        )
    for f in formula.nodes():
        if f.op in OF_SIZES and f.args[0].op == "name" and f.args[0].text not in known:
            have = f"the declared sizes are {', '.join(known)}" if known else "no size is declared"
            raise ShapeError(f"{formula}\n  in {f}: {f.args[0]} is no size ({have}); {f.op} takes {SIZES_TAKEN[f.op]}")
    free = [n for n in names if n not in declared]
    usual = tuple(_usual(n) for n in free)
    loose = [
        n
        for n, (name, kind) in enumerate(zip(free, usual, strict=True))
        if kind == "vector" and name not in _treated_as_vectors(formula)
    ]
    first: str | None = None
    for changes in range(min(MOST_CHANGES, len(loose)) + 1):
        fits = []
        for kinds in _readings(usual, loose, changes):
            try:
                fits.append((kinds, Reading(formula, dict(zip(free, kinds, strict=True)), declared)))
            except Conflict as error:
                first = first or str(error)
        if len(fits) > 1:
            shown = " or ".join(
                ", ".join(f"{n}: {k}" for n, k, u in zip(free, kinds, usual, strict=True) if k != u)
                for kinds, _ in fits[:2]
            )
            raise ShapeError(
                f"{formula}\n  as spelled it does not fit: {first}\n  it is ambiguous what is meant: {shown}; "
                f"declare it, as in  {_declaration(free, usual, fits[0][0])}; {formula}"
            )
        if fits:
            reading = fits[0][1]
            return reading.names, reading.nodes, reading.sizes
    raise ShapeError(f"{formula}\n  {first}")


def declared_sizes(declared: Mapping[str, Declaration]) -> dict[str, str | Expr]:
    """Name -> size, of those that the declarations name."""
    dims = [d for t in declared.values() for d in t.dims]
    found = {d: d for d in dims if isinstance(d, str) and not d.isdigit()}
    return found | {s.name: s for d in dims if isinstance(d, Expr) for s in sorted(d.free_symbols, key=str)}


def _usual(name: str) -> str:
    if name in GREEK or name.rstrip("0123456789_") in GREEK:
        return "scalar"
    return "matrix" if name[:1].isupper() else "vector"


def _declaration(names: Sequence[str], usual: Sequence[str], kinds: Sequence[str]) -> str:
    return "; ".join(f"{n}: {k}" for n, k, u in zip(names, kinds, usual, strict=True) if k != u)


def _readings(usual: Sequence[str], loose: Sequence[int], changes: int) -> Iterator[tuple[str, ...]]:
    for places in itertools.combinations(loose, changes):
        yield tuple("scalar" if n in places else kind for n, kind in enumerate(usual))


def _treated_as_vectors(f: Formula) -> set[str]:
    found = set().union(*map(_treated_as_vectors, f.args)) if f.args else set()
    if f.op in ("'", "sum", "norm1", "norm2", "diag", ".*", "./", ".^"):
        found |= {a.text for a in f.args if a.op == "name"}
    return found


class Reading:
    """The shapes of all nodes for one choice of kinds; raises :class:`Conflict` where they do not fit."""

    def __init__(self, formula: Formula, kinds: Mapping[str, str], declared: Mapping[str, Declaration]) -> None:
        self.sizes = Sizes()
        self.names: dict[str, Shape] = {}
        self.nodes: dict[int, Shape] = {}  # by id
        self.known = declared_sizes(declared)
        for n in formula.names():
            self.names[n] = self._declared(declared[n]) if n in declared else _undeclared(n, kinds[n])
            square = [f for f in declared[n].facts if f in SQUARE] if n in declared else []
            if square:
                self.same(
                    self.names[n],
                    _turned(self.names[n]),
                    f"{n} is declared {square[0].replace('_', ' ')}, but its shape is {self.text(self.names[n])}; "
                    f"accepted is a square matrix, as in  {n}: n x n {square[0].replace('_', ' ')}",
                )
        self.fresh = itertools.count()
        self.shape(formula)

    @staticmethod
    def _declared(d: Declaration) -> Shape:
        dims = (int(s) if isinstance(s, str) and s.isdigit() else s for s in d.dims)
        rows, columns = itertools.islice(itertools.chain(dims, (1, 1)), 2)
        return rows, columns

    def text(self, shape: Shape) -> str:
        shown = [_text(self.sizes.find(d)) for d in shape]
        if shown == ["1", "1"]:
            return "scalar"
        return f"vector ({shown[0]})" if shown[1] == "1" else f"({shown[0]}) x ({shown[1]})"

    def same(self, a: Shape, b: Shape, why: str) -> None:
        self.sizes.unify(a[0], b[0], why)
        self.sizes.unify(a[1], b[1], why)

    def is_scalar(self, shape: Shape) -> bool:
        return all(self.sizes.find(d) == 1 for d in shape)

    def shape(self, f: Formula) -> Shape:
        args = [self.shape(a) for a in f.args] if f.op not in OF_SIZES else []
        found = self.rule(f, args)
        self.nodes[id(f)] = found
        return found

    def both(self, f: Formula, args: Sequence[Shape]) -> str:
        return f"in {f}: {f.args[0]} is {_a(self.text(args[0]))}, {f.args[1]} is {_a(self.text(args[1]))}"

    def rule(self, f: Formula, args: Sequence[Shape]) -> Shape:
        if f.op == "number":
            return (1, 1)
        if f.op == "name":
            return self.names[f.text]
        if f.op == "neg":
            return args[0]
        if f.op == "'":
            return _turned(args[0])
        if f.op in ("+", "-", ".*", "./"):
            hint = (
                ""
                if f.op in (".*", "./") or not any(map(self.is_scalar, args))
                else "; to add a number to every element, multiply it by vector(1) or matrix(1)"
            )
            self.same(args[0], args[1], f"{self.both(f, args)}; {f.op} takes two of one shape{hint}")
            return args[0]
        if f.op == ">":
            if f.args[1].op != "number" or float(f.args[1].text):
                self.same(args[0], args[1], f"{self.both(f, args)}; > compares two of one shape, or with 0")
            return args[0]
        if f.op == "*":
            return self.product(f, args)
        if f.op == "/":
            if not self.is_scalar(args[1]):
                raise Conflict(f"{self.both(f, args)}; one divides by a scalar, or element by element with ./")
            return args[0]
        if f.op in ("^", ".^"):
            return self.power(f, args)
        return self.call(f, args)

    def product(self, f: Formula, args: Sequence[Shape]) -> Shape:
        a, b = args
        if self.is_scalar(a) or self.is_scalar(b):
            return b if self.is_scalar(a) else a
        self.sizes.unify(a[1], b[0], f"{self.both(f, args)}; the columns of the first must be the rows of the second")
        return a[0], b[1]

    def power(self, f: Formula, args: Sequence[Shape]) -> Shape:
        if not self.is_scalar(args[1]):
            raise Conflict(f"{self.both(f, args)}; an exponent is a scalar")
        if f.op == "^" and not self.is_scalar(args[0]):
            whole = (
                f.args[1].op == "number"
                and f.args[1].text.isdigit()
                or f.args[1].op == "neg"
                and f.args[1].args[0].text.isdigit()
            )
            if not whole:
                raise Conflict(
                    f"in {f}: {f.args[0]} is {_a(self.text(args[0]))}; a matrix has whole powers, and ^-1; for "
                    f"its elements write {f.args[0]}.^{f.args[1]}"
                )
            self.square(f, args[0])
        return args[0]

    def square(self, f: Formula, shape: Shape) -> None:
        if self.sizes.find(shape[1]) == 1:
            raise Conflict(f"in {f}: {f.args[0]} is {_a(self.text(shape))}; a square matrix is needed")
        self.sizes.unify(
            shape[0], shape[1], f"in {f}: {f.args[0]} is {_a(self.text(shape))}; a square matrix is needed"
        )

    def call(self, f: Formula, args: Sequence[Shape]) -> Shape:
        if f.op == "size":
            return (1, 1)
        if f.op == "eye":
            n = self.size_named(f)
            return n, n
        if f.op in (*ELEMENTWISE, APPLIED):
            return args[0]
        if f.op in ("inv", "det", "logdet", "tr", "solve") and not (f.op == "tr" and self.is_scalar(args[0])):
            self.square(f, args[0])
        if f.op == "inv":
            return args[0]
        if f.op == "solve":
            self.sizes.unify(args[0][0], args[1][0], self.both(f, args))
            return args[0][0], args[1][1]
        if f.op in ("det", "logdet", "tr", "norm1", "norm2", "sum"):
            return (1, 1)
        if f.op in HALVES:
            self.square(f, args[0])
            return args[0]
        if f.op == "diagsums":
            if any(self.sizes.find(d) == 1 for d in args[0]):
                raise Conflict(f"in {f}: {f.args[0]} is {_a(self.text(args[0]))}; diagsums takes a matrix")
            return args[0]
        if f.op in ("vec", "commutation"):
            count = self.times(*args[0])
            return (count, 1) if f.op == "vec" else (self.times(args[0][1], args[0][0]), count)
        if f.op == "diag":
            rows, columns = map(self.sizes.find, args[0])
            if columns == 1:
                return rows, rows
            self.square(f, args[0])
            return rows, 1
        if f.op in ("vector", "matrix"):
            if not self.is_scalar(args[0]):
                raise Conflict(
                    f"in {f}: {f.args[0]} is {_a(self.text(args[0]))}; {f.op} takes the number that it is filled "
                    f"with, as in {f.op}(1)"
                )
            n = next(self.fresh)
            rows = ("any rows", f"{f} {n}")
            return rows, 1 if f.op == "vector" else ("any columns", rows[1])
        if f.op == "kron":
            a, b = args
            return self.times(a[0], b[0]), self.times(a[1], b[1])
        raise AssertionError(f"no shape rule for {f.op}")

    def times(self, a: Dim, b: Dim) -> Dim:
        if self.sizes.find(a) == 1:
            return b
        return a if self.sizes.find(b) == 1 else Times(a, b)

    def size_named(self, f: Formula) -> Dim:
        """The size that ``eye(n)``, ``eye(3)`` and ``size(n)`` name; of ``eye(1)`` it is the one that fits."""
        (arg,) = f.args
        if arg.op == "name":
            return self.known[arg.text]
        return int(arg.text) if arg.text != "1" else ("any rows", f"{f} {next(self.fresh)}")


def _undeclared(name: str, kind: str) -> Shape:
    rows, columns = ("rows", name), ("columns", name)
    return {"matrix": (rows, columns), "vector": (rows, 1), "scalar": (1, 1)}[kind]


def _turned(shape: Shape) -> Shape:
    return shape[1], shape[0]


def _a(text: str) -> str:
    return ("a " if text[0] in "sv" else "") + text
