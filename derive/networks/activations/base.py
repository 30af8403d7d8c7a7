"""What an activation is, and how one is put into the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self, TypeVar

from sympy import Expr

from derive.language.errors import DeriveError
from derive.language.tensor import Tensor
from derive.networks.catalogue import GIVES, Entry, enter, own_name
from derive.networks.initializers import INITIALIZERS

F = TypeVar("F", bound=Callable)

ACTIVATIONS: dict[str, Activation] = {}  # the catalogue by name, in the order of their modules


@dataclass(frozen=True)
class Activation(Entry):
    """A named activation: its forward definition, and what a network needs to know of it.

    Attributes
    ----------
    name : str
    rule : callable
        ``u -> expression`` of one scalar, or ``(z, letters) -> expression`` if it looks at a whole axis.  Further
        parameters with defaults are its options.
    init : str
        The default initializer of the weights before it.
    letter : str
        How the activated tensor is called, followed by the layer's position: ``h1``.
    whole_axis : bool
        Whether the rule reads other elements than its own, as softmax does.
    gives : str
        What comes out: "values", "nonnegative", "positive", "bits" (probabilities of independent yes-or-no answers),
        "probabilities" (of exclusive classes, in the open interval) or "anything".
    caveats : str
        What to know about it in floating point, and at its kinks, for its page.
    options : tuple of (str, number)
        The options that differ from the rule's defaults.
    """

    init: str = "glorot_uniform"
    letter: str = "h"
    whole_axis: bool = False
    gives: str = "values"
    caveats: str = ""
    options: tuple[tuple[str, Any], ...] = ()

    what: ClassVar[str] = "activation"

    def __call__(self, z: Tensor) -> Expr:
        """The activated element at the letters of ``z``."""
        options = dict(self.options)
        if self.whole_axis:
            return self.rule(z, z.indices, **options)
        try:
            return self.rule(z[z.indices], **options)
        except TypeError as error:
            raise DeriveError(
                f"activation {self.name}: it cannot be applied to an expression of SymPy ({str(error).splitlines()[0]}); "
                f"accepted are the name of one, as 'relu', or a function of one scalar expression, as "
                f"lambda u: u * dv.sigmoid(u)"
            ) from error

    def with_options(self, **options: Any) -> Self:
        """The same activation with other numbers in it.

        >>> from derive.networks.activations import ACTIVATIONS
        >>> ACTIVATIONS["leaky_relu"].with_options(alpha=0.2).options
        (('alpha', 0.2),)
        """
        return replace(self, options=self.chosen(options))

    @classmethod
    def catalogue(cls) -> dict[str, Activation]:  # type: ignore[override]  # of this class, not of a subclass
        return ACTIVATIONS

    def accepted(self) -> dict[str, tuple[str, ...]]:
        return {"init": INITIALIZERS, "gives": GIVES, "caveats": ()}

    def option_pairs(self) -> tuple[tuple[str, Any], ...]:
        return self.options


def in_catalogue(
    name: str = "",
    *,
    gives: str = "",
    caveats: str = "",
    init: str = "glorot_uniform",
    letter: str = "h",
    whole_axis: bool = False,
) -> Callable[[F], F]:
    """Put the function below into the catalogue; the arguments are those of :class:`Activation`.

    ``name`` is by default that of the function, whose docstring begins with its formula.  Saving, messages, the command
    line and the pages of the documentation read the catalogue: nothing else is to be done.

    >>> @in_catalogue(gives="values")
    ... def bent(u):
    ...     "The formula."
    Traceback (most recent call last):
    derive.language.errors.DeriveError: activation 'bent' of ... does not say caveats; write caveats=...
    """

    def registered(rule: F) -> F:
        enter(Activation(name or rule.__name__, rule, init, letter, whole_axis, gives, caveats))
        return rule

    return registered


GivenActivation = str | Mapping[str, Any] | Activation | Callable[..., Expr] | None  # what people pass


def own(function: Callable) -> Activation:
    """The activation of a function of one scalar expression."""
    return Activation(own_name(function), function, gives="anything")
