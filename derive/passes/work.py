"""The state that the passes of the pipeline share; ``Backward`` for adjoints, ``Forward`` for Jacobians."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from sympy import Expr

from derive.language.facts import Fact
from derive.language.index import Fresh, Index
from derive.language.naming import numbered
from derive.language.tensor import Tensor
from derive.program.match import shape
from derive.program.program import Equation, Program, Step, Term

from .rule import Rule
from .saved_values import Saved

NEW_NAME = Rule(
    "definition", "New names", "Values that are needed more than once, or that deserve a name, get one.", "definition"
)


@dataclass
class Work:
    """The state the passes share: equations so far, steps kept, facts and conventions used."""

    target: Tensor  # what is differentiated
    wrt: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...] = ()
    # the state, which starts empty
    fresh: Fresh = field(default_factory=Fresh, init=False)
    inputs: list[Tensor] = field(default_factory=list, init=False)
    forward: list[Equation] = field(default_factory=list, init=False)
    backward: list[Equation] = field(default_factory=list, init=False)
    steps: list[Step] = field(default_factory=list, init=False)
    kinks: set[str] = field(default_factory=set, init=False)
    names: set[str] = field(default_factory=set, init=False)
    unshifted: list[Equation] = field(default_factory=list, init=False)  # all equations before stabilization
    cyclic: set[str] = field(default_factory=set, init=False)
    shared: set[str] = field(default_factory=set, init=False)  # names that several backward equations read
    saved: Saved = field(default_factory=lambda: Saved([]), init=False)
    source: Program = field(default_factory=lambda: Program((), ()), init=False)
    _sums: dict[tuple[str, ...], list[Equation]] = field(default_factory=dict, init=False)
    _found: dict[str, Equation] = field(default_factory=dict, init=False)
    _last_step: dict[str, int] = field(default_factory=dict, init=False)

    # --- what a sweep is for ---

    def differentiated(self) -> tuple[Tensor, ...]:
        """The tensors that must depend on ``wrt``."""
        return (self.target,)

    def read(self) -> tuple[Tensor, ...]:
        """The tensors whose definitions are read; all others are found from these."""
        return tuple(dict.fromkeys((self.target, *self.outputs, *self.differentiated())))

    def results(self) -> list[Tensor]:
        """The tensors that the program is for."""
        return [self.target, *self.outputs]

    def is_delta(self, eq: Equation) -> bool:
        """Whether the brackets of an equation are kept for contraction rather than written dense."""
        return False

    # --- what the rules ask of the program ---

    @property
    def equations(self) -> list[Equation]:
        return [*self.forward, *self.backward]

    def equation(self, name: str) -> Equation | None:
        return next((e for e in self.forward if e.name == name), None)

    def adjoint_equation(self, t: Tensor) -> Equation | None:
        return self._found.get(t.name)

    def is_backward(self, eq: Equation) -> bool:
        return eq.name in self._found

    def sums_like(self, term: Term) -> list[Equation]:
        return self._sums.get(shape(term), [])

    # --- names ---

    def unused(self, name: str) -> str:
        """The name, or the first of ``name2``, ``name3``, ... that is free; it is taken from now on."""
        found = numbered(name, self.names)
        self.names.add(found)
        return found

    def tensor(
        self,
        name: str,
        idx: Iterable[Index],
        block: str = "",
        dtype: str = "float",
        below: Expr | None = None,
        facts: tuple[Fact, ...] = (),
    ) -> Tensor:
        """A new tensor whose axes the indices run over."""
        letters = tuple(Index(i.name, i.size) for i in idx)
        return _new(name, tuple(i.size for i in letters), letters, dtype, below, facts, block)

    def tensor_like(
        self, t: Tensor, name: str, dtype: str = "float", below: Expr | None = None, block: str | None = None
    ) -> Tensor:
        """A new tensor with the axes of another one."""
        return _new(name, t.axes, t.letters, dtype, below, (), block or t.block)

    # --- what the rules do to it ---

    def step(
        self,
        rule: Rule,
        before: Iterable[Equation],
        after: Equation,
        why: str,
        context: Iterable[Equation] = (),
        facts: Iterable[str] = (),
        adjoint_of: Iterable[tuple[str, Tensor]] = (),
        wrt: Tensor | None = None,
    ) -> None:
        """Keep a use of a rule, with the claim that the rule makes."""
        self._keep(rule, rule.claim, tuple(before), after, why, tuple(context), tuple(facts), tuple(adjoint_of), wrt)

    def define(self, rule: Rule, made: Equation, why: str, context: Iterable[Equation] = ()) -> None:
        """Keep that a rule names a new tensor, of which nothing older can be claimed."""
        self._keep(rule, "definition", (), made, why, tuple(context))

    def _keep(
        self,
        rule: Rule,
        claim: str,
        before: tuple[Equation, ...],
        after: Equation,
        why: str,
        context: tuple[Equation, ...],
        facts: tuple[str, ...] = (),
        adjoint_of: tuple[tuple[str, Tensor], ...] = (),
        wrt: Tensor | None = None,
    ) -> None:
        target, number = after.name, len(self.steps) + 1
        parents = (
            (self._last_step[target],)
            if target in self._last_step
            else tuple(sorted({self._last_step[b.name] for b in before if b.name in self._last_step}))
        )
        self.steps.append(
            Step(number, rule.name, target, before, after, why, parents, facts, context, claim, adjoint_of, wrt)
        )
        self._last_step[target] = number

    def rewrite_forward(
        self, rule: Rule, before: Equation, after: Equation, why: str, context: Iterable[Equation] = ()
    ) -> None:
        self.forward[self.forward.index(before)] = after
        self.step(rule, (before,), after, why, context)

    def insert_after(self, eq: Equation, new: Equation) -> None:
        self.forward.insert(self.forward.index(eq) + 1, new)

    def register(self, eq: Equation) -> None:
        """Make a finished backward equation available to the rules."""
        self._found[eq.name] = eq
        self.register_sum(eq)

    def register_sum(self, eq: Equation) -> None:
        term = eq.single()
        if term is not None and term.bnd:
            self._sums.setdefault(shape(term), []).append(eq)


def _new(
    name: str,
    axes: tuple[Expr, ...],
    letters: tuple[Index | None, ...],
    dtype: str,
    below: Expr | None,
    facts: tuple[Fact, ...],
    block: str,
) -> Tensor:
    """A tensor of work in progress: its identity is its name, until freezing gives it that of the whole program."""
    return Tensor(name, axes, letters, dtype, below, "computed", facts, digest=f"new:{name}", block=block)


@dataclass
class Backward(Work):
    """A sweep of adjoints from the target back to ``wrt``: gradients and products with vectors."""

    cotangent: Tensor | None = None  # what stands in for the derivative of the target by itself; None for 1
    keep_target: bool = True  # False when the target is only a means, as <grad, v> is for a Hessian-vector product
    adjoint_names: dict[str, str] = field(default_factory=dict)
    adjoint: dict[str, Tensor] = field(default_factory=dict, init=False)  # tensor name -> its adjoint
    adjoint_equations: dict[str, Equation] = field(default_factory=dict, init=False)  # the same, their equations

    def results(self) -> list[Tensor]:
        found = super().results() if self.keep_target else [*self.outputs]
        return [*found, *(self.adjoint[t.name] for t in self.wrt)]


@dataclass
class Forward(Work):
    """A sweep of derivatives along the elements of each of ``wrt``: Jacobians and Hessians."""

    pairs: tuple[tuple[Tensor, Tensor, str], ...] = ()  # (tensor, by which input, name of the result)
    mirrors: tuple[tuple[tuple[Tensor, Tensor, str], tuple[Tensor, Tensor]], ...] = ()  # (pair, the pair it transposes)
    jacobian: dict[tuple[str, str], Tensor] = field(
        default_factory=dict, init=False
    )  # (tensor, input) -> its derivative

    def differentiated(self) -> tuple[Tensor, ...]:
        return (self.target, *(t for t, _, _ in self.pairs))

    def results(self) -> list[Tensor]:
        swept = [*self.pairs, *(pair for pair, _ in self.mirrors)]
        return [*super().results(), *(self.jacobian[t.name, w.name] for t, w, _ in swept)]

    def is_delta(self, eq: Equation) -> bool:
        """A Jacobian: ``[k = k']`` must reach the sum that it picks from, so it is never written out by itself."""
        return any(t.name == eq.name for t in self.jacobian.values())
