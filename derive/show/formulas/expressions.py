"""SymPy expressions -> layout trees.

SymPy orders the arguments of sums and products for its own purposes; here they get the order a person writes: what is
positive first, numbers before letters in a product, plain reads before functions before sums, brackets last.
"""

from __future__ import annotations

import decimal
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

import sympy
from sympy import Add, Basic, Expr, Integer, Mul, Pow, Rational
from sympy.logic.boolalg import And, Boolean, BooleanFalse, BooleanTrue, Not, Or

from derive.language import nodes
from derive.language.errors import UnsupportedError
from derive.language.flat import flat_indices
from derive.language.functions import FUNCTIONS
from derive.language.index import Index, Size
from derive.language.matrices import KINDS, MatrixFunction
from derive.language.nodes import Iverson, Reduction
from derive.language.tensor import Read
from derive.language.unknown import Unknown

from .layout import (
    Apply,
    Big,
    Cases,
    Element,
    Entry,
    Exp,
    Fence,
    Flat,
    Fraction,
    Inverted,
    Letter,
    Logic,
    Member,
    Node,
    Num,
    Partial,
    Power,
    Product,
    Relation,
    Root,
    Sum,
    Transposed,
)
from .letters import Scope, open_scope
from .names import Namer

# functions that a formula writes as name(arguments), and those that it draws: the language's, and what derivatives and
# SymPy's own expressions bring
APPLIED = {f.form: f.text[0] for f in FUNCTIONS.values() if not f.shape} | {sympy.Max: "max", sympy.Min: "min"}
FENCED = {f.form: f.shape for f in FUNCTIONS.values() if f.shape not in ("", "exp")} | {sympy.ceiling: "ceil"}
SHAPED = {sympy.exp, Pow, sympy.Piecewise, Iverson, Unknown, *FENCED}
RELATIONS = {sympy.Eq: "==", sympy.Ne: "!=", sympy.Lt: "<", sympy.Le: "<=", sympy.Gt: ">", sympy.Ge: ">="}
LONGEST_FRACTION = 12  # digits above and below the line
LONGEST_DECIMAL = 17  # digits of a float
BIG_OPS = {nodes.Sum: "sum", nodes.Max: "max", nodes.ArgMax: "argmax", nodes.Prod: "prod"}


@dataclass(frozen=True)
class Context:
    """What a formula is shown with: the letters in force and the names of tensors."""

    scope: Scope = field(default_factory=Scope)
    names: Namer = field(default_factory=Namer)
    bound: frozenset[Index] = frozenset()

    def bind(self, indices: Iterable[Index]) -> Context:
        return replace(self, scope=self.scope.bind(indices), bound=self.bound | set(indices))


def expression(e: Basic, names: Namer | None = None) -> Node:
    """The layout of an expression that stands alone; its free indices keep their letters."""
    e = sympy.sympify(e, strict=True)
    free = [s for s in e.free_symbols if isinstance(s, Index)]
    names = names or Namer()
    return layout(e, Context(open_scope(free, names.letters).reserve(scalar_names(e)), names))


def scalar_names(e: Basic) -> set[str]:
    """Names that stand bare in a formula (sizes, scalars): a bound index may not be shown by the same letter."""
    bare = {s.name for s in e.free_symbols if isinstance(s, Size)}
    return bare | {r.tensor.name for r in e.atoms(Read) if not r.idx}


def layout(e: Basic, ctx: Context) -> Node:
    """The layout of an expression or a condition; a leading minus becomes a one-item :class:`Sum`."""
    sign, node = signed(e, ctx)
    return node if sign > 0 else Sum(((-1, node),))


def signed(e: Basic, ctx: Context) -> tuple[int, Node]:
    """A sign and the layout of the absolute value, so that sums can write ``a - b``."""
    if e.is_Number and e.is_extended_negative:
        return -1, number(-e)
    if isinstance(e, Mul):
        coef, rest = e.as_coeff_Mul()
        if coef.is_negative:
            return -1, _unsigned(Mul(-coef, *Mul.make_args(rest), evaluate=False) if coef != -1 else rest, ctx)
    return 1, _unsigned(e, ctx)


