"""Declared facts: what an author promises of an input, so that a named step may use it.

A closed set.  Each fact has a text, a canonical key, a condition that ``kern.validate`` checks on real data, and a
sampler that the exact and the numeric checks use to draw inputs that satisfy it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from sympy import Expr

from .errors import DeriveError, ShapeError
from .index import Index, as_sympy, same_size


class Declared(Protocol):
    """What a fact asks of the tensor it is about; tensors import facts, so they are not named here."""

    @property
    def name(self) -> str: ...
    @property
    def axes(self) -> tuple[Expr, ...]: ...
    @property
    def letters(self) -> tuple[Index | None, ...]: ...
    @property
    def rank(self) -> int: ...
    @property
    def dtype(self) -> str: ...
    @property
    def below(self) -> Expr | None: ...
    @property
    def facts(self) -> tuple[Fact, ...]: ...


STRUCTURES = {  # kind -> what it says of a matrix
    "diagonal": "diagonal",
    "lower_triangular": "lower triangular",
    "upper_triangular": "upper triangular",
    "toeplitz": "Toeplitz, constant along its diagonals",
}


@dataclass(frozen=True)
class Fact:
    """Base: ``kind`` is one of positive, nonnegative, symmetric, positive_definite, orthogonal, unit, sums_to, missing,
    a structure (diagonal, lower_triangular, upper_triangular, toeplitz), and free."""

    kind: str

    @property
    def key(self) -> str:
        return self.kind

    @property
    def is_symmetric(self) -> bool:
        """Whether it makes a matrix equal to its transpose: positive definite matrices are symmetric here."""
        return self.kind in ("symmetric", "positive_definite", "diagonal")

    @property
    def is_quadratic(self) -> bool:
        """Whether it is an equality of products: ``Q'Q = I`` of an orthogonal matrix, ``x'x = 1`` of a unit vector."""
        return self.kind in ("orthogonal", "unit")

    @property
    def is_structure(self) -> bool:
        """Whether it says which entries of a matrix are free numbers: the others are zero, or the same numbers again."""
        return self.kind in STRUCTURES

    def text(self, tensor: Declared) -> str:
        letters = ", ".join(str(x) if x is not None else "·" for x in tensor.letters)
        read = f"{tensor.name}[{letters}]" if tensor.rank else tensor.name
        if self.is_quadratic:
            return f"{tensor.name}'{tensor.name} = {'I' if self.kind == 'orthogonal' else '1'} (declared)"
        if self.kind == "free":
            return f"the free entries of {tensor.name} are those on and below its diagonal (declared)"
        if self.is_structure:
            return f"{tensor.name} is {STRUCTURES[self.kind]} (declared)"
        if self.is_symmetric:
            return f"{tensor.name} is {self.kind.replace('_', ' ')} (declared)"
        return f"{read} {'> 0' if self.kind == 'positive' else '>= 0'} (declared)"


@dataclass(frozen=True)
class Follows(Fact):
    """A fact of a computed tensor that follows from the same fact of another, as an inverse of a symmetric matrix has."""

    source: str

    def text(self, tensor: Declared) -> str:
        what = self.kind.replace("_", " ")
        return f"{tensor.name} is {what}, as {self.source} is (declared)"


@dataclass(frozen=True)
class SumsTo(Fact):
    """``sum over one axis == value`` at every other index."""

    value: Expr
    index: Index

    @property
    def key(self) -> str:
        return f"sums_to:{self.value}:{self.index.name}:{self.index.size}"

    def axis(self, tensor: Declared) -> int:
        """The position of the axis that is summed: the one declared with this index, else the only one of its size."""
        if self.index in tensor.letters:
            return tensor.letters.index(self.index)
        fits = [n for n, a in enumerate(tensor.axes) if same_size(a, self.index.size)]
        if len(fits) != 1:
            raise ShapeError(
                f"{tensor.name}: sums_to({self.value}, {self.index}) names index {self.index} of size "
                f"{self.index.size}, which is not one axis of {tensor.name}{tuple(tensor.axes)}"
            )
        return fits[0]

    def text(self, tensor: Declared) -> str:
        letters = ", ".join(str(x) if x is not None else "·" for x in tensor.letters)
        return f"sum over {self.index} of {tensor.name}[{letters}] = {self.value} (declared)"


@dataclass(frozen=True)
class Missing(Fact):
    """An integer outside of the declared range that stands for none, such as -100 for an unlabelled position."""

    value: int

    @property
    def key(self) -> str:
        return f"missing:{self.value}"

    def text(self, tensor: Declared) -> str:
        letters = ", ".join(str(x) if x is not None else "·" for x in tensor.letters)
        return f"{tensor.name}[{letters}] is {self.value} where there is none (declared)"


positive = Fact("positive")
nonnegative = Fact("nonnegative")
symmetric = Fact("symmetric")
positive_definite = Fact("positive_definite")
orthogonal = Fact("orthogonal")
unit = Fact("unit")
diagonal = Fact("diagonal")
lower_triangular = Fact("lower_triangular")
upper_triangular = Fact("upper_triangular")
toeplitz = Fact("toeplitz")
free_entries = Fact("free")


def structure_of(tensor: Declared) -> str | None:
    """How the entries of a matrix are tied, where gradients by it are by its free entries.

    "diagonal", "lower_triangular", "upper_triangular", "toeplitz", or "symmetric" of a symmetric matrix that is declared
    free; None of all others, whose entries are differentiated as independent ones.
    """
    kinds = [f.kind for f in tensor.facts]
    return "symmetric" if "free" in kinds else next((k for k in kinds if k in STRUCTURES), None)


def sums_to(value: Expr | complex, index: Index) -> SumsTo:
    """The entries along ``index`` sum to ``value``: ``dv.tensor("y", b, k, facts=[dv.sums_to(1, k)])``."""
    if not isinstance(index, Index):
        raise DeriveError(f"sums_to({value}, {index}): the second argument is an index of the tensor")
    return SumsTo("sums_to", as_sympy(value, "sums_to"), index)


def missing(value: int) -> Missing:
    """Some entries may be this number instead of one of the range: ``dv.tensor("y", b, dtype="int", below=K,
    facts=[dv.missing(-100)])``.

    Such a tensor is no index by itself; a definition that says what is read in its place is:
    ``Piecewise((0, Eq(y[b], -100)), (y[b], True))``.
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise DeriveError(f"missing({value!r}): accepted is a whole number, as in dv.missing(-100)")
    return Missing("missing", value)


