"""A plain function of torch tensors, called on JAX arrays: what ``forward=`` is beside a ``torch.autograd.Function``.

It is exported as modules are, and run by the same table of operations.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from derive.language.errors import UnsupportedError
from numerics.errors import InputError

from .torch_graph import Graph


def in_jax(f: Callable[..., Any]) -> Callable[..., Any]:
    """The function of JAX arrays that a function of torch tensors is.

    A graph is one of all lengths that torch leaves open; at others the function is exported again.
    """
    graphs: dict[Any, list[Graph]] = {}

    def called(*args: Any) -> Any:
        leaves, tree = jax.tree_util.tree_flatten(args)
        places = [n for n, a in enumerate(leaves) if hasattr(a, "shape")]
        arrays = [jnp.asarray(leaves[n]) for n in places]
        options = [None if n in places else a for n, a in enumerate(leaves)]

        def of(*tensors: Any) -> Any:
            put = dict(zip(places, tensors, strict=True))
            return f(*jax.tree_util.tree_unflatten(tree, [put.get(n, a) for n, a in enumerate(options)]))

        known = graphs.setdefault((tree, str(options), *(str(a.dtype) for a in arrays)), [])
        try:
            graph = next((g for g in known if _fits(g, arrays)), None)
            if graph is None:
                known.append(graph := _exported(of, arrays))
            return graph.returned(arrays)
        except (UnsupportedError, InputError) as error:
            raise type(error)(str(error).replace("nx.from_torch", "nx.check_vjp: forward=", 1)) from error

    called.__wrapped__ = f  # type: ignore[attr-defined]  # what inspect.signature follows
    called.__name__ = getattr(f, "__name__", "function")
    return called


def _exported(f: Callable[..., Any], arrays: Sequence[Any]) -> Graph:
    """The function's graph at the shapes of arrays, of whatever values."""
    import torch

    class Function(torch.nn.Module):
        def forward(self, *args: Any) -> Any:
            return f(*args)

    tensors = [torch.as_tensor(np.ones(a.shape, a.dtype)) for a in arrays]
    auto = torch.export.Dim.AUTO
    specs = [{n: auto for n, m in enumerate(a.shape) if m > 1} for a in arrays]
    return Graph(Function(), tensors, specs, lambda label: label >= 0)


def _fits(graph: Graph, arrays: Sequence[Any]) -> bool:
    fixed = [graph.shapes[g.node] for g in graph.given if g.kind == "argument"]
    return all(
        n is None and m > 1 or n == m
        for own, a in zip(fixed, arrays, strict=True)
        for n, m in zip(own, a.shape, strict=True)
    )
