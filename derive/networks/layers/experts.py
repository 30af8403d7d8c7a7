"""A mixture of experts: several fully connected maps, and a gate that says how much each of them counts."""

from __future__ import annotations

import sympy
from sympy import Expr, Integer, Piecewise
from sympy.logic.boolalg import And, Or

from derive.language.errors import DeriveError
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Tensor
from derive.networks.activations import GivenActivation
from derive.networks.activations import activation as find_activation
from derive.networks.initializers import Initializer, PerGate, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .numbers import exact
from .part import Part
from .registry import in_catalogue


@in_catalogue
class MixtureOfExperts(Layer):
    r"""Several experts over the last axis, weighed by a gate that reads the same input.

    .. math::

        p_{be} = \frac{e^{r_{be}}}{\sum_{e'} e^{r_{be'}}}, \quad r_{be} = \sum_i x_{bi} G_{ie}, \qquad
        h_{bj} = \sum_e p_{be}\, f\Bigl(\sum_i x_{bi} W_{eij} + c_{ej}\Bigr)

    With ``top_k`` the sums over e are over the k experts whose scores r are the largest, of equal ones the first.  So that
    no expert is left without work, the loss gets the price

    .. math:: \lambda\, E \sum_e F_e P_e, \qquad P_e = \frac1B \sum_b q_{be}, \qquad
        F_e = \frac1{kB} \sum_b [e \text{ is among the } k \text{ of } b]

    where q are the gates over all experts, B counts all positions, and F = P where all experts are used.  It is
    :math:`\lambda` where all have the same share.

    Parameters
    ----------
    num_experts : int
    units : int
        The size of the last axis of the output.
    top_k : int, optional
        How many experts count; all of them by default.
    hidden : int, optional
        The width of a hidden layer of each expert, to which the activation then belongs: an expert is the MLP of a
        Transformer block.
    activation : str, Activation or callable
        Of each expert.
    balance : float
        :math:`\lambda`; 0 for no price.
    use_bias : bool
        Of the experts; the gate has none.
    kernel_initializer, bias_initializer : str, number or callable
        Of every expert by itself.
    name : str, optional
        The parameters are ``<name>_gate_kernel`` (I, E), ``<name>_kernel`` (E, I, J) and ``<name>_bias`` (E, J), with a
        hidden layer ``<name>_up_kernel`` (E, I, L), ``<name>_up_bias`` (E, L) too.
    trainable : bool

    Raises
    ------
    DeriveError
        ``top_k`` larger than the number of experts, a negative ``balance``.

    Notes
    -----
    All experts are computed, those that do not count as well.

    References
    ----------
    Jacobs, Jordan, Nowlan, Hinton, *Adaptive mixtures of local experts*, Neural Computation 3 (1991); Shazeer et al.,
    *Outrageously large neural networks*, ICLR 2017 (top k); Fedus, Zoph, Shazeer, *Switch transformers*, JMLR 23 (2022),
    section 2.2 (the price).

    >>> from derive import Sequential
    >>> model = Sequential([MixtureOfExperts(4, 3)], input_shape=(5,))
    >>> {n.removeprefix("mixture_of_experts_1_"): p.shape for n, p in model.parameters.items()}
    {'gate_kernel': (5, 4), 'kernel': (4, 5, 3), 'bias': (4, 3)}
    """

    kind = "mixture_of_experts"
    gives = "values"

    def __init__(
        self,
        num_experts: int,
        units: int,
        top_k: int | None = None,
        hidden: int | None = None,
        activation: GivenActivation = "relu",
        balance: float = 0.01,
        use_bias: bool = True,
        kernel_initializer: Initializer = "glorot_uniform",
        bias_initializer: Initializer = "zeros",
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = f"MixtureOfExperts({num_experts!r}, {units!r})"
        self.num_experts, self.units = whole(num_experts, f"{where}: num_experts"), whole(units, f"{where}: units")
        self.top_k = None if top_k is None else whole(top_k, f"{where}: top_k")
        if self.top_k is not None and self.top_k > self.num_experts:
            raise DeriveError(
                f"{where}: top_k is {top_k}; accepted is a number from 1 to {num_experts}, or None for all"
            )
        self.hidden = None if hidden is None else whole(hidden, f"{where}: hidden")
        self.activation = find_activation(activation, where)
        self.balance = balance
        self._balance = exact(balance, f"{where}: balance")
        if self._balance < 0:
            raise DeriveError(f"{where}: balance is {balance}; accepted is a number that is not negative")
        self.use_bias = bool(use_bias)
        self.kernel_initializer = initializer(kernel_initializer, f"{where}: kernel_initializer")
        self.bias_initializer = initializer(bias_initializer, f"{where}: bias_initializer")

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        *outer, i = x.indices
        e = new.axis(self.num_experts, "e", "E")
        other = apart(Index("f", e.size), *x.indices, e)
        gate = Part.of(new, "gate")
        kernel = gate.parameter("kernel", i, e, init=self.kernel_initializer)
        r = gate.define("r", (*outer, e), Sum(x[(*outer, i)] * kernel[i, e], i))
        chosen = self._chosen(r, other, gate)
        p = self._softmax(r, other, None, gate)
        y = self._experts(x, e, new)
        j = y.indices[-1]
        weight = p if chosen is None else self._softmax(r, other, chosen, Part.of(new, "top"))
        if self._balance:
            new.price("balance", self._unbalanced(p, chosen))
        return new.define("h", (*outer, j), Sum(weight[(*outer, e)] * y[(*outer, e, j)], e))

    def _chosen(self, r: Tensor, other: Index, gate: Builder) -> Tensor | None:
        """1 where an expert is among the k best: where fewer than k are better, or as good and before it."""
        if self.top_k is None or self.top_k == self.num_experts:
            return None
        *outer, e = r.indices
        own, its = r[(*outer, e)], r[(*outer, other)]
        better = Sum(Iverson(Or(its > own, And(sympy.Ge(its, own), other < e))), other)
        rank = gate.define("rank", r.indices, better)
        return gate.define("chosen", r.indices, Piecewise((1, rank[r.indices] < self.top_k), (0, True)))

    def _softmax(self, r: Tensor, other: Index, chosen: Tensor | None, part: Builder) -> Tensor:
        """Over all experts, or over those that were chosen."""
        *outer, e = r.indices
        s = r
        if chosen is not None:
            score = Piecewise((r[r.indices], chosen[r.indices] > 0), (-sympy.oo, True))
            s = part.define("s", r.indices, score)
        weight = sympy.exp(s[r.indices]) / Sum(sympy.exp(s[(*outer, other)]), other)
        return part.define("p", r.indices, weight)

    def _experts(self, x: Tensor, e: Index, new: Builder) -> Tensor:
        """What each expert gives, (B, ..., E, J)."""
        *outer, i = x.indices
        init, bias = PerGate(self.kernel_initializer, axis=0), PerGate(self.bias_initializer, axis=0)

        def mapped(t: Tensor, size: int, part: Builder, activated: bool) -> Tensor:
            j = new.axis(size)
            k = apart(t.indices[-1], j)
            kernel = part.parameter("kernel", e, k, j, init=init)
            z = Sum(t[(*t.indices[:-1], k)] * kernel[e, k, j], k)
            if self.use_bias:
                z += part.parameter("bias", e, j, init=bias)[e, j]
            at = (*outer, e, j)
            called = Part.of(new, "expert") if part is new else part
            return called.activated(at, z, self.activation) if activated else called.define("z", at, z)

        if self.hidden is None:
            return mapped(x, self.units, new, True)
        up = mapped(x, self.hidden, Part.of(new, "up"), True)
        return mapped(up, self.units, new, False)

    def _unbalanced(self, p: Tensor, chosen: Tensor | None) -> Expr:
        *outer, e = p.indices
        count = sympy.Mul(*(a.size for a in outer))
        share = Sum(p[p.indices], *outer) / count
        used = share if chosen is None else Sum(chosen[p.indices], *outer) / (Integer(self.top_k or 1) * count)
        return self._balance * e.size * Sum(used * share, e)
