"""The text form, second half: from a syntax tree to SymPy expressions over tensors.

Names are looked up, never sympified; every refusal says its place in the text.  :mod:`derive.language.text.parse` builds the
statements on this.
"""

from __future__ import annotations

import contextlib
import functools
import math
import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NoReturn, TypeAlias

import sympy
from sympy import And, Basic, Expr, Integer, Or, Piecewise, Rational
from sympy.core.function import AppliedUndef
from sympy.logic.boolalg import Boolean

from derive.language import nodes
from derive.language.errors import DeriveError, IndexCaptureError, ShapeError, UnsupportedError
from derive.language.functions import FUNCTIONS
from derive.language.grouping import is_group, scaled
from derive.language.hints import did_you_mean
from derive.language.index import Index, Size, index
from derive.language.matrices import Determinant, Inverse, LogAbsDet, LogDet
from derive.language.naming import primed
from derive.language.tensor import Read, Tensor
from derive.language.unknown import Unknown, applied_function

from .syntax import MATRICES, REDUCTIONS, Node
from .tokens import Text, Token

# calls a text may write, by name; sqrt is a power
UNARY: dict[str, Callable[[Expr], Expr]] = {n: f.form for f in FUNCTIONS.values() if f.nargs == 1 for n in f.text}
UNARY["sqrt"] = sympy.sqrt
POINTWISE = {n: f.form for f in FUNCTIONS.values() if f.nargs == 2 for n in f.text}
CHOICES = ("where", "piecewise")
FUNCTION_NAMES = (*UNARY, *POINTWISE, *CHOICES, *MATRICES)

MATRIX = {"inverse": Inverse, "inv": Inverse, "det": Determinant, "logdet": LogDet, "logabsdet": LogAbsDet}
REDUCED = {"sum": nodes.Sum, "max": nodes.Max, "argmax": nodes.ArgMax, "prod": nodes.Prod}

RELATIONS = {"<": sympy.Lt, "<=": sympy.Le, ">": sympy.Gt, ">=": sympy.Ge, "==": sympy.Eq, "!=": sympy.Ne}
CONSTANTS = {"pi": sympy.pi, "inf": sympy.oo, "true": sympy.true, "false": sympy.false}
ROOTS = 1000  # the highest root of a number that is taken exactly
POWER_BITS = 1_400  # an exact power of numbers with more bits than this is refused

# what SymPy raises where its own rules fail: for a Piecewise inside the condition of another, say
SYMPY_FAILS = (KeyError, IndexError, AttributeError, NotImplementedError, RecursionError)

Scope: TypeAlias = Mapping[str, Index]  # the index letters that are bound here


