"""Compiled kernels: a generated module, executed, with checks on what it is given.

kern(**arrays)            checks names, shapes and dtypes, then calls fn
kern.fn(*arrays)          the pure, jitted function, for vmap, scan, shard_map, a training step
kern.validate(**arrays)   checks values: ranges, NaN, declared facts
"""

from __future__ import annotations

import builtins
import copy
import functools
import hashlib
import json
import linecache
import os
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from derive.derivation.derivation import Derivation
from derive.language.index import Size
from derive.language.tensor import Tensor
from numerics import files
from numerics.emit.request import Request

from . import inputs as checks
from . import xla
from .custom_vjp import custom_vjp
from .memory import check_results


class Kernel:
    """A compiled derivation.

    Attributes
    ----------
    derivation : Derivation
    source : str
        A standalone, readable JAX module.
    fn : callable
        The pure, jitted function: positional, tensors differentiated for first, then the other inputs by first use.
    inputs : tuple of Tensor
        What ``fn`` takes, in order.
    sizes : dict
        Sizes fixed when compiled, by name.
    request : Request
        What was compiled, with the options it was compiled with.
    choices : tuple of (rule, equation number, reason)
        Emissions that had an alternative.
    module : Module
        What was written, with its tree.
    returned : list of (group, names or None)
        What a call returns, by the names of its groups.
    checked : str
        What :func:`numerics.compile` compared of the module with its equations, or why it did not.
    compiler_options : dict
        What XLA runs this program faster with, for the outermost ``jax.jit(step, compiler_options=...)``; empty where there
        is nothing to be set.  Compile with ``xla=True`` where they are passed.
    evidence : dict or None
        Set by ``nx.verify``; saved beside the source.
    """

    def __init__(self, request: Request) -> None:
        made, written = request.module(), request.written
        if request.own_convolutions and xla.options(made.source, request.backend) is None:
            request = replace(request, own_convolutions=False)  # no option of this XLA gives them
            made = request.module()
        self.request, self.derivation, self.module = request, request.derivation, made
        self.inputs, self.choices = made.inputs, made.choices
        self.sizes = {s.name: n for s, n in request.sizes.items()}
        self.checked = "not checked: check=False"
        self.evidence: dict[str, Any] | None = None
        self.name = request.name or written.name
        self._seen: dict[Size, int] = {}  # the sizes of the last call, for validate() of some of the arrays
        self._unneeded = self.unneeded(written, made.inputs)
        self.returned = [(group, list(v) if isinstance(v, Mapping) else None) for group, v in written.results]
        self._result = result_of(self.returned)
        self.fn = execute(made.source, made.function)
        self._run = xla.outermost(self.fn, self.compiler_options) if request.own_convolutions else self.fn

    @staticmethod
    def unneeded(written: Derivation, inputs: Sequence[Tensor]) -> set[str]:
        """The names of inputs of the definitions that the program does not read."""
        return {t.name for t in (*written.source.inputs, *written.program.inputs)} - {t.name for t in inputs}

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """By what was compiled, and how; it is compiled again where it is loaded."""
        return type(self), (self.request,), {"evidence": self.evidence}

    def __copy__(self) -> Kernel:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo: dict[int, Any]) -> Kernel:
        """Another kernel of the same program, which never changes."""
        made = self.__copy__()
        made.evidence, made._seen = copy.deepcopy(self.evidence, memo), dict(self._seen)
        return made

    @functools.cached_property
    def compiler_options(self) -> dict[str, str]:
        return xla.options(self.module.source, self.request.backend) or {}

    @property
    def source(self) -> str:
        """The generated module; once verified, its header says so."""
        line = (self.evidence or {}).get("summary")
        return self.request.module(line).source if line else self.module.source

    def __call__(self, /, **arrays: Any) -> Any:
        """Loss, gradients and outputs, as a named tuple of arrays and dicts of arrays; of definitions, a dict of arrays.

        Raises
        ------
        numerics.NumericsError
            For missing or unknown names, wrong shapes and dtypes; for a Hessian or Jacobian that does not fit in memory,
            with its bytes.  Values are checked by :meth:`validate`.
        """
        given = self._ordered(arrays)
        check_results(
            self.request.written,
            self._seen,
            next((a.dtype.itemsize for a, t in zip(given, self.inputs, strict=True) if t.dtype == "float"), 4),
        )
        return self._result(self._run(*given))

    def _ordered(self, arrays: dict[str, Any]) -> list[Any]:
        self._seen = checks.check_arrays(
            self.inputs, arrays, self.request.sizes, self.derivation.program, self._unneeded
        )
        floats = (arrays[t.name] for t in self.inputs if t.dtype == "float")
        dtype = next((a.dtype for a in floats if hasattr(a, "dtype")), np.float32)
        return [checks.as_given(t, arrays[t.name], dtype) for t in self.inputs]

    def validate(self, /, **arrays: Any) -> list[str]:
        """Check the values of some or all inputs: integer ranges, NaN and infinity, declared facts.

        Sizes that these arrays do not fix are those of the last call.

        Returns
        -------
        list of str
            A line for each check, also for one that could not be made.

        Raises
        ------
        numerics.NumericsError
            Naming the tensor, the first position (or the largest violation), and what was declared.
        """
        return checks.check_values(
            self.inputs, arrays, self.request.sizes, self.derivation.program, self._unneeded, self._seen
        )

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the module (and its evidence, as JSON beside it); a reader never sees half a file."""
        path = Path(path)
        files.write(path, self.source)
        if self.evidence is not None:
            files.write(path.with_suffix(".json"), json.dumps(self.evidence, indent=2, default=str) + "\n")
        return path

    def as_custom_vjp(self) -> Callable[..., Any]:
        """A function of the inputs, in order, that JAX can differentiate; see :mod:`numerics.kernel.custom_vjp`."""
        return custom_vjp(self)

    def _repr_html_(self) -> str:
        """The module, in the colours of a listing (by Pygments, which every notebook brings)."""
        title = f"<p>{escape(repr(self))}</p>"
        try:
            from pygments import highlight
            from pygments.formatters import HtmlFormatter
            from pygments.lexers import PythonLexer
        except ImportError:
            return f"<div>{title}<pre>{escape(self.source)}</pre></div>"
        return f"<div>{title}{highlight(self.source, PythonLexer(), HtmlFormatter(noclasses=True, nobackground=True))}</div>"

    def __repr__(self) -> str:
        arguments = ", ".join(t.name for t in self.inputs)
        groups = [group for group, _ in self.returned]
        returned = self.returned[0][1] or () if groups == ["outputs"] else groups
        return f"<kernel {self.name}({arguments}) -> {', '.join(returned)}>"


def result_of(fields: Sequence[tuple[str, list[Any] | None]]) -> Callable[[Any], Any]:
    """What is made of what a program returns, groups with their names: a named tuple; of outputs alone the dict, in the
    order asked for."""
    if [group for group, _ in fields] == ["outputs"]:
        names = tuple(fields[0][1] or ())
        return lambda found: {n: found[n] for n in names}
    return _result_type(tuple(group for group, _ in fields))._make


@functools.cache
def _result_type(fields: tuple[str, ...]) -> Any:
    return namedtuple("Result", fields)


def execute(source: str, function: str) -> Callable[..., Any]:
    """Run a generated module and give its function; its lines are registered, so tracebacks show them."""
    digest = hashlib.sha256(source.encode()).hexdigest()[:12]
    filename = f"<generated {function} {digest}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    namespace: dict[str, Any] = {"__name__": f"generated_{digest}"}
    exec(builtins.compile(source, filename, "exec"), namespace)  # noqa: S102  our own text; every name is mapped
    return namespace[function]
