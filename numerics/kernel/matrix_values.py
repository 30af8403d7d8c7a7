"""Whether the matrices of a program have what is asked of them: an inverse, a positive determinant.

A compiled program gives NaN or infinity where they have not; here it is said which matrix, where, and why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.passes.matrices import is_matrix
from derive.program.graph import ancestors
from derive.program.program import Equation, Program
from numerics.errors import InputError
from numerics.reference.programs import evaluate


def check_matrices(program: Program, arrays: Mapping[str, Any], sizes: Mapping[Size, int]) -> list[str]:
    """A line for each inverse and determinant of a program.

    Parameters
    ----------
    program : Program
    arrays : dict
        Inputs by name; a matrix that they do not give is not checked, and the line says so.
    sizes : dict
        ``{Size: int}``.

    Raises
    ------
    numerics.InputError
        For a singular matrix, and a log-determinant where the determinant is not positive: the equation, the place in the
        batch, and the numbers.
    """
    done, seen = [], set()
    for e in program.equations:
        if not is_matrix(e) or (e.reduce, e.terms) in seen:
            continue
        seen.add((e.reduce, e.terms))
        matrix = e.terms[0].fac[0].tensor
        found, missing = computed(program, matrix, arrays, sizes)
        if found is None:
            done.append(f"{matrix.name}: not checked in {e}: {missing} is not given")
            continue
        part = Program(tuple(t for t in program.inputs if t.name in ancestors(program.equations, [matrix])), ())
        done.append(_check(e, matrix.name, found, _precision(arrays, part)))
    return done


def computed(
    program: Program, tensor: Tensor, arrays: Mapping[str, Any], sizes: Mapping[Size, int]
) -> tuple[np.ndarray | None, str]:
    """The value of one tensor of a program, by the evaluator; or None, and what is not given that it needs."""
    needed = ancestors(program.equations, [tensor])
    inputs = tuple(t for t in program.inputs if t.name in needed)
    missing = [t.name for t in inputs if t.name not in arrays]
    if missing or not {s for t in inputs for a in t.axes for s in a.free_symbols} <= set(sizes):
        return None, ", ".join(missing) or "a size"
    part = Program(inputs, tuple(x for x in program.equations if x.name in needed))
    given = {t.name: np.asarray(arrays[t.name], float if t.dtype == "float" else None) for t in inputs}
    with np.errstate(all="ignore"):
        return np.asarray(evaluate(part, given, dict(sizes), np)[tensor.name]), ""


def _precision(arrays: Mapping[str, Any], part: Program) -> float:
    """The coarsest rounding of the floats that a matrix is made of."""
    kinds = [np.asarray(arrays[t.name]).dtype for t in part.inputs if t.dtype == "float"]
    return max((float(np.finfo(k).eps) for k in kinds if k.kind == "f"), default=float(np.finfo(float).eps))


def _check(e: Equation, name: str, matrices: np.ndarray, eps: float) -> str:
    if not np.isfinite(matrices).all():
        raise InputError(f"in {e}\n  {name} is not finite")
    singular = np.linalg.svd(matrices, compute_uv=False)
    ratio = singular[..., -1] / np.where(singular[..., 0] > 0, singular[..., 0], 1.0)
    worst = np.unravel_index(int(np.argmin(ratio)), ratio.shape)
    where = name + (f"[{', '.join(str(int(n)) for n in worst)}]" if worst else "")
    size = matrices.shape[-1]
    if ratio[worst] <= size * eps:
        raise InputError(
            f"in {e}\n  {where} is singular: its singular values go from {singular[worst][0]:.3g} down to "
            f"{singular[worst][-1]:.3g}, {int((singular[worst] > size * eps * singular[worst][0]).sum())} of "
            f"{size} dimensions are left; add something to its diagonal, or drop dependent rows"
        )
    if e.reduce != "logdet":
        return f"{name}: regular, condition number at most {1 / ratio[worst]:.3g}"
    sign, log = np.linalg.slogdet(matrices)
    if (sign <= 0).any():
        first = tuple(int(n) for n in np.argwhere(sign <= 0)[0])
        where = name + (f"[{', '.join(map(str, first))}]" if first else "")
        least = np.min(np.linalg.eigvals(matrices[first]).real)
        raise InputError(
            f"in {e}\n  the determinant of {where} is {sign[first] * np.exp(log[first]):.3g}, not positive, and "
            f"has no logarithm; its least eigenvalue is {least:.3g}.  A covariance or Gram matrix is positive "
            f"definite; declare facts=[dv.positive_definite], or add something to its diagonal"
        )
    return f"{name}: of positive determinant, log det {'at least ' if log.ndim else ''}{np.min(log):.3g}"
