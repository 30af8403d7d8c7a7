"""What activations and losses share: entries of a catalogue, found by name, with options, saved as data.

The options of an entry are the parameters with defaults of its forward definition.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

from derive.language.errors import DeriveError
from derive.language.hints import did_you_mean


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
        if (
            isinstance(value, bool)
            or not hasattr(value, "__float__")
            or float(value) != float(value)
            or abs(float(value)) == float("inf")
        ):
            raise DeriveError(f"{what}: the option {name} is {value!r}; accepted is a finite number")
    return tuple((n, given[n]) for n in known if n in given and given[n] != known[n])


@dataclass(frozen=True)
class Entry:
    """An entry of a catalogue: a name and its forward definition; subclasses add ``options`` and what else they need."""

    name: str
    rule: Callable

    what = "entry"  # how messages call it

    @classmethod
    def catalogue(cls) -> dict[str, Entry]:
        """All built-in entries by name."""
        raise NotImplementedError

    def with_options(self, **options) -> Entry:
        """The same entry with other numbers in it."""
        raise NotImplementedError

    def chosen(self, options: dict) -> tuple[tuple[str, object], ...]:
        """The options so far and these, checked against those of the rule."""
        return option_values(f"{self.what} {self.name!r}", self.rule, {**dict(self.options), **options})

    @property
    def built_in(self) -> bool:
        """Whether it is of the catalogue, not a function of your own."""
        known = self.catalogue().get(self.name)
        return known is not None and known.rule is self.rule

    def config(self):
        """The name, or a dict of the name and the options, from which the entry is found again.

        Raises
        ------
        DeriveError
            For a function of your own: code is not saved as data.
        """
        if not self.built_in:
            raise DeriveError(f"{self.what} {self.name!r} is a function of your own; code is not saved as data")
        found = self._saved()
        return {"name": self.name, **found} if found else self.name

    def _saved(self) -> dict:
        return dict(self.options)


def find(given, kind: type[Entry], own: Callable, form: str, options: dict, where: str = ""):
    """The entry that was asked for: by name, as a dict of name and options, an entry, or a function of your own.

    Parameters
    ----------
    own : callable
        ``function -> entry`` for a function that is no entry.
    form : str
        What such a function looks like, for messages.
    where : str
        What an error should say it is about.
    """
    table, where = kind.catalogue(), f"{where}: " if where else ""
    accepted = f"accepted are {', '.join(table)} or {form}"
    if isinstance(given, dict):
        options = {**{k: v for k, v in given.items() if k != "name"}, **options}
        given = given.get("name")
    if isinstance(given, str):
        if given not in table:
            raise DeriveError(f"{where}unknown {kind.what} {given!r}{did_you_mean(given, table)}; {accepted}")
        given = table[given]
    elif not isinstance(given, kind):
        if not callable(given):
            raise DeriveError(f"{where}{kind.what} {given!r} is {type(given).__name__}; {accepted}")
        given = own(given)
    return given.with_options(**options) if options else given


def own_name(function) -> str:
    """What a function of your own is called."""
    return getattr(function, "__name__", "custom").strip("<>")
