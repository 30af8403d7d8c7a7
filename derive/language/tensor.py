"""Tensors and their reads, ``T[i, 2*j + 1]``; ``dv.tensor`` and ``dv.define`` make them.

A :class:`Tensor` is a name with axes, a dtype, a role and facts; a defined one also has a right-hand side.  Its
identity (``digest``) includes its whole definition, canonically, so that a notebook cell that is run again never meets
an old tensor in SymPy's cache, and renaming a bound index changes nothing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, Self

from sympy import Basic, Expr, Integer, Symbol
from sympy.printing.printer import Printer

from .errors import ShapeError, UnsupportedError
from .facts import Fact
from .finite import Finite
from .index import Index, as_sympy, check_name
from .keys import hash_text, key
from .printing import latex
from .scalar import Scalar

_COUNT = itertools.count()  # of stand-ins: two recurrences of one name may read alike and are not the same
ROLES = ("parameter", "data", "random", "state", "constant", "computed")


@dataclass(frozen=True)
class Definition:
    """A right-hand side as its author wrote it: ``tensor[idx] = body``."""

    idx: tuple[Index, ...]
    body: Expr


class Origin(Protocol):
    """A program that computes tensors; it is made of them, so its class is not named here, nor that of its equations."""

    @property
    def facts(self) -> tuple[str, ...]: ...  # those that its steps used, and those of what it started from

    @property
    def kinks(self) -> tuple[str, ...]: ...  # the conventions, likewise

    def equation(self, tensor: Tensor, /) -> Any: ...


class _StandsAlone(ShapeError, AttributeError):
    """A tensor with axes where a scalar is needed; also what ``hasattr`` expects."""


class Tensor(Scalar, Basic):
    """A named array read by indices: ``x[b, i]`` is a SymPy expression.

    Attributes
    ----------
    name : str
    axes : tuple of sympy.Expr
        The size of each axis, symbolic or a whole number.
    letters : tuple of Index or None
        The index each axis was declared with, for display.
    dtype : "float", "int" or "bool"
    below : sympy.Expr or None
        For integers, the declared range ``0 <= value < below``.
    role : str
        parameter, data, random, state, constant (inputs) or computed (defined tensors).
    facts : tuple
        Declared facts, see :mod:`derive.language.facts`.
    definition : Definition, or None for an input
    """

    __slots__ = (
        "name",
        "axes",
        "letters",
        "dtype",
        "below",
        "role",
        "facts",
        "definition",
        "digest",
        "block",
        "recurrence",
        "origin",
        "symbol",
    )
    name: str
    axes: tuple[Expr, ...]
    letters: tuple[Index | None, ...]
    dtype: str
    below: Expr | None
    role: str
    facts: tuple[Fact, ...]
    definition: Definition | None
    digest: str
    block: str
    recurrence: Recurrence | None  # the definitions that it was made with, reading one another
    origin: Origin | None  # the derived program that it is computed by
    symbol: Any  # the place in a network that it comes from, for what is called on it; no part of its identity

    def __new__(
        cls,
        name: str,
        axes: Iterable[Expr] = (),
        letters: Iterable[Index | None] = (),
        dtype: str = "float",
        below: Expr | None = None,
        role: str = "data",
        facts: Iterable[Fact] = (),
        definition: Definition | None = None,
        digest: str | None = None,
        block: str = "",
        recurrence: Recurrence | None = None,
        origin: Origin | None = None,
    ) -> Self:
        obj = Basic.__new__(cls)
        obj.name, obj.axes, obj.letters = check_name(name, "tensor"), tuple(axes), tuple(letters)
        obj.dtype, obj.below, obj.role, obj.facts = dtype, below, role, tuple(facts)
        obj.definition, obj.block, obj.recurrence, obj.origin = definition, block, recurrence, origin
        obj.digest = digest or _digest(obj)
        obj.symbol = None
        return obj

    def _hashable_content(self) -> tuple[str, str]:
        return (self.name, self.digest)

    def sort_key(self, order: str | None = None) -> tuple[Hashable, ...]:
        """SymPy orders and signs sums by this; without the name ``z - y`` and ``y - z`` would tie, a hash decide."""
        return self.class_key(), (1, (self.name, self.digest)), Integer(1).sort_key(), Integer(1)

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """By its definition; the recurrence that it belongs to, and that knows it, is put in afterwards."""
        made = (self.name, self.axes, self.letters, self.dtype, self.below, self.role, self.facts, self.definition)
        return Tensor, (*made, self.digest, self.block), {"recurrence": self.recurrence, "origin": self.origin}

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        return self  # nothing of it changes once it is made

    @property
    def rank(self) -> int:
        return len(self.axes)

    def identified(self, digest: str, recurrence: Recurrence | None = None, origin: Origin | None = None) -> Tensor:
        """The same array by another identity, as part of a recurrence or as made by a derived program."""
        return Tensor(
            self.name,
            self.axes,
            self.letters,
            self.dtype,
            self.below,
            self.role,
            self.facts,
            self.definition,
            digest,
            self.block,
            recurrence,
            origin,
        )

    @property
    def partners(self) -> tuple[Tensor, ...]:
        """The tensors of the recurrence that it is defined by, itself included; none for a plain definition."""
        return self.recurrence.members if self.recurrence is not None else ()

    @property
    def member(self) -> Tensor:
        """The tensor itself; for a stand-in, the member of its recurrence, or the stand-in while that is being made."""
        return next((t for t in self.partners if t.name == self.name), self)

    @property
    def indices(self) -> tuple[Index, ...]:
        """The letters of a tensor that has one for every axis, as every defined one has; else a :class:`ShapeError`."""
        found = tuple(i for i in self.letters if i is not None)
        if len(found) != self.rank:
            raise ShapeError(f"{self.name} has an axis without an index; declare it with one, as made by dv.indices")
        return found

    @property
    def is_input(self) -> bool:
        return self.role != "computed"

    def __getitem__(self, idx: Expr | int | tuple[Expr | int, ...]) -> Read:
        idx = idx if isinstance(idx, tuple) else (idx,)
        for n, e in enumerate(idx):
            if isinstance(e, int | Integer) and e < 0:
                last = f"{self.axes[n]} - {-e}" if n < self.rank else "size - 1"
                raise UnsupportedError(
                    f"{self.name}[{', '.join(map(str, idx))}]: a negative index would lie outside, where "
                    f"a read is zero; to count from the end write {last}"
                )
        return Read(self, *idx)

    def _sympy_(self) -> Read:
        if self.rank:
            shown = ", ".join(str(letter) if letter is not None else "..." for letter in self.letters)
            raise _StandsAlone(
                f"{self.name} has {self.rank} axes and stands alone in an expression; "
                f"read it at indices, as in {self.name}[{shown}]"
            )
        return Read(self)

    def __getattr__(self, name: str) -> Any:
        """SymPy functions ask their argument for what expressions have: a scalar tensor answers as its read."""
        if name.startswith("_") or name in Tensor.__slots__:
            raise AttributeError(name)
        return getattr(self._sympy_(), name)

    @property
    def func(self) -> Callable[..., Tensor]:
        """SymPy rebuilds nodes as ``e.func(*e.args)``; a tensor has no args to change."""
        return lambda *args: self

    def _sympystr(self, printer: Printer) -> str:
        return self.name

    def _latex(self, printer: Printer) -> str:
        return latex(self)

    def _pretty(self, printer: Printer) -> Any:
        return printer._print(Symbol(self.name))

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {latex(self)}$"

    def __repr__(self) -> str:
        axes = ", ".join(str(a) for a in self.axes)
        return f"<{self.dtype} tensor {self.name}({axes})>"

    __str__ = __repr__


class Recurrence:
    """Tensors whose definitions read one another at earlier steps, or one that reads itself.

    The circle (each knows the others) closes here: the members are made with the recurrence they belong to.  Where there
    are several, the identity of each includes the right-hand sides of all.

    Attributes
    ----------
    members : tuple of Tensor
        Empty until :meth:`close`.
    """

    def __init__(self) -> None:
        self.members: tuple[Tensor, ...] = ()

    def stand_in(self, name: str, letters: Sequence[Index], apart: str = "") -> Tensor:
        """What right-hand sides read for a member before there is one; see :attr:`Tensor.member`.

        What is defined on the way reads it too, and is told by it from what another recurrence names alike; ``apart`` says
        by what, if not by the order in which they were written.
        """
        sizes = tuple(i.size for i in letters)
        return Tensor(
            name, sizes, letters, role="computed", digest=f"self:{name}:{apart or next(_COUNT)}", recurrence=self
        )

    def close(self, parts: Sequence[Tensor], stand_ins: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The members, made of their definitions, which read stand-ins."""
        known = {t: f"t:{t.name}:self:{t.name}" for t in stand_ins}
        digests = [_digest(t, known) for t in parts]
        joint = hash_text("+".join(digests))
        self.members = tuple(
            t.identified(d if len(parts) == 1 else f"{d}:{joint}", recurrence=self)
            for t, d in zip(parts, digests, strict=True)
        )
        return self.members


