"""The state that the passes of the pipeline share."""

from __future__ import annotations

from dataclasses import dataclass, field

from derive.language.index import Fresh, Index
from derive.language.tensor import Tensor
from derive.program.match import shape
from derive.program.program import Equation, Program, Step, Term

from .saved_values import Saved


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
    shared: set[str] = field(default_factory=set)  # names that several backward equations read
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
        derived = (
            [self.jacobian[t.name, w.name] for t, w, _ in swept] if swept else [self.adjoint[t.name] for t in self.wrt]
        )
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

    def tensor_like(self, t: Tensor, name: str, dtype="float", below=None, block=None) -> Tensor:
        return Tensor(name, t.axes, t.letters, dtype, below, "computed", digest=f"new:{name}", block=block or t.block)

    # --- what the rules do to it ---

    def step(self, rule, target, before, after, why, context=(), facts=(), claim="equal", adjoint_of=(), wrt=None):
        parents = (
            (self._last_step[target],)
            if target in self._last_step
            else tuple(sorted({self._last_step[b.name] for b in before if b.name in self._last_step}))
        )
        made = Step(
            len(self.steps) + 1,
            rule,
            target,
            tuple(before),
            after,
            why,
            parents,
            tuple(facts),
            tuple(context),
            claim,
            tuple(adjoint_of),
            wrt,
        )
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
        t = Tensor(
            name, tuple(i.size for i in idx), letters, role="computed", digest=f"new:{name}", block=eq.tensor.block
        )
        made = sum_equation(inner, t, eq.idx)
        self.backward.append(made)
        self.step("definition", name, (), made, f"the sum inside {eq.name} gets a name", claim="definition")
        self.register(made)
        return made


def _letters(term: Term, idx) -> tuple[Index, ...]:
    return tuple(i for i in idx if i in term.free_symbols)


def sum_equation(inner: Term, tensor: Tensor, idx) -> Equation:
    return Equation(tensor, _letters(inner, idx), (inner,))
