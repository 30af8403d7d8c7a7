r"""Gradients by matrices whose entries are tied: by the free entries, from those by all entries as independent ones.

With G the gradient by all entries, the derivative by the free entry that stands at (i, j) adds G wherever it stands:

    symmetric, declared free    dS = G + G' - diag(diag(G))      S[i,j] and S[j,i] are one number
    diagonal                    dS = diag(diag(G))               the others are zero, and stay it
    lower, upper triangular     dS = the lower, upper part of G
    Toeplitz                    dS[i,j] = sum of G over the places (p, q) with p - q = i - j

After everything that is differentiated has been; a Jacobian's last two axes are the matrix's.

References: Petersen, Pedersen, *The Matrix Cookbook*, 2012, section 2.8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sympy import Integer

from derive.language.facts import structure_of
from derive.language.index import Index
from derive.language.naming import primed
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term
from derive.program.terms import collect

from .changes import changed
from .collecting import transposed_alike
from .contract import contract
from .rule import Rule
from .work import NEW_NAME, Backward, Forward, Work

STRUCTURE = Rule(
    "free entries",
    "Free entries",
    "The entries of a structured matrix are not all free: the derivative by one that is adds up the derivatives at all "
    "places where it stands.",
    "structure",
)


def structures(work: Work) -> str:
    """Make the derivatives by structured matrices those by their free entries."""
    count = 0
    for x in work.wrt:
        kind = structure_of(x) if x.is_input else None
        found = _derivatives(work, x) if kind is not None else []
        for name in found:
            n = next(n for n, e in enumerate(work.backward) if e.name == name)
            _structured(work, n, x, str(kind))
            count += 1
    return f"{count} gradients by free entries" if count else "none declared"


def _derivatives(work: Work, x: Tensor) -> list[str]:
    """The names of the results that are derivatives by a tensor."""
    if isinstance(work, Backward):
        return [work.adjoint[x.name].name]
    if isinstance(work, Forward):
        return [t.name for (_, by), t in work.jacobian.items() if by == x.name and t in work.results()]
    return []


NAMED = replace(NEW_NAME, name="named derivative", claim="equal")  # reads it where the value stood
WHY = {
    "symmetric": "an entry of {0} off the diagonal stands at (i, j) and at (j, i), and gathers both",
    "diagonal": "only the entries on the diagonal of {0} are free",
    "lower_triangular": "only the entries on and below the diagonal of {0} are free",
    "upper_triangular": "only the entries on and above the diagonal of {0} are free",
    "toeplitz": "an entry of {0} stands at every place of its diagonal, and gathers all of them",
}


def _structured(work: Work, n: int, x: Tensor, kind: str) -> None:
    eq = work.backward[n]
    context: tuple[Equation, ...] = ()
    texts = [next(f for f in x.facts if f.is_structure or f.kind == "free").text(x)]
    even = kind == "symmetric" and _is_even(work, eq, texts)
    if kind in ("symmetric", "toeplitz") and not _is_short(eq):
        held, eq = _named(work, n, x)
        n, context = n + 1, (held,) if even else ()
    if kind == "toeplitz" and isinstance(work, Backward) and all(isinstance(f, Read) for t in eq.terms for f in t.fac):
        sums, made = _diagonals(work, eq, x)
        work.backward.insert(n, sums)
        n, context = n + 1, (sums,)
    else:
        made = [term for t in eq.terms for term in _tied(work, t, eq, x, kind, even)]
    work.backward[n] = changed(eq, made, work, STRUCTURE, WHY[kind].format(x.name), context, texts, x)
    if isinstance(work, Backward):
        work.adjoint_equations[x.name] = work.backward[n]


def _is_short(eq: Equation) -> bool:
    """Whether a value is as short as its name would be, so that it may stand twice."""
    return len(eq.terms) == 1 and not eq.terms[0].bnd and len(eq.terms[0].fac) <= 2


def _is_even(work: Work, eq: Equation, texts: list[str]) -> bool:
    """Whether a derivative is equal to its transpose, term by term; the facts by which it is are added to ``texts``."""
    found: list[str] = []
    both = transposed_alike([*eq.terms, *(_turned(work, t, eq) for t in eq.terms)], eq, found)
    if len(collect([t for x in both if (t := contract(x)) is not None], eq.idx)) > len(eq.terms):
        return False
    texts += dict.fromkeys(found)
    return True


def _named(work: Work, n: int, x: Tensor) -> tuple[Equation, Equation]:
    """The equation of a derivative that is read at several places, as a tensor of its own; and one that reads it."""
    eq = work.backward[n]
    whole = work.tensor(work.unused(f"{eq.name}_all"), eq.idx, eq.tensor.block)
    held = replace(eq, tensor=whole)
    work.define(NEW_NAME, held, f"the derivative by all entries of {x.name} as independent ones")
    read = replace(eq, terms=(Term(Integer(1), (Read(whole, *eq.idx),)),))
    work.step(NAMED, (eq,), read, f"{whole.name} holds this value", context=(held,))
    work.backward[n : n + 1] = [held, read]
    return held, read


def _diagonals(work: Work, eq: Equation, x: Tensor) -> tuple[Equation, Sequence[Term]]:
    """The sum of every diagonal, ``sum_q G[q + k - (n - 1), q]``, what lies outside being zero; and its read at i - j."""
    i, j = eq.idx
    k = Index(primed("k", {i.name, j.name}), i.size + j.size - 1)
    terms = []
    for t in eq.terms:
        q = work.fresh(j)
        moved = t.opened(work.fresh).xreplace({i: q + k - j.size + 1, j: q})
        terms.append(replace(moved, bnd=(*moved.bnd, q)))
    sums = Equation(work.tensor(work.unused(f"{eq.name}_diagonals"), (k,), eq.tensor.block), (k,), tuple(terms))
    work.define(NEW_NAME, sums, f"the sums along the diagonals of the derivative by all entries of {x.name}")
    return sums, [Term(Integer(1), (Read(sums.tensor, i - j + j.size - 1),))]


def _turned(work: Work, t: Term, eq: Equation) -> Term:
    i, j = eq.idx[-2:]
    return t.opened(work.fresh).xreplace({i: j, j: i})


def _tied(work: Work, t: Term, eq: Equation, x: Tensor, kind: str, even: bool) -> Sequence[Term]:
    """The terms of the derivative by the free entries, of a term of the one by all."""
    i, j = eq.idx[-2:]
    if kind not in ("symmetric", "toeplitz") and t.fac == (Read(x, i, j),) and not (t.bnd or t.rows):
        return [t]  # it has the zeros already
    if kind == "diagonal":
        return [replace(t, rows=(*t.rows, Row("==", i, j)))]
    if kind in ("lower_triangular", "upper_triangular"):
        first, second = (j, i) if kind == "lower_triangular" else (i, j)
        return [replace(t, rows=(*t.rows, Row("<=", first, second)))]
    if kind == "symmetric":
        both = [t.scaled(Integer(2))] if even else [t, _turned(work, t, eq)]
        again = t.opened(work.fresh).scaled(Integer(-1))
        return [*both, replace(again, rows=(*again.rows, Row("==", i, j)))]
    p, q = work.fresh(i), work.fresh(j)
    moved = t.opened(work.fresh).xreplace({i: p, j: q})
    return [replace(moved, bnd=(*moved.bnd, p, q), rows=(*moved.rows, Row("==", p - q, i - j)))]
