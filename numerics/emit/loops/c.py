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
from .c_printer import CPrinter
from .in_c import InC
from .rows import Fused
from .tree import Var

_WORDS = """
asked auto break case char const continue default do double else enum exit extern float for frame free goto if inline int
long main malloc power register restrict return root short signed sizeof sqrt static struct switch typedef union
unsigned void volatile while bool true false nullptr typeof constexpr alignas alignof static_assert thread_local
j0 j1 jn y0 y1 yn gamma lgamma signgam div abs labs
"""
_HELPERS = """
ARGUMENT BLOCK BYTES LANES LENGTH Part Products REAL RESULT TILE UNROLLED VECTORS Work begin down end first four frame free
in_parts larger memset n one own part parts parts_of products relu sched_yield smaller tile two vector work
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
