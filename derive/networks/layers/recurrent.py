"""Recurrent layers over sequences (B, T, F): definitions that read themselves at the step before.

What comes back from ``backprop`` reads at the step after, and the gradients of the weights are sums over time; nothing
here knows that.  Gates share one kernel with an axis for the gate, so that a step is one product: ``kernel[i, q, l]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Eq, Expr, Piecewise, tanh

from derive.language.define import block, define
from derive.language.errors import DeriveError, ShapeError
from derive.language.hints import did_you_mean
from derive.language.index import Index, index
from derive.language.nodes import Sum, sigmoid
from derive.language.tensor import Tensor
from derive.networks.activations import Activation, GivenActivation
from derive.networks.activations import activation as find_activation
from derive.networks.initializers import Initializer, PerGate, initializer

from .base import Layer
from .builder import Builder, apart, whole
from .registry import in_catalogue

STARTS = ("zeros", "parameter", "input", "carried")


@dataclass
class Steps:
    """What the equations of one layer are written with: indices, the step before, the mask."""

    layer: Recurrent
    new: Builder
    x: Tensor
    mask: Tensor | None
    start: dict[str, Tensor]  # initial states by letter; none where they are zero
    b: Index
    t: Index
    i: Index
    l: Index  # noqa: E741  the letter of the units in the equations
    m: Index

    def before(self, state: Tensor, l: Index) -> Expr:  # noqa: E741
        """The state of the step before: ``h[b, t-1, l]``, or the initial state at the first step."""
        back = self.layer.go_backwards
        read = state[self.b, self.t + 1 if back else self.t - 1, l]
        given = self.start.get(_letter(state))
        if given is None:
            return read
        first = self.t.size - 1 if back else 0
        return Piecewise((given[(self.b, l) if given.rank == 2 else l], Eq(self.t, first)), (read, True))

    def held(self, body: Expr, state: Tensor) -> Expr:
        """The new state; where the mask is 0 the old one, carried on."""
        if self.mask is None:
            return body
        return Piecewise((body, self.mask[self.b, self.t] > 0), (self.before(state, self.l), True))

    def define(self, letters: str, axes: Sequence, body: Callable) -> Any:
        """Coupled definitions, named by their letters and the layer's position: ``h1``, ``c1``."""
        names = " ".join(f"{letter}{self.new.position}" for letter in letters.split())
        with block(self.new.layer):
            return define(names, axes, body)


