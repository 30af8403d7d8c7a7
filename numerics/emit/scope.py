"""Where generated lines go: the names, sizes, arrays and shared helper lines of one function body."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import sympy
from sympy import Add, Expr, Integer, Mul, Pow, Rational, floor

from derive.language.errors import UnsupportedError
from derive.language.index import Index, Size
from numerics.names import Names

from .value import ADD, ATOM, MUL, POW, UNARY, Val


@dataclass
class Line:
    """One statement and what stands in its margin."""

    code: str
    margin: str = ""


class Scope:
    """One function body being written.

    Attributes
    ----------
    lines : list of Line
        What has been written, in order.
    arrays : dict
        Tensor name -> source of its array.
    choices : list
        ``(rule, equation number, reason)`` of every emission that had an alternative.
    helpers : list
        The functions of :mod:`.library` that the module needs.
    pools
        The max pools of the program, see :mod:`.pooling`.
    forms
        The affine forms of equations, see :mod:`.affine`.
    patterns, backend
        What the user forces, and where the program is to run; see :mod:`.choose`.
    """

    def __init__(self, names: Names, bound=None, outer: Scope | None = None):
        self.names, self.outer = names, outer
        self.bound = dict(bound or {})  # Size -> int, fixed when compiled
        self.lines: list[Line] = []
        self.constants: list[Line] = []  # index arrays: made of sizes only, written at the top
        self.arrays: dict[str, str] = dict(outer.arrays) if outer else {}
        self.shared: dict = {}
        self.choices: list = outer.choices if outer else []
        self.used_sizes: dict = outer.used_sizes if outer else {}
        self.imports: set = outer.imports if outer else set()
        self.dtype_used: list = outer.dtype_used if outer else []
        self.number = 0
        self.whole = False  # whether the equation being written is one of integers
        self.helpers: list = outer.helpers if outer else []
        self.patterns: dict = outer.patterns if outer else {}
        self.backend: str = outer.backend if outer else "cpu"
        self.pools = outer.pools if outer else None
        self.earlier: dict = outer.earlier if outer else {}  # members stacked as they are carried in, see .earlier
        self.forms: dict = outer.forms if outer else {}
        self.assumed: frozenset = outer.assumed if outer else frozenset()

    @contextlib.contextmanager
    def assuming(self, conditions):
        """Within it, reads that only these conditions let stand need no mask of their own."""
        before, self.assumed = self.assumed, self.assumed | {n for c in conditions for n in nonnegative_forms(c)}
        try:
            yield
        finally:
            self.assumed = before

    # -- lines and helpers ------------------------------------------------------------------------------------------

    def write(self, code: str, margin: str = ""):
        self.lines.append(Line(code, margin))

    def share(self, key, hints, v: Val, constant=False, margin="") -> Val:
        """Name a value once and read it by that name afterwards; constants go to the outermost body."""
        scope = self.root if constant else self
        lines = scope.constants if constant else scope.lines
        where = self
        while where is not None:
            if key in where.shared:
                return Val(where.shared[key].src, ATOM, v.axes, v.kind)
            where = where.outer
        name = self.fresh_everywhere(*hints)
        lines.append(Line(f"{name} = {v.src}", margin))
        scope.shared[key] = Val(name, ATOM, v.axes, v.kind)
        return scope.shared[key]

    def fresh_everywhere(self, *hints) -> str:
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
    def dtype(self) -> str:
        """The name that holds the dtype of the program's floats."""
        if not self.dtype_used:
            self.dtype_used.append(self.fresh_everywhere("dtype", "float_dtype"))
        return self.dtype_used[0]

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

    def size(self, e) -> Val:
        """A Python number made of sizes, such as ``B``, ``H - 1`` or ``(H - R) // S + 1``."""
        e = sympy.sympify(e)
        if isinstance(e, Size):
            return Val(self.size_name(e), ATOM, (), "num")
        if e.is_Rational:
            return number(e)
        if isinstance(e, Add):
            return self._sum_of_sizes(e)
        if isinstance(e, Mul):
            top, bottom = e.as_numer_denom()
            if bottom != 1:
                v = self.size(top)
                for f in Mul.make_args(bottom):
                    v = Val(f"{v.within(MUL)} / {self.size(f).within(MUL + 1)}", MUL, (), "num")
                return v
            coef, rest = e.as_coeff_mul()
            if coef.is_negative:
                return Val(f"-{self.size(-e).within(UNARY)}", UNARY, (), "num")
            # a * (I // 2) is not a * I // 2
            shown = sorted((self.size(f).within(MUL + 1 if isinstance(f, floor) else MUL) for f in rest), key=str)
            return Val(" * ".join(([number(coef).src] if coef != 1 else []) + shown), MUL, (), "num")
        if isinstance(e, floor):
            top, bottom = sympy.together(e.args[0]).as_numer_denom()
            return Val(f"{self.size(top).within(MUL)} // {self.size(bottom).within(MUL + 1)}", MUL, (), "num")
        if isinstance(e, Pow):
            base, power = e.args
            if power.is_Rational and power < 0 and power.is_Integer:
                return Val(f"1 / {self.size(base**-power).within(MUL + 1)}", MUL, (), "num")
            return Val(f"{self.size(base).within(POW + 1)} ** {self.size(power).within(UNARY)}", POW, (), "num")
        constants = {sympy.pi: "jnp.pi", sympy.E: "jnp.e"}
        if e in constants:
            return Val(constants[e], ATOM, (), "num")
        if e.is_number:
            return Val(repr(float(e)), ATOM, (), "num")
        if isinstance(e, sympy.log | sympy.exp):
            return Val(f"jnp.{type(e).__name__}({self.size(e.args[0]).src})", ATOM, (), "weak")
        raise UnsupportedError(f"{e}: not a number made of sizes; sizes are combined by +, -, *, /, powers and floor")

    def size_name(self, s: Size) -> str:
        if s not in self.used_sizes:
            self.used_sizes[s] = self.fresh_everywhere(s.name, f"{s.name}_size", f"n_{s.name}")
        return self.used_sizes[s]

    def _sum_of_sizes(self, e: Add) -> Val:
        parts_ = sorted(e.args, key=lambda a: (a.is_number, a.could_extract_minus_sign(), str(a)))
        text = ""
        for a in parts_:
            minus = a.could_extract_minus_sign()
            piece = self.size(-a if minus else a).within(ADD + 1 if minus else ADD)
            text += (f" - {piece}" if minus else f" + {piece}") if text else (f"-{piece}" if minus else piece)
        return Val(text, ADD, (), "num")

    def place(self, label: Index) -> Val:
        """The values of an index, ``0 .. size-1``, as an integer array along it."""
        key = ("place", label.name, label.size)
        if key not in self.root.shared:
            v = Val(f"jnp.arange({self.size(label.size).src})", ATOM, (label,), "int")
            self.share(key, (label.name, f"{label.name}s", f"{label.name}_index"), v, constant=True)
        return Val(self.root.shared[key].src, ATOM, (label,), "int")

    def shape(self, labels) -> str:
        """A shape tuple's source."""
        inside = [self.size(label.size if isinstance(label, Index) else label).src for label in labels]
        return f"({', '.join(inside)}{',' if len(inside) == 1 else ''})"


def nonnegative_forms(c) -> list[Expr]:
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


def number(q: Rational) -> Val:
    """A rational as a Python literal: ``3``, ``0.5``, ``1e-05``, or ``1 / 3`` where no short decimal is exact."""
    q = sympy.sympify(q)
    if q.is_Integer:
        return Val(str(int(q)), ATOM if q >= 0 else UNARY, (), "num")
    short = repr(float(q))
    if Rational(short) == q or len(str(q.p)) + len(str(q.q)) > 12:
        return Val(short, ATOM if q >= 0 else UNARY, (), "num")
    return Val(f"{int(q.p)} / {int(q.q)}", MUL if q >= 0 else UNARY, (), "num")
