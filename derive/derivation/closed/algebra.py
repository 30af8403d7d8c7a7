r"""Sums of words of matrices, the values that closed forms are computed with.

    Polynomial = sum over monomials  coefficient * scalars * word
    word       = a product of atoms in order: tensors, inverses, diagonals, elementwise values; empty for a scalar
    scalars    = a commutative product of powers of scalar atoms: traces, determinants, inner products, functions

A shape is (rows, columns), None where there is no axis, so that a vector is (n, None) and its transpose (None, n).
Polynomials are expanded: the product distributes over sums, transposes stand at atoms.  Two of them that are written
alike are one value (:attr:`Polynomial.key`); which identities bring them there is :mod:`.rules`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import sympy
from sympy import Expr, Integer

Axis: TypeAlias = Expr | None
Shape: TypeAlias = tuple[Axis, Axis]
MOST_MONOMIALS = 64


class NoClosedForm(Exception):
    """Inside this package only: why there is no closed form; becomes a :class:`DerivationError`."""


@dataclass(frozen=True)
class Atom:
    """One factor.  ``op`` is "name", "inv", "diag", "diagonal", "had", "fn", "pow", "ones", "eye", "kron", "vec",
    "commutation", "inner", "tr", "det", "logdet", "tril", "triu", "diagsums", "max" or "group"; ``text`` a name or a
    function."""

    op: str
    shape: Shape
    args: tuple[Polynomial, ...] = ()
    text: str = ""
    powers: tuple[Expr, ...] = ()  # of "had": the exponent of each factor
    turned: bool = False
    symmetric: bool = False
    fact: str = ""  # of a name: "orthogonal" or "unit", by which its product with its own transpose is 1
    rank: int = 0  # of a name: its place among the inputs, by which terms are ordered

    @cached_property
    def key(self) -> str:
        if self.op == "name":
            return f"{self.rank:02d}:{self.text}" + ("'" if self.turned else "")
        inside = ",".join(a.key for a in self.args)
        powers = f"^{self.powers}" if self.powers else ""
        return f"{self.op}:{self.text}({inside}){powers}" + ("'" if self.turned else "")

    @property
    def is_scalar(self) -> bool:
        return self.shape == (None, None)


Word: TypeAlias = tuple[Atom, ...]
Scalars: TypeAlias = tuple[tuple[Atom, Expr], ...]


def word_key(word: Word) -> str:
    return " ".join(a.key for a in word)


@dataclass(frozen=True)
class Monomial:
    """``coef * prod scalars^e * word``."""

    coef: Expr
    scalars: Scalars = ()
    word: Word = ()

    @cached_property
    def key(self) -> str:
        return "".join(f"[{a.key}^{e}]" for a, e in self.scalars) + word_key(self.word)


@dataclass(frozen=True)
class Polynomial:
    """A sum of monomials of one shape, like ones collected, in a fixed order."""

    shape: Shape
    terms: tuple[Monomial, ...] = ()

    @cached_property
    def key(self) -> str:
        return " + ".join(f"{m.coef}*{m.key}" for m in self.terms)

    @property
    def is_scalar(self) -> bool:
        return self.shape == (None, None)

    @property
    def number(self) -> Expr | None:
        """The number (or product of sizes) that a scalar is; None of anything else."""
        if not self.is_scalar or len(self.terms) > 1 or (self.terms and self.terms[0].scalars):
            return None
        return self.terms[0].coef if self.terms else Integer(0)

    def scaled(self, c: Expr | int) -> Polynomial:
        return collected(self.shape, (Monomial(c * m.coef, m.scalars, m.word) for m in self.terms))

    def __add__(self, other: Polynomial) -> Polynomial:
        if self.shape != other.shape:
            raise NoClosedForm(f"a sum of shapes {self.shape} and {other.shape}")
        return collected(self.shape, (*self.terms, *other.terms))

    def __sub__(self, other: Polynomial) -> Polynomial:
        return self + other.scaled(-1)


def collected(shape: Shape, terms: Iterable[Monomial]) -> Polynomial:
    """Like monomials added, zero ones dropped."""
    found: dict[str, Monomial] = {}
    for m in terms:
        old = found.get(m.key)
        found[m.key] = Monomial(sympy.expand(old.coef + m.coef), m.scalars, m.word) if old else m
    kept = [found[k] for k in sorted(found) if found[k].coef != 0]
    if len(kept) > MOST_MONOMIALS:
        raise NoClosedForm(f"it has more than {MOST_MONOMIALS} terms when multiplied out")
    return Polynomial(shape, tuple(kept))


def constant(c: Expr | int) -> Polynomial:
    return collected((None, None), [Monomial(sympy.sympify(c, strict=True))])


def of_atom(a: Atom, exponent: Expr | int = 1) -> Polynomial:
    """An atom alone, in a power where it is a scalar."""
    one = Integer(1)
    m = Monomial(one, ((a, sympy.sympify(exponent, strict=True)),)) if a.is_scalar else Monomial(one, (), (a,))
    return Polynomial(a.shape, (m,))


def named(name: str, shape: Shape, symmetric: bool = False, rank: int = 0, fact: str = "") -> Polynomial:
    return of_atom(Atom("name", shape, text=name, symmetric=symmetric, rank=rank, fact=fact))


def ones(n: Axis) -> Polynomial:
    return constant(1) if n is None else of_atom(Atom("ones", (n, None)))


def eye(n: Expr) -> Polynomial:
    return of_atom(Atom("eye", (n, n)))


def powers_of(pairs: Iterable[tuple[Atom, Expr]]) -> Scalars:
    """Powers of scalar atoms multiplied: exponents of one base added."""
    found: dict[str, tuple[Atom, Expr]] = {}
    for a, e in pairs:
        old = found.get(a.key)
        found[a.key] = (a, old[1] + e if old else e)
    return tuple(found[k] for k in sorted(found) if found[k][1] != 0)
