"""What is asked of the emitter: a derivation, and the options of :func:`numerics.compile` that its source depends on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from derive.derivation.derivation import Derivation
from derive.derivation.forward import values_of
from derive.derivation.structured import Part, structured
from derive.language.index import Size
from derive.language.tensor import Tensor
from derive.language.unknown import Unknown
from numerics.errors import NumericsError, SizeError

from . import module

FORMS = ("dense", "structured")
BACKENDS = ("cpu", "gpu", "tpu")


@dataclass(frozen=True)
class Request:
    """A checked request.

    Attributes
    ----------
    derivation, written : Derivation
        As given; and the one that is written, which in the structured form returns the compact arrays of a Hessian.
    sizes : dict of Size to int
        Fixed in the source.
    own_convolutions : bool
        Whether XLA's own convolutions are what a convolution of the module becomes on a CPU, and not its library's.
    native : bool
        Whether equations over the same rows may be loops in C.
    layout : dict, optional
        In the structured form, the parts of each block of the Hessian.
    """

    derivation: Derivation
    written: Derivation
    sizes: dict[Size, int]
    dense: bool = False
    name: str | None = None
    patterns: Mapping[str, str] | None = None
    checkpoint_every: int | None = None
    backend: str = "cpu"
    own_convolutions: bool = False
    native: bool = False
    layout: dict[tuple[str, str], tuple[Part, ...]] | None = field(default=None, repr=False)

    @classmethod
    def of(
        cls,
        caller: str,
        d: Derivation | Tensor | Sequence[Tensor],
        sizes: Mapping[str | Size, int] | None,
        dense: bool,
        name: str | None,
        patterns: Mapping[str, str] | None,
        form: str,
        checkpoint_every: int | None,
        backend: str,
    ) -> Request:
        """Check the arguments of ``caller``, which the errors name; definitions become the program that computes them."""
        if isinstance(d, Tensor) or (isinstance(d, list | tuple) and d and all(isinstance(t, Tensor) for t in d)):
            d = values_of(d, caller, name)
        if not isinstance(d, Derivation):
            raise NumericsError(
                f"{caller}({type(d).__name__}): takes a derivation, as dv.backprop(loss, wrt) returns it, or definitions, "
                f"as dv.define makes them: one or a list of them"
            )
        _refuse_unknown(caller, d)
        fixed = _fixed_sizes(caller, d, sizes or {})
        if form not in FORMS:
            raise NumericsError(f"{caller}(form={form!r}): give one of {', '.join(map(repr, FORMS))}")
        if backend not in BACKENDS:
            raise NumericsError(f"{caller}(backend={backend!r}): give one of {', '.join(map(repr, BACKENDS))}")
        if checkpoint_every is not None and (dense or form == "structured"):
            raise NumericsError(f"{caller}: checkpoint_every is for the usual emission; leave out dense= and form=")
        written, layout = structured(d) if form == "structured" else (d, None)
        return cls(d, written, fixed, dense, name, patterns, checkpoint_every, backend, layout=layout)

    def module(self, verified: str | None = None) -> module.Module:
        """Write the module; ``verified`` is what its header says of the evidence."""
        return module.emit(
            self.written,
            self.sizes,
            self.dense,
            self.name,
            verified,
            self.patterns,
            self.checkpoint_every,
            self.backend,
            self.own_convolutions,
            self.native,
        )


def _refuse_unknown(caller: str, d: Derivation) -> None:
    """Nothing computes a function of which only the name is known."""
    for e in d.program.equations:
        for f in sorted((u for t in e.terms for x in t.fac for u in x.atoms(Unknown)), key=str):
            raise NumericsError(
                f"{caller}: {f.name_only} in {e} is an unknown function, and its values and those of its derivatives are not "
                f"known; write what it is, as tanh(...) or a definition of its own, and derive again"
            )


def _fixed_sizes(caller: str, d: Derivation, sizes: Mapping[str | Size, int]) -> dict[Size, int]:
    fixed = {}
    for key, value in sizes.items():
        size = key if isinstance(key, Size) else Size(str(key))
        if isinstance(value, bool) or not hasattr(value, "__index__") or int(value) < 0:
            raise SizeError(f"{caller}: size {size.name} = {value!r}: give a whole number")
        fixed[size] = int(value)
    unknown = sorted({s.name for s in fixed} - {s.name for s in d.program.sizes()} - {s.name for s in d.source.sizes()})
    if unknown:
        known = ", ".join(s.name for s in d.program.sizes()) or "none"
        raise SizeError(f"{caller}: size {unknown[0]!r} is not in this derivation; its sizes are {known}")
    return fixed
