r"""Which symbol a tensor is shown as.

    W          W            one letter, in italics
    alpha      Greek        a Greek name is its letter
    W1, W_out  W with a label, as a superscript, since subscripts are indices: W^{(1)}_{ik}, W^{out}_{ik}
    lse        upright      several letters
    dW         the adjoint of W, when the derivation says that it is one: \bar W, dW or \partial L / \partial W

The text renderer always writes the name as it is in the program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from derive.language.tensor import Tensor

from .layout import Name

GREEK = {
    "alpha": "α",
    "beta": "β",
    "gamma": "γ",
    "delta": "δ",
    "epsilon": "ε",
    "zeta": "ζ",
    "eta": "η",
    "theta": "θ",
    "iota": "ι",
    "kappa": "κ",
    "lambda": "λ",
    "mu": "μ",
    "nu": "ν",
    "xi": "ξ",
    "pi": "π",
    "rho": "ρ",
    "sigma": "σ",
    "tau": "τ",
    "upsilon": "υ",
    "phi": "φ",
    "chi": "χ",
    "psi": "ψ",
    "omega": "ω",
    "Gamma": "Γ",
    "Delta": "Δ",
    "Theta": "Θ",
    "Lambda": "Λ",
    "Xi": "Ξ",
    "Pi": "Π",
    "Sigma": "Σ",
    "Upsilon": "Υ",
    "Phi": "Φ",
    "Psi": "Ψ",
    "Omega": "Ω",
}
ADJOINT_STYLES = ("bar", "partial", "d")


def plain(text: str) -> str:
    """A string on one line, whatever its author put into it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def is_narrow(name: str) -> bool:
    """Whether a name is shown as one letter, perhaps with a hat."""
    bare = name.removesuffix("hat") if len(name) > 3 else name
    return len(bare) == 1 or bare in GREEK


def split_label(name: str) -> tuple[str, str]:
    """``("W", "1")`` from W1 or W_1, ``("W", "out")`` from W_out, ``(name, "")`` otherwise."""
    numbered = re.fullmatch(r"([^\W\d_]+)_?(\d+)", name)
    if numbered:
        return numbered[1], numbered[2]
    worded = re.fullmatch(r"([^\W\d_]|[^\W\d_]{2,})_([^\W\d_]{2,})", name)
    if worded and (len(worded[1]) == 1 or worded[1] in GREEK):
        return worded[1], worded[2]
    return name, ""


@dataclass(frozen=True)
class Namer:
    """How the tensors of one derivation are shown: ``adjoints`` maps an adjoint's name to what it is the adjoint of."""

    adjoints: Mapping[str, str] = field(default_factory=dict)
    style: str = "bar"
    loss: str = "L"
    made: frozenset[str] = frozenset()  # names that the engine chose

    def name(self, tensor: Tensor) -> Name:
        """The symbol of a tensor."""
        raw, made = tensor.name, tensor.definition is None and tensor.role == "computed"
        primal = self.adjoints.get(raw)
        if primal is not None:
            return Name(raw, *self._parts(primal, primal in self.made), mark=self.style)
        head, _, tail = raw.partition("_")
        if made and head in self.adjoints and self.style != "partial":  # drs_sum, a sum inside the adjoint of rs
            return Name(raw, self.adjoints[head], tail.replace("_", " "), mark=self.style)
        if made and re.fullmatch(r"d[^\W\d_]\d*", raw):  # an adjoint seen on its own
            return Name(raw, *split_label(raw[1:]), mark="d")
        return Name(raw, *self._parts(raw, made))

    @staticmethod
    def _parts(name: str, made: bool) -> tuple[str, str]:
        """Base and label; in names that the engine made, such as ``lse_max``, all that follows is a label."""
        head, _, tail = name.partition("_")
        return (head, tail.replace("_", " ")) if made and tail and head.isalnum() else split_label(name)

    def is_partial(self, tensor: Tensor) -> bool:
        return self.style == "partial" and tensor.name in self.adjoints

    def loss_name(self) -> Name:
        return Name(self.loss, *split_label(self.loss))
