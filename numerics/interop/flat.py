"""A traced function as a flat list of primitive operations, the traces at several sizes laid over one another.

``jit``, ``checkpoint``, ``custom_jvp`` and ``custom_vjp`` are inlined (of the custom ones the primal is what they
compute); the lengths and the numbers of all traces become formulas of the sizes, see :mod:`.sizes`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jax.extend import core
from sympy import Expr, Integer, expand

from derive.networks.layers.sizes import quotient

from .sizes import SizeDecides, Sizes
from .source import Frame, frames_of, is_jax
from .whole import Whole, wholes

INLINED = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "checkpoint": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "custom_lin": "jaxpr",
    "program_order": "call_jaxpr",
}
LEAVES = {  # functions that JAX computes by others, and that are one row here: its file, and the row
    **{n: ("linalg.py", f"linalg.{n}") for n in ("inv", "solve", "det", "slogdet")},
    **{n: ("ufuncs.py", n) for n in ("floor_divide", "remainder", "signbit")},
    "searchsorted": ("lax_numpy.py", "searchsorted"),
}
OPAQUE = {  # of JAX, with derivatives of their own: by its name there, the row
    **{
        n: n for n in ("logaddexp", "logaddexp2", "log_ndtr")
    },  # which JAX computes by branches: a kink, or a slope of series
    "_ndtri": "ndtri",  # by the bits of numbers, from JAX 0.12 on
}
CUSTOM = ("custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr")


@dataclass(eq=False)
class Var:
    """A value of the traced function: its axes as formulas of the sizes, and its dtype."""

    shape: tuple[Expr, ...]
    dtype: Any

    @property
    def rank(self) -> int:
        return len(self.shape)


@dataclass(eq=False)
class Literal(Var):
    """A number that stands in the traced function; one that is a formula of the sizes is that formula."""

    value: Any


@dataclass(eq=False)
class Block:
    """Operations with what goes in and what comes out: the function, or the body of a loop."""

    ins: list[Var]
    consts: dict[Var, np.ndarray]
    ops: list[Op] = field(default_factory=list)
    outs: list[Var] = field(default_factory=list)
    customs: tuple[str, ...] = ()  # functions with derivative rules of their own, and where they are called


@dataclass(eq=False)
class Op:
    """One primitive operation; ``frames`` say where it stands, innermost first."""

    name: str
    ins: list[Var]
    outs: list[Var]
    params: dict[str, Any]
    frames: tuple[Frame, ...]
    eqn: Any  # as it was traced first
    scope: str = ""  # the named scopes that it runs in, as "Block_0/Dense_0"
    called: str = ""  # the function of JAX that the author called and that it is a part of, where JAX says


def flatten(traces: Sequence[Any], sizes: Sizes) -> Block:
    """The closed jaxprs of one function at several sizes as one block.

    Raises
    ------
    SizeDecides
        Where they do different things.
    """
    flat = _Flat(sizes)
    made = flat.block(traces, ())
    made.customs = tuple(flat.customs)
    return made


def parameters(eqn: Any) -> dict[str, Any]:
    """The parameters of an operation; of a scan how many it reads of each group, which JAX 0.11 keeps as the groups."""
    if "ft_in" not in eqn.params:
        return dict(eqn.params)
    consts, carried, _ = (len(list(group)) for group in eqn.params["ft_in"].unpack())
    others = {k: v for k, v in eqn.params.items() if k not in ("ft_in", "ft_out")}
    return {**others, "num_consts": consts, "num_carry": carried}


def shape_of(jaxpr: Any) -> tuple[Any, ...]:
    """What two traces of a function have in common if they differ in sizes alone."""
    jaxpr = getattr(jaxpr, "jaxpr", jaxpr)
    return tuple(
        (e.primitive.name, tuple((len(v.aval.shape), str(v.aval.dtype)) for v in e.outvars if hasattr(v.aval, "shape")))
        + tuple(shape_of(p) for p in _subs(e.params.values()))
        for e in jaxpr.eqns
    )


def _subs(values: Iterable[Any]) -> Iterable[Any]:
    for v in values:
        if hasattr(v, "eqns") or hasattr(v, "jaxpr"):
            yield v
        elif isinstance(v, tuple):
            yield from _subs(v)


class _Flat:
    def __init__(self, sizes: Sizes):
        self.sizes = sizes
        self.customs: dict[str, None] = {}
        self.scope = ""
        self.called = ""

    def block(self, closed: Sequence[Any], frames: tuple[Frame, ...]) -> Block:
        jaxprs = [getattr(c, "jaxpr", c) for c in closed]
        env: dict[Any, Var] = {}
        ins = [self.bind(env, vs) for vs in zip(*(j.invars for j in jaxprs), strict=True)]
        consts = self.consts(env, jaxprs, [getattr(c, "consts", ()) for c in closed])
        made = Block(ins, consts)
        self.ops(made, jaxprs, env, frames)
        made.outs = [self.read(env, vs) for vs in zip(*(j.outvars for j in jaxprs), strict=True)]
        made.ops = _needed(made)
        return made

    def consts(self, env: dict[Any, Var], jaxprs: Sequence[Any], values: Sequence[Sequence[Any]]) -> dict[Var, Any]:
        out = {}
        for vs, arrays in zip(zip(*(j.constvars for j in jaxprs), strict=True), zip(*values, strict=True), strict=True):
            first = np.asarray(arrays[0])
            moved = [
                s
                for s, a in zip(self.sizes.names, arrays[1:], strict=False)
                if np.shape(a) != first.shape or not np.array_equal(np.asarray(a), first)
            ]
            if moved:
                raise SizeDecides(moved, "an array made outside of JAX depends on them")
            out[self.bind(env, vs)] = first
        return out

    def ops(self, made: Block, jaxprs: Sequence[Any], env: dict[Any, Var], outer: tuple[Frame, ...]) -> None:
        if len({len(j.eqns) for j in jaxprs}) > 1:
            raise SizeDecides(self.sizes.names, "the number of operations depends on them")
        whole = wholes(jaxprs[0])
        inside = {n for w in whole.values() for n in w.inside}
        for n, eqns in enumerate(zip(*(j.eqns for j in jaxprs), strict=True)):
            if n in inside:
                continue
            if n in whole:
                self.whole(made, whole[n], n, jaxprs, env, outer)
                continue
            name = eqns[0].primitive.name
            frames = frames_of(eqns[0], outer)
            key = INLINED.get(name)
            leaf = _leaf(eqns[0])
            name = leaf or name
            if name in CUSTOM and (called := _own_rules(eqns[0].params[key or ""], frames)):
                self.customs[called] = None
            if key is not None and leaf is None:
                outside = self.scope, self.called
                self.scope, self.called = self.scoped(eqns[0]), self.called or _called(eqns[0])
                self.inline(made, [e.params[key] for e in eqns], eqns, env, frames)
                self.scope, self.called = outside
                continue
            given = [parameters(e) for e in eqns]
            params = _leaf_params(eqns[0]) if leaf else {k: self.param([p[k] for p in given], frames) for k in given[0]}
            ins = [self.read(env, vs) for vs in zip(*(e.invars for e in eqns), strict=True)]
            outs = [
                self.bind(env, vs, self.windowed(name, ins, params))
                for vs in zip(*(e.outvars for e in eqns), strict=True)
            ]
            made.ops.append(Op(name, ins, outs, params, frames, eqns[0], self.scoped(eqns[0]), self.called))

    def whole(
        self, made: Block, w: Whole, n: int, jaxprs: Sequence[Any], env: dict[Any, Var], outer: tuple[Frame, ...]
    ) -> None:
        """One operation for all those that JAX writes a function out in; its result is that of the last of them."""
        last = jaxprs[0].eqns[n]
        x = self.read(env, [j.eqns[w.first].invars[0] for j in jaxprs])
        y = self.bind(env, [j.eqns[n].outvars[0] for j in jaxprs])
        made.ops.append(Op(w.name, [x], [y], {}, frames_of(last, outer), last, self.scoped(last), self.called))

    def scoped(self, eqn: Any) -> str:
        """The named scopes of an operation; of one inside a function that JAX traced once and kept, the caller's."""
        own = str(eqn.source_info.name_stack)
        return own if own.startswith(self.scope) else self.scope

    def inline(
        self, made: Block, subs: Sequence[Any], eqns: Any, env: dict[Any, Var], frames: tuple[Frame, ...]
    ) -> None:
        jaxprs = [getattr(s, "jaxpr", s) for s in subs]
        inner: dict[Any, Var] = {}
        made.consts.update(self.consts(inner, jaxprs, [getattr(s, "consts", ()) for s in subs]))
        for v, vs in zip(jaxprs[0].invars, zip(*(e.invars for e in eqns), strict=True), strict=True):
            inner[v] = self.read(env, vs)
        self.ops(made, jaxprs, inner, frames)
        for v, vs in zip(eqns[0].outvars, zip(*(j.outvars for j in jaxprs), strict=True), strict=True):
            env[v] = self.read(inner, vs)

    def bind(self, env: dict[Any, Var], vs: Sequence[Any], known: dict[int, Expr] | None = None) -> Var:
        aval = vs[0].aval
        env[vs[0]] = Var(self.shape(vs, known or {}), aval.dtype) if hasattr(aval, "shape") else Var((), None)
        return env[vs[0]]

    def windowed(self, name: str, ins: Sequence[Var], p: dict[str, Any]) -> dict[int, Expr]:
        """The lengths that windows leave of axes, by axis: they are rounded down, which no few numbers show."""
        if name.startswith("reduce_window"):
            each = zip(
                ins[0].shape,
                p["window_dimensions"],
                p["window_strides"],
                p["window_dilation"],
                p["padding"],
                strict=True,
            )
            return {n: _left(*x) for n, x in enumerate(each) if x[2] != 1}
        if name != "conv_general_dilated":
            return {}
        d = p["dimension_numbers"]
        lengths = [(ins[0].shape[n] - 1) * f + 1 for n, f in zip(d.lhs_spec[2:], p["lhs_dilation"], strict=True)]
        widths = [ins[1].shape[n] for n in d.rhs_spec[2:]]
        each = zip(lengths, widths, p["window_strides"], p["rhs_dilation"], p["padding"], strict=True)
        return {n: _left(*x) for n, x in zip(d.out_spec[2:], each, strict=True) if x[2] != 1}

    def read(self, env: dict[Any, Var], vs: Sequence[Any]) -> Var:
        if not isinstance(vs[0], core.Literal):
            return env[vs[0]]
        values, dtype = [v.val for v in vs], getattr(vs[0].aval, "dtype", None)
        first = np.asarray(values[0], dtype)  # a Python number has a dtype here that NumPy would not give it
        if first.ndim or first.dtype.kind not in "fiu" and "float" not in first.dtype.name:  # complex: refused by name
            return Literal(tuple(map(Integer, first.shape)), first.dtype, values[0])
        exact = first.dtype.kind in "iu"
        numbers = [int(v) if exact else float(v) for v in values]
        if len(set(numbers)) <= 1 or any(n != n for n in numbers):
            return Literal((), first.dtype, values[0])
        return Literal((), first.dtype, self.sizes.formula(numbers, 0.0 if exact else 3e-7))

    def shape(self, vs: Sequence[Any], known: dict[int, Expr]) -> tuple[Expr, ...]:
        out = []
        for axis, lengths in enumerate(zip(*(v.aval.shape for v in vs), strict=True)):
            numbers = [int(n) for n in lengths]
            formula = known.get(axis)
            if formula is not None and self.sizes.fits(formula, numbers, 0.0):
                if formula not in self.sizes.windows:
                    self.sizes.windows.append(formula)
                out.append(formula)
            else:
                out.append(_whole(self.sizes.formula(numbers)))
        return tuple(out)

    def param(self, values: list[Any], frames: tuple[Frame, ...]) -> Any:
        """A parameter of an operation: whole numbers are formulas of the sizes, what holds operations is a block."""
        first = values[0]
        if isinstance(first, bool | str | type(None)):
            return first
        if isinstance(first, int | np.integer):
            return _whole(self.sizes.formula([int(v) for v in values]))
        if isinstance(first, float):
            return self.sizes.formula(values, 3e-7)
        if isinstance(first, tuple) and type(first) is tuple:
            if len({len(v) for v in values}) > 1:
                raise SizeDecides(self.sizes.names, "the number of operands depends on them")
            return tuple(self.param(list(v), frames) for v in zip(*values, strict=True))
        if hasattr(first, "eqns") or hasattr(first, "jaxpr"):
            return self.block(values, frames)
        return first


