"""The pipeline: one ordered list of named passes, with a type check of the whole program after each.

    definitions -> ingest -> log domain -> chain rule -> contract -> simplify -> reuse -> prune -> stabilize -> number

``PASSES`` is that list (Jacobians and Hessians sweep forward instead of by the chain rule backward, ``FORWARD_PASSES``);
:func:`run` executes it.  Ask for ``explain=True`` in ``dv.backprop`` to see what each did.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from sympy import Integer, exp, tanh

from .canonical import hash_text, key, term_key
from .contract import collect, contract
from .derivation import Derivation, FactUse, PassReport
from .errors import DerivationError
from .index import Fresh, Index
from .ingest import ingest
from .logdomain import log_domain
from .match import shape
from .nodes import sigmoid
from .order import Scan, schedule
from .program import Equation, Program, Step, Term
from .reverse import adjoint_letters, ancestors, contributions, float_ancestors, reaches, seed
from .saved import Saved
from .simplify import simplify, sum_equation
from .stabilize import stabilize
from .tangent import along
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
    pairs: tuple[tuple[Tensor, Tensor, str], ...] = ()  # forward sweep: (tensor, by which input, name of the result)
    mirrors: tuple[tuple[tuple[Tensor, Tensor, str], tuple[Tensor, Tensor]], ...] = ()  # (pair, the pair it transposes)
    fresh: Fresh = field(default_factory=Fresh)
    inputs: list[Tensor] = field(default_factory=list)
    forward: list[Equation] = field(default_factory=list)
    backward: list[Equation] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    kinks: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    adjoint: dict[str, Tensor] = field(default_factory=dict)  # tensor name -> its adjoint
    jacobian: dict[tuple[str, str], Tensor] = field(default_factory=dict)  # (tensor, input) -> its derivative
    all_adjoints: dict[str, Equation] = field(default_factory=dict)
    unshifted: list[Equation] = field(default_factory=list)  # all equations before stabilization
    cyclic: set[str] = field(default_factory=set)
    relevant: set[str] = field(default_factory=set)
    saved: Saved = None
    source: Program = None
    dirty: bool = True
    _sums: dict[tuple, list[Equation]] = field(default_factory=dict)
    _found: dict[str, Equation] = field(default_factory=dict)
    _last_step: dict[str, int] = field(default_factory=dict)

    # --- what the rules ask of the program ---

    def results(self) -> list[Tensor]:
        """The tensors that the program is for."""
        swept = [*self.pairs, *(pair for pair, _ in self.mirrors)]
        derived = [self.jacobian[t.name, w.name] for t, w, _ in swept] if swept else \
            [self.adjoint[t.name] for t in self.wrt]
        return [*([self.target] if self.keep_target else []), *self.outputs, *derived]

    def carries_deltas(self, eq: Equation) -> bool:
        """Whether an equation is a Jacobian, whose brackets are kept for contraction rather than written dense."""
        return any(t.name == eq.name for t in self.jacobian.values())

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
    roots = tuple(dict.fromkeys((work.target, *work.outputs, *(t for t, _, _ in work.pairs))))
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
    for t, _, _ in work.pairs:
        sources |= float_ancestors(work.forward, t)
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


def forward_sweep(work: Work) -> str:
    """Write the derivative of every tensor along the elements of each input, in forward order."""
    work.saved = Saved(work.forward)
    for eq in work.forward:
        work.register_sum(eq)
    maximisers: dict[str, Tensor] = {}
    order = [e.name for g in schedule(Program(tuple(work.inputs), tuple(work.forward)))
             for e in (g.equations if isinstance(g, Scan) else (g,))]
    for w in work.wrt:
        wanted = [t for t, by, _ in work.pairs if by == w]
        relevant = reaches(work.forward, [w]) & ancestors(work.forward, wanted) - {w.name}
        names = {t.name: name for t, by, name in work.pairs if by == w}
        made: dict[str, Tensor] = {}
        letters: dict[str, tuple[Index, ...]] = {}
        for name in [n for n in order if n in relevant]:
            eq = work.equation(name)
            letters[name] = _letters_beside(eq.idx, adjoint_letters(w))
            shown = work.unused(names.get(name) or f"{name}_by_{w.name}")
            made[name] = Tensor(shown, (*eq.tensor.axes, *w.axes), (*_plain(eq.idx), *letters[name]), role="computed",
                                digest=f"new:{shown}", block=eq.tensor.block)
            work.jacobian[name, w.name] = made[name]
            if name in work.cyclic:
                work.cyclic.add(shown)
        for name in made:
            _derivative(work, work.equation(name), w, letters[name], made, maximisers)
        for t, name in ((t, names[t.name]) for t in wanted if t.name not in made):
            _no_derivative(work, t, w, name)
    for (t, w, name), (other, by) in work.mirrors:
        _mirror(work, t, w, name, work.jacobian[other.name, by.name])
    return f"{len(work.backward)} derivatives"


def _no_derivative(work: Work, t: Tensor, w: Tensor, name: str):
    """A wanted derivative of what does not depend on w: zero, as of a gradient that is linear in what it holds."""
    idx = adjoint_letters(t)
    extra = _letters_beside(idx, adjoint_letters(w))
    made = Tensor(work.unused(name), (*t.axes, *w.axes), (*_plain(idx), *extra), role="computed", digest=f"new:{name}")
    work.jacobian[t.name, w.name] = made
    eq = Equation(made, (*idx, *extra), ())
    work.backward.append(eq)
    work.step("forward rule", made.name, (), eq, f"{t.name} does not depend on {w.name}", claim="definition")


def _mirror(work: Work, t: Tensor, w: Tensor, name: str, known: Tensor):
    """``H[b, a] = H[a, b]`` transposed: second derivatives commute."""
    rank = t.rank
    idx = adjoint_letters(known)
    own, extra = idx[len(idx) - rank:], idx[:len(idx) - rank]
    made = Tensor(work.unused(name), (*t.axes, *w.axes), (*own, *extra), role="computed", digest=f"new:{name}")
    work.jacobian[t.name, w.name] = made
    eq = Equation(made, (*own, *extra), (Term(Integer(1), (Read(known, *idx),)),))
    work.backward.append(eq)
    work.step("symmetry", made.name, (), eq, "second derivatives commute (Schwarz's theorem)", claim="definition")


def name_values(work: Work) -> str:
    """Name every function value inside a larger expression, so that derivatives of it are written in it."""
    named: dict[str, Tensor] = {}
    for eq in list(work.forward):
        if eq.reduce or (len(eq.terms) == 1 and len(eq.terms[0].fac) == 1):
            continue  # a value that has its name already, or a sum of exponentials that its logarithm stabilizes
        terms = []
        for t in eq.terms:
            scope = (*eq.idx, *t.bnd)
            terms.append(replace(t, fac=tuple(_named_value(work, eq, f, scope, named) for f in t.fac)))
        after = replace(eq, terms=tuple(terms))
        if after != eq:
            made = tuple(e for e in work.forward if e.name in {x.name for x in named.values()})
            work.forward[work.forward.index(eq)] = after
            work.step("definition", eq.name, (eq,), after, "its function values get names", context=made)
    return f"named {', '.join(t.name for t in named.values())}" if named else "nothing to name"


def _named_value(work: Work, eq: Equation, f, scope, named):
    if not isinstance(f, exp | sigmoid | tanh) or not f.has(Read):
        return f
    letters = tuple(i for i in scope if i in f.free_symbols)
    found = key(f, {i: f"#{n}:{key(i.size)}" for n, i in enumerate(letters)})
    if found not in named:
        name = work.unused(f"{eq.name}_{type(f).__name__}")
        t = Tensor(name, tuple(i.size for i in letters), _plain(letters), role="computed", digest=f"new:{name}",
                   block=eq.tensor.block)
        named[found] = t
        made = Equation(t, letters, (Term(Integer(1), (f,)),))
        work.forward.insert(work.forward.index(eq), made)
        work.step("definition", name, (), made, f"a function value that {eq.name} reads", claim="definition")
    return Read(named[found], *letters)


def _derivative(work, eq, w, extra, made, maximisers):
    argmax = _maximiser(work, eq, maximisers) if eq.reduce == "max" else None
    terms, conventions = along(eq, w, extra, made, work.fresh, argmax)
    work.kinks |= conventions
    raw = Equation(made[eq.name], (*eq.idx, *extra), tuple(terms))
    work.step("forward rule", raw.name, (), raw, f"{eq.name} changes with {w.name} through "
              f"{', '.join(t.name for t in eq.tensors() if t == w or t.name in made)}", claim="definition")
    work.backward.append(raw)


def _plain(idx) -> tuple[Index, ...]:
    return tuple(Index(i.name, i.size) for i in idx)


def _letters_beside(idx, letters) -> tuple[Index, ...]:
    """Letters for the differentiated axes that the equation's own indices do not use."""
    taken, out = {i.name for i in idx}, []
    for i in letters:
        name = i.name
        while name in taken:
            name += "'"
        taken.add(name)
        out.append(Index(name, i.size))
    return tuple(out)


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
            work.step("reuse", eq.name, (before,), eq, f"{', '.join(e.name for e in same)} has the value of "
                      f"{', '.join(alias[e.name].name for e in same)}", context=same)
        env = {i: f"={n}" for n, i in enumerate(eq.idx)}
        same = "+".join(sorted(term_key(t, env, with_coef=True) for t in eq.terms)) + repr(eq.tensor.axes)
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
    done = [replace(e, number=numbers[e.name],
                    parents=tuple(sorted(numbers[t.name] for t in e.tensors() if t.name in numbers))) for e in order]
    work.forward = [e for e in done if e.name not in backward]
    work.backward = [e for e in done if e.name in backward]
    return f"{len(done)} equations, {len(work.results())} results"


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

