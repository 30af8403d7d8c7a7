"""Functions of polynomials: of every element, inverses, determinants, Kronecker products."""

from __future__ import annotations

from sympy import Integer

from .algebra import Atom, Monomial, NoClosedForm, Polynomial, Word, constant, eye, of_atom
from .rules import diag, exponential, power, scaled_by, times
from .transposes import inverse_atom, primes, transposed, turned_atom


def kron(a: Polynomial, b: Polynomial) -> Polynomial:
    """The Kronecker product of two matrices, multiplied out."""
    (i, j), (k, l) = a.shape, b.shape  # noqa: E741
    if i is None or j is None or k is None or l is None:
        raise NoClosedForm("a Kronecker product of vectors")
    shape = i * k, j * l
    result = Polynomial(shape)
    for m in a.terms:
        for n in b.terms:
            args = tuple(Polynomial(p.shape, (Monomial(Integer(1), (), x.word),)) for p, x in ((a, m), (b, n)))
            made = of_atom(Atom("kron", shape, args))
            result += scaled_by(made, m.coef * n.coef, (*m.scalars, *n.scalars))
    return result


def commuted(a: Polynomial, b: Polynomial) -> Polynomial:
    """``kron(A, B) K`` with ``K vec(X) = vec(X')``: of ``A[i,l] B[k,j]`` over the rows (i, k) and the columns (j, l)."""
    (i, l), (k, j) = a.shape, b.shape  # noqa: E741
    if i is None or j is None or k is None or l is None:
        raise NoClosedForm("a Kronecker product of vectors")
    turn = of_atom(Atom("commutation", (j * l, j * l), text=f"{j} {l}"))
    both = kron(a, b)
    if a.key == eye(i).key and b.key == eye(k).key:
        return turn
    return times(Polynomial((i * k, j * l), both.terms), turn)


def stacked(a: Polynomial, b: Polynomial) -> Polynomial:
    """``vec(A) vec(B)'``, rows one below the other."""
    return times(_vec(a), transposed(_vec(b)))


def _vec(a: Polynomial) -> Polynomial:
    i, j = a.shape
    if i is None or j is None:
        raise NoClosedForm("the stacked rows of a vector")
    result = Polynomial((i * j, None))
    for m in a.terms:
        made = of_atom(Atom("vec", (i * j, None), (Polynomial(a.shape, (Monomial(Integer(1), (), m.word),)),)))
        result += scaled_by(made, m.coef, m.scalars)
    return result


def apply(name: str, p: Polynomial) -> Polynomial:
    """A function of one number, of every element."""
    if p.shape[0] is None and p.shape[1] is not None:
        return transposed(apply(name, transposed(p)))
    if name == "exp":
        return exponential(p)
    if name in ("Abs", "sign") and p.terms and p.terms[0].coef.is_negative:
        return apply(name, p.scaled(-1)).scaled(-1 if name == "sign" else 1)
    if name == "log" and len(p.terms) == 1 and p.is_scalar:
        m = p.terms[0]
        inside = [(a, e) for a, e in m.scalars if a.op == "fn" and a.text == "exp"]
        if inside:
            result = apply(
                "log", Polynomial(p.shape, (Monomial(m.coef, tuple(x for x in m.scalars if x not in inside)),))
            )
            for a, e in inside:
                result += a.args[0].scaled(e)
            return result
        if p.number == 1:
            return constant(0)
    return of_atom(Atom("fn", p.shape, (p,), name))


def all_square(word: Word) -> bool:
    return all(a.shape[0] == a.shape[1] and a.shape[0] is not None for a in word)


def inverse(p: Polynomial) -> Polynomial:
    """The inverse of a square matrix."""
    if not p.terms:
        raise NoClosedForm("the inverse of 0")
    if len(p.terms) == 1:
        m = p.terms[0]
        word: Word = ()
        lone = tuple((a, -e) for a, e in m.scalars)
        if all_square(m.word):
            result = eye(p.shape[0] or Integer(1))
            for a in reversed(m.word):
                result = times(result, _inverse_of(a))
            return scaled_by(result, 1 / m.coef, lone)
        word = m.word
        bare = Polynomial(p.shape, (Monomial(Integer(1), (), word),))
        return scaled_by(of_atom(inverse_atom(bare)), 1 / m.coef, lone)
    lead = p.terms[0].coef
    return of_atom(inverse_atom(p.scaled(1 / lead))).scaled(1 / lead)


def _inverse_of(a: Atom) -> Polynomial:
    if a.op == "inv":
        return a.args[0]
    if a.op == "diag":
        return diag(power(a.args[0], Integer(-1)))
    if a.fact == "orthogonal":
        return of_atom(turned_atom(a))
    return of_atom(a) if a.op == "eye" else of_atom(inverse_atom(of_atom(a)))


def determinant(p: Polynomial) -> Polynomial:
    if len(p.terms) == 1 and p.terms[0].coef == 1 and not p.terms[0].scalars and all_square(p.terms[0].word):
        result = constant(1)
        for a in p.terms[0].word:
            if a.op == "inv":
                result = times(result, power(determinant(a.args[0]), Integer(-1)))
            elif a.op != "eye":
                result = times(result, of_atom(Atom("det", (None, None), (untransposed(of_atom(a)),))))
        return result
    return of_atom(Atom("det", (None, None), (untransposed(p),)))


def untransposed(p: Polynomial) -> Polynomial:
    return min((p, transposed(p)), key=lambda q: (sum(primes(m.word) for m in q.terms), q.key))


def log_determinant(p: Polynomial) -> Polynomial:
    word = p.terms[0].word if len(p.terms) == 1 else ()
    if len(word) == 1 and word[0].op == "inv" and p.terms[0].coef == 1 and not p.terms[0].scalars:
        return log_determinant(word[0].args[0]).scaled(-1)
    return of_atom(Atom("logdet", (None, None), (untransposed(p),)))


def symbolic_power(base: Polynomial, exponent: Polynomial) -> Polynomial:
    """``a^b`` of every element of a tensor, for a scalar b."""
    if base.shape[0] is None and base.shape[1] is not None:
        return transposed(symbolic_power(transposed(base), exponent))
    return of_atom(Atom("pow", base.shape, (base, exponent)))
