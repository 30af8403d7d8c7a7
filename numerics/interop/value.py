"""A value of a traced function in index notation: an expression over indices, made when it is needed.

Broadcasts, transposes, slices, reshapes and converts change only how a value is read, so that nothing is left of them in
the definitions.  An axis that a reshape has merged keeps its parts, ``f = (u*V + v)*C + c``: a sum over it is one over
them.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import sympy
from sympy import Basic, Eq, Expr, Integer, Mul, Piecewise, expand

from derive.language import affine
from derive.language.grouping import replaced
from derive.language.index import Index
from derive.language.nodes import Iverson, Reduction, Sum
from derive.language.tensor import Read, Tensor

_COUNT = itertools.count(1)
_SMOOTH = (sympy.Add, Mul, sympy.exp, sympy.tanh, sympy.sin, sympy.cos)  # finite, with their slopes, at every number


def kind_of(dtype: Any) -> str:
    if np.dtype(dtype) == bool:
        return "bool"
    return "int" if np.issubdtype(dtype, np.integer) else "float"


def opened(size: Expr) -> Index:
    """An index that nothing else has; it gets its letter when the definition it stands in gets its name."""
    return Index("i", size, -next(_COUNT))


def parts_of(sizes: Sequence[Expr]) -> tuple[Index, ...]:
    return tuple(opened(s) for s in sizes)


def radix(at: Sequence[Expr], sizes: Sequence[Expr]) -> Expr:
    """``(u*V + v)*C + c``"""
    out: Expr = Integer(0)
    for e, n in zip(at, sizes, strict=True):
        out = out * n + e
    return expand(out)


@dataclass(eq=False)
class Value:
    """``body`` over ``axes``, for each axis its index, or the indices it is merged of; ``kind`` is float, int or bool.

    The body of a boolean is a condition.
    """

    axes: tuple[tuple[Index, ...], ...]
    body: Any
    kind: str

    @property
    def shape(self) -> tuple[Expr, ...]:
        return tuple(Mul(*(i.size for i in a)) for a in self.axes)

    def at(self, idx: Sequence[Expr]) -> Any:
        """The value at the given index of each axis."""
        mapping: dict[Basic, Expr] = {}
        sums: list[Index] = []
        brackets: list[Expr] = []
        for own, e in zip(self.axes, idx, strict=True):
            if len(own) == 1:
                mapping[own[0]] = Integer(0) if own[0].size == 1 else e
                continue
            found = split(e, [i.size for i in own])
            if found is None:
                fresh = parts_of([i.size for i in own])
                brackets.append(Iverson(Eq(e, radix(fresh, [i.size for i in fresh]))))
                sums += fresh
                found = list(fresh)
            mapping.update(zip(own, found, strict=True))
        body = put(self.body, mapping)
        if not sums:
            return body
        if self.kind == "bool":
            return sympy.Gt(Sum(Iverson(body) * Mul(*brackets), *sums), 0)
        return Sum(body * Mul(*brackets), *sums)

    def like(self) -> tuple[tuple[Index, ...], ...]:
        """Fresh indices for its axes, parted as they are."""
        return tuple(parts_of([i.size for i in a]) for a in self.axes)

    @property
    def tensor(self) -> Tensor | None:
        """The tensor that this is, if it is one as it stands."""
        b = self.body
        flat = [i for a in self.axes for i in a if i.size != 1]
        if isinstance(b, Read) and [e for e in b.idx if not e.is_Integer] == flat and b.tensor.rank == len(b.idx):
            return b.tensor
        return None


def merged(own: Sequence[Index]) -> Expr:
    """The index of an axis, of its parts."""
    return own[0] if len(own) == 1 else radix(own, [i.size for i in own])


def common(values: Sequence[Value], shape: Sequence[Expr]) -> tuple[tuple[Index, ...], ...]:
    """Fresh indices for what is computed elementwise of values: merged where one of them is."""
    out = []
    for n, size in enumerate(shape):
        parted = next((v.axes[n] for v in values if v.axes and len(v.axes[n]) > 1), None)
        out.append(parts_of([i.size for i in parted]) if parted else (opened(size),))
    return tuple(out)


def put(e: Any, mapping: dict[Basic, Expr]) -> Any:
    """The expression at other indices; what then is decided is written."""
    mapping = {k: v for k, v in mapping.items() if k != v}
    if not mapping:
        return e
    return replaced(e, mapping) if isinstance(e, Expr) else e.xreplace(mapping)


def split(e: Expr, sizes: Sequence[Expr]) -> list[Expr] | None:
    """The parts of a mixed-radix index, ``u, v, c`` of ``(u*V + v)*C + c``; None where it is no such sum."""
    found: list[Expr] = []
    for n in list(sizes)[:0:-1]:
        linear = affine.parts(e)
        if linear is None:
            return None
        coefs, rest = linear
        high, low = Integer(0), Integer(0)
        for atom, c in (*coefs.items(), (Integer(1), rest)):
            whole = sympy.cancel(c / n)
            if c != 0 and (whole.is_Integer or (whole.is_polynomial() and sympy.denom(whole) == 1)):
                high += whole * atom
            else:
                low += c * atom
        if not affine.in_range(low, n):
            return None
        found.append(low)
        e = high
    if not affine.in_range(e, sizes[0]):
        return None
    return [e, *found[::-1]]


def as_float(value: Any) -> Expr:
    """A condition as 1 or 0."""
    if isinstance(value, Expr):
        return value
    if value == sympy.true or value == sympy.false:
        return Integer(int(value == sympy.true))
    return Iverson(value)


def chosen(cases: Sequence[tuple[Any, Any]]) -> Any:
    """``Piecewise`` of (value, condition), the last for all that is left; decided where the conditions are."""
    kept: list[tuple[Any, Any]] = []
    decided: dict[Any, bool] = {}
    for value, condition in cases:
        if condition == sympy.false:
            continue
        kept.append((_where(value, decided | {condition: True}), condition))
        if condition == sympy.true:
            break
        decided = decided | {condition: False}
    if len(kept) == 1 or all(v == kept[0][0] for v, _ in kept):
        return kept[0][0]
    if not isinstance(kept[0][0], Expr):
        out: Any = sympy.false
        before: Any = sympy.true
        for value, condition in kept:
            out = sympy.Or(out, sympy.And(before, condition, value))
            before = sympy.And(before, sympy.Not(condition))
        return out
    return Piecewise(*kept, evaluate=False)


def _where(e: Any, decided: Mapping[Any, bool]) -> Any:
    """``exp(u)`` for ``exp({0 if u > 0; u})`` where ``u > 0`` is known not to hold, as of the branches of ``jax.nn.elu``.

    A guard of what is singular without it stays, and what a reduction binds is not looked into.
    """
    if not (isinstance(e, Expr) and e.has(Piecewise)) or isinstance(e, Reduction | Read):
        return e
    if isinstance(e, Piecewise):
        return chosen([(_where(v, decided), _truth(c, decided)) for v, c in e.args])
    power = isinstance(e, sympy.Pow) and e.exp.is_Integer and e.exp.is_positive
    if not (power or isinstance(e, _SMOOTH)):
        return e
    after = [_where(a, decided) for a in e.args]
    return e if all(a is b for a, b in zip(after, e.args, strict=True)) else e.func(*after)


def _truth(c: Any, decided: Mapping[Any, bool]) -> Any:
    holds = decided.get(c, {True: False, False: True}.get(decided.get(sympy.Not(c))))  # type: ignore[arg-type]
    return c if holds is None else sympy.true if holds else sympy.false


def is_heavy(e: Any) -> bool:
    """Whether an expression is worth computing once: it sums, or applies a function."""
    return isinstance(e, Expr) and (
        e.has(Reduction)
        or any(not isinstance(f, Piecewise) for f in e.atoms(sympy.Function))
        or any(p.has(Read) for p in e.atoms(sympy.Pow))
    )
