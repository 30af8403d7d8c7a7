"""Factors of elementwise products: taken apart, grouped, and what their powers keep of a sign."""

from __future__ import annotations

from sympy import Expr, Integer

from .algebra import Atom, Monomial, Polynomial, Word, of_atom
from .transposes import Factor, factors_of, sorted_factors, turned


def one_word(p: Polynomial) -> Word:
    return p.terms[0].word


def split(a: Atom) -> list[Factor]:
    """The factors of an elementwise product, one of anything else."""
    return factors_of(a) if a.op == "had" and not a.turned else [(of_atom(a), Integer(1))]


def factors_of_word(word: Word) -> list[Factor]:
    if len(word) == 1 and not word[0].turned:
        return split(word[0])
    return [(Polynomial((word[0].shape[0], word[-1].shape[1]), (Monomial(Integer(1), (), word),)), Integer(1))]


def hyperbolic(pairs: list[Factor]) -> list[Factor]:
    """``sinh u / cosh u = tanh u``."""
    for p, e in pairs:
        a = one_word(p)[0]
        inside = [
            x for x in pairs if x[1] == -1 and e == 1 and (b := one_word(x[0])[0]).text == "cosh" and b.args == a.args
        ]
        if (a.op, a.text) == ("fn", "sinh") and inside:
            tanh = of_atom(Atom("fn", a.shape, a.args, "tanh"))
            return sorted_factors([*(x for x in pairs if x not in (inside[0], (p, e))), (tanh, Integer(1))])
    return pairs


def grouped(p: Polynomial) -> bool:
    return len(p.terms) == 1 and len(p.terms[0].word) == 1 and p.terms[0].word[0].op == "group"


def opens(p: Polynomial, e: Expr) -> bool:
    """Whether a power is multiplied out; that of a scalar sum stays the power of a bracket."""
    if p.is_scalar and len(p.terms) > 1 and e != 1:
        return False
    return bool(e.is_Integer and 0 < e <= 4 and len(p.terms) ** int(e) <= 12)


def even(a: Atom, x: Expr, e: Expr) -> Atom:
    """The base of ``(a^x)^e``: the modulus, where an even power hides a sign that its root does not give back."""
    if (
        e.is_Integer
        or not (x.is_Integer and x.is_even)
        or a.op == "group"
        or (a.op == "fn" and a.text in ("exp", "Abs"))
    ):
        return a
    word = a.args[0].terms[0].word if a.op == "inner" else ()
    return a if word and turned(word) == word else Atom("fn", a.shape, (of_atom(a),), "Abs")


def even_factor(q: Polynomial, x: Expr, e: Expr) -> Polynomial:
    a = one_word(q)[0] if len(q.terms) == 1 and len(one_word(q)) == 1 else None
    made = even(a, x, e) if a is not None and a.op != "had" else a
    return q if made is None or made is a else of_atom(made)