class Read(Finite):
    """One element of a tensor, ``T[e1, e2, ...]``; args are the tensor and the index expressions.

    A float read outside its tensor is zero."""

    is_commutative = True
    is_real = True  # plain real: declared facts such as v > 0 are used only by named steps, never silently

    def __new__(cls, tensor: Tensor, *idx: Expr | int) -> Self:
        idx = tuple(_index_argument(tensor, e) for e in idx)
        if len(idx) != tensor.rank:
            raise ShapeError(
                f"{tensor.name}[{', '.join(map(str, idx))}] reads {len(idx)} indices, but {tensor.name} "
                f"has {tensor.rank} axes: ({', '.join(map(str, tensor.axes))})"
            )
        return Expr.__new__(cls, tensor, *idx)

    @property
    def tensor(self) -> Tensor:
        return self.args[0]

    @property
    def idx(self) -> tuple[Expr, ...]:
        return self.args[1:]

    def _eval_is_integer(self) -> bool | None:
        return True if self.args[0].dtype != "float" else None

    def _sympystr(self, printer: Printer) -> str:
        inside = ", ".join(printer._print(e) for e in self.idx)
        return f"{self.tensor.name}[{inside}]" if self.idx else self.tensor.name

    def _pretty(self, printer: Printer) -> Any:
        return printer._print(Symbol(str(self)))

    def _latex(self, printer: Printer, exp: str | None = None) -> str:
        text = latex(self)
        return text if exp is None else f"{text}^{{{exp}}}"

    def _eval_derivative(self, symbol: Symbol) -> Expr:
        return Integer(0)  # the engine differentiates reads as symbols of their own; see partials.py


