"""From the operations of a traced function to definitions: each by its row, named where its author named it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import sympy
from sympy import Expr, Integer, Piecewise

import derive as dv
from derive.language.index import Index, Size
from derive.language.matrices import MatrixFunction
from derive.language.naming import numbered, primed
from derive.language.nodes import Reduction, digamma, loggamma
from derive.language.tensor import Read, Tensor

from .definitions import Titles
from .flat import Block, Literal, Op, Var
from .moments import variance
from .numbers import exact
from .places import Places
from .recurrence import Loop
from .sizes import Sizes
from .source import statement
from .table import CALLED, PRIMITIVES, VIEWS, refuse
from .value import Value, is_heavy, kind_of, opened, parts_of, put

_LETTERS = "ruvqpsgmlnjkxyzwefac"
KINKS = {
    "relu": "relu'(0) = 0, as of jax.nn.relu; jnp.maximum(x, 0) has 1/2 there",
    "max": "at a tie the first argument has the gradient; JAX gives half to each",
    "min": "at a tie the first argument has the gradient; JAX gives half to each",
    "clamp": "at a bound the value has the gradient; JAX's may differ",
    "reduce_max": "among equal maxima the first has the gradient; JAX gives each an equal part",
    "reduce_min": "among equal minima the first has the gradient; JAX gives each an equal part",
    "reduce_window_max": "among equal maxima of a window the first has the gradient, as in JAX",
    "is_finite": "isfinite is taken to hold: values that are not finite are refused as inputs",
}
SHORT = 15  # nodes up to which an expression is written again where it is used
DEAR = (sympy.erf, sympy.erfc, sympy.erfinv, dv.ndtri, dv.log_ndtr, loggamma, digamma)  # computed once, however short
WIDE = 60  # nodes of an expression beyond which it gets a name


class Interpreter(Places):
    """The state: values by variable, the names taken, the definitions made, what was assumed."""

    def __init__(
        self, sizes: Sizes, below: dict[str, Expr], letters: dict[Expr, str], kinks: Mapping[str, str] = KINKS
    ):
        self.sizes = sizes
        self.below = below
        self.kinks = kinks
        self.letters = letters  # of axes whose size is a multiple of one
        self.env: dict[Var, Value] = {}
        self.names: dict[str, Tensor | None] = {}
        self.lines: dict[str, str] = {}  # where a definition stands
        self.conventions: dict[str, None] = {}
        self.uses: dict[Var, int] = {}
        self.titles = Titles()
        self.maker: dict[Var, Op] = {}
        self.whole: Block | None = None  # the function's own, not that of a loop in it
        self.loop: Loop | None = None
        self.nested = False  # within a loop that is written out, whose steps have no names
        self.reserved: set[str] = set()  # names that the function's author uses
        self.literals: dict[Var, np.ndarray] = {}  # arrays that the function holds
        self.arrays: dict[str, np.ndarray] = {}  # those of them that are inputs, by name
        self.known: dict[Var, np.ndarray | None] = {}  # what was computed of constants alone

    # -- running --------------------------------------------------------------------------------------------------

    def run(self, block: Block, ins: Sequence[Value]) -> list[Value]:
        """The values of a block's results."""
        self.env.update(zip(block.ins, ins, strict=True))
        self.whole = self.whole or block
        self.reserved |= {n for op in block.ops for f in op.frames if not f.is_library for n in statement(f)[1]}
        self.literals |= block.consts
        self._count(block)
        for op in block.ops:
            self.step(op, block)
        return [self.value(v) for v in block.outs]

    def _count(self, block: Block) -> None:
        """How often each value is used, by more than a change of how it is read."""
        for v in block.outs:
            self.uses[v] = self.uses.get(v, 0) + 1
        for op in reversed(block.ops):
            times = max((self.uses.get(v, 0) for v in op.outs), default=0) if op.name in VIEWS else 1
            for v in op.ins:
                self.uses[v] = self.uses.get(v, 0) + times
        self.titles.enter(block)

    def step(self, op: Op, block: Block) -> None:
        row = PRIMITIVES.get(op.name)
        if row is None or op.called in CALLED:
            raise refuse(op)
        for v in op.outs:
            if v.dtype is not None and not self._is_real(v.dtype):
                raise refuse(op, f"{v.dtype} is not in the language; accepted are floats, integers and booleans")
        try:
            found = row(self, op, [self.value(v) for v in op.ins])
        except (TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
            why = (
                f"no formula was found for it ({type(error).__name__}: {error}); accepted: the same in other operations"
            )
            raise refuse(op, why) from error
        made = self._variance(found)
        if made is found:
            self._convention(op, made)
        for n, (var, value) in enumerate(zip(op.outs, [made] if isinstance(made, Value) else made, strict=True)):
            self.env[var] = self.settled(op, n, var, value, block)
            self.maker[var] = op

    def _variance(self, made: Any) -> Any:
        """A variance as the mean of squared differences; the mean of squares goes where nothing else reads it."""
        found = variance(made.body) if isinstance(made, Value) and self.loop is None else None
        if found is None:
            return made
        body, squares = found
        var = next((v for v, value in self.env.items() if value.tensor is squares), None)
        if var is not None and self.uses.get(var, 0) == 1:
            self.names.pop(squares.name)
            self.lines.pop(squares.name, None)
        return Value(made.axes, body, made.kind)

    def _convention(self, op: Op, made: Value | Sequence[Value]) -> None:
        """Keep where JAX's own gradient differs: at kinks and ties, in what is computed of the arguments."""
        said = self.kinks.get(op.name)
        if said is None or not isinstance(made, Value) or made.kind != "float" or not made.body.has(Read):
            return
        if op.name == "max" and isinstance(made.body, dv.relu):
            said = self.kinks.get("relu")
            if said is None:
                return
        stands = next((f for f in op.frames if not f.is_library), None)
        self.conventions[f"{stands.shown}: {said}" if stands else said] = None

    @staticmethod
    def _is_real(dtype: Any) -> bool:
        try:
            return np.dtype(dtype).kind in "fiub" or "float" in np.dtype(dtype).name
        except TypeError:
            return False

    def value(self, v: Var) -> Value:
        if not isinstance(v, Literal):
            if v not in self.env and v in self.literals:
                self.env[v] = self.constant(v, self.literals[v])
            return self.env[v]
        if isinstance(v.value, Expr):
            return Value((), v.value, kind_of(v.dtype))
        if v.rank:
            return self.constant(v, np.asarray(v.value))
        return Value((), exact(v.value, v.dtype), kind_of(v.dtype))

    # -- names ----------------------------------------------------------------------------------------------------

    def settled(self, op: Op, n: int, var: Var, value: Value, block: Block) -> Value:
        """The value, as a definition where its author named it or where it is used more than once."""
        if value.kind != "float" or value.tensor is not None or not isinstance(value.body, Expr):
            return value
        if self.nested and not value.body.has(Reduction):
            return value
        used = self.uses.get(var, 0)
        escapes = var in block.outs
        name, own = self.titles.of(op, n, value.body, escapes, self.reserved)
        heavy = is_heavy(value.body)
        if own and (heavy or not _is_read(value.body)) and op.name not in VIEWS:
            return self.named(value, op, name)
        if op.name in VIEWS:
            return value
        long = len(list(sympy.preorder_traversal(value.body)))
        long = max(long, SHORT + 1) if value.body.has(*DEAR) else long
        holds = value.body.has(Reduction)
        if used == 1 and holds and self.titles.flows(op, var):
            name = ""
        line = self.titles.is_line(op, value, var)
        if holds and (used > 1 or name) or heavy and long > WIDE or used > 1 and long > SHORT or line:
            is_result = (
                escapes and not value.axes and self.loop is None and block is self.whole and var is block.outs[0]
            )
            return self.named(value, op, name or ("loss" if is_result else self.fallback(op, value.body)))
        return value

    def named(self, value: Value, op: Op | None, name: str) -> Value:
        """The value as a definition."""
        if value.tensor is not None and value.tensor.definition is not None:
            return value
        if op is not None and value.body.has(sympy.nan):
            raise refuse(
                op, "it puts NaN in the place of some values; accepted: a number there, or inputs without such"
            )
        flat = [i for a in value.axes for i in a if i.size != 1]
        taken: set[str] = set()
        letters = []
        if self.loop is not None:
            letters, taken = [self.loop.letter], {self.loop.letter.name}
        mapping: dict[Any, Any] = {i: Integer(0) for a in value.axes for i in a if i.size == 1}
        for i in flat:
            mapping[i] = self.letter(i, taken)
            taken.add(mapping[i].name)
            letters.append(mapping[i])
        body = value.body
        body = put(body, mapping).replace(sympy.ITE, _either)
        body = self.lettered(body, taken)
        made = self.define(name, tuple(letters), body)
        if op is not None and op.frames:
            stands = next((f for f in op.frames if not f.is_library), op.frames[0])
            self.lines[made.name] = stands.shown
        read = (self.loop.index, *flat) if self.loop is not None else tuple(flat)
        return Value(value.axes, made[read] if read else Read(made), value.kind)

    def define(self, name: str, letters: tuple[Index, ...], body: Expr) -> Tensor:
        name = self.free(name)
        if self.loop is not None:
            made = self.loop.define(name, letters, body)
        else:
            made = dv.define(name, letters, body)
        self.names[name] = made
        return made

    def forget(self, name: str, instead: str) -> None:
        """A definition goes by another name."""
        del self.names[name]
        if name in self.lines:
            self.lines[instead] = self.lines.pop(name)

    def free(self, name: str) -> str:
        """The name, or with a number if it is taken."""
        return numbered(name, self.names, "_" if name[-1:].isdigit() else "")

    def letter(self, i: Index, taken: set[str]) -> Index:
        if isinstance(i.size, Size):
            return Index(primed(i.size.name.lower(), taken), i.size)
        if i.size in self.letters:
            return Index(primed(self.letters[i.size].lower(), taken), i.size)
        used = {s.name.lower() for s in self.sizes.names}
        free = [c for c in _LETTERS if c not in used]
        return Index(next((c for c in free if c not in taken), primed(free[0], taken)), i.size)

    def lettered(self, e: Any, taken: set[str]) -> Any:
        """The expression with its bound indices under letters that stand for nothing else there."""
        if isinstance(e, Reduction):
            mapping, inner = {}, set(taken)
            for b in e.binders:
                mapping[b] = self.letter(b, inner)
                inner.add(mapping[b].name)
            body = self.lettered(put(e.body, mapping), inner)
            if isinstance(e, MatrixFunction):
                return type(e)(body, tuple(mapping.values()), *(self.lettered(a, taken) for a in e.at))
            return type(e)(body, *mapping.values())
        if not e.args or not e.has(Reduction):
            return e
        if isinstance(e, Piecewise):
            return Piecewise(*((self.lettered(v, taken), self.lettered(c, taken)) for v, c in e.args), evaluate=False)
        return e.func(*(self.lettered(a, taken) for a in e.args))

    def fallback(self, op: Op, body: Any = None) -> str:
        """A name for a value that its author gave none, which no name of theirs is."""
        if body is not None and op.frames and op.frames[0].is_library and (path := self.titles.path(body)):
            return path
        if own := self.titles.function(op):
            return own
        usual = {
            "dot_general": "z",
            "conv_general_dilated": "z",
            "add": "z",
            "reduce_max": "m",
            "reduce_sum": "s",
            "exp": "e",
            "div": "p",
        }
        return next(n for n in (usual.get(op.name, "u"), "u", "v", "a", "g", "h", "inner") if n not in self.reserved)

    def shared(self, value: Value, var: Var, op: Op) -> Value:
        """The value under a name if it is worth computing once, for an operation that reads it many times."""
        if value.kind != "float" or not is_heavy(value.body) or not _reads_more(value.body):
            return value
        made = self.maker.get(var, op)
        return self.named(
            value, made, self.titles.of(made, 0, value.body, False, self.reserved)[0] or self.fallback(made, value.body)
        )

    def read_outside(self, value: Value, op: Op) -> Value:
        """A value that may be read outside, where it is zero: a tensor as it stands."""
        if isinstance(value.body, Read) and _is_read(value.body):
            return value
        return self.named(value, op, self.fallback(op))

    def held(self, value: Value, op: Op) -> Value:
        """A value as a tensor, for what reads all of it at once; in a loop, of one step."""
        if value.tensor is not None or isinstance(value.body, Read) and self._is_of_step(value):
            return value
        return self.named(value, op, "A" if "A" not in self.names else self.fallback(op))

    def _is_of_step(self, value: Value) -> bool:
        """Whether a value is a tensor of the loop at hand, as it stands in each step."""
        flat = [i for a in value.axes for i in a if i.size != 1]
        return self.loop is not None and list(value.body.idx) == [self.loop.index, *flat]

    # -- what rows ask ------------------------------------------------------------------------------------------------

    def sum(self, body: Expr, bound: Sequence[Index]) -> Expr:
        """A sum over indices, those that nothing reads as a factor."""
        times = sympy.Mul(*(i.size for i in bound if i not in body.free_symbols))
        over = [i for i in bound if i in body.free_symbols]
        return times * (dv.Sum(body, *over) if over else body)

    def product(self, body: Expr, bound: Sequence[Index]) -> Expr:
        """A product over indices, those that nothing reads as a power."""
        over = [i for i in bound if i in body.free_symbols]
        whole = dv.Prod(body, *over) if over else body
        return whole ** sympy.Mul(*(i.size for i in bound if i not in over))

    def constant(self, v: Var, array: np.ndarray) -> Value:
        """An array that the function holds: the number or the formula that it is, else an input of role constant."""
        axes = tuple((i,) for i in parts_of(v.shape))
        if array.dtype.kind not in "fiub":
            return Value(axes, None, "key")
        if array.size and (array == array.flat[0]).all():
            return Value(axes, exact(array.flat[0], array.dtype), kind_of(array.dtype))
        name = numbered("constant", self.names, "_")
        letters = [self.letter(a[0], set()) for a in axes]
        kind = kind_of(array.dtype)
        below = self.below.get(name) if kind == "int" else None
        made = dv.tensor(name, *(i.size for i in letters), dtype=kind, below=below, role="constant")
        self.names[name] = made
        self.arrays[name] = array
        return reading(made, v.shape)

    def drawn(self, var: Var, op: Op, n: int) -> Tensor:
        """An input of role random, for what is drawn from keys; named as its author names it."""
        kind = kind_of(var.dtype)
        name, _ = self.titles.of(op, n, var, True, self.reserved)
        taken: set[str] = set()
        axes: list[Any] = []
        for size in var.shape:
            if size.is_number:
                axes.append(size)
                continue
            axes.append(self.letter(Index("i", size), taken))
            taken.add(axes[-1].name)
        made = dv.tensor(self.free(name or ("mask" if kind == "bool" else "noise")), *axes, dtype=kind, role="random")
        self.names[made.name] = made
        self.env[var] = reading(made, var.shape)
        return made

    def convert(self, op: Op) -> None:
        """Refuse what rounds to fewer digits than the rest is computed in."""
        before, after = op.ins[0].dtype, op.outs[0].dtype
        if np.dtype(after).itemsize < np.dtype(before).itemsize:
            raise refuse(op, f"values are rounded from {before} to {after}; accepted: one precision throughout")


def reading(tensor: Tensor, shape: Sequence[Expr]) -> Value:
    """An input as a value."""
    idx = [opened(s) for s in shape]
    at = [Integer(0) if i.size == 1 else i for i in idx]
    read = Read(tensor, *at)
    return Value(tuple((i,) for i in idx), sympy.Ne(read, 0) if tensor.dtype == "bool" else read, tensor.dtype)


def _either(condition: Any, one: Any, other: Any) -> Any:
    """What SymPy makes of a comparison of branches."""
    return sympy.Or(sympy.And(condition, one), sympy.And(sympy.Not(condition), other))


def _reads_more(e: Expr) -> bool:
    """Whether an expression sums, or is more than a function of one element."""
    return e.has(Reduction) or len(e.atoms(Read)) > 1


def _is_read(e: Any) -> bool:
    return isinstance(e, Read) or (isinstance(e, Expr) and not e.has(Read))
