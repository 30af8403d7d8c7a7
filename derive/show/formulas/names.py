r"""Which symbol a tensor is shown as.

    W             W               one letter, in italics
    alpha, xhat   Greek, hat      a Greek name is its letter; a name that ends in hat wears one
    W1, W_out     label           a superscript, since subscripts are indices: W^{(1)}_{ik}, W^{out}_{ik}
    lse           upright         several letters
    dW            adjoint         of W, when the derivation says so: dW, \overline W or \partial L / \partial W

The symbols of a whole document, in which no two tensors may look alike, are chosen by
:mod:`derive.show.formulas.symbols`.  The text renderer always writes the name as it is in the program.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sympy import Expr

from derive.language.naming import primal
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
SHORT = {"lam": "lambda", "eps": "epsilon"}  # as programs call them, lambda being a word of Python
ADJOINT_STYLES = ("d", "bar", "partial")
MADE = {"argmax", "max", "sum", "shifted", "inv", "hvp", "gn", "dot"}  # what the engine calls its own of a tensor d


def plain(text: str) -> str:
    """A string on one line, whatever its author put into it."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(text))


def is_narrow(name: str) -> bool:
    """Whether a name is shown as one letter."""
    return len(name) == 1 or name in GREEK


def split_label(name: str) -> tuple[str, str]:
    """``("W", "1")`` from W1 or W_1, ``("W", "out")`` from W_out, ``(name, "")`` otherwise."""
    numbered = re.fullmatch(r"([^\W\d_]+)_?(\d+)", name)
    if numbered:
        return numbered[1], numbered[2]
    if re.fullmatch(r"[A-Z][a-z]", name):  # Wq, Wk, Wv
        return name[0], name[1]
    worded = re.fullmatch(r"([^\W\d_]|[^\W\d_]{2,})_([^\W\d_]{2,})", name)
    if worded and (len(worded[1]) == 1 or worded[1] in GREEK):
        return worded[1], worded[2]
    return name, ""


@dataclass(frozen=True)
class Symbol:
    """A letter or a word, what is raised beside it, and the accent that it wears ("hat", "tilde" or "")."""

    base: str
    label: str = ""
    accent: str = ""


def symbol(name: str) -> Symbol:
    """The symbol of a tensor seen on its own."""
    base, label = split_label(name)
    base = SHORT.get(base, base)
    if label == "hat" or base.endswith("hat") and is_narrow(base[:-3]):
        return Symbol(base.removesuffix("hat"), "" if label == "hat" else label, "hat")
    return Symbol(base, label)


@dataclass(frozen=True)
class Namer:
    """How the tensors of one derivation are shown.

    Attributes
    ----------
    adjoints : mapping of str to str
        Of what each adjoint is the adjoint.
    style : {"d", "bar", "partial"}
    loss : str
    symbols : mapping of str to Symbol
        Those chosen for a document; other tensors are shown by their names.
    letters : mapping of (str, size) to str
        Indices that are shown by another letter, because theirs runs over another size elsewhere in the document.
    entries : mapping of (str, int) to tuple of str
        The letters of the elements along an axis of a tensor, such as the gates of an LSTM.
    """

    adjoints: Mapping[str, str] = field(default_factory=dict)
    style: str = "d"
    loss: str = "L"
    symbols: Mapping[str, Symbol] = field(default_factory=dict)
    letters: Mapping[tuple[str, Expr], str] = field(default_factory=dict)
    entries: Mapping[tuple[str, int], tuple[str, ...]] = field(default_factory=dict)

    def name(self, tensor: Tensor) -> Name:
        """The symbol of a tensor."""
        raw = tensor.name
        if raw in self.adjoints:
            return self._named(raw, self._symbol(self.adjoints[raw]), self.style)
        if raw not in self.symbols and tensor.definition is None and tensor.role == "computed":
            if (seen := primal(raw)) and seen not in MADE:  # an adjoint seen on its own
                return self._named(raw, symbol(seen), "d")
            head, _, tail = raw.partition("_")
            if tail and head.isalnum():  # a name that the engine made: all that follows is a label
                return Name(raw, head, tail.replace("_", " "))
        return self._named(raw, self._symbol(raw))

    def _symbol(self, name: str) -> Symbol:
        return self.symbols.get(name) or symbol(name)

    @staticmethod
    def _named(raw: str, s: Symbol, mark: str = "") -> Name:
        return Name(raw, s.base, s.label, mark, s.accent)

    def is_partial(self, tensor: Tensor) -> bool:
        return self.style == "partial" and tensor.name in self.adjoints

    def loss_name(self) -> Name:
        return self._named(self.loss, self._symbol(self.loss))

    def members(self, tensor: Tensor, axis: int) -> tuple[str, ...]:
        """The letters of the elements along an axis, where they have some."""
        return self.entries.get((self.adjoints.get(tensor.name, tensor.name), axis), ())
