"""Places in arrays: which expressions are indices, what JAX adds to them, and places that are computed of constants."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer, Piecewise

import derive as dv
from derive.language import affine
from derive.language.index import Index, Size
from derive.language.tensor import Read

from .flat import Literal, Op, Var
from .sizes import SizeDecides, Sizes, SizesEqual
from .table import refuse
from .value import Value, merged


class Places:
    """What an interpreter knows of places; its own state is :class:`.interpret.Interpreter`'s."""

    sizes: Sizes
    below: dict[str, Expr]
    maker: dict[Var, Op]
    literals: dict[Var, np.ndarray]
    arrays: Mapping[str, np.ndarray]
    known: dict[Var, np.ndarray | None]

    def number(self, size: Expr) -> int:
        return int(self.sizes.at(size))

    def constant(self, v: Var, array: np.ndarray) -> Value:
        """An array that the function holds, as a value."""
        raise NotImplementedError

    def index(self, e: Any, size: Expr, op: Op, loose: bool = False) -> Expr:
        """An expression as an index below a size; what JAX adds for negative ones and for those outside is left out.

        ``loose``: one that is no sum of indices and integer arrays is returned as it is, for a bracket to compare with.
        """
        whole = _unwrapped(e)
        e = _unclamped(whole)
        clamped = e != whole and not e.has(Read) and not affine.in_range(e, size)
        if loose and (clamped or not self.is_position(e)):
            return whole
        if isinstance(e, Piecewise) and all(r.tensor.dtype == "int" for r in e.atoms(Read)):
            raise refuse(
                op,
                f"the index {e} puts other labels in the place of some, and no range is known of those given; accepted: "
                f"labels in range everywhere, and a weight of 0 for those that do not count",
            )
        if isinstance(e, Read) and e.tensor.is_input:
            known = self.below.setdefault(e.tensor.name, size)
            both = isinstance(known, Size) and isinstance(size, Size) and known != size
            if both and self.number(known) == self.number(size):
                raise SizesEqual(known, size)  # both are read at these integers
        if not self.is_position(e):
            raise refuse(
                op, f"the index {e} is no sum of indices and integer arrays; accepted: arrays of integers as they are"
            )
        self.within(e, size)
        return e

    @staticmethod
    def is_position(e: Any) -> bool:
        """Whether an expression is a sum of indices and integer arrays."""
        return affine.parts(e) is not None and all(r.tensor.dtype == "int" for r in e.atoms(Read))

    def places(self, var: Var, value: Value, n: int, size: Expr, op: Op) -> Value:
        """One component of an array of places, ``[..., n]``: as it is read where it is a sum of indices and integers.

        One that is made of constants alone is computed, and an input of role constant: the rows that a resize reads.
        """
        axes = value.axes[:-1]
        e = value.at([*(merged(a) for a in axes), Integer(n)])
        e = self.index(e, size, op, loose=True)
        if self.is_position(e) or not all(r.tensor.name in self.arrays for r in e.atoms(Read)):
            return Value(axes, e, "int")
        found = self.computed(var)
        if found is None:
            free = e.free_symbols | {s for i in e.free_symbols if isinstance(i, Index) for s in i.size.free_symbols}
            decided = tuple(s for s in self.sizes.names if s in free)
            if decided:
                raise SizeDecides(decided, f"the places {e}")
            return Value(axes, e, "int")
        array = np.clip(found[..., n], 0, self.number(size) - 1)
        if "FILL" in str(op.params.get("mode")) and (array != found[..., n]).any():
            raise refuse(op, "it reads outside of the array, where JAX has NaN; accepted: places that there are")
        return self.constant(Var(tuple(map(Integer, array.shape)), array.dtype), array)

    def computed(self, v: Var) -> np.ndarray | None:
        """The array that a variable is, if it depends on constants alone."""
        if v in self.known:
            return self.known[v]
        held = self.held_array(v)
        op = self.maker.get(v)
        if held is None and isinstance(v, Literal) and not isinstance(v.value, Expr):
            held = np.asarray(v.value, v.dtype)
        if held is None and op is not None and op.name in (op.eqn.primitive.name, "zero"):
            ins = [self.computed(x) for x in op.ins]
            fixed = all(s.is_Integer for o in op.outs for s in o.shape)
            if fixed and op.name != "zero" and all(x is not None for x in ins):
                eqn = op.eqn
                outs = eqn.primitive.bind(*ins, **eqn.primitive.get_bind_params(eqn.params))
                held = np.asarray((outs if eqn.primitive.multiple_results else [outs])[op.outs.index(v)])
        self.known[v] = held
        return held

    def within(self, e: Expr, size: Expr) -> None:
        """Say of sizes that they are one, or that their numbers decide, where an index is in range by those alone."""
        if affine.in_range(e, size) or not e.free_symbols and not size.free_symbols or e.has(Read):
            return
        own = e.size if isinstance(e, Index) else None
        if isinstance(own, Size) and isinstance(size, Size) and self.number(own) == self.number(size):
            raise SizesEqual(own, size)
        sizes = {
            s for x in (size, e, *(i.size for i in e.free_symbols if isinstance(i, Index))) for s in x.free_symbols
        }
        named = tuple(s for s in self.sizes.names if s in sizes)
        if named:
            raise SizeDecides(named, f"whether {e} is below {size}")

    def held_array(self, v: Var) -> np.ndarray | None:
        """The array that the function holds under a variable; None of what is computed."""
        return np.asarray(v.value) if isinstance(v, Literal) and v.rank else self.literals.get(v)


def _unwrapped(e: Any) -> Any:
    """An index without what JAX adds for negative ones."""
    if isinstance(e, Piecewise) and len(e.args) == 2:
        (_, first), (rest, _) = e.args
        if isinstance(first, sympy.StrictLessThan) and first.rhs == 0:
            return _unwrapped(rest)
    return e


def _unclamped(e: Any) -> Any:
    """An index without its limits."""
    while isinstance(e, dv.maximum | dv.minimum | dv.relu):
        if isinstance(e, dv.relu):
            e = _unwrapped(e.args[0])
        elif any(affine.sizes_only(a) for a in e.args):
            e = _unwrapped(next(a for a in e.args if not affine.sizes_only(a)))
        else:
            break
    return e
