"""Programs evaluated on dense grids: every term of an equation by gathers and masks, every recurrence as a loop.

Nothing is shared with the emission, so that what a kernel computes can be compared with what its equations say.

    term                      coef * einsum of its factors and of its rows as masks
    max over an index         the largest value over the positions whose guards hold
    h[t-1] in h[t]            a loop over t; steps before the start are 0
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType

import jax.numpy as jnp
import numpy as np
from sympy import Expr

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.matrices import split_at
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Row, Term
from derive.program.schedule import Scan, schedule

from .functions import MATRIX_VALUES
from .grid import Array, Fixed, Grid, Scope, Sizes, both, coefficient, size_value

ROW_OPS = {"==": lambda a, b: a == b, "!=": lambda a, b: a != b, "<=": lambda a, b: a <= b, "<": lambda a, b: a < b}


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


class Evaluator(Grid):
    """The equations of a program, one after the other; a recurrence is a loop over time."""

    def run(self, program: Program) -> dict[str, Array]:
        for t in program.inputs:
            if t.name not in self.values:
                raise ShapeError(f"no array for the input {t.name}")
        for group in schedule(program):
            if isinstance(group, Scan):
                self.loop(group)
            else:
                self.values[group.name] = self.equation(group, {})
        return self.values

    def loop(self, scan: Scan) -> None:
        """One time step after another; what is not computed yet is zero, as reads before the start are."""
        for e in scan.equations:
            shape = [size_value(a, self.sizes) for a in e.tensor.axes]
            self.values[e.name] = self.xp.zeros(shape)
        first = scan.equations[0]
        steps = size_value(first.tensor.axes[scan.axis[first.name]], self.sizes)
        for t in range(steps)[:: scan.direction]:
            for e in scan.equations:
                axis = scan.axis[e.name]
                now = self.equation(e, {e.idx[axis]: t})
                self.values[e.name] = self.put(self.values[e.name], (slice(None),) * axis + (t,), now)

    def equation(self, e: Equation, fixed: Fixed) -> Array:
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
        scope = self.scope([i for i in free if i not in split_at(e.reduce, e.idx)[1]], e.over, fixed)
        matrix = self.xp.broadcast_to(self.value(e.terms[0].fac[0], scope), scope.extents)
        return MATRIX_VALUES[e.reduce](self.xp, matrix)

    def _reduced(self, e: Equation, free: Sequence[Index], fixed: Fixed) -> Array:
        if e.reduce in MATRIX_VALUES:
            return self._matrix(e, free, fixed)
        scope = self.scope(free, e.over, fixed)
        mask = self.rows(e.guards, scope)
        total = scope.full(0.0)
        for term in e.terms:
            here = coefficient(term.coef, self.sizes)
            rows = self.rows(term.rows, scope)
            for f in term.fac:
                here = here * self.value(f, scope, both(mask, rows))
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
        scope = self.scope(free, term.bnd, fixed)
        rows = self.rows(term.rows, scope)
        coef = coefficient(term.coef, self.sizes)
        operands = [] if rows is None else [self.xp.where(rows, 1.0, 0.0)]
        mask = self.mask(term, scope, rows)
        for f in term.fac:
            operands.append(self.factor(f, scope, mask))
        return coef * self.contract(operands, scope, len(free))

    def mask(self, term: Term, scope: Scope, rows: Array | None) -> Array | None:
        """Where the rows of a term and the conditions among its factors hold; None where there are none."""
        for f in term.fac:
            if isinstance(f, Iverson):
                rows = both(rows, self.condition(f.condition, scope))
        return rows

    def factor(self, f: Expr, scope: Scope, mask: Array | None) -> Array:
        """A factor where a mask lets it be: elsewhere it may be infinite, and 0 times infinity is not 0."""
        if isinstance(f, Read | Iverson) or mask is None:
            return self.value(f, scope, None)
        return self.xp.where(mask, self.value(f, scope, mask), 0.0)

    def rows(self, rows: Sequence[Row], scope: Scope) -> Array | None:
        """Whether all rows hold, on the grid; None when there are none."""
        mask = None
        for row in rows:
            mask = both(mask, ROW_OPS[row.op](self.whole(row.lhs, scope), self.whole(row.rhs, scope)))
        return mask
