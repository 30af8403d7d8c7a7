"""A sum of products over windows in C: around tiles, which a helper computes, the loops over all that a tile has not.

    z[b] = bias;  for blocks of o, for u:   z[b,u, v, o] += sum_{r,s,c} x[b,u+r, v+s, c] k[r,s,c,o]      tiles of v and o

Where a place may lie outside of its array, the steps at which it does are left out of the innermost loop over its indices.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sympy import Expr, Integer, Mul

from derive.language.affine import parts
from derive.language.index import Index, Size
from derive.language.tensor import Tensor
from derive.program.program import Equation
from numerics.emit.source.names import Names

from .c_printer import CPrinter
from .in_c import InC
from .javascript import folded
from .tree import At, Lines, Loop, Put, Statement
from .windows import Strides, Tiled


class Tiles(InC):
    """Writes sums of products over windows, within a row that is open.

    Attributes
    ----------
    inner : dict of str to Tensor
        What only a row has: it is kept without the axis of the rows.
    results : dict of str to str
        Equation -> the array that its tiles are added to.
    copies : dict of str to str
        Equation -> its factor with the columns, where that is copied with them at the end.
    """

    def __init__(self, names: Names, arrays: dict[str, str], sizes: Mapping[Size, str], printer: CPrinter):
        super().__init__(names, arrays, sizes)
        self.printer = printer
        self.inner: dict[str, Tensor] = {}
        self.results: dict[str, str] = {}
        self.copies: dict[str, str] = {}
        self.lists: dict[str, tuple[str, str, str]] = {}  # equation -> how many taps, and where they are in the factors

    # -- before the rows -----------------------------------------------------------------------------------------------

    def listed(self, e: Equation, t: Tiled) -> list[Statement]:
        """Room for the places of the taps of a sum, which are listed here where they are always the same."""
        name = self.arrays[e.name]
        here, there, count = (self.names.fresh(f"{name}_{n}") for n in ("at", "beside", "taps"))
        self.lists[e.name] = count, here, there
        if not t.taps:
            return [Lines((f"const long {count} = 1, {here}[1] = {{0}}, {there}[1] = {{0}};",))]
        room = self.text(Mul(*(i.size for i in t.taps)), 7)
        lines = Block(self)
        lines.write(f"long {count} = 0, *{here} = malloc(sizeof(long) * 2 * {room}), *{there} = {here} + {room};")
        if self.always(t):
            lines.taps(e, t)
        return [lines.statement((), ())]

    def freed(self, e: Equation, t: Tiled) -> list[Statement]:
        return [Lines((f"free({self.lists[e.name][1]});",))] if t.taps else []

    def always(self, t: Tiled) -> bool:
        """Whether the taps are the same at every place."""
        return not any(p.free_symbols & set(t.taps) for p, _ in t.limits)

    def copied(self, e: Equation, t: Tiled) -> list[Statement]:
        """The copy of a factor, its columns next to each other."""
        order = self.order(t)
        variables = [self.opened(i)[0] for i in order]
        source = At(self.arrays[t.many.tensor.name], self.value(place(self.read_strides(t), order)))
        body: list[Statement] = [Put(At(self.copies[e.name], self.value(place(self.strides(t)[2], order))), source)]
        self.close(variables, order)
        return self.nest(order, variables, body)

    # -- a row ---------------------------------------------------------------------------------------------------------

    def tiled(self, e: Equation, t: Tiled) -> Statement:
        """The products of one row added to what is there."""
        lines = Block(self)
        lines.begin(f"for (long first = 0; first < {self.text(t.columns.size)}; first += BLOCK)")
        for i in t.outer:
            lines.over(i, t)
        if t.taps and not self.always(t):
            lines.write(f"{self.lists[e.name][0]} = 0;")
            lines.taps(e, t)
        lines.products(e, t)
        lines.close()
        reads = (self.arrays[t.one.tensor.name], self.arrays[t.many.tensor.name])
        return lines.statement(reads, (self.results[e.name],))

    def started(self, e: Equation, over: Sequence[Index]) -> list[Statement]:
        """What a result has before products are added to it."""
        variables = [self.opened(i)[0] for i in over]
        value = self.plain([t for t in e.terms if not t.bnd])
        inner = Put(self.element(e), value)
        self.close(variables, over)
        if not over:
            return [inner]
        lane = Loop(variables[-1], self.value(over[-1].size), (inner,), lanes=True)
        return self.nest(over[:-1], variables[:-1], [lane])

    # -- places --------------------------------------------------------------------------------------------------------

    def order(self, t: Tiled) -> list[Index]:
        """The order of a copy."""
        return [*(i for i in self.read_strides(t).steps if i != t.columns), t.columns]

    def read_strides(self, t: Tiled) -> Strides:
        """Those of the factor with the columns, as it is given."""
        return self.access(t.many.tensor, t.many.idx)

    def strides(self, t: Tiled) -> tuple[Strides, Strides, Strides]:
        """Those of the result and of both factors, as they are used."""
        result = self.access(t.tensor, t.places)
        many = self.read_strides(t)
        if t.copied:
            order = self.order(t)
            many = Strides({i: Mul(*(j.size for j in order[n + 1 :])) for n, i in enumerate(order)}, Integer(0))
        return result, self.access(t.one.tensor, t.one.idx), many

    def access(self, tensor: Tensor, places: Sequence[Expr]) -> Strides:
        own = tensor.name in self.inner
        found = Strides.of(places[own:], tensor.axes[own:])
        assert found is not None  # as the choice says
        return found

    def text(self, e: Expr, least: int = 0) -> str:
        return self.printer.integer(self.value(e), least)


class Block:
    """Lines of C, within braces or not."""

    def __init__(self, tiles: Tiles):
        self.tiles = tiles
        self.lines: list[str] = []
        self.variables: dict[Index, str] = {}
        self.depth = 0

    def write(self, *lines: str) -> None:
        self.lines += [part for line in lines for part in folded("  " * self.depth + line)]

    def begin(self, head: str) -> None:
        self.write(head + " {")
        self.depth += 1

    def close(self, depth: int = 0) -> None:
        """The end of what was begun, with its indices."""
        while self.depth > depth:
            self.depth -= 1
            self.write("}")
        if not depth:
            self.forget(list(self.variables))

    def forget(self, these: Sequence[Index]) -> None:
        self.tiles.close([self.variables.pop(i) for i in these], these)

    def statement(self, reads: tuple[str, ...], changes: tuple[str, ...]) -> Lines:
        return Lines(tuple(self.lines), reads, changes)

    def variable(self, i: Index) -> str:
        name, _ = self.tiles.opened(i)
        self.tiles.printer.integers.add(name)
        self.variables[i] = name
        return name

    def over(self, i: Index, t: Tiled) -> None:
        """A loop over an index where its places are inside."""
        low, high = self.limits(i, t)
        name = self.variable(i)
        self.begin(f"for (long {name} = {low}; {name} < {high}; {name}++)")

    def limits(self, i: Index, t: Tiled) -> tuple[str, str]:
        """The steps of an index, from and until, at which those places are inside that wait for no other index."""
        text = self.tiles.text
        low, high = "0", text(i.size)
        for at, axis in t.limits:
            split = parts(at)
            assert split is not None  # as the choice says
            if i not in split[0] or any(j != i and j not in self.tiles.places for j in split[0]):
                continue
            step = split[0][i]
            if step == -1:  # it falls from its start
                at = axis - 1 - at
                step = -step
            behind, left = text(step * i - at), text(axis - at + step * i)
            if step != 1:
                behind, left = (f"{f}({x}, {text(step)})" for f, x in (("begin", behind), ("end", left)))
            low, high = f"larger({low}, {behind})", f"smaller({high}, {left})"
        return low, high

    def taps(self, e: Equation, t: Tiled) -> None:
        """The places of the taps that are inside."""
        _, one, many = self.tiles.strides(t)
        count, here, there = self.tiles.lists[e.name]
        depth = self.depth
        for i in t.taps:
            self.over(i, t)
        at, beside = (self.tiles.text(place(Strides(s.steps, Integer(0)), t.taps)) for s in (one, many))
        self.write(f"{here}[{count}] = {at};", f"{there}[{count}++] = {beside};")
        self.close(depth)
        self.forget([i for i in t.taps if i in self.variables])

    def products(self, e: Equation, t: Tiled) -> None:
        """Tiles of rows, all that is inside."""
        tiles, text = self.tiles, self.tiles.text
        out, one, many = tiles.strides(t)
        here = [t.shared, *t.outer]
        counts = []
        for i in (t.rows, t.columns, t.depth):
            low, high = self.limits(i, t)
            if low != "0":
                name = self.variable(i)
                self.write(f"const long {name} = {low};")
                here.append(i)
            counts.append(high if low == "0" else f"{high} - {name}")
        count, at, beside = tiles.lists[e.name]
        self.write(
            "products((Products){",
            f"  .rows = {counts[0]}, .first = first, .columns = {counts[1]}, .taps = {count}, .depth = {counts[2]},",
            f"  .one = {tiles.arrays[t.one.tensor.name]} + {text(place(one, here), 7)}, .one_at = {at},",
            f"  .one_row = {text(one[t.rows])}, .one_depth = {text(one[t.depth])},",
            f"  .many = {tiles.copies.get(e.name, tiles.arrays[t.many.tensor.name])} + {text(place(many, here), 7)},",
            f"  .many_at = {beside}, .many_depth = {text(many[t.depth])},",
            f"  .out = {tiles.results[e.name]} + {text(place(out, here), 7)}, .out_row = {text(out[t.rows])}",
            "});",
        )


def place(strides: Strides, over: Sequence[Index]) -> Expr:
    """Where the indices that are open are in a flat array; the others are 0."""
    return sum((strides[i] * i for i in over), strides.start)
