"""Sums that cancel by design: ``1e9 m - 1e9`` of a mask is ``1e9 (m - 1)``, and ``100 x - 1e5`` is ``100 (x - 1000)``.

Over the reals that is the same; in floats the first swallows what is added to it, since each of its terms is far larger
than their sum.  SymPy multiplies a number into a sum wherever it meets one (``1e9*(1 - m)`` arrives as ``1e9 - 1e9*m``), so
such sums are found by their coefficients; a text keeps the number before the bracket where its author wrote it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from sympy import Add, Basic, Expr, Mul, Pow

from .tensor import Read

LARGE = 1000  # a sum with a coefficient from here on loses three digits or more
MULTIPLE = 1000  # the largest multiple of the common coefficient that is taken out of the bracket with it


def cancelling(coefs: Sequence[Expr]) -> tuple[Expr, list[int]] | None:
    """The coefficient that large addends of both signs share, and their places; None if there are none.

    >>> from sympy import Integer
    >>> cancelling([Integer(1), Integer(10**9), Integer(-(10**9))])
    (1000000000, [1, 2])
    """
    rational = {n: c for n, c in enumerate(coefs) if c.is_Rational}
    for c in sorted({abs(k) for k in rational.values()} - {1}, reverse=True):
        places = [n for n, k in rational.items() if (k / c).is_Integer and abs(k) <= MULTIPLE * c]
        found = [rational[n] for n in places]
        if max(map(abs, found)) >= LARGE and min(found) < 0 < max(found):
            return c, places
    return None


def cancels(e: Add) -> bool:
    """Whether a sum holds large addends that cancel."""
    return e.has(Read) and cancelling([a.as_coeff_Mul()[0] for a in e.args]) is not None


def is_group(e: Basic) -> bool:
    """``0.3 (a - b)`` as an author grouped it, where multiplying out would round: a number before a sum."""
    if not (isinstance(e, Mul) and len(e.args) == 2 and e.args[0].is_Rational and e.args[1].is_Add):
        return False
    number = abs(e.args[0])
    return number >= LARGE or number.p & (number.p - 1) != 0 or number.q & (number.q - 1) != 0


def holds_group(e: Basic) -> bool:
    """Whether a sum (or a number before one) is computed as it is grouped, so that it needs a name of its own."""
    if not e.has(Read):
        return False
    if isinstance(e, Add):
        return any(map(is_group, e.args)) or cancels(e)
    return is_group(e)


def scaled(number: Expr, e: Expr) -> Expr:
    """``number * e``, a sum kept in its bracket where that is a group."""
    coefficient, rest = e.as_coeff_Mul()
    if rest.is_Add:
        grouped = Mul(number * coefficient, rest, evaluate=False)
        if is_group(grouped):
            return grouped
    return number * e


def replaced(e: Expr, mapping: Mapping[Basic, Expr]) -> Expr:
    """``e.xreplace(mapping)`` with its groups left as they are, which SymPy would multiply out."""
    if e in mapping:
        return mapping[e]
    if not any(is_group(a) for a in _nodes(e)):
        return e.xreplace(mapping)
    return rebuilt(e, tuple(replaced(a, mapping) for a in e.args))


def rebuilt(e: Basic, args: tuple[Basic, ...]) -> Basic:
    """The node with other arguments."""
    if args == e.args:
        return e
    if is_group(e) and args[0].is_Number and args[1].is_Add:
        return Mul(*args, evaluate=False)
    if isinstance(e, Pow) and is_group(args[0]):  # SymPy would take the number out of the power
        return Pow(*args, evaluate=False)
    return e.func(*args)


def _nodes(e: Basic) -> Iterator[Basic]:
    yield e
    for a in e.args:
        yield from _nodes(a)
