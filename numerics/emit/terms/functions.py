"""The closed table of scalar functions, as the generated module calls them; anything outside it is refused by name."""

from __future__ import annotations

from dataclasses import dataclass

from derive.language import functions as language
from numerics.emit.source.scope import number
from numerics.emit.source.value import Val


@dataclass(frozen=True)
class Function:
    """What is called, with what after the arguments, and whether integers stay integers; no path is the identity."""

    path: str | None
    more: tuple[Val, ...] = ()
    keeps_integers: bool = False


FUNCTIONS = {
    f.name: Function(None if f.jax == "identity" else f.jax, tuple(number(n) for n in f.jax_more), f.keeps_integers)
    for f in language.FUNCTIONS.values()
}

# functions of the machine only, see :mod:`.accurate`
MACHINE = {"expm1": Function("jnp.expm1"), "log1p": Function("jnp.log1p"), "log1mexp": Function("jax.nn.log1mexp")}
