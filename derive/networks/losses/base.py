r"""What a loss is: a cost per element, per example or per class, and how these become one scalar.

=========  ================================  ==========================================================
``per``    rule                              scalar
=========  ================================  ==========================================================
element    ``(z, y) -> cost``, two scalars   mean over all elements
example    ``(z, y) -> cost``, two tensors   mean over the batch and every other axis but the last
class      ``(z, at) -> cost of a class``    that of the class that is right, mean as for an example
all        ``(z, y) -> scalar``              the rule's own
=========  ================================  ==========================================================

What can be added to a loss is an option: label smoothing, an ignored label, weights of examples and of classes.
Weights multiply the cost and are inputs of their own, ``sample_weight`` and ``class_weight``; the mean is over how many
examples there are, not over their weights, so weights of mean 1 keep the scale.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

from sympy import Eq, Expr, Integer, Mul, Ne, Piecewise, Rational

from derive.language.declare import tensor
from derive.language.define import _block, block, define
from derive.language.errors import DeriveError, ShapeError
from derive.language.facts import Fact, missing, nonnegative, sums_to
from derive.language.index import Index, as_sympy
from derive.language.nodes import Iverson, Sum, maximum
from derive.language.tensor import Tensor
from derive.networks import elsewhere
from derive.networks.catalogue import GIVES, Entry, enter, own_name

F = TypeVar("F", bound=Callable)

# what a loss reads -> what of the activations' outputs is right for it; "anything" is trusted
ADMITS: dict[str, tuple[str, ...]] = {
    "anything": GIVES,
    "values": GIVES,
    "logits": ("values", "nonnegative", "positive"),
    "nonnegative": ("nonnegative", "positive", "bits", "probabilities"),
    "probabilities": ("probabilities",),
    "bits": ("bits",),  # of a softmax, log(1 - p) has no stable form where p rounds to 1
}
TARGET_FACTS: dict[str, tuple[Fact, ...]] = {"bits": (nonnegative,), "nonnegative": (nonnegative,)}
TARGETS = ("values", "nonnegative", "signs", "bits", "probabilities", "labels")
PER = ("element", "example", "class", "all")

EVERY = "Every finite prediction."
SCALE = "Squares overflow in float32 for differences above 1.8e19."


def named(name: str) -> str:
    """What a definition inside a loss is called: ``lse``, or ``lse_kind`` in the loss of the output ``kind``."""
    where = _block()
    return name + where.removeprefix("loss") if where.startswith("loss") else name


LOSSES: dict[str, Loss] = {}  # the catalogue by name, in the order of their modules


@dataclass(frozen=True)
class Loss(Entry):
    """A named loss.

    Attributes
    ----------
    name : str
    rule : callable
        See the table of :mod:`derive.networks.losses.base`; by default ``(output, y) -> scalar expression`` (or a defined
        scalar), where ``output.indices`` are the indices to read at.
    target : str
        What ``y`` is: "values" (floats of the output's shape), "nonnegative", "signs" (-1 or 1), "bits" (in [0, 1]),
        "probabilities" (summing to 1 over the last axis) or "labels" (integers below the size of the last axis, which
        y lacks).
    reads : str
        What the output must be: "anything", "nonnegative", "logits", "probabilities" or "bits".
    per : str
        "element", "example", "class" or "all".
    twin : str
        The loss that is the same function of logits, or of probabilities.
    domain, caveats : str
        Where it is defined and what is clipped, for its page.
    options : tuple of (str, number)
        The options of the rule that differ from its defaults.
    smoothing : number
        Label smoothing: the share of every target that is spread over the classes evenly.
    ignored : int, optional
        A label, or a number that is none such as -100, whose examples get no loss and no gradient; the mean is over
        the others.
    sample_weight, class_weight : bool
        Whether the loss has these inputs.
    """

    target: str = "values"
    reads: str = "anything"
    per: str = "all"
    twin: str = ""
    domain: str = ""
    caveats: str = ""
    options: tuple[tuple[str, Any], ...] = ()
    smoothing: Any = 0
    ignored: int | None = None
    sample_weight: bool = False
    class_weight: bool = False

    what: ClassVar[str] = "loss"
    short: ClassVar[Mapping[str, str]] = elsewhere.SHORT
    others: ClassVar[elsewhere.Names] = elsewhere.LOSSES

    # -- options -----------------------------------------------------------------------------------------------------

    def with_options(
        self,
        label_smoothing: Any = None,
        ignored: int | None = None,
        sample_weight: bool | None = None,
        class_weight: bool | None = None,
        **options: Any,
    ) -> Self:
        """The same loss with something added; see :func:`derive.networks.losses.loss`."""
        made = replace(self, options=self.chosen(options))
        if label_smoothing is not None:
            made = replace(made, smoothing=label_smoothing)
        if ignored is not None:
            made = replace(made, ignored=ignored)
        if sample_weight is not None:
            made = replace(made, sample_weight=bool(sample_weight))
        if class_weight is not None:
            made = replace(made, class_weight=bool(class_weight))
        made._check()
        return made

    def _check(self) -> None:
        said = f"loss {self.name!r}"
        chooses = self.per == "class"
        if self.smoothing:
            if not chooses and self.target != "bits":
                raise DeriveError(f"{said}: label smoothing is for classes; it has none")
            if isinstance(self.smoothing, bool) or not 0 <= float(self.smoothing) < 1:
                raise DeriveError(f"{said}: label_smoothing is {self.smoothing!r}; accepted are numbers in [0, 1)")
        if self.ignored is not None:
            if self.target != "labels":
                raise DeriveError(
                    f"{said}: ignored={self.ignored!r} is a label, but its targets are {self.target}; "
                    f"give such examples a sample_weight of 0"
                )
            if isinstance(self.ignored, bool) or not isinstance(self.ignored, int):
                raise DeriveError(
                    f"{said}: ignored is {self.ignored!r}; accepted is a whole number: one of the labels, or "
                    f"a number that is none, such as -100"
                )
        if self.class_weight and not chooses:
            raise DeriveError(f"{said}: class weights are for classes; it has none")
        if self.sample_weight and self.per == "all":
            raise DeriveError(
                f"{said}: it is a scalar already, so its examples cannot be weighted; write the cost of "
                f"an element or an example, as in Loss({self.name!r}, rule, per='element')"
            )

    @classmethod
    def catalogue(cls) -> dict[str, Loss]:  # type: ignore[override]  # of this class, not of a subclass
        return LOSSES

    def accepted(self) -> dict[str, tuple[str, ...]]:
        return {"target": TARGETS, "reads": tuple(ADMITS), "per": PER, "domain": (), "caveats": ()}

    def option_pairs(self) -> tuple[tuple[str, Any], ...]:
        return self.options

    def _saved(self) -> dict[str, Any]:
        added = {
            "label_smoothing": self.smoothing or None,
            "ignored": self.ignored,
            "sample_weight": self.sample_weight or None,
            "class_weight": self.class_weight or None,
        }
        return {**dict(self.options), **{k: v for k, v in added.items() if v is not None}}

    # -- what it fits ------------------------------------------------------------------------------------------------

    def admits(self, gives: str) -> bool:
        """Whether it can read the output of a layer whose activation gives this; see ``Activation.gives``."""
        return gives == "anything" or gives in ADMITS[self.reads]

    def advice(self, gives: str) -> str:
        """What to do where it does not."""
        if self.reads == "logits":
            return f"drop that activation, or use {self.twin!r} if it is the right one"
        if self.reads == "nonnegative":
            return "end it in softplus or relu"
        end = "softmax" if self.reads == "probabilities" else "sigmoid"
        return f"end it in {end}" + (f", or use {self.twin!r}, which reads logits" if self.twin else "")

    # -- its inputs --------------------------------------------------------------------------------------------------

    def target_tensor(self, output: Tensor, name: str = "y") -> Tensor:
        """The input ``y`` that this loss compares ``output`` with."""
        *outer, last = output.indices
        if self.target == "labels":
            labels = () if self.ignored is None else (missing(self.ignored),)
            return tensor(name, *outer, dtype="int", below=last.size, facts=labels)
        facts: tuple[Fact, ...] = (
            (sums_to(1, last),) if self.target == "probabilities" else TARGET_FACTS.get(self.target, ())
        )
        return tensor(name, *outer, last, facts=facts)

    def weights(self, output: Tensor) -> dict[str, Tensor]:
        """The further inputs: ``sample_weight`` of shape (B,), ``class_weight`` of shape (K,), not negative."""
        axes = {"sample_weight": output.indices[0], "class_weight": output.indices[-1]}
        return {name: tensor(name, axis, facts=[nonnegative]) for name, axis in axes.items() if getattr(self, name)}

    # -- the scalar --------------------------------------------------------------------------------------------------

    def define(self, output: Tensor, y: Tensor, name: str = "loss") -> Tensor:
        """The scalar ``loss``, as a definition."""
        with block(name):
            found = self.scalar(output, y)
            if isinstance(found, Tensor):
                if found.rank:
                    raise ShapeError(f"loss {self.name!r} gave {found!r}; a loss is a scalar: sum or average it")
                if not found.is_input:
                    return found
            return define(name, (), found)

    def scalar(self, output: Tensor, y: Tensor) -> Expr:
        """The right-hand side of the scalar."""
        if self.per == "all":
            return self.rule(output, y, **dict(self.options))
        *before, last = output.indices
        outer, added = tuple(before), self.weights(output)
        counts = None
        if self.ignored is not None:
            counts = Iverson(Ne(y[outer], self.ignored))
            y = define(named("label"), outer, Piecewise((0, Eq(y[outer], self.ignored)), (y[outer], True)))
        if self.per == "element":
            over, cost = output.indices, self._element(output, y)
        elif self.per == "example":
            over, cost = outer, self.rule(output, y, **dict(self.options))
        else:
            over, cost = outer, self._class(output, y, added.get("class_weight"))
        if "sample_weight" in added:
            cost = added["sample_weight"][outer[0]] * cost
        if counts is None:
            return _total(cost, over) / Mul(*(i.size for i in over))
        counted = define(named("counted"), (), maximum(Sum(counts, *outer), 1))  # an all-ignored batch costs 0, not 0/0
        return Sum(counts * cost, *outer) / counted[()]

    def _element(self, z: Tensor, y: Tensor) -> Expr:
        i = z.indices
        wanted = y[i]
        if self.smoothing:
            share = _exact(self.smoothing)
            wanted = (1 - share) * wanted + share / 2
        return self.rule(z[i], wanted, **dict(self.options))

    def _class(self, z: Tensor, y: Tensor, weight: Tensor | None) -> Expr:
        """The cost of the class that is right, or of all classes in their shares."""
        *outer, k = z.indices
        cost, share = self.rule(z, **dict(self.options)), _exact(self.smoothing)

        def weighted(at: Expr) -> Expr:
            return cost(at) if weight is None else weight[at] * cost(at)

        if self.target == "labels":
            right = weighted(y[tuple(outer)])
            if not self.smoothing:
                return right
            return (1 - share) * right + share / k.size * Sum(weighted(k), k)
        wanted = y[z.indices]
        if self.smoothing:
            wanted = (1 - share) * wanted + share / k.size
        return Sum(wanted * weighted(k), k)


def in_catalogue(
    name: str = "",
    *,
    target: str = "values",
    reads: str = "anything",
    per: str = "",
    twin: str = "",
    domain: str = "",
    caveats: str = "",
) -> Callable[[F], F]:
    """Put the function below into the catalogue; the arguments are those of :class:`Loss`.

    ``name`` is by default that of the function, whose docstring begins with its formula.  Saving, messages, the command
    line and the pages of the documentation read the catalogue: nothing else is to be done.
    """

    def registered(rule: F) -> F:
        enter(Loss(name or rule.__name__, rule, target, reads, per, twin, domain, caveats))
        return rule

    return registered


def own(function: Callable) -> Loss:
    """The loss of a function ``(output, y) -> scalar expression``."""
    needed = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    if len(needed) != 2:
        raise DeriveError(f"loss {function!r}: a loss is a function of two tensors, (output, y) -> scalar expression")
    return Loss(own_name(function), function)


def _exact(number: Any) -> Expr:
    return Rational(repr(number)) if isinstance(number, float) else as_sympy(number, "an option of a loss")


def _total(cost: Expr, over: Sequence[Index]) -> Expr:
    """The sum over the indices, one sign and one Sum where the cost is itself a sum over classes."""
    if isinstance(cost, Sum):
        return Sum(cost.body, *over, *cost.binders)
    sign, rest = cost.as_coeff_Mul()
    return sign * _total(rest, over) if sign == -1 and rest != Integer(1) else Sum(cost, *over)
