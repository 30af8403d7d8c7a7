"""Common factors of sums of products: what stands left or right of all of them, and roots of sums of squares."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator, Sequence, Set

import sympy
from sympy import Expr, Integer, Rational

from .algebra import Atom, Axis, Monomial, Polynomial, Scalars, Word, collected, eye, word_key
from .elementwise import factors_of_word
from .rules import from_factors, hadamard, scaled_by, times, trace
from .transposes import sorted_factors, transposed, turned

MOST_SQUARES = 5

Group = tuple[Polynomial, Monomial, Polynomial]  # left, coefficient and scalars, right


def content(p: Polynomial) -> tuple[Monomial, Polynomial]:
    """The coefficient and the scalars that all terms share, and the rest; the first positive term stays positive."""
    shared: dict[str, tuple[Atom, Expr]] = {}
    first = {a.key: (a, e) for a, e in p.terms[0].scalars} if p.terms else {}
    for key, (a, _) in first.items():
        exponents = [next((x for b, x in m.scalars if b.key == key), Integer(0)) for m in p.terms]
        if all(x.is_number for x in exponents) and (all(x > 0 for x in exponents) or all(x < 0 for x in exponents)):
            shared[key] = (a, min(exponents, key=abs))
    coef = _shared_coefficient([m.coef for m in p.terms])
    down = {k: -e for k, (_, e) in shared.items()}
    rest = [
        Monomial(
            m.coef / coef,
            tuple((a, e + down.get(a.key, 0)) for a, e in m.scalars if e + down.get(a.key, 0) != 0),
            m.word,
        )
        for m in p.terms
    ]
    return Monomial(coef, tuple(shared.values())), collected(p.shape, rest)


def oriented(common: Monomial, p: Polynomial, seen: Set[str], shown: bool = True) -> tuple[Monomial, Polynomial]:
    """The same in the sign that its author wrote, ``x - A s``; else, to be ``shown``, with a positive coefficient, and to be
    compared with the longest term positive."""
    other = p.scaled(-1)
    mine, theirs = (q.key in seen or transposed(q).key in seen for q in (p, other))
    if mine and not theirs:
        return common, p
    if theirs and not mine:
        return Monomial(-common.coef, common.scalars), other
    if shown and len({m.coef.could_extract_minus_sign() for m in p.terms}) > 1:  # 2 (B - A) rather than -2 (A - B)
        turn = common.coef.could_extract_minus_sign()
        return (Monomial(-common.coef, common.scalars), other) if turn else (common, p)
    longest = min(p.terms, key=lambda m: (-len(m.word), m.key.replace("'", "")))
    if not longest.coef.could_extract_minus_sign():
        return common, p
    return Monomial(-common.coef, common.scalars), other


def _shared_coefficient(coefs: Sequence[Expr]) -> Expr:
    split = [c.as_coeff_Mul() for c in coefs]
    numbers = [Rational(n) if n.is_Rational else Integer(1) for n, _ in split]
    shared = Rational(math.gcd(*(int(n.p) for n in numbers)), math.lcm(*(int(n.q) for n in numbers)))
    if all(n < 0 for n in numbers):
        shared = -shared
    sizes = split[0][1]
    same = all(s == sizes for _, s in split) and all(n.is_Rational for n, _ in split)
    return shared * sizes if same else shared


def groupings(p: Polynomial, seen: Set[str]) -> Iterator[list[Group]]:
    """The sum as groups with a common factor on the left, and as groups with one on the right."""
    if any(not m.word for m in p.terms):
        return
    for apart in (False, True):
        left = _grouped(p.terms, p.shape, apart, seen)
        if left is not None:
            yield left
        rows, columns = p.shape
        mirrored = _grouped(
            [Monomial(m.coef, m.scalars, turned(m.word)) for m in p.terms], (columns, rows), apart, seen
        )
        if mirrored is not None:
            yield [(transposed(b), m, transposed(a)) for a, m, b in mirrored]


def _grouped(terms: Sequence[Monomial], shape: tuple[Axis, Axis], apart: bool, seen: Set[str]) -> list[Group] | None:
    """Groups ``prefix * rest`` by the first factor, those of one rest joined; None where nothing is shared.

    ``apart``: a term that is the first factor alone stands by itself instead of giving an identity.
    """
    by_first: dict[str, list[Monomial]] = {}
    for m in terms:
        suffix = " alone" if apart and len(m.word) == 1 else ""
        by_first.setdefault(m.word[0].key + suffix, []).append(m)
    found: list[Group] = []
    for group in by_first.values():
        prefix = _prefix([m.word for m in group])
        middle = prefix[-1].shape[1]
        words = [m.word[len(prefix) :] for m in group]
        if any(not w for w in words) and middle != shape[1]:
            prefix, middle = prefix[:-1], prefix[-1].shape[0]
            words = [m.word[len(prefix) :] for m in group]
            if not prefix:
                return None
        rest = collected(
            (middle, shape[1]),
            [Monomial(m.coef, m.scalars, w or _identity(middle)) for m, w in zip(group, words, strict=True)],
        )
        common, bare = oriented(*content(rest), seen, shown=False)
        left = Polynomial((shape[0], middle), (Monomial(common.coef, common.scalars, prefix),))
        alone = is_identity(bare)
        same = next(
            (n for n, g in enumerate(found) if not alone and (g[2].key, g[2].shape) == (bare.key, bare.shape)), None
        )
        if same is None:
            found.append((left, Monomial(Integer(1)), bare))
        else:
            found[same] = (found[same][0] + left, Monomial(Integer(1)), bare)
    return found if len(found) < len(terms) else None


def is_identity(p: Polynomial) -> bool:
    if len(p.terms) != 1 or p.terms[0].coef != 1 or p.terms[0].scalars:
        return False
    return [a.op for a in p.terms[0].word] in ([], ["eye"])


def _identity(n: Axis) -> Word:
    return eye(n).terms[0].word if n is not None else ()


def _prefix(words: Sequence[Word]) -> Word:
    """The longest common beginning of words; all of it where there is one word, but for its last factor."""
    if len(words) == 1:
        return words[0][:-1] or words[0]
    size = 0
    for atoms in zip(*words, strict=False):
        if len({a.key for a in atoms}) > 1:
            break
        size += 1
    return words[0][:size]


def elementwise_content(p: Polynomial) -> tuple[Polynomial, Polynomial] | None:
    """What all terms share as an elementwise factor, and the rest; None where they share none."""
    if p.shape[0] is None:
        return None
    pairs = [factors_of_word(m.word) for m in p.terms]
    shared = [
        (q, min(found, key=abs))
        for q, first in pairs[0]
        if all(a.op != "ones" for a in q.terms[0].word)
        and len(found := [e for other in pairs for r, e in other if r.key == q.key and e * first > 0]) == len(pairs)
    ]
    if not shared:
        return None
    down = [(q, -e) for q, e in shared]
    rest = Polynomial(p.shape)
    for m, own in zip(p.terms, pairs, strict=True):
        rest += scaled_by(from_factors(sorted_factors([*own, *down]), p.shape), m.coef, m.scalars)
    return from_factors(shared, p.shape), rest


def reciprocal(p: Polynomial) -> Polynomial | None:
    """The elementwise reciprocal of a product of negative powers, which is written below a line; None of another."""
    a = p.terms[0].word[0] if len(p.terms) == 1 and len(p.terms[0].word) == 1 else None
    if a is None or a.op != "had" or p.terms[0].coef != 1 or p.terms[0].scalars or not all(e < 0 for e in a.powers):
        return None
    return from_factors([(q, -e) for q, e in zip(a.args, a.powers, strict=True)], p.shape)


def binomial(p: Polynomial) -> tuple[Polynomial, Polynomial] | None:
    """``a .* (1 - b)`` of a sum ``a - a .* b``: a and the bracket; None where it is none."""
    if p.shape[0] is None or len(p.terms) % 2:
        return None
    pairs = [factors_of_word(m.word) for m in p.terms]
    for key, (q, e) in {(q.key, e): (q, e) for own in pairs for q, e in own}.items():
        held = [any((r.key, x) == key for r, x in own) for own in pairs]
        if 2 * sum(held) != len(pairs):
            continue
        without, divided = Polynomial(p.shape), Polynomial(p.shape)
        for m, own, here in zip(p.terms, pairs, held, strict=True):
            if here:
                divided += scaled_by(from_factors(sorted_factors([*own, (q, -e)]), p.shape), m.coef, m.scalars)
            else:
                without += Polynomial(p.shape, (m,))
        if len(divided.terms) != len(without.terms):
            continue
        k = divided.terms[0].coef / without.terms[0].coef
        lone = len(without.terms) == 1 and all(a.op == "ones" for a in without.terms[0].word)
        if not lone and k.is_number and divided.key == without.scaled(k).key:
            return without, from_factors([], p.shape) + from_factors([(q, e)], p.shape).scaled(k)
    return None


def with_square(p: Polynomial, sums: Iterable[Polynomial]) -> tuple[Polynomial, Expr, Polynomial] | None:
    """``c s.^2 + rest`` for a sum s that the definitions hold: s, c and the rest; None where there is none."""
    known = {m.key: m.coef for m in p.terms}
    for s in sums:
        if s.shape != p.shape or not 1 < len(s.terms) <= MOST_SQUARES or s.shape[0] is None:
            continue
        square = hadamard(s, s)
        c = known.get(square.terms[0].key, Integer(0)) / square.terms[0].coef
        rest = p - square.scaled(c)
        if c != 0 and len(rest.terms) == len(p.terms) - len(square.terms):
            return s, c, rest
    return None


def with_form(p: Polynomial, sums: Iterable[Polynomial]) -> tuple[tuple[Polynomial, ...], Expr, Polynomial] | None:
    """``c s'W s + rest`` of a scalar, for a sum s that the definitions hold: s', W and s; c; the rest."""
    for s in sums:
        if s.shape[0] is None or s.shape[1] is not None or not 1 < len(s.terms) <= MOST_SQUARES or s.terms[0].scalars:
            continue
        end = s.terms[0].word
        if not all(abs(m.coef) == 1 for m in s.terms):
            continue
        for m in p.terms:
            word = _lone(m, "inner")
            if word is None or len(m.scalars) > 1 or len(word) <= 2 * len(end):
                continue
            if word_key(word[-len(end) :]) != word_key(end) or word_key(turned(word[: len(end)])) != word_key(end):
                continue
            inside = word[len(end) : -len(end)]
            middle = Polynomial((inside[0].shape[0], inside[-1].shape[1]), (Monomial(Integer(1), (), inside),))
            form = times(transposed(s), middle, s)
            c = m.coef / s.terms[0].coef ** 2
            rest = p - form.scaled(c)
            if len(rest.terms) == len(p.terms) - len(form.terms):
                return (transposed(s), middle, s), c, rest
    return None


# -- scalars ----------------------------------------------------------------------------------------------------------


def _lone(m: Monomial, op: str) -> Word | None:
    """The word of a monomial that is one inner product or trace, times squares."""
    found = [a for a, e in m.scalars if a.op == op and e == 1]
    return found[0].args[0].terms[0].word if len(found) == 1 else None


def root_of(p: Polynomial, seen: Set[str]) -> Polynomial | None:
    """A vector v with ``v'v`` the polynomial, or a matrix with ``tr(V'V)``; None where none is found."""
    for op in ("inner", "tr"):
        squares = [r for m in p.terms if (r := _roots(m, op))]
        for first in squares[0] if squares else ():
            alike = [next((r for r in roots if r.shape == first.shape), None) for roots in squares[1:]]
            rest = [r for r in alike if r is not None]
            if len(rest) < len(alike) or len(rest) >= MOST_SQUARES:
                continue
            for signs in itertools.product((1, -1), repeat=len(rest)):
                v = first
                for sign, s in zip(signs, rest, strict=True):
                    v += s.scaled(sign)
                square = times(transposed(v), v)
                if (square if op == "inner" else trace(square)).key == p.key:
                    return oriented(Monomial(Integer(1)), v, seen)[1]
    return None


def _roots(m: Monomial, op: str) -> list[Polynomial]:
    """Every ``u`` of a monomial that is ``u'u``."""
    word = _lone(m, op)
    others = tuple((a, e) for a, e in m.scalars if not (a.op == op and e == 1))
    root = sympy.sqrt(m.coef)
    if word is None or not root.is_Rational or any(e % 2 for _, e in others) or len(word) % 2:
        return []
    found: list[Polynomial] = []
    for turn in range(len(word) if op == "tr" else 1):
        w = word[turn:] + word[:turn]
        half = w[len(w) // 2 :]
        if word_key(turned(half)) == word_key(w[: len(w) // 2]):
            shape = half[0].shape[0], half[-1].shape[1]
            found.append(Polynomial(shape, (Monomial(root, tuple((a, e / 2) for a, e in others), half),)))
    return found


def words_of(p: Polynomial) -> Iterator[Polynomial]:
    """A sum of inner products as a sum of words, from which brackets can be taken out; as half of each and half of its
    transpose too."""
    both: list[list[Monomial]] = [[], []]
    for m in p.terms:
        word = _lone(m, "inner")
        if word is None:
            return
        rest: Scalars = tuple((a, e) for a, e in m.scalars if not (a.op == "inner" and e == 1))
        both[0].append(Monomial(m.coef, rest, word))
        both[1] += [Monomial(m.coef / 2, rest, w) for w in (word, turned(word))]
    yield from (collected(p.shape, terms) for terms in both)
