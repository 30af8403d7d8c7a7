"""Mistakes in what an equation reads, and where: axes exchanged, another letter, a shift, a dilation, another tensor.

Each is an :class:`~numerics.checks.elements.Element`: "reads K[b,q,h]; yours fits K[b,p,h]".
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import sympy
from sympy import Expr, Integer, Mod, Pow

from derive.language.index import Index, Size, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program, Row, Term

from .elements import Element, expr_text, row_text, shown, term_text, with_term

COMBINED = 150  # changes of two axes at once that are looked at, for those of one kind
OTHERS = 10  # other tensors tried for one that is read


def float_reads(e: Equation) -> list[Read]:
    return sorted((r for r in e.reads() if r.tensor.dtype == "float" and r.idx), key=str)


def rereads(e: Equation, change: Callable[[Read], Read | None]) -> Equation | None:
    """The equation with its reads changed; None if nothing changes."""
    mapping = {r: new for r in e.reads() if (new := change(r)) is not None and new != r}
    return e.xreplace(mapping) if mapping else None


def _read_changes(e: Equation, old: Read, new: Read, kind: str) -> Iterator[Element]:
    """One read changed wherever it stands, and, where it stands in several terms, in each of them."""
    holders = [n for n, t in enumerate(e.terms) if old in t.reads()]
    bound = next((t.bnd for t in e.terms if old in t.reads()), ())
    sizes = [size for a, size in zip(new.idx, new.tensor.axes, strict=True) if isinstance(a, Mod)]
    fits = f"it wrapped around, modulo {sizes[0]}" if sizes else expr_text(e, new, bound)
    said = f"{expr_text(e, old, bound)} is read; yours fits {fits}"
    yield Element(kind, said, e.xreplace({old: new}))
    for n in holders if len(holders) > 1 else ():
        yield Element(kind, f"{said} in {shown(e, n)}", with_term(e, n, e.terms[n].xreplace({old: new})))


def exchanged(e: Equation) -> Iterator[Element]:
    """Two axes of one read exchanged, or another letter of the same size in one place of it (a broadcast that differs)."""
    scope = set(e.idx) | set(e.over) | {b for t in e.terms for b in t.bnd}
    for r in float_reads(e):
        for m, n in itertools.combinations(range(len(r.idx)), 2):
            if r.idx[m] != r.idx[n] and same_size(r.tensor.axes[m], r.tensor.axes[n]):
                order = list(r.idx)
                order[m], order[n] = order[n], order[m]
                yield from _read_changes(e, r, Read(r.tensor, *order), "transpose")
        for n, i in enumerate(r.idx):
            others = [j for j in scope if isinstance(i, Index) and j != i and same_size(j.size, i.size)]
            for j in sorted(others, key=lambda j: (j.name, j.uid)):
                if all(j in (*e.idx, *e.over, *t.bnd) for t in e.terms if r in t.reads()):
                    idx = (*r.idx[:n], j, *r.idx[n + 1 :])
                    yield from _read_changes(e, r, Read(r.tensor, *idx), "wrong axis")


def displaced_reads(e: Equation) -> Iterator[Element]:
    """Affine reads with another step, shift or sign, wrapped around instead of zero outside, halves for pairs."""
    tensors = sorted({r.tensor for r in float_reads(e)}, key=lambda t: t.name)
    for tensor in tensors:
        for n, size in enumerate(tensor.axes):
            here = [r for r in float_reads(e) if r.tensor == tensor and not isinstance(r.idx[n], Index)]
            for r in here:
                for kind, position in affine_changes(r.idx[n], size):
                    new = Read(tensor, *r.idx[:n], position, *r.idx[n + 1 :])
                    yield from _read_changes(e, r, new, kind)
            if len(here) > 1:
                yield from _plain(e, tensor, n)
    for r in float_reads(e):
        yield from _all_axes(e, r)
    for n, term in enumerate(e.terms):
        yield from _all_rows(e, n, term)
        for m, row in enumerate(term.rows):
            for kind, other in _row_changes(row):
                rows = (*term.rows[:m], other, *term.rows[m + 1 :])
                said = f"{row_text(e, row)} is summed over"
                fits = f"it wrapped around, modulo {row_size(row)}" if kind == "wrap-around" else row_text(e, other)
                text = f"{said}; yours fits {fits} in {shown(e, n)}"
                yield Element(kind, text, with_term(e, n, replace(term, rows=rows)))
    yield from _pairs_for_halves(e)


def _all_axes(e: Equation, r: Read) -> Iterator[Element]:
    """The same change on every axis of a window: a padding or a dilation is forgotten in both directions."""
    tables = [list(affine_changes(a, size)) for a, size in zip(r.idx, r.tensor.axes, strict=True) if _shifted(a)]
    if len(tables) < 2:
        return
    for changes in itertools.islice(itertools.product(*tables), COMBINED):
        if len({kind for kind, _ in changes}) == 1:
            new = iter(position for _, position in changes)
            yield from _read_changes(
                e, r, Read(r.tensor, *(next(new) if _shifted(a) else a for a in r.idx)), changes[0][0]
            )


def _all_rows(e: Equation, n: int, term: Term) -> Iterator[Element]:
    tables = [(m, list(_row_changes(row))) for m, row in enumerate(term.rows)]
    tables = [(m, table) for m, table in tables if table]
    if len(tables) < 2:
        return
    for changes in itertools.islice(itertools.product(*(table for _, table in tables)), COMBINED):
        if len({kind for kind, _ in changes}) == 1:
            new = dict(zip((m for m, _ in tables), (row for _, row in changes), strict=True))
            rows = tuple(new.get(m, row) for m, row in enumerate(term.rows))
            old = " and ".join(row_text(e, term.rows[m]) for m in new)
            fits = " and ".join(row_text(e, row) for row in new.values())
            wrapped = changes[0][0] == "wrap-around"
            text = f"{old} are summed over; yours fits {'both wrapped around' if wrapped else fits} in {shown(e, n)}"
            yield Element(changes[0][0], text, with_term(e, n, replace(term, rows=rows)))


def _shifted(a: Expr) -> bool:
    return not isinstance(a, Index) and not a.atoms(Read) and bool(a.free_symbols)


def _plain(e: Equation, tensor: Tensor, n: int) -> Iterator[Element]:
    """Every shifted read of a tensor read at the bare letter instead: a product taken before a rotation, not after."""

    def change(r: Read) -> Read | None:
        letters = [s for s in r.idx[n].free_symbols if isinstance(s, Index)] if r.tensor == tensor else []
        return Read(tensor, *r.idx[:n], letters[0], *r.idx[n + 1 :]) if len(letters) == 1 else None

    changed = rereads(e, change)
    if changed is not None:
        said = ", ".join(expr_text(e, r) for r in float_reads(e) if r.tensor == tensor and change(r) not in (None, r))
        fits = ", ".join(sorted({expr_text(e, c) for r in float_reads(e) if (c := change(r)) is not None}))
        yield Element("index shift", f"{said} are read; yours fits {fits}", changed)


def affine_changes(a: Expr, size: Expr) -> Iterator[tuple[str, Expr]]:
    """Other positions that people write for ``t - E*r``: another step, the other sign, off by one, wrapped around."""
    if a.atoms(Read) or a.has(sympy.floor, Mod):
        return
    a = sympy.expand(a)
    letters = sorted((s for s in a.free_symbols if isinstance(s, Index)), key=str)
    for i in letters:
        c = a.coeff(i)
        if c not in (1, -1) and not c.free_symbols & set(letters):
            sign = -1 if c.could_extract_minus_sign() else 1
            for step in dict.fromkeys((Integer(sign), c + sign, c - sign, 2 * c)):
                if step not in (c, 0):
                    yield "wrong step", a - c * i + step * i
        if len(letters) > 1:
            yield from (("wrong step", a + (step - 1) * c * i) for step in ((-1, 2, 3) if c in (1, -1) else (-1,)))
    for i, j in itertools.permutations(letters, 2):
        if a.coeff(i) == j.size and a.coeff(j) == 1:
            yield "permuted axis", a - j.size * i - j + i.size * j + i
    shift = a.xreplace(dict.fromkeys(letters, Integer(0)))
    if shift != 0 and len(letters) == 1:
        yield "index shift", a - shift
        yield "index shift", a - 2 * shift
    yield from (("index shift", a + by) for by in (1, -1))
    yield "wrap-around", Mod(a, size)


def row_size(row: Row) -> Expr:
    return next(s.size for s in (row.lhs, row.rhs) if isinstance(s, Index))


def _row_changes(row: Row) -> Iterator[tuple[str, Row]]:
    if row.op != "==" or row.lhs.atoms(Read) or row.rhs.atoms(Read):
        return
    plain, other = (row.lhs, row.rhs) if isinstance(row.lhs, Index) else (row.rhs, row.lhs)
    if not isinstance(plain, Index) or isinstance(other, Index):
        return
    for kind, changed in affine_changes(other, plain.size):
        yield (
            kind,
            Row("==", Mod(other - plain, plain.size), Integer(0))
            if kind == "wrap-around"
            else Row("==", plain, changed),
        )


def _pairs_for_halves(e: Equation) -> Iterator[Element]:
    """Positions ``c`` and ``c + M`` that belong together, taken as neighbours ``2n`` and ``2n + 1``: interleaved."""
    steps = {
        (i, abs(shift))
        for r in float_reads(e)
        for a in r.idx
        if len(a.free_symbols) > 0 and not isinstance(a, Index) and not a.atoms(Read)
        for i in a.free_symbols
        if isinstance(i, Index) and (shift := sympy.expand(a - i)) not in (0, 1, -1) and not shift.has(Index)
    }
    for i, step in sorted(steps, key=str):
        terms = tuple(_neighbours(t, i, step) for t in e.terms)
        if terms != e.terms:
            text = f"{i.name} and {i.name} + {step} belong together; yours fits neighbours (interleaved, not halves)"
            yield Element("interleaved", text, replace(e, terms=terms))


def _neighbours(term: Term, i: Index, step: Expr) -> Term:
    even = Row("==", Mod(i, 2), Integer(0))
    odd = Row("==", Mod(i, 2), Integer(1))
    up, down = ({sympy.expand(i + s * step): i + s, i + s * step: i + s} for s in (1, -1))

    def moved(f: Expr, table: dict) -> Expr:
        return f.xreplace({r: Read(r.tensor, *(table.get(a, a) for a in r.idx)) for r in f.atoms(Read)})

    sides = {1: up, -1: down}
    seen = {s for s, table in sides.items() for f in term.fac for r in f.atoms(Read) for a in r.idx if a in table}
    if not seen:
        return term
    rows = tuple(r for r in term.rows if not (step.free_symbols or {step}) & (r.lhs.atoms() | r.rhs.atoms()))
    fac = tuple(moved(f, {**up, **down}) for f in term.fac)
    if len(seen) == 1:
        return replace(term, fac=fac, rows=(*rows, even if seen == {1} else odd))
    relations = {c for f in fac for c in f.atoms(sympy.StrictLessThan) if c == sympy.Lt(i, step)}
    turned = {c: sympy.Gt(Pow(-1, i), 0, evaluate=False) for c in relations}
    return replace(term, fac=tuple(f.xreplace(turned) for f in fac), rows=rows)


def shifted_reads(e: Equation) -> Iterator[Element]:
    """All reads of one tensor a position early or late, with zeros let in or wrapped around."""
    for tensor in sorted({r.tensor for r in float_reads(e)}, key=lambda t: t.name):
        for n, size in enumerate(tensor.axes):
            for by, wrap in itertools.product((-1, 1), (False, True)):

                def change(
                    r: Read, tensor: Tensor = tensor, n: int = n, size: Expr = size, by: int = by, wrap: bool = wrap
                ) -> Read | None:
                    if r.tensor != tensor or r.idx[n].atoms(Read):
                        return None
                    at = r.idx[n] + by
                    return Read(tensor, *r.idx[:n], Mod(at, size) if wrap else at, *r.idx[n + 1 :])

                changed = rereads(e, change)
                if changed is not None:
                    how = "wrapped around" if wrap else "zeros let in"
                    text = f"{tensor.name} is read {by:+d} along its axis {n} ({size}), {how}"
                    yield Element("index shift", text, changed)


def other_tensors(e: Equation, program: Program) -> Iterator[Element]:
    """Another tensor of the same shape read instead: x for x-hat, before a step for after it, a stale value."""
    known: list[Tensor] = [*(q.tensor for q in program.equations), *program.inputs]
    for r in [r for r in float_reads(e) if r.tensor != e.tensor]:
        own = program.equation(r.tensor)
        news = list(_before(r, own)) if own is not None else []
        close = {t.name for t in own.tensors()} if own is not None else set()
        same = [
            t
            for t in known
            if t not in (r.tensor, e.tensor)
            and t.dtype == "float"
            and len(t.axes) == len(r.tensor.axes)
            and all(same_size(a, b) for a, b in zip(t.axes, r.tensor.axes, strict=True))
        ]
        same.sort(key=lambda t: (t.name not in close, abs(_place(program, t) - _place(program, r.tensor))))
        news += [Read(t, *r.idx) for t in same]
        for new in list(dict.fromkeys(news))[:OTHERS]:
            yield from _read_changes(e, r, new, "another tensor")


def _before(r: Read, own: Equation) -> Iterator[Read]:
    """The reads in a tensor's own definition that cover all its letters, at the place where it is read."""
    at = dict(zip(own.idx, r.idx, strict=True))
    for inner in float_reads(own):
        letters = {s for s in inner.free_symbols if isinstance(s, Index)}
        if letters == set(own.idx) and inner.tensor != own.tensor:
            yield inner.xreplace(at)


