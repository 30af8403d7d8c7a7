"""The written definitions at large numbers, with 50 digits and exponents that no number is too large for.

At 1e4 a plain evaluation of the definitions overflows in any precision of the machine, so what the program does there is
compared with dual numbers of 50 digits: the value itself, and the first (or mixed second) derivative along random directions,
which see every element.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from derive.derivation.derivation import Derivation
from derive.exact.case import along
from derive.exact.compile import Array
from derive.exact.field import RealField, Undefined
from derive.language.tensor import Tensor
from derive.program.program import Program
from numerics.reference.sampling import gathered

from .opponent import label, written
from .replay import points
from .rounding import Model
from .second import DERIVATIVES

REPRESENTABLE = 1e300  # what is larger is no number of the machine, whoever computes it
FEW = 20_000  # grid points of one evaluation

Arrays = Mapping[str, np.ndarray]
Leaves = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Quantity:
    """One number that the results make: which they are, what it is, and how it is made of theirs.

    ``of(leaves)`` is the number and the sum of the magnitudes that were added to make it.
    """

    labels: tuple[str, ...]
    value: float
    of: Callable[[Leaves], tuple[float, float]]


def truth(
    d: Derivation,
    program: Program,
    arrays: Arrays,
    sizes: Mapping[Any, int],
    seed: int,
    only: str | None = None,
    within: bool = False,
) -> list[Quantity] | None:
    """What the results at these inputs are made to be by the definitions; None where a value is no number of the machine.

    First derivatives are along all tensors at once, or along ``only`` one of them.  With ``within`` None also where a
    function is asked at what is no number of the machine, as ``exp(-delta e^a)`` is at a = 1e4: no form of it is stable.
    """
    field, rng = _Within() if within else RealField(), np.random.default_rng(seed)
    exact = {t.name: _array(field, t, arrays[t.name]) for t in program.inputs if t.name in arrays}
    named = {s.name: n for s, n in sizes.items()}
    try:
        values = {t.name: along(field, named, exact, t).data for t in written(d)}
        found = [Quantity(*q) for q in _values(d, values)]
        if not all(_representable(q.value) for q in found):
            return None
        found += _derivatives(d, field, named, exact, arrays, rng, only)
    except (Undefined, OverflowError):
        return None
    return found if all(_representable(q.value) for q in found) else None


def as_defined(bench: Any, at: Any, name: str, leaves: Leaves) -> bool:
    """Whether a value or a gradient is that of the definitions, with 50 digits: ``log(1 - e^-100)`` is 0 by floats.

    ``at`` has the arrays and the sizes.  A forward that does not come from the definitions, given or the reference of a
    network, is its own definition, and is not asked: else a mistake in the definitions would excuse itself.
    """
    if bench.opponent(at.sizes).given is not None or points(bench.program, at.sizes) > FEW:
        return False
    found = truth(bench.d, bench.program, at.arrays, at.sizes, bench.seed, name) or ()
    values = [(q.of(leaves), q.value) for q in found if q.labels == (name,)]
    bound = Model.of(bench.program, at.sizes).tolerance("float64")
    return bool(values) and all(abs(mine - v) <= bound * max(size, abs(v)) for (mine, size), v in values)


class _Within(RealField):
    """Reals whose functions are defined at numbers of the machine alone; but a log has a stable form of what is none."""

    def call(self, name: str, *args: Any) -> Any:
        if name != "log" and any(not abs(self.total(a)) < REPRESENTABLE for a in args):
            raise Undefined(f"{name} of what is no number of the machine")
        return super().call(name, *args)


def _representable(v: float) -> bool:
    return bool(abs(v) < REPRESENTABLE)


def _number(v: Any) -> float:
    return float(v) if abs(v) < REPRESENTABLE else float("inf")


def _array(field: RealField, t: Tensor, a: np.ndarray) -> Array:
    flat = np.asarray(a).ravel().tolist()
    return Array(np.shape(a), [field.mp.mpf(v) for v in flat] if t.dtype == "float" else [int(v) for v in flat])


def _values(d: Derivation, values: Mapping[str, list]) -> list[tuple]:
    """The loss and the outputs, each element weighed by one random number."""
    found = []
    for group, declared in d.results:
        if group not in ("grads", *DERIVATIVES):
            for key, t in declared.items() if isinstance(declared, Mapping) else ((None, declared),):
                for n, v in enumerate(values[t.name]):
                    found.append(((label(group, key),), _number(v), _element(label(group, key), n)))
    return found


def _element(name: str, n: int) -> Callable[[Leaves], tuple[float, float]]:
    def of(leaves: Leaves) -> tuple[float, float]:
        a = np.asarray(leaves[name], float)
        return float(a.flat[n]), float(np.max(np.abs(a)))

    return of


def _derivatives(
    d: Derivation,
    field: RealField,
    sizes: Mapping[str, int],
    exact: Mapping[str, Array],
    arrays: Arrays,
    rng: Any,
    only: str | None = None,
) -> list[Quantity]:
    groups = [g for g, _ in d.results if g in ("grads", *DERIVATIVES)]
    if not groups or "gauss_newton" in groups:
        return []
    v, u = ({t.name: rng.uniform(0.5, 1.5, _shape(t, sizes)) for t in d.wrt} for _ in range(2))
    seed = None if d.seed is None else np.asarray(arrays[d.seed.name], float).ravel()
    if groups[-1] in ("grads", "jacobian"):
        v = {n: a for n, a in v.items() if only in (None, n)}
        changes = {t.name: np.asarray(gathered(v[t.name], t)) for t in d.wrt if t.name in v}
        moved = along(field, sizes, exact, d.loss, _directions(field, changes)).data
        tangents = [0.0 if x[1] is None else x[1] for x in moved]
        if groups[-1] == "jacobian":
            return [_rows(d, n, _number(x), v) for n, x in enumerate(tangents)]
        total = sum(x * w for x, w in zip(tangents, [1.0] if seed is None else seed.tolist(), strict=True))
        return [_inner({n: n for n in v}, _number(total), v)]
    if groups[-1] == "hvp":
        v = {n: np.asarray(arrays[t.name], float) for n, t in d.directions.items()}
    twice = along(field, sizes, exact, d.loss, _directions(field, v), _directions(field, u)).data[0]
    slope, mixed = (0.0, 0.0) if twice[1] is None else (x or 0.0 for x in twice[1])
    first = _inner({n: n for n in u}, _number(slope), u)
    if groups[-1] == "hvp":
        return [first, _inner({label("hvp", n): n for n in u}, _number(mixed), u)]
    return [first, _form(_number(mixed), u, v)]


def _shape(t: Tensor, sizes: Mapping[str, int]) -> tuple[int, ...]:
    return tuple(int(a.subs({s: sizes[s.name] for s in a.free_symbols})) for a in t.axes)


def _directions(field: RealField, some: Arrays) -> dict[str, list]:
    return {n: [field.mp.mpf(x) for x in a.ravel().tolist()] for n, a in some.items()}


def _inner(names: Mapping[str, str], value: float, directions: Arrays) -> Quantity:
    """The sum over leaves of <leaf, direction>."""

    def of(leaves: Leaves) -> tuple[float, float]:
        products = [(np.asarray(leaves[leaf], float) * directions[n]).ravel() for leaf, n in names.items()]
        return float(sum(p.sum() for p in products)), float(sum(np.abs(p).sum() for p in products))

    return Quantity(tuple(names), value, of)


def _rows(d: Derivation, n: int, value: float, directions: Arrays) -> Quantity:
    """One element of y: its row of every Jacobian, along the directions."""

    def of(leaves: Leaves) -> tuple[float, float]:
        rows = {w: np.asarray(leaves[label("jacobian", w)], float) for w in directions}
        products = [rows[w].reshape(-1, v.size)[n] * v.ravel() for w, v in directions.items()]
        return float(sum(p.sum() for p in products)), float(sum(np.abs(p).sum() for p in products))

    return Quantity(tuple(label("jacobian", w) for w in directions), value, of)


def _form(value: float, left: Arrays, right: Arrays) -> Quantity:
    """The sum over blocks of ``u' H v``."""
    pairs = {label("hessian", (a, b)): (a, b) for a in left for b in right}

    def of(leaves: Leaves) -> tuple[float, float]:
        total = size = 0.0
        for name, (a, b) in pairs.items():
            block = np.asarray(leaves[name], float).reshape(left[a].size, right[b].size)
            product = block * np.outer(left[a].ravel(), right[b].ravel())
            total, size = total + float(product.sum()), size + float(np.abs(product).sum())
        return total, size

    return Quantity(tuple(pairs), value, of)
