"""What a wrong gradient looks like: mistakes that can be told from the two arrays alone.

Each finder takes a :class:`Case` and returns a :class:`Mistake` or None.  ``ARRAY_FINDERS`` and ``SLICE_FINDERS`` list
them in the order in which they are asked; the mistakes that need the equations are in :mod:`numerics.checks.alterations`.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

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
    sizes: dict  # size name -> int
    others: dict  # the other gradients by name

    def fits(self, candidate) -> bool:
        """Whether a candidate explains theirs, to the tolerance, and is not simply zero."""
        candidate = np.asarray(candidate)
        if candidate.shape != self.theirs.shape or not np.all(np.isfinite(candidate)):
            return False
        scale = max(self.scale, float(np.max(np.abs(self.theirs), initial=0.0)))
        return float(np.max(np.abs(candidate - self.theirs), initial=0.0)) <= self.tolerance * scale

    def axis(self, n: int) -> str:
        letter = self.letters[n] if n < len(self.letters) else ""
        return f"axis {n}" + (f" ({letter})" if letter else "")


def all_zero(case: Case):
    if not np.any(case.theirs):
        return Mistake(
            "zero",
            f"all zero: no path from the loss to {case.name} was followed (a forgotten path or a stopped gradient)",
        )
    return None


def factor(case: Case):
    """theirs = c * ours with one nameable c; scalars need a nameable one, since any two numbers have a ratio."""
    return _scaled(case, case.ours, "")


def _scaled(case, base, how):
    c = ratio(case.theirs, base)
    if c is None or not case.fits(c * base):
        return None
    named = name_factor(c, case.sizes, case.tolerance)
    if named is None and (case.theirs.size < 2 or how):
        return None
    if c == 0:
        return None
    if named == "1":
        return Mistake("transpose" if how else "rounding", f"theirs is ours {how}".strip())
    kind = "sign" if named == "-1" else "factor"
    return Mistake(kind, f"{_factor_text(c, named)}{' and ' + how if how else ''}")


def ratio(theirs, ours) -> float | None:
    top, bottom = float(np.sum(theirs * ours)), float(np.sum(ours * ours))
    return top / bottom if bottom > 0 else None


def _factor_text(c, named):
    if named == "-1":
        return "the sign is wrong: theirs is minus ours"
    if named is None:
        return f"off by the constant factor {c:.6g}"
    inverse = _inverse(named)
    if named.startswith(("1/", "-1/")):
        return f"theirs is {named} of ours: an extra {named}, or missing {inverse}"
    return f"theirs is {named} times ours: missing {inverse}, or {named} too many"


def _inverse(named):
    sign, bare = ("-", named[1:]) if named.startswith("-") else ("", named)
    if bare.startswith("1/"):
        return sign + bare[2:].strip("()")
    return f"{sign}1/{bare}" if "*" not in bare and "/" not in bare else f"{sign}1/({bare})"


def name_factor(c: float, sizes: dict, tolerance: float) -> str | None:
    """``c`` as a small number, a size, a product or quotient of sizes, or twice or half of those; simplest first."""
    slack = max(16 * tolerance, 1e-9) if tolerance < 1e-3 else 2 * tolerance
    slack = min(slack, 0.1)
    for text, value in _named_factors(sizes):
        if abs(c - value) <= slack * abs(value):
            return text
    return None


def _named_factors(sizes):
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
    plain = [*numbers, *one, *two, ("4", 4.0), ("1/4", 0.25), ("3", 3.0), ("1/3", 1 / 3), *mixed, *three]
    doubled = [(f"2*{t}", 2 * v) for t, v in (*one, *two) if "/" not in t]
    doubled += [(f"2/{t[2:]}", 2 * v) for t, v in (*one, *two) if t.startswith("1/")]
    halved = [(f"1/(2*{t})", 0.5 / v) for t, v in one if "/" not in t]
    halved += [(f"{t}/2", v / 2) for t, v in one if "/" not in t]
    for text, value in [*plain, *doubled, *halved]:
        yield text, value
        yield f"-{text}", -value


def transposed(case: Case):
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


def swapped(case: Case):
    for name, other in sorted(case.others.items()):
        if other.shape == case.theirs.shape and case.fits(other) and not case.fits(case.ours):
            return Mistake("swapped", f"this is the gradient of {name}, not of {case.name}")
    return None


def displaced(case: Case):
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


def _shift(array, by, axis):
    moved = np.roll(array, by, axis)
    edge = [slice(None)] * array.ndim
    edge[axis] = slice(0, by) if by > 0 else slice(by, None)
    moved[tuple(edge)] = 0
    return moved


def spread(case: Case):
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


def zeroed_slice(case: Case):
    """Only some rows of one axis are wrong, and they are zero."""
    found = wrong_slices(case)
    return found if found is not None and found.kind == "zeroed slice" else None


def wrong_slices(case: Case):
    """Only some rows of one axis are wrong; says which, and how."""
    bad = np.abs(case.ours - case.theirs) > case.tolerance * case.scale
    if bad.sum() == 1 and bad.size > 1:
        at = tuple(int(n) for n in np.argwhere(bad)[0])
        return Mistake(
            "wrong entry",
            f"one entry is wrong, {case.name}[{', '.join(map(str, at))}]: theirs "
            f"{case.theirs[at]:.6g}, ours {case.ours[at]:.6g}",
        )
    best = None
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
    same = c is not None and np.max(np.abs(c * ours - theirs)) <= case.tolerance * case.scale
    named = name_factor(c, case.sizes, case.tolerance) if same else None
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


def wrong_shape(name: str, letters, ours, theirs, axes, tolerance: float, sizes) -> Mistake:
    """Shapes differ: a transpose, a sum that was not taken, or an axis too many or too few."""
    said = f"shape {theirs.shape}, expected {ours.shape}"
    scale = max(float(np.max(np.abs(ours), initial=0.0)), 1e-300)

    def near(a):
        if a.shape != ours.shape or not np.all(np.isfinite(a)):
            return False
        return np.max(np.abs(a - ours), initial=0) <= tolerance * scale

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


def _list(rows) -> str:
    if len(rows) > 6:
        return f"{len(rows)} positions ({', '.join(map(str, rows[:5]))}, ...)"
    return ("position " if len(rows) == 1 else "positions ") + ", ".join(map(str, rows))


ARRAY_FINDERS = (all_zero, factor, transposed, swapped, displaced, spread, zeroed_slice)
SLICE_FINDERS = (wrong_slices,)
