"""A torch module as ``torch.export`` reads it, before decomposition, run in JAX by the table of aten operations."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

from derive.language.errors import UnsupportedError
from numerics.errors import InputError

from .aten import (  # noqa: F401  their rows
    embeddings,
    images,
    losses,
    matrices,
    places,
    pointwise,
    products,
    recurrent,
    reductions,
    shapes,
    windows,
)
from .aten.table import ATEN, NotCovered, refuse
from .source import Frame, standing, statement
from .torch_checks import as_it_was, identifier
from .torch_export import exported

_HERE = str(Path(__file__).parent)
_UNSEEN = ("torch/nn/modules/", "torch/_dynamo", "torch/export", "torch/_export", "torch/fx", "<eval_with_key>")
_LINE = re.compile(r'File "(.+)", line (\d+), in (\S+)')
_LEFT_OUT = {"device", "layout", "pin_memory", "memory_format", "non_blocking", "copy"}
_OF_DTYPE = {
    *("zeros", "ones", "full", "zeros_like", "ones_like", "full_like", "new_zeros", "new_ones", "new_full"),
    *("arange", "eye", "linspace", "scalar_tensor", "to", "_to_copy", "type_as"),
}
_RECURRENT = ("lstm", "gru", "rnn_tanh", "rnn_relu")
_CHECKS = ("_assert_scalar", "_assert_async", "_assert_tensor_metadata", "sym_constrain_range", "_guards_fn")
_OF_NUMBERS = ("_operator", "builtins", "math")
_VIEWS = {
    *("view", "reshape", "_unsafe_view", "transpose", "permute", "slice", "select", "squeeze", "unsqueeze", "expand"),
    *("t", "narrow", "flatten", "unflatten", "detach", "split", "chunk", "unbind", "diagonal", "alias", "contiguous"),
    *("split_with_sizes", "movedim", "view_as", "expand_as", "to", "getitem", "dropout", "lift_fresh"),
}


@dataclass(frozen=True)
class Given:
    """What a graph reads: a parameter, a buffer or a constant under its name in the state, or an argument."""

    kind: str  # "parameter", "buffer", "constant", "argument"
    node: str
    target: str
    value: Any = None


class Graph:
    """The exported operations of a module; ``run`` computes them in JAX.

    Attributes
    ----------
    given : list of Given
        In the order of the graph.
    shapes : dict of str to tuple
        By node, the lengths that torch fixed; None for those that it left open.
    updated : tuple of str
        Buffers that the module updates beside what it returns, as running averages are.
    kept : tuple of str
        Attributes in which the module keeps what it computes; they are put back.
    """

    def __init__(self, module: Any, args: Sequence[Any], specs: Any, masked: Callable[[int], bool]):
        import torch

        self._torch = torch
        self._masked = masked
        self._specs = specs
        self._exports = module
        with as_it_was(module) as kept:
            self.program = exported(module, args, specs)
        self.kept = tuple(sorted(kept))
        self.nodes = list(self.program.graph.nodes)
        self.given = self._given()
        self.shapes = {n.name: _fixed(n.meta.get("val")) for n in self.nodes if n.op == "placeholder"}
        self.frames = {n: self._frames(n) for n in self.nodes}
        self.updated = self._mutations()

    def is_same_at(self, args: Sequence[Any]) -> bool:
        """Whether the operations are the same, with every number in them, at arguments of other shapes."""
        try:
            with as_it_was(self._exports):
                return str(exported(self._exports, args, self._specs).graph) == str(self.program.graph)
        except (InputError, UnsupportedError):
            return False

    def _given(self) -> list[Given]:
        from torch.export.graph_signature import InputKind

        kinds = {InputKind.PARAMETER: "parameter", InputKind.BUFFER: "buffer", InputKind.CONSTANT_TENSOR: "constant"}
        out = []
        for spec in self.program.graph_signature.input_specs:
            kind = kinds.get(spec.kind)
            if kind is None and spec.kind != InputKind.USER_INPUT:
                raise UnsupportedError(f"nx.from_torch: the module reads a {spec.kind.name.lower()}; accepted: tensors")
            value = self.program.constants.get(spec.target) if kind == "constant" else None
            try:
                value = None if value is None else array(value)
            except RuntimeError as error:
                raise UnsupportedError(
                    "nx.from_torch: a tensor that torch makes while it traces stands in the module, as derivatives inside it "
                    "do (torch.func.grad); accepted: the function, and m.backprop(), m.hessian(), m.hvp()"
                ) from error
            if kind in ("parameter", "buffer"):
                value = self.program.state_dict.get(spec.target, self.program.constants.get(spec.target))
            out.append(Given(kind or "argument", spec.arg.name, (spec.target or "").removeprefix("module."), value))
        return out

    # -- where operations stand ---------------------------------------------------------------------------------------

    def _frames(self, node: Any) -> tuple[Frame, ...]:
        """The lines that led to an operation, innermost first, and the module that it is of as one that names it."""
        lines = _LINE.findall(node.meta.get("stack_trace") or "")[::-1]
        ours = next((n for n, (file, _, _) in enumerate(lines) if file.startswith(_HERE)), len(lines))
        found = [
            Frame(file, int(line), function)
            for file, line, function in lines[:ours]  # beyond are those who call from_torch
            if not any(part in file for part in _UNSEEN)
        ]
        stack = [(path.removeprefix("module").lstrip("."), str(kind)) for path, kind in _modules(node)]
        path = stack[-1][0] if stack else ""
        if not path or path == "loss":
            whole = stack[-1][1].rpartition(".")[2].strip("'>") if len(stack) > 1 and not path else "loss"
            return tuple(found) or (Frame(f"<{whole}>", 0, whole),)
        first = next((n for n, f in enumerate(found) if not f.is_library), len(found))
        named = any(statement(f)[1] for f in found[first:])
        if named and not (len(stack) > 1 and "torch.nn.modules" in stack[-2][1]):
            return tuple(found)  # the author's own line calls it
        name = identifier(path)
        own = Frame(f"<{path}>", 0, path, ("h" + name[1:] if name.startswith("p_") else name,), named)
        return (*found[:first], own, *found[first:])

    # -- mutation -----------------------------------------------------------------------------------------------------

    def _mutations(self) -> tuple[str, ...]:
        """Refuse what writes into a tensor that is read again; an operation in place of its operand is that operation."""
        place = {n: k for k, n in enumerate(self.nodes)}
        buffers = {g.node: g.target for g in self.given if g.kind == "buffer"}
        updated = []
        for node in self.nodes:
            if node.op != "call_function" or not _writes(node):
                continue
            to = node.args[0]
            if to.op == "placeholder":
                if to.name in buffers and len(to.users) == 1 and not node.users:
                    updated.append(buffers[to.name])
                    continue
                self._refuse_write(node, "it changes " + (buffers.get(to.name) or to.name))
            later = [u for u in to.users if place[u] > place[node]]
            if later or not _is_own(to) or any(_base(u) in _VIEWS for u in to.users if u is not node):
                self._refuse_write(node, "it changes a tensor that is read again, or a part of one")
        for node in self.nodes:
            if _base(node) == "batch_norm" and len(node.args) > 5 and node.args[5] and node.args[3] is not None:
                updated += [buffers[a.name] for a in node.args[3:5] if a.name in buffers]
        return tuple(updated)

    def _refuse_write(self, node: Any, why: str) -> None:
        refuse(
            _name(node),
            self._shapes(node),
            self._stand(node),
            f"{why}: mutation has no meaning in a list of definitions; accepted: a new tensor, as x = x + 1, torch.where, "
            f"torch.cat",
        )

    # -- running ------------------------------------------------------------------------------------------------------

    def returned(self, arguments: Sequence[Any]) -> Any:
        """What the module returns of its arguments, in its structure, its parameters and buffers as they are."""
        remaining = iter(arguments)
        values = {
            g.node: next(remaining) if g.kind == "argument" else jax.numpy.asarray(array(g.value)) for g in self.given
        }
        return self._torch.utils._pytree.tree_unflatten(self._run(values), self.program.call_spec.out_spec)

    def run(self, values: Mapping[str, Any]) -> list[Any]:
        """What the module returns, one for each tensor, of the values by the name of their node."""
        return [x for x in self._run(values) if hasattr(x, "dtype")]

    def _run(self, values: Mapping[str, Any], nodes: Any = None, owner: Any = None) -> list[Any]:
        env: dict[Any, Any] = {}
        owner = owner or self.program.graph_module
        for node in nodes or self.nodes:
            if node.op == "placeholder":
                env[node] = values.get(node.name)
            elif node.op == "get_attr":
                env[node] = getattr(owner, node.target, None)
            elif node.op == "output":
                outs: list[Any] = self._value(env, node.args[0])
                return outs
            elif node.op == "call_function" and not (_writes(node) and not node.users):
                with standing(self._stand(node)):
                    env[node] = self._call(node, env)
        raise AssertionError("a graph ends with its output")

    def _stand(self, node: Any) -> tuple[Frame, ...]:
        """The lines of an operation, also of one in a graph within the graph."""
        if node not in self.frames:
            self.frames[node] = self._frames(node)
        return self.frames[node]

    def _within(self, node: Any, env: dict[Any, Any]) -> list[Any]:
        """What a graph within the graph returns: that of ``with torch.no_grad():``, which is constant.

        Raises
        ------
        UnsupportedError
            For those of other functions.
        """
        name = node.target.__name__
        if name != "wrap_with_set_grad_enabled":
            refuse(name, self._shapes(node), self._stand(node))
        enabled, inner, *args = self._value(env, node.args)
        names = [n.name for n in inner.graph.nodes if n.op == "placeholder"]
        found = self._run(dict(zip(names, args, strict=True)), list(inner.graph.nodes), inner)
        return found if enabled else [jax.lax.stop_gradient(x) for x in found]

    def _call(self, node: Any, env: dict[Any, Any]) -> Any:
        if not hasattr(node.target, "_schema"):  # numbers, parts of tuples, graphs within the graph
            if "HigherOrderOperator" in {c.__name__ for c in type(node.target).__mro__}:
                return self._within(node, env)
            if getattr(node.target, "__module__", "") not in _OF_NUMBERS and not _name(node).startswith("sym_"):
                refuse(_name(node), self._shapes(node), self._stand(node))
            return node.target(*self._value(env, node.args), **self._value(env, node.kwargs))
        name = _name(node)
        base = _base(node)
        if base in _CHECKS:
            return None
        if base == "sym_size":
            return env[node.args[0]].shape[node.args[1]]
        if base == "sym_numel":
            return env[node.args[0]].size
        row = ATEN.get(f"{base}.{name.partition('.')[2]}") or ATEN.get(base)
        if row is None or node.target.namespace != "aten":
            refuse(name if node.target.namespace == "aten" else str(node.target), self._shapes(node), self._stand(node))
        if "max_pool" in base and any(
            getattr(u.target, "__name__", "") == "getitem" and u.args[1] == 1 and u.users for u in node.users
        ):
            refuse(name, self._shapes(node), self._stand(node), "places of maxima are read; accepted: the maxima alone")
        args = self._value(env, node.args)
        kwargs = {k: self._value(env, v) for k, v in node.kwargs.items() if k not in _LEFT_OUT}
        if base in _RECURRENT and not isinstance(args[0], list) and _is_zero(node.args[1]):
            args[1] = None  # zeros of the hidden size, which the weights say
        if base == "embedding_bag" and (length := _stride(node.args[2])) is not None:
            args[2] = self._value(env, length)  # bags of one length
        if base in _OF_DTYPE:
            kwargs["dtype"] = self._dtype(node.meta["val"].dtype)
        if base in ("cross_entropy_loss", "nll_loss_nd", "nll_loss", "nll_loss2d"):
            schema = [a.name for a in node.target._schema.arguments]
            given = dict(zip(schema, args, strict=False)) | kwargs
            kwargs["masked"] = self._masked(int(given.get("ignore_index", -100)))
        try:
            return row(*args, **kwargs)
        except NotCovered as why:
            refuse(name, self._shapes(node), self._stand(node), str(why))
        except TypeError as error:
            if "argument" not in str(error):
                raise
            refuse(name, self._shapes(node), self._stand(node), f"an option of it is not covered ({error})")

    def _value(self, env: dict[Any, Any], x: Any) -> Any:
        torch = self._torch
        if isinstance(x, torch.fx.Node):
            return env[x]
        if isinstance(x, dict):
            return {k: self._value(env, v) for k, v in x.items()}
        if isinstance(x, list | tuple):
            return [self._value(env, v) for v in x]
        if isinstance(x, torch.dtype):
            return self._dtype(x)
        return x

    def _dtype(self, dtype: Any) -> Any:
        return jax.dtypes.canonicalize_dtype(np.dtype(str(dtype).removeprefix("torch.")))

    def _shapes(self, node: Any) -> str:
        vals = [a.meta.get("val") for a in node.all_input_nodes]
        tensors = [v for v in vals if hasattr(v, "shape")]
        return ", ".join(
            f"{str(v.dtype).removeprefix('torch.')}[{', '.join(_length(n) for n in v.shape)}]" for v in tensors
        )


def array(x: Any) -> Any:
    """A tensor of torch, or an array, as NumPy's."""
    return x.detach().cpu().numpy() if hasattr(x, "detach") else np.asarray(x) if not hasattr(x, "dtype") else x