def _own_rules(inner: Any, frames: tuple[Frame, ...]) -> str:
    """A function with derivative rules that are not JAX's own, and where it is called."""
    said = _said(inner)
    if is_jax(said.rpartition(" at ")[2]):
        return ""
    at = f" at {frames[0].shown}" if frames else ""
    return f"{_name(inner)}{at}"


def _said(inner: Any) -> str:
    """What JAX knows of a traced function: ``name at file:line``."""
    return str(getattr(getattr(inner, "jaxpr", inner), "debug_info", None) and inner.jaxpr.debug_info.func_src_info)


def _name(inner: Any) -> str:
    return _said(inner).split(" at ")[0]


def _leaf(eqn: Any) -> str | None:
    """The name of a function of JAX that is a leaf of the language, however JAX computes it."""
    if eqn.primitive.name == "custom_jvp_call":
        inner = eqn.params["call_jaxpr"]
        return OPAQUE.get(_name(inner)) if not _own_rules(inner, ()) else None
    if eqn.primitive.name != "jit" or eqn.params.get("name") not in LEAVES:
        return None
    file, row = LEAVES[eqn.params["name"]]
    whole = np.issubdtype(eqn.outvars[0].aval.dtype, np.integer)
    if row == "floor_divide" and not whole or row == "searchsorted" and not _is_search(eqn):
        return None  # of floats it is computed with another rounding
    return row if _said(eqn.params["jaxpr"]).rpartition(":")[0].endswith(file) else None


