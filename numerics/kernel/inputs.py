"""Checks of what a kernel is given: names, shapes and dtypes at every call; values on request.

A shape error shows the operation, the conflict, what is bound so far, and a transpose only if it was checked to fit:

    in z[b,k] = sum_i x[b,i] W[i,k] + c[k]
      size I is 3 in x (axis 1) but 5 in W (axis 0)
      shapes: x (2, 3), W (5, 3);  bound so far: B=2
      W.T has shape (3, 5) and would fit
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any, SupportsInt, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from sympy import Expr, Integer

from derive.language.facts import Fact, SumsTo, missing_value
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.passes.matrices import is_matrix
from derive.program.program import Program
from numerics.emit.source.sizes import size_place
from numerics.errors import InputError, SizeError

from .masks import check_masks
from .matrix_values import check_matrices

Arrays: TypeAlias = Mapping[
    str, Any
]  # NumPy's, JAX's (traced ones too), numbers: whatever has a shape and a dtype, or is one
Sizes: TypeAlias = Mapping[Size, int]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
Origin: TypeAlias = Mapping[Size, tuple[Tensor | None, int]]  # which axis of which tensor fixed a size


def check_arrays(
    inputs: Sequence[Tensor], arrays: Arrays, fixed: Sizes, program: Program, unneeded: Set[str] = frozenset()
) -> dict[Size, int]:
    """Names, dtypes and shapes of all inputs; returns the sizes they bind."""
    _check_names(inputs, arrays, unneeded)
    missing = [t for t in inputs if t.name not in arrays]
    if missing:
        raise InputError(
            f"missing {', '.join(f'{t.name} {_axes(t)}' for t in missing)}; the inputs are "
            f"{', '.join(t.name for t in inputs)}"
        )
    _check_dtypes(inputs, arrays)
    _check_precision(inputs, arrays, program)
    return bind_sizes(inputs, arrays, fixed, program)


def _axes(t: Tensor) -> str:
    return f"({', '.join(map(str, t.axes))}{',' if t.rank == 1 else ''})"


def _check_names(inputs: Sequence[Tensor], arrays: Arrays, unneeded: Set[str]) -> None:
    unknown = sorted(set(arrays) - {t.name for t in inputs} - set(unneeded))
    if unknown:
        raise InputError(f"unknown input {unknown[0]!r}; the inputs are {', '.join(t.name for t in inputs)}")
    for t in inputs:
        a = arrays.get(t.name)
        if t.name in arrays and not isinstance(a, int | float) and not (hasattr(a, "dtype") and hasattr(a, "shape")):
            raise InputError(f"{t.name}: give an array of shape {_axes(t)}, not a {type(a).__name__}")
        dtype = getattr(a, "dtype", None)
        if dtype is not None and not isinstance(dtype, np.dtype):
            kind = f"{type(a).__module__.partition('.')[0]}.{type(a).__name__}"
            raise InputError(
                f"{t.name}: give a NumPy or JAX array, not a {kind} of {dtype}; np.asarray({t.name}) makes one "
                f"(of a tensor that is differentiated or on another device: {t.name}.detach().cpu().numpy())"
            )


def as_given(t: Tensor, a: Any, dtype: Any) -> Any:
    """An array as the program takes it: in this machine's byte order, integers signed and wide enough to be indices.

    A Python number becomes a float of ``dtype`` (that of the arrays beside it), an integer or a boolean, as declared.

    The index of an int8 array would be computed in int8, where an axis of 200 does not fit.
    """
    if not hasattr(a, "dtype"):
        return np.asarray(a, {"float": dtype, "int": np.int32, "bool": np.bool_}[t.dtype])
    if isinstance(a, np.ndarray | np.generic) and not a.dtype.isnative:
        a = a.astype(a.dtype.newbyteorder("="))
    if t.dtype == "int" and (a.dtype.itemsize < 4 or jnp.issubdtype(a.dtype, jnp.unsignedinteger)):
        return a.astype(np.int64 if a.dtype.itemsize > 4 else np.int32)
    return a


def _check_precision(inputs: Sequence[Tensor], arrays: Arrays, program: Program) -> None:
    """Inverses and determinants have no algorithm in half precision."""
    floats = {t.name: getattr(arrays[t.name], "dtype", None) for t in inputs if t.dtype == "float"}
    half = next((n for n, dtype in floats.items() if dtype is not None and dtype.itemsize < 4), "")
    matrix = next((e for e in program.equations if is_matrix(e)), None) if half else None
    if matrix is not None:
        raise InputError(
            f"in {matrix}\n  {half} is {arrays[half].dtype}, and an inverse or a determinant needs float32 or float64; "
            f"give {half}.astype('float32')"
        )


def _kind(a: Any) -> str:
    dtype = a.dtype if hasattr(a, "dtype") else np.asarray(a).dtype
    for kind, of in (("float", jnp.floating), ("int", jnp.integer), ("bool", jnp.bool_)):
        if jnp.issubdtype(dtype, of):
            return kind
    return str(dtype)


def _check_dtypes(inputs: Sequence[Tensor], arrays: Arrays) -> None:
    first: tuple[str, np.dtype] | None = None
    for t in inputs:
        a = arrays.get(t.name)
        if a is None:
            continue
        kind = _kind(a)
        if not hasattr(a, "dtype") and t.dtype == "float" and kind == "int":
            continue
        if kind != t.dtype:
            shown = getattr(a, "dtype", type(a).__name__)
            hint = {"int": "integers, such as int32", "float": "floats, such as float32", "bool": "booleans"}[t.dtype]
            raise InputError(f"{t.name} has dtype {shown}, but it is declared {t.dtype}; give {hint}")
        if kind != "float" or not hasattr(a, "dtype"):
            continue
        dtype = jax.dtypes.canonicalize_dtype(a.dtype.newbyteorder("="))
        if first is None:
            first = (t.name, dtype)
        elif dtype != first[1]:
            raise InputError(
                f"mixed float dtypes: {first[0]} is {first[1]}, {t.name} is {dtype}; give all floats in "
                f"one dtype, as in {t.name}.astype({first[0]}.dtype)"
            )


def bind_sizes(inputs: Sequence[Tensor], arrays: Arrays, fixed: Sizes, program: Program) -> dict[Size, int]:
    """``{Size: int}`` from the shapes of the arrays given; raises if two of them disagree."""
    given = [t for t in inputs if t.name in arrays]
    shapes = {t.name: tuple(np.shape(arrays[t.name])) for t in given}
    for t in given:
        if len(shapes[t.name]) != t.rank:
            raise InputError(f"{t.name} has {t.rank} axes {_axes(t)}, but the array has shape {shapes[t.name]}")
        for n, length in enumerate(shapes[t.name]):
            if length == 0:
                raise InputError(
                    f"{t.name} has shape {shapes[t.name]}: axis {n} ({t.axes[n]}) has size 0; every axis "
                    f"needs at least one element"
                )
    bound = dict(fixed)
    origin: dict[Size, tuple[Tensor | None, int]] = dict.fromkeys(fixed, (None, 0))
    for t in given:
        for n, a in enumerate(t.axes):
            if isinstance(a, Size) and a not in bound:
                bound[a], origin[a] = shapes[t.name][n], (t, n)
    for s in sorted({s for t in given for a in t.axes for s in a.free_symbols} - set(bound), key=lambda s: s.name):
        place = size_place(s, given)
        if place is not None and (formula := place[2]) is not None:
            t, n, _ = place
            value = formula.subs(dict.fromkeys(formula.free_symbols, shapes[t.name][n]))
            if value.is_Integer and value > 0:
                bound[s], origin[s] = int(value), (t, n)
    for t in given:
        for n, a in enumerate(t.axes):
            wanted = a.xreplace({s: Integer(v) for s, v in bound.items()})
            if wanted.is_Integer and int(wanted) != shapes[t.name][n]:
                raise _conflict(t, n, a, int(wanted), shapes, bound, origin, given, program)
    return bound


def _conflict(
    t: Tensor,
    n: int,
    axis: Expr,
    wanted: int,
    shapes: Shapes,
    bound: Sizes,
    origin: Origin,
    given: Sequence[Tensor],
    program: Program,
) -> InputError:
    other, m = origin.get(axis, (None, 0))
    have = shapes[t.name][n]
    if isinstance(axis, Size) and other is not None:
        what = f"size {axis} is {wanted} in {other.name} (axis {m}) but {have} in {t.name} (axis {n})"
        both = [other, t]
    else:
        why = (
            f'fixed by sizes={{"{axis}": {wanted}}}'
            if isinstance(axis, Size)
            else f"{axis} = {wanted} here"
            if axis.free_symbols
            else f"declared {axis}"
        )
        what = f"axis {n} of {t.name} has size {have}, but it is {why}"
        both = list(
            dict.fromkeys(
                [t, *(u for s in sorted(axis.free_symbols, key=str) if (u := origin.get(s, (None, 0))[0]) is not None)]
            )
        )
    lines = [what, f"shapes: {', '.join(f'{u.name} {shapes[u.name]}' for u in both)}"]
    clear = {s: v for s, v in bound.items() if s != axis}
    if clear:
        lines[-1] += f";  bound so far: {', '.join(f'{s.name}={v}' for s, v in sorted(clear.items(), key=str))}"
    lines += _fitting_transpose(both, shapes, axis, origin, bound)
    where = _where(both, program)
    return InputError((f"in {where}\n  " if where else "") + "\n  ".join(lines))


def _where(tensors: Iterable[Tensor], program: Program) -> str:
    """The first equation that reads all of the tensors."""
    names = {t.name for t in tensors}
    for e in program.equations:
        if names <= {u.name for u in e.tensors()}:
            return str(e)
    return ""


def _fitting_transpose(both: Sequence[Tensor], shapes: Shapes, axis: Expr, origin: Origin, bound: Sizes) -> list[str]:
    """The transpose of either array, if with it all sizes of the two agree: of a matrix, or from another axis order."""
    for t in reversed(both):
        for order, what in _orders(t):
            turned = {**shapes, t.name: tuple(shapes[t.name][n] for n in order)}
            free = {s: v for s, v in bound.items() if origin.get(s, (None, 0))[0] not in both}
            # twice: sizes such as H*W*C are known once all single ones are
            if turned[t.name] != shapes[t.name] and all(_agrees(u, turned[u.name], free) for u in (*both, *both)):
                made = f"{t.name}.T" if t.rank == 2 else f"{t.name}.transpose{order}"
                return [f"{what}{made} has shape {turned[t.name]} and would fit"]
    return []


def _orders(t: Tensor) -> list[tuple[tuple[int, ...], str]]:
    """Axis orders that arrays of other libraries have, as transpositions to ours, and what to say."""
    if t.rank == 2:
        return [((1, 0), "")]
    if t.rank < 3:
        return []
    if t.role == "parameter":
        return [((*range(2, t.rank), 1, 0), f"{t.name} looks like OIHW, outputs first; kernels are HWIO: ")]
    return [((0, *range(2, t.rank), 1), f"{t.name} looks channel-first (NCHW); images are channels last (NHWC): ")]


def _agrees(t: Tensor, shape: Iterable[int], bound: dict[Size, int]) -> bool:
    """Whether a shape fits the sizes known so far; sizes that it fixes are added to them."""
    for a, length in zip(t.axes, shape, strict=True):
        if isinstance(a, Size):
            if bound.setdefault(a, length) != length:
                return False
            continue
        wanted = a.xreplace({s: Integer(v) for s, v in bound.items()})
        if wanted.is_Integer and int(wanted) != length:
            return False
    return True


# -- values --------------------------------------------------------------------------------------------------------


def check_values(
    inputs: Sequence[Tensor],
    arrays: Arrays,
    fixed: Sizes,
    program: Program,
    unneeded: Set[str] = frozenset(),
    known: Sizes | None = None,
    matrices: bool = True,
) -> list[str]:
    """Ranges of integers, NaN and infinity, declared facts, singular matrices; returns a line for each check made."""
    _check_names(inputs, arrays, unneeded)
    _check_dtypes(inputs, arrays)
    bound = {**(known or {}), **bind_sizes(inputs, arrays, fixed, program)}
    done = []
    for t in inputs:
        if t.name not in arrays:
            continue
        a = np.asarray(arrays[t.name])
        if t.dtype == "int":
            done.append(_check_range(t, a, bound))
        elif t.dtype == "float":
            a = a.astype(np.float64)
            done.append(_check_finite(t, a))
            done += [_check_fact(t, f, a, np.asarray(arrays[t.name]).dtype, bound) for f in t.facts]
    done += check_masks(program, arrays, bound)
    return done + (check_matrices(program, arrays, bound) if matrices else [])


def _position(t: Tensor, spot: Iterable[SupportsInt]) -> str:
    return f"{t.name}[{', '.join(str(int(n)) for n in spot)}]" if t.rank else t.name


def _check_range(t: Tensor, a: np.ndarray, bound: Sizes) -> str:
    below = None if t.below is None else t.below.xreplace({s: Integer(v) for s, v in bound.items()})
    none = missing_value(t)
    limit = int(below) if below is not None and below.is_Integer else None
    bad = (a < 0) & (t.below is not None) if limit is None else (a < 0) | (a >= limit)
    bad &= a != none if none is not None else True
    if bad.any():
        spot = np.argwhere(bad)[0]
        upper = f"{t.below}" + (f" = {limit}" if limit is not None and t.below != limit else "")
        upper += "" if none is None else f", or {none}"
        raise InputError(
            f"{_position(t, spot)} = {int(a[tuple(spot)])} is out of the declared range 0 <= {t.name} < "
            f"{upper} ({int(bad.sum())} of {a.size} values are)"
        )
    if t.below is None:
        return f"{t.name}: no range declared"
    return (
        f"{t.name}: 0 <= {t.name} < {t.below}"
        if limit is not None
        else f"{t.name}: 0 <= {t.name} (not checked: < {t.below}, which none of these arrays fixes)"
    )


def _check_finite(t: Tensor, a: np.ndarray) -> str:
    bad = ~np.isfinite(a)
    if bad.any():
        spot = np.argwhere(bad)[0]
        value = a[tuple(spot)]
        raise InputError(
            f"{_position(t, spot)} is {'NaN' if np.isnan(value) else value} ({int(bad.sum())} of {a.size} "
            f"values are not finite); give finite numbers"
        )
    return f"{t.name}: finite"


def _check_fact(t: Tensor, fact: Fact, a: np.ndarray, dtype: np.dtype, bound: Sizes) -> str:
    """The largest violation of a declared fact, beyond rounding in the array's own dtype."""
    eps = float(jnp.finfo(dtype).eps)
    if isinstance(fact, SumsTo):
        axis = fact.axis(t)
        target = fact.value.xreplace({s: Integer(v) for s, v in bound.items()})
        if target.free_symbols:
            return f"{t.name}: not checked: {fact.text(t)}, for {target} is not known"
        excess = np.abs(a.sum(axis=axis) - float(target))
        allowed = 4 * eps * a.shape[axis] * np.maximum(1.0, np.abs(a).sum(axis=axis))
    elif fact.kind == "positive_definite":
        excess, allowed = _indefinite(t, fact, a, eps)
    elif fact.is_structure:
        excess, allowed = _unstructured(fact, a, eps)
    elif fact.kind == "free":
        return f"{t.name}: {fact.text(t)}"
    elif fact.kind == "symmetric":
        excess, allowed = np.abs(a - a.T), 4 * eps * np.maximum(np.abs(a), np.abs(a.T))
    elif fact.kind == "orthogonal":
        size = np.abs(a).T @ np.abs(a)
        excess, allowed = np.abs(a.T @ a - np.eye(len(a))), 4 * eps * len(a) * np.maximum(1.0, size)
    elif fact.kind == "unit":
        excess, allowed = np.abs(np.sum(a * a) - 1).reshape(1), np.array([4 * eps * max(1, a.size)])
    elif fact.kind == "positive":
        excess, allowed = np.where(a > 0, -1.0, -a), np.full(a.shape, -0.5)
    elif fact.kind == "nonnegative":
        excess, allowed = -a, np.zeros(a.shape)
    else:
        raise SizeError(f"{t.name}: no check is known for the fact {fact.kind!r}")
    over = excess - allowed
    if (over > 0).any():
        spot = np.unravel_index(int(np.argmax(over)), over.shape)
        shown = ", ".join(str(int(n)) for n in spot)
        if fact.kind == "sums_to" or fact.is_quadratic:
            amount = f"{fact.text(t)} is off by {excess[spot]:.3g} at [{shown}]"
        else:
            amount = f"{fact.text(t)}, but {_position(t, spot)} = {a[spot]:.3g}"
            twin = spot[::-1] if fact.kind in ("symmetric", "positive_definite") else None
            twin = (spot[0] - min(spot), spot[1] - min(spot)) if fact.kind == "toeplitz" else twin
            amount += "" if twin is None else f" and {_position(t, twin)} = {a[twin]:.3g}"
        raise InputError(f"{t.name}: {amount}, the largest violation ({int((over > 0).sum())} of {over.size})")
    return f"{t.name}: {fact.text(t)}"