def _place(program: Program, t: Tensor) -> int:
    return next((n for n, e in enumerate(program.equations) if e.tensor == t), -1)


def other_sizes(e: Equation, sizes: dict[Size, int]) -> Iterator[Element]:
    """A size in a coefficient that is another size, or one less: a head size, a mean over another axis, ddof."""
    for coef in dict.fromkeys(t.coef for t in e.terms if t.coef.free_symbols):
        holders = [n for n, t in enumerate(e.terms) if t.coef == coef]
        for other in _other_coefficients(coef, sizes):
            changed = e
            for n in holders:
                changed = with_term(changed, n, replace(e.terms[n], coef=other))
            yield Element("another size", f"the coefficient is {coef}; yours fits {other}", changed)
            for n in holders if len(holders) > 1 else ():
                text = f"the coefficient of {term_text(e, n)} is {coef}; yours fits {other}"
                yield Element("another size", text, with_term(e, n, replace(e.terms[n], coef=other)))


def _other_coefficients(coef: Expr, sizes: dict[Size, int]) -> Iterator[Expr]:
    factors = coef.as_powers_dict()
    bases = sorted((b for b in factors if b.free_symbols), key=str)
    for base in bases:
        rest = coef / base ** factors[base]
        if isinstance(base, Size):
            for s in sorted(sizes, key=lambda s: s.name):
                if s != base:
                    yield rest * s ** factors[base]
        if sizes_value(base, sizes) > 1:
            yield rest * (base - 1) ** factors[base]
    if len({factors[b] for b in bases}) == 1 and len(bases) > 1:
        whole, power = sympy.prod(bases), factors[bases[0]]
        yield coef / whole**power * (whole - 1) ** power


def sizes_value(e: Expr, sizes: dict[Size, int]) -> float:
    return float(e.xreplace({s: Integer(n) for s, n in sizes.items()}))
