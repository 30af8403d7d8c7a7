"""The pass that takes a max first: relu, and what is the same in all of a window, after it.

    max_s relu(a[s] + c) = relu(max_s a[s] + c)

relu never decreases and adding c keeps the order, so neither changes which element is the largest.  The right-hand side
evaluates both once for each window instead of once for each element, forward and, by the chain rule, backward.  The
conventions agree too: where the largest of a window is not positive nothing is sent back on either side, and where it is
positive both sides name the same first maximiser.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sympy import Integer

from derive.language.index import Index
from derive.language.nodes import relu
from derive.language.tensor import Read, Tensor
from derive.program.canonical import equation_key
from derive.program.program import Equation, Term

from .rule import Rule
from .work import Work

ONE = Integer(1)
MAX_FIRST = Rule(
    "max first",
    "The max comes first",
    "A function that never decreases, and adding what is the same for all, do not change which element is the largest. So "
    "the max of a window can be taken before them, and they are evaluated once for each window.",
    "ordered",
)
SET_APART = replace(
    MAX_FIRST, name="set apart", claim="equal"
)  # what is the same in all of a window, before the max moves


@dataclass
class Nest:
    """Maxes that read one another and nothing else, from the innermost, and what the innermost reads."""

    maxes: list[Equation]
    image: Read  # of the tensor whose largest element is looked for, at the innermost max's indices
    inside: list[Equation]  # equations that only this nest reads: the relu, and later the sum with what moves

    @property
    def outer(self) -> Equation:
        return self.maxes[-1]


def max_first(work: Work) -> str:
    """Take the max of a window before relu and before adding what is the same in all of the window."""
    kept = {t.name for t in (*work.read(), *work.wrt)}
    done = []
    for eq in list(work.forward):
        nest = _nest(work, eq, kept)
        if nest is not None and _take_first(work, nest, kept):
            done.append(nest.outer.name)
    return f"taken first in {', '.join(done)}" if done else "nothing to move"


def _readers(work: Work, t: Tensor) -> list[Equation]:
    return [e for e in work.forward if t in e.tensors()]


def _only_for(work: Work, eq: Equation, reader: Equation, kept: set[str]) -> bool:
    """Whether nothing but ``reader`` needs an equation."""
    return eq.name not in kept | work.cyclic and _readers(work, eq.tensor) == [reader]


def _read_by_max(eq: Equation) -> Read | None:
    """What a max reads, if that is one tensor as it is."""
    read = eq.terms[0].bare() if eq.reduce == "max" and len(eq.terms) == 1 else None
    return read if isinstance(read, Read) else None


def _nest(work: Work, first: Equation, kept: set[str]) -> Nest | None:
    image = _read_by_max(first)
    if image is None or first.name in work.cyclic or work.equation(image.tensor.name) is None:
        return None
    maxes = [first]
    while maxes[-1].name not in kept:
        outer = _readers(work, maxes[-1].tensor)
        read = _read_by_max(outer[0]) if len(outer) == 1 else None
        if read is None or outer[0].name in work.cyclic or not all(isinstance(i, Index) for i in read.idx):
            break
        maxes.append(outer[0])
    return Nest(maxes, image, [])


def _take_first(work: Work, nest: Nest, kept: set[str]) -> bool:
    """Rewrite the outermost max; True if anything moved."""
    has_relu = _through_relu(work, nest, kept)
    image, ordered, moved = nest.image, nest.image.tensor, _through_sum(work, nest, kept)
    if not has_relu and not moved:
        return False
    outer = nest.outer
    made = _maxes_of(work, nest, nest.image)
    pieces = (Term(ONE, (Read(made[-1].tensor, *outer.idx),)), *moved)
    if has_relu and moved:
        made_for = nest.inside[0].tensor.block
        eq = Equation(work.tensor_like(outer.tensor, f"{outer.name}_pre", block=made_for), outer.idx, pieces)
        made.append(_defined(work, eq, f"what relu takes in {outer.name}"))
    if has_relu:
        pieces = (Term(ONE, (relu(Read(made[-1].tensor, *outer.idx)),)),)
    after = replace(outer, terms=pieces, reduce=None, over=(), guards=())
    why = ["relu never decreases"] if has_relu else []
    why += ["adding what is the same in the whole window keeps the order"] if moved else []
    work.forward[work.forward.index(outer)] = after
    made += [_definition(work, nest.image)] if nest.image.tensor != image.tensor else []
    work.step(
        MAX_FIRST,
        (outer,),
        after,
        f"{' and '.join(why)}, so the max is taken first",
        context=(*nest.inside, *nest.maxes[:-1], *made),
        wrt=ordered,
    )
    gone = {e.name for e in (*nest.inside, *nest.maxes[:-1])}
    work.forward = [e for e in work.forward if e.name not in gone]
    return True


def _definition(work: Work, read: Read) -> Equation:
    """The equation of a tensor that the program defines."""
    found = work.equation(read.tensor.name)
    assert found is not None
    return found


def _through_relu(work: Work, nest: Nest, kept: set[str]) -> bool:
    """Whether the nest reads relu of one tensor; its image is then what relu reads."""
    h = work.equation(nest.image.tensor.name)
    value = h.value() if h is not None and _only_for(work, h, nest.maxes[0], kept) else None
    if h is None or not isinstance(value, relu):
        return False
    inner = value.args[0]
    if not isinstance(inner, Read) or inner.tensor.dtype != "float":
        return False
    nest.image = inner.xreplace(dict(zip(h.idx, nest.image.idx, strict=True)))
    nest.inside.append(h)
    return True


def _through_sum(work: Work, nest: Nest, kept: set[str]) -> list[Term]:
    """The terms of the image that no window moves, at the outermost max; the image is then the sums that are left."""
    z = work.equation(nest.image.tensor.name)
    reader = nest.inside[0] if nest.inside else nest.maxes[0]
    if z is None or z.reduce or not _only_for(work, z, reader, kept):
        return []
    still = _still(nest, z)
    moved = [t for t in z.terms if t.free_symbols <= set(still)]
    rest = tuple(t for t in z.terms if t not in moved)
    if not moved or not any(t.bnd for t in rest):
        return []
    eq = Equation(work.tensor_like(z.tensor, f"{z.name}_sum"), z.idx, tuple(t.opened(work.fresh) for t in rest))
    left = _defined(work, eq, f"{z.name} without what is the same in the whole window")
    apart = replace(z, terms=(Term(ONE, (Read(left.tensor, *z.idx),)), *moved))
    work.rewrite_forward(
        SET_APART, z, apart, f"what stands apart is the same in the whole window of {nest.outer.name}", (left,)
    )
    nest.inside.append(apart)
    nest.image = Read(left.tensor, *nest.image.idx)
    return [t.opened(work.fresh).xreplace({i: still[i] for i in t.free_symbols}) for t in moved]


def _still(nest: Nest, z: Equation) -> dict[Index, Index]:
    """The indices of z that no window moves, as the outermost max has them."""
    at = {
        i: e for i, e in zip(z.idx, nest.image.idx, strict=True) if isinstance(e, Index) and e not in nest.maxes[0].over
    }
    for inner, outer in zip(nest.maxes, nest.maxes[1:], strict=False):
        read = _read_by_max(outer)
        assert read is not None  # what makes it a member of the nest
        up = dict(zip(inner.idx, read.idx, strict=True))
        at = {i: up[e] for i, e in at.items() if up[e] not in outer.over}
    return at


def _maxes_of(work: Work, nest: Nest, image: Read) -> list[Equation]:
    """The same nest of maxes over another tensor."""
    made: list[Equation] = []
    for e in nest.maxes:
        before = _read_by_max(e)
        read = Read(made[-1].tensor, *before.idx) if made and before is not None else image
        change = {b: work.fresh(b) for b in e.over}
        name = f"{image.tensor.name}_max{'' if e is nest.outer else '_row'}"
        eq = Equation(
            work.tensor_like(e.tensor, name, block=image.tensor.block),
            e.idx,
            (Term(ONE, (read.xreplace(change),)),),
            "max",
            tuple(change.values()),
            tuple(g.xreplace(change) for g in e.guards),
        )
        window = "the window" if e is nest.outer else "a row of the window"
        made.append(_defined(work, eq, f"the largest {image.tensor.name} of {window}"))
    return made


def _defined(work: Work, eq: Equation, why: str) -> Equation:
    """An equation that the program has already, under whatever name, or this one, new."""
    wanted = equation_key(eq)
    found = next((e for e in work.forward if equation_key(e) == wanted), None)
    if found is not None:
        return found
    eq = replace(eq, tensor=work.tensor_like(eq.tensor, work.unused(eq.name)))
    last = max((n for n, e in enumerate(work.forward) if e.tensor in eq.tensors()), default=-1)
    work.forward.insert(last + 1, eq)
    work.define(MAX_FIRST, eq, why)
    return eq
