"""An independent forward: the definitions as they were written, one by one, on dense grids.

This is the opponent of the compiled kernels.  It reads ``tensor.definition`` itself: nothing that was made of it, neither
by ingestion nor by a pass, so that it shares no mistake with them, and nothing of the emission.  ``jax.grad`` of it is what
:func:`numerics.checks.verify` compares the derived gradients with.  It is slow and obvious on purpose.

    Sum(f, i)                 the body on the grid with i, summed
    Prod(f, i)                the product of the body over i
    Max(f, i)                 the largest value over the positions whose reads lie inside
    [condition] * f           0 where the condition is false, whatever f is there
    -oo, oo                   the infinities of floats
    h[t-1] in h[t]            a loop over t; steps before the start are 0
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy
from sympy import Add, Basic, Expr, Float, Mul, Piecewise

from derive.language.errors import ShapeError
from derive.language.index import Index
from derive.language.keys import key
from derive.language.matrices import KINDS, MatrixFunction
from derive.language.nodes import ArgMax, Iverson, Max, Prod, Reduction, loggamma, maximum, minimum, polygamma, relu
from derive.language.tensor import Read, Tensor
from derive.language.written import Group, groups, reads_itself, sizes_in, time_of
from derive.program.program import Program
from derive.program.schedule import Scan, schedule

from .functions import MATRIX_VALUES
from .grid import ELSEWHERE, Array, Fixed, Grid, Scope, Sizes, both, size_value
from .programs import Evaluator

LARGE = 1000  # addends with such a factor are added before they are multiplied by it: 1e9 m - 1e9 is 1e9 (m - 1)
LOST = (3, 5, 2)  # numbers of sizes that only a definition names
BEYOND = 600  # e^600 is nearly the largest float: a number beyond it came out of an exponent, and is put back


def evaluate(
    roots: Sequence[Tensor],
    inputs: Mapping[str, Array],
    sizes: Sizes,
    xp: ModuleType = jnp,
    conventions: bool = False,
    nudges: Mapping[str, Array] | None = None,
    guarded: bool = False,
) -> dict[str, Array]:
    """The tensors that ``roots`` need, and these, by name, from their written definitions.

    Parameters
    ----------
    roots : sequence of Tensor
    inputs : dict
        Name -> array; float arrays in the precision wanted (float64 for evidence), integer arrays for indices.
    sizes : dict
        ``{Size: int}``.  One that no array has and the program does without, since it cancels there, gets a number here:
        if it did not cancel, that number shows.
    xp : module
        ``jax.numpy`` (differentiable) or ``numpy`` (quick).
    conventions : bool
        Whether autodiff of the result follows this library's conventions at kinks; see
        :func:`numerics.reference.programs.evaluate`.
    nudges : dict, optional
        Name -> array added to a computed tensor: its derivative at 0 is the gradient of an intermediate.
    guarded : bool
        Whether roots, logarithms and quotients have the slope 0 at exactly 0, where a guard somewhere else keeps them away.

    Returns
    -------
    dict
        Inputs and computed tensors, name -> array.

    >>> import derive as dv, numpy as np
    >>> i, = dv.indices("i")
    >>> x = dv.tensor("x", i)
    >>> y = dv.define("y", (), dv.Sum(x[i] ** 2, i))
    >>> float(evaluate([y], {"x": np.array([1.0, 2.0])}, {i.size: 2}, np)["y"])
    5.0
    """
    lost = sorted(sizes_in(roots) - set(sizes), key=lambda s: s.name)
    known = {**sizes, **dict(zip(lost, itertools.cycle(LOST), strict=False))}
    return Definitions(inputs, known, xp, conventions, nudges or {}, guarded).run(roots)


class Definitions(Grid):
    """Written definitions by name, each computed from its right-hand side."""

    def run(self, roots: Sequence[Tensor]) -> dict[str, Array]:
        for group in groups(roots):
            t = group[0]
            if t.is_input:
                if t.name not in self.values:
                    raise ShapeError(f"no array for the input {t.name}")
            elif t.definition is None:
                self._derived(group)
            elif reads_itself(group):
                self._recurrence(group)
            else:
                self.values[t.name] = self._definition(t, {})
        return self.values

    def _definition(self, t: Tensor, fixed: Fixed) -> Array:
        assert t.definition is not None  # the caller looked
        free = [i for i in t.definition.idx if i not in fixed]
        scope = self.scope(free, (), fixed)
        found = self.xp.broadcast_to(self.value(t.definition.body, scope), scope.extents)
        if t.dtype == "int":
            found = self.xp.rint(found).astype(int)
        if t.name in self.nudges:
            found = found + self.nudges[t.name][tuple(fixed.get(i, slice(None)) for i in t.definition.idx)]
        return found

    def _recurrence(self, group: Group) -> None:
        """One time step after another; what is not computed yet is zero, as reads before the start are."""
        members, axis, direction = time_of(group)
        for t in members:
            self.values[t.name] = self.xp.zeros([size_value(a, self.sizes) for a in t.axes])
        steps = size_value(members[0].axes[axis[members[0].name]], self.sizes)
        for now in range(steps)[::direction]:
            for t in members:
                a = axis[t.name]
                found = self._definition(t, {t.indices[a]: now})
                self.values[t.name] = self.put(self.values[t.name], (slice(None),) * a + (now,), found)

    def _derived(self, group: Group) -> None:
        """Tensors of an earlier derivation, whose equations its own evidence is about."""
        ev = Evaluator(self.values, self.sizes, self.xp, self.conventions, self.nudges)
        ev.values = self.values
        equations = tuple(t.origin.equation(t) for t in group if t.origin is not None)
        for part in schedule(Program((), equations)):
            if isinstance(part, Scan):
                ev.loop(part)
            else:
                self.values[part.name] = ev.equation(part, {})

    # -- expressions -----------------------------------------------------------------------------------------------

    def value(self, e: Expr, scope: Scope, mask: Array | None = None) -> Array:
        if isinstance(e, Reduction | sympy.Sum | sympy.Product):
            found = self._reduction(e, scope, mask)
            return found if mask is None or isinstance(e, ArgMax) else self.xp.where(mask, found, ELSEWHERE)
        if isinstance(e, Index) and mask is not None:
            return self.xp.where(mask, scope.place(e), ELSEWHERE)
        if isinstance(e, sympy.polygamma | sympy.loggamma):
            return self.value((polygamma if isinstance(e, sympy.polygamma) else loggamma)(*e.args), scope, mask)
        if isinstance(e, sympy.log) and isinstance(e.args[0], sympy.gamma):
            return self.value(loggamma(*e.args[0].args), scope, mask)
        if isinstance(e, sympy.KroneckerDelta):
            return self.value(Iverson(sympy.Eq(*e.args[:2], evaluate=False)), scope, mask)
        if isinstance(e, sympy.Max | sympy.Min):
            return self.value(_first_wins(e), scope, mask)
        if isinstance(e, Add):
            return self._added(e, scope, mask)
        if isinstance(e, Mul):
            found = self._factors(e, scope, mask)
            out = found[0]
            for a in found[1:]:
                out = out * a
            return out
        return super().value(e, scope, mask)

    def _added(self, e: Add, scope: Scope, mask: Array | None) -> Array:
        """The sum; where several addends share a large factor, c a - c b as c (a - b), which floats do not swallow."""
        shared: dict[Expr, list[Expr]] = {}
        for a in e.args:
            c = abs(a.as_coeff_Mul()[0])
            shared.setdefault(c if c >= LARGE and c.is_finite else sympy.S.One, []).append(a)
        total: Array = 0.0
        for c, addends in shared.items():
            parts = [self.value(a / c if c != 1 else a, scope, mask) for a in addends]
            total = total + float(c) * sum(parts[1:], parts[0])
        return total

    def _factors(self, e: Expr, scope: Scope, mask: Array | None) -> list[Array]:
        """The factors of a product; where a condition makes one of them 0, the others are not looked at."""
        factors = _exponent_whole(list(Mul.make_args(e)))
        for f in factors:
            condition = _condition(f)
            if condition is not None:
                mask = both(mask, self.condition(condition, scope))
        return [
            self.value(f, scope, None if _condition(f) is not None and isinstance(f, Iverson) else mask)
            for f in factors
        ]

    # -- reductions ------------------------------------------------------------------------------------------------

    def _reduction(self, e: Expr, scope: Scope, mask: Array | None) -> Array:
        if isinstance(e, MatrixFunction):
            return self._matrix(e, scope)
        product = isinstance(e, Prod | sympy.Product)
        if isinstance(e, sympy.Sum | sympy.Product):
            body, binders = e.function, tuple(i for i, *_ in e.limits)
            for i, *ends in e.limits:
                if ends:
                    inside = sympy.And(i >= ends[0], i <= ends[1])
                    body = Piecewise((body, inside), (int(product), True), evaluate=False)
        else:
            body, binders = e.body, e.binders
        inner = Scope(
            (*scope.axes, *binders),
            (*scope.extents, *(size_value(b.size, self.sizes) for b in binders)),
            scope.sizes,
            scope.fixed,
        )
        if mask is not None:
            mask = mask.reshape((*mask.shape, *(1 for _ in binders)))
        if isinstance(e, Max | ArgMax):
            return self._largest(e, body, inner, len(scope.axes), mask)
        if product:
            factors = self.xp.broadcast_to(self.value(body, inner, mask), inner.extents)
            return self.xp.prod(factors.reshape(*scope.extents, -1), axis=-1)
        return self._sum(body, inner, len(scope.axes), mask)

    def _sum(self, body: Expr, inner: Scope, kept: int, mask: Array | None) -> Array:
        large = any(abs(a.as_coeff_Mul()[0]) >= LARGE for a in Add.make_args(body))
        total: Array = 0.0
        for addend in [body] if large else Add.make_args(body):
            operands = [self.value(addend, inner, mask)] if large else self._factors(addend, inner, mask)
            total = total + self.contract(operands, inner, kept)
        return total

    def _largest(self, e: Expr, body: Expr, inner: Scope, kept: int, mask: Array | None) -> Array:
        """Over the positions at which everything that is read exists; the first of equal ones, where that matters."""
        xp, inside = self.xp, self._exists(body, inner)
        found = xp.broadcast_to(self.value(body, inner, both(mask, inside)), inner.extents)
        if inside is not None:
            found = xp.where(inside, found, -np.inf)
        flat = found.reshape(*inner.extents[:kept], -1)
        if isinstance(e, ArgMax):
            return xp.argmax(flat, axis=-1)
        if not self.conventions:
            return xp.max(flat, axis=-1)
        return xp.take_along_axis(flat, xp.argmax(flat, axis=-1)[..., None], axis=-1)[..., 0]

    def _exists(self, e: Basic, scope: Scope) -> Array | None:
        """Where all that an expression reads lies inside its tensor; None for everywhere.  What is summed inside is total."""
        if isinstance(e, Reduction | sympy.Sum | sympy.Product | Tensor):
            return None
        if isinstance(e, Piecewise):
            return self._branch_exists(e, scope)
        inside = None
        if isinstance(e, Read):
            for at, axis in zip(e.idx, e.tensor.axes, strict=True):
                extent = size_value(axis, self.sizes)
                if not (isinstance(at, Index) and size_value(at.size, self.sizes) <= extent):
                    spot = self.whole(at, scope)
                    inside = both(inside, (spot >= 0) & (spot < extent))
        for a in e.args:
            inside = both(inside, self._exists(a, scope))
        return inside

    def _branch_exists(self, e: Piecewise, scope: Scope) -> Array | None:
        """Of the branch that is chosen."""
        inside, free = None, scope.full(True)
        for branch, condition in e.args:
            chosen = free & self.condition(condition, scope)
            here = self._exists(branch, scope)
            if here is not None:
                inside = both(inside, here | ~chosen)
            free = free & ~chosen
        return inside

    def _matrix(self, e: MatrixFunction, scope: Scope) -> Array:
        """Inverse, determinant or its logarithm of the matrix over two more axes; an inverse is read at two positions."""
        extents = tuple(size_value(b.size, self.sizes) for b in e.binders)
        inner = Scope((*scope.axes, *e.binders), (*scope.extents, *extents), scope.sizes, scope.fixed)
        matrix = self.value(e.body, inner)
        matrix = self.xp.broadcast_to(matrix, (*matrix.shape[:-2], *extents))
        found = MATRIX_VALUES[KINDS[type(e)]](self.xp, matrix)
        if not e.at:
            return found
        spots, inside = [], True
        for n, extent in enumerate(found.shape[:-2]):
            spots.append(np.arange(extent).reshape([-1 if m == n else 1 for m in range(len(scope.axes))]))
        for a, extent in zip(e.at, extents, strict=True):
            at = self.whole(a, scope)
            inside = inside & (at >= 0) & (at < extent)
            spots.append(self.xp.clip(at, 0, extent - 1))
        return self.xp.where(inside, found[tuple(spots)], 0.0)


def _condition(f: Expr) -> Any:
    """The condition without which a factor is 0: of ``[c]`` and of ``{g if c; 0}``; None for any other."""
    if isinstance(f, Iverson):
        return f.condition
    if isinstance(f, Piecewise) and len(f.args) == 2 and f.args[1] == (0, sympy.true):
        return f.args[0][1]
    return None


def _exponent_whole(factors: list[Expr]) -> list[Expr]:
    """``exp(u - 1e9)`` of what SymPy makes of it, ``4e-434294482 exp(u)``: as a float that factor is 0."""
    powers = [f for f in factors if isinstance(f, sympy.exp)]
    number = next((f for f in factors if isinstance(f, Float) and f > 0 and abs(sympy.log(f)) > BEYOND), None)
    if number is None or not powers:
        return factors
    addends = (*Add.make_args(powers[0].args[0]), Float(float(sympy.log(number))))
    whole = sympy.exp(Add(*addends, evaluate=False), evaluate=False)
    return [whole, *(f for f in factors if f is not number and f is not powers[0])]


def _first_wins(e: Expr) -> Expr:
    """SymPy's Max and Min, which forget the order of their arguments, by our own of two; a number is the last."""
    first, *others = sorted(e.args, key=lambda a: (a.is_number, key(a)))
    if isinstance(e, sympy.Max) and others == [0]:
        return relu(first)
    for a in others:
        first = (maximum if isinstance(e, sympy.Max) else minimum)(first, a)
    return first
