"""The maxima that a function subtracts for the floats' sake: what does not depend on them is written without.

``exp(x - m) / sum exp(x - m)`` and ``m + log sum exp(x - m)`` are the same for every m.  Each value that is made of a
maximum m is followed: it grows by ``k m`` or by the factor ``exp(k m)``, or it does not change.  Where nothing that comes
out changes, m is put to 0; the derivation adds its own (its equations are numbered like the others).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from sympy import Expr

from .axes import runs
from .flat import Block, Literal, Op, Var
from .sizes import Sizes


@dataclass(frozen=True)
class Growth:
    """How a value changes with m: ``v + k m`` or ``v exp(k m)``, m read at the axes ``at`` of the value."""

    factor: bool
    k: Fraction
    at: tuple[int, ...]


class _Depends(Exception):
    """The value depends on m in another way."""


def without_shifts(block: Block, sizes: Sizes) -> None:
    """Put to 0 every maximum that no result depends on."""
    for op in block.ops:
        if op.name == "scan":
            without_shifts(op.params["jaxpr"], sizes)
    for op in block.ops:
        if op.name == "reduce_max" and _is_free(block, op, sizes):
            op.name, op.ins, op.params = "zero", [], {}


def _is_free(block: Block, start: Op, sizes: Sizes) -> bool:
    walk = _Walk(sizes)
    m = start.outs[0]
    walk.growth[m] = Growth(False, Fraction(1), tuple(range(m.rank)))
    begun = False
    try:
        for op in block.ops:
            if begun:
                walk.step(op)
            elif op is start:
                begun = True
            elif op.name == "broadcast_in_dim":
                walk.constants[op.outs[0]] = walk.constant(op.ins[0])
        return not any(v in walk.growth for v in block.outs)
    except _Depends:
        return False


class _Walk:
    def __init__(self, sizes: Sizes):
        self.sizes = sizes
        self.growth: dict[Var, Growth] = {}
        self.constants: dict[Var, float | None] = {}
        self.true: set[Var] = set()  # whether m is finite: it is, wherever something is summed

    def constant(self, v: Var) -> float | None:
        if isinstance(v, Literal) and not isinstance(v.value, Expr) and not np.ndim(v.value):
            return float(v.value)
        return self.constants.get(v)

    def step(self, op: Op) -> None:
        if op.name == "broadcast_in_dim" and op.ins[0] not in self.growth:
            self.constants[op.outs[0]] = self.constant(op.ins[0])
        if op.name in _FINITE and op.ins[0] in self.growth:
            self.true.add(op.outs[0])
            return
        if op.name in ("broadcast_in_dim", "reshape") and op.ins[0] in self.true:
            self.true.add(op.outs[0])
            return
        if not any(v in self.growth for v in op.ins):
            return
        rule = _RULES.get(op.name)
        if rule is None:
            raise _Depends
        found = rule(self, op)
        if found is not None and found.k:
            self.growth[op.outs[0]] = found

    def of(self, v: Var) -> Growth | None:
        return self.growth.get(v)


_FINITE = ("is_finite",)
_Rule = Callable[[_Walk, Op], Growth | None]
_RULES: dict[str, _Rule] = {}


def _rule(*names: str) -> Callable[[_Rule], _Rule]:
    def enter(rule: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return enter


@_rule("stop_gradient", "copy", "convert_element_type", "optimization_barrier", "name")
def _same(walk: _Walk, op: Op) -> Growth | None:
    return walk.of(op.ins[0])


@_rule("abs")
def _absolute(walk: _Walk, op: Op) -> Growth | None:
    found = walk.of(op.ins[0])
    if found is None or not found.factor:
        raise _Depends
    return found


@_rule("sign")
def _sign(walk: _Walk, op: Op) -> Growth | None:
    _absolute(walk, op)
    return None


def _moved(found: Growth, place: Callable[[int], int | None]) -> Growth:
    at = [place(n) for n in found.at]
    if any(n is None for n in at):
        raise _Depends
    return Growth(found.factor, found.k, tuple(n for n in at if n is not None))


@_rule("broadcast_in_dim")
def _broadcast(walk: _Walk, op: Op) -> Growth | None:
    found = walk.growth[op.ins[0]]
    return _moved(found, lambda n: int(op.params["broadcast_dimensions"][n]))


@_rule("transpose")
def _transpose(walk: _Walk, op: Op) -> Growth | None:
    order = [int(n) for n in op.params["permutation"]]
    return _moved(walk.growth[op.ins[0]], order.index)


@_rule("squeeze")
def _squeeze(walk: _Walk, op: Op) -> Growth | None:
    kept = [n for n in range(op.ins[0].rank) if n not in {int(d) for d in op.params["dimensions"]}]
    found = walk.growth[op.ins[0]]
    return Growth(found.factor, found.k, tuple(kept.index(n) for n in found.at if n in kept))


@_rule("reshape")
def _reshape(walk: _Walk, op: Op) -> Growth | None:
    old, new = ([int(walk.sizes.at(s)) for s in v.shape] for v in (op.ins[0], op.outs[0]))
    to = {a[0]: b[0] for a, b in runs(old, new) if len(a) == len(b) == 1}
    found = walk.growth[op.ins[0]]
    found = Growth(found.factor, found.k, tuple(n for n in found.at if old[n] != 1))
    return _moved(found, to.get)


def _together(a: Growth | None, b: Growth | None, sign: int, factor: bool) -> Growth | None:
    """Growths that are added, or whose factors are multiplied."""
    if any(g is not None and g.factor != factor for g in (a, b)):
        raise _Depends
    if a is None or b is None:
        found = a or b
        assert found is not None
        return found if b is None else Growth(factor, sign * found.k, found.at)
    if a.at != b.at:
        raise _Depends
    return Growth(factor, a.k + sign * b.k, a.at)


@_rule("add", "sub", "add_any")
def _add(walk: _Walk, op: Op) -> Growth | None:
    a, b = op.ins
    return _together(walk.of(a), walk.of(b), -1 if op.name == "sub" else 1, False)


@_rule("neg")
def _negative(walk: _Walk, op: Op) -> Growth | None:
    found = walk.growth[op.ins[0]]
    return found if found.factor else Growth(False, -found.k, found.at)


@_rule("mul", "div")
def _multiply(walk: _Walk, op: Op) -> Growth | None:
    a, b = (walk.of(v) for v in op.ins)
    number = walk.constant(op.ins[1] if a is not None else op.ins[0])
    if b is None and a is not None and not a.factor and number:
        times = Fraction(number).limit_denominator(10**6)
        return Growth(False, a.k / times if op.name == "div" else a.k * times, a.at)
    if a is None and b is not None and not b.factor and number and op.name == "mul":
        return Growth(False, b.k * Fraction(number).limit_denominator(10**6), b.at)
    return _together(a, b, -1 if op.name == "div" else 1, True)


@_rule("exp")
def _exp(walk: _Walk, op: Op) -> Growth | None:
    found = walk.growth[op.ins[0]]
    if found.factor:
        raise _Depends
    return Growth(True, found.k, found.at)


@_rule("log")
def _log(walk: _Walk, op: Op) -> Growth | None:
    found = walk.growth[op.ins[0]]
    if not found.factor:
        raise _Depends
    return Growth(False, found.k, found.at)


@_rule("max", "min")
def _extreme(walk: _Walk, op: Op) -> Growth | None:
    """``max(-inf, m)``, as JAX begins a maximum."""
    found = [walk.of(v) for v in op.ins if walk.of(v) is not None]
    infinite = [v for v in op.ins if walk.of(v) is None and walk.constant(v) in (float("inf"), float("-inf"))]
    if len(found) != 1 or len(infinite) != 1 or found[0] is None or found[0].factor:
        raise _Depends
    return found[0]


@_rule("integer_pow", "sqrt", "rsqrt", "square")
def _power(walk: _Walk, op: Op) -> Growth | None:
    found = walk.growth[op.ins[0]]
    if not found.factor:
        raise _Depends
    powers = {"sqrt": Fraction(1, 2), "rsqrt": Fraction(-1, 2), "square": Fraction(2)}
    return Growth(True, found.k * (powers.get(op.name) or int(op.params["y"])), found.at)


@_rule("reduce_sum", "reduce_max", "reduce_min")
def _reduce(walk: _Walk, op: Op) -> Growth | None:
    found = walk.growth[op.ins[0]]
    gone = {int(n) for n in op.params["axes"]}
    if gone & set(found.at) or found.factor != (op.name == "reduce_sum"):
        raise _Depends
    kept = [n for n in range(op.ins[0].rank) if n not in gone]
    return Growth(found.factor, found.k, tuple(kept.index(n) for n in found.at))


@_rule("dot_general")
def _dot(walk: _Walk, op: Op) -> Growth | None:
    (lc, rc), (lb, rb) = op.params["dimension_numbers"]
    a, b = op.ins
    if (a in walk.growth) == (b in walk.growth):
        raise _Depends
    left = a in walk.growth
    found = walk.growth[a if left else b]
    batch, contracted = ([int(n) for n in x] for x in ((lb, lc) if left else (rb, rc)))
    if not found.factor or set(contracted) & set(found.at):
        raise _Depends
    before = 0 if left else a.rank - len(lb) - len(lc)
    free = [n for n in range((a if left else b).rank) if n not in (*batch, *contracted)]
    return _moved(found, lambda n: batch.index(n) if n in batch else len(batch) + before + free.index(n))


@_rule("select_n")
def _select(walk: _Walk, op: Op) -> Growth | None:
    which, *cases = op.ins
    if which in walk.growth:
        raise _Depends
    if which in walk.true:
        return walk.of(cases[1])
    found = {walk.of(v) for v in cases if not _absorbs(walk, v, cases)}
    if len(found) != 1:
        raise _Depends
    return found.pop()


def _absorbs(walk: _Walk, v: Var, cases: list[Any]) -> bool:
    """Whether a case is -inf, which no shift moves, or 0, which no factor does."""
    factor = any(g.factor for c in cases if (g := walk.of(c)) is not None)
    return walk.of(v) is None and walk.constant(v) in ((0.0,) if factor else (float("-inf"),))
