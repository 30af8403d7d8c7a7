"""Sizes and arrays for the numeric checks: unequal sizes, repeated integers, declared facts, a stated domain.

Everything is seeded and float64.  Sizes are unequal, so that a transposition cannot hide, and then equal on purpose.
Logs, roots and divisions need inputs where they are defined: a draw whose loss is not finite is thrown away, and the
next domain of ``DOMAINS`` is tried; the one that was used is reported.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sympy import Expr, Integer

from derive.language.errors import DeriveError
from derive.language.facts import SumsTo, missing_value, structure_of
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.program.program import Program

from .grid import coefficient, size_value

UNEQUAL = (3, 5, 7, 2, 4, 6, 8, 9, 10, 11, 12, 13)
TELLING = (7, 5, 3, 8, 9, 6, 11, 10, 13, 12, 14)  # without 2 and 4, so that a factor 2 is not taken for a size
DOMAINS = {
    "normal": None,
    "(0.2, 1.5)": (0.2, 1.5),
    "(0.05, 0.45)": (0.05, 0.45),
    "(1.1, 2.5)": (1.1, 2.5),
    "(-0.9, 0.9)": (-0.9, 0.9),
}
MASK = "0 or 1"  # of a float that is not differentiated: s - 1e9 (1 - m) is meant for no other m

MOSTLY = 0.8  # how often a mask that is mostly open is so


@dataclass(frozen=True)
class Sample:
    """Sizes by ``Size``, arrays by name, and the domain the floats were drawn from."""

    sizes: dict
    arrays: dict
    domain: str

    def text(self) -> str:
        return " ".join(f"{s.name}={n}" for s, n in sorted(self.sizes.items(), key=lambda p: p[0].name)) or "(fixed)"


def extents(program: Program) -> set[Expr]:
    """Every size expression of a program that must be a positive whole number."""
    found = set()
    for t in program.inputs:
        found |= {*t.axes, *((t.below,) if t.below is not None else ())}
    for e in program.equations:
        found |= {*e.tensor.axes, *(b.size for b in e.over), *(b.size for t in e.terms for b in t.bnd)}
    return found


def draw_sizes(
    program: Program,
    fixed: dict[Size, int] | None = None,
    square: bool = False,
    seed: int = 0,
    pool: Sequence[int] = UNEQUAL,
) -> dict[Size, int] | None:
    """A value for every symbolic size: unequal ones (7, 5, 3 by name), or all equal with ``square``.

    Derived sizes such as ``H - R + 1`` come out positive.  Returns None where no equal sizes satisfy that; raises
    :class:`~derive.language.errors.DeriveError` where no unequal ones were found.
    """
    fixed = dict(fixed or {})
    free = [s for s in program.sizes() if s not in fixed]
    wanted = extents(program)
    for values in _square_tries(free) if square else _unequal_tries(len(free), seed, pool):
        sizes = {**fixed, **dict(zip(free, values, strict=True))}
        if _possible(wanted, sizes):
            return sizes
    if square:
        return None
    raise DeriveError(
        f"no sizes below {max(pool) + len(free)} for {', '.join(s.name for s in free)} make all of "
        f"{', '.join(sorted(map(str, wanted)))} positive whole numbers; give some with sizes={{...}}"
    )


def size_choices(
    program: Program, fixed: dict[Size, int], seed: int = 0, pool: Sequence[int] = UNEQUAL, most: int = 6
) -> Iterator[dict[Size, int]]:
    """A few sets of unequal sizes, the one of :func:`draw_sizes` first: a function may be degenerate at one of them."""
    free = [s for s in program.sizes() if s not in fixed]
    wanted, given = extents(program), 0
    known: set[tuple[int, ...]] = set()
    for values in _unequal_tries(len(free), seed, pool):
        sizes = {**fixed, **dict(zip(free, values, strict=True))}
        if given < most and tuple(values) not in known and _possible(wanted, sizes):
            known.add(tuple(values))
            given += 1
            yield sizes


def _square_tries(free: list[Size]) -> list[tuple[int, ...]]:
    return [(n,) * len(free) for n in (3, 4, 2, 5, 6, 8)] if free else []


def _unequal_tries(count: int, seed: int, pool: Sequence[int]) -> Iterator[list[int]]:
    """The small primes, largest first by name; then shuffles of a growing pool."""
    wider = list(itertools.chain(pool, range(max(pool) + 1, max(pool) + count)))
    yield sorted(wider[:count], reverse=True)
    yield sorted(wider[:count])
    rng = np.random.default_rng(seed)
    for n in range(400):
        wide = wider[: min(len(wider), count + 1 + n // 40)]
        yield [int(v) for v in rng.permutation(sorted(wide))[:count]]


def _possible(wanted: set[Expr], sizes: dict[Size, int]) -> bool:
    values = {s: Integer(n) for s, n in sizes.items()}
    found = [e.xreplace(values) for e in wanted]
    return all(v.is_Integer and v > 0 for v in found)


def bind_sizes(program: Program, arrays: dict, fixed: dict[Size, int] | None = None) -> dict[Size, int]:
    """The sizes that given arrays have, by name; derived axes such as ``2*N`` are solved when one size is unknown."""
    sizes = dict(fixed or {})
    axes = [
        (t, a, n)
        for t in program.inputs
        if t.name in arrays
        for a, n in zip(t.axes, np.shape(arrays[t.name]), strict=True)
    ]
    for _, axis, n in axes:
        if isinstance(axis, Size) and sizes.setdefault(axis, n) != n:
            raise DeriveError(f"size {axis} is {sizes[axis]} in one array and {n} in another")
    for _, axis, n in axes:
        unknown = [s for s in axis.free_symbols if s not in sizes]
        if len(unknown) == 1:
            known = {s: Integer(v) for s, v in sizes.items()}
            fits = [v for v in range(1, 4 * n + 8) if axis.xreplace({**known, unknown[0]: Integer(v)}) == n]
            if len(fits) == 1:
                sizes[unknown[0]] = fits[0]
    missing = [s.name for s in program.sizes() if s not in sizes]
    if missing:
        raise DeriveError(f"no array fixes the size {', '.join(missing)}; give it with sizes={{{missing[0]!r}: ...}}")
    return sizes


def draw_arrays(
    program: Program,
    sizes: dict[Size, int],
    domains: dict[str, str],
    rng: np.random.Generator,
    wrt: Iterable[Tensor] = (),
    open_masks: bool = False,
) -> dict[str, np.ndarray]:
    """An array for every input; ``domains`` maps a name to a key of ``DOMAINS``."""
    names = {t.name for t in wrt}
    found = {
        t.name: draw(t, sizes, domains.get(t.name, "normal"), rng, t.name in names or t.role == "parameter")
        for t in program.inputs
    }
    for name in {e.terms[0].fac[0].tensor.name for e in program.equations if e.reduce == "logdet"} & set(found):
        found[name] = _dominated(found[name])
    if open_masks:
        for t in program.inputs:
            if t.dtype == "bool" or (t.dtype == "int" and t.below == 2):
                found[t.name] = (rng.random(found[t.name].shape) < MOSTLY).astype(found[t.name].dtype)
    return found


def _dominated(matrices: np.ndarray) -> np.ndarray:
    """Matrices of positive determinant: each row's diagonal is more than the rest of the row."""
    rest = np.abs(matrices).sum(axis=-1)
    return matrices + rest[..., None] * np.eye(matrices.shape[-1])