def _is_search(eqn: Any) -> bool:
    """Whether it is the search of numbers in one sorted vector, and not a comparison with all of it, which is read as it is."""
    return len(eqn.invars) == 2 and eqn.invars[0].aval.ndim == 1 and _side(eqn) is not None


def _side(eqn: Any) -> str | None:
    """Whether a search counts the elements that are less ("left"), or the equal ones too; by JAX 0.12 it is one operation."""
    for e in getattr(eqn.params["jaxpr"], "jaxpr", eqn.params["jaxpr"]).eqns:
        if "side" in (told := getattr(e.params.get("_prim"), "params", {})):
            return str(told["side"])
    found = {"le_to", "lt_to"} & _primitives(eqn)
    return None if not found else "left" if "le_to" in found else "right"


def _primitives(eqn: Any) -> set[str]:
    """The names of all operations within one."""
    inner = (e for sub in _subs(eqn.params.values()) for e in getattr(sub, "jaxpr", sub).eqns)
    return {eqn.primitive.name}.union(*map(_primitives, inner))


def _called(eqn: Any) -> str:
    """The name of a function of JAX that is called here; none of a function that its author jitted."""
    inner = eqn.params.get("jaxpr")
    if inner is None or "name" not in eqn.params or not is_jax(_said(inner).rpartition(" at ")[2]):
        return ""
    return str(eqn.params["name"]).strip("_")


