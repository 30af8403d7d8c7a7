"""Options of catalogue entries: the parameters with defaults of their forward definitions."""

from __future__ import annotations

import inspect

from .errors import DeriveError
from .hints import did_you_mean


def option_names(rule, but: tuple[str, ...] = ()) -> dict[str, object]:
    """The options of a rule and their defaults: its parameters that have one.

    >>> option_names(lambda u, alpha=2: alpha*u)
    {'alpha': 2}
    """
    try:
        found = inspect.signature(rule).parameters.values()
    except (TypeError, ValueError):  # a builtin or a SymPy class: it has none
        return {}
    return {p.name: p.default for p in found if p.default is not p.empty and p.name not in but}


def option_values(what: str, rule, given: dict) -> tuple[tuple[str, object], ...]:
    """The given options, checked against those of the rule, without those that are the default."""
    known = option_names(rule)
    for name, value in given.items():
        if name not in known:
            accepted = f"it takes {', '.join(known)}" if known else "it takes none"
            raise DeriveError(f"{what}: unknown option {name!r}{did_you_mean(name, known)}; {accepted}")
        if isinstance(value, bool) or not hasattr(value, "__float__") or float(value) != float(value) \
                or abs(float(value)) == float("inf"):
            raise DeriveError(f"{what}: the option {name} is {value!r}; accepted is a finite number")
    return tuple((n, given[n]) for n in known if n in given and given[n] != known[n])
