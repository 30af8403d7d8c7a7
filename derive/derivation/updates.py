r"""What an optimizer does with a gradient, as definitions: recurrences over the steps, with symbolic step sizes.

    W[n,i,k] = W[n-1,i,k] - eta dW[n,i,k]                  gradient descent

The gradient of step n is an input here, for the derivation has its equation.  Each rule is written once, over one element;
the same engine that writes the derivation's documents shows it, and ``nx.compile`` runs it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Unpack

import sympy
from sympy import Eq, Expr, Piecewise

from derive.language.declare import tensor
from derive.language.define import define
from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean
from derive.language.index import index
from derive.language.naming import numbered
from derive.language.tensor import Read, Tensor
from derive.passes.adjoints import adjoint_letters
from derive.passes.pipeline import run
from derive.passes.work import Backward
from derive.program.program import Equation
from derive.show.document.blocks import Block, Bullets, Equations, Heading, Line, Para, Part, Table
from derive.show.document.formulas import Formulas
from derive.show.document.options import Choices, Options, read_options
from derive.show.document.outline import outline
from derive.show.formulas.equations import equation_layout
from derive.show.html import blocks_fragment, blocks_html
from derive.show.latex import blocks_latex
from derive.show.markdown import blocks_markdown
from derive.show.text import blocks_text

from .derivation import Derivation, derivation_of


@dataclass(frozen=True)
class Constant:
    """A number that a rule is given: its name, what it is, and a usual value."""

    name: str
    meaning: str
    usual: str


@dataclass(frozen=True)
class Rule:
    """An update rule: ``change(step)`` is what is added to a parameter's element in one step."""

    name: str
    title: str
    change: Callable[[Step], Expr]
    constants: tuple[Constant, ...]
    references: tuple[str, ...]


class Step:
    """One step on one element: the gradient, the parameter before the step, constants, and what is kept between steps."""

    def __init__(self, parameter: Tensor, gradient: Tensor, rule: Rule, taken: frozenset[str]):
        self.idx = adjoint_letters(parameter)
        self.taken = taken
        sizes = {str(a) for a in parameter.axes}
        letter = next(c for c in "ntsruvw" if c not in {i.name for i in self.idx})
        self.n = index(letter, size=numbered("steps", sizes, "_"))
        g = tensor(gradient.name, self.n, *self.idx)
        self.gradient = g[(self.n, *self.idx)]
        self.start = tensor(numbered(f"{parameter.name}_start", taken, "_"), *self.idx)
        self.constants = {c.name: tensor(numbered(c.name, taken, "_"), role="constant")[()] for c in rule.constants}
        self.path: Tensor | None = None  # the parameter, while its own recurrence is written

    def __getattr__(self, name: str) -> Expr:
        try:
            return self.__dict__["constants"][name]
        except KeyError:
            raise AttributeError(name) from None

    @property
    def weight(self) -> Expr:
        """The parameter before the step; before the first step, what it started from."""
        start = self.start[self.idx] if self.idx else self.start[()]
        assert self.path is not None  # read only by a rule, and rules are applied while the recurrence is written
        return Piecewise((start, Eq(self.n, 0)), (Read(self.path, self.n - 1, *self.idx), True))

    def keep(self, name: str, body: Callable[[Expr], Expr]) -> Expr:
        """A value that lives from step to step, 0 before the first; ``body`` is given its value before this step."""
        made = define(numbered(name, self.taken, "_"), (self.n, *self.idx), lambda s: body(s[(self.n - 1, *self.idx)]))
        return made[(self.n, *self.idx)]

    def name(self, name: str, body: Expr) -> Expr:
        """A name for a value of this step."""
        return define(numbered(name, self.taken, "_"), (self.n, *self.idx), body)[(self.n, *self.idx)]


def _descent(s: Step) -> Expr:
    return -s.eta * s.gradient


def _momentum(s: Step) -> Expr:
    return -s.eta * s.keep("m", lambda before: s.mu * before + s.gradient)


def _nesterov(s: Step) -> Expr:
    return -s.eta * (s.gradient + s.mu * s.keep("m", lambda before: s.mu * before + s.gradient))


def _adagrad(s: Step) -> Expr:
    return -s.eta * s.gradient / sympy.sqrt(s.keep("v", lambda before: before + s.gradient**2) + s.epsilon)


def _rmsprop(s: Step) -> Expr:
    v = s.keep("v", lambda before: s.rho * before + (1 - s.rho) * s.gradient**2)
    return -s.eta * s.gradient / sympy.sqrt(v + s.epsilon)


def _adam(s: Step) -> Expr:
    return -s.eta * _adam_direction(s)