FORWARD_PASSES: tuple[Pass, ...] = tuple(
    q for p in PASSES for q in ((Pass("name values", name_values), Pass("forward sweep", forward_sweep))
                                if p is CHAIN_RULE else (p,)))


def run(work: Work, explain: bool = False) -> list[PassReport]:
    """Run every pass in order; after each, the whole program is type checked."""
    reports = []
    for p in FORWARD_PASSES if work.pairs else PASSES:
        before, start = len(work.forward) + len(work.backward), time.perf_counter()
        did = p.run(work)
        program = Program(tuple(work.inputs), tuple(work.forward + work.backward))
        program.check(p.name, ordered=p.run not in (chain_rule, forward_sweep))
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
    outputs = tuple(heads.get(t, t) for t in work.results())
    used = {t for e in final for t in e.tensors()} | set(outputs)
    program = Program(tuple(t for t in work.inputs if t in used), final, outputs)
    program.check("finish")
    # further differentiation starts from the equations before the shift, which is exact but not differentiable as a max
    origin = Program(program.inputs, tuple(moved(e) for e in work.unshifted))
    for head in heads.values():
        head.origin = origin
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
    source = replace(work.source, equations=tuple(moved(e) for e in work.source.equations))
    return Derivation(kind, name, source, program, work.wrt, results, steps,
                      tuple(FactUse(f, tuple(ids)) for f, ids in facts.items()), tuple(sorted(work.kinks)),
                      tuple(reports), work.cotangent, adjoints=tuple((n, e.tensor) for n, e in made.items()),
                      adjoint_equations=made)


def _made(work: Work) -> list[Tensor]:
    found = {t for e in work.forward + work.backward for t in (*e.tensors(), e.tensor)}
    found |= {t for e in work.unshifted for t in (*e.tensors(), e.tensor)}
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
