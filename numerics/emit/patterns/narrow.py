"""Arrays that are the same along an axis, without that axis.

    ds[b,f] = -(q[b] - y[b]) / B            is -(q[b] - y[b]) / B for every f
    dV[i,f] = sum_b x[b,i]^2 ds[b,f]        is a vector of i then, and no product of matrices

The equation stays as derived; only how it is computed changes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from derive.language.index import Index, same_size
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Program
from derive.program.terms import drop_free_sums

from .sums import Reused, recurrent

REASON = "the same along an axis, which is left out"


def narrowed(program: Program, returned: set[str]) -> Reused:
    """The program with the axes left out along which an equation does not vary, and which all that read it read plainly.

    ``returned`` equations keep their axes.
    """
    readers: dict[str, list[Equation]] = {}
    for e in program.equations:
        for t in e.tensors():
            readers.setdefault(t.name, []).append(e)
    fixed = returned | recurrent(program)
    made: dict[str, Equation] = {}
    kept: dict[str, tuple[int, ...]] = {}  # by name, the axes that stay
    choices = []
    for e in program.equations:
        e = _reading(e, kept, made)
        axes = tuple(n for n, i in enumerate(e.idx) if _varies(e, i))
        thin = e.name not in fixed and not e.reduce and 0 < len(axes) < len(e.idx)
        if thin and all(_plainly(reader, e, axes) for reader in readers.get(e.name, [])):
            kept[e.name] = axes
            e = replace(e, tensor=_thin(e.tensor, axes), idx=tuple(e.idx[n] for n in axes))
            choices.append(("narrow", e.number, REASON))
        made[e.name] = e
    return Reused(replace(program, equations=tuple(made.values())), tuple(choices))


def _varies(e: Equation, i: Index) -> bool:
    return any(i in x.free_symbols for t in e.terms for x in (t.coef, *t.fac, *t.rows))


def _plainly(reader: Equation, e: Equation, axes: tuple[int, ...]) -> bool:
    """Whether each read names an index of the whole axis where one is left out: outside of it there would be zeros."""
    if reader.reduce or reader.guards:
        return False
    return all(
        isinstance(r.idx[n], Index) and same_size(r.idx[n].size, e.tensor.axes[n])
        for r in reader.reads()
        if r.tensor.name == e.name
        for n in range(len(e.idx))
        if n not in axes
    )


def _reading(e: Equation, kept: Mapping[str, tuple[int, ...]], made: Mapping[str, Equation]) -> Equation:
    """The equation with what it reads narrowed; a sum along an axis that nothing holds any more is a factor."""
    change = {
        r: Read(made[r.tensor.name].tensor, *(r.idx[n] for n in kept[r.tensor.name]))
        for r in e.reads()
        if r.tensor.name in kept
    }
    return replace(e, terms=tuple(drop_free_sums(t.xreplace(change)) for t in e.terms)) if change else e


def _thin(t: Tensor, axes: tuple[int, ...]) -> Tensor:
    sizes, letters = (tuple(many[n] for n in axes) for many in (t.axes, t.letters))
    return Tensor(t.name, sizes, letters, t.dtype, t.below, "computed", digest=f"narrow:{t.digest}", block=t.block)
