"""The closed table of scalar functions, as the generated module calls them; anything outside it is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from numerics.emit.source.value import Val

from .arithmetic import ZERO


@dataclass(frozen=True)
class Function:
    """What is called, with what after the arguments, and whether integers stay integers; no path is the identity."""

    path: str | None
    more: tuple[Val, ...] = ()
    keeps_integers: bool = False


FUNCTIONS = {
    "exp": Function("jnp.exp"),
    "log": Function("jnp.log"),
    "sin": Function("jnp.sin"),
    "cos": Function("jnp.cos"),
    "tan": Function("jnp.tan"),
    "asin": Function("jnp.arcsin"),
    "acos": Function("jnp.arccos"),
    "atan": Function("jnp.arctan"),
    "sinh": Function("jnp.sinh"),
    "cosh": Function("jnp.cosh"),
    "tanh": Function("jnp.tanh"),
    "asinh": Function("jnp.arcsinh"),
    "acosh": Function("jnp.arccosh"),
    "atanh": Function("jnp.arctanh"),
    "erf": Function("lax.erf"),
    "erfc": Function("lax.erfc"),
    "Abs": Function("jnp.abs", keeps_integers=True),
    "sign": Function("jnp.sign", keeps_integers=True),
    "floor": Function("jnp.floor"),
    "relu": Function("jnp.maximum", (ZERO,), keeps_integers=True),
    "sigmoid": Function("jax.nn.sigmoid"),
    "softplus": Function("jax.nn.softplus"),
    "maximum": Function("jnp.maximum", keeps_integers=True),
    "minimum": Function("jnp.minimum", keeps_integers=True),
    "stop_gradient": Function(None, keeps_integers=True),
}
SPECIAL = ("Pow", "Piecewise", "Iverson")  # these have rules of their own in :mod:`.pointwise`

# functions of the machine only, see :mod:`.accurate`
MACHINE = {"expm1": Function("jnp.expm1"), "log1p": Function("jnp.log1p")}
