"""Words, atoms and scalars as formulas: what stands in a product, in the order of its factors."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence, Set
from dataclasses import replace

import sympy
from sympy import Expr, Integer, Rational

from derive.language.formulas.tree import APPLIED, Formula
from derive.language.functions import FUNCTIONS

from .algebra import Atom, Monomial, NoClosedForm, Polynomial, Word, of_atom
from .factoring import content, root_of
from .printing import plain
from .transposes import transposed, turned, turned_atom

Signed = tuple[int, Formula]
PARTS = ("tril", "triu", "diagsums")  # linear maps of matrices


def number(n: Expr) -> Formula:
    """A whole number or a fraction that is not negative."""
    n = sympy.nsimplify(n)
    if n.is_Integer:
        return Formula("number", text=str(n))
    if n.is_Rational:
        return Formula("/", (number(Integer(n.p)), number(Integer(n.q))))
    raise NoClosedForm(f"the number {n}")


class Words(ABC):
    """Formulas of words; :class:`~derive.derivation.closed.writing.Writer` writes the sums inside."""

    seen: Set[str]  # keys of the sums that the definitions hold
    matrices: Mapping[str, str]  # shape -> the name of an input of it

    @abstractmethod
    def signed(self, p: Polynomial) -> Signed:
        """A sign and the formula of a polynomial without it."""

    @abstractmethod
    def formula(self, p: Polynomial) -> Formula:
        """The formula of a polynomial."""

    def as_written(self, word: Word) -> tuple[int, Word]:
        """A word with the brackets of elementwise powers in the sign that their author wrote, and the sign that gives."""
        sign, found = 1, []
        for a in word:
            args = list(a.args)
            for n, (p, e) in enumerate(zip(a.args, a.powers, strict=True) if a.op == "had" else ()):
                b = p.terms[0].word[0] if len(p.terms) == 1 and len(p.terms[0].word) == 1 else None
                if b is None or b.op != "group" or not e.is_Integer or b.args[0].key in self.seen:
                    continue
                other = b.args[0].scaled(-1)
                if other.key in self.seen:
                    args[n], sign = of_atom(replace(b, args=(other,))), -sign if e.is_odd else sign
            found.append(replace(a, args=tuple(args)))
        return sign, tuple(found)

    # -- products -----------------------------------------------------------------------------------------------------

    def monomial(self, m: Monomial, factors: Sequence[Formula]) -> Signed:
        """``coef * scalars * factors``, what has negative exponents below."""
        coef, sizes = m.coef.as_coeff_Mul()
        if not coef.is_Rational:
            coef, sizes = Integer(1), m.coef
        sign = -1 if coef < 0 else 1
        coef = abs(Rational(coef))
        above, below = ([] if coef.p == 1 else [number(Integer(coef.p))]), []
        if coef.q != 1:
            below.append(number(Integer(coef.q)))
        for base, e in sizes.as_powers_dict().items():
            if base != 1:
                (above if e > 0 else below).append(_powered(_size(base), abs(e)))
        for a, e in m.scalars:
            negative = bool(e.is_number and e < 0)
            (below if negative else above).append(self.scalar(a, -e if negative else e))
        if len(above) + len(factors) > 1:
            above = [Formula("()", (f,)) if f.op == "*" else f for f in above]
        above += factors
        top = product_of(above) if above else number(Integer(1))
        return sign, Formula("/", (top, product_of(below))) if below else top

    def word(self, word: Word) -> list[Formula]:
        """The factors of a product in order."""
        if len(word) == 2 and word[0].op == word[1].op == "ones" and word[0].shape[1] is None:
            return [Formula("matrix", (number(Integer(1)),))]
        found: list[Formula] = []
        for a in word:
            bare, primed = self.atom(a)
            found.append(Formula("'", (bare,)) if primed else bare)
        return found

    def atom(self, a: Atom) -> tuple[Formula, bool]:
        """An atom without its prime, and whether it has one."""
        one = number(Integer(1))
        if a.turned:
            return self.atom(turned_atom(a))[0], True
        if a.op == "name":
            return Formula("name", text=a.text), False
        if a.op in ("ones", "eye"):
            return Formula({"ones": "vector", "eye": "eye"}[a.op], (one,)), False
        if a.op == "inv":
            return self.inverse(a)
        if a.op == "vec":
            return Formula("vec", (self.formula(a.args[0]),)), False
        if a.op == "commutation":
            return Formula("commutation", (self.shaped(a.text),)), False
        if a.op in PARTS:
            straight, other = self.formula(a.args[0]), self.formula(transposed(a.args[0]))
            if a.op != "diagsums" and other.op == "name":  # tril(L)'x rather than triu(L')x
                return Formula(turned_atom(a).op, (other,)), True
            return Formula(a.op, (straight,)), False
        if a.op in ("diag", "diagonal"):
            return Formula("diag", (self.formula(a.args[0]),)), False
        if a.op == "had":
            return self.elementwise(a), False
        if a.op == "fn":
            return self.function(a), False
        if a.op == "pow":
            return Formula(".^", (self.formula(a.args[0]), self.formula(a.args[1]))), False
        if a.op == "kron":
            return Formula("kron", tuple(map(self.formula, a.args))), False
        raise NoClosedForm(f"{a.op} has no notation")

    def shaped(self, text: str) -> Formula:
        """A matrix of the shape that a commutation matrix is of: one that the derivation names."""
        if text not in self.matrices:
            raise NoClosedForm("a commutation matrix of a shape that no input has")
        return Formula("name", text=self.matrices[text])

    def inverse(self, a: Atom) -> tuple[Formula, bool]:
        straight, other = self.formula(a.args[0]), self.formula(transposed(a.args[0]))
        if straight.op == "'" or len(plain(other)) < len(plain(straight)):
            return Formula("inv", (straight.args[0] if straight.op == "'" else other,)), True
        return Formula("inv", (straight,)), False

    def function(self, a: Atom) -> Formula:
        common = content(a.args[0])[0]
        share = abs(common.coef) if a.text == "exp" and a.is_scalar and not common.scalars else Integer(1)
        if (
            share.is_Rational and share.p == 1 < share.q and len(a.args[0].terms) > 1
        ):  # exp(-1/2 x'P x), the half of a normal density in front
            sign, f = self.signed(a.args[0].scaled(1 / share))
            half = Formula("*", (number(share), f))
            return Formula("exp", (half if sign > 0 else Formula("neg", (half,)),))
        inside = self.formula(a.args[0])
        if a.text == ">":
            return Formula(">", (inside, number(Integer(0))))
        if a.text not in FUNCTIONS:
            return Formula(APPLIED, (inside,), a.text)
        return Formula(FUNCTIONS[a.text].text[0], (inside,))

    def elementwise(self, a: Atom) -> Formula:
        above = [self.raised(p, e) for p, e in zip(a.args, a.powers, strict=True) if e > 0]
        below = [self.raised(p, -e) for p, e in zip(a.args, a.powers, strict=True) if e < 0]
        if not above:
            if len(below) == 1 and a.powers != (-1,):
                (p,), (e,) = a.args, a.powers
                return Formula(".^", (self._base(p), Formula("neg", (number(-e),))))
            above = [Formula("vector" if a.shape[1] is None else "matrix", (number(Integer(1)),))]
        found = above[0]
        for op, parts in ((".*", above[1:]), ("./", below)):
            for x in parts:
                found = Formula(op, (found, x))
        return found

    def _base(self, p: Polynomial) -> Formula:
        lone = p.terms[0].word[0] if len(p.terms) == 1 and len(p.terms[0].word) == 1 else None
        return self.formula(lone.args[0] if lone is not None and lone.op == "group" else p)

    def raised(self, p: Polynomial, e: Expr) -> Formula:
        base = self._base(p)
        if e == Rational(1, 2):
            return Formula("sqrt", (base,))
        return base if e == 1 else Formula(".^", (base, number(e)))

    # -- scalars --------------------------------------------------------------------------------------------------------

    def scalar(self, a: Atom, e: Expr) -> Formula:
        """A scalar atom in a power that is not a negative number."""
        half = e.is_Rational and not e.is_Integer and (2 * e).is_Integer
        if half and a.op in ("inner", "tr", "group"):
            square = a.args[0] if a.op == "group" else of_atom(a)
            root = root_of(square, self.seen)
            if root is not None:
                return _powered(Formula("norm2", (self.root(root),)), 2 * e)
        base = self.scalar_base(a)
        if e == Rational(1, 2):
            return Formula("sqrt", (base,))
        return _powered(base, e)

    def scalar_base(self, a: Atom) -> Formula:
        if a.op == "name":
            return Formula("name", text=a.text)
        if a.op == "inner":
            return self.inner(a.args[0].terms[0].word)
        if a.op == "pow":
            return Formula("^", (self.formula(a.args[0]), self.formula(a.args[1])))
        if a.op in ("tr", "det", "logdet"):
            return Formula(a.op, (self.formula(a.args[0]),))
        if a.op == "group":
            return self.formula(a.args[0])
        if a.op == "fn":
            return self.function(a)
        if a.op == "max":
            raise NoClosedForm("the maximum over all elements does not cancel, and has no notation here")
        raise NoClosedForm(f"{a.op} has no notation")

    def inner(self, word: Word) -> Formula:
        """``x'A y``; a sum where it begins or ends with ones."""
        first, last = word[0].op == "ones", word[-1].op == "ones"
        if first or last:
            inside = word[first : len(word) - last]
            if len(inside) == 1 and inside[0].op == "had" and inside[0].powers == (2,):
                return Formula("^", (Formula("norm2", (self.formula(inside[0].args[0]),)), number(Integer(2))))
            both = [product_of(self.word(w)) for w in (inside, turned(inside))]
            return Formula("sum", (min(both, key=lambda f: len(plain(f))),))
        return product_of(self.word(word))

    def root(self, v: Polynomial) -> Formula:
        """What stands in a norm, the way round that is shorter."""
        if None in v.shape:
            return self.formula(v)
        return min(self.formula(v), self.formula(transposed(v)), key=lambda f: len(plain(f)))


def _size(e: Expr) -> Formula:
    if e.is_Symbol:
        return Formula("size", (Formula("name", text=str(e)),))
    if e.is_Integer:
        return number(e)
    raise NoClosedForm(f"the factor {e} has no notation")


def _powered(base: Formula, e: Expr) -> Formula:
    return base if e == 1 else Formula("^", (base, number(e)))


def product_of(factors: Sequence[Formula]) -> Formula:
    """The product in order, equal neighbours as a power."""
    gathered = [(f, len(list(same))) for f, same in itertools.groupby(factors)]
    made = [f if n == 1 else _repeated(f, n) for f, n in gathered]
    found = made[0]
    for f in made[1:]:
        found = Formula("*", (found, f))
    return found


def _repeated(f: Formula, n: int) -> Formula:
    power = Formula("^", (f.args[0] if f.op == "'" else f, number(Integer(n))))
    return Formula("'", (power,)) if f.op == "'" else power
