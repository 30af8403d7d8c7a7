"""Machine functions that keep the digits which a sum as written would cancel.

    exp(u) - 1        jnp.expm1(u)            u near 0
    log(1 + u)        jnp.log1p(u)            u near 0
    log(1 - exp(u))   jax.nn.log1mexp(-u)     u near 0 and u very negative
    1 + erf(u)        lax.erfc(-u)            u very negative; also 2 - erfc(u)
    1 - erf(u)        lax.erfc(u)             u large
    1 - sigmoid(u)    jax.nn.sigmoid(-u)      u large
    sigmoid(u) - sigmoid(-u)    jnp.tanh(u / 2)    u near 0; one function for two

Each is the same function of the same argument, so no equation changes: this is about how it is computed.
"""

from __future__ import annotations

from collections.abc import Sequence

import sympy
from sympy import Add, Expr, Integer

from derive.language.nodes import sigmoid
from derive.program.program import Term

# the function F in c F(u) + r, the ratio r/c, what replaces it, the sign of the argument, the factor
_RULES = (
    (sympy.exp, -1, "expm1", 1, 1),
    (sympy.erf, 1, "erfc", -1, 1),
    (sympy.erf, -1, "erfc", 1, -1),
    (sympy.erfc, -2, "erfc", -1, -1),
    (sigmoid, -1, "sigmoid", -1, -1),
)


def cancelling(e: Add) -> tuple[Expr, str, Expr, list[Expr]] | None:
    """``(coefficient, function, argument, other addends)`` of a sum that one function computes in part, else None.

    >>> from derive import tensor
    >>> x = tensor("x")[()]
    >>> cancelling(2*sympy.exp(x) - 2)
    (2, 'expm1', x, [])
    >>> cancelling(x + 2 - sympy.erfc(x))
    (1, 'erfc', -x, [x])
    """
    constant = e.as_coeff_Add()[0]
    if constant == 0:
        return None
    for a in e.args:
        coef, f = a.as_coeff_Mul()
        for kind, ratio, name, sign, factor in _RULES:
            if isinstance(f, kind) and constant == ratio * coef and not _apart(name, sign, f.args[0]):
                rest = [b for b in e.args if b not in (a, constant)]
                return coef * factor, name, sign * f.args[0], rest
    return None


def together(terms: Sequence[Term]) -> list[Term]:
    """Terms of an equation with two that one function computes as one: ``y = exp(u) - 1`` is such an equation."""
    terms = list(terms)
    number = next((t for t in terms if not (t.fac or t.bnd or t.rows) and t.coef.is_number), None)
    for n, t in enumerate(terms):
        if number is None or len(t.fac) != 1 or t.bnd or t.rows or not t.coef.is_number:
            continue
        whole = t.fac[0] + number.coef / t.coef
        if isinstance(whole, Add) and (found := cancelling(whole)) is not None and not found[3]:
            terms[n] = Term(t.coef, (whole,))
            return [x for x in terms if x is not number]
    return terms


def as_tanh(e: Add) -> Expr:
    """A sum with ``c sigmoid(u) - c sigmoid(-u)`` as ``c tanh(u/2)``; one without is what it was.

    >>> from derive import tensor
    >>> x = tensor("x")[()]
    >>> as_tanh(x + sigmoid(2*x) - sigmoid(-2*x))
    tanh(x) + x
    """
    for a in e.args:
        c, f = a.as_coeff_Mul()
        if isinstance(f, sigmoid) and (other := -c * sigmoid(-f.args[0])) in e.args:
            positive = -c if f.args[0].could_extract_minus_sign() else c
            u = f.args[0] if positive == c else -f.args[0]
            return Add(*(b for b in e.args if b not in (a, other)), positive * sympy.tanh(u / 2))
    return e


def _apart(name: str, sign: int, u: Expr) -> bool:
    """Whether the argument has a sign with which nothing cancels: ``2 - erfc(|u|)`` is at least 1."""
    safe = {"erfc": -sign * u, "sigmoid": sign * u}.get(name)
    return safe is not None and safe.is_nonnegative is True


def one_plus(e: Expr) -> Expr | None:
    """``u`` of an argument ``1 + u``, else None.

    >>> from derive import tensor
    >>> one_plus(1 + tensor("x")[()])
    x
    """
    return e - 1 if isinstance(e, Add) and e.as_coeff_Add()[0] == Integer(1) else None


def one_minus_exp(e: Expr) -> Expr | None:
    """``u`` of an argument ``1 - exp(u)``, else None.

    >>> from derive import tensor
    >>> one_minus_exp(1 - sympy.exp(-tensor("x")[()]))
    -x
    """
    rest = one_plus(e)
    return None if rest is None or not isinstance(-rest, sympy.exp) else (-rest).args[0]
