"""The closed table of scalar functions: a row for each, a column for each thing that must be known of it.

A function that SymPy has needs a row here and one in the checker's own table, :mod:`derive.exact.functions`, and nothing
else: its derivative is the ``fdiff`` of its class.  One that SymPy lacks, or gets wrong, needs its class in
:mod:`derive.language.nodes` besides, which is its definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import sympy

from . import nodes
from .errors import DeriveError

OWN, DEFINITION = "own", "definition"
COLUMNS = {
    "text": "its names in dv.parse, the first of which is shown, as ('asin',)",
    "latex": r"the command before its brackets, as r'\arcsin'",
    "mathml": "the name before its brackets on a page, as 'arcsin'",
    "jax": "what generated modules call, as 'jnp.arcsin', 'lax.erf' or 'jax.nn.sigmoid'; 'identity' for nothing",
    "numpy": f"what the evaluator of definitions calls, as 'arcsin' of NumPy or 'special.erf' of SciPy; {DEFINITION!r} for "
    f"the definition of its class, {OWN!r} for a rule in numerics.reference.functions",
}


@dataclass(frozen=True)
class ScalarFunction:
    """One function of the language.

    Attributes
    ----------
    form : type
        Its SymPy class, whose name is that of the function and whose ``fdiff`` is its derivative.
    nargs : int
    text, latex, mathml, jax, numpy
        See :data:`COLUMNS`.
    jax_more : tuple of int
        What the generated call has after the arguments: relu is ``jnp.maximum(x, 0)``.
    shape : str
        How a formula draws it where that is no name and brackets: a kind of fence, or "exp".
    keeps_integers : bool
        Whether it is piecewise linear with whole coefficients: of integers it gives integers, and what ties before it
        ties exactly after it.
    domain : pair of float
        The open interval of arguments at which it and its derivative exist.
    """

    form: type[sympy.Function]
    nargs: int = 1
    text: tuple[str, ...] = ()
    latex: str = ""
    mathml: str = ""
    jax: str = ""
    numpy: str = ""
    jax_more: tuple[int, ...] = ()
    shape: str = ""
    keeps_integers: bool = False
    domain: tuple[float, float] = (-inf, inf)

    def __post_init__(self) -> None:
        for column, meaning in COLUMNS.items():
            if not getattr(self, column):
                raise DeriveError(f"function {self.name}: the column {column} is missing; it is {meaning}")

    @property
    def name(self) -> str:
        return self.form.__name__


def _plain(form: type[sympy.Function], numpy: str, domain: tuple[float, float] = (-inf, inf)) -> ScalarFunction:
    """A row of a function that LaTeX, MathML and JAX call as the text does, or nearly."""
    name = form.__name__
    return ScalarFunction(form, 1, (name,), rf"\{name}", name, f"jnp.{numpy}", numpy, domain=domain)


# fmt: off
_TABLE = (
    # form, arguments, text, LaTeX, MathML, JAX, NumPy
    ScalarFunction(sympy.exp, 1, ("exp",), r"\exp", "exp", "jnp.exp", "exp", shape="exp"),
    _plain(sympy.log, "log", domain=(0, inf)),
    ScalarFunction(sympy.Abs, 1, ("abs",), r"\operatorname{abs}", "abs", "jnp.abs", "abs", shape="abs", keeps_integers=True),
    ScalarFunction(sympy.sign, 1, ("sign",), r"\operatorname{sign}", "sign", "jnp.sign", "sign", keeps_integers=True),
    ScalarFunction(sympy.floor, 1, ("floor",), r"\operatorname{floor}", "floor", "jnp.floor", "floor", shape="floor"),
    _plain(sympy.sin, "sin"),
    _plain(sympy.cos, "cos"),
    _plain(sympy.tan, "tan"),
    ScalarFunction(sympy.asin, 1, ("asin",), r"\arcsin", "arcsin", "jnp.arcsin", "arcsin", domain=(-1, 1)),
    ScalarFunction(sympy.acos, 1, ("acos",), r"\arccos", "arccos", "jnp.arccos", "arccos", domain=(-1, 1)),
    ScalarFunction(sympy.atan, 1, ("atan",), r"\arctan", "arctan", "jnp.arctan", "arctan"),
    ScalarFunction(nodes.atan2, 2, ("atan2",), r"\operatorname{atan2}", "atan2", "jnp.arctan2", "arctan2"),
    _plain(sympy.sinh, "sinh"),
    _plain(sympy.cosh, "cosh"),
    _plain(sympy.tanh, "tanh"),
    ScalarFunction(sympy.asinh, 1, ("asinh",), r"\operatorname{arsinh}", "arsinh", "jnp.arcsinh", "arcsinh"),
    ScalarFunction(sympy.acosh, 1, ("acosh",), r"\operatorname{arcosh}", "arcosh", "jnp.arccosh", "arccosh", domain=(1, inf)),
    ScalarFunction(sympy.atanh, 1, ("atanh",), r"\operatorname{artanh}", "artanh", "jnp.arctanh", "arctanh", domain=(-1, 1)),
    ScalarFunction(sympy.erf, 1, ("erf",), r"\operatorname{erf}", "erf", "lax.erf", "special.erf"),
    ScalarFunction(sympy.erfc, 1, ("erfc",), r"\operatorname{erfc}", "erfc", "lax.erfc", "special.erfc"),
    ScalarFunction(sympy.erfinv, 1, ("erfinv",), r"\operatorname{erf}^{-1}", "erfinv", "lax.erf_inv", "special.erfinv",
                   domain=(-1, 1)),
    ScalarFunction(nodes.ndtri, 1, ("ndtri",), r"\Phi^{-1}", "Φ⁻¹", "jax.scipy.special.ndtri", "special.ndtri", domain=(0, 1)),
    ScalarFunction(nodes.log_ndtr, 1, ("log_ndtr",), r"\log\Phi", "log Φ", "jax.scipy.special.log_ndtr", "special.log_ndtr"),
    ScalarFunction(nodes.loggamma, 1, ("loggamma",), r"\log\Gamma", "log Γ", "lax.lgamma", "special.gammaln",
                   domain=(0, inf)),
    ScalarFunction(nodes.digamma, 1, ("digamma",), r"\psi", "ψ", "lax.digamma", "special.digamma", domain=(0, inf)),
    ScalarFunction(nodes.polygamma, 2, ("polygamma",), r"\operatorname{polygamma}", "polygamma",
                   "lax.polygamma", OWN, domain=(0, inf)),
    ScalarFunction(nodes.relu, 1, ("relu",), r"\operatorname{relu}", "relu", "jnp.maximum", OWN, (0,), keeps_integers=True),
    ScalarFunction(nodes.sigmoid, 1, ("sigmoid",), r"\sigma", "σ", "jax.nn.sigmoid", OWN),
    ScalarFunction(nodes.softplus, 1, ("softplus",), r"\operatorname{softplus}", "softplus", "jax.nn.softplus", OWN),
    ScalarFunction(nodes.logaddexp, 2, ("logaddexp",), r"\operatorname{logaddexp}", "logaddexp", "jnp.logaddexp", "logaddexp"),
    ScalarFunction(nodes.stop_gradient, 1, ("stop_gradient",), r"\operatorname{stop}", "stop", "identity", OWN,
                   keeps_integers=True),
    ScalarFunction(nodes.maximum, 2, ("max", "maximum"), r"\max", "max", "jnp.maximum", "maximum", keeps_integers=True),
    ScalarFunction(nodes.minimum, 2, ("min", "minimum"), r"\min", "min", "jnp.minimum", "minimum", keeps_integers=True),
)
# fmt: on

FUNCTIONS: dict[str, ScalarFunction] = {f.name: f for f in _TABLE}
STRUCTURAL = ("Pow", "Piecewise", "Iverson", "Unknown")  # written, shown and computed by rules of their own everywhere
NAMES = frozenset({*FUNCTIONS, *STRUCTURAL})
