"""SymPy's matrix expressions -> the syntax tree of matrix formulas."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import sympy
from sympy import Add, Basic, Expr, Mul, Pow
from sympy.matrices.expressions import hadamard, kronecker
from sympy.matrices.expressions.applyfunc import ElementwiseApplyFunction
from sympy.matrices.expressions.diagonal import DiagMatrix
from sympy.matrices.expressions.matexpr import MatrixElement, MatrixExpr
from sympy.matrices.expressions.special import OneMatrix

from derive.language.errors import ShapeError, UnsupportedError
from derive.language.functions import FUNCTIONS
from derive.language.index import as_sympy

from .lower import size_of
from .tree import ELEMENTWISE, OF_SIZES, Formula

NUMBER_FUNCTIONS = {f.form: f.text[0] for f in FUNCTIONS.values() if f.nargs == 1}


def formula_of(expr: Expr) -> tuple[Formula, dict[str, tuple[int | Expr, ...]]]:
    """The formula, and the sizes of every symbol in it as declared."""
    if isinstance(expr, str):
        raise UnsupportedError(f"from_matrix({expr!r}): this is a text; texts go through dv.matrix")
    expr = as_sympy(expr, "from_matrix")
    work = _Reader()
    found = work.node(expr)
    sizes = {s.name for dims in work.dims.values() for d in dims if isinstance(d, Expr) for s in d.free_symbols}
    clash = [n for n in sizes if work.dims.get(n)]
    if clash:
        raise ShapeError(f"the name {clash[0]} is that of a size and of a tensor; give one of them another name")
    return _sizes_as_values(found, sizes), {n: d for n, d in work.dims.items() if n not in sizes}


def _sizes_as_values(f: Formula, sizes: set[str]) -> Formula:
    """A symbol that is a size and stands in the expression is the number that it is, not a scalar of its own."""
    if f.op in OF_SIZES:
        return f
    if f.op == "name" and f.text in sizes:
        return Formula("size", (f,))
    return Formula(f.op, tuple(_sizes_as_values(a, sizes) for a in f.args), f.text)


class _Reader:
    def __init__(self) -> None:
        self.dims: dict[str, tuple[int | Expr, ...]] = {}

    def named(self, name: str, dims: Iterable[Expr]) -> Formula:
        found = tuple(int(d) if d.is_Integer else d for d in map(size_of, dims))
        found = found if found != (1, 1) else ()
        if self.dims.setdefault(name, found) != found:
            raise ShapeError(f"the name {name} has two shapes: {_shown(self.dims[name])} and {_shown(found)}")
        return Formula("name", text=name)

    def chain(self, op: str, items: Sequence[Formula]) -> Formula:
        found = items[0]
        for f in items[1:]:
            found = Formula(op, (found, f))
        return found

    def node(self, e: Basic) -> Formula:
        if isinstance(e, sympy.MatrixSymbol):
            return self.named(e.name, e.shape)
        if isinstance(e, MatrixElement):
            if e.parent.shape == (1, 1):
                return self.node(e.parent)
            raise UnsupportedError(f"{e}: an element of a matrix has no matrix notation; write it in index notation")
        if isinstance(e, sympy.MatrixBase):
            if e.shape == (1, 1):
                return self.node(e[0, 0])
            raise UnsupportedError(
                f"{e}: an explicit matrix; give it a name with MatrixSymbol and its numbers when the program is called"
            )
        if isinstance(e, MatrixExpr):
            return self.matrix(e)
        if isinstance(e, Expr):
            return self.number(e)
        raise UnsupportedError(f"{e} is {type(e).__name__}, not a matrix expression")

    def matrix(self, e: MatrixExpr) -> Formula:
        if isinstance(e, sympy.MatAdd):
            return self.chain("+", [self.node(a) for a in e.args])
        if isinstance(e, sympy.MatMul):
            return self.chain("*", [self.node(a) for a in e.args])
        if isinstance(e, sympy.Transpose):
            return Formula("'", (self.node(e.arg),))
        if isinstance(e, sympy.Inverse):
            return Formula("inv", (self.node(e.arg),))
        if isinstance(e, sympy.MatPow):
            base = self.node(e.base)
            if e.exp == -1:
                return Formula("inv", (base,))
            if e.exp.is_Integer and e.exp > 0:
                return Formula("^", (base, self.node(e.exp)))
            raise UnsupportedError(f"{e}: a matrix has whole powers, and -1")
        if isinstance(e, hadamard.HadamardProduct):
            return self.chain(".*", [self.node(a) for a in e.args])
        if isinstance(e, hadamard.HadamardPower):
            return Formula(".^", (self.node(e.base), self.node(e.exp)))
        if isinstance(e, kronecker.KroneckerProduct):
            return self.chain("kron", [self.node(a) for a in e.args])
        if isinstance(e, DiagMatrix):
            return Formula("diag", (self.node(e.args[0]),))
        if isinstance(e, sympy.Identity):
            return Formula("eye", (Formula("number", text="1"),))
        if isinstance(e, sympy.ZeroMatrix | OneMatrix):
            fill = Formula("number", text="1" if isinstance(e, OneMatrix) else "0")
            if e.shape == (1, 1):
                return fill
            vector = Formula("vector", (fill,))
            return (
                vector
                if e.shape[1] == 1
                else Formula("'", (vector,))
                if e.shape[0] == 1
                else Formula("matrix", (fill,))
            )
        if isinstance(e, ElementwiseApplyFunction):
            return self.elementwise(e)
        raise UnsupportedError(
            f"{e}: {type(e).__name__} has no form here; accepted are sums, products, powers, transposes, "
            f"inverses, traces, determinants, Hadamard and Kronecker products, DiagMatrix, applyfunc"
        )

    def elementwise(self, e: ElementwiseApplyFunction) -> Formula:
        inside, dummy = self.node(e.expr), sympy.Dummy("x", real=True)
        body = e.function(dummy)
        return self.number(body, {dummy: inside})

    def number(self, e: Expr, known: Mapping[Expr, Formula] | None = None) -> Formula:
        """A scalar expression; ``known`` says what stands for a dummy, element by element."""
        known = known or {}
        if e in known:
            return known[e]
        each = bool(known) and e.has(*known)
        if e.is_Rational or e.is_Float:
            value = e if e.is_Rational else sympy.Rational(repr(float(e)))
            top = Formula("number", text=str(abs(value.p)))
            top = top if value.q == 1 else Formula("/", (top, Formula("number", text=str(value.q))))
            return Formula("neg", (top,)) if value < 0 else top
        if isinstance(e, sympy.Trace | sympy.Determinant):
            return Formula("tr" if isinstance(e, sympy.Trace) else "det", (self.node(e.arg),))
        if isinstance(e, MatrixElement):
            return self.node(e)
        if isinstance(e, sympy.Symbol):
            return self.named(e.name, (1, 1))
        if isinstance(e, Add | Mul):
            parts = [self.number(a, known) if not isinstance(a, MatrixExpr) else self.node(a) for a in e.args]
            if isinstance(e, Mul):
                within = [bool(known) and a.has(*known) for a in e.args]
                plain = [p for p, w in zip(parts, within, strict=True) if not w]
                inside = [p for p, w in zip(parts, within, strict=True) if w]
                return self.chain("*", [*plain, self.chain(".*", inside)] if inside else plain)
            if each and any(not a.has(*known) for a in e.args):
                parts = [
                    p if a.has(*known) else Formula("*", (p, known_ones(known)))
                    for p, a in zip(parts, e.args, strict=True)
                ]
            return self.chain("+", parts)
        if isinstance(e, Pow):
            return Formula(".^" if each else "^", (self.number(e.base, known), self.number(e.exp)))
        name = NUMBER_FUNCTIONS.get(type(e))
        if name is not None and len(e.args) == 1:
            return Formula(name, (self.number(e.args[0], known),))
        if isinstance(e, sympy.Sum):
            raise UnsupportedError(f"{e}: a sum of elements; give the 1 x 1 matrix expression itself, without [0, 0]")
        raise UnsupportedError(
            f"{e}: {type(e).__name__} has no form here; accepted functions are {', '.join(ELEMENTWISE)}"
        )


def known_ones(known: Mapping[Expr, Formula]) -> Formula:
    """A matrix of ones of the shape of what a dummy stands for: ``X .^ 0``."""
    (inside,) = known.values()
    return Formula(".^", (inside, Formula("number", text="0")))


def _shown(dims: tuple[int | Expr, ...]) -> str:
    return " x ".join(map(str, dims)) or "scalar"
