r"""The matrix form of an equation, where it has one.

    dW[i,k] = sum_b x[b,i] dz[b,k]          dW = x^T dz
    z[b,k]  = sum_i x[b,i] W[i,k] + c[k]    z  = x W + 1 c^T
    dc[k]   = sum_b dz[b,k]                 dc = dz^T 1
    da[b,l] = dh[b,l] (1 - h[b,l]^2)        da = dh * (1 - h * h)       (* is elementwise)
    o[b,k]  = g[k] xhat[b,k]                o  = xhat diag(g)
    dU[i,l] = sum_{t,b} x[t,b,i] da[t,b,l]  dU = sum_t x[t]^T da[t]

Vectors are columns, 1 is a vector of ones, functions apply to each element.  A third letter in first
place, such as time, is a slice: ``h[t]`` is a matrix.  An equation over more letters (a convolution, heads) has no
matrix form here, and none is invented.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sympy import Mul

from derive.language.tensor import Read
from derive.program.program import Equation, Term

from .equations import Signed, _positive_first, _shared, _split, _without
from .expressions import Context, fraction_of, layout
from .forms import Form, NoMatrixForm
from .layout import Element, Node, Product, Sum, width
from .matrix_notation import Notation
from .names import Namer

WIDEST = 60  # a matrix form longer than this says nothing at a glance


def matrix_layout(eq: Equation, names: Namer | None = None, always: bool = False) -> tuple[Node, Node] | None:
    """The two sides of the matrix form, or None where there is none or, but for ``always``, it would say nothing new."""
    found = None if _is_quadratic(eq) else _slices_and_scalings(eq, names, always)
    return found or _network(eq, names)


def _network(eq: Equation, names: Namer | None) -> tuple[Node, Node] | None:
    """Products of several matrices, traces, inverses: what :mod:`derive.show.formulas.matrix_notation` reads."""
    if len(eq.idx) > 2 or eq.reduce not in (None, "inverse") or not (eq.reduce or any(t.bnd for t in eq.terms)):
        return None
    bias_last = replace(eq, terms=tuple(sorted(eq.terms, key=_is_given)))
    form = Notation(names or Namer()).equation(bias_last)
    return form if form and width(form[1]) <= WIDEST else None


def _is_given(t: Term) -> bool:
    """Whether a term is an input as it is: the bias that stands behind a product."""
    return not t.bnd and len(t.fac) == 1 and isinstance(t.fac[0], Read) and t.fac[0].tensor.role != "computed"


def _is_quadratic(eq: Equation) -> bool:
    """Whether a scalar equation has a term such as ``x[i] A[i,j] x[j]``."""
    ranks = [[len(f.idx) for f in t.fac if isinstance(f, Read)] for t in eq.terms if len(t.bnd) > 1]
    return not eq.idx and eq.reduce is None and any(1 in r and 2 in r for r in ranks)


def _slices_and_scalings(eq: Equation, names: Namer | None, always: bool = False) -> tuple[Node, Node] | None:
    if eq.reduce is not None or len(eq.idx) > 3 or any(t.rows and not _one_hot_row(t) for t in eq.terms):
        return None
    step, rest = (eq.idx[0], eq.idx[1:]) if len(eq.idx) == 3 else (None, eq.idx)
    row, col, *_ = (*rest, None, None)
    form = Form(Context(names=names or Namer()), row, col, step)
    try:
        scaled = _scaled_rows(eq, form)
        items = _positive_first([form.term(t) for t in sorted(eq.terms, key=lambda t: not t.bnd)])
    except NoMatrixForm:
        return None
    if not (form.telling or always) or not items:
        return None
    rhs = scaled or _shared_coefficient(eq, form, items)
    if width(rhs) > WIDEST:
        return None
    name = form.names.name(eq.tensor)
    return name if step is None else Element(name, (layout(step, form.ctx),)), rhs


def _scaled_rows(eq: Equation, form: Form) -> Node | None:
    """``diag(rs) (a - b)`` or ``dh * (1 - h * h)``, where all terms of a pointwise equation share a factor."""
    if len(eq.terms) < 2 or form.col is None or not all(not t.bnd and not t.rows for t in eq.terms):
        return None
    products = [[a for f in t.fac for a in Mul.make_args(f)] for t in eq.terms]
    letters = {f: form.letters(f) for p in products for f in p}
    shared = [f**n for f, n in _shared(products).items() if form.row in letters.get(f, ())]
    if not shared:
        return None
    rows = [f for f in shared if set(form.letters(f)) == {form.row}]
    full = [f for f in shared if f not in rows]
    counts = _shared([shared])
    items = [form.term(Term(t.coef, _without(p, counts))) for t, p in zip(eq.terms, products, strict=True)]
    body: Node = Sum(tuple(_positive_first(items)))
    if full:
        first = form.elementwise(full, form.row, form.col)
        body = Product((*(first.items if isinstance(first, Product) else (first,)), body), "odot")
    return Product((form.diagonal(rows, form.row), body)) if rows else body


def _shared_coefficient(eq: Equation, form: Form, items: Sequence[Signed]) -> Node:
    """``(a - b) / B`` rather than ``a / B - b / B``."""
    if len(items) == 1:
        return items[0][1] if items[0][0] > 0 else Sum((items[0],))
    first = eq.terms[0].coef
    if first not in (1, -1) and all(t.coef in (first, -first) for t in eq.terms):
        bare = [form.term(Term(t.coef / abs(first), t.fac, t.bnd, t.rows)) for t in eq.terms]
        sign, coef, above, below = _split(abs(first))
        return fraction_of(
            coef,
            [layout(a, form.ctx) for a in above] + [Sum(tuple(_positive_first(bare)))],
            [layout(b, form.ctx) for b in below],
        )
    return Sum(tuple(items))


def _one_hot_row(t: Term) -> bool:
    return not t.bnd and len(t.rows) == 1 and t.rows[0].op == "=="