def draw(t: Tensor, sizes: dict[Size, int], domain: str, rng: np.random.Generator, weight: bool = False) -> np.ndarray:
    """One input array: integers in their range with repeats, floats in the domain that keep the declared facts."""
    shape = tuple(size_value(a, sizes) for a in t.axes)
    if t.dtype == "bool":
        return rng.integers(0, 2, shape).astype(bool)
    if t.dtype == "int":
        found = rng.integers(0, 5 if t.below is None else size_value(t.below, sizes), shape).astype(np.int32)
        if found.size > 1:
            found.flat[-1] = found.flat[0]
        if missing_value(t) is not None and found.size > 1:
            found.flat[rng.integers(found.size)] = missing_value(t)
        return found
    kinds = {f.kind for f in t.facts}
    if domain == MASK and not kinds:
        return (rng.random(shape) < MOSTLY).astype(float)
    bounds = DOMAINS.get(domain)
    if bounds is not None:
        values: np.ndarray = rng.uniform(*bounds, shape)
    elif kinds & {"positive", "nonnegative", "sums_to"}:
        values = rng.uniform(0.3, 1.5, shape)
    else:
        values = rng.normal(size=shape)
        if weight and t.rank >= 2:
            values *= 1.2 / math.sqrt(math.prod(shape[:-1]))
    return _with_facts(values, t, sizes)


def structured(found: np.ndarray, kind: str) -> np.ndarray:
    """The matrix of a declared structure that is nearest: zeros where it has them, means of what is one number."""
    if kind == "toeplitz":
        rows, columns = found.shape
        means = {k: np.mean(np.diagonal(found, k)) for k in range(1 - rows, columns)}
        return np.array([[means[j - i] for j in range(columns)] for i in range(rows)])
    if kind == "diagonal":
        return np.diag(np.diag(found))
    if kind == "lower_triangular":
        return np.tril(found)
    return np.triu(found) if kind == "upper_triangular" else (found + found.T) / 2


