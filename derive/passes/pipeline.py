"""The pipeline: one ordered list of named passes, with a type check of the whole program after each.

    definitions -> ingest -> regroup -> log domain -> max first -> chain rule -> contract -> simplify -> reuse -> prune
                -> stabilize -> number

``PASSES`` is that list (Jacobians and Hessians sweep forward instead of by the chain rule backward, ``FORWARD_PASSES``);
:func:`run` executes it.  Ask for ``explain=True`` in ``dv.backprop`` to see what each did.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from derive.language.errors import DerivationError
from derive.language.tensor import Tensor
from derive.program.canonical import equation_key
from derive.program.check import check
from derive.program.derived import PassReport
from derive.program.graph import ancestors, float_ancestors
from derive.program.ingest import ingest
from derive.program.program import Equation, Program
from derive.program.schedule import Scan, schedule
from derive.program.terms import collect

from .chain_rule import chain_rule
from .contract import contract
from .forward_sweep import forward_sweep, name_values
from .log_domain import log_domain
from .max_first import max_first
from .regroup import regroup
from .simplify import simplify
from .stabilize import stabilize
from .work import Work


@dataclass(frozen=True)
class Pass:
    """A named pass: a function of the work that returns a sentence about what it did."""

    name: str
    run: Callable[[Work], str]

    @property
    def doc(self) -> str:
        return (self.run.__doc__ or "").strip().splitlines()[0]


def read_definitions(work: Work) -> str:
    """Validate the definitions, name nested reductions, open bound indices with fresh names."""
    roots = tuple(dict.fromkeys((work.target, *work.outputs, *(t for t, _, _ in work.pairs))))
    work.source = ingest(roots, work.fresh)
    work.inputs = list(work.source.inputs)
    work.forward = list(work.source.equations)
    work.names = {t.name for t in work.inputs} | {e.name for e in work.forward}
    if work.cotangent is not None:
        if work.cotangent.name in work.names:
            raise DerivationError(
                f"the cotangent name {work.cotangent.name!r} is taken by another tensor; choose one with cotangent="
            )
        work.inputs.append(work.cotangent)
        work.names.add(work.cotangent.name)
    _check_wrt(work)
    for group in schedule(work.source):
        if isinstance(group, Scan):
            work.cyclic |= {e.name for e in group.equations}
    return f"{len(work.inputs)} inputs, {len(work.forward)} equations"


def _check_wrt(work: Work):
    label = work.target.name
    if work.target.dtype != "float":
        raise DerivationError(f"{label} is {work.target.dtype}; only float tensors are differentiated")
    known = {t.name: t for t in work.inputs} | {e.name: e.tensor for e in work.forward}
    for t in work.wrt:
        if t.dtype != "float":
            raise DerivationError(
                f"a gradient with respect to {t.name} was asked for, but {t.name} is {t.dtype}; "
                f"gradients exist for float tensors only"
            )
        if known.get(t.name) != t:
            floats = sorted(n for n, x in known.items() if x.dtype == "float" and x.is_input)
            raise DerivationError(
                f"{label} does not depend on {t.name}; it depends on {', '.join(floats) or 'no float input'}"
            )
    sources = float_ancestors(work.forward, work.target)
    for t, _, _ in work.pairs:
        sources |= float_ancestors(work.forward, t)
    for t in work.wrt:
        if t.name not in sources:
            found = ", ".join(sorted(x.name for x in work.inputs if x.name in sources)) or "no float input"
            raise DerivationError(f"{label} does not depend on {t.name} through any float value; it depends on {found}")


def contraction(work: Work) -> str:
    """Solve the equalities of the chain rule (a delta keeps one term of a sum) and collect like terms."""
    for n, eq in enumerate(work.backward):
        solved = [contract(t) for t in eq.terms]
        after = replace(eq, terms=collect([t for t in solved if t is not None], eq.idx))
        if after.terms != eq.terms:
            rows = sum(1 for t in after.terms for r in t.rows)
            why = "each delta keeps the one term of its sum where it is 1"
            why += "; the conditions that remain are kept as they are" if rows else ", and no condition is left"
            work.step("contraction", eq.name, (eq,), after, why)
        work.backward[n] = after
    return f"{sum(len(e.terms) for e in work.backward)} terms"


def simplification(work: Work) -> str:
    """Substitute trivial adjoints, write saved values, use declared facts, read known sums, collect."""
    raw, work.backward = work.backward, []
    reads = Counter(t.name for eq in raw for t in eq.tensors())
    work.shared = {name for name, n in reads.items() if n > 1}
    by_name = {t.name: x for x, t in work.adjoint.items()}
    for eq in raw:
        done = simplify(eq, work)
        work.backward.append(done)
        work.register(done)
        if eq.name in by_name:
            work.all_adjoints[by_name[eq.name]] = done
    return f"{len(work.steps)} steps so far"


def reuse(work: Work) -> str:
    """Give equal definitions one name."""
    seen: dict[str, Equation] = {}
    alias: dict[str, Tensor] = {}
    keep = {t.name for t in work.results()}
    out = []
    for eq in work.backward:
        if any(t.name in alias for t in eq.tensors()):
            before, eq = eq, _renamed(eq, alias)
            same = [work.adjoint_equation(t) for t in before.tensors() if t.name in alias]
            work.step(
                "reuse",
                eq.name,
                (before,),
                eq,
                f"{', '.join(e.name for e in same)} has the value of {', '.join(alias[e.name].name for e in same)}",
                context=same,
            )
        same = equation_key(eq)
        other = seen.get(same)
        if other is not None and eq.name not in keep and eq.name not in work.cyclic:
            alias[eq.name] = other.tensor
            continue
        seen.setdefault(same, eq)
        out.append(eq)
    work.backward = out
    work.all_adjoints = {n: _renamed(e, alias) for n, e in work.all_adjoints.items()}
    return f"{len(alias)} shared"


def _renamed(eq: Equation, alias: dict[str, Tensor]) -> Equation:
    mapping = {r.tensor: alias[r.tensor.name] for r in eq.reads() if r.tensor.name in alias}
    return eq.xreplace(mapping) if mapping else eq


def prune(work: Work) -> str:
    """Drop every equation that neither the result nor an asked-for output needs."""
    roots = work.results()
    needed = ancestors(work.forward + work.backward, roots)
    dropped = [e.name for e in work.forward + work.backward if e.name not in needed]
    work.forward = [e for e in work.forward if e.name in needed]
    work.backward = [e for e in work.backward if e.name in needed]
    return f"dropped {', '.join(dropped)}" if dropped else "nothing to drop"


def number(work: Work) -> str:
    """Put the equations in evaluation order, forward then backward, and number them from 1."""
    backward = {e.name for e in work.backward}
    order = []
    for group in schedule(Program(tuple(work.inputs), tuple(work.forward + work.backward))):
        order += group.equations if isinstance(group, Scan) else (group,)
    order = [e for e in order if e.name not in backward] + [e for e in order if e.name in backward]
    numbers = {e.name: n for n, e in enumerate(order, start=1)}
    done = [
        replace(
            e, number=numbers[e.name], parents=tuple(sorted(numbers[t.name] for t in e.tensors() if t.name in numbers))
        )
        for e in order
    ]
    work.forward = [e for e in done if e.name not in backward]
    work.backward = [e for e in done if e.name in backward]
    return f"{len(done)} equations, {len(work.results())} results"


CHAIN_RULE = Pass("chain rule", chain_rule)

PASSES: tuple[Pass, ...] = (
    Pass("ingest", read_definitions),
    Pass("regroup", regroup),
    Pass("log domain", log_domain),
    Pass("max first", max_first),
    CHAIN_RULE,
    Pass("contract", contraction),
    Pass("simplify", simplification),
    Pass("reuse", reuse),
    Pass("prune", prune),
    Pass("stabilize", stabilize),
    Pass("number", number),
)

FORWARD_PASSES: tuple[Pass, ...] = tuple(
    q
    for p in PASSES
    for q in ((Pass("name values", name_values), Pass("forward sweep", forward_sweep)) if p is CHAIN_RULE else (p,))
)


def run(work: Work, explain: bool = False) -> list[PassReport]:
    """Run every pass in order; after each, the whole program is type checked."""
    reports = []
    for p in FORWARD_PASSES if work.pairs else PASSES:
        before, start = len(work.forward) + len(work.backward), time.perf_counter()
        did = p.run(work)
        program = Program(tuple(work.inputs), tuple(work.forward + work.backward))
        check(program, p.name, ordered=p.run not in (chain_rule, forward_sweep))
        reports.append(PassReport(p.name, did, before, len(program), time.perf_counter() - start))
        if explain:
            print(reports[-1])
    return reports