class Recurrent(Layer):
    r"""What :class:`SimpleRNN`, :class:`LSTM` and :class:`GRU` have in common.

    Parameters
    ----------
    units : int
        The size of the state.
    return_sequences : bool
        Whether the output is the state at every step (B, T, units), or at the last one, (B, units).
    return_state : bool
        In a functional model: calling the layer gives the output and the final states, ``y, h = L.GRU(8, ...)(x)``.
    go_backwards : bool
        Run from the last step to the first.  Outputs stay at their steps; the final state is that of the first one.
    masked : bool
        The layer is called on ``[x, mask]``; ``mask`` (B, T) is 1 where a step counts.  Elsewhere the state is carried
        on, and neither the step's input nor the weights get a gradient from it.  Any pattern is accepted.
    initial_state : {"zeros", "parameter", "input", "carried"}
        Zeros; trained, ``<name>_h0`` (units,); further symbols of the call, ``[x, h0]``; or carried from one call to
        the next, for truncated backpropagation through time: inputs ``<name>_h`` (B, units) with role "state", whose
        next values ``<name>_h_new`` come with the outputs.
    kernel_initializer, recurrent_initializer, bias_initializer : str, number or callable
        glorot_uniform, orthogonal and zeros, for every gate by itself.
    use_bias : bool
    name : str, optional
    trainable : bool
    """

    states: tuple[str, ...] = ("h",)
    gives = "values"

    def __init__(
        self,
        units: int,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        masked: bool = False,
        initial_state: str = "zeros",
        kernel_initializer: Initializer = "glorot_uniform",
        recurrent_initializer: Initializer = "orthogonal",
        bias_initializer: Initializer = "zeros",
        use_bias: bool = True,
        name: str | None = None,
        trainable: bool = True,
    ):
        super().__init__(name, trainable)
        where = self._where = f"{type(self).__name__}({units!r})"
        self.units = whole(units, f"{where}: units")
        self.return_sequences, self.return_state = bool(return_sequences), bool(return_state)
        self.go_backwards, self.masked, self.use_bias = bool(go_backwards), bool(masked), bool(use_bias)
        if initial_state not in STARTS:
            raise DeriveError(
                f"{where}: unknown initial_state {initial_state!r}{did_you_mean(initial_state, STARTS)}; "
                f"accepted are {', '.join(STARTS)}"
            )
        self.initial_state = initial_state
        self.kernel_initializer = initializer(kernel_initializer, f"{where}: kernel_initializer")
        self.recurrent_initializer = initializer(recurrent_initializer, f"{where}: recurrent_initializer")
        self.bias_initializer = initializer(bias_initializer, f"{where}: bias_initializer")
        self.merges = self.masked or initial_state == "input"
        self.called = f"L.{self._where}([{', '.join(self._symbols())}])"

    def __call__(self, on: Any) -> Any:
        node = super().__call__(on)
        if not self.return_state:
            return node
        return node, *(FinalState(s)(node) for s in self.states)

    def connect(self, x: Any, new: Builder) -> Tensor:
        s = self._steps(x, new)
        found = dict(zip(self.states, self.equations(s), strict=True))
        end = 0 if self.go_backwards else s.t.size - 1
        h = found["h"]
        output = h if self.return_sequences else _at(h, end, s)
        new.finals[output] = {letter: (state, end) for letter, state in found.items()}
        if self.initial_state == "carried":
            for letter, state in found.items():
                new.carry_on(s.start[letter], state[s.b, end, s.l])
        return output

    def equations(self, s: Steps) -> tuple[Tensor, ...]:
        """The states over all steps, (B, T, units) each, in the order of ``states``."""
        raise NotImplementedError

    # -- what comes in -----------------------------------------------------------------------------------------------

    def _symbols(self) -> list[str]:
        """What the layer is called on, by the names in messages."""
        return ["x"] + ["mask"] * self.masked + [f"{s}0" for s in self.states] * (self.initial_state == "input")

    def _steps(self, given: Any, new: Builder) -> Steps:
        given = list(given) if self.merges else [given]
        wanted = self._symbols()
        if len(given) != len(wanted):
            raise ShapeError(f"{self._where} is called on [{', '.join(wanted)}]; it was given {len(given)} symbols")
        x, rest = given[0], given[1:]
        if x.rank != 3:
            hint = (
                "; token numbers pass through L.Embedding first"
                if x.dtype == "int"
                else "; a series of single numbers is (B, T, 1)"
                if x.rank == 2
                else ""
            )
            raise ShapeError(f"{self._where} reads sequences (B, T, F); it was given {new.shape(x)}{hint}")
        b, time, feature = x.indices
        t = Index("t", time.size)
        l = new.axis(self.units, "l")  # noqa: E741
        i, m = apart(Index(feature.name, feature.size), b, t, l), apart(Index("m", l.size), b, t, l, feature)
        mask = self._mask(rest.pop(0), t, new) if self.masked else None
        return Steps(self, new, x, mask, self._start(rest, b, l, new), b, t, i, l, m)

    def _mask(self, mask: Tensor, t: Index, new: Builder) -> Tensor:
        if mask.rank != 2:
            raise ShapeError(
                f"{self._where}: the mask {mask.name} has shape {new.shape(mask)}; accepted is (B, T), "
                f"here (B, {new.number(t.size)})"
            )
        new.same(mask.axes[1], t.size, f"{self._where}: the steps of the mask {mask.name} and of the sequence")
        return mask

    def _start(self, given: Sequence[Tensor], b: Index, l: Index, new: Builder) -> dict[str, Tensor]:  # noqa: E741
        if self.initial_state == "parameter":
            return {s: new.parameter(f"{s}0", l, init="zeros") for s in self.states}
        if self.initial_state == "carried":
            return {s: new.carry(s, b, l) for s in self.states}
        for h0 in given:
            if h0.rank != 2:
                raise ShapeError(
                    f"{self._where}: the initial state {h0.name} has shape {new.shape(h0)}; accepted is "
                    f"(B, {self.units})"
                )
            new.same(h0.axes[1], l.size, f"{self._where}: the units of the initial state {h0.name} and of the layer")
        return dict(zip(self.states, given, strict=False))

    # -- what the equations read -------------------------------------------------------------------------------------

    def weights(self, s: Steps, *gates: Index) -> tuple[Tensor, Tensor]:
        """The kernels of the input and of the state: (F, units), (units, units), or with the gates in the middle."""
        kernel, recurrent = (
            PerGate(init) if gates else init for init in (self.kernel_initializer, self.recurrent_initializer)
        )
        return (
            s.new.parameter("kernel", s.i, *gates, s.l, init=kernel),
            s.new.parameter("recurrent", s.m, *gates, s.l, init=recurrent),
        )


