"""Expressions on dense grids: what the evaluators of written definitions and of programs share.

Every node is evaluated on the grid of the indices it stands among, by gathers and masks, slow and obvious on purpose.

    float read out of range   0                      (gather, then a zero mask)
    a branch                  evaluated everywhere, a harmless number in place of every read where it is not selected
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy
from sympy import Add, Expr, Integer, Mul, Pow
from sympy.logic.boolalg import And, Boolean, BooleanFalse, BooleanTrue, Not, Or

from derive.language.errors import ShapeError, UnsupportedError
from derive.language.index import Index, Size
from derive.language.nodes import Iverson
from derive.language.tensor import Read

from .functions import RULES

Array = Any  # of NumPy or of JAX, which is for the caller to say
Sizes = Mapping[Size, int]
Fixed = Mapping[Index, int]  # indices that are held at one value
ELSEWHERE = 0.7316  # what an unselected branch reads: any harmless number, so that its gradient is finite times zero


@dataclass(frozen=True)
class Scope:
    """Where an expression stands: the axes of its grid in order, the sizes, and indices held at one value."""

    axes: tuple[Index, ...]
    extents: tuple[int, ...]
    sizes: Sizes
    fixed: Fixed

    def place(self, index: Index) -> np.ndarray:
        """The values of an index, shaped to broadcast along its own axis."""
        if index in self.fixed:
            return np.full((1,) * len(self.axes), self.fixed[index])
        axis = self.axes.index(index)
        shape = [1] * len(self.axes)
        shape[axis] = self.extents[axis]
        return np.arange(self.extents[axis]).reshape(shape)

    def full(self, value: float | bool) -> np.ndarray:
        return np.full((1,) * len(self.axes), value)


def elsewhere(r: Read) -> float:
    """What a read is in a branch that is not selected: no two reads the same, since their difference may be divided by."""
    return ELSEWHERE + zlib.crc32(str(r).encode()) / 2**34


def size_value(expr: Expr, sizes: Sizes) -> int:
    """The whole number that a size expression stands for, given ``{Size: int}``."""
    value = sympy.sympify(expr).xreplace({s: Integer(n) for s, n in sizes.items()})
    if not value.is_Integer:
        free = ", ".join(sorted(map(str, value.free_symbols)))
        raise ShapeError(f"size {expr} is {value}, not a whole number" + (f"; {free} has no value" if free else ""))
    return int(value)


def coefficient(expr: Expr, sizes: Sizes) -> float:
    """The number that a coefficient of numbers and sizes stands for."""
    value = sympy.sympify(expr).xreplace({s: Integer(n) for s, n in sizes.items()})
    if value.free_symbols:
        raise ShapeError(f"coefficient {expr}: no value for {', '.join(sorted(map(str, value.free_symbols)))}")
    return float(value) if value.is_extended_real else float("nan")  # 1/(B - 1) of one example is no number


class Grid:
    """Values by name, and the value of any expression over them on the grid of a scope."""

    def __init__(
        self,
        inputs: Mapping[str, Array],
        sizes: Sizes,
        xp: ModuleType,
        conventions: bool,
        nudges: Mapping[str, Array],
        guarded: bool = False,
    ):
        self.values: dict[str, Array] = dict(inputs)
        self.sizes, self.xp, self.guarded = sizes, xp, guarded
        self.conventions, self.nudges = conventions, nudges

    def put(self, array: Array, where: tuple, new: Array) -> Array:
        if self.xp is jnp:
            return array.at[where].set(new)
        array[where] = new
        return array

    def scope(self, free: Sequence[Index], bound: Sequence[Index], fixed: Fixed) -> Scope:
        axes = tuple(i for i in (*free, *bound) if i not in fixed)
        return Scope(axes, tuple(size_value(i.size, self.sizes) for i in axes), self.sizes, fixed)

    def contract(self, operands: Sequence[Array], scope: Scope, kept: int) -> Array:
        """The product of arrays on the scope's grid, summed over all axes from ``kept`` on."""
        scale, call, seen = 1.0, [], set()
        for array in operands:
            array = self.xp.asarray(array)
            wide = [n for n, extent in enumerate(array.shape) if extent > 1]
            call += [array.reshape([array.shape[n] for n in wide]), wide]
            seen.update(wide)
        for n in range(kept, len(scope.axes)):
            scale *= 1 if n in seen else scope.extents[n]
        out = [n for n in range(kept) if n in seen]
        total = self.xp.einsum(*call, out) if call else self.xp.asarray(1.0)
        return scale * total.reshape([scope.extents[n] if n in seen else 1 for n in range(kept)])

    # -- expressions -----------------------------------------------------------------------------------------------

    def value(self, e: Expr, scope: Scope, mask: Array | None = None) -> Array:
        """A real expression on the grid; under a mask, unselected positions read a harmless number instead."""
        xp = self.xp
        if isinstance(e, Read):
            found = self.read(e, scope)
            return found if mask is None or e.tensor.dtype != "float" else xp.where(mask, found, elsewhere(e))
        if isinstance(e, Index):
            return scope.place(e).astype(float)
        if isinstance(e, Size):
            return scope.full(float(self.sizes[e]))
        if e.is_Number or e.is_NumberSymbol:
            return scope.full(float(e))
        if isinstance(e, Iverson):
            return xp.where(self.condition(e.condition, scope), 1.0, 0.0)
        if isinstance(e, sympy.Piecewise):
            return self.piecewise(e, scope, mask)
        if isinstance(e, Pow):
            return self.power(e, scope, mask)
        if RULES.get(type(e).__name__, True) is None:
            return self.value(type(e).definition(*e.args), scope, mask)
        args = [self.value(a, scope, mask) for a in e.args]
        if isinstance(e, Add):
            return sum(args[1:], args[0])
        if isinstance(e, Mul):
            out = args[0]
            for a in args[1:]:
                out = out * a
            return out
        return self._function(e, args)

    def _function(self, e: Expr, args: Sequence[Array]) -> Array:
        name = type(e).__name__
        if self.conventions and name in ("maximum", "minimum"):
            a, b = args
            return self.xp.where(a >= b if name == "maximum" else a <= b, a, b)
        if self.conventions and name == "Abs":  # jnp.abs has the slope 1 at 0
            x = args[0]
            return self.xp.where(x > 0, x, self.xp.where(x < 0, -x, self.xp.zeros_like(x)))
        found = RULES.get(name)
        if self.guarded and name == "log":
            return self._off_zero(args[0], self.xp.log, -np.inf)
        if found is None:
            raise UnsupportedError(
                f"the reference evaluator has no function {name} (in {e}); it knows {', '.join(sorted(RULES))}"
            )
        return found(self.xp, *args)

    def power(self, e: Pow, scope: Scope, mask: Array | None) -> Array:
        base = self.value(e.base, scope, mask)
        if e.exp.is_Integer:
            if e.exp < 0 and base.dtype.kind in "iub":  # NumPy has no power of whole numbers below 0
                base = base.astype(float)
            n = int(e.exp)
            return self._off_zero(base, lambda x: x**n, np.inf) if self.guarded and n < 0 else base**n
        if abs(e.exp) == sympy.Rational(1, 2):
            if self.guarded:
                return self._off_zero(base, lambda x: x ** float(e.exp), 0.0 if e.exp > 0 else np.inf)
            root = self.xp.sqrt(base)
            return root if e.exp > 0 else 1 / root
        return self.xp.power(base, self.value(e.exp, scope, mask))

    def _off_zero(self, x: Array, f: Callable[[Array], Array], there: float) -> Array:
        """``f`` with its value at 0 as a constant: autodiff would multiply its slope there, infinity, by an adjoint of 0."""
        zero = x == 0
        return self.xp.where(zero, there, f(self.xp.where(zero, 1.0, x)))

    def piecewise(self, e: sympy.Piecewise, scope: Scope, mask: Array | None) -> Array:
        """The first branch whose condition holds, each evaluated only where it is selected (for its derivative)."""
        out, free = scope.full(0.0), scope.full(True)
        for branch, condition in e.args:
            chosen = free & self.condition(condition, scope)
            out = self.xp.where(chosen, self.value(branch, scope, both(mask, chosen)), out)
            free = free & ~chosen
        return out

    def condition(self, c: Boolean, scope: Scope) -> Array:
        if isinstance(c, BooleanTrue):
            return scope.full(True)
        if isinstance(c, BooleanFalse):
            return scope.full(False)
        if isinstance(c, Not):
            return ~self.condition(c.args[0], scope)
        if isinstance(c, (And, Or)):
            parts = [self.condition(a, scope) for a in c.args]
            out = parts[0]
            for p in parts[1:]:
                out = (out & p) if isinstance(c, And) else (out | p)
            return out
        compare = RELATIONS.get(c.func)
        if compare is None:
            raise UnsupportedError(
                f"the reference evaluator cannot decide {c}; conditions are <, <=, >, >=, ==, !=, and, or, not"
            )
        return compare(self.value(c.lhs, scope), self.value(c.rhs, scope))

    def whole(self, e: Expr, scope: Scope) -> Array:
        """An integer expression on the grid (index positions and rows)."""
        if isinstance(e, Index):
            return scope.place(e)
        if isinstance(e, Size):
            return scope.full(self.sizes[e])
        if e.is_Integer:
            return scope.full(int(e))
        if isinstance(e, Read):
            return self.read(e, scope).astype(int)
        if isinstance(e, Add):
            return sum((self.whole(a, scope) for a in e.args), scope.full(0))
        if isinstance(e, sympy.floor):
            top, bottom = sympy.fraction(sympy.together(e.args[0]))
            return self.whole(top, scope) // self.whole(bottom, scope)
        if isinstance(e, sympy.Mod):
            return self.whole(e.args[0], scope) % self.whole(e.args[1], scope)
        if isinstance(e, Pow) and e.exp.is_Integer and e.exp > 0:
            return self.whole(e.base, scope) ** int(e.exp)
        if isinstance(e, Mul):
            top, bottom = sympy.fraction(e)
            if bottom == 1:
                out = scope.full(1)
                for a in e.args:
                    out = out * self.whole(a, scope)
                return out
        raise UnsupportedError(f"{e} is not an integer expression of indices, sizes and integer tensors")

    def read(self, r: Read, scope: Scope) -> Array:
        """The elements at the index expressions; zero out of range."""
        array = self.values[r.tensor.name]
        if not r.idx:
            return self.xp.asarray(array).reshape((1,) * len(scope.axes))
        if _plain(r, scope):
            order = sorted(range(len(r.idx)), key=lambda n: scope.axes.index(r.idx[n]))
            shape = [1] * len(scope.axes)
            for n, i in enumerate(r.idx):
                shape[scope.axes.index(i)] = array.shape[n]
            if all(array.shape[n] == scope.extents[scope.axes.index(i)] for n, i in enumerate(r.idx)):
                return self.xp.transpose(self.xp.asarray(array), order).reshape(shape)
        spots, inside = [], True
        for e, extent in zip(r.idx, array.shape, strict=True):
            at = self.whole(e, scope)
            inside = inside & (at >= 0) & (at < extent)
            spots.append(self.xp.clip(at, 0, extent - 1))
        found = self.xp.asarray(array)[tuple(spots)]
        return self.xp.where(inside, found, self.xp.zeros_like(found))


def _plain(r: Read, scope: Scope) -> bool:
    """Whether a read is by distinct indices of the grid, so that it is a transposition."""
    return len(set(r.idx)) == len(r.idx) and all(isinstance(i, Index) and i in scope.axes for i in r.idx)


def both(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return a & b


RELATIONS = {
    sympy.StrictLessThan: lambda a, b: a < b,
    sympy.LessThan: lambda a, b: a <= b,
    sympy.StrictGreaterThan: lambda a, b: a > b,
    sympy.GreaterThan: lambda a, b: a >= b,
    sympy.Equality: lambda a, b: a == b,
    sympy.Unequality: lambda a, b: a != b,
}
