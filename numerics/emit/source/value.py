"""A piece of source with labelled axes, and how two of them are made to broadcast.

The labels are :class:`~derive.index.Index` objects: ``Val("x", axes=(b, i))`` is an array whose axis 0 runs over b.
Everything the emitter writes is built from these, so an axis can be transposed or inserted only here.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from derive.index import Index

# Python's precedences, tightest first; MATMUL stands apart from MUL so that (x @ W) * c keeps its brackets
ATOM, POW, UNARY, MUL, MATMUL, ADD, AND, OR, COMPARE, LOOSE = 100, 90, 80, 70, 65, 60, 50, 45, 40, 0


@dataclass(frozen=True)
class Val:
    """Source text, its precedence, its axes, and its kind.

    ``kind``: "float" (the program's dtype), "weak" (floats made of Python numbers only), "int", "bool", or "num" (a
    Python number when the program is traced).
    """

    src: str
    prec: int = ATOM
    axes: tuple[Index, ...] = ()
    kind: str = "float"
    core: Val | None = None  # the one array inside, if the rest is numbers: ``2 * u`` is ``2 * {}`` of ``u``
    template: str = ""

    def within(self, prec: int) -> str:
        """The source, in brackets unless it binds at least as tightly as ``prec``."""
        return self.src if self.prec >= prec else f"({self.src})"

    @property
    def atom(self) -> str:
        return self.within(ATOM)

    def axis(self, label: Index) -> int:
        return self.axes.index(label)


def union(vals, order=()) -> tuple[Index, ...]:
    """The axes of the broadcast of several values: those of a value that has them all, else sorted by ``order``."""
    every = {label for v in vals for label in v.axes}
    for v in vals:
        if len(v.axes) == len(every):
            return v.axes
    known = [label for label in order if label in every]
    rest = [label for v in vals for label in v.axes if label not in known]
    return tuple(dict.fromkeys(known + rest))


def transpose(v: Val, axes) -> Val:
    """The value with its axes in the given order (a permutation of its own)."""
    axes = tuple(axes)
    if axes == v.axes:
        return v
    if len(axes) == 2:
        return Val(f"{v.atom}.T", ATOM, axes, v.kind)
    moved = ", ".join(str(v.axis(label)) for label in axes)
    return Val(f"{v.atom}.transpose({moved})", ATOM, axes, v.kind)


def align(v: Val, target) -> Val:
    """The value made to broadcast against ``target`` axes: transposed, with ``None`` where an axis is missing."""
    v = transpose(v, [label for label in target if label in v.axes])
    marks = [":" if label in v.axes else "None" for label in target]
    while marks and marks[0] == "None":
        marks.pop(0)
    if "None" not in marks:
        return v
    while marks[-1] == ":":
        marks.pop()
    if len(v.axes) > 1 and "None" not in marks[: len(v.axes)]:
        marks = ["...", *marks[len(v.axes) :]]
    if v.core is not None:
        core = align(v.core, target)
        return replace(v, src=v.template.replace("{}", core.within(_needed(v))), core=core)
    return replace(v, src=f"{v.atom}[{', '.join(marks)}]", prec=ATOM)


def _needed(v: Val) -> int:
    """How tightly what stands in a template must bind: call arguments need nothing."""
    return LOOSE if "({})" in v.template else ATOM


def around(core: Val, template: str, prec: int, kind: str) -> Val:
    """Elementwise source around one array; ``{}`` stands for the array."""
    source = template.replace("{}", core.within(LOOSE if "({})" in template else ATOM))
    return Val(source, prec, core.axes, kind, core if core.axes else None, template)


def full(v: Val, target, shape: str, asarray: str) -> Val:
    """The value with exactly the ``target`` axes, in order (missing ones by broadcasting to ``shape``)."""
    target = tuple(target)
    if set(v.axes) == set(target):
        return transpose(v, target)
    if not v.axes:
        cast = f", {asarray}" if asarray else ""
        return Val(f"jnp.full({shape}, {v.src}{cast})", ATOM, target, "float" if asarray else v.kind)
    return Val(f"jnp.broadcast_to({align(v, target).src}, {shape})", ATOM, target, v.kind)


def joint_kind(*kinds: str) -> str:
    """The kind of an arithmetic combination."""
    for kind in ("float", "weak"):
        if kind in kinds:
            return kind
    if "int" in kinds or "bool" in kinds:
        return "int"
    return "num"
