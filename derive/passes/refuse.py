"""Gradients that are zero whatever the values are refused, unless zero was meant."""

from __future__ import annotations

from derive.language.errors import DerivationError
from derive.language.nodes import stop_gradient
from derive.language.tensor import Read, Tensor

from .chain_rule import CHAIN_RULE
from .work import Backward


def refuse_steps(work: Backward) -> None:
    """Refuse a gradient that is zero because every path to it ends at a step; ``stop_gradient`` says zero is meant.

    A step such as ``[u >= 0]`` or ``sign u`` has no derivative at its jump and zero elsewhere: descent stands still.
    """
    if any(f.has(stop_gradient) for e in work.forward for t in e.terms for f in t.fac):
        return
    rules = {s.wrt: s for s in work.steps if s.rule == CHAIN_RULE.name and s.wrt is not None}
    flat: dict[str, Tensor] = {}  # adjoints that are zero whatever the values
    for x, step in rules.items():
        if x != work.target and all(
            any(r.tensor.name in flat for f in t.fac for r in f.atoms(Read)) for t in step.after.terms
        ):
            flat[step.after.name] = x
    for w in work.wrt:
        if work.adjoint[w.name].name in flat:
            dead = set(flat.values())
            steps = [
                e for e in work.forward if e.name in work.adjoint and e.tensor not in dead and dead & set(e.tensors())
            ]
            shown = "; ".join(str(e) for e in steps)
            raise DerivationError(
                f"the gradient of {work.target.name} with respect to {w.name} is zero everywhere: {w.name} reaches "
                f"{work.target.name} only through steps, whose derivative is zero\n  {shown}\n  descent cannot train "
                f"through a step; use a smooth activation such as sigmoid, or Rosenblatt's perceptron rule "
                f"w <- w + (y - h) x for a single layer of steps (nx.Perceptron), or stop_gradient where zero is meant"
            )
