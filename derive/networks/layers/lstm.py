"""``L.LSTM``: long short-term memory."""

from __future__ import annotations

from typing import Any

from sympy import Expr, tanh

from derive.language.index import index
from derive.language.nodes import Sum, sigmoid
from derive.language.tensor import Tensor
from derive.networks.initializers import PerGate

from .recurrent import Recurrent, Steps
from .registry import in_catalogue


@in_catalogue
class LSTM(Recurrent):
    r"""Long short-term memory with a forget gate, gate by gate; the gates are in the order i, f, g, o.

    .. math::
        z_{btql} &= \sum_i x_{bti} U_{iql} + \sum_m h_{b,t-1,m} W_{mql} + \beta_{ql} \\
        i &= \sigma(z_0), \quad f = \sigma(z_1), \quad g = \tanh(z_2), \quad o = \sigma(z_3) \\
        c_t &= f_t\, c_{t-1} + i_t\, g_t, \qquad s_t = \tanh(c_t), \qquad h_t = o_t\, s_t

    With peepholes, :math:`p_0 c_{t-1}` is added in i, :math:`p_1 c_{t-1}` in f and :math:`p_2 c_t` in o.

    Parameters
    ----------
    peepholes : bool
        Whether the gates see the cell: a parameter ``<name>_peephole`` (3, L).
    unit_forget_bias : bool
        Whether the bias of the forget gate starts at 1.
    Others : see :class:`Recurrent`
        The parameters are ``<name>_kernel`` U (F, 4, L), ``<name>_recurrent`` W (L, 4, L), ``<name>_bias`` (4, L); the
        states are h and c.

    References
    ----------
    Hochreiter and Schmidhuber, *Long short-term memory*, Neural Computation 9 (1997).
    Gers, Schmidhuber, Cummins, *Learning to forget*, Neural Computation 12 (2000).
    Gers and Schmidhuber, *Recurrent nets that time and count*, IJCNN 2000, for the peepholes.
    Jozefowicz, Zaremba, Sutskever, *An empirical exploration of recurrent network architectures*, ICML 2015, for the
    bias of 1.

    >>> from derive import Sequential
    >>> model = Sequential([LSTM(4)], input_shape=(5, 3))
    >>> {name: p.shape for name, p in model.parameters.items()}
    {'lstm_1_kernel': (3, 4, 4), 'lstm_1_recurrent': (4, 4, 4), 'lstm_1_bias': (4, 4)}
    """

    kind = "lstm"
    states = ("h", "c")

    def __init__(self, units: int, peepholes: bool = False, unit_forget_bias: bool = True, **options: Any):
        super().__init__(units, **options)
        self.peepholes, self.unit_forget_bias = bool(peepholes), bool(unit_forget_bias)

    def equations(self, s: Steps) -> tuple[Tensor, ...]:
        q = index("q", 4)
        b, t, l, at = s.b, s.t, s.l, (s.b, s.t, s.l)  # noqa: E741
        U, W = self.weights(s, q)
        z_x = Sum(s.x[b, t, s.i] * U[s.i, q, l], s.i)
        if self.use_bias:
            z_x += s.new.parameter(
                "bias",
                q,
                l,
                init=PerGate(self.bias_initializer, ((1, "ones"),) if self.unit_forget_bias else (), axis=0),
            )[q, l]
        P = s.new.parameter("peephole", 3, l, init="uniform") if self.peepholes else None

        def gate(n: int, z: Tensor, cell: Expr | None = None) -> Expr:
            return z[b, t, n, l] if P is None or cell is None else z[b, t, n, l] + P[min(n, 2), l] * cell

        def step(
            z: Tensor, i: Tensor, f: Tensor, g: Tensor, o: Tensor, c: Tensor, s_: Tensor, h: Tensor
        ) -> tuple[Expr, ...]:
            old = s.before(c, l)
            return (
                z_x + Sum(s.before(h, s.m) * W[s.m, q, l], s.m),
                sigmoid(gate(0, z, old)),
                sigmoid(gate(1, z, old)),
                tanh(gate(2, z)),
                sigmoid(gate(3, z, c[at])),
                s.held(f[at] * old + i[at] * g[at], c),
                tanh(c[at]),
                s.held(o[at] * s_[at], h),
            )

        *_, c, _, h = s.define("z i f g o c s h", [(b, t, q, l), *[at] * 7], step)
        return h, c