def _leaf_params(eqn: Any) -> dict[str, Any]:
    """Of a solve: whether its right-hand sides are vectors, which mapped ones are, or the columns of a matrix.

    Of a search: whether it counts the elements that are less, or those that are equal too.
    """
    if "jaxpr" not in eqn.params:
        return {}
    if eqn.params["name"] == "searchsorted":
        return {"side": _side(eqn)}
    inner = eqn.params["jaxpr"].jaxpr
    turned = any(e.primitive.name == "transpose" and e.invars[0] is inner.invars[-1] for e in inner.eqns)
    return {"vectors": not turned}


def _left(length: Expr, width: Expr, stride: Expr, dilation: Expr, padding: tuple[Expr, Expr]) -> Expr:
    """How many windows there are along an axis."""
    return quotient(expand(length + padding[0] + padding[1] - dilation * (width - 1) - 1), int(stride)) + 1


def _whole(value: Expr | float) -> Expr:
    return value if isinstance(value, Expr) else Integer(int(value))


def _needed(block: Block) -> list[Op]:
    """The operations that the outputs need, in order, and those with side effects, which are refused by name."""
    wanted = {id(v) for v in block.outs}
    kept = []
    for op in reversed(block.ops):
        if op.eqn.effects or any(id(v) in wanted for v in op.outs):
            wanted |= {id(v) for v in op.ins}
            kept.append(op)
    return kept[::-1]
