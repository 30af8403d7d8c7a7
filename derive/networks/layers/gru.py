"""``L.GRU``: the gated recurrent unit."""

from __future__ import annotations

from typing import Any

from sympy import Expr, tanh

from derive.language.errors import DeriveError
from derive.language.index import index
from derive.language.nodes import Sum, sigmoid
from derive.language.tensor import Tensor
from derive.networks.initializers import PerGate

from .recurrent import Recurrent, Steps
from .registry import in_catalogue


@in_catalogue
class GRU(Recurrent):
    r"""Gated recurrent unit; the gates are in the order z (update), r (reset), n (candidate).

    .. math::
        z &= \sigma(a_0 + s_0), \quad r = \sigma(a_1 + s_1), \quad h_t = z\, h_{t-1} + (1 - z)\, n \\
        a_{btql} &= \sum_i x_{bti} U_{iql} + \beta_{ql}, \qquad s_{btql} = \sum_m h_{b,t-1,m} W_{mql} + \beta'_{ql}

    with the reset after the product, as in cuDNN, Keras and PyTorch (``reset_after=True``), or before it, as
    in the paper:

    .. math:: n = \tanh(a_2 + r\, s_2) \qquad\text{or}\qquad n = \tanh\Big(a_2 + \sum_m r_m h_{t-1,m} V_{ml}\Big)

    Parameters
    ----------
    reset_after : bool
    Others : see :class:`Recurrent`
        The parameters are ``<name>_kernel`` U (F, 3, L), ``<name>_bias`` (3, L), and, with the reset after,
        ``<name>_recurrent`` W (L, 3, L) and ``<name>_recurrent_bias`` (3, L); before, ``<name>_recurrent`` (L, 2, L)
        and ``<name>_candidate`` V (L, L).

    References
    ----------
    Cho et al., *Learning phrase representations using RNN encoder-decoder*, EMNLP 2014; there z and 1 - z swap places.

    >>> from derive import Sequential
    >>> model = Sequential([GRU(4, reset_after=False)], input_shape=(5, 3))
    >>> {name: p.shape for name, p in model.parameters.items()}
    {'gru_1_kernel': (3, 3, 4), 'gru_1_recurrent': (4, 2, 4), 'gru_1_bias': (3, 4), 'gru_1_candidate': (4, 4)}
    """

    kind = "gru"

    def __init__(self, units: int, reset_after: bool = True, **options: Any):
        super().__init__(units, **options)
        if not isinstance(reset_after, bool):
            raise DeriveError(
                f"{self._where}: reset_after is {reset_after!r}; accepted are True (cuDNN, Keras) and False (the paper)"
            )
        self.reset_after = reset_after

    def equations(self, s: Steps) -> tuple[Tensor, ...]:
        after = self.reset_after
        q, p = index("q", 3), index("q", 3 if after else 2)
        b, t, l, at, new = s.b, s.t, s.l, (s.b, s.t, s.l), s.new  # noqa: E741
        U = new.parameter("kernel", s.i, q, l, init=PerGate(self.kernel_initializer))
        W = new.parameter("recurrent", s.m, p, l, init=PerGate(self.recurrent_initializer))
        a_body = Sum(s.x[b, t, s.i] * U[s.i, q, l], s.i)
        if self.use_bias:
            a_body += new.parameter("bias", q, l, init=PerGate(self.bias_initializer, axis=0))[q, l]
        a = new.define("a", (b, t, q, l), a_body)
        beta = (
            new.parameter("recurrent_bias", p, l, init=PerGate(self.bias_initializer, axis=0))[p, l]
            if self.use_bias and after
            else 0
        )
        V = None if after else new.parameter("candidate", s.m, l, init=self.recurrent_initializer)

        def step(s_: Tensor, z: Tensor, r: Tensor, n: Tensor, h: Tensor) -> tuple[Expr, ...]:
            old = s.before(h, l)
            inner = r[at] * s_[b, t, 2, l] if V is None else Sum(r[b, t, s.m] * s.before(h, s.m) * V[s.m, l], s.m)
            return (
                Sum(s.before(h, s.m) * W[s.m, p, l], s.m) + beta,
                sigmoid(a[b, t, 0, l] + s_[b, t, 0, l]),
                sigmoid(a[b, t, 1, l] + s_[b, t, 1, l]),
                tanh(a[b, t, 2, l] + inner),
                s.held(z[at] * old + (1 - z[at]) * n[at], h),
            )

        *_, h = s.define("s z r n h", [(b, t, p, l), *[at] * 4], step)
        return (h,)
