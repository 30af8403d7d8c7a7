"""The loops over the bound indices of one term, planned so that rows cut them early.

An equality row with one unknown index gives that index instead of a loop; every other row is looked at as soon as its
indices are known, and so is every factor, a zero ending the loop there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence, Set
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeAlias

from sympy import Basic, Expr, Mul

from derive.language.index import Index
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term
from derive.program.rows import guard_of

from .abstract import Argument, Closure, Condition, Exact, Field, Slots, V, Values
from .compile import Compiler, additive_terms, is_exact, whole_size
from .field import OutOfRange, Undefined
from .functions import FUNCTIONS

LINEAR = {f.name for f in FUNCTIONS.values() if f.linear}
PARTIAL = {f.name for f in FUNCTIONS.values() if f.nargs and not f.everywhere}

Visitor: TypeAlias = Callable[[Values, Callable[[Values], object]], None]


class Level(NamedTuple):
    """One loop: over all ``values`` of the index in ``slot``, or the one that ``solver`` is zero at.

    The first level is no loop (``slot`` is None): it has the checks of what is known before any.
    """

    slot: int | None
    values: int
    solver: Exact | None
    checks: list[Condition]
    known: frozenset[Index]


@dataclass(frozen=True)
class Frame(Generic[V]):
    """Where the parts of one equation are compiled: the slots of its indices, and which of them its position gives."""

    compiler: Compiler[V]
    slots: Slots
    known: frozenset[Index]

    @property
    def F(self) -> Field[V]:
        return self.compiler.F

    def size(self, i: Index) -> int:
        return whole_size(i.size, self.compiler.sizes)

    def value(self, e: Expr) -> Closure[V]:
        return self.compiler.value(e, self.slots)

    def exact(self, e: Expr) -> Exact:
        return self.compiler.exact(e, self.slots)

    def argument(self, e: Expr) -> Closure[Argument[V]]:
        return self.compiler.argument(e, self.slots)

    def holds(self, row: Row) -> Condition:
        return self.compiler.relation(row.op, row.lhs, row.rhs, self.slots)


def _plan(bnd: Sequence[Index], rows: Sequence[Row], frame: Frame[V], in_order: bool = False) -> list[Level]:
    """The order of the loops.

    An equality row with one unknown index, of unit or dividing coefficient, gives that index instead of a loop.
    """
    seen, left, waiting = set(frame.known), list(bnd), list(rows)
    compiled = {r: frame.holds(r) for r in rows}

    def ready() -> list[Condition]:
        done = sorted((r for r in waiting if not (_indices(r) - seen)), key=lambda r: bool(r.reads()))  # ranges first
        for r in done:
            waiting.remove(r)
        return [compiled[r] for r in done]

    levels = [Level(None, 0, None, ready(), frozenset(seen))]
    while left:
        solved = None if in_order else _solvable(waiting, left, seen)
        if solved is not None:
            row, j = solved
            waiting.remove(row)
            solver: Exact | None = frame.exact(row.lhs - row.rhs)
        else:
            wanted = {i for r in waiting for i in _indices(r)}
            j = left[0] if in_order else min(left, key=lambda i: (i not in wanted, frame.size(i)))
            solver = None
        left.remove(j)
        seen.add(j)
        levels.append(Level(frame.slots[j], frame.size(j), solver, ready(), frozenset(seen)))
    return levels


def _indices(row: Row) -> set[Index]:
    return {s for s in row.free_symbols if isinstance(s, Index)}


def _solvable(rows: Sequence[Row], left: Sequence[Index], known: Set[Index]) -> tuple[Row, Index] | None:
    for r in rows:
        unknown = _indices(r) - known
        if r.op == "==" and len(unknown) == 1:
            j = next(iter(unknown))
            if j in left and _is_linear(r.lhs - r.rhs, j):
                return r, j
    return None


def _is_linear(e: Expr, j: Index) -> bool:
    """Whether j stands in sums and products with sizes and numbers only: not in a read, a floor or with an index."""
    if e == j or j not in e.free_symbols:
        return True
    if e.is_Add:
        return all(_is_linear(a, j) for a in e.args)
    if e.is_Mul:
        holding = [a for a in e.args if j in a.free_symbols]
        rest = [a for a in e.args if j not in a.free_symbols]
        return len(holding) == 1 and _is_linear(holding[0], j) and not any(a.atoms(Index, Read) for a in rest)
    return False


def _values_at(slot: int, n: int, solver: Exact | None, I: Values) -> Sequence[int]:
    """The values an index takes at one level; the solver is linear in it, so two of its values tell its root."""
    if solver is None:
        return range(n)
    I[slot] = 0
    base = solver(I)
    I[slot] = 1
    slope = solver(I) - base
    if slope == 0:
        return range(n) if base == 0 else ()
    j, rest = divmod(-base, slope)
    return (int(j),) if rest == 0 and 0 <= j < n else ()


def visitor(bnd: Sequence[Index], rows: Sequence[Row], frame: Frame[V], in_order: bool = False) -> Visitor:
    """``visit(I, leaf)`` calls ``leaf(I)`` for all values of the bound indices where the rows hold."""
    levels = _plan(bnd, rows, frame, in_order)

    def descend(depth: int, I: Values, leaf: Callable[[Values], object]) -> None:
        if depth == len(levels):
            leaf(I)
            return
        slot, n, solver, checks, _ = levels[depth]
        if slot is None:
            if all(c(I) for c in checks):
                descend(depth + 1, I, leaf)
            return
        for v in _values_at(slot, n, solver, I):
            I[slot] = v
            if all(c(I) for c in checks):
                descend(depth + 1, I, leaf)

    return lambda I, leaf: descend(0, I, leaf)


def gathered(visit: Visitor, value: Closure[V], I: Values) -> list[V]:
    """What a closure gives at everything that is visited, in order."""
    found: list[V] = []
    visit(I, lambda I: found.append(value(I)))
    return found


def product_sum(t: Term, frame: Frame[V]) -> Closure[V | None]:
    """``coef * sum of products``: a closure to its value, or to None where no product is left.

    The gradient of a convolution sums over six indices of which its rows leave three free: an index that a row determines
    is solved for, never tried, or a check would take days.  Every factor is multiplied in at the outermost loop at which
    its indices are known, and a zero leaves that loop: ``sum_{b,i,k} x[b,i] W[i,k] dz[b,k] [label[b] = k]`` reads W only
    where a label asks for it.

    What may not exist (a quotient, a root, a log) is multiplied in last, whatever its indices: beside a false row or a
    zero factor it does not matter, as in ``[i < n] / c[i]``, and must not be asked.  An index that is read out of its
    range by a row or a safe factor is the one case that this order does not cover; :func:`_careful_sum` does.
    """
    F = frame.F
    levels = _plan(t.bnd, t.rows, frame)
    waiting = [f for f in t.fac if _is_safe(f)]
    risky = [f for f in t.fac if not _is_safe(f)]
    steps = []
    for level in levels:
        now = [f for f in waiting if not ({s for s in f.free_symbols if isinstance(s, Index)} - level.known)]
        waiting = [f for f in waiting if f not in now]
        now.sort(key=lambda f: guard_of(f) is None)  # a false condition leaves before an infinity is multiplied by it
        steps.append((level, [frame.value(f) for f in now]))
    steps[-1][1].extend(frame.value(f) for f in (*waiting, *risky))
    coef = frame.value(t.coef)
    mul, add, is_zero = F.mul, F.add, F.is_zero

    def make(depth: int) -> Callable[[Values, V | None], V | None]:
        """The loops from ``depth`` inward, given the product so far; None, not one, so that nothing is multiplied by 1."""
        level, factors = steps[depth]
        inner = make(depth + 1) if depth + 1 < len(steps) else None
        slot, n, solver, checks, _ = level

        def multiplied(I: Values, product: V | None) -> V | None:
            for c in checks:
                if not c(I):
                    return None
            for f in factors:
                product = f(I) if product is None else mul(product, f(I))
                if is_zero(product):
                    return None
            if inner is not None:
                return inner(I, product)
            return F.one if product is None else product

        if slot is None:
            return multiplied

        def loop(I: Values, product: V | None) -> V | None:
            out: V | None = None
            for v in _values_at(slot, n, solver, I):
                I[slot] = v
                part = multiplied(I, product)
                if part is not None:
                    out = part if out is None else add(out, part)
            return out

        return loop

    run, plain = make(0), t.coef == 1
    careful = _careful_sum(t, frame)

    def term(I: Values) -> V | None:
        try:
            out = run(I, None)
        except Undefined:
            out = careful(I)
        return out if out is None or plain else mul(coef(I), out)

    return term


def _careful_sum(t: Term, frame: Frame[V]) -> Closure[V | None]:
    """The same sum without a plan: an integer read outside its tensor does not matter beside a false row or a zero.

    Needed where ``[label[j-1] == k]`` stands beside a read that is zero at ``j = 0``.
    """
    F = frame.F
    rows = [frame.holds(r) for r in t.rows]
    factors = [frame.value(f) for f in t.fac]
    ranges = [(frame.slots[b], frame.size(b)) for b in t.bnd]

    def product(I: Values) -> V | None:
        missing: OutOfRange | None = None
        for holds in rows:
            try:
                if not holds(I):
                    return None
            except OutOfRange as e:
                missing = e
        out = F.one
        for factor in factors:
            try:
                v = factor(I)
            except OutOfRange as e:
                missing = e
                continue
            if F.is_zero(v):
                return None
            out = F.mul(out, v)
        if missing is not None:
            raise missing
        return out

    def total(I: Values, depth: int = 0) -> V | None:
        if depth == len(ranges):
            return product(I)
        out: V | None = None
        slot, n = ranges[depth]
        for v in range(n):
            I[slot] = v
            part = total(I, depth + 1)
            if part is not None:
                out = part if out is None else F.add(out, part)
        return out

    return total


def _is_safe(f: Basic) -> bool:
    """Whether a factor exists at every position: no quotient, root, log or the like."""
    if isinstance(f, Read) or not f.args:
        return True
    if f.is_Pow and not (f.exp.is_Integer and f.exp > 0):
        return False
    if type(f).__name__ in PARTIAL:
        return False
    return all(_is_safe(a) for a in f.args)


def linear_tensors(equations: Iterable[Equation], also: Iterable[str] = ()) -> frozenset[str]:
    """Names of the tensors that stand as whole terms inside an exp, a sine or a log, or are summed into one that does.

    ``also`` names further tensors to start from.
    """
    found = set(also)
    by_name: dict[str, list[Equation]] = {}
    for e in equations:
        by_name.setdefault(e.name, []).append(e)
        for t in e.terms:
            for f in t.fac:
                for node in f.find(lambda n: type(n).__name__ in LINEAR):
                    found |= _whole_terms(node.args[0])
    todo = list(found)
    while todo:
        for e in by_name.get(todo.pop(), ()):
            for t in e.terms:
                new = _whole_terms(Mul(*t.fac, evaluate=False)) - found
                found |= new
                todo.extend(new)
    return frozenset(found)


def _whole_terms(e: Expr) -> set[str]:
    names = set()
    for factors in additive_terms(e):
        floats = [f for f in factors if not is_exact(f)]
        if len(floats) == 1 and isinstance(floats[0], Read):
            names.add(floats[0].tensor.name)
    return names