def missing_value(tensor: Declared) -> int | None:
    """The number that stands for none in a tensor, if one was declared."""
    return next((f.value for f in tensor.facts if isinstance(f, Missing)), None)


def range_text(tensor: Declared) -> str:
    """The declared range of an integer tensor, as facts are listed."""
    letters = ", ".join(str(x) if x is not None else "·" for x in tensor.letters)
    read, none = f"{tensor.name}[{letters}]" if tensor.rank else tensor.name, missing_value(tensor)
    return f"0 <= {read} < {tensor.below}{'' if none is None else f', or {none}'} (declared)"


def check_facts(tensor: Declared) -> None:
    """Refuse facts that do not fit the tensor."""
    for f in tensor.facts:
        if isinstance(f, Missing):
            if tensor.dtype != "int" or tensor.below is None:
                raise DeriveError(
                    f"tensor {tensor.name!r}: missing({f.value}) is about integers of a declared range; "
                    f"this one is {tensor.dtype}{'' if tensor.below is not None else ' without below='}"
                )
            continue
        if tensor.dtype != "float":
            raise DeriveError(f"tensor {tensor.name!r}: facts are about floats; this one is {tensor.dtype}")
        _check_structure(tensor, f)
        if f.is_symmetric and (tensor.rank != 2 or not same_size(*tensor.axes)):
            raise ShapeError(
                f"tensor {tensor.name!r}: {f.kind.replace('_', ' ')} needs two axes of one size, not {tuple(tensor.axes)}"
            )
        if f.kind == "orthogonal" and (tensor.rank != 2 or not same_size(*tensor.axes)):
            raise ShapeError(
                f"tensor {tensor.name!r}: orthogonal (Q'Q = I) is of a square matrix, two axes of one size, not "
                f"{tuple(tensor.axes)}"
            )
        if f.kind == "unit" and tensor.rank != 1:
            raise ShapeError(f"tensor {tensor.name!r}: unit (x'x = 1) is of a vector, not of {tuple(tensor.axes)}")
        if f.is_quadratic and len(tensor.facts) > 1:
            others = ", ".join(g.kind.replace("_", " ") for g in tensor.facts if g != f)
            raise DeriveError(
                f"tensor {tensor.name!r}: {f.kind} stands alone; no inputs are drawn that are {others} as well"
            )
        if isinstance(f, SumsTo):
            f.axis(tensor)


def _check_structure(tensor: Declared, f: Fact) -> None:
    """Refuse a structure that the axes do not have, or beside facts that contradict it."""
    said = STRUCTURES[f.kind].split(",")[0] if f.is_structure else "free"
    others = [g for g in tensor.facts if g != f]
    if f.kind == "free":
        if not any(g.kind in ("symmetric", "positive_definite") for g in others) or any(g.is_structure for g in others):
            raise DeriveError(
                f"tensor {tensor.name!r}: free says that a symmetric (or positive definite) matrix is differentiated by "
                "its entries on and below the diagonal; declare it symmetric as well. The entries of a diagonal, "
                "triangular or Toeplitz matrix are free without it"
            )
        return
    if not f.is_structure:
        return
    if tensor.rank != 2:
        raise ShapeError(f"tensor {tensor.name!r}: {said} is a matrix, of two axes, not {tuple(tensor.axes)}")
    if f.kind != "toeplitz" and not same_size(*tensor.axes):
        raise ShapeError(f"tensor {tensor.name!r}: {said} needs two axes of one size, not {tuple(tensor.axes)}")
    accepted = ("positive", "nonnegative") if f.kind == "toeplitz" else ("nonnegative",)
    clash = next((g for g in others if g.kind not in accepted), None)
    if clash is not None:
        why = {
            "positive": f"the other entries of a {said} matrix are zero; declare it nonnegative",
            "symmetric": "a symmetric matrix that is triangular is diagonal"
            if "triangular" in f.kind
            else "a diagonal matrix is symmetric already"
            if f.kind == "diagonal"
            else "no gradient is derived by the free entries of both; declare one of them",
        }
        both = "a matrix that is lower and upper triangular is diagonal" if "triangular" in clash.kind else ""
        reason = why.get(clash.kind) or both or "no inputs are drawn for which both hold; declare one of them"
        raise DeriveError(f"tensor {tensor.name!r}: {said} and {clash.kind.replace('_', ' ')} conflict: {reason}")