@in_catalogue
class SimpleRNN(Recurrent):
    r"""The plain recurrence of Elman.

    .. math:: h_{btl} = f\Big(\sum_i x_{bti} U_{il} + \sum_m h_{b,t-1,m} W_{ml} + c_l\Big)

    Parameters
    ----------
    activation : str, Activation or callable
        f; tanh by default.
    Others : see :class:`Recurrent`
        The parameters are ``<name>_kernel`` U (F, L), ``<name>_recurrent`` W (L, L), ``<name>_bias`` c (L,).

    References
    ----------
    Elman, *Finding structure in time*, Cognitive Science 14 (1990).

    >>> from derive import Sequential
    >>> d = Sequential([SimpleRNN(4)], input_shape=(5, 3)).backprop("mean_squared_error")
    >>> print(d.gradient("h1"))
    dh1[b,t,l] = sum_l' d_h1_in[b,t+1,l'] simple_rnn_1_recurrent[l,l'] + 2 (h1_last[b,l] - y[b,l]) [t = T - 1] / (B L)
    """

    kind = "simple_rnn"

    def __init__(self, units: int, activation: GivenActivation = "tanh", **options: Any):
        super().__init__(units, **options)
        self.activation = find_activation(activation, self._where)
        self._f = pointwise(self.activation, self._where)

    def equations(self, s: Steps) -> tuple[Tensor, ...]:
        U, W = self.weights(s)
        z = Sum(s.x[s.b, s.t, s.i] * U[s.i, s.l], s.i)
        if self.use_bias:
            z += s.new.parameter("bias", s.l, init=self.bias_initializer)[s.l]
        return (
            s.define("h", (s.b, s.t, s.l), lambda h: s.held(self._f(z + Sum(s.before(h, s.m) * W[s.m, s.l], s.m)), h)),
        )


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


@in_catalogue
class FinalState(Layer):
    """A state of a recurrent layer after its last step: ``h`` or, of an LSTM, ``c``; what ``return_state`` gives.

    >>> from derive import Input, Model
    >>> x = Input((5, 3))
    >>> y, h, c = LSTM(4, return_sequences=True, return_state=True)(x)
    >>> Model(x, {"y": y, "c": c}).shape_of("c")
    (4,)
    """

    kind = "final_state"

    def __init__(self, state: str = "h", name: str | None = None):
        super().__init__(name)
        self.state = state

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        found = new.finals.get(x)
        if found is None or self.state not in found:
            have = (
                "no states; it is called on the output of a recurrent layer"
                if found is None
                else f"the states {', '.join(found)}"
            )
            raise DeriveError(f"FinalState({self.state!r}): {x.name} has {have}")
        state, end = found[self.state]
        b, _, l = state.indices  # noqa: E741
        return new.define(self.state, (b, l), state[b, end, l])


def pointwise(given: Activation, where: str) -> Callable[[Expr], Expr]:
    """An activation as a function of one expression; one that looks at a whole axis is refused."""
    if given.whole_axis:
        raise DeriveError(
            f"{where}: activation {given.name!r} looks at a whole axis; inside a recurrence accepted are "
            f"functions of one number"
        )
    return lambda u: given.rule(u, **dict(given.options))


def _letter(state: Tensor) -> str:
    return state.name[0]


def _at(h: Tensor, end: Expr | int, s: Steps) -> Tensor:
    with block(s.new.layer):
        return define(f"{h.name}_last", (s.b, s.l), h[s.b, end, s.l])
