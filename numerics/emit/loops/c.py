"""C of groups of equations: functions that XLA calls on a CPU, for floats or doubles.

    XLA_FFI_Error *rows_1(XLA_FFI_CallFrame *frame)      arguments and results are the frame's, in order

Variables come from :class:`~numerics.emit.source.names.Names`, equations stand in comments; nothing else a user wrote enters.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from sympy import Expr, Integer, Symbol

from derive.language.index import Size
from derive.language.tensor import Tensor
from numerics.emit.source.names import Names
from numerics.emit.source.sizes import UNKNOWN, size_place

from . import tree
from .by_row import ByRow
from .in_c import InC
from .javascript import PREFIX, STRENGTH, Printer, folded
from .rows import Fused
from .tree import Array, At, Call, Choose, Comment, Let, Lines, Loop, Minus, Num, Op, Put, Statement, Var

_WORDS = """
asked auto break case char const continue default do double else enum exit extern float for frame free goto if inline int
long main malloc malloc power register restrict return root short signed sizeof sqrt static struct switch typedef union
unsigned void volatile while j0 j1 jn y0 y1 yn gamma lgamma signgam div abs labs
"""
_HELPERS = """
ARGUMENT BLOCK BYTES LANES LENGTH Part Products REAL RESULT TILE UNROLLED VECTORS Work begin down end first four frame free here
in_parts larger memset n one own part parts parts_of products relu sched_yield smaller tile two vector
work
"""
RESERVED = frozenset((_WORDS + _HELPERS).split())


def functions(groups: Mapping[str, Fused], sizes: Mapping[Size, int]) -> str:
    """The text of a library: one function for each group, by name."""
    files = ["helpers.h", *(["tiles.h"] if any(g.tiles for g in groups.values()) else [])]
    head = [(Path(__file__).parent / name).read_text(encoding="utf-8") for name in files]
    return "\n".join([*head, *(function(name, group, sizes) for name, group in groups.items())])


def given(group: Fused) -> list[Tensor]:
    """The arrays that a group reads, by first use."""
    own = {e.name for e in group.equations}
    return list(dict.fromkeys(t for e in group.equations for t in e.tensors() if t.name not in own))


def possible(group: Fused, sizes: Mapping[Size, int]) -> bool:
    """Whether every size that the loops of a group need is fixed, or an argument tells it."""
    return all(s in sizes or size_place(s, given(group)) is not None for s in _sizes(group))


def function(name: str, group: Fused, sizes: Mapping[Size, int]) -> str:
    """The function of one group, and the one of its parts."""
    part = f"{name}_part"
    names = Names({*RESERVED, name, part})
    arrays = {t.name: names.fresh(t.name.replace("\0", "_"), "array") for t in given(group)}
    arrays |= {e.name: names.fresh(e.name, "array") for e in group.equations}
    used = {s: names.fresh(s.name, f"{s.name}_size") for s in _sizes(group)}
    printer = CPrinter({*used.values()})
    taken = _taken(names, arrays, used, group, sizes, printer)
    write = ByRow(names, arrays, used, group, printer, lambda e: e.xreplace({s: Integer(n) for s, n in sizes.items()}))
    around = write.whole(part)
    rows, whole = ([line for s in lines for line in printer.statement(s, 1)] for lines in (write.part(), around))
    return "\n".join(
        [
            f"static void {part}(XLA_FFI_CallFrame *frame, long part, REAL *own) {{",
            *taken,
            *rows,
            "}",
            "",
            f"XLA_FFI_Error *{name}(XLA_FFI_CallFrame *frame) {{",
            "  if (asked(frame)) return 0;",
            *taken,
            *whole,
            "  return 0;",
            "}",
            "",
        ]
    )


def _taken(
    names: Names,
    arrays: dict[str, str],
    used: Mapping[Size, str],
    group: Fused,
    sizes: Mapping[Size, int],
    printer: CPrinter,
) -> list[str]:
    """The arrays of a call, and the sizes."""
    lines: list[str] = []
    read = given(group)
    for n, t in enumerate(read):
        if t.rank:
            lines.append(f"  const REAL *restrict {arrays[t.name]} = ARGUMENT({n});")
        else:
            lines.append(f"  const REAL {arrays[t.name]} = *(const REAL *)ARGUMENT({n});")
    lines += [f"  REAL *restrict {arrays[kept]} = RESULT({n});" for n, kept in enumerate(group.kept)]
    for s, variable in used.items():
        if s in sizes:
            lines.append(f"  const long {variable} = {sizes[s]};")
            continue
        place = size_place(s, read)
        assert place is not None  # as possible() says
        t, axis, formula = place
        length = f"LENGTH({read.index(t)}, {axis})"
        if formula is not None:
            formula_of = Formula(names, arrays, used)
            printer.integers.add(formula_of.measured)
            lines.append(f"  const long {formula_of.measured} = {length};")
            length = printer.integer(formula_of.value(formula))
        lines.append(f"  const long {variable} = {length};")
    return lines


def _sizes(group: Fused) -> list[Size]:
    found = {s for e in group.equations for t in (e.tensor, *e.tensors()) for a in t.axes for s in a.free_symbols}
    for e in group.equations:
        for t in e.terms:
            parts: tuple[Expr, ...] = (
                t.coef,
                *t.fac,
                *(i.size for i in t.bnd),
                *(x for r in t.rows for x in (r.lhs, r.rhs)),
            )
            found |= {s for p in parts for s in p.atoms(Size)}
    return sorted((s for s in found if isinstance(s, Size)), key=lambda s: s.name)


class Formula(InC):
    """Writes a size from the length of an axis that is linear in it."""

    def __init__(self, names: Names, arrays: dict[str, str], sizes: Mapping[Size, str]):
        super().__init__(names, arrays, sizes)
        self.measured = names.fresh("length")

    def value(self, e: Expr) -> tree.Expr:
        return Var(self.measured) if isinstance(e, Symbol) and e == UNKNOWN else super().value(e)


class CPrinter(Printer):
    """Text of a tree: numbers are REAL but where indices and sizes are counted.

    Attributes
    ----------
    integers : set of str
        The variables that are whole numbers.
    """

    def __init__(self, integers: set[str]):
        super().__init__()
        self.integers = integers
        self.counting = False

    # -- statements ------------------------------------------------------------------------------------------------

    def statement(self, s: Statement, depth: int) -> list[str]:
        pad = "  " * depth
        if isinstance(s, Lines):
            return [pad + line for line in s.text]
        if isinstance(s, Comment):
            return [f"{pad}// {s.text.replace(chr(92), '/')}"]  # a backslash at its end would join the next line to it
        if isinstance(s, Loop):
            self.integers.add(s.var)
            totals = f" reduction(+ : {', '.join(s.totals)})" if s.totals else ""
            return [*([f"{pad}#pragma omp simd{totals}"] if s.lanes else []), *super().statement(s, depth)]
        if isinstance(s, tree.If):
            inside = [line for inner in s.body for line in self.statement(inner, depth + 1)]
            return [*folded(f"{pad}if ({self.test(s.test)}) {{"), *inside, f"{pad}}}"]
        return super().statement(s, depth)

    def head(self, s: Loop) -> str:
        return f"for (long {s.var} = 0; {s.var} < {self.integer(s.stop, STRENGTH['<'] + 1)}; {s.var}++) {{"

    def line(self, s: Statement) -> str:
        if isinstance(s, Array):
            return f"REAL *restrict {s.name} = malloc(sizeof(REAL) * ({self.integer(s.length)}))"
        if isinstance(s, Let):
            if not s.changes and self.whole(s.value):
                self.integers.add(s.name)
                return f"const long {s.name} = {self.integer(s.value)}"
            return f"REAL {s.name} = {self.text(s.value)}"
        assert isinstance(s, Put)
        return f"{self.text(s.target)} {'+=' if s.adds else '='} {self.text(s.value)}"

    # -- expressions -----------------------------------------------------------------------------------------------

    def whole(self, e: tree.Expr) -> bool:
        """Whether an expression is one of indices and sizes."""
        if isinstance(e, Num):
            return isinstance(e.value, int)
        if isinstance(e, Var):
            return e.name in self.integers
        if isinstance(e, Minus):
            return self.whole(e.of)
        if isinstance(e, Call):
            quotient = e.args[0]
            return (
                e.name == "floor"
                and isinstance(quotient, Op)
                and self.whole(quotient.left)
                and self.whole(quotient.right)
            )
        return isinstance(e, Op) and e.op in "+-*" and self.whole(e.left) and self.whole(e.right)

    def integer(self, e: tree.Expr, least: int = 0) -> str:
        """The text of an expression of whole numbers; a quotient is one where it is exact or rounded down."""
        before, self.counting = self.counting, True
        try:
            return self.text(e, least)
        finally:
            self.counting = before

    def test(self, e: tree.Expr, least: int = 0) -> str:
        found, strength = self.condition(e)
        return f"({found})" if strength < least else found

    def condition(self, e: tree.Expr) -> tuple[str, int]:
        if isinstance(e, tree.Not):
            return f"!({self.test(e.of)})", PREFIX
        assert isinstance(e, Op)
        strength = STRENGTH[e.op]
        if e.op in ("and", "or"):
            op = {"and": "&&", "or": "||"}[e.op]
            return f"{self.test(e.left, strength)} {op} {self.test(e.right, strength + 1)}", strength
        write = self.integer if self.whole(e.left) and self.whole(e.right) else self.text
        return f"{write(e.left, strength)} {e.op} {write(e.right, strength + 1)}", strength

    def written(self, e: tree.Expr) -> tuple[str, int]:
        if isinstance(e, At):
            return f"{e.array}[{self.integer(e.place)}]", 10
        if self.counting:
            if isinstance(e, Call) and e.name == "floor":
                quotient = e.args[0]
                assert isinstance(quotient, Op)  # as whole() says
                return f"down({self.text(quotient.left)}, {self.text(quotient.right)})", 10
            return super().written(e)
        if isinstance(e, Num) or (self.whole(e) and not isinstance(e, Minus)):
            return f"(REAL){self.integer(e, 10)}", PREFIX
        if isinstance(e, Choose):
            return f"{self.test(e.test, 2)} ? {self.text(e.yes, 2)} : {self.text(e.no, 1)}", 1
        if isinstance(e, Call) and e.name in ("sqrt", "relu"):
            return f"{'root' if e.name == 'sqrt' else 'relu'}({self.text(e.args[0])})", 10
        if isinstance(e, Op) and e.op == "^":
            return f"power({self.text(e.left)}, {self.integer(e.right)})", 10
        if isinstance(e, Op) and e.op == "/" and self.whole(e.right):
            inverse = f"((REAL)1 / (REAL){self.integer(e.right, 10)})"
            return f"{self.text(e.left, STRENGTH['*'])} * {inverse}", STRENGTH["*"]
        return super().written(e)
