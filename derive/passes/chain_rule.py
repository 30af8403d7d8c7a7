"""The chain rule, backward: the adjoint of every tensor as a sum over its consumers."""

from __future__ import annotations

from dataclasses import replace

from derive.language.tensor import Tensor
from derive.program.canonical import equation_key
from derive.program.graph import ancestors, reaches
from derive.program.program import Equation, Program
from derive.program.schedule import Scan, schedule

from .adjoints import adjoint_letters, contributions, seed
from .matrices import inverse_of, is_matrix
from .saved_values import Saved
from .work import Work


def chain_rule(work: Work) -> str:
    """Write the adjoint of every tensor between wrt and loss as a sum over its consumers, in reverse order."""
    work.relevant = reaches(work.forward, work.wrt) & ancestors(work.forward, [work.target])
    work.saved = Saved(work.forward)
    for eq in work.forward:
        work.register_sum(eq)
    order = [
        e.tensor
        for g in schedule(Program(tuple(work.inputs), tuple(work.forward)))
        for e in (g.equations if isinstance(g, Scan) else (g,))
        if e.name in work.relevant
    ]
    targets = [*reversed(order), *(t for t in work.inputs if t.name in work.relevant)]
    for t in targets:
        name = work.unused(work.adjoint_names.get(t.name) or f"d{t.name}")
        work.adjoint[t.name] = Tensor(
            name, t.axes, adjoint_letters(t), role="computed", digest=f"new:{name}", block=t.block
        )
        if t.name in work.cyclic:
            work.cyclic.add(name)
    consumers: dict[str, list[Equation]] = {}
    for eq in work.forward:
        if eq.name in work.relevant and eq.reduce != "argmax":
            for x in eq.tensors():
                consumers.setdefault(x.name, []).append(eq)
    maximisers: dict[str, Tensor] = {}
    for x in targets:
        _adjoint(work, x, consumers.get(x.name, []), maximisers)
    return f"{len(work.backward)} adjoints"


def _adjoint(work: Work, x: Tensor, consumers, maximisers):
    dx = work.adjoint[x.name]
    idx = adjoint_letters(x)
    terms, used, maxima = [], [], []
    for eq in consumers:
        beside = helper(work, eq, maximisers)
        found, conventions = contributions(eq, x, work.adjoint[eq.name], idx, work.fresh, beside)
        terms += found
        work.kinks |= conventions
        if found:
            used.append(eq)
            maxima += [work.equation(beside.name)] if beside is not None and beside != eq.tensor else []
    raw = Equation(dx, idx, tuple(terms))
    if used or x != work.target:
        why = (
            f"{x.name} is read only where its derivative is zero"
            if not used
            else (
                f"{x.name} reaches {work.target.name} through {', '.join(e.name for e in used)}"
                + (f": {len(terms)} paths, {len(terms)} terms" if len(terms) > 1 else "")
            )
        )
        work.step(
            "chain rule",
            dx.name,
            tuple(used),
            raw,
            why,
            context=maxima,
            claim="transpose",
            wrt=x,
            adjoint_of=tuple((e.name, work.adjoint[e.name]) for e in used),
        )
    if x == work.target:
        raw = replace(raw, terms=(seed(x, work.cotangent, idx), *raw.terms))
        why = (
            f"the derivative of {x.name} with respect to itself is 1"
            if work.cotangent is None
            else (f"the cotangent of {x.name} is given")
        )
        work.step("seed", dx.name, (), raw, why, claim="definition")
    work.backward.append(raw)


def helper(work: Work, eq: Equation, made: dict[str, Tensor]) -> Tensor | None:
    """What the derivative of an equation reads beside it: a first maximiser, the inverse of a matrix, or nothing."""
    if is_matrix(eq):
        return inverse_of(work, eq)
    return maximiser(work, eq, made) if eq.reduce == "max" else None


def maximiser(work: Work, eq: Equation, made: dict[str, Tensor]) -> Tensor:
    if eq.name not in made:
        kept = equation_key(replace(eq, reduce="argmax"))
        known = [e.tensor for e in work.forward if e.reduce == "argmax" and equation_key(e) == kept]
        if known:
            made[eq.name] = known[0]
            return known[0]
        name = work.unused(f"{eq.name}_argmax")
        t = work.tensor_like(eq.tensor, name, "int", eq.over[0].size)
        new = replace(eq, tensor=t, reduce="argmax")
        work.insert_after(eq, new)
        made[eq.name] = t
        work.step(
            "definition",
            name,
            (),
            new,
            f"the first maximiser of {eq.name}, where its gradient goes",
            claim="definition",
        )
    return made[eq.name]
