"""The models that mutants are made of, each derived once in a process."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping

import explained_programs
import handwritten
import kernel_cases
import programs
import second_order_programs

import derive as dv
from derive import layers as L
from derive.networks import examples
from numerics.reference.sampling import draw_sizes


def _second(kind: str, name: str):
    loss, wrt = second_order_programs.CLASSIC[name]()
    return getattr(dv, kind)(loss, wrt)


def _inner():
    loss, wrt = second_order_programs.mlp()
    return loss, wrt, next(e.tensor for e in dv.backprop(loss, wrt).source.equations if e.name == "h")


def _gauss_newton():
    loss, wrt, h = _inner()
    return dv.gauss_newton(loss, wrt[:1], at=h)


def _jacobian():
    _, wrt, h = _inner()
    return dv.jacobian(h, wrt[:1])


def _hessian_of_a_recurrence():
    d = programs.CASES["tanh_rnn"]()
    return dv.hessian(d.loss, list(d.wrt)[:2])


LAYERS: dict[str, Callable[[], dv.Sequential]] = {
    "batch norm": lambda: dv.Sequential([L.Dense(3), L.BatchNorm(), L.Dense(2)], input_shape=(4,)),
    "group norm": lambda: dv.Sequential([L.GroupNorm(2), L.Dense(2)], input_shape=(4,)),
    "convolutions": lambda: dv.Sequential(
        [L.Conv2D(2, 3, padding="same", activation="relu"), L.MaxPool2D(2), L.Flatten(), L.Dense(2)],
        input_shape=(4, 4, 2),
    ),
    "averages": lambda: dv.Sequential(
        [L.AvgPool2D(2), L.Flatten(), L.Dense(2, activation="elu")], input_shape=(4, 4, 2)
    ),
    "gru": lambda: dv.Sequential([L.GRU(2), L.Dense(2)], input_shape=(3, 2)),
    "lstm": lambda: dv.Sequential([L.LSTM(2), L.Dense(2)], input_shape=(3, 2)),
    "attention": lambda: dv.Sequential(
        [L.MultiHeadAttention(2, 2, causal=True), L.RMSNorm(), L.Dense(2)], input_shape=(3, 4)
    ),
    "gated": lambda: dv.Sequential([L.GatedDense(3), L.Dense(2, activation="gelu")], input_shape=(3,)),
}


def _layers(name: str):
    return LAYERS[name]().backprop("mean_squared_error")


FIRST: dict[str, Callable] = {  # first order: gradients and vector-Jacobian products
    **{name: make for name, make in programs.CASES.items() if name != "hessian_vector_product"},
    **{f"kernel {name}": make for name, make in kernel_cases.CASES.items()},
    **{f"by hand {name}": make for name, (make, _) in handwritten.MODELS.items()},
    **{f"by hand {name}": make for name, (make, _) in explained_programs.PROGRAMS.items()},
    **{f"text {name}": lambda n=name: examples.load(n).backprop() for name in examples.names()},
    **{f"layers {name}": lambda n=name: _layers(n) for name in LAYERS},
}
SECOND: dict[str, Callable] = {
    "hessian_vector_product": programs.CASES["hessian_vector_product"],
    **{
        f"{name} {kind}": lambda k=kind, n=name: _second(k, n)
        for name in second_order_programs.CLASSIC
        for kind in ("hessian", "hvp")
    },
    "jacobian": _jacobian,
    "gauss_newton": _gauss_newton,
    "hessian_of_a_recurrence": _hessian_of_a_recurrence,
}
MODELS: Mapping[str, Callable] = {**FIRST, **SECOND}


@functools.cache
def derived(name: str):
    """The derivation of a model."""
    return MODELS[name]()


@functools.cache
def free_sizes(name: str) -> dict[str, int]:
    """Values for the sizes that no array fixes, as a stride or a padding, by name."""
    d = derived(name)
    free = kernel_cases.free_sizes(d)
    drawn = draw_sizes(d.program, {}, pool=(2, 1, 3, 5, 4, 6, 7, 8, 9)) if free else None
    return {s.name: n for s, n in (drawn or {}).items() if s.name in free}
