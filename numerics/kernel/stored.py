"""Kernels of a program that was derived, written and checked before, in another process: from the text that was kept.

What runs a kernel is its text, its inputs and the names of what it returns.  The derivation and the written tree are made
when somebody asks for them, from the definitions, as they were then.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jaxlib

from derive.derivation.fingerprint import fingerprint
from derive.language.index import Size
from derive.language.tensor import Tensor
from numerics.emit.module import Module
from numerics.emit.request import Request

from . import xla
from .kernel import Kernel, execute, result_of
from .store import Store


class StoredKernel(Kernel):
    """A kernel whose text was kept; its request, with the derivation, is made when it is needed."""

    def __init__(self, kept: Mapping[str, Any], inputs: Mapping[str, Tensor], make: Callable[[], Request]) -> None:
        self._make, self._kept, self.name = make, dict(kept), kept["name"]
        self.inputs = tuple(inputs[n] for n in kept["inputs"])
        self.choices = tuple((rule, number, reason) for rule, number, reason in kept["choices"])
        self.sizes = dict(kept["sizes"])
        self.checked, self.evidence = kept["checked"], None
        self._seen: dict[Size, int] = {}
        self.returned = [(group, names) for group, names in kept["results"]]
        self._result = result_of(self.returned)
        self.compiler_options = xla.options(kept["source"], kept["backend"]) or {}
        self.fn = execute(kept["source"], kept["function"])
        self._run = xla.outermost(self.fn, self.compiler_options) if kept["own_convolutions"] else self.fn

    @functools.cached_property
    def request(self) -> Request:  # type: ignore[override]
        return self._make()

    @functools.cached_property
    def derivation(self) -> Any:  # type: ignore[override]
        return self.request.derivation

    @functools.cached_property
    def module(self) -> Module:  # type: ignore[override]
        return self.request.module()

    @functools.cached_property
    def _unneeded(self) -> set[str]:  # type: ignore[override]
        return Kernel.unneeded(self.request.written, self.inputs)

    @property
    def source(self) -> str:
        return str(self._kept["source"]) if self.evidence is None else super().source

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Kernel, (self.request,), {"evidence": self.evidence}


def kernel(
    store: Store | None,
    tensors: Iterable[Tensor],
    said: Iterable[Any],
    inputs: Callable[[], Mapping[str, Tensor]],
    compiled: Callable[[], Kernel],
) -> Kernel:
    """The kernel of definitions, by the store where it has it; else compiled, and kept.

    Parameters
    ----------
    tensors : iterable of Tensor
        What is derived from: the loss, what is differentiated for, the outputs.
    said : iterable
        All else that the text depends on, printable: titles, sizes, options, the backend.
    inputs : callable
        The inputs of the program by name, or more.
    compiled : callable
        Derives and compiles.
    """
    written = fingerprint(tensors) if store is not None else None
    if store is None or written is None:
        return compiled()
    key = json.dumps([written, [repr(s) for s in said], jax.__version__, jaxlib.__version__])
    kept = store.get(key)
    if kept is not None:
        try:
            if not (kept["own_convolutions"] and xla.options(kept["source"], kept["backend"]) is None):
                return StoredKernel(kept, inputs(), lambda: compiled().request)
        except Exception:  # noqa: S110  an entry of something else, whatever it raises
            pass
    made = compiled()
    store.put(key, entry(made))
    return made


def entry(kern: Kernel) -> dict[str, Any]:
    """What is kept of a kernel, as plain data."""
    return {
        "source": kern.module.source,
        "function": kern.module.function,
        "name": kern.name,
        "inputs": [t.name for t in kern.inputs],
        "choices": [list(c) for c in kern.choices],
        "sizes": kern.sizes,
        "checked": kern.checked,
        "results": kern.returned,
        "backend": kern.request.backend,
        "own_convolutions": kern.request.own_convolutions,
    }
