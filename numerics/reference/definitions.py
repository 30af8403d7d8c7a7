"""An independent forward: the definitions, one by one, on dense grids.

This is the opponent of the compiled kernels, so it shares nothing with the emission: every term is evaluated on the
grid of its indices by gathers and masks, every recurrence is a Python loop over time.  ``jax.grad`` of it is what
:func:`numerics.checks.verify` compares the derived gradients with.  It is slow and obvious on purpose.

    float read out of range   0                      (gather, then a zero mask)
    term                      coef * einsum of its factors and of its rows as masks
    max over an index         the largest value over the positions whose guards hold
    h[t-1] in h[t]            a loop over t; steps before the start are 0
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy import Add, Expr, Integer, Mul, Pow
from sympy.logic.boolalg import And, Boolean, BooleanFalse, BooleanTrue, Not, Or

from derive.language.errors import ShapeError, UnsupportedError
from derive.language.functions import DEFINITION, FUNCTIONS, ScalarFunction
from derive.language.functions import OWN as OWN_RULE
from derive.language.index import Index, Size
from derive.language.matrices import split_at
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Row, Term
from derive.program.schedule import Scan, schedule

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
    return float(value)


def evaluate(
    program: Program,
    inputs: Mapping[str, Array],
    sizes: Sizes,
    xp: ModuleType = jnp,
    conventions: bool = False,
    nudges: Mapping[str, Array] | None = None,
) -> dict[str, Array]:
    """Every tensor of a program by name, computed one equation after the other.

    Parameters
    ----------
    program : Program
    inputs : dict
        Name -> array; float arrays in the precision wanted (float64 for evidence), integer arrays for indices.
    sizes : dict
        ``{Size: int}``, every symbolic size of the program.
    xp : module
        ``jax.numpy`` (differentiable) or ``numpy`` (quick).
    conventions : bool
        Whether autodiff of the result follows this library's conventions at kinks: a tie goes to the first maximiser
        and to the first argument, ``|x|'(0) = 0``.  False leaves them to ``jnp.max``, ``jnp.maximum`` and ``jnp.abs``,
        which share a tie and have the slope 1 at 0.
    nudges : dict, optional
        Name -> array added to a computed tensor: its derivative at 0 is the gradient of an intermediate.

    Returns
    -------
    dict
        Inputs and computed tensors, name -> array.
    """
    return Evaluator(inputs, sizes, xp, conventions, nudges or {}).run(program)


def term_value(term: Term, free: Sequence[Index], values: Mapping[str, np.ndarray], sizes: Sizes) -> np.ndarray:
    """One term as a NumPy array over the free indices, given all tensors by name; bound indices may be made free."""
    found = Evaluator(values, sizes, np, False, {}).term(term, list(free), {})
    return np.broadcast_to(found, tuple(size_value(i.size, sizes) for i in free))


class Evaluator:
    def __init__(
        self, inputs: Mapping[str, Array], sizes: Sizes, xp: ModuleType, conventions: bool, nudges: Mapping[str, Array]
    ):
        self.values: dict[str, Array] = dict(inputs)
        self.sizes, self.xp = sizes, xp
        self.conventions, self.nudges = conventions, nudges

    def run(self, program: Program) -> dict[str, Array]:
        for t in program.inputs:
            if t.name not in self.values:
                raise ShapeError(f"no array for the input {t.name}")
        for group in schedule(program):
            if isinstance(group, Scan):
                self._loop(group)
            else:
                self.values[group.name] = self._equation(group, {})
        return self.values

    def _loop(self, scan: Scan) -> None:
        """One time step after another; what is not computed yet is zero, as reads before the start are."""
        for e in scan.equations:
            shape = [size_value(a, self.sizes) for a in e.tensor.axes]
            self.values[e.name] = self.xp.zeros(shape)
        first = scan.equations[0]
        steps = size_value(first.tensor.axes[scan.axis[first.name]], self.sizes)
        for t in range(steps)[:: scan.direction]:
            for e in scan.equations:
                axis = scan.axis[e.name]
                now = self._equation(e, {e.idx[axis]: t})
                self.values[e.name] = self._put(self.values[e.name], (slice(None),) * axis + (t,), now)

    def _put(self, array: Array, where: tuple, new: Array) -> Array:
        if self.xp is jnp:
            return array.at[where].set(new)
        array[where] = new
        return array

    def _scope(self, free: Sequence[Index], bound: Sequence[Index], fixed: Fixed) -> Scope:
        axes = tuple(i for i in (*free, *bound) if i not in fixed)
        return Scope(axes, tuple(size_value(i.size, self.sizes) for i in axes), self.sizes, fixed)

    def _equation(self, e: Equation, fixed: Fixed) -> Array:
        free = [i for i in e.idx if i not in fixed]
        shape = tuple(size_value(i.size, self.sizes) for i in free)
        if e.reduce is None:
            total = self.xp.zeros(shape)
            for term in e.terms:
                total = total + self.term(term, free, fixed)
        else:
            total = self._reduced(e, free, fixed)
        if e.tensor.dtype == "int":
            total = self.xp.rint(total).astype(int)
        if e.name in self.nudges:
            total = total + self.nudges[e.name][tuple(fixed.get(i, slice(None)) for i in e.idx)]
        return self.xp.broadcast_to(total, shape)

    def _matrix(self, e: Equation, free: Sequence[Index], fixed: Fixed) -> Array:
        """Inverse, determinant or its logarithm of the matrix over the last two axes of the grid."""
        assert e.reduce is not None  # one of MATRIX_VALUES
        scope = self._scope([i for i in free if i not in split_at(e.reduce, e.idx)[1]], e.over, fixed)
        matrix = self.xp.broadcast_to(self.value(e.terms[0].fac[0], scope), scope.extents)
        return MATRIX_VALUES[e.reduce](self.xp, matrix)

    def _reduced(self, e: Equation, free: Sequence[Index], fixed: Fixed) -> Array:
        if e.reduce in MATRIX_VALUES:
            return self._matrix(e, free, fixed)
        scope = self._scope(free, e.over, fixed)
        mask = self._rows(e.guards, scope)
        total = scope.full(0.0)
        for term in e.terms:
            here = coefficient(term.coef, self.sizes)
            rows = self._rows(term.rows, scope)
            for f in term.fac:
                here = here * self.value(f, scope, _both(mask, rows))
            total = total + (here if rows is None else self.xp.where(rows, here, 0.0))
        total = self.xp.broadcast_to(total, scope.extents)
        if mask is not None:
            total = self.xp.where(mask, total, -np.inf)
        flat = total.reshape(*total.shape[: len(free)], -1)
        if e.reduce == "argmax":
            return self.xp.argmax(flat, axis=-1)
        if not self.conventions:
            return self.xp.max(flat, axis=-1)
        first = self.xp.argmax(flat, axis=-1)[..., None]
        return self.xp.take_along_axis(flat, first, axis=-1)[..., 0]

    def term(self, term: Term, free: Sequence[Index], fixed: Fixed) -> Array:
        """``coef * sum over the bound indices of the factors``, an array over the free ones."""
        scope = self._scope(free, term.bnd, fixed)
        rows = self._rows(term.rows, scope)
        coef = coefficient(term.coef, self.sizes)
        operands = [] if rows is None else [self.xp.where(rows, 1.0, 0.0)]
        for f in term.fac:
            operands.append(self.value(f, scope, None if isinstance(f, Read) else rows))
        return coef * self._contract(operands, scope, len(free))

    def _contract(self, operands: Sequence[Array], scope: Scope, kept: int) -> Array:
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
            found = self._read(e, scope)
            return found if mask is None or e.tensor.dtype != "float" else xp.where(mask, found, ELSEWHERE)
        if isinstance(e, Index):
            return scope.place(e).astype(float)
        if isinstance(e, Size):
            return scope.full(float(self.sizes[e]))
        if e.is_Number or e.is_NumberSymbol:
            return scope.full(float(e))
        if isinstance(e, Iverson):
            return xp.where(self._condition(e.condition, scope), 1.0, 0.0)
        if isinstance(e, sympy.Piecewise):
            return self._piecewise(e, scope, mask)
        if isinstance(e, Pow):
            return self._power(e, scope, mask)
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
        if found is None:
            raise UnsupportedError(
                f"the reference evaluator has no function {name} (in {e}); it knows {', '.join(sorted(RULES))}"
            )
        return found(self.xp, *args)

    def _power(self, e: Pow, scope: Scope, mask: Array | None) -> Array:
        base = self.value(e.base, scope, mask)
        if e.exp.is_Integer:
            return base ** int(e.exp)
        if abs(e.exp) == sympy.Rational(1, 2):
            root = self.xp.sqrt(base)
            return root if e.exp > 0 else 1 / root
        return self.xp.power(base, self.value(e.exp, scope, mask))

    def _piecewise(self, e: sympy.Piecewise, scope: Scope, mask: Array | None) -> Array:
        """The first branch whose condition holds, each evaluated only where it is selected (for its derivative)."""
        out, free = scope.full(0.0), scope.full(True)
        for branch, condition in e.args:
            chosen = free & self._condition(condition, scope)
            out = self.xp.where(chosen, self.value(branch, scope, _both(mask, chosen)), out)
            free = free & ~chosen
        return out

    def _condition(self, c: Boolean, scope: Scope) -> Array:
        if isinstance(c, BooleanTrue):
            return scope.full(True)
        if isinstance(c, BooleanFalse):
            return scope.full(False)
        if isinstance(c, Not):
            return ~self._condition(c.args[0], scope)
        if isinstance(c, (And, Or)):
            parts = [self._condition(a, scope) for a in c.args]
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

    def _rows(self, rows: Sequence[Row], scope: Scope) -> Array | None:
        """Whether all rows hold, on the grid; None when there are none."""
        mask = None
        for row in rows:
            mask = _both(mask, ROW_OPS[row.op](self.whole(row.lhs, scope), self.whole(row.rhs, scope)))
        return mask

    def whole(self, e: Expr, scope: Scope) -> Array:
        """An integer expression on the grid (index positions and rows)."""
        if isinstance(e, Index):
            return scope.place(e)
        if isinstance(e, Size):
            return scope.full(self.sizes[e])
        if e.is_Integer:
            return scope.full(int(e))
        if isinstance(e, Read):
            return self._read(e, scope).astype(int)
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

    def _read(self, r: Read, scope: Scope) -> Array:
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


def _both(a: Array | None, b: Array | None) -> Array | None:
    if a is None or b is None:
        return b if a is None else a
    return a & b


def _special(xp: ModuleType) -> ModuleType:
    return importlib.import_module("jax.scipy.special" if xp is jnp else "scipy.special")


def _stop(xp: ModuleType, x: Array) -> Array:
    return jax.lax.stop_gradient(x) if xp is jnp else x


def _relu(xp: ModuleType, x: Array) -> Array:
    return xp.where(x > 0, x, xp.zeros_like(x))


def _polygamma(xp: ModuleType, n: Array, x: Array) -> Array:
    return _special(xp).polygamma(xp.asarray(n).astype(int), x)


OWN: dict[str, Callable] = {
    "polygamma": _polygamma,
    "relu": _relu,
    "sigmoid": lambda xp, x: 0.5 * (1 + xp.tanh(0.5 * x)),
    "softplus": lambda xp, x: xp.logaddexp(x, 0.0),
    "stop_gradient": _stop,
}


def rule(f: ScalarFunction) -> Callable | None:
    """``(xp, *arguments) -> array`` by the row of a function; None for one that is computed by its definition."""
    if f.numpy == DEFINITION:
        return None
    if f.numpy == OWN_RULE:
        if f.name not in OWN:
            raise UnsupportedError(
                f"function {f.name}: its column numpy is {OWN_RULE!r}, and {__name__}.OWN has no rule for it"
            )
        return OWN[f.name]
    home, _, name = f.numpy.rpartition(".")
    if home not in ("", "special") or not (home or hasattr(np, name)):
        raise UnsupportedError(f"function {f.name}: its column numpy is {f.numpy!r}, which NumPy does not have")
    return lambda xp, *args: getattr(_special(xp) if home else xp, name)(*args)


RULES = {f.name: rule(f) for f in FUNCTIONS.values()}


def _log_determinant(xp: ModuleType, matrix: Array) -> Array:
    sign, log = xp.linalg.slogdet(matrix)
    return xp.where(sign > 0, log, np.nan)


MATRIX_VALUES = {
    "inverse": lambda xp, matrix: xp.linalg.inv(matrix),
    "det": lambda xp, matrix: xp.linalg.det(matrix),
    "logdet": _log_determinant,
}

RELATIONS = {
    sympy.StrictLessThan: lambda a, b: a < b,
    sympy.LessThan: lambda a, b: a <= b,
    sympy.StrictGreaterThan: lambda a, b: a > b,
    sympy.GreaterThan: lambda a, b: a >= b,
    sympy.Equality: lambda a, b: a == b,
    sympy.Unequality: lambda a, b: a != b,
}

ROW_OPS = {"==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b}
