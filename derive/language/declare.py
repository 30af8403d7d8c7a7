"""``dv.tensor``: declare an input."""

from __future__ import annotations

from .errors import DeriveError
from .facts import Fact, check_facts
from .index import Index, SizeLike, as_size
from .tensor import ROLES, Tensor


def tensor(
    name: str,
    *axes: SizeLike,
    dtype: str = "float",
    below: SizeLike | None = None,
    role: str = "data",
    facts: Fact | list[Fact] | tuple[Fact, ...] = (),
) -> Tensor:
    """Declare an input: a named array with the given axes.

    Parameters
    ----------
    name : str
        Any name; it is never sympified.
    *axes : Index, str, int or sympy.Expr
        An index stands for an axis of its size; a size may be given as a name, an int or an expression.
    dtype : {"float", "int", "bool"}
        Integer tensors may be used as indices if ``below`` declares their range.
    below : optional
        For integers, the size that every value is below: ``0 <= value < below``.
    role : {"data", "parameter", "random", "state", "constant"}
        What the array is for.  Tensors differentiated by ``backprop`` count as parameters whatever is said here.
    facts : sequence
        Declared facts such as ``dv.positive`` or ``dv.sums_to(1, k)``.

    >>> from derive import indices
    >>> b, i = indices("b i")
    >>> x = tensor("x", b, i, 3)
    >>> x[b, i, 0]
    x[b, i, 0]
    """
    if dtype not in ("float", "int", "bool"):
        raise DeriveError(f"tensor {name!r}: dtype {dtype!r} is not one of 'float', 'int', 'bool'")
    if role not in ROLES[:-1]:
        raise DeriveError(f"tensor {name!r}: role {role!r} is not one of {', '.join(ROLES[:-1])}")
    if below is not None and dtype != "int":
        raise DeriveError(f"tensor {name!r}: below= declares the range of an integer tensor; this one is {dtype}")
    letters = tuple(a if isinstance(a, Index) else None for a in axes)
    sizes = tuple(as_size(a) for a in axes)
    stated = tuple(facts) if isinstance(facts, (list, tuple)) else (facts,)
    for f in stated:
        if not isinstance(f, Fact):
            raise DeriveError(
                f"tensor {name!r}: {f!r} is not a fact; the facts are dv.positive, dv.nonnegative, "
                f"dv.symmetric, dv.positive_definite, dv.orthogonal, dv.unit, dv.sums_to(value, index), dv.missing(value), "
                f"dv.diagonal, dv.lower_triangular, dv.upper_triangular, dv.toeplitz and dv.free_entries"
            )
    made = Tensor(name, sizes, letters, dtype, None if below is None else as_size(below), role, stated)
    check_facts(made)
    return made
