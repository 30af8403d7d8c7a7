"""What is wrong with a training step: the layer, the equation and the term, found by evaluating the equations.

not finite   the first element that is NaN or infinite though all it reads is finite (:mod:`.trace`)
dead         units whose local derivative is 0 on every example: relu units that are never active
saturated    units whose local derivative is below ``FLAT`` everywhere: a sigmoid far out
vanishing    layers whose gradient is below ``FAINT`` of the largest and of their weights; where it shrinks most
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from sympy import Integer

from derive.derivation.derivation import Derivation
from derive.language.tensor import Read
from derive.program.program import Equation, Term
from derive.show.text import expr_text
from numerics.errors import NumericsError
from numerics.reference.programs import term_value

from .trace import Origin, Place, Values, element, first_bad, origin

FLAT = 1e-3
FAINT = 1e-6
SHOWN = 4  # places of a long way that are shown at either end


@dataclass(frozen=True)
class Finding:
    """One thing found, about one equation.

    Attributes
    ----------
    kind : str
        "not finite", "dead", "saturated" or "vanishing".
    layer : str
        The layer the equation belongs to; "loss" for the loss, "" for an input.
    number : int
        Of the equation; 0 for an input.
    equation, term : str
    text : str
        What was found, in one sentence, with the numbers.
    advice : str
    share : float
        Of the units of the layer, where units are meant; else 1.
    """

    kind: str
    layer: str
    number: int
    equation: str
    term: str
    text: str
    advice: str = ""
    share: float = 1.0

    def __str__(self):
        head = f"{self.kind}: {self.layer or 'an input'}: {self.text}"
        lines = [head] + ([f"  equation ({self.number})  {self.equation}"] if self.number else [])
        lines += [f"  term  {self.term}"] if self.term and self.term not in self.equation.partition(" = ")[2::2] else []
        return "\n".join(lines + ([f"  {self.advice}"] if self.advice else []))


@dataclass(frozen=True)
class Diagnosis:
    """What was found on one batch; ``ok`` when that is nothing."""

    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        return not self.findings

    def __str__(self):
        return (
            "\n".join(map(str, self.findings))
            or "nothing is wrong: all values are finite, no layer is dead or vanishes"
        )

    def as_dict(self) -> dict:
        return {"ok": self.ok, "findings": [asdict(f) for f in self.findings]}


class Examiner:
    """Examines steps of one derivation; its program, with every equation as an output, is compiled once."""

    def __init__(self, derivation: Derivation, sizes: dict | None = None):
        self.d = derivation
        self.values = Values(derivation, sizes or {})
        self.adjoint_of = {t.name: primal for primal, t in derivation.adjoints}
        self.adjoint_of |= {t.name: primal for primal, t in derivation.gradients.items()}
        self.parameters = {t.name: n for n, t in derivation.gradients.items()}

    def __call__(self, arrays: dict) -> Diagnosis:
        """Parameters and a batch, by name of the inputs."""
        values, sizes = self.values(arrays)
        bad = self.not_finite(values, sizes)
        return Diagnosis((bad,) if bad is not None else (*self.gates(values, sizes), *self.vanishing(values)))

    def layer(self, name: str) -> str:
        """The layer that a tensor belongs to."""
        primal = self.adjoint_of.get(name, name)
        e = self.d.program.equation(name)
        if e is not None and e.tensor.block:
            return e.tensor.block
        reader = next(
            (r for r in self.d.program if any(t.name == primal for t in r.tensors()) and r.tensor.block), None
        )
        return reader.tensor.block if reader is not None else ""

    # -- not finite ----------------------------------------------------------------------------------------------------

    def not_finite(self, values, sizes) -> Finding | None:
        """Where NaN or infinity began, if the loss or a gradient has one."""
        start = first_bad(values, [self.d.loss.name, *(t.name for t in self.d.gradients.values())])
        if start is None:
            return None
        found = origin(self.d.program, values, sizes, *start)
        if found.equation is None:
            return Finding(
                "not finite",
                self.layer(found.place.tensor),
                0,
                "",
                "",
                f"{element(found.place.tensor, found.place.position)} is {found.place.value:g} already before "
                f"this step",
                "look at the step before, or at the data",
            )
        e, p = found.equation, found.place
        reads = "; ".join(f"{element(r.tensor, r.position)} = {r.value:.4g}" for r in found.reads)
        where = f"at {element(p.tensor, p.position)}: " if p.position else ""
        return Finding(
            "not finite",
            self.layer(p.tensor),
            e.number,
            str(e),
            found.term,
            f"{where}{found.cause}" + (f" where {reads}" if reads else "") + _onward(found.path),
            advice=_advice(found),
        )

    # -- local derivatives -----------------------------------------------------------------------------------------------

    def gates(self, values, sizes) -> list[Finding]:
        """Units through which nothing passes back: the local derivative is (nearly) zero on every example."""
        found = []
        for e in self.d.program:
            local = self._local(e)
            if not local or not e.idx:
                continue
            size = sum(np.abs(term_value(t, e.idx, values, sizes)) for t in local)
            most = size.max(axis=tuple(range(size.ndim - 1)))
            for kind, hit in (("dead", most == 0), ("saturated", (most > 0) & (most < FLAT))):
                if hit.any():
                    found.append(self._gate(e, local, kind, hit, most))
        return found

    def _gate(self, e: Equation, local, kind, hit, most) -> Finding:
        units = np.flatnonzero(hit)
        which = ", ".join(map(str, units[:8])) + (", ..." if len(units) > 8 else "")
        term = " + ".join(expr_text(t.expr()) for t in local)
        if kind == "dead":
            said = "is 0 on every example, so nothing passes back"
            advice = (
                "lower the learning rate, start the biases above 0, or use an activation with a slope on both sides"
            )
        else:
            said, advice = f"is at most {most[hit].max():.1e}", "scale the inputs or start from smaller weights"
        return Finding(
            kind,
            self.layer(e.name),
            e.number,
            str(e),
            term,
            f"{len(units)} of {len(hit)} units ({which}): {term} {said}",
            advice,
            len(units) / len(hit),
        )

    def _local(self, e: Equation) -> list[Term]:
        """The local derivatives in an adjoint: the factors, outside every sum, that read what the forward pass computed."""
        if e.name not in self.adjoint_of or e.name in self.parameters:
            return []
        found = []
        for t in e.terms:
            reads = {r.tensor.name for r in t.reads()}
            inside = [f for f in t.fac if not f.free_symbols & set(t.bnd) and self._forward(f)]
            if not inside or not reads & set(self.adjoint_of):
                return []
            found.append(Term(Integer(1), tuple(inside)))
        return found

    def _forward(self, f) -> bool:
        tensors = {r.tensor for r in f.atoms(Read)}
        return bool(tensors) and all(t.role == "computed" and t.name not in self.adjoint_of for t in tensors)

    # -- vanishing -------------------------------------------------------------------------------------------------------

    def vanishing(self, values) -> list[Finding]:
        """Layers whose gradient is next to nothing, and the equation on the way that shrinks it most."""
        sizes: dict[str, float] = {}
        weights: dict[str, float] = {}
        for name, primal in self.parameters.items():
            layer = self.layer(primal)
            sizes[layer] = max(sizes.get(layer, 0.0), _rms(values[name]))
            weights[layer] = max(weights.get(layer, 0.0), _rms(values[primal]))
        top = max(sizes.values(), default=0.0)
        return [
            self._faint(layer, size, top, values)
            for layer, size in sizes.items()
            if size <= FAINT * min(top, weights[layer])
        ]

    def _faint(self, layer, size, top, values) -> Finding:
        name = next(n for n, primal in self.parameters.items() if self.layer(primal) == layer)
        ratio, e = min(
            ((r, e) for e in self._way(name) if (r := self._ratio(e, values)) is not None),
            key=lambda pair: pair[0],
            default=(1.0, self._equation(name)),
        )
        term = " + ".join(expr_text(t.expr()) for t in (self._local(e) or e.terms))
        return Finding(
            "vanishing",
            layer,
            e.number,
            str(e),
            term,
            f"its gradient is {size:.1e} (root mean square), the largest of any layer {top:.1e}; it loses most at "
            f"equation ({e.number}) of {self.layer(e.name)}, to {ratio:.1e} of what comes in",
            "use another activation or initializer, a normalization, or a way past (a residual)",
        )

    def _equation(self, name: str) -> Equation:
        """The equation of a tensor that has one."""
        found = self.d.program.equation(name)
        if found is None:
            raise NumericsError(f"{self.d.name} has no equation of {name}")
        return found

    def _way(self, name) -> list[Equation]:
        """The adjoints that a gradient is made of."""
        todo, seen = [name], set()
        while todo:
            e = self._equation(todo.pop())
            for t in e.tensors():
                if t.name in self.adjoint_of and t.name not in seen and self.d.program.equation(t.name) is not None:
                    seen.add(t.name)
                    todo.append(t.name)
        return [e for e in self.d.program if e.name in seen]

    def _ratio(self, e: Equation, values) -> float | None:
        read = [_rms(values[t.name]) for t in e.tensors() if t.name in self.adjoint_of and t.name != e.name]
        return _rms(values[e.name]) / max(read) if read and max(read) > 0 else None


def _rms(a) -> float:
    return float(np.sqrt(np.mean(np.square(np.asarray(a, np.float64))))) if np.size(a) else 0.0


def _onward(path: tuple[Place, ...]) -> str:
    """How it reached the loss or the gradient."""
    if len(path) < 2:
        return ""
    shown = [str(p) for p in reversed(path[:-1])]
    if len(shown) > 2 * SHOWN:
        shown = [*shown[:SHOWN], f"... {len(shown) - 2 * SHOWN} more ...", *shown[-SHOWN:]]
    return "; from there to " + ", ".join(shown)


def _advice(found: Origin) -> str:
    if found.part.startswith("log(") or "/" in found.part or "^(-" in found.part:
        return "keep the argument away from 0, or use a loss from logits"
    return "lower the learning rate, clip the gradients, or scale the inputs"
