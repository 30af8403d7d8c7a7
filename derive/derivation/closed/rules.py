r"""The identities of matrices that closed forms are normalised by, each an equation that holds for all arguments.

(A B)' = B' A'          inv(A B) = inv(B) inv(A) of square A, B      inv(A)' = inv(A')      inv(A) A = I
x' A y is a scalar      x' A y = y' A' x                             tr(A B) = tr(B A)      tr(A) = tr(A')
det(A B) = det A det B  diag(u) v = u .* v                           diag(u) 1 = u          diag(u) diag(v) = diag(u .* v)
M .* (u v') = diag(u) M diag(v)                                      M .* I = diag(diag(M))
exp(u + s 1) = exp(s) exp(u)       exp(u) .* exp(v) = exp(u + v)     exp(log s) = s         log(s exp(t)) = t + log s
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, Integer

from .algebra import (
    Atom,
    Axis,
    Monomial,
    NoClosedForm,
    Polynomial,
    Scalars,
    Word,
    collected,
    constant,
    eye,
    of_atom,
    ones,
    powers_of,
)
from .elementwise import even, even_factor, factors_of_word, grouped, hyperbolic, one_word, opens, split
from .transposes import HALVES, Factor, inner_atom, least, sorted_factors, transposed, turned, turned_atom

# -- products ---------------------------------------------------------------------------------------------------------


def scaled_by(p: Polynomial, coef: Expr, scalars: Scalars) -> Polynomial:
    """A polynomial times a coefficient and scalars."""
    made = [_gathered(coef * m.coef, (*m.scalars, *scalars), m.word) for m in p.terms]
    return collected(p.shape, made)


def _gathered(coef: Expr, pairs: tuple[tuple[Atom, Expr], ...], word: Word = ()) -> Monomial:
    """Scalars multiplied, all exponentials as one."""
    exps = [(a, e) for a, e in pairs if a.op == "fn" and a.text == "exp"]
    if len(exps) > 1 or any(e != 1 for _, e in exps):
        inside = constant(0)
        for a, e in exps:
            inside += a.args[0].scaled(e)
        rest = [p for p in pairs if p not in exps]
        more = exponential(inside).terms[0]
        return Monomial(coef * more.coef, powers_of((*rest, *more.scalars)), word)
    return Monomial(coef, powers_of(pairs), word)


def times(*factors: Polynomial) -> Polynomial:
    """The product of matrices, vectors and scalars, multiplied out."""
    result = factors[0]
    for f in factors[1:]:
        result = _times(result, f)
    return result


def _times(a: Polynomial, b: Polynomial) -> Polynomial:
    if a.is_scalar or b.is_scalar:
        shape = b.shape if a.is_scalar else a.shape
        made = [
            _gathered(m.coef * n.coef, (*m.scalars, *n.scalars), m.word or n.word) for m in a.terms for n in b.terms
        ]
        return collected(shape, made)
    if a.shape[1] != b.shape[0]:
        raise NoClosedForm(f"a product of shapes {a.shape} and {b.shape}")
    shape = a.shape[0], b.shape[1]
    result = Polynomial(shape)
    for m in a.terms:
        for n in b.terms:
            result += scaled_by(product(m.word + n.word, shape), m.coef * n.coef, (*m.scalars, *n.scalars))
    return result


def product(word: Word, shape: tuple[Axis, Axis]) -> Polynomial:
    """A product of atoms, normalised."""
    word = _cancelled(word, declared=shape != (None, None))
    if not word:
        return eye(shape[0]) if shape[0] is not None else constant(1)
    inner = [n for n in range(1, len(word)) if word[n].shape[0] is None]
    parts = [word[a:b] for a, b in zip([0, *inner], [*inner, len(word)], strict=True)]
    if len(parts) == 1:
        return _line(word)
    result = constant(1)
    column: Polynomial | None = None
    row: Polynomial | None = None
    for part in parts:
        value = _line(part)
        if value.is_scalar:
            result = times(result, value)
        elif value.shape[1] is None:
            column = value
        else:
            row = value
    if column is not None and row is not None:
        for_words = [
            Monomial(m.coef * n.coef, powers_of((*m.scalars, *n.scalars)), m.word + n.word)
            for m in column.terms
            for n in row.terms
        ]
        return times(result, collected(shape, for_words))
    one = column if column is not None else row
    return result if one is None else times(result, one)


def _line(word: Word) -> Polynomial:
    """A product without an inner vector boundary: a matrix, a column, a row or a scalar."""
    rows, columns = word[0].shape[0], word[-1].shape[1]
    if rows is None and columns is None:
        return inner(word)
    if rows is None:
        return transposed(_line(turned(word)))
    if columns is None:
        for n in range(len(word) - 2, -1, -1):
            if word[n].op == "diag":
                rest = _line(word[n + 1 :])
                value = hadamard(word[n].args[0], rest)
                return (
                    times(Polynomial((rows, value.shape[0]), (Monomial(Integer(1), (), word[:n]),)), value)
                    if n
                    else value
                )
    return Polynomial((rows, columns), (Monomial(Integer(1), (), word),))


def _cancelled(word: Word, declared: bool = False) -> Word:
    """Without identities, with neighbouring diagonals as one, and inverses beside what they are of gone.

    ``declared`` has an orthogonal matrix gone beside its transpose; in a scalar it stays, as a norm may be found in it.
    """
    word = tuple(a for a in word if a.op != "eye")
    for n in range(len(word) - 1):
        a, b = word[n], word[n + 1]
        if a.op == b.op == "diag":
            both = hadamard(a.args[0], b.args[0])
            if len(both.terms) == 1 and both.terms[0].coef == 1 and not both.terms[0].scalars:
                return _cancelled((*word[:n], *one_word(diag(both)), *word[n + 2 :]), declared)
        if declared and a.fact == "orthogonal" and a.text == b.text and a.turned != b.turned:
            return _cancelled((*word[:n], *word[n + 2 :]), declared)
    for n, a in enumerate(word):
        if a.op == "inv" and len(a.args[0].terms) == 1:
            w = a.args[0].terms[0].word
            size = len(w)
            if word[n + 1 : n + 1 + size] == w:
                return _cancelled(word[:n] + word[n + 1 + size :], declared)
            if n >= size and word[n - size : n] == w:
                return _cancelled(word[: n - size] + word[n + 1 :], declared)
    return word


def inner(word: Word) -> Polynomial:
    """The scalar ``x' A y``."""
    if len(word) == 2 and (word[0].op, word[1].op) != ("ones", "ones"):
        a, b = turned_atom(word[0]), word[1]
        pairs = sorted_factors([*split(a), *split(b)])
        if "had" in (a.op, b.op) and all(e == 1 for _, e in pairs):
            first, rest = one_word(pairs[0][0]), from_factors(pairs[1:], b.shape)
            rest_word = one_word(rest)
            if len(rest.terms) == 1 and rest.terms[0].coef == 1:
                return of_atom(inner_atom(turned(first) + rest_word))
    for a, b in ((word[0], word[-1]), (turned_atom(word[-1]), turned_atom(word[0]))):
        if len(word) == 2 and (a.op, b.op) == ("ones", "diagonal"):
            return trace(b.args[0])
    if len(word) == 2 and word[0].op == word[1].op == "ones":
        return constant(word[0].shape[1] or 1)
    if len(word) == 2 and word[0].fact == "unit" and word[0].text == word[1].text:
        return constant(1)  # x'x of a unit vector
    for n, a in enumerate(word):
        if a.op == "diag" and 0 < n < len(word) - 1:
            left, right = _line(turned(word[:n])), _line(word[n + 1 :])
            if len(left.terms) == len(right.terms) == 1:
                return times(transposed(left), hadamard(a.args[0], right))
    return of_atom(inner_atom(word))


