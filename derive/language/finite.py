"""Reads of tensors as SymPy takes them, real and finite; a sum of one with an infinity is refused while it can be seen.

SymPy writes ``s[b, k] + oo`` as ``oo`` and forgets ``s``: a definition built so would be a constant that nobody meant.
A bare ``oo`` as a whole definition, or as a branch of a Piecewise, is one that somebody meant.
"""

from __future__ import annotations

import math
from typing import Any

from sympy import Expr
from sympy.core.numbers import Infinity, NegativeInfinity

from .errors import UnsupportedError


class Finite(Expr):
    """An expression that cannot be added to an infinity by ``+`` and ``-``."""

    _op_priority = 10.5  # above SymPy's 10, so that oo + s asks s

    def __add__(self, other: Any) -> Expr:
        _refuse_infinity(self, other, "+")
        return super().__add__(other)

    def __radd__(self, other: Any) -> Expr:
        _refuse_infinity(self, other, "+")
        return super().__radd__(other)

    def __sub__(self, other: Any) -> Expr:
        _refuse_infinity(self, other, "-")
        return super().__sub__(other)

    def __rsub__(self, other: Any) -> Expr:
        _refuse_infinity(self, other, "-")
        return super().__rsub__(other)


def _refuse_infinity(e: Expr, other: Any, sign: str) -> None:
    if isinstance(other, Infinity | NegativeInfinity) or (isinstance(other, float) and math.isinf(other)):
        raise UnsupportedError(
            f"{e} {sign} {other}: an infinity is not added, because SymPy would forget {e}; write it as a branch, as in "
            f"Piecewise(({e}, condition), (-oo, True))"
        )
