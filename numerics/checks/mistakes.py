"""What a wrong gradient looks like: mistakes that can be told from the two arrays alone.

Each finder takes a :class:`Case` and returns a :class:`Mistake` or None.  ``ARRAY_FINDERS`` and ``SLICE_FINDERS`` list
them in the order in which they are asked; the mistakes that need the equations are in :mod:`numerics.checks.alterations`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Mistake:
    """``kind`` in one word or two, ``text`` the sentence for the one who wrote the gradient."""

    kind: str
    text: str


@dataclass(frozen=True)
class Case:
    """One tensor: ours, theirs (same shape, finite, float64), and what is needed to name things."""

    name: str
    letters: tuple[str, ...]
    ours: np.ndarray
    theirs: np.ndarray
    scale: float
    tolerance: float
    sizes: dict[str, int]
    others: dict[str, np.ndarray]  # the other gradients by name
    factors: dict[str, float] = field(
        default_factory=dict
    )  # what else a factor may be: scalar inputs, counts in the data

    def fits(self, candidate: np.ndarray) -> bool:
        """Whether a candidate explains theirs, to the tolerance, and is not simply zero."""
        candidate = np.asarray(candidate)
        if candidate.shape != self.theirs.shape or not np.all(np.isfinite(candidate)):
            return False
        scale = max(self.scale, float(np.max(np.abs(self.theirs), initial=0.0)))
        return float(np.max(np.abs(candidate - self.theirs), initial=0.0)) <= self.tolerance * scale

    def agrees(self, altered: np.ndarray) -> bool:
        """Whether an altered program leaves this gradient, which is right, as it is."""
        if altered.shape != self.ours.shape or not np.all(np.isfinite(altered)):
            return False
        return float(np.max(np.abs(altered - self.ours), initial=0.0)) <= max(self.tolerance, 1e-9) * self.scale

    def wrong(self, ours: np.ndarray) -> np.ndarray:
        """Where theirs is not this."""
        return ~(np.abs(ours - self.theirs) <= self.tolerance * self.scale)

    def axis(self, n: int) -> str:
        letter = self.letters[n] if n < len(self.letters) else ""
        return f"axis {n}" + (f" ({letter})" if letter else "")


def all_zero(case: Case) -> Mistake | None:
    if not np.any(case.theirs):
        return Mistake(
            "zero",
            f"all zero: no path from the loss to {case.name} was followed (a forgotten path or a stopped gradient)",
        )
    return None


def factor(case: Case) -> Mistake | None:
    """theirs = c * ours with one nameable c; scalars need a nameable one, since any two numbers have a ratio."""
    return _scaled(case, case.ours, "")


def _scaled(case: Case, base: np.ndarray, how: str) -> Mistake | None:
    c = ratio(case.theirs, base)
    if c is None or not case.fits(c * base):
        return None
    named = name_factor(c, case.sizes, case.tolerance, case.factors)
    if named is None and (case.theirs.size < 2 or how):
        return None
    if c == 0:
        return None
    if named == "1":
        return Mistake("transpose" if how else "rounding", f"theirs is ours {how}".strip())
    kind = "sign" if named == "-1" else "factor"
    return Mistake(kind, f"{_factor_text(c, named)}{' and ' + how if how else ''}")


def ratio(theirs: np.ndarray, ours: np.ndarray) -> float | None:
    top, bottom = float(np.sum(theirs * ours)), float(np.sum(ours * ours))
    return top / bottom if bottom > 0 else None


def _factor_text(c: float, named: str | None) -> str:
    if named == "-1":
        return "the sign is wrong: theirs is minus ours"
    if named is None:
        return f"off by the constant factor {c:.6g}"
    inverse = _inverse(named)
    if named.startswith(("1/", "-1/")):
        return f"theirs is {named} of ours: an extra {named}, or missing {inverse}"
    return f"theirs is {named} times ours: missing {inverse}, or {named} too many"


def _inverse(named: str) -> str:
    sign, bare = ("-", named[1:]) if named.startswith("-") else ("", named)
    if bare.startswith("1/"):
        return sign + bare[2:].strip("()")
    return f"{sign}1/{bare}" if "*" not in bare and "/" not in bare else f"{sign}1/({bare})"


def name_factor(
    c: float, sizes: dict[str, int], tolerance: float, factors: dict[str, float] | None = None
) -> str | None:
    """``c`` as a small number, a size, a scalar input, a product, quotient or root of those; simplest first."""
    slack = max(16 * tolerance, 1e-9) if tolerance < 1e-3 else 2 * tolerance
    slack = min(slack, 0.1)
    for text, value in _named_factors(sizes, factors or {}):
        if abs(c - value) <= slack * abs(value):
            return text
    return None


def _named_factors(sizes: dict[str, int], factors: dict[str, float]) -> Iterator[tuple[str, float]]:
    yield from (("1", 1.0), ("-1", -1.0))
    numbers = [("2", 2.0), ("1/2", 0.5)]
    names = sorted(n for n, v in sizes.items() if v > 1)
    one = [(n, float(sizes[n])) for n in names] + [(f"1/{n}", 1.0 / sizes[n]) for n in names]
    pairs = list(itertools.combinations_with_replacement(names, 2))
    two = [(f"{a}*{b}", float(sizes[a] * sizes[b])) for a, b in pairs]
    two += [(f"1/({a}*{b})", 1.0 / (sizes[a] * sizes[b])) for a, b in pairs]
    mixed = [(f"{a}/{b}", sizes[a] / sizes[b]) for a in names for b in names if a != b]
    three = [("*".join(t), float(np.prod([sizes[n] for n in t]))) for t in itertools.combinations(names, 3)]
    three += [(f"1/({t})", 1.0 / v) for t, v in three]
    less = [(f"{a}/({a} - 1)", sizes[a] / (sizes[a] - 1)) for a in names]
    less += [(f"({a} - 1)/{a}", (sizes[a] - 1) / sizes[a]) for a in names]
    plain = [*numbers, *one, *two, ("4", 4.0), ("1/4", 0.25), ("3", 3.0), ("1/3", 1 / 3), *mixed, *three, *less]
    doubled = [(f"2*{t}", 2 * v) for t, v in (*one, *two) if "/" not in t]
    doubled += [(f"2/{t[2:]}", 2 * v) for t, v in (*one, *two) if t.startswith("1/")]
    halved = [(f"1/(2*{t})", 0.5 / v) for t, v in one if "/" not in t]
    halved += [(f"{t}/2", v / 2) for t, v in one if "/" not in t]
    rooted = [(_root(t), float(np.sqrt(v))) for t, v in (*one, *mixed, *two)]
    for text, value in [*plain, *doubled, *halved, *rooted, *_data_factors(factors, one)]:
        yield text, value
        yield f"-{text}", -value


def _root(text: str) -> str:
    return f"1/sqrt({text[2:]})" if text.startswith("1/") and "(" not in text else f"sqrt({text})"


def _data_factors(factors: dict[str, float], one: list[tuple[str, float]]) -> list[tuple[str, float]]:
    """A scalar input, a count in the data: itself, its inverse, square and root, and each with a size."""
    usable = [(n, v) for n, v in sorted(factors.items()) if np.isfinite(v) and v not in (0.0, 1.0, -1.0)]
    found = [(n, v) for n, v in usable] + [(f"1/{n}", 1 / v) for n, v in usable]
    found += [(f"{n}^2", v * v) for n, v in usable] + [(f"1/{n}^2", 1 / (v * v)) for n, v in usable]
    found += [(f"sqrt({n})", v**0.5) for n, v in usable if v > 0] + [
        (f"1/sqrt({n})", v**-0.5) for n, v in usable if v > 0
    ]
    scaled = [(f"{n}/{t[2:]}", v * w) for n, v in usable for t, w in one if t.startswith("1/")]
    scaled += [(f"{t}/{n}", w / v) for n, v in usable for t, w in one if "/" not in t]
    return [*found, *scaled]


def transposed(case: Case) -> Mistake | None:
    """The same entries with the axes in another order (square shapes hide this from a shape check)."""
    n = case.ours.ndim
    for order in itertools.permutations(range(n)) if 2 <= n <= 4 else ():
        moved = np.transpose(case.ours, order)
        if order == tuple(range(n)) or moved.shape != case.theirs.shape:
            continue
        how = "transposed" if n == 2 else f"with its axes in the order {order}"
        found = _scaled(case, moved, how)
        if found is not None:
            return Mistake("transpose", found.text)
    return None


def swapped(case: Case) -> Mistake | None:
    for name, other in sorted(case.others.items()):
        if other.shape == case.theirs.shape and case.fits(other) and not case.fits(case.ours):
            return Mistake("swapped", f"this is the gradient of {name}, not of {case.name}")
    return None


def displaced(case: Case) -> Mistake | None:
    """Reversed along axes (an unflipped kernel), rolled, or shifted with zeros let in."""
    axes = [n for n in range(case.ours.ndim) if case.ours.shape[n] > 1]
    for count in (1, 2):
        for some in itertools.combinations(axes, count):
            if case.fits(np.flip(case.ours, some)):
                return Mistake("reversed", f"reversed along {' and '.join(case.axis(n) for n in some)}")
    for n in axes:
        for by in range(1, case.ours.shape[n]):
            signed = by if by <= case.ours.shape[n] // 2 else by - case.ours.shape[n]
            if case.fits(np.roll(case.ours, by, n)):
                return Mistake("index shift", f"rolled by {signed:+d} along {case.axis(n)}")
        for by in (1, -1, 2, -2):
            if abs(by) < case.ours.shape[n] and case.fits(_shift(case.ours, by, n)):
                return Mistake("index shift", f"shifted by {by:+d} along {case.axis(n)}, zeros let in at the edge")
    return None


def off_by_padding(case: Case) -> Mistake | None:
    """Shifted along one axis or two, with other values than zeros let in: a padding that was not cut off."""
    axes = [n for n in range(case.ours.ndim) if case.ours.shape[n] > 3]
    steps = (-1, 1, -2, 2, -3, 3)
    tries = [{n: by} for n in axes for by in steps]
    tries += [{n: by, m: other} for n, m in itertools.combinations(axes, 2) for by in steps for other in steps]
    for by in tries:
        moved, inside = case.theirs.copy(), [slice(None)] * case.ours.ndim
        for n, b in by.items():
            inside[n] = slice(b, None) if b > 0 else slice(0, b)
        moved[tuple(inside)] = np.roll(case.ours, tuple(by.values()), tuple(by))[tuple(inside)]
        if 2 * case.theirs[tuple(inside)].size > case.theirs.size and case.fits(moved):
            where = " and ".join(f"by {b:+d} along {case.axis(n)}" for n, b in by.items())
            return Mistake(
                "index shift", f"shifted {where}, other values let in at the edge: a padding counted otherwise"
            )
    return None


def _shift(array: np.ndarray, by: int, axis: int) -> np.ndarray:
    moved = np.roll(array, by, axis)
    edge: list[slice] = [slice(None)] * array.ndim
    edge[axis] = slice(0, by) if by > 0 else slice(by, None)
    moved[tuple(edge)] = 0
    return moved


def regrouped(case: Case) -> Mistake | None:
    """The positions of an axis in another order: ``g*E + e`` read as ``e*G + g``, halves as neighbours, or any order."""
    for n, length in enumerate(case.ours.shape):
        for rows, columns in _splits(length, case.sizes):
            order = np.arange(length).reshape(rows[1], columns[1]).T.ravel()
            if case.fits(np.take(case.ours, order, axis=n)):
                what = f"grouped as {rows[0]} by {columns[0]}; yours fits {columns[0]} by {rows[0]}"
                return Mistake("permuted axis", f"{case.axis(n)} is {what} (interleaved: strided for contiguous)")
    for n, length in enumerate(case.ours.shape):
        found = _matching(case, n) if 2 < length <= 512 and case.ours.size > length else None
        if found is not None:
            return Mistake("permuted axis", f"the positions of {case.axis(n)} are permuted: yours has ours at {found}")
    return None


def _splits(length: int, sizes: dict[str, int]) -> Iterator[tuple[tuple[str, int], tuple[str, int]]]:
    """The ways to write a length as a product, told by the names of sizes where there are such."""
    named: dict[int, str] = {}
    for name, value in sorted(sizes.items()):
        named.setdefault(value, name)
    divisors = [v for v in range(2, length) if length % v == 0]
    for v in sorted(divisors, key=lambda v: (v not in named, v)):
        yield (named.get(v, str(v)), v), (named.get(length // v, str(length // v)), length // v)


def _matching(case: Case, n: int) -> str | None:
    """The order of the rows of one axis of ours that gives theirs, if there is one."""
    ours, theirs = (np.moveaxis(a, n, 0).reshape(a.shape[n], -1) for a in (case.ours, case.theirs))
    scale = max(case.scale, float(np.max(np.abs(theirs), initial=0.0)))
    order = []
    for row in theirs:
        near = np.flatnonzero(np.max(np.abs(ours - row), axis=1) <= case.tolerance * scale)
        if len(near) != 1:
            return None
        order.append(int(near[0]))
    if len(set(order)) < len(order) or order == sorted(order):
        return None
    return f"[{', '.join(map(str, order[:8]))}{', ...' if len(order) > 8 else ''}]"


def spread(case: Case) -> Mistake | None:
    """A mean or a sum over an axis of ours, the same in every position."""
    for n in range(case.ours.ndim):
        if case.ours.shape[n] > 1:
            for word, value in (
                ("mean", case.ours.mean(axis=n, keepdims=True)),
                ("sum", case.ours.sum(axis=n, keepdims=True)),
            ):
                if case.fits(np.broadcast_to(value, case.ours.shape)):
                    return Mistake("constant axis", f"every entry along {case.axis(n)} is the {word} over that axis")
    return None


def zeroed_slice(case: Case) -> Mistake | None:
    """Only some rows of one axis are wrong, and they are zero."""
    found = wrong_slices(case)
    return found if found is not None and found.kind == "zeroed slice" else None


def wrong_slices(case: Case) -> Mistake | None:
    """Only some rows of one axis are wrong; says which, and how."""
    bad = np.abs(case.ours - case.theirs) > case.tolerance * case.scale
    if bad.sum() == 1 and bad.size > 1:
        at = tuple(int(n) for n in np.argwhere(bad)[0])
        return Mistake(
            "wrong entry",
            f"one entry is wrong, {case.name}[{', '.join(map(str, at))}]: theirs "
            f"{case.theirs[at]:.6g}, ours {case.ours[at]:.6g}",
        )
    best: tuple[float, int, np.ndarray] | None = None
    for n in range(case.ours.ndim):
        rows = np.flatnonzero(bad.any(axis=tuple(m for m in range(bad.ndim) if m != n)))
        if 0 < len(rows) < case.ours.shape[n]:
            share = len(rows) / case.ours.shape[n]
            if best is None or share < best[0]:
                best = (share, n, rows)
    if best is None:
        return None
    _, n, rows = best
    ours, theirs = np.take(case.ours, rows, axis=n), np.take(case.theirs, rows, axis=n)
    place = f"{_list(rows)} of {case.axis(n)}"
    if not np.any(theirs):
        return Mistake("zeroed slice", f"zero at {place}, right elsewhere")
    c = ratio(theirs, ours)
    same = c is not None and bool(np.max(np.abs(c * ours - theirs)) <= case.tolerance * case.scale)
    named = name_factor(c, case.sizes, case.tolerance, case.factors) if same and c is not None else None
    if named == "-1":
        return Mistake("wrong slice", f"the sign is wrong at {place}, right elsewhere")
    if same and (named or ours.size > 1):
        return Mistake("wrong slice", f"{named or format(c, '.6g')} times ours at {place}, right elsewhere")
    return Mistake("wrong slice", f"wrong at {place}, right elsewhere")


def elsewhere(case: Case) -> Mistake:
    """Nothing explains it: say where and by how much."""
    gap = np.abs(case.ours - case.theirs)
    wrong = int(np.sum(gap > case.tolerance * case.scale))
    at = tuple(int(n) for n in np.unravel_index(int(np.argmax(gap)), gap.shape)) if gap.ndim else ()
    here = f"[{', '.join(map(str, at))}]" if at else ""
    return Mistake(
        "unexplained",
        f"{wrong} of {gap.size} entries differ; the largest difference is at "
        f"{case.name}{here}: theirs {case.theirs[at]:.6g}, ours {case.ours[at]:.6g}",
    )


def wrong_shape(name: str, ours: np.ndarray, theirs: np.ndarray, tolerance: float, sizes: dict[str, int]) -> Mistake:
    """Shapes differ: a transpose, a sum that was not taken, or an axis too many or too few."""
    said = f"shape {theirs.shape}, expected {ours.shape}"
    scale = max(float(np.max(np.abs(ours), initial=0.0)), 1e-300)

    def near(a: np.ndarray) -> bool:
        if a.shape != ours.shape or not np.all(np.isfinite(a)):
            return False
        return bool(np.max(np.abs(a - ours), initial=0) <= tolerance * scale)

    for order in itertools.permutations(range(theirs.ndim)) if theirs.ndim <= 4 else ():
        if order != tuple(range(theirs.ndim)) and np.transpose(theirs, order).shape == ours.shape:
            hint = f"{name}.T" if theirs.ndim == 2 else f"transpose{order}"
            right = near(np.transpose(theirs, order))
            how = " and is right" if right else ", but its values are wrong"
            return Mistake("transpose", f"{said}; {hint} fits{how}")
    if theirs.size == ours.size and near(theirs.reshape(ours.shape)):
        return Mistake("shape", f"{said}; the values are right after a reshape")
    for n in range(theirs.ndim):
        size = next((s for s, v in sorted(sizes.items()) if v == theirs.shape[n]), str(theirs.shape[n]))
        for word, value in (("sum", theirs.sum(axis=n)), ("mean", theirs.mean(axis=n))):
            if near(value):
                return Mistake(
                    "missing sum", f"{said}; right after a {word} over axis {n} (size {size}), which is missing"
                )
    return Mistake("shape", said)


def _list(rows: np.ndarray) -> str:
    if len(rows) > 6:
        return f"{len(rows)} positions ({', '.join(map(str, rows[:5]))}, ...)"
    return ("position " if len(rows) == 1 else "positions ") + ", ".join(map(str, rows))


Finder = Callable[[Case], Mistake | None]
ARRAY_FINDERS: tuple[Finder, ...] = (all_zero, factor, transposed, swapped, displaced, regrouped, spread)
SLICE_FINDERS: tuple[Finder, ...] = (off_by_padding, zeroed_slice, wrong_slices)