def _index_argument(tensor: Tensor, e: object) -> Expr:
    if isinstance(e, slice):
        raise UnsupportedError(
            f"{tensor.name}[...] was given a slice; reads take one index per axis, and a slice is an "
            f"index with a shift, as in {tensor.name}[i + 1]"
        )
    if isinstance(e, float):
        raise UnsupportedError(f"{tensor.name}[{e}]: an index is an integer expression, not a float")
    e = as_sympy(e, f"an index of {tensor.name}")
    if not isinstance(e, Expr):
        raise UnsupportedError(f"{tensor.name}[{e}]: an index is an integer expression of indices and sizes")
    return e


def _digest(t: Tensor, known: Mapping[Tensor, str] | None = None) -> str:
    """A hash of everything a tensor is, with bound and free indices renamed by position, and tensors that are ``known``
    by what is said of them."""
    parts = [
        t.name,
        repr([key(a) for a in t.axes]),
        t.dtype,
        "" if t.below is None else key(t.below),
        t.role,
        repr([f.key for f in t.facts]),
    ]
    if t.definition is not None:
        env: dict[Basic, str] = {**(known or {}), **{i: f"#{n}" for n, i in enumerate(t.definition.idx)}}
        parts.append(key(t.definition.body, env))
    return hashlib.sha256("\x1f".join(parts).encode()).hexdigest()[:24]