def _unstructured(fact: Fact, a: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """How far entries are from zero, where a structure has zeros; of a Toeplitz matrix from the first of their diagonals."""
    i, j = np.indices(a.shape)
    if fact.kind == "toeplitz":
        first = a[i - np.minimum(i, j), j - np.minimum(i, j)]
        return np.abs(a - first), 4 * eps * np.maximum(np.abs(a), np.abs(first))
    zero = {"diagonal": i != j, "lower_triangular": i < j, "upper_triangular": i > j}[fact.kind]
    return np.abs(a) * zero, np.zeros(a.shape)


def _indefinite(t: Tensor, fact: Fact, a: np.ndarray, eps: float) -> tuple[np.ndarray, np.ndarray]:
    """The asymmetry of a matrix that is to be positive definite; one that is symmetric is told by its least eigenvalue."""
    excess, allowed = np.abs(a - a.T), 4 * eps * np.maximum(np.abs(a), np.abs(a.T))
    if not (excess > allowed).any():
        values, vectors = np.linalg.eigh(a)
        if values[0] <= 0:
            spot = int(np.argmax(np.abs(vectors[:, 0])))
            count = int((values <= 0).sum())
            raise InputError(
                f"{t.name}: {fact.text(t)}, but its smallest eigenvalue is {values[0]:.3g} "
                f"({count} of {len(a)} are not positive), most of it in row {spot}; a "
                f"covariance or a Gram matrix with something added to its diagonal is positive definite"
            )
    return excess, allowed
