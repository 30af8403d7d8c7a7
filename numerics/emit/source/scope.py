"""Where generated lines go: the names, sizes, arrays and shared helper lines of one function body."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, Rational, floor

from derive.language.errors import UnsupportedError
from derive.language.index import Index, Size
from derive.language.tensor import Read
from derive.program.program import Equation

from .code import Assign, Binary, Code, Name, Statement, Tuple, Unary, call, dotted, minus, number_of, plus, times
from .names import Names
from .value import Val, named

T = TypeVar("T")


@dataclass(frozen=True)
class Writers:
    """What writes the things that stand inside others: a read in an expression, an equation in a recurrence.

    The rooms below call them through the scope and import nothing of the rooms above.
    """

    read: Callable[[Scope, Read, Sequence[Index]], Val]
    equation: Callable[[Scope, Equation], Val]


class Scope:
    """One function body being written.

    Attributes
    ----------
    lines : list of Statement
        What has been written, in order.
    constants : list of Statement
        Index arrays: made of sizes only, written at the top.
    arrays : dict
        Tensor name -> the identifier of its array.
    choices : list
        ``(rule, equation number, reason)`` of every emission that had an alternative.
    used_sizes : dict
        Size -> the name that the first lines give it.
    measured : dict
        Sizes that are read off an array where they are used, such as the steps of a part.
    helpers : list
        The functions of :mod:`.library` that the module needs.
    records : dict
        What a pattern knows of the whole program (its pools, its affine forms, ...), by the class of the record.
    patterns, backend, own_convolutions
        What the user forces, where the program is to run, and whether convolutions are XLA's own there; see
        :mod:`.choose`.
    assumed
        Expressions known to be >= 0 where the next line is written.
    """

    def __init__(
        self, names: Names, writers: Writers, bound: Mapping[Size, int] | None = None, outer: Scope | None = None
    ):
        self.names, self.writers, self.outer = names, writers, outer
        self.bound: dict[Size, int] = dict(bound or {})  # fixed when compiled
        self.lines: list[Statement] = []
        self.constants: list[Statement] = []
        self.arrays: dict[str, str] = dict(outer.arrays) if outer else {}
        self.shared: dict[Hashable, Val] = {}
        self.index_arrays: set[str] = outer.index_arrays if outer else set()
        self.choices: list[tuple[str, int, str]] = outer.choices if outer else []
        self.used_sizes: dict[Size, str] = outer.used_sizes if outer else {}
        self.measured: dict[Expr, Code] = outer.measured if outer else {}
        self.imports: set[str] = outer.imports if outer else set()
        self.dtype_used: list[str] = outer.dtype_used if outer else []
        self.number = 0
        self.whole = False  # whether the equation being written is one of integers
        self.helpers: list[str] = outer.helpers if outer else []
        self.patterns: dict[str, str] = outer.patterns if outer else {}
        self.backend: str = outer.backend if outer else "cpu"
        self.own_convolutions: bool = outer.own_convolutions if outer else False
        self.singular: frozenset[str] = outer.singular if outer else frozenset()
        self.records: dict[type, Any] = outer.records if outer else {}
        self.assumed: frozenset[Expr] = outer.assumed if outer else frozenset()

    def inside(self) -> Scope:
        """The body of a function inside this one."""
        return Scope(Names(self.names.taken), self.writers, self.bound, self)

    def record(self, kind: type[T]) -> T | None:
        """What a pattern knows of the whole program, if it found anything there."""
        return self.records.get(kind)

    def read(self, r: Read, order: Sequence[Index]) -> Val:
        """The array of a read over the indices in it."""
        return self.writers.read(self, r, order)

    def equation(self, e: Equation) -> Val:
        """The array of an equation."""
        return self.writers.equation(self, e)

    @contextlib.contextmanager
    def assuming(self, conditions: Iterable[Any]) -> Iterator[None]:
        """Within it, reads that only these conditions let stand need no mask of their own."""
        before, self.assumed = self.assumed, self.assumed | {n for c in conditions for n in nonnegative_forms(c)}
        try:
            yield
        finally:
            self.assumed = before

    # -- lines and helpers ------------------------------------------------------------------------------------------

    def write(self, statement: Statement) -> None:
        self.lines.append(statement)

    def assign(self, target: Code | str, value: Code, margin: str = "") -> None:
        """``target = value``"""
        self.write(Assign(Name(target) if isinstance(target, str) else target, value, margin=margin))

    def share(self, key: Hashable, hints: Sequence[str], v: Val, constant: bool = False) -> Val:
        """Name a value once and read it by that name afterwards; constants go to the outermost body."""
        scope = self.root if constant else self
        where: Scope | None = self
        while where is not None:
            if key in where.shared:
                return Val(where.shared[key].node, v.axes, v.kind)
            where = where.outer
        name = self.fresh_everywhere(*hints)
        (scope.constants if constant else scope.lines).append(Assign(Name(name), v.node))
        scope.shared[key] = named(name, v.axes, v.kind)
        return scope.shared[key]

    def fresh_everywhere(self, *hints: str) -> str:
        """A name that is free in this body and in those around it."""
        name, scope = self.names.fresh(*hints), self.outer
        while scope is not None:
            scope.names.taken.add(name)
            scope = scope.outer
        return name

    @property
    def root(self) -> Scope:
        return self if self.outer is None else self.outer.root

    @property
    def dtype(self) -> Code:
        """The name that holds the dtype of the program's floats."""
        if not self.dtype_used:
            self.dtype_used.append(self.fresh_everywhere("dtype", "float_dtype"))
        return Name(self.dtype_used[0])

    def choice(self, rule: str, reason: str, number: int | None = None) -> None:
        """Note an emission that had an alternative, for the header."""
        self.choices.append((rule, self.number if number is None else number, reason))

    def module(self, name: str) -> str:
        """Use an import in the generated module; jax and jnp are always there, lax on request."""
        self.imports.add(name)
        return name

    def helper(self, name: str) -> str:
        """Use a function of :mod:`.library` in the generated module."""
        if name not in self.helpers:
            self.helpers.append(name)
        return name

    # -- sizes and index ranges -------------------------------------------------------------------------------------

    def known(self, e: Expr) -> Expr:
        """An expression with the sizes fixed at compile time put in; used to decide ranges."""
        return e.xreplace({s: Integer(n) for s, n in self.bound.items()}) if self.bound else e

    def size(self, e: Expr | int) -> Val:
        """A Python number made of sizes, such as ``B``, ``H - 1`` or ``(H - R) // S + 1``."""
        e = sympy.sympify(e)
        if e.is_Rational:
            return number(e)
        kind = "weak" if isinstance(e, sympy.log | sympy.exp) else "num"
        return Val(self._size(e), (), kind)

    def _size(self, e: Expr) -> Code:
        if e in self.measured:
            return self.measured[e]
        if isinstance(e, Size):
            return Name(self.size_name(e))
        if isinstance(e, Add):
            return self._sum_of_sizes(e)
        if isinstance(e, Mul):
            return self._product_of_sizes(e)
        if isinstance(e, floor):
            top, bottom = sympy.together(e.args[0]).as_numer_denom()
            return Binary(self.size(top).node, "//", self.size(bottom).node)
        if isinstance(e, Pow):
            base, power = e.args
            if power.is_Rational and power < 0 and power.is_Integer:
                return Binary(number_of(1), "/", self.size(base**-power).node)
            return Binary(self.size(base).node, "**", self.size(power).node)
        constants = {sympy.pi: "jnp.pi", sympy.E: "jnp.e", sympy.oo: "jnp.inf"}
        if e == -sympy.oo:
            return Unary("-", dotted("jnp.inf"))
        if e in constants:
            return dotted(constants[e])
        if e.is_number:
            return number_of(float(e))
        if isinstance(e, sympy.log | sympy.exp):
            return call(f"jnp.{type(e).__name__}", self.size(e.args[0]).node)
        raise UnsupportedError(f"{e}: not a number made of sizes; sizes are combined by +, -, *, /, powers and floor")

    def _product_of_sizes(self, e: Mul) -> Code:
        top, bottom = e.as_numer_denom()
        if bottom != 1:
            node = self.size(top).node
            for f in Mul.make_args(bottom):
                node = Binary(node, "/", self.size(f).node)
            return node
        coef, rest = e.as_coeff_mul()
        if coef.is_negative:
            return Unary("-", self.size(-e).node)
        factors = sorted((self.size(f).node for f in rest), key=_reading_order)
        return times([*([number(coef).node] if coef != 1 else []), *factors])

    def size_name(self, s: Size) -> str:
        if s not in self.used_sizes:
            self.used_sizes[s] = self.fresh_everywhere(s.name, f"{s.name}_size", f"n_{s.name}")
        return self.used_sizes[s]

    def _sum_of_sizes(self, e: Add) -> Code:
        addends = sorted(e.args, key=lambda a: (a.is_number, a.could_extract_minus_sign(), str(a)))
        total: Code | None = None
        for a in addends:
            negative = a.could_extract_minus_sign()
            part = self.size(-a if negative else a).node
            if total is None:
                total = part.opposite if negative else part
            else:
                total = minus(total, part) if negative else plus(total, part)
        assert total is not None
        return total

    def place(self, label: Index) -> Val:
        """The values of an index, ``0 .. size-1``, as an integer array along it."""
        key = ("place", label.name, label.size)
        if key not in self.root.shared:
            v = Val(call("jnp.arange", self.size(label.size).node), (label,), "int")
            self.share(key, (label.name, f"{label.name}s", f"{label.name}_index"), v, constant=True)
        return Val(self.root.shared[key].node, (label,), "int")

    def shape(self, labels: Iterable[Index | Expr | int]) -> Tuple:
        """The tuple of the sizes of indices."""
        return Tuple(tuple(self.size(label.size if isinstance(label, Index) else label).node for label in labels))


