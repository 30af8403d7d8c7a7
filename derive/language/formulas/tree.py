"""The syntax tree of a matrix formula, and the functions that it may call."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sympy import Expr

from derive.language.functions import FUNCTIONS

ELEMENTWISE = (*(f.text[0] for f in FUNCTIONS.values() if f.nargs == 1), "sqrt")
CALLS = {
    "inv": 1,
    "det": 1,
    "logdet": 1,
    "tr": 1,
    "trace": 1,
    "norm1": 1,
    "norm2": 1,
    "sum": 1,
    "diag": 1,
    "vector": 1,
    "matrix": 1,
    "eye": 1,
    "size": 1,
    "kron": 2,
    "solve": 2,
    "transpose": 1,
    "adj": 1,
    "tril": 1,
    "triu": 1,
    "diagsums": 1,
    "vec": 1,
    "commutation": 1,
    **dict.fromkeys(ELEMENTWISE, 1),
}
HALVES = ("tril", "triu")  # the part of a matrix on and below its diagonal, and on and above it
OF_SIZES = ("eye", "size")  # eye(n), eye(3); size(n) is the number n where it stands as a value
FUNCTION, APPLIED = "function", "apply"  # what declares an unknown function, and a node that is a value of one
PRODUCTS = ("*", "/", ".*", "./")
_PINV = (
    "the pseudoinverse has no derivative where the rank changes, and the rank is not in the formula; where A has full "
    "column rank write inv(A'*A)*A', where it has full row rank A'*inv(A*A')"
)
_SERIES = (
    "a power series of a matrix is no finite product of what is here; write as many terms as are needed, "
    "eye(1) + A + 1/2*A^2 + 1/6*A^3, or exp(A) for the exponential of every element"
)
_SPECTRAL = "eigenvalues and square roots of matrices have no derivative where two eigenvalues meet; write "
# functions of matrices that are refused, and what to write in their place
INSTEAD = {
    "pinv": _PINV,
    "expm": _SERIES,
    "logm": _SPECTRAL + "log(A) for the logarithm of every element, logdet(A) for the sum of those of the eigenvalues",
    "sqrtm": _SPECTRAL + "sqrt(A) for the root of every element, or R*R with a symmetric R in place of A",
    "eig": _SPECTRAL
    + "tr(A^2) for the sum of their squares, or v'*A*v with v: n unit for the one of a known eigenvector",
    "svd": _SPECTRAL + "tr(A'*A) for the sum of the squares of the singular values",
    "rank": "the rank is constant almost everywhere, and its gradient is zero",
}
SIZES_TAKEN = {
    "eye": "the size of the identity: a declared size as in eye(n), a number as in eye(3), or eye(1) for the size that "
    "fits; c times the identity is c*eye(1)",
    "size": "the name of a declared size, as in  X: m x n; size(n)*tr(X'*X)",
}


@dataclass(frozen=True)
class Formula:
    """One node: ``op`` is "number", "name", "+", "-", "*", ".*", "/", "./", "^", ".^", "'", "neg" or a function.

    ``text`` is the number or the name; of "apply" the unknown function with its primes, as ``f'``.
    """

    op: str
    args: tuple[Formula, ...] = ()
    text: str = ""

    def __str__(self) -> str:
        if self.op in ("number", "name"):
            return self.text
        plain = [str(a) for a in self.args]  # each once: a sum of n terms is n deep
        shown = [
            f"({text})" if a.op in ("+", "-", "neg") or (a.op in ("*", "/") and self.op in ("^", ".^", "'")) else text
            for a, text in zip(self.args, plain, strict=True)
        ]
        if self.op in ("+", "-"):
            return f"{plain[0]} {self.op} {shown[1]}"
        if self.op == "neg":
            return f"-{shown[0]}"
        if self.op == "'":
            return f"{shown[0]}'"
        if self.op == ">":
            return f"({plain[0]} > {plain[1]})"
        if self.op == APPLIED:
            return f"{self.text}({plain[0]})"
        if len(self.args) == 2 and self.op not in CALLS:
            shown[1] = f"({shown[1]})" if self.args[1].op in PRODUCTS else shown[1]
            return f"{shown[0]}{self.op}{shown[1]}"
        return f"{self.op}({', '.join(plain)})"

    @property
    def is_size(self) -> bool:
        """Whether it can name a size: a name, or a positive whole number."""
        return self.op == "name" or (self.op == "number" and self.text.isdigit() and int(self.text) > 0)

    def names(self) -> list[str]:
        """The tensors named, in order of appearance; what :data:`OF_SIZES` take names a size."""
        if self.op in OF_SIZES:
            return []
        found = [self.text] if self.op == "name" else [n for a in self.args for n in a.names()]
        return list(dict.fromkeys(found))

    def nodes(self) -> Iterator[Formula]:
        """The node and all below it."""
        yield self
        for a in self.args:
            yield from a.nodes()


@dataclass(frozen=True)
class Declaration:
    """``X: m x n symmetric``: the sizes as written (of a SymPy matrix, as SymPy has them), and facts."""

    dims: tuple[str | int | Expr, ...]
    facts: tuple[str, ...] = ()


@dataclass(frozen=True)
class Parsed:
    """A name for the value, the formula, and what was declared."""

    name: str
    formula: Formula
    declared: dict[str, Declaration]