class Expressions:
    """The names a text knows, and what its expressions mean; one method per kind of node."""

    def __init__(self, source: Text, scope: Mapping[str, Tensor] | None = None) -> None:
        self.error = source.error
        self.tensors: dict[str, Tensor] = dict(scope or {})
        self.sizes: dict[str, Size] = {}
        self.letters: dict[str, Index] = {}
        self.functions: set[str] = set()  # the unknown ones
        self.open = scope is not None  # free letters need not stand on a left-hand side
        for t in self.tensors.values():
            self.know(t)

    def know(self, t: Tensor) -> None:
        for axis in (*t.axes, *(() if t.below is None else (t.below,))):
            self.sizes.update({s.name: s for s in axis.free_symbols})
        for letter in (*t.letters, *(t.definition.idx if t.definition else ())):
            if letter is not None:
                self.letters.setdefault(letter.name, letter)
        if t.definition is not None:
            self.functions |= {f.name_only for f in t.definition.body.atoms(Unknown)}
            self.functions |= {f.func.__name__ for f in t.definition.body.atoms(AppliedUndef)}

    def letter(self, token: Token) -> Index:
        """The index of a letter: as declared, or ranging over the size of its own name in capitals."""
        if token.text not in self.letters:
            base = token.text.rstrip("'")
            made = index(token.text, size=self.letters[base].size if base in self.letters else index(base).size)
            self.letters[token.text] = made
            self.sizes.update({s.name: s for s in made.size.free_symbols})
        return self.letters[token.text]

    @contextlib.contextmanager
    def located(self, token: Token) -> Iterator[None]:
        """Errors raised by the library are raised again as the same class, with the place in the text."""
        try:
            yield
        except DeriveError as e:
            if e.line is not None:
                raise
            raise self.error(token, str(e), type(e)) from None

    def finished(self, node: Node, scope: Scope) -> Expr:
        """The right-hand side, refused if arithmetic on its numbers left the real numbers."""
        try:
            value = self.number(node, scope)
        except (TypeError, ArithmeticError, ValueError) as e:
            if isinstance(e, DeriveError):
                raise
            raise self.error(node.token, f"this expression has no real value: {e}", UnsupportedError) from None
        except SYMPY_FAILS as e:
            raise self.error(
                node.token,
                f"SymPy cannot make this expression ({type(e).__name__}); give its parts, such as a choice that is "
                f"compared, names of their own",
                UnsupportedError,
            ) from None
        if _is_infinity(node):  # a constant
            return value
        branches = {p.args[0] for p in value.atoms(Piecewise) for p in p.args} if value.has(Piecewise) else set()
        loose = value.xreplace({v: Integer(0) for v in branches if v in (sympy.oo, -sympy.oo)}) if branches else value
        outside = [n for n in value.atoms(sympy.Pow, sympy.Function) if n.is_number and n.is_extended_real is False]
        if outside or loose.has(sympy.zoo, sympy.nan, sympy.oo, -sympy.oo, sympy.I):
            raise self.error(
                node.token,
                f"this expression is {value}, which is not a real number; inf may only stand as a branch of where(...) or "
                f"as a whole definition",
                UnsupportedError,
            )
        return value

    def number(self, node: Node, scope: Scope) -> Expr:
        value = self.value(node, scope)
        if not isinstance(value, Expr):
            raise self.error(node.token, "found a condition, expected a number; write [condition] for 1 or 0")
        return value

    def condition(self, node: Node, scope: Scope) -> Boolean:
        value = self.value(node, scope)
        if isinstance(value, Read) and value.tensor.dtype == "bool":
            return sympy.Ne(value, 0)
        if not isinstance(value, Boolean):
            raise self.error(node.token, "found a number, expected a condition such as q <= p")
        return value

    def value(self, node: Node, scope: Scope) -> Basic:
        return getattr(self, f"_{node.kind}")(node, scope)

    def _number(self, node: Node, scope: Scope) -> Expr:
        mantissa, _, power = node.token.text.lower().partition("e")
        whole, _, part = mantissa.partition(".")
        shift = int(power or 0) - len(part)
        if abs(shift) > 400 or math.isinf(float(node.token.text)):
            raise self.error(node.token, "a number beyond 1e308, which is infinite as a float, or below 1e-400")
        return Rational(int(whole + part)) * Rational(10) ** shift

    def _name(self, node: Node, scope: Scope) -> Basic:
        name = node.token.text
        if name in scope:
            return scope[name]
        if name in self.tensors and not self.tensors[name].rank:
            return Read(self.tensors[name])
        if self.open and name in self.letters:
            return self.letters[name]
        for known in (self.sizes, CONSTANTS):
            if name in known:
                return known[name]
        if self.open and name.rstrip("'") in {**self.letters, **{s.lower(): s for s in self.sizes}}:
            return self.letter(node.token)
        if name in self.tensors:
            t = self.tensors[name]
            raise self.error(
                node.token,
                f"{name} has {t.rank} axes; read it at indices, as in "
                f"{name}[{', '.join(str(x or '...') for x in t.letters)}]",
                ShapeError,
            )
        letter = name.rstrip("'")
        if name in self.letters or (len(letter) == 1 and letter.islower()):
            raise self.error(
                node.token,
                f"index {name} is unbound; put it on the left-hand side or reduce over it, as "
                f"in sum[{name}](...); a scalar is declared, as in {name}: float",
                IndexCaptureError,
            )
        names = [*scope, *self.tensors, *self.sizes]
        raise self.error(
            node.token,
            f"unknown name {name!r}, expected an index in scope, a tensor or a size" + did_you_mean(name, names),
        )

    def _read(self, node: Node, scope: Scope) -> Read:
        name = node.token.text
        if name not in self.tensors:
            hint = (
                f"; it is a function, applied as {name}(...)"
                if name in self.functions
                else f"; {name}[...] reduces over indices and is followed by (...)"
                if name in (*REDUCTIONS, *MATRICES)
                else ""
            )
            raise self.error(
                node.token,
                f"unknown tensor {name!r}"
                + (hint or did_you_mean(name, self.tensors) or f"; declare it, as in {name}: float[...]"),
            )
        idx = [self.position(a, scope, name) for a in node.args]
        with self.located(node.token):
            return Read(self.tensors[name], *idx)

    def position(self, node: Node, scope: Scope, name: str) -> Expr:
        value = self.number(node, scope)
        if value.is_integer is not True:
            raise self.error(
                node.token,
                f"an index of {name} is a whole-number expression of indices, sizes and "
                f"integer tensors, such as 2*i + r - 1; found {value}",
                UnsupportedError,
            )
        return value

    def _reduce(self, node: Node, scope: Scope) -> Expr:
        for w in node.words:
            if w.text in scope:
                raise self.error(
                    w,
                    f"index {w.text} is already in use around this {node.token.text}; use "
                    f"another letter for one of the two, such as {w.text}'",
                    IndexCaptureError,
                )
        over = [self.letter(w) for w in node.words]
        body = self.number(node.args[0], {**scope, **{i.name: i for i in over}})
        with self.located(node.token):
            if node.token.text == "mean":
                return nodes.Sum(body, *over) / functools.reduce(operator.mul, [i.size for i in over])
            if node.token.text == "min":
                return -nodes.Max(-body, *over)
            return REDUCED[node.token.text](body, *over)

    def _matrix(self, node: Node, scope: Scope) -> Expr:
        """``inverse[p,q](A[p,q])[i,j]`` and ``logdet[p,q](A[p,q])``; of all of A ``inverse(A)[i,j]`` and ``logdet(A)``."""
        body, *at = node.args or (node,)
        kind = MATRIX[node.token.text]
        if node.words:
            for w in node.words:
                if w.text in scope:
                    raise self.error(w, f"index {w.text} is already in use; use another letter", IndexCaptureError)
            over = [self.letter(w) for w in node.words]
            inside = self.number(body, {**scope, **{i.name: i for i in over}})
        else:
            inside, over = self.whole_matrix(node, body, scope)
        places = [self.position(a, scope, node.token.text) for a in at]
        with self.located(node.token):
            return kind(inside, tuple(over), *places)

    def whole_matrix(self, node: Node, body: Node, scope: Scope) -> tuple[Expr, list[Index]]:
        """A named matrix read at two letters of its own."""
        t = self.tensors.get(body.token.text) if body.kind == "name" else None
        if t is None or t.rank != 2:
            word = node.token.text
            raise self.error(
                node.token,
                f"{word}(A) takes the name of a matrix; of anything else, such as each of a batch, name its two indices, "
                f"as in {word}[p,q](A[b,p,q])",
                ShapeError,
            )
        over: list[Index] = []
        for n, axis in enumerate(t.axes):
            letter = t.letters[n]
            name = primed(letter.name if letter is not None else "pq"[n], {*scope, *(i.name for i in over)})
            over.append(Index(name, axis))
        return Read(t, *over), over

    def _call(self, node: Node, scope: Scope) -> Expr:
        name = node.token.text
        if (base := name.rstrip("'")) in self.functions:
            if len(node.args) != 1:
                raise self.error(node.token, f"{name} is a function of one number, found {len(node.args)}")
            return applied_function(base, self.number(node.args[0], scope), len(name) - len(base))
        if name in UNARY:
            if len(node.args) != 1:
                raise self.error(node.token, f"{name} takes one argument, found {len(node.args)}")
            argument = self.number(node.args[0], scope)
            if argument.is_number and not argument.is_Rational and name in ("floor", "sign"):
                raise self.error(node.token, f"{name} of the constant {argument}; write its value", UnsupportedError)
            return UNARY[name](argument)
        if name in POINTWISE:
            if len(node.args) < 2:
                raise self.error(
                    node.token,
                    f"{name}(a, b) takes two arguments or more, found {len(node.args)}; "
                    f"over an index, write {name[:3]}[k](...)",
                )
            with self.located(node.token):
                return functools.reduce(POINTWISE[name], [self.number(a, scope) for a in node.args])
        if name == "where":
            if len(node.args) != 3:
                raise self.error(node.token, f"where(condition, a, b) takes three arguments, found {len(node.args)}")
            condition, a, b = node.args
            return self.choice([(a, condition)], b, scope)
        if name == "piecewise":
            return self.piecewise(node, scope)
        raise self.error(
            node.token,
            f"unknown function {name!r}"
            + (did_you_mean(name, FUNCTION_NAMES) or f"; known are {', '.join(FUNCTION_NAMES)}")
            + f"; an unknown function is declared, {base}: function",
        )

    def piecewise(self, node: Node, scope: Scope) -> Expr:
        *pairs, last = node.args or (node,)
        if last.kind == "tuple" and len(last.args) == 2 and self.condition(last.args[1], scope) == sympy.true:
            last = last.args[0]
        if not pairs or last.kind == "tuple" or any(p.kind != "tuple" or len(p.args) != 2 for p in pairs):
            raise self.error(
                node.token,
                "expected piecewise((a, condition), (b, condition), c): pairs, and last the "
                "value where no condition holds",
            )
        return self.choice([p.args for p in pairs], last, scope)

    def choice(self, pairs: Sequence[tuple[Node, ...]], otherwise: Node, scope: Scope) -> Expr:
        made = [(self.number(a, scope), self.condition(c, scope)) for a, c in pairs]
        return Piecewise(*made, (self.number(otherwise, scope), True), evaluate=False)

    def _tuple(self, node: Node, scope: Scope) -> NoReturn:
        raise self.error(node.token, "found a list in parentheses, expected one expression")

    def _sum(self, node: Node, scope: Scope) -> Expr:
        signs = [1] + [1 if w.text == "+" else -1 for w in node.words]
        return sympy.Add(*(scaled(Integer(s), self.number(a, scope)) for s, a in zip(signs, node.args, strict=True)))

    def _product(self, node: Node, scope: Scope) -> Expr:
        factors = [self.number(node.args[0], scope)]
        for word, arg in zip(node.words, node.args[1:], strict=True):
            value = self.number(arg, scope)
            if word.text != "*" and value == 0:
                raise self.error(word, "division by zero", UnsupportedError)
            if word.text == "//":
                left = sympy.Mul(*factors)
                if (
                    any(not isinstance(s, Size) for s in left.free_symbols | value.free_symbols)
                    or left.has(Read)
                    or value.has(Read)
                ):
                    raise self.error(
                        word, "// divides sizes; an index is affine, such as 2*u + r - 1", UnsupportedError
                    )
                factors = [sympy.floor(left / value)]
            else:
                factors.append(value if word.text == "*" else 1 / value)
        numbers = [f for f in factors if f.is_Rational]
        return scaled(sympy.Mul(*numbers), sympy.Mul(*(f for f in factors if not f.is_Rational)))

    def _negative(self, node: Node, scope: Scope) -> Expr:
        return scaled(Integer(-1), self.number(node.args[0], scope))

    def _power(self, node: Node, scope: Scope) -> Expr:
        base, exponent = (self.number(a, scope) for a in node.args)
        if base == 0 and exponent.is_negative:
            raise self.error(node.token, "zero to a negative power", UnsupportedError)
        size = max((max(abs(n.p), n.q).bit_length() for n in base.atoms(Rational) if abs(n) != 1), default=0)
        steps = max((abs(n) for n in exponent.atoms(Rational)), default=Integer(0))
        if size * steps > POWER_BITS or steps > 10**9:
            raise self.error(
                node.token, f"this power is too large to be exact; at most {POWER_BITS} bits", UnsupportedError
            )
        if base.is_number and exponent.is_Rational and exponent.q > ROOTS:
            raise self.error(
                node.token,
                f"a number to the power {exponent}: write its value (SymPy looks for exact roots)",
                UnsupportedError,
            )
        return sympy.Pow(base, exponent, evaluate=not is_group(base))

    def _compare(self, node: Node, scope: Scope) -> Boolean:
        parts = [self.number(a, scope) for a in node.args]
        for w, a, b in zip(node.words, parts, parts[1:], strict=False):
            for side in (a, b):
                if side.is_number and side.is_real is False:
                    raise self.error(w, f"{side} has no real value", UnsupportedError)
            if a.is_number and b.is_number and not (a.is_Rational and b.is_Rational):
                raise self.error(w, f"{a} and {b} are constants; write true or false for what holds", UnsupportedError)
        found = [RELATIONS[w.text](a, b) for w, a, b in zip(node.words, parts, parts[1:], strict=False)]
        return found[0] if len(found) == 1 else And(*found)

    def _and(self, node: Node, scope: Scope) -> Boolean:
        return And(*(self.condition(a, scope) for a in node.args))

    def _or(self, node: Node, scope: Scope) -> Boolean:
        return Or(*(self.condition(a, scope) for a in node.args))

    def _not(self, node: Node, scope: Scope) -> Boolean:
        return sympy.Not(self.condition(node.args[0], scope))

    def _bracket(self, node: Node, scope: Scope) -> Expr:
        with self.located(node.token):
            return nodes.Iverson(self.condition(node.args[0], scope))


def _is_infinity(node: Node) -> bool:
    """``inf`` or ``-inf``, and nothing else."""
    return node.token.text == "inf" if node.kind == "name" else node.kind == "negative" and _is_infinity(node.args[0])
