"""What stands under conditions: what these say of each other, and what number is taken out of a mask.

[u > 0] [relu(u) <= 6] g      jnp.where((u > 0) & (u <= 6), g, 0)      where u is positive it is its own positive part
[c] h / 3, of h = f / 6       jnp.where(c, h, 0) / 3                   1/6 and 1/3 would be one number, and h not there
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sympy
from sympy import Expr

from derive.language.nodes import relu
from derive.language.tensor import Read


def together(conditions: Sequence[Any]) -> list[Any]:
    """Conditions that all hold, the positive part of what one of them says is positive as itself in the others."""
    signs = [c for c in conditions if isinstance(c, sympy.Gt) and c.rhs == 0]
    positive = {relu(c.lhs): c.lhs for c in signs}
    return [c if c in signs else c.xreplace(positive) for c in conditions]


def taken_out(factors: Sequence[Expr], scaled: set[str]) -> list[Expr]:
    """The numbers before a mask, where all else under it is one read of a tensor that ends with a number too."""
    numbers = [f for f in factors if f.is_Rational]
    rest = [f for f in factors if not f.is_Rational]
    (read,) = rest if len(rest) == 1 else (None,)
    return numbers if isinstance(read, Read) and read.tensor.name in scaled else []
