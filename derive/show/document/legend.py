"""How to read a document: what its marks and brackets mean, and over what its letters run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sympy import Expr

from derive.language.affine import in_range
from derive.language.index import Index, same_size
from derive.show.formulas.expressions import expression
from derive.show.formulas.layout import (
    Apply,
    Fence,
    Flat,
    Letter,
    Name,
    Node,
    Ones,
    Product,
    Relation,
    Transposed,
    children,
)
from derive.show.formulas.symbols import indices_of

from .blocks import Block, Bullets, Equations, Fold, Heading, Line, Mono, Para, Part, Sentence, Table
from .formulas import Formulas


def legend(f: Formulas, body: Sequence[Block], flat: bool) -> list[Block]:
    """Only what the reader of this document needs to be told."""
    nodes = list(_nodes(body))
    items: list[Sentence] = []
    marked = {"bar": "A bar marks the derivative of ", "d": "A leading d marks the derivative of "}
    if f.names.adjoints and f.d.gradients and f.options.adjoint in marked:
        example = f.names.name(next(iter(f.d.gradients.values())))
        primal = f.name(next(iter(f.d.gradients)))
        known_as = () if flat else (" is called ", Mono(example.raw), " in the program and")
        items.append(
            (
                marked[f.options.adjoint],
                *differentiated(f),
                " with respect to what the rest names: ",
                example,
                *known_as,
                " has the shape of ",
                primal,
                ".",
            )
        )
    if any(isinstance(n, Fence) and n.kind == "iverson" for n in nodes):
        items.append(("A condition in square brackets is 1 where it holds and 0 elsewhere.",))
    if not flat and any(isinstance(n, Name) and n.label for n in nodes):
        items.append(("Subscripts are indices; a raised label, as in (1), belongs to the name.",))
    if _shifted(f):
        items.append(("What is read outside an array is 0.",))
    items += [matrices] if (matrices := _matrices(nodes)) else []
    if any(isinstance(n, Flat) for n in nodes) and not flat:
        items.append(
            ("Indices in brackets, as (uv), are one index that counts the pairs in order, the last one fastest.",)
        )
    if f.names.entries and not flat:
        items += [_members(f, name, axis, letters) for (name, axis), letters in f.names.entries.items()]
    items.append(_ranges(f))
    return [Heading(2, "How to read it"), Bullets(tuple(items))] if items else []


def _matrices(nodes: Sequence[Node]) -> Sentence:
    """What the signs of the matrix forms mean, those that occur."""
    elementwise = any(isinstance(n, Product) and n.op == "odot" for n in nodes)
    applied = {n.fn for n in nodes if isinstance(n, Apply)}
    if not (elementwise or any(isinstance(n, (Ones, Transposed)) for n in nodes)):
        return ()
    said: list[Sentence] = [("vectors are columns",)]
    if any(isinstance(n, Ones) for n in nodes):
        said.append((Ones(), " is a vector of ones"))
    if elementwise:
        said.append((Product((Letter("A"), Letter("B")), "odot"), " is the elementwise product"))
    if "diag" in applied:
        said.append((Apply("diag", (Letter("v"),)), " has ", Letter("v"), " on its diagonal and 0 elsewhere"))
    if "onehot" in applied:
        said.append((Apply("onehot", (Letter("y"),)), " has in each row a 1 at the place that ", Letter("y"), " says"))
    said.append(("functions apply to each element",))
    out: list[Part] = ["In matrix form "]
    for n, s in enumerate(said):
        out += [*([", " if n < len(said) - 1 else ", and "] if n else []), *s]
    return (*out, ".")


def _ranges(f: Formulas) -> Sentence:
    """Over what the letters run."""
    sizes: dict[Expr, list[str]] = {}
    for e in (*f.d.source.equations, *f.d.program.equations):
        for i in indices_of(e):
            name = i.name.rstrip("'")
            size = next((s for s in sizes if s == i.size or same_size(s, i.size)), i.size)
            letters = sizes.setdefault(size, [])
            if (shown := f.names.letters.get((name, i.size), name)) not in letters:
                letters.append(shown)
    if all(letters == [str(size).lower()] for size, letters in sizes.items()):
        return ("Indices count from 0, and each runs over the size that its capital letter names.",)
    runs: list[Part] = []
    for size, letters in sorted(sizes.items(), key=lambda p: sorted(p[1])):
        *others, last = sorted(letters)
        for letter in others:
            runs += [*([", "] if runs else []), Letter(letter)]
        runs += [*([", "] if runs else []), Relation((Letter(last), expression(size)), ("<",))]
    return ("Indices count from 0, and a prime marks another index with the same range: ", *runs, ".")


def _members(f: Formulas, name: str, axis: int, letters: Sequence[str]) -> Sentence:
    """The letters along an axis of gates, and the index that runs over them."""
    tensor = f.tensors[name]
    eq = f.d.source.equation(name)
    index = Letter(f.names.letters.get((eq.idx[axis].name, eq.idx[axis].size), eq.idx[axis].name)) if eq else "an index"
    return (
        "An upright letter below ",
        f.names.name(tensor),
        " names a part of it: ",
        index,
        f" = {', '.join(f'{n} is {letter}' for n, letter in enumerate(letters))}.",
    )


def _shifted(f: Formulas) -> bool:
    """Whether a read may lie outside: at a shifted index, or at one of an axis that is longer."""
    return any(
        i.is_Add or (isinstance(i, Index) and not same_size(i.size, axis) and not in_range(i, axis))
        for e in f.d.program.equations
        for r in e.reads()
        for i, axis in zip(r.idx, r.tensor.axes, strict=True)
    )


def _nodes(value: object) -> Iterator[Node]:
    """Every layout node of a list of blocks."""
    if isinstance(value, Node):
        yield value
        for c in children(value):
            yield from _nodes(c)
    elif isinstance(value, (list, tuple)):
        for v in value:
            yield from _nodes(v)
    elif isinstance(value, (Equations, Line, Para, Bullets, Table, Fold)):
        for v in vars(value).values():
            yield from _nodes(v)


def differentiated(f: Formulas) -> Sentence:
    """What is differentiated: the loss, or the product of a value with the cotangent given."""
    value = f.names.name(f.d.loss)
    if f.d.seed is None:
        return (value,)
    return ("the sum of the elements of ", value, " times those of ", f.names.name(f.d.seed))
