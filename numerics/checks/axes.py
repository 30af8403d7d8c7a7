"""Reductions over other axes: a mean, norm or softmax over the wrong one, or only the diagonal of a Jacobian.

    T[b] = sum_i X[b,i]          T'[i] = sum_b X[b,i]       and what reads T[b] at (b, i) reads T'[i]
    T[b] = sum_i X[b,i]          T'[b,i] = X[b,i]           no sum: the diagonal alone

An axis that is now kept is carried through the equations between (``dr[n,g]`` becomes ``dr[n,g,e]``) up to one that has a
letter for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import sympy
from sympy import Expr, Integer

from derive.language.index import Index, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program, Term

Inside = tuple[Read, int] | None  # a factor, and its power, that stands inside the sum
SUBSETS = 10  # choices of other axes tried for one reduction


@dataclass(frozen=True)
class Moved:
    """A reduction over other axes: the sentence about it, and the equations changed."""

    equation: Equation
    text: str
    changed: dict[str, tuple[Equation, ...]]


@dataclass(frozen=True)
class Carried:
    """A tensor that has lost the axes ``lost`` and got those of ``extra`` at its end."""

    tensor: Tensor
    lost: tuple[int, ...]
    extra: tuple[Index, ...]


def wrong_axes(e: Equation, program: Program, needed: set[str]) -> Iterator[Moved]:
    """One reduction of a program over every other choice of axes; equations outside ``needed`` are left alone.

    Where others run over the same axes to the same letters (a mean and its variance), they are moved together first.
    """
    bound = _movable(e)
    if bound is None:
        return
    places = [*e.idx, *bound]
    also = {q.name for q in program.equations if q.name in needed and q.name != e.name and _together(e, q)}
    choices = sorted(_subsets(places), key=lambda s: _order(s, bound, places))
    for summed in [s for s in choices if set(s) != set(bound)][:SUBSETS]:
        lost = any(i in summed for i in e.idx)
        for inside in [None, *(_scales(e, program) if lost else ())]:
            groups = [also, set()] if also and inside is None else [set()]
            for group in groups:
                for mean in (True, False):
                    changed = _Carrying(e, program, needed, group, summed, inside, mean).changed()
                    if changed is not None:
                        yield Moved(e, _sentence(bound, summed, inside, group, program, mean), changed)


def _movable(e: Equation) -> list[Index] | None:
    """The indices a plain sum runs over, if none of them stands in a condition."""
    if e.reduce is not None or len(e.terms) != 1 or not e.terms[0].bnd or e.tensor in e.tensors():
        return None
    term = e.terms[0]
    tied = any(b in row.free_symbols and row.op == "==" for b in term.bnd for row in term.rows)
    return None if tied else list(term.bnd)


def _together(e: Equation, q: Equation) -> bool:
    a, b = _movable(e), _movable(q)
    return a is not None and b is not None and _letters(a) == _letters(b) and _letters(e.idx) == _letters(q.idx)


def _letters(some: Sequence[Index]) -> list[tuple[str, Expr]]:
    return sorted(((i.name, i.size) for i in some), key=str)


def _subsets(places: Sequence[Index]) -> Iterator[tuple[Index, ...]]:
    for count in range(min(len(places), 4) + 1):
        yield from itertools.combinations(places, count)


def _order(summed: tuple[Index, ...], bound: list[Index], places: list[Index]) -> tuple:
    """No sum first, then one axis for another, then fewer, then more."""
    swapped = len(summed) == len(bound) and len(set(summed) - set(bound)) == 1
    within = set(summed) < set(bound)
    return (bool(summed), not swapped, not within, len(summed), [places.index(i) for i in summed])


def _sentence(
    bound: list[Index], summed: tuple[Index, ...], inside: Inside, group: set[str], program: Program, mean: bool
) -> str:
    over = " and ".join(b.name for b in bound)
    numbers = sorted(q.number for q in program.equations if q.name in group)
    too = (
        f", and so {'does' if len(numbers) == 1 else 'do'} {', '.join(f'({n})' for n in numbers)}"
        if any(numbers)
        else ""
    )
    if not summed:
        return f"sums over {over}{too}; yours fits no sum: the element itself (only the diagonal)"
    factor = "" if inside is None else f" with {inside[0].tensor.name}^{inside[1]} inside the sum"
    what = "mean" if mean else "sum"
    return f"sums over {over}{too}; yours fits a {what} over {' and '.join(i.name for i in summed)}{factor}"


def _scales(e: Equation, program: Program) -> Iterator[tuple[Read, int]]:
    """Tensors of the shape of the sum, which may stand inside or outside of it while it runs over the right axes."""
    readers = [q for q in program.equations if e.tensor in q.tensors()]
    near = {t.name for q in readers for t in q.tensors()} | {t.name for t in e.tensors()}
    near |= {t.name for q in readers for r in program.equations if q.tensor in r.tensors() for t in r.tensors()}
    tensors = [
        q.tensor for q in program.equations if q.name in near and q.tensor != e.tensor and q.tensor.rank == len(e.idx)
    ]
    for t in tensors[:3]:
        if t.rank and all(same_size(a, b) for a, b in zip(t.axes, e.tensor.axes, strict=True)):
            for power in (1, 2, -1):
                yield Read(t, *e.idx), power


class _Carrying:
    """The equations with a reduction moved, and the axes that it keeps carried to those that read it.

    With ``mean`` the number of elements goes with the axes: what was divided by ``I`` is divided by ``B``.
    """

    def __init__(
        self,
        e: Equation,
        program: Program,
        needed: set[str],
        group: set[str],
        summed: tuple[Index, ...],
        inside: Inside,
        mean: bool,
    ):
        self.e, self.program, self.needed, self.group, self.inside = e, program, needed, group, inside
        self.names = {(i.name, i.size) for i in summed}
        bound = sympy.prod([b.size for b in e.terms[0].bnd])
        self.ratio = bound / sympy.prod([i.size for i in summed]) if mean else Integer(1)
        self.trivial = mean and self.ratio == 1
        self.carried: dict[str, Carried] = {}

    def changed(self) -> dict[str, tuple[Equation, ...]] | None:
        if self.trivial:
            return None  # the same as the sum
        found: dict[str, tuple[Equation, ...]] = {self.e.name: (self._moved(self.e, self.e.terms[0]),)}
        results = {t.name for t in self.program.outputs}
        for q in self.program.equations:
            if (
                q.name == self.e.name
                or q.name not in self.needed
                or not any(t.name in self.carried for t in q.tensors())
            ):
                if q.name in self.group:
                    found[q.name] = (self._moved(q, q.terms[0]),)
                continue
            if q.tensor in q.tensors():
                return None
            extra: list[Index] = []
            terms = tuple(self._reread(q, t, extra) for t in q.terms)
            if q.name in self.group and set(_letters(extra)) <= set(_letters(q.terms[0].bnd)):
                found[q.name] = (self._moved(q, terms[0]),)
            elif not extra:
                found[q.name] = (replace(q, terms=terms),)
            elif q.reduce is not None or any(t.bnd for t in q.terms) or q.name in results or q.tensor.rank == 0:
                return None
            else:
                new = _renamed(q, (*q.idx, *extra), terms)
                self.carried[q.name] = Carried(new.tensor, (), tuple(extra))
                found[q.name] = (new,)
        return found

    def _moved(self, q: Equation, term: Term) -> Equation:
        """An equation summed over the other axes."""
        summed = tuple(i for i in (*q.idx, *q.terms[0].bnd) if (i.name, i.size) in self.names)
        kept = tuple(b for b in q.terms[0].bnd if b not in summed)
        lost = tuple(n for n, i in enumerate(q.idx) if i in summed)
        term = replace(term, coef=term.coef * self.ratio, bnd=summed)
        if self.inside is not None:
            term = term.times(self.inside[0] ** self.inside[1])
        new = _renamed(q, tuple(i for i in q.idx if i not in summed) + kept, (term,))
        self.carried[q.name] = Carried(new.tensor, lost, kept)
        return new

    def _reread(self, q: Equation, term: Term, extra: list[Index]) -> Term:
        mapping: dict[Expr, Expr] = {}
        for r in term.reads():
            found = self.carried.get(r.tensor.name)
            if found is None:
                continue
            idx = [i for n, i in enumerate(r.idx) if n not in found.lost]
            for k in found.extra:
                idx.append(_letter(q, term, k, r, extra))
            new: Expr = Read(found.tensor, *idx)
            if self.inside is not None and r.tensor == self.e.tensor:
                new = new * self.inside[0].xreplace(dict(zip(self.e.idx, r.idx, strict=True))) ** -self.inside[1]
            mapping[r] = new
        return term.xreplace(mapping)


def _letter(q: Equation, term: Term, k: Index, r: Read, extra: list[Index]) -> Index:
    """The letter of a term for an axis that a tensor it reads now has; a new one of the equation if it has none."""
    used = {s for a in r.idx for s in a.free_symbols}
    own = [i for i in (*q.idx, *q.over, *term.bnd) if i not in used and same_size(i.size, k.size)]
    if own:
        return min(own, key=lambda i: (i.name != k.name, i not in q.idx, i.name, i.uid))
    for i in extra:
        if i == k:
            return i
    extra.append(k)
    return k


def _renamed(e: Equation, idx: tuple[Index, ...], terms: tuple[Term, ...]) -> Equation:
    tensor = Tensor(
        f"{e.name} over other axes", tuple(i.size for i in idx), idx, digest=f"axes:{e.name}:{','.join(map(str, idx))}"
    )
    return replace(e, tensor=tensor, idx=idx, terms=terms)
