"""``nx.compile(d)``: write the program of a derivation (:mod:`numerics.emit`), execute it, and wrap it as a kernel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from derive.derivation.derivation import Derivation
from derive.language.index import Size
from derive.language.tensor import Tensor
from numerics.emit.request import Request

from .first_check import first_check
from .kernel import Kernel
from .memory import check_results
from .parts import in_parts
from .structured import StructuredKernel
from .xla import default_backend


def compile(
    d: Derivation | Tensor | Sequence[Tensor],
    sizes: Mapping[str | Size, int] | None = None,
    dense: bool = False,
    name: str | None = None,
    patterns: Mapping[str, str] | None = None,
    form: str = "dense",
    checkpoint_every: int | None = None,
    backend: str | None = None,
    xla: bool = False,
    check: bool = True,
    parts: Mapping[str, int] | None = None,
    native: bool = False,
) -> Kernel:
    """Write, execute and wrap the JAX program of a derivation, or of definitions alone.

    Parameters
    ----------
    d : Derivation, Tensor or sequence of Tensors
        From ``dv.backprop``, ``dv.vjp`` and their kin; or definitions, of any shape and dtype, that are computed and not
        differentiated: ``nx.compile([z, p])(x=...)`` is ``{"z": ..., "p": ...}``.
    sizes : dict, optional
        Sizes that no array fixes, by name: ``{"S": 2}``.  Sizes that an array fixes may be given too; they are then
        fixed in the source, and an array that disagrees is refused.
    dense : bool
        Write the generic fallback: every term on the full grid of its indices.  Slow, and right by inspection.
    name : str, optional
        The title of the module.
    patterns : dict, optional
        Emissions to use whatever the cost rule says, as ``{"kernel-gradient": "taps", "pool": "windows"}``; what there
        is stands in :mod:`numerics.emit.source.choose`, and ``kern.choices`` says what was chosen and why.
    form : str
        For Hessians: "dense" returns full arrays; "structured" the compact arrays of equations whose brackets tie
        axes (a diagonal, a Kronecker factor, a low rank), as :class:`numerics.kernel.structured.Block` s, which are
        full arrays on demand.
    checkpoint_every : int, optional
        Recurrences keep the carry of every so many steps only; the steps between are computed again in the reverse
        pass, from the same derived equations (no autodiff).  About the square root of the length uses least memory; the
        header of the source says what is kept.
    backend : str, optional
        "cpu", "gpu" or "tpu": whose rules choose between emissions.  JAX's default backend if not given.
    xla : bool
        That whoever jits around ``kern.fn`` passes ``kern.compiler_options``:
        ``jax.jit(step, compiler_options=kern.compiler_options)``.  The cost rule then counts on what they change, which is
        convolutions on CPUs; without them such a module is slow.  A call of the kernel itself passes them.
    check : bool
        Whether the written module is compared with its equations, once, at small sizes, before it is returned; what was
        compared, or why nothing was, is ``kern.checked``.  Equal modules are checked once in a process.

    parts : dict, optional
        ``{"B": 4}``: arrays hold one of 4 equal parts of that axis, as inside ``jax.shard_map``, and what the loss divides by
        is the whole: results add up over the parts (``lax.psum``).  Refused where they do not, at small sizes.
    native : bool
        Equations that go over the same rows may be one loop over them in C, generated from the same equations and called by
        XLA on a CPU, where that moves much less, and sums of products over windows (convolutions and their gradients) tiles
        within one, on XLA's threads; ``kern.choices`` says which.  It is built when it is checked or first
        called, by the C compiler that ``CC`` names (else ``cc``, else that of the extra ``native``), once for a machine, into
        the folder of ``DERIVE_CACHE``.  Without a compiler the plain lines run, which is said once; arrays that are neither
        float32 nor float64 run by them always.

    Returns
    -------
    Kernel

    Raises
    ------
    numerics.NumericsError
        For a size that nothing fixes, or a ``checkpoint_every`` that nothing can be made of; for a module that is not what
        its equations say, with the first equation that differs.
    derive.UnsupportedError
        For a construct that no emission knows.
    derive.DeriveError
        For definitions that are none, such as an input.

    Examples
    --------
    >>> import derive as dv, numerics as nx
    >>> b, i = dv.indices("b i")
    >>> x, w = dv.tensor("x", b, i), dv.tensor("w", i)
    >>> loss = dv.define("loss", (), dv.Sum((x[b, i] * w[i])**2, b, i))
    >>> kern = nx.compile(dv.backprop(loss, wrt=[w]))
    >>> [t.name for t in kern.inputs]
    ['w', 'x']
    >>> nx.compile(loss)
    <kernel loss(w, x) -> loss>
    """
    backend = backend or default_backend()
    request = Request.of("nx.compile", d, sizes, dense, name, patterns, form, checkpoint_every, backend)
    if xla and backend == "cpu":
        request = replace(request, own_convolutions=True)
    request = replace(request, native=native)
    if parts:
        request = in_parts(request, parts)
    if request.layout is not None:
        return StructuredKernel(request)
    check_results(request.derivation, request.sizes)
    kern = Kernel(request)
    if check:
        kern.checked = first_check(kern)
    return kern
