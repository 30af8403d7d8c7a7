"""``d.closed_form(W)``: one expression of matrices in the inputs, printed, read back and proved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sympy import Expr, Integer

from derive.exact import Comparison
from derive.exact.compare import compare_gradient
from derive.exact.verdict import PROVED
from derive.language.errors import DerivationError, DeriveError
from derive.language.facts import STRUCTURES
from derive.language.formulas.lower import lowered
from derive.language.formulas.shapes import Conflict, Shape, Sizes, shapes
from derive.language.formulas.syntax import parse_formula
from derive.language.formulas.tree import APPLIED, FUNCTION, Declaration, Formula
from derive.language.tensor import Tensor
from derive.program.derived import Derived
from derive.program.program import Equation

from .algebra import NoClosedForm
from .helpers import Helper, named_parts
from .printing import factors, plain, tex
from .reading import Reader
from .writing import Writer

Asked: TypeAlias = "Tensor | str"
FACTS = ("symmetric", "positive_definite", "positive", "nonnegative", "orthogonal", "unit", "free", *STRUCTURES)


@dataclass(frozen=True)
class ClosedForm:
    """A tensor of a derivation as one expression in the inputs, proved equal to its equation.

    Attributes
    ----------
    name : str
        The equation that it is the value of, as ``dX``.
    formula : Formula
        Its syntax tree; ``str()`` is its text, which ``dv.matrix`` reads back.
    declared : str
        What its tensors are, as declarations of that grammar.
    proof : Comparison
        The exact comparison of the text, read back, with the derivation.
    shown : Formula
        The same with names for what repeats, where they were asked for; ``formula`` is always the whole.
    helpers : tuple of (str, Formula)
        What these names are, each in the inputs and the names before it.
    """

    name: str
    formula: Formula
    declared: str
    proof: Comparison
    shown: Formula
    helpers: tuple[Helper, ...] = ()

    def __str__(self) -> str:
        given = "; ".join(f"{n} = {plain(f)}" for n, f in self.helpers)
        return plain(self.shown) + (f"  with {given}" if given else "")

    def to_latex(self) -> str:
        """The expression as LaTeX, without a display around it."""
        given = ", ".join(f"{tex(Formula('name', text=n))} = {tex(f)}" for n, f in self.helpers)
        return tex(self.shown) + (rf" \quad\text{{with}}\quad {given}" if given else "")

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.to_latex()}$"


def closed_form(d: Derived, equation: Equation, helpers: bool = False) -> ClosedForm:
    """The closed form of an equation of a derivation; ``helpers`` names what it would repeat.

    Raises
    ------
    DerivationError
        Where there is none: why, and the definitions that remain; or where what was found could not be proved.
    """
    name = equation.name
    known = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}
    tried: dict[str, Comparison] = {}
    text = ""
    try:
        reader = Reader(d.source, d.program)
        value = reader.equation(equation)
        for brackets in (True, False):  # the exact check keys exp by its argument, and may know one spelling of it only
            shapes_of = {f"{t.axes[0]} {t.axes[1]}": t.name for t in (*known.values(), *d.wrt) if t.rank == 2}
            formula = Writer(reader.sums, brackets, shapes_of).formula(value)
            text = plain(formula)
            if text in tried:
                continue
            read = read_back(text, equation, list(known.values()), unknown_functions(formula))
            proof = compare_gradient(d, name, equation, read)
            if proof.verdict == PROVED:
                inputs = [t for t in known.values() if t.name in formula.names()]
                declared = {t.name: Declaration(tuple(t.axes)) for t in inputs}
                shown, named = named_parts(formula, declared) if helpers else (formula, ())
                lines = [f"{n}: {FUNCTION}" for n in unknown_functions(formula)] + [*map(_declaration, inputs)]
                return ClosedForm(name, formula, "; ".join(lines), proof, shown, named)
            tried[text] = proof
    except (NoClosedForm, Conflict) as error:
        raise DerivationError(f"{name} has no closed form in matrices: {error}{_remaining(d, equation)}") from None
    except DeriveError as error:
        raise DerivationError(
            f"{name} has no closed form in matrices: {text} is not read back: {error}{_remaining(d, equation)}"
        ) from None
    found = "\n".join(f"{name} = {text}\n{proof}" for text, proof in tried.items())
    raise DerivationError(f"a closed form of {name} was found and is not returned, for it is not proved:\n{found}")


def unknown_functions(formula: Formula) -> list[str]:
    """The names of the unknown functions that a formula applies."""
    found = (f.text.partition("'")[0].partition("^")[0] for f in formula.nodes() if f.op == APPLIED)
    return list(dict.fromkeys(found))


def read_back(text: str, equation: Equation, inputs: list[Tensor], functions: Sequence[str] = ()) -> Expr | Tensor:
    """The text as ``dv.matrix`` reads it, at the letters of the equation; ``inputs`` are the tensors it may name, and
    ``functions`` the unknown functions."""
    if text == "0":
        return Integer(0)
    declared = {t.name: Declaration(tuple(t.axes), _facts(t)) for t in inputs if t.rank <= 2 and t.dtype == "float"}
    formula = parse_formula("".join(f"{n}: {FUNCTION}; " for n in functions) + text).formula
    names, nodes, sizes = shapes(formula, declared)
    sides = [i.size for i in equation.idx] + [Integer(1)] * (2 - len(equation.idx))
    if len(sides) == 2:
        _fit(sizes, nodes[id(formula)], sides, text)
    for f, first, second in _pairs(formula, sides, False, False) if len(sides) == 4 else ():
        _fit(sizes, nodes[id(f.args[0])], first, text)
        if len(f.args) == 2:
            _fit(sizes, nodes[id(f.args[1])], second, text)
    read = lowered(formula, names, nodes, sizes, declared, "closed_form")["closed_form"]
    if len(sides) == 2:
        return read
    i, j, k, l = equation.idx  # noqa: E741
    return read[i * j.size + j, k * l.size + l]


def _pairs(
    f: Formula, sides: Sequence[Expr], commuted: bool, turned: bool
) -> Iterator[tuple[Formula, Sequence[Expr], Sequence[Expr]]]:
    """Kronecker products and stacked rows of a matrix over four axes, and the axes that their matrices have."""
    i, k, j, l = sides  # noqa: E741
    if f.op == "kron":
        yield (f, (i, l), (k, j)) if commuted else (f, (i, j), (k, l))
    elif f.op == "vec":
        yield (f, (j, l), ()) if turned else (f, (i, k), ())
    elif f.op != "commutation":
        here = commuted or f.op == "*" and any(x.op == "commutation" for x in factors(f))
        for a in f.args:
            yield from _pairs(a, sides, here, turned != (f.op == "'"))


def _fit(sizes: Sizes, shape: Shape, axes: Sequence[Expr], text: str) -> None:
    """The size of an identity or of ones is told by the equation, not by the text."""
    for mine, axis in zip(shape, axes, strict=True):
        sizes.unify(mine, int(axis) if axis.is_Integer else axis, f"{text} has another shape")


def _facts(t: Tensor) -> tuple[str, ...]:
    """The words for what a tensor was declared with, in the grammar of matrix formulas."""
    if (
        t.rank == 1
        and [f.kind for f in t.facts] == ["nonnegative", "sums_to"]
        and t.facts[1].key.startswith("sums_to:1:")
    ):
        return ("simplex",)
    return tuple(f.kind for f in t.facts if f.kind in FACTS)


def _declaration(t: Tensor) -> str:
    facts = "".join(f" {f.replace('_', ' ')}" for f in _facts(t))
    return f"{t.name}: {' x '.join(map(str, t.axes)) or 'scalar'}{facts}"


def _remaining(d: Derived, equation: Equation) -> str:
    """The definitions that the equation reads, which say the same in index notation."""
    shown: dict[str, Equation] = {}
    todo = [equation]
    while todo:
        e = todo.pop(0)
        if e.name not in shown:
            shown[e.name] = e
            todo += [f for t in e.tensors() if (f := d.program.equation(t) or d.source.equation(t)) is not None]
    lines = [str(e) for e in shown.values()][:8]
    return "; in index notation it is\n  " + "\n  ".join(lines)


def equation_asked(d: Derived, asked: Asked) -> Equation:
    """The equation of a name, or of the gradient (Jacobian) by the tensor that is named."""
    name = asked if isinstance(asked, str) else asked.name
    known = {e.name: e for e in (*d.source.equations, *d.adjoint_equations.values(), *d.program.equations)}
    found: dict[str, Equation] = {}
    for group, value in d.results:
        if group in ("grads", "jacobian"):
            found |= {n: known[t.name] for n, t in value.items() if t.name in known}
    by_name = found.get(name) or known.get(name)
    if by_name is None:
        raise DeriveError(
            f"closed_form({name!r}): there is no such equation, and nothing is differentiated by it; there are "
            f"{', '.join(sorted({*found, *known}))}"
        )
    return by_name
