"""Equations and recurrences as loops: the definition term by term, each condition before what it guards.

z[b,k] = sum_i x[b,i] W[i,k] + c[k]     for b, for k: total = 0; for i: total += x[b,i] W[i,k]; z[b,k] = total + c[k]
sum_{u,r: 2u + r = m} dy[u] K[r]        for u: r = m - 2u; if 0 <= r < R: total += dy[u] K[r]
max_r x[b,r]                            for r: v = x[b,r]; if v is above the best: the best = v, its place = r
h[t] = F(h[t-1])                        for t: every member in turn; what is not computed yet is 0
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import sympy
from sympy import Expr, Mul, Rational

from derive.language.affine import parts
from derive.language.index import Index
from derive.language.matrices import MATRICES, split_at
from derive.program.program import Equation, Row, Term
from derive.program.schedule import Scan
from numerics.emit.source.names import comment
from numerics.emit.terms import accurate

from . import tree
from .scalars import Scalars
from .tree import (
    Array,
    At,
    Call,
    Choose,
    Comment,
    Constant,
    Gap,
    If,
    Let,
    Loop,
    Minus,
    Num,
    Op,
    Put,
    Statement,
    Var,
    joined,
    summed,
)

Body = Callable[[], list[Statement]]  # what stands innermost, written once all indices are open
Plan = list[tuple[Index, Expr | None]]  # bound indices from the outermost on, and what an equality says that they are


class Equations(Scalars):
    """Writes equations; :class:`Scalars` knows the variables."""

    def group(self, group: Equation | Scan) -> list[Statement]:
        """One equation, or a recurrence."""
        return self.scan(group) if isinstance(group, Scan) else self.equation(group)

    def equation(self, e: Equation) -> list[Statement]:
        if not e.idx:
            found, value = self.element_value(e, e.name)
            self.beside.clear()  # of the function itself: never free again
            return [Gap(), said(e), *found, Let(self.arrays[e.name], value)]
        return [Gap(), said(e), self.allocated(e), *self.looped(e, e.idx)]

    def scan(self, group: Scan) -> list[Statement]:
        """One step after another, the members of each step in their order."""
        first = group.equations[0]
        time = first.idx[group.axis[first.name]]
        step, place = self.opened(time)
        body: list[Statement] = []
        for e in group.equations:
            at = group.axis[e.name]
            self.places[e.idx[at]] = place
            body += [said(e), *self.looped(e, (*e.idx[:at], *e.idx[at + 1 :]))]
        self.close([step], {e.idx[group.axis[e.name]] for e in group.equations})
        loop = Loop(step, self.value(time.size), tuple(body), group.direction < 0)
        return [Gap(), *(self.allocated(e) for e in group.equations), loop]

    def allocated(self, e: Equation) -> Array:
        return Array(self.arrays[e.name], e.tensor.dtype, self.value(Mul(*e.tensor.axes)))

    def opened(self, i: Index) -> tuple[str, tree.Expr]:
        """A variable for an index, from here on."""
        name = self.names.fresh(i.name)
        self.places[i] = Var(name)
        return name, self.places[i]

    def close(self, names: Iterable[str], indices: Iterable[Index] = ()) -> None:
        """Names of blocks that have ended may be used again, and their indices are open no more."""
        self.names.taken -= set(names)
        for i in indices:
            del self.places[i]

    def looped(self, e: Equation, over: Sequence[Index]) -> list[Statement]:
        """Loops over the indices that are not open yet, around the value of one element."""
        own = split_at(e.reduce, tuple(over))[1] if e.reduce in MATRICES else ()
        free = [i for i in over if i not in own]
        variables = [self.opened(i)[0] for i in free]
        if own:
            body = self.whole_matrix(e, own)
        else:
            found, value = self.element_value(e)
            body = [*found, Put(self.element(e), value)]
        self.close([*variables, *self.beside], free)
        self.beside.clear()
        return self.nest(free, variables, body)

    def nest(self, over: Sequence[Index], variables: Sequence[str], body: list[Statement]) -> list[Statement]:
        for name, i in reversed(list(zip(variables, over, strict=True))):
            body = [Loop(name, self.value(i.size), tuple(body))]
        return body

    def element(self, e: Equation) -> tree.Expr:
        return At(self.arrays[e.name], self.place([self.places[i] for i in e.idx], e.tensor.axes))

    def element_value(self, e: Equation, outside: str = "") -> tuple[list[Statement], tree.Expr]:
        """What must be done first, and the value; ``outside`` tells names apart that stand in no loop."""
        if e.reduce in MATRICES:
            matrix, found = self.matrix(e, outside)
            return found, Call(str(e.reduce), (Var(matrix), self.value(e.over[0].size)))
        return self.best(e, outside) if e.reduce else self.terms(e.terms, outside)

    # -- sums ------------------------------------------------------------------------------------------------------

    def terms(self, terms: Sequence[Term], outside: str = "") -> tuple[list[Statement], tree.Expr]:
        """A sum of terms, each sum over bound indices in a variable of its own."""
        done: list[Statement] = []
        added: list[tuple[bool, tree.Expr]] = []
        sums: list[str] = []
        for t in accurate.together(terms):
            negative = t.coef.could_extract_minus_sign()
            coef = -t.coef if negative else t.coef
            if not t.bnd:
                tests = [self.condition(r.condition) for r in t.rows]
                value = self.product([coef, *t.fac])
                added.append((negative, Choose(joined("and", tests), value, Num(0)) if tests else value))
                continue
            name = self.names.fresh(f"{outside}_total" if outside else "total")
            sums += [] if outside else [name]
            done += [Let(name, Num(0), changes=True), *self.visited(t.bnd, t.rows, self.adding(name, t))]
            added.append((negative, self.scaled(coef, Var(name))))
        self.close(sums)
        return done, summed(added)

    def adding(self, name: str, t: Term) -> Body:
        return lambda: [Put(Var(name), self.product(t.fac), adds=True)]

    def scaled(self, coef: Expr, value: tree.Expr) -> tree.Expr:
        """``coef * value``, a coefficient ``1 / B`` as a division."""
        top, bottom = sympy.fraction(coef)
        if isinstance(coef, Rational) or bottom == 1:
            return value if coef == 1 else Op("*", self.value(coef), value)
        above = value if top == 1 else Op("*", self.value(top), value)
        return Op("/", above, self.value(bottom))

    def best(self, e: Equation, outside: str) -> tuple[list[Statement], tree.Expr]:
        """The largest value over the positions that exist, or where the first of them stands."""
        names = [self.names.fresh(f"{outside}_{what}" if outside else what) for what in ("best", "place", "here")]
        best, place, here = names
        argmax = e.reduce == "argmax"

        def look() -> list[Statement]:
            found, value = self.terms(e.terms)
            at = [Put(Var(place), self.places[e.over[0]])] if argmax else []
            better = If(Call("above", (Var(here), Var(best))), (Put(Var(best), Var(here)), *at))
            return [*found, Let(here, value), better]

        done: list[Statement] = [Let(best, Minus(Constant("infinity")), changes=True)]
        done += [Let(place, Num(0), changes=True)] if argmax else []
        done += self.visited(e.over, e.guards, look)
        self.close([] if outside else names)
        return done, Var(place if argmax else best)

    # -- matrices --------------------------------------------------------------------------------------------------

    def matrix(self, e: Equation, outside: str = "") -> tuple[str, list[Statement]]:
        """The matrix of an equation as an array of its own, filled."""
        n = self.value(e.over[0].size)
        name = self.names.fresh(f"{outside}_matrix" if outside else "matrix")
        variables = [self.opened(i)[0] for i in e.over]
        rows, columns = (self.places[i] for i in e.over)
        filled = Put(At(name, Op("+", Op("*", rows, n), columns)), self.product(e.terms[0].fac))
        self.close(variables, e.over)
        return name, [Array(name, "float", Op("*", n, n)), *self.nest(e.over, variables, [filled])]

    def whole_matrix(self, e: Equation, own: Sequence[Index]) -> list[Statement]:
        """An inverse at all of its elements."""
        matrix, found = self.matrix(e)
        n = self.value(e.over[0].size)
        inverted = self.names.fresh("inverted")
        variables = [self.opened(i)[0] for i in own]
        rows, columns = (self.places[i] for i in own)
        put = Put(self.element(e), At(inverted, Op("+", Op("*", rows, n), columns)))
        self.close([matrix, inverted, *variables], own)
        return [*found, Let(inverted, Call(str(e.reduce), (Var(matrix), n))), *self.nest(own, variables, [put])]

    # -- loops over bound indices ----------------------------------------------------------------------------------

    def visited(self, over: Sequence[Index], rows: Sequence[Row], body: Body) -> list[Statement]:
        """Loops over bound indices where the rows hold; an equality that gives one of them takes the place of its loop."""
        plan, waiting = _planned(over, rows)
        return self._nested(plan, waiting, body)

    def _nested(self, plan: Plan, waiting: list[Row], body: Body) -> list[Statement]:
        ready = [r for r in waiting if all(i in self.places for i in r.free_symbols if isinstance(i, Index))]
        if ready:
            rest = [r for r in waiting if r not in ready]
            return [
                If(joined("and", [self.condition(r.condition) for r in ready]), tuple(self._nested(plan, rest, body)))
            ]
        if not plan:
            return body()
        (i, solution), *others = plan
        value = self.value(i.size if solution is None else solution)
        name, place = self.opened(i)
        inner = self._nested(others, waiting, body)
        if solution is None:
            self.close([name], [i])
            return [Loop(name, value, tuple(inner))]
        self.close([], [i])
        self.beside.append(name)  # it stands in the block around, where the next sum may have an index of this name
        tests = [Op(t.op, place, t.right) for t in self.inside(solution, i.size) if isinstance(t, Op)]
        return [Let(name, value), *([If(joined("and", tests), tuple(inner))] if tests else inner)]


def _planned(over: Sequence[Index], rows: Sequence[Row]) -> tuple[Plan, list[Row]]:
    """The order of bound indices, and the rows that stay conditions."""
    plan: Plan = []
    left, waiting = list(over), list(rows)
    while left:
        solved = [(i, r, v) for i in left for r in waiting if (v := solution(r, i)) is not None]
        found = next((s for s in solved if not s[2].free_symbols & set(left)), None)
        if found is None:  # one that no equality gives comes first, for it may be what gives the others
            i = next((j for j in left if all(j != s[0] for s in solved)), left[0])
            plan.append((i, None))
        else:
            i, row, value = found
            waiting.remove(row)
            plan.append((i, value))
        left.remove(i)
    return plan, waiting


def solution(row: Row, i: Index) -> Expr | None:
    """``i`` from ``lhs == rhs``, if it stands there once with the coefficient 1 or -1."""
    split = parts(sympy.expand(row.lhs - row.rhs)) if row.op == "==" else None
    if split is None or split[0].get(i) not in (1, -1):
        return None
    coefs, rest = split
    others = {a: c for a, c in coefs.items() if a != i}
    if any(i in a.free_symbols for a in others):
        return None
    return -coefs[i] * sympy.Add(*(c * a for a, c in others.items()), rest)


def said(e: Equation) -> Comment:
    """An equation with its number."""
    number = f"({e.number}) " if e.number else ""
    return Comment(comment(f"{number}{' '.join(str(e).split())}"))
