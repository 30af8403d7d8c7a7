"""Affine index expressions: their parts, their range, and whether a read can leave its axis."""

from __future__ import annotations

import functools
from typing import Protocol

from sympy import Add, Expr, Integer, Mul, Symbol, expand, floor

from .facts import missing_value
from .index import Index, Size
from .nodes import Reduction
from .tensor import Read


class Inequality(Protocol):
    """What :func:`always` asks of a row: ``lhs op rhs``."""

    @property
    def op(self) -> str: ...
    @property
    def lhs(self) -> Expr: ...
    @property
    def rhs(self) -> Expr: ...


def parts(e: Expr) -> tuple[dict[Expr, Expr], Expr] | None:
    """``e`` as ``sum coef * atom + rest``; atoms are indices and integer reads, coefs and rest hold only sizes.

    Returns None when ``e`` is not affine.
    """
    coefs: dict[Expr, Expr] = {}
    rest = Integer(0)
    if isinstance(e, Index | Read):
        return {e: Integer(1)}, rest
    for term in Add.make_args(expand(e)):
        atoms = [a for a in Mul.make_args(term) if isinstance(a, Index | Read)]
        others = [a for a in Mul.make_args(term) if not isinstance(a, Index | Read)]
        if len(atoms) > 1 or any(a.has(Index, Read) for a in others):
            return None
        coef = Mul(*others)
        if atoms:
            coefs[atoms[0]] = coefs.get(atoms[0], Integer(0)) + coef
        else:
            rest += coef
    return {a: c for a, c in coefs.items() if c != 0}, rest


@functools.cache
def nonnegative(e: Expr) -> bool:
    """Whether an expression of sizes is provably >= 0, knowing only that sizes are >= 1 (False: not proved)."""
    e = expand(e)
    while e.has(floor):
        found = e.atoms(floor)  # the outermost first: what is inside one may be bounded only once it stands alone
        f = min((f for f in found if not any(f in g.args[0].atoms(floor) for g in found)), key=str)
        # floor(a/s) lies between max(0, a/s - 1) and a/s; the sizes it builds are >= 1, so floor >= 0
        e = expand(e.xreplace({f: f.args[0] if nonpositive_coef(e.coeff(f)) else Integer(0)}))
    e = expand(e)
    shifted = expand(e.xreplace({s: Symbol(f"{s.name}'", nonnegative=True) + 1 for s in e.free_symbols}))
    return all(_coefficient(t) >= 0 for t in Add.make_args(shifted)) if _is_polynomial(shifted) else False


def nonpositive_coef(coef: Expr) -> bool:
    return coef.is_nonpositive is True or nonnegative(-coef)


def _is_polynomial(e: Expr) -> bool:
    return e.is_polynomial(*e.free_symbols)


def _coefficient(term: Expr) -> Expr:
    return term.as_coeff_Mul()[0]


def bounds(e: Expr) -> tuple[Expr, Expr] | None:
    """The least and greatest value of an affine expression over its indices' ranges, or None if not affine."""
    split = parts(e)
    if split is None:
        return None
    coefs, rest = split
    low = high = rest
    for atom, c in coefs.items():
        size = atom.size if isinstance(atom, Index) else atom.tensor.below
        if size is None or isinstance(atom, Read) and missing_value(atom.tensor) is not None:
            return None
        if nonnegative(c):
            high = high + c * (size - 1)
        elif nonnegative(-c):
            low = low + c * (size - 1)
        else:
            return None
    return expand(low), expand(high)


@functools.cache
def in_range(e: Expr, size: Expr) -> bool:
    """Whether ``0 <= e < size`` is proved for all values of the indices in ``e``."""
    found = bounds(e)
    return found is not None and nonnegative(found[0]) and nonnegative(expand(size - 1 - found[1]))


def always(row: Inequality) -> bool:
    """Whether an inequality row is proved to hold for all values of its indices."""
    if row.op == "<=":
        found = bounds(row.rhs - row.lhs)
    elif row.op == "<":
        found = bounds(row.rhs - row.lhs - 1)
    else:
        return False
    return found is not None and nonnegative(found[0])


def safe_read(r: Read) -> bool:
    """Whether every index of a read is proved in range (integer reads are in range by declaration)."""
    return all(in_range(e, axis) for e, axis in zip(r.idx, r.tensor.axes, strict=True))


def sizes_only(e: Expr) -> bool:
    """Whether an expression holds nothing but numbers and sizes."""
    return not e.has(Read, Reduction) and all(isinstance(s, Size) for s in e.free_symbols)
