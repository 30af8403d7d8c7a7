"""Recurrent layers over sequences (B, T, F): definitions that read themselves at the step before.

What comes back from ``backprop`` reads at the step after, and the gradients of the weights are sums over time; nothing
here knows that.  Gates share one kernel with an axis for the gate, so that a step is one product: ``kernel[i, q, l]``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sympy import Eq, Expr, Piecewise

from derive.language.define import block, define
from derive.language.errors import DeriveError, ShapeError
from derive.language.hints import did_you_mean
from derive.language.index import Index
from derive.language.nodes import Sum
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
    r"""What :class:`SimpleRNN`, :class:`~.lstm.LSTM` and :class:`~.gru.GRU` have in common.

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
class FinalState(Layer):
    """A state of a recurrent layer after its last step: ``h`` or, of an LSTM, ``c``; what ``return_state`` gives.

    >>> from derive import Input, Model, layers as L
    >>> x = Input((5, 3))
    >>> y, h, c = L.LSTM(4, return_sequences=True, return_state=True)(x)
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
