"""The pipeline: one ordered list of named passes, with a type check of the whole program after each.

    definitions -> ingest -> regroup -> log domain -> max first -> chain rule -> contract -> simplify -> reuse -> prune
                -> structures -> stabilize -> equalities -> number

``PASSES`` is that list (Jacobians and Hessians sweep forward instead of by the chain rule backward, ``FORWARD_PASSES``);
:func:`run` executes it.  Ask for ``explain=True`` in ``dv.backprop`` to see what each did.  Each pass lists the rules that
its steps use, in the order in which it tries them; a document tells the steps in the order of these lists, ``RULES``.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from derive.language.errors import DerivationError
from derive.language.tensor import Tensor
from derive.program.canonical import equation_key
from derive.program.check import check
from derive.program.derived import PassReport
from derive.program.graph import ancestors, float_ancestors
from derive.program.ingest import ingest
from derive.program.program import Equation, Program, Step
from derive.program.schedule import Scan, in_order, schedule
from derive.program.terms import collect

from .addends import LOG_OF_SUM
from .chain_rule import CHAIN_RULE, SEED, chain_rule
from .collecting import EXPAND, FACT, HOIST, KNOWN_SUM
from .contract import CONTRACTION, contract
from .equalities import EQUALITY, equalities
from .exponentials import LOGISTIC, WRITTEN_OUT
from .forward_sweep import FORWARD_RULE, NAMED_VALUES, SYMMETRY, forward_sweep, name_values
from .inverses import INVERSE
from .log_domain import LOG_OF_EXP, LOG_SUM_EXP, log_domain
from .log_products import LOG_OF_PRODUCT
from .max_first import MAX_FIRST, SET_APART, max_first
from .regroup import REGROUPING, regroup
from .rule import Rule
from .saved_values import SAVED_VALUE
from .simplify import COLLECT, GUARD, JOIN, SUBSTITUTION, join_exponents, simplify
from .stabilize import STABILIZE, stabilize
from .structures import NAMED, STRUCTURE, structures
from .work import NEW_NAME, Backward, Forward, Work

REUSE = Rule(
    "reuse", "Equal values", "What two equations would compute twice is computed once, and both names read it."
)


@dataclass(frozen=True)
class Pass:
    """A named pass: a function of the work that returns a sentence about what it did.

    ``rules`` are those that its steps use.  After a pass that is not ``ordered`` the deltas of the chain rule still hide which
    step of a recurrence reads which, so there is no order of evaluation yet to check.
    """

    name: str
    run: Callable[[Any], str]  # of a Work; the two sweeps are of the one that they sweep
    rules: tuple[Rule, ...] = ()
    ordered: bool = True


def read_definitions(work: Work) -> str:
    """Validate the definitions, name nested reductions, open bound indices with fresh names."""
    work.source = ingest(work.read(), work.fresh)
    work.inputs = list(work.source.inputs)
    work.forward = list(work.source.equations)
    work.names = {t.name for t in work.inputs} | {e.name for e in work.forward}
    if isinstance(work, Backward) and work.cotangent is not None:
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


def _check_wrt(work: Work) -> None:
    label = work.target.name
    if not work.wrt:
        return
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
    sources = set().union(*(float_ancestors(work.forward, t) for t in work.differentiated()))
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
            work.step(CONTRACTION, (eq,), after, why)
        work.backward[n] = after
    return f"{sum(len(e.terms) for e in work.backward)} terms"


def simplification(work: Work) -> str:
    """Substitute trivial adjoints, write saved values, use declared facts, read known sums, collect."""
    raw, work.backward = work.backward, []
    reads = Counter(t.name for eq in raw for t in eq.tensors())
    work.shared = {name for name, n in reads.items() if n > 1}
    for eq in raw:
        done = simplify(eq, work)
        work.backward.append(done)
        work.register(done)
    for n, eq in enumerate(work.backward):  # a recurrence reads adjoints that were not finished before it
        joined = join_exponents(eq, work)
        if joined != eq:
            work.backward[n] = simplify(joined, work)
            work.register(work.backward[n])
    if isinstance(work, Backward):
        known = {eq.name: eq for eq in work.backward}
        work.adjoint_equations = {x: known[dx.name] for x, dx in work.adjoint.items()}
    return f"{len(work.steps)} steps so far"


def reuse(work: Work) -> str:
    """Give equal definitions one name."""
    seen: dict[str, Equation] = {}
    alias: dict[str, Tensor] = {}
    dropped: dict[str, Equation] = {}
    keep = {t.name for t in work.results()}
    out = []
    for eq in work.backward:
        same = [dropped[t.name] for t in eq.tensors() if t.name in dropped]
        if same:
            before, eq = eq, _renamed(eq, alias)
            names, values = ", ".join(e.name for e in same), ", ".join(alias[e.name].name for e in same)
            work.step(REUSE, (before,), eq, f"{names} has the value of {values}", context=same)
        value = equation_key(eq)
        other = seen.get(value)
        if other is not None and eq.name not in keep and eq.name not in work.cyclic:
            alias[eq.name] = other.tensor
            dropped[eq.name] = eq
            continue
        seen.setdefault(value, eq)
        out.append(eq)
    work.backward = out
    if isinstance(work, Backward):
        work.adjoint_equations = {n: _renamed(e, alias) for n, e in work.adjoint_equations.items()}
    return f"{len(alias)} shared"


def _renamed(eq: Equation, alias: dict[str, Tensor]) -> Equation:
    mapping = {r.tensor: alias[r.tensor.name] for r in eq.reads() if r.tensor.name in alias}
    return eq.xreplace(mapping) if mapping else eq


def prune(work: Work) -> str:
    """Drop every equation that neither the result nor an asked-for output needs."""
    roots = work.results()
    needed = ancestors(work.equations, roots)
    dropped = [e.name for e in work.equations if e.name not in needed]
    work.forward = [e for e in work.forward if e.name in needed]
    work.backward = [e for e in work.backward if e.name in needed]
    return f"dropped {', '.join(dropped)}" if dropped else "nothing to drop"


def number(work: Work) -> str:
    """Put the equations in evaluation order, forward then backward, and number them from 1."""
    backward = {e.name for e in work.backward}
    order = in_order(Program(tuple(work.inputs), tuple(work.equations)))
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


OPENING = (
    Pass("ingest", read_definitions),
    Pass("regroup", regroup, (REGROUPING,)),
    Pass("log domain", log_domain, (LOGISTIC, LOG_OF_PRODUCT, LOG_OF_SUM, WRITTEN_OUT, LOG_SUM_EXP, LOG_OF_EXP)),
    Pass("max first", max_first, (SET_APART, MAX_FIRST)),
)
BACKWARD = (Pass("chain rule", chain_rule, (NEW_NAME, SEED, CHAIN_RULE), ordered=False),)
FORWARD = (
    Pass("name values", name_values, (NEW_NAME, NAMED_VALUES)),
    Pass("forward sweep", forward_sweep, (NEW_NAME, FORWARD_RULE, SYMMETRY), ordered=False),
)
CLOSING = (
    Pass("contract", contraction, (CONTRACTION,)),
    Pass(
        "simplify",
        simplification,
        (SUBSTITUTION, JOIN, INVERSE, EXPAND, SAVED_VALUE, COLLECT, FACT, KNOWN_SUM, GUARD, HOIST),
    ),
    Pass("reuse", reuse, (REUSE,)),
    Pass("prune", prune),
    Pass("structures", structures, (NEW_NAME, NAMED, STRUCTURE)),
    Pass("stabilize", stabilize, (STABILIZE,)),
    Pass("equalities", equalities, (EQUALITY,)),
    Pass("number", number),
)

PASSES: tuple[Pass, ...] = (*OPENING, *BACKWARD, *CLOSING)
FORWARD_PASSES: tuple[Pass, ...] = (*OPENING, *FORWARD, *CLOSING)

# every rule by its name, in the order in which a document tells its steps
RULES: dict[str, Rule] = {r.name: r for p in (*OPENING, *FORWARD, *BACKWARD, *CLOSING) for r in p.rules}


def run(work: Work, explain: bool = False) -> list[PassReport]:
    """Run every pass in order; after each, the whole program is type checked."""
    reports = []
    for p in FORWARD_PASSES if isinstance(work, Forward) else PASSES:
        before, kept, start = len(work.equations), len(work.steps), time.perf_counter()
        did = p.run(work)
        program = Program(tuple(work.inputs), tuple(work.equations))
        check(program, p.name, ordered=p.ordered)
        check_rules(p, work.steps[kept:])
        reports.append(PassReport(p.name, did, before, len(program), time.perf_counter() - start))
        if explain:
            print(reports[-1])
    return reports


def check_rules(p: Pass, steps: Sequence[Step]) -> None:
    """Refuse a step by a rule that its pass does not list: a document would not know where to tell it."""
    listed = {r.name for r in p.rules}
    for s in steps:
        if s.rule not in listed:
            raise DerivationError(
                f"pass {p.name!r} made step {s.id} by the rule {s.rule!r}, which it does not list; it lists "
                f"{', '.join(sorted(listed)) or 'none'}: add the rule to the pass in derive.passes.pipeline"
            )
