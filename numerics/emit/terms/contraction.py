"""Sums of products: ``@`` where it says it, a plain ``.sum`` for one operand, ``einsum`` where nothing is shorter.

    sum_i x[b,i] W[i,k]              x @ W
    sum_k dz[b,k] W[i,k]             dz @ W.T
    sum_b x[b,i] dz[b,k]             x.T @ dz
    sum_i a[b,i] c[b,i]              (a * c).sum(axis=1)
    sum_b g[b] x[b,i] dz[b,k]        x.T @ (g[:, None] * dz)    merged into the operand that holds its indices
    sum_{b,t} x[b,t,i] dz[b,t,k]     jnp.einsum("bti,btk->ik", x, dz)

The shapes are those that autodiff would use: no product grid is written out unless an operand already has it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sympy import Expr

from derive.language.index import Index
from derive.language.keys import key
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.rows import may_be_singular
from numerics.emit.source.code import Binary, Text, Tuple, call, number_of
from numerics.emit.source.scope import Scope
from numerics.emit.source.value import Val, transpose

from . import pointwise
from .arithmetic import Order, as_float, reduce
from .plan import Plan
from .positions import labels


@dataclass
class Operand:
    """Factors and conditions that are multiplied elementwise before the contraction."""

    fac: list[Expr]
    conditions: list[Any] = field(default_factory=list)
    singular: bool = False  # whether a factor may be infinite where a condition is false

    @property
    def labels(self) -> set[Index]:
        return {i for e in (*self.fac, *self.conditions) for i in labels(e)}

    def merged(self, other: Operand) -> Operand:
        return Operand(self.fac + other.fac, self.conditions + other.conditions, self.singular or other.singular)

    def value(self, scope: Scope, order: Order) -> Val:
        conditions = list(dict.fromkeys(self.conditions))
        fac = [*self.fac, *(Iverson(c) for c in conditions)]
        weights = self._weights()
        if weights and not (
            conditions and self.singular
        ):  # (x * (s * (1 - s))[:, None]): what holds fewer indices is multiplied while it is small
            rest = [f for f in fac if f not in weights]
            small = pointwise.product(scope, weights, order)
            return as_float(scope, pointwise.plain_product(scope, rest, order, first=small))
        return as_float(scope, pointwise.product(scope, fac, order))

    def _weights(self) -> list[Expr]:
        """Two factors or more over the same few of the operand's indices, if there are."""
        for f in self.fac:
            alike = [g for g in self.fac if labels(g) == labels(f)]
            if len(alike) > 1 and labels(f) < self.labels:
                return alike
        return []


@dataclass
class Contraction:
    """``operands`` to contract over ``bnd``; ``outside`` factors hold no bound index and multiply the result."""

    operands: list[Operand]
    outside: Operand
    bnd: tuple[Index, ...]

    @property
    def is_sum(self) -> bool:
        """One operand: a plain sum over axes."""
        return len(self.operands) == 1


def arrange(p: Plan) -> Contraction:
    """Group the factors of a term with bound indices into operands."""
    bound = set(p.bnd)
    operands, outside = [], Operand([])
    masking = {i for c in p.conditions if labels(c) & bound for i in labels(c)}
    for f in p.fac:
        singular = may_be_singular(f) or any(r.tensor.name in p.singular for r in f.atoms(Read))
        if labels(f) & bound or (singular and labels(f) & masking):
            operands.append(Operand([f], singular=singular))
        else:
            outside.fac.append(f)
    for c in p.conditions:
        if not labels(c) & bound:
            outside.conditions.append(c)
            continue
        homes = [o for o in operands if labels(c) <= o.labels]
        guarded = [o for o in operands if o.singular and o.labels & labels(c)]
        if guarded:  # 0 times infinity is not 0: what the condition guards is masked itself
            for o in guarded:
                o.conditions.append(c)
        elif homes:
            min(homes, key=lambda o: len(o.labels)).conditions.append(c)
        else:
            operands.append(Operand([], [c]))
    operands = _merge(operands, bound)
    return Contraction(operands, outside, tuple(p.bnd))


def _merge(operands: list[Operand], bound: set[Index]) -> list[Operand]:
    """Multiply elementwise where that costs no new grid; two operands that share only summed indices stay apart."""
    operands = list(operands)
    while len(operands) > 1:
        pair = _mergeable(operands, bound)
        if pair is None:
            return operands
        small, large = pair
        keep, gone = (small, large) if operands.index(small) < operands.index(large) else (large, small)
        merged = keep.merged(gone)
        operands = [merged if o is keep else o for o in operands if o is not gone]
    return operands


def _mergeable(operands: list[Operand], bound: set[Index]) -> tuple[Operand, Operand] | None:
    pairs = [(a, b) for a in operands for b in operands if a is not b and a.labels <= b.labels]
    pairs.sort(key=lambda ab: (ab[0].labels != ab[1].labels, len(ab[1].labels)))
    for a, b in pairs:
        if len(operands) == 2 and _is_matmul(a.labels, b.labels, bound):
            continue
        if len(operands) == 2 and _is_gathered_product(a, b, bound):
            continue
        others = [i for o in operands if o is not a and o is not b for i in o.labels]
        if len(a.labels) == 1 and a.labels < b.labels and a.labels <= bound and not a.labels & set(others):
            continue
        return a, b
    return None


