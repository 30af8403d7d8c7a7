"""A sum of products over windows in C: around tiles, which a helper computes, the loops over all that a tile has not.

    for each b, on whatever thread:  z[b] = bias
      for blocks of o, for u:        z[b,u, v, o] += sum_{r,s,c} x[b,u+r, v+s, c] k[r,s,c, o]       tiles of v and o

Where a place may lie outside of its array, the steps at which it does are left out of the innermost loop over its indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sympy import Expr, Integer, Mul

from derive.language.affine import parts
from derive.language.index import Index, Size
from numerics.emit.source.names import Names

from .equations import said
from .in_c import InC
from .javascript import folded
from .tree import At, Loop, Put, Statement
from .windows import Strides, Tiled

if TYPE_CHECKING:
    from .c import CPrinter


class Tiles(InC):
    """Writes the C of one equation: what each part computes, and what is done before and after all of them."""

    def __init__(
        self, names: Names, arrays: dict[str, str], sizes: Mapping[Size, str], group: Tiled, printer: CPrinter
    ):
        super().__init__(names, arrays, sizes)
        self.group, self.printer = group, printer
        (self.written,) = group.equations
        self.out, self.one, self.many = group.strides()
        self.copied: list[Index] = []  # the order in which a factor is copied, where its columns are not at the end
        if self.many[group.columns] != 1:
            self.copied = [*(i for i in self.many.steps if i != group.columns), group.columns]
            apart = {i: Mul(*(j.size for j in self.copied[n + 1 :])) for n, i in enumerate(self.copied)}
            self.many, self.read_from = Strides(apart, Integer(0)), self.many
        self.variables: list[str] = []
        self.lines: list[str] = []
        self.depth = 1

    # -- a part ------------------------------------------------------------------------------------------------------

    def part(self) -> list[str]:
        """The body of one part."""
        g = self.group
        listed = not any(p.free_symbols & set(g.taps) for p, _ in g.limits)  # whether the taps are always the same ones
        self.put(said(self.written))
        if g.taps:
            self.write(f"long *one_at = malloc(sizeof(long) * 2 * {self.size(Mul(*(i.size for i in g.taps)), 7)});")
            self.write(f"long *many_at = one_at + {self.size(Mul(*(i.size for i in g.taps)))}, taps = 0;")
        else:
            self.write("const long here = 0;")
        if g.taps and listed:
            self.taps()
        index, length = self.variable(g.shared), self.size(g.shared.size, 7)
        if g.summed:
            numbers, before = self.size(self.numbers, 7), self.before()
            self.write(f"const long parts = parts_of({length}, {numbers});")
            self.write(f"REAL *restrict sums = own + {before}part * {numbers};")
            self.write(f"memset(sums, 0, sizeof(REAL) * {numbers});")
            first, last = f"{length} * part / parts", f"{length} * (part + 1) / parts"
            self.begin(f"for (long {index} = {first}; {index} < {last}; {index}++)")
        else:
            self.write(f"const long {index} = part;")
            self.start([i for i in self.written.idx if i != g.shared])
        self.begin(f"for (long first = 0; first < {self.size(g.columns.size)}; first += BLOCK)")
        for i in g.outer:
            self.ranged(i)
        if g.taps and not listed:
            self.write("taps = 0;")
            self.taps()
        self.products()
        while self.depth > 1:
            self.end()
        if g.taps:
            self.write("free(one_at);")
        self.names.taken -= {*self.variables}
        return self.lines

    def taps(self) -> None:
        """The places of the taps that are inside."""
        depth, taps = self.depth, self.group.taps
        for i in taps:
            self.ranged(i)
        one, many = (self.size(_at(Strides(s.steps, Integer(0)), taps)) for s in (self.one, self.many))
        self.write(f"one_at[taps] = {one};", f"many_at[taps++] = {many};")
        while self.depth > depth:
            self.end()
        for i in taps:
            del self.places[i]

    def products(self) -> None:
        """One tile of rows after the other, all that is inside."""
        g = self.group
        here = [g.shared, *g.outer]
        counts = []
        for i in (g.rows, g.depth):
            low, high = self.limits(i)
            counts.append(high)
            if low != "0":
                name = self.variable(i)
                self.write(f"const long {name} = {low};")
                counts[-1] = f"{high} - {name}"
                here.append(i)
        many = "own" if self.copied else self.arrays[g.many.tensor.name]
        out = "sums" if g.summed else self.arrays[self.written.name]
        taps, one_at, many_at = ("taps", "one_at", "many_at") if g.taps else ("1", "&here", "&here")
        step = {
            name: self.size(strides[i])
            for name, strides, i in (
                ("one_row", self.one, g.rows),
                ("one_depth", self.one, g.depth),
                ("many_depth", self.many, g.depth),
                ("out_row", self.out, g.rows),
            )
        }
        columns = self.size(g.columns.size)
        self.write(
            "products((Products){",
            f"  .rows = {counts[0]}, .first = first, .columns = {columns}, .taps = {taps}, .depth = {counts[1]},",
            f"  .one = {self.arrays[g.one.tensor.name]} + {self.at(self.one, here, 7)}, .one_at = {one_at},",
            f"  .one_row = {step['one_row']}, .one_depth = {step['one_depth']},",
            f"  .many = {many} + {self.at(self.many, here, 7)}, .many_at = {many_at}, .many_depth = {step['many_depth']},",
            f"  .out = {out} + {self.at(self.out, here, 7)}, .out_row = {step['out_row']}",
            "});",
        )

    # -- before and after --------------------------------------------------------------------------------------------

    def whole(self, part: str) -> list[str]:
        """The body of the function that XLA calls."""
        g = self.group
        length, numbers = self.size(g.shared.size), self.size(self.numbers, 7)
        own = [self.size(Mul(*(i.size for i in self.copied)))] if self.copied else []
        if g.summed:
            self.write(f"const long parts = parts_of({length}, {numbers});")
            own.append(f"parts * {numbers}")
        self.write(f"REAL *own = malloc(sizeof(REAL) * ({' + '.join(own)}));" if own else "REAL *own = 0;")
        if self.copied:
            self.copy()
        self.write(f"in_parts(frame, {'parts' if g.summed else length}, {part}, own);")
        if g.summed:
            self.start(self.written.idx)
            result = self.arrays[self.written.name]
            self.begin("for (long part = 0; part < parts; part++)")
            self.write("#pragma omp simd")
            sums = f"own[{self.before()}part * {numbers} + n]"
            self.write(f"for (long n = 0; n < {numbers}; n++) {result}[n] += {sums};")
            self.end()
        self.write("free(own);")
        return self.lines

    def copy(self) -> None:
        """A factor in another order, its columns next to each other."""
        variables = [self.opened(i)[0] for i in self.copied]
        source = At(self.arrays[self.group.many.tensor.name], self.value(_at(self.read_from, self.copied)))
        body: list[Statement] = [Put(At("own", self.value(_at(self.many, self.copied))), source)]
        self.close(variables, self.copied)
        self.put(*self.nest(self.copied, variables, body))

    def start(self, over: Sequence[Index]) -> None:
        """What the result has before products are added to it."""
        variables = [self.opened(i)[0] for i in over]
        terms = [t for t in self.written.terms if not t.bnd]
        inner = Put(self.element(self.written), self.plain(terms))
        self.close(variables, over)
        lane = Loop(variables[-1], self.value(over[-1].size), (inner,), lanes=True)
        self.put(*self.nest(over[:-1], variables[:-1], [lane]))

    # -- places ------------------------------------------------------------------------------------------------------

    @property
    def numbers(self) -> Expr:
        return Mul(*self.written.tensor.axes)

    def before(self) -> str:
        """What stands before the sums of the parts."""
        return f"{self.size(Mul(*(i.size for i in self.copied)))} + " if self.copied else ""

    def size(self, e: Expr, least: int = 0) -> str:
        return self.printer.integer(self.value(e), least)

    def at(self, strides: Strides, over: Sequence[Index], least: int = 0) -> str:
        return self.size(_at(strides, over), least)

    def limits(self, i: Index) -> tuple[str, str]:
        """The steps of an index, from and until, at which those places are inside that wait for no other index."""
        low, high = "0", self.size(i.size)
        for place, axis in self.group.limits:
            split = parts(place)
            assert split is not None  # as the choice says
            if i not in split[0] or any(j != i and j not in self.places for j in split[0]):
                continue
            step = split[0][i]
            behind, left = self.size(step * i - place), self.size(axis - place + step * i)
            if step != 1:
                behind, left = (f"{f}({x}, {self.size(step)})" for f, x in (("begin", behind), ("end", left)))
            low, high = f"larger({low}, {behind})", f"smaller({high}, {left})"
        return low, high

    # -- lines -------------------------------------------------------------------------------------------------------

    def variable(self, i: Index) -> str:
        name, _ = self.opened(i)
        self.printer.integers.add(name)
        self.variables.append(name)
        return name

    def ranged(self, i: Index) -> None:
        """A loop over an index where its places are inside."""
        low, high = self.limits(i)
        name = self.variable(i)
        self.begin(f"for (long {name} = {low}; {name} < {high}; {name}++)")

    def put(self, *statements: Statement) -> None:
        self.lines += [line for s in statements for line in self.printer.statement(s, self.depth)]

    def write(self, *lines: str) -> None:
        self.lines += [part for line in lines for part in folded("  " * self.depth + line)]

    def begin(self, head: str) -> None:
        self.write(head + " {")
        self.depth += 1

    def end(self) -> None:
        self.depth -= 1
        self.write("}")


def _at(strides: Strides, over: Sequence[Index]) -> Expr:
    """The place in a flat array of the indices that are open; the others are 0."""
    return sum((strides[i] * i for i in over), strides.start)