def _unsigned(e: Basic, ctx: Context) -> Node:
    if isinstance(e, Index):
        return ctx.scope.letter(e)
    if isinstance(e, Read):
        return read(e, ctx)
    if isinstance(e, sympy.Symbol):
        return Letter(e.name)
    if e.is_Number or e in (sympy.oo, sympy.zoo, sympy.nan):
        return number(e)
    if isinstance(e, sympy.NumberSymbol):
        return Letter({sympy.pi: "pi", sympy.E: "e"}.get(e, str(e)))
    if isinstance(e, Add):
        flat = flat_indices(e)
        return Flat(tuple(ctx.scope.letter(i) for i in flat), _counted(flat, ctx)) if flat else addition(e, ctx)
    if isinstance(e, Mul):
        return multiplication(e, ctx)
    if isinstance(e, MatrixFunction):
        return matrix_function(e, ctx)
    if isinstance(e, Reduction):
        inner = ctx.bind(e.binders)
        return Big(BIG_OPS[type(e)], tuple(inner.scope.letter(b) for b in e.binders), (), layout(e.body, inner))
    if isinstance(e, (Boolean, BooleanTrue, BooleanFalse)):
        return condition(e, ctx)
    return _function(e, ctx)


def matrix_of(read: Read, over: Sequence[Index], ctx: Context) -> Node:
    """The matrix itself, over its last two axes."""
    name, batch = ctx.names.name(read.tensor), read.idx[:-2]
    node = Element(name, tuple(layout(i, ctx) for i in batch)) if batch else name
    return Transposed(node) if read.idx[-2:] == tuple(reversed(over)) else node


def matrix_function(e: MatrixFunction, ctx: Context) -> Node:
    """A matrix function inside an expression, before it is named: its element stands in brackets."""
    if (
        isinstance(e.body, Read)
        and set(e.body.idx[-2:]) == set(e.binders)
        and not any(i.free_symbols & set(e.binders) for i in e.body.idx[:-2])
    ):
        node = matrix_of(e.body, e.binders, ctx)
    else:
        inner = ctx.bind(e.binders)
        node = Big("matrix", tuple(inner.scope.letter(b) for b in e.binders), (), layout(e.body, inner))
    if not e.at:
        return Apply(KINDS[type(e)], (node,))
    return Entry(Inverted(node), tuple(layout(i, ctx) for i in e.at))


def _function(e: Expr, ctx: Context) -> Node:
    if isinstance(e, sympy.exp):
        return Exp(layout(e.exp, ctx))
    if isinstance(e, Pow):
        return power(e, ctx)
    if type(e) in FENCED:
        return Fence(FENCED[type(e)], layout(e.args[0], ctx))
    if isinstance(e, Iverson):
        return Fence("iverson", condition(e.condition, ctx))
    if isinstance(e, sympy.Piecewise):
        return Cases(tuple((layout(v, ctx), None if c == sympy.true else condition(c, ctx)) for v, c in e.args))
    if isinstance(e, sympy.Mod):
        return Product(tuple(layout(a, ctx) for a in e.args), "mod")
    if isinstance(e, Unknown):
        return Apply(e.called, (layout(e.args[2], ctx),))
    name = APPLIED.get(type(e))
    if name is None:
        raise UnsupportedError(
            f"cannot show {type(e).__name__} in {e!r}: it is not in the closed set of functions "
            f"({', '.join(sorted(set(APPLIED.values())))}, exp, powers, Abs, floor, Piecewise)"
        )
    return Apply(name, tuple(layout(a, ctx) for a in e.args))


def read(r: Read, ctx: Context) -> Node:
    """One element of a tensor."""
    name, idx = ctx.names.name(r.tensor), tuple(_place(r, n, ctx) for n in range(len(r.idx)))
    element = Element(name, idx) if idx else name
    if not ctx.names.is_partial(r.tensor):
        return element
    primal = replace(name, mark="")
    return Partial(ctx.names.loss_name(), Element(primal, idx) if idx else primal, element)


def _place(r: Read, axis: int, ctx: Context) -> Node:
    """One index of a read; the element of an axis whose elements have letters is shown by its letter."""
    i = sympy.expand(r.idx[axis])
    if i.is_Integer and 0 <= i < len(letters := ctx.names.members(r.tensor, axis)):
        return Member(int(i), letters[int(i)])
    return layout(i, ctx)


def number(value: Expr) -> Node:
    """A number that is not negative; decimals such as 1/100000 are shown as such."""
    if value in (sympy.oo, sympy.zoo):
        return Num("infinity")
    if isinstance(value, sympy.Float):
        return Num(repr(float(value)))
    if not isinstance(value, Rational):
        return Num(str(value))
    if value.q == 1:
        return Num(whole_text(value.p))
    return Num(decimal_text(value)) if is_decimal(value) else Fraction(Num(str(value.p)), Num(str(value.q)))


