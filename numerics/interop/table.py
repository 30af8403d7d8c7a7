"""The table of primitives: for each of JAX's that has a meaning in index notation, a row that says which.

A row is a function of the interpreter and the operation that returns the value of each result.  What has no row is
refused by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from derive.language.errors import UnsupportedError

from .flat import INLINED, Op
from .value import Value

Row: TypeAlias = Callable[[Any, Op, Sequence[Value]], Value | Sequence[Value]]  # the first is the Interpreter

PRIMITIVES: dict[str, Row] = {}
VIEWS = set[str]()  # those that change only how their operand is read

REASONS = {
    "while": "the number of its steps depends on values; accepted: lax.scan, or lax.fori_loop between fixed bounds",
    "sort": "an order has no formula in index notation; accepted: maxima, argmax",
    "top_k": "an order has no formula in index notation; accepted: maxima, argmax",
    "fft": "complex numbers are not in the language; accepted: the sums of cosines and sines written out",
    "eigh": "eigenvalues are not in the language; accepted: inverse, solve, slogdet",
    "eig": "eigenvalues are not in the language; accepted: inverse, solve, slogdet",
    "svd": "singular values are not in the language; accepted: inverse, solve, slogdet",
}


def primitive(*names: str, view: bool = False) -> Callable[[Row], Row]:
    """Enter a row under the names of the primitives it is the meaning of."""

    def enter(row: Row) -> Row:
        for name in names:
            if name in PRIMITIVES:
                raise ValueError(f"primitive {name!r} has two rows")
            PRIMITIVES[name] = row
        if view:
            VIEWS.update(names)
        return row

    return enter


def known() -> frozenset[str]:
    return frozenset({*PRIMITIVES, *INLINED})


def refuse(op: Op, why: str = "") -> UnsupportedError:
    """The error for an operation that has no meaning here: its name, where it stands, and what would be accepted."""
    name = op.name
    stands = next((f for f in op.frames if not f.is_library), op.frames[0] if op.frames else None)
    where = f" at {stands.shown} (in {stands.function})" if stands else ""
    shapes = ", ".join(f"{v.dtype}{list(v.shape)}" for v in op.ins if v.dtype is not None)
    why = why or REASONS.get(name, "it is not in the table of primitives; accepted are " + ", ".join(sorted(known())))
    return UnsupportedError(f"nx.from_jax: {name} of {shapes}{where}: {why}")
