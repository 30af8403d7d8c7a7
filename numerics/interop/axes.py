"""Which axes of a function's arguments are one size, found from the operations of one trace.

Two axes are one size where an operation demands it (a contraction, an elementwise operation, a loop's carry); that two
have the same length here says nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from jax.extend import core

from .flat import INLINED, parameters

Axes: TypeAlias = tuple["Axis", ...]


class Axis:
    """A length, and the group of lengths that are the same."""

    def __init__(self, length: int):
        self.length = length
        self.parent: Axis = self

    def root(self) -> Axis:
        while self.parent is not self:
            self.parent = self.parent.parent
            self = self.parent
        return self

    def join(self, other: Axis) -> None:
        if self.length == other.length:
            self.root().parent = other.root()


def axes_of(aval: Any) -> Axes:
    return tuple(Axis(int(n)) for n in getattr(aval, "shape", ()))


class Joined:
    """A walk over a jaxpr that joins axes."""

    def __init__(self) -> None:
        self.env: dict[Any, Axes] = {}

    def of(self, v: Any) -> Axes:
        if isinstance(v, core.Literal):
            return axes_of(v.aval)
        return self.env.setdefault(v, axes_of(v.aval))

    def walk(self, jaxpr: Any, ins: Sequence[Axes]) -> list[Axes]:
        jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
        for v, a in zip(jaxpr.invars, ins, strict=True):
            self.env[v] = a
        for e in jaxpr.eqns:
            operands = [self.of(v) for v in e.invars]
            outs = [axes_of(v.aval) for v in e.outvars]
            name = e.primitive.name
            if name in INLINED:
                outs = self.inner(e.params[INLINED[name]], operands)
            elif name in _RULES:
                _RULES[name](self, parameters(e), operands, outs)
            else:
                _elementwise(self, e.params, operands, outs)
            self.env.update(zip(e.outvars, outs, strict=True))
        return [self.of(v) for v in jaxpr.outvars]

    def inner(self, jaxpr: Any, ins: Sequence[Axes]) -> list[Axes]:
        """A function called: its own names, so that two calls of it are two."""
        walk = Joined()
        return walk.walk(jaxpr, ins)


def _join(a: Sequence[Axis], b: Sequence[Axis]) -> None:
    for x, y in zip(a, b, strict=False):
        x.join(y)


_Rule: TypeAlias = Callable[[Joined, dict[str, Any], list[Axes], list[Axes]], None]
_RULES: dict[str, _Rule] = {}


def _rule(*names: str) -> Callable[[_Rule], _Rule]:
    def enter(rule: _Rule) -> _Rule:
        _RULES.update(dict.fromkeys(names, rule))
        return rule

    return enter


def _elementwise(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    for operand in ins:
        if outs and len(operand) == len(outs[0]):
            _join(operand, outs[0])


@_rule("broadcast_in_dim")
def _broadcast(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    for axis, to in zip(ins[0], params["broadcast_dimensions"], strict=True):
        axis.join(outs[0][to])


@_rule("transpose")
def _transpose(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    _join([ins[0][n] for n in params["permutation"]], outs[0])


@_rule("dot_general")
def _dot(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    (lc, rc), (lb, rb) = params["dimension_numbers"]
    _join([ins[0][n] for n in (*lc, *lb)], [ins[1][n] for n in (*rc, *rb)])
    left = [a for n, a in enumerate(ins[0]) if n not in (*lc, *lb)]
    right = [a for n, a in enumerate(ins[1]) if n not in (*rc, *rb)]
    _join([*(ins[0][n] for n in lb), *left, *right], outs[0])


@_rule("reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin")
def _reduced(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    _join([a for n, a in enumerate(ins[0]) if n not in params["axes"]], outs[0])


@_rule("squeeze")
def _squeezed(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    _join([a for n, a in enumerate(ins[0]) if n not in params["dimensions"]], outs[0])


@_rule("reshape")
def _reshaped(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    for source, target in runs([a.length for a in ins[0]], [a.length for a in outs[0]]):
        if len(source) == len(target) == 1:
            ins[0][source[0]].join(outs[0][target[0]])


def runs(old: Sequence[int], new: Sequence[int]) -> list[tuple[list[int], list[int]]]:
    """The axes of a reshape in the shortest runs of equal products, axes of length 1 left out."""
    a = [n for n, x in enumerate(old) if x != 1]
    b = [n for n, x in enumerate(new) if x != 1]
    out: list[tuple[list[int], list[int]]] = []
    while a and b:
        left, right = [a.pop(0)], [b.pop(0)]
        p, q = old[left[0]], new[right[0]]
        while p != q:
            if p < q:
                left.append(a.pop(0))
                p *= old[left[-1]]
            else:
                right.append(b.pop(0))
                q *= new[right[-1]]
        out.append((left, right))
    return out


@_rule("concatenate")
def _concatenated(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    for operand in ins:
        for n, a in enumerate(operand):
            if n != params["dimension"]:
                a.join(outs[0][n])


@_rule("split")
def _split(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    for out in outs:
        for n, a in enumerate(ins[0]):
            if n != params["axis"]:
                a.join(out[n])


@_rule("slice", "dynamic_slice", "pad", "dynamic_update_slice", "reduce_window_max", "reduce_window_sum")
def _kept(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    _join(ins[0], outs[0])  # an axis that keeps its length was not cut


@_rule("iota", "random_bits", "random_seed", "random_wrap", "random_unwrap")
def _nothing(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    pass


@_rule("gather")
def _gather(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    d = params["dimension_numbers"]
    operand, indices = ins
    kept = [n for n in range(len(operand)) if n not in (*d.collapsed_slice_dims, *d.operand_batching_dims)]
    _join([operand[n] for n in kept], [outs[0][n] for n in d.offset_dims])
    batch = [a for n, a in enumerate(outs[0]) if n not in d.offset_dims]
    _join(batch, indices[:-1])
    for n, m in zip(d.operand_batching_dims, d.start_indices_batching_dims, strict=True):
        operand[n].join(indices[m])


@_rule("conv_general_dilated")
def _convolved(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    d = params["dimension_numbers"]
    x, k, y = d.lhs_spec, d.rhs_spec, d.out_spec
    if params["feature_group_count"] == 1:
        ins[0][x[1]].join(ins[1][k[1]])
    if params["batch_group_count"] == 1:
        ins[0][x[0]].join(outs[0][y[0]])
    ins[1][k[0]].join(outs[0][y[1]])
    for a, b in zip(x[2:], y[2:], strict=True):
        ins[0][a].join(outs[0][b])


@_rule("scan")
def _scan(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    consts, carried = params["num_consts"], params["num_carry"]
    xs = ins[consts + carried :]
    length = Axis(params["length"])
    for x in xs:
        x[0].join(length)
    inner = walk.inner(params["jaxpr"], [*ins[: consts + carried], *(x[1:] for x in xs)])
    for n in range(carried):
        _join(ins[consts + n], inner[n])
        _join(outs[n], inner[n])
    for out, y in zip(outs[carried:], inner[carried:], strict=True):
        out[0].join(length)
        _join(out[1:], y)


@_rule("cond")
def _cond(walk: Joined, params: dict[str, Any], ins: list[Axes], outs: list[Axes]) -> None:
    for branch in params["branches"]:
        for out, found in zip(outs, walk.inner(branch, ins[1:]), strict=True):
            _join(out, found)