def trace(p: Polynomial) -> Polynomial:
    """The trace of a matrix."""
    result = constant(0)
    for m in p.terms:
        result += scaled_by(_trace(m.word, p.shape[0]), m.coef, m.scalars)
    return result


def _trace(word: Word, n: Axis) -> Polynomial:
    assert n is not None
    if word == one_word(eye(n)):
        return constant(n)
    if len(word) == 1 and word[0].op == "kron":
        return times(*map(trace, word[0].args))
    cut = next((k for k in range(len(word)) if word[k].shape[0] is None), None)
    if cut is not None:
        return product(word[cut:] + word[:cut], (None, None))
    turn = next((k for k in range(len(word)) if word[k].op == "diag"), None)
    if turn is not None:
        v, rest = word[turn].args[0], word[turn + 1 :] + word[:turn]
        size = word[turn].shape[0]
        assert size is not None
        return times(transposed(diagonal(product(rest, (size, size)))), v)
    before = word
    word = _cancelled(word)
    for k in range(len(word)):
        around = _cancelled(word[k:] + word[:k])
        if len(around) < len(word):
            rows = around[0].shape[0] if around else before[k].shape[0]
            return _trace(around or one_word(eye(rows or Integer(1))), rows)
    rotations = [w[k:] + w[:k] for w in (word, turned(word)) for k in range(len(word))]
    w = least(rotations)
    return of_atom(Atom("tr", (None, None), (Polynomial((w[0].shape[0],) * 2, (Monomial(Integer(1), (), w),)),)))


