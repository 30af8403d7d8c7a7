"""Layers around a layer: both directions of time, or every step by itself."""

from __future__ import annotations

import copy
from typing import Any

from sympy import Add, Basic, Eq, Mul

from derive.language.errors import DeriveError, ShapeError
from derive.language.hints import did_you_mean
from derive.language.index import Index
from derive.language.nodes import Iverson, Sum
from derive.language.tensor import Definition, Read, Tensor

from .base import Layer
from .builder import Builder
from .part import Part
from .recurrent import Recurrent
from .registry import in_catalogue

MERGES = ("concat", "sum", "mul", "ave")


@in_catalogue
class Bidirectional(Layer):
    r"""A recurrent layer from the left and another of its kind from the right, merged.

    .. math:: y_{bto} = \sum_l \overrightarrow{h}_{btl} [o = l] + \sum_l \overleftarrow{h}_{btl} [o = L + l]

    Without ``return_sequences`` each gives its final state: that of the last step, and that of the first.

    Parameters
    ----------
    layer : SimpleRNN, LSTM or GRU
        Running forwards; its twin runs backwards with parameters of its own, ``<name>_backward_kernel`` and so on.
    merge_mode : {"concat", "sum", "mul", "ave"}
    name : str, optional

    References
    ----------
    Schuster and Paliwal, *Bidirectional recurrent neural networks*, IEEE Transactions on Signal Processing 45 (1997).

    >>> from derive import Sequential, layers as L
    >>> model = Sequential([Bidirectional(L.LSTM(4, return_sequences=True))], input_shape=(5, 3))
    >>> model.shape_of("bidirectional_1"), len(model.parameters)
    ((5, 8), 6)
    """

    kind = "bidirectional"

    def __init__(self, layer: Recurrent, merge_mode: str = "concat", name: str | None = None):
        super().__init__(name)
        if not isinstance(layer, Recurrent):
            raise DeriveError(f"Bidirectional({layer!r}): accepted are SimpleRNN, LSTM and GRU")
        if layer.go_backwards or layer.return_state or layer.initial_state in ("input", "carried"):
            raise DeriveError(
                "Bidirectional: the layer runs forwards, gives no states and starts from zeros or a "
                "parameter; a state cannot be carried to where the backward layer starts, the end"
            )
        if merge_mode not in MERGES:
            raise DeriveError(
                f"Bidirectional: unknown merge_mode {merge_mode!r}{did_you_mean(merge_mode, MERGES)}; accepted are "
                f"{', '.join(MERGES)}"
            )
        self.layer, self.merge_mode, self.trainable = layer, merge_mode, layer.trainable
        self.merges, self.called = layer.merges, "L.Bidirectional(L.GRU(8, masked=True))([x, mask])"
        self._backward = copy.copy(layer)
        self._backward.go_backwards = True

    def connect(self, x: Any, new: Builder) -> Tensor:
        left = self.layer.connect(x, Part.of(new, "forward"))
        new._count = 0  # the twin has the same axes
        right = self._backward.connect(x, Part.of(new, "backward"))
        at = left.indices
        if self.merge_mode != "concat":
            a, b = left[at], right[at]
            return new.define("h", at, {"sum": Add(a, b), "mul": Mul(a, b), "ave": (a + b) / 2}[self.merge_mode])
        *outer, l = at  # noqa: E741
        o = Index("o", 2 * l.size)
        return new.define(
            "h", (*outer, o), Sum(left[at] * Iverson(Eq(o, l)), l) + Sum(right[at] * Iverson(Eq(o, l.size + l)), l)
        )


@in_catalogue
class TimeDistributed(Layer):
    r"""A layer applied to every step by itself, with the same parameters: :math:`y_{bt} = f(x_{bt})`.

    Parameters
    ----------
    layer : Layer
        Any layer that treats examples one by one: Dense, Conv2D, MaxPool2D, Flatten, ...; not BatchNorm, which averages
        over them.
    name : str, optional

    Notes
    -----
    The layer's definitions are made for one step, and get the time axis afterwards.  ``L.Dense`` runs over the last
    axis anyway and does not need it.

    >>> from derive import Sequential, layers as L
    >>> model = Sequential([TimeDistributed(L.Conv2D(2, 3))], input_shape=(7, 5, 5, 1))
    >>> model.shape_of("time_distributed_1")
    (7, 3, 3, 2)
    """

    kind = "time_distributed"

    def __init__(self, layer: Layer, name: str | None = None):
        super().__init__(name)
        if not isinstance(layer, Layer) or layer.merges or isinstance(layer, Recurrent):
            raise DeriveError(f"TimeDistributed({layer!r}): accepted are layers that read one tensor and no sequence")
        self.layer, self.trainable, self.gives = layer, layer.trainable, layer.gives

    def connect(self, x: Tensor, new: Builder) -> Tensor:
        if x.rank < 3:
            raise ShapeError(f"TimeDistributed reads (B, T, ...); it was given {new.shape(x)}")
        b, time, *rest = x.indices
        remembered = len(new.state)
        one = Tensor(x.name, (x.axes[0], *x.axes[2:]), (b, *rest), x.dtype, x.below, "data", x.facts)
        found = self.layer.connect(one, new)
        if len(new.state) > remembered:
            raise DeriveError(
                f"TimeDistributed({type(self.layer).__name__}): it averages over examples, so it cannot "
                f"treat each step by itself"
            )
        taken = {i.name for t in _defined(found) for i in t.indices}
        t = Index(next(n for n in ("t", "t'", "t''", "s") if n not in taken), time.size)
        return _over_time(found, one, x, t, {})


def _defined(t: Tensor) -> list[Tensor]:
    """A tensor and all that it is defined by, as far as they are definitions."""
    done: dict[Tensor, None] = {}
    todo = [t]
    while todo:
        one = todo.pop()
        if one in done or one.definition is None:
            continue
        done[one] = None
        todo += [r.tensor for r in one.definition.body.atoms(Read)]
    return list(done)


def _over_time(t: Tensor, one: Tensor, x: Tensor, time: Index, made: dict) -> Tensor:
    """The definition of ``t`` with a time axis after the first; inputs other than the sequence stay as they are."""
    if t == one:
        return x
    if t.definition is None or one not in _inputs(t):
        return t
    if t not in made:

        def timed(e: Basic) -> Basic:
            if isinstance(e, Read):
                new = _over_time(e.tensor, one, x, time, made)
                idx = [timed(i) for i in e.idx]
                return Read(new, *idx) if new is e.tensor else Read(new, idx[0], time, *idx[1:])
            args = [timed(a) for a in e.args]
            return e.func(*args) if args else e

        idx = t.definition.idx
        body = timed(t.definition.body)
        made[t] = Tensor(
            t.name,
            (t.axes[0], time.size, *t.axes[1:]),
            (idx[0], time, *idx[1:]),
            t.dtype,
            t.below,
            "computed",
            definition=Definition((idx[0], time, *idx[1:]), body),
            block=t.block,
        )
    return made[t]


def _inputs(t: Tensor) -> set[Tensor]:
    bodies = [d.definition.body for d in _defined(t) if d.definition is not None]
    return {r.tensor for body in bodies for r in body.atoms(Read) if r.tensor.definition is None}
