"""Contraction: remove the equalities that differentiation brings, and collect what is alike.

A row ``m == S*u + D*r - P`` is solved only for a bound index with a unit coefficient, and only when the solution
holds no other bound index (or is one); otherwise it stays a row.  Solving ``v := e`` leaves the range condition
``0 <= e < size(v)``; it is dropped only when it is proved, or when a *multiplicative* read has that size at that index
(a read outside its tensor is zero) and no other factor is infinite there: ``dy[c] log(x[c])`` would be 0 times -oo.
"""

from __future__ import annotations

from sympy import Expr, Integer, Pow, acosh, cosh, exp, expand, log, sinh

from derive.language import affine
from derive.language.index import Index, same_size
from derive.language.tensor import Read
from derive.program.program import Row, Term
from derive.program.terms import tidy

from .rule import Rule

CONTRACTION = Rule(
    "contraction",
    "Contraction",
    "The partial derivative of an element by another is a bracket that is 1 where their indices agree and 0 elsewhere. Inside "
    "a sum such a bracket keeps one term, and the sum is gone. Where the agreement cannot be solved for a summed index, it "
    "stays as a condition.",
)


def contract(term: Term) -> Term | None:
    """The term with every solvable equality solved; None when a row can never hold."""
    left = tidy(_rename(term))
    while left is not None:
        solved = _solve_one(left)
        if solved is None:
            return left
        left = tidy(solved)
    return None


def _rename(term: Term) -> Term:
    """Solve every row that equates a bound index with an index of its size; the common case, all at once."""
    mapping: dict[Index, Index] = {}
    rows: list[Row] = []
    bound = set(term.bnd)
    for row in term.rows:
        left, right = row.lhs, row.rhs
        if (
            row.op == "=="
            and isinstance(left, Index)
            and isinstance(right, Index)
            and left.size == right.size
            and right in bound
            and right not in mapping
            and left not in mapping
            and left not in mapping.values()
            and right not in mapping.values()
        ):
            mapping[right] = left
        else:
            rows.append(row)
    if not mapping:
        return term
    return Term(term.coef, term.fac, tuple(b for b in term.bnd if b not in mapping), tuple(rows)).xreplace(mapping)


def _solve_one(term: Term) -> Term | None:
    """The term with one equality solved for a bound index, which is then summed no more; None if none can be.

    Only a coefficient of 1 or -1 is solved.  ``m == 2*u`` has a solution u for every second m, and ``m == S*u`` may have
    one for none; ``u = m / S`` would say that it always has.  Divisibility would have to be carried along as a condition
    that nothing here can prove, and the row says the same: it holds for exactly the right u, which the sum finds.  (How such
    a sum is evaluated without trying every u is the emitter's choice.)

    A solution that holds another bound index is not taken either.  Of ``m == u + r`` either of u and r could go, but of
    ``m == S*u + r`` only r, so stride 1 would read unlike every other stride; as a row the pairing of input, output and
    offset is the same for all, and a convolution is recognized by it.  An index alone is the exception: a renaming.
    """
    bound = set(term.bnd)
    choices = []
    for n, row in enumerate(term.rows):
        if row.op != "==":
            continue
        split = affine.parts(row.lhs - row.rhs)
        if split is None:
            continue
        coefs, _ = split
        for v in [a for a in coefs if a in bound and coefs[a] in (1, -1)]:
            if any(v in a.free_symbols for a in coefs if isinstance(a, Read)):
                continue  # v stands in a gather as well, label[v]: that is no linear equation in v
            solution = expand(v - (row.lhs - row.rhs) / coefs[v])
            others = solution.free_symbols & bound
            if not others or (isinstance(solution, Index) and same_size(solution.size, v.size)):
                # prefer exact renamings, then solutions without bound indices, then the written order
                choices.append((not isinstance(solution, Index), len(others), n, term.bnd.index(v), v, solution))
    if not choices:
        return None
    *_, n, _, v, solution = min(choices, key=lambda c: c[:4])
    rest = Term(term.coef, term.fac, term.bnd, term.rows[:n] + term.rows[n + 1 :]).xreplace({v: solution})
    rows = rest.rows
    # the sum over v had no term at a solution outside v's range; where a factor reads 0 there, that says so already
    if not affine.in_range(solution, v.size) and not (
        _read_has(rest.fac, solution, v.size) and all(_finite_at_zero(f) for f in rest.fac)
    ):
        rows += (Row("<=", Integer(0), solution), Row("<", solution, v.size))
    return Term(rest.coef, rest.fac, tuple(b for b in term.bnd if b != v), rows)


def _read_has(fac: tuple[Expr, ...], e: Expr, size: Expr) -> bool:
    """Whether a float factor reads an axis of this size at exactly this index, so that it vanishes outside.

    A factor that is a read or a positive power of one: inside ``exp`` or a sum a zero read makes no zero.
    """
    for f in fac:
        base = f.base if isinstance(f, Pow) and f.exp.is_Integer and f.exp > 0 else f
        if (
            isinstance(base, Read)
            and base.tensor.dtype == "float"
            and any(x == e and same_size(axis, size) for x, axis in zip(base.idx, base.tensor.axes, strict=True))
        ):
            return True
    return False


def _finite_at_zero(f: Expr) -> bool:
    """Whether a factor is surely finite where those of its reads that may lie outside their tensors are zero."""
    if isinstance(f, Read) or not f.args:
        return True
    if isinstance(f, log | acosh) or (isinstance(f, Pow) and f.exp.is_nonnegative is not True):
        inside = f.args[0]
        zero = {r: Integer(0) for r in inside.atoms(Read) if not affine.safe_read(r)}
        at_zero = inside.xreplace(zero)
        if zero and not (at_zero.is_number and at_zero.is_positive):
            return False
    if isinstance(f, exp | cosh | sinh):
        # e^(u[t] - m[t+1]) of a shift that is read outside is e^(u[t]), and that overflows
        reads = f.args[0].atoms(Read)
        if any(affine.safe_read(r) for r in reads) and not all(affine.safe_read(r) for r in reads):
            return False
    return all(_finite_at_zero(a) for a in f.args if isinstance(a, Expr))
