"""The chain rule: the adjoint of every tensor, gathered over its consumers.

For ``y[a] = sum_b coef * f(x[e(a, b)], ...)`` and the adjoint ``dy``,

    dx[m] += sum_{a, b} dy[a] * coef * df/dx[e] * [m == e(a, b)]

and that is all: products, convolutions, embeddings, recurrences and attention differ only in ``e``.  For
``y[a] = max_r f(...)`` the same holds with ``r`` at its first maximiser, an integer tensor named by its own equation.
A recurrence needs nothing special: contraction turns the read ``h[t-1]`` into an adjoint read ``dh[t+1]``.
"""

from __future__ import annotations

from dataclasses import replace

from sympy import Expr, Integer

from .errors import DerivationError
from .index import Fresh, Index
from .matrices.rules import contributions as matrix_contributions
from .matrices.rules import is_matrix
from .nodes import stop_gradient
from .partials import joined, kinks, partial
from .program import Equation, Row, Term
from .tensor import Read, Tensor


def reaches(equations, wrt) -> set[str]:
    """Names of the tensors that depend on any of ``wrt`` through float reads (the wrt tensors included)."""
    readers: dict[str, list[Equation]] = {}
    for eq in equations:
        for name in _float_reads(eq):
            readers.setdefault(name, []).append(eq)
    found = {t.name for t in wrt}
    todo = list(found)
    while todo:
        for eq in readers.get(todo.pop(), ()):
            if eq.name not in found and eq.tensor.dtype == "float" and eq.reduce != "argmax":
                found.add(eq.name)
                todo.append(eq.name)
    return found


def ancestors(equations, roots) -> set[str]:
    """Names of everything the roots are computed from (the roots included)."""
    by_name = {eq.name: eq for eq in equations}
    found = {t.name for t in roots}
    todo = list(found)
    while todo:
        eq = by_name.get(todo.pop())
        for t in eq.tensors() if eq is not None else ():
            if t.name not in found:
                found.add(t.name)
                todo.append(t.name)
    return found


def float_ancestors(equations, target: Tensor) -> set[str]:
    """Names of the tensors that the target depends on through float reads (the target included)."""
    by_name = {eq.name: eq for eq in equations if eq.reduce != "argmax"}
    found, todo = {target.name}, [target.name]
    while todo:
        eq = by_name.get(todo.pop())
        new = _float_reads(eq) - found if eq is not None else set()
        found |= new
        todo += sorted(new)
    return found


def _float_reads(eq: Equation) -> set[str]:
    return {r.tensor.name for t in eq.terms for f in t.fac for r in f.atoms(Read) if r.tensor.dtype == "float"}


def contributions(
    eq: Equation, x: Tensor, adjoint: Expr | None, free: tuple[Index, ...], fresh: Fresh, beside: Tensor | None = None
) -> tuple[list[Term], set[str]]:
    """What one consumer ``eq`` of ``x`` adds to the adjoint of ``x`` at the indices ``free``; and the kinks met.

    ``adjoint`` is the tensor that holds the adjoint of ``eq.tensor``; ``beside`` its first maximiser, for a max, and for
    a matrix function the inverse.
    """
    if is_matrix(eq):
        return matrix_contributions(eq, x, adjoint, free, fresh, beside), set()
    idx = tuple(fresh(i) for i in eq.idx)
    opened = dict(zip(eq.idx, idx, strict=True))
    if eq.reduce == "max":
        opened[eq.over[0]] = Read(beside, *idx)
    out, conventions = [], set()
    incoming = Read(adjoint, *idx)
    for term in eq.terms:
        term = term.opened(fresh).xreplace(opened)
        term = replace(term, fac=joined(term.fac))
        for n, f in enumerate(term.fac):
            for read in sorted((r for r in f.atoms(Read) if r.tensor == x), key=str):
                slope = partial(f, read)
                if slope == 0:
                    continue
                conventions |= kinks(f)
                fac = (incoming, *term.fac[:n], slope, *term.fac[n + 1 :])
                rows = tuple(Row("==", m, e) for m, e in zip(free, read.idx, strict=True))
                out.append(Term(term.coef, fac, idx + term.bnd, term.rows + rows))
    if out and eq.reduce == "max":
        conventions.add("max over an index: the gradient goes to the first maximiser")
    return out, conventions


def adjoint_letters(x: Tensor) -> tuple[Index, ...]:
    """Free indices for the adjoint of ``x``: its own letters where they are distinct, else primed or made from sizes."""
    found: list[Index] = []
    for n, (letter, axis) in enumerate(zip(x.letters or (None,) * x.rank, x.axes, strict=True)):
        name = letter.name if letter is not None else _letter_of(axis, n)
        while any(name == f.name for f in found):
            name += "'"
        found.append(Index(name, axis))
    return tuple(found)


def _letter_of(axis: Expr, n: int) -> str:
    symbols = sorted(axis.free_symbols, key=str)
    return symbols[0].name.lower()[:1] if len(symbols) == 1 and symbols[0].name[:1].isalpha() else "pqrstuvw"[n % 8]


def seed(x: Tensor, cotangent: Tensor | None, free) -> Term:
    """The adjoint of the differentiated tensor itself: 1 for a loss, the given cotangent for a vjp."""
    return Term(Integer(1)) if cotangent is None else Term(Integer(1), (Read(cotangent, *free),))


def refuse_steps(work) -> None:
    """Refuse a gradient that is zero because every path to it ends at a step; ``stop_gradient`` says zero is meant.

    A step such as ``[u >= 0]`` or ``sign u`` has no derivative at its jump and zero elsewhere: descent stands still.
    """
    if any(f.has(stop_gradient) for e in work.forward for t in e.terms for f in t.fac):
        return
    rules = {s.wrt: s for s in work.steps if s.rule == "chain rule"}
    flat: dict[str, Tensor] = {}  # adjoints that are zero whatever the values
    for x, step in rules.items():
        if x != work.target and all(
            any(r.tensor.name in flat for f in t.fac for r in f.atoms(Read)) for t in step.after.terms
        ):
            flat[step.after.name] = x
    for w in work.wrt:
        if work.adjoint[w.name].name in flat:
            dead = set(flat.values())
            steps = [
                e for e in work.forward if e.name in work.adjoint and e.tensor not in dead and dead & set(e.tensors())
            ]
            shown = "; ".join(str(e) for e in steps)
            raise DerivationError(
                f"the gradient of {work.target.name} with respect to {w.name} is zero everywhere: {w.name} reaches "
                f"{work.target.name} only through steps, whose derivative is zero\n  {shown}\n  descent cannot train "
                f"through a step; use a smooth activation such as sigmoid, or Rosenblatt's perceptron rule "
                f"w <- w + (y - h) x for a single layer of steps (nx.Perceptron), or stop_gradient where zero is meant"
            )
