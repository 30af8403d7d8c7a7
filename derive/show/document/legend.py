"""How to read a document: what its marks and brackets mean, and over what its letters run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sympy import Expr

from derive.language.affine import in_range
from derive.language.index import Index, same_size
from derive.show.formulas.expressions import expression
from derive.show.formulas.layout import Fence, Flat, Letter, Name, Node, Ones, Transposed, children
from derive.show.formulas.matrix import matrix_layout
from derive.show.formulas.symbols import indices_of

from .blocks import Block, Bullets, Equations, Fold, Heading, Line, Mono, Para, Part, Sentence, Table
from .formulas import Formulas


def legend(f: Formulas, body: Sequence[Block], flat: bool) -> list[Block]:
    """Only what the reader of this document needs to be told."""
    nodes = list(_nodes(body))
    matrix = any(matrix_layout(e, f.names) for e in f.d.program.equations) and f.options.notation != "index"
    items: list[Sentence] = []
    marked = {"bar": "A bar marks the derivative of ", "d": "A leading d marks the derivative of "}
    if f.names.adjoints and f.options.adjoint in marked:
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
    if matrix and any(isinstance(n, (Ones, Transposed)) for n in nodes):
        dot = "*" if flat else "a dot in a circle"
        items.append(
            (
                f"In matrix form vectors are columns, 1 is a vector of ones, {dot} is the elementwise product, and "
                "functions apply to each element.",
            )
        )
    if any(isinstance(n, Flat) for n in nodes) and not flat:
        items.append(
            ("Indices in brackets, as (uv), are one index that counts the pairs in order, the last one fastest.",)
        )
    if f.names.entries and not flat:
        items += [_members(f, name, axis, letters) for (name, axis), letters in f.names.entries.items()]
    items.append(_ranges(f))
    return [Heading(2, "How to read it"), Bullets(tuple(items))] if items else []


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
        for letter in sorted(letters):
            runs += [*([", "] if runs else []), Letter(letter)]
        runs += [" < ", expression(size)]
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
