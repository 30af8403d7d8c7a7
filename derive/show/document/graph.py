"""The network as a drawing: tensors in columns by how far they are from the inputs, and arrows from read to reader."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass

from derive.language.tensor import Tensor
from derive.program.program import Program
from derive.show.formulas.layout import Name


@dataclass(frozen=True)
class Box:
    """One tensor in the drawing; ``column`` and ``row`` are its place, ``kind`` its role, ``symbol`` how formulas show it."""

    name: str
    shape: str
    kind: str
    column: int
    row: float
    symbol: Name | None = None


@dataclass(frozen=True)
class Graph:
    boxes: tuple[Box, ...]
    arrows: tuple[tuple[str, str], ...]  # from what is read to its reader
    loops: tuple[str, ...]  # recurrent tensors

    def box(self, name: str) -> Box:
        return next(b for b in self.boxes if b.name == name)

    def sources(self, name: str) -> list[str]:
        return [a for a, b in self.arrows if b == name]

    def readers(self) -> list[tuple[Box, list[str], bool]]:
        """Every box that reads something, what it reads, and whether it also reads its own earlier values."""
        found = [(b, self.sources(b.name), b.name in self.loops) for b in self.boxes]
        return [(b, sources, again) for b, sources, again in found if sources or again]


def network(program: Program, wrt: Container[str] = (), symbols: Mapping[str, Name] | None = None) -> Graph:
    """The graph of a program, in which the tensors named in ``wrt`` are parameters and shown by their ``symbols``.

    A tensor stands one column right of what it reads, an input just left of its reader.
    """
    order = {e.name: n for n, e in enumerate(program.equations)}
    reads = {e.name: [t.name for t in e.tensors()] for e in program.equations}
    loops, arrows = [], []
    for e in program.equations:
        for name in reads[e.name]:
            if order.get(name, -1) >= order[e.name]:
                loops.append(e.name)
            else:
                arrows.append((name, e.name))
    column: dict[str, int] = {}
    for e in program.equations:
        column[e.name] = 1 + max((column[a] for a in reads[e.name] if a in column), default=0)
    tensors = {t.name: t for t in program.inputs} | {e.name: e.tensor for e in program.equations}
    for t in program.inputs:
        column[t.name] = min((column[b] for a, b in arrows if a == t.name), default=1) - 1
    rows = _rows(column, arrows)
    boxes = tuple(
        Box(
            n,
            shape_text(tensors[n]),
            "parameter" if n in wrt else tensors[n].role,
            column[n],
            rows[n],
            (symbols or {}).get(n),
        )
        for n in column
    )
    return Graph(tuple(sorted(boxes, key=lambda b: (b.column, b.row))), tuple(arrows), tuple(dict.fromkeys(loops)))


def _rows(column: Mapping[str, int], arrows: Iterable[tuple[str, str]]) -> dict[str, float]:
    """Rows within each column, near the mean row of what each tensor is joined to; a few sweeps are enough."""
    columns: dict[int, list[str]] = {}
    for name, c in column.items():
        columns.setdefault(c, []).append(name)
    near: dict[str, list[str]] = {n: [] for n in column}
    for a, b in arrows:
        near[a].append(b)
        near[b].append(a)
    most = max(map(len, columns.values()), default=1)
    rows: dict[str, float] = {}
    for members in columns.values():
        rows.update({n: k + (most - len(members)) / 2 for k, n in enumerate(members)})
    for _ in range(4):
        for c in sorted(columns):
            wanted = {n: sum(rows[m] for m in near[n]) / len(near[n]) if near[n] else rows[n] for n in columns[c]}
            members = sorted(columns[c], key=lambda n: (wanted[n], n))
            rows.update({n: k + (most - len(members)) / 2 for k, n in enumerate(members)})
    return rows


def shape_text(tensor: Tensor) -> str:
    return "scalar" if not tensor.rank else " × ".join(str(a) for a in tensor.axes)
