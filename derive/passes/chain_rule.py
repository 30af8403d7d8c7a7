"""The chain rule, backward: the adjoint of every tensor as a sum over its consumers."""

from __future__ import annotations

from dataclasses import replace

from derive.language.naming import adjoint
from derive.language.tensor import Tensor
from derive.program.canonical import equation_key
from derive.program.graph import ancestors, reaches
from derive.program.program import Equation, Program, Term
from derive.program.schedule import in_order

from .adjoints import adjoint_letters, contributions, seed
from .matrices import inverse_of, is_matrix
from .rule import Rule
from .saved_values import Saved
from .work import NEW_NAME, Backward, Work

SEED = Rule("seed", "The start", claim="definition")
CHAIN_RULE = Rule(
    "chain rule",
    "The chain rule",
    "Going backward from the result, each tensor gathers one term from every place that reads it: the adjoint of the "
    "reader, times the partial derivative of the reader by what it reads.",
    "transpose",
)


def chain_rule(work: Backward) -> str:
    """Write the adjoint of every tensor between wrt and loss as a sum over its consumers, in reverse order."""
    relevant = reaches(work.forward, work.wrt) & ancestors(work.forward, [work.target])
    work.saved = Saved(work.forward)
    for eq in work.forward:
        work.register_sum(eq)
    order = [e.tensor for e in in_order(Program(tuple(work.inputs), tuple(work.forward))) if e.name in relevant]
    targets = [*reversed(order), *(t for t in work.inputs if t.name in relevant)]
    for t in targets:
        name = work.unused(work.adjoint_names.get(t.name) or adjoint(t.name))
        work.adjoint[t.name] = work.tensor(name, adjoint_letters(t), t.block)
        if t.name in work.cyclic:
            work.cyclic.add(name)
    consumers: dict[str, list[Equation]] = {}
    for eq in work.forward:
        if eq.name in relevant and eq.reduce != "argmax":
            for x in eq.tensors():
                consumers.setdefault(x.name, []).append(eq)
    maximisers: dict[str, Tensor] = {}
    for x in targets:
        _adjoint(work, x, consumers.get(x.name, []), maximisers)
    return f"{len(work.backward)} adjoints"


def _adjoint(work: Backward, x: Tensor, consumers: list[Equation], maximisers: dict[str, Tensor]) -> None:
    dx = work.adjoint[x.name]
    idx = adjoint_letters(x)
    terms: list[Term] = []
    used: list[Equation] = []
    beside_used: list[Equation] = []
    for eq in consumers:
        beside = helper(work, eq, maximisers)
        found, conventions = contributions(eq, x, work.adjoint[eq.name], idx, work.fresh, beside)
        terms += found
        work.kinks |= conventions
        if found:
            used.append(eq)
            of_beside = work.equation(beside.name) if beside is not None and beside != eq.tensor else None
            beside_used += [of_beside] if of_beside is not None else []
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
        paired = [(e.name, work.adjoint[e.name]) for e in used]
        work.step(CHAIN_RULE, used, raw, why, context=beside_used, wrt=x, adjoint_of=paired)
    if x == work.target:
        raw = replace(raw, terms=(seed(work.cotangent, idx), *raw.terms))
        why = (
            f"the derivative of {x.name} with respect to itself is 1"
            if work.cotangent is None
            else (f"the cotangent of {x.name} is given")
        )
        work.define(SEED, raw, why)
    work.backward.append(raw)


def helper(work: Work, eq: Equation, made: dict[str, Tensor]) -> Tensor | None:
    """What the derivative of an equation reads beside it: a first maximiser, the inverse of a matrix, or nothing."""
    if is_matrix(eq):
        return inverse_of(work, eq)
    return maximiser(work, eq, made) if eq.reduce == "max" else None


def maximiser(work: Work, eq: Equation, made: dict[str, Tensor]) -> Tensor:
    """The integer tensor that says where ``eq`` has its maximum, from the program or new."""
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
        work.define(NEW_NAME, new, f"the first maximiser of {eq.name}, where its gradient goes")
    return made[eq.name]
