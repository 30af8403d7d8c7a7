"""What a read may be indexed by: indices of the axis's size, affine expressions of them, integer tensors below it."""

from __future__ import annotations

from sympy import Expr

from derive.language import affine
from derive.language.errors import DeriveError, ShapeError, UnsupportedError
from derive.language.facts import missing_value
from derive.language.index import Index, same_size
from derive.language.tensor import Read

from .inside import is_below


def refused(r: Read, n: int, axis: Expr, body: Expr) -> tuple[type[DeriveError], str] | None:
    """The error, and what it says, for the index of axis ``n`` of a read inside ``body``; None where nothing is wrong."""
    e = r.idx[n]
    if isinstance(e, Index):
        fits = same_size(e.size, axis) or affine.in_range(e, axis)  # T - 1 of T, or M of 2*M: a prefix
        if not fits and not is_below(body, r, e, axis):  # or a piece, as of {x[m] if m < M; y[m-M] otherwise}
            shapes = ", ".join(map(str, r.tensor.axes))
            return (
                ShapeError,
                f"index {e} has size {e.size}, but axis {n} of {r.tensor.name} has size {axis}\n"
                f"  shapes: {r.tensor.name} ({shapes});  accepted there: an index of size {axis}, "
                f"made by dv.index({e.name!r}, size={str(axis)!r}), an affine read such as "
                f"2*{e} or {e} + 1, or a piece, as in Piecewise(({r}, {e} < {axis}), ...)",
            )
        return None
    if isinstance(e, Read) and e.tensor.dtype == "int":
        below, none = e.tensor.below, missing_value(e.tensor)
        if none is not None:
            return (
                UnsupportedError,
                f"{e} is used as an index of {r.tensor.name}, but may be {none}; say what is "
                f"read there instead: define('label', ..., Piecewise((0, Eq({e}, {none})), "
                f"({e}, True)))",
            )
        if below is None:
            return (
                UnsupportedError,
                f"{e.tensor.name} is used as an index of {r.tensor.name} without a declared "
                f"range; declare it: dv.tensor({e.tensor.name!r}, ..., dtype='int', "
                f"below={axis})",
            )
        if not same_size(below, axis):
            return (
                ShapeError,
                f"{e.tensor.name} ranges below {below}, but axis {n} of {r.tensor.name} has size "
                f"{axis}; accepted: an integer tensor below {axis}",
            )
        return None
    for inner in e.atoms(Read):
        if inner.tensor.dtype != "int":
            return (
                UnsupportedError,
                f"{inner} is a {inner.tensor.dtype} and stands in an index of "
                f"{r.tensor.name}; accepted: indices, sizes and integer tensors",
            )
        if inner.tensor.below is None:
            return (
                UnsupportedError,
                f"{inner.tensor.name} is used as an index of {r.tensor.name} without a "
                f"declared range; declare it with below=",
            )
    linear = affine.parts(e)
    if linear is None:
        return (
            UnsupportedError,
            f"{e} is not an affine index; axis {n} of {r.tensor.name} accepts sums of indices "
            f"times whole numbers or sizes, such as 2*u + r - 1",
        )
    if e.is_number and not e.is_Integer:
        return (UnsupportedError, f"{e} is not a whole number; axis {n} of {r.tensor.name} accepts integers")
    if any(not c.is_integer for c in linear[0].values()):
        return (
            UnsupportedError,
            f"{e} is not a whole number for every index value; axis {n} of {r.tensor.name} "
            f"accepts integer coefficients",
        )
    return None
