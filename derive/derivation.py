"""The result of ``backprop`` and its kin: one object holding the program, the steps and the facts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from .errors import DeriveError
from .program import Equation, Program, Step
from .tensor import Tensor


@dataclass(frozen=True)
class FactUse:
    """A fact and the ids of the steps that used it."""

    text: str
    steps: tuple[int, ...]

    def __str__(self):
        used = ", ".join(map(str, self.steps))
        return f"{self.text}; used by step{'s' if len(self.steps) != 1 else ''} {used}" if self.steps else self.text


@dataclass(frozen=True)
class PassReport:
    """What one named pass of the pipeline did."""

    name: str
    did: str
    before: int
    after: int
    seconds: float

    def __str__(self):
        return (
            f"{self.name:<22} {self.before:>4} -> {self.after:<4} equations  {self.seconds * 1e3:7.1f} ms  {self.did}"
        )


@dataclass(frozen=True, eq=False)
class Derivation:
    """Equations derived from forward definitions, with every step kept.

    Attributes
    ----------
    kind : str
        backprop, vjp or hvp.
    name : str
        The display name, used for the emitted module.
    source : Program
        The definitions as the author gave them, with nested reductions named; what the evidence is checked against.
    program : Program
        All equations, forward then backward, in order, numbered from 1.
    wrt : tuple of Tensor
    results : tuple of (field, Tensor or {key: Tensor})
        What the compiled kernel returns, in order: ``("loss", T), ("grads", {"W": T}), ("outputs", {...})``.
    steps : tuple of Step
    facts : tuple of FactUse
    kinks : tuple of str
        The conventions used at points where a derivative does not exist.
    passes : tuple of PassReport
    """

    kind: str
    name: str
    source: Program
    program: Program
    wrt: tuple[Tensor, ...]
    results: tuple[tuple[str, Tensor | Mapping], ...]
    steps: tuple[Step, ...] = ()
    facts: tuple[FactUse, ...] = ()
    kinks: tuple[str, ...] = ()
    passes: tuple[PassReport, ...] = ()
    seed: Tensor | None = None  # the cotangent input of a vjp
    network: tuple | None = None  # (model, its losses) for a network of layers: numerics has references
    evidence: dict = field(default_factory=dict, repr=False)  # filled by check(): step id -> verdict

    def result(self, group: str):
        """One entry of ``results`` by its field name."""
        for found, value in self.results:
            if found == group:
                return value
        raise DeriveError(f"this {self.kind} has no {group!r}; it has {', '.join(n for n, _ in self.results)}")

    @property
    def loss(self) -> Tensor:
        """The differentiated tensor (of ``self.program``)."""
        return self.results[0][1]

    @property
    def gradients(self) -> Mapping[str, Tensor]:
        return self.result("grads")

    def gradient(self, tensor: Tensor | str) -> Equation:
        """The equation of the adjoint of any tensor in the derivation, differentiated for or on the way."""
        name = tensor if isinstance(tensor, str) else tensor.name
        adjoint = self.gradients.get(name) or dict(self.adjoints).get(name)
        if adjoint is not None:
            return self.program.equation(adjoint) or self.adjoint_equations[name]
        from .backprop import backprop

        known = {t.name: t for t in (*self.source.inputs, *(e.tensor for e in self.source.equations))}
        found = known.get(name)
        if self.kind != "backprop" or found is None or found.dtype != "float":
            raise DeriveError(
                f"no gradient of {name!r} in this derivation; there is one of {', '.join(sorted(dict(self.adjoints)))}"
            )
        return backprop(self.loss, wrt=[found]).gradient(found)

    directions: Mapping[str, Tensor] = field(default_factory=dict)  # of a product: what each tensor moves along
    between: Tensor | None = None  # of a Gauss-Newton product: the tensor whose Jacobian it is made of
    adjoints: tuple[tuple[str, Tensor], ...] = ()
    adjoint_equations: Mapping[str, Equation] = field(default_factory=dict, repr=False)

    def replay(self) -> Program:
        """Rebuild the program from the source by the kept steps alone, in order.

        Returns
        -------
        Program
            The equations of ``self.program``, without numbers.

        Raises
        ------
        DerivationError
            Naming the step that does not start from what the steps before it left, or the equation that comes out
            differently: then the steps would not be the derivation.
        """
        from .steps import replay

        return replay(self)

    def check(self, seed: int = 0):
        """The exact check of the whole derivation and of every step; see :mod:`derive.exact`.

        Returns
        -------
        Evidence
            With ``.proved`` and ``.undecided``; raises :class:`DerivationError` if anything is refuted.
        """
        from .exact import check_derivation

        return check_derivation(self, seed=seed)

    def compare(self, tensor: Tensor | str, expr, seed: int = 0):
        """Is ``expr`` (SymPy over the tensor's indices, or text) the same function as the derived gradient?

        Exact; where it is not, the answer says at which element and by how much, and what kind of mistake explains it.
        """
        from .exact import compare_gradient

        return compare_gradient(self, tensor, expr, seed=seed)

    def to_text(self, **options) -> str:
        """The whole derivation as plain text."""
        from .text import derivation_text

        return derivation_text(self, **options)

    def to_latex(self, **options) -> str:
        r"""LaTeX that can be ``\\input`` into a paper (needs amsmath only)."""
        from .latex import derivation_latex

        return derivation_latex(self, **options)

    def to_markdown(self, **options) -> str:
        """Markdown with ``$$`` mathematics."""
        from .markdown import derivation_markdown

        return derivation_markdown(self, **options)

    def to_html(self, **options) -> str:
        """One self-contained HTML page (MathML; no network, no script)."""
        from .html import derivation_html

        return derivation_html(self, **options)

    def to_matrix_notation(self, format: str = "text") -> str:
        """Every equation in matrix notation where it has one, in index notation where not, which is said.

        ``format`` is "text" or "latex"; see :func:`derive.matrix_notation`.
        """
        from .matrices.notation import matrix_notation

        return matrix_notation(self, format)

    def _repr_html_(self):
        from .html import derivation_fragment

        return derivation_fragment(self)

    def _repr_markdown_(self):
        return self.to_markdown()

    def __str__(self):
        return self.to_text()

    def __repr__(self):
        return f"<{self.kind} of {self.loss.name}: {len(self.program)} equations, {len(self.steps)} steps>"