def diag(v: Polynomial) -> Polynomial:
    """The diagonal matrix of a vector; linear in it."""
    n = v.shape[0]
    result = Polynomial((n, n))
    for m in v.terms:
        if len(m.word) == 1 and m.word[0].op == "ones":
            made = eye(n or Integer(1))
        else:
            one = Polynomial(v.shape, (Monomial(Integer(1), (), m.word),))
            made = of_atom(Atom("diag", (n, n), (one,)))
        result += scaled_by(made, m.coef, m.scalars)
    return result


def part(op: str, p: Polynomial) -> Polynomial:
    """The lower or upper part of a matrix, or the sums along its diagonals; linear in it."""
    result = Polynomial(p.shape)
    for m in p.terms:
        (a, *more) = m.word
        if not more and (a.op in ("eye", "diag") and op in HALVES or a.op == op != "diagsums"):
            made = Polynomial(p.shape, (Monomial(Integer(1), (), m.word),))
        elif not more and a.op in HALVES and op in HALVES:
            made = diag(diagonal(a.args[0]))
        else:
            made = of_atom(Atom(op, p.shape, (Polynomial(p.shape, (Monomial(Integer(1), (), m.word),)),)))
        result += scaled_by(made, m.coef, m.scalars)
    return result


def diagonal(p: Polynomial) -> Polynomial:
    """The vector of the diagonal of a matrix."""
    n = p.shape[0]
    result = Polynomial((n, None))
    for m in p.terms:
        result += scaled_by(_diagonal(m.word, n), m.coef, m.scalars)
    return result


def _diagonal(word: Word, n: Axis) -> Polynomial:
    assert n is not None
    cut = next((k for k in range(1, len(word)) if word[k].shape[0] is None), None)
    if cut is not None:
        return hadamard(_line(word[:cut]), transposed(_line(word[cut:])))
    if len(word) == 1 and word[0].op in ("eye", "diag"):
        return ones(n) if word[0].op == "eye" else word[0].args[0]
    if len(word) == 1 and word[0].op in HALVES:
        return diagonal(word[0].args[0])
    for end in (0, -1):
        if word[end].op == "diag":
            return hadamard(word[end].args[0], _diagonal(word[1:] if end == 0 else word[:-1], n))
    w = least([word, turned(word)])
    return of_atom(Atom("diagonal", (n, None), (Polynomial((n, n), (Monomial(Integer(1), (), w),)),)))


# -- elementwise ------------------------------------------------------------------------------------------------------


def hadamard(a: Polynomial, b: Polynomial) -> Polynomial:
    """The elementwise product of two of one shape, multiplied out."""
    if a.is_scalar and b.is_scalar:
        return times(a, b)
    if a.shape != b.shape:
        raise NoClosedForm(f"an elementwise product of shapes {a.shape} and {b.shape}")
    if a.shape[0] is None:
        return transposed(hadamard(transposed(a), transposed(b)))
    result = Polynomial(a.shape)
    for m in a.terms:
        for n in b.terms:
            result += scaled_by(_hadamard(m.word, n.word, a.shape), m.coef * n.coef, (*m.scalars, *n.scalars))
    return result


def _outer(word: Word) -> tuple[Polynomial, Polynomial] | None:
    """The column and the row of ``u v'``."""
    cut = next((k for k in range(1, len(word)) if word[k].shape[0] is None), None)
    return None if cut is None else (_line(word[:cut]), _line(word[cut:]))


def _hadamard(a: Word, b: Word, shape: tuple[Axis, Axis]) -> Polynomial:
    if shape[1] is not None:
        for x, y in ((a, b), (b, a)):
            if len(x) == 1 and x[0].op in HALVES:
                return part(x[0].op, hadamard(x[0].args[0], Polynomial(shape, (Monomial(Integer(1), (), y),))))
        for x, y in ((a, b), (b, a)):
            found = _outer(x)
            if found is not None:
                u, v = found[0], transposed(found[1])
                return times(diag(u), product(y, shape), diag(v))
            if len(x) == 1 and x[0].op in ("eye", "diag"):
                d = diagonal(Polynomial(shape, (Monomial(Integer(1), (), y),)))
                return diag(d if x[0].op == "eye" else hadamard(x[0].args[0], d))
    for x, y in ((a, b), (b, a)):
        if len(x) == 1 and x[0].op == "ones":
            return Polynomial(shape, (Monomial(Integer(1), (), y),))
    return from_factors(sorted_factors([*factors_of_word(a), *factors_of_word(b)]), shape)


