"""The chain rule: the adjoint of every tensor, gathered over its consumers.

For ``y[a] = sum_b coef * f(x[e(a, b)], ...)`` and the adjoint ``dy``,

    dx[m] += sum_{a, b} dy[a] * coef * df/dx[e] * [m == e(a, b)]

and that is all: products, convolutions, embeddings, recurrences and attention differ only in ``e``.  For
``y[a] = max_r f(...)`` the same holds with ``r`` at its first maximiser, an integer tensor named by its own equation.
A recurrence needs nothing special: contraction turns the read ``h[t-1]`` into an adjoint read ``dh[t+1]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sympy import Expr, Integer

from derive.language.index import Fresh, Index
from derive.language.naming import primed
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term

from .matrices import contributions as matrix_contributions
from .matrices import is_matrix
from .partials import joined, kinks, partial


def contributions(
    eq: Equation, x: Tensor, adjoint: Tensor, free: tuple[Index, ...], fresh: Fresh, beside: Tensor | None
) -> tuple[list[Term], set[str]]:
    """What one consumer ``eq`` of ``x`` adds to the adjoint of ``x`` at the indices ``free``; and the kinks met.

    ``adjoint`` is the tensor that holds the adjoint of ``eq.tensor``; ``beside`` its first maximiser, for a max, and for
    a matrix function the inverse.
    """
    if is_matrix(eq):
        assert beside is not None
        return matrix_contributions(eq, x, adjoint, free, fresh, beside), set()
    idx = tuple(fresh(i) for i in eq.idx)
    opened: dict[Index, Expr] = dict(zip(eq.idx, idx, strict=True))
    if beside is not None:
        opened[eq.over[0]] = Read(beside, *idx)
    out: list[Term] = []
    conventions: set[str] = set()
    incoming = Read(adjoint, *idx)
    kept = where_one_is(eq, opened)
    for term in eq.terms:
        term = term.opened(fresh).xreplace(opened)
        term = replace(term, fac=joined(term.fac))
        for n, f in enumerate(term.fac):
            for read in sorted((r for r in f.atoms(Read) if r.tensor == x), key=str):
                slope = partial(f, read)
                if slope == 0:
                    continue
                conventions |= kinks(f)
                fac = (incoming, *term.fac[:n], slope, *term.fac[n + 1 :])
                rows = tuple(Row("==", m, e) for m, e in zip(free, read.idx, strict=True))
                out.append(Term(term.coef, fac, idx + term.bnd, term.rows + rows + kept))
    if out and eq.reduce == "max":
        conventions.add("max over an index: the gradient goes to the first maximiser")
    return out, conventions


def where_one_is(eq: Equation, at: Mapping[Index, Expr]) -> tuple[Row, ...]:
    """The conditions of a max on its data, at its maximiser: where they leave nothing, no position has the gradient."""
    return tuple(r.xreplace(at) for r in eq.guards if r.reads())


def adjoint_letters(x: Tensor) -> tuple[Index, ...]:
    """Free indices for the adjoint of ``x``: its own letters where they are distinct, else primed or made from sizes."""
    found: list[Index] = []
    for n, (letter, axis) in enumerate(zip(x.letters or (None,) * x.rank, x.axes, strict=True)):
        name = letter.name if letter is not None else _letter_of(axis, n)
        found.append(Index(primed(name, {f.name for f in found}), axis))
    return tuple(found)


def _letter_of(axis: Expr, n: int) -> str:
    symbols = sorted(axis.free_symbols, key=str)
    return symbols[0].name.lower()[:1] if len(symbols) == 1 and symbols[0].name[:1].isalpha() else "pqrstuvw"[n % 8]


def seed(cotangent: Tensor | None, free: tuple[Index, ...]) -> Term:
    """The adjoint of the differentiated tensor itself: 1 for a loss, the given cotangent for a vjp."""
    return Term(Integer(1)) if cotangent is None else Term(Integer(1), (Read(cotangent, *free),))