def gathered(gradient: Any, t: Tensor) -> Any:
    """The derivative by the free entries of a matrix, from that by all entries, over the last two axes.

    An entry gathers what stands at all its places; unchanged where nothing is tied.  In NumPy or JAX, whose arrays it keeps.
    """
    kind = structure_of(t) if t.is_input else None
    if kind is None:
        return gradient
    rows, columns = gradient.shape[-2:]
    i, j = np.arange(rows), np.arange(columns)
    if kind == "symmetric":
        return gradient + gradient.swapaxes(-1, -2) - gradient * np.eye(rows)
    if kind == "toeplitz":
        same = (i[:, None, None, None] - j[:, None, None]) == (i[:, None] - j)
        return (gradient[..., None, None, :, :] * same).sum((-1, -2))
    return gradient * structured(np.ones((rows, columns)), kind)


def _with_facts(found: np.ndarray, t: Tensor, sizes: dict[Size, int]) -> np.ndarray:
    if any(f.kind == "symmetric" for f in t.facts):
        found = (found + found.T) / 2
    if any(f.kind == "positive_definite" for f in t.facts):
        found = found @ found.T / len(found) + np.eye(len(found)) / 2
    if any(f.kind in ("positive", "nonnegative") for f in t.facts):
        found = np.abs(found)
    if any(f.kind == "orthogonal" for f in t.facts):
        skew = np.triu(found, 1) - np.triu(found, 1).T
        found = np.linalg.solve(np.eye(len(found)) + skew, np.eye(len(found)) - skew)
    if any(f.kind == "unit" for f in t.facts):
        found = found / np.linalg.norm(found)
    for f in t.facts:
        if f.is_structure:
            found = structured(found, f.kind)
    for f in t.facts:
        if isinstance(f, SumsTo):
            value, axis = coefficient(f.value, sizes), f.axis(t)
            if value > 0:
                found = np.abs(found) * value / np.abs(found).sum(axis=axis, keepdims=True)
            else:
                found = found - found.mean(axis=axis, keepdims=True) + value / found.shape[axis]
    return found


def with_zeros(found: np.ndarray, t: Tensor, sizes: dict[Size, int], rng: np.random.Generator) -> np.ndarray | None:
    """An input with some elements exactly zero, whose declared facts still hold; None where they exclude that."""
    if {f.kind for f in t.facts} - {"nonnegative", "sums_to"} or found.size < 2:
        return None
    zero = rng.random(found.shape) < 0.4
    zero.flat[0] = True
    for f in t.facts:
        if isinstance(f, SumsTo):  # something is left of every sum
            zero &= found < found.max(axis=f.axis(t), keepdims=True)
    return _with_facts(np.where(zero, 0.0, found), t, sizes)


def draw_sample(
    program: Program, finite: Callable[[dict], bool], sizes: dict[Size, int], seed: int = 0, wrt: Iterable[Tensor] = ()
) -> Sample:
    """Arrays at which ``finite(arrays)`` holds, from the first domain that has any.

    One domain for all floats is tried first, then mixtures, a domain per tensor.  Raises
    :class:`~derive.language.errors.DeriveError` when nothing finite was found.
    """
    rng = np.random.default_rng(seed)
    floats = [t.name for t in program.inputs if t.dtype == "float"]
    tries = [dict.fromkeys(floats, d) for d in DOMAINS for _ in range(3)]
    names, weights = list(DOMAINS), {t.name for t in wrt}
    masks = [n for n in floats if n not in weights]
    tries += [{**dict.fromkeys(floats, d), **dict.fromkeys(masks, MASK)} for d in DOMAINS for _ in range(3) if masks]
    tries += [{n: names[rng.integers(len(names))] for n in floats} for _ in range(40)]
    for n, domains in enumerate(
        tries
    ):  # the mixtures come with masks that are mostly open: a row of zeros may have no value
        arrays = draw_arrays(program, sizes, domains, rng, wrt, open_masks=n >= 3 * len(DOMAINS))
        if finite(arrays):
            return Sample(sizes, arrays, _domain_text(domains))
    raise DeriveError(
        f"no inputs with a finite loss and gradient were found in the domains {', '.join(DOMAINS)}; "
        f"declare facts (dv.positive, dv.sums_to) that say where the loss is defined, or give inputs"
    )


def _domain_text(domains: dict[str, str]) -> str:
    used = sorted(set(domains.values()))
    if len(used) <= 1:
        return used[0] if used else "no float inputs"
    return ", ".join(f"{n} {d}" for n, d in sorted(domains.items()))
