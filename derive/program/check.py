"""The type check of a whole program, run after every pass.

Every name defined once and before it is read, every index bound once, every read in shape, nothing unevaluated, and an
order in which the equations can be computed.
"""

from __future__ import annotations

import sympy

from derive.language.errors import DerivationError, IndexCaptureError, ShapeError
from derive.language.index import same_size
from derive.language.nodes import Reduction
from derive.language.tensor import Tensor

from .program import Equation, Program
from .schedule import schedule


def check(program: Program, after: str = "", ordered: bool = True) -> Program:
    """The program itself, if it is well formed; else :class:`DerivationError`, naming the pass and the equation.

    Before contraction (``ordered=False``) the deltas still hide which step of a recurrence reads which.
    """
    names: dict[str, Tensor] = {}
    for t in program.inputs:
        _claim(names, t, after)
    for e in program.equations:
        _claim(names, e.tensor, after)
    for e in program.equations:
        _check_equation(e, names, after)
    if ordered:
        schedule(program)
    return program


def _claim(names: dict[str, Tensor], t: Tensor, after: str) -> None:
    if t.name in names:
        raise DerivationError(f"{_pass(after)}the name {t.name!r} is given to two tensors")
    names[t.name] = t


def _pass(after: str) -> str:
    return f"after pass {after!r}: " if after else ""


def _check_equation(e: Equation, names: dict[str, Tensor], after: str) -> None:
    where = f"{_pass(after)}in the equation of {e.name}: "
    if len(e.idx) != e.tensor.rank:
        raise DerivationError(f"{where}{len(e.idx)} indices for {e.tensor.rank} axes")
    if len(set(e.idx)) != len(e.idx):
        raise IndexCaptureError(f"{where}an index is free twice")
    for i, axis in zip(e.idx, e.tensor.axes, strict=True):
        if not same_size(i.size, axis):
            raise ShapeError(f"{where}index {i} has size {i.size}, its axis {axis}")
    for t in e.terms:
        scope = set(e.idx) | set(e.over) | set(t.bnd)
        if len(set(t.bnd)) != len(t.bnd) or set(t.bnd) & (set(e.idx) | set(e.over)):
            raise IndexCaptureError(f"{where}an index is bound twice in {t.expr()}")
        if e.reduce and t.bnd:
            raise DerivationError(f"{where}a sum inside a {e.reduce}")
        loose = (t.free_symbols | set(t.bnd)) - scope
        if loose:
            raise IndexCaptureError(f"{where}index {sorted(loose, key=str)[0]} is unbound")
        for f in t.fac:
            found = f.atoms(Reduction, sympy.Derivative, sympy.Subs)
            if any(isinstance(a, Reduction) for a in found):
                raise DerivationError(f"{where}an unnamed reduction in {f}")
            if found:
                raise DerivationError(f"{where}an unevaluated derivative in {f}")
    for r in e.reads():
        known = names.get(r.tensor.name)
        if known is None or known != r.tensor:
            raise DerivationError(f"{where}{r} reads a tensor that no input or equation defines")
