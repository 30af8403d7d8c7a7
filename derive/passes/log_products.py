"""Logarithms, roots and quotients of products over an index, before anything is differentiated.

A product over an index is a recurrence, ``P[i] = P[i-1] f[i]``, and a product of a thousand sigmoids is 0 as a float.  Where
its logarithm is taken, or it is divided by or under a root, and its factors are positive, it is read as an exponential,

    l = log prod_k f_k = sum_k log f_k,    prod_k f_k = e^l

and the rules for exponentials do the rest: ``log e^l = l``, ``e^(l/K)`` for a geometric mean, a log-sum-exp for a mixture.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import sympy
from sympy import Abs, Add, Expr, Integer, Mul, Piecewise, Pow, cosh, exp, log, tanh

from derive.language import affine
from derive.language.index import Index
from derive.language.matrices import MATRICES
from derive.language.nodes import maximum, minimum, sigmoid, softplus
from derive.language.tensor import Read, Tensor
from derive.program.graph import ancestors
from derive.program.program import Equation, Row, Term

from .addends import Sums
from .rule import Rule
from .work import Work

LOG_OF_PRODUCT = Rule(
    "logarithm of a product",
    "Logarithms of products over an index",
    "A long product leaves the range of floating point, its logarithm, a sum of logarithms, does not.",
    "exp-equal",
)


def log_products(work: Work) -> list[str]:
    """Write products over an index in exponents where a logarithm, a quotient or a root needs them; the names of those."""
    done = []
    for eq in list(work.forward):
        found = running_product(eq)
        if found is None or not _needs_log(work, eq) or eq.tensor in ancestors_of(work, found.reads):
            continue
        signs = Signs(work)
        if signs.positive(found.factor):
            done.append(_through_logarithm(work, eq, found, tuple(signs.facts)))
    return done


@dataclass(frozen=True)
class Running:
    """``P[..., i] = P[..., i-1] f + [i = 0] f``: the index and f."""

    index: Index
    factor: Expr

    @property
    def reads(self) -> set[Tensor]:
        return {r.tensor for r in self.factor.atoms(Read)}


def running_product(eq: Equation) -> Running | None:
    """What an equation is as a product that runs along its last index; None where it is none."""
    if eq.reduce or not eq.idx or any(t.bnd or t.coef != 1 for t in eq.terms):
        return None
    i = eq.idx[-1]
    before = Read(eq.tensor, *eq.idx[:-1], i - 1)
    found = _by_rows(eq, i) if len(eq.terms) == 2 else _by_branches(eq, i) if len(eq.terms) == 1 else None
    if found is None:
        return None
    first, carried = found
    return Running(i, first) if carried == before * first and not first.has(Piecewise) else None


def _by_rows(eq: Equation, i: Index) -> tuple[Expr, Expr] | None:
    """The first value and those after it, of ``P[i-1] f + f [i = 0]``."""
    carried, first = eq.terms if eq.terms[1].rows else eq.terms[::-1]
    if carried.rows or first.rows != (Row("==", i, Integer(0)),):
        return None
    return Mul(*first.fac), Mul(*carried.fac)


def _by_branches(eq: Equation, i: Index) -> tuple[Expr, Expr] | None:
    """The same of ``{f if i = 0; P[i-1] f}`` and of ``{P[i-1] if i > 0; 1} f``, as people write it."""
    (t,) = eq.terms
    branches = [f for f in t.fac if isinstance(f, Piecewise) and eq.tensor in {r.tensor for r in f.atoms(Read)}]
    if t.rows or len(branches) != 1 or len(branches[0].args) != 2:
        return None
    (one, condition), (other, _) = branches[0].args
    rest = Mul(*(f for f in t.fac if f is not branches[0]))
    if condition in (sympy.Eq(i, 0), sympy.Le(i, 0), sympy.Lt(i, 1)):
        return one * rest, other * rest
    if condition in (sympy.Gt(i, 0), sympy.Ge(i, 1), sympy.Ne(i, 0)):
        return other * rest, one * rest
    return None


def ancestors_of(work: Work, tensors: Iterable[Tensor]) -> set[Tensor]:
    """The tensors themselves and what they are computed from."""
    names = ancestors(work.forward, list(tensors))
    return {e.tensor for e in work.forward if e.name in names}


def _needs_log(work: Work, product: Equation) -> bool:
    """Whether a logarithm, a quotient or a root is taken of what the product goes into."""
    names = {product.name}
    for e in work.forward:
        if names & {t.name for t in e.tensors()}:
            names.add(e.name)

    def reads(e: Expr) -> bool:
        return any(r.tensor.name in names for r in e.atoms(Read))

    def hit(e: Expr) -> bool:
        if isinstance(e, log):
            return reads(e.args[0])
        return isinstance(e, Pow) and not (e.exp.is_Integer and e.exp.is_positive) and reads(e.base)

    return any(
        hit(e)
        for u in work.forward
        if u.name in names and u.name != product.name
        for t in u.terms
        for f in t.fac
        for e in f.atoms(log, Pow)
    )


def _through_logarithm(work: Work, product: Equation, found: Running, facts: tuple[str, ...]) -> str:
    """Name the logarithm of a product, read the product as its exponential, and make the logarithm a sum."""
    tensor, last = product.tensor, found.index.size - 1
    users = [u for u in work.forward if u.name != product.name and tensor in u.tensors() and u.reduce not in MATRICES]
    whole = all(r.idx[-1] == last for u in users for r in u.reads() if r.tensor == tensor)
    idx = product.idx[:-1] if whole else product.idx
    name = work.unused(f"{product.name.removesuffix('_prod')}_log")
    made = work.tensor(name, idx, tensor.block)
    read = Read(tensor, *idx, last) if whole else product.lhs
    named = Equation(made, idx, (Term(Integer(1), (log(read),)),))
    work.insert_after(product, named)
    work.define(
        LOG_OF_PRODUCT, named, f"a product of many factors leaves the range of floats; its logarithm {name} does not"
    )

    def change(f: Expr) -> Expr:
        powers = {
            e: exp(e.exp * _at(made, e.base, whole))
            for e in f.atoms(Pow)
            if isinstance(e.base, Read) and e.base.tensor == tensor and affine.safe_read(e.base)
        }
        f = f.xreplace(powers)
        return f.xreplace(
            {r: exp(_at(made, r, whole)) for r in f.atoms(Read) if r.tensor == tensor and affine.safe_read(r)}
        )

    for u in users:
        fac = [tuple(change(f) for f in t.fac) for t in u.terms]
        after = Equation(
            u.tensor,
            u.idx,
            tuple(Term(t.coef, f, t.bnd, t.rows) for t, f in zip(u.terms, fac, strict=True)),
            u.reduce,
            u.over,
            u.guards,
        )
        if after != u:
            work.rewrite_forward(LOG_OF_PRODUCT, u, after, f"the product is the exponential of {name}", [named])
    k = work.fresh(found.index)
    rows = () if whole else (Row("<=", k, found.index),)
    factor = found.factor.xreplace({found.index: k})
    summed = Equation(made, idx, (Term(Integer(1), (log(factor),), (k,), rows),))
    work.forward[work.forward.index(named)] = summed
    work.step(
        LOG_OF_PRODUCT,
        (named,),
        summed,
        "the logarithm of a product of positive factors is the sum of their logarithms",
        context=[product],
        facts=facts,
    )
    return name


def _at(made: Tensor, read: Read, whole: bool) -> Expr:
    return Read(made, *(read.idx[:-1] if whole else read.idx))


class Signs:
    """Which expressions are positive whatever the data; ``facts`` are the declared ones that say so."""

    def __init__(self, work: Work):
        self.work = work
        self.sums = Sums(work)
        self.facts: dict[str, None] = {}

    def positive(self, e: Expr) -> bool:
        """Whether ``e > 0`` wherever it has a value; ``1/x^2`` has none at 0."""
        if affine.sizes_only(e):
            return bool(e.is_positive)
        if isinstance(e, exp | sigmoid | softplus | cosh):
            return True
        if isinstance(e, Read):
            return self._read(e)
        if e.is_Mul:
            return all(self.positive(a) for a in e.args)
        if isinstance(e, Pow):
            return self.positive(e.base) or (e.exp.is_negative is True and self.nonnegative(e.base))
        if isinstance(e, maximum | sympy.Max):
            return any(self.positive(a) for a in e.args)
        if isinstance(e, minimum | sympy.Min):
            return all(self.positive(a) for a in e.args)
        if isinstance(e, Piecewise):
            return all(self.positive(v) for v, _ in e.args)
        return e.is_Add and (self._sum(e) or self._weights(e))

    def _sum(self, e: Expr) -> bool:
        """A sum of what is not negative, one addend positive; ``1 + tanh u`` and ``1 - tanh u``."""
        free, rest = e.as_coeff_Add()
        c, f = rest.as_coeff_Mul()
        if isinstance(f, tanh) and free >= abs(c):
            return True
        return all(self.nonnegative(a) for a in Add.make_args(e)) and any(self.positive(a) for a in e.args)

    def _weights(self, e: Expr) -> bool:
        """``1 - p`` of a sigmoid or of an element of a softmax."""
        found = self.sums.addends(e)
        return found is not None and all(a.weight == 1 for a in found)

    def nonnegative(self, e: Expr) -> bool:
        """Whether ``e >= 0`` everywhere."""
        if isinstance(e, Abs) or (isinstance(e, Pow) and e.exp.is_Integer and e.exp.is_even):
            return True
        if isinstance(e, Read) and self._declared(e.tensor, "nonnegative"):
            return True
        if e.is_Mul:
            return all(self.nonnegative(a) for a in e.args)
        return self.positive(e)

    def _read(self, r: Read) -> bool:
        if self._declared(r.tensor, "positive"):
            return affine.safe_read(r)
        eq = self.work.equation(r.tensor.name)
        if eq is None or eq.name in self.work.cyclic or eq.reduce or not affine.safe_read(r) or not eq.terms:
            return False
        whole = Add(*(t.coef * Mul(*t.fac) for t in eq.terms if not t.bnd and not t.rows))
        summed = [t for t in eq.terms if t.bnd or t.rows]
        if not summed:
            return self.positive(whole)
        if any(t.rows for t in summed):
            return False
        return all(self.positive(t.coef * Mul(*t.fac)) for t in summed) and (whole == 0 or self.positive(whole))

    def _declared(self, t: Tensor, kind: str) -> bool:
        fact = next((f for f in t.facts if f.kind == kind), None)
        if fact is not None:
            self.facts[fact.text(t)] = None
        return fact is not None