def _adamw(s: Step) -> Expr:
    return -s.eta * (_adam_direction(s) + s.constants["lambda"] * s.weight)


def _adam_direction(s: Step) -> Expr:
    m = s.keep("m", lambda before: s.beta1 * before + (1 - s.beta1) * s.gradient)
    v = s.keep("v", lambda before: s.beta2 * before + (1 - s.beta2) * s.gradient**2)
    mean = s.name("mhat", m / (1 - s.beta1 ** (s.n + 1)))
    square = s.name("vhat", v / (1 - s.beta2 ** (s.n + 1)))
    return mean / (sympy.sqrt(square) + s.epsilon)


ETA = Constant("eta", "step size (learning rate)", "0.1")
SMALL = Constant("eta", "step size (learning rate)", "0.001")
MU = Constant("mu", "momentum: the share of the last direction that is kept", "0.9")
BETA1 = Constant("beta1", "decay of the mean of the gradient", "0.9")
BETA2 = Constant("beta2", "decay of the mean of its square", "0.999")
EPSILON = Constant("epsilon", "keeps the quotient finite", "1e-8")
ADAM = "Kingma, Ba, Adam: a method for stochastic optimization, ICLR 2015, algorithm 1"

RULES: Mapping[str, Rule] = {
    r.name: r
    for r in (
        Rule(
            "sgd",
            "Gradient descent",
            _descent,
            (ETA,),
            ("Robbins, Monro, A stochastic approximation method, Ann. Math. Statist. 22 (1951)",),
        ),
        Rule(
            "momentum",
            "Momentum",
            _momentum,
            (ETA, MU),
            (
                "Polyak, Some methods of speeding up the convergence of iteration methods, USSR Comput. Math. Math. Phys. "
                "4 (1964)",
            ),
        ),
        Rule(
            "nesterov",
            "Nesterov's accelerated gradient",
            _nesterov,
            (ETA, MU),
            (
                "Nesterov, A method of solving a convex programming problem with convergence rate O(1/k^2), Soviet Math. "
                "Doklady 27 (1983)",
                "Sutskever, Martens, Dahl, Hinton, On the importance of initialization and momentum in deep learning, "
                "ICML 2013, equations 3 and 4",
            ),
        ),
        Rule(
            "adagrad",
            "Adagrad",
            _adagrad,
            (ETA, EPSILON),
            (
                "Duchi, Hazan, Singer, Adaptive subgradient methods for online learning and stochastic optimization, "
                "JMLR 12 (2011)",
            ),
        ),
        Rule(
            "rmsprop",
            "RMSprop",
            _rmsprop,
            (SMALL, Constant("rho", "decay of the mean of the gradient's square", "0.9"), EPSILON),
            ("Tieleman, Hinton, Lecture 6.5: rmsprop, Neural Networks for Machine Learning, Coursera (2012)",),
        ),
        Rule("adam", "Adam", _adam, (SMALL, BETA1, BETA2, EPSILON), (ADAM,)),
        Rule(
            "adamw",
            "AdamW",
            _adamw,
            (SMALL, BETA1, BETA2, EPSILON, Constant("lambda", "weight decay, apart from the gradient", "0.01")),
            ("Loshchilov, Hutter, Decoupled weight decay regularization, ICLR 2019, algorithm 2", ADAM),
        ),
    )
}


