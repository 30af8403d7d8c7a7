"""What one term is: the adjoint of a pool, a convolution, a reshape, else a product whose rows are solved.

Each function recognises one form in an opened plan, completes the plan and says whether it did.
"""

from __future__ import annotations

from sympy import Integer

from derive.program.program import Term
from numerics.emit.source.scope import Scope
from numerics.emit.terms import reshape
from numerics.emit.terms.arithmetic import Order
from numerics.emit.terms.plan import Plain, Plan, digits_of, solved

from . import convolution, pooling, windows
from .pools import Pools


def pool_gradient(scope: Scope, p: Plan, term: Term, order: Order, plain: Plain) -> bool:
    """The gradient of an image that a max pool reads."""
    pools = scope.record(Pools)
    p.value = pooling.gradient(scope, pools, term, order, plain) if pools is not None and term.rows else None
    if p.value is None:
        return False
    p.coef = Integer(1)  # what multiplies the outer gradient is in it already
    return True


def in_windows(scope: Scope, p: Plan, term: Term, order: Order, plain: Plain) -> bool:
    """A convolution, one of its gradients, or a sum over windows."""
    return _in_windows(scope, p, order)


def _in_windows(scope: Scope, p: Plan, order: Order) -> bool:
    found = windows.find(p, order, scope)
    p.value = convolution.value(scope, found, order) if found is not None else None
    return p.value is not None


def over_digits(scope: Scope, p: Plan, term: Term, order: Order, plain: Plain) -> bool:
    """Rows ``(u*V + v)*C + c = f``: written over the digits, reshaped afterwards."""
    p.folds = reshape.folded_rows(p, order, scope)
    if not p.folds:
        return False
    unfolded = digits_of(p, order)
    p.bnd = [b for b in p.bnd if b not in unfolded]
    if not _in_windows(scope, p, unfolded):
        solved(p, unfolded, scope)
    return True


def rows_solved(scope: Scope, p: Plan, term: Term, order: Order, plain: Plain) -> bool:
    """Any other term."""
    solved(p, order, scope)
    return True