def _reading_order(node: Code) -> tuple[bool, list[str]]:
    """Sums and roundings, which stand in brackets, before names; then by the names in them."""
    bracketed = isinstance(node, Binary) and node.op in ("+", "-", "//")
    return not bracketed, [n.name for n in node.walk() if isinstance(n, Name)]


def nonnegative_forms(c: Any) -> list[Expr]:
    """The expressions that a condition of whole numbers says are >= 0."""
    if isinstance(c, sympy.And):
        return [n for a in c.args for n in nonnegative_forms(a)]
    gap = {
        sympy.Le: lambda: c.rhs - c.lhs,
        sympy.Lt: lambda: c.rhs - c.lhs - 1,
        sympy.Ge: lambda: c.lhs - c.rhs,
        sympy.Gt: lambda: c.lhs - c.rhs - 1,
    }.get(type(c))
    return [sympy.expand(gap())] if gap else []


def number(q: Rational | int) -> Val:
    """A rational as a Python literal: ``3``, ``0.5``, ``1e-05``, or ``1 / 3`` where no short decimal is exact."""
    q = sympy.sympify(q)
    if q.is_Integer:  # of more than 31 bits as a float: JAX has no such integers
        return Val(number_of(int(q) if abs(q) < 2**31 else float(q)), (), "num")
    decimal = float(q)
    if Rational(repr(decimal)) == q or len(str(q.p)) + len(str(q.q)) > 12:
        return Val(number_of(decimal), (), "num")
    return Val(Binary(number_of(int(q.p)), "/", number_of(int(q.q))), (), "num")