def is_decimal(value: Rational) -> bool:
    """Whether a person would write it with a decimal point: 0.044715 and 1e-5, but 1/2, 1/10 and 1/3.

    So is a fraction of long numbers, such as a third of 0.7978845608.
    """
    if len(str(value.p)) + len(str(value.q)) > LONGEST_FRACTION:
        return True
    return value.q > 50 and set(sympy.factorint(value.q)) <= {2, 5} and value.q not in (64, 100, 128, 256, 512, 1024)


def whole_text(n: int) -> str:
    """A whole number; one of zeros after a digit or two, or of more digits than a float has, by its power of ten."""
    digits = str(n)
    if len(digits) > LONGEST_DECIMAL or (len(digits) > 6 and len(digits.rstrip("0")) <= 2):
        return _rounded(Rational(n))
    return digits


def decimal_text(value: Rational) -> str:
    """Its digits, as many as a float has."""
    places = max(sympy.multiplicity(2, value.q), sympy.multiplicity(5, value.q))
    digits = str(value.p * 10**places // value.q)
    if value.q != 2 ** sympy.multiplicity(2, value.q) * 5 ** sympy.multiplicity(5, value.q):
        return _rounded(value)
    if len(digits) > LONGEST_DECIMAL or (places > 3 and len(digits) <= 2) or places - len(digits) > 4:
        return _rounded(value)
    return f"{digits[:-places] or '0'}.{digits[-places:].zfill(places)}"


def _rounded(value: Rational) -> str:
    """``2.5e-17``, ``1e9`` or, near 1, ``0.26596152026666667``."""
    with decimal.localcontext(prec=LONGEST_DECIMAL):
        found = (decimal.Decimal(int(value.p)) / int(value.q)).normalize()
    if -4 < found.adjusted() < 6:
        return f"{found:f}"
    head, *tail = map(str, found.as_tuple().digits)
    return f"{'.'.join((head, ''.join(tail))) if tail else head}e{found.adjusted()}"


def power(e: Pow, ctx: Context) -> Node:
    base, exponent = e.base, e.exp
    if exponent == Rational(1, 2):
        return Root(layout(base, ctx))
    if exponent.is_Number and exponent.is_negative:
        return Fraction(Num("1"), layout(Pow(base, -exponent), ctx))
    return Power(layout(base, ctx), layout(exponent, ctx))


def addition(e: Add, ctx: Context) -> Node:
    """Positive terms first; among them letters before numbers, unless the rest is an exponential (``1 + exp(x)``)."""
    parts = sorted(Add.make_args(e), key=_term_order)
    shown = [signed(p, ctx) for p in parts]
    exponentials = any(isinstance(p, sympy.exp) or p.has(sympy.exp) for p in parts)
    shown = [
        s
        for _, s in sorted(
            zip(parts, shown, strict=True), key=lambda ps: (ps[1][0] < 0, bool(ps[0].is_number) != exponentials)
        )
    ]
    return Sum(tuple(shown))


def _counted(letters: Sequence[Index], ctx: Context) -> Node:
    """``(u V + v) C + c``, as one counts; of two letters ``K g + k``."""
    if len(letters) == 2:
        return addition(letters[0] * letters[1].size + letters[1], ctx)
    body: Node = ctx.scope.letter(letters[0])
    for i in letters[1:]:
        body = Sum(((1, Product((body, layout(i.size, ctx)))), (1, ctx.scope.letter(i))))
    return body


def _term_order(e: Expr) -> tuple[bool, int, bool, int, str]:
    factors = [f for f in Mul.make_args(e) if not f.is_number]
    degree = sum(int(f.exp) if isinstance(f, Pow) and f.exp.is_Integer else 1 for f in factors)
    indices_first = 0 if e.atoms(Read) or not e.free_symbols else -degree
    summed = any(isinstance(f, nodes.Sum) for f in factors)  # sum_i x[b,i] W[i,k] + c[k]
    return (not summed, indices_first, _size_only(e), min((factor_rank(f) for f in factors), default=0), name_key(e))


def _size_only(e: Expr) -> bool:
    return all(isinstance(s, Size) for s in e.free_symbols) and not e.atoms(Read)


def name_key(e: Expr) -> str:
    """Orders by what is read, then by where."""
    return "|".join(sorted({r.tensor.name for r in e.atoms(Read)})) + "#" + sympy.sstr(e)


def multiplication(e: Mul, ctx: Context) -> Node:
    inner = (g for f in Mul.make_args(e) for g in Mul.make_args(f))  # a product in a product is one product
    args = sorted(inner, key=lambda f: (factor_rank(f), _side(f, ctx), name_key(f)))
    coef = Mul(*(a for a in args if a.is_Rational))
    return product(coef, [a for a in args if not a.is_Rational], ctx)


def _side(f: Expr, ctx: Context) -> int:
    """Left of a matrix product when the summed letter comes last (``x[b,i]``), right when it comes first."""
    if not isinstance(f, Read) or not f.idx:
        return 1
    first, last = (bool(e.free_symbols & ctx.bound) for e in (f.idx[0], f.idx[-1]))
    return 1 + first - last


def factor_rank(f: Expr) -> int:
    """The order of factors: sizes, letters, reads, powers, functions, brackets' sums, Iverson brackets, reductions."""
    if isinstance(f, Pow):
        return max(factor_rank(f.base), 3)
    for rank, kinds in enumerate(
        (
            (Size,),
            (sympy.Symbol, sympy.NumberSymbol),
            (Read,),
            (),
            (sympy.Function, sympy.exp),
            (Add,),
            (sympy.Piecewise,),
            (Iverson,),
            (Reduction,),
        )
    ):
        if isinstance(f, kinds):
            return rank if f.func is not sympy.Piecewise else 6
    return 4


def product(coef: Rational, factors: Iterable[Expr], ctx: Context, tail: Node | None = None) -> Node:
    """``coef`` (positive) times factors in order, negative powers below the line; ``tail`` is a big operator."""
    above: list[Node] = []
    below: list[Node] = []
    for f in factors:
        base, exponent = f.as_base_exp() if isinstance(f, Pow) else (f, Integer(1))
        if exponent.is_Number and exponent.is_negative and not isinstance(f, sympy.exp):
            below.append(layout(Pow(base, -exponent), ctx))
        else:
            above.append(layout(f, ctx))
    return fraction_of(coef, above, below, tail)


def fraction_of(coef: Rational, above: Sequence[Node], below: Sequence[Node], tail: Node | None = None) -> Node:
    """The product of a positive number and of nodes above and below a line; ``tail`` stays on the line."""
    p, q = _parts_of(coef)
    up = [*([p] if p.text != "1" else []), *above]
    down = [*([q] if q is not None and q.text != "1" else []), *below]
    head = [Fraction(join(up), join(down))] if down else up
    return join([*head, *([tail] if tail is not None else [])])


def _parts_of(coef: Rational) -> tuple[Num, Num | None]:
    """The numbers above and below a line: ``0.5`` alone, ``2`` and ``3``, ``1`` and ``0.3081`` where one divides by that."""
    if coef.q == 1:
        return Num(whole_text(coef.p)), None
    if is_decimal(coef):
        return Num(decimal_text(coef)), None
    shift = 10 ** (len(str(coef.p)) - len(str(coef.p).rstrip("0")))
    if coef.q > 50 and shift > 100:
        return Num(whole_text(coef.p // shift)), Num(decimal_text(Rational(coef.q, shift)))
    return Num(str(coef.p)), Num(str(coef.q))


def join(items: Sequence[Node]) -> Node:
    if not items:
        return Num("1")
    return items[0] if len(items) == 1 else Product(tuple(items))


def condition(c: Boolean, ctx: Context) -> Node:
    """A relation or a combination of them."""
    if type(c) in RELATIONS:
        return relation(RELATIONS[type(c)], c.lhs, c.rhs, ctx)
    if isinstance(c, (And, Or)):
        parts = sorted(c.args, key=sympy.sstr)
        return Logic("and" if isinstance(c, And) else "or", tuple(condition(a, ctx) for a in parts))
    if isinstance(c, Not):
        return Logic("not", (condition(c.args[0], ctx),))
    if c in (sympy.true, sympy.false):
        return Letter("true" if c == sympy.true else "false")
    raise UnsupportedError(f"cannot show the condition {c!r}: it is not a relation, And, Or or Not")


def relation(op: str, lhs: Expr, rhs: Expr, ctx: Context) -> Node:
    """``lhs op rhs``; for ``... - m == 0`` the negative terms change sides, as a person would write it."""
    if rhs == 0 and op in ("==", "!=") and isinstance(lhs, Add):
        moved = [a for a in lhs.args if a.could_extract_minus_sign() and not a.is_number]
        if moved and len(moved) < len(lhs.args):
            lhs, rhs = lhs - Add(*moved), -Add(*moved)
    return Relation((layout(sympy.expand(lhs), ctx), layout(sympy.expand(rhs), ctx)), (op,))
