"""The forward sweep: the derivative of every tensor along the elements of each input, for Jacobians and Hessians."""

from __future__ import annotations

from dataclasses import replace

from sympy import Integer, exp, tanh

from derive.language.index import Index
from derive.language.keys import key
from derive.language.nodes import sigmoid
from derive.language.tensor import Read, Tensor
from derive.program.graph import ancestors, reaches
from derive.program.program import Equation, Program, Term
from derive.program.schedule import Scan, schedule

from .adjoints import adjoint_letters
from .chain_rule import helper
from .saved_values import Saved
from .tangents import along
from .work import Work


def forward_sweep(work: Work) -> str:
    """Write the derivative of every tensor along the elements of each input, in forward order."""
    work.saved = Saved(work.forward)
    for eq in work.forward:
        work.register_sum(eq)
    maximisers: dict[str, Tensor] = {}
    order = [
        e.name
        for g in schedule(Program(tuple(work.inputs), tuple(work.forward)))
        for e in (g.equations if isinstance(g, Scan) else (g,))
    ]
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
            made[name] = Tensor(
                shown,
                (*eq.tensor.axes, *w.axes),
                (*_plain(eq.idx), *letters[name]),
                role="computed",
                digest=f"new:{shown}",
                block=eq.tensor.block,
            )
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


def _derivative(work, eq, w, extra, made, maximisers):
    terms, conventions = along(eq, w, extra, made, work.fresh, helper(work, eq, maximisers))
    work.kinks |= conventions
    raw = Equation(made[eq.name], (*eq.idx, *extra), tuple(terms))
    work.step(
        "forward rule",
        raw.name,
        (),
        raw,
        f"{eq.name} changes with {w.name} through "
        f"{', '.join(t.name for t in eq.tensors() if t == w or t.name in made)}",
        claim="definition",
    )
    work.backward.append(raw)


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
    own, extra = idx[len(idx) - rank :], idx[: len(idx) - rank]
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
        t = Tensor(
            name,
            tuple(i.size for i in letters),
            _plain(letters),
            role="computed",
            digest=f"new:{name}",
            block=eq.tensor.block,
        )
        named[found] = t
        made = Equation(t, letters, (Term(Integer(1), (f,)),))
        work.forward.insert(work.forward.index(eq), made)
        work.step("definition", name, (), made, f"a function value that {eq.name} reads", claim="definition")
    return Read(named[found], *letters)


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
