"""Transposes of words, written as far inside as they go, and the canonical one of several spellings."""

from __future__ import annotations

from dataclasses import replace
from typing import TypeAlias

from sympy import Expr, Integer

from .algebra import Atom, Monomial, Polynomial, Word, collected, word_key

Factor: TypeAlias = tuple[Polynomial, Expr]  # of an elementwise product, with its exponent

HALVES = {"tril": "triu", "triu": "tril"}  # of a matrix, and what they are of its transpose


def turned_atom(a: Atom) -> Atom:
    """The transpose of an atom, written as far inside as it goes."""
    rows, columns = a.shape
    if a.is_scalar or a.symmetric or a.op in ("eye", "diag"):
        return a
    if a.op in HALVES or a.op == "diagsums":
        return Atom(HALVES.get(a.op, a.op), (columns, rows), (transposed(a.args[0]),))
    if a.op == "kron":
        return replace(a, shape=(columns, rows), args=tuple(map(transposed, a.args)))
    if a.op == "pow" and None not in a.shape:
        return replace(a, shape=(columns, rows), args=(transposed(a.args[0]), a.args[1]))
    if a.op == "inv" or (a.op in ("had", "fn") and None not in a.shape):
        if a.op == "inv":
            return inverse_atom(transposed(a.args[0]))
        made = sorted_factors([(transposed(p), e) for p, e in factors_of(a)]) if a.op == "had" else None
        args = tuple(p for p, _ in made) if made else tuple(map(transposed, a.args))
        powers = tuple(e for _, e in made) if made else ()
        return Atom(a.op, (columns, rows), args, a.text, powers)
    return replace(a, shape=(columns, rows), turned=not a.turned)


def turned(word: Word) -> Word:
    return tuple(map(turned_atom, reversed(word)))


def transposed(p: Polynomial) -> Polynomial:
    rows, columns = p.shape
    return collected((columns, rows), (Monomial(m.coef, m.scalars, turned(m.word)) for m in p.terms))


def primes(word: Word) -> int:
    inside = ("inv", "fn", "had", "kron", "tril", "triu", "diagsums")
    return sum(a.turned or (a.op in inside and any(primes(p.terms[0].word) for p in a.args)) for a in word)


def least(words: list[Word]) -> Word:
    """Of words of one value, the one with the fewest transposes."""
    return min(words, key=lambda w: (primes(w), word_key(w)))


def inverse_atom(p: Polynomial) -> Atom:
    symmetric = transposed(p).key == p.key
    return Atom("inv", p.shape, (p,), symmetric=symmetric)


def sorted_factors(pairs: list[Factor]) -> list[Factor]:
    found: dict[str, Factor] = {}
    for p, e in pairs:
        old = found.get(p.key)
        found[p.key] = (p, (old[1] if old else 0) + e)
    return [found[k] for k in sorted(found) if found[k][1] != 0]


def factors_of(a: Atom) -> list[Factor]:
    return list(zip(a.args, a.powers, strict=True))


def inner_atom(word: Word) -> Atom:
    """The scalar ``x' A y`` as an atom, written the one way of two that has the fewest transposes."""
    w = least([word, turned(word)])
    return Atom("inner", (None, None), (Polynomial((None, None), (Monomial(Integer(1), (), w),)),))
