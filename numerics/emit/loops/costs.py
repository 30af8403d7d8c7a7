"""What an equation costs: numbers that it reads and writes, and how often they are multiplied."""

from __future__ import annotations

import math
from collections.abc import Callable

import sympy
from sympy import Add, Expr, Mul, Piecewise, Pow, Rational
from sympy.core.relational import Relational
from sympy.logic.boolalg import BooleanFunction, BooleanTrue

from derive.language.affine import parts
from derive.language.index import Index, Size
from derive.language.nodes import Iverson, relu
from derive.language.tensor import Read
from derive.program.program import Equation, Term

UNKNOWN = 64  # what a size counts as that is not fixed
TAPS = 16  # operations of a window for each number of the largest array, up to which reading and writing is what costs
ONCE = 2  # the same where nothing is read twice: a product of matrices is XLA's
POWERS = {Rational(n) for n in (2, 3, 4, -1, -2, -3, -4)} | {Rational(1, 2), Rational(-1, 2)}

Known = Callable[[Expr], Expr]


def count(e: Expr, known: Known) -> int:
    """A size in numbers."""
    e = known(e)
    return max(1, int(e.xreplace({s: sympy.Integer(UNKNOWN) for s in e.free_symbols if isinstance(s, Size)})))


def work(e: Equation, t: Term, known: Known) -> int:
    """How often the product of a term is computed; an equality of indices takes one loop away."""
    tied = [[i.size for i in r.free_symbols if isinstance(i, Index)] for r in t.rows if r.op == "=="]
    away = math.prod(max((count(n, known) for n in sizes), default=1) for sizes in tied)
    return math.prod(count(i.size, known) for i in (*e.idx, *t.bnd)) // away


def largest(e: Equation, known: Known) -> int:
    return max(count(Mul(*t.axes), known) for t in (e.tensor, *e.tensors()))


def simple(e: Equation, known: Known) -> bool:
    """Whether an equation is a few operations of arithmetic for each number that it reads or writes."""
    if e.reduce or e.guards or e.tensor.dtype != "float" or any(t.dtype != "float" for t in e.tensors()):
        return False
    if not all(arithmetic(f) for t in e.terms for f in t.fac):
        return False
    if any(parts(x) is None for t in e.terms for r in t.rows for x in (r.lhs, r.rhs)):
        return False
    return all(work(e, t, known) <= _room(e, t, known) for t in e.terms)


def _room(e: Equation, t: Term, known: Known) -> int:
    """How many products of a term cost less than what it reads and writes.

    A window goes over each number of an array several times.  Where it does so for each of several channels of another, as
    everywhere else, it is a product of matrices, which XLA is for.
    """
    tied = {i for r in t.rows for i in r.free_symbols}
    reads = [r.idx for r in t.reads() if r.idx]
    tied |= {s for idx in reads for i in idx if _mixed(i) for s in i.free_symbols}
    moved = [r for r in t.reads() if any(i.free_symbols & tied for i in r.idx)]
    rows = {r.idx[0] for r in moved if isinstance(r.idx[0], Index)}
    large = [set(idx) for idx in reads if idx[0] in rows]
    plain = [i for i in (*e.idx, *t.bnd) if i not in tied and i not in rows]
    if not rows or any(i not in idx for i in plain for idx in large):
        return ONCE * largest(e, known)
    return TAPS * min(count(Mul(*r.tensor.axes), known) for r in moved if r.idx[0] in rows)


def _mixed(place: Expr) -> bool:
    return sum(isinstance(s, Index) for s in place.free_symbols) > 1


def arithmetic(e: Expr) -> bool:
    """Whether a C compiler turns an expression into vector instructions: arithmetic, roots and choices."""
    if isinstance(e, Read):
        return not any(i.has(Read) or parts(i) is None for i in e.idx)
    if isinstance(e, Rational | Size | BooleanTrue):
        return True
    if isinstance(e, Pow):
        return e.exp in POWERS and arithmetic(e.base)
    if isinstance(e, Add | Mul | Relational | BooleanFunction | Iverson | Piecewise | relu):
        return all(arithmetic(a) for a in e.args)
    return isinstance(e, sympy.Tuple) and all(arithmetic(a) for a in e.args)
