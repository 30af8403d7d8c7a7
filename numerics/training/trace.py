"""Where a number that is not finite came from: the program's equations evaluated term by term, on one batch.

The whole program is run once more, by its own emission, with every equation as an output.  From a value that is not
finite the trace then goes back element by element: the term, its factor, the position of a sum, the read that is not
finite itself, and so on, until all that an element reads is finite.  That element, and no guess, is the origin.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import sympy

from derive.derivation.derivation import Derivation
from derive.language.nodes import Iverson
from derive.language.tensor import Read
from derive.program.program import Equation, Program, Term
from derive.show.text import equation_text, expr_text
from numerics.kernel.compile import compile
from numerics.kernel.inputs import bind_sizes
from numerics.reference.grid import Scope, coefficient
from numerics.reference.programs import Evaluator

from .placement import on_host

LONGEST = 10_000  # elements on the way back


class Values:
    """All tensors of a derived program on one batch, by name; made by its own emission, in the batch's precision.

    Parameters
    ----------
    derivation : Derivation
    sizes : dict
        Sizes by name that no array fixes.
    """

    def __init__(self, derivation: Derivation, sizes: dict):
        self.derivation = derivation
        self.program = derivation.program
        results = (("values", {e.name: e.tensor for e in self.program}),)
        self.kernel = compile(replace(derivation, results=results), sizes=sizes)

    def __call__(self, arrays: dict) -> tuple[dict[str, np.ndarray], dict]:
        """``(name -> array, {Size: int})`` for inputs by name."""
        given = {t.name: on_host(arrays[t.name]) for t in self.kernel.inputs}
        found = self.kernel.fn(*given.values())[0]
        sizes = bind_sizes(self.kernel.inputs, given, self.kernel.request.sizes, self.program)
        return {**given, **{n: np.asarray(a) for n, a in found.items()}}, sizes


@dataclass(frozen=True)
class Place:
    """One element on the way: ``loss``, ``z1[3, 5]``."""

    tensor: str
    position: tuple[int, ...]
    value: float
    number: int = 0  # of its equation; 0 for an input

    def __str__(self):
        return element(self.tensor, self.position) + (f" ({self.number})" if self.number else "")


@dataclass(frozen=True)
class Origin:
    """The first element that is not finite though everything it reads is.

    ``equation`` is None where an input holds it already.  ``part`` is the smallest expression that is not finite,
    ``term`` the term it stands in, ``cause`` the sentence, ``reads`` what it read.
    """

    equation: Equation | None
    place: Place
    term: str
    part: str
    cause: str
    reads: tuple[Place, ...]
    path: tuple[Place, ...]  # from where the trace began to this place

    def __str__(self):
        if self.equation is None:
            return f"{self.place} is {self.place.value} already: an input"
        read = "; ".join(f"{element(p.tensor, p.position)} = {p.value:.4g}" for p in self.reads)
        return f"({self.equation.number}) {equation_text(self.equation)}: {self.cause}" + (f"; {read}" if read else "")


def element(name: str, position) -> str:
    return f"{name}[{', '.join(map(str, position))}]" if position else name


def first_bad(values: dict, names) -> tuple[str, tuple[int, ...]] | None:
    """The first of some tensors with an element that is not finite, and where."""
    for name in names:
        a = np.asarray(values[name])
        if np.issubdtype(a.dtype, np.floating) and not np.all(np.isfinite(a)):
            return name, tuple(int(n) for n in np.argwhere(~np.isfinite(a))[0])
    return None


def origin(program: Program, values: dict, sizes: dict, name: str, position=()) -> Origin:
    """Go back from an element that is not finite to where that began.

    Parameters
    ----------
    program : Program
    values : dict
        Every tensor of the program by name, as :class:`Values` gives them.
    sizes : dict
        ``{Size: int}``.
    name, position
        The element to explain.
    """
    floats = [a.dtype for a in values.values() if np.issubdtype(np.asarray(a).dtype, np.floating)]
    ev = _Rounded(values, sizes, floats[0] if floats else np.dtype("float32"))
    path: list[Place] = []
    for _ in range(LONGEST):
        e = program.equation(name)
        path.append(Place(name, position, float(values[name][position]), e.number if e else 0))
        if e is None:
            return Origin(None, path[-1], "", "", "an input that is not finite", (), tuple(path))
        with np.errstate(all="ignore"):
            found = _culprit(ev, e, position)
        if isinstance(found, Place):
            name, position = found.tensor, found.position
            continue
        term, part, cause, reads = found
        return Origin(e, path[-1], term, part, cause, reads, tuple(path))
    raise RuntimeError("a trace without an end")  # values are written once, in order, so there is none


class _Rounded(Evaluator):
    """The node-by-node evaluator with every node rounded to the precision of training, where an overflow happens."""

    def __init__(self, values, sizes, dtype):
        super().__init__(values, sizes, np, False, {})
        self.dtype = dtype

    def value(self, e, scope, mask=None):
        return np.asarray(super().value(e, scope, mask)).astype(self.dtype)

    def at(self, e, fixed) -> float:
        return float(self.value(e, Scope((), (), self.sizes, fixed)))

    def place(self, r: Read, fixed) -> Place | None:
        """The element that a read means, with its value; None outside the array, where it is 0."""
        spot = tuple(int(self.whole(i, Scope((), (), self.sizes, fixed))) for i in r.idx)
        array = np.asarray(self.values[r.tensor.name])
        if any(not 0 <= n < extent for n, extent in zip(spot, array.shape, strict=True)):
            return None
        return Place(r.tensor.name, spot, float(array[spot]))


def _culprit(ev: _Rounded, e: Equation, position):
    """The element to go on with, or ``(term, part, cause, reads)``."""
    fixed = dict(zip(e.idx, position, strict=True))
    totals = []
    for t in e.terms:
        bound = (*t.bnd, *e.over)
        found = _in_factors(ev, t, bound, (*t.rows, *e.guards), fixed)
        if found is None and e.reduce is None:
            found = _in_product(ev, t, bound, fixed)
        if found is not None:
            return found
        totals.append(0.0 if e.reduce else float(ev.term(t, [], fixed)))
    swallowed = _bad_read(ev, e, fixed)
    if swallowed is not None:
        return swallowed
    text = " + ".join(expr_text(t.expr()) for t in e.terms)
    parts = [_largest(ev, t, (*t.bnd, *e.over), fixed) for t in e.terms]
    _, value, inside, reads = max(parts, key=lambda p: abs(p[1]))
    if not e.reduce and not np.isfinite(np.asarray(totals, ev.dtype).sum(dtype=ev.dtype)):
        shown = ", ".join(f"{v:.4g}" for v in totals)
        return text, text, f"the terms are {shown}, and their sum is not finite in {ev.dtype.name}", reads
    return (
        text,
        text,
        (
            f"its terms are finite one by one in {ev.dtype.name}, but not as the program adds them; the largest "
            f"part, {inside}, is {value:.4g}"
        ),
        reads,
    )


def _in_factors(ev, t: Term, bound, rows, fixed):
    """A factor that is not finite at some position of the sum."""
    scope = ev.scope((), bound, fixed)
    mask = ev.rows(rows, scope)
    for f in t.fac:
        value = np.broadcast_to(ev.value(f, scope, None if isinstance(f, Read) else mask), scope.extents)
        bad = ~np.isfinite(value) if mask is None else ~np.isfinite(value) & mask
        if not bad.any():
            continue
        here = {**fixed, **dict(zip(scope.axes, (int(n) for n in np.argwhere(bad)[0]), strict=True))}
        part = _smallest(ev, f, here)
        reads = tuple(p for r in sorted(part.atoms(Read), key=str) if (p := ev.place(r, here)) is not None)
        worse = [p for p in reads if not np.isfinite(p.value)]
        if worse:
            return worse[0]
        return expr_text(t.expr()), expr_text(part), f"{expr_text(part)} is {ev.at(part, here):.4g}", reads
    return None


def _bad_read(ev, e: Equation, fixed):
    """A read that is not finite where the evaluator makes something finite of it, as relu(nan)."""
    for t in e.terms:
        scope = ev.scope((), (*t.bnd, *e.over), fixed)
        mask = ev.rows((*t.rows, *e.guards), scope)
        for r in sorted(t.reads(), key=str):
            bad = np.broadcast_to(~np.isfinite(ev.value(r, scope)), scope.extents)
            bad = bad if mask is None else bad & mask
            if bad.any():
                return ev.place(
                    r, {**fixed, **dict(zip(scope.axes, (int(n) for n in np.argwhere(bad)[0]), strict=True))}
                )
    return None


def _in_product(ev, t: Term, bound, fixed):
    """Finite factors whose product, or whose sum over the bound indices, is not."""
    if np.isfinite(np.asarray(ev.term(t, [], fixed), ev.dtype)):
        return None
    product, value, inside, reads = _largest(ev, t, bound, fixed)
    text, dtype = expr_text(t.expr()), ev.dtype.name
    if not np.isfinite(value):
        return text, inside, f"the product {inside} is {value:.4g} in {dtype}", reads
    largest = f"its largest part, {inside}, is {value:.4g}"
    if abs(coefficient(t.coef, ev.sizes)) > 1 and np.isfinite(product.sum(dtype=ev.dtype)):
        return text, inside, f"times {expr_text(t.coef)} it is not finite in {dtype}; {largest}", reads
    return text, inside, f"the sum {text} is not finite in {dtype}; {largest}", reads


def _largest(ev, t: Term, bound, fixed):
    """The products of a term's factors at all positions; the first that is not finite or the largest, and its reads."""
    scope = ev.scope((), bound, fixed)
    mask = ev.rows(t.rows, scope)
    product = np.ones(scope.extents, ev.dtype)
    for f in t.fac:
        product = product * ev.value(f, scope, None if isinstance(f, Read) else mask)
    product = product if mask is None else np.where(mask, product, 0)
    bad = ~np.isfinite(product)
    at = np.unravel_index(int((bad if bad.any() else abs(product)).argmax()), product.shape)
    here = {**fixed, **{i: int(n) for i, n in zip(scope.axes, at, strict=True)}}
    reads = tuple(p for f in t.fac for r in sorted(f.atoms(Read), key=str) if (p := ev.place(r, here)) is not None)
    inside = expr_text(replace(t, bnd=(), rows=(), coef=sympy.Integer(1)).expr())
    return product, float(product[at]), inside, reads


def _smallest(ev: _Rounded, e, fixed):
    """The smallest part of an expression that is not finite."""
    parts = [a for a in e.args if isinstance(a, sympy.Expr)]
    if isinstance(e, (Read, Iverson)):
        return e
    if isinstance(e, sympy.Piecewise):
        chosen = next((v for v, c in e.args if bool(ev.condition(c, Scope((), (), ev.sizes, fixed)))), None)
        parts = [] if chosen is None else [chosen]
    for a in parts:
        if not np.isfinite(ev.at(a, fixed)):
            return _smallest(ev, a, fixed)
    return e
