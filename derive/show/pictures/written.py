"""An equation with nothing left to sum: every term at given sizes, and conditions solved for an index.

y[u,v] = sum_{r,s} x[u+r,v+s] K[r,s]          y[0,0] = K[0,0] x[0,0] + K[0,1] x[0,1] + K[1,0] x[1,0] + K[1,1] x[1,1]
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from sympy import Expr, Integer, Rational

from derive.exact.compile import whole_size
from derive.language import printing
from derive.language.affine import parts
from derive.language.errors import DeriveError, UnsupportedError
from derive.language.index import Index, Size
from derive.language.nodes import maximum
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term

ELEMENTS = 400  # more lines than that are read by nobody


def written_out(
    e: Equation, sizes: dict[str, int], at: Iterable[tuple[int, ...]] | None = None, latex: bool = False
) -> list[str]:
    r"""The lines of an equation, one an element, with all their terms.

    Terms whose conditions do not hold and reads outside an array, which are zero, are left out; integers that are read
    (a label, the place of a maximum) stay as they are, in brackets.

    Parameters
    ----------
    e : Equation
        Such as ``d.gradient("K")`` or an equation of ``d.program``.
    sizes : dict of str to int
        A number for every size in it.
    at : list of tuple, optional
        The elements to write; all by default.
    latex : bool
        Lines of LaTeX instead of text.

    Returns
    -------
    list of str

    Raises
    ------
    DeriveError
        For a size without a number, or more elements than anyone would read (400).
    UnsupportedError
        For an argmax, which is a position and has no terms.

    Examples
    --------
    >>> import derive as dv
    >>> u, r = dv.index("u", dv.size("H") - dv.size("R") + 1), dv.index("r", "R")
    >>> x, K = dv.tensor("x", "H"), dv.tensor("K", r)
    >>> y = dv.define("y", (u,), dv.Sum(x[u + r] * K[r], r))
    >>> d = dv.vjp(y, [x, K], cotangent="dy")
    >>> for line in dv.written_out(d.gradient(x), {"H": 3, "R": 2}): print(line)
    dx[0] = dy[0] K[0]
    dx[1] = dy[0] K[1] + dy[1] K[0]
    dx[2] = dy[1] K[1]
    """
    if e.reduce == "argmax":
        raise UnsupportedError(f"{e.name} is a position, the first maximiser; it has no terms to write out")
    missing = sorted({s.name for s in _sizes(e)} - set(sizes))
    if missing:
        raise DeriveError(
            f"written_out({e.name}): the size {missing[0]} has no number; give sizes={{{missing[0]!r}: 3}}"
        )
    numbers = {s: Integer(sizes[s.name]) for s in _sizes(e)}
    shape = [whole_size(i.size, sizes) for i in e.idx]
    places = list(itertools.product(*map(range, shape))) if at is None else [tuple(p) for p in at]
    if len(places) > ELEMENTS:
        raise DeriveError(
            f"written_out({e.name}): {len(places)} elements; choose smaller sizes, or some of them with at="
        )
    return [_line(e, place, sizes, numbers, latex) for place in places]


def _sizes(e: Equation) -> set[Size]:
    found = {s for i in (*e.idx, *e.over, *(i for t in e.terms for i in t.bnd)) for s in i.size.free_symbols}
    found |= {
        s
        for t in e.terms
        for f in (t.coef, *t.fac, *(x for r in t.rows for x in (r.lhs, r.rhs)))
        for s in f.free_symbols
        if isinstance(s, Size)
    }
    found |= {s for r in e.reads() for a in r.tensor.axes for s in a.free_symbols}
    return {s for s in found if isinstance(s, Size)}


def _line(
    e: Equation, place: tuple[int, ...], sizes: Mapping[str, int], numbers: Mapping[Size, Expr], latex: bool
) -> str:
    here: dict[Expr, Expr] = {**numbers, **{i: Integer(n) for i, n in zip(e.idx, place, strict=True)}}
    parts_: list[list[Term]] = []
    for extra in itertools.product(*(range(whole_size(i.size, sizes)) for i in e.over)):
        at = {**here, **{i: Integer(n) for i, n in zip(e.over, extra, strict=True)}}
        if all(_holds(g, at) is not False for g in e.guards):
            parts_.append([t for term in e.terms for t in _terms(term, at, sizes)])
    name = Tensor(f"{e.name}\0", (), (), role="computed", digest="written")
    if e.reduce == "max":
        largest = [sum((t.coef * _product(t) for t in terms), Integer(0)) for terms in parts_]
        terms: tuple[Term, ...] = (Term(Integer(1), (maximum(*largest) if len(largest) > 1 else largest[0],)),)
    else:
        terms = tuple(parts_[0])
    made = Equation(name, (), terms)
    index = ",".join(map(str, place))
    right = (printing.latex(made) if latex else str(made)).partition(" = ")[2]
    shown = printing.latex(Equation(Tensor(e.name, (), (), role="computed", digest="written"), (), ())).partition(
        " = "
    )[0]
    left = f"{shown}_{{{index}}}" if latex else f"{e.name}[{index}]"
    return f"{left if index else shown if latex else e.name} = {right}"


def _product(t: Term) -> Expr:
    found = Integer(1)
    for f in t.fac:
        found *= f
    return found


def _terms(term: Term, here: Mapping[Expr, Expr], sizes: Mapping[str, int]) -> list[Term]:
    found = []
    for extra in itertools.product(*(range(whole_size(i.size, sizes)) for i in term.bnd)):
        at = {**here, **{i: Integer(n) for i, n in zip(term.bnd, extra, strict=True)}}
        rows = [(r, _holds(r, at)) for r in term.rows]
        if any(held is False for _, held in rows):
            continue
        fac = tuple(_inside(f.xreplace(at), sizes) for f in term.fac)
        if any(f == 0 for f in fac):
            continue
        left = tuple(Row(r.op, r.lhs.xreplace(at), r.rhs.xreplace(at)) for r, held in rows if held is None)
        found.append(Term(term.coef.xreplace(at), fac, (), left))
    return found


def _holds(row: Row, at: Mapping[Expr, Expr]) -> bool | None:
    """Whether a condition holds; None where an integer that is read decides."""
    lhs, rhs = row.lhs.xreplace(at), row.rhs.xreplace(at)
    if lhs.atoms(Read) or rhs.atoms(Read):
        return None
    gap = lhs - rhs
    return {"==": gap == 0, "!=": gap != 0, "<=": gap <= 0, "<": gap < 0, ">=": gap >= 0, ">": gap > 0}[row.op] == True  # noqa: E712  SymPy's truth


def _inside(f: Expr, sizes: Mapping[str, int]) -> Expr:
    """Reads outside their tensor are zero."""
    outside = {
        r: Integer(0)
        for r in f.atoms(Read)
        if any(i.is_Integer and not 0 <= i < whole_size(a, sizes) for i, a in zip(r.idx, r.tensor.axes, strict=True))
    }
    return f.xreplace(outside) if outside else f


@dataclass(frozen=True)
class Solved:
    """A condition among indices, solved for one of them: ``index = value``, which must be whole and in range.

    Attributes
    ----------
    index : Index
    value : Expr
        What the index must be.
    divisor : Expr
        What must divide for it to be whole; 1 where nothing has to.
    dividend : Expr
    """

    index: Index
    value: Expr
    divisor: Expr
    dividend: Expr

    def __str__(self) -> str:
        whole = "" if self.divisor == 1 else f"; {self.divisor} must divide {self.dividend}"
        return f"{self.index.name} = {self.value}, at least 0 and below {self.index.size}{whole}"


def solved(e: Equation) -> list[Solved]:
    """The conditions of an equation's sums, solved for a summed index: where the terms of a transposed convolution are.

    >>> import derive as dv
    >>> S, P = dv.size("S"), dv.size("P")
    >>> u, r = dv.index("u", (dv.size("H") + 2*P - dv.size("R")) // S + 1), dv.index("r", "R")
    >>> x, K = dv.tensor("x", "H"), dv.tensor("K", r)
    >>> y = dv.define("y", (u,), dv.Sum(x[S*u + r - P] * K[r], r))
    >>> found, = solved(dv.vjp(y, [x], cotangent="dy").gradient(x))
    >>> found.index, found.value, found.divisor
    (u, (h - r + P)/S, S)
    """
    found = []
    for term in e.terms:
        for row in term.rows:
            affine = parts(row.lhs - row.rhs) if row.op == "==" else None
            if affine is None:
                continue
            bound = [i for i in affine[0] if i in term.bnd]
            if not bound:
                continue
            chosen = min(bound, key=lambda i: (affine[0][i] in (1, -1), term.bnd.index(i)))
            c = affine[0][chosen]
            rest = -sum((k * i for i, k in affine[0].items() if i != chosen), Integer(0)) - affine[1]
            rest, c = (-rest, -c) if c.could_extract_minus_sign() else (rest, c)
            found.append(Solved(chosen, rest / c, c if c != 1 else Rational(1), rest))
    return found