def _is_matmul(a: set[Index], b: set[Index], bound: set[Index]) -> bool:
    """Two operands that share summed indices only: a vector or matrix product."""
    if a == b and len(a) != 1:
        return False
    return (a & b) <= bound


def _is_gathered_product(vector: Operand, matrix: Operand, bound: set[Index]) -> bool:
    """Rows of a table times a vector for each of many: the rows lie there, and a product reads them where they lie.

    ``einsum("bd,bkd->bk", u, V[noise])`` takes four fifths of the time of ``(u[:, None] * V[noise]).sum(axis=2)``, for which
    XLA gathers the rows again, element by element.
    """
    rows = matrix.fac[0] if len(matrix.fac) == 1 and not matrix.conditions and not vector.conditions else None
    gathered = isinstance(rows, Read) and any(r is not rows for r in rows.atoms(Read))
    one = len(vector.labels & bound) == 1 and len(vector.labels) > 1 and matrix.labels & bound <= vector.labels
    return gathered and one and len(matrix.labels) == len(vector.labels) + 1


def contract(scope: Scope, c: Contraction, out: Iterable[Index]) -> Val:
    """The contraction with axes ``out`` (the free indices that its operands hold, in the equation's order)."""
    order = natural_order([f for o in c.operands for f in o.fac], tuple(out) + tuple(c.bnd))
    values = [o.value(scope, order) for o in c.operands]
    if len(values) > 1:
        values = [_alone(v, values, c.bnd) for v in values]
    values = _vectors_first(values, c.bnd)
    present = {i for v in values for i in v.axes}
    out = tuple(i for i in out if i in present)
    if len(values) == 1:
        return reduce(values[0], "sum", c.bnd)
    if len(values) == 2:
        product = _matmul(values[0], values[1], [b for b in c.bnd if b in present], out)
        if product is not None:
            return product
        values = _in_the_largest_order(scope, values, out)
    return einsum(values, out)


def turned_inner_product(scope: Scope, factors: Sequence[Expr], bnd: Sequence[Index], order: Order) -> Val | None:
    """An inner product along one axis by ``einsum``, where the result stands in another order than its two factors.

    ``(do * o).sum(axis=3)`` is joined by XLA with its transposition and read across the grain by all that follows: twice the
    time of attention with grouped queries.  ``einsum`` writes it out in the order wanted.
    """
    out = [i for i in order if i not in bnd]
    every = {*out, *bnd}
    if len(bnd) != 1 or len(out) < 3 or len(factors) != 2:
        return None
    if not all(isinstance(f, Read) and labels(f) == every == set(f.idx) for f in factors):
        return None
    inner = natural_order(factors, (*out, *bnd))
    if [i for i in inner if i in out] == out:
        return None
    return einsum([Operand([f]).value(scope, inner) for f in factors], out)


def _vectors_first(values: list[Val], bnd: Collection[Index]) -> list[Val]:
    """``x @ A @ x``: with three operands or more, an operand that only one other meets is multiplied into it."""
    while len(values) > 2:
        pair = next(
            (
                (v, w)
                for v in values
                for w in values
                if v is not w
                and set(v.axes) < set(w.axes)
                and all(i in bnd and sum(i in u.axes for u in values) == 2 for i in v.axes)
            ),
            None,
        )
        if pair is None or len(pair[0].axes) != 1:
            return values
        v, w = pair
        left = tuple(i for i in w.axes if i not in v.axes)
        made = _matmul(v, w, list(v.axes), left)
        if made is None:
            return values
        values = [made if u is w else u for u in values if u is not v]
    return values


def _alone(v: Val, values: list[Val], bnd: Iterable[Index]) -> Val:
    """Sum first over indices that no other operand holds."""
    own = [b for b in bnd if b in v.axes and sum(b in w.axes for w in values) == 1]
    return reduce(v, "sum", own) if own else v


def natural_order(factors: Iterable[Expr], order: Iterable[Index]) -> tuple[Index, ...]:
    """``order`` rearranged so that as many reads as possible keep their own axes in order, the widest first."""
    order = tuple(order)
    before: dict[Index, set[Index]] = {i: set() for i in order}  # i -> the indices that stand before it

    def precedes(a: Index, b: Index, seen: tuple[Index, ...] = ()) -> bool:
        return a in before[b] or any(precedes(a, c, (*seen, b)) for c in before[b] if c not in seen)

    found = {r for f in factors for r in f.atoms(Read)}
    for r in sorted(found, key=lambda r: (-len(r.idx), key(r))):
        plain = [i for i in r.idx if i in before]
        for a, b in itertools.pairwise(plain):
            if a != b and not precedes(b, a):
                before[b].add(a)
    left = list(order)
    done: list[Index] = []
    while left:
        i = next(i for i in left if not before[i] - set(done))
        left.remove(i)
        done.append(i)
    return tuple(done)