def from_factors(pairs: list[Factor], shape: tuple[Axis, Axis]) -> Polynomial:
    """The elementwise product of powers, its exponentials as one."""
    exps = [(p, e) for p, e in pairs if (w := one_word(p)) and len(w) == 1 and (w[0].op, w[0].text) == ("fn", "exp")]
    if len(exps) > 1 or any(e != 1 for _, e in exps):
        inside = Polynomial(shape)
        for p, e in exps:
            inside += one_word(p)[0].args[0].scaled(e)
        rest = from_factors([f for f in pairs if f not in exps], shape)
        return hadamard(rest, exponential(inside))
    if not pairs:
        return times(ones(shape[0]), transposed(ones(shape[1]))) if shape[1] is not None else ones(shape[0])
    pairs = hyperbolic(pairs)
    logistic = _logistic(pairs, shape)
    if logistic is not None:
        return logistic
    if len(pairs) == 1 and pairs[0][1] == 1 and not grouped(pairs[0][0]):
        return pairs[0][0]
    if len(pairs) == 1 and grouped(pairs[0][0]) and opens(one_word(pairs[0][0])[0].args[0], pairs[0][1]):
        return power(one_word(pairs[0][0])[0].args[0], pairs[0][1])
    args, powers = zip(*pairs, strict=True)
    return of_atom(Atom("had", shape, tuple(args), powers=tuple(powers)))


def _logistic(pairs: list[Factor], shape: tuple[Axis, Axis]) -> Polynomial | None:
    """``exp(u) / (1 + exp(u))^n = s (1 - s)^(n-1)`` with s the sigmoid of u, and ``exp(u) sigmoid(-u) = s``; else None."""
    for p, e in pairs:
        a = one_word(p)[0]
        if (a.op, a.text, e) != ("fn", "exp", 1):
            continue
        other = of_atom(Atom("fn", a.shape, (a.args[0].scaled(-1),), "sigmoid"))
        if (beside := next((x for x in pairs if x[0].key == other.key and x[1] >= 1), None)) is not None:
            rest = [*(x for x in pairs if x not in (beside, (p, e))), (other, beside[1] - 1)]
            return hadamard(from_factors(sorted_factors(rest), shape), of_atom(replace(a, text="sigmoid")))
        one = from_factors([], shape)
        under = next((x for x in pairs if grouped(x[0]) and one_word(x[0])[0].args[0].key == (p + one).key), None)
        if under is not None and under[1].is_Integer and -4 <= under[1] < 0:
            s = of_atom(Atom("fn", a.shape, a.args, "sigmoid"))
            result = hadamard(from_factors([x for x in pairs if x not in (under, (p, e))], shape), s)
            for _ in range(-int(under[1]) - 1):
                result = hadamard(result, one - s)
            return result
    return None


def power(p: Polynomial, e: Expr) -> Polynomial:
    """Every element in a power that is a number."""
    if p.number is not None:
        return constant(p.number**e)
    if opens(p, e):
        result = p
        for _ in range(int(e) - 1):
            result = hadamard(result, p)
        return result
    if len(p.terms) == 1:
        m = p.terms[0]
        if m.coef.is_positive or e.is_Integer:
            lone = tuple((even(a, x, e), x * e) for a, x in m.scalars)
            if p.is_scalar:
                return collected(p.shape, [_gathered(m.coef**e, lone)])
            one = len(m.word) == 1 and m.word[0].op == "ones"
            pairs = [] if one else [(even_factor(q, x, e), x * e) for q, x in factors_of_word(m.word)]
            return scaled_by(from_factors(pairs, p.shape), m.coef**e, powers_of(lone))
    lead = p.terms[0].coef
    if not (lead.is_positive or e.is_Integer):
        lead = Integer(1)
    group = Atom("group", p.shape, (p.scaled(1 / lead),))
    if p.is_scalar:
        return of_atom(group, e).scaled(lead**e)
    return from_factors([(of_atom(group), e)], p.shape).scaled(lead**e)


def exponential(p: Polynomial) -> Polynomial:
    """``exp`` of every element, with what is added to all of them as a factor."""
    factor = constant(1)
    kept: list[Monomial] = []
    for m in p.terms:
        flat = all(a.op == "ones" for a in m.word)
        if p.is_scalar and len(m.scalars) == 1 and m.scalars[0][0].text == "log" and m.scalars[0][1] == 1:
            factor = times(factor, power(m.scalars[0][0].args[0], m.coef))
        elif flat and not p.is_scalar:
            factor = times(factor, exponential(Polynomial((None, None), (Monomial(m.coef, m.scalars),))))
        else:
            kept.append(m)
    rest = collected(p.shape, kept)
    if not rest.terms:
        return factor if p.is_scalar else times(factor, from_factors([], p.shape))
    return times(factor, of_atom(Atom("fn", p.shape, (rest,), "exp")))
