"""The pipeline: one ordered list of named passes, with a type check of the whole program after each.

    definitions -> ingest -> log domain -> chain rule -> contract -> simplify -> reuse -> prune -> stabilize -> number

``PASSES`` is that list; :func:`run` executes it.  Ask for ``explain=True`` in ``dv.backprop`` to see what each did.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sympy import Add, Integer, exp, log

from .canonical import hash_text, term_key
from .contract import collect, contract
from .derivation import Derivation, FactUse, PassReport
from .errors import DerivationError, UnsupportedError
from .index import Fresh, Index
from .ingest import ingest
from .logdomain import log_domain
from .match import shape
from .order import Scan, schedule
from .program import Equation, Program, Row, Step, Term
from .reverse import adjoint_letters, ancestors, contributions, float_ancestors, reaches, seed
from .saved import Saved
from .simplify import simplify, sum_equation
from .tensor import Read, Tensor


@dataclass
class Work:
    """The state the passes share: equations so far, steps kept, facts and conventions used."""

    target: Tensor  # what is differentiated
    wrt: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()
    cotangent: Tensor | None = None
    keep_target: bool = True  # False when the target is only a means, as <grad, v> is for a Hessian-vector product
    adjoint_names: dict[str, str] = field(default_factory=dict)
    fresh: Fresh = field(default_factory=Fresh)
    inputs: list[Tensor] = field(default_factory=list)
    forward: list[Equation] = field(default_factory=list)
    backward: list[Equation] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kinks: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    adjoint: dict[str, Tensor] = field(default_factory=dict)  # tensor name -> its adjoint
    all_adjoints: dict[str, Equation] = field(default_factory=dict)
    cyclic: set[str] = field(default_factory=set)
    relevant: set[str] = field(default_factory=set)
    saved: Saved = None
    source: Program = None
    dirty: bool = True
    _sums: dict[tuple, list[Equation]] = field(default_factory=dict)
    _found: dict[str, Equation] = field(default_factory=dict)
    _last_step: dict[str, int] = field(default_factory=dict)

    # --- what the rules ask of the program ---

    def equation(self, name: str) -> Equation | None:
        return next((e for e in self.forward if e.name == name), None)

    def adjoint_equation(self, t: Tensor) -> Equation | None:
        return self._found.get(t.name)

    def is_backward(self, eq: Equation) -> bool:
        return eq.name in self._found

    def sums_like(self, term: Term) -> list[Equation]:
        return self._sums.get(shape(term), [])

    def unused(self, name: str) -> str:
        found, n = name, 2
        while found in self.names:
            found, n = f"{name}{n}", n + 1
        self.names.add(found)
        return found

    def tensor_like(self, t: Tensor, name: str, dtype="float", below=None) -> Tensor:
        return Tensor(name, t.axes, t.letters, dtype, below, "computed", digest=f"new:{name}", block=t.block)

    # --- what the rules do to it ---

    def step(self, rule, target, before, after, why, context=(), facts=(), claim="equal", adjoint_of=(), wrt=None):
        parents = (self._last_step[target],) if target in self._last_step else tuple(
            sorted({self._last_step[b.name] for b in before if b.name in self._last_step}))
        made = Step(len(self.steps) + 1, rule, target, tuple(before), after, why, parents, tuple(facts), tuple(context),
                    claim, tuple(adjoint_of), wrt)
        self.steps.append(made)
        self._last_step[target] = made.id

    def rewrite_forward(self, before: Equation, after: Equation, rule: str, why: str, claim="equal"):
        self.forward[self.forward.index(before)] = after
        self.step(rule, before.name, (before,), after, why, claim=claim)

    def insert_after(self, eq: Equation, new: Equation):
        self.forward.insert(self.forward.index(eq) + 1, new)

    def register(self, eq: Equation):
        """Make a finished backward equation available to the rules."""
        self._found[eq.name] = eq
        self.register_sum(eq)

    def register_sum(self, eq: Equation):
        if eq.reduce is None and len(eq.terms) == 1 and eq.terms[0].bnd:
            self._sums.setdefault(shape(eq.terms[0]), []).append(eq)

    def name_sum(self, inner: Term, eq: Equation) -> Equation:
        """The equation of a hoisted sum, new or already there."""
        idx = tuple(i for i in eq.idx if i in inner.free_symbols)
        name = self.unused(f"{eq.name}_sum")
        letters = tuple(Index(i.name, i.size) for i in idx)
        t = Tensor(name, tuple(i.size for i in idx), letters, role="computed", digest=f"new:{name}",
                   block=eq.tensor.block)
        made = sum_equation(inner, t, eq.idx)
        self.backward.append(made)
        self.step("definition", name, (), made, f"the sum inside {eq.name} gets a name", claim="definition")
        self.register(made)
        return made


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
    roots = tuple(dict.fromkeys((work.target, *work.outputs)))
    work.source = ingest(roots, work.fresh)
    work.inputs = list(work.source.inputs)
    work.forward = list(work.source.equations)
    work.names = {t.name for t in work.inputs} | {e.name for e in work.forward}
    if work.cotangent is not None:
        if work.cotangent.name in work.names:
            raise DerivationError(f"the cotangent name {work.cotangent.name!r} is taken by another tensor; choose one "
                                  f"with cotangent=")
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
            raise DerivationError(f"a gradient with respect to {t.name} was asked for, but {t.name} is {t.dtype}; "
                                  f"gradients exist for float tensors only")
        if known.get(t.name) != t:
            floats = sorted(n for n, x in known.items() if x.dtype == "float" and x.is_input)
            raise DerivationError(f"{label} does not depend on {t.name}; it depends on {', '.join(floats) or 'no float input'}")
    sources = float_ancestors(work.forward, work.target)
    for t in work.wrt:
        if t.name not in sources:
            found = ", ".join(sorted(x.name for x in work.inputs if x.name in sources)) or "no float input"
            raise DerivationError(f"{label} does not depend on {t.name} through any float value; it depends on {found}")


def chain_rule(work: Work) -> str:
    """Write the adjoint of every tensor between wrt and loss as a sum over its consumers, in reverse order."""
    work.relevant = reaches(work.forward, work.wrt) & ancestors(work.forward, [work.target])
    work.saved = Saved(work.forward)
    for eq in work.forward:
        work.register_sum(eq)
    order = [e.tensor for g in schedule(Program(tuple(work.inputs), tuple(work.forward))) for e in
             (g.equations if isinstance(g, Scan) else (g,)) if e.name in work.relevant]
    targets = [*reversed(order), *(t for t in work.inputs if t.name in work.relevant)]
    for t in targets:
        name = work.unused(work.adjoint_names.get(t.name) or f"d{t.name}")
        work.adjoint[t.name] = Tensor(name, t.axes, adjoint_letters(t), role="computed", digest=f"new:{name}",
                                      block=t.block)
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
        argmax = _maximiser(work, eq, maximisers) if eq.reduce == "max" else None
        found, conventions = contributions(eq, x, work.adjoint[eq.name], idx, work.fresh, argmax)
        terms += found
        work.kinks |= conventions
        if found:
            used.append(eq)
            maxima += [work.equation(argmax.name)] if argmax is not None else []
    raw = Equation(dx, idx, tuple(terms))
    if used or x != work.target:
        why = f"{x.name} is read only where its derivative is zero" if not used else (
            f"{x.name} reaches {work.target.name} through {', '.join(e.name for e in used)}" + (
                f": {len(terms)} paths, {len(terms)} terms" if len(terms) > 1 else ""))
        work.step("chain rule", dx.name, tuple(used), raw, why, context=maxima, claim="transpose", wrt=x,
                  adjoint_of=tuple((e.name, work.adjoint[e.name]) for e in used))
    if x == work.target:
        raw = replace(raw, terms=(seed(x, work.cotangent, idx), *raw.terms))
        why = f"the derivative of {x.name} with respect to itself is 1" if work.cotangent is None else (
            f"the cotangent of {x.name} is given")
        work.step("seed", dx.name, (), raw, why, claim="definition")
    work.backward.append(raw)


def _maximiser(work: Work, eq: Equation, made: dict[str, Tensor]) -> Tensor:
    if eq.name not in made:
        name = work.unused(f"{eq.name}_argmax")
        t = work.tensor_like(eq.tensor, name, "int", eq.over[0].size)
        new = replace(eq, tensor=t, reduce="argmax")
        work.insert_after(eq, new)
        made[eq.name] = t
        work.step("definition", name, (), new, f"the first maximiser of {eq.name}, where its gradient goes",
                  claim="definition")
    return made[eq.name]


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
    by_name = {t.name: x for x, t in work.adjoint.items()}
    for eq in raw:
        done = simplify(eq, work)
        work.backward.append(done)
        work.register(done)
        work.all_adjoints[by_name[eq.name]] = done
    return f"{len(work.steps)} steps so far"


def reuse(work: Work) -> str:
    """Give equal definitions one name."""
    seen: dict[str, Equation] = {}
    alias: dict[str, Tensor] = {}
    keep = {work.adjoint[t.name].name for t in work.wrt}
    out = []
    for eq in work.backward:
        if alias:
            eq = _renamed(eq, alias)
        env = {i: f"={n}" for n, i in enumerate(eq.idx)}
        key = "+".join(sorted(term_key(t, env, with_coef=True) for t in eq.terms)) + repr(eq.tensor.axes)
        other = seen.get(key)
        if other is not None and eq.name not in keep and eq.name not in work.cyclic:
            alias[eq.name] = other.tensor
            continue
        seen.setdefault(key, eq)
        out.append(eq)
    work.backward = out
    work.forward = [_renamed(e, alias) for e in work.forward] if alias else work.forward
    work.all_adjoints = {n: _renamed(e, alias) for n, e in work.all_adjoints.items()}
    return f"{len(alias)} shared"


def _renamed(eq: Equation, alias: dict[str, Tensor]) -> Equation:
    mapping = {r.tensor: alias[r.tensor.name] for r in eq.reads() if r.tensor.name in alias}
    return eq.xreplace(mapping) if mapping else eq


def _results(work: Work) -> list[Tensor]:
    target = [work.target] if work.keep_target else []
    return [*target, *work.outputs, *(work.adjoint[t.name] for t in work.wrt)]


def prune(work: Work) -> str:
    """Drop every equation that neither the result nor an asked-for output needs."""
    roots = _results(work)
    needed = ancestors(work.forward + work.backward, roots)
    dropped = [e.name for e in work.forward + work.backward if e.name not in needed]
    work.forward = [e for e in work.forward if e.name in needed]
    work.backward = [e for e in work.backward if e.name in needed]
    return f"dropped {', '.join(dropped)}" if dropped else "nothing to drop"


def stabilize(work: Work) -> str:
    """Shift every log-sum-exp by its largest exponent, so that no exponential overflows."""
    shifted = []
    for lse in list(work.forward):
        s = _sum_of_exp_inside(work, lse)
        if s is None:
            continue
        term = s.terms[0]
        exponent = term.fac[0].args[0]
        top = work.tensor_like(s.tensor, work.unused(f"{lse.name}_max"))
        over = tuple(work.fresh(b) for b in term.bnd)
        mapping = dict(zip(term.bnd, over, strict=True))
        pieces = tuple(Term(Integer(1), (a,)) for a in Add.make_args(exponent.xreplace(mapping)))
        top_eq = Equation(top, s.idx, pieces, "max", over, tuple(r.xreplace(mapping) for r in term.rows))
        shifted_sum = replace(s, tensor=s.tensor, terms=(
            replace(term, fac=(exp(exponent - Read(top, *s.idx)),)),))
        t_new = work.tensor_like(s.tensor, work.unused(f"{s.name}_shifted"))
        shifted_sum = replace(shifted_sum, tensor=t_new)
        at = Read(top, *lse.idx)
        after = replace(lse, terms=(Term(Integer(1), (at,)), Term(Integer(1), (log(Read(t_new, *lse.idx)),))))
        work.forward.insert(work.forward.index(lse), top_eq)
        work.forward.insert(work.forward.index(lse), shifted_sum)
        work.step("definition", top.name, (), top_eq, f"the largest exponent in {lse.name}", claim="definition")
        work.step("definition", t_new.name, (), shifted_sum, "every exponent is now at most 0", claim="definition")
        work.step("stabilize", lse.name, (lse,), after, f"log sum exp u = m + log sum exp(u - m) for any m; with m the "
                  f"largest u nothing overflows", context=(top_eq, shifted_sum), claim="exp-equal")
        work.forward[work.forward.index(lse)] = after
        if not any(s.tensor in e.tensors() for e in work.forward + work.backward):
            work.forward.remove(s)
        shifted.append(lse.name)
    return f"shifted {', '.join(shifted)}" if shifted else "nothing to shift"


def _sum_of_exp_inside(work: Work, lse: Equation) -> Equation | None:
    """The equation ``s = sum exp u`` when ``lse = log s`` at the same indices; else None."""
    if lse.reduce or len(lse.terms) != 1 or lse.terms[0].bnd or len(lse.terms[0].fac) != 1:
        return None
    f = lse.terms[0].fac[0]
    if not (isinstance(f, log) and isinstance(f.args[0], Read) and f.args[0].idx == lse.idx):
        return None
    s = work.equation(f.args[0].tensor.name)
    if s is None or s.reduce or len(s.terms) != 1 or s.idx != lse.idx:
        return None
    t = s.terms[0]
    return s if t.coef == 1 and len(t.fac) == 1 and isinstance(t.fac[0], exp) and t.bnd else None


def number(work: Work) -> str:
    """Put the equations in evaluation order, forward then backward, and number them from 1."""
    backward = {e.name for e in work.backward}
    order = []
    for group in schedule(Program(tuple(work.inputs), tuple(work.forward + work.backward))):
        order += group.equations if isinstance(group, Scan) else (group,)
    order = [e for e in order if e.name not in backward] + [e for e in order if e.name in backward]
    numbers = {e.name: n for n, e in enumerate(order, start=1)}
    done = [replace(e, number=numbers[e.name],
                    parents=tuple(sorted(numbers[t.name] for t in e.tensors() if t.name in numbers))) for e in order]
    work.forward = [e for e in done if e.name not in backward]
    work.backward = [e for e in done if e.name in backward]
    return f"{len(done)} equations, {len(_results(work))} results"


CHAIN_RULE = Pass("chain rule", chain_rule)

PASSES: tuple[Pass, ...] = (
    Pass("ingest", read_definitions),
    Pass("log domain", log_domain),
    CHAIN_RULE,
    Pass("contract", contraction),
    Pass("simplify", simplification),
    Pass("reuse", reuse),
    Pass("prune", prune),
    Pass("stabilize", stabilize),
    Pass("number", number),
)


def run(work: Work, explain: bool = False) -> list[PassReport]:
    """Run every pass in order; after each, the whole program is type checked."""
    reports = []
    for p in PASSES:
        before, start = len(work.forward) + len(work.backward), time.perf_counter()
        did = p.run(work)
        program = Program(tuple(work.inputs), tuple(work.forward + work.backward))
        program.check(p.name, ordered=p is not CHAIN_RULE)
        reports.append(PassReport(p.name, did, before, len(program), time.perf_counter() - start))
        if explain:
            print(reports[-1])
    return reports


def finish(work: Work, kind: str, name: str, results, reports) -> Derivation:
    """Freeze the work into a Derivation; engine-made tensors get an identity that includes the whole program."""
    program = Program(tuple(work.inputs), tuple(work.forward + work.backward))
    text = hash_text("\n".join(f"{e.tensor.name}:{_eq_key(e)}" for e in program.equations))
    heads = {t: Tensor(t.name, t.axes, t.letters, t.dtype, t.below, t.role, t.facts, None, f"{text}:{t.name}", t.block)
             for t in _made(work)}
    def moved(e):
        return replace(e.xreplace(heads), tensor=heads.get(e.tensor, e.tensor))
    final = tuple(moved(e) for e in program.equations)
    outputs = tuple(heads.get(t, t) for t in _results(work))
    used = {t for e in final for t in e.tensors()} | set(outputs)
    program = Program(tuple(t for t in work.inputs if t in used), final, outputs)
    program.check("finish")
    for head in heads.values():
        head.origin = program
    steps = tuple(replace(s, before=tuple(moved(b) for b in s.before), after=moved(s.after),
                          context=tuple(moved(c) for c in s.context), wrt=heads.get(s.wrt, s.wrt),
                          adjoint_of=tuple((n, heads.get(t, t)) for n, t in s.adjoint_of)) for s in work.steps)
    facts: dict[str, list[int]] = {}
    for s in steps:
        for f in s.facts:
            facts.setdefault(f, []).append(s.id)
    for t in program.inputs:
        if t.dtype == "int" and t.below is not None:
            letters = ", ".join(str(x) if x is not None else "·" for x in t.letters)
            read = f"{t.name}[{letters}]" if t.rank else t.name
            facts.setdefault(f"0 <= {read} < {t.below} (declared)", [])
    made = {n: moved(e) for n, e in work.all_adjoints.items()}
    results = tuple((g, {k: heads.get(t, t) for k, t in v.items()} if isinstance(v, dict) else heads.get(v, v))
                    for g, v in results)
    return Derivation(kind, name, work.source, program, work.wrt, results, steps,
                      tuple(FactUse(f, tuple(ids)) for f, ids in facts.items()), tuple(sorted(work.kinks)),
                      tuple(reports), work.cotangent, adjoints=tuple((n, e.tensor) for n, e in made.items()),
                      adjoint_equations=made)


def _made(work: Work) -> list[Tensor]:
    found = {t for e in work.forward + work.backward for t in (*e.tensors(), e.tensor)}
    for s in work.steps:
        for e in (*s.before, s.after, *s.context):
            found |= {e.tensor, *e.tensors()}
        found |= {t for _, t in s.adjoint_of}
    for e in work.all_adjoints.values():
        found |= {e.tensor, *e.tensors()}
    return sorted((t for t in found if not t.is_input and t.definition is None and t.origin is None),
                  key=lambda t: t.name)


def _eq_key(e: Equation) -> str:
    env = {i: f"={n}" for n, i in enumerate((*e.idx, *e.over))}
    return "+".join(sorted(term_key(t, env, with_coef=True) for t in e.terms)) + (e.reduce or "")
