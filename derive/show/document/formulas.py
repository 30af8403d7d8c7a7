"""The formulas of one derivation as layout trees, with its names and equation labels."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from derive.language.naming import primal
from derive.language.tensor import Read, Tensor
from derive.program.derived import Derived
from derive.program.program import Equation, Step
from derive.show.formulas.equations import equation_context, member_layouts, page_layout
from derive.show.formulas.expressions import expression, read
from derive.show.formulas.layout import Big, Element, Letter, Node, Num, Product, Relation, Slope, Sum, width
from derive.show.formulas.matrix import matrix_layout
from derive.show.formulas.names import Namer
from derive.show.formulas.symbols import Symbols, members, own_letters

from .blocks import Line, Mono, Part, Ref, Sentence, Strong
from .options import Options


def shape_of(t: Tensor) -> Sentence:
    """``(B, K)``, each size as a formula."""
    if not t.rank:
        return ("scalar",)
    out: list[Part] = ["("]
    for n, a in enumerate(t.axes):
        out += [", "] if n else []
        out.append(expression(a))
    return (*out, ")")


def _alphabet() -> Iterator[str]:
    """``a``, ``b``, ..., ``z``, ``aa``, ``ab``, ..."""
    letters = "abcdefghijklmnopqrstuvwxyz"
    for length in itertools.count(1):
        for combination in itertools.product(letters, repeat=length):
            yield "".join(combination)


LONG_SHAPE = 24  # characters of a shape, beyond which it has no room beside an equation


class Formulas:
    """What the outline asks for: names, labels, lines."""

    def __init__(self, d: Derived, options: Options) -> None:
        self.d, self.options = d, options
        # not `primal`, the function below: CPython 3.12.1 takes the one for the other
        adjoints = {t.name: of for of, t in (*d.adjoints, *dict(d.results).get("grads", {}).items())}
        if d.seed is not None:
            adjoints.pop(d.seed.name, None)
        self.tensors = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}
        told = (*d.source.equations, *d.program.equations, *(s.after for s in d.steps))
        for e in told:
            self.tensors.setdefault(e.name, e.tensor)
        made = frozenset(n for n, t in self.tensors.items() if t.definition is None and t.role == "computed")
        # what holds a derivative by all entries, for that by the free ones, is one of the way back
        helping = {e.name for s in d.steps if s.rule in ("named derivative", "free entries") for e in s.context}
        self.adjoints, self._of = frozenset(adjoints) | helping, dict(adjoints)
        self._back = {of: name for name, of in adjoints.items()}
        ways = (e for e in (*d.source.equations, *(s.after for s in d.steps)) if e.name not in self.adjoints)
        gone = [n for n in dict.fromkeys(e.name for e in ways) if d.program.equation(n) is None]
        self._letters = dict(zip(gone, _alphabet(), strict=False))
        if d.kind not in ("backprop", "vjp"):  # of second order: one mark could not say of what it is the derivative
            adjoints = {}
            if d.kind in ("hessian", "jacobian"):  # there the gradients are those of the one loss
                adjoints = {n: seen for n in self.tensors if (seen := primal(n)) in self.tensors}
        self.symbols = Symbols((d.source, d.program), made, adjoints)
        self.symbols.choose(self.tensors)
        self.names = Namer(
            adjoints, options.adjoint, d.loss.name, self.symbols.found, own_letters(told), members(d.source.equations)
        )
        self._sliced = any(
            len(e.idx) > 2 and any(t.bnd for t in e.terms) and matrix_layout(e, self.names) for e in told
        )
        self._shown: dict[Equation, tuple[Node, Node]] = {}

    def given(self) -> list[Tensor]:
        """All inputs: data before parameters, each in the order of first use."""
        d = self.d
        known = {t.name: t for t in (*d.source.inputs, *d.program.inputs)}
        used = [r.name for e in (*d.source.equations, *d.program.equations) for r in e.tensors() if r.name in known]
        wrt = [t.name for t in d.wrt]
        order = [n for n in used if n not in wrt] + [n for n in known if n not in used and n not in wrt] + wrt
        return [known[n] for n in dict.fromkeys(order) if n in known]

    def sides(self, eq: Equation) -> tuple[Node, Node]:
        if eq not in self._shown:
            self._shown[eq] = page_layout(eq, self.names)
        return self._shown[eq]

    def whole(self, eq: Equation) -> Node:
        """The left-hand side by the equation's own indices, also where :meth:`sides` writes a flat place as its letters."""
        return read(Read(eq.tensor, *eq.idx), equation_context(eq, self.names))

    def members(self, eq: Equation) -> tuple[tuple[Node, Node], ...]:
        """The two sides for each element of an axis whose elements have letters, such as gates."""
        return member_layouts(eq, self.names) if self.names.entries else ()

    def same(self, a: Equation, b: Equation) -> bool:
        """Whether two equations are shown alike."""
        return self.sides(a) == self.sides(b)

    def label(self, eq: Equation) -> str:
        """The number of an equation, primed where the program computes the same tensor in another way.

        A definition that the program does without has a letter.
        """
        final = self.d.program.equation(eq.name)
        if final is None:
            letter, given = self._letters.get(eq.name, ""), self.d.source.equation(eq.name)
            return letter if not letter or given is None or self.same(eq, given) else f"{letter}′"
        return str(final.number) if self.same(eq, final) else f"{final.number}′"

    def adjoint_name(self, name: str) -> str | None:
        """Of what a tensor is the adjoint."""
        return self._of.get(name)

    def given_as(self, tensor: Tensor) -> Tensor | None:
        """The cotangent that was given, where a tensor is only another name for it."""
        seed = self.d.seed
        return (
            seed
            if seed is not None and tensor.name != seed.name and self._of.get(tensor.name) == self.d.loss.name
            else None
        )

    def adjoint_of(self, name: str) -> str:
        """The name of the adjoint of a tensor; empty where it has none."""
        return self._back.get(name, "")

    def matrix(self, eq: Equation, always: bool = False) -> tuple[Node, Node] | None:
        """The matrix form in the notation asked for; one of slices where a matrix product of such slices stands too."""
        if self.options.notation == "index" or len(eq.idx) > 2 and not self._sliced:
            return None
        return matrix_layout(eq, self.names, always)

    def lines(self, eq: Equation, aside: bool = True) -> tuple[Line, ...]:
        """An equation with its label, in the notation asked for; one of gates is a line for each."""
        parts = self.members(eq)
        if not parts:
            return (self.line(eq, aside),)
        return (*(Line(*p) for p in parts[:-1]), Line(*parts[-1], self.label(eq), shape=shape_of(eq.tensor)))

    def line(self, eq: Equation, aside: bool = True) -> Line:
        """An equation with its label, in the notation asked for."""
        lhs, rhs = self.sides(eq)
        form = self.matrix(eq)
        shape = shape_of(eq.tensor)
        if (
            sum(width(p) if not isinstance(p, str) else len(p) for p in shape if not isinstance(p, (Ref, Mono, Strong)))
            > LONG_SHAPE
        ):
            shape = ()
        if form is None:
            return Line(lhs, rhs, self.label(eq), shape=shape)
        if self.options.notation == "matrix":
            return Line(*form, self.label(eq), shape=shape)
        return Line(lhs, rhs, self.label(eq), form if aside else None, shape)

    def name(self, name: str) -> Node | str:
        """The symbol of a tensor of this derivation."""
        t = self.tensors.get(name)
        return name if t is None else self.names.name(t)

    def chain_rule(self, step: Step) -> Node | None:
        r"""The chain rule before anything is evaluated: ``sum_b d_lse[b] (d lse[b] / d z[b,k]) + ...``."""
        adjoint = dict(step.adjoint_of)
        ctx = equation_context(step.after, self.names)
        items: list[tuple[int, Node]] = []
        if step.wrt is None:
            return None
        for consumer in step.before:
            inner = ctx.bind(consumer.idx)
            element = read(Read(consumer.tensor, *consumer.idx), inner)
            by = read(Read(step.wrt, *step.after.idx), ctx)
            arriving = self.given_as(adjoint[consumer.name]) or adjoint[consumer.name]
            body = Product((read(Read(arriving, *consumer.idx), inner), Slope(element, by)))
            letters = tuple(inner.scope.letter(i) for i in consumer.idx)
            items.append((1, Big("sum", letters, (), body) if letters else body))
        return None if not items else items[0][1] if len(items) == 1 else Sum(tuple(items))

    def fact(self, text: str) -> Sentence:
        """What is known of a tensor, ``0 <= y[b] < K (declared)``, with its relation set as mathematics."""
        found = re.match(r"(\S+) (<=|>=|<|>|=) (\S+)(?: (<=|<) (\S+))?(?= \(|;|$)", text)
        if found is None:
            return self.sentence(text)
        parts = [self._part(p) for p in found.group(1, 3, 5) if p]
        if any(p is None for p in parts):
            return self.sentence(text)
        ops = tuple({"=": "=="}.get(o, o) for o in found.group(2, 4) if o)
        return (Relation(tuple(p for p in parts if p is not None), ops), text[found.end() :])

    def _part(self, text: str) -> Node | None:
        """``0``, ``K``, ``y`` or ``y[b]`` as formulas."""
        found = re.fullmatch(r"(\w+)(?:\[([^\W\d]\w*(?:,[^\W\d]\w*)*)\])?", text)
        if found is None or found[1].isdigit():
            return Num(text) if found is not None else None
        tensor = self.tensors.get(found[1])
        if tensor is None:
            return None if found[2] else Letter(text)
        name = self.names.name(tensor)
        return Element(name, tuple(map(Letter, found[2].split(",")))) if found[2] else name

    def sentence(self, text: str) -> Sentence:
        """A sentence of a step, with the tensors it names set as mathematics."""
        parts: list[Part] = []
        last = 0
        for m in re.finditer(r"[^\W\d]\w*", text):
            word = m.group()
            t = self.tensors.get(word)
            if (
                t is None
                or (word in ENGLISH and not text[: m.start()].endswith("through "))
                or text[m.end() : m.end() + 1] in ("[", "'")
                or text[: m.start()].endswith(("this ", "the ", "same "))
            ):
                continue
            parts += [text[last : m.start()], self.names.name(t)]
            last = m.end()
        return tuple(p for p in (*parts, text[last:]) if p != "")


# words of our own sentences, which stay words even where a tensor has that name
ENGLISH = {
    "a",
    "A",
    "I",
    "in",
    "is",
    "of",
    "by",
    "at",
    "to",
    "the",
    "sum",
    "max",
    "each",
    "no",
    "so",
    "and",
    "with",
    "log",
    "exp",
    "term",
    "terms",
    "it",
    "its",
    "m",
    "u",
}
