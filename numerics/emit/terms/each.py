"""Positions read from data in rows that the data shares: for each b, ``z[b]`` at ``label[b]``.

z[b,label[b]]            jax.vmap(lambda row, at: row[at])(z, label)
p - [k = label[b]]       jax.vmap(lambda row, at: row.at[at].add(-1))(p, label)

With an index array for b, as ``z[jnp.arange(B), label]``, nothing says that a row is read by its own label only: where a batch
is spread over devices, XLA would gather all labels onto each of them and add up the answers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from sympy import Expr

from derive.language.index import Index
from derive.language.tensor import Read
from numerics.emit.source.code import Call, Code, Constant, Lambda, Name, Tuple, call, number_of
from numerics.emit.source.value import Val

from .positions import labels

ROW, AMOUNT = "row", "by"
Inner = Callable[[Sequence[Val]], Code]  # what is computed for one row, of the operands as they are there


def shared(axes: Iterable[Expr], places: Iterable[Expr]) -> tuple[Index, ...]:
    """The indices of whole axes on which a position that is read from data depends."""
    read = {label for e in places for r in e.atoms(Read) for label in labels(r)}
    return tuple(dict.fromkeys(a for a in axes if isinstance(a, Index) and a in read))


def names(count: int) -> list[str]:
    """Of so many positions: ``at``; ``at_1``, ``at_2``."""
    return ["at"] if count == 1 else [f"at_{n + 1}" for n in range(count)]


def over(batch: Sequence[Index], operands: Sequence[tuple[str, Val]], inner: Inner) -> Code:
    """``inner`` for each value of the indices ``batch``, the axes in front of what it gives.

    Parameters
    ----------
    operands : sequence of (name, value)
        What it reads, and how that is called there.  A value without axes of ``batch`` is the same for all of them; a Python
        number stands where it is used.
    """
    passed = [(n, v) for n, v in operands if v.axes or v.kind != "num"]
    within = [
        Val(Name(n), tuple(a for a in v.axes if a not in batch), v.kind) if v.axes or v.kind != "num" else v
        for n, v in operands
    ]
    function: Code = Lambda(tuple(n for n, _ in passed), inner(within))
    remaining, levels = [list(v.axes) for _, v in passed], []
    for label in batch:
        levels.append([axes.index(label) if label in axes else None for axes in remaining])
        remaining = [[a for a in axes if a != label] for axes in remaining]
    for level in reversed(levels):
        function = call("jax.vmap", function, **({} if not any(n != 0 for n in level) else {"in_axes": _places(level)}))
    return Call(function, tuple(v.node for _, v in passed))


def _places(level: Sequence[int | None]) -> Code:
    return Tuple(tuple(Constant(None) if n is None else number_of(n) for n in level))
