"""Infinite branches: ``where(mask, s, -oo)`` is minus infinity where the mask says so, and what is done to it follows.

A branch is moved outward through what is done to the whole: ``2 {s if c; -oo} + b = {2 s + b if c; -oo}`` and
``f({s if c; -oo}) = {f(s) if c; f(-oo)}``, so that no arithmetic is done on an infinity that is written in place.  A tensor
may hold one; ``may_be_infinite`` says which, by their equations.  An infinity that would meet 0 in a product, or one of the
other sign in a sum, is refused: the result would be NaN where a number is meant.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sympy
from sympy import Add, Expr, Function, Integer, Mul, Piecewise, Pow, oo

from derive.language import affine
from derive.language.nodes import Iverson, logaddexp, maximum, minimum
from derive.language.tensor import Read

from .program import Equation

INFINITE = (oo, -oo)
Refuse = Callable[[str], None]

# what a function is at -oo and at oo; None where it has no value there
AT_INFINITY: dict[str, tuple[Expr | None, Expr | None]] = {
    "exp": (Integer(0), oo),
    "log": (None, oo),
    "sigmoid": (Integer(0), Integer(1)),
    "softplus": (Integer(0), oo),
    "tanh": (Integer(-1), Integer(1)),
    "relu": (Integer(0), oo),
    "erf": (Integer(-1), Integer(1)),
    "erfc": (Integer(2), Integer(0)),
    "atan": (-sympy.pi / 2, sympy.pi / 2),
    "Abs": (oo, oo),
    "sign": (Integer(-1), Integer(1)),
    "stop_gradient": (-oo, oo),
}
BOUNDED = ("exp", "sigmoid", "tanh", "erf", "erfc", "atan", "sign")  # finite at -oo, where masks are


def has_branch(e: Expr) -> bool:
    """Whether an expression is a Piecewise with an infinite branch, at any depth of branches."""
    return isinstance(e, Piecewise) and any(v in INFINITE or has_branch(v) for v, _ in e.args)


def outward(e: Expr, refuse: Refuse) -> Expr:
    """The expression with the infinite branches of its own arguments moved to the outside."""
    if not isinstance(e, Add | Mul | Pow | Function) or isinstance(e, Piecewise) or not any(map(has_branch, e.args)):
        return e
    n = next(n for n, a in enumerate(e.args) if has_branch(a))
    pieces = []
    for v, c in e.args[n].args:
        args = (*e.args[:n], v, *e.args[n + 1 :])
        if v in INFINITE:
            pieces.append((_at_infinity(e, n, v, refuse), c))
        else:
            pieces.append((outward(e.func(*args), refuse), c))
    return _flat(Piecewise(*pieces, evaluate=False))


def _flat(e: Piecewise) -> Piecewise:
    """``{{x if a; -oo} if b; -oo}`` is ``{x if a and b; -oo}``."""
    if len(e.args) == 2 and e.args[1][1] == sympy.true and isinstance(e.args[0][0], Piecewise):
        (inner, b), (other, _) = e.args
        if len(inner.args) == 2 and inner.args[1] == e.args[1]:
            return Piecewise((inner.args[0][0], sympy.And(inner.args[0][1], b)), (other, True), evaluate=False)
    return e


def _at_infinity(e: Expr, n: int, v: Expr, refuse: Refuse) -> Expr:
    """The value of ``e`` where its n-th argument is the infinity ``v``."""
    rest = [a for m, a in enumerate(e.args) if m != n]
    if isinstance(e, Add):
        if any(x == -v for a in rest for x in _branches(a)):
            refuse(f"{e}: {v} would meet {-v} in a sum, which has no value")
        return v
    if isinstance(e, Mul):
        if all(a.is_positive or a.is_negative for a in rest):
            return v if sum(bool(a.is_negative) for a in rest) % 2 == 0 else -v
        refuse(_zero_times(e, v, rest))
    if isinstance(e, Pow) and n == 0 and e.exp.is_number:
        found = v**e.exp
        if found.is_extended_real:
            return found
    if isinstance(e, maximum | minimum):
        wins = v == (oo if isinstance(e, maximum) else -oo)
        return v if wins else rest[0]
    if isinstance(e, logaddexp):
        return v if v == oo else rest[0]
    found = AT_INFINITY.get(type(e).__name__, (None, None))[v == oo]
    if found is None:
        refuse(f"{e}: {type(e).__name__} has no value at {v}, which is a branch of its argument")
    assert found is not None
    return found


def _zero_times(e: Expr, v: Expr, rest: Iterable[Expr]) -> str:
    shown = ", ".join(str(a) for a in rest if not (a.is_positive or a.is_negative))
    return (
        f"{e}: {v} is multiplied by {shown}, and 0 times infinity has no value; multiply before the mask is applied, as in "
        f"where(mask, scale*s, -inf)"
    )


def _branches(e: Expr) -> list[Expr]:
    return [x for v, _ in e.args for x in _branches(v)] if isinstance(e, Piecewise) else [e]


def may_be_infinite(equations: Iterable[Equation]) -> set[str]:
    """The names of the tensors that may hold an infinity that a definition wrote."""
    equations, found, before = list(equations), set[str](), -1
    while len(found) > before:  # in whatever order they stand
        before = len(found)
        found |= {eq.name for eq in equations if any(_carries(f, found) for t in eq.terms for f in t.fac)}
    return found


def carries_infinity(e: Expr, names: set[str]) -> bool:
    """Whether a value may be infinite by a branch of its own or by reading one of ``names``."""
    return _carries(e, names)


def _carries(e: Expr, names: set[str]) -> bool:
    if e in INFINITE:
        return True
    if isinstance(e, Read):
        return e.tensor.name in names
    if isinstance(e, Iverson) or type(e).__name__ in BOUNDED:
        return False
    if isinstance(e, sympy.log) and not _carries(e.args[0], names):
        return False
    if isinstance(e, Piecewise):
        return any(_carries(v, names) for v, _ in e.args)
    return any(_carries(a, names) for a in e.args if isinstance(a, Expr))


def check_products(equations: Iterable[Equation]) -> str | None:
    """What is wrong with a program in which an infinity may be multiplied by 0; None if nothing is."""
    equations = list(equations)
    names = may_be_infinite(equations)
    if not names:
        return None
    for eq in equations:
        for t in eq.terms:
            found = _meets_zero(t.fac, names) or next(
                (x for f in t.fac for m in f.atoms(Mul) if (x := _meets_zero(m.args, names))), None
            )
            if found:
                infinite, other = found
                return (
                    f"in {eq}\n  {infinite} may be infinite and is multiplied by {other}, which may be 0: 0 times infinity has "
                    f"no value; multiply before the mask is applied, or mask the product"
                )
    return None


def _meets_zero(factors: Iterable[Expr], names: set[str]) -> tuple[Expr, Expr] | None:
    factors = list(factors)
    for f in factors:
        if _carries(f, names):
            for g in factors:
                if g is not f and not _is_nonzero(g, names):
                    return f, g
    return None


def _is_nonzero(e: Expr, names: set[str]) -> bool:
    """Whether a factor is seen not to be 0: a size, something of one sign, a quotient by what is finite."""
    if affine.sizes_only(e) or e.is_positive or e.is_negative:
        return True
    return isinstance(e, Pow) and e.exp.is_negative is True and not _carries(e.base, names)
