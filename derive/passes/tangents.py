r"""The forward sweep: the derivative of every tensor along one tensor's elements, from the same local partials.

For ``y[a] = sum_b coef * f(x[e(a, b)], ...)`` and a tensor w with free indices n,

    Jy[a, n] = sum_b coef * df/dx[e] * Jx[e(a, b), n],        Jw[m, n] = [m == n]

The brackets stay rows and are contracted away, so a diagonal, a Kronecker factor or a low rank is never written dense:
``z = x W`` gives ``Jz[b,k,i,k'] = x[b,i] [k = k']``, and a logistic Hessian ``sum_b x[b,i] x[b,n] s[b] (1 - s[b])``.
"""

from __future__ import annotations

from dataclasses import replace

from derive.language.index import Fresh, Index
from derive.language.tensor import Read, Tensor
from derive.program.program import Equation, Row, Term

from .adjoints import where_one_is
from .matrices import along as matrix_along
from .matrices import is_matrix
from .partials import joined, kinks, partial


def along(
    eq: Equation, w: Tensor, extra: tuple[Index, ...], jacobians: dict[str, Tensor], fresh: Fresh, beside: Tensor | None
) -> tuple[list[Term], set[str]]:
    """The terms of the derivative of ``eq.tensor`` by ``w[extra]``; ``jacobians`` holds those of what it reads."""
    if is_matrix(eq):
        assert beside is not None
        return matrix_along(eq, w, extra, jacobians, fresh, beside), set()
    out: list[Term] = []
    conventions: set[str] = set()
    here = {eq.over[0]: Read(beside, *eq.idx)} if beside is not None else {}
    kept = where_one_is(eq, here)
    for term in eq.terms:
        term = term.opened(fresh).xreplace(here)
        term = replace(term, fac=joined(term.fac))
        for n, f in enumerate(term.fac):
            for read in sorted((r for r in f.atoms(Read) if r.tensor == w or r.tensor.name in jacobians), key=str):
                slope = partial(f, read)
                if slope == 0:
                    continue
                conventions |= kinks(f)
                fac = (*term.fac[:n], slope, *term.fac[n + 1 :])
                rows = term.rows + kept
                if read.tensor == w:
                    rows += tuple(Row("==", e, m) for e, m in zip(extra, read.idx, strict=True))
                else:
                    fac = (*fac, Read(jacobians[read.tensor.name], *read.idx, *extra))
                out.append(Term(term.coef, fac, term.bnd, rows))
    if out and eq.reduce == "max":
        conventions.add("max over an index: the gradient goes to the first maximiser")
    return out, conventions
