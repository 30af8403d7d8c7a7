"""Which equations are worth loops of their own on a CPU: those that go over the same rows, one row at a time.

    mean[b]  = sum_i x[b,i] / I
    xh[b,i]  = x[b,i] - mean[b]                 for b: the row of x is read once, and is in the cache for all that follows;
    dg[i]    = sum_b up[b,i] xh[b,i]            what only a row needs is never written out

XLA goes over the arrays once for each sum and once for each result.  The cost rule compares what it moves with what loops
over rows move, in numbers read and written; it counts a size that is not fixed as :data:`UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import sympy
from sympy import Expr, Mul

from derive.language.index import Index
from derive.language.tensor import Read
from derive.program.program import Equation, Term
from derive.program.schedule import Scan, members

from . import windows
from .costs import Known, count, largest, simple, work
from .windows import Tiled, tiled

WORTH = 2.0  # times less to be moved, from which a call outside XLA pays
TOTALS = 65_536  # numbers of a sum over rows that stay in the cache


@dataclass(frozen=True)
class Fused:
    """Equations that are computed row by row.

    Attributes
    ----------
    rows : dict of str to Index
        Equation -> its index along the rows.
    totals : frozenset of str
        The equations that sum over the rows.
    size : Expr
        The number of rows.
    kept : tuple of str
        The equations that something else reads, or that are returned.
    saved : float
        How many times less is moved than by XLA.
    tiles : dict of str to Tiled
        The equations whose sums over windows are computed in tiles.
    """

    equations: tuple[Equation, ...]
    rows: dict[str, Index]
    totals: frozenset[str]
    size: Expr
    kept: tuple[str, ...] = ()
    saved: float = 0.0
    tiles: dict[str, Tiled] = field(default_factory=dict)

    @property
    def reason(self) -> str:
        found = ["sums over windows in tiles of registers, no patches copied"] if self.tiles else []
        if self.saved:
            found.append(f"one pass over the rows in place of {self.saved:.1f} times as much that XLA reads and writes")
        return ", ".join(found)


Group = Equation | Scan | Fused


def fused(
    groups: Sequence[Equation | Scan], results: Iterable[str], known: Known, apart: Iterable[str] = ()
) -> list[Group]:
    """The groups of a program with the equations that are worth it joined; those ``apart`` are written otherwise."""
    found: list[Group] = []
    left, results, apart = list(groups), set(results), set(apart)
    while left:
        first = left[0]
        best: tuple[Fused, list[Equation | Scan], list[Equation | Scan]] | None = None
        alone: Fused | None = None
        if isinstance(first, Equation) and first.name not in apart:
            alone = _alone(first, known)
            for size in _sizes(first) if alone is not None or simple(first, known) else ():
                taken, before, after = _gathered(left, size, known, apart)
                made = _judged(taken, [*found, *before, *after], results, known)
                if made is not None and made.saved >= WORTH and (best is None or made.saved > best[0].saved):
                    best = made, before, after
        if best is None:
            found.append(alone or left[0])
            left.pop(0)
        else:
            found += [*best[1], best[0]]
            left = best[2]
    return found


def _alone(e: Equation, known: Known) -> Fused | None:
    """A sum over windows, by itself in tiles."""
    made = tiled(e, known)
    if made is None:
        return None
    totals = frozenset({e.name} if made.summed else ())
    return Fused((e,), {e.name: made.shared}, totals, made.shared.size, (e.name,), tiles={e.name: made})


def _gathered(
    left: Sequence[Equation | Scan], size: Expr, known: Known, apart: set[str]
) -> tuple[Fused, list[Equation | Scan], list[Equation | Scan]]:
    """The equations that can go over rows of this size together, what must come before them, and what after."""
    rows: dict[str, Index] = {}
    in_tiles: dict[str, Tiled] = {}
    taken: list[Equation] = []
    before: list[Equation | Scan] = []
    after: list[Equation | Scan] = []
    totals: set[str] = set()
    late: set[str] = set()  # what depends on the members, and is none
    for g in left:
        read = {t.name for e in members(g) for t in e.tensors()}
        made = None
        free = isinstance(g, Equation) and g.name not in apart and not read & (late | totals)
        if free and isinstance(g, Equation):
            made = _by_rows(g, size, rows)
        tiles = tiled(made[0], known, made[1]) if made is not None else None
        if made is not None and (tiles is not None or simple(made[0], known)):
            e, row = made
            if tiles is not None:
                in_tiles[e.name] = tiles
            taken.append(e)
            rows[e.name] = row
            totals |= {e.name} - {e.name for i in e.idx if i == row}
        elif read & (late | set(rows)):
            after.append(g)
            late |= {e.name for e in members(g)}
        else:
            before.append(g)
    return Fused(tuple(taken), rows, frozenset(totals), size, tiles=in_tiles), before, after


def _by_rows(e: Equation, size: Expr, rows: dict[str, Index]) -> tuple[Equation, Index] | None:
    """An equation that goes over rows of this size, and its index along them; None if it does not."""
    if e.idx and e.idx[0].size == size:
        return (e, e.idx[0]) if all(_along(t, e.idx[0], rows) for t in e.terms) else None
    terms: list[Term] = []
    own: Index | None = None
    for t in e.terms:
        row = next(
            (i for i in t.bnd if i.size == size and _along(t, i, rows) and any(i in r.idx for r in t.reads())), None
        )
        if row is None:
            return None
        own = own or row  # one index for the rows of all terms
        moved = t.xreplace({row: own})
        terms.append(replace(moved, bnd=(own, *(i for i in t.bnd if i != row))))
    return None if own is None else (replace(e, terms=tuple(terms)), own)


def _along(t: Term, row: Index, rows: dict[str, Index]) -> bool:
    """Whether a term reads every array at its row first, those of other members always, and is not a formula of the row."""
    for r in t.reads():
        own = bool(r.idx) and r.idx[0] == row
        if any(row in i.free_symbols for i in r.idx[own:]) or (r.tensor.name in rows and not own):
            return False
    outside = [f.xreplace(dict.fromkeys(f.atoms(Read), sympy.S.One)) for f in t.fac]
    return not any(row in part.free_symbols for part in (*outside, *t.rows))


def _sizes(e: Equation) -> list[Expr]:
    """The sizes that the rows of a group with this equation may have."""
    leading = [r.idx[0] for r in sorted(e.reads(), key=str) if r.idx and isinstance(r.idx[0], Index)]
    return list(dict.fromkeys(i.size for i in (*e.idx[:1], *leading)))


# -- the cost ------------------------------------------------------------------------------------------------------


def _judged(made: Fused, others: Sequence[Group], results: set[str], known: Known) -> Fused | None:
    """The group with what is kept of it and what it saves."""
    outside = {t.name for g in others for e in _equations(g) for t in e.tensors()}
    kept = tuple(e.name for e in made.equations if e.name in outside or e.name in results)
    inside = {e.name: e for e in made.equations}
    numbers = {t.name: count(Mul(*t.axes), known) for e in made.equations for t in (e.tensor, *e.tensors())}
    behind: dict[str, set[str]] = {}  # the arrays that XLA goes over for an equation, with what is pointwise inlined
    moved = 0
    for e in made.equations:
        found: set[str] = set()
        for r in e.reads():
            if made.rows[e.name] in r.idx:
                name = r.tensor.name
                found |= behind[name] if name in inside and inside[name].is_pointwise else {name}
        behind[e.name] = found
        if not e.is_pointwise or e.name in kept:
            moved += (sum(numbers[n] for n in found) + numbers[e.name]) * (2 if _windows(e, known) else 1)
    given = {n for found in behind.values() for n in found} - set(inside)
    plain, tiles = ([n for n in made.totals if (n in made.tiles) is own] for own in (False, True))
    if (
        sum(numbers[n] for n in plain) > TOTALS
        or sum(numbers[n] for n in tiles) > windows.TOTALS
        or not kept
        or not given
    ):
        return None
    return replace(made, kept=kept, saved=moved / sum(numbers[n] for n in {*given, *kept}))


def _equations(g: Group) -> tuple[Equation, ...]:
    return g.equations if isinstance(g, Fused) else members(g)


def _windows(e: Equation, known: Known) -> bool:
    """Whether its sums meet each number several times."""
    return any(work(e, t, known) > 2 * largest(e, known) for t in e.terms)
