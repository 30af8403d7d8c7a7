"""The result of ``backprop`` and its kin: one object holding the program, the steps and the facts, which can show,
replay and check itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Unpack

from sympy import Expr

from derive.exact import Comparison, Evidence, check_derivation, compare_gradient
from derive.exact.replay import replay
from derive.language.errors import DeriveError
from derive.language.tensor import Tensor
from derive.passes.freeze import finish
from derive.passes.pipeline import run
from derive.passes.refuse import refuse_steps
from derive.passes.work import Backward, Work
from derive.program.derived import Derived, PassReport, Results
from derive.program.program import Equation, Program
from derive.show.document.options import Choices
from derive.show.html import derivation_fragment, derivation_html
from derive.show.latex import derivation_latex
from derive.show.markdown import derivation_markdown
from derive.show.matrix_notation import matrix_notation
from derive.show.text import derivation_text

from .closed import ClosedForm, closed_form, equation_asked


@dataclass(frozen=True, eq=False)
class Derivation(Derived):
    """Equations derived from forward definitions, with every step kept.

    Its fields are those of :class:`~derive.program.derived.Derived`.
    """

    def gradient(self, tensor: Tensor | str) -> Equation:
        """The equation of the adjoint of any tensor in the derivation, differentiated for or on the way."""
        name = tensor if isinstance(tensor, str) else tensor.name
        adjoint = self.gradients.get(name) or dict(self.adjoints).get(name)
        if adjoint is not None:
            return self.program.equation(adjoint) or self.adjoint_equations[name]
        known = {t.name: t for t in (*self.source.inputs, *(e.tensor for e in self.source.equations))}
        found = known.get(name)
        if self.kind != "backprop" or found is None or found.dtype != "float":
            raise DeriveError(
                f"no gradient of {name!r} in this derivation; there is one of {', '.join(sorted(dict(self.adjoints)))}"
            )
        return gradients_of(self.loss, (found,)).gradient(found)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Field by field, after the tensors in the order of their definitions: a deep network is no deep recursion."""
        return _restored, (type(self), in_order(self.source), {f.name: getattr(self, f.name) for f in fields(self)})

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
        return replay(self)

    def check(self, seed: int = 0) -> Evidence:
        """The exact check of the whole derivation and of every step; see :mod:`derive.exact`.

        Returns
        -------
        Evidence
            ``.ok`` (nothing refuted) and ``.proved`` (everything proved) are bools, ``.rows`` the table; raises
            :class:`DerivationError` if anything is refuted.
        """
        return check_derivation(self, seed=seed)

    def compare(self, tensor: Tensor | str, expr: Expr | Tensor | str, seed: int = 0) -> Comparison:
        """Is ``expr`` (SymPy over the tensor's indices, or text) the same function as the derived gradient?

        Exact; where it is not, the answer says at which element and by how much, and what kind of mistake explains it.
        """
        name = tensor if isinstance(tensor, str) else tensor.name
        return compare_gradient(self, name, self.gradient(tensor), expr, seed=seed)

    def closed_form(self, tensor: Tensor | str, helpers: bool = False) -> ClosedForm:
        """One expression of matrices in the inputs, as a textbook prints it, proved equal to the derivation.

        Parameters
        ----------
        tensor : Tensor or str
            A tensor that was differentiated by, for its gradient (or Jacobian); or the name of any equation, as that of
            the loss.
        helpers : bool
            Name long parts that the expression repeats: ``R X'B X R  with R = inv(X'C X)``.

        Returns
        -------
        ClosedForm
            ``str()`` is its text, which ``dv.matrix`` reads back; ``to_latex()``; ``.proof``, the exact comparison;
            ``.helpers``, the names and what they are, and ``.formula``, which is always the whole.

        Raises
        ------
        DerivationError
            Where there is no such expression: why, and the equations that remain.

        References
        ----------
        Petersen, Pedersen, *The Matrix Cookbook*, 2012, section 2.

        >>> import derive as dv
        >>> print(dv.derive_matrix("logdet(X'*X)", "X").closed_form("X"))
        2 X inv(X'X)
        """
        return closed_form(self, equation_asked(self, tensor), helpers)

    def to_text(self, **options: Unpack[Choices]) -> str:
        """The whole derivation as plain text."""
        return derivation_text(self, **options)

    def to_latex(self, standalone: bool = False, **options: Unpack[Choices]) -> str:
        r"""LaTeX that can be ``\\input`` into a paper (needs amsmath only)."""
        return derivation_latex(self, standalone, **options)

    def to_markdown(self, **options: Unpack[Choices]) -> str:
        """Markdown with ``$$`` mathematics."""
        return derivation_markdown(self, **options)

    def to_html(self, **options: Unpack[Choices]) -> str:
        """One self-contained HTML page (MathML; no network, no script)."""
        return derivation_html(self, **options)

    def to_matrix_notation(self, format: str = "text") -> str:
        """Every equation in matrix notation where it has one, in index notation where not, which is said.

        ``format`` is "text" or "latex"; see :func:`derive.show.matrix_notation`.
        """
        return matrix_notation(self, format)

    def _repr_html_(self) -> str:
        return derivation_fragment(self)

    def _repr_markdown_(self) -> str:
        return self.to_markdown()

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<{self.kind} of {self.loss.name}: {len(self.program)} equations, {len(self.steps)} steps>"


def in_order(source: Program) -> list[Tensor]:
    """The tensors of a program as they were written, each after those that it reads."""
    found: dict[Tensor, None] = {}
    todo: list[tuple[Tensor, bool]] = [(e.tensor, False) for e in reversed(source.equations)]
    while todo:
        t, ready = todo.pop()
        if ready:
            found[t] = None
        elif t not in found:
            todo.append((t, True))
            reads = t.definition.body.atoms(Tensor) if t.definition is not None else ()
            todo += [(r, False) for r in sorted(reads, key=lambda r: (r.name, r.digest)) if r not in found]
    return list(found)


def _restored(kind: type[Derivation], tensors: list[Tensor], values: dict[str, Any]) -> Derivation:
    return kind(**values)


def gradients_of(
    loss: Tensor,
    wrt: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...] = (),
    name: str | None = None,
    explain: bool = False,
) -> Derivation:
    """The gradients of a scalar loss, checked arguments given; see :func:`derive.derivation.backprop`."""
    return swept_back(Backward(loss, wrt, outputs), "backprop", "loss", name or loss.name, explain)


def swept_back(work: Backward, kind: str, target: str, name: str, explain: bool) -> Derivation:
    """The derivation that a backward sweep gives: its target, called ``target``, the gradients and the outputs."""
    reports = run(work, explain)
    refuse_steps(work)
    results: list[tuple[str, Tensor | dict[str, Tensor]]] = [
        (target, work.target),
        ("grads", {t.name: work.adjoint[t.name] for t in work.wrt}),
    ]
    if work.outputs:
        results.append(("outputs", {t.name: t for t in work.outputs}))
    return derivation_of(work, kind, name, results, reports)


def derivation_of(work: Work, kind: str, name: str, results: Results, reports: Sequence[PassReport]) -> Derivation:
    """What the passes left, frozen, as the object that people hold."""
    made = finish(work, kind, name, results, reports)
    return Derivation(**{f.name: getattr(made, f.name) for f in fields(made)})
