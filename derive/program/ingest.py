"""From definitions to a program in normal form: validate every read, name the nested reductions, open bound indices.

Naming is what makes one nested expression as good as a list of definitions: a reduction inside a function, a power or
a product gets a name, and so does the argument of a function that holds one (the pre-activation of ``tanh(W x + c)``),
a function value that is used inside a larger expression, and a root or a function of fewer indices than the expression
it stands in (``1/sqrt(var[b] + eps)`` inside ``y[b, i]``).  Equal subexpressions share one name.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NoReturn, TypeAlias

import sympy
from sympy import Add, Basic, Expr, Function, Integer, Mul, Number, Piecewise, Pow

from derive.language import affine
from derive.language.errors import DeriveError, UnsupportedError
from derive.language.grouping import cancels, holds_group, replaced
from derive.language.index import Fresh, Index, Size
from derive.language.keys import hash_text, key
from derive.language.matrices import KINDS, Inverse, MatrixFunction, inherited
from derive.language.naming import numbered, primed
from derive.language.nodes import ArgMax, Max, Prod, Reduction, Sum
from derive.language.tensor import Read, Tensor

from .ancestors import ancestors
from .check import check
from .infinite import check_products
from .nested import function_name, is_root, roots_first, splits, worth_naming
from .normalise import normalise
from .program import Equation, Program, Row, Term
from .reads import refused
from .rows import implied, ranges, split_guard, split_masked
from .schedule import in_order
from .terms import decide, drop_free_sums

Letters: TypeAlias = "tuple[Index, ...]"


def ingest(roots: Sequence[Tensor], fresh: Fresh | None = None) -> Program:
    """The program that computes the given tensors: inputs, equations in evaluation order, outputs.

    Raises
    ------
    ShapeError, IndexCaptureError, UnsupportedError, DeriveError
        With the equation, what is wrong in it, and what would be accepted.
    """
    work = Ingest(fresh or Fresh())
    for tensor in ancestors(roots):
        work.claim(tensor)
    for tensor in work.tensors:
        work.share(tensor)
    for tensor in work.tensors:
        work.take(tensor)
    program = Program(tuple(work.inputs), tuple(work.equations), tuple(roots))
    try:
        order = in_order(program)
    except UnsupportedError as error:
        shown = [f"in {_shown(t)}" for t in work.tensors if t.definition and f" {t.name} -> " in f" {error}"]
        raise UnsupportedError("\n".join([*shown, f"  {error}"])) from None
    wrong = check_products(order)
    if wrong is not None:
        raise UnsupportedError(wrong)
    program = Program(tuple(work.inputs), tuple(order), tuple(roots))
    return check(program, "ingest")


class Ingest:
    """The state of one ingestion: names taken, inputs, equations, and the shared intermediates."""

    def __init__(self, fresh: Fresh):
        self.fresh = fresh
        self.names: dict[str, Tensor] = {}
        self.tensors: list[Tensor] = []
        self.inputs: list[Tensor] = []
        self.equations: list[Equation] = []
        self.shared: dict[str, Tensor] = {}  # by the expression as written
        self.values: dict[str, Tensor] = {}  # by the equation's right-hand side
        self.guards: tuple[Basic, ...] = ()  # conditions under which what is read now is read
        self.outside: set[Row] = set()  # range conditions that an enclosing max holds
        self.owner: Tensor  # the definition that is being read
        self.current = ""  # as it is shown in messages

    def claim(self, t: Tensor) -> None:
        """Take the name of a tensor, which nothing else may have."""
        other = self.names.get(t.name)
        if other is not None:
            raise DeriveError(
                f"the name {t.name!r} is defined twice: once as {_describe(other)} and once as "
                f"{_describe(t)}; within one loss every tensor needs its own name"
            )
        self.names[t.name] = t
        self.tensors.append(t)

    def share(self, t: Tensor) -> None:
        """What an earlier derivation already named is not named again."""
        if t.origin is not None:
            eq = t.origin.equation(t)
            env = {i: f"#{n}:{key(i.size)}" for n, i in enumerate(eq.idx)}
            self.values.setdefault(key(eq.rhs, env), t)

    def take(self, t: Tensor) -> None:
        """Add an input, or the equations of a definition and of what is nested in it."""
        if t.is_input:
            self.inputs.append(t)
            return
        if t.definition is None:
            if t.origin is None:
                raise DeriveError(
                    f"{t.name} has no definition: it is read outside the recurrence that defines it, which was not finished"
                    if t.recurrence is not None
                    else f"{t.name} is computed but has no definition"
                )
            self.equations.append(t.origin.equation(t))
            return
        self.owner = t
        self.current = _shown(t)
        body = normalise(t.definition.body, self)
        self.validate(body)
        self.equations.append(self.equation(t, t.definition.idx, body))

    # --- validation -------------------------------------------------------------------------------------------

    def fail(self, error: type[DeriveError], message: str) -> NoReturn:
        raise error(f"in {self.current}\n  {message}")

    def validate(self, body: Expr) -> None:
        for r in sorted(body.atoms(Read), key=str):
            for n, axis in enumerate(r.tensor.axes):
                wrong = refused(r, n, axis, body)
                if wrong is not None:
                    self.fail(*wrong)

    # --- normal form ------------------------------------------------------------------------------------------

    def equation(self, t: Tensor, idx: Letters, body: Expr) -> Equation:
        if isinstance(body, ArgMax | Max):
            return self.reduction(t, idx, body)
        if isinstance(body, MatrixFunction) and idx[len(idx) - body.ranks :] == body.at:
            return self.matrix(t, idx, body)
        return Equation(t, idx, tuple(self.terms(body, idx, top=True)))

    def reduction(self, t: Tensor, idx: Letters, node: ArgMax | Max) -> Equation:
        first, *rest = node.binders
        opened = self.fresh(first)
        body = replaced(node.body, {first: opened})
        rows: list[Row] = []
        if rest:  # nested maxes: the first maximiser in row-major order, as for the flat one
            rows = [r for r in ranges(body) if not r.free_symbols & set(rest)]
            body = Max(body, *rest)
        scope = (*idx, opened)
        outside, self.outside = self.outside, self.outside | set(rows)  # what this max sees to, those inside need not
        found, body = split_masked(body)
        rows += found
        terms = self.terms(body, scope, top=True)
        if any(x.bnd for x in terms):
            terms = [Term(Integer(1), (self.name(body, scope, "in"),))]
        self.outside = outside
        rows += [r for x in terms for f in x.fac for r in ranges(f) if r not in outside and not implied(r, x.rows)]
        for r in rows:
            if decide(r) is False:
                self.fail(
                    UnsupportedError,
                    f"the {type(node).__name__.lower()} over {', '.join(map(str, node.binders))} has "
                    f"an empty window: {r} never holds; accepted: a window with a position inside",
                )
        guards = tuple(dict.fromkeys(r for r in rows if decide(r) is None))
        return Equation(t, idx, tuple(terms), "argmax" if isinstance(node, ArgMax) else "max", (opened,), guards)

    def matrix(self, t: Tensor, idx: Letters, node: MatrixFunction) -> Equation:
        """``t[idx]`` as the inverse or a determinant of a matrix, which is named unless it is a tensor's own two axes."""
        over = tuple(self.fresh(b) for b in node.binders)
        body = node.body.xreplace(dict(zip(node.binders, over, strict=True)))
        if not (
            isinstance(body, Read)
            and body.tensor.dtype == "float"
            and set(over) == set(body.idx[-2:])
            and not any(e.free_symbols & set(over) for e in body.idx[:-2])
        ):
            body = self.name(body, (*idx[: len(idx) - node.ranks], *over), "matrix")
        return Equation(t, idx, (Term(Integer(1), (body,)),), KINDS[type(node)], over)

    def terms(self, e: Expr, scope: Letters, top: bool = False) -> list[Term]:
        return [t for a in Add.make_args(e) for t in self.addend(a, scope, top)]

    def addend(self, e: Expr, scope: Letters, top: bool) -> list[Term]:
        coef: Expr = Integer(1)
        factors: list[Expr] = []
        rows: list[Row] = []
        for f in Mul.make_args(e):
            if affine.sizes_only(f) and not f.is_infinite:
                coef *= f
                continue
            found, f = split_guard(f)
            rows += found
            if affine.sizes_only(f):
                coef *= f
            else:
                factors.extend(Mul.make_args(f) if found else [f])
        if coef == 0:
            return []
        if len(factors) == 1 and isinstance(factors[0], Sum):
            return [Term(coef * t.coef, t.fac, t.bnd, (*rows, *t.rows)) for t in self.sum(factors[0], scope)]
        if rows and len(factors) == 1 and factors[0].is_Add:
            return [Term(coef * t.coef, t.fac, t.bnd, (*rows, *t.rows)) for t in self.terms(factors[0], scope)]
        alone = top and len(factors) == 1
        with self.under([r.condition for r in rows]):
            fac = tuple(self.point(f, scope, keep=alone) for f in roots_first(factors))
            fac = self.normalised(fac, scope)
        return [Term(coef, fac, (), tuple(rows))]

    def normalised(self, fac: tuple[Expr, ...], scope: Letters) -> tuple[Expr, ...]:
        """Name ``(x - mean) * rs`` when it is multiplied by something else: it is the value the backward pass reuses."""
        sums = [f for f in fac if f.is_Add]
        if len(sums) != 1 or len(fac) < 3:
            return fac
        roots = [f for f in fac if isinstance(f, Read) and self.is_root(f.tensor)]
        if len(roots) == 1:
            named = self.name(sums[0] * roots[0], scope, "hat")
            return (named, *(f for f in fac if f not in (sums[0], roots[0])))
        return fac

    def is_root(self, t: Tensor) -> bool:
        """Whether a tensor is a root of something, by its equation."""
        for e in self.equations:
            if e.tensor == t:
                term = e.single()
                f = term.only() if term is not None else None
                return f is not None and is_root(f)
        return False

    def sum(self, node: Sum, scope: Letters) -> list[Term]:
        mapping = {b: self.fresh(b) for b in node.binders}
        bound = tuple(mapping.values())
        body = replaced(node.body, mapping)
        inner = (*scope, *bound)
        if body.is_Add and cancels(body):
            terms = [Term(Integer(1), (self.name(body, inner, "in"),))]
        elif body.is_Add and not splits(body, bound):
            terms = [Term(Integer(1), (self.point(body, inner),))]
        else:
            terms = self.terms(body, inner)
        return [drop_free_sums(Term(t.coef, t.fac, (*bound, *t.bnd), t.rows)) for t in terms]

    def point(self, e: Expr, scope: Letters, keep: bool = False) -> Expr:
        """``e`` with its reductions (and what is worth keeping) replaced by reads of named intermediates."""
        if isinstance(e, Read | Number | Index | Size):
            return e
        if isinstance(e, MatrixFunction) and e.at:
            return self.inverse(e, scope)
        if isinstance(e, Prod):
            return self.product(e, scope)
        if isinstance(e, Reduction):
            return self.name(e, scope, type(e).__name__.lower())
        if holds_group(e):
            return self.name(e, scope, "in")
        holds = e.has(Reduction)
        if is_root(e) or (isinstance(e, Function) and type(e).__name__ != "stop_gradient"):
            letters = [s for s in scope if s in e.free_symbols]
            if not keep and e.has(Read) and (holds or len(letters) < len(scope)) and worth_naming(e):
                return self.name(e, scope, function_name(e))
        if not holds and not e.has(Function, Pow):
            return e
        if isinstance(e, Function) and len(e.args) == 1 and holds and e.args[0].is_Add:
            return e.func(self.name(e.args[0], scope, "in"))
        if isinstance(e, Pow) and e.base.has(Reduction) and e.base.is_Add:
            return Pow(self.name(e.base, scope, "in"), self.point(e.exp, scope))
        if isinstance(e, Piecewise):
            return self.branches(e, scope)
        args = [self.point(a, scope) if isinstance(a, Expr) else self.condition(a, scope) for a in e.args]
        return e.func(*args) if tuple(args) != e.args else e

    def branches(self, e: Piecewise, scope: Letters) -> Expr:
        """A Piecewise, what is named in a branch named under the conditions that choose the branch."""
        pairs: list[tuple[Expr, Basic]] = []
        before: list[Basic] = []
        for v, c in e.args:
            chosen = [sympy.Not(b) for b in before] + ([] if c == sympy.true else [c])
            with self.under(chosen):
                pairs.append((self.point(v, scope), self.condition(c, scope)))
            before.append(c)
        return Piecewise(*pairs, evaluate=False) if tuple(pairs) != tuple(tuple(a) for a in e.args) else e

    @contextlib.contextmanager
    def under(self, conditions: Sequence[Basic]) -> Iterator[None]:
        """Within it, what is named is read only where the conditions hold."""
        before, self.guards = self.guards, (*self.guards, *conditions)
        yield
        self.guards = before

    def guarded(self, e: Expr, scope: Letters) -> Expr:
        """``{e if c; 0}`` for a quotient, a root or a logarithm that is read only where c holds: elsewhere it may not exist."""
        if not (is_root(e) or (isinstance(e, Pow) and e.exp.is_negative) or isinstance(e, sympy.log)) or e.has(
            sympy.exp
        ):
            return e
        letters = tuple(s for s in scope if s in e.free_symbols)
        known = [c for c in self.guards if {s for s in c.free_symbols if isinstance(s, Index)} <= set(letters)]
        if not known:
            return e
        before, self.guards = self.guards, ()
        inside = self.point(e, letters, keep=True)  # what is nested in it is named first, and it is not named again
        self.guards = before
        return Piecewise((inside, sympy.And(*known)), (0, True), evaluate=False)

    def condition(self, c: Basic, scope: Letters) -> Basic:
        """A condition or a Piecewise branch, with the reductions in it named."""
        args = [self.point(a, scope) if isinstance(a, Expr) else self.condition(a, scope) for a in c.args]
        return c.func(*args) if tuple(args) != c.args else c

    def name(self, e: Expr, scope: Letters, role: str) -> Read:
        """A read of the intermediate that holds ``e``; equal expressions share one intermediate."""
        letters = tuple(s for s in scope if s in e.free_symbols)
        env = {s: f"#{n}:{key(s.size)}" for n, s in enumerate(letters)}
        e = self.guarded(e, scope)
        found = key(e, env)
        made = self.shared.get(found)
        if made is None:
            eq = self.equation(self.owner, letters, e)  # what is nested in it is named first
            value = key(eq.rhs, env)
            made = self.values.get(value) or self.intermediate(e, letters, role, found)
            if value not in self.values:
                self.equations.append(replace(eq, tensor=made))
            self.shared[found] = self.values[value] = made
        return Read(made, *letters)

    def intermediate(self, e: Expr, letters: Letters, role: str, found: str) -> Tensor:
        """A new tensor for an intermediate value, named after the definition it stands in and its role there."""
        matrix = e.body.tensor if isinstance(e, Inverse) and isinstance(e.body, Read) else None
        name = numbered(f"{matrix.name if matrix is not None else self.owner.name}_{role}", self.names)
        shown = tuple(Index(s.name, s.size) for s in letters)
        dtype, below = ("int", e.binders[0].size) if isinstance(e, ArgMax) else ("float", None)
        made = Tensor(
            name,
            tuple(s.size for s in letters),
            shown,
            dtype,
            below,
            "computed",
            () if matrix is None else inherited(matrix),
            digest=f"mid:{hash_text(name + found)}",
            block=self.owner.block,
        )
        self.names[name] = made
        return made

    def product(self, e: Prod, scope: Letters) -> Read:
        """The last of the running products ``P[i] = (P[i-1] + [i = 0]) f[i]``: a recurrence, as reads before the start are 0.

        Its adjoint is the running product from the other end, so that of each factor is the product of all others.
        """
        first, *rest = e.binders
        letters = tuple(s for s in scope if s in e.free_symbols)
        found = key(e, {s: f"#{n}:{key(s.size)}" for n, s in enumerate(letters)})
        made = self.shared.get(found)
        if made is None:
            i = self.fresh(first)
            body = replaced(e.body, {first: i})
            inside = Prod(body, *rest) if rest else body
            plain = isinstance(inside, Read) and inside.tensor.dtype == "float"
            factor = inside if plain else self.name(inside, (*letters, i), "in")
            made = self.intermediate(e, (*letters, i), "prod", found)
            terms = (
                Term(Integer(1), (Read(made, *letters, i - 1), factor)),
                Term(Integer(1), (factor,), (), (Row("==", i, Integer(0)),)),
            )
            self.equations.append(Equation(made, (*letters, i), terms))
            self.shared[found] = made
        return Read(made, *letters, first.size - 1)

    def inverse(self, e: Inverse, scope: Letters) -> Read:
        """A read of the tensor that holds an inverse: all of it is named, wherever the expression reads it."""
        batch = tuple(s for s in scope if s in e.body.free_symbols)
        own = e.body.tensor.letters[-2:] if isinstance(e.body, Read) else ()
        shown = tuple(i for i in own if i is not None)
        letters: list[Index] = []
        for b, letter in zip(e.binders, shown if len(shown) == 2 else e.binders, strict=True):
            name = primed(letter.name, {s.name for s in (*batch, *letters)})
            letters.append(self.fresh(Index(name, b.size)))
        named = self.name(Inverse(e.body, e.binders, *letters), (*batch, *letters), "inv")
        at = dict(zip(letters, (self.point(x, scope) for x in e.at), strict=True))
        return Read(named.tensor, *(x.xreplace(at) for x in named.idx))


# --- rewriting user input ------------------------------------------------------------------------------------------


def _shown(t: Tensor) -> str:
    assert t.definition is not None
    return f"{Read(t, *t.definition.idx)} = {t.definition.body}"


def _describe(t: Tensor) -> str:
    if t.definition is not None:
        return f"{t.name} = {t.definition.body}"
    return f"{t!r}"