def _matmul(a: Val, b: Val, bnd: Sequence[Index], out: Sequence[Index]) -> Val | None:
    """``P @ Q`` with at most a ``.T`` on either, if the result comes out in the wanted order."""
    shared = [i for i in a.axes if i in b.axes]
    if len(bnd) != 1 or bnd[0] not in shared:
        return None
    c = bnd[0]
    batch = [i for i in shared if i != c]
    if batch:
        return _batched(a, b, c, tuple(batch), out) or _batched(b, a, c, tuple(batch), out)
    found = []
    for p, q in ((a, b), (b, a)):
        left, right = tuple(i for i in p.axes if i != c), tuple(i for i in q.axes if i != c)
        if left + right != tuple(out) or len(q.axes) > 2 or (len(p.axes) > 2 and p.axes[-1] != c):
            continue
        turned = (p.axes != (*left, c)) + (q.axes != (c, *right)), q.node.is_operation
        found.append((turned, _times(transpose(p, (*left, c)), transpose(q, (c, *right)), out)))
    return min(found, key=lambda f: f[0])[1] if found else None


def _batched(p: Val, q: Val, c: Index, batch: tuple[Index, ...], out: Sequence[Index]) -> Val | None:
    n = len(batch)
    if p.axes[:n] != batch or q.axes[:n] != batch or len(p.axes) != n + 2 or len(q.axes) != n + 2:
        return None
    if p.axes[-1] != c or q.axes[n] != c or tuple(out) != (*p.axes[:-1], q.axes[-1]):
        return None
    return _times(p, q, out)


def _times(p: Val, q: Val, out: Iterable[Index]) -> Val:
    return Val(Binary(p.node, "@", q.node), tuple(out))


UNKNOWN_SIZE = 64  # of an axis, where two arrays are compared


def _in_the_largest_order(scope: Scope, values: list[Val], out: Sequence[Index]) -> list[Val]:
    """Two operands, an axis order of theirs given up for that of the largest of all three arrays.

    ``einsum("btugk,bquk->bugtq")`` multiplies matrices of rows (t, g), and turns the result to rows (g, t): a copy of the
    largest array there is.  An operand turned before, ``bugtk``, costs one of its own size, and XLA makes it once for all
    products that read it so.
    """
    arrays = [*(v.axes for v in values), tuple(out)]
    counted = [_numbers(scope, axes) for axes in arrays]
    largest = arrays[max(range(3), key=lambda n: (counted[n], n == 2))]
    return [_turned(v, largest) if _crossed(v.axes, arrays, largest) else v for v in values]


def _numbers(scope: Scope, axes: Iterable[Index]) -> int:
    sizes = [scope.known(i.size) for i in axes]
    return math.prod(int(s) if s.is_Integer else UNKNOWN_SIZE for s in sizes)


def _crossed(axes: Sequence[Index], arrays: Sequence[Sequence[Index]], largest: Sequence[Index]) -> bool:
    """Whether indices that are one axis of the product of matrices stand in another order than in the largest array."""
    alike: dict[tuple[bool, ...], list[Index]] = {}
    for i in axes:
        if i in largest:
            alike.setdefault(tuple(i in other for other in arrays), []).append(i)
    return any(many != [i for i in largest if i in many] for many in alike.values())


def _turned(v: Val, largest: Sequence[Index]) -> Val:
    return transpose(v, (*(i for i in largest if i in v.axes), *(i for i in v.axes if i not in largest)))


def einsum(values: list[Val], out: Sequence[Index]) -> Val:
    """``jnp.einsum`` with the indices' own letters; the operand with the result's first own axis comes first."""
    own = [i for i in out if sum(i in v.axes for v in values) == 1]
    if len(values) == 2 and own and own[0] not in values[0].axes:
        values = values[::-1]
    letters: dict[Index, str] = {}
    for i in dict.fromkeys([*(i for v in values for i in v.axes), *out]):
        letters[i] = next(
            ch
            for ch in (
                *(c for c in i.name if c.isascii() and c.isalpha()),
                *"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ",
            )
            if ch not in letters.values()
        )
    shared = _in_their_order(values, out)
    if shared and sorted(letters[i] for i in shared) != [letters[i] for i in shared]:
        spots = Tuple(tuple(Tuple(tuple(number_of(v.axis(i)) for i in shared)) for v in values))
        return Val(call("jnp.tensordot", *(v.node for v in values), spots), tuple(out))
    ins = ",".join("".join(letters[i] for i in v.axes) for v in values)
    outs = "".join(letters[i] for i in out)
    return Val(call("jnp.einsum", Text(f"{ins}->{outs}"), *(v.node for v in values)), tuple(out))


def _in_their_order(values: list[Val], out: Sequence[Index]) -> list[Index]:
    """The summed indices of two operands, if they stand in one order in both and the result needs no transposition.

    ``einsum`` sums in alphabetical order: where that is not theirs, it transposes both operands, weights in every step.
    """
    if len(values) != 2:
        return []
    a, b = values
    shared = [i for i in a.axes if i in b.axes]
    rest = [i for v in values for i in v.axes if i not in shared]
    return shared if rest == list(out) and shared == [i for i in b.axes if i in shared] else []
