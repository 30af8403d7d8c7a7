"""``dv.parse``: definitions as text.  A real grammar; text is never evaluated and names are never sympified.

.. code-block:: text

    text        = { statement ( NEWLINE | ";" ) }             "#" starts a comment; lines go on inside open brackets
    statement   = declaration { declaration }                  x: float[b,i]   label: int[b] < K
                | definition                                   z[b,k] = sum[i](x[b,i]*W[i,k]) + c[k]
                | "index" NAME { NAME } ":" size               index p q : N
                | "size" NAME { NAME }                         size S P
    declaration = NAME ":" type [ "[" size { "," size } "]" ] [ "<" size ] { role | fact }
    type        = "float" | "int" | "bool" | "function"        f: function; f(u), f'(u), f''(u) of one number
    role        = "parameter" | "data" | "random" | "state" | "constant"
    fact        = "positive" [ "definite" ] | "nonnegative" | "symmetric" | "sums" "to" size "over" NAME
                | "missing" ["-"] NUMBER | "orthogonal" | "unit"
                | "diagonal" | ( "lower" | "upper" ) "triangular" | "toeplitz" | "free"
    definition  = NAME [ "[" NAME { "," NAME } "]" ] "=" expression
    size        = an expression of whole numbers and size names; as an axis, an index letter too

    expression  = conjunction { "or" conjunction }
    conjunction = comparison { "and" comparison }              "not" comparison is a comparison
    comparison  = addition { ( "<" | "<=" | ">" | ">=" | "==" | "!=" ) addition }
    addition    = product { ( "+" | "-" ) product }
    product     = signed { ( "*" | "/" | "//" ) signed }       "//" is for sizes
    signed      = [ "-" | "+" ] power
    power       = atom [ ( "^" | "**" ) signed ]               to the right; -a^b is -(a^b)
    atom        = NUMBER | NAME | "(" expression ")"
                | NAME "[" expression { "," expression } "]"   an element of a tensor: x[2*i + r - 1], E[tok[b,t], d]
                | reduction "[" NAME { "," NAME } "]" "(" expression ")"
                | NAME "(" expression { "," expression } ")"   a function
                | "[" expression "]"                           1 where the condition holds, else 0
                | matrix [ "[" NAME "," NAME "]" ] "(" expression ")" [ "[" expression "," expression "]" ]
    matrix      = "inverse" | "inv" | "det" | "logdet" | "logabsdet"       inverse[p,q](A[b,p,q])[i,j]; of a matrix: inv(A)[i,j]
    reduction   = "sum" | "mean" | "max" | "min" | "argmax" | "prod"

Index letter ``b`` ranges over the size ``B`` unless an ``index`` line says otherwise; ``b'`` is another letter over the
size of ``b``.  In an axis, a name that starts with a capital is a size and any other is a letter.  ``max(a, b)`` and
``min(a, b)`` are pointwise; ``where(condition, a, b)`` and ``piecewise((a, condition), (b, condition), c)`` choose;
``inf`` may stand as a branch of one or as a whole definition, ``pi`` anywhere. Numbers are exact: ``1e-5`` is
1/100000.  A definition may read itself at an earlier step (``h[t-1,b]``), also through others; reads before the start
are zero. Definitions may stand in any order. Sizes, indices and tensors have separate names: a bare name is an index
in scope, else a scalar tensor, else a size.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeAlias

from sympy import Expr

from derive.language.declare import tensor
from derive.language.define import define
from derive.language.errors import DeriveError, UnsupportedError
from derive.language.facts import (
    Fact,
    diagonal,
    free_entries,
    lower_triangular,
    missing,
    nonnegative,
    orthogonal,
    positive,
    positive_definite,
    sums_to,
    symmetric,
    toeplitz,
    unit,
    upper_triangular,
)
from derive.language.index import Index, Size, as_size, index
from derive.language.tensor import Recurrence, Tensor
from derive.language.unknown import check_function

from .expressions import Expressions
from .syntax import Declaration, FactWords, Letters, Line, MissingValue, Node, Parser, Property, SizeNames, Statement
from .tokens import Token

Axes: TypeAlias = Mapping[str, tuple[Index, ...]]  # of each definition

FACTS = {
    "positive": positive,
    "nonnegative": nonnegative,
    "symmetric": symmetric,
    "positive definite": positive_definite,
    "orthogonal": orthogonal,
    "unit": unit,
    "diagonal": diagonal,
    "lower triangular": lower_triangular,
    "upper triangular": upper_triangular,
    "toeplitz": toeplitz,
    "free": free_entries,
}


def parse(text: str) -> dict[str, Tensor]:
    """The tensors that a text declares and defines, by name.

    Parameters
    ----------
    text : str
        Declarations and definitions in the grammar that :mod:`derive.language.text.parse` documents.

    Returns
    -------
    dict of str to Tensor
        Inputs and definitions in the order of the text, ready for ``dv.backprop``.

    Raises
    ------
    ParseError
        With line, column, the line itself, what was found and what was expected.
    ShapeError, IndexCaptureError, UnsupportedError
        A text that parses but does not make sense; the place is named too.

    Examples
    --------
    >>> found = parse('''
    ...     x: float[b,i]   label: int[b] < K
    ...     W: float[i,k] parameter
    ...     z[b,k] = sum[i](x[b,i]*W[i,k])
    ...     loss   = sum[b](log(sum[k](exp(z[b,k]))) - z[b,label[b]]) / B
    ... ''')
    >>> list(found)
    ['x', 'label', 'W', 'z', 'loss']
    >>> found["z"].axes
    (B, K)
    """
    with _no_deeper():
        parser = Parser(_checked(text))
        statements = parser.program()
        return Reader(parser.source).program(statements)


def parse_expression(text: str, scope: Mapping[str, Tensor]) -> Expr:
    """One expression over known tensors, such as a gradient that somebody derived by hand.

    Parameters
    ----------
    text : str
        An expression of the grammar in :mod:`derive.language.text.parse`.
    scope : mapping of str to Tensor
        The names that may be read.  Free index letters are the ones these tensors were declared with.

    >>> from derive import indices, tensor
    >>> b, i, k = indices("b i k")
    >>> parse_expression("sum[b](x[b,i]) / B", {"x": tensor("x", b, i)})
    sum[b](x[b, i])/B
    """
    with _no_deeper():
        parser = Parser(_checked(text).strip())
        tree = parser.expression()
        if parser.now.kind != "end":
            raise parser.wanted("an operator or the end of the expression")
        return Reader(parser.source, scope).finished(tree, {})


def _checked(text: object) -> str:
    if not isinstance(text, str):
        raise DeriveError(f"parse takes a text, not {type(text).__name__}")
    return text


@contextlib.contextmanager
def _no_deeper() -> Iterator[None]:
    try:
        yield
    except RecursionError:
        raise UnsupportedError(
            "the text is nested too deep for this interpreter's stack; give the inner parts names of their own"
        ) from None


class Reader(Expressions):
    """Declarations and definitions, given meaning: tensors in an order in which each can be made."""

    def program(self, statements: Sequence[Line]) -> dict[str, Tensor]:
        first: dict[str, Token] = {}
        for s in statements:
            if isinstance(s, Letters | SizeNames):
                self.declare_names(s)
        for s in statements:
            if isinstance(s, Declaration | Statement):
                name = s.name
                if name.text in first:
                    raise self.error(
                        name,
                        f"the name {name.text} is defined twice, first on line "
                        f"{first[name.text].line}; every tensor needs its own name",
                    )
                first[name.text] = name
        for s in statements:
            if isinstance(s, Declaration) and s.dtype == "function":
                self.declare_function(s)
        for s in statements:
            if isinstance(s, Declaration) and s.dtype != "function":
                self.tensors[s.name.text] = self.input(s)
        self.heads = {s.name.text: s for s in statements if isinstance(s, Statement)}
        axes = {name: tuple(self.letter(i) for i in s.idx) for name, s in self.heads.items()}
        for names in self.in_order():
            self.tensors.update(self.defined(names, axes))
        return {name: self.tensors[name] for name in first if name not in self.functions}

    def declare_names(self, s: Letters | SizeNames) -> None:
        for name in s.names:
            if isinstance(s, SizeNames):
                self.sizes[name.text] = Size(name.text)
            elif name.text in self.letters:
                raise self.error(name, f"the index {name.text} is declared twice")
            else:
                self.letters[name.text] = index(name.text, size=self.size(s.size))

    def declare_function(self, s: Declaration) -> None:
        if s.axes or s.facts or s.below is not None:
            raise self.error(s.name, f"an unknown function has no axes and no facts; write {s.name.text}: function")
        with self.located(s.name):
            check_function(s.name.text)
        self.functions.add(s.name.text)

    def input(self, s: Declaration) -> Tensor:
        axes = [self.axis(a) for a in s.axes]
        below = None if s.below is None else self.size(s.below)
        facts = [self.fact(f) for f in s.facts]
        with self.located(s.name):
            return tensor(s.name.text, *axes, dtype=s.dtype, below=below, role=s.role, facts=facts)

    def fact(self, f: FactWords) -> Fact:
        if isinstance(f, Property):
            return FACTS[f.word.text]
        value = self.number(f.value, {})
        if isinstance(f, MissingValue):
            with self.located(f.word):
                return missing(int(value) if value.is_Integer else value)
        return sums_to(value, self.letter(f.over))

    def axis(self, node: Node) -> Expr:
        name = node.token.text
        if node.kind == "name" and (name in self.letters or not (name in self.sizes or name[0].isupper())):
            return self.letter(node.token)
        return self.size(node)

    def size(self, node: Node) -> Expr:
        """A size: whole numbers and names, each of which is a size here even if nothing declared it before."""
        for name in _names(node):
            self.sizes.setdefault(name, Size(name))
        hidden, self.tensors = self.tensors, {}
        try:
            value = self.number(node, {})
        finally:
            self.tensors = hidden
        with self.located(node.token):
            return as_size(value)

    def in_order(self) -> list[list[str]]:
        """Groups of names, each after those it reads; several together are a coupled recurrence (Tarjan)."""
        reads = {name: self.read_by(s) for name, s in self.heads.items()}
        number: dict[str, int] = {}
        low: dict[str, int] = {}
        stack: list[str] = []
        out: list[list[str]] = []
        for root in self.heads:
            work = [(root, iter(reads[root]))] if root not in number else []
            if work:
                number[root] = low[root] = len(number)
                stack.append(root)
            while work:
                v, rest = work[-1]
                w = next(rest, None)
                if w is None:
                    work.pop()
                    if work:
                        low[work[-1][0]] = min(low[work[-1][0]], low[v])
                    if low[v] == number[v]:
                        group = set(stack[stack.index(v) :])
                        del stack[stack.index(v) :]
                        out.append([name for name in self.heads if name in group])
                elif w not in number:
                    number[w] = low[w] = len(number)
                    stack.append(w)
                    work.append((w, iter(reads[w])))
                elif w in stack:
                    low[v] = min(low[v], number[w])
        return out

    def read_by(self, s: Statement) -> list[str]:
        found: dict[str, None] = {}
        todo = [(s.body, frozenset(i.text for i in s.idx))]
        while todo:
            node, bound = todo.pop()
            if node.kind == "reduce":
                bound = bound | {w.text for w in node.words}
            name = node.token.text
            if name in self.heads and (
                node.kind == "read" or (node.kind == "name" and name not in bound and not self.heads[name].idx)
            ):
                found[name] = None
            todo += [(a, bound) for a in node.args]
        return sorted(found)

    def defined(self, names: Sequence[str], axes: Axes) -> dict[str, Tensor]:
        first = self.heads[names[0]]
        if len(names) == 1 and names[0] not in self.read_by(first):
            body = self.body(first, axes)
            with self.located(first.name):
                return {names[0]: define(names[0], axes[names[0]], body)}

        def bodies(*selves: Tensor) -> list[Expr]:
            self.tensors.update(zip(names, selves, strict=True))
            return [self.body(self.heads[n], axes) for n in names]

        if len({axes[n] for n in names}) == 1:
            with self.located(first.name):
                made = define(" ".join(names), axes[names[0]], bodies)
            return dict(zip(names, made if isinstance(made, tuple) else (made,), strict=True))
        return self.coupled(names, axes, bodies)

    def coupled(self, names: Sequence[str], axes: Axes, bodies: Callable[..., list[Expr]]) -> dict[str, Tensor]:
        """A recurrence through tensors of different axes, which one call of ``define`` does not take."""
        recurrence = Recurrence()
        selves = [recurrence.stand_in(n, axes[n]) for n in names]
        parts = []
        for name, body in zip(names, bodies(*selves), strict=True):
            with self.located(self.heads[name].name):
                parts.append(define(name, axes[name], body))
        return dict(zip(names, recurrence.close(parts, selves), strict=True))

    def body(self, s: Statement, axes: Axes) -> Expr:
        return self.finished(s.body, {i.name: i for i in axes[s.name.text]})


def _names(node: Node) -> list[str]:
    found, todo = [], [node]
    while todo:
        n = todo.pop()
        found += [n.token.text] if n.kind == "name" else []
        todo += n.args
    return found
