"""A group of equations as one loop over rows: sums over them before and after, what only a row needs in a buffer.

    dg[i] = 0 for i;  for b: mean = (sum_i x[b,i]) / I;  xh[i] = x[b,i] - mean for i;  dg[i] += up[b,i] xh[i] for i

Sums over rows are those of blocks of :data:`BLOCK` rows, added up: of a million rows float32 keeps its digits so.

The innermost loop goes along the index by which most arrays are next to themselves; no step of it needs the one before, or
all that it adds up stands in numbers of its own (``lanes``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from sympy import Expr, Mul

from derive.language.index import Index, Size
from derive.language.tensor import Read
from derive.program.program import Equation, Row, Term
from numerics.emit.source.names import Names

from . import tree
from .c_printer import CPrinter
from .costs import Known, count
from .equations import Body, said
from .joining import joined_loops
from .rows import Fused
from .tiles import Tiles
from .tree import Array, At, Call, Choose, Let, Lines, Loop, Num, Op, Put, Statement, Var, joined

BLOCK = 256  # rows that are added up before they are added to those of other blocks


class ByRow(Tiles):
    """Writes the loops of one group: what each part of the rows computes, and what is done before and after all of them."""

    def __init__(
        self,
        names: Names,
        arrays: dict[str, str],
        sizes: Mapping[Size, str],
        group: Fused,
        printer: CPrinter,
        known: Known = lambda e: e,
    ):
        super().__init__(names, arrays, sizes, printer)
        self.fused, self.known = group, known
        self.totals = [e for e in group.equations if e.name in group.totals]
        self.inner = {e.name: e.tensor for e in group.equations if e.name not in {*group.kept, *group.totals}}
        self.parts: dict[str, str] = {}  # sums over the rows of a block, by which the digits of long sums are kept
        self.results = {e.name: self.arrays[e.name] for e in group.equations}
        self.sums = [(e, group.tiles[e.name]) for e in group.equations if e.name in group.tiles]
        turned = [e.name for e, t in self.sums if t.copied]
        self.copies = {n: self.names.fresh(f"{self.arrays[n]}_turned") for n in turned}
        self.own = {e.name: self.names.fresh(f"{self.arrays[e.name]}_sums") for e in self.totals}

    # -- what is shared ------------------------------------------------------------------------------------------------

    def shared(self) -> tuple[list[Statement], str]:
        """Where copies and the sums of the parts stand in what all parts share, and its length."""
        lines: list[str] = []
        before: list[str] = []
        for e, t in self.sums:
            if t.copied:
                lines.append(f"REAL *{self.copies[e.name]} = {' + '.join(['own', *before])};")
                before.append(self.text(Mul(*(i.size for i in self.order(t)))))
        for e in self.totals:
            lines.append(f"REAL *{self.own[e.name]} = {' + '.join(['own', *before])};")
            before.append(f"parts * {self.numbers(e)}")
        count = [self.numbers(e) for e in self.totals]
        parts = f"const long parts = parts_of({self.text(self.fused.size)}, {' + '.join(count) or '0'});"
        return [Lines((parts,)), Lines(tuple(lines))], " + ".join(before)

    def numbers(self, e: Equation) -> str:
        return self.text(Mul(*e.tensor.axes), 7)

    def whole(self, part: str) -> list[Statement]:
        """The function that XLA calls: the parts, and their sums."""
        (parts, places), length = self.shared()
        found = [
            parts,
            Lines((f"REAL *own = malloc(sizeof(REAL) * ({length}));" if length else "REAL *own = 0;",)),
            places,
        ]
        for e, t in self.sums:
            found += self.copied(e, t) if t.copied else []
        found.append(Lines((f"in_parts(frame, parts, {part}, own);",)))
        for e in self.totals:
            found += self.started(e, e.idx)
            numbers = self.numbers(e)
            add = f"{self.arrays[e.name]}[n] += {self.own[e.name]}[part * {numbers} + n];"
            loop = f"for (long part = 0; part < parts; part++) for (long n = 0; n < {numbers}; n++) {add}"
            found.append(Lines((loop,)))
        return [*found, Lines(("free(own);",))]

    # -- the rows of a part --------------------------------------------------------------------------------------------

    def part(self) -> list[Statement]:
        """The rows of one part, from the first to the last."""
        g = self.fused
        (parts, places), _ = self.shared()
        buffers: list[Statement] = [
            Array(self.arrays[n], "float", self.value(Mul(*t.axes[1:]))) for n, t in self.inner.items() if t.rank > 1
        ]
        start = [s for e, t in self.sums for s in self.listed(e, t)]
        for e in self.totals:
            numbers = self.numbers(e)
            start.append(Lines((f"memset({self.own[e.name]} += part * {numbers}, 0, sizeof(REAL) * {numbers});",)))
            self.results[e.name] = self.own[e.name]
        plain = [e for e in self.totals if e.name not in g.tiles]
        row, place = self.opened(g.rows[g.equations[0].name])
        first, last, step = (self.names.fresh(n) for n in ("from", "until", "step"))
        self.printer.integers |= {"part", "parts", row}
        rows = self.value(g.size)

        def share(n: tree.Expr) -> tree.Expr:
            return Call("floor", (Op("/", Op("*", rows, n), Var("parts")),))

        ends = [Let(first, share(Var("part"))), Let(last, share(Op("+", Var("part"), Num(1))))]
        self.parts = {e.name: self.names.fresh(f"{self.arrays[e.name]}_part") for e in plain}
        buffers += [Array(self.parts[e.name], "float", self.value(Mul(*e.tensor.axes))) for e in plain]
        zeroed = [s for e in plain for s in self.filled(e, e.idx, ())]
        body: list[Statement] = []
        for e in g.equations:
            self.places[g.rows[e.name]] = place
            body += [said(e), *self.one(e)]
        self.close([row, *self.beside], set(g.rows.values()))
        body = joined_loops(body)
        end = [s for e, t in self.sums for s in self.freed(e, t)]
        end += [Lines((f"free({s.name});",)) for s in buffers if isinstance(s, Array)]
        left = Op("-", Var(last), Var(first))
        if not plain:
            loop = Loop(step, left, (Let(row, Op("+", Var(first), Var(step))), *body))
            return [parts, places, *start, *buffers, *ends, loop, *end]
        block, begin = self.names.fresh("block"), self.names.fresh("begin")
        here = Let(begin, Op("+", Var(first), Op("*", Var(block), Num(BLOCK))))
        rest = Op("-", Var(last), Var(begin))
        steps = Choose(Op("<", rest, Num(BLOCK)), rest, Num(BLOCK))
        loop = Loop(step, steps, (Let(row, Op("+", Var(begin), Var(step))), *body))
        after = [s for e in plain for s in self.each(e)]
        blocks = Call("floor", (Op("/", Op("+", left, Num(BLOCK - 1)), Num(BLOCK)),))
        return [parts, places, *start, *buffers, *ends, Loop(block, blocks, (here, *zeroed, loop, *after)), *end]

    def each(self, e: Equation) -> list[Statement]:
        """The sum over the rows of a block, added to that of the part."""
        lane = e.idx[-1] if e.idx else None

        def inner() -> Statement:
            at = At(self.own[e.name], self.place([self.places[i] for i in e.idx], e.tensor.axes))
            return Put(at, self.element(e), adds=True)

        return self.looped_over(e.idx[:-1], lambda: self.along(lane, inner))

    # -- one equation at one row -----------------------------------------------------------------------------------

    def one(self, e: Equation) -> list[Statement]:
        tiles = self.fused.tiles.get(e.name)
        if tiles is not None:
            start = [] if tiles.summed else self.started(e, [i for i in e.idx if i != tiles.shared])
            return [*start, self.tiled(e, tiles)]
        if e.name in self.fused.totals:
            row = self.fused.rows[e.name]
            return [s for t in e.terms for s in self.added(e, t, e.idx, [i for i in t.bnd if i != row])]
        over = e.idx[1:]
        plain = [t for t in e.terms if not t.bnd]
        if not over:
            return self.alone(e)
        sums = [t for t in e.terms if t.bnd]
        return [*self.filled(e, over, plain), *(s for t in sums for s in self.added(e, t, over, t.bnd))]

    def alone(self, e: Equation) -> list[Statement]:
        """One number of a row."""
        done: list[Statement] = []
        parts: list[tuple[bool, tree.Expr]] = []
        names: list[str] = []
        for t in e.terms:
            negative = t.coef.could_extract_minus_sign()
            coef = -t.coef if negative else t.coef
            if t.bnd:
                names.append(self.names.fresh("total"))
                done += [Let(names[-1], Num(0), changes=True), *self.summed_up(names[-1], t.fac, t.bnd, t.rows)]
                parts.append((negative, self.scaled(coef, Var(names[-1]))))
            else:
                parts.append((negative, self.guarded(t, self.product([coef, *t.fac]))))
        self.beside += names  # they stand beside the next equation's
        value = tree.summed(parts)
        if e.name in self.inner:
            return [*done, Let(self.arrays[e.name], value, changes=True)]
        return [*done, Put(self.element(e), value)]

    def filled(self, e: Equation, over: Sequence[Index], terms: Sequence[Term]) -> list[Statement]:
        """An array along ``over`` set to terms that sum over nothing, or to zero."""

        lane = self.lane(over, (), [f for t in terms for f in t.fac], [Read(e.tensor, *e.idx)], ())

        def put() -> Statement:
            return Put(self.element(e), self.plain(list(terms)))

        return self.looped_over([i for i in over if i != lane], lambda: self.along(lane, put))

    def added(self, e: Equation, t: Term, over: Sequence[Index], bnd: Sequence[Index]) -> list[Statement]:
        """A sum of a term added onto an array."""
        lane = self.lane(over, bnd, t.fac, [Read(e.tensor, *e.idx)], t.rows)
        bnd = sorted(bnd, key=self.length)  # the long one is what an equality of two gives
        if not over or lane in bnd:
            return self.looped_over(over, lambda: self.total(e, t, bnd))

        def put() -> Statement:
            return Put(self.element(e), self.product([t.coef, *t.fac]), adds=True)

        outer = [i for i in over if i != lane]
        if e.name in self.fused.totals or t.rows:  # what is summed over is gone through once, and scattered
            long = sorted(bnd, key=lambda i: -self.length(i))
            return self.visited([*long, *outer], t.rows, lambda: self.along(lane, put))
        return self.looped_over(outer, lambda: self.visited(bnd, t.rows, lambda: self.along(lane, put)))

    def total(self, e: Equation, t: Term, bnd: Sequence[Index]) -> list[Statement]:
        """The sum in a number of its own, which is then added."""
        if not bnd:
            return [Put(self.element(e), self.guarded(t, self.product([t.coef, *t.fac])), adds=True)]
        name = self.names.fresh("total")
        found = self.summed_up(name, t.fac, bnd, t.rows)
        negative = t.coef.could_extract_minus_sign()
        value = self.scaled(-t.coef if negative else t.coef, Var(name))
        self.beside.append(name)
        put = Put(self.element(e), tree.Minus(value) if negative else value, adds=True)
        return [Let(name, Num(0), changes=True), *found, put]

    def summed_up(self, name: str, fac: Sequence[Expr], bnd: Sequence[Index], rows: Sequence[Row]) -> list[Statement]:
        """``name += product`` over bound indices."""
        lane = self.lane((), bnd, fac, (), rows)

        def add() -> Statement:
            return Put(Var(name), self.product(fac), adds=True)

        return self.visited([i for i in bnd if i != lane], rows, lambda: self.along(lane, add, (name,)))

    # -- loops -----------------------------------------------------------------------------------------------------

    def looped_over(self, over: Sequence[Index], body: Body) -> list[Statement]:
        """Loops over free indices around what is written once they are open."""
        variables = [self.opened(i)[0] for i in over]
        found = body()
        self.close(variables, over)
        return self.nest(over, variables, found)

    def length(self, i: Index) -> int:
        return count(i.size, self.known)

    def along(
        self, lane: Index | None, inner: Callable[[], Statement], totals: tuple[str, ...] = ()
    ) -> list[Statement]:
        """The innermost loop, if there is one."""
        if lane is None:
            return [inner()]
        variable, _ = self.opened(lane)
        body = (inner(),)
        self.close([variable], [lane])
        return [Loop(variable, self.value(lane.size), body, lanes=True, totals=totals)]

    def lane(
        self,
        over: Sequence[Index],
        bnd: Sequence[Index],
        fac: Sequence[Expr],
        writes: Sequence[Read],
        rows: Sequence[Row],
    ) -> Index | None:
        """The index by which most arrays are next to themselves, of those that no condition reads."""
        reads = [*writes, *(r for f in fac for r in f.atoms(Read))]
        tied = {i for r in rows for i in r.free_symbols}
        found = [i for i in (*over, *bnd) if i not in tied]
        next_to = {i: sum(bool(r.idx) and r.idx[-1] == i for r in reads) for i in found}
        apart = {i: sum(i in n.free_symbols for r in reads for n in r.idx[:-1]) for i in found}
        best = max(found, key=lambda i: next_to[i] - apart[i], default=None)
        return best if best is not None and next_to[best] else (found[-1] if found and not bnd else None)

    # -- reads -----------------------------------------------------------------------------------------------------

    def read(self, r: Read) -> tree.Expr:
        """An element; of what only a row has, without the row."""
        if r.tensor.name not in self.inner:
            return super().read(r)
        array = self.arrays[r.tensor.name]
        if r.tensor.rank == 1:
            return Var(array)
        axes = r.tensor.axes[1:]
        tests = [t for i, n in zip(r.idx[1:], axes, strict=True) for t in self.inside(i, n)]
        found = At(array, self.place([self.value(i) for i in r.idx[1:]], axes))
        return Choose(joined("and", tests), found, Num(0)) if tests else found

    def element(self, e: Equation) -> tree.Expr:
        inner = e.name in self.inner
        places = [self.places[i] for i in e.idx[inner:]]
        return At(self.parts.get(e.name, self.arrays[e.name]), self.place(places, e.tensor.axes[inner:]))
