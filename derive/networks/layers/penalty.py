"""Penalties: the size of parameters or outputs, added to the loss as equations like any other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from sympy import Abs, Add, Expr, Rational

from derive.language.errors import DeriveError
from derive.language.nodes import Sum
from derive.language.tensor import Tensor

from .numbers import exact


@dataclass(frozen=True)
class Penalty:
    r"""The price of the size of a tensor, :math:`\lambda_1 \sum |w| + \frac{\lambda_2}{2} \sum w^2`.

    With the half, the gradient of the second part is :math:`\lambda_2 w`: plain gradient descent shrinks the weights by
    that much, *weight decay*.  The gradient of the first is :math:`\lambda_1 \operatorname{sign} w`, 0 at w = 0.

    Parameters
    ----------
    l1, l2 : float
        Not negative.

    References
    ----------
    Krogh, Hertz, *A simple weight decay can improve generalization*, NIPS 1991.
    Tibshirani, *Regression shrinkage and selection via the lasso*, J. Royal Stat. Soc. B 58 (1996).

    >>> from derive import Sequential
    >>> from derive.networks.layers import Dense
    >>> model = Sequential([Dense(1).penalize(kernel=Penalty(l2=0.1))], input_shape=(3,))
    >>> d = model.backprop("mean_squared_error")
    >>> print(d.program.equation("penalty_dense_1_kernel"))
    penalty_dense_1_kernel = 1/20 sum_{i,j} dense_1_kernel[i,j]^2
    >>> print(d.gradient("dense_1_kernel"))
    d_dense_1_kernel[i,j] = sum_b x[b,i] dz1[b,j] + dense_1_kernel[i,j] / 10
    """

    l1: float = 0
    l2: float = 0

    def __post_init__(self) -> None:
        for name, rate in (("l1", self.l1), ("l2", self.l2)):
            if exact(rate, f"Penalty: {name}") < 0:
                raise DeriveError(f"Penalty: {name} is {rate}; accepted is a number that is not negative")
        if not (self.l1 or self.l2):
            raise DeriveError("Penalty: l1 and l2 are 0; give one of them, as in Penalty(l2=1e-3)")

    def __call__(self, w: Expr) -> Expr:
        """The price of one element."""
        return exact(self.l1, "l1") * Abs(w) + exact(self.l2, "l2") * Rational(1, 2) * w**2

    def config(self) -> dict:
        """The rates that are not 0."""
        return {name: rate for name, rate in (("l1", self.l1), ("l2", self.l2)) if rate}


def penalties(where: str, given: dict) -> dict[str, Callable]:
    """Role -> price of an element, checked; None takes a penalty away."""
    for role, one in given.items():
        if one is not None and (isinstance(one, type) or not callable(one)):
            raise DeriveError(
                f"{where}: the penalty of {role} is {one!r}; accepted is L.Penalty(l1=..., l2=...) or a "
                f"function of one scalar expression"
            )
    return {role: one for role, one in given.items() if one is not None}


def price(one: Callable, t: Tensor, examples: Expr | None = None) -> Expr:
    """The sum over all elements of a tensor, or its mean over the examples."""
    each = Add.make_args(one(t[t.indices]))
    total = Add(*(Sum(part, *t.indices) if t.rank else part for part in each))
    return total if examples is None else total / examples
