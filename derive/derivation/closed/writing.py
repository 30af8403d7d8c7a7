"""Polynomials of matrices as formulas: the shortest text of those that factoring gives.

The measure is the number of characters of the text.  Candidates are the sum of its terms, common factors on the left or
on the right taken out, groups whose rests are alike joined ((D + D')(X b + c)), and a transpose of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from sympy import Integer

from derive.language.formulas.tree import Formula

from .algebra import Monomial, Polynomial, word_key
from .factoring import (
    binomial,
    content,
    elementwise_content,
    groupings,
    is_identity,
    oriented,
    reciprocal,
    root_of,
    with_form,
    with_square,
    words_of,
)
from .printing import plain
from .rules import scaled_by
from .transposes import transposed
from .words import Signed, Words, number, product_of

# Characters that a sum counts more: inside a product, for a bracket beside a lone term, for an identity made by factoring.
BRACKET, LONE, IDENTITY = 2, 6, 14
SEEN, ONE_MINUS = 4, 8  # and less: for a sum that its author wrote, and for a factor (1 - b)
SHOWN = {"diag": "diag", "diagonal": "diag", "tril": "tril", "triu": "triu", "diagsums": "diagsums"}


class Writer(Words):
    """Formulas of polynomials, each found once."""

    def __init__(
        self, sums: Mapping[str, Polynomial], brackets: bool = True, matrices: Mapping[str, str] | None = None
    ) -> None:
        self.matrices = matrices or {}  # shape -> the name of an input of it
        self.sums, self.seen = sums, sums.keys()  # those that the definitions hold, whose signs are kept
        self.brackets = brackets  # whether brackets are taken out of sums of scalars
        self.known: dict[tuple[str, str], Signed] = {}

    def formula(self, p: Polynomial) -> Formula:
        sign, f = self.signed(p)
        return f if sign > 0 else Formula("neg", (f,))

    def signed(self, p: Polynomial) -> Signed:
        at = (p.key, str(p.shape))
        if at not in self.known:
            self.known[at] = self._signed(p)
        return self.known[at]

    def _signed(self, p: Polynomial) -> Signed:
        if not p.terms:
            return 1, Formula("number", text="0")
        common, rest = content(p)
        if len(rest.terms) == 1:
            turn, word = self.as_written(rest.terms[0].word)
            sign, f = self.monomial(common, self.word(word))
            return turn * sign, f
        if rest.key not in self.seen and rest.scaled(-1).key in self.seen:  # in the sign that its author wrote
            common, rest = Monomial(-common.coef, common.scalars), rest.scaled(-1)
        lone = p.is_scalar and all(not m.word for m in rest.terms)
        outer, inside = self.scalar_sum(rest) if lone else self.sum(rest)
        sign, f = self.monomial(common, [inside])
        return outer * sign, f

    # -- sums -------------------------------------------------------------------------------------------------------

    def sum(self, p: Polynomial) -> Signed:
        """The shortest of the forms of a sum without common factors; begins with a term that is not negative."""
        word = p.terms[0].word
        if word and all(m.word == word for m in p.terms):
            scalars = Polynomial((None, None), tuple(Monomial(m.coef, m.scalars) for m in p.terms))
            sign, f = self.signed(scalars)
            return sign, product_of([f, *self.word(word)])
        plainly = self.added([self.signed(Polynomial(p.shape, (m,))) for m in p.terms])
        text = plain(plainly[1])
        found = [(_measure(plainly[1]) + BRACKET, plainly)]
        identities = text.count("eye(")
        for groups in groupings(p, self.seen):
            parts: list[Signed] = []
            for left, middle, right in groups:
                common, bare = oriented(*content(left), self.seen)
                common2, bare2 = oriented(*content(right), self.seen)
                negative = (common.coef * common2.coef * middle.coef).could_extract_minus_sign()
                if bare2.key == transposed(bare).scaled(-1).key or (negative and self.may_turn(bare2)):
                    common2, bare2 = Monomial(-common2.coef, common2.scalars), bare2.scaled(-1)
                elif negative and self.may_turn(bare):
                    common, bare = Monomial(-common.coef, common.scalars), bare.scaled(-1)
                coef = Monomial(
                    common.coef * common2.coef * middle.coef, (*common.scalars, *common2.scalars, *middle.scalars)
                )
                (sign, one), (sign2, two) = self.factor(bare), self.factor(bare2)
                sign3, f = self.monomial(coef, [*one, *two] or self.word(bare.terms[0].word))
                parts.append((sign * sign2 * sign3, f))
            made = self.added(parts)
            text = plain(made[1])
            lone = any(len(a.terms) == len(b.terms) == 1 for a, _, b in groups)
            lone = lone and any(
                len(m.word) > 2 for g in groups for p in (g[0], g[2]) if len(p.terms) > 1 for m in p.terms
            )
            kept = sum(bare.key in self.seen for g in groups for bare in (content(g[0])[1], content(g[2])[1]))
            cost = (len(groups) > 1) * (BRACKET + lone * LONE) + IDENTITY * max(0, text.count("eye(") - identities)
            cost -= SEEN * kept
            found.append((_measure(made[1]) + cost, made))
        if p.shape[0] is None and p.shape[1] is not None:
            sign, f = self.sum(transposed(p))
            return sign, Formula("'", (f,))
        if all(
            m.word and m.word[0].op == "kron" and word_key(m.word[1:]) == word_key(p.terms[0].word[1:]) for m in p.terms
        ):
            return self.kronecker(p)
        for op, name in SHOWN.items():
            if all(len(m.word) == 1 and m.word[0].op == op for m in p.terms):
                inside = Polynomial(p.terms[0].word[0].args[0].shape)
                for m in p.terms:
                    inside += scaled_by(m.word[0].args[0], m.coef, m.scalars)
                sign, f = self.signed(inside)
                return sign, Formula(name, (f,))
        by_scalars: dict[str, list[Monomial]] = {}
        for m in p.terms:
            by_scalars.setdefault(Monomial(Integer(1), m.scalars).key, []).append(m)
        if 1 < len(by_scalars) < len(p.terms):
            made = self.added([self.signed(Polynomial(p.shape, tuple(x))) for x in by_scalars.values()])
            found.append((_measure(made[1]), made))
        for op in SHOWN:  # those alike as one
            some = tuple(m for m in p.terms if len(m.word) == 1 and m.word[0].op == op)
            if len(some) > 1:
                others = tuple(m for m in p.terms if m not in some)
                made = self.added([self.signed(Polynomial(p.shape, x)) for x in (others, some)])
                found.append((_measure(made[1]), made))
        taken = elementwise_content(p)
        if taken is not None:
            (sign, one_), (sign2, two_) = self.signed(taken[0]), self.signed(taken[1])
            made = sign * sign2, Formula(".*", (one_, two_))
            under = reciprocal(taken[0])
            if under is not None:
                made = sign2, Formula("./", (two_, self.formula(under)))
            bonus = ONE_MINUS if _is_one_minus(taken[1]) else 0
            found.append((_measure(made[1]) - bonus, made))
        pair = binomial(p)
        if pair is not None:
            (sign, one_), (sign2, two_) = map(self.signed, pair)
            made = sign * sign2, Formula(".*", (one_, two_))
            found.append((_measure(made[1]) - ONE_MINUS * _is_one_minus(pair[1]), made))
        square = with_square(p, self.sums.values())
        if square is not None:
            s, c, rest = square
            parts = [self.signed(rest)] if rest.terms else []
            parts.append(self.monomial(Monomial(c), [Formula(".^", (self.formula(s), number(Integer(2))))]))
            made = self.added(parts)
            found.append((_measure(made[1]), made))
        if None not in p.shape and sum(a.turned for m in p.terms for a in m.word):
            other = transposed(p)
            if sum(a.turned for m in other.terms for a in m.word) == 0:
                sign, f = self.sum(other)
                made = sign, Formula("'", (f,))
                found.append((_measure(made[1]), made))
        return min(found, key=lambda x: x[0])[1]

    def may_turn(self, p: Polynomial) -> bool:
        """Whether a difference may be written the other way round: its author did not write it so."""
        mixed = len({m.coef.could_extract_minus_sign() for m in p.terms}) > 1
        return mixed and p.key not in self.seen and transposed(p).key not in self.seen

    def kronecker(self, p: Polynomial) -> Signed:
        """A sum of Kronecker products, those of one second (or one first) factor as one."""
        found: list[Signed] = []
        tail = self.word(p.terms[0].word[1:])
        for place in (1, 0):
            joined: dict[str, tuple[Polynomial, Polynomial]] = {}
            for m in p.terms:
                args = m.word[0].args
                own = scaled_by(args[1 - place], m.coef, m.scalars)
                old = joined.get(args[place].key)
                joined[args[place].key] = (old[0] + own if old else own, args[place])
            parts: list[Signed] = []
            for own, other in joined.values():
                common, rest = oriented(*content(own), self.seen)
                pair = (rest, other) if place else (other, rest)
                parts.append(self.monomial(common, [Formula("kron", tuple(map(self.formula, pair)))]))
            sign, f = self.added(parts)
            found.append((sign, product_of([f, *tail])))
        return min(found, key=lambda x: len(plain(x[1])))

    def factor(self, p: Polynomial) -> tuple[int, list[Formula]]:
        """A sign and the factors of a polynomial without common ones; none of an identity."""
        if is_identity(p):
            return 1, []
        if len(p.terms) == 1 and p.terms[0].coef == 1 and not p.terms[0].scalars:
            return 1, self.word(p.terms[0].word)
        sign, f = self.sum(p)
        return sign, [f]

    def added(self, parts: Sequence[Signed]) -> Signed:
        """A sum that begins with a term that is not negative; its sign, if all are."""
        outer = 1 if any(sign > 0 for sign, _ in parts) else -1
        ordered = sorted(parts, key=lambda x: x[0] != outer)
        found = ordered[0][1]
        for sign, f in ordered[1:]:
            found = Formula("+" if sign == outer else "-", (found, f))
        return outer, found

    def scalar_sum(self, p: Polynomial) -> Signed:
        """A sum of scalars, with the squared norm or the product of brackets that it holds."""
        found = [self.added([self.signed(Polynomial(p.shape, (m,))) for m in p.terms])]
        for op in ("inner", "tr") if self.brackets else ():
            some = tuple(m for m in p.terms if any(a.op == op for a, _ in m.scalars))
            rest = [self.signed(Polynomial(p.shape, (m,))) for m in p.terms if m not in some]
            common, bare = content(Polynomial(p.shape, some)) if len(some) > 1 else (Monomial(Integer(1)), p)
            root = root_of(bare, self.seen) if len(some) > 1 else None
            if root is None and len(some) > 1 and (root := root_of(bare.scaled(-1), self.seen)) is not None:
                common = Monomial(-common.coef, common.scalars)
            if root is not None:
                square = Formula("^", (Formula("norm2", (self.root(root),)), number(Integer(2))))
                found.append(self.added([self.monomial(common, [square]), *rest]))
        form = with_form(p, self.sums.values()) if self.brackets else None
        if form is not None:
            factors, c, left = form
            parts = [self.signed(left)] if left.terms else []
            shown = [g for f in factors for sign, g in [self.signed(f)]]
            turn = math.prod(self.signed(f)[0] for f in factors)
            sign, f = self.monomial(Monomial(c), shown)
            found.append(self.added([*parts, (turn * sign, f)]))
        for words in words_of(p) if self.brackets else ():
            common, bare = content(words)
            outer, inside = self.factor(bare)
            sign, f = self.monomial(common, inside)
            found.append((outer * sign, f))
        return min(found, key=lambda x: len(plain(x[1])))


def _measure(f: Formula) -> int:
    """The length, ones as short as a book writes them."""
    return len(plain(f).replace("vector(1)", "1").replace("matrix(1)", "1"))


def _is_one_minus(p: Polynomial) -> bool:
    """Whether it is ``1 - b``."""
    ones_ = [m for m in p.terms if all(a.op == "ones" for a in m.word)]
    return len(p.terms) == 2 and len(ones_) == 1 and p.terms[0].coef * p.terms[1].coef == -1
