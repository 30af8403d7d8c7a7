"""The forward sweep: the derivative of every tensor along the elements of each input, for Jacobians and Hessians."""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, Integer, exp, tanh

from derive.language.index import Index
from derive.language.keys import key
from derive.language.naming import primed
from derive.language.nodes import sigmoid
from derive.language.tensor import Read, Tensor
from derive.program.graph import ancestors, reaches
from derive.program.program import Equation, Program, Term
from derive.program.schedule import in_order

from .adjoints import adjoint_letters
from .chain_rule import helper
from .rule import Rule
from .saved_values import Saved
from .tangents import along
from .work import NEW_NAME, Forward, Work

NAMED_VALUES = replace(NEW_NAME, name="named values", claim="equal")  # reads them where the values stood
FORWARD_RULE = Rule(
    "forward rule",
    "Differentiating forward",
    "Going forward from a parameter, the derivative of a tensor by it gathers one term from everything that the tensor "
    "reads: the partial derivative by what is read, times the derivative of that by the parameter.",
    "tangent",
)
SYMMETRY = Rule(
    "symmetry", "Symmetry", "Second derivatives commute, so a block is the transpose of its mirror image.", "definition"
)


def forward_sweep(work: Forward) -> str:
    """Write the derivative of every tensor along the elements of each input, in forward order."""
    work.saved = Saved(work.forward)
    for eq in work.forward:
        work.register_sum(eq)
    maximisers: dict[str, Tensor] = {}
    order = in_order(Program(tuple(work.inputs), tuple(work.forward)))
    for w in work.wrt:
        wanted = [t for t, by, _ in work.pairs if by == w]
        relevant = reaches(work.forward, [w]) & ancestors(work.forward, wanted) - {w.name}
        names = {t.name: name for t, by, name in work.pairs if by == w}
        made: dict[str, Tensor] = {}
        letters: dict[str, tuple[Index, ...]] = {}
        swept = [e for e in order if e.name in relevant]
        for eq in swept:
            letters[eq.name] = _letters_beside(eq.idx, adjoint_letters(w))
            shown = work.unused(names.get(eq.name) or f"{eq.name}_by_{w.name}")
            made[eq.name] = work.tensor(shown, (*eq.idx, *letters[eq.name]), eq.tensor.block)
            work.jacobian[eq.name, w.name] = made[eq.name]
            if eq.name in work.cyclic:
                work.cyclic.add(shown)
        for eq in swept:
            _derivative(work, eq, w, letters[eq.name], made, maximisers)
        for t, name in ((t, names[t.name]) for t in wanted if t.name not in made):
            _no_derivative(work, t, w, name)
    for (t, w, name), (other, by) in work.mirrors:
        _mirror(work, t, w, name, work.jacobian[other.name, by.name])
    return f"{len(work.backward)} derivatives"


def _derivative(
    work: Forward,
    eq: Equation,
    w: Tensor,
    extra: tuple[Index, ...],
    made: dict[str, Tensor],
    maximisers: dict[str, Tensor],
) -> None:
    beside = helper(work, eq, maximisers)
    terms, conventions = along(eq, w, extra, made, work.fresh, beside)
    work.kinks |= conventions
    raw = Equation(made[eq.name], (*eq.idx, *extra), tuple(terms))
    through = [t for t in eq.tensors() if t == w or t.name in made]
    known = None if beside is None else work.equation(beside.name)
    work.step(
        FORWARD_RULE,
        (),
        raw,
        f"{eq.name} changes with {w.name} through {', '.join(t.name for t in through)}",
        context=(eq,) if known is None or known == eq else (eq, known),
        adjoint_of=[(t.name, made[t.name]) for t in through if t != w],
        wrt=w,
    )
    work.backward.append(raw)


def _no_derivative(work: Forward, t: Tensor, w: Tensor, name: str) -> None:
    """A wanted derivative of what does not depend on w: zero, as of a gradient that is linear in what it holds."""
    idx = adjoint_letters(t)
    extra = _letters_beside(idx, adjoint_letters(w))
    made = work.tensor(work.unused(name), (*idx, *extra))
    work.jacobian[t.name, w.name] = made
    eq = Equation(made, (*idx, *extra), ())
    work.backward.append(eq)
    of = work.equation(t.name)
    work.step(FORWARD_RULE, (), eq, f"{t.name} does not depend on {w.name}", () if of is None else (of,), wrt=w)


def _mirror(work: Forward, t: Tensor, w: Tensor, name: str, known: Tensor) -> None:
    """``H[b, a] = H[a, b]`` transposed: second derivatives commute."""
    rank = t.rank
    idx = adjoint_letters(known)
    own, extra = idx[len(idx) - rank :], idx[: len(idx) - rank]
    made = work.tensor(work.unused(name), (*own, *extra))
    work.jacobian[t.name, w.name] = made
    eq = Equation(made, (*own, *extra), (Term(Integer(1), (Read(known, *idx),)),))
    work.backward.append(eq)
    work.define(SYMMETRY, eq, "second derivatives commute (Schwarz's theorem)")


def name_values(work: Work) -> str:
    """Name every function value inside a larger expression, so that derivatives of it are written in it."""
    named: dict[str, Tensor] = {}
    for eq in list(work.forward):
        single = eq.single()
        if eq.reduce or (single is not None and single.only() is not None):
            continue  # a value that has its name already, or a sum of exponentials that its logarithm stabilizes
        terms = []
        for t in eq.terms:
            scope = (*eq.idx, *t.bnd)
            terms.append(replace(t, fac=tuple(_named_value(work, eq, f, scope, named) for f in t.fac)))
        after = replace(eq, terms=tuple(terms))
        if after != eq:
            made = tuple(e for e in work.forward if e.name in {x.name for x in named.values()})
            work.rewrite_forward(NAMED_VALUES, eq, after, "its function values get names", made)
    return f"named {', '.join(t.name for t in named.values())}" if named else "nothing to name"


def _named_value(work: Work, eq: Equation, f: Expr, scope: tuple[Index, ...], named: dict[str, Tensor]) -> Expr:
    if not isinstance(f, exp | sigmoid | tanh) or not f.has(Read):
        return f
    letters = tuple(i for i in scope if i in f.free_symbols)
    found = key(f, {i: f"#{n}:{key(i.size)}" for n, i in enumerate(letters)})
    if found not in named:
        name = work.unused(f"{eq.name}_{type(f).__name__}")
        named[found] = work.tensor(name, letters, eq.tensor.block)
        made = Equation(named[found], letters, (Term(Integer(1), (f,)),))
        work.forward.insert(work.forward.index(eq), made)
        work.define(NEW_NAME, made, f"a function value that {eq.name} reads")
    return Read(named[found], *letters)


def _letters_beside(idx: tuple[Index, ...], letters: tuple[Index, ...]) -> tuple[Index, ...]:
    """Letters for the differentiated axes that the equation's own indices do not use."""
    out = list(idx)
    for i in letters:
        out.append(Index(primed(i.name, {o.name for o in out}), i.size))
    return tuple(out[len(idx) :])
