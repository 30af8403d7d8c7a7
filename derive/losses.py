r"""Losses: forward definitions of a scalar from the model's output and the target ``y``, as data.

================================  ===========================  ==============================================
name                              target ``y``                 definition (mean over the batch and outer axes)
================================  ===========================  ==============================================
mean_squared_error                floats, shape of the output  :math:`(z - y)^2`, mean over all elements
softmax_cross_entropy             probabilities                :math:`\sum_k y_k(\log\sum_j e^{z_j} - z_k)`
sparse_softmax_cross_entropy      integer labels               :math:`\log\sum_j e^{z_j} - z_y`
sigmoid_binary_cross_entropy      floats in [0, 1]             :math:`\log(1+e^z) - yz`, mean over all elements
categorical_cross_entropy         probabilities                :math:`-\sum_k y_k \log p_k`
sparse_categorical_cross_entropy  integer labels               :math:`-\log p_y`
binary_cross_entropy              floats in [0, 1]             :math:`-y\log p - (1-y)\log(1-p)`, mean over all
================================  ===========================  ==============================================

The three with softmax or sigmoid in their name read logits.  The others read probabilities, literally: the engine finds
the stable form by itself when those probabilities come from a softmax or a sigmoid.  Target probabilities are declared
to sum to 1, a fact that the derivation records where it uses it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import sympy
from sympy import Expr, Mul

from .define import block, define
from .errors import DeriveError, ShapeError
from .facts import nonnegative, sums_to
from .hints import did_you_mean
from .nodes import Sum, softplus
from .tensor import Tensor, tensor


@dataclass(frozen=True)
class Loss:
    """A named loss.

    Attributes
    ----------
    name : str
    rule : callable
        ``(output, y) -> scalar expression`` (or a defined scalar); ``output.letters`` are the indices to read at.
    target : str
        What ``y`` is: "values" (floats of the output's shape), "probabilities" (the same, summing to 1 over the last
        axis), "bits" (the same, in [0, 1]) or "labels" (integers below the size of the last axis, which y lacks).
    reads : str
        What the output must be: "values", "logits", "probabilities", "bits" or "anything".
    """

    name: str
    rule: Callable
    target: str = "values"
    reads: str = "anything"

    def target_tensor(self, output: Tensor, name: str = "y") -> Tensor:
        """The input ``y`` that this loss compares ``output`` with."""
        *outer, last = output.letters
        if self.target == "labels":
            return tensor(name, *outer, dtype="int", below=last.size)
        facts = {"probabilities": (sums_to(1, last),), "bits": (nonnegative,)}.get(self.target, ())
        return tensor(name, *outer, last, facts=facts)

    def define(self, output: Tensor, y: Tensor, name: str = "loss") -> Tensor:
        """The scalar ``loss``, as a definition."""
        with block(name):
            found = self.rule(output, y)
            if isinstance(found, Tensor):
                if found.rank:
                    raise ShapeError(f"loss {self.name!r} gave {found!r}; a loss is a scalar: sum or average it")
                if not found.is_input:
                    return found
            return define(name, (), found)


def _size(letters) -> Expr:
    return Mul(*(i.size for i in letters))


def _log_sum_exp(z: Tensor) -> Tensor:
    *outer, k = z.letters
    return define("lse", tuple(outer), sympy.log(Sum(sympy.exp(z[z.letters]), k)))


def mean_squared_error(z: Tensor, y: Tensor) -> Expr:
    r""":math:`\frac1{BK}\sum_{b,k} (z_{bk} - y_{bk})^2`."""
    i = z.letters
    return Sum((z[i] - y[i])**2, *i) / _size(i)


def softmax_cross_entropy(z: Tensor, y: Tensor) -> Expr:
    r""":math:`\frac1B\sum_{b,k} y_{bk}(\log\sum_j e^{z_{bj}} - z_{bk})`, from logits."""
    *outer, k = z.letters
    return Sum(y[z.letters] * (_log_sum_exp(z)[tuple(outer)] - z[z.letters]), *outer, k) / _size(outer)


def sparse_softmax_cross_entropy(z: Tensor, y: Tensor) -> Expr:
    r""":math:`\frac1B\sum_b \log\sum_j e^{z_{bj}} - z_{b,y_b}`, from logits."""
    outer = z.letters[:-1]
    return Sum(_log_sum_exp(z)[outer] - z[(*outer, y[outer])], *outer) / _size(outer)


def sigmoid_binary_cross_entropy(z: Tensor, y: Tensor) -> Expr:
    r""":math:`\frac1{BK}\sum_{b,k} \log(1 + e^{z_{bk}}) - y_{bk} z_{bk}`, from logits."""
    i = z.letters
    return Sum(softplus(z[i]) - y[i] * z[i], *i) / _size(i)


def categorical_cross_entropy(p: Tensor, y: Tensor) -> Expr:
    r""":math:`-\frac1B\sum_{b,k} y_{bk}\log p_{bk}`, from probabilities."""
    return -Sum(y[p.letters] * sympy.log(p[p.letters]), *p.letters) / _size(p.letters[:-1])


def sparse_categorical_cross_entropy(p: Tensor, y: Tensor) -> Expr:
    r""":math:`-\frac1B\sum_b \log p_{b,y_b}`, from probabilities."""
    outer = p.letters[:-1]
    return -Sum(sympy.log(p[(*outer, y[outer])]), *outer) / _size(outer)


def binary_cross_entropy(p: Tensor, y: Tensor) -> Expr:
    r""":math:`-\frac1{BK}\sum_{b,k} y_{bk}\log p_{bk} + (1-y_{bk})\log(1-p_{bk})`, from probabilities."""
    i = p.letters
    return -Sum(y[i] * sympy.log(p[i]) + (1 - y[i]) * sympy.log(1 - p[i]), *i) / _size(i)


LOSSES: dict[str, Loss] = {f.__name__: Loss(f.__name__, f, target, reads) for f, target, reads in (
    (mean_squared_error, "values", "anything"),
    (softmax_cross_entropy, "probabilities", "logits"),
    (sparse_softmax_cross_entropy, "labels", "logits"),
    (sigmoid_binary_cross_entropy, "bits", "logits"),
    (categorical_cross_entropy, "probabilities", "probabilities"),
    (sparse_categorical_cross_entropy, "labels", "probabilities"),
    (binary_cross_entropy, "bits", "bits"),
)}


def loss(given) -> Loss:
    """The loss of a name, of a :class:`Loss`, or of your own function ``(output, y) -> scalar expression``.

    >>> loss("mean_squared_error").target
    'values'
    >>> loss(lambda z, y: Sum(abs(z[z.letters] - y[z.letters]), *z.letters)).target
    'values'
    """
    if isinstance(given, Loss):
        return given
    if isinstance(given, str):
        if given not in LOSSES:
            raise DeriveError(f"unknown loss {given!r}{did_you_mean(given, LOSSES)}; accepted are {', '.join(LOSSES)} "
                              f"or a function (output, y) -> scalar expression")
        return LOSSES[given]
    if callable(given):
        if len(inspect.signature(given).parameters) != 2:
            raise DeriveError(f"loss {given!r}: a loss is a function of two tensors, (output, y) -> scalar expression")
        return Loss(getattr(given, "__name__", "custom").strip("<>"), given)
    raise DeriveError(f"loss {given!r} is {type(given).__name__}; accepted are {', '.join(LOSSES)} or a function "
                      f"(output, y) -> scalar expression")
