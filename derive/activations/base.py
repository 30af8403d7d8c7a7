"""What an activation is, and how one is found by name, with options, or from a function of your own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sympy import Expr

from ..errors import DeriveError
from ..options import option_values
from ..tensor import Tensor


@dataclass(frozen=True)
class Activation:
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

    name: str
    rule: Callable
    init: str = "glorot_uniform"
    letter: str = "h"
    whole_axis: bool = False
    gives: str = "values"
    caveats: str = ""
    options: tuple[tuple[str, object], ...] = ()

    def __call__(self, z: Tensor) -> Expr:
        """The activated element at the letters of ``z``."""
        options = dict(self.options)
        return self.rule(z, z.letters, **options) if self.whole_axis else self.rule(z[z.letters], **options)

    def with_options(self, **options) -> Activation:
        """The same activation with other numbers in it.

        >>> from derive.activations import ACTIVATIONS
        >>> ACTIVATIONS["leaky_relu"].with_options(alpha=0.2).options
        (('alpha', 0.2),)
        """
        return replace(self, options=option_values(f"activation {self.name!r}", self.rule, {**dict(self.options),
                                                                                            **options}))

    def config(self):
        """The name, or a dict of the name and the options, from which :func:`activation` makes it again.

        Raises
        ------
        DeriveError
            For a function of your own: code is not saved as data.
        """
        from . import ACTIVATIONS
        known = ACTIVATIONS.get(self.name)
        if known is None or known.rule is not self.rule:
            raise DeriveError(f"activation {self.name!r} is a function of your own; code is not saved as data")
        return {"name": self.name, **dict(self.options)} if self.options else self.name


def find(given, table: dict[str, Activation], where: str, options: dict) -> Activation:
    """The activation that was asked for, out of a table."""
    from ..hints import did_you_mean
    if isinstance(given, dict):
        options = {**{k: v for k, v in given.items() if k != "name"}, **options}
        given = given.get("name")
    if given is None:
        given = "linear"
    if isinstance(given, str):
        if given not in table:
            raise DeriveError(f"{where}: unknown activation {given!r}{did_you_mean(given, table)}; accepted are "
                              f"{', '.join(table)} or a function of one scalar expression")
        given = table[given]
    if isinstance(given, Activation):
        return given.with_options(**options) if options else given
    if callable(given):
        made = Activation(getattr(given, "__name__", "custom").strip("<>"), given, gives="anything")
        return made.with_options(**options) if options else made
    raise DeriveError(f"{where}: activation {given!r} is {type(given).__name__}; accepted are "
                      f"{', '.join(table)} or a function of one scalar expression")