@dataclass(frozen=True, eq=False)
class Updated:
    """A derivation with the update of an optimizer written under each gradient.

    Attributes
    ----------
    derivation : Derivation
    rule : Rule
    updates : dict of str to Derivation
        By parameter: the recurrences over the steps, a program like any other.  Compiled, it takes the gradients of all
        steps, of shape ``(steps, *shape)``, and gives the parameter after each step.
    """

    derivation: Derivation
    rule: Rule
    updates: Mapping[str, Derivation]

    def equations(self, name: str) -> list[Equation]:
        """The update of one parameter, in the order of evaluation, as it is shown."""
        if name not in self.updates:
            raise DeriveError(f"no update of {name!r}: the gradients here are of {', '.join(self.updates)}")
        return [_without_start(e) for e in self.updates[name].program]

    def to_text(self, **options: Unpack[Choices]) -> str:
        """The whole derivation, and the update, as plain text."""
        return blocks_text(self._blocks(options, flat=True))

    def to_latex(self, standalone: bool = False, **options: Unpack[Choices]) -> str:
        r"""LaTeX that can be ``\\input`` into a paper."""
        return blocks_latex(self._blocks(options), f"{self.derivation.name}-{self.rule.name}", standalone)

    def to_markdown(self, **options: Unpack[Choices]) -> str:
        """Markdown with ``$$`` mathematics."""
        return blocks_markdown(self._blocks(options))

    def to_html(self, **options: Unpack[Choices]) -> str:
        """One self-contained HTML page."""
        return blocks_html(self._blocks(options))

    def _repr_html_(self) -> str:
        return blocks_fragment(self._blocks({}))

    def __str__(self) -> str:
        return self.to_text()

    def __repr__(self) -> str:
        return f"<{self.rule.title} under the gradients of {', '.join(self.updates)}>"

    def _blocks(self, given: Choices, flat: bool = False) -> list[Block]:
        """The derivation's own document, with the chapter of the update after its result."""
        options = read_options(given)
        blocks = outline(self.derivation, options, flat)
        place = next(
            n for n, b in enumerate(blocks) if isinstance(b, Heading) and b.text == "Facts used and conventions"
        )
        shown = replace(options, adjoint="d") if flat else options
        return [*blocks[:place], *self._chapter(shown), *blocks[place:]]

    def _chapter(self, options: Options) -> list[Block]:
        f = Formulas(self.derivation, options)
        first = next(iter(self.updates.values()))
        step = first.loss.letters[0]
        out: list[Block] = [
            Heading(2, f"The update: {self.rule.title}"),
            Para(
                (
                    f"Step {step} takes the gradient at the parameters as they are before it, and changes every parameter "
                    f"by a recurrence over the steps, which count from 0. What is kept between steps is 0 before the first; "
                    f"what a parameter is before the first step is its initial value.",
                )
            ),
            Table(
                ("", "name", "what it is", "usual value"),
                tuple(self._constant(f, first, c) for c in self.rule.constants),
            ),
        ]
        for name in self.updates:
            gradient = self.derivation.gradient(name)
            below = [
                Line(*equation_layout(e, f.names), f"{gradient.number}{chr(ord('a') + n)}")
                for n, e in enumerate(self.equations(name))
            ]
            out += [Heading(3, f"The update of {name}"), Equations((f.line(gradient), *below), boxed=True)]
        return [*out, Para(("References:",)), Bullets(tuple((f"{r}.",) for r in self.rule.references))]

    def _constant(self, f: Formulas, d: Derivation, c: Constant) -> tuple[tuple[Part, ...], ...]:
        t = next(t for t in d.program.inputs if t.role == "constant" and t.name.startswith(c.name))
        return ((f.names.name(t),), (t.name,), (c.meaning,), (c.usual,))


def with_update(d: Derivation, rule: str = "sgd") -> Updated:
    r"""The update equation of an optimizer, written under each gradient of a derivation.

    .. math:: W^{(n)} = W^{(n-1)} - \eta\, \nabla_W L

    Parameters
    ----------
    d : Derivation
        With gradients, as ``dv.backprop`` returns it.
    rule : str
        "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam" or "adamw".

    Returns
    -------
    Updated
        Has ``to_text``, ``to_latex``, ``to_markdown`` and ``to_html``, and ``updates``, the recurrences as programs.

    Raises
    ------
    DeriveError
        For an unknown rule.

    References
    ----------
    Ruder, *An overview of gradient descent optimization algorithms*, arXiv:1609.04747 (2016); each rule names its paper.

    >>> from derive import indices, tensor, define, Sum, backprop
    >>> i, = indices("i")
    >>> x = tensor("x", i)
    >>> u = with_update(backprop(define("loss", (), Sum(x[i]**2, i)), wrt=[x]), "momentum")
    >>> for equation in u.equations("x"): print(equation)
    m[n,i] = mu m[n-1,i] + dx[n,i]
    x[n,i] = x[n-1,i] - eta m[n,i]
    """
    if rule not in RULES:
        raise DeriveError(f"with_update: no rule {rule!r}{did_you_mean(rule, RULES)}; there are {', '.join(RULES)}")
    taken = frozenset({t.name for t in d.program.inputs} | {e.name for e in d.program})
    return Updated(d, RULES[rule], {n: _update(d, n, g, RULES[rule], taken) for n, g in d.gradients.items()})


def _update(d: Derivation, name: str, gradient: Tensor, rule: Rule, taken: frozenset[str]) -> Derivation:
    parameter = next(t for t in d.wrt if t.name == name)
    step = Step(parameter, gradient, rule, taken)

    def moved(path: Tensor) -> Expr:
        step.path = path
        return step.weight + rule.change(step)

    path = define(name, (step.n, *step.idx), moved)
    work = Backward(path, ())
    return derivation_of(work, "forward", f"{rule.name}_{name}", [("path", path)], run(work))


def _without_start(e: Equation) -> Equation:
    """As it is shown: what a recurrence starts from is told in words."""
    starts = {p for t in e.terms for f in t.fac for p in f.atoms(Piecewise)}
    return e.xreplace({p: p.args[-1][0] for p in starts})
