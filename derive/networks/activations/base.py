"""What an activation is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sympy import Expr

from derive.language.tensor import Tensor
from derive.networks.catalogue import Entry, own_name

ACTIVATIONS: dict[str, Activation] = {}  # the catalogue by name


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
    options: tuple[tuple[str, object], ...] = ()

    what = "activation"

    def __call__(self, z: Tensor) -> Expr:
        """The activated element at the letters of ``z``."""
        options = dict(self.options)
        return self.rule(z, z.letters, **options) if self.whole_axis else self.rule(z[z.letters], **options)

    def with_options(self, **options) -> Activation:
        """The same activation with other numbers in it.

        >>> from derive.networks.activations import ACTIVATIONS
        >>> ACTIVATIONS["leaky_relu"].with_options(alpha=0.2).options
        (('alpha', 0.2),)
        """
        return replace(self, options=self.chosen(options))

    @classmethod
    def catalogue(cls) -> dict[str, Activation]:
        return ACTIVATIONS


def own(function: Callable) -> Activation:
    """The activation of a function of one scalar expression."""
    return Activation(own_name(function), function, gives="anything")