def _modules(node: Any) -> list[tuple[str, Any]]:
    """The modules that an operation is of, from the outside: path and class."""
    return list((node.meta.get("nn_module_stack") or {}).values())


def _name(node: Any) -> str:
    """``linear.default`` as it stands in the table: without the overload where that is the default one."""
    target = node.target
    if not hasattr(target, "_schema"):
        return getattr(target, "__name__", str(target))
    base = target._schema.name.split("::")[1]
    base = base[:-1] if _writes(node) and base.endswith("_") else base
    overload = target._schema.overload_name
    return f"{base}.{overload or 'default'}"


def _base(node: Any) -> str:
    return _name(node).split(".")[0]


def _writes(node: Any) -> bool:
    schema = getattr(node.target, "_schema", None)
    return schema is not None and schema.is_mutable and schema.name.endswith("_") and not schema.name.endswith("__")


def _is_zero(states: Any) -> bool:
    """Whether the states before the start are made as zeros."""
    each = states if isinstance(states, list | tuple) else [states]
    return all(_base(n) == "zeros" for n in each)


def _stride(offsets: Any) -> Any:
    """The step of ``arange(0, end, step)``; None for other offsets."""
    found = _name(offsets) == "arange.start_step" and offsets.args[0] == 0 and len(offsets.args) > 2
    return offsets.args[2] if found else None


def _is_own(node: Any) -> bool:
    """Whether a value is a tensor of its own and no view of another."""
    return node.op == "call_function" and _base(node) not in _VIEWS


def _fixed(value: Any) -> tuple[int | None, ...]:
    return tuple(n if isinstance(n, int) else None for n in getattr(value, "shape", ()))


def _length(size: Any) -> str:
    """A length as it is in the example, where torch left it open too."""
    return str(size if isinstance(size, int) else getattr(size.node, "hint", size))
