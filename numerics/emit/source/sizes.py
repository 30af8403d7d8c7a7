"""Where sizes come from: the first lines of a generated function."""

from __future__ import annotations

from collections.abc import Sequence

from sympy import Expr, Poly, Symbol, floor, solve

from derive.language.index import Size
from derive.language.tensor import Tensor
from numerics.errors import SizeError

from .code import Assign, Attribute, Call, Code, Name, Statement, Subscript, Text, Tuple, call, number_of
from .names import Names
from .scope import Scope

UNKNOWN = Symbol("n")  # the length of an axis from which a size is computed
Place = tuple[Tensor, int, Expr | None]  # a tensor, one of its axes, and the size as a formula of that axis's length


def size_place(s: Size, inputs: Sequence[Tensor]) -> Place | None:
    """``(tensor, axis, formula)`` that fixes a size: an axis of that size, else one that is linear in it alone."""
    for t in inputs:
        for n, a in enumerate(t.axes):
            if a == s:
                return t, n, None
    for t in inputs:
        for n, a in enumerate(t.axes):
            if a.free_symbols == {s} and a.is_polynomial(s):
                found = solve(a - UNKNOWN, s)
                if len(found) == 1:
                    return t, n, found[0]
    return None


def shapes_of(scope: Scope, inputs: Sequence[Tensor]) -> Call:
    """``shapes(x="B I", W="I K")``, which refuses arrays that do not belong together: a name is one length everywhere.

    A size that is fixed in the source is a name too: a part of a batch has its own length.
    """
    names = Names()

    def shown(axis: Expr) -> str:
        if isinstance(axis, Size):
            return names.of(axis, axis.name)
        return str(axis).replace(" ", "")

    given = ((scope.arrays[t.name], Text(" ".join(map(shown, t.axes)))) for t in inputs)
    return Call(Name("shapes"), (), tuple(given))


def preamble(scope: Scope, inputs: Sequence[Tensor]) -> list[Statement]:
    """Sizes and dtype, as far as they are used."""
    lines: list[Statement] = []
    by_tensor: dict[Tensor, list[tuple[Size, int, Expr | None]]] = {}
    solved: list[tuple[Size, Place]] = []
    for s in sorted(scope.used_sizes, key=lambda s: s.name):
        if s in scope.bound:
            lines.append(Assign(Name(scope.used_sizes[s]), number_of(scope.bound[s])))
            continue
        place = size_place(s, inputs)
        if place is None:
            raise SizeError(
                f'size {s.name} is fixed by no array; give it, as in nx.compile(d, sizes={{"{s.name}": 2}})'
            )
        solved.append((s, place))
    for s, (t, axis, e) in sorted(solved, key=lambda found: (inputs.index(found[1][0]), found[1][1])):
        by_tensor.setdefault(t, []).append((s, axis, e))
    for t, sizes in by_tensor.items():
        lines += _sizes_of(scope, t, sizes)
    if scope.dtype_used:
        first = next((t for t in inputs if t.dtype == "float"), None)
        given = (
            call("jnp.result_type", Name("float"))
            if first is None
            else Attribute(Name(scope.arrays[first.name]), "dtype")
        )
        lines.append(Assign(scope.dtype, given))
    return lines


def _sizes_of(scope: Scope, t: Tensor, sizes: Sequence[tuple[Size, int, Expr | None]]) -> list[Statement]:
    shape = Attribute(Name(scope.arrays[t.name]), "shape")
    if len(sizes) == t.rank and t.rank > 1 and all(e is None for *_, e in sizes):
        return [Assign(Tuple(tuple(Name(scope.used_sizes[s]) for s, *_ in sizes)), shape)]
    lines: list[Statement] = []
    for s, axis, e in sizes:
        code: Code = Subscript(shape, (number_of(axis),))
        if e is not None:
            whole = all(c.is_Integer for c in Poly(e, UNKNOWN).coeffs())  # n / 2 of an array's axis is a whole number
            formula = scope.inside()
            formula.measured = {UNKNOWN: code}
            code = formula.size(e if whole else floor(e)).node
        lines.append(Assign(Name(scope.used_sizes[s]), code))
    return lines
