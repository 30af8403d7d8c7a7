"""A piece of code with labelled axes, and how two of them are made to broadcast.

The labels are :class:`~derive.language.index.Index` objects: ``Val(Name("x"), (b, i))`` is an array whose axis 0 runs over b.
Everything the emitter writes is built from these, so an axis can be transposed or inserted only here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from derive.language.index import Index

from .code import Attribute, Code, Constant, Name, Slice, Subscript, call, method, number_of


@dataclass(frozen=True)
class Val:
    """Code, the labels of its axes, and its kind.

    Attributes
    ----------
    kind : str
        "float" (the program's dtype), "weak" (floats made of Python numbers only), "int", "bool", or "num" (a Python
        number when the program is traced).
    leaf : Code, optional
        The one array inside, if the rest is numbers and elementwise functions: ``u`` of ``2 * tanh(u)``.
    around : callable, optional
        The whole, given the leaf or what takes its place.
    """

    node: Code
    axes: tuple[Index, ...] = ()
    kind: str = "float"
    leaf: Code | None = field(default=None, compare=False, repr=False)
    around: Callable[[Code], Code] | None = field(default=None, compare=False, repr=False)

    def axis(self, label: Index) -> int:
        return self.axes.index(label)


def named(name: str, axes: Sequence[Index] = (), kind: str = "float") -> Val:
    """The array of that name."""
    return Val(Name(name), tuple(axes), kind)


def elementwise(v: Val, write: Callable[[Code], Code], kind: str) -> Val:
    """``write(v)``, which adds numbers and elementwise functions only: an axis can be inserted where the array stands.

    >>> from .printer import expression
    >>> double = elementwise(Val(Name("u")), lambda u: Attribute(u, "real"), "float")
    >>> expression(double.node)
    'u.real'
    """
    if not v.axes:
        return Val(write(v.node), (), kind)
    inner = v.around
    whole = write if inner is None else lambda leaf: write(inner(leaf))
    return Val(write(v.node), v.axes, kind, v.node if v.leaf is None else v.leaf, whole)


def union(vals: Iterable[Val], order: Sequence[Index] = ()) -> tuple[Index, ...]:
    """The axes of the broadcast of several values: those of a value that has them all, else sorted by ``order``."""
    vals = list(vals)
    every = {label for v in vals for label in v.axes}
    for v in vals:
        if len(v.axes) == len(every):
            return v.axes
    known = [label for label in order if label in every]
    rest = [label for v in vals for label in v.axes if label not in known]
    return tuple(dict.fromkeys(known + rest))


def transpose(v: Val, axes: Iterable[Index]) -> Val:
    """The value with its axes in the given order (a permutation of its own)."""
    axes = tuple(axes)
    if axes == v.axes:
        return v
    if len(axes) == 2:
        return Val(Attribute(v.node, "T"), axes, v.kind)
    return Val(method(v.node, "transpose", *(number_of(v.axis(label)) for label in axes)), axes, v.kind)


def align(v: Val, target: Sequence[Index]) -> Val:
    """The value made to broadcast against ``target`` axes: transposed, with ``None`` where an axis is missing."""
    v = transpose(v, [label for label in target if label in v.axes])
    marks: list[Code] = [WHOLE if label in v.axes else NEW for label in target]
    while marks and marks[0] == NEW:
        marks.pop(0)
    if NEW not in marks:
        return v
    while marks[-1] == WHOLE:
        marks.pop()
    if len(v.axes) > 1 and NEW not in marks[: len(v.axes)]:
        marks = [Constant(...), *marks[len(v.axes) :]]
    places = tuple(marks)
    if v.leaf is not None and v.around is not None:
        leaf = Subscript(v.leaf, places)
        return replace(v, node=v.around(leaf), leaf=leaf)
    return replace(v, node=Subscript(v.node, places))


WHOLE, NEW = Slice(), Constant(None)  # ``:`` and ``None`` of a subscript


def full(v: Val, target: Iterable[Index], shape: Callable[[Sequence[Index]], Code], dtype: Code | None = None) -> Val:
    """The value with exactly the ``target`` axes, in order; missing ones by broadcasting to ``shape(target)``."""
    target = tuple(target)
    if set(v.axes) == set(target):
        return transpose(v, target)
    if not v.axes:
        cast = () if dtype is None else (dtype,)
        return Val(call("jnp.full", shape(target), v.node, *cast), target, v.kind if dtype is None else "float")
    return Val(call("jnp.broadcast_to", align(v, target).node, shape(target)), target, v.kind)


def joint_kind(*kinds: str) -> str:
    """The kind of an arithmetic combination."""
    for kind in ("float", "weak"):
        if kind in kinds:
            return kind
    if "int" in kinds or "bool" in kinds:
        return "int"
    return "num"
