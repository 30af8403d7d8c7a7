"""Compiled kernels: a generated module, executed, with checks on what it is given.

``nx.compile(d)`` writes the source of a derivation (:mod:`numerics.emit`), executes it, and wraps it:

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
import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np

from derive.derivation.derivation import Derivation
from derive.language.index import Size

from . import inputs as checks
from .custom_vjp import custom_vjp
from .emit import module
from .errors import NumericsError, SizeError
from .memory import check_results

FORMS = ("dense", "structured")


def compile(
    d: Derivation, sizes=None, dense=False, name=None, patterns=None, form="dense", checkpoint_every: int | None = None
) -> Kernel:
    """Write, execute and wrap the JAX program of a derivation.

    Parameters
    ----------
    d : Derivation
        From ``dv.backprop``, ``dv.vjp`` and their kin.
    sizes : dict, optional
        Sizes that no array fixes, by name: ``{"S": 2}``.  Sizes that an array fixes may be given too; they are then
        fixed in the source, and an array that disagrees is refused.
    dense : bool
        Write the generic fallback: every term on the full grid of its indices.  Slow, and right by inspection.
    name : str, optional
        The title of the module.
    patterns : dict, optional
        Emissions to use whatever the cost rule says, as ``{"kernel-gradient": "taps", "pool": "windows"}``; what there
        is stands in :mod:`numerics.emit.choose`, and ``kern.choices`` says what was chosen and why.
    form : str
        For Hessians: "dense" returns full arrays; "structured" the compact arrays of equations whose brackets tie
        axes (a diagonal, a Kronecker factor, a low rank), as :class:`numerics.structured.Block` s, which are full
        arrays on demand.

    checkpoint_every : int, optional
        Recurrences keep the carry of every so many steps only; the steps between are computed again in the reverse
        pass, from the same derived equations (no autodiff).  About the square root of the length uses least memory; the
        header of the source says what is kept.

    Returns
    -------
    Kernel

    Raises
    ------
    numerics.NumericsError
        For a size that nothing fixes, or a ``checkpoint_every`` that nothing can be made of.
    derive.UnsupportedError
        For a construct that no emission knows.

    Examples
    --------
    >>> import derive as dv, numerics as nx
    >>> b, i = dv.indices("b i")
    >>> x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    >>> loss = dv.define("loss", (), dv.Sum((x[b, i] * w[i])**2, b, i))
    >>> kern = nx.compile(dv.backprop(loss, wrt=[w]))
    >>> [t.name for t in kern.inputs]
    ['w', 'x']
    """
    if not isinstance(d, Derivation):
        raise NumericsError(f"nx.compile({type(d).__name__}): takes a derivation, as dv.backprop(loss, wrt) returns it")
    fixed = {}
    for key, value in (sizes or {}).items():
        size = key if isinstance(key, Size) else Size(str(key))
        if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 0:
            raise SizeError(f"nx.compile: size {size.name} = {value!r}: give a whole number")
        fixed[size] = int(value)
    unknown = sorted({s.name for s in fixed} - {s.name for s in d.program.sizes()} - {s.name for s in d.source.sizes()})
    if unknown:
        known = ", ".join(s.name for s in d.program.sizes()) or "none"
        raise SizeError(f"nx.compile: size {unknown[0]!r} is not in this derivation; its sizes are {known}")
    if form not in FORMS:
        raise NumericsError(f"nx.compile(form={form!r}): give one of {', '.join(map(repr, FORMS))}")
    if form == "dense":
        check_results(d, fixed)
    if checkpoint_every is not None and (dense or form == "structured"):
        raise NumericsError("nx.compile: checkpoint_every is for the usual emission; leave out dense= and form=")
    if form == "structured":
        from .structured import StructuredKernel

        return StructuredKernel(d, fixed, dense, name, patterns)
    made = module.emit(d, fixed, dense, name, patterns=patterns, checkpoint_every=checkpoint_every)
    return Kernel(d, made, fixed, dense, name, patterns, checkpoint_every)


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
    choices : tuple of (rule, equation number, reason)
        Emissions that had an alternative.
    evidence : dict or None
        Set by ``nx.verify``; saved beside the source.
    """

    def __init__(self, d: Derivation, made, fixed, dense=False, name=None, patterns=None, checkpoint_every=None):
        self.derivation, self.inputs, self.choices = d, made.inputs, made.choices
        self.sizes = {s.name: n for s, n in fixed.items()}
        self.evidence: dict | None = None
        self.name = name or d.name
        self._seen: dict = {}  # the sizes of the last call, for validate() of some of the arrays
        self._made, self._fixed, self._dense, self._patterns = made, fixed, dense, patterns
        self._every = checkpoint_every
        self._returned = d  # whose results are the arrays that fn returns
        self._unneeded = {t.name for t in (*d.source.inputs, *d.program.inputs)} - {t.name for t in made.inputs}
        self._result = _result_type(tuple(field for field, _ in d.results))
        self.fn = _execute(made)

    def __reduce_ex__(self, protocol):
        """By its derivation and how it was compiled; it is compiled again where it is loaded."""
        form = "dense" if type(self) is Kernel else "structured"
        how = (self.derivation, self.sizes, self._dense, self.name, self._patterns, form, self._every)
        return compile, how, {"evidence": self.evidence}

    def __copy__(self) -> Kernel:
        made = object.__new__(type(self))
        made.__dict__.update(self.__dict__)
        return made

    def __deepcopy__(self, memo) -> Kernel:
        """Another kernel of the same program, which never changes."""
        made = self.__copy__()
        made.evidence, made._seen = copy.deepcopy(self.evidence, memo), dict(self._seen)
        return made

    @property
    def source(self) -> str:
        """The generated module; once verified, its header says so."""
        line = (self.evidence or {}).get("summary")
        if not line:
            return self._made.source
        return module.emit(
            self.derivation, self._fixed, self._dense, self.name, line, self._patterns, self._every
        ).source

    def __call__(self, /, **arrays):
        """Loss, gradients and outputs, as a named tuple of arrays and dicts of arrays.

        Raises
        ------
        numerics.NumericsError
            For missing or unknown names, wrong shapes and dtypes; for a Hessian or Jacobian that does not fit in memory,
            with its bytes.  Values are checked by :meth:`validate`.
        """
        given = self._ordered(arrays)
        check_results(
            self._returned,
            self._seen,
            next((a.dtype.itemsize for a, t in zip(given, self.inputs, strict=True) if t.dtype == "float"), 4),
        )
        return self._result(*self.fn(*given))

    def _ordered(self, arrays) -> list:
        self._seen = checks.check_arrays(self.inputs, arrays, self._fixed, self.derivation.program, self._unneeded)
        floats = (arrays[t.name] for t in self.inputs if t.dtype == "float")
        dtype = next((a.dtype for a in floats if hasattr(a, "dtype")), np.float32)
        return [checks.as_given(t, arrays[t.name], dtype) for t in self.inputs]

    def validate(self, /, **arrays) -> list[str]:
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
            self.inputs, arrays, self._fixed, self.derivation.program, self._unneeded, self._seen
        )

    def save(self, path) -> Path:
        """Write the module (and its evidence, as JSON beside it); a reader never sees half a file."""
        path = Path(path)
        _write_atomically(path, self.source)
        if self.evidence is not None:
            _write_atomically(path.with_suffix(".json"), json.dumps(self.evidence, indent=2, default=str) + "\n")
        return path

    def as_custom_vjp(self):
        """A function of the inputs, in order, that JAX can differentiate; see :mod:`numerics.custom_vjp`."""
        return custom_vjp(self)

    def __repr__(self):
        arguments = ", ".join(t.name for t in self.inputs)
        return f"<kernel {self.name}({arguments}) -> {', '.join(n for n, _ in self.derivation.results)}>"


@functools.cache
def _result_type(fields):
    return namedtuple("Result", fields)


def _execute(made):
    """Run the generated module; its lines are registered, so tracebacks show them."""
    digest = hashlib.sha256(made.source.encode()).hexdigest()[:12]
    filename = f"<generated {made.function} {digest}>"
    linecache.cache[filename] = (len(made.source), None, made.source.splitlines(keepends=True), filename)
    namespace = {"__name__": f"generated_{digest}"}
    exec(builtins.compile(made.source, filename, "exec"), namespace)  # noqa: S102  our own text; every name is mapped
    return namespace[made.function]


def _write_atomically(path: Path, text: str) -> None:
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as f:
            f.write(text)
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise
